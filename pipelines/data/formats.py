"""Read text files of any layout, and name the line of a mistake."""

import codecs
import contextlib
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from pipelines.data.own import Layout

COMPRESSED = (".gz", ".zst", ".zstd")
BLOCK_BYTES = 1 << 24  # in memory at a time, where bytes are checked
ABSENT_FROM_TEXT = "\x1f"  # a separator that texts don't have
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
INDEXED: dict[Any, str] = {"libfm": f"^\\d+:{NUMBER}$", "libffm": f"^\\d+:\\d+:{NUMBER}$"}
WORDS = {"libfm": "index:value", "libffm": "field:index:value"}
FIELD = re.compile(r"f\d+(_value)?")  # columns of libffm
TYPES = ("token", "token_seq", "float", "float_seq")  # of RecBole's columns
TYPE = re.compile(f":({'|'.join(TYPES)})$")
DUPLICATE = re.compile(r"_duplicated_\d+$")  # what Polars makes of a second column of the same name
ELEMENTS = "|"  # between the features of one field in a libffm line


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


@contextlib.contextmanager
def explained(file: Path, layout: Layout) -> Iterator[None]:
    """Raise errors of Polars as ValueError that names file and line."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # of the file system, and not of what the file has
            raise
        raise ValueError(f"{file}: damaged or cut off: {error}") from error
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        reason = f"{str(error).splitlines()[0]}; where quotes are plain characters, say quotes: false"
        raise ValueError(place_of_mistake(file, layout) or f"{file}: {reason}") from error


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


def as_bytes(file: Path, layout: Layout) -> Path | io.BytesIO:
    """Return a file that Polars can decode: of compressed files, it decodes UTF-8 alone."""
    if layout.encoding == "utf8" or file.suffix not in COMPRESSED:
        return file
    if file.suffix != ".gz":
        raise ValueError(f"{file}: a file in zstd must be in UTF-8: write it in UTF-8, or compress it by gzip")
    return io.BytesIO(gzip.decompress(file.read_bytes()))


@contextlib.contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """Open a text file, which may be compressed by gzip. Raises ValueError where it is damaged."""
    try:
        with cast(IO[bytes], gzip.open(file)) if file.suffix == ".gz" else file.open("rb") as raw:
            yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{file}: damaged or cut off, as gzip says: {error}") from error


def is_utf8(file: Path) -> bool:
    """Tell whether a text file is in UTF-8, in all its bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with opened(file) as raw:
        try:
            while block := raw.read(BLOCK_BYTES):
                decoder.decode(block)
        except UnicodeDecodeError:
            return False
    return True


def check_bytes(file: Path) -> None:
    """Raise ValueError for NUL bytes, with the line of the first. Files in zstd are not looked at."""
    if file.suffix in (".zst", ".zstd"):
        return
    line = 1
    with opened(file) as raw:
        while block := raw.read(BLOCK_BYTES):
            if (found := block.find(b"\0")) >= 0:
                line += block.count(b"\n", 0, found)
                raise ValueError(f"{file}:{line}: has a NUL byte: neither Parquet nor text in UTF-8")
            line += block.count(b"\n")


def raw_lines(file: Path, layout: Layout, num_rows: int | None = None) -> pl.LazyFrame:
    """Scan lines as one column `line`; of another encoding than UTF-8, read them."""
    settings: dict[str, Any] = {
        "separator": ABSENT_FROM_TEXT,
        "has_header": False,
        "new_columns": ["line"],
        "infer_schema": False,
        "quote_char": None,
        "truncate_ragged_lines": True,
        "n_rows": num_rows,
    }
    if layout.encoding == "utf8":
        return pl.scan_csv(file, **settings)
    return pl.read_csv(as_bytes(file, layout), encoding=layout.encoding, **settings).lazy()


def read_lines(file: Path, layout: Layout, num_rows: int | None = None) -> pl.DataFrame:
    """Read the lines that are not blank, as columns `number` (from 1) and `line`."""
    with explained(file, layout):
        lines = raw_lines(file, layout, num_rows).collect()
    lines = lines.with_row_index("number", offset=1).with_columns(pl.col("line").str.strip_suffix("\r"))
    return lines.filter(pl.col("line").str.strip_chars() != "")


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


def place_of_mistake(file: Path, layout: Layout, strict: bool = True) -> str | None:
    """Find the first line of a text file that can't be read, and say why; None if all can be read.

    Lines with bad quoting are those only if `strict`.
    """
    line, width = 0, 0

    def lines() -> Iterator[str]:
        nonlocal line
        if file.suffix in (".zst", ".zstd"):
            for text in raw_lines(file, layout).collect()["line"]:
                line += 1
                yield f"{text or ''}\n"
            return
        with opened(file) as raw:
            for text in raw:
                line += 1
                yield text.decode(layout.encoding)

    quoting = csv.QUOTE_MINIMAL if layout.quotes and len(layout.separator) == 1 else csv.QUOTE_NONE
    separator, start = layout.separator if len(layout.separator) == 1 else ABSENT_FROM_TEXT, 1
    csv.field_size_limit(1 << 30)
    reader = csv.reader(lines(), delimiter=separator, quoting=quoting, strict=strict)
    try:
        for cells in reader:
            width = width or len(cells)
            if len(cells) > width or (len(cells) < width and any(map(str.strip, cells))):
                return f"{file}:{start}: {len(cells)} cells, but the first line has {width}"
            start = line + 1
    except UnicodeDecodeError as error:
        return f"{file}:{line}: not UTF-8 ({error.reason}); of Western European text, say encoding: cp1252"
    except pl.exceptions.PolarsError:
        return None  # a file in zstd is damaged
    except csv.Error as error:
        return f"{file}:{start}: bad quoting ({error}); where quotes are plain characters, say quotes: false"
    return None
