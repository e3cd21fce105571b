import json
import re
from itertools import product

import polars as pl
import pytest
from rich.console import Console

from pipelines.evaluation.published import of_others
from pipelines.leaderboard import main
from pipelines.project.files import noted_failure
from pipelines.project.golden_files import accepted_behaviour
from pipelines.project.params import TrainingParams
from pipelines.project.paths import Paths
from results import with_spread, write_card, write_cell, write_declined, write_runs, write_trials

KEYS = {
    "dataset", "model", "test_rmse_mean", "test_rmse_std", "test_auc_mean", "test_auc_std", "test_logloss_mean",
    "test_logloss_std", "valid_rmse", "valid_auc", "valid_logloss", "num_params", "seconds_per_epoch", "num_trials",
    "num_seeds", "peak_memory_mb", "search_seconds", "published", "other_behaviour", "first_rmse",
}  # fmt: skip
HEAD = [
    "model", "test RMSE", "test AUC", "test logloss", "valid RMSE", "parameters", "s / epoch", "trials", "seeds",
    "published RMSE (K = 256)",
]  # fmt: skip


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


class Board:
    """Fill a results folder through the records of the stages."""

    def __init__(self, root):
        self.root = root
        self.set_params(["frappe", "movielens"], ["lr", "fm", "inn"])

    def set_params(self, datasets, models, **training):
        content = {"seed": 1, "datasets": datasets, "models": models, "tune": {"num_trials": 1}, "training": training}
        (self.root / "params.yaml").write_text(json.dumps(content))

    def folder(self, dataset, model):
        return self.root / "results" / dataset / model

    def add(self, dataset, model, test_rmse, std=0.0011, test_auc=0.91234, behaviour="today's", figures=(), **best):
        known = accepted_behaviour(model, TrainingParams())
        figures = {
            **dict(figures),
            "test_rmse": test_rmse,
            "test_auc": test_auc,
            "test_logloss": 0.21,
            "valid_rmse": 0.30004,
            "valid_auc": 0.8,
            "valid_logloss": 0.2,
            "seconds_per_epoch": 1.234,
        }
        spread = {name: with_spread(mean, std, 1 if std is None else 5) for name, mean in figures.items()}
        seeds = [dict(zip(spread, values, strict=True)) for values in zip(*spread.values(), strict=True)]
        behaviour = known if behaviour == "today's" else behaviour
        write_cell(self.folder(dataset, model), seeds, behaviour=behaviour, num_params=1_234_567, **best)

    def decline(self, dataset, model, reason):
        write_declined(self.folder(dataset, model), reason)

    def gather(self, so_far=False, all_metrics=False):
        main(self.root / "params.yaml", so_far, all_metrics)
        return json.loads((self.root / "results" / "leaderboard.json").read_text())

    def tables(self):
        """Read the rows of each data set's table in leaderboard.md as dicts."""
        found, dataset = {}, ""
        for line in (self.root / "results" / "leaderboard.md").read_text().splitlines():
            if line.startswith("## "):
                dataset = line.removeprefix("## ")
            elif line.startswith("| ") and "---" not in line:
                found.setdefault(dataset, []).append(line.strip("| ").split(" | "))
        return {name: [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] for name, rows in found.items()}


def fill(board):
    board.add("frappe", "lr", 0.61)
    board.add("frappe", "fm", 0.3333)
    board.add("frappe", "inn", 0.3071, std=None)
    board.add("movielens", "lr", 0.5)
    board.add("movielens", "fm", 0.6)
    board.add("movielens", "inn", 0.4)


