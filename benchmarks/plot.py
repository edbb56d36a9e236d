"""A small plot as SVG: lines with dots, on two logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from .row import Series

__all__ = ["plot"]

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 696, 48, 344
_COLOURS: Final = ("#0b6e99", "#b3541e", "#6a4c93")
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:15px}"
    ".grid{stroke:#d0d7de}polyline{fill:none;stroke-width:2.5}"
)


def plot(title: str, x_label: str, y_label: str, series: Series) -> str:
    """Draw the lines; the points of a line may have any order."""
    x_ticks, across = _axis([x for line in series.values() for x, _ in line], _LEFT, _RIGHT)
    top = _TOP + 22 * len(series)
    y_ticks, up = _axis([y for line in series.values() for _, y in line], _BOTTOM, top)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#f6f8fa"/>',
        f'<text class="title" x="{_LEFT}" y="28">{escape(title)}</text>',
        _text((_LEFT + _RIGHT) / 2, _HEIGHT - 14, x_label, "middle"),
        f'<g transform="rotate(-90 18 {_HEIGHT / 2})">',
        _text(18, _HEIGHT / 2, y_label, "middle"),
        "</g>",
    ]
    for tick in x_ticks:
        parts.append(f'<path class="grid" d="M{across(tick):.1f} {_TOP}V{_BOTTOM}"/>')
        parts.append(_text(across(tick), _BOTTOM + 18, f"{tick:,g}", "middle"))
    for tick in y_ticks:
        parts.append(f'<path class="grid" d="M{_LEFT} {up(tick):.1f}H{_RIGHT}"/>')
        parts.append(_text(_LEFT - 8, up(tick) + 4, f"{tick:,g}", "end"))
    for number, (name, points) in enumerate(series.items()):
        colour, legend = _COLOURS[number], _TOP + 16 + 20 * number
        dots = [f"{across(x):.1f},{up(y):.1f}" for x, y in sorted(points)]
        parts.append(f'<polyline points="{" ".join(dots)}" stroke="{colour}"/>')
        for x, y in (dot.split(",") for dot in dots):
            parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>')
        square = f'<rect x="{_RIGHT - 22}" y="{legend - 10}" width="12" height="12"'
        parts += [f'{square} fill="{colour}"/>', _text(_RIGHT - 30, legend, name, "end")]
    return "\n".join([*parts, "</svg>", ""])


def _axis(
    values: Sequence[float], start: float, end: float
) -> tuple[list[float], Callable[[float], float]]:
    """Return the ticks of a logarithmic axis, and its scale."""
    low, high = math.log10(min(values) / 1.15), math.log10(max(values) * 1.15)
    steps = (1,) if high - low > 2 else (1, 2, 5)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    shown = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return shown, lambda value: start + (end - start) * (math.log10(value) - low) / (high - low)


def _text(x: float, y: float, content: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'
