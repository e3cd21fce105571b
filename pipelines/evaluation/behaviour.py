"""Compute the behaviour of final runs on fixed inputs (see `pipelines.training.behaviour`)."""

import statistics

import numpy as np
import torch

from pipelines.evaluation import final_runs
from pipelines.evaluation.ensembles import Member, alike, greedy, mean_of
from pipelines.evaluation.results import Run
from pipelines.project.golden_files import SEED, Figures
from pipelines.project.metric import EVERY_EPOCH, METRICS
from pipelines.project.provenance import made_by
from pipelines.training.cell import generated_cell
from pipelines.training.metrics import on_resamples
from pipelines.training.small import splits

TEST = ("test_rmse", "test_auc", "test_logloss")
SHOWN = {"test_rmse", "valid_rmse", "valid_auc", "best_epoch", "epochs", "seconds_per_epoch"}


def evaluate_behaviour() -> Figures:
    """Compute seeds of final runs, metrics on resamples, and the figures of one run."""
    rows, rng = splits()["few features"].valid, np.random.default_rng(SEED)
    logits = rows.labels * torch.tensor(rng.random(len(rows))) - torch.tensor(rng.random(len(rows))).round(decimals=1)
    seed = final_runs.resamples_seed(generated_cell())
    resampled = {
        metric: on_resamples(metric, logits, rows.labels, "squared_error", seed, final_runs.NUM_RESAMPLES)
        for metric in EVERY_EPOCH  # behaviour/metrics.json has the others
    }
    epochs = [
        {"epoch": n, "seconds": n, "valid_rmse": abs(n - 2.5), "valid_auc": abs(n - 1.5), "valid_logloss": 0.5}
        for n in (1, 2, 3)
    ]
    run = Run(test=dict.fromkeys(TEST, 0.5), resamples=[], num_params=1, epochs=epochs, made_by=made_by(""))
    return {
        "seeds": [final_runs.final_seed(generated_cell(), number) for number in range(3)],
        "resamples": {
            metric: [*figures[:5], statistics.fmean(figures), len(figures)] for metric, figures in resampled.items()
        },
        "seed_figures": {
            metric: {
                name: figure for name, figure in final_runs.seed_figures(run, metric).figures().items() if name in SHOWN
            }
            for metric in ("rmse", "auc")
        },
    }


def ensemble_behaviour() -> Figures:
    """Choose runs by each metric, and compute the metric of their mean."""
    rng = np.random.default_rng(SEED)
    labels = np.where(rng.random(60) < 0.4, 1.0, -1.0)
    logits = [{"valid": labels * rng.random(60) + scale * rng.normal(size=60)} for scale in (0.8, 1.0, 1.2, 1.6, 2.4)]
    found = {}
    for losses in (["cross_entropy"], ["squared_error"], ["cross_entropy", "squared_error"]):
        members = [Member("run", n, each, losses[n % len(losses)], 1, 1.0) for n, each in enumerate(logits)]
        for name in EVERY_EPOCH:
            chosen = greedy(alike(members), labels, METRICS[name])
            found[f"{' and '.join(losses)}, {name}"] = {
                "chosen": [member.seed for member in chosen],
                "value": METRICS[name].value(mean_of(chosen, "valid", labels)),
            }
    return found
