"""A cell of the benchmark: one model on one data set, and what its runs need."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import registry
from pipelines.catalog import get_dataset
from pipelines.data import Rows, load_rows, load_schema
from pipelines.golden import behaviour_of
from pipelines.params import Params, TrainingParams
from pipelines.paths import Paths
from pipelines.seeds import seed_for
from pipelines.settings import Setting, resolve
from pipelines.training import Epoch, new_model, train


@dataclass(frozen=True)
class Cell:
    """Train and validation rows only: what decides a search never sees the test split."""

    model: str
    dataset: str
    schema: dict[str, Any]  # that of the prepared data
    digests: dict[str, str]  # of what the runs start from: the values of each split and, if any, the pretrained model
    behaviour: str  # of the code that runs, by `pipelines.golden.digest`
    train_rows: Rows
    valid_rows: Rows
    training: TrainingParams
    pretrained: dict[str, Tensor] | None
    root_seed: int

    def seed(self, stage: str, *keys: str | int) -> int:
        """The seed of a run of the cell that a stage names by `keys`."""
        return seed_for(self.root_seed, stage, self.dataset, self.model, *keys)

    def start(self, setting: Setting, seed: int) -> tuple[nn.Module, Iterator[Epoch]]:
        """Make a model, and the epochs that train it.

        Raises ValueError for a setting that names unknown keys or values that are not allowed.
        """
        arguments, training = resolve(setting, self.training)
        refuse_workers(training)
        model = new_model(self.model, self.schema, arguments, seed, self.pretrained)
        return model, train(model, self.train_rows, self.valid_rows, training)


def load_cell(model: str, dataset: str, params: Params, paths: Paths) -> Cell:
    """The cell of a model and a data set, with what the stages `prepare` and `pretrain` have written.

    Raises ValueError for an unknown model or data set, and for data that is damaged or not there.
    """
    get_dataset(dataset)
    registry.get_model(model)
    refuse_workers(params.training)
    folder = paths.processed(dataset)
    schema = load_schema(folder)
    digests, pretrained = dict(schema["values"]), None
    if path := pretrained_file(model, dataset, params, paths):
        pretrained, digests["pretrained"] = load_weights(path), load_recipe(path.parent)
    return Cell(
        model=model,
        dataset=dataset,
        schema=schema,
        digests=digests,
        behaviour=behaviour_of(model, params.training),
        train_rows=load_rows(folder, "train"),
        valid_rows=load_rows(folder, "valid"),
        training=params.training,
        pretrained=pretrained,
        root_seed=params.seed,
    )


def refuse_workers(training: TrainingParams) -> None:
    """Raise ValueError for several workers, which here are not used."""
    if training.num_workers > 1:
        raise ValueError(
            f"training.num_workers is {training.num_workers}: only python -m pipelines.train has several workers train "
            "one model; set it to 1 here, where trials and seeds run side by side"
        )


def pretrained_file(model: str, dataset: str, params: Params, paths: Paths) -> Path | None:
    """What a model starts from, if training.pretrained names another. Raises ValueError when it is not there."""
    if params.training.pretrained in (None, model):
        return None
    path = paths.pretrained(dataset) / f"{params.training.pretrained}.pt"
    if not path.exists():
        raise ValueError(f"no {path}: run python -m pipelines.pretrain --dataset {dataset}")
    return path


def load_recipe(folder: Path) -> str:
    """Read what stands for all that pretrained weights come from. Raises ValueError where it is not there."""
    path = folder / "recipe.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"no recipe in {path}: run python -m pipelines.pretrain --dataset {folder.name}") from error


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights that `pretrain` has written. Raises ValueError for a file with anything else; runs none of it."""
    cause = None
    try:
        with warnings.catch_warnings(action="ignore"):  # about other formats, which are an error here
            weights = torch.load(path, map_location="cpu", weights_only=True)
        if are_weights(weights):
            return weights
    except OSError:
        raise
    except Exception as error:  # of a dozen types, with texts of many lines
        cause = error
    raise ValueError(
        f"{path} is damaged or no checkpoint: run python -m pipelines.pretrain --dataset {path.parent.name}"
    ) from cause


def are_weights(content: Any) -> bool:
    """Whether something is tensors by name, those that other models start from among them."""
    return (
        isinstance(content, dict)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
        and "embedding.weight" in content
    )
