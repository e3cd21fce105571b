"""Give tests a small project to work in."""

import sys
from pathlib import Path

import yaml

from pipelines import evaluate, tune

ROOT = Path(__file__).parents[2]  # of the repository
PARAMS = {
    "seed": 2019,
    "datasets": ["synthetic"],
    "models": ["lr", "fm"],
    "prepare": {"split": "random"},  # of single rows, as published splits are
    "training": {"max_epochs": 3},
    "tune": {"num_trials": 3, "fixed": {"model.embed_dim": 4, "training.batch_size": 256}},
    "evaluate": {"num_seeds": 2},
}


class Project:
    """Hold the folder of params.yaml, its data, studies and results."""

    def __init__(self, root):
        self.root, self.params = root, root / "params.yaml"

    def set(self, **changes):
        """Change sections of params.yaml: `set(training={"max_epochs": 1}, seed=1)`."""
        content = yaml.safe_load(self.params.read_text())
        for key, value in changes.items():
            content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
        self.params.write_text(yaml.safe_dump(content))

    def results(self, model):
        return self.root / "results" / "synthetic" / model

    def study(self, model):
        return self.root / "studies" / "synthetic" / model

    def command(self, stage, model):
        options = ["--model", model, "--dataset", "synthetic", "--params", str(self.params)]
        return [sys.executable, "-m", f"pipelines.{stage}", *options]

    def tune(self, model):
        tune.main(model, "synthetic", self.params)

    def evaluate(self, model):
        evaluate.main(model, "synthetic", self.params)
