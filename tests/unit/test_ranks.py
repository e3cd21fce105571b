"""Check how models are compared over data sets."""

import numpy as np
import pytest

from pipelines.evaluation.ranks import rank_models, standings
from pipelines.project.metric import METRICS


def scores(*rows):
    """Make scores of models a, b … from a row for each data set."""
    return {str(number): dict(zip("abcde", row, strict=False)) for number, row in enumerate(rows)}


def test_ranks_p_and_critical_difference_are_those_of_demsars_example():
    # Demšar 2006, table 6: four models on 14 data sets, mean ranks 3.143, 2.000, 2.893, 1.964; CD at 0.05 is 1.25.
    # Its 0.975 and 0.975 have ranks 2 and 3: here the first is 0.9751.
    auc = """0.763 0.768 0.771 0.798; 0.599 0.591 0.590 0.569; 0.954 0.971 0.968 0.967; 0.628 0.661 0.654 0.657
    0.882 0.888 0.886 0.898; 0.936 0.931 0.916 0.931; 0.661 0.668 0.609 0.685; 0.583 0.583 0.563 0.625
    0.775 0.838 0.866 0.875; 1.000 1.000 1.000 1.000; 0.940 0.962 0.965 0.962; 0.619 0.666 0.614 0.669
    0.972 0.981 0.9751 0.975; 0.957 0.978 0.946 0.970"""
    rows = [[-float(each) for each in row.split()] for row in auc.replace("\n", ";").split(";")]
    found = rank_models(scores(*rows))
    assert found["ranks"] == pytest.approx({"d": 1.964, "b": 2.0, "c": 2.893, "a": 3.143}, abs=0.002)
    assert found["critical_difference"] == pytest.approx(1.25, abs=0.005)
    assert found["p"] == pytest.approx(0.0167, abs=0.0005)  # the paper does not correct for ties, and has 0.026
    assert found["groups"] == [["d", "b", "c", "a"]]


def test_models_further_apart_than_the_critical_difference_are_in_no_common_group():
    found = rank_models(scores(*[[1, 2, 3, 4, 5]] * 8))
    assert found["ranks"] == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    assert 2 < found["critical_difference"] < 3
    assert found["groups"] == [["a", "b", "c"], ["b", "c", "d"], ["c", "d", "e"]]


def test_only_models_that_all_data_sets_have_are_ranked_and_empty_data_sets_do_not_count():
    found = rank_models({**scores([1, 2, 3], [1, 2], [2, 1, 3]), "empty": {}})
    assert found["datasets"] == ["0", "1", "2"]
    assert found["ranks"] == pytest.approx({"a": 4 / 3, "b": 5 / 3})
    assert found["p"] is None


@pytest.mark.parametrize(
    ("rows", "reason"), [([[1, 2], [1, 2]], "at least 3 data sets"), ([[1, 2], [1], [1, 2]], "two models")]
)
def test_too_few_data_sets_or_models_are_said(rows, reason):
    assert reason in rank_models(scores(*rows))["why_not"]


def reached(spread=0.0, **means):
    """Make what was tested of models; all resamples of a model move together."""
    moved = spread * np.linspace(-1, 1, 1000)
    return {model: ([mean, mean], mean + moved) for model, mean in means.items()}


def test_ranks_and_the_share_of_error_that_the_best_avoids_are_means_over_data_sets():
    found = standings({"x": reached(a=0.2, b=0.4, c=0.25), "y": reached(b=0.1, a=0.2, d=0.3)}, METRICS["rmse"])
    a, b = sorted(found, key=lambda row: row["model"])  # c and d are not on both
    assert (a["model"], a["rank"], a["improvability"]) == ("a", 1.5, pytest.approx(0.25))
    assert (b["model"], b["rank"], b["improvability"]) == ("b", 1.5, pytest.approx(0.25))
    assert a["rank_interval"] == [1, 2]  # where a draw has one of the data sets twice
    assert a["improvability_interval"] == pytest.approx([0, 0.5])
    best, other = standings({"x": reached(a=0.98, b=0.96), "y": reached(a=0.5, b=0.5)}, METRICS["auc"])
    assert (best["model"], best["rank"], best["improvability"]) == ("a", 1.25, 0.0)
    assert (other["rank"], other["improvability"]) == (1.75, pytest.approx((1 - 0.02 / 0.04) / 2))


def test_intervals_of_ranks_are_of_the_test_rows_too():
    x = {**reached(a=0.30), **reached(0.02, b=0.31)}  # on a quarter of the resamples, b is better
    (a, b) = standings({"x": x, "y": x}, METRICS["rmse"])
    assert (a["rank"], a["rank_interval"], b["rank_interval"]) == (1, [1, 2], [1, 2])


@pytest.mark.parametrize("boards", [{}, {"x": reached(a=1, b=2), "y": {}}, {"x": reached(a=1, b=2), "y": reached(b=1)}])
def test_one_data_set_or_model_has_no_standings(boards):
    assert standings(boards, METRICS["rmse"]) == []
