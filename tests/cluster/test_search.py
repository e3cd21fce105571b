import json
import os
import shutil
import time
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import optuna
import polars as pl
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from pipelines import search
from pipelines import study as study_record
from pipelines.cell import Cell, load_cell
from pipelines.params import TuneParams, load_params
from pipelines.paths import Paths
from pipelines.ray_cluster import resources_per_run
from search_spaces import shared


def cell_of(project, model):
    return load_cell(model, "synthetic", load_params(project.params), Paths(project.root))


def studies(project, model):
    """The trials of each study in the journal, by its name."""
    storage = JournalStorage(JournalFileBackend(str(project.study(model) / "journal.log")))
    names = optuna.get_all_study_names(storage)
    return {name: optuna.load_study(study_name=name, storage=storage).get_trials() for name in names}


def trials(project, model):
    (found,) = studies(project, model).values()
    return found


def complete(trials):
    return {trial.number: (trial.value, trial.params) for trial in trials if trial.state is TrialState.COMPLETE}


def table(project, model):
    return pl.read_csv(project.results(model) / "trials.csv")


def best(project, model):
    return json.loads((project.results(model) / "best.json").read_text())


def files(project, model):
    return {name: (project.results(model) / name).read_bytes() for name in ("trials.csv", "best.json")}


