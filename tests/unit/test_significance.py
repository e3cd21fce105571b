import json
import math
import statistics
from xml.etree import ElementTree

import numpy as np
import pytest

from pipelines.evaluation.comparisons import groups, holm, welch
from pipelines.project.metric import METRICS
from pipelines.significance import main, markdown
from results import write_card, write_cell, write_declined, write_runs

ROWS_SPREAD = 0.002  # of the RMSE over resamples, shared by all models


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


class Board:
    """Fill a results folder through the records of the stages."""

    def __init__(self, root):
        self.root, self.models = root, []
        self.shared = np.random.default_rng(1).normal(0, ROWS_SPREAD, 400)

    def add(self, model, rmse, over_seeds=0.0001, over_rows=0.0001, seeds=5, resamples=400, metric="rmse"):
        """Add a model with `seeds` figures around `rmse`. `over_rows` is its own spread over resamples."""
        rng = np.random.default_rng(len(self.models))
        offsets = np.linspace(-1, 1, seeds) if seeds > 1 else np.zeros(1)
        values = rmse + over_seeds * offsets
        moved = self.shared[:resamples] + rng.normal(0, over_rows, resamples)
        folder = self.root / "results" / "frappe" / model
        write_cell(folder, [{f"test_{metric}": value} for value in values], metric=metric)
        write_runs(folder, [np.round(value + moved, 6).tolist() for value in values])
        self.models.append(model)

    def compare(self, metric="rmse"):
        content = {"seed": 1, "datasets": ["frappe"], "models": self.models, "tune": {"num_trials": 1}}
        content["training"] = {"metric": metric}
        (self.root / "params.yaml").write_text(json.dumps(content))
        main(self.root / "params.yaml")
        return json.loads((self.root / "results" / "significance.json").read_text())["frappe"]

    def text(self, suffix):
        return (self.root / "results" / f"significance.{suffix}").read_text()


def pair_of(result, *models):
    return next(pair for pair in result["pairs"] if set(pair["models"]) == set(models))


def test_welchs_p_is_the_area_under_both_tails_of_students_density():
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 6.0, 8.0, 10.0]
    t, freedom = 3 / math.sqrt(2.5), 2.5**2 / (0.5**2 / 4 + 2**2 / 4)
    x = np.linspace(-t, t, 200_001)
    log_constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    density = np.exp(log_constant) * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
    assert welch(a, b) == pytest.approx(1 - np.trapezoid(density, x), abs=1e-8)
    assert welch(a, b) == welch(b, a)


def test_the_page_says_which_files_are_not_the_released_ones(board):
    for model in ("lr", "fm"):
        board.add(model, 0.3)
    board.compare()
    assert "Data:" not in board.text("md")
    write_card(board.root / "results" / "frappe", split="random")
    board.compare()
    assert "\nData: a.zip is not the released file: it is shorter.\n" in board.text("md")


def test_samples_without_spread():
    assert welch([0.5, 0.5], [0.5, 0.5]) == 1.0
    assert welch([0.5, 0.5], [0.6, 0.6]) == 0.0


@pytest.mark.filterwarnings("error")
def test_one_sample_without_spread_is_compared_as_a_fixed_number():
    t = 0.1 / (0.01 / math.sqrt(3))  # with two degrees of freedom
    expected = 1 - t / math.sqrt(t * t + 2)
    assert welch([0.5, 0.5, 0.5], [0.59, 0.6, 0.61]) == pytest.approx(expected)


def test_holm_multiplies_the_least_p_most_and_never_turns_the_order():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_groups_are_the_longest_runs_of_neighbours_of_which_no_two_differ():
    def differ(*names):
        return [{"models": list(name), "differ": True} for name in names]

    assert groups("abcd", []) == [["a", "b", "c", "d"]]
    assert groups("abcd", differ("ad")) == [["a", "b", "c"], ["b", "c", "d"]]
    assert groups("abcd", differ("ab", "bc", "cd")) == []
    assert groups("abcd", differ("ac", "ad", "bc", "bd")) == [["a", "b"], ["c", "d"]]


