"""The lists of cells change when what the pages show changes."""

import json

import pytest

from pipelines import cells
from pipelines.project.files import noted_failure
from pipelines.project.paths import Paths
from results import write_cell, write_declined


@pytest.fixture
def listed(tmp_path):
    """Return a function that lists the cells of frappe for given models."""

    def listed(*models):
        content = {"seed": 1, "datasets": ["frappe"], "models": models, "tune": {"num_trials": 1}}
        (tmp_path / "params.yaml").write_text(json.dumps(content))
        cells.main("frappe", tmp_path / "params.yaml")
        return json.loads((tmp_path / "results" / "cells" / "frappe.json").read_text())

    return listed


def test_a_list_changes_with_models_and_results_alone(listed, tmp_path):
    folder = Paths(tmp_path).results("frappe", "fm")
    write_cell(folder, [{"test_rmse": 0.3}, {"test_rmse": 0.4}])
    before = listed("fm")
    assert set(before["fm"]) == {"best.json", "metrics.json"}
    assert listed("fm") == before
    assert listed("fm", "lr") == {**before, "lr": {}}
    write_cell(folder, [{"test_rmse": 0.3}, {"test_rmse": 0.4}, {"test_rmse": 0.5}])  # one more seed
    after = listed("fm")
    assert after["fm"]["metrics.json"] != before["fm"]["metrics.json"]
    assert after["fm"]["best.json"] == before["fm"]["best.json"]
    write_declined(folder, "it needs a tag")
    assert listed("fm")["fm"]["best.json"] != after["fm"]["best.json"]


def test_a_cell_that_failed_is_listed_with_the_reason(listed, tmp_path):
    with pytest.raises(OSError, match="no room"), noted_failure(Paths(tmp_path).study("frappe", "fm")):
        raise OSError("no room")
    assert listed("fm") == {"fm": {"failed": "no room"}}


def test_an_unknown_data_set_lists_those_of_params(listed, tmp_path):
    listed("fm")
    with pytest.raises(ValueError, match="unknown data set 'netflix'; choose one of: frappe"):
        cells.main("netflix", tmp_path / "params.yaml")
