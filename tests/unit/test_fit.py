from pipelines.fit import forecast, params_text
from pipelines.project.params import EvaluateParams, TuneParams
from pipelines.project.records import parse_yaml


def test_the_forecast_says_when_final_runs_may_exceed_the_budget():
    within = forecast(0.5, search=60, share=40, num_seeds=3, at_once=2)
    assert within == (
        "an epoch of fm takes 0.5 s; each search has 60 s; the final runs of fm take up to 30 s (3 seeds, 30 epochs)"
    )
    beyond = forecast(2.0, search=60, share=40, num_seeds=3, at_once=4)
    assert (
        "up to 60 s (3 seeds, 30 epochs), more than the 40 s that the budget leaves them: lower --num-seeds" in beyond
    )


def test_a_fit_searches_with_a_sampler_that_learns_soon_and_keeps_what_ensembles_need():
    content = parse_yaml(params_text("clicks", ["lr"], "auc", 2, {"num_trials": 30, "max_rows": None}, {}))
    tune, evaluate = TuneParams(**content["tune"]), EvaluateParams(**content["evaluate"])
    assert (tune.sampler, tune.num_random, tune.num_trials, tune.max_rows) == ("auto", 4, 30, None)
    assert (evaluate.keep, evaluate.num_seeds) == (True, 2)
