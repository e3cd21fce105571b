"""Choose what draws the settings of a search."""

from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from pipelines.project.params import TuneParams

MOST_OF_GP = 100  # trials: the time of a draw grows with their cube


def make_sampler(budget: TuneParams, seed: int) -> BaseSampler:
    """Make the sampler of a search, or of its rest.

    It knows nothing but the trials of the study, so what it draws after a kill is as good as without one. Settings that
    are still training count too: for TPE they are bad ones, and the Gaussian process averages over what they may reach.
    """
    name = named(budget)
    if name == "random":
        return RandomSampler(seed)
    num_random = int(budget.num_random)
    if name == "gp":
        return GPSampler(seed=seed, n_startup_trials=num_random, warn_independent_sampling=False)
    return TPESampler(seed=seed, n_startup_trials=num_random, constant_liar=True)


def named(budget: TuneParams) -> str:
    """Name the sampler; `auto` stands for gp where it is quick and learns from all trials, else for tpe.

    The Gaussian process learns from complete trials alone, not from those that a scheduler stopped.
    """
    if budget.sampler != "auto":
        return budget.sampler
    return "gp" if budget.scheduler == "none" and 0 < (budget.num_trials or 0) <= MOST_OF_GP else "tpe"
