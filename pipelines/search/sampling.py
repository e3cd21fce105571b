"""Choose what draws the settings of a search."""

from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from pipelines.project.params import TuneParams

MOST_OF_GP = 100  # trials: the time of a draw grows with their cube


def make_sampler(budget: TuneParams, seed: int) -> BaseSampler:
    """Make the sampler of a search, or of its rest.

    It knows nothing but the trials of the study, so what it draws after a kill is as good as without one. Settings that
    are still training count too: for TPE they are bad ones, and the Gaussian process averages over what they may reach.
    """
    name = budget.sampler
    if name == "auto":
        name = "gp" if budget.num_trials and budget.num_trials <= MOST_OF_GP else "tpe"
    if name == "gp":
        return GPSampler(seed=seed, n_startup_trials=budget.random_trials, warn_independent_sampling=False)
    if name == "tpe":
        return TPESampler(seed=seed, n_startup_trials=budget.random_trials, constant_liar=True)
    return RandomSampler(seed)
