"""Check which settings a search leaves out because they are too slow for its time."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from searches import cell_of

from pipelines.project.params import TuneParams
from pipelines.search import pace, trial
from pipelines.search.journal import REASON
from pipelines.search.study_search import TOO_SLOW
from pipelines.training.cell import Cell
from pipelines.training.epochs import Epoch

BUDGET = {"time_budget_s": 100.0, "trial_share": 0.2}
PAPER, SLOW = {"training.learning_rate": 0.1}, {"training.learning_rate": 0.2}


class Timed(Cell):
    """Train nothing, at a pace that the setting says: a learning rate of 0.1 stands for 0.1 s a row."""

    def train(self, setting, seed, report=None):
        assert len(self.valid_rows) <= pace.VALID_ROWS
        seconds = setting["training.learning_rate"] * len(self.train_rows)
        return None, [Epoch(1, 99.0, 0.0, SimpleNamespace()), Epoch(2, seconds, 0.0, SimpleNamespace())]


@pytest.fixture
def cell(prepared):
    cell = Timed(**vars(cell_of(prepared, "fm")))
    return replace(cell, training=cell.training.model_copy(update={"batch_size": 8, "max_epochs": 5}))


def test_the_time_of_all_epochs_follows_from_a_few_steps(cell):
    assert pace.most_seconds(cell, PAPER) == pytest.approx(0.1 * len(cell.train_rows) * 5)
    assert pace.most_seconds(cell, {**PAPER, "training.max_epochs": 2}) == pytest.approx(0.1 * len(cell.train_rows) * 2)


def test_an_epoch_of_few_steps_is_quick_enough_to_be_tried(cell):
    most = len(cell.train_rows) // pace.LEAST_STEPS
    assert pace.most_seconds(cell, {**PAPER, "training.batch_size": most}) > 0
    assert pace.most_seconds(cell, {**PAPER, "training.batch_size": most + 1}) == 0


def test_a_setting_of_a_real_model_has_a_pace(prepared):
    cell = cell_of(prepared, "fm")
    assert 0 < pace.most_seconds(cell, {"model.embed_dim": 4, "training.batch_size": 16}) < 60


@pytest.mark.parametrize(
    ("paper", "seconds", "budget", "model", "left_out"),
    [
        (1, 21, {}, "fm", True),
        (1, 20, {}, "fm", False),  # a fifth of the time
        (10, 20.5, {}, "fm", True),
        (11, 22, {}, "fm", False),  # twice as long as the paper's setting
        (1, 99, {"trial_share": None}, "fm", False),
        (1, 99, {"time_budget_s": None, "num_trials": 3}, "fm", False),
        (1, 99, {"deterministic": True}, "fm", False),
        (1, 99, {}, "mean", False),  # no gradients
    ],
)
def test_what_takes_too_much_of_the_time_is_left_out(cell, monkeypatch, paper, seconds, budget, model, left_out):
    times = {0.1: paper, 0.2: seconds}
    monkeypatch.setattr(pace, "most_seconds", lambda cell, setting: times[setting["training.learning_rate"]])
    reason = pace.too_slow(replace(cell, model=model), SLOW, PAPER, TuneParams(**{**BUDGET, **budget}))
    expected = f"training might take {seconds:.0f} s, too long for tune.time_budget_s, 100 s"
    assert reason == (expected if left_out else "")


@pytest.mark.parametrize(("known", "trained"), [([PAPER, SLOW], True), ([PAPER], False)])
def test_a_known_setting_is_trained_however_slow(cell, monkeypatch, known, trained):
    told, told_of, settings = [], [], []
    monkeypatch.setattr(trial, "too_slow", lambda cell, setting, paper, budget: told_of.append(paper) or "why")
    monkeypatch.setattr(trial.tune, "report", told.append)
    monkeypatch.setattr(trial.code, "check_same", lambda running: None)
    monkeypatch.setattr(trial, "prepare_process", lambda cpus: None)
    monkeypatch.setattr(Timed, "train", lambda self, setting, seed, report: settings.append(setting))
    trial.run_trial(SLOW, cell, {"model.embed_dim": 4}, known, TuneParams(**BUDGET), "")
    assert (settings == [{"model.embed_dim": 4, **SLOW}]) is trained
    assert told_of == ([] if trained else [{"model.embed_dim": 4, **PAPER}])
    assert [(report[REASON], report[TOO_SLOW]) for report in told] == ([] if trained else [("why", True)])
