"""Guess how a user's files are laid out, and what each of them is."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipelines.data.as_text import as_text, read_file, suffix_of
from pipelines.data.indexed import INDEXED, read_indexed
from pipelines.data.layouts import Encoding, Layout
from pipelines.data.separated import TYPES
from pipelines.data.text_files import COMPRESSED, check_bytes, is_utf8, opened, read_lines

BINARY = (".parquet", ".jsonl", ".ndjson", ".json")
SEPARATORS = ("\t", ",", ";", "|", "\x01")  # in order of preference
LONG_SEPARATORS = ("::", "||", "##", "@@", "~~")
HEAD_BYTES = 1 << 20
HEAD_LINES = 200  # that are looked at
PARTS = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}
PART_WORD = re.compile(rf"(?:^|(?<=[._-]))({'|'.join(word for words in PARTS.values() for word in words)})(?=[._-]|$)")
SIDES = (".user", ".item")  # RecBole's side tables of a .inter file
UNIX = 1e8  # seconds since 1970 are more
LABEL = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"  # of libfm and libffm


@dataclass
class Sniffed:
    """Hold what the first lines of a file say: its layout, RecBole's types by column, and whether it has a header."""

    layout: Layout = field(default_factory=Layout)
    types: dict[str, str] = field(default_factory=dict)
    has_header: bool = True


def sniff(file: Path) -> Sniffed:
    """Guess the layout of a file. Raises ValueError for a text file without columns."""
    if suffix_of(file) in BINARY:
        nested = read_file(file, Layout(), HEAD_LINES).schema
        return Sniffed(types={name: "list" for name, dtype in nested.items() if isinstance(dtype, (pl.List, pl.Array))})
    lines, encoding = head_of(file)
    if not lines:
        raise ValueError(f"{file}: the file is empty")
    for layout, pattern in INDEXED.items():
        if is_indexed(lines, pattern):
            return Sniffed(Layout(layout=layout, encoding=encoding), has_header=False)
    separator, quotes = separator_of(lines, file)
    layout = Layout(separator=separator, quotes=quotes, encoding=encoding)
    first, *rest = cells_of(lines, separator, quotes)
    types = {name.strip(): kind for name, _, kind in (cell.partition(":") for cell in first)}
    if all(kind in TYPES for kind in types.values()):
        layout = layout.model_copy(update={"quotes": not any('"' in line for line in lines)})
        return Sniffed(layout, types)
    if not any(map(looks_like_a_value, first)):
        return Sniffed(layout)
    columns = guess_names([first, *(row for row in rest if len(row) == len(first))])
    return Sniffed(layout.model_copy(update={"columns": columns}), has_header=False)


def head_of(file: Path) -> tuple[list[str], Encoding]:
    """Read the first lines of a file that are not blank, and guess the encoding."""
    if file.suffix in COMPRESSED and file.suffix != ".gz":
        return read_lines(file, Layout(), HEAD_LINES)["line"].to_list(), "utf8"
    with opened(file) as raw:
        start = raw.read(HEAD_BYTES)
    if b"\0" in start:
        check_bytes(file)
    start = start[: start.rfind(b"\n") + 1] or start
    if is_utf8(file):
        return first_lines(start.decode("utf-8-sig")), "utf8"
    return first_lines(start.decode("cp1252", errors="replace")), "cp1252"


def first_lines(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()][:HEAD_LINES]


def is_indexed(lines: Sequence[str], pattern: str) -> bool:
    """Tell whether lines are a label, which is a number, and features of a pattern."""
    words = [row for line in lines if (row := line.partition("#")[0].split())]
    features = [word for row in words for word in row[1:]]
    labelled = all(re.fullmatch(LABEL, row[0]) for row in words)
    return labelled and bool(features) and all(re.fullmatch(pattern, feature) for feature in features)


def separator_of(lines: Sequence[str], file: Path) -> tuple[str, bool]:
    """Find the separator that splits all lines alike, and whether cells may be quoted.

    Raises ValueError if no known separator is in the first line.
    """
    found: list[tuple[float, str, bool]] = []
    for separator in (*LONG_SEPARATORS, *SEPARATORS, " "):
        for quotes in (True, False) if len(separator) == 1 else (False,):
            widths = [len(cells) for cells in cells_of(lines, separator, quotes)]
            if widths and widths[0] > 1:
                found.append((widths.count(widths[0]) / len(widths), separator, quotes or len(separator) > 1))
    if not found:
        known = "comma, tab, semicolon, |, ::, blank"
        raise ValueError(f"{file}: no separator in its first line; known: {known}; others can be written in the YAML")
    _, separator, quotes = max(found, key=lambda each: round(each[0], 1) - (each[1] == " "))  # the first of the best
    return separator, quotes


def cells_of(lines: Sequence[str], separator: str, quotes: bool) -> list[list[str]]:
    """Split lines into cells; bad quoting gives none."""
    if len(separator) > 1:
        return [line.split(separator) for line in lines]
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    try:
        return list(csv.reader(lines, delimiter=separator, quoting=quoting, strict=True))
    except csv.Error:
        return []


def looks_like_a_value(cell: str) -> bool:
    """Tell whether a cell is a number or a time, and so no column's name."""
    return bool(re.fullmatch(r"[+-]?\d+(\.\d+)?|\d{4}-\d\d-\d\d([ T].*)?", cell.strip()))


