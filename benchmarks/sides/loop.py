"""Search with a package as its users would: a loop over settings in a pool of processes.

All processes have the package and the rows from the start. Each trains one setting after the other.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from sides.timing import print_record

Splits = tuple[Any, Any]  # the training and validation rows of a side
Trial = Callable[[argparse.Namespace, Splits], float]  # `args` with a setting's learning_rate, l2 and dropout

of_process: dict[str, Any] = {}  # what the trials of a process share


def search(
    args: argparse.Namespace, load: Callable[[argparse.Namespace, str], Any], trial: Trial, *packages: str
) -> None:
    """Run a side's trial with each setting, and print its seconds and best AUC."""
    settings, splits = json.loads(args.settings.read_text("utf-8")), (load(args, "train"), load(args, "valid"))
    with multiprocessing.Pool(args.processes, start, (args, splits, trial)) as pool:
        trials = pool.map(run, settings, chunksize=1)
    print_record({"trials": trials}, *packages)


def start(args: argparse.Namespace, splits: Splits, trial: Trial) -> None:
    """Give a new process what its trials share."""
    torch.set_num_threads(args.threads)
    of_process.update(args=args, splits=splits, trial=trial)


def run(setting: dict[str, float]) -> dict[str, float]:
    """Run a trial in a process of the pool."""
    torch.manual_seed(2019)
    before = time.perf_counter()
    args = argparse.Namespace(**{**vars(of_process["args"]), **setting})
    best = of_process["trial"](args, of_process["splits"])
    return {"seconds": time.perf_counter() - before, "valid_auc": best}


def best_auc(
    args: argparse.Namespace,
    splits: Splits,
    model: nn.Module,
    train: Callable[[nn.Module, torch.optim.Optimizer, DataLoader], None],
) -> float:
    """Train a model for all epochs, and return its best AUC after one of them."""
    loader, valid = (DataLoader(rows, args.batch_size, shuffle=rows is splits[0]) for rows in splits)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=args.learning_rate, weight_decay=args.l2)
    best = 0.0
    for _ in range(args.epochs):
        train(model, optimizer, loader)
        model.eval()
        with torch.no_grad():
            pairs = [(model(features), labels) for features, labels in valid]
        predictions, labels = (torch.cat(part).numpy() for part in zip(*pairs, strict=True))
        best = max(best, auc(predictions, labels > 0))
    return best


def auc(predictions: np.ndarray, positive: np.ndarray) -> float:
    """Compute the AUC of predictions; ties count half."""
    _, places, counts = np.unique(predictions, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives = positive.sum()
    pairs = positives * (len(positive) - positives)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / pairs)
