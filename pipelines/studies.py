"""List all searches, finished or not."""

from pathlib import Path
from typing import Any

from rich.table import Table

from pipelines.project.cli import ParamsOption, run
from pipelines.project.metric import METRICS, Metric
from pipelines.project.params import load_params
from pipelines.project.paths import Paths
from pipelines.reporting.tables import console


def main(params: ParamsOption = Path("params.yaml")) -> None:
    """List all studies in studies/ with their trials and best value.

    Trials are complete, stopped by the scheduler, failed, or running (or cut
    off). A model on a data set has several studies if its params, data or
    behaviour changed.
    """
    from optuna import get_all_study_summaries, load_study  # takes a second to import

    from pipelines.search.journal import read_journal

    damaged = []
    metric = METRICS[load_params(params).training.metric if params.exists() else "rmse"]
    table = Table("data set", "model", "study", "complete", "stopped", "failed", "running", "best", "last started")
    for journal in sorted(Paths(params.parent).studies.glob("*/*/journal.log")):
        try:
            storage = read_journal(journal)
        except ValueError as error:
            damaged.append(str(error))
            continue
        for summary in get_all_study_summaries(storage):
            study = load_study(study_name=summary.study_name, storage=storage)
            table.add_row(journal.parts[-3], journal.parts[-2], summary.study_name, *progress(study, metric))
    console().print(table if table.rows else "no studies yet")
    if damaged:
        raise ValueError("; ".join(damaged))


def progress(study: Any, metric: Metric) -> list[str]:
    """Return the last columns of a study's row: counts, best value, last start."""
    from pipelines.search.journal import finished_trials

    trials = study.get_trials(deepcopy=False)
    complete = [trial.value for trial in trials if trial.state.name == "COMPLETE"]
    stopped = sum(trial.state.name == "PRUNED" for trial in trials)
    failed = len(finished_trials(study)) - len(complete) - stopped
    running = sum(trial.state.name == "RUNNING" for trial in trials)
    started = max((trial.datetime_start for trial in trials if trial.datetime_start), default=None)
    best = metric.format(metric.score(min(complete))) if complete else "–"
    counts = map(str, (len(complete), stopped, failed, running))
    return [*counts, best, f"{started:%Y-%m-%d %H:%M}" if started else "–"]


if __name__ == "__main__":
    run(main)
