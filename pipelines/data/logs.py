"""Read raw logs in blocks of lines, with one text column per field."""

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl

from pipelines.data.catalog import FRAPPE_COLUMNS, LASTFM_COLUMNS, TAGS_COLUMNS, Dataset

LASTFM_HEADER = ("userID", "artistID", "tagID", "day", "month", "year")
TAGS_HEADER = ("userId", "movieId", "tag", "timestamp")

SHOWN_CHARACTERS = 60  # of a bad line, in an error message
CHUNK_ROWS = 10_000  # of a CSV file, in memory at a time
BLOCK_BYTES = 1 << 22  # of any other file, in memory at a time
MAX_LINE_BYTES = 1 << 20  # also the limit of a CSV row with several lines
NUMBER = "timestamp"  # the column that must have a number: else the line is a header, or of another format
JOINED = r"::\s*[0-9]{9,}[^:]*::[^:]+::"  # in a tag: a timestamp, and the first columns of the next line


def read_log(path: Path, dataset: Dataset) -> Iterator[pl.DataFrame]:
    """Read the log of `dataset` in blocks of lines. The columns are the fields, as text.

    Any format but libfm is supported. Texts are not stripped, lower-cased or read as missing: two texts are one feature
    only if they are equal. Blank lines at the end of the file are skipped. Raises ValueError, with file, line number
    and text, for invalid UTF-8, NUL bytes, a line above 1 MiB, a wrong header, a wrong number of columns, a timestamp
    that is no number, two joined lines and broken quoting. Raises ValueError for a file without log lines, and OSError
    when the file can't be read.
    """
    empty = True
    for lines in filter(len, by_format(path, dataset)):
        empty = False
        yield lines.select(dataset.fields)
    if empty:
        raise ValueError(f"{path}: the file has no log lines")


def by_format(path: Path, dataset: Dataset) -> Iterator[pl.DataFrame]:
    match dataset.format:
        case "frappe":
            return delimited(path, tab_cells, FRAPPE_COLUMNS, "\t", FRAPPE_COLUMNS)
        case "lastfm":
            return delimited(path, tab_cells, LASTFM_COLUMNS, "\t", LASTFM_HEADER)
        case "tags.dat":
            return delimited(path, tag_cells, TAGS_COLUMNS, "::")
        case "tags.csv":
            return comma_separated(path, TAGS_HEADER, TAGS_COLUMNS)
        case "synthetic":
            return comma_separated(path, dataset.fields, dataset.fields)
        case _:
            raise ValueError(f"data set {dataset.name!r} is not a log: its format is {dataset.format}")


def tab_cells(lines: pl.Series, columns: tuple[str, ...]) -> pl.DataFrame:
    """Split lines at tabs. The last column is null if the number of cells is wrong."""
    cells = lines.str.split_exact("\t", len(columns)).struct.unnest()
    *_, last, more = cells.columns
    cells = cells.with_columns(pl.when(pl.col(more).is_null()).then(last)).drop(more)
    cells.columns = columns
    return cells


def tag_cells(lines: pl.Series, columns: tuple[str, ...]) -> pl.DataFrame:
    """Split lines of `user::movie::tag::timestamp`. Tags may contain `::`. The last column is null without it."""
    cells = lines.str.splitn("::", 3).struct.unnest()
    rest = cells.to_series(2).str.extract_groups("(?s)^(.*)::(.*)$").struct.unnest()
    cells = cells.select(pl.nth(0, 1)).hstack(rest)
    cells.columns = columns
    return cells


def delimited(
    path: Path,
    split: Callable[[pl.Series, tuple[str, ...]], pl.DataFrame],
    columns: tuple[str, ...],
    separator: str,
    header: tuple[str, ...] = (),
) -> Iterator[pl.DataFrame]:
    """Read a text file in blocks of lines. Lines end with LF or CR LF; there is no quoting."""
    for number, lines in line_blocks(path):
        if number == 1 and header:
            if lines[0] != separator.join(header):
                raise bad_line(path, 1, f"the header must be {' '.join(header)}, got")
            number, lines = 2, lines[1:]
        cells = split(lines, columns)
        if (bad := cells.to_series(-1).is_null().arg_true()).len():
            got = lines[bad[0]].count(separator) + 1
            raise bad_line(path, number + bad[0], f"expected {len(columns)} columns, got {got}")
        check_tags(path, number, cells)
        yield cells


