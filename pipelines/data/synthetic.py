"""A generated log in which it is known which pairs of fields matter."""

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.data.catalog import DATASETS
from pipelines.project.files import write_json, written_whole

NUM_LINES = 8_000
NUM_ITEMS = 300
CONTEXT_SIZES = {"user": 200, "daytime": 4, "weekday": 7, "weather": 5, "city": 20, "device": 3}
STRENGTHS = {"user": 2.4, "daytime": 1.8, "city": 0.6, "weekday": 0.5}  # of the pair with item
RANK = 4  # of the latent vectors
POPULARITY_EXPONENT = 0.5  # of the item's rank, as in Zipf's law


def write_log(folder: Path, seed: int) -> None:
    """Write `log.csv`, positives only, one column a field, and `truth.json`, the strength of each pair.

    An item is chosen with a probability proportional to exp(popularity + Σ strength · ⟨a, b⟩), the sum over
    the line's other features with latent vectors a, and b the item's. As a negative differs from its log line
    in the item only, pairs with item are all that can tell them apart. The keys of `truth.json` are
    FIELD-FIELD, in the catalogue's order. The same seed gives the same files. Raises OSError when they can't
    be written.
    """
    fields = DATASETS["synthetic"].fields
    rng = np.random.default_rng(seed)
    features = {field: rng.integers(size, size=NUM_LINES) for field, size in CONTEXT_SIZES.items()}
    features["item"] = choose_items(features, rng)
    log = pl.DataFrame({field: [f"{field}{feature}" for feature in features[field]] for field in fields})
    with written_whole(folder / "log.csv") as partial:
        partial.write_text(log.unique(maintain_order=True).write_csv(), encoding="utf-8")
    write_json(folder / "truth.json", {"-".join(pair): strength(pair) for pair in combinations(fields, 2)})


def choose_items(features: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """An item for each line [NUM_LINES], given the features of the other fields [NUM_LINES] each."""
    items = rng.standard_normal((NUM_ITEMS, RANK))
    items /= np.linalg.norm(items, axis=1, keepdims=True)  # of one length, lest long ones be popular for it
    scores = np.tile(-POPULARITY_EXPONENT * np.log(np.arange(1, NUM_ITEMS + 1)), (NUM_LINES, 1))
    for field, planted in STRENGTHS.items():
        vectors = rng.standard_normal((CONTEXT_SIZES[field], RANK))
        vectors -= vectors.mean(axis=0)  # else some items would be popular whatever the feature
        scores += planted * vectors[features[field]] @ items.T
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)  # a draw from softmax(scores)


def strength(pair: tuple[str, str]) -> float:
    """The strength planted in a pair of fields: 0 is noise."""
    if "item" not in pair:
        return 0.0
    return STRENGTHS.get(pair[0] if pair[1] == "item" else pair[1], 0.0)
