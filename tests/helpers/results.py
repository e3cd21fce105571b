"""Write result files as the stages do, through the stages' own records, with chosen figures."""

import statistics
from datetime import datetime, timedelta

import numpy as np
from experiment import mean_by_epoch
from optuna.trial import TrialState, create_trial

from pipelines.data.card import Card, Known, KnownPairs, RawFile
from pipelines.evaluation import final_runs
from pipelines.evaluation.results import Best, Declined, Run, Seed, Summary
from pipelines.project.files import write_text
from pipelines.project.metric import METRICS
from pipelines.project.provenance import made_by
from pipelines.project.records import write_record
from pipelines.search.journal import trials_table
from pipelines.training.epochs import Epoch
from pipelines.training.metrics import Metrics

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


def write_cell(folder, seeds, *, behaviour="", metric="rmse", num_params=1, interactions=None, **best):
    """Write best.json and metrics.json of a cell; each seed is a dict of the figures that matter."""
    origin = made_by("").model_copy(update={"behaviour": behaviour})
    shown = {"best_epoch": 1, "epochs": 2, **FIGURES}
    summary = Summary(
        num_params=num_params,
        made_by=origin,
        interactions=interactions,
        seeds={str(number): Seed(**{**shown, **seed}) for number, seed in enumerate(seeds)},
    )
    found = {"setting": {}, f"valid_{metric}": 0.2, "trial": 0, "num_trials": 12, "study": "study", **best}
    found |= {"budget": {"num_trials": 12, "time_budget_s": None}, "seeds": {"root": 1}, "made_by": origin}
    record = Best(model=folder.name, dataset=folder.parent.name, metric=metric, **found)
    write_record(folder / "best.json", record)
    write_record(folder / "metrics.json", summary)


def write_card(folder, split, auc_of_counting=None):
    """Write the card of a data set with a file that is not released."""
    pairs = KnownPairs(fields=["user", "item"], positives=Known(known=7, rows=8), negatives=Known(known=0, rows=9))
    files = [RawFile(name="a.csv", sha256="0", source="a.zip", released=False, difference="it is shorter")]
    sizes = {"field_dims": {}, "num_rows": {}, "num_positives": {}}
    about = {"known_pairs": pairs, "auc_of_counting": auc_of_counting, "raw_files": files}
    card = Card(dataset=folder.name, split=split, **about, **sizes)
    write_record(folder / "card.json", card)


def write_trials(folder, *trials):
    """Write trials.csv; each trial is its state, its best epoch, its epochs and the value of its best epoch."""
    made = []
    for number, (state, best_epoch, epochs, value) in enumerate(trials):
        values = {epoch: value + 0.1 * (epoch < best_epoch) for epoch in range(1, epochs + 1)}
        trial = create_trial(state=TrialState[state], value=value, intermediate_values=values)
        trial.number, trial.datetime_start = number, datetime(2024, 1, 1)
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=10 * epochs)
        made.append(trial)
    write_text(folder / "trials.csv", trials_table(made, METRICS["rmse"]).write_csv())


def write_runs(folder, resamples, seconds=1.0, num_epochs=1):
    """Write resamples.csv and curves.csv, which falls epoch by epoch; `resamples` has a list for each seed."""
    figures = {name: value for name, value in FIGURES.items() if name.startswith("valid_")}
    epochs = [
        {"epoch": epoch, "seconds": seconds, "train_loss": 0.1, **figures, "valid_rmse": 0.2 + 0.1 / epoch}
        for epoch in range(1, num_epochs + 1)
    ]
    runs = [
        Run(test={"test_rmse": 0.3}, resamples=values, num_params=1, epochs=epochs, made_by=made_by(""))
        for values in resamples
    ]
    write_text(folder / "curves.csv", final_runs.curves(runs).write_csv())
    write_text(folder / "resamples.csv", final_runs.resamples(runs).write_csv())


def write_curve(file, valid_rmse, seconds=2.0):
    """Write the RUN.csv of an experiment with one seed, given the RMSE of each epoch."""
    valid = [Metrics(rmse=rmse, auc=1 - rmse, logloss=0.2) for rmse in valid_rmse]
    epochs = [Epoch(number, seconds, 0.1, metrics) for number, metrics in enumerate(valid, 1)]
    write_text(file, mean_by_epoch([[epoch.row() for epoch in epochs]]).write_csv())


def write_declined(folder, reason):
    """Write the files of a model that declines a data set."""
    write_record(folder / "best.json", Declined(model=folder.name, dataset=folder.parent.name, declined=reason))
    write_record(folder / "metrics.json", Summary())
