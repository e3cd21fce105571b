import json
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import optuna
import polars as pl
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from searches import best, cell_of, check_whole, made_trial, num_ended, table

from pipelines.project import code
from pipelines.project.golden_files import accepted_behaviour
from pipelines.project.params import TrainingParams, TuneParams
from pipelines.search import journal as study_record
from pipelines.search import tuner
from pipelines.search.trial import trial_seed


def studies(project, model):
    """Map the name of each study in the journal to its trials."""
    storage = JournalStorage(JournalFileBackend(str(project.study(model) / "journal.log")))
    names = optuna.get_all_study_names(storage)
    return {name: optuna.load_study(study_name=name, storage=storage).get_trials() for name in names}


def trials(project, model):
    (found,) = studies(project, model).values()
    return found


def complete(trials):
    return {trial.number: (trial.value, trial.params) for trial in trials if trial.state is TrialState.COMPLETE}


def files(project, model):
    return {name: (project.results(model) / name).read_bytes() for name in ("trials.csv", "best.json")}


def test_the_budget_is_spent_and_starts_with_the_setting_of_the_paper(searched):
    rows = table(searched, "fm").rows(named=True)
    assert [row["trial"] for row in rows] == [0, 1, 2]
    assert {row["state"] for row in rows} == {"complete"}
    drawn = ["training.learning_rate", "training.l2", "model.dropout"]
    assert [rows[0][key] for key in drawn] == [0.01, 1e-8, 0.3]
    assert len({row["training.learning_rate"] for row in rows}) == 3
    assert list(rows[0]) == ["trial", "state", "valid", "best_epoch", "epochs", "seconds", *drawn, "reason"]


