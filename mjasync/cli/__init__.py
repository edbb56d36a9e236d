"""The command line: `mjasync`, or `python -m mjasync`. It needs the extra `cli`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["main"]

_NEEDED: Final = frozenset({"cyclopts", "rich"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        argv: The words after `mjasync`; those of this process by default.

    Returns:
        0 done, 1 some failed, 2 usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    _never_fail_to_print()
    try:
        from .app import run

        return run(argv)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        sys.stderr.write(
            f"mjasync: the command line needs {missing}, which is not installed.\n"
            'Install it: python -m pip install "mjasync[cli]"\n'
        )
        return 2
    except KeyboardInterrupt:
        return 130


def _never_fail_to_print() -> None:
    """Have characters that a terminal or a pipe cannot show replaced instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
