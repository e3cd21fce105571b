"""Read the rows of the leaderboard from the results of cells and from ensembles."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pipelines.evaluation.published import Figure
from pipelines.evaluation.results import Best, Declined, Mixture, Mixtures, Summary, read_best, read_summary
from pipelines.project.files import failure, file_digest
from pipelines.project.golden_files import accepted_behaviour
from pipelines.project.metric import EVERY_EPOCH, METRICS, Metric
from pipelines.project.params import TrainingParams
from pipelines.project.paths import Paths
from pipelines.project.records import Missing, command, read_csv, read_record


def read_row(
    paths: Paths, dataset: str, model: str, training: TrainingParams, others: Mapping[str, Figure]
) -> dict[str, Any]:
    """Read one cell's row of the leaderboard, with the figure that others published.

    `other_behaviour` is true if the code that made its search or final runs behaved differently from the golden files.
    Raises ValueError that names the stage to run if a result is missing.
    """
    folder = paths.results(dataset, model)
    try:
        best = read_best(folder, model, dataset)
    except Missing:
        if (folder / "metrics.json").exists():
            read_summary(folder, model, dataset)  # if it is damaged, that is what to say
        raise
    summary, trials = read_summary(folder, model, dataset), read_trials(folder)
    declined = best.declined if isinstance(best, Declined) else None
    expected = {*EVERY_EPOCH, training.metric}
    tested = [name for name in METRICS if name in expected or summary.values(f"test_{name}")]
    validated = [name for name in METRICS if name in expected or summary.values(f"valid_{name}")]
    return {
        "dataset": dataset,
        "model": model,
        **{
            f"test_{metric}_{part}": compute(f"test_{metric}")
            for metric in tested
            for part, compute in (("mean", summary.mean), ("std", summary.std))
        },
        **{f"valid_{metric}": summary.mean(f"valid_{metric}") for metric in validated},
        f"first_{training.metric}": untuned(trials),
        "num_params": summary.num_params,
        "seconds_per_epoch": summary.mean("seconds_per_epoch"),
        "peak_memory_mb": summary.mean("peak_memory_mb"),
        "search_seconds": search_seconds(trials),
        "num_trials": best.num_trials if isinstance(best, Best) else 0,
        "num_seeds": len(summary.seeds),
        **luck_of_searches(summary, training.metric),
        "published": others[model].value if model in others else None,
        "declined": declined,
        "other_behaviour": isinstance(best, Best)
        and {accepted_behaviour(model, training)}
        != {origin and origin.behaviour for origin in (best.made_by, summary.made_by)},
    }


def read_mixtures(paths: Paths, dataset: str, metric: str) -> tuple[list[dict[str, Any]], str | None]:
    """Read the rows of a data set's ensembles, if there are any.

    Returns why they are left out where they are of other final runs than the rows of the models.
    """
    file, again = paths.ensembles(dataset), f"python -m pipelines.ensemble --dataset {dataset}"
    if not file.exists():
        return [], None
    record = read_record(file, Mixtures, again)
    files = {model: paths.results(dataset, model) / "metrics.json" for model in record.of}
    if record.metric != metric or any(
        not path.exists() or file_digest(path) != record.of[model] for model, path in files.items()
    ):
        return [], f"they are of other final runs; run {again}"
    searches = {model: search_seconds(read_trials(paths.results(dataset, model))) for model in record.of}
    return [mixture_row(dataset, each, searches) for each in record.mixtures], None


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """Read the trials of a cell in their order; none where it has no table of trials."""
    file = folder / "trials.csv"
    if not file.exists() or not file.stat().st_size:  # as of a model that declines the data set
        return []
    return read_csv(file, command("tune", folder.name, folder.parent.name)).sort("trial").to_dicts()


def search_seconds(trials: Sequence[Mapping[str, Any]]) -> float | None:
    """Sum the seconds of all trials. Returns None where there are none."""
    return math.fsum(trial["seconds"] or 0.0 for trial in trials) if trials else None


def untuned(trials: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the validation metric of the first trial, which has the paper's setting; None if it did not end well."""
    return trials[0]["valid"] if trials and trials[0]["state"] == "complete" else None


def mixture_row(dataset: str, mixture: Mixture, searches: Mapping[str, float | None]) -> dict[str, Any]:
    """Make an ensemble's row of the leaderboard. Its search took as long as those of its models."""
    models = {member.rpartition(" ")[0] for member in mixture.members}
    figures = [
        (f"test_{name}_{part}", values.get(name))
        for name in mixture.test
        for part, values in (("mean", mixture.test), ("std", mixture.spread))
    ]
    return {
        "dataset": dataset,
        "model": mixture.name,
        "kind": mixture.kind,
        **dict(figures),
        **{f"valid_{name}": value for name, value in mixture.valid.items()},
        "num_params": mixture.num_params,
        "seconds_per_epoch": mixture.seconds_per_epoch,
        "search_seconds": None
        if mixture.kind == "default"
        else math.fsum(searches.get(model) or 0.0 for model in models),  # exact: a set has no order
        "num_trials": mixture.num_trials,
        "num_seeds": len(mixture.members),
        "published": None,
        "declined": None,
        "other_behaviour": False,
    }


def luck_of_searches(summary: Summary, metric: str) -> dict[str, Any]:
    """Return mean and deviation of what the settings of several searches reach; nothing for a single search."""
    values = [means[f"test_{metric}"] for means in summary.searches or () if f"test_{metric}" in means]
    if not values:
        return {}
    return {"searches_mean": fmean(values), "searches_std": stdev(values), "num_searches": len(values)}


def why_missing(paths: Paths, dataset: str, model: str) -> str | None:
    """Return why a cell's last run failed; None where it did not, or where its results are there."""
    folder = paths.results(dataset, model)
    whole = (folder / "best.json").exists() and (folder / "metrics.json").exists()
    return None if whole else failure(paths.study(dataset, model))


def rank(row: dict[str, Any], metric: Metric) -> float:
    """Score a row by its test metric (lower is better; infinity without one)."""
    mean = row[f"test_{metric.name}_mean"]
    return math.inf if mean is None else metric.score(mean)