def test_best_json_is_the_best_row_of_the_trials_and_says_how_it_was_found(searched):
    rows, found = table(searched, "fm"), best(searched, "fm")
    row = rows.sort("valid").row(0, named=True)
    drawn = ("training.learning_rate", "training.l2", "model.dropout")
    assert found["setting"] == {"model.embed_dim": 4, "training.batch_size": 256, **{key: row[key] for key in drawn}}
    assert found["trial"] == row["trial"]
    assert found["metric"] == "rmse"
    assert found["valid_rmse"] == row["valid"]
    assert (found["model"], found["dataset"], found["num_trials"]) == ("fm", "synthetic", 3)
    assert found["budget"] == {"num_trials": 3, "time_budget_s": None}
    assert found["seeds"] == {"root": 2019}
    made_by = found["made_by"]
    assert made_by["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(made_by["versions"]) >= {"python", "torch", "ray", "optuna"}
    assert made_by["behaviour"] == cell_of(searched, "fm").behaviour == accepted_behaviour("fm", TrainingParams())
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert made_by["commit"] == (commit.stdout.strip() or None)
    assert made_by["dirty"] in ((True, False) if made_by["commit"] else (None,))
    assert found["study"] in studies(searched, "fm")


def test_a_row_of_the_trials_is_what_training_that_setting_gives(searched):
    cell, rows = cell_of(searched, "fm"), table(searched, "fm")
    for row in rows.rows(named=True):
        setting = {key: value for key, value in row.items() if "." in key}
        setting |= {"model.embed_dim": 4, "training.batch_size": 256}
        epochs = cell.train(setting, trial_seed(cell, setting))[1]
        lowest = min(epochs, key=lambda epoch: epoch.valid["rmse"])
        assert row["valid"] == pytest.approx(lowest.valid["rmse"], rel=1e-5)
        assert (row["best_epoch"], row["epochs"]) == (lowest.epoch, len(epochs))
    assert rows["best_epoch"].n_unique() > 1


def test_the_study_keeps_on_which_machine_each_trial_ran(searched, ray_address):
    assert [trial.user_attrs["node"] for trial in trials(searched, "fm")] == [ray_address.split(":")[0]] * 3


def test_running_again_trains_nothing_and_writes_the_same(searched_project, no_cluster):
    before = files(searched_project, "fm")
    for name in before:
        (searched_project.results("fm") / name).unlink()
    searched_project.tune("fm")
    assert files(searched_project, "fm") == before


def test_more_trials_go_on_from_those_there_are(searched_project):
    before = table(searched_project, "fm")
    searched_project.set(tune={"num_trials": 4})
    searched_project.tune("fm")
    rows = table(searched_project, "fm")
    assert rows.head(3).equals(before)
    assert rows["trial"].to_list() == [0, 1, 2, 3]
    assert rows["training.learning_rate"].n_unique() == 4
    found = best(searched_project, "fm")
    assert (found["num_trials"], found["budget"]["num_trials"]) == (4, 4)


def test_a_search_can_be_repeated_with_other_seeds_and_what_each_finds_is_tested(searched_project, monkeypatch):
    before = json.loads(files(searched_project, "fm")["best.json"])
    searched_project.set(tune={"num_trials": 2, "num_searches": 2}, evaluate={"num_seeds": 1})
    searched_project.tune("fm")
    found = best(searched_project, "fm")
    (other,) = found["other_searches"]
    assert found["study"] == before["study"] != other["study"]
    first, second = (studies(searched_project, "fm")[name] for name in (found["study"], other["study"]))
    assert first[0].params == second[0].params  # the paper's setting, with another seed
    assert first[0].value != second[0].value
    assert first[1].params != second[1].params
    searched_project.evaluate("fm")
    metrics = json.loads((searched_project.results("fm") / "metrics.json").read_text())
    assert len(metrics["searches"]) == 2
    reached = [means["test_rmse"] for means in metrics["searches"]]
    assert reached[0] == metrics["test_rmse_mean"]
    assert (reached[0] == reached[1]) == (found["setting"] == other["setting"])
    monkeypatch.setattr(tuner, "cluster", lambda: pytest.fail("a trial was about to run"))
    searched_project.tune("fm")
    assert best(searched_project, "fm") == found


@pytest.mark.fault("changed")
def test_other_params_are_another_study_and_the_first_one_is_kept(searched_project, monkeypatch):
    before, trials_before = files(searched_project, "fm"), complete(trials(searched_project, "fm"))
    params = searched_project.params.read_text()
    searched_project.set(training={"max_epochs": 2, "metric": "auc"}, tune={"num_trials": 2})
    searched_project.tune("fm")
    rows, found = table(searched_project, "fm"), best(searched_project, "fm")
    assert rows["trial"].to_list() == [0, 1]
    assert rows["epochs"].to_list() == [2, 2]
    assert found["metric"] == "auc"
    assert found["valid_auc"] == rows["valid"].max() > 0
    assert rows.row(found["trial"], named=True)["valid"] == found["valid_auc"]
    first = json.loads(before["best.json"])["study"]
    assert found["study"] != first
    assert complete(studies(searched_project, "fm")[first]) == trials_before
    searched_project.params.write_text(params)
    monkeypatch.setattr(tuner, "cluster", lambda: pytest.fail("a trial was about to run"))
    searched_project.tune("fm")
    assert files(searched_project, "fm") == before


@pytest.mark.filterwarnings("error:The reported value is ignored")  # a trial that starts again reports again
@pytest.mark.parametrize(("scheduler", "grace"), [("asha", 1), ("median", 4)])
def test_what_a_scheduler_stops_counts_as_pruned_and_can_not_be_the_best(searched_project, scheduler, grace):
    fixed = {"model.embed_dim": 4, "training.batch_size": 256}
    searched_project.set(
        tune={"scheduler": scheduler, "grace_epochs": grace, "num_trials": 12, "fixed": fixed},
        training={"max_epochs": 9, "patience": 9},
    )
    searched_project.tune("fm")
    rows, found = table(searched_project, "fm"), best(searched_project, "fm")
    assert len(rows) == 12
    by_state = rows.group_by("state").agg(pl.col("epochs").min().alias("least"), pl.col("epochs").max().alias("most"))
    epochs = {row["state"]: (row["least"], row["most"]) for row in by_state.rows(named=True)}
    assert set(epochs) == {"complete", "pruned"}
    assert epochs["complete"] == (9, 9)
    assert epochs["pruned"][0] >= grace
    assert epochs["pruned"][1] < 9
    assert found["valid_rmse"] == rows.filter(pl.col("state") == "complete")["valid"].min()
    pruned = [trial for trial in max(studies(searched_project, "fm").values(), key=len) if trial.state.name == "PRUNED"]
    assert all(trial.intermediate_values for trial in pruned)


def test_another_scheduler_is_another_study(searched_project, monkeypatch):
    class Started(Exception):  # noqa: N818
        pass

    def refuse():
        raise Started

    monkeypatch.setattr(tuner, "cluster", refuse)
    (first,) = studies(searched_project, "fm")
    searched_project.set(tune={"scheduler": "asha", "num_trials": 1})
    with pytest.raises(Started):  # another study has its budget left
        searched_project.tune("fm")
    assert len(studies(searched_project, "fm").keys() - {first}) == 1


def test_a_trial_may_have_fewer_epochs_than_the_final_runs(searched_project):
    before = best(searched_project, "fm")
    training = {"max_epochs": 4, "patience": 4}
    searched_project.set(tune={"max_epochs": 2, "num_trials": 1}, training=training, evaluate={"num_seeds": 1})
    searched_project.tune("fm")
    found = best(searched_project, "fm")
    assert table(searched_project, "fm")["epochs"].to_list() == [2]
    assert len({before["study"], found["study"]}) == 2
    searched_project.evaluate("fm")
    assert pl.read_csv(searched_project.results("fm") / "curves.csv")["epoch"].max() == 4
    searched_project.set(training={"max_epochs": 5})
    searched_project.tune("fm")
    assert best(searched_project, "fm") == found


@pytest.mark.fault("torn")
def test_a_record_that_was_cut_off_is_dropped_and_the_trials_before_are_kept(searched_project, caplog):
    journal, before = searched_project.study("fm") / "journal.log", table(searched_project, "fm")
    lines = journal.read_bytes().splitlines(keepends=True)
    end = max(number for number, line in enumerate(lines) if "values" in json.loads(line))
    last = json.loads(lines[end])  # how the last trial ended
    assert last["values"] == [before.filter(pl.col("trial") == last["trial_id"])["valid"].item()]
    journal.write_bytes(b"".join(lines[:end]) + lines[end][: len(lines[end]) // 2])
    searched_project.tune("fm")
    assert f"{journal}: dropped a last line that was cut off" in caplog.text
    rows = table(searched_project, "fm")
    assert rows.height == 3
    kept = before.filter(pl.col("trial") != last["trial_id"])
    assert rows.head(2).equals(kept)
    again, lost = rows.row(2, named=True), before.row(last["trial_id"], named=True)
    drawn = [key for key in again if "." in key]
    assert [again[key] for key in drawn] == [lost[key] for key in drawn]
    assert again["valid"] == pytest.approx(lost["valid"], rel=1e-5)


@pytest.mark.fault("torn")
def test_a_search_cut_off_before_any_trial_ended_draws_no_setting_twice(searched_project):
    journal = searched_project.study("fm") / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    first_end = next(number for number, line in enumerate(lines) if json.loads(line).get("values"))
    journal.write_bytes(b"".join(lines[:first_end]))
    running = [trial.params for trial in trials(searched_project, "fm") if trial.state is TrialState.RUNNING]
    assert len(running) > 1  # the paper's setting, and drawn ones
    searched_project.set(tune={"num_trials": len(running) + 2})
    searched_project.tune("fm")
    settings = [params for _, params in complete(trials(searched_project, "fm")).values()]
    assert all(params in settings for params in running)
    assert len(settings) == len({json.dumps(params, sort_keys=True) for params in settings}) == len(running) + 2


def test_a_whole_journal_is_left_as_it_is(searched_project, caplog):
    journal = searched_project.study("fm") / "journal.log"
    before = journal.read_bytes()
    journal.with_name("journal.log.lock").touch()  # of a search that was killed while it wrote
    storage = study_record.open_journal(journal)
    assert len(optuna.get_all_study_names(storage)) == 1
    assert journal.read_bytes() == before
    assert not caplog.records
    assert not journal.with_name("journal.log.lock").exists()


def test_a_deterministic_search_gives_the_same_trials_twice_in_parallel(searched_project):
    first = table(searched_project, "fm").drop("seconds")
    searched_project.set(tune={"cpus_per_trial": 1, "deterministic": True})
    shutil.rmtree(searched_project.study("fm"))
    searched_project.tune("fm")
    assert table(searched_project, "fm").drop("seconds").equals(first)
    assert first["training.learning_rate"].n_unique() == 3


def test_a_time_budget_ends_the_search_and_counts_the_time_of_earlier_trials(searched_project, monkeypatch):
    (name,) = studies(searched_project, "fm")
    backend = JournalFileBackend(str(searched_project.study("fm") / "journal.log"))
    study = optuna.load_study(study_name=name, storage=JournalStorage(backend))
    study.add_trial(made_trial(0, 1000))
    seconds = 4 + 1e6 - study_record.budget_left(study, TuneParams(time_budget_s=1e6))[1]
    spent = study.user_attrs[study_record.SECONDS]
    searched_project.set(tune={"num_trials": 3000, "time_budget_s": seconds})
    ended, real_cluster = [], tuner.cluster
    monkeypatch.setattr(tuner, "cluster", lambda: Timed(real_cluster(), ended))
    searched_project.tune("fm")
    assert 3 < ended[0] < 90  # on a machine that is busy; 3,000 trials take longer on any
    study = optuna.load_study(study_name=name, storage=JournalStorage(backend))
    assert study.user_attrs[study_record.SECONDS] - spent <= ended[0]  # without the start of Ray
    found = best(searched_project, "fm")
    assert 4 <= found["num_trials"] == table(searched_project, "fm").height < 3000
    assert found["budget"] == {"num_trials": 3000, "time_budget_s": seconds}


class Timed:
    """Record how many seconds a context was open."""

    def __init__(self, context, seconds):
        self.context, self.seconds = context, seconds

    def __enter__(self):
        value = self.context.__enter__()
        self.start = time.monotonic()
        return value

    def __exit__(self, *error):
        self.seconds.append(time.monotonic() - self.start)
        return self.context.__exit__(*error)


@pytest.mark.fault("trial")
def test_trials_that_the_time_budget_ends_count_with_their_epochs(project, monkeypatch):
    endless = {"max_epochs": 100_000, "patience": 100_000}
    project.set(training=endless, tune={"num_trials": None, "time_budget_s": 12})
    project.tune("fm")
    rows, found = table(project, "fm"), best(project, "fm")
    assert set(rows["state"]) == {"complete"}
    assert set(rows["reason"]) == {"ended by tune.time_budget_s"}
    assert rows["epochs"].min() > 0
    assert found["valid_rmse"] == rows["valid"].min()
    assert found["num_trials"] == rows.height <= 2  # as many as run side by side, and came to an epoch
    before = files(project, "fm")
    monkeypatch.setattr(tuner, "cluster", lambda: pytest.fail("a trial was about to run"))
    project.tune("fm")  # the budget is spent
    assert files(project, "fm") == before


@pytest.mark.fault("trial")
def test_trials_that_failed_for_a_limit_run_again_with_another(project):
    project.set(training={"max_epochs": 2}, tune={"num_trials": 2, "trial_timeout_s": 0.01, "max_failures": 0})
    with pytest.raises(ValueError, match=r"^all trials of fm on synthetic failed, .*--retry to try them again$"):
        project.tune("fm")
    project.set(tune={"trial_timeout_s": 600})
    project.tune("fm")
    rows = table(project, "fm")
    assert rows["state"].to_list() == ["complete"] * 2
    assert rows["model.dropout"][0] == 0.3  # the paper's setting, again
    assert best(project, "fm")["num_trials"] == 2


def test_a_lowered_number_of_trials_has_the_best_of_as_many(searched_project, no_cluster):
    before = table(searched_project, "fm")
    searched_project.set(tune={"num_trials": 1})
    searched_project.tune("fm")
    assert table(searched_project, "fm").equals(before.head(1))
    assert (best(searched_project, "fm")["trial"], best(searched_project, "fm")["num_trials"]) == (0, 1)
    searched_project.set(tune={"num_trials": 3})
    searched_project.tune("fm")
    assert table(searched_project, "fm").equals(before)


def test_a_search_whose_code_is_edited_is_an_error_and_nothing_is_recorded(searched_project, no_cluster, monkeypatch):
    kept = code.on_disk()
    monkeypatch.setattr(code, "on_disk", lambda: {**kept, "models/fm.py": "0"})
    monkeypatch.setattr(code, "at_start", lambda: kept)
    (searched_project.results("fm") / "best.json").unlink()
    with pytest.raises(
        ValueError, match=r"^models/fm\.py changed while this ran, so nothing is recorded: run it again"
    ):
        searched_project.tune("fm")
    assert not (searched_project.results("fm") / "best.json").exists()


def test_a_worker_with_other_code_trains_nothing(project, monkeypatch):
    other = {**code.on_disk(), "models/fm.py": "0"}
    monkeypatch.setattr(code, "on_disk", lambda: other)
    monkeypatch.setattr(code, "at_start", lambda: other)
    with pytest.raises(ValueError, match=r"^[\d.]+: the code in .* is not that of the command that started this"):
        project.tune("fm")
    assert {trial.state.name for trial in trials(project, "fm")} == {"FAIL"}
    assert all("interrupted" in trial.user_attrs for trial in trials(project, "fm"))


@pytest.mark.fault("twice")
def test_a_second_run_of_a_cell_at_work_says_who_holds_it_and_stops(project, no_cluster):
    project.set(training={"max_epochs": 60, "patience": 60}, tune={"num_trials": 6})
    with subprocess.Popen(project.command("tune", "lr")) as first:
        while not num_ended(project):
            assert first.poll() is None
            time.sleep(0.1)
        holder = f"process {first.pid} on {socket.gethostname()} holds {project.study('lr') / 'lock'}"
        first.send_signal(signal.SIGSTOP)  # else it may end before the second run starts
        try:
            with pytest.raises(ValueError, match="at work") as raised:
                project.tune("lr")
        finally:
            first.send_signal(signal.SIGCONT)
        assert str(raised.value) == f"lr on synthetic is at work already: {holder}"
        assert first.wait(600) == 0
    check_whole(project, {})
