"""Check what a smaller budget is said to have found."""

import pytest
import yaml
from projects import PARAMS, Project

from pipelines import replay
from pipelines.project.metric import METRICS
from pipelines.project.paths import Paths
from results import write_cell, write_trials

TRIALS = {
    "lr": [("COMPLETE", 1, 2, 0.5), ("COMPLETE", 1, 2, 0.4), ("COMPLETE", 1, 2, 0.3)],
    "fm": [("PRUNED", 1, 2, 0.1), ("COMPLETE", 1, 2, 0.45), ("COMPLETE", 1, 2, 0.35)],
}


@pytest.fixture
def tried(tmp_path):
    project = Project(tmp_path)
    project.params.write_text(yaml.safe_dump({**PARAMS, "models": ["lr", "fm", "ifm"]}))
    for model, trials in TRIALS.items():
        write_cell(project.results(model), [{}])
        write_trials(project.results(model), *trials)
    return project


def test_the_best_of_the_first_trials_is_beside_that_of_all_with_both_ranks(tried, capsys):
    replay.main(2, tried.params)
    shown = capsys.readouterr()
    rows = [line.split() for line in shown.out.splitlines() if line.strip().startswith(("lr", "fm"))]
    assert [row[:4] for row in rows] == [["lr", "0.4000", "0.3000", "0.1000"], ["fm", "0.4500", "0.3500", "0.1000"]]
    assert [row[4:7] for row in rows] == [["1", "→", "1"], ["2", "→", "2"]]
    assert "ifm" in shown.err
    assert "run python -m pipelines.tune" in shown.err
    replay.main(1, tried.params)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("fm")]
    assert rows[0][:4] == ["fm", "–", "0.3500", "–"]  # its first trial was stopped


def test_a_metric_of_which_more_is_better_is_worse_where_it_is_less():
    rows = [
        {"model": "a", "fewer": 0.8, "all": 0.9, "trials": 9},
        {"model": "b", "fewer": 0.85, "all": 0.86, "trials": 9},
    ]
    lines = replay.table(rows, 3, METRICS["auc"]).splitlines()[2:]
    assert lines == ["| b | 0.8500 | 0.8600 | 0.0100 | 1 → 2 | 9 |", "| a | 0.8000 | 0.9000 | 0.1000 | 2 → 1 | 9 |"]


def test_a_damaged_record_names_the_search(tried):
    file = tried.results("lr") / "trials.csv"
    file.write_text("trial,state\n0,complete\n")
    with pytest.raises(ValueError, match=r"trials\.csv is damaged \(it has no column valid\): run python -m .*tune"):
        replay.replayed(Paths(tried.root), "synthetic", "lr", 2, METRICS["rmse"])
