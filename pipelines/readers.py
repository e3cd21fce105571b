"""Raw logs as polars frames: one text column a field, values as they stand in the file."""

import csv
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl

from pipelines.catalog import Dataset

FRAPPE_COLUMNS = (
    "user", "item", "cnt", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country",
    "city",
)  # fmt: skip
TAGS_COLUMNS = ("user", "movie", "tag", "timestamp")
TAGS_HEADER = ("userId", "movieId", "tag", "timestamp")

SHOWN_CHARACTERS = 60  # of a bad line, in an error
CHUNK_LINES = 10_000  # held as Python text at a time
MAX_LINE_BYTES = 1 << 20  # also of a CSV row that goes over several lines

Rows = Iterator[tuple[int, list[str]]]  # line number from 1, cells


def read_log(path: Path, dataset: Dataset) -> pl.DataFrame:
    """The log of `dataset` (any format but libfm) with its fields as text columns, one row a log line.

    Nothing is stripped, lower-cased or read as missing: two texts are one feature only if they are equal.
    Raises ValueError, with file, line number and text, for invalid UTF-8, NUL bytes, a line beyond 1 MiB, another
    header, a line with more or fewer columns or broken quoting, and for a file without log lines; OSError when the
    file can't be read.
    """
    rows, columns, header = layout(path, dataset)
    log = to_frame(checked(path, rows, columns, header), columns, dataset.fields)
    if log.is_empty():
        raise ValueError(f"{path}: the file has no log lines")
    return log


def layout(path: Path, dataset: Dataset) -> tuple[Rows, tuple[str, ...], tuple[str, ...]]:
    """The rows of a file, what its columns are, and the header it must have (empty: it has none)."""
    match dataset.format:
        case "frappe":
            return delimited(path, lambda line: line.split("\t")), FRAPPE_COLUMNS, FRAPPE_COLUMNS
        case "tags.dat":
            return delimited(path, tag_cells), TAGS_COLUMNS, ()
        case "tags.csv":
            return comma_separated(path), TAGS_COLUMNS, TAGS_HEADER
        case "synthetic":
            return comma_separated(path), dataset.fields, dataset.fields
        case _:
            raise ValueError(f"data set {dataset.name!r} is not a log: its format is {dataset.format}")


def tag_cells(line: str) -> list[str]:
    """The cells of `user::movie::tag::timestamp`, where the tag may contain `::`."""
    *ids, rest = line.split("::", 2)
    return [*ids, *rest.rsplit("::", 1)]


def delimited(path: Path, split: Callable[[str], list[str]]) -> Rows:
    """The lines of a text file without quoting, LF or CR LF."""
    for number, line in text_lines(path):
        yield number, split(line.decode().removesuffix("\n").removesuffix("\r"))


def comma_separated(path: Path) -> Rows:
    """The rows of a CSV file; a quoted cell may contain commas, quotes (doubled) and line ends."""
    number, size = 1, 0  # the row's first line, and its bytes so far

    def lines() -> Iterator[str]:
        nonlocal size
        for _, line in text_lines(path):
            size += len(line)
            if size > MAX_LINE_BYTES:
                raise bad_line(path, number, f"a row can't have more than {MAX_LINE_BYTES:,} bytes")
            yield line.decode()

    reader = csv.reader(lines(), strict=True)
    try:
        for cells in reader:
            yield number, cells
            number, size = reader.line_num + 1, 0
    except csv.Error as error:
        raise bad_line(path, number, f"bad quoting ({error})") from error


def text_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a text file with their line ends, numbered from 1, of which no more than one is held at a time.

    Raises ValueError for a line beyond 1 MiB, with a NUL byte or invalid UTF-8.
    """
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES + 1), b""), 1):
            if len(line) > MAX_LINE_BYTES:
                raise bad_line(path, number, f"a line can't have more than {MAX_LINE_BYTES:,} bytes")
            if b"\0" in line:
                raise bad_line(path, number, "NUL byte")
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}:{number}: invalid UTF-8: {shorten(line[error.start :])}") from None
            yield number, line


def checked(path: Path, rows: Rows, columns: tuple[str, ...], header: tuple[str, ...]) -> Iterator[list[str]]:
    """The cells of each row after the header. Raises ValueError for one that doesn't fit the columns."""
    for number, cells in rows:
        if number == 1 and header:
            if tuple(cells) != header:
                raise bad_line(path, number, f"the header must be {' '.join(header)}, got")
        elif len(cells) != len(columns):
            raise bad_line(path, number, f"expected {len(columns)} columns, got {len(cells)}")
        else:
            yield cells


def to_frame(rows: Iterator[list[str]], columns: tuple[str, ...], fields: tuple[str, ...]) -> pl.DataFrame:
    """The `fields` among the `columns` as text columns."""
    chunks = [pl.DataFrame(schema=dict.fromkeys(fields, pl.String))]
    while chunk := list(islice(rows, CHUNK_LINES)):
        cells = dict(zip(columns, zip(*chunk, strict=True), strict=True))
        chunks.append(pl.DataFrame([pl.Series(field, cells[field], dtype=pl.String) for field in fields]))
    return pl.concat(chunks)


def bad_line(path: Path, number: int, why: str) -> ValueError:
    """An error that names file, line number, reason and the line's text, shortened."""
    with path.open("rb") as file:
        line = next(islice(iter(partial(file.readline, MAX_LINE_BYTES + 1), b""), number - 1, None), b"")
    return ValueError(f"{path}:{number}: {why}: {shorten(line)}")


def shorten(text: bytes) -> str:
    """`text` for an error: quoted, without its line end, and no more than 60 characters of it."""
    shown = text.rstrip(b"\r\n").decode(errors="backslashreplace")
    return repr(shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 1] + "…")