def test_the_json_has_a_row_a_cell_best_first_within_its_data_set(board):
    fill(board)
    cells = board.gather()
    order = [("frappe", "inn"), ("frappe", "fm"), ("frappe", "lr")]
    order += [("movielens", "inn"), ("movielens", "lr"), ("movielens", "fm")]
    assert [(cell["dataset"], cell["model"]) for cell in cells] == order
    for cell in cells:
        assert set(cell) - {"declined"} == KEYS
    expected = {
        "dataset": "frappe",
        "model": "fm",
        "test_rmse_mean": 0.3333,
        "test_rmse_std": 0.0011,
        "test_auc_mean": 0.91234,
        "test_auc_std": 0.0011,
        "test_logloss_mean": 0.21,
        "test_logloss_std": 0.0011,
        "valid_rmse": 0.30004,
        "valid_auc": 0.8,
        "valid_logloss": 0.2,
        "num_params": 1_234_567,
        "seconds_per_epoch": 1.234,
        "num_trials": 12,
        "num_seeds": 5,
        "first_rmse": None,
        "peak_memory_mb": None,
        "search_seconds": None,
        "published": 0.3321,
        "other_behaviour": False,
    }
    assert {key: cells[1][key] for key in KEYS} == pytest.approx(expected)
    assert [cell["published"] for cell in cells] == [0.3071, 0.3321, None, None, None, None]


def test_the_order_of_data_sets_is_that_of_params(board):
    fill(board)
    board.set_params(["movielens", "frappe"], ["fm", "lr"])
    assert [(cell["dataset"], cell["model"]) for cell in board.gather()] == [
        ("movielens", "lr"),
        ("movielens", "fm"),
        ("frappe", "fm"),
        ("frappe", "lr"),
    ]


def test_the_csv_has_what_the_json_has(board):
    fill(board)
    cells = board.gather()
    table = pl.read_csv(board.root / "results" / "leaderboard.csv", infer_schema_length=None)
    assert table.columns == list(cells[0])
    for row, cell in zip(table.rows(named=True), cells, strict=True):
        assert row == cell


def test_the_markdown_shows_a_table_a_data_set(board, capsys):
    fill(board)
    cells = board.gather()
    tables = board.tables()
    assert list(tables) == ["frappe", "movielens"]
    for dataset, rows in tables.items():
        assert [row["model"] for row in rows] == [cell["model"] for cell in cells if cell["dataset"] == dataset]
    assert list(tables["frappe"][1]) == HEAD
    figures = ["fm", "0.3333 ± 0.0011", "0.9123 ± 0.0011", "0.2100 ± 0.0011", "0.3000", "1,234,567", "1.23", "12", "5"]
    assert list(tables["frappe"][1].values()) == [*figures, "0.3321"]
    assert [row["published RMSE (K = 256)"] for row in tables["movielens"]] == ["–", "–", "–"]
    assert "0.3333 ± 0.0011" in capsys.readouterr().out


def test_a_single_seed_shows_no_deviation(board):
    fill(board)
    assert board.gather()[0]["test_rmse_std"] is None
    row = board.tables()["frappe"][0]
    assert (row["model"], row["test RMSE"], row["test AUC"], row["seeds"]) == ("inn", "0.3071", "0.9123", "1")
    assert "±" not in "".join(row.values())


def test_a_model_that_declined_comes_last_and_has_its_reason_under_the_table(board):
    fill(board)
    board.set_params(["frappe", "movielens"], ["pitf", "lr", "fm", "inn"])
    board.decline("frappe", "pitf", "it needs user, item and tag")
    board.add("movielens", "pitf", 0.1)
    cells = board.gather()
    assert [cell["model"] for cell in cells] == ["inn", "fm", "lr", "pitf", "pitf", "inn", "lr", "fm"]
    assert cells[3]["declined"] == "it needs user, item and tag"
    assert {cells[3][key] for key in ("test_rmse_mean", "valid_rmse", "num_params", "seconds_per_epoch")} == {None}
    assert (cells[3]["num_trials"], cells[3]["num_seeds"]) == (0, 0)
    frappe, movielens = (board.root / "results" / "leaderboard.md").read_text().split("## movielens")
    assert "pitf is not here: it needs user, item and tag" in frappe
    assert "not here" not in movielens
    assert [row["model"] for row in board.tables()["frappe"]] == ["inn", "fm", "lr"]


def test_a_board_where_all_decline_is_written_too(board):
    board.set_params(["frappe"], ["pitf"])
    board.decline("frappe", "pitf", "it needs a tag")
    assert [cell["declined"] for cell in board.gather()] == ["it needs a tag"]
    assert board.tables() == {"frappe": []}


