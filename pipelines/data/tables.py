"""Read a user's own files as one table of texts."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.data.as_text import TYPED, as_text, read_file, suffix_of, without
from pipelines.data.layouts import Join, Layout
from pipelines.data.own import OwnDataset
from pipelines.data.separated import check_cells, scan_separated
from pipelines.data.text_files import explained

PART = "part of the split"  # the column that says train, valid, test or all


def read_table(dataset: OwnDataset, num_rows: int | None = None) -> pl.DataFrame:
    """Read all files of a data set, and join its side tables. `num_rows` limits the rows of each file of the log.

    All columns are text; null is missing. `PART` says to which part of the split the row's file belongs. Raises
    ValueError for a file that can't be read, columns that differ between files, and a side table with a key twice.
    """
    parts = [
        read_files(files, dataset, num_rows).with_columns(pl.lit(part).alias(PART))
        for part, files in dataset.paths().items()
    ]
    for other in parts[1:]:
        check_columns(
            parts[0].columns, other.columns, f"data set {dataset.name!r}: the files of train and another part"
        )
    log = pl.concat([part.select(parts[0].columns) for part in parts])
    return join_sides(log.lazy(), dataset, dataset.joins).collect()


class Stored:
    """Read a long table column by column: a log, and what its side tables say."""

    def __init__(self, log: pl.LazyFrame, dataset: OwnDataset) -> None:
        self.dataset, self.table = dataset, join_sides(log, dataset, dataset.joins)
        self.log = log.collect_schema().names()
        self.columns = self.table.collect_schema().names()
        self.height: int = log.select(pl.len()).collect(engine="streaming").item()
        self.kept: np.ndarray | None = None  # row numbers; None: all
        self.replaced: pl.LazyFrame | None = None  # a column with other values, and what its side tables say of these

    def keep(self, rows: np.ndarray) -> None:
        """Keep some rows of the present ones, which may repeat."""
        self.kept = rows if self.kept is None else self.kept[rows]
        self.height = len(rows)

    def replace(self, column: str, texts: pl.Series) -> None:
        """Give a column other values; the columns of its side tables follow them."""
        joins = [join for join in self.dataset.joins if join.key == column]
        self.replaced = join_sides(texts.alias(column).to_frame().lazy(), self.dataset, joins)
        follow = set(self.replaced.collect_schema().names()) - {column}
        for join in self.dataset.joins:
            if join.key in follow:
                raise ValueError(
                    f"data set {self.dataset.name!r}: join by {join.key!r}: the side table of {column!r}, which "
                    "negatives replace, can't have a key of another; join the two tables before"
                )

    def __getitem__(self, column: str) -> pl.Series:
        if self.replaced is not None and column in self.replaced.collect_schema().names():
            return self.replaced.select(column).collect()[column]
        whole = self.table.select(column).collect(engine="streaming")[column]
        return whole if self.kept is None else whole[self.kept]


@contextlib.contextmanager
def stored_table(dataset: OwnDataset, folder: Path) -> Iterator[Stored]:
    """Store what `read_table` reads, by columns, in `folder` until the block ends.

    A text file in UTF-8 is stored row by row: no column of it is held. Raises as `read_table` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".text-") as scratch:
        first, parts = None, []
        for part, files in dataset.paths().items():
            for file in files:
                stored = Path(scratch, f"{len(parts)}.parquet")
                table = scan_as_text(file, dataset)
                first = first or (file, table.collect_schema().names())
                check_columns(first[1], table.collect_schema().names(), f"{first[0]} and {file}")
                parts.append(store(table, file, dataset, stored).select(*first[1], pl.lit(part).alias(PART)))
        yield Stored(pl.concat(parts), dataset)


def store(table: pl.LazyFrame, file: Path, layout: Layout, path: Path, **settings: Any) -> pl.LazyFrame:
    """Store the rows of a file by columns, and scan them there. Raises ValueError that names file and line."""
    with explained(file, layout):
        sink(table, path, compression="lz4", statistics=False, **settings)
    stored = pl.scan_parquet(path)
    if is_scanned(file, layout):
        check_cells(file, layout, stored)
    return stored


