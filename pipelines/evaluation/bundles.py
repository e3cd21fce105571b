"""Keep a trained model in a folder: its weights, what made them, and the vocabulary of its features.

No file of a bundle is executed when it is read.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from models import registry
from pipelines.data.fields import Fitted
from pipelines.data.own import Layout
from pipelines.project.files import file_digest, written_whole
from pipelines.project.provenance import Origin
from pipelines.project.records import Record, read_record, write_record
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
    files: dict[str, str]  # SHA-256 of the other files
    made_by: Origin


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
    model = registry.create(bundle.model, bundle.field_dims, bundle.arguments, fields=bundle.fields)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder / WEIGHTS} does not fit {bundle.model} of this version: {reason}") from error
    return bundle, model.eval()


def probabilities(logits: Tensor, loss: str) -> Tensor:
    """Turn logits into probabilities of the label +1, in float64."""
    return (predictions(logits.double(), loss) + 1) / 2