@pytest.mark.parametrize(("file", "stage"), [("best.json", "tune"), ("metrics.json", "evaluate")])
def test_a_missing_cell_names_the_stage_to_run(board, file, stage):
    fill(board)
    path = board.root / "results" / "movielens" / "fm" / file
    path.unlink()
    with pytest.raises(ValueError, match=r"no .*json: run") as raised:
        board.gather()
    assert str(raised.value) == f"no {path}: run python -m pipelines.{stage} --model fm --dataset movielens"
    assert not (board.root / "results" / "leaderboard.json").exists()


def test_the_note_says_what_is_left_out_for_its_time(board):
    fill(board)
    tune = {"time_budget_s": 90, "trial_share": 0.2}
    content = {"seed": 1, "datasets": ["frappe"], "models": ["fm"], "tune": tune}
    (board.root / "params.yaml").write_text(json.dumps(content))
    board.gather()
    text = (board.root / "results" / "leaderboard.md").read_text()
    left_out = "leaves out settings that would take more than 20 % of that, and twice as long as the paper's"
    assert f"; a search ends after 90 seconds, and {left_out}." in text


@pytest.mark.parametrize(("grace", "end"), [(None, ""), (9, ", none in its first 9 epochs")])
def test_the_note_says_how_long_trials_were(board, grace, end):
    fill(board)
    tune = {"num_trials": 1, "max_epochs": 27, "scheduler": "asha", "fixed": {"model.embed_dim": 8}}
    tune["grace_epochs"] = grace
    content = {"seed": 1, "datasets": ["frappe"], "models": ["fm"], "tune": tune, "training": {"max_epochs": 50}}
    (board.root / "params.yaml").write_text(json.dumps(content))
    board.gather()
    epochs = f"at most 27 epochs per trial and 50 in the final runs; asha stops trials that are worse than others{end}"
    text = (board.root / "results" / "leaderboard.md").read_text()
    assert f"Held fixed in every trial: embed_dim 8; {epochs}. The paper uses" in text


@pytest.mark.parametrize(("size", "head"), [(32, "published RMSE (K = 256)"), (256, "published RMSE")])
def test_published_figures_say_their_k_where_it_is_not_ours(board, size, head):
    fill(board)
    tune = {"num_trials": 1, "fixed": {"model.embed_dim": size}}
    content = {"seed": 1, "datasets": ["frappe"], "models": ["fm"], "tune": tune}
    (board.root / "params.yaml").write_text(json.dumps(content))
    board.gather()
    assert board.tables()["frappe"][0][head] == "0.3321"


def test_so_far_leaves_out_what_is_missing_and_names_it(board):
    fill(board)
    whole = board.gather()
    (board.root / "results" / "movielens" / "fm" / "metrics.json").unlink()
    assert board.gather(so_far=True) == [
        cell for cell in whole if (cell["dataset"], cell["model"]) != ("movielens", "fm")
    ]
    assert (board.root / "results" / "leaderboard.md").read_text().endswith("\nNot run yet: fm on movielens.\n")


CONFLICT = '<<<<<<< ours\n{"num_seeds": 2}\n=======\n{"num_seeds": 5}\n>>>>>>> theirs\n'


@pytest.mark.parametrize(("file", "stage"), [("best.json", "tune"), ("metrics.json", "evaluate")])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONFLICT, r"line 1 has a merge conflict, which git left there"),
        ('{"num_seeds": 2}', r".+"),
        ("", r".+"),
        ("null", r".+"),
    ],
)
def test_a_damaged_cell_is_named_and_no_cell_that_is_not_run_yet(board, file, stage, content, reason):
    fill(board)
    board.gather()
    before = (board.root / "results" / "leaderboard.md").read_text()
    path = board.root / "results" / "movielens" / "fm" / file
    path.write_text(content)
    if file == "metrics.json":
        path.with_name("best.json").unlink()
    command = rf"python -m pipelines\.{stage} --model fm --dataset movielens"
    for so_far in (False, True):
        with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} is damaged \({reason}\): run {command}$"):
            board.gather(so_far=so_far)
    assert (board.root / "results" / "leaderboard.md").read_text() == before


def test_an_unknown_data_set_lists_the_known_ones(board):
    board.set_params(["netflix"], ["fm"])
    with pytest.raises(ValueError, match="unknown data set 'netflix'; choose one of: frappe, "):
        board.gather()


