"""Tables in Markdown."""

from collections.abc import Iterable


def markdown_table(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> list[str]:
    """The lines of a table: its head and a line a row."""
    head = list(columns)
    return [markdown_row(head), markdown_row(["---"] * len(head)), *(markdown_row(row) for row in rows)]


def markdown_row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
