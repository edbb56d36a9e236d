"""What the rows say, to a terminal and to the documentation."""

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
_BETWEEN: Final = re.compile(r"(?<=<!-- figures -->\n).*(?=<!-- end of figures -->)", re.DOTALL)
_VERDICTS: Final = {True: "met", False: "MISSED", None: ""}
_UNSURE: Final = "unsure"
"""Of a row that would be met, were its null not off."""
_PLOTS: Final = (
    (
        "cost.svg",
        "CPU of the client by the number of waiting tasks",
        "waiting tasks",
        "µs per task and look",
        "mjasync, lists",
    ),
    (
        "delay.svg",
        "How late a finished job is noticed, by what it costs",
        "looks per job",
        "mean delay, seconds",
        "schedule",
    ),
)
"""File, title, labels, and the line by which the row to draw is known; the first such row."""


def table(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of a plain table, and what an asterisk in it means."""
    noisy = False
    yield f"{'measured':>10} {'spread':>15} {'null':>6} {'bar':>7}         what"
    for row in rows:
        measured, spread, null, bar = _cells(row)
        verdict = _verdict(row)
        yield f"{measured:>10} {spread:>15} {null:>6} {bar:>7} {verdict:6}  {row.name}"
        if row.note:
            yield f"{'':50}{row.note}"
        noisy |= row.noisy
    if noisy:
        yield "* more than 3 % from 1 (in ms: more than a fifth of the bar from 0):"
        yield "  the machine was busy, and the row says little"


def write_docs(rows: Sequence[Row], docs: Path) -> None:
    """Put the figures into docs/performance.md, and the plots beside it."""
    page = docs / "performance.md"
    page.write_text(_BETWEEN.sub(lambda _: _figures(rows), page.read_text("utf-8")), "utf-8")
    (docs / "_static").mkdir(exist_ok=True)
    for name, title, x_label, y_label, line in _PLOTS:
        found = next((row.series for row in rows if line in row.series), None)
        if found:
            drawing = plot(title, x_label, y_label, found)
            (docs / "_static" / name).write_text(drawing, "utf-8")


def _figures(rows: Sequence[Row]) -> str:
    lines = [
        "",
        f"{_machine()}. {_versions()}.",
        "",
        "| what | measured | spread | null | bar | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        cells = " | ".join(_cells(row))
        told = f"{row.name}<br>*{row.note}*" if row.note else row.name
        lines.append(f"| {told} | {cells} | {_verdict(row)} |")
    return "\n".join([*lines, "", ""])


def _cells(row: Row) -> tuple[str, str, str, str]:
    unit = "" if row.unit == "×" else f" {row.unit}"
    spread = (
        "" if row.low is None or row.high is None else f"{_short(row.low)} to {_short(row.high)}"
    )
    bar = "" if row.bar is None else f"{'≥' if row.at_least else '≤'} {row.bar:g}"
    return f"{_short(row.ratio)}{unit}", spread, _null(row), bar


def _null(row: Row) -> str:
    if row.null is None:
        return ""
    shown = f"{row.null:.2f}" if row.unit == "×" else _short(row.null)
    return f"{shown}*" if row.noisy else shown


def _verdict(row: Row) -> str:
    return _UNSURE if row.met and row.noisy else _VERDICTS[row.met]


def _short(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _machine() -> str:
    """Cores and kind of processor: what a figure depends on, and no name."""
    return f"Measured on {len(cores())} cores ({_processor()}), {platform.system()}"


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.machine()
    fields = (
        re.search(rf"^{field}\s*: (.+)$", told, re.MULTILINE)
        for field in ("model name", "cpu family", "model")
    )
    name, family, model = (found[1] if found else "?" for found in fields)
    return f"{name}, family {family}, model {model}"


def _versions() -> str:
    there = [name for name in _PACKAGES if find_spec(name)]
    packages = ", ".join(f"{name} {version(name)}" for name in there)
    return f"{platform.python_implementation()} {platform.python_version()}, {packages}"