def test_another_metric_ranks_comes_first_and_is_named(board):
    board.set_params(["frappe"], ["lr", "fm", "inn"], metric="auc")
    for model, rmse, auc in (("lr", 0.3, 0.8), ("fm", 0.4, 0.9), ("inn", 0.5, 0.7)):
        board.add("frappe", model, rmse, test_auc=auc)
    assert [cell["model"] for cell in board.gather()] == ["fm", "lr", "inn"]
    text = (board.root / "results" / "leaderboard.md").read_text()
    assert "| model | test AUC | test logloss | test RMSE | valid AUC | parameters |" in text
    assert "Ranked by test AUC." in text


def test_a_metric_not_of_every_epoch_is_shown_where_it_is_asked_for_and_all_models_have_it(board, capsys):
    board.set_params(["frappe"], ["lr", "fm", "inn"], metric="auc")
    extra = {"test_pr_auc": 0.8, "test_ece": 0.012345}
    for model, auc in (("lr", 0.8), ("fm", 0.9)):
        board.add("frappe", model, 0.4, test_auc=auc, figures=extra)
    board.decline("frappe", "inn", "it wants more")
    page = board.root / "results" / "leaderboard.md"
    for asked, head in ((False, "| test RMSE | valid AUC"), (True, "| test RMSE | test PR-AUC | test ECE | valid AUC")):
        assert board.gather(all_metrics=asked)[0]["test_ece_mean"] == pytest.approx(0.012345)
        assert f"| model | test AUC | test logloss {head} |" in page.read_text()
        assert ("ECE is the calibration error" in page.read_text()) == asked
    assert "| 0.01234 ± 0.00110 |" in page.read_text().replace("0.01235", "0.01234")
    board.add("frappe", "fm", 0.4, figures={"test_pr_auc": 0.8})
    board.gather(all_metrics=True)
    assert "| test RMSE | test PR-AUC | valid AUC |" in page.read_text()


def test_a_metric_not_of_every_epoch_decides_and_a_result_without_it_comes_last(board):
    board.set_params(["frappe"], ["lr", "fm", "inn"], metric="pr_auc")
    for model, value in (("lr", 0.7), ("fm", 0.8)):
        board.add("frappe", model, 0.4, figures={"test_pr_auc": value, "valid_pr_auc": value})
    board.add("frappe", "inn", 0.3)
    assert [cell["model"] for cell in board.gather()] == ["fm", "lr", "inn"]
    text = (board.root / "results" / "leaderboard.md").read_text()
    assert "| model | test PR-AUC | test AUC | test logloss | test RMSE | valid PR-AUC |" in text
    assert "Ranked by test PR-AUC." in text
    assert "| inn † | – |" in text  # made under another metric


def test_a_row_of_another_behaviour_than_todays_has_a_footnote(board):
    board.set_params(["frappe"], ["lr", "fm"])
    board.add("frappe", "lr", 0.3)
    board.add("frappe", "fm", 0.4, behaviour="0123456789ab")
    assert {cell["model"]: cell["other_behaviour"] for cell in board.gather()} == {"lr": False, "fm": True}
    text = (board.root / "results" / "leaderboard.md").read_text()
    assert "| fm † |" in text
    assert "| lr |" in text
    assert text.count("† The code that made this result behaved differently") == 1


def test_without_such_a_row_there_is_no_footnote(board):
    board.set_params(["frappe"], ["lr"])
    board.add("frappe", "lr", 0.3)
    board.gather()
    assert "†" not in (board.root / "results" / "leaderboard.md").read_text()


@pytest.mark.parametrize(("width", "most", "left"), [(160, "5", 0), (80, "0.3000", 5), (40, "0.3333 ± 0.0011", 8)])
def test_a_narrow_terminal_shows_fewer_columns_and_cuts_none(board, monkeypatch, capsys, width, most, left):
    fill(board)
    monkeypatch.setattr("pipelines.leaderboard.console", lambda: Console(width=width))
    board.gather()
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.split()[:1] == ["fm"])
    assert "0.3333 ± 0.0011" in row
    assert most in row
    assert "…" not in shown
    assert (f"{left} more columns in " in shown) == bool(left)
    assert "seeds" in (board.root / "results" / "leaderboard.md").read_text()