def guess_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """Name the columns of a file without a header.

    They are user, item, rating and time, or label, or else c1, c2 …
    """
    columns = [[cell.strip() for cell in column] for column in zip(*rows, strict=True)]
    names = [f"c{place}" for place in range(1, len(columns) + 1)]
    if len(columns) in (3, 4) and is_rating(columns[2]) and all(is_unix(column) for column in columns[3:]):
        return ["user", "item", "rating", "time"][: len(columns)]
    for place in (0, -1):
        if {*columns[place]} in ({"0", "1"}, {"-1", "1"}):
            names[place] = "label"
            break
    return names


def is_rating(column: Sequence[str]) -> bool:
    return all(re.fullmatch(r"-?\d+(\.\d+)?", cell) and -10 <= float(cell) <= 10 for cell in column)


def is_unix(column: Sequence[str]) -> bool:
    return all(re.fullmatch(r"\d+(\.\d+)?", cell) and float(cell) > UNIX for cell in column)


def parts_of(files: Sequence[Path]) -> dict[str, Path] | None:
    """Find train, valid and test among three files, by their names."""
    found = {}
    for file in files:
        for word in PART_WORD.findall(file.name.lower())[-1:]:
            found[next(part for part, words in PARTS.items() if word in words)] = file
    return {part: found[part] for part in PARTS} if len(found) == len(files) == len(PARTS) else None


def name_of(files: Sequence[Path]) -> str:
    """Name the data set of files: the first file's name, without the word for its part if it has others."""
    name = files[0].name.partition(".")[0]
    if parts_of(files):
        name = PART_WORD.sub("", name.lower()).strip("._-") or files[0].resolve().parent.name
    return re.sub(r"[^\w-]+", "-", name) or "own"


def beside(files: Sequence[Path]) -> list[Path]:
    """List files beside one file that seem to belong to it.

    They are other parts of a split, or RecBole's side tables.
    """
    file = files[0]
    if len(files) > 1:
        return []
    if word := PART_WORD.search(file.name.lower()):
        start, end = file.name[: word.start()], file.name[word.end() :]
        words = [other for part in PARTS.values() for other in part if other != word[0]]
        candidates = [file.with_name(f"{start}{other}{end}") for other in words]
    else:
        candidates = [file.with_suffix(side) for side in SIDES if file.suffix == ".inter"]
    return [candidate for candidate in candidates if candidate.is_file()]


@dataclass
class Sorted:
    """Hold files by what they are: the log, with how it is laid out, and side tables with their keys."""

    log: list[Path]
    sniffed: Sniffed
    sides: list[tuple[Path, Sniffed, str]] = field(default_factory=list)


def sort_files(files: Sequence[Path], columns: Sequence[str] = ()) -> Sorted:
    """Tell the files of the log from side tables.

    Those of the log have the columns of the first file; side tables share a key with it. `columns` names those of a
    log without a header. Raises ValueError for a file that is neither.
    """
    sniffed = sniff(files[0])
    if columns:
        sniffed.layout = Layout.model_validate({**sniffed.layout.model_dump(), "columns": list(columns)})
    sorted_files = Sorted([files[0]], sniffed)
    own = as_text(read_file(files[0], sniffed.layout, HEAD_LINES)) if len(files) > 1 else pl.DataFrame()
    for file in files[1:]:
        found = sniff(file)
        if found.layout.layout == sniffed.layout.layout != "separated":
            sorted_files.log.append(file)
            continue
        if not found.has_header and not sniffed.has_header:
            if len(found.layout.columns) != len(sniffed.layout.columns):
                raise ValueError(f"{file} has other columns than {files[0]}, and no header: write it under joins")
            sorted_files.log.append(file)
            continue
        if {*as_text(read_file(file, found.layout, HEAD_LINES)).columns} == {*own.columns}:
            sorted_files.log.append(file)
        else:
            side = as_text(read_file(file, found.layout))
            sorted_files.sides.append((file, found, key_of(file, side, files[0], own)))
    if sniffed.layout.layout == "libffm" and len(sorted_files.log) > 1:
        tables = [read_indexed(file, sniffed.layout) for file in sorted_files.log]
        if len({tuple(table.columns) for table in tables}) > 1:
            numbers = {int(name[1:]) for table in tables for name in table.columns if name[1:].isdecimal()}
            names = ["label", *(name for number in sorted(numbers) for name in (f"f{number}", f"f{number}_value"))]
            sniffed.layout = sniffed.layout.model_copy(update={"columns": names})
    return sorted_files


def key_of(file: Path, side: pl.DataFrame, log: Path, own: pl.DataFrame) -> str:
    """Find the key that a side table shares with the log. Raises ValueError if there is none."""
    shared = [column for column in side.columns if column in own.columns]
    keys = [column for column in shared if side[column].drop_nulls().is_unique().all()]
    if not shared:
        raise ValueError(
            f"{file} has neither the columns of {log} nor one of them as a key; "
            f"its columns: {', '.join(side.columns)}; of {log.name}: {', '.join(own.columns)}"
        )
    if not keys:
        raise ValueError(f"{file} shares {', '.join(shared)} with {log}, but none has another value in each row")
    return keys[0]
