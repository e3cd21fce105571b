"""Format tables and the figures in their cells."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from rich.console import Console

WIDTH = 160  # of printed output without a terminal
FAR = 7  # times the median distance from the best model, at which a model leaves the picture


def markdown_table(columns: Iterable[object], rows: Iterable[Iterable[object]], numbers: bool = False) -> str:
    """Format a Markdown table. With `numbers`, all columns except the first are right-aligned."""
    head = list(columns)
    rules = [":--", *["--:"] * (len(head) - 1)] if numbers else ["---"] * len(head)
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in (head, rules, *rows))


def figure(mean: float | None, std: float | None = None, decimals: int = 4) -> str:
    """Format a mean, and any standard deviation. None becomes "–"."""
    if mean is None:
        return "–"
    return f"{mean:.{decimals}f}" if std is None else f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def far_off(means: Sequence[float]) -> list[bool]:
    """Tell which means are too far from the first for one picture.

    Beside them, the others could not be told apart.
    """
    distances = [abs(mean - means[0]) for mean in means]
    return [distance > FAR * median(distances) > 0 for distance in distances]


def console() -> Console:
    """Open standard output. Without a terminal, it is wide enough for a leaderboard."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=WIDTH)


def short(value: Any) -> str:
    """Write a value of a setting with few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
