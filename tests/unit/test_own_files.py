import json

import pytest
import yaml

from pipelines import own_files
from pipelines.data.catalog import get_dataset


@pytest.fixture
def listed(tmp_path):
    """Write a data set of own files, and return a function that lists these."""
    (tmp_path / "elsewhere").mkdir()
    side = tmp_path / "elsewhere" / "users.csv"
    for file in (tmp_path / "a.csv", side):
        file.write_text("user,click\n")
    described = {"format": "table", "files": ["*.csv"], "label": "click", "fields": {"user": "category"}}
    described["joins"] = [{"files": [str(side)], "key": "user"}]
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mine.yaml").write_text(yaml.safe_dump(described))
    params = {"seed": 1, "datasets": ["frappe", "mine"], "models": ["fm"], "tune": {"num_trials": 1}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))

    def listed():
        own_files.main(tmp_path / "params.yaml")
        folder = tmp_path / "data" / "own"
        return {name: json.loads((folder / f"{name}.json").read_text()) for name in ("frappe", "mine")}

    return listed


@pytest.mark.parametrize("changed", ["a.csv", "b.csv", "elsewhere/users.csv"], ids=["log", "pattern", "side table"])
def test_the_list_changes_with_a_users_own_file(listed, tmp_path, changed):
    before = listed()
    assert listed() == before
    (tmp_path / changed).write_text("user,click\nu1,1\n")
    after = listed()
    assert after["mine"] != before["mine"]
    assert after["frappe"] == before["frappe"] == {}


def test_a_missing_file_is_listed_and_stops_no_other_data_set(listed, tmp_path):
    (tmp_path / "a.csv").unlink()
    assert listed() == {"frappe": {}, "mine": {"failed": f"data set 'mine': no file {tmp_path / '*.csv'}"}}


@pytest.mark.parametrize("folder", ["data/raw/mine", "data/processed/mine", "results/mine"])
def test_an_own_file_is_not_where_stages_write(listed, tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a.csv").rename(tmp_path / folder / "a.csv")
    file = tmp_path / "datasets" / "mine.yaml"
    file.write_text(file.read_text().replace("'*.csv'", f"{folder}/*.csv"))
    with pytest.raises(ValueError, match=f"move .*a.csv out of .*{folder}, where stages write"):
        get_dataset("mine", tmp_path).all_files()
