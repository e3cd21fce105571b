"""Read how datasets/NAME.yaml names columns: ranges, the label, and near misses."""

import re

from pipelines.project.cli import one_of

COMPARISON = re.compile(r"(?P<column>.+?)\s*(?P<sign>>=|<=|!=|==|>|<)\s*(?P<value>.+)")
RANGE = re.compile(r"(?P<stem>.*?)(?P<first>\d+)\.\.(?P<again>.*?)(?P<last>\d+)")


def names_of(name: str) -> list[str]:
    """Spell out a range such as `I1..I13`; another name stands for itself. Raises ValueError for a wrong range."""
    found = RANGE.fullmatch(name)
    if not found:
        return [name]
    stem, first, last = found["stem"], int(found["first"]), int(found["last"])
    if found["again"] != stem or first > last:
        raise ValueError(f"{name}: write a range as {stem}1..{stem}9, from the smaller number to the larger")
    width = len(found["first"]) if found["first"].startswith("0") else 0
    return [f"{stem}{number:0{width}}" for number in range(first, last + 1)]


def column_of(what: str, name: str, columns: list[str]) -> str:
    """Return a column's name if the files have it. Raises ValueError that names the nearest column."""
    try:
        return one_of(what, name, columns)
    except ValueError as error:
        if not any(column.replace(".", "").isdecimal() for column in columns):
            raise
        raise ValueError(f"{error}; if the files have no header, columns: [NAME, …] names their columns") from error


def label_of(text: str, columns: list[str]) -> tuple[str, str | None, str]:
    """Read a label: column, sign and value of a comparison; sign None for a plain column.

    Raises ValueError for a column that is not there.
    """
    if text in columns or not (found := COMPARISON.fullmatch(text)):
        return column_of("column of the label", text, columns), None, ""
    return column_of("column of the label", found["column"], columns), found["sign"], found["value"].strip("'\"")
