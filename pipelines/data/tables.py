"""Read a user's own files as one table of texts."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipelines.data.formats import COMPRESSED, ELEMENTS, read_indexed, read_separated
from pipelines.data.own import Layout, OwnDataset

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
        check_columns(parts[0], other, f"data set {dataset.name!r}: the files of train and another part")
    table = pl.concat([part.select(parts[0].columns) for part in parts])
    for join in dataset.joins:
        side = read_files(dataset.found(join.files), dataset.layout_of(join))
        for name, columns in (("the log", table.columns), (", ".join(join.files), side.columns)):
            if join.key not in columns:
                raise ValueError(f"data set {dataset.name!r}: join by {join.key!r}, but {name} has no such column")
        if twice := side[join.key].drop_nulls().value_counts().filter(pl.col("count") > 1)[join.key].to_list():
            raise ValueError(f"{', '.join(join.files)}: key {join.key} {min(twice)!r} occurs more than once")
        if both := (set(side.columns) & set(table.columns)) - {join.key}:
            raise ValueError(f"{', '.join(join.files)}: column {min(both)!r} stands in the log too")
        table = table.join(side, on=join.key, how="left", maintain_order="left")
    return table


def read_files(files: Sequence[Path], layout: Layout, num_rows: int | None = None) -> pl.DataFrame:
    """Read files with the same columns, one below the other."""
    tables = [without(as_text(read_file(file, layout, num_rows)), layout.missing) for file in files]
    for file, table in zip(files[1:], tables[1:], strict=True):
        check_columns(tables[0], table, f"{files[0]} and {file}")
    return pl.concat([table.select(tables[0].columns) for table in tables])


def check_columns(one: pl.DataFrame, other: pl.DataFrame, where: str) -> None:
    """Raise ValueError for tables whose columns differ."""
    if differing := set(one.columns) ^ set(other.columns):
        raise ValueError(f"{where} have other columns: {', '.join(sorted(differing))} stand in one alone")


def read_file(file: Path, layout: Layout, num_rows: int | None = None) -> pl.DataFrame:
    """Read a Parquet file, JSON or text of a layout. Raises ValueError that names the file."""
    try:
        match suffix_of(file):
            case ".parquet":
                return pl.read_parquet(file, n_rows=num_rows)
            case ".jsonl" | ".ndjson" | ".json" if starts_a_list(file):
                return pl.read_json(file, infer_schema_length=None)[:num_rows]
            case ".jsonl" | ".ndjson" | ".json":
                return pl.read_ndjson(file, infer_schema_length=None, n_rows=num_rows)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ValueError(f"{file}: {str(error).splitlines()[0]}") from error
    return (read_separated if layout.layout == "separated" else read_indexed)(file, layout, num_rows)


def suffix_of(file: Path) -> str:
    """Return what says a file's format: its last suffix, without that of a compression."""
    return Path(file.stem).suffix if file.suffix in COMPRESSED else file.suffix


def starts_a_list(file: Path) -> bool:
    """Tell whether a JSON file holds one list, and not an object in each line."""
    if file.suffix in COMPRESSED:
        return False
    with file.open("rb") as opened:
        return opened.read(100).lstrip().startswith(b"[")


def as_text(table: pl.DataFrame) -> pl.DataFrame:
    """Turn all columns into text; whole floats lose their point, and blank texts become null.

    A column of objects becomes a column for each key, called COLUMN.KEY. Lists become texts of their elements,
    separated by `|`. Columns of what is nested more deeply are left out.
    """
    while objects := [column.name for column in table if isinstance(column.dtype, pl.Struct)]:
        for name in objects:
            keys = table[name].struct.unnest()
            table = table.drop(name).hstack([keys[key].alias(f"{name}.{key}") for key in keys.columns])

    def text(column: pl.Series) -> pl.Series:
        if isinstance(column.dtype, (pl.List, pl.Array)):
            lists = column.cast(pl.List(pl.String)).list.drop_nulls()
            if lists.explode().str.contains(ELEMENTS, literal=True).any():
                raise ValueError(f"column {column.name}: an element of a list holds {ELEMENTS!r}, which separates them")
            column = lists.list.join(ELEMENTS)
        if column.dtype == pl.String:
            stripped = column.str.strip_chars()
            return stripped.set(stripped == "", None)
        if column.dtype.is_float() and (column.drop_nulls() == column.drop_nulls().round()).all():
            column = column.cast(pl.Int64, strict=False)
        return column.cast(pl.String)

    return table.select(text(column) for column in table if can_be_text(column.dtype))


def without(table: pl.DataFrame, missing: Sequence[str]) -> pl.DataFrame:
    """Take texts that mean a missing value for missing."""
    if not missing:
        return table
    return table.select(pl.when(pl.all().is_in(missing).not_()).then(pl.all()))


def can_be_text(dtype: pl.DataType) -> bool:
    """Tell whether a column has a text, or a list of texts, in each row."""
    if isinstance(dtype, (pl.List, pl.Array)):
        return not isinstance(dtype.inner, pl.DataType) or not dtype.inner.is_nested()
    return not isinstance(dtype, (pl.Binary, pl.Object))
