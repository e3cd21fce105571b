"""Trials that fail, hang or lose their worker, and a search that asks for more than there is."""

import os
import time

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from searches import best, cell_of, table

from pipelines.project.params import TuneParams, load_params
from pipelines.search import journal as study_record
from pipelines.search import tuner
from pipelines.training.cell import Cell


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
        def train(self, setting, *others):
            start(setting)
            return super().train(setting, *others)

    study = tuner.search(Starting(**vars(cell_of(project, "lr"))), "synthetic", params, project.study("lr"))
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

    trials = search_with(project, hang_with_the_papers_setting, max_failures=0, trial_timeout_s=10)
    assert [trial.state.name for trial in sorted(trials, key=lambda trial: trial.number)] == ["FAIL", "COMPLETE"]


@pytest.mark.fault("trial")
def test_a_trial_that_takes_too_long_has_failed_with_that_reason(project):
    with pytest.raises(ValueError, match="all trials of lr on synthetic failed") as raised:
        search_with(project, lambda setting: time.sleep(8.1), trial_timeout_s=8)
    reason = "TimeoutError: it took longer than tune.trial_timeout_s, 8 s"
    assert str(raised.value) == f"all trials of lr on synthetic failed, the first with: {reason}"


@pytest.mark.fault("trial")
def test_a_trial_out_of_memory_has_failed_with_that_reason_and_the_search_goes_on(project):
    def take_too_much_with_the_papers_setting(setting):
        if setting["training.l2"] == 1e-8:
            bytearray(1 << 60)

    trials = sorted(search_with(project, take_too_much_with_the_papers_setting), key=lambda trial: trial.number)
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert trials[0].user_attrs["reason"].startswith("MemoryError")


@pytest.mark.fault("resources")
def test_more_cpus_a_trial_than_there_are_is_an_error_at_once(project):
    project.set(tune={"cpus_per_trial": 64})
    with pytest.raises(ValueError, match=r"tune\.cpus_per_trial is 64, but there are only 2"):
        project.tune("lr")


@pytest.mark.fault("resources")
def test_a_gpu_asked_for_where_there_is_none_is_an_error_at_once(project):
    project.set(tune={"gpus_per_trial": 0.25})
    with pytest.raises(ValueError, match=r"tune\.gpus_per_trial is 0\.25, but there are only 0"):
        project.tune("lr")
