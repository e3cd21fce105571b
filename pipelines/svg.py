"""Small charts as SVG text: the same data give the same bytes, so that pictures can stand in git."""

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")


def picture(width: float, height: float, parts: Iterable[str]) -> str:
    """The whole file, on white, so that it can be read on a dark page too."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}" font-family="Helvetica, Arial, sans-serif" font-size="12">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"]) + "\n"


def text(x: float, y: float, words: str, anchor: str = "start", style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{escape(words)}</text>'


def line(points: Iterable[tuple[float, float]], colour: str = "black", width: float = 1, style: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" {style}/>'


def dot(x: float, y: float, colour: str = "black", radius: float = 3.5) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'


class Scale:
    """Places the values of an axis in the picture, between `start` and `end`."""

    def __init__(self, values: Sequence[float], start: float, end: float, margin: float = 0.05) -> None:
        low, high = min(values), max(values)
        extra = margin * ((high - low) or abs(high) or 1.0)
        self.low, self.high, self.start, self.end = low - extra, high + extra, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, about: int = 6) -> list[tuple[float, str]]:
        """Round values within the axis, some `about` of them, each as a label shows it."""
        rough = (self.high - self.low) / about
        power = 10 ** math.floor(math.log10(rough))
        step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(count * step, f"{count * step:.{digits}f}") for count in range(first, last + 1)]