@pytest.fixture
def no_cluster(monkeypatch):
    """A search that wants to run a trial fails."""
    monkeypatch.setattr(search, "cluster", lambda: pytest.fail("a trial was about to run"))


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
    assert found["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(found["versions"]) == {"python", "torch", "ray", "optuna"}
    assert found["study"] in studies(searched, "fm")


def test_a_row_of_the_trials_is_what_training_that_setting_gives(searched):
    cell, rows = cell_of(searched, "fm"), table(searched, "fm")
    for row in rows.rows(named=True):
        setting = {key: value for key, value in row.items() if "." in key}
        setting |= {"model.embed_dim": 4, "training.batch_size": 256}
        epochs = list(cell.start(setting, "tune", json.dumps(setting, sort_keys=True))[1])
        lowest = min(epochs, key=lambda epoch: epoch.valid.rmse)
        assert row["valid"] == pytest.approx(lowest.valid.rmse, rel=1e-5)
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
    searched_project.set(tune={"num_trials": 5})
    searched_project.tune("fm")
    rows = table(searched_project, "fm")
    assert rows.head(3).equals(before)
    assert rows["trial"].to_list() == [0, 1, 2, 3, 4]
    assert rows["training.learning_rate"].n_unique() == 5
    found = best(searched_project, "fm")
    assert (found["num_trials"], found["budget"]["num_trials"]) == (5, 5)


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
    monkeypatch.setattr(search, "cluster", lambda: pytest.fail("a trial was about to run"))
    searched_project.tune("fm")
    assert files(searched_project, "fm") == before


@pytest.mark.filterwarnings("error:The reported value is ignored")  # a trial that starts again reports again
@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_what_a_scheduler_stops_counts_as_pruned_and_can_not_be_the_best(searched_project, scheduler):
    searched_project.set(
        tune={"scheduler": scheduler, "num_trials": 12, "fixed": {"model.embed_dim": 4, "training.batch_size": 256}},
        training={"max_epochs": 9, "patience": 9},
    )
    searched_project.tune("fm")
    rows, found = table(searched_project, "fm"), best(searched_project, "fm")
    assert len(rows) == 12
    by_state = rows.group_by("state").agg(pl.col("epochs").min().alias("least"), pl.col("epochs").max().alias("most"))
    epochs = {row["state"]: (row["least"], row["most"]) for row in by_state.rows(named=True)}
    assert set(epochs) == {"complete", "pruned"}
    assert epochs["complete"] == (9, 9)
    assert epochs["pruned"][1] < 9
    assert found["valid_rmse"] == rows.filter(pl.col("state") == "complete")["valid"].min()
    pruned = [trial for trial in max(studies(searched_project, "fm").values(), key=len) if trial.state.name == "PRUNED"]
    assert all(trial.intermediate_values for trial in pruned)


def test_another_scheduler_is_another_study(searched_project):
    first = best(searched_project, "fm")["study"]
    searched_project.set(tune={"scheduler": "asha"})
    searched_project.tune("fm")
    assert best(searched_project, "fm")["study"] != first


def test_a_trial_may_have_fewer_epochs_than_the_final_runs(searched_project):
    before = best(searched_project, "fm")
    searched_project.set(tune={"max_epochs": 2}, training={"max_epochs": 4, "patience": 4})
    searched_project.tune("fm")
    found = best(searched_project, "fm")
    assert table(searched_project, "fm")["epochs"].to_list() == [2, 2, 2]
    assert len({before["study"], found["study"]}) == 2
    searched_project.evaluate("fm")
    assert pl.read_csv(searched_project.results("fm") / "curves.csv")["epoch"].max() == 4
    searched_project.set(training={"max_epochs": 5})
    searched_project.tune("fm")
    assert best(searched_project, "fm") == found


@pytest.mark.fault("changed")
def test_what_decides_a_result_changes_the_name_of_the_study(prepared):
    cell = cell_of(prepared, "fm")
    space, fixed = {"training.l2": FloatDistribution(0.0, 1.0)}, {"model.embed_dim": 4}
    training = cell.training.model_copy
    variants = [
        (cell, space, fixed),
        (replace(cell, training=training(update={"max_epochs": 9})), space, fixed),
        (replace(cell, training=training(update={"loss": "cross_entropy"})), space, fixed),
        (replace(cell, root_seed=1), space, fixed),
        (replace(cell, digests={**cell.digests, "train.parquet": "0"}), space, fixed),
        (replace(cell, model="lr"), space, fixed),
        (cell, {"training.l2": FloatDistribution(0.0, 2.0)}, fixed),
        (cell, {"training.l1": FloatDistribution(0.0, 1.0)}, fixed),
        (cell, space, {"model.embed_dim": 8}),
        (cell, space, {}),
    ]
    assert len({study_record.fingerprint(*variant) for variant in variants}) == len(variants)
    assert study_record.fingerprint(*variants[0]) == study_record.fingerprint(
        cell_of(prepared, "fm"), dict(space), dict(fixed)
    )


@pytest.mark.fault("changed")
def test_only_code_that_does_something_changes_the_name_of_the_study(prepared, tmp_path, monkeypatch):
    names, source = [], tmp_path / "optimizers.py"
    for text in ("x = 1\n", "# twice\nx = 1  # or not\n", "x = 2\n"):
        source.write_text(text)
        monkeypatch.setattr(study_record.inspect, "getfile", lambda _: source)
        names.append(study_record.fingerprint(cell_of(prepared, "fm"), {}, {}))
    assert names[0] == names[1] != names[2]


@pytest.mark.fault("disk")
def test_a_folder_that_can_t_be_written_is_an_error_that_names_it(project, no_cluster):
    (project.root / "studies").write_text("a file is in the way")
    with pytest.raises(OSError, match=r"studies"):
        project.tune("lr")
    assert not project.results("lr").exists()


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


@pytest.mark.fault("trial")
def test_all_trials_failing_is_an_error_with_the_first_reason(project):
    project.set(tune={"fixed": {"training.learning_rate": -1.0}, "num_trials": 2})
    with pytest.raises(ValueError, match="all trials of lr on synthetic failed") as raised:
        project.tune("lr")
    assert str(raised.value).startswith("all trials of lr on synthetic failed, the first with: ")
    assert str(raised.value).endswith("training.learning_rate: Input should be greater than 0 (got -1.0)")
    assert "\n" not in str(raised.value)
    assert not (project.results("lr") / "best.json").exists()


@pytest.mark.fault("trial")
def test_all_trials_having_failed_is_an_error_with_a_reason_when_run_again(project, no_cluster):
    project.set(tune={"num_trials": 1})
    made_failed_study(project, "lr")
    with pytest.raises(ValueError, match="all trials of lr on synthetic failed") as raised:
        project.tune("lr")
    assert str(raised.value).endswith("failed, the first with: the reason it had")


def made_failed_study(project, model):
    """A study, as `search` would make it, with one trial that failed."""
    cell, fixed = cell_of(project, model), search.fixed_setting(model, load_params(project.params))
    space = {key: value for key, value in shared.get_space(model).items() if key not in fixed}
    project.study(model).mkdir(parents=True)
    storage = study_record.open_journal(project.study(model) / "journal.log")
    study = optuna.create_study(storage=storage, study_name=study_record.fingerprint(cell, space, fixed))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={study_record.REASON: "the reason it had"}))


