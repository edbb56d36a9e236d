"""`python -m benchmarks [--json] [--docs] [NAME…]`: run all benchmarks, or some, and print rows."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from typing import Final

import attrs
import orjson

from . import report
from .harness import ROOT
from .row import Row

__all__ = ["main"]

_BENCHMARKS: Final = {
    "polls": "polls:polls",
    "lists": "polls:lists",
    "growth": "polls:growth",
    "decode": "decode:decode",
    "memory": "memory:memory",
    "detection": "detection:detection",
    "stall": "stall:stall",
    "downloads": "downloads:downloads",
    "imports": "imports:imports",
    "imagines": "imagines:imagines",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run the benchmarks, and print their rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(_BENCHMARKS):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    if options.docs and options.names:
        parser.error("--docs needs the rows of all benchmarks; leave the names out")
    rows: list[Row] = []
    for name in options.names or _BENCHMARKS:
        start = time.monotonic()
        module, _, function = _BENCHMARKS[name].partition(":")
        rows += getattr(importlib.import_module(f"benchmarks.{module}"), function)()
        sys.stderr.write(f"{name}: {time.monotonic() - start:.0f} s\n")
    if options.docs:
        report.write_docs(rows, ROOT / "docs")
    as_json = orjson.dumps([attrs.asdict(row) for row in rows], option=orjson.OPT_INDENT_2)
    sys.stdout.write(as_json.decode() if options.json else "\n".join(report.table(rows)))
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
