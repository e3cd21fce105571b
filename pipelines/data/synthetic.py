"""Generate a log with known strengths of the field pairs."""

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.data.catalog import get_dataset
from pipelines.project.files import write_json, written_whole

NUM_LINES = 8_000
NUM_ITEMS = 300
CONTEXT_SIZES = {"user": 200, "daytime": 4, "weekday": 7, "weather": 5, "city": 20, "device": 3}
STRENGTHS = {"user": 2.4, "daytime": 1.8, "city": 0.6, "weekday": 0.5}  # of the pair of this field with item
RANK = 4  # of the latent vectors
POPULARITY_EXPONENT = 0.5  # on the item's rank, as in Zipf's law


def write_log(folder: Path, seed: int) -> None:
    """Write `log.csv`, which has only positives, and `truth.json`, the strength of each field pair.

    The probability of an item is proportional to exp(popularity + Σ strength · ⟨a, b⟩). The sum is over the other
    features of the line; a is a feature's latent vector and b the item's. A negative differs from its log line only in
    the item, so only pairs with item separate the two. The keys of `truth.json` are FIELD-FIELD, in the catalogue's
    order. The same seed gives the same files. Raises OSError when they can't be written.
    """
    fields = get_dataset("synthetic").fields
    rng = np.random.default_rng(seed)
    features = {field: rng.integers(size, size=NUM_LINES) for field, size in CONTEXT_SIZES.items()}
    features["item"] = choose_items(features, rng)
    log = pl.DataFrame({field: [f"{field}{feature}" for feature in features[field]] for field in fields})
    with written_whole(folder / "log.csv") as partial:
        partial.write_text(log.unique(maintain_order=True).write_csv(), encoding="utf-8")
    write_json(folder / "truth.json", {"-".join(pair): strength(pair) for pair in combinations(fields, 2)})


def choose_items(features: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Draw an item for each line [NUM_LINES]. `features` has [NUM_LINES] features for each other field."""
    items = rng.standard_normal((NUM_ITEMS, RANK))
    items /= np.linalg.norm(items, axis=1, keepdims=True)  # otherwise items with long vectors would be popular
    scores = np.tile(-POPULARITY_EXPONENT * np.log(np.arange(1, NUM_ITEMS + 1)), (NUM_LINES, 1))
    for field, planted in STRENGTHS.items():
        vectors = rng.standard_normal((CONTEXT_SIZES[field], RANK))
        vectors -= vectors.mean(axis=0)  # zero mean: otherwise some items would be popular with every feature
        scores += planted * vectors[features[field]] @ items.T
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)  # a draw from softmax(scores)


def strength(pair: tuple[str, str]) -> float:
    """Return the strength of a pair of fields. Pairs with strength 0 are noise."""
    if "item" not in pair:
        return 0.0
    return STRENGTHS.get(pair[0] if pair[1] == "item" else pair[1], 0.0)