def test_a_clear_difference_is_found_whatever_all_models_share_in_spread_over_rows(board):
    board.add("fm", 0.3330)
    board.add("ifm", 0.3320)
    result = board.compare()
    assert [entry["model"] for entry in result["models"]] == ["ifm", "fm"]
    low, high = result["models"][0]["interval"]
    assert high - low > 2 * ROWS_SPREAD
    pair = pair_of(result, "fm", "ifm")
    assert pair["models"] == ["ifm", "fm"]
    assert pair["difference"] == pytest.approx(-0.001)
    assert pair["interval"][0] < -0.001 < pair["interval"][1] < 0
    assert pair["differ"]
    assert result["groups"] == []


@pytest.mark.parametrize("spread", ["over_seeds", "over_rows"])
def test_spread_over_seeds_or_over_rows_alone_is_reason_enough_for_doubt(board, spread):
    board.add("fm", 0.3330, **{spread: 0.002})
    board.add("ifm", 0.3320, **{spread: 0.002})
    result = board.compare()
    pair = pair_of(result, "fm", "ifm")
    doubtful, sure = ("p_seeds", "p_rows") if spread == "over_seeds" else ("p_rows", "p_seeds")
    assert pair[sure] < 0.05 < pair[doubtful]
    assert pair["p"] == pair[doubtful]
    assert not pair["differ"]
    assert result["groups"] == [["ifm", "fm"]]


def test_more_models_need_more_evidence(board):
    board.add("fm", 0.3330, over_seeds=0.0004)
    board.add("ifm", 0.3325, over_seeds=0.0004)
    assert pair_of(board.compare(), "fm", "ifm")["differ"]
    for number, model in enumerate(("lr", "inn", "afm", "nfm", "ffm")):
        board.add(model, 0.34 + number / 10, over_seeds=0.03)
    assert not pair_of(board.compare(), "fm", "ifm")["differ"]


def test_models_that_can_not_be_compared_are_left_out_with_the_reason(board):
    board.add("fm", 0.3330)
    board.add("ifm", 0.3320)
    board.add("inn", 0.3, seeds=1)
    board.add("lr", 0.3)
    (board.root / "results/frappe/lr/resamples.csv").unlink()
    board.models.append("pitf")
    write_declined(board.root / "results/frappe/pitf", "it needs three fields")
    board.models.append("afm")
    result = board.compare()
    assert [entry["model"] for entry in result["models"]] == ["ifm", "fm"]
    assert result["left_out"] == {
        "inn": "one seed does not show the spread over seeds",
        "lr": "evaluated without resamples of the test rows",
        "pitf": "it declines the data set",
        "afm": "not evaluated yet",
    }
    assert "lr is left out: evaluated without resamples of the test rows." in board.text("md")


def test_without_any_model_the_files_are_there_and_say_so(board):
    board.models.append("fm")
    assert board.compare()["models"] == []
    assert "fm is left out: not evaluated yet." in board.text("md")
    assert "no model to compare" in board.text("svg")


def test_other_resamples_are_an_error(board):
    board.add("fm", 0.3330)
    board.add("ifm", 0.3320, resamples=300)
    with pytest.raises(ValueError, match="the models of frappe have different numbers of resamples"):
        board.compare()


def test_the_tables_have_a_row_a_model_and_a_row_a_pair(board):
    for model, rmse in {"fm": 0.3330, "ifm": 0.3320, "inn": 0.33202}.items():
        board.add(model, rmse)
    result, lines = board.compare(), board.text("md").splitlines()
    models = [line for line in lines if line.startswith(("| fm |", "| ifm |", "| inn |"))]
    assert [line.split(" | ")[1] for line in models] == [
        f"{entry['test_rmse_mean']:.4f} ± {entry['test_rmse_std']:.4f}" for entry in result["models"]
    ]
    assert [line.split(" | ")[3].rstrip(" |") for line in models] == ["inn", "ifm", "–"]
    assert sum(line.startswith(("| ifm − ", "| inn − ", "| fm − ")) for line in lines) == len(result["pairs"]) == 3


