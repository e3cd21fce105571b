"""Define all paths of a pipeline, relative to the folder of params.yaml."""

import os
from dataclasses import dataclass
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of fetched files: $FACTORBENCH_CACHE or ~/.cache/factorbench. All pipelines share it."""
    return Path(os.environ.get("FACTORBENCH_CACHE") or Path.home() / ".cache" / "factorbench")


def shipped(name: str) -> Path:
    """Return a top-level folder of the repository, or its copy in an installed package."""
    package = Path(__file__).parents[1]
    copy = package / "shipped" / name
    return copy if copy.exists() else package.parent / name


@dataclass(frozen=True)
class Paths:
    """Name the folders and files of one pipeline."""

    root: Path

    def raw(self, dataset: str) -> Path:
        return self.root / "data" / "raw" / dataset

    def own_files(self, dataset: str) -> Path:
        """Return the list of a data set's own files, which may be anywhere."""
        return self.root / "data" / "own" / f"{dataset}.json"

    def processed(self, dataset: str) -> Path:
        return self.root / "data" / "processed" / dataset

    def pretrained(self, dataset: str) -> Path:
        return self.root / "data" / "pretrained" / dataset

    def written(self, dataset: str) -> list[Path]:
        """List the folders of a data set that stages write."""
        folders = (self.raw(dataset), self.processed(dataset), self.pretrained(dataset))
        return [*folders, self.own_files(dataset).parent, self.root / "results" / dataset]

    @property
    def studies(self) -> Path:
        """Return the folder of resumable work. It is no DVC output, because DVC deletes outputs; nor is it in git."""
        return self.root / "studies"

    def study(self, dataset: str, model: str) -> Path:
        return self.studies / dataset / model

    def results(self, dataset: str, model: str) -> Path:
        return self.root / "results" / dataset / model

    def predictions(self, dataset: str, model: str) -> Path:
        """Return the folder of kept predictions of final runs.

        They are as large as the data, and not in git. Nor are they a DVC output: without a remote, a clone that lacks
        them would train everything again.
        """
        return self.root / "predictions" / dataset / model

    def ensembles(self, dataset: str) -> Path:
        """Return the file of a data set's ensembles.

        It is outside of the folder of results, on which it depends: DVC allows no circle.
        """
        return self.root / "results" / "ensembles" / f"{dataset}.json"

    def card(self, dataset: str) -> Path:
        return self.root / "results" / dataset / "card.json"

    @property
    def cells(self) -> Path:
        """Return the folder of the lists of cells, one for each data set."""
        return self.root / "results" / "cells"

    @property
    def leaderboard(self) -> Path:
        """Return the leaderboard's path without suffix. The suffixes are .md, .csv and .json."""
        return self.root / "results" / "leaderboard"

    @property
    def significance(self) -> Path:
        """Return the significance path without suffix. The suffixes are .json, .md and .svg."""
        return self.root / "results" / "significance"

    def bundle(self, dataset: str, model: str) -> Path:
        return self.root / "bundles" / dataset / model

    @property
    def report(self) -> Path:
        """Return the path of the page that shows all results."""
        return self.root / "results" / "report.html"

    @property
    def submissions(self) -> Path:
        """Return the folder of results that others sent in."""
        return self.root / "results" / "submissions"
