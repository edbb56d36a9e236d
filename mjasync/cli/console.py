"""Plain text on stdout and stderr: made safe to show, and no failure when nobody reads it."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from .._text import printable

__all__ = ["block", "print_note", "print_result", "silence"]


def block(text: str) -> str:
    """Render text of several lines from elsewhere."""
    return printable(text, None, lines=True)


def print_result(text: str) -> None:
    """Print what was asked for, on stdout."""
    _print(sys.stdout, text)


def print_note(text: str) -> None:
    """Print everything else, on stderr."""
    _print(sys.stderr, text)


def silence(file: TextIO) -> None:
    """Have what is left in a buffer be lost without a word when its reader is gone."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)


def _print(file: TextIO, text: str) -> None:
    try:
        file.write(f"{block(text)}\n")
        file.flush()
    except OSError:
        silence(file)
