"""Compute the best metrics that a model can reach on the generated log.

No model can know more than how the log was made and every training row. From these, Bayes' rule gives each test row's
probability of being positive. Without memory of training rows, a model knows only how the log was made. With c the
row's other features, u its user and i its item:

- Where training rows have u with i, the label is known: a negative's item is never in the log with its user.
- A positive has item i with the planted probability p(i | c). A negative has it with 1 / (number of free items of u) if
  i is free: if no line of u that is no training row has it, a chance of Π (1 − p(i | c')) over these lines. If i is
  free, it is also chance that no negative of u among the training rows has it.
- Each line c has one positive and some negatives. Those which training rows have, the test row is not.

The numbers of free items and of lines are taken from the whole log, which no model sees: the bound is on the safe side.
"""

from pathlib import Path

import numpy as np
import polars as pl

from pipelines.data.card import Planted, Reachable
from pipelines.data.synthetic import CONTEXT_SIZES, NUM_ITEMS, TRUTH, VECTORS, item_scores
from pipelines.project.metric import EVERY_EPOCH, METRICS
from pipelines.project.predicted import Predicted
from pipelines.project.records import read_record

CONTEXT = list(CONTEXT_SIZES)
DECIMALS = 12  # of metrics: those after them depend on the CPU
COMMAND = "python -m pipelines.download --dataset synthetic"


def planted_in(raw: Path, processed: Path) -> Planted | None:
    """Say what was planted in a generated log; None where its truth is not beside it."""
    if not (raw / VECTORS).exists():
        return None
    return Planted(strengths=read_record(raw / TRUTH, dict[str, float], COMMAND), reachable=reachable(raw, processed))


def reachable(raw: Path, processed: Path) -> Reachable:
    """Compute the best metrics that a model can reach on the test rows."""
    vectors = read_record(raw / VECTORS, dict[str, list[list[float]]], COMMAND)
    arrays, rows = {field: np.array(each) for field, each in vectors.items()}, read_rows(processed)
    test, train = rows.filter(split="test"), rows.filter(split="train")
    labels = test["label"].to_numpy().astype(float)
    found = [
        {name: round(METRICS[name].value(Predicted(known, 2 * known - 1, labels)), DECIMALS) for name in EVERY_EPOCH}
        for known in (probabilities(arrays, rows, test, part) for part in (train, train.clear()))
    ]
    return Reachable(best=found[0], without_rows=found[1])


def read_rows(processed: Path) -> pl.DataFrame:
    """Read the rows of all splits. The columns are split, label, and the number of each field's feature."""
    vocabulary = pl.read_parquet(processed / "vocabulary.parquet").sort("feature_id")
    numbers = vocabulary["raw_value"].str.extract(r"(\d+)$").cast(pl.Int64)
    parts = []
    for name in ("train", "valid", "test"):
        part = pl.read_parquet(processed / f"{name}.parquet")
        features = [numbers.gather(part[field]).alias(field) for field in (*CONTEXT, "item")]
        parts.append(pl.DataFrame([part["label"], *features]).with_columns(split=pl.lit(name)))
    return pl.concat(parts)


def probabilities(
    vectors: dict[str, np.ndarray], rows: pl.DataFrame, test: pl.DataFrame, seen: pl.DataFrame
) -> np.ndarray:
    """Compute each test row's probability of being positive, given the rows seen [test rows]."""
    user, item = test["user"].to_numpy(), test["item"].to_numpy()
    positives = rows.filter(label=1)
    hidden = positives.join(seen, on=seen.columns, how="anti")
    not_there = np.zeros((CONTEXT_SIZES["user"], NUM_ITEMS))  # log of the chance that no hidden line has the item
    np.add.at(not_there, hidden["user"].to_numpy(), np.log1p(-of_items(vectors, hidden)))
    taken = positives.group_by("user").agg(pl.col("item").n_unique())
    free = np.full(CONTEXT_SIZES["user"], rows["item"].n_unique())
    free[taken["user"].to_numpy()] -= taken["item"].to_numpy()
    drawn = np.zeros(CONTEXT_SIZES["user"])  # negatives that were seen
    counts = seen.filter(label=-1).group_by("user").len()
    drawn[counts["user"].to_numpy()] = counts["len"].to_numpy()
    not_there += (drawn * np.log1p(-1 / free))[:, None]
    chosen = of_items(vectors, test)[np.arange(len(item)), item]
    log_odds = np.log(chosen) + np.log(free[user]) - not_there[user, item]
    with np.errstate(divide="ignore"):  # a certain row has infinite odds
        log_odds += np.log(hidden_rows(rows, test, seen, 1)) - np.log(hidden_rows(rows, test, seen, -1))
    known = test.join(
        seen.select("user", "item", known="label").unique(), on=["user", "item"], how="left", maintain_order="left"
    )["known"]
    log_odds = np.where(known.is_null(), log_odds, np.where(known.fill_null(0).to_numpy() > 0, np.inf, -np.inf))
    return 1 / (1 + np.exp(-np.clip(log_odds, -50, 50)))


def of_items(vectors: dict[str, np.ndarray], rows: pl.DataFrame) -> np.ndarray:
    """Compute the planted probability of each item in the rows' contexts [rows, NUM_ITEMS]."""
    scores = item_scores({field: rows[field].to_numpy() for field in CONTEXT}, vectors)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def hidden_rows(rows: pl.DataFrame, test: pl.DataFrame, seen: pl.DataFrame, label: int) -> np.ndarray:
    """Count the unseen rows with a label in each test row's context [test rows]."""
    counts = []
    for part in (rows, seen):
        found = part.filter(label=label).group_by(CONTEXT).len("found")
        counts.append(test.join(found, on=CONTEXT, how="left", maintain_order="left")["found"].fill_null(0).to_numpy())
    return counts[0].astype(float) - counts[1]
