import io
import pickle
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from pipelines.project.metric import METRICS
from pipelines.project.settings import format_setting
from pipelines.search.progress import TrialTable

SETTING = {"training.learning_rate": 0.05, "model.embed_dim": 32, "model.hidden_dims": "[64, 32]"}


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def made_table(done=0, best=None, started_ago=0.0, num_trials=None, seconds_left=None, metric="rmse"):
    table = TrialTable("fm on synthetic", METRICS[metric], done, num_trials, seconds_left, best)
    table.start = time.monotonic() - started_ago
    return table


def run_trial(table, number, *scores):
    """Report a trial to the table from its start to its last epoch."""
    trial = SimpleNamespace(trial_id=str(number), config=SETTING)
    table.on_trial_start(0, [], trial)
    for epoch, score in enumerate(scores, 1):
        table.on_trial_result(0, [], trial, {"epoch": epoch, "best_score": score})
    return trial


def test_the_table_can_be_pickled_while_it_is_shown():
    table = made_table(num_trials=3)
    table.console = Console(file=io.StringIO(), force_terminal=True)
    table.live.console = table.console
    table.setup()
    run_trial(table, 0, 0.5)
    copy = pickle.loads(pickle.dumps(table))
    table.on_experiment_end([])
    assert (copy.title, copy.done, copy.running) == (table.title, 0, table.running)


def test_a_finished_trial_is_a_line_where_there_is_no_terminal(capsys):
    table = made_table(num_trials=3)
    table.setup()
    for number, scores in enumerate([(0.5, 0.4), (0.6,)]):
        trial = run_trial(table, number, *scores)
        assert capsys.readouterr().err == ""
        table.on_trial_complete(0, [], trial)
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert line.startswith(f"fm on synthetic: {number + 1} of 3 trials, best 0.4000, about 0 s left: ")
        epochs = f"{len(scores)} epochs, {scores[-1]:.4f}, "
        assert line.endswith(f": {epochs}learning_rate=0.05 embed_dim=32 hidden_dims=[64, 32]\n")
    table.on_trial_error(0, [], run_trial(table, 2, 0.1))
    line = capsys.readouterr().err
    assert line.startswith("fm on synthetic: 3 of 3 trials, best 0.4000, ")
    assert line.endswith(": failed, learning_rate=0.05 embed_dim=32 hidden_dims=[64, 32]\n")
    table.on_experiment_end([])
    assert capsys.readouterr() == ("", "")


def test_a_trial_that_ends_without_an_epoch_is_shown_too(capsys):
    table = made_table(num_trials=3)
    table.on_trial_complete(0, [], run_trial(table, 0))
    assert "1 of 3 trials, best –, " in capsys.readouterr().err


def test_a_terminal_shows_the_running_trials_and_prints_no_lines():
    table, output = made_table(num_trials=3), io.StringIO()
    table.console = Console(file=output, force_terminal=True)
    first = run_trial(table, 0, 0.5, 0.4)
    run_trial(table, 1)
    table.on_trial_complete(0, [], first)
    assert output.getvalue() == ""
    console = Console(file=io.StringIO(), width=120)
    console.print(table.render())
    text = console.file.getvalue()
    assert "fm on synthetic: 1 of 3 trials, best 0.4000, about 0 s left" in text
    assert text.count("learning_rate=0.05") == 1
    run_trial(table, 1, 0.7, 0.6)
    console.print(table.render())
    assert "0.6000" in console.file.getvalue()


def test_a_search_that_goes_on_counts_the_trials_and_the_best_of_before(capsys):
    table = made_table(done=4, best=-0.8, num_trials=6, metric="auc")
    table.on_trial_complete(0, [], run_trial(table, 0, -0.7))
    assert "5 of 6 trials, best 0.8000, " in capsys.readouterr().err
    table.on_trial_complete(0, [], run_trial(table, 1, -0.9))
    assert "6 of 6 trials, best 0.9000, " in capsys.readouterr().err


def test_the_time_left_follows_from_the_trials_of_this_run():
    table = made_table(done=4, num_trials=10, started_ago=40)
    assert table.time_left() == "time left not known yet"
    for number in range(2):
        table.on_trial_complete(0, [], run_trial(table, number, 0.5))
    assert table.time_left() == "about 80 s left"  # two trials took 40 s, four remain


def test_the_time_left_is_at_most_that_of_the_time_budget():
    assert made_table(seconds_left=100, started_ago=30).time_left() == "about 70 s left"
    assert made_table(seconds_left=100, started_ago=130).time_left() == "about 0 s left"
    table = made_table(num_trials=10, seconds_left=100, started_ago=40)
    table.done = 1  # 360 s for the other nine trials
    assert table.time_left() == "about 60 s left"
    table.done = 8  # 10 s for the other two trials
    assert table.time_left() == "about 10 s left"


def test_a_budget_of_time_alone_has_no_total():
    assert made_table(seconds_left=100).summary().startswith("fm on synthetic: 0 trials, best –, about 100 s left")


def test_scores_are_shown_as_metrics_and_settings_in_short():
    for metric, score, shown in (("rmse", None, "–"), ("rmse", 0.123456, "0.1235"), ("auc", -0.98765, "0.9877")):
        assert TrialTable("", METRICS[metric], 0, 3, None, None).format_score(score) == shown
    assert format_setting({"training.learning_rate": 0.0123456, "training.batch_size": 1024}) == (
        "learning_rate=0.0123 batch_size=1024"
    )
    assert format_setting({"training.l2": 1e-8, "model.use": True}) == "l2=1e-08 use=True"
