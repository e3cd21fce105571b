"""How near factorbench is to what this machine allows: the least seconds an epoch, next to those measured.

Writes roofline.json and roofline.md beside this file. least.py has the sums; the seconds measured are those in
results.json (`make bench-peers`). An interrupted run goes on where it stopped.
"""

import json
from dataclasses import asdict
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from bench_peers import ATTENTION_DIM, DROPOUTS, OWN_MODELS, RESULTS, SHAPES, THREADS, machine
from inputs import write_inputs
from least import count, hardware, least, needs
from report import cell_of, label, number, table
from sides.timing import EMBED_DIM
from trainings import Result, Training, epoch_seconds, measure_all, write

MODELS = ("fm", "deepfm", "nfm", "afm", "ffm", "ifm", "inn", "deepifm")

PAGE = """\
The least seconds of an epoch are the larger of two: its FLOPs at the rate of a matrix product, and its bytes at the
rate of a copy over as much memory as the weights, their accumulators and what is kept for the gradient take (so from
the cache, where they fit). Both count each distinct feature and pair of a batch once; `benchmarks/least.py` has the
sums. *Measured* is factorbench in the tables of the peers, with {threads} threads. *K = 1* is the same training with
embeddings and attention of one number: what it takes to find the distinct features and pairs and to call the operators,
whatever the size of the vectors."""
REST = """\
The least seconds are {least} of the measured ones, and the training with K = 1 takes {small}. What is left goes to
vectors that pass through the caches more than once: gathered by feature and by pair, multiplied element by element, and
summed by group."""


def cells(shape: str, batch_size: int) -> list[Training]:
    """The models of a table, with K = K_a = 1."""
    return [
        Training(model, batch_size, dropout, THREADS, embed_dim=1, attention_dim=1, shape=shape)
        for model in MODELS
        for dropout in (DROPOUTS if model in OWN_MODELS else (0.0,))
    ]


def measured_by_peers() -> dict[tuple[str, int, str, float], float]:
    """Seconds an epoch of factorbench in results.json, by shape, batch size, model and dropout."""
    records = json.loads(RESULTS.read_text("utf-8"))["records"] if RESULTS.exists() else []
    return {cell_of(r): r["median"] for r in records if r["side"] == "factorbench" and not r["setting"]}


def records_of(shape: str, batch_size: int, rates: Result, small: dict[Training, Result]) -> list[Result]:
    """What an epoch of each model needs, and what it takes: seconds, FLOPs and bytes."""
    folder, peers = write_inputs(shape), measured_by_peers()
    features = torch.from_numpy(np.load(folder / "train.npz")["features"])
    num_features = json.loads((folder / "schema.json").read_text("utf-8"))["num_features"]
    size, batches, records = count(features, batch_size), len(features) / batch_size, []
    for cell in cells(shape, batch_size):
        record: Result = {"shape": shape, "batch_size": batch_size, "model": cell.model, "dropout": cell.dropout}
        record |= size._asdict()
        need = needs(cell.model, cell.dropout, size, EMBED_DIM, ATTENTION_DIM[shape], num_features)
        record["memory"] = need.pop("memory")
        figures = need | least(need, record["memory"], rates)
        record |= {name: of_batch * batches for name, of_batch in figures.items()}
        record["measured"] = peers.get(cell_of(record))
        record["small"] = epoch_seconds(small[cell]) if cell in small else None
        records.append(record)
    return records


def line(record: Result) -> list[str]:
    measured, small = record["measured"], record["small"]
    return [
        label(cell_of(record)),
        f"{record['flops'] / 1e9:,.0f}",
        f"{record['bytes'] / 1e9:,.1f}",
        f"{record['by_flops']:.3f}",
        f"{record['by_bytes']:.3f}",
        number(measured) if measured else "",
        f"{measured / record['least']:.1f}×" if measured else "",
        number(small) if small else "",
    ]


def section(records: list[Result]) -> list[str]:
    """A heading, the table of a shape and batch size, and where the rest goes."""
    r = records[0]
    B, u, q = r["B"], r["u"], r["q"]
    header = ["model", "GFLOP", "GB", "s by FLOPs", "s by bytes", "measured, s", "measured ÷ least", "K = 1, s"]
    parts = [
        f"## {r['shape']}, batch {r['batch_size']}, least and measured",
        f"A batch has {u:,.0f} distinct features at {B * r['n']:,.0f} places, and {q:,.0f} distinct pairs at "
        f"{B * r['P']:,.0f}.",
        table(header, [line(record) for record in records]),
    ]
    known = [record for record in records if record["measured"] and record["small"]]
    shares = {name: [record[name] / record["measured"] for record in known] for name in ("least", "small")}
    texts = {k: f"{min(v):.0%} to {max(v):.0%} (median {median(v):.0%})" for k, v in shares.items() if v}
    return [*parts, REST.format(**texts)] if known else parts


def rates_table(rates: dict[int, Any]) -> str:
    copies = next(iter(rates.values()))["copy"]
    header = ["threads", "product, GFLOP/s", *(f"copy of {mib} MiB, GB/s" for mib in copies)]
    rows = [
        [str(threads), f"{rate['matmul'] / 1e9:,.0f}", *(f"{copy / 1e9:,.0f}" for copy in rate["copy"].values())]
        for threads, rate in rates.items()
    ]
    return table(header, rows)


def main(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure K = 1 again where it is measured already")] = False,
    segments: Annotated[int, typer.Option(help="timed epochs a measurement with K = 1, at least")] = 3,
    seconds: Annotated[float, typer.Option(help="of such an epoch, on a part of the rows")] = 0.5,
) -> None:
    """Measure the rates of this machine, and what is not measured yet with K = 1, and write the tables."""
    tables = [(shape, batch_size) for shape, sizes in SHAPES.items() for batch_size in sizes]
    wanted = [cell for names in tables for cell in cells(*names)]
    small = measure_all("roofline", wanted, fresh, segments, seconds)
    rates = hardware((1, THREADS))
    torch.manual_seed(2019)
    groups = [records_of(*names, rates[THREADS], small) for names in tables]
    parts = ["# Against what the machine allows", "Made by `make roofline`; the figures are in `roofline.json`."]
    parts += [PAGE.format(threads=THREADS), rates_table(rates), *(part for group in groups for part in section(group))]
    records = [record for group in groups for record in group]
    runs = [asdict(cell) | result for cell, result in small.items()]
    write("roofline", machine() | {"rates": rates, "runs_of_k_1": runs}, records, parts, small)


if __name__ == "__main__":
    typer.run(main)
