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
TRUTH, VECTORS = "truth.json", "vectors.json"  # beside the log


def write_log(folder: Path, seed: int) -> None:
    """Write `log.csv`, which has only positives, and what was planted in it.

    `truth.json` has the strength of each field pair, `vectors.json` the latent vectors of the features of each field.

    The probability of an item is proportional to exp(popularity + Σ strength · ⟨a, b⟩). The sum is over the other
    features of the line; a is a feature's latent vector and b the item's. A negative differs from its log line only in
    the item, so only pairs with item separate the two. The keys of `truth.json` are FIELD-FIELD, in the catalogue's
    order. The same seed gives the same files. Raises OSError when they can't be written.
    """
    fields = get_dataset("synthetic").fields
    rng = np.random.default_rng(seed)
    features = {field: rng.integers(size, size=NUM_LINES) for field, size in CONTEXT_SIZES.items()}
    features["item"], vectors = choose_items(features, rng)
    log = pl.DataFrame({field: [f"{field}{feature}" for feature in features[field]] for field in fields})
    with written_whole(folder / "log.csv") as partial:
        partial.write_text(log.unique(maintain_order=True).write_csv(), encoding="utf-8")
    write_json(folder / TRUTH, {"-".join(pair): strength(pair) for pair in combinations(fields, 2)})
    write_json(folder / VECTORS, {field: array.tolist() for field, array in vectors.items()})


def choose_items(features: dict[str, np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw an item for each line [NUM_LINES], and return the latent vectors too.

    `features` has [NUM_LINES] features for each other field.
    """
    items = rng.standard_normal((NUM_ITEMS, RANK))
    items /= np.linalg.norm(items, axis=1, keepdims=True)  # otherwise items with long vectors would be popular
    vectors = {"item": items}
    for field in STRENGTHS:
        drawn = rng.standard_normal((CONTEXT_SIZES[field], RANK))
        vectors[field] = drawn - drawn.mean(axis=0)  # otherwise some items would be popular with every feature
    scores = item_scores(features, vectors)
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=1), vectors  # a draw from softmax(scores)


def item_scores(features: dict[str, np.ndarray], vectors: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the score of each item [lines, NUM_ITEMS]: popularity + Σ strength · ⟨a, b⟩."""
    scores = np.tile(-POPULARITY_EXPONENT * np.log(np.arange(1, NUM_ITEMS + 1)), (len(features["user"]), 1))
    for field, planted in STRENGTHS.items():
        scores += planted * vectors[field][features[field]] @ vectors["item"].T
    return scores


def strength(pair: tuple[str, str]) -> float:
    """Return the strength of a pair of fields. Pairs with strength 0 are noise."""
    if "item" not in pair:
        return 0.0
    return STRENGTHS.get(pair[0] if pair[1] == "item" else pair[1], 0.0)
