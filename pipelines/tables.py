"""Tables in Markdown and on the screen."""

from collections.abc import Iterable

from rich.console import Console

WIDTH = 160  # of what is printed where there is no terminal


def markdown_table(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> list[str]:
    """The lines of a table: its head and a line a row."""
    head = list(columns)
    return [markdown_row(head), markdown_row(["---"] * len(head)), *(markdown_row(row) for row in rows)]


def markdown_row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def console() -> Console:
    """Standard output, as wide as the terminal, or wide enough for a leaderboard where there is none."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=WIDTH)
