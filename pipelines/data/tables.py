"""Read a user's own files as one table of texts."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipelines.data.own import OwnDataset

PART = "part of the split"  # the column that says train, valid, test or all
DUPLICATE = re.compile(r"_duplicated_\d+$")  # what Polars makes of a second column of the same name
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
        check_columns(parts[0], other, f"data set {dataset.name!r}: the files of train and another part")
    table = pl.concat(parts)
    for join in dataset.joins:
        side = read_files(dataset.found(join.files), dataset)
        for name, columns in (("the log", table.columns), (", ".join(join.files), side.columns)):
            if join.key not in columns:
                raise ValueError(f"data set {dataset.name!r}: join by {join.key!r}, but {name} has no such column")
        if twice := side[join.key].drop_nulls().value_counts().filter(pl.col("count") > 1)[join.key].to_list():
            raise ValueError(f"{', '.join(join.files)}: key {join.key} {min(twice)!r} occurs more than once")
        if both := (set(side.columns) & set(table.columns)) - {join.key}:
            raise ValueError(f"{', '.join(join.files)}: column {min(both)!r} stands in the log too")
        table = table.join(side, on=join.key, how="left", maintain_order="left")
    return table


def read_files(files: Sequence[Path], dataset: OwnDataset) -> pl.DataFrame:
    """Read files with the same columns, one below the other."""
    tables = [as_text(read_file(file, dataset.separator, dataset.encoding)) for file in files]
    for file, table in zip(files[1:], tables[1:], strict=True):
        check_columns(tables[0], table, f"{files[0]} and {file}")
    return pl.concat(tables)


def check_columns(one: pl.DataFrame, other: pl.DataFrame, where: str) -> None:
    """Raise ValueError for tables whose columns differ."""
    if differing := set(one.columns) ^ set(other.columns):
        raise ValueError(f"{where} have other columns: {', '.join(sorted(differing))} stand in one alone")


def read_file(file: Path, separator: str = ",", encoding: str = "utf8", num_rows: int | None = None) -> pl.DataFrame:
    """Read a Parquet file, JSON lines or separated text. Raises ValueError that names the file."""
    suffix = Path(file.stem).suffix if file.suffix in COMPRESSED else file.suffix
    try:
        if suffix == ".parquet":
            return pl.read_parquet(file, n_rows=num_rows)
        if suffix in (".jsonl", ".ndjson", ".json"):
            return pl.read_ndjson(file, n_rows=num_rows)
        table = pl.read_csv(file, separator=separator, infer_schema=False, encoding=encoding, n_rows=num_rows)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ValueError(f"{file}: {str(error).splitlines()[0]}") from error
    names = [name.strip().partition(":")[0] for name in table.columns]  # RecBole writes name:type
    if len({*names}) < len(names) or any(DUPLICATE.search(name) for name in names):
        raise ValueError(f"{file}: two columns have the same name in {', '.join(names)}")
    return table.rename(dict(zip(table.columns, names, strict=True)))


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
