from pipelines.fit import forecast


def test_the_forecast_says_when_final_runs_may_exceed_the_budget():
    within = forecast(0.5, search=60, share=40, num_seeds=3, at_once=2)
    assert within == (
        "an epoch of fm takes 0.5 s; each search has 60 s; the final runs of fm take up to 30 s (3 seeds, 30 epochs)"
    )
    beyond = forecast(2.0, search=60, share=40, num_seeds=3, at_once=4)
    assert (
        "up to 60 s (3 seeds, 30 epochs), more than the 40 s that the budget leaves them: lower --num-seeds" in beyond
    )
