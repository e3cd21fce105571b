"""Train with factorbench's public API: `new_model`, `train` and `evaluate` of pipelines.training.

A slow model trains on a random part of the rows, so that its epoch is a segment of the length asked for; its seconds
are scaled to all rows. The first epoch is the warm-up.
"""

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from pipelines.data.rows import Rows
from pipelines.project.params import TrainingParams
from pipelines.project.settings import parse
from pipelines.training.loop import train
from pipelines.training.predicting import evaluate
from pipelines.training.process import prepare_process
from pipelines.training.start import new_model
from sides.timing import (
    EMBED_DIM,
    HIDDEN_DIMS,
    LEARNING_RATE,
    command_line,
    peak_mib,
    print_record,
    read_schema,
    resident_mib,
)

START_BATCHES = 2  # size of the first try, which the number of rows is estimated from
LOSS = "squared_error"


def arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return the model's hyperparameters: equal sizes for all sides, dropout only if asked for."""
    attention = {"attention_dim": args.attention_dim}
    own: dict[str, dict[str, Any]] = {
        "fm": {"dropout": 0.0},
        "deepfm": {"dropout": 0.0, "mlp_dropout": 0.0},
        "nfm": {"dropout": 0.0, "hidden_dropout": 0.0},
        "afm": {"dropout": 0.0, **attention},
        "ffm": {"dropout": 0.0},
        "ifm": {"dropout": args.dropout, **attention},
        "inn": {"dropout": args.dropout, **attention},
        "deepifm": {"dropout": args.dropout, "mlp_dropout": 0.0, **attention},
    }
    hidden = {"hidden_dims": HIDDEN_DIMS[args.model]} if args.model in HIDDEN_DIMS else {}
    return {"embed_dim": EMBED_DIM, **hidden, **own[args.model]}


def training_params(args: argparse.Namespace, max_epochs: int) -> TrainingParams:
    """Return the training settings of all sides, without early stopping.

    Each --set training.KEY=VALUE overrides one.
    """
    more = dict(pair.removeprefix("training.").split("=", 1) for pair in args.set)
    return TrainingParams(
        **{
            "loss": LOSS,
            "optimizer": "adagrad",
            "learning_rate": LEARNING_RATE,
            "batch_size": args.batch_size,
            "max_epochs": max_epochs,
            "patience": max_epochs,
        }
        | {key: parse(value) for key, value in more.items()}
    )


def load(args: argparse.Namespace, split: str) -> Rows:
    arrays = np.load(args.data / f"{split}.npz")
    return Rows(torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["labels"]))


def part(rows: Rows, number: int) -> Rows:
    """Pick random rows, or all if there are fewer."""
    chosen = torch.randperm(len(rows))[:number] if number < len(rows) else slice(None)
    return Rows(rows.features[chosen], rows.labels[chosen])


def rows_of_a_segment(model: nn.Module, rows: Rows, few: Rows, args: argparse.Namespace) -> int:
    """Find how many rows make an epoch of at least `args.seconds`.

    Tries full batches of more and more rows, up to all.
    """
    number = START_BATCHES * args.batch_size
    while number < len(rows):
        seconds = train(model, part(rows, number), few, training_params(args, 2))[-1].seconds
        if seconds >= args.seconds:
            break
        growth = min(max(1.1 * args.seconds / seconds, 1.5), 16)
        number = int(np.ceil(number * growth / args.batch_size)) * args.batch_size
    return min(number, len(rows))


def main() -> None:
    args = command_line()
    prepare_process(args.threads)
    schema, rows = read_schema(args.data), load(args, "train")
    few = part(rows, 512)  # `train` evaluates these after each epoch; the epoch's seconds leave that out
    resident = resident_mib()
    model = new_model(args.model, schema, arguments(args), seed=2019)
    number = rows_of_a_segment(model, rows, few, args)
    epochs = train(model, part(rows, number), few, training_params(args, args.segments + 1))[1:]
    record: dict[str, Any] = {
        "seconds": [epoch.seconds * len(rows) / number for epoch in epochs],
        "batches": [-(-number // args.batch_size)] * len(epochs),
        "resident_before_mib": resident,
        "peak_mib": peak_mib(),
    }
    if (args.data / "valid.npz").exists():
        valid, times = load(args, "valid"), []
        while len(times) < 3 and sum(times) < 2 * args.seconds:
            start = time.perf_counter()
            evaluate(model, valid, LOSS)
            times.append(time.perf_counter() - start)
        record |= {"evaluations": times, "evaluate_rows": len(valid)}
    print_record(record, "factorbench", "torch", "numpy", loss="MSE")


if __name__ == "__main__":
    sys.exit(main())
