"""Write result files as the stages do, through the stages' own records, with chosen figures."""

import statistics

import numpy as np

from pipelines.evaluation.results import Best, Declined, Seed, Summary
from pipelines.project.provenance import made_by
from pipelines.project.records import write_record

FIGURES = {
    **{"test_rmse": 0.3, "test_auc": 0.9, "test_logloss": 0.2},
    **{"valid_rmse": 0.3, "valid_auc": 0.9, "valid_logloss": 0.2},
    "seconds_per_epoch": 1.0,
}


def with_spread(mean, std, num_seeds=5):
    """Return one value for each seed, with this mean and sample deviation."""
    if num_seeds == 1:
        return [mean]
    offsets = np.linspace(-1, 1, num_seeds)
    return [float(mean + std * offset / statistics.stdev(offsets)) for offset in offsets]


def write_cell(folder, seeds, *, behaviour="", metric="rmse", num_params=1, **best):
    """Write best.json and metrics.json of a cell; each seed is a dict of the figures that matter."""
    origin = made_by("").model_copy(update={"behaviour": behaviour})
    shown = {"best_epoch": 1, "epochs": 2, **FIGURES}
    summary = Summary(
        num_params=num_params,
        made_by=origin,
        seeds={str(number): Seed(**{**shown, **seed}) for number, seed in enumerate(seeds)},
    )
    found = {"setting": {}, f"valid_{metric}": 0.2, "trial": 0, "num_trials": 12, "study": "study", **best}
    found |= {"budget": {"num_trials": 12, "time_budget_s": None}, "seeds": {"root": 1}, "made_by": origin}
    record = Best(model=folder.name, dataset=folder.parent.name, metric=metric, **found)
    write_record(folder / "best.json", record)
    write_record(folder / "metrics.json", summary)


def write_declined(folder, reason):
    """Write the files of a model that declines a data set."""
    write_record(folder / "best.json", Declined(model=folder.name, dataset=folder.parent.name, declined=reason))
    write_record(folder / "metrics.json", Summary())
