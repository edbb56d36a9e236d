"""One fresh process of a benchmark: pins itself, does the work, says what it found as JSON."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys

import orjson

from .harness import pin


def main() -> None:
    """Run `module:function` with the arguments that follow."""
    name, *arguments = sys.argv[1:]
    pin(0)
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(f"benchmarks.{module}"), function)(*arguments)
    if inspect.iscoroutine(found):
        found = asyncio.run(found)
    sys.stdout.buffer.write(orjson.dumps(found))


if __name__ == "__main__":
    main()
