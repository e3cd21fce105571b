"""Define every key of params.yaml, with its type and default. An unknown key is an error."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipelines.project.metric import MetricName
from pipelines.project.records import Schema, check, read_schema

Strings = TypeVar("Strings", list[str], tuple[str, ...])


def distinct(names: Strings) -> Strings:
    """Return names. Raises ValueError for one that occurs twice."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} occurs twice")
    return names


def omitted(default: Any) -> Any:
    """Give a key a default that no dump shows.

    Results and studies from before the key was there keep their names.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


Fraction = Annotated[float, Field(gt=0, lt=1)]
Names = Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]


class PrepareParams(Schema):
    """Hold the number of negatives per positive, and how rows are split. The test split gets the rest."""

    num_negatives: PositiveInt = 2
    train: Fraction = 0.7
    valid: Fraction = 0.2
    # lines: of a log's lines, each with its negatives; random: of single rows, which gives labels away (docs/board.md);
    # new_pairs: rows with the same features of the fields `given` and `replace`, such as user and item, are all on one
    # side
    split: Literal["lines", "random", "new_pairs"] = "lines"

    @model_validator(mode="after")
    def leave_test_rows(self) -> "PrepareParams":
        if self.train + self.valid >= 1:
            raise ValueError(f"train + valid must be under 1, got {self.train} + {self.valid}")
        return self


class TrainingParams(Schema):
    """Hold the parameters of one training run. A search varies some and keeps the rest fixed."""

    loss: Literal["squared_error", "cross_entropy"] = "squared_error"
    optimizer: Literal["adagrad", "adam", "adamw", "lazy_adam", "ftrl"] = "adagrad"
    learning_rate: PositiveFloat = 0.05
    batch_size: PositiveInt = 128
    max_epochs: PositiveInt = 100
    patience: PositiveInt = 4  # epochs without a better validation metric before a run stops
    metric: MetricName = "rmse"  # decides early stopping, the search, ranks and significance: docs/metrics.md
    # what follows an epoch. plateau: after lr_patience epochs without a better validation metric, the learning rate is
    # multiplied by lr_factor; cosine: it falls to lr_floor within max_epochs
    lr_schedule: Literal["constant", "plateau", "cosine"] = omitted("constant")
    lr_factor: Fraction = omitted(0.1)
    lr_patience: PositiveInt = omitted(1)
    lr_floor: NonNegativeFloat = omitted(0.0)
    gradient_clip: PositiveFloat | None = omitted(None)  # largest norm of a step's gradient, which sums over the batch
    l2: NonNegativeFloat = 0.0  # λ on the embeddings and the linear weights
    l2_rows: Literal["all", "touched"] = "all"  # adagrad only: rows that λ acts on in a step; touched: the batch's rows
    l1: NonNegativeFloat = 0.0  # λ_1 of FTRL-proximal
    l2_field: NonNegativeFloat = 0.0  # the paper's λ_F, on U and D
    l2_attention: NonNegativeFloat = 0.0  # λ on the attention network
    kernels: Literal["fast", "plain"] = "fast"  # plain: direct formulas, for comparison
    pretrained: Literal["fm"] | None = None  # the model whose embeddings and linear terms a run starts from
    # processes or machines that train one model together (docs/clusters.md)
    num_workers: PositiveInt = omitted(1)

    @model_validator(mode="after")
    def know_touched_rows(self) -> "TrainingParams":
        if self.kernels == "plain" and (self.l2_rows == "touched" or self.optimizer == "lazy_adam"):
            raise ValueError("l2_rows touched and optimizer lazy_adam need kernels fast: plain gradients have all rows")
        return self

    @model_validator(mode="after")
    def have_a_schedule_that_takes_the_rest(self) -> "TrainingParams":
        taken = {"constant": set(), "plateau": {"lr_factor", "lr_patience", "lr_floor"}, "cosine": {"lr_floor"}}
        for key in ("lr_factor", "lr_patience", "lr_floor"):
            default = type(self).model_fields[key].default
            if getattr(self, key) != default and key not in taken[self.lr_schedule]:
                raise ValueError(f"{key} is {getattr(self, key):g}, but lr_schedule {self.lr_schedule} has none")
        return self

    @model_validator(mode="after")
    def have_an_optimizer_that_takes_l1(self) -> "TrainingParams":
        if self.l1 and self.optimizer != "ftrl":
            raise ValueError(
                f"l1 is {self.l1:g}, but optimizer {self.optimizer} has no l1: set optimizer ftrl, or l1 0"
            )
        return self


class PretrainParams(Schema):
    """Configure the run that supplies pretrained embeddings when training.pretrained names its model."""

    model: dict[str, Any] = Field(default={})
    training: dict[str, Any] = Field(default={})


class TuneParams(Schema):
    """Hold the budget and options of a search, which are the same for every model."""

    num_trials: PositiveInt | None = None
    time_budget_s: PositiveFloat | None = None
    max_epochs: PositiveInt | None = None  # per trial; null: training.max_epochs, as in the final runs
    max_rows: PositiveInt | None = omitted(None)  # training rows of a trial, drawn; the final runs have all
    fixed: dict[str, Any] = Field(default={})  # keys of a search space that are not searched, and their values
    # how to train in the first trials: as `training` says, with the paper's setting; or as in published logs of CTR
    # models, docs/search.md. Later trials draw one of them
    recipes: Annotated[list[Literal["paper", "ctr"]], Field(min_length=1), AfterValidator(distinct)] = omitted(
        ["paper"]
    )
    known: Annotated[list[str], AfterValidator(distinct)] = omitted([])  # settings that follow the paper's, by name
    # what draws the other settings: docs/search.md
    sampler: Literal["random", "tpe", "gp", "auto"] = omitted("tpe")
    # that must end, known settings included, before the sampler learns; null: 10 with tpe, 4 with gp and auto
    random_trials: PositiveInt | None = omitted(None)
    num_searches: PositiveInt = omitted(1)  # with other seeds: how much the luck of a search moves the test metrics
    scheduler: Literal["none", "asha", "median"] = "none"  # stops trials that are worse than others: docs/search.md
    grace_epochs: PositiveInt | None = omitted(None)  # in which it stops no trial; null: a ninth of max_epochs
    # a setting whose training would take more of time_budget_s, and more than twice as long as the paper's, is left out
    trial_share: Fraction | None = omitted(0.25)
    trial_timeout_s: PositiveFloat | None = None  # a trial that takes longer fails
    max_failures: NonNegativeInt = 1  # restarts of a trial whose worker died
    deterministic: bool = False  # same trials also in parallel; each batch waits for its slowest trial
    cpus_per_trial: PositiveInt = 1
    gpus_per_trial: NonNegativeFloat | None = None  # null: a quarter if there are GPUs

    @property
    def num_random(self) -> float:
        """Count the trials that end before the sampler learns."""
        if self.sampler == "random":
            return math.inf
        return self.random_trials or (10 if self.sampler == "tpe" else 4)

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

    @model_validator(mode="after")
    def have_a_scheduler_to_wait(self) -> "TuneParams":
        if self.grace_epochs and self.scheduler == "none":
            raise ValueError(f"grace_epochs is {self.grace_epochs}, but scheduler none stops no trial")
        return self


class EvaluateParams(Schema):
    """Hold the number of final runs, and what is kept of them."""

    num_seeds: PositiveInt = 5
    keep: bool = omitted(False)  # predictions/ for pipelines.ensemble, and the best run's weights


class Params(Schema):
    """Hold all of params.yaml."""

    seed: int
    datasets: Names
    models: Names
    prepare: PrepareParams = PrepareParams()
    training: TrainingParams = TrainingParams()
    pretrain: PretrainParams = PretrainParams()
    tune: TuneParams
    evaluate: EvaluateParams = EvaluateParams()

    @model_validator(mode="after")
    def pretrain_with_known_keys(self) -> "Params":
        check(TrainingParams, {**self.training.model_dump(), **self.pretrain.training}, "pretrain.training.")
        return self

    @model_validator(mode="after")
    def leave_epochs_to_stop_in(self) -> "Params":
        grace, most = self.tune.grace_epochs, self.tune.max_epochs or self.training.max_epochs
        if grace and grace >= most:
            raise ValueError(f"tune.grace_epochs must be under a trial's most epochs, {most}, got {grace}")
        return self


def load_params(path: Path) -> Params:
    """Read params.yaml. Raises ValueError with file, key and allowed values; OSError when the file can't be read."""
    return read_schema(path, Params)