def line_blocks(path: Path) -> Iterator[tuple[int, pl.Series]]:
    """Yield blocks of lines, each with the number of its first line.

    Blank lines at the end of the file are left out.
    """
    blank = 0  # how many lines before the block are blank
    for number, block in text_blocks(path):
        lines = pl.Series([block.decode().removesuffix("\n")]).str.split("\n").explode().str.strip_suffix("\r")
        filled = (lines != "").arg_true()
        if not len(filled):
            blank += len(lines)
            continue
        if blank:
            yield number - blank, pl.Series([""])
        yield number, lines[: filled[-1] + 1]
        blank = len(lines) - filled[-1] - 1


def check_tags(path: Path, number: int, cells: pl.DataFrame) -> None:
    """Raise ValueError for a timestamp that is no number, and for two joined lines.

    Joined lines have a tag in which a timestamp and the next line's first columns stand.
    """
    if NUMBER not in cells.columns:
        return
    if (bad := (~cells[NUMBER].str.contains("^[0-9]+$")).arg_true()).len():
        raise bad_line(path, number + bad[0], no_number(number + bad[0]))
    if (bad := cells["tag"].str.contains(JOINED).arg_true()).len():
        raise bad_line(path, number + bad[0], "two lines are joined: put a line end after the first timestamp")


def no_number(number: int) -> str:
    """Say what is wrong with a line whose timestamp is no number."""
    header = ": remove it if it is a header" if number == 1 else ""
    return f"the last column, {NUMBER}, must be a number{header}"


def comma_separated(path: Path, header: tuple[str, ...], columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """Read a CSV file in chunks of rows. Quoted cells may contain commas, doubled quotes and line ends."""
    rows = checked(path, csv_rows(path), header)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield pl.DataFrame(chunk, dict.fromkeys(columns, pl.String), orient="row")


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each CSV row's first line number and cells."""
    number, size = 1, 0  # first line of the row, and the row's bytes so far

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
    """Yield the lines of a text file with line ends, numbered from 1.

    Raises ValueError for a line above 1 MiB, a NUL byte or invalid UTF-8.
    """
    for number, block in text_blocks(path):
        yield from enumerate(io.BytesIO(block), number)


def text_blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines with the number of each block's first line.

    One block is in memory at a time. A byte order mark is skipped.
    Raises ValueError for a line above 1 MiB, a NUL byte or invalid UTF-8.
    """
    number = 1
    with path.open("rb") as file:
        if file.read(len(BOM_UTF8)) != BOM_UTF8:
            file.seek(0)
        while block := file.read(BLOCK_BYTES) + file.readline(MAX_LINE_BYTES + 1):
            check_text(path, number, block)
            yield number, block
            number += block.count(b"\n")


def check_text(path: Path, number: int, block: bytes) -> None:
    """Raise ValueError for the first bad line of a block that starts with line `number`."""
    if b"\0" not in block and is_utf8(block) and len(max(block.split(b"\n"), key=len)) < MAX_LINE_BYTES:
        return
    for bad, line in enumerate(io.BytesIO(block), number):
        if len(line) > MAX_LINE_BYTES:
            raise bad_line(path, bad, f"a line can't have more than {MAX_LINE_BYTES:,} bytes")
        if b"\0" in line:
            raise bad_line(path, bad, "NUL byte")
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}:{bad}: invalid UTF-8: {shorten(line[error.start :])}") from None


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def checked(path: Path, rows: Iterator[tuple[int, list[str]]], header: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the cells of each row after the header.

    Raises ValueError for a wrong header, number of cells or timestamp. Blank lines may only be at the end.
    """
    blank = None
    for number, cells in rows:
        if number == 1:
            if tuple(cells) != header:
                raise bad_line(path, number, f"the header must be {' '.join(header)}, got")
        elif not cells:
            blank = blank or number
        elif blank or len(cells) != len(header):
            got = 0 if blank else len(cells)
            raise bad_line(path, blank or number, f"expected {len(header)} columns, got {got}")
        elif header[-1] == NUMBER and not (cells[-1].isascii() and cells[-1].isdecimal()):
            raise bad_line(path, number, no_number(number))
        else:
            yield cells


def bad_line(path: Path, number: int, why: str) -> ValueError:
    """Make an error with file, line number, reason and the line's shortened text."""
    with path.open("rb") as file:
        line = next(islice(iter(partial(file.readline, MAX_LINE_BYTES + 1), b""), number - 1, None), b"")
    return ValueError(f"{path}:{number}: {why}: {shorten(line)}")


def shorten(text: bytes) -> str:
    """Quote `text` for an error, without line end and with at most 60 characters."""
    shown = text.rstrip(b"\r\n").decode(errors="backslashreplace")
    return repr(shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 1] + "…")
