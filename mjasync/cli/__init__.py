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
        argv: The arguments after `mjasync`; by default those of this process.

    Returns:
        0 done, 1 some failed, 2 usage, 128 plus its number after a signal: 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _run(arguments)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            return _report(error, arguments)
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
        return _report(error, arguments)


def _run(arguments: Sequence[str]) -> int:
    _replace_unprintable()
    from .app import run

    return run(arguments)


def _report(error: Exception, arguments: Sequence[str]) -> int:
    from .unexpected_errors import report, without_debug

    return report(error, arguments, debug=without_debug(arguments)[1])


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C caused an error.

    Python 3.11 turns an exception of `__set_name__` into a RuntimeError.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _replace_unprintable() -> None:
    """Replace characters that stdout and stderr cannot encode, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
