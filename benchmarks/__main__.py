"""`python -m benchmarks [--json] [--docs] [NAME…]`: run all rows, or some, and show them."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from typing import Final

import attrs
import orjson

from .row import Row

__all__ = ["main"]

_ROWS: Final = {
    "polls": "polls:polls",
    "lists": "polls:lists",
    "growth": "polls:growth",
    "decode": "local:decode",
    "memory": "memory:memory",
    "detection": "detection:run",
    "stall": "pictures:stall",
    "downloads": "pictures:downloads",
    "imports": "startup:imports",
    "help": "startup:command_line",
    "imagines": "imagines:imagines",
}
"""Where each benchmark is."""


def run(names: Sequence[str]) -> list[Row]:
    """Run some benchmarks, telling each row as it comes."""
    found: list[Row] = []
    for name in names:
        begun = time.monotonic()
        module, _, function = _ROWS[name].partition(":")
        rows = getattr(importlib.import_module(f"benchmarks.{module}"), function)()
        found.extend(rows)
        sys.stderr.write(f"{name}: {time.monotonic() - begun:.0f} s\n")
        for row in rows:
            sys.stderr.write(f"  {line(row)}\n")
    return found


def line(row: Row) -> str:
    """A row on one line."""
    spread = "" if row.low is None else f" ({row.low:.3g}…{row.high:.3g})"
    null = "" if row.null is None else f"  null {row.null:.3f}"
    verdict = {True: "  met", False: "  MISSED", None: ""}[row.met]
    bar = "" if row.bar is None else f"  bar {'≥' if row.at_least else '≤'} {row.bar:g}"
    return f"{row.ratio:.3f} {row.unit}{spread}{null}{bar}{verdict}  {row.name}  [{row.note}]"


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_ROWS))
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    unknown = set(options.names) - set(_ROWS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    rows = run(options.names or list(_ROWS))
    if options.json:
        sys.stdout.buffer.write(orjson.dumps(list(map(attrs.asdict, rows)), option=2) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
