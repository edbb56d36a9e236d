"""The last resort: errors that nothing else told of become a sentence, never a traceback."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from .. import printable, redact
from .console import print_note

__all__ = ["DEBUG", "SentenceHandler", "report", "without_debug"]

DEBUG: Final = "--debug"
"""The option of every command that has unexpected errors shown with a traceback."""
_LOGIN: Final = re.compile(r"//[^:/\s]*:(\S*)@")
_PASSWORD: Final = re.compile(r"password=([^&\s]*)", re.IGNORECASE)


def without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Take `--debug` out of a command line; tell whether it was there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = [word for word in arguments[:end] if word != DEBUG]
    return [*given, *arguments[end:]], len(given) < end


def report(error: Exception, arguments: Sequence[str], *, debug: bool) -> int:
    """Say what went wrong, without the secrets of the command line; return the exit code.

    Args:
        error: What reached the top.
        arguments: The command line.
        debug: Show the traceback as well.
    """
    from .task_text import is_usage

    secrets = [*_secrets(arguments, os.environ)]
    if debug:
        shown = "".join(traceback.format_exception(error))
        print_note(redact(shown, secrets))
    print_note(f"mjasync: {redact(_sentence(error), secrets)}")
    return 2 if is_usage(error) else 1


def _sentence(error: Exception) -> str:
    from ..errors import MJError
    from .task_text import explain, is_usage

    if isinstance(error, MJError):
        return error.message if is_usage(error) else explain(error)
    if isinstance(error, OSError) or hasattr(error, "orig"):
        return explain(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory."
    return (
        f"Something unexpected happened, which is a fault of mjasync: {explain(error)}. "
        f"Please report it with what the same command prints with {DEBUG}. "
        "What a batch sent is in its ledger; other tasks are on the server under their ids."
    )


def _secrets(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """The token, and the passwords in the URLs of a command line or of the environment."""
    yield environment.get("MJASYNC_TOKEN", "").strip()
    for before, word in zip(("", *arguments), arguments, strict=False):
        if before == "--token":
            yield word.strip()
        elif word.startswith("--token="):
            yield word.partition("=")[2].strip()
    proxies = [value for name, value in environment.items() if name.lower().endswith("_proxy")]
    for text in (*arguments, *proxies):
        for found in (*_LOGIN.findall(text), *_PASSWORD.findall(text)):
            yield from {found, unquote(found)}


class SentenceHandler(logging.Handler):
    """Prints what is logged as one line of a command's own; tracebacks are for `--debug`."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__(logging.WARNING)
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        said = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            said += f": {type(error).__name__}: {error}"
        secrets = [*_secrets(sys.argv[1:], os.environ)]
        print_note(f"mjasync: {printable(redact(said, secrets), None)}")
        if error is not None and self._debug:
            print_note(redact("".join(traceback.format_exception(error)), secrets))
