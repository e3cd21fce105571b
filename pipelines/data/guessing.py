"""Guess label, fields and split of a user's files."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.data.cells import is_number, times_of
from pipelines.data.findings import ITEMS, USERS, column_like
from pipelines.data.fitting import columns_of
from pipelines.data.formats import ELEMENTS
from pipelines.data.own import ALL_POSITIVE, INHERITED, RESERVED, Layout, OwnDataset, label_of
from pipelines.data.proposal import UNNUMBERED, Field, Proposal
from pipelines.data.sniffing import Sniffed, parts_of, sort_files
from pipelines.data.splitting import split_in_order
from pipelines.data.tables import PART, read_table, without

LABELS = ("label", "click", "clicked", "clk", "is_click", "target", "y", "income", "like", "rating", "score", "stars")
TIMES = re.compile(r"(time_?stamp|time|date|date_?time|hour|ts|day|.*_(time|date|at|ts|timestamp))", re.IGNORECASE)
IDS = re.compile(r"(?i:.*(id|code|_no|key|hash))|C\d+")
NUMERIC_TIMES = {8: ("%Y%m%d", "%y%m%d%H"), 10: ("%Y%m%d%H",), 12: ("%Y%m%d%H%M",), 14: ("%Y%m%d%H%M%S",)}  # by digits
TEXT_TIMES = tuple(
    f"{day}{hour}" for day in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y") for hour in ("", " %H:%M", " %H:%M:%S")
)
LIST_MARKS = "^|;, "
SURE_MARKS = "^|"  # that hardly stand in other texts
MARKS = {"NA", "N/A", "n/a", "#N/A", "nan", "NaN", "NAN", "NULL", "Null", "null", "None", "none", "?", "-", ".", "\\N"}
FEW = 50  # distinct whole numbers that are read as a category
LOOKED_AT = 1_000_000  # rows of each file


def propose(
    files: Sequence[Path], name: str, label: str, folder: Path, columns: Sequence[str] = ()
) -> tuple[Proposal, pl.DataFrame]:
    """Propose a data set for files, and return it with their rows.

    `columns` names those of files without a header. Raises ValueError if a file can't be read or no label is found.
    """
    found = sort_files(files, columns)
    parts = parts_of(found.log)
    paths = {part: path_in(folder, file) for part, file in parts.items()} if parts else None
    proposal = Proposal(
        name=name,
        files=paths or [path_in(folder, file) for file in found.log],
        layout=found.sniffed.layout,
        joins=[join_of(path_in(folder, file), side, key, found.sniffed.layout) for file, side, key in found.sides],
        label=label,
        split={},
    )
    if proposal.layout.columns and not columns:
        named = ", ".join(proposal.layout.columns)
        proposal.notes.append(f"{files[0]} has no header: its columns are called {named}; --columns A,B,… names them")
    table = rows_with_quotes(proposal, folder)
    if marks := missing_marks(table):
        proposal.layout = proposal.layout.model_copy(update={"missing": marks})
        table = without(table.lazy(), marks).collect()
    proposal.label = label or guess_label(table, proposal, files[0])
    used = "" if label == ALL_POSITIVE else label_of(proposal.label, columns_of(table))[0]
    types = found.sniffed.types | {name: kind for _, side, _ in found.sides for name, kind in side.types.items()}
    num_distinct = table.n_unique()
    for column in table.iter_columns():
        if column.name not in (used, PART):
            propose_field(proposal, column, types.get(column.name, ""), num_distinct)
    for name in [name for name in proposal.fields if name == RESERVED[0] or name.startswith(RESERVED[1:])]:
        column = proposal.fields.pop(name)
        proposal.fields[f"own_{name}"] = dataclasses.replace(column, keys={"column": name, **column.keys})
    numbers_beside_numbers(proposal.fields)
    drop_what_train_lacks(proposal, table)
    user = column_like(USERS, table.columns)
    if user and user != used and 1 < table[user].n_unique() <= table.height / 2:
        proposal.group = user
    if label == ALL_POSITIVE:
        proposal.negatives = guess_negatives(proposal, user, column_like(ITEMS, table.columns), files[0])
    return proposal, table


def guess_negatives(proposal: Proposal, user: str | None, item: str | None, file: Path) -> dict[str, Any]:
    """Propose negatives that replace the item. Raises ValueError where no two fields look like user and item."""
    if not {user, item} <= proposal.fields.keys():
        raise ValueError(
            f"{file}: rows that are {ALL_POSITIVE} need negatives, and no two columns are called like user and item: "
            "write label and negatives in the YAML (docs/own-data.md)"
        )
    return {"replace": item, "given": [user], "count": 2, "if_too_few": "fewer"}


def rows_with_quotes(proposal: Proposal, folder: Path) -> pl.DataFrame:
    """Read the rows of a proposal. Where quotes are no quoting, say so in the proposal."""
    try:
        return rows_of(proposal, folder)
    except ValueError:
        quoted = proposal.layout
        if not quoted.quotes:
            raise
        proposal.layout = quoted.model_copy(update={"quotes": False})
        try:
            table = rows_of(proposal, folder)
        except ValueError:  # the mistake is another
            proposal.layout = quoted
        else:
            proposal.notes.append("quotes are plain characters, as not all of them open and close a cell")
            return table
        raise


def rows_of(proposal: Proposal, folder: Path) -> pl.DataFrame:
    """Read the rows of a proposal that has no fields yet. Raises ValueError for files without rows."""
    dataset = OwnDataset(
        name=proposal.name,
        format="table",
        folder=folder,
        files=proposal.files,  # pyright: ignore[reportArgumentType]
        joins=proposal.joins,  # pyright: ignore[reportArgumentType]
        label="?",
        fields={"?": {}},  # pyright: ignore[reportArgumentType]
        **proposal.layout.model_dump(),
    )
    table = read_table(dataset, LOOKED_AT)
    if not table.height:
        raise ValueError(f"{next(iter(dataset.paths().values()))[0]}: has no rows, only a header")
    if table.height >= LOOKED_AT:
        proposal.notes.append(f"looked at the first {LOOKED_AT:,} rows of each file")
    return table


def missing_marks(table: pl.DataFrame) -> list[str]:
    """Find the texts, such as N/A, that keep a column from being numbers."""
    found: set[str] = set()
    for column in table.iter_columns():
        known = column.drop_nulls()
        others = known.filter(~known.cast(pl.Float64, strict=False).is_finite().fill_null(False))
        if len(others) < len(known) and (texts := {*others.unique().head(len(MARKS) + 1)}) <= MARKS:
            found |= texts
    return sorted(found)


def path_in(folder: Path, file: Path) -> str:
    """Write a path relative to a folder if it is in it."""
    path, folder = file.resolve(), folder.resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def join_of(file: str, side: Sniffed, key: str, log: Layout) -> dict[str, Any]:
    """Describe a side table, with what differs from the log's layout."""
    differs = {
        name: getattr(side.layout, name) for name in INHERITED if getattr(side.layout, name) != getattr(log, name)
    }
    return {"files": [file], "key": key, **differs}


