"""Write the rows that all sides train on, as plain arrays.

They are written once into benchmarks/.cache/SHAPE, which git ignores.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / ".cache"
PROCESSED = Path(__file__).parents[1] / "data" / "processed"
MOVIELENS = {"user": 17_045, "item": 23_743, "tag": 49_657}  # the sizes of the data set of that name
MOVIELENS_ROWS = 1_404_801
ZIPF_EXPONENT = 1.0


def write_inputs(shape: str) -> Path:
    """Write the inputs of a shape if missing, and return their folder.

    It has train.npz (`features` of global ids, `labels` ±1), schema.json, and for frappe valid.npz. If the prepared
    Frappe is missing, raises ValueError that says what to run.
    """
    folder = FOLDER / shape
    if not (folder / "schema.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        schema = write_frappe(folder) if shape == "frappe" else write_movielens(folder)
        (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    return folder


def write_frappe(folder: Path) -> dict[str, Any]:
    """Write the train and valid splits of the prepared Frappe; return its schema."""
    from pipelines.data.rows import load_rows, load_schema

    source = PROCESSED / "frappe"
    schema = load_schema(source)
    for split in ("train", "valid"):
        rows = load_rows(source, split)
        np.savez(folder / f"{split}.npz", features=rows.features.numpy(), labels=rows.labels.numpy())
    return schema


def write_movielens(folder: Path) -> dict[str, Any]:
    """Generate rows in the shape of MovieLens tags; return their schema.

    Ids have Zipf frequencies; labels are ±1 at random.
    """
    rng = np.random.default_rng(2019)
    columns, offset = [], 0
    for size in MOVIELENS.values():
        frequency = 1 / np.arange(1, size + 1) ** ZIPF_EXPONENT
        ids = rng.choice(size, MOVIELENS_ROWS, p=frequency / frequency.sum())
        columns.append(rng.permutation(size)[ids] + offset)
        offset += size
    labels = rng.choice([-1.0, 1.0], MOVIELENS_ROWS).astype(np.float32)
    np.savez(folder / "train.npz", features=np.stack(columns, axis=1).astype(np.int32), labels=labels)
    return {
        "dataset": "movielens",
        "fields": list(MOVIELENS),
        "field_dims": list(MOVIELENS.values()),
        "num_features": offset,
        "num_rows": {"train": MOVIELENS_ROWS},
    }
