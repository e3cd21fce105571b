"""Paste the README's examples, and run them."""

import json
import re

import numpy as np
import polars as pl
from added_model import REPOSITORY, add_model, run_python


def test_the_six_lines_of_python_can_be_pasted_and_run(ray_cluster, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    user, item = rng.integers(20, size=(2, 900))
    rows = pl.DataFrame({"user": user, "item": item, "clicked": (user + item) % 2 * (rng.random(900) < 0.95)})
    rows[:800].write_csv(tmp_path / "clicks.csv")
    rows[800:].write_csv(tmp_path / "new.csv")
    section = (REPOSITORY / "README.md").read_text().partition("[in Python]")[2]
    lines = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert len(lines.replace("\n\n", "\n").splitlines()) == 6
    few = 'time_budget="60s", models=["fm"], num_trials=1, num_seeds=1'
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(lines.replace('time_budget="10m"', few), names)
    found, scores = names["found"], names["scores"]
    assert found.best == "fm"
    assert {*found.leaderboard["model"]} == {"fm", "fm, paper's setting"}
    assert found.leaderboard.columns[:3] == ["model", "test_auc_mean", "test_auc_std"]
    clicked = rows[800:]["clicked"].to_numpy() == 1
    assert np.mean(scores.to_numpy()[clicked, None] > scores.to_numpy()[~clicked]) > 0.8
    assert scores.equals(found.predict(rows[800:].to_pandas()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "clicks.csv", "new.csv", "runs"]


def test_the_example_of_a_model_can_be_pasted_and_run(project):
    section = (REPOSITORY / "README.md").read_text().partition("## Add a model")[2]
    model, space = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    add_model(project, "my_model", model, space)
    accepted = run_python(project, "-m", "pipelines.behaviour", "--accept", "my_model")
    assert accepted.returncode == 0, accepted.stderr
    assert {file.name for file in (project.root / "behaviour").rglob("*.json")} == {"my_model.json"}
    project.set(tune={"num_trials": 2, "fixed": {}})
    done = run_python(project, "-m", "pipelines.tune", "--model", "my_model", "--dataset", "synthetic")
    assert done.returncode == 0, done.stderr
    best = json.loads((project.results("my_model") / "best.json").read_text())
    trials = pl.read_csv(project.results("my_model") / "trials.csv")
    names = {}
    exec(space, names)
    assert trials.row(0, named=True).items() >= names["PAPER"].items()
    assert trials["model.embed_dim"][1] in names["SPACE"]["model.embed_dim"].choices
    assert trials["state"].to_list() == ["complete"] * 2
    assert best["setting"].keys() == names["SPACE"].keys()
    assert best["valid_rmse"] == trials["valid"].min()