def test_published_figures_are_those_of_the_metric_that_decides(board):
    board.set_params(["frappe-nfm", "movielens"], ["fm", "ifm"], metric="auc")
    for dataset, model in product(("frappe-nfm", "movielens"), ("fm", "ifm")):
        board.add(dataset, model, 0.5, metric="auc", valid_auc=0.9)
    published = {(row["dataset"], row["model"]): row["published"] for row in board.gather()}
    rows = of_others("frappe-nfm")
    fm = max(row["auc"] for row in rows if row["model"] == "fm")
    assert published == {("frappe-nfm", "fm"): fm, **dict.fromkeys(published.keys() - {("frappe-nfm", "fm")})}
    assert board.tables()["frappe-nfm"][0]["published AUC"] == f"{fm:.4f}"
    page = (board.root / "results" / "leaderboard.md").read_text()
    assert f"The best published AUC is {rows[0]['auc']:.4f}: {rows[0]['name']} ({rows[0]['source']})." in page
    assert page.count("The best published") == 1  # of movielens there is none


def test_a_column_has_the_peak_memory_if_the_final_runs_of_most_models_record_it(board):
    fill(board)
    board.add("frappe", "fm", 0.7, figures={"peak_memory_mb": 1234.4})
    board.gather()
    assert "peak MiB" not in board.tables()["frappe"][0]
    for model in ("lr", "fm", "inn"):
        board.add("movielens", model, 0.5, figures={"peak_memory_mb": 400})
    board.gather()
    assert [row["peak MiB"] for row in board.tables()["frappe"]] == ["–", "–", "1,234"]


def test_the_first_trial_says_what_a_model_reaches_untuned(board):
    fill(board)
    write_trials(board.folder("frappe", "fm"), ("COMPLETE", 1, 3, 0.42), ("COMPLETE", 1, 6, 0.35))
    write_trials(board.folder("frappe", "lr"), ("PRUNED", 1, 1, 0.41), ("COMPLETE", 1, 6, 0.6))
    board.gather()
    untuned = {row["model"]: row["untuned valid RMSE"] for row in board.tables()["frappe"]}
    assert untuned == {"inn": "–", "fm": "0.4200", "lr": "–"}


def test_the_minutes_of_a_search_are_those_of_its_trials(board):
    fill(board)
    write_trials(board.folder("frappe", "fm"), ("COMPLETE", 1, 3, 0.3), ("PRUNED", 1, 6, 0.4))
    assert [cell["search_seconds"] for cell in board.gather()] == [None, 90.0, None, None, None, None]
    assert [row["search min"] for row in board.tables()["frappe"]] == ["–", "1.5", "–"]
    (board.folder("frappe", "fm") / "trials.csv").write_text("<<<<<<< ours\ntrial,seconds\n=======\n>>>>>>> theirs\n")
    with pytest.raises(
        ValueError, match=r"fm/trials.csv is damaged .line 1 has a merge conflict.*pipelines.tune --model fm"
    ):
        board.gather()


def test_without_published_figures_there_is_no_column_for_them(board):
    board.set_params(["movielens"], ["lr"])
    board.add("movielens", "lr", 0.5)
    board.gather()
    text = (board.root / "results" / "leaderboard.md").read_text()
    assert "ublished" not in text
    assert "The paper" not in text


def test_a_cell_that_failed_leaves_the_rest_of_the_board_and_says_why(board):
    fill(board)
    whole = board.gather()
    (board.root / "results" / "movielens" / "fm" / "best.json").unlink()
    note = Paths(board.root).study("movielens", "fm")
    with pytest.raises(ValueError, match="all trials failed"), noted_failure(note):
        raise ValueError("all trials failed:\n the first with nan")
    rest = [cell for cell in whole if (cell["dataset"], cell["model"]) != ("movielens", "fm")]
    assert board.gather() == board.gather(so_far=True) == rest
    text = (board.root / "results" / "leaderboard.md").read_text()
    assert text.endswith("\nfm on movielens failed: all trials failed: the first with nan\n")
    board.add("movielens", "fm", 0.6)
    assert board.gather() == whole
    with noted_failure(note):
        pass
    (board.root / "results" / "movielens" / "fm" / "best.json").unlink()
    with pytest.raises(ValueError, match=r"no .*best\.json: run"):
        board.gather()


