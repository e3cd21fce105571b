"""Read text files of cells between separators."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipelines.data.layouts import Layout
from pipelines.data.text_files import (
    ABSENT_FROM_TEXT,
    as_bytes,
    check_bytes,
    explained,
    place_of_mistake,
    raw_lines,
    read_lines,
)

TYPES = ("token", "token_seq", "float", "float_seq")  # of RecBole's columns
TYPE = re.compile(f":({'|'.join(TYPES)})$")
DUPLICATE = re.compile(r"_duplicated_\d+$")  # what Polars makes of a second column of the same name


def read_separated(file: Path, layout: Layout, num_rows: int | None = None) -> pl.DataFrame:
    """Read cells between separators. Blank lines are no rows. Raises ValueError that names file and line."""
    check_bytes(file)
    if len(layout.separator) > 1:
        return split_lines(file, layout, num_rows)
    with explained(file, layout):
        table = pl.read_csv(
            as_bytes(file, layout),
            separator=layout.separator,
            has_header=not layout.columns,
            infer_schema=False,
            encoding=layout.encoding,
            quote_char='"' if layout.quotes else None,
            n_rows=num_rows,
        )
    if layout.columns:
        table.columns = list(as_many(file, table.columns, layout.columns))
    else:
        table.columns = distinct_names(file, [DUPLICATE.sub("", name) for name in table.columns])
    no_rows = table.select(no_row(table.columns)).to_series()
    table = table.filter(~no_rows) if no_rows.any() else table
    check_cells(file, layout, table.lazy())
    return table


def scan_separated(file: Path, layout: Layout) -> pl.LazyFrame:
    """Scan cells between separators of one character, in UTF-8. Blank lines are no rows."""
    check_bytes(file)
    table = pl.scan_csv(
        file,
        separator=layout.separator,
        has_header=not layout.columns,
        infer_schema=False,
        quote_char='"' if layout.quotes else None,
    )
    with explained(file, layout):
        names = table.collect_schema().names()
    if layout.columns:
        columns = as_many(file, names, layout.columns)
    else:
        columns = distinct_names(file, [DUPLICATE.sub("", name) for name in names])
    return table.rename(dict(zip(names, columns, strict=True))).filter(~no_row(columns))


def no_row(columns: Sequence[str]) -> pl.Expr:
    """Tell whether a line is blank: it has one cell, which is blank."""
    first, *rest = columns
    blank = pl.col(first).str.strip_chars().fill_null("") == ""
    return blank & pl.all_horizontal(pl.col(rest).is_null()) if rest else blank


def check_cells(file: Path, layout: Layout, rows: pl.LazyFrame) -> None:
    """Raise ValueError for a line with too few cells.

    `rows` are what Polars makes of the file. It fills such a line up with nulls, so only a file whose last column has
    some is read again.
    """
    width = len(names := rows.collect_schema().names())
    if width == 1 or not rows.select(pl.col(names[-1]).is_null().any()).collect(engine="streaming").item():
        return
    line, quote = pl.col("line").str, '"' if layout.quotes else ABSENT_FROM_TEXT
    blank = line.strip_chars(f" \r{layout.separator}").fill_null("") == ""
    short = (line.count_matches(layout.separator, literal=True) < width - 1) & ~blank
    quoted = line.contains(quote, literal=True)
    lines = raw_lines(file, layout)
    found = lines.select(short.any(), quoted.any().alias("quoted")).collect(engine="streaming")
    doubtful, has_quotes = found.row(0)
    if has_quotes and not doubtful:
        unquoted = line.replace_all('"[^"]*"', "").str  # a quote that is left is of a cell of several lines
        short = (unquoted.count_matches(layout.separator, literal=True) < width - 1) & ~blank
        of_several = unquoted.contains(quote, literal=True)
        doubtful = lines.filter(quoted).select((short | of_several).any()).collect(engine="streaming").item()
    if doubtful and (mistake := place_of_mistake(file, layout, strict=False)):
        raise ValueError(mistake)


def as_many(file: Path, cells: Sequence[str], columns: Sequence[str]) -> Sequence[str]:
    """Return the names of columns. Raises ValueError if there are more or fewer than cells."""
    if len(cells) != len(columns):
        raise ValueError(f"{file}: columns has {len(columns)} names, but the first line has {len(cells)} cells")
    return columns


def split_lines(file: Path, layout: Layout, num_rows: int | None) -> pl.DataFrame:
    """Split lines at a separator of several characters. There is no quoting."""
    lines = read_lines(file, layout, num_rows)
    header = layout.columns
    if not header and lines.height:
        header, lines = lines["line"][0].split(layout.separator), lines[1:]
    counts = lines["line"].str.count_matches(layout.separator, literal=True) + 1
    if (bad := (counts != len(header)).arg_true()).len():
        number, count = lines["number"][bad[0]], counts[bad[0]]
        said = "columns has" if layout.columns else "the header has"
        raise ValueError(f"{file}:{number}: {count} cells, but {said} {len(header)}")
    names = [f"{place}: {name}" for place, name in enumerate(header)]  # distinct
    cells = lines["line"].str.split_exact(layout.separator, len(header) - 1).struct.rename_fields(names)
    table = cells.struct.unnest()
    table.columns = distinct_names(file, header)
    return table


def distinct_names(file: Path, names: Sequence[str]) -> list[str]:
    """Strip names and RecBole's types, as in `user_id:token`.

    A column without a name is called by its place, such as c2. Raises ValueError for two columns of the same name.
    """
    stripped = [TYPE.sub("", name.strip()) or f"c{place}" for place, name in enumerate(names, 1)]
    if twice := {name for name in stripped if stripped.count(name) > 1}:
        raise ValueError(f"{file}: two columns have the same name, {min(twice)!r}, in {', '.join(stripped)}")
    return stripped
