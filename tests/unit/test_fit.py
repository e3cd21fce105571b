import contextlib
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from models import registry
from pipelines.fit import MODELS, is_heavy, params_text, runs_best_first
from pipelines.project.params import EvaluateParams, Params, TuneParams
from pipelines.project.paths import Paths
from pipelines.project.provenance import made_by
from pipelines.project.records import parse_yaml
from pipelines.search import fit_models
from pipelines.search.time_budget import START_SECONDS, Plan, Run, forecast, plan, seeds_that_fit, start_seconds


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


RUNS = {"ffm": Run(10, 10), "nfm": Run(5, 50), "slow": Run(40, 40), "ifm": Run(6, 6), "lr": Run(2, 2)}


@pytest.mark.parametrize(
    ("left", "models", "paper", "num_seeds"),
    [
        (248, ["ffm", "nfm", "slow", "ifm", "lr"], True, 2),
        (247, ["ffm", "nfm", "slow", "ifm", "lr"], True, 1),
        (85, ["ffm", "nfm", "slow", "ifm", "lr"], True, 1),
        (84, ["ffm", "nfm", "slow", "ifm", "lr"], False, 1),
        (72, ["ffm", "nfm", "slow", "ifm"], False, 1),
        (65, ["ffm", "nfm", "slow", "lr"], False, 1),
        (-9, ["ffm", "nfm", "slow"], False, 1),
    ],
)
def test_the_best_models_are_trained_and_the_others_where_there_is_time(left, models, paper, num_seeds):
    assert plan(RUNS, left, start=2, most_seeds=2, at_once=1) == Plan(models, paper, num_seeds)


def test_without_a_model_nothing_is_planned():
    assert plan({}, 100, start=2, most_seeds=2, at_once=1) == Plan([], False, 2)


@pytest.mark.parametrize("paper", [True, False])
def test_what_is_planned_is_trained(monkeypatch, capsys, paper):
    done = []

    def tune(params, dataset, model):
        done.append(("tune", model))
        print(f"{model} on clicks: 2 of 9 trials, best 0.9, about 7 s left: 3 epochs, a setting", file=sys.stderr)
        shown.append([*tables[0]().columns[1].cells])
        if model == "lr":
            raise ValueError("it has a reason; then run `python -m pipelines.prepare --dataset clicks`")
        print(f"a line\n{model} on clicks: good")

    def evaluate(params, dataset, model):
        done.append(("evaluate", model))
        print("noise of a stage", file=sys.stderr)
        if model == "fm":
            raise ZeroDivisionError("a line\nthe last line")
        print(f"{model} on clicks: tested")

    def ensemble(params, dataset, default):
        done.append(("ensemble", default))

    tables, shown, show_live = [], [], Live.__init__

    def live(self, get_renderable, **options):
        tables.append(get_renderable)
        show_live(self, get_renderable=get_renderable, **options)

    monkeypatch.setattr(Live, "__init__", live)
    monkeypatch.setattr("pipelines.project.cluster.cluster", contextlib.nullcontext)
    asked = []

    def searched(models, seconds):
        asked.append((models, len(seconds)))
        return Plan(["nfm", "fm"], paper, 1)

    stages = {"tune": tune, "evaluate": evaluate, "ensemble": ensemble}
    failed = fit_models.fit_all("clicks", ["lr", "fm", "nfm"], Path("my/params.yaml"), stages, searched)
    reason = "it has a reason; then run `python -m pipelines.prepare --params my/params.yaml --dataset clicks`"
    assert failed == {"lr": reason, "fm": "the last line"}
    assert asked == [(["fm", "nfm"], 2)]
    assert shown[0] == ["is searched: 2 of 9 trials, best 0.9, about 7 s left", "waits", "waits"]
    searches = [("tune", model) for model in ("lr", "fm", "nfm")]
    assert done == [*searches, ("evaluate", "nfm"), ("evaluate", "fm"), ("ensemble", paper)]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[:3] == [f"lr: failed: {reason}", "nfm: good; tested", "fm: failed: the last line"]
    assert "noise" not in err


def test_what_a_search_shows_is_handed_on():
    shown = []

    def stage(params):
        Console(stderr=True).print("fm on clicks: 2 of 30 trials, best 0.9, about 7 s left: 3 epochs", soft_wrap=True)
        print("fm on clicks: best valid auc 0.9")

    assert fit_models.run_stage(stage, Path("params.yaml"), shown.append) == "fm on clicks: best valid auc 0.9"
    assert shown == ["fm on clicks: 2 of 30 trials, best 0.9, about 7 s left: 3 epochs"]


@pytest.mark.parametrize(("num_features", "heavy"), [(1_041_666, False), (1_041_667, True)])
def test_three_fields_of_a_million_features_are_the_most_for_ffm(num_features, heavy):
    assert is_heavy({"num_features": num_features, "fields": ["user", "item", "tag"]}) is heavy


@pytest.mark.parametrize(
    ("searches", "seconds"),
    [([52.0, 70.0, 61.0], 11.0), ([31.0, 59.0], 9.0), ([31.0, 50.0], START_SECONDS), ([], START_SECONDS)],
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
