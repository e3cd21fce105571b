"""Read what others published on the data sets: `datasets/published.csv` and Table 2 of the IFM paper."""

from typing import NamedTuple

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


def published(entry: Dataset | OwnDataset, card: Card | None) -> dict[str, dict[str, Figure]]:
    """Return the best published figures of a data set by metric and model; none for a split into new pairs.

    The model "" is the best of all models, of which we may not have it.
    """
    if card and card.split == "new_pairs":
        return {}
    found = {"rmse": {model: Figure(value, model, PAPER) for model, value in entry.published_rmse.items()}}
    table = pl.read_csv(FILE, null_values=[]).filter(dataset=entry.name).fill_null("")
    for metric in ("auc", "logloss"):
        found[metric] = {row["model"]: Figure(row[metric], row["name"], row["source"]) for row in table.to_dicts()}
    return {metric: figures for metric, figures in found.items() if figures}
