"""Check how results that others sent in are read, run again and shown."""

import json
import shutil

import pytest
from projects import Project

from pipelines import report, verify
from pipelines.data.rows import load_rows
from pipelines.evaluation.final_runs import final_seed
from pipelines.evaluation.submissions import read_submission
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.training.cell import load_cell
from pipelines.training.predicting import evaluate
from pipelines.training.start import num_params

SETTING = {"model.embed_dim": 4, "training.learning_rate": 0.1, "training.batch_size": 512, "training.max_epochs": 1}


@pytest.fixture(scope="module")
def copy(prepared, tmp_path_factory):
    return Project(shutil.copytree(prepared.root, tmp_path_factory.mktemp("submissions") / "project"))


@pytest.fixture(scope="module")
def sent(copy):
    """Make a submission of what two seeds reach."""
    paths, config = Paths(copy.root), load_params(copy.params)
    cell = load_cell("fm", "synthetic", config, paths)
    test_rows, seeds = load_rows(paths.processed("synthetic"), "test"), {}
    for seed in (0, 3):
        model, _ = cell.train(SETTING, final_seed(cell, seed))
        seeds[str(seed)] = dict(evaluate(model, test_rows, "squared_error").named("test"))
    return {
        "model": "fm",
        "dataset": "synthetic",
        "code": "https://example.org/fm",
        "setting": SETTING,
        "seeds": seeds,
        "num_params": num_params(model),
        "hardware": "one core",
        "contact": "someone@example.org",
    }


@pytest.fixture
def file(copy):
    file = Paths(copy.root).submissions / "someone.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    yield file
    file.unlink()


def test_a_submission_that_reaches_the_same_is_marked_and_one_that_does_not_stays(copy, sent, file):
    worse = {**sent, "seeds": {**sent["seeds"], "3": {**sent["seeds"]["3"], "test_rmse": 0.5}}}
    file.write_text(json.dumps(worse))
    with pytest.raises(ValueError, match=r"not verified: seed 3 has test_rmse 0\.5000, and reached 0\.\d{4} when run"):
        verify.main(file, copy.params)
    assert json.loads(file.read_text()) == worse
    file.write_text(json.dumps(sent))
    assert read_submission(file).state == "submitted, not verified"
    verify.main(file, copy.params)
    found = read_submission(file)
    assert found.state == "submitted, verified"
    assert found.verified.seeds["3"] == pytest.approx(sent["seeds"]["3"], rel=1e-4)
    assert found.model_copy(update={"verified": None}).model_dump(exclude_none=True) == sent
    verify.main(file, copy.params)  # again


def test_a_wrong_number_of_parameters_is_no_verification(copy, sent, file):
    file.write_text(json.dumps({**sent, "num_params": 7}))
    with pytest.raises(ValueError, match=f"num_params is 7, and the model has {sent['num_params']}"):
        verify.main(file, copy.params)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"code": "javascript:alert(1)"}, "code: "),
        ({"seeds": {"0": {"test_rmse": 0.1}}}, "seeds: Dictionary should have at least 2 items"),
        ({"seeds": {"0": {"test_rmse": 0.1}, "1": {}}}, "seeds: seed 0 lacks test_auc"),
        ({"num_params": "7"}, "num_params: "),
        ({"email": "x"}, "email: no such key; the keys here are: model, dataset, code"),
        ({"contact": ""}, "contact: "),
    ],
)
def test_a_wrong_submission_names_file_and_key(sent, file, change, problem):
    file.write_text(json.dumps({**sent, **change}))
    with pytest.raises(ValueError, match=rf"someone\.json: {problem}"):
        read_submission(file)


def test_what_is_no_json_is_one_line(file):
    file.write_text("{")
    with pytest.raises(ValueError, match=r"someone\.json: no JSON: "):
        read_submission(file)


def test_the_page_shows_a_submission_as_such_and_nothing_in_it_is_executed(copy, sent, file):
    name = "<b>mine</b>"
    file.write_text(json.dumps({**sent, "model": name, "contact": "<script>alert(1)</script>"}))
    config = load_params(copy.params)
    page = report.page([report.board("synthetic", config, Paths(copy.root))], config)
    assert '&lt;b&gt;mine&lt;/b&gt;</a><span class="tag warn">submitted, not verified</span>' in page
    assert "<script>alert(1)" not in page
    assert "<b>mine" not in page


def test_a_submission_without_the_metric_that_decides_is_left_out(copy, sent, file):
    figures = {name: value for name, value in sent["seeds"]["0"].items() if name != "test_ece"}
    file.write_text(json.dumps({**sent, "seeds": {"0": figures, "1": figures}}))
    config = load_params(copy.params)
    assert len(report.board("synthetic", config, Paths(copy.root))["rows"]) == 1
    ece = config.model_copy(update={"training": config.training.model_copy(update={"metric": "ece"})})
    assert report.board("synthetic", ece, Paths(copy.root))["rows"] == []
