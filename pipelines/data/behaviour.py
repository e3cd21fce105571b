"""Compute what `prepare` makes of a fixed log (see `pipelines.training.behaviour`)."""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.data.catalog import get_dataset
from pipelines.data.prepared import prepare
from pipelines.project.golden_files import SEED, Figures
from pipelines.project.params import Params, TuneParams
from pipelines.project.paths import Paths


def prepare_behaviour() -> Figures:
    """Prepare a log of up to 60 lines, and return its schema and first rows."""
    dataset, rng = get_dataset("synthetic"), np.random.default_rng(SEED)
    log = pl.DataFrame({field: rng.integers(9, size=60) for field in dataset.fields}).unique(maintain_order=True)
    params = Params(seed=SEED, datasets=[dataset.name], models=["fm"], tune=TuneParams(num_trials=1))
    with tempfile.TemporaryDirectory(prefix="factorbench-") as folder:
        paths = Paths(Path(folder))
        paths.raw(dataset.name).mkdir(parents=True)
        log.write_csv(paths.raw(dataset.name) / "log.csv")
        schema = prepare(dataset, params, paths)
        files = {split: paths.processed(dataset.name) / f"{split}.parquet" for split in schema["values"]}
        rows = {split: pl.read_parquet(file).head(5).rows() for split, file in files.items()}
    return {"schema": schema, "rows": rows}
