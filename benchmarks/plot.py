"""A small plot as SVG: lines with dots, both axes logarithmic, on a card that any page can show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final

from .row import Series

__all__ = ["plot"]

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 48, 56
_COLOURS: Final = ("#0b6e99", "#b3541e", "#6a4c93", "#3f7d20")
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:15px}"
    ".grid{stroke:#d0d7de}polyline{fill:none;stroke-width:2.5}"
)

Scale = Callable[[float], float]


def plot(title: str, x_label: str, y_label: str, series: Series) -> str:
    """Draw the lines; their points may come in any order."""
    xs = [x for line in series.values() for x, _ in line]
    ys = [y for line in series.values() for _, y in line]
    across = _scale(xs, _LEFT, _WIDTH - _RIGHT)
    up = _scale(ys, _HEIGHT - _BOTTOM, _TOP + 22 * len(series))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#f6f8fa"/>',
        _text(_LEFT, 28, title, "start", "title"),
        *_grid(xs, ys, across, up),
        _text(middle, _HEIGHT - 14, x_label, "middle"),
        f'<g transform="rotate(-90 18 {_HEIGHT / 2})">',
        _text(18, _HEIGHT / 2, y_label, "middle"),
        "</g>",
    ]
    for number, (name, line) in enumerate(series.items()):
        parts.extend(_line(number, name, sorted(line), across, up))
    return "\n".join([*parts, "</svg>", ""])


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    low, high = math.log(min(values) / 1.15), math.log(max(values) * 1.15)
    return lambda value: start + (end - start) * (math.log(value) - low) / (high - low)


def _ticks(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times powers of ten, or the powers alone where those are enough."""
    low, high = min(values) / 1.15, max(values) * 1.15
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if math.log10(high / low) > 2 else (1, 2, 5)
    return [
        step * 10.0**power for power in powers for step in steps if low <= step * 10**power <= high
    ]


def _grid(xs: Sequence[float], ys: Sequence[float], across: Scale, up: Scale) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for tick in _ticks(xs):
        x = across(tick)
        yield f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>'
        yield _text(x, bottom + 18, f"{tick:,g}", "middle")
    for tick in _ticks(ys):
        y = up(tick)
        yield f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield _text(_LEFT - 8, y + 4, f"{tick:,g}", "end")


def _line(
    number: int, name: str, points: Sequence[tuple[float, float]], across: Scale, up: Scale
) -> Iterator[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    places = [(across(x), up(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{path}" stroke="{colour}"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    legend = _TOP + 16 + 20 * number
    right = _WIDTH - _RIGHT
    yield f'<rect x="{right - 22}" y="{legend - 10}" width="12" height="12" fill="{colour}"/>'
    yield _text(right - 30, legend, name, "end")


def _text(x: float, y: float, words: str, anchor: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
