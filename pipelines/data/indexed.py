"""Read text files of libfm and libffm lines."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.data.layouts import Layout
from pipelines.data.text_files import check_bytes, read_lines

NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
INDEXED: dict[Any, str] = {"libfm": f"^\\d+:{NUMBER}$", "libffm": f"^\\d+:\\d+:{NUMBER}$"}
WORDS = {"libfm": "index:value", "libffm": "field:index:value"}
FIELD = re.compile(r"f\d+(_value)?")  # columns of libffm
ELEMENTS = "|"  # between the features of one field in a libffm line


def read_indexed(file: Path, layout: Layout, num_rows: int | None = None) -> pl.DataFrame:
    """Read libfm or libffm lines: a column `label`, and two for each field, of indices and of values.

    Skips `# comments`. Raises ValueError, with file and line, for a feature of another form and, in libfm, another
    number of features.
    """
    check_bytes(file)
    lines = read_lines(file, layout, num_rows)
    words = pl.col("line").str.replace("#.*", "").str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ")
    lines = lines.select("number", words.alias("words")).filter(pl.col("words").list.first() != "")
    if not lines.height:
        raise ValueError(f"{file}: the file has no rows")
    features = lines.select("number", feature=pl.col("words").list.slice(1)).explode("feature").drop_nulls()
    if (bad := (~features["feature"].str.contains(INDEXED[layout.layout])).arg_true()).len():
        number, text = features.row(bad[0])
        raise ValueError(f"{file}:{number}: expected {WORDS[layout.layout]}, got {text[:60]!r}")
    labels = lines.select("number", label=pl.col("words").list.first())
    if layout.layout == "libfm":
        return by_place(file, layout, lines, labels)
    parts = pl.col("feature").str.splitn(":", 3).struct
    features = features.select("number", *(parts[n].alias(name) for n, name in enumerate(("field", "index", "value"))))
    fields = sorted(features["field"].cast(pl.Int64).unique())
    columns = layout.columns or ["label", *(name for field in fields for name in (f"f{field}", f"f{field}_value"))]
    of_lines = {}
    for (field,), rows in features.group_by("field"):
        ones = (pl.col("value").cast(pl.Float64) == 1).all()
        value = pl.when(ones).then(pl.lit("1")).otherwise(pl.col("value").str.join(ELEMENTS))
        joined = rows.group_by("number").agg(pl.col("index").str.join(ELEMENTS), value.alias("value"))
        of_lines[f"f{field}"] = joined.select("number", pl.col("index").alias(f"f{field}"))
        of_lines[f"f{field}_value"] = joined.select("number", pl.col("value").alias(f"f{field}_value"))
    return fill(file, labels, columns, of_lines)


def fill(file: Path, table: pl.DataFrame, columns: Sequence[str], of_lines: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Join the columns of libffm's fields; a field that no line has is missing in all."""
    for column in columns:
        if column in of_lines:
            table = table.join(of_lines[column], on="number", how="left", maintain_order="left")
        elif FIELD.fullmatch(column):
            table = table.with_columns(pl.lit(None, dtype=pl.String).alias(column))
        elif column != "label":
            raise ValueError(f"{file}: columns of libffm are label, f0, f0_value, f1 …, not {column!r}")
    if left_out := of_lines.keys() - {*columns}:
        raise ValueError(f"{file}: columns lacks {min(left_out)}, which the file has")
    return table.select(columns)


def by_place(file: Path, layout: Layout, lines: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Take the features of libfm lines by their place in the line."""
    counts = lines["words"].list.len() - 1
    if (bad := (counts != counts[0]).arg_true()).len():
        first, other = lines["number"][0], lines["number"][bad[0]]
        raise ValueError(
            f"{file}:{other}: {counts[bad[0]]} features, but line {first} has {counts[0]}; where lines differ, "
            "libffm's field:index:value says the fields"
        )
    names = layout.columns or ["label", *(f"c{place}" for place in range(1, counts[0] + 1))]
    if len(names) != counts[0] + 1:
        raise ValueError(f"{file}: columns has {len(names)} names, but lines have a label and {counts[0]} features")
    columns = [labels["label"].alias(names[0])]
    for place, name in enumerate(names[1:], 1):
        pairs = lines["words"].list.get(place).str.splitn(":", 2).struct.rename_fields(["index", "value"])
        columns += [pairs.struct.field("index").alias(name), pairs.struct.field("value").alias(f"{name}_value")]
    return pl.DataFrame(columns)
