"""The rows as a table for the terminal and for the documentation."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from .harness import cores
from .plot import plot
from .row import Row

__all__ = ["table", "write_docs"]

_PACKAGES: Final = ("aiohttp", "attrs", "cattrs", "orjson", "httpx")
_FIGURES: Final = re.compile(r"(?<=<!-- figures -->\n).*(?=<!-- end of figures -->)", re.DOTALL)
_PLOTS: Final = {
    "cost.svg": (
        "CPU of the client by the number of waiting tasks",
        "waiting tasks",
        "µs per task and poll",
        "mjasync, lists",
    ),
    "delay.svg": (
        "Delay of the detection by its cost",
        "polls per job",
        "mean delay, seconds",
        "schedule",
    ),
}
"""By the file: title, labels, and a line of the row to draw."""


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Return the lines of a plain table."""
    yield f"{'measured':>10} {'spread':>15} {'null':>6} {'bar':>7}         comparison"
    for row in rows:
        measured, spread, null, bar = _cells(row)
        yield f"{measured:>10} {spread:>15} {null:>6} {bar:>7} {row.verdict:6}  {row.name}"
        if row.note:
            yield f"{'':50}{row.note}"
    yield "* off by more than 3 % (in ms: by more than a fifth of the bar): the machine was busy"


def write_docs(rows: Sequence[Row], docs: Path) -> None:
    """Write the figures of docs/performance.md and its plots."""
    page = docs / "performance.md"
    page.write_text(_FIGURES.sub(lambda _: _figures(rows), page.read_text("utf-8")), "utf-8")
    for name, (title, x_label, y_label, line) in _PLOTS.items():
        series = next(row.series for row in rows if line in row.series)
        drawing = plot(title, x_label, y_label, series)
        (docs / "_static" / name).write_text(drawing, "utf-8")


def _figures(rows: Sequence[Row]) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES if find_spec(name))
    versions = f"{platform.python_implementation()} {platform.python_version()}, {packages}"
    lines = [
        "",
        f"Measured on {len(cores())} cores ({_processor()}), {platform.system()}. {versions}.",
        "",
        "| comparison | measured | spread | null | bar | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        name = f"{row.name}<br>*{row.note}*" if row.note else row.name
        lines.append(f"| {' | '.join([name, *_cells(row), row.verdict])} |")
    return "\n".join([*lines, "", ""])


def _cells(row: Row) -> tuple[str, str, str, str]:
    unit = "" if row.unit == "×" else f" {row.unit}"
    spread = null = bar = ""
    if row.low is not None and row.high is not None:
        spread = f"{_short(row.low)} to {_short(row.high)}"
    if row.null is not None:
        null = f"{row.null:.2f}" if row.unit == "×" else _short(row.null)
    if row.bar is not None:
        bar = f"{'≥' if row.at_least else '≤'} {row.bar:g}"
    return f"{_short(row.ratio)}{unit}", spread, f"{null}*" if row.is_noisy else null, bar


def _short(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _processor() -> str:
    """Return the kind of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    fields = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line)
    return "{model name}, family {cpu family}, model {model}".format_map(fields)
