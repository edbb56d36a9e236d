"""`python -m benchmarks [--json] [--docs] [NAME…]`: run all of it, or some, and show the rows."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import orjson

from . import report
from .harness import ROOT
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


def run(names: Sequence[str]) -> Iterator[Row]:
    """Run some benchmarks, and say on standard error how far it got."""
    for name in names:
        begun = time.monotonic()
        module, _, function = _ROWS[name].partition(":")
        yield from getattr(importlib.import_module(f"benchmarks.{module}"), function)()
        sys.stderr.write(f"{name}: {time.monotonic() - begun:.0f} s\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run, and show what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_ROWS))
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(_ROWS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    if options.docs and options.names:
        parser.error("--docs is about all of them")
    rows = list(run(options.names or list(_ROWS)))
    if options.docs:
        report.write_docs(rows, Path(ROOT) / "docs")
    shown = orjson.dumps(list(map(attrs.asdict, rows)), option=orjson.OPT_INDENT_2).decode()
    sys.stdout.write(f"{shown}\n" if options.json else "\n".join([*report.table(rows), ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
