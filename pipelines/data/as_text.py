"""Read one file as a table of texts."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipelines.data.indexed import ELEMENTS, read_indexed
from pipelines.data.layouts import Layout
from pipelines.data.separated import read_separated
from pipelines.data.text_files import COMPRESSED

TYPED = (".parquet", ".jsonl", ".ndjson", ".json")  # files whose columns have types


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
        texts = column.cast(pl.String)
        if column.dtype.is_float():  # each by itself, so that a value has the same text in any table
            whole = column.cast(pl.Int64, strict=False)
            texts = whole.cast(pl.String).zip_with((whole == column).fill_null(False), texts)
        return texts

    return table.select(text(column) for column in table if can_be_text(column.dtype))


def without(table: pl.LazyFrame, missing: Sequence[str]) -> pl.LazyFrame:
    """Take texts that mean a missing value for missing."""
    if not missing:
        return table
    return table.select(pl.when(pl.all().is_in(missing).not_()).then(pl.all()))


def can_be_text(dtype: pl.DataType) -> bool:
    """Tell whether a column has a text, or a list of texts, in each row."""
    if isinstance(dtype, (pl.List, pl.Array)):
        return not isinstance(dtype.inner, pl.DataType) or not dtype.inner.is_nested()
    return not isinstance(dtype, (pl.Binary, pl.Object))
