"""The schema of params.yaml: every key, its type and its default; an unknown key is an error that names it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from pipelines.project.metric import MetricName
from pipelines.project.records import Schema, explain

Fraction = Annotated[float, Field(gt=0, lt=1)]


class PrepareParams(Schema):
    """Negatives a positive, and the shares of the split; the test split is the rest."""

    num_negatives: PositiveInt = 2
    train: Fraction = 0.7
    valid: Fraction = 0.2

    @model_validator(mode="after")
    def leave_test_rows(self) -> "PrepareParams":
        if self.train + self.valid >= 1:
            raise ValueError(f"train + valid must be under 1, got {self.train} + {self.valid}")
        return self


class TrainingParams(Schema):
    """One training run. The search varies some of these; the rest hold for every trial."""

    loss: Literal["squared_error", "cross_entropy"] = "squared_error"
    optimizer: Literal["adagrad", "adam", "lazy_adam", "ftrl"] = "adagrad"
    learning_rate: PositiveFloat = 0.05
    batch_size: PositiveInt = 128
    max_epochs: PositiveInt = 100
    patience: PositiveInt = 4  # epochs without a better validation metric before a run stops
    metric: MetricName = "rmse"  # decides: early stopping, the search, ranks and significance
    l2: NonNegativeFloat = 0.0  # λ on the embeddings and the linear weights
    l2_rows: Literal["all", "touched"] = "all"  # with adagrad: where λ acts in a step; touched: on the batch's rows
    l1: NonNegativeFloat = 0.0  # λ_1 of FTRL-proximal
    l2_field: NonNegativeFloat = 0.0  # the paper's λ_F, on U and D
    l2_attention: NonNegativeFloat = 0.0  # λ on the attention network
    kernels: Literal["fast", "plain"] = "fast"  # plain: the formulas as they stand, for comparison
    pretrained: Literal["fm"] | None = None  # whose embeddings and linear terms a run starts from
    # processes or machines that train one model together (docs/clusters.md); 1 is left out of what names a study
    num_workers: PositiveInt = Field(default=1, exclude_if=lambda num_workers: num_workers == 1)


class PretrainParams(Schema):
    """The run whose embeddings others start from, where training.pretrained names its model."""

    model: dict[str, Any] = Field({})
    training: dict[str, Any] = Field({})


class TuneParams(Schema):
    """The budget of a search, the same for every model, and what is held fixed in all trials."""

    num_trials: PositiveInt | None = None
    time_budget_s: PositiveFloat | None = None
    max_epochs: PositiveInt | None = None  # of a trial; null: training.max_epochs, as the final runs have
    fixed: dict[str, Any] = Field({})  # keys of a search space that are not searched, such as model.embed_dim
    scheduler: Literal["none", "asha", "median"] = "none"  # stops trials that fall behind the others: docs/search.md
    trial_timeout_s: PositiveFloat | None = None  # a trial that takes longer has failed
    max_failures: NonNegativeInt = 1  # how often a trial is started again whose worker died
    deterministic: bool = False  # the same trials in parallel too, at the price of waiting for the slowest of a batch
    cpus_per_trial: PositiveInt = 1
    gpus_per_trial: NonNegativeFloat | None = None  # not said: a quarter where there are GPUs

    @model_validator(mode="after")
    def have_a_budget(self) -> "TuneParams":
        if self.num_trials is None and self.time_budget_s is None:
            raise ValueError("set num_trials or time_budget_s")
        return self

    @model_validator(mode="after")
    def do_not_race(self) -> "TuneParams":
        if self.deterministic and self.scheduler != "none":
            raise ValueError("deterministic needs scheduler none: what others stop depends on which trial is faster")
        return self


class EvaluateParams(Schema):
    num_seeds: PositiveInt = 5


class Params(Schema):
    """All of params.yaml."""

    seed: int
    datasets: list[str]
    models: list[str]
    prepare: PrepareParams = PrepareParams()
    training: TrainingParams = TrainingParams()
    pretrain: PretrainParams = PretrainParams()
    tune: TuneParams
    evaluate: EvaluateParams = EvaluateParams()


def load_params(path: Path) -> Params:
    """Read params.yaml. Raises ValueError with file, key and allowed values; OSError when it can't be read."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error, Params)}") from error