def guess_label(table: pl.DataFrame, proposal: Proposal, file: Path) -> str:
    """Guess the label by the names of columns and their values."""
    columns = columns_of(table)
    by_name = {column.lower(): column for column in columns}
    for name in LABELS:
        if name in by_name:
            column = by_name[name]
            distinct = sorted(table[column].drop_nulls().unique().to_list())
            if distinct and all(map(is_number, distinct)):
                numbers = sorted(map(float, distinct))
                return column if len(numbers) <= 2 else f"{column} >= {numbers[-1] * 0.8:g}"
            if len(distinct) == 2:
                return f"{column} == {distinct[int(np.argmin([table[column].eq(d).sum() for d in distinct]))]}"
    binary = [column for column in columns if {*table[column].unique()} in ({"0", "1"}, {"-1", "1"})]
    if len(binary) == 1:
        proposal.notes.append(f"label: {binary[0]} is a guess, as the only column with two numbers")
        return binary[0]
    raise ValueError(
        f"{file}: no column is called {', '.join(LABELS[:6])} …: name it with --label, such as --label 'rating >= 4', "
        f"or --label '{ALL_POSITIVE}' for a log of plays or purchases; the columns are: {', '.join(columns)}"
    )


def propose_field(proposal: Proposal, column: pl.Series, kind: str, num_distinct: int) -> None:
    """Add a column to a proposal, as a field or as left out.

    `kind` is RecBole's type or `list`, where known; `num_distinct` counts the distinct rows.
    """
    name, known = column.name, column.drop_nulls()
    distinct, missing = known.n_unique(), column.null_count() / max(1, len(column))
    if distinct <= 1:
        proposal.dropped[name] = "constant" if distinct else "empty"
        return
    numeric = bool(known.cast(pl.Float64, strict=False).is_finite().fill_null(False).all())
    if (format := time_format(known, numeric)) is not None:
        propose_time(proposal, column, format)
        return
    fractions = numeric and known.str.contains(r"[.eE]").any()
    if distinct == num_distinct and num_distinct > 2 and not missing and not fractions and kind != "list":
        proposal.dropped[name] = "every row has another value"
        return
    is_list = kind in ("list", "token_seq", "float_seq")
    if mark := list_mark(known, " " if kind.endswith("_seq") else ELEMENTS if is_list else "", numeric):
        if proposal.layout.layout == "libffm" and name.endswith("_value"):
            proposal.dropped[name] = "weights of a list's elements, which fields can't hold"
            return
        proposal.fields[name] = Field({"kind": "list", "separator": mark}, distinct, missing)
        return
    if numeric and (scale := scale_of(known, bool(fractions), distinct, kind)):
        proposal.fields[name] = Field({"kind": "number", "scale": scale}, distinct, missing)
        return
    proposal.fields[name] = Field({}, distinct, missing, whole=numeric and not IDS.fullmatch(name))


