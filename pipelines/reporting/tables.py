"""Tables in Markdown and on the screen, and the figures in their cells."""

from collections.abc import Iterable

from rich.console import Console

WIDTH = 160  # of what is printed where there is no terminal


def markdown_table(columns: Iterable[object], rows: Iterable[Iterable[object]], numbers: bool = False) -> str:
    """Write a table: its head and a line a row. With `numbers`, all columns but the first are flushed right."""
    head = list(columns)
    rules = [":--", *["--:"] * (len(head) - 1)] if numbers else ["---"] * len(head)
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in (head, rules, *rows))


def figure(mean: float | None, std: float | None = None) -> str:
    """Show a figure with four decimals, and its standard deviation where there is one; "–" for none."""
    if mean is None:
        return "–"
    return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"


def console() -> Console:
    """Open standard output, as wide as the terminal, or wide enough for a leaderboard where there is none."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=WIDTH)
