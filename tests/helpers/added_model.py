"""Add a model to a copy of the project's code."""

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TOY = """
import torch
from torch import nn

from models.layers.embeddings import Table
from models.registry import register_model


@register_model
class Toy(nn.Module):
    def __init__(self, field_dims, *, width: int = 2) -> None:
        super().__init__()
        self.embedding = Table(torch.randn(sum(field_dims), width))

    def forward(self, batch):
        return self.embedding.rows(batch).sum((-1, -2))
"""
TOY_SPACE = """
from optuna.distributions import IntDistribution

from search_spaces.shared import TRAINING

SPACE = {**TRAINING, "model.width": IntDistribution(1, 3)}
PAPER = {"training.learning_rate": 0.1, "training.l2": 1e-8, "training.batch_size": 128, "model.width": 2}
"""
PICKY = TOY + (
    """
    @staticmethod
    def decline(fields):
        return f"it needs a field called planet, not {fields[0]}" if "planet" not in fields else None
"""
)


def add_model(project, name, model, space):
    """Copy the repository's packages into the project's folder, and add a model to them."""
    for folder in ("pipelines", "models", "search_spaces", "datasets"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / folder, project.root / folder, ignore=ignored)
    (project.root / "models" / f"{name}.py").write_text(model)
    (project.root / "search_spaces" / f"{name}.py").write_text(space)


def run_python(project, *arguments):
    """Run Python in the project's folder, so that it imports the packages there."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=300)