@pytest.mark.fault("trial")
def test_a_trial_that_diverges_has_failed_and_the_search_goes_on(project, monkeypatch):
    rates = {"training.learning_rate": CategoricalDistribution((0.1, 0.05, 0.02, 1e30))}
    monkeypatch.setattr("search_spaces.lr.SPACE", {**rates, "training.l2": FloatDistribution(0.0, 1.0)})
    monkeypatch.setattr("search_spaces.lr.PAPER", {"training.learning_rate": 1e30, "training.l2": 0.0})
    project.set(tune={"num_trials": 4, "fixed": {}})
    project.tune("lr")
    rows = table(project, "lr")
    assert rows["trial"].to_list() == [0, 1, 2, 3]
    diverging = rows["training.learning_rate"] == 1e30
    assert diverging[0]
    assert rows["state"].to_list() == ["fail" if diverges else "complete" for diverges in diverging]
    assert rows["valid"].is_null().to_list() == diverging.to_list()
    assert rows["reason"][0].startswith("FloatingPointError: the loss is not finite in epoch 1")
    assert rows["reason"].is_null().to_list() == (~diverging).to_list()
    found = best(project, "lr")
    assert found["num_trials"] == 4
    assert found["setting"]["training.learning_rate"] < 1
    assert found["valid_rmse"] == rows["valid"].min()


def search_with(project, start, **budget):
    """Search lr with two trials; each training begins with start(setting), in its worker. The finished trials."""
    params = load_params(project.params)
    params = params.model_copy(update={"tune": TuneParams(num_trials=2, **budget)})

    class Starting(Cell):
        def start(self, setting, *keys):
            start(setting)
            return super().start(setting, *keys)

    study = search.search(Starting(**vars(cell_of(project, "lr"))), "synthetic", params, project.study("lr"))
    return study_record.finished_trials(study)


def dies(marker):
    """Ends the process of the first trial that comes by."""

    def start(setting):
        if not marker.exists():
            marker.touch()
            os._exit(1)

    return start


@pytest.mark.fault("trial")
def test_a_trial_whose_worker_dies_is_tried_again(project, tmp_path):
    trials = search_with(project, dies(tmp_path / "died"))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert (tmp_path / "died").exists()


@pytest.mark.fault("trial")
def test_a_trial_whose_worker_dies_too_often_has_failed_and_the_search_goes_on(project, tmp_path):
    trials = search_with(project, dies(tmp_path / "died"), max_failures=0)
    assert sorted(trial.state.name for trial in trials) == ["COMPLETE", "FAIL"]
    (failed,) = (trial for trial in trials if trial.state is TrialState.FAIL)
    assert failed.user_attrs["reason"] == "its worker died, or hung and was killed"


@pytest.mark.fault("trial")
def test_a_trial_that_hangs_is_killed_and_the_search_goes_on(project):
    def hang_with_the_papers_setting(setting):
        while setting["training.l2"] == 1e-8:
            time.sleep(0.1)

    trials = search_with(project, hang_with_the_papers_setting, max_failures=0, trial_timeout_s=4)
    assert [trial.state.name for trial in sorted(trials, key=lambda trial: trial.number)] == ["FAIL", "COMPLETE"]


