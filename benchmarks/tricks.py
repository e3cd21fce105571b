"""Measure what each trick gives: an epoch with all, and with one turned off.

Writes tricks.json and tricks.md beside this file. Each measurement is a process of its own. An interrupted run
continues where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

import torch
import typer
from bench_peers import machine
from report import number, write
from torch import Tensor
from torch.utils.data import DataLoader
from trainings import Result, Training, epoch_seconds, measure_all

from models.kernels import distinct_pairs, features, occurrences, pairs, products
from models.layers.networks import Dropout
from pipelines.data.rows import Rows
from pipelines.training import loop, process
from pipelines.training.optimizers.adagrad import Adagrad

CELLS = [Training(model, batch_size, dropout) for batch_size in (4096, 128)
         for model, dropout in (("fm", 0.0), ("ifm", 0.0), ("ifm", 0.1), ("ffm", 0.0))]  # fmt: skip


def no_malloc() -> None:
    def prepare_process(num_threads: int | None = None) -> None:
        torch.set_num_threads(num_threads or 1)
        torch.set_flush_denormal(True)

    process.prepare_process = prepare_process


def no_onednn() -> None:
    products.PREFER_ONEDNN = False


def no_padding() -> None:
    products.MULTIPLE = 1


def no_touched_rows() -> None:
    """Make a table's gradient as large as the table, so the optimizer updates all rows."""

    def dense(shape: torch.Size, rows: Tensor | None, values: Tensor) -> Tensor:
        if rows is None:
            return values.view(shape)
        return values.new_zeros(shape).index_copy_(0, rows, values.view(len(rows), *shape[1:]))

    features.gradient_of = pairs.gradient_of = dense


def no_shared_pairs() -> None:
    """Give each row of the batch its own pairs."""
    init = distinct_pairs.Pairs.__init__

    def init_apart(self: distinct_pairs.Pairs, *arguments: object) -> None:
        init(self, *arguments)
        at = self.index.flatten()
        self.left, self.right, self.field_pair = self.left[at], self.right[at], self.field_pair[at]
        self.index = torch.arange(len(at)).view(self.index.shape)
        self.bounds = (torch.arange(len(self.index) + 1) * self.index.shape[1]).tolist()

    distinct_pairs.Pairs.__init__ = init_apart


def no_sorted_sums() -> None:
    def index_add(self: occurrences.Groups, values: Tensor) -> Tensor:
        sizes = self.offsets.diff(append=self.offsets.new_tensor([len(self.order)]))
        group = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
        return values.new_zeros(len(sizes), values.shape[1]).index_add_(0, group, values.index_select(0, self.order))

    occurrences.Groups.sum = index_add


def no_chunks() -> None:
    distinct_pairs.NUMBERS_OF_A_CHUNK = 1 << 62


def no_random_bytes() -> None:
    def kept(self: Dropout, *shape: int, device: torch.device | None = None) -> Tensor | None:
        return (torch.rand(shape, device=device) < 1 / self.scale).view(torch.uint8) if self.drops else None

    Dropout.kept = kept


def a_data_loader() -> None:
    def batches(order: Tensor, batch_size: int) -> Iterator[Tensor]:
        return iter(DataLoader(order, batch_size))  # type: ignore[arg-type]

    loop.batches = batches


def no_compiled_adagrad() -> None:
    def by_torch(self: Adagrad, parameter: Any, rows: Tensor | None, gradient: Tensor, group: dict[str, Any]) -> None:
        self.update([(parameter, rows, gradient)], group)

    Adagrad.update_rows = by_torch


def no_kernels() -> None:
    batch = Rows.batch
    Rows.batch = lambda self, rows, kernels=False: batch(self, rows)