def test_the_luck_of_searching_is_beside_that_of_the_seeds(board):
    board.set_params(["frappe"], ["lr", "fm"])
    board.add("frappe", "lr", 0.61)
    board.add("frappe", "fm", 0.33)
    file = board.folder("frappe", "fm") / "metrics.json"
    searches = [{"test_rmse": value, "test_auc": 0.9} for value in (0.33, 0.35, 0.31)]
    file.write_text(json.dumps({**json.loads(file.read_text()), "searches": searches}))
    rows = {row["model"]: row for row in board.gather()}
    assert (rows["fm"]["searches_mean"], rows["fm"]["num_searches"]) == (pytest.approx(0.33), 3)
    assert "searches_mean" not in rows["lr"]
    table = {row["model"]: row["over 3 searches"] for row in board.tables()["frappe"]}
    assert table == {"fm": "0.3300 ± 0.0200", "lr": "–"}
    assert "repeated with other seeds" in (board.root / "results" / "leaderboard.md").read_text()


@pytest.mark.parametrize(("num_trials", "says"), [(10, True), (11, False)])
def test_the_page_says_so_where_all_trials_are_random(board, num_trials, says):
    board.set_params(["frappe"], ["lr"])
    board.add("frappe", "lr", 0.3, num_trials=num_trials)
    board.gather()
    assert ("the others are random draws" in (board.root / "results" / "leaderboard.md").read_text()) == says


def test_a_board_of_several_data_sets_ranks_the_models_that_all_of_them_have(board):
    fill(board)
    board.gather()
    assert "All data sets" not in board.tables()  # without resamples of the test rows
    for dataset, means in {
        "frappe": {"lr": 0.61, "fm": 0.3333, "inn": 0.3071},
        "movielens": {"lr": 0.5, "fm": 0.6},
    }.items():
        for model, mean in means.items():
            write_runs(board.folder(dataset, model), [[mean] * 40] * 5)
    rows = board.gather()
    shown = {row["model"]: row for row in board.tables()["All data sets"]}
    assert set(shown) == {"lr", "fm"}  # of inn, a single seed was tested
    assert shown["fm"] == {
        "model": "fm", "frappe": "0.3333", "movielens": "0.6000", "mean rank": "1.50", "95 % of ranks": "1.0 … 2.0",
        "improvability": "8.3 %", "95 % of shares": "0.0 … 16.7 %",
    }  # fmt: skip
    assert len(rows) == 6
    board.set_params(["frappe"], ["lr", "fm", "inn"])
    board.gather()
    assert "All data sets" not in board.tables()


def test_a_card_says_how_many_pairs_are_known_and_which_files_are_not_released(board):
    fill(board)
    board.gather()
    assert "training positive" not in (board.root / "results" / "leaderboard.md").read_text()
    for split, why in (
        ("random", ""),
        ("lines", ""),
        ("new_pairs", ", because the split keeps all rows with the same pair on one side"),
    ):
        write_card(board.root / "results" / "frappe", split=split, auc_of_counting=0.5 if split == "lines" else None)
        published = {row["model"]: row["published"] for row in board.gather() if row["dataset"] == "frappe"}
        assert published["fm"] == (0.3321 if split == "random" else None)
        text = (board.root / "results" / "leaderboard.md").read_text()
        said = "87.5 % of the test positives and 0.0 % of the test negatives"
        said += " have the same user and item as a training positive"
        frappe, movielens = text.split("## movielens")
        if split == "lines":
            why = ". Ranked by the share of negatives among training rows that differ only in the item, test rows have "
            why += "AUC 0.5000; 0.5 would give nothing away"
        assert f"{said}{why}.\nData: a.zip is not the released file: it is shorter.\n" in frappe
        assert "training positive" not in movielens


def test_a_damaged_card_says_what_to_run(board):
    fill(board)
    (board.root / "results" / "frappe" / "card.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"card\.json is damaged .*: run python -m pipelines\.prepare --dataset frappe"
    ):
        board.gather()
