"""Errors that nothing else handles, printed as a sentence instead of a traceback."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final
from urllib.parse import unquote

from .. import printable, redact
from .console import print_note

DEBUG: Final = "--debug"
"""The option of all commands that shows tracebacks of unexpected errors."""
_LOGIN: Final = re.compile(r"//[^:/\s]*:(\S*)@")
_PASSWORD: Final = re.compile(r"password=([^&\s]*)", re.IGNORECASE)


def without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Remove `--debug` from a command line; return the others and whether it was there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    others = [argument for argument in arguments[:end] if argument != DEBUG]
    return [*others, *arguments[end:]], len(others) < end


def report(error: Exception, arguments: Sequence[str], *, debug: bool) -> int:
    """Print an error without the secrets of the command line; return the exit code.

    Args:
        error: The error.
        arguments: The command line.
        debug: Print the traceback, too.
    """
    from .task_text import is_usage

    secrets = [*_secrets(arguments, os.environ)]
    if debug:
        print_note(redact("".join(traceback.format_exception(error)), secrets))
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
    """Yield the token, and the passwords in URLs of the command line and the environment."""
    yield environment.get("MJASYNC_TOKEN", "").strip()
    for previous, argument in pairwise(("", *arguments)):
        if previous == "--token":
            yield argument.strip()
        elif argument.startswith("--token="):
            yield argument.partition("=")[2].strip()
    proxies = [value for name, value in environment.items() if name.lower().endswith("_proxy")]
    for text in (*arguments, *proxies):
        for password in (*_LOGIN.findall(text), *_PASSWORD.findall(text)):
            yield from {password, unquote(password)}


class SentenceHandler(logging.Handler):
    """Prints log records as single lines, with tracebacks only for `--debug`."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__(logging.WARNING)
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        message = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            message += f": {type(error).__name__}: {error}"
        secrets = [*_secrets(sys.argv[1:], os.environ)]
        print_note(f"mjasync: {printable(redact(message, secrets), None)}")
        if error is not None and self._debug:
            print_note(redact("".join(traceback.format_exception(error)), secrets))
