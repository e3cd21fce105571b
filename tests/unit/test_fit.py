import json

import pytest

from models import registry
from pipelines.fit import MODELS, params_text, runs_best_first
from pipelines.project.params import EvaluateParams, Params, TuneParams
from pipelines.project.paths import Paths
from pipelines.project.provenance import made_by
from pipelines.project.records import parse_yaml
from pipelines.search.time_budget import START_SECONDS, forecast, models_that_fit, seeds_that_fit, start_seconds


def test_the_forecast_says_what_searches_and_final_runs_have():
    assert forecast(0.5, search=60, num_models=4, left=40, seconds=300) == (
        "an epoch of fm takes 0.5 s; each search has 60 s; all final runs have 40 s"
    )


def test_a_budget_that_leaves_too_little_for_final_runs_is_refused_before_any_search():
    with pytest.raises(ValueError, match=r"--time-budget 300s leaves 40 s .* take more than 80 s") as error:
        forecast(2.0, search=60, num_models=4, left=40, seconds=300)
    assert str(error.value).endswith("give 389s or more, or fewer --models")


@pytest.mark.parametrize(
    ("left", "most", "at_once", "seeds"),
    [(20, 3, 2, 3), (19, 3, 2, 2), (0, 3, 2, 2), (0, 1, 8, 1), (10, 3, 1, 1), (29, 3, 1, 2), (100, 5, 1, 5)],
)
def test_as_many_final_runs_as_the_time_allows(left, most, at_once, seeds):
    assert seeds_that_fit(10, left, most, at_once) == seeds


@pytest.mark.parametrize(
    ("left", "models"),
    [(70, ["ffm", "slow", "lr"]), (69, ["ffm", "slow"]), (65, ["ffm", "lr"]), (25, ["ffm"]), (-5, ["ffm"])],
)
def test_the_models_that_the_time_allows_are_the_best_ones_that_fit(left, models):
    assert models_that_fit({"ffm": 10.0, "slow": 40.0, "lr": 2.0}, left, start=2.0) == models


@pytest.mark.parametrize(
    ("searches", "seconds"), [([52.0, 70.0, 61.0], 11.0), ([31.0, 59.0], 9.0), ([31.0, 50.0], START_SECONDS), ([], 6)]
)
def test_the_start_of_a_stage_is_measured_by_the_searches_that_took_all_their_time(searches, seconds):
    assert start_seconds(searches, 50.0) == seconds


@pytest.mark.parametrize(("metric", "order"), [("auc", ["nfm", "fm"]), ("logloss", ["fm", "nfm"])])
@pytest.mark.parametrize(("reason", "seconds"), [("", (8, 8)), ("ended by tune.time_budget_s", (20, 60))])
def test_a_final_run_takes_as_long_as_the_best_trial_or_as_the_most_epochs(tmp_path, reason, seconds, metric, order):
    for model, valid in {"fm": 0.8, "nfm": 0.9}.items():
        folder = Paths(tmp_path).results("mine", model)
        folder.mkdir(parents=True)
        (folder / "trials.csv").write_text(
            f"trial,state,valid,epochs,seconds,reason\n0,complete,0.7,9,90.0,\n1,complete,{valid},4,8.0,{reason}\n"
        )
        best = {"model": model, "dataset": "mine", "setting": {}, f"valid_{metric}": valid, "metric": metric}
        best |= {
            "trial": 1,
            "num_trials": 2,
            "budget": {},
            "seeds": {},
            "study": "",
            "made_by": made_by("").model_dump(),
        }
        (folder / "best.json").write_text(json.dumps(best))
    runs = runs_best_first("mine", ["fm", "nfm"], Paths(tmp_path))
    assert (list(runs), set(runs.values())) == (order, {seconds})


def test_the_models_of_a_fit_are_registered():
    assert {*MODELS} <= {*registry.list_models()}


def test_a_fit_searches_with_a_sampler_that_learns_soon_and_keeps_what_ensembles_need():
    content = parse_yaml(params_text("clicks", ["lr"], "auc", 2, {"num_trials": 30, "max_rows": None}, {}))
    tune, evaluate = TuneParams(**content["tune"]), EvaluateParams(**content["evaluate"])
    assert (tune.sampler, tune.num_random, tune.num_trials, tune.max_rows) == ("auto", 4, 30, None)
    assert tune.scheduler == "none"  # a trial that is stopped counts
    assert tune.recipes == ["paper", "ctr"]
    assert (evaluate.keep, evaluate.num_seeds) == (True, 2)


def test_a_fit_by_time_alone_stops_trials_from_a_third_of_their_epochs_on():
    tune = {"num_trials": None, "time_budget_s": 60.0}
    content = parse_yaml(params_text("clicks", ["lr"], "auc", 2, tune, {}))
    params = Params(**content)
    assert (params.tune.scheduler, params.tune.grace_epochs, params.training.max_epochs) == ("asha", 10, 30)
