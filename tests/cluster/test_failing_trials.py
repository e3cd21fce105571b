"""Let trials fail, hang or lose their worker, and ask for missing resources."""

import contextlib
import dataclasses
import os
import time

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from searches import best, cell_of, table

from pipelines.project.metric import METRICS
from pipelines.project.params import TuneParams, load_params
from pipelines.search import journal as study_record
from pipelines.search import tuner
from pipelines.training.cell import Cell
from search_spaces import shared


@pytest.mark.fault("trial")
def test_all_trials_failing_is_an_error_with_the_first_reason(project):
    project.set(tune={"fixed": {"training.learning_rate": 1e30}, "num_trials": 1})
    with pytest.raises(ValueError, match="all trials of lr on synthetic failed") as raised:
        project.tune("lr")
    assert str(raised.value).startswith("all trials of lr on synthetic failed, the first with: ")
    assert str(raised.value).endswith(
        "FloatingPointError: the loss is not finite in epoch 1: lower training.learning_rate"
    )
    assert "\n" not in str(raised.value)
    assert not (project.results("lr") / "best.json").exists()


@pytest.mark.fault("trial")
def test_a_trial_that_diverges_has_failed_and_the_search_goes_on(project, monkeypatch):
    rates = {"training.learning_rate": CategoricalDistribution((0.1, 0.05, 0.02, 1e30))}
    monkeypatch.setattr(shared, "load", shared.load.__wrapped__)  # another test may have read the space
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


def search_with(project, start, num_trials, **budget):
    """Search lr, where each training begins with start(setting) in its worker; return the finished trials."""
    params = load_params(project.params)
    params = params.model_copy(update={"tune": TuneParams(num_trials=num_trials, **budget)})

    class Starting(Cell):
        def train(self, setting, *others):
            start(setting)
            return super().train(setting, *others)

    study = tuner.search(Starting(**vars(cell_of(project, "lr"))), "synthetic", params, project.study("lr"))
    return study_record.finished_trials(study)


@pytest.mark.fault("trial")
def test_a_trial_whose_worker_dies_is_tried_again(project, tmp_path):
    marker = tmp_path / "died"

    def die_once(setting):
        if not marker.exists():
            marker.touch()
            os._exit(1)

    trials = search_with(project, die_once, num_trials=2)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert marker.exists()


@pytest.mark.fault("trial")
def test_trials_that_fail_hang_or_die_have_failed_with_their_reasons_and_the_search_goes_on(project, tmp_path):
    """Let the paper's setting hang; each later trial claims another way to fail by a file."""
    todo = ["dies", "out of memory", "too long"]

    def fail(setting):
        if setting["training.l2"] == 1e-8:
            time.sleep(1e6)
        for way in todo:
            with contextlib.suppress(FileExistsError):
                (tmp_path / way).touch(exist_ok=False)
                break
        else:
            return
        if way == "dies":
            os._exit(1)
        if way == "out of memory":
            bytearray(1 << 60)
        time.sleep(8.1)

    trials = search_with(project, fail, num_trials=5, max_failures=0, trial_timeout_s=8)
    died, late = (
        "its worker died, or hung and was killed",
        "TimeoutError: it took longer than tune.trial_timeout_s, 8 s",
    )
    reasons = {trial.number: trial.user_attrs.get("reason") for trial in trials}
    assert sorted(reasons) == [0, 1, 2, 3, 4]
    assert reasons[0] == died
    (memory,) = (reason for reason in reasons.values() if str(reason).startswith("MemoryError"))
    assert {reasons[number] for number in (1, 2, 3, 4)} == {died, late, memory, None}
    for trial in trials:
        assert trial.state is (TrialState.FAIL if reasons[trial.number] else TrialState.COMPLETE)


def test_a_setting_that_is_too_slow_for_the_time_is_left_out_and_the_search_goes_on(project, capfd):
    params = load_params(project.params)
    fixed = {"training.batch_size": 16}
    budget = TuneParams(num_trials=4, time_budget_s=1000, fixed=fixed, sampler="random")
    params = params.model_copy(update={"tune": budget})

    class Slow(Cell):
        """Report hours for each epoch, but for the paper's setting."""

        def train(self, setting, *others, **named):
            model, epochs = super().train(setting, *others, **named)
            hours = 0.0 if setting["training.l2"] == 1e-8 else 7200.0
            return model, [dataclasses.replace(epoch, seconds=hours) for epoch in epochs]

    study = tuner.search(Slow(**vars(cell_of(project, "lr"))), "synthetic", params, project.study("lr"))
    first, *others = study_record.finished_trials(study)
    assert first.state is TrialState.COMPLETE
    assert [trial.state for trial in others] == [TrialState.PRUNED] * 3
    table = study_record.trials_table([first, *others], METRICS["rmse"])
    assert table["valid"].is_null().to_list() == [False, True, True, True]
    assert table["epochs"].to_list()[1:] == [0, 0, 0]
    reasons = table["reason"].to_list()
    assert reasons[0] is None
    assert all(reason.endswith("s, too long for tune.time_budget_s, 1000 s") for reason in reasons[1:])
    assert capfd.readouterr().err.count(": left out, ") == 3


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
