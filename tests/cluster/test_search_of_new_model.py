import json

from added_model import PICKY, TOY_SPACE, add_model, run_python


def test_a_model_that_declines_a_data_set_is_told_of_in_the_leaderboard(searched_project):
    add_model(searched_project, "picky", PICKY, TOY_SPACE)
    searched_project.set(models=["picky", "fm"])
    script = """
from pathlib import Path
from pipelines import evaluate, leaderboard, significance, tune
params = Path("params.yaml")
tune.main("picky", "synthetic", params)
evaluate.main("picky", "synthetic", params)
leaderboard.main(params)
significance.main(params)
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
    compared = json.loads((results / "significance.json").read_text())["synthetic"]
    assert compared["left_out"] == {"picky": "it declines the data set"}
    assert [entry["model"] for entry in compared["models"]] == ["fm"]
    text = (results / "leaderboard.md").read_text()
    assert f"picky is not here: {reason}" in text
    assert "| picky " not in text
    fm, picky = json.loads((results / "leaderboard.json").read_text())
    assert (fm["model"], fm["declined"], fm["num_seeds"]) == ("fm", None, 2)
    assert (picky["model"], picky["declined"], picky["num_seeds"]) == ("picky", reason, 0)
    assert picky["test_rmse_mean"] is None
