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
        0 done, 1 some failed, 2 usage, 128 and its number after a signal: 130 after Ctrl-C.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        return _run(words)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            return _report(error, words)
        sys.stderr.write(
            f"mjasync: the command line needs {missing}, which is not installed.\n"
            'Install it: python -m pip install "mjasync[cli]"\n'
        )
        return 2
    except BaseException as error:
        if _was_interrupted(error):
            return 130
        if not isinstance(error, Exception):
            raise
        return _report(error, words)


def _run(words: Sequence[str]) -> int:
    _never_fail_to_print()
    from .app import run

    return run(words)


def _report(error: Exception, words: Sequence[str]) -> int:
    from .unexpected_errors import report, without_debug

    return report(error, words, debug=without_debug(words)[1])


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error.

    While a class is made, Python 3.11 turns what `__set_name__` raises into a RuntimeError.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _never_fail_to_print() -> None:
    """Have characters that a terminal or a pipe cannot show replaced instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