def scale_of(known: pl.Series, fractions: bool, distinct: int, kind: str) -> str:
    """Choose a scale for a column of numbers; empty if they are better read as a category.

    Ids are whole numbers that lie far apart but come again, or all numbers from 0 or 1 on. Counts are skewed instead.
    """
    numbers = known.cast(pl.Float64).to_numpy()
    sizes = np.abs(numbers)
    skewed = sizes.max() > 10 * max(1.0, float(np.median(sizes)))
    scale = "log" if skewed else "standard"
    if fractions or kind == "float":
        return scale
    if IDS.fullmatch(known.name):
        return ""
    if distinct <= FEW:
        return "log" if skewed and distinct > 10 else ""
    span = numbers.max() - numbers.min() + 1
    far_apart = span > 20 * distinct and numbers.max() >= 1000 and (numbers % 10 == 0).mean() < 0.3
    come_again = 2 * distinct < len(known)
    counted = numbers.min() in (0, 1) and distinct > 0.9 * span
    return "" if not skewed and ((far_apart and come_again) or counted) else scale


def numbers_beside_numbers(fields: dict[str, Field]) -> None:
    """Make whole numbers of few values numbers, as most fields of the same stem are."""
    groups: dict[str, list[Field]] = {}
    for name, each in fields.items():
        if (found := UNNUMBERED.fullmatch(name)) and (each.whole or each.keys.get("kind") == "number"):
            groups.setdefault(found[1], []).append(each)
    for members in groups.values():
        scales = [each.keys["scale"] for each in members if each.keys]
        if len(scales) > len(members) / 2 and len(members) > 2:
            scale = max(sorted({*scales}), key=scales.count)
            for each in members:
                each.keys = {"kind": "number", "scale": scale}


def drop_what_train_lacks(proposal: Proposal, table: pl.DataFrame) -> None:
    """Leave out fields that all training rows lack, where files or times say these."""
    if isinstance(proposal.files, dict):
        train = table.filter(pl.col(PART) == "train")
    elif proposal.split:
        times = times_of(
            table[proposal.split["column"]], f"data set {proposal.name!r}", proposal.split.get("format", "")
        )
        train = table[split_in_order(np.argsort(times, kind="stable"), 0.7, 0.2)["train"]]
    else:
        return
    for name, each in [*proposal.fields.items()]:
        column = each.keys.get("column", name)
        if train[column].null_count() == train.height:
            del proposal.fields[name]
            proposal.dropped[column] = "empty in all training rows"


def time_format(known: pl.Series, numeric: bool) -> str | None:
    """Find the format of a column of times: empty for ISO 8601, unix, unix_ms or strptime's; None if it has none."""
    sample = known.head(10_000)
    if not numeric:
        if sample.str.contains(r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}").all():
            return "" if parses(sample, "") else None
        looks = sample.str.contains(r"^\d{1,2}[/.]\d{1,2}[/.]\d{4}").all()
        return next((each for each in TEXT_TIMES if looks and parses(sample, each)), None)
    if not TIMES.fullmatch(known.name):
        return None
    lengths = sample.str.len_chars()
    if (length := lengths[0]) == lengths.max() == lengths.min():
        for format in NUMERIC_TIMES.get(length, ()):
            century = sample.str.contains("^(19|20)").all() if format.startswith("%Y") else True
            if century and parses(sample, format):
                return format
    least = float(sample.cast(pl.Float64).min() or 0)  # pyright: ignore[reportArgumentType]
    return "unix_ms" if least > 1e11 else "unix" if least > 1e8 else None


def parses(texts: pl.Series, format: str) -> bool:
    try:
        times_of(texts, "", format)
    except ValueError:
        return False
    return True


def propose_time(proposal: Proposal, column: pl.Series, format: str) -> None:
    """Propose parts of a time that vary as fields, and the time for the split."""
    name = column.name
    hours = pl.from_epoch(
        pl.Series(times_of(column.drop_nulls(), f"data set {proposal.name!r}", format)).cast(pl.Int64), "s"
    ).dt
    for part, values in (("hour", hours.hour()), ("weekday", hours.weekday())):
        if (distinct := values.n_unique()) > 1:
            keys = {"kind": "time", "column": name, "format": format, "part": part}
            proposal.fields[f"{name}_{part}"] = Field(keys, distinct, column.null_count() / len(column))
    if not any(each.keys.get("column") == name for each in proposal.fields.values()):
        proposal.dropped[name] = "all times have one hour and one weekday"
    if not proposal.split and not column.null_count() and isinstance(proposal.files, list):
        proposal.split = {"by": "time", "column": name}
        if format in TEXT_TIMES:
            proposal.split["format"] = format


def list_mark(texts: pl.Series, known: str, numeric: bool) -> str | None:
    """Find the mark between the elements of lists, which may be known; None if texts are no lists."""
    if known or numeric:
        return known or None
    sample = texts.head(100_000)
    for mark in LIST_MARKS:
        share = sample.str.contains(mark, literal=True).sum() / max(1, len(sample))
        elements = sample.str.split(mark).explode().n_unique()
        if share > 0.2 and (mark in SURE_MARKS or elements < sample.n_unique()):
            return mark
    return None
