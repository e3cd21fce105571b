"""List trials and epochs for the page of results."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines.project.metric import Metric
from pipelines.project.settings import format_setting
from pipelines.reporting.specs_of_searches import DRAWN, places

ENDED = {"pruned": "stopped", "fail": "failed"}
KNOWN = {"trial", "state", "valid", "best_epoch", "epochs", "seconds", "reason"}  # columns that are no settings


def space_of(model: str) -> dict[str, Any]:
    """Find a model's search space; an empty one if its file is not there any more."""
    from search_spaces.shared import get_space

    try:
        return get_space(model)
    except ValueError:
        return {}


def trial_rows(
    model: str, trials: pl.DataFrame, space: Mapping[str, Any], metric: Metric, num_random: float
) -> list[dict[str, Any]]:
    """List a search's trials: values, the best so far, and what drew each."""
    best, rows = None, []
    for row in trials.iter_rows(named=True):
        if row["valid"] is not None and (best is None or metric.score(row["valid"]) < metric.score(best)):
            best = row["valid"]
        setting = {key: each for key, each in row.items() if key not in KNOWN}
        number = row["trial"]
        rows.append(
            {
                "model": model,
                "trial": number,
                "state": ENDED.get(row["state"], row["state"]),
                "drawn": DRAWN[(number > 0) + (number >= num_random)],
                "reason": row["reason"] or "",
                "value": row["valid"],
                "best": best,
                "setting": format_setting(setting),
                "places": places(setting, space),
            }
        )
    return rows


def ended(cells: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Gather the trials that failed or were stopped, by model, state and reason."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for model, cell in cells.items():
        for row in cell["trials"]:
            if row["state"] in ENDED.values():
                found.setdefault((model, row["state"], row["reason"]), []).append(row["trial"])
    return [
        {"model": model, "state": state, "reason": reason, "trials": trials}
        for (model, state, reason), trials in found.items()
    ]


def curve_rows(model: str, curves: pl.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """Average the validation metric over the seeds of each epoch; mark the best epoch.

    There are none where another metric decided.
    """
    if f"valid_{metric.name}" not in curves.columns:
        return []
    means = curves.group_by("epoch").agg(pl.col(f"valid_{metric.name}").mean().alias("value")).sort("epoch")
    rows = list(means.iter_rows(named=True))
    best = min(rows, key=lambda row: metric.score(row["value"]), default=None)
    return [{"model": model, **row, "best": row is best} for row in rows]
