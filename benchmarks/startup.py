"""What it takes to import the package, and to print the help of the command line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from mjasync.cli import _help

from .harness import ROOT
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
    looks = _help._DECIDES
    ordinary = {name: value for name, value in os.environ.items() if name not in looks}
    environment = {**ordinary, "PYTHONPATH": ROOT}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout


def _milliseconds(costs: Sequence[float]) -> str:
    return f"{1000 * sorted(costs)[len(costs) // 2]:.0f} ms"


def imports(times: int = 25) -> list[Row]:
    """`import mjasync` beside `import aiohttp`, one after the other; and what `Client` takes."""
    statements = (
        "import aiohttp",
        "import mjasync",
        "from mjasync import Client",
        "import aiohttp",
    )
    for statement in statements:
        _import_seconds(statement)  # so that everything is compiled and in the page cache
    rounds = [list(map(_import_seconds, statements)) for _ in range(times)]
    base, plain, client, again = map(list, zip(*rounds, strict=True))
    nulls = [one / other for one, other in zip(again, base, strict=True)]
    return [
        row_of(
            f"`{statement}` / `import aiohttp`",
            [one / other for one, other in zip(costs, base, strict=True)],
            nulls=nulls,
            bar=1.12,
            note=f"{_milliseconds(costs)}, aiohttp {_milliseconds(base)}",
        )
        for statement, costs in (("import mjasync", plain), ("from mjasync import Client", client))
    ]


def command_line(times: int = 60) -> list[Row]:
    """`mjasync --help` beside a Python that does nothing: whole processes."""
    sides = (("-c", "pass"), ("-c", _HELP), ("-c", "pass"))
    for arguments in sides:
        _process_seconds(*arguments)
    rounds = [[_process_seconds(*arguments) for arguments in sides] for _ in range(times)]
    base, costs, again = map(list, zip(*rounds, strict=True))
    return [
        row_of(
            "`mjasync --help` / `python -c pass`",
            [one / other for one, other in zip(costs, base, strict=True)],
            nulls=[one / other for one, other in zip(again, base, strict=True)],
            bar=4.0,
            note=f"{_milliseconds(costs)}, nothing {_milliseconds(base)}",
        )
    ]