def scan_as_text(file: Path, layout: Layout) -> pl.LazyFrame:
    """Scan a file as `as_text` reads it."""
    if not is_scanned(file, layout):
        return without(as_text(read_file(file, layout)).lazy(), layout.missing)
    stripped = pl.all().str.strip_chars()
    return without(scan_separated(file, layout).select(pl.when(stripped != "").then(stripped)), layout.missing)


def is_scanned(file: Path, layout: Layout) -> bool:
    """Tell whether rows of a file are read some at a time."""
    separated = layout.layout == "separated" and len(layout.separator) == 1 and layout.encoding == "utf8"
    return separated and suffix_of(file) not in TYPED


def scan_fresh(file: Path, layout: Layout) -> tuple[pl.LazyFrame, Layout]:
    """Scan rows that came after training: laid out as the data set's files are, or separated by commas."""
    table = scan_as_text(file, layout)
    columns = table.collect_schema().names()
    if len(columns) == 1 and "," in columns[0]:
        layout = layout.model_copy(update={"separator": ","})
        table = scan_as_text(file, layout)
    return table, layout


def read_fresh(file: Path, layout: Layout) -> pl.DataFrame:
    """Read what `scan_fresh` scans. Raises ValueError that names file and line."""
    table, layout = scan_fresh(file, layout)
    with explained(file, layout):
        rows = table.collect()
    if is_scanned(file, layout):
        check_cells(file, layout, rows.lazy())
    return rows


def sink(table: pl.LazyFrame, path: Path, **settings: Any) -> None:
    """Write a Parquet file, some rows at a time. Raises OSError on a full disk."""
    try:
        table.sink_parquet(path, engine="streaming", **settings)
    except pl.exceptions.ComputeError as error:
        if not (code := re.search(r"os error (\d+)", str(error))):
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def join_sides(table: pl.LazyFrame, dataset: OwnDataset, joins: Sequence[Join]) -> pl.LazyFrame:
    """Join side tables of a data set to its log, or to some columns."""
    for join in joins:
        side, columns = read_side(dataset, join), table.collect_schema().names()
        if join.key not in columns:
            raise no_key(dataset, join, "the log")
        if both := (set(side.columns) & set(columns)) - {join.key}:
            raise ValueError(f"{', '.join(join.files)}: column {min(both)!r} stands in the log too")
        table = join_side(table, side, join.key)
    return table


def join_side(table: pl.LazyFrame, side: pl.DataFrame, key: str) -> pl.LazyFrame:
    """Add a side table's columns to the rows with its keys."""
    return table.join(side.lazy(), on=key, how="left", maintain_order="left")


def read_side(dataset: OwnDataset, join: Join) -> pl.DataFrame:
    """Read a side table. Raises ValueError if it lacks its key, or has a key twice."""
    side = read_files(dataset.found(join.files), dataset.layout_of(join))
    if join.key not in side.columns:
        raise no_key(dataset, join, ", ".join(join.files))
    if twice := side[join.key].drop_nulls().value_counts().filter(pl.col("count") > 1)[join.key].to_list():
        raise ValueError(f"{', '.join(join.files)}: key {join.key} {min(twice)!r} occurs more than once")
    return side


def no_key(dataset: OwnDataset, join: Join, where: str) -> ValueError:
    return ValueError(f"data set {dataset.name!r}: join by {join.key!r}, but {where} has no such column")


def read_files(files: Sequence[Path], layout: Layout, num_rows: int | None = None) -> pl.DataFrame:
    """Read files with the same columns, one below the other."""
    tables = [without(as_text(read_file(file, layout, num_rows)).lazy(), layout.missing).collect() for file in files]
    for file, table in zip(files[1:], tables[1:], strict=True):
        check_columns(tables[0].columns, table.columns, f"{files[0]} and {file}")
    return pl.concat([table.select(tables[0].columns) for table in tables])


def check_columns(one: Sequence[str], other: Sequence[str], where: str) -> None:
    """Raise ValueError for tables whose columns differ."""
    if differing := set(one) ^ set(other):
        raise ValueError(f"{where} have other columns: {', '.join(sorted(differing))} stand in one alone")
