"""Load a cell of the benchmark: one model on one data set."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from torch import Tensor, nn

from models import registry
from pipelines.data.card import read_card
from pipelines.data.catalog import Dataset, get_dataset
from pipelines.data.own import OwnDataset
from pipelines.data.rows import Rows, load_rows, load_schema
from pipelines.project.golden_files import SEED
from pipelines.project.metric import METRICS
from pipelines.project.params import Params, TrainingParams
from pipelines.project.paths import Paths
from pipelines.project.provenance import Origin, made_by
from pipelines.project.seeds import seed_for
from pipelines.project.settings import Setting, resolve
from pipelines.training.behaviour import behaviour_of
from pipelines.training.epochs import Epoch, no_report
from pipelines.training.loop import train
from pipelines.training.metrics import have_mixed_groups
from pipelines.training.small import TRAINING, splits
from pipelines.training.start import check_pretrain, load_recipe, load_weights, new_model, pretrained_file
from search_spaces.shared import Space


@dataclass(frozen=True)
class Cell:
    """Hold what the runs of one model on one data set need.

    There are only train and validation rows, so that no search sees the test split.
    """

    model: str
    dataset: str
    schema: dict[str, Any]  # of the prepared data
    digests: dict[str, str]  # of each split's values and, if there is one, of the pretrained model
    behaviour: str  # digits that stand for what the running code does
    train_rows: Rows
    valid_rows: Rows
    training: TrainingParams
    pretrained: dict[str, Tensor] | None
    root_seed: int
    raw_files: dict[str, dict[str, Any]] | None = None  # from which the data was prepared, if its card says so

    def seed(self, stage: str, *keys: str | int) -> int:
        """Derive the seed of one of a stage's runs."""
        return seed_for(self.root_seed, stage, self.dataset, self.model, *keys)

    def made_by(self) -> Origin:
        """Describe what makes a result of this cell."""
        return made_by(self.behaviour, self.raw_files)

    def train(
        self, setting: Setting, seed: int, report: Callable[[Epoch], object] = no_report
    ) -> tuple[nn.Module, list[Epoch]]:
        """Train a new model, and return it and its epochs.

        The model has the weights of the best epoch. Raises ValueError for a setting with unknown keys or wrong values.
        """
        arguments, training = resolve(setting, self.training)
        refuse_workers(training)
        model = new_model(self.model, self.schema, arguments, seed, self.pretrained)
        return model, train(model, self.train_rows, self.valid_rows, training, report)


def load_cell(model: str, dataset: str, params: Params, paths: Paths) -> Cell:
    """Load a cell from the files of the stages `prepare` and `pretrain`.

    Raises ValueError for an unknown model or data set, and for data that is damaged or not there.
    """
    described, metric = get_dataset(dataset, paths.root), params.training.metric
    registry.get_model(model)
    refuse_workers(params.training)
    check_pretrain(params)
    folder = paths.processed(dataset)
    schema, card = load_schema(folder), read_card(paths, dataset)
    digests, pretrained = dict(schema["values"]), None
    if path := pretrained_file(model, dataset, params, paths):
        pretrained, digests["pretrained"] = load_weights(path), load_recipe(path.parent)
    if METRICS[metric].by_group:
        digests["group"] = described.grouped_by
    valid_rows = load_rows(folder, "valid", described.group_place)
    check_groups(described, metric, "valid", valid_rows)
    return Cell(
        model=model,
        dataset=dataset,
        schema=schema,
        digests=digests,
        behaviour=behaviour_of(model, params.training),
        train_rows=load_rows(folder, "train"),
        valid_rows=valid_rows,
        training=params.training,
        pretrained=pretrained,
        root_seed=params.seed,
        raw_files=card and card.origin,
    )


def check_groups(dataset: Dataset | OwnDataset, metric: str, split: str, rows: Rows) -> None:
    """Raise ValueError for a metric by group that is not defined on a split."""
    require_group(dataset, metric)
    if not METRICS[metric].by_group or have_mixed_groups(rows.labels, rows.groups):
        return
    problem = f"no {dataset.grouped_by} of its {split} rows has both classes"
    if rows.groups is None:
        problem = f"its rows have no groups yet: run python -m pipelines.prepare --dataset {dataset.name}"
    raise ValueError(f"training.metric is {metric}, but of data set {dataset.name!r} {problem}")


def require_group(dataset: Dataset | OwnDataset, metric: str) -> None:
    """Raise ValueError for a metric by group of a data set without groups."""
    if METRICS[metric].by_group and not dataset.grouped_by:
        raise ValueError(
            f"metric {metric} needs groups, such as users: write `group: FIELD` into datasets/{dataset.name}.yaml; "
            f"its fields are: {', '.join(dataset.fields)}"
        )


def refuse_workers(training: TrainingParams) -> None:
    """Raise ValueError for several workers, which only `pipelines.train` has."""
    if training.num_workers > 1:
        raise ValueError(
            f"training.num_workers is {training.num_workers}: only python -m pipelines.train has several workers train "
            "one model; set it to 1 here, where trials and seeds run side by side"
        )


def fingerprint(cell: Cell, space: Space, fixed: Setting) -> str:
    """Compute a name for all that a trial's result depends on.

    That is data, params, search space, seed, and the behaviour of the code.
    """
    distributions = {key: text_of(distribution) for key, distribution in space.items()}
    training = cell.training.model_dump(exclude_defaults=True)  # so that a new key changes no name
    parts = (cell.root_seed, cell.digests, training, distributions, dict(fixed), cell.behaviour)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def text_of(distribution: BaseDistribution) -> str:
    """Write a distribution as text, which no version of Python or Optuna changes."""
    content = json.loads(distribution_to_json(distribution))
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in content["attributes"].items()}
    return f"{content['name']}({', '.join(f'{key}={values[key]!r}' for key in sorted(values))})"


def generated_cell() -> Cell:
    """Make a cell of generated rows without a real model, for the behaviour of stages."""
    split = splits()["few features"]
    return Cell("model", "dataset", split.schema, {}, "", split.train, split.valid, TRAINING, None, SEED)
