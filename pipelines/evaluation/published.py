"""Read what others published on the data sets: `datasets/published.csv` and Table 2 of the IFM paper."""

from typing import Any, NamedTuple

import polars as pl

from pipelines.data.card import Card
from pipelines.data.catalog import PUBLISHED, Dataset
from pipelines.data.own import OwnDataset
from pipelines.project.paths import shipped

FILE = shipped("datasets") / "published.csv"
PAPER = f"IFM paper (Hong et al. 2019), Table 2, K = {PUBLISHED['embed_dim']}"


class Figure(NamedTuple):
    """Hold one published figure, under which name it was published, and where."""

    value: float
    name: str
    source: str


def of_others(dataset: str) -> list[dict[str, Any]]:
    """Return the rows of `datasets/published.csv` on a data set, the best AUC first.

    The model is "" where this project lacks it.
    """
    table = pl.read_csv(FILE, null_values=[]).filter(dataset=dataset).sort("auc", descending=True)
    return table.with_columns(pl.col("model").fill_null("")).to_dicts()


def published(entry: Dataset | OwnDataset, card: Card | None) -> dict[str, dict[str, Figure]]:
    """Return the best published figures of a data set by metric and model; none for another split than theirs.

    The model "" is the best of all. AUC and logloss are those of one run.
    """
    if card and card.split not in ("released", "random"):
        return {}
    found = {"rmse": {model: Figure(value, model, PAPER) for model, value in entry.published_rmse.items()}}
    rows = of_others(entry.name)
    best = {row["model"]: row for row in reversed(rows)}
    if rows:
        best[""] = rows[0]
    for metric in ("auc", "logloss"):
        found[metric] = {model: Figure(row[metric], row["name"], row["source"]) for model, row in best.items()}
    return {metric: figures for metric, figures in found.items() if figures}
