"""Keep a trained model in a folder: its weights, what made them, and the vocabulary of its features.

No file of a bundle is executed when it is read.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from models import registry
from pipelines.data.fields import Fitted
from pipelines.data.layouts import Layout
from pipelines.data.rows import Rows, command, load_rows, load_schema
from pipelines.evaluation.calibration import Calibration
from pipelines.project.files import file_digest, written_whole
from pipelines.project.paths import Paths
from pipelines.project.provenance import Origin
from pipelines.project.records import ABSENT, Record, read_record, write_record
from pipelines.training.metrics import predictions

WEIGHTS, VOCABULARY, RECORD = "model.safetensors", "vocabulary.parquet", "bundle.json"


class Bundle(Record):
    """Hold what a bundle's weights mean, in bundle.json."""

    version: Literal[1] = 1
    model: str
    arguments: dict[str, Any]  # of the model's constructor
    loss: Literal["squared_error", "cross_entropy"]
    dataset: str
    fields: list[str]
    field_dims: list[int]
    licence: str  # of the data
    citation: str
    seed: int  # the number of the final run
    valid: dict[str, float]
    test: dict[str, float]
    fitted: dict[str, Fitted] = Field(default={})  # of a user's own table: what each field learnt from training rows
    layout: Layout = Layout()  # of text files with rows
    sides: dict[str, str] = Field(default={})  # files with side tables, in the order of joining, and their keys
    data: dict[str, str] = Field(default={})  # digests of the values of the prepared splits
    rate: float | None = ABSENT  # the share of positives among the training rows, by their weights
    replace: str = ""  # the field that negatives replace
    given: list[str] = Field(default=[])  # the fields that negatives keep
    calibration: Calibration | None = ABSENT
    files: dict[str, str]  # SHA-256 of the other files
    made_by: Origin

    @model_validator(mode="after")
    def fit_together(self) -> "Bundle":
        """Refuse what would make features that the model lacks."""
        if not 0 < len(set(self.fields)) == len(self.fields) == len(self.field_dims) or min(self.field_dims) < 1:
            raise ValueError("fields and field_dims don't fit together")
        if missing := {WEIGHTS, VOCABULARY} - self.files.keys():
            raise ValueError(f"files lacks {min(missing)}")
        for field, size in zip(self.fields, self.field_dims, strict=True):
            if (fitted := self.fitted.get(field)) and not fitted.fits(size):
                raise ValueError(f"fitted: {field} does not have {size} features")
        return self


def write_bundle(
    folder: Path, trained: nn.Module, vocabulary: Path, sides: Sequence[tuple[str, pl.DataFrame]] = (), **about: Any
) -> None:
    """Write a bundle, with side tables and their keys.

    Its record is written last, so if it exists, all files exist.
    """
    (folder / RECORD).unlink(missing_ok=True)
    with written_whole(folder / WEIGHTS) as partial:
        partial.write_bytes(weights_of(trained))
    with written_whole(folder / VOCABULARY) as partial:
        shutil.copyfile(vocabulary, partial)
    keys = {f"side-{number}.parquet": key for number, (key, _) in enumerate(sides, 1)}
    for name, (_, side) in zip(keys, sides, strict=True):
        with written_whole(folder / name) as partial:
            side.write_parquet(partial)
    files = {name: file_digest(folder / name) for name in (WEIGHTS, VOCABULARY, *keys)}
    write_record(folder / RECORD, Bundle(files=files, sides=keys, **about))


def weights_of(trained: nn.Module) -> bytes:
    """Write a model's weights in the format of safetensors."""
    return save({key: value.detach().cpu().contiguous() for key, value in trained.state_dict().items()})


def read_bundle(folder: Path) -> tuple[Bundle, nn.Module]:
    """Read a bundle and make its model, ready to predict.

    Raises ValueError, which names the file, for one that is missing, damaged, of another bundle or version.
    """
    bundle = read_record(folder / RECORD, Bundle, "factorbench bundle again")
    for name, digest in bundle.files.items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is no whole bundle: {name} is missing")
        if file_digest(folder / name) != digest:
            raise ValueError(f"{folder / name} is damaged or of another bundle: {RECORD} describes another file")
    made = partial(registry.create, bundle.model, bundle.field_dims, bundle.arguments, fields=bundle.fields)
    with torch.device("meta"):  # takes no memory
        num_weights = sum(weight.numel() for weight in made().state_dict().values())
    if num_weights > (folder / WEIGHTS).stat().st_size:
        raise ValueError(f"{folder / WEIGHTS} does not fit {bundle.model} of this version: it has too few weights")
    model = made()
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder / WEIGHTS} does not fit {bundle.model} of this version: {reason}") from error
    return bundle, model.eval()


def read_vocabulary(folder: Path, bundle: Bundle) -> pl.DataFrame:
    """Read the names of a bundle's features. Raises ValueError for a file that does not fit the bundle."""
    file = folder / VOCABULARY
    try:
        table = pl.read_parquet(file, columns=["field", "feature_id", "raw_value"])
        sizes = table.group_by("field", maintain_order=True).len()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{file} is no vocabulary: {str(error).splitlines()[0]}") from error
    fits = np.array_equal(table["feature_id"], np.arange(table.height)) and table["raw_value"].dtype == pl.String
    if not fits or sizes.rows() != list(zip(bundle.fields, bundle.field_dims, strict=True)):
        raise ValueError(f"{file} does not fit {RECORD}: it has other features")
    return table


def probabilities(logits: Tensor, loss: str, calibration: Calibration | None = None) -> Tensor:
    """Turn logits into probabilities of the label +1."""
    return calibration.probabilities(logits) if calibration else (predictions(logits, loss) + 1) / 2


def prepared_rows(kept: Bundle, paths: Paths, split: str) -> Rows:
    """Load a split of the prepared data of a bundle. Raises ValueError for other data than it was trained on."""
    folder = paths.processed(kept.dataset)
    schema = load_schema(folder)
    now = (schema["fields"], schema["field_dims"], schema["values"])
    if now != (kept.fields, kept.field_dims, kept.data or schema["values"]):
        raise ValueError(
            f"{folder} has other data than the bundle was trained on: prepare that again ({command(folder)}), "
            "or run factorbench bundle again"
        )
    return load_rows(folder, split)


def positive_rate(rows: Rows) -> float:
    """Compute the share of positives among rows, by their weights."""
    weights = torch.ones(len(rows)) if rows.weights is None else rows.weights
    return float(weights[rows.labels > 0].double().sum() / weights.double().sum())
