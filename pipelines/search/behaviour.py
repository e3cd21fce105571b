"""Compute the behaviour of searches on fixed inputs (see `pipelines.training.behaviour`)."""

import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from pipelines.project.golden_files import SEED, Figures
from pipelines.project.params import TuneParams
from pipelines.search import scheduling, tuner
from pipelines.search.journal import budget_left
from pipelines.search.trial import trial_seed
from pipelines.training.cell import generated_cell
from search_spaces.shared import Space

SPACE: Space = {
    "training.learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "model.dropout": FloatDistribution(0.0, 0.9),
    "model.embed_dim": CategoricalDistribution((8, 64, 256)),
    "model.field_embed_dim": IntDistribution(4, 64, log=True),
}
SETTING = {"training.learning_rate": 0.1, "model.dropout": 0.3, "model.embed_dim": 64, "model.field_embed_dim": 26}


def search_behaviour() -> Figures:
    """Compute what the sampler draws, what schedulers stop, budgets' rests, and a trial's seed."""
    return {
        "draws": {f"after {drawn} trials": draws(drawn) for drawn in (0, 7)},
        "stopped": {name: stopped(name) for name in ("none", "asha", "median")},
        "budget_left": {str(done): budget_left(study_of(done), TuneParams(num_trials=5)) for done in (0, 3, 9)},
        "trial_seed": trial_seed(generated_cell(), SETTING),
    }


def draws(drawn: int) -> list[dict[str, Any]]:
    """Draw fourteen settings, in a search that goes on after `drawn` trials."""
    sampler = tuner.sampler_after(drawn, generated_cell(), TuneParams(num_trials=14))
    study = optuna.create_study(sampler=sampler)
    tuner.enqueue_first(study, SPACE, SETTING)
    for _ in range(14):
        trial = study.ask(SPACE)
        study.tell(trial, math.log(trial.params["training.learning_rate"]) ** 2 + trial.params["model.dropout"])
    return [trial.params for trial in study.trials]


class Reporting(NamedTuple):
    """Hold what schedulers read of a trial."""

    trial_id: str


def stopped(scheduler: str) -> dict[str, int]:
    """Find the epoch in which a scheduler stops each of nine parallel trials."""
    names: set[str] = set()
    asked = scheduling.scheduler(scheduler, 27, names)
    asked.set_search_properties(scheduling.METRIC, "min")
    trials: Any = [Reporting(str(number)) for number in range(9)]
    controller: Any = SimpleNamespace(get_live_trials=list)
    rng, ended = np.random.default_rng(SEED), {}
    level = rng.uniform(0.3, 0.5, size=9)
    for trial in trials:
        asked.on_trial_add(controller, trial)
    for epoch in range(1, 28):
        for trial in [trial for trial in trials if trial.trial_id not in ended]:
            score = level[int(trial.trial_id)] + 1 / (epoch + 1)
            asked.on_trial_result(controller, trial, {scheduling.METRIC: score, "epoch": epoch})
            if trial.trial_id in names:
                ended[trial.trial_id] = epoch
    return ended


def study_of(done: int) -> optuna.Study:
    """Make a study with `done` trials, one of them stopped and one failed."""
    study = optuna.create_study()
    states = [TrialState.PRUNED, TrialState.FAIL, *[TrialState.COMPLETE] * 9][:done]
    study.add_trials([create_trial(state=state, value=None if state is TrialState.FAIL else 0.5) for state in states])
    return study
