"""Where everything is: all paths hang off the folder of params.yaml."""

import os
from dataclasses import dataclass
from pathlib import Path


def cache_folder() -> Path:
    """The folder of fetched files, shared by all pipelines: $FACTORBENCH_CACHE or ~/.cache/factorbench."""
    return Path(os.environ.get("FACTORBENCH_CACHE") or Path.home() / ".cache" / "factorbench")


@dataclass(frozen=True)
class Paths:
    """The folders and files of one pipeline."""

    root: Path

    def raw(self, dataset: str) -> Path:
        return self.root / "data" / "raw" / dataset

    def processed(self, dataset: str) -> Path:
        return self.root / "data" / "processed" / dataset

    def pretrained(self, dataset: str) -> Path:
        return self.root / "data" / "pretrained" / dataset

    @property
    def studies(self) -> Path:
        """What searches and evaluations go on from: not in git, and unknown to DVC, which deletes outputs."""
        return self.root / "studies"

    def study(self, dataset: str, model: str) -> Path:
        return self.studies / dataset / model

    def results(self, dataset: str, model: str) -> Path:
        return self.root / "results" / dataset / model

    @property
    def leaderboard(self) -> Path:
        """Without its suffix: .md, .csv and .json stand side by side."""
        return self.root / "results" / "leaderboard"

    @property
    def significance(self) -> Path:
        """Without its suffix: .json, .md and .svg stand side by side."""
        return self.root / "results" / "significance"
