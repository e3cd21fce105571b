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

from pipelines.data.own import Join, OwnDataset

PART = "part of the split"  # the column that says train, valid, test or all
DUPLICATE = re.compile(r"_duplicated_\d+$")  # what Polars makes of a second column of the same name
TYPED = (".parquet", ".jsonl", ".ndjson", ".json")  # files whose columns have types
COMPRESSED = (".gz", ".zst", ".zstd")


def read_table(dataset: OwnDataset) -> pl.DataFrame:
    """Read all files of a data set, and join its side tables.

    All columns are text; null is missing. `PART` says to which part of the split the row's file belongs. Raises
    ValueError for a file that can't be read, columns that differ between files, and a side table with a key twice.
    """
    parts = [
        read_files(files, dataset).with_columns(pl.lit(part).alias(PART)) for part, files in dataset.paths().items()
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
    """Store what `read_table` reads, by columns, in `folder`, for as long as the block runs.

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
                with named(file):
                    sink(table.select(first[1]), stored, compression="lz4", statistics=False)
                parts.append(pl.scan_parquet(stored).with_columns(pl.lit(part).alias(PART)))
        yield Stored(pl.concat(parts), dataset)


def scan_as_text(file: Path, dataset: OwnDataset) -> pl.LazyFrame:
    """Scan a file as `as_text` reads it."""
    if dataset.encoding != "utf8" or suffix_of(file) in TYPED:
        return as_text(read_file(file, dataset.separator, dataset.encoding)).lazy()
    table = pl.scan_csv(file, separator=dataset.separator, infer_schema=False)
    with named(file):
        names = table.collect_schema().names()
    table = table.rename(dict(zip(names, names_of(file, names), strict=True)))
    stripped = pl.all().str.strip_chars()
    return table.select(pl.when(stripped != "").then(stripped))


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
        side, columns = read_files(dataset.found(join.files), dataset), table.collect_schema().names()
        for name, has in (("the log", columns), (", ".join(join.files), side.columns)):
            if join.key not in has:
                raise ValueError(f"data set {dataset.name!r}: join by {join.key!r}, but {name} has no such column")
        if twice := side[join.key].drop_nulls().value_counts().filter(pl.col("count") > 1)[join.key].to_list():
            raise ValueError(f"{', '.join(join.files)}: key {join.key} {min(twice)!r} occurs more than once")
        if both := (set(side.columns) & set(columns)) - {join.key}:
            raise ValueError(f"{', '.join(join.files)}: column {min(both)!r} stands in the log too")
        table = table.join(side.lazy(), on=join.key, how="left", maintain_order="left")
    return table


def read_files(files: Sequence[Path], dataset: OwnDataset) -> pl.DataFrame:
    """Read files with the same columns, one below the other."""
    tables = [as_text(read_file(file, dataset.separator, dataset.encoding)) for file in files]
    for file, table in zip(files[1:], tables[1:], strict=True):
        check_columns(tables[0].columns, table.columns, f"{files[0]} and {file}")
    return pl.concat([table.select(tables[0].columns) for table in tables])


def check_columns(one: Sequence[str], other: Sequence[str], where: str) -> None:
    """Raise ValueError for tables whose columns differ."""
    if differing := set(one) ^ set(other):
        raise ValueError(f"{where} have other columns: {', '.join(sorted(differing))} stand in one alone")


def read_file(file: Path, separator: str = ",", encoding: str = "utf8", num_rows: int | None = None) -> pl.DataFrame:
    """Read a Parquet file, JSON lines or separated text. Raises ValueError that names the file."""
    with named(file):
        match suffix_of(file):
            case ".parquet":
                return pl.read_parquet(file, n_rows=num_rows)
            case ".jsonl" | ".ndjson" | ".json":
                return pl.read_ndjson(file, n_rows=num_rows)
        table = pl.read_csv(file, separator=separator, infer_schema=False, encoding=encoding, n_rows=num_rows)
    return table.rename(dict(zip(table.columns, names_of(file, table.columns), strict=True)))


def suffix_of(file: Path) -> str:
    """Return what says a file's format: its last suffix, without that of a compression."""
    return Path(file.stem).suffix if file.suffix in COMPRESSED else file.suffix


@contextlib.contextmanager
def named(file: Path) -> Iterator[None]:
    """Raise errors of Polars as ValueError that names a file."""
    try:
        yield
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        raise ValueError(f"{file}: {str(error).splitlines()[0]}") from error


def names_of(file: Path, columns: Sequence[str]) -> list[str]:
    """Strip the names of columns, and RecBole's types. Raises ValueError for two columns of the same name."""
    names = [name.strip().partition(":")[0] for name in columns]  # RecBole writes name:type
    if len({*names}) < len(names) or any(DUPLICATE.search(name) for name in names):
        raise ValueError(f"{file}: two columns have the same name in {', '.join(names)}")
    return names


def as_text(table: pl.DataFrame) -> pl.DataFrame:
    """Turn all columns into text; whole floats lose their point, and blank texts become null."""

    def text(column: pl.Series) -> pl.Series:
        if column.dtype == pl.String:
            stripped = column.str.strip_chars()
            return stripped.set(stripped == "", None)
        if column.dtype.is_float() and (column.drop_nulls() == column.drop_nulls().round()).all():
            column = column.cast(pl.Int64, strict=False)
        if column.dtype.is_nested():
            raise ValueError(f"column {column.name} holds lists, which fields can't hold yet: leave it out of the file")
        return column.cast(pl.String)

    return table.select(text(column) for column in table)
