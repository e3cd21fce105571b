"""Write the prepared files of a data set."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.data.card import card_of
from pipelines.data.catalog import Dataset
from pipelines.data.encoding import Encoded
from pipelines.data.own import OwnDataset
from pipelines.data.reachable import planted_in
from pipelines.data.splits import Splits, check_classes, splits_as_released, splits_of_log, splits_of_table
from pipelines.data.tables import sink
from pipelines.project.cli import phases
from pipelines.project.files import file_digest, write_json, written_whole
from pipelines.project.params import Params
from pipelines.project.paths import Paths
from pipelines.project.records import write_record
from pipelines.project.seeds import seed_for

ROW_GROUP_SIZE = 262_144  # all settings of the parquet files are fixed, so that every run writes the same bytes


def prepare(dataset: Dataset | OwnDataset, params: Params, paths: Paths) -> dict[str, Any]:
    """Write the processed files and the card of `dataset`, and return its schema.

    `train.parquet`, `valid.parquet`, `test.parquet`: `label` (±1, Int8), one Int32 column of feature ids per field,
    one Float32 column `value:FIELD` per field unless all values are 1, and for a user's own table with groups one
    UInt32 column `group:FIELD`.
    `vocabulary.parquet`: field, feature_id, raw_value.
    `files.json`: digests of the bytes of these files.
    `schema.json`: the schema, with digests of the values alone, on which results depend. It is written last, so if it
    exists, all files exist. The same raw files and params give the same bytes.
    `results/NAME/card.json`: what pages show of the data, on which no result depends.

    Raises ValueError for raw files that are missing or invalid, for a log with too few values to draw negatives from,
    and for a split that lacks a class. Raises OSError when a file can't be read or written.
    """
    with phases(dataset.name) as begin:
        return prepare_in(paths, dataset, params, begin)


def prepare_in(
    paths: Paths, dataset: Dataset | OwnDataset, params: Params, begin: Callable[[str], None]
) -> dict[str, Any]:
    """Do the work of `prepare`, phase by phase. Digests are taken once no row is held in memory."""
    folder = paths.processed(dataset.name)
    files = dataset.all_files() if isinstance(dataset, OwnDataset) else raw_files(dataset, paths.raw(dataset.name))
    schema = write_tables(dataset, files, params, folder, begin)
    begin("computes digests")
    values = {name: values_digest(folder / f"{name}.parquet") for name in ("train", "valid", "test")}
    if (folder / "lists.parquet").exists():
        values["lists"] = lists_digest(folder / "lists.parquet")
    schema |= {"values": values}
    planted = planted_in(paths.raw(dataset.name), folder) if dataset.format == "synthetic" else None
    write_record(paths.card(dataset.name), card_of(dataset, schema, params.prepare.split, folder, files, planted))
    write_json(folder / "schema.json", schema)
    return schema


def write_tables(
    dataset: Dataset | OwnDataset, files: list[Path], params: Params, folder: Path, begin: Callable[[str], None]
) -> dict[str, Any]:
    """Write the Parquet files and files.json, and return the schema without digests of the values.

    An older schema.json is deleted before the first file is written.
    """
    seeds = {part: seed_for(params.seed, "prepare", dataset.name, part) for part in ("negatives", "split")}
    begin("reads and encodes the rows")
    if isinstance(dataset, OwnDataset):
        encoded, splits = splits_of_table(dataset, params, seeds, folder, begin)
    elif dataset.format == "libfm":
        if params.prepare.split == "new_pairs":
            raise ValueError(f"data set {dataset.name!r} comes with its split, which can't be new_pairs")
        encoded, splits = splits_as_released(dataset, files)
        seeds = dict.fromkeys(seeds)  # nothing was drawn
    else:
        encoded, splits = splits_of_log(dataset, files, params, seeds)
    check_classes(dataset, splits)
    tables = {name: split.table for name, split in splits.items()} | {"vocabulary": encoded.vocabulary.lazy()}
    if encoded.lists is not None:
        tables["lists"] = encoded.lists.to_frame("elements").lazy()
    for name in ("schema.json", "lists.parquet"):
        (folder / name).unlink(missing_ok=True)
    digests = {}
    for name, table in tables.items():
        begin(f"writes {name}.parquet")
        digests[f"{name}.parquet"] = write_parquet(folder / f"{name}.parquet", table)
    write_json(folder / "files.json", digests)
    return schema_of(dataset, encoded, splits) | {"seeds": {"root": params.seed, **seeds}}


def raw_files(dataset: Dataset, folder: Path) -> list[Path]:
    """List the raw files that the download stage wrote to `folder`. Raises ValueError if one is missing."""
    files = [folder / name for name in dataset.files]
    for file in files:
        if not file.exists():
            raise ValueError(f"{file} is missing; run `python -m pipelines.download --dataset {dataset.name}`")
    return files


def schema_of(dataset: Dataset | OwnDataset, encoded: Encoded, splits: Splits) -> dict[str, Any]:
    """Describe the data for schema.json. `sparsity` is the share of ones in a one-hot row."""
    num_rows = {name: split.num_rows for name, split in splits.items()}
    num_positives = {name: split.num_positives for name, split in splits.items()}
    return {
        "dataset": dataset.name,
        "fields": list(dataset.fields),
        "field_dims": encoded.field_dims,
        "num_features": encoded.num_features,
        "num_rows": {**num_rows, "total": sum(num_rows.values())},
        "num_positives": {**num_positives, "total": sum(num_positives.values())},
        "sparsity": len(dataset.fields) / encoded.num_features,
        **({"group": dataset.group} if dataset.group else {}),
        **({"fitted": {name: each.model_dump() for name, each in encoded.fitted.items()}} if encoded.fitted else {}),
    }


def write_parquet(path: Path, table: pl.LazyFrame) -> str:
    """Write a parquet file by row groups, and return its SHA-256."""
    with written_whole(path) as partial:
        sink(table, partial, compression="zstd", compression_level=3, row_group_size=ROW_GROUP_SIZE)
    return file_digest(path)


def values_digest(file: Path) -> str:
    """Compute the SHA-256 of a split's labels, features, values and groups.

    It does not depend on the file's encoding.
    """
    rows = pl.scan_parquet(file)
    groups = (pl.UInt32,) if pl.UInt32 in rows.collect_schema().dtypes() else ()
    dtypes = (pl.Int8, pl.Int32, pl.Float32, *groups)
    digests = [hashlib.sha256() for _ in dtypes]
    num_rows = rows.select(pl.len()).collect().item()
    for start in range(0, num_rows, ROW_GROUP_SIZE):
        table = rows.slice(start, ROW_GROUP_SIZE).collect()
        for digest, dtype in zip(digests, dtypes, strict=True):
            part = table.select(pl.col(dtype))  # bytes as on little-endian machines
            digest.update(part.to_numpy(order="c").tobytes() if part.width else b"")
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def lists_digest(file: Path) -> str:
    """Compute the SHA-256 of lists of features."""
    return hashlib.sha256(repr(pl.read_parquet(file)["elements"].to_list()).encode()).hexdigest()