@pytest.mark.fault("trial")
def test_a_trial_that_takes_too_long_has_failed_with_that_reason(project):
    with pytest.raises(ValueError, match="all trials of lr on synthetic failed") as raised:
        search_with(project, lambda setting: time.sleep(4.1), trial_timeout_s=4)
    reason = "TimeoutError: it took longer than tune.trial_timeout_s, 4 s"
    assert str(raised.value) == f"all trials of lr on synthetic failed, the first with: {reason}"


@pytest.mark.fault("trial")
def test_a_trial_out_of_memory_has_failed_with_that_reason_and_the_search_goes_on(project):
    def take_too_much_with_the_papers_setting(setting):
        if setting["training.l2"] == 1e-8:
            bytearray(1 << 60)

    trials = sorted(search_with(project, take_too_much_with_the_papers_setting), key=lambda trial: trial.number)
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert trials[0].user_attrs["reason"].startswith("MemoryError")


def test_a_deterministic_search_gives_the_same_trials_twice_in_parallel(project):
    project.set(tune={"num_trials": 6, "deterministic": True})
    tables = []
    for _ in range(2):
        project.tune("fm")
        tables.append(table(project, "fm").drop("seconds"))
        shutil.rmtree(project.study("fm"))
    assert tables[0].equals(tables[1])
    assert tables[0]["training.learning_rate"].n_unique() == 6


def test_an_unknown_fixed_key_lists_the_known_ones(project, no_cluster):
    project.set(tune={"fixed": {"model.embed_dims": 4}})
    with pytest.raises(ValueError, match=r"tune\.fixed: 'model\.embed_dims' is in no search space; known: ") as raised:
        project.tune("lr")
    known = ["model.dropout", "model.embed_dim", "training.batch_size", "training.l2", "training.learning_rate"]
    assert str(raised.value).endswith(", ".join(known))


def test_fixing_a_whole_space_is_an_error(project, no_cluster):
    project.set(tune={"fixed": {"training.learning_rate": 0.1, "training.l2": 0.0, "training.batch_size": 256}})
    with pytest.raises(ValueError, match=r"nothing to search for lr: tune\.fixed has every key of its space"):
        project.tune("lr")


@pytest.mark.fault("resources")
def test_more_cpus_a_trial_than_there_are_is_an_error_at_once(project):
    project.set(tune={"cpus_per_trial": 64})
    with pytest.raises(ValueError, match=r"tune\.cpus_per_trial is 64, but there are only 2"):
        project.tune("lr")


def test_a_quarter_of_a_gpu_is_asked_for_where_there_are_some_and_nothing_else_is_said():
    assert resources_per_run(1, None, {"CPU": 2.0}) == {"cpu": 1.0, "gpu": 0.0}
    assert resources_per_run(2, None, {"CPU": 2.0, "GPU": 1.0}) == {"cpu": 2.0, "gpu": 0.25}
    assert resources_per_run(1, 1, {"CPU": 2.0, "GPU": 1.0}) == {"cpu": 1.0, "gpu": 1.0}
    assert resources_per_run(1, 0, {"CPU": 2.0, "GPU": 1.0}) == {"cpu": 1.0, "gpu": 0.0}


@pytest.mark.fault("resources")
def test_more_gpus_a_trial_than_there_are_is_an_error():
    with pytest.raises(ValueError, match=r"tune\.gpus_per_trial is 2, but there are only 1"):
        resources_per_run(1, 2, {"CPU": 2.0, "GPU": 1.0})


@pytest.mark.fault("resources")
def test_a_gpu_asked_for_where_there_is_none_is_an_error_at_once(project):
    project.set(tune={"gpus_per_trial": 0.25})
    with pytest.raises(ValueError, match=r"tune\.gpus_per_trial is 0\.25, but there are only 0"):
        project.tune("lr")


