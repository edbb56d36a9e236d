"""Wall time of importing the client, in processes that pyperf starts."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import orjson

from .harness import ROOT, Rounds, median, ratios
from .row import Row, row_of

__all__ = ["imports", "run_command"]

_SIDES: Final = {
    "aiohttp": "import aiohttp",
    "client": "from mjasync import Client",
    "null": "import aiohttp",
}


def run_command(*arguments: str, values: int = 1, warmups: int = 0) -> tuple[float, int]:
    """Run a command of this interpreter under `pyperf command`.

    Args:
        arguments: Of the interpreter.
        values: Number of measured runs.
        warmups: Number of runs before them that are not measured.

    Returns:
        The median of the seconds, and the peak memory in bytes.
    """
    options = ("--quiet", "-p1", "-l1", f"-w{warmups}", f"-n{values}")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "benchmark.json"
        pyperf = (sys.executable, "-m", "pyperf", "command", *options, "-o", str(output), "--")
        command = [*pyperf, sys.executable, *arguments]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        suite = orjson.loads(output.read_bytes())
    (run,) = suite["benchmarks"][0]["runs"]
    return statistics.median(run["values"]), suite["metadata"]["command_max_rss"]


def imports(rounds: int = 4) -> list[Row]:
    """Compare the import of `Client` with that of aiohttp, interpreter start included."""

    def seconds(side: str) -> float:
        return run_command("-c", _SIDES[side], values=3, warmups=1)[0]

    measured: Rounds = []
    for _ in range(rounds):
        forwards = {side: seconds(side) for side in _SIDES}
        measured.append({side: forwards[side] + seconds(side) for side in reversed(_SIDES)})
    return [
        row_of(
            "`from mjasync import Client` / `import aiohttp`",
            ratios(measured, "client", "aiohttp"),
            nulls=ratios(measured, "null", "aiohttp"),
            bar=1.12,
            note=f"{500 * median(measured, 'client'):.0f} ms, "
            f"aiohttp {500 * median(measured, 'aiohttp'):.0f} ms",
        )
    ]
