import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

REPOSITORY = Path(__file__).parents[2]
TOY = """
from torch import nn

from models.registry import register_model


@register_model
class Toy(nn.Module):
    def __init__(self, field_dims, *, width: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sum(field_dims), width)

    def forward(self, x, values=None):
        return self.embedding(x).sum((-1, -2))
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
    """The repository's packages in the project's folder, with one more model."""
    for package in ("pipelines", "models", "search_spaces"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, project.root / package, ignore=ignored)
    (project.root / "models" / f"{name}.py").write_text(model)
    (project.root / "search_spaces" / f"{name}.py").write_text(space)


def run_python(project, *arguments):
    """Python in the project's folder, whose packages it finds first."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=300)


def test_a_model_and_its_space_are_one_file_each(project):
    add_model(project, "toy", TOY, TOY_SPACE)
    done = run_python(project, "-m", "pipelines.tune", "--model", "toy", "--dataset", "synthetic")
    assert done.returncode == 0, done.stderr
    best = json.loads((project.results("toy") / "best.json").read_text())
    trials = pl.read_csv(project.results("toy") / "trials.csv")
    assert trials["state"].to_list() == ["complete"] * 3
    assert trials["model.width"][0] == 2
    assert best["setting"]["model.width"] in (1, 2, 3)
    assert best["valid_rmse"] == trials["valid"].min()


def test_an_added_model_is_listed(project):
    add_model(project, "toy", TOY, TOY_SPACE)
    script = "from models.registry import *; print(list_models()); get_model('nope')"
    done = run_python(project, "-c", script)
    assert "'toy'" in done.stdout
    assert "'fm'" in done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ValueError: unknown model 'nope'; choose one of: ")
    assert "toy" in last.partition("one of: ")[2].split(", ")


def test_a_model_without_a_space_says_what_to_add(project):
    add_model(project, "toy", TOY, TOY_SPACE)
    (project.root / "search_spaces" / "toy.py").unlink()
    done = run_python(project, "-m", "pipelines.tune", "--model", "toy", "--dataset", "synthetic")
    assert done.returncode == 1
    assert done.stderr == "error: toy has no search space: add search_spaces/toy.py with SPACE and PAPER\n"


def test_a_model_that_declines_a_data_set_is_told_of_in_the_leaderboard(searched_project):
    add_model(searched_project, "picky", PICKY, TOY_SPACE)
    searched_project.set(models=["picky", "fm"])
    script = """
from pathlib import Path
from pipelines import evaluate, leaderboard, tune
params = Path("params.yaml")
tune.main("picky", "synthetic", params)
evaluate.main("picky", "synthetic", params)
leaderboard.main(params)
"""
    done = run_python(searched_project, "-c", script)
    assert done.returncode == 0, done.stderr
    reason = "it needs a field called planet, not user"
    folder = searched_project.results("picky")
    assert json.loads((folder / "best.json").read_text())["declined"] == reason
    assert json.loads((folder / "metrics.json").read_text()) == {"num_seeds": 0}
    assert (folder / "trials.csv").exists()
    assert (folder / "curves.csv").exists()
    assert not searched_project.study("picky").exists()
    results = searched_project.root / "results"
    text = (results / "leaderboard.md").read_text()
    assert f"picky is not here: {reason}" in text
    assert "| picky " not in text
    fm, picky = json.loads((results / "leaderboard.json").read_text())
    assert (fm["model"], fm["declined"], fm["num_seeds"]) == ("fm", None, 2)
    assert (picky["model"], picky["declined"], picky["num_seeds"]) == ("picky", reason, 0)
    assert picky["test_rmse_mean"] is None


def test_a_setting_is_for_a_model_that_takes_the_data(searched_project):
    add_model(searched_project, "picky", PICKY, TOY_SPACE)
    script = "from models.registry import *; create('picky', [2, 3], {}, ['planet', 'user']); print('made'); "
    script += "create('picky', [2, 3], {}, ['star', 'user'])"
    done = run_python(searched_project, "-c", script)
    assert done.stdout == "made\n"
    assert done.stderr.splitlines()[-1] == "ValueError: picky: it needs a field called planet, not star"


@pytest.mark.parametrize("package", ["models", "search_spaces", "pipelines"])
def test_the_packages_are_packages_lest_others_of_their_name_win(package):
    assert (REPOSITORY / package / "__init__.py").exists()
