"""Guess which fields the columns of a user's files become."""

import re

import numpy as np
import polars as pl

from pipelines.data.cells import times_of
from pipelines.data.indexed import ELEMENTS
from pipelines.data.proposal import UNNUMBERED, Field, Proposal

TIMES = re.compile(r"(time_?stamp|time|date|date_?time|hour|ts|day|.*_(time|date|at|ts|timestamp))", re.IGNORECASE)
IDS = re.compile(r"(?i:.*(id|code|_no|key|hash))|C\d+")
NUMERIC_TIMES = {8: ("%Y%m%d", "%y%m%d%H"), 10: ("%Y%m%d%H",), 12: ("%Y%m%d%H%M",), 14: ("%Y%m%d%H%M%S",)}  # by digits
TEXT_TIMES = tuple(
    f"{day}{hour}" for day in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y") for hour in ("", " %H:%M", " %H:%M:%S")
)
LIST_MARKS = "^|;, "
SURE_MARKS = "^|"  # that hardly stand in other texts
FEW = 50  # distinct whole numbers that are read as a category


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
