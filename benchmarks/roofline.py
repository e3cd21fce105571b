"""Compare factorbench with what this machine allows, in seconds for an epoch.

Writes roofline.json and roofline.md beside this file. least.py computes the least seconds; the measured ones are from
results.json (`make bench-peers`). An interrupted run continues where it stopped.
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
from report import MODELS, cell_of, label, number, write
from sides.timing import EMBED_DIM
from trainings import Result, Training, epoch_seconds, measure_all


def cells(shape: str, batch_size: int) -> list[Training]:
    """List the models of a table, with K = K_a = 1."""
    return [
        Training(model, batch_size, dropout, THREADS, embed_dim=1, attention_dim=1, shape=shape)
        for model in MODELS
        for dropout in (DROPOUTS if model in OWN_MODELS else (0.0,))
    ]


def measured_by_peers() -> dict[tuple[str, int, str, float], float]:
    """Return factorbench's seconds for an epoch from results.json.

    The keys are shape, batch size, model and dropout.
    """
    records = json.loads(RESULTS.read_text("utf-8"))["records"] if RESULTS.exists() else []
    return {cell_of(r): r["median"] for r in records if r["side"] == "factorbench" and not r["setting"]}


def records_of(shape: str, batch_size: int, rates: Result, small: dict[Training, Result]) -> list[Result]:
    """Return each model's needs and times for an epoch: FLOPs, bytes and seconds."""
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


def section(records: list[Result]) -> dict[str, Any]:
    """Gather a table for a shape and batch size, and shares of the measured time.

    Adds the sizes of a batch. The shares are of the least seconds and of the training with K = 1.
    """
    first = records[0]
    known = [record for record in records if record["measured"] and record["small"]]
    shares = {name: [record[name] / record["measured"] for record in known] for name in ("least", "small")}
    texts = {k: f"{min(v):.0%} to {max(v):.0%} (median {median(v):.0%})" for k, v in shares.items() if v}
    places = {"features": first["B"] * first["n"], "pairs": first["B"] * first["P"]}
    return {"first": first, "places": places, "rows": [line(record) for record in records], "rest": texts}


def values(groups: list[list[Result]], rates: dict[int, Any]) -> dict[str, Any]:
    """Gather what the page shows: the machine's rates and all sections."""
    rows = [
        [threads, f"{rate['matmul'] / 1e9:,.0f}", *(f"{copy / 1e9:,.0f}" for copy in rate["copy"].values())]
        for threads, rate in rates.items()
    ]
    copies = [f"copy of {mib} MiB, GB/s" for mib in next(iter(rates.values()))["copy"]]
    return {"threads": THREADS, "copies": copies, "rates": rows, "sections": [section(records) for records in groups]}


def main(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already with K = 1")] = False,
    segments: Annotated[int, typer.Option(help="least number of timed epochs for each measurement with K = 1")] = 3,
    seconds: Annotated[float, typer.Option(help="least seconds of a timed epoch, on a part of the rows")] = 0.5,
) -> None:
    """Measure this machine's rates and missing trainings with K = 1; write the tables."""
    tables = [(shape, batch_size) for shape, sizes in SHAPES.items() for batch_size in sizes]
    wanted = [cell for names in tables for cell in cells(*names)]
    small = measure_all("roofline", wanted, fresh, segments, seconds)
    rates = hardware((1, THREADS))
    torch.manual_seed(2019)
    groups = [records_of(*names, rates[THREADS], small) for names in tables]
    records = [record for group in groups for record in group]
    runs = [asdict(cell) | result for cell, result in small.items()]
    more = {"rates": rates, "runs_of_k_1": runs}
    write("roofline", machine() | more, records, small.values(), **values(groups, rates))


if __name__ == "__main__":
    typer.run(main)
