"""Compare bundles with their ONNX models: bytes, and rows a second of one thread.

Writes exports.json and exports.md beside this file. An interrupted run continues where it stopped.
"""

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import polars as pl
import torch
import typer
from bench_peers import machine
from report import ROOT, write

from models import registry
from pipelines import export
from pipelines.data.rows import Rows
from pipelines.evaluation.bundles import WEIGHTS, write_bundle
from pipelines.project.provenance import made_by
from pipelines.training.predicting import predict
from pipelines.training.start import new_model

EMBED_DIM, NUM_ROWS, LEAST_SECONDS = 32, 1 << 12, 0.2
MODELS = ("fm", "ifm", "deepfm", "nfm", "dcn", "ffm", "lr", "inn", "afm", "dcnv2", "xdeepfm", "lookup")  # of each kind
FIELDS = ["user", "item", "tag", *(f"c{n}" for n in range(7))]  # names that every model takes
FIELD_DIMS = [957, 4082, 7, 7, 2, 3, 2, 9, 80, 233]  # those of Frappe


def rate(score: Callable[[], object]) -> float:
    """Return the rows that a function scores in a second of CPU time.

    The median call counts.
    """
    score()
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < LEAST_SECONDS:
        start = time.process_time()
        score()
        seconds.append(time.process_time() - start)
    return NUM_ROWS / median(seconds)


def measure(name: str) -> dict[str, Any]:
    """Bundle an untrained model, export it, and measure both. A model that ONNX can't express has an error."""
    import onnxruntime

    arguments = {"embed_dim": EMBED_DIM} if "embed_dim" in registry.hyperparameters(name) else {}
    model = new_model(name, {"fields": FIELDS, "field_dims": FIELD_DIMS}, arguments, 0)
    about = {"model": name, "arguments": arguments, "loss": "cross_entropy", "dataset": "generated", "fields": FIELDS}
    about |= {"field_dims": FIELD_DIMS, "licence": "", "citation": "", "seed": 0, "valid": {}, "test": {}}
    starts = torch.tensor(FIELD_DIMS).cumsum(0) - torch.tensor(FIELD_DIMS)
    ids = (torch.stack([torch.randint(size, (NUM_ROWS,)) for size in FIELD_DIMS], 1) + starts).int()
    rows = Rows(ids, torch.zeros(NUM_ROWS))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "bundle")
        pl.DataFrame({"raw_value": [""]}).write_parquet(Path(scratch, "vocabulary.parquet"))
        write_bundle(folder, model, Path(scratch, "vocabulary.parquet"), **about, made_by=made_by(""))
        bundle = {"bundle_bytes": (folder / WEIGHTS).stat().st_size, "bundle_rate": rate(lambda: predict(model, rows))}
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                export.main(folder)
        except ValueError as error:
            return {"model": name, **bundle, "error": str(error)}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        given = {"ids": ids.numpy(), "values": torch.ones(ids.shape).numpy()}
        onnx_rate = rate(lambda: session.run(None, given))
        return {"model": name, **bundle, "onnx_bytes": (folder / "model.onnx").stat().st_size, "onnx_rate": onnx_rate}


def rows_of(records: list[dict[str, Any]]) -> list[list[str]]:
    """Return one table row for each model: MiB and thousand rows a second of both, and the ratio."""
    lines = []
    for r in sorted(records, key=lambda record: record["model"]):
        sizes = [f"{r[key] / 2**20:.1f}" if key in r else "none" for key in ("bundle_bytes", "onnx_bytes")]
        rates = [f"{r[key] / 1000:,.0f}" if key in r else "none" for key in ("bundle_rate", "onnx_rate")]
        ratio = f"{r['onnx_rate'] / r['bundle_rate']:.2f}×" if "onnx_rate" in r else ""
        lines.append([r["model"], *sizes, *rates, ratio])
    return lines


def main(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again what is measured already")] = False,
    every: Annotated[bool, typer.Option("--every", help="measure every model, not one of each kind")] = False,
) -> None:
    """Measure the models that are missing, and write the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = ROOT / "exports.json"
    records = json.loads(path.read_text("utf-8"))["records"] if path.exists() and not fresh else []
    for name in registry.list_models() if every else MODELS:
        if name not in {record["model"] for record in records}:
            records.append(measure(name))
            print(records[-1], flush=True)
            write("exports", machine() | {"threads": [1]}, records, [], rows=rows_of(records))


if __name__ == "__main__":
    typer.run(main)
