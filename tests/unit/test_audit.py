"""Check which published claims are said to hold."""

import pytest

from pipelines import audit
from pipelines.audit import claims, judge, page, pairs

ROWS = [
    {"model": "fm", "rmse": 0.33, "source": "a paper"},
    {"model": "ifm", "rmse": 0.31, "source": "a paper"},
    {"model": "nfm", "rmse": 0.32, "source": "a paper"},
    {"model": "other", "rmse": 0.1, "source": "a paper"},
    {"model": "dnn", "auc": 0.95, "logloss": None, "source": "a log"},
    {"model": "fm", "auc": 0.9, "logloss": None, "source": "a log"},
    {"model": "fm", "auc": 0.8, "logloss": None, "source": "a log"},  # not its best
]


def pair(a, b, difference, differ):
    return {"models": [a, b], "difference": difference, "p": 0.01 if differ else 0.5, "differ": differ}


@pytest.fixture
def judged():
    compared = [pair("nfm", "ifm", -0.01, True), pair("ifm", "fm", -0.02, True), pair("nfm", "fm", -0.001, False)]
    result = {"models": [{"model": "fm", "test_rmse_mean": 0.3}], "pairs": [*compared, pair("dnn", "fm", -0.1, True)]}
    found = pairs({"": {"frappe-nfm": result, "frappe": result}})
    made = claims("frappe-nfm", ROWS, {"fm", "ifm", "nfm", "dnn"})
    return [judge(claim, found) for claim in made]


def test_a_claim_holds_only_where_the_pair_differs_and_the_metric_of_the_source_decided(judged):
    said = {(claim.better, claim.worse): (claim.verdict, claim.metric) for claim in judged}
    assert said == {
        ("ifm", "fm"): ("holds", "rmse"),
        ("ifm", "nfm"): ("reversed", "rmse"),
        ("nfm", "fm"): ("not shown", "rmse"),
        ("dnn", "fm"): ("not measured", "auc"),
    }
    ours = {claim.better + claim.worse: claim.ours for claim in judged}
    assert ours == {"ifmfm": 0.02, "ifmnfm": -0.01, "nfmfm": 0.001, "dnnfm": None}


def test_the_page_begins_with_the_answer(judged):
    text = page(judged, {"frappe-nfm": ["a file is not the released one"]})
    answer = text.split("\n\n")[1]
    assert answer == (
        'Of 3 published claims "A is better than B" that are measured here, 1 holds, 1 can\'t be shown, and 1 is '
        "reversed; 1 more are not measured."
    )
    assert "| ifm over nfm | a paper | frappe-nfm | RMSE | 0.0100 | -0.0100 | 0.01 | reversed |" in text
    assert "Data of frappe-nfm: a file is not the released one." in text
    nothing = page([claim.model_copy(update={"ours": None, "verdict": "not measured"}) for claim in judged], {})
    assert nothing.split("\n\n")[1].startswith("None of 4 published claims")


def test_the_committed_page_is_that_of_the_committed_results(monkeypatch):
    monkeypatch.chdir(audit.Path(audit.__file__).parents[1])
    assert page(*audit.judge_all()) == audit.PAGE.read_text(encoding="utf-8"), "run: make docs"
