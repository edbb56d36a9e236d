"""What it takes to import the package, and to print the help of the command line."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .harness import ROOT, Rounds, ratios
from .row import Row, row_of

__all__ = ["command_line", "imports"]

_IMPORT: Final = (
    "import time; begun = time.process_time(); {statement}; print(time.process_time() - begun)"
)
_HELP: Final = "import sys; sys.argv = ['mjasync', '--help']; from mjasync.cli import main; main()"


def _import_seconds(statement: str) -> float:
    """CPU seconds of an import, in an interpreter of its own."""
    return float(_run("-c", _IMPORT.format(statement=statement)))


def _process_seconds(*arguments: str) -> float:
    """CPU seconds of a whole process of Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout


def _milliseconds(rounds: Rounds, side: str) -> str:
    """Of one of the two turns."""
    return f"{500 * statistics.median(costs[side] for costs in rounds):.0f} ms"


def _in_turns(cost: Callable[..., float], sides: Mapping[str, Sequence[str]], times: int) -> Rounds:
    """What each side costs, forwards and backwards, so many times; the sum of its two turns."""
    for arguments in sides.values():
        cost(*arguments)  # so that everything is compiled and in the page cache
    found: Rounds = []
    for _ in range(times):
        taken = {name: cost(*arguments) for name, arguments in sides.items()}
        found.append({name: taken[name] + cost(*sides[name]) for name in reversed(taken)})
    return found


def imports(times: int = 13) -> list[Row]:
    """`import mjasync` beside `import aiohttp`; and what `Client` takes."""
    sides = {
        "base": ["import aiohttp"],
        "plain": ["import mjasync"],
        "client": ["from mjasync import Client"],
        "null": ["import aiohttp"],
    }
    found = _in_turns(_import_seconds, sides, times)
    return [
        row_of(
            f"`{sides[side][0]}` / `import aiohttp`",
            ratios(found, side, "base"),
            nulls=ratios(found, "null", "base"),
            bar=1.12,
            note=f"{_milliseconds(found, side)}, aiohttp {_milliseconds(found, 'base')}",
        )
        for side in ("plain", "client")
    ]


def command_line(times: int = 30) -> list[Row]:
    """`mjasync --help` beside a Python that does nothing: whole processes."""
    sides = {"base": ["-c", "pass"], "help": ["-c", _HELP], "null": ["-c", "pass"]}
    found = _in_turns(_process_seconds, sides, times)
    return [
        row_of(
            "`mjasync --help` / `python -c pass`",
            ratios(found, "help", "base"),
            nulls=ratios(found, "null", "base"),
            bar=4.0,
            note=f"{_milliseconds(found, 'help')}, nothing {_milliseconds(found, 'base')}",
        )
    ]