def test_a_time_budget_ends_the_search_and_counts_the_time_of_earlier_trials(searched_project, monkeypatch):
    (name,) = studies(searched_project, "fm")
    backend = JournalFileBackend(str(searched_project.study("fm") / "journal.log"))
    study = optuna.load_study(study_name=name, storage=JournalStorage(backend))
    study.add_trial(made_trial(0, 1000))
    seconds = 4 + 1e6 - study_record.budget_left(study, TuneParams(time_budget_s=1e6))[1]
    searched_project.set(tune={"num_trials": 300, "time_budget_s": seconds})
    ended, real_cluster = [], search.cluster
    monkeypatch.setattr(search, "cluster", lambda: Timed(real_cluster(), ended))
    searched_project.tune("fm")
    assert 3 < ended[0] < 20
    found = best(searched_project, "fm")
    assert 4 <= found["num_trials"] == table(searched_project, "fm").height < 300
    assert found["budget"] == {"num_trials": 300, "time_budget_s": seconds}


class Timed:
    """A context that also notes how many seconds it was open."""

    def __init__(self, context, seconds):
        self.context, self.seconds = context, seconds

    def __enter__(self):
        value = self.context.__enter__()
        self.start = time.monotonic()
        return value

    def __exit__(self, *error):
        self.seconds.append(time.monotonic() - self.start)
        return self.context.__exit__(*error)


def made_trial(start, end, interrupted=False):
    """A trial from one second of some day to another."""
    state = TrialState.FAIL if interrupted else TrialState.COMPLETE
    attributes = {study_record.INTERRUPTED: True} if interrupted else {}
    trial = create_trial(state=state, value=None if interrupted else 1.0, user_attrs=attributes)
    noon = datetime(2024, 1, 1, 12)
    trial.datetime_start, trial.datetime_complete = noon + timedelta(seconds=start), noon + timedelta(seconds=end)
    return trial


def made_study(*trials):
    study = optuna.create_study()
    study.add_trials(trials)
    return study


def test_a_search_whose_scheduler_stopped_all_trials_says_so(prepared):
    stopped = create_trial(state=TrialState.PRUNED, value=0.5, intermediate_values={3: 0.5})
    failed = create_trial(state=TrialState.FAIL, user_attrs={study_record.REASON: "FloatingPointError: too large"})
    with pytest.raises(ValueError, match=r"^tune\.scheduler stopped all trials of fm on synthetic that did not fail"):
        search.check_result(cell_of(prepared, "fm"), TuneParams(num_trials=2), made_study(stopped, failed))


def test_the_budget_left_is_what_finished_trials_have_not_used():
    spans = [(20, 25), (0, 10), (5, 12), (6, 7)]
    study = made_study(*(made_trial(*span) for span in spans), made_trial(30, 90, interrupted=True))
    assert study_record.budget_left(study, TuneParams(num_trials=6)) == (2, None)
    assert study_record.budget_left(study, TuneParams(num_trials=3)) == (0, None)
    assert study_record.budget_left(study, TuneParams(time_budget_s=30)) == (-1, 13.0)
    assert study_record.budget_left(study, TuneParams(num_trials=6, time_budget_s=30)) == (2, 13.0)
    assert study_record.budget_left(study, TuneParams(num_trials=6, time_budget_s=17)) == (0, 0.0)
    assert study_record.budget_left(made_study(), TuneParams(num_trials=6, time_budget_s=17)) == (6, 17.0)


def test_the_best_epoch_is_the_first_that_reached_the_value():
    trial = SimpleNamespace(intermediate_values={3: 0.4, 1: 0.7, 2: 0.4, 4: 0.4}, value=0.4)
    assert study_record.best_step(trial) == 2
    assert study_record.best_step(SimpleNamespace(intermediate_values={}, value=None)) is None