def test_the_chart_names_data_set_and_models_and_is_the_same_again(board):
    for model, rmse in {"fm": 0.3330, "ifm": 0.3320, "inn": 0.33202}.items():
        board.add(model, rmse)
    board.compare()
    first = board.text("svg")
    words = {text.text for text in ElementTree.fromstring(first).iter("{http://www.w3.org/2000/svg}text")}
    assert {"fm", "ifm", "inn", "frappe", "test RMSE (← better)", "95 % over test rows"} <= words
    assert "joined: no difference shown" in words
    board.compare()
    assert board.text("svg") == first


def test_the_chart_explains_joined_models_only_if_there_are_some(board):
    board.add("fm", 0.3330)
    board.add("ifm", 0.3120)
    assert not board.compare()["groups"]
    assert "joined" not in board.text("svg")


def test_the_mean_of_the_seeds_is_what_is_compared(board):
    board.add("fm", 0.33, over_seeds=0.01)
    entry = board.compare()["models"][0]
    assert entry["test_rmse_mean"] == pytest.approx(0.33)
    assert entry["test_rmse_std"] == pytest.approx(statistics.stdev(0.01 * np.linspace(-1, 1, 5)))


def test_a_metric_has_its_own_decimals_and_one_by_group_is_tested_over_groups(board):
    for model, value in (("fm", 0.01), ("ifm", 0.02)):
        board.add(model, value, metric="ece", over_rows=0.00001)
    assert [entry["model"] for entry in board.compare("ece")["models"]] == ["fm", "ifm"]  # lower is better
    assert "| fm | 0.01000 ± 0.00008 |" in board.text("md")
    assert "| fm − ifm | -0.01000 |" in board.text("md")
    assert "the bootstrap over test rows, with" in board.text("md")
    assert "the bootstrap over groups of test rows, with" in markdown({}, METRICS["group_auc"], {})


def test_a_model_that_was_evaluated_before_the_metric_was_there_is_left_out(board):
    board.add("fm", 0.3)
    best = board.root / "results" / "frappe" / "fm" / "best.json"
    best.write_text(best.read_text().replace('"rmse"', '"ece"').replace("valid_rmse", "valid_ece"))
    assert board.compare("ece")["left_out"] == {"fm": "evaluated without ECE"}


def test_another_metric_ranks_and_tests_and_says_so(board):
    for model, auc in (("fm", 0.90), ("ifm", 0.95), ("lr", 0.80)):
        board.add(model, auc, metric="auc")
    board.add("ffm", 0.3)  # decided by RMSE
    result = board.compare("auc")
    assert [entry["model"] for entry in result["models"]] == ["ifm", "fm", "lr"]
    assert result["models"][0]["test_auc_mean"] == pytest.approx(0.95)
    assert all(pair["difference"] > 0 and pair["differ"] for pair in result["pairs"])
    assert result["left_out"] == {"ffm": "searched and evaluated with training.metric rmse"}
    assert "| model | test AUC |" in board.text("md")
    assert "Test AUC is mean ± standard deviation" in board.text("md")
    assert "test AUC" in board.text("svg")
    assert "RMSE" not in board.text("md") + board.text("svg")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: "<<<<<<< ours\n" + text, "line 1 has a merge conflict, which git left there"),
        (
            lambda text: text.replace("\n3,", "\n>>>>>>> theirs\n3,"),
            "line 5 has a merge conflict, which git left there",
        ),
        (lambda text: text.replace("\n3,", "\n3,x"), "a cell of column seed_0 has no number"),
        (lambda text: text.rpartition(",")[0], "a cell of column seed_4 has no number"),
        (lambda text: "", ".*"),
        (lambda text: text.replace("\n3,", '\n3,"'), ".*"),
    ],
)
def test_damaged_resamples_are_named_with_the_stage_to_run(board, damage, reason):
    board.add("fm", 0.3)
    board.add("ifm", 0.2)
    path = board.root / "results" / "frappe" / "ifm" / "resamples.csv"
    path.write_text(damage(path.read_text()))
    command = r"python -m pipelines\.evaluate --model ifm --dataset frappe"
    with pytest.raises(ValueError, match=rf"^{path} is damaged \({reason}\): run {command}$"):
        board.compare()