EVERYWHERE = ("fm", "ifm", "ffm")
# For each trick: the row's title without it, the models that use it, and the function that turns it off.
OFF: dict[str, tuple[str, Sequence[str], Callable[[], None]]] = {
    "malloc": ("large freed buffers go back to the system", EVERYWHERE, no_malloc),
    "onednn": ("matrix products by MKL, not oneDNN", ("ifm",), no_onednn),
    "padding": ("matrices not padded to multiples of 256 rows", ("ifm", "ffm"), no_padding),
    "touched": ("dense gradients: the whole table is updated", EVERYWHERE, no_touched_rows),
    "pairs": ("each row's pairs computed, shared or not", ("ifm", "ffm"), no_shared_pairs),
    "sums": ("sums by `index_add_`, not sorted `embedding_bag`", EVERYWHERE, no_sorted_sums),
    "chunks": ("all pairs in one chunk", ("ifm", "ffm"), no_chunks),
    "bytes": ("dropout draws a float an element, not a byte", ("ifm with dropout",), no_random_bytes),
    "loader": ("batches from a `DataLoader`", EVERYWHERE, a_data_loader),
    "adagrad": ("Adagrad by torch, not compiled", EVERYWHERE, no_compiled_adagrad),
    "kernels": ("`training.kernels: plain`: no kernels at all", EVERYWHERE, no_kernels),
}


def turn_off(trick: str) -> None:
    """Turn a trick off in this process, until the process ends."""
    OFF[trick][2]()


def plan(threads: int) -> list[Training]:
    """List each cell with all tricks, then without each trick that it uses."""
    cells = [replace(cell, threads=threads) for cell in CELLS]
    return [replace(cell, without=trick) for cell in cells for trick in ("", *OFF) if not trick or uses(cell, trick)]


def uses(cell: Training, trick: str) -> bool:
    models = OFF[trick][1]
    return cell.model in models or (cell.dropout > 0 and f"{cell.model} with dropout" in models)


def tricks_table(measured: dict[Training, Result], threads: int, batch_size: int) -> dict[str, Any]:
    """Build a table with one row for each trick and one column for each model."""
    cells = [replace(cell, threads=threads) for cell in CELLS if cell.batch_size == batch_size]

    def figure(cell: Training, trick: str) -> str:
        if (off := measured.get(replace(cell, without=trick))) is None:
            return ""
        seconds, full = epoch_seconds(off), measured.get(cell)
        return number(seconds) + (f" ({seconds / epoch_seconds(full):.2f}×)" if trick and full else "")

    header = [f"{cell.model}, dropout {cell.dropout}" if cell.dropout else cell.model for cell in cells]
    texts = {"": "all tricks"} | {trick: text for trick, (text, _, _) in OFF.items()}
    rows = [[text, *(figure(cell, trick) for cell in cells)] for trick, text in texts.items()]
    return {"batch_size": batch_size, "columns": ["", *header], "rows": rows}


def main(
    threads: Annotated[list[int] | None, typer.Option(help="threads of a process; repeatable")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already")] = False,
    segments: Annotated[int, typer.Option(help="least number of timed epochs for each measurement")] = 3,
    seconds: Annotated[float, typer.Option(help="least seconds of a timed epoch, on a part of the rows")] = 0.7,
) -> None:
    """Measure what is missing, one process at a time, and write the tables."""
    counts = threads or [2]
    wanted = [training for count in counts for training in plan(count)]
    measured = measure_all("tricks", wanted, fresh, segments, seconds)
    records = [asdict(key) | {"median": epoch_seconds(result)} | result for key, result in measured.items()]
    more = {"segments": segments, "sections": [section(measured, count) for count in counts]}
    write("tricks", machine() | {"threads": counts}, records, measured.values(), **more)


def section(measured: dict[Training, Result], threads: int) -> dict[str, Any]:
    """Gather the tables for one number of threads."""
    tables = [tricks_table(measured, threads, batch_size) for batch_size in (4096, 128)]
    return {"threads": f"{threads} thread{'s' * (threads > 1)}", "tables": tables}


if __name__ == "__main__":
    typer.run(main)
