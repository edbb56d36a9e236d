"""Plain text on stdout and stderr: made safe to show, and no failure when nobody reads it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from .. import printable

__all__ = [
    "BrokenPipeSafeConsole",
    "print_note",
    "print_result",
    "printable_block",
    "safe_console",
    "silence",
]


def printable_block(text: str) -> str:
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
        file.write(f"{printable_block(text)}\n")
        file.flush()
    except OSError:
        silence(file)


class BrokenPipeSafeConsole(Console):
    """A console whose end is not the end of the jobs: when its reader has left, they go on."""

    def on_broken_pipe(self) -> None:
        """Say nothing more, not even when what is left in the buffer is flushed at the end."""
        self.quiet = True
        silence(cast("TextIO", self.file))

    def write_line(self, text: Text | str) -> None:
        """Print one piece of text: no markup, no wrapping, and nothing that steers a terminal."""
        plain = printable_block(str(text))
        shown = text if plain == str(text) else plain
        try:
            self.print(shown, markup=False, emoji=False, highlight=False, soft_wrap=True)
            self.file.flush()
        except OSError:
            self.on_broken_pipe()


class SafeStream:
    """A stream each of whose failures is that of a reader who has left, which consoles know.

    A terminal whose connection was dropped fails with another error than a pipe does.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write some text."""
        with _raising_broken_pipe():
            return self._stream.write(text)

    def flush(self) -> None:
        """Have it written."""
        with _raising_broken_pipe():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the rest of the stream
        return getattr(self._stream, name)


@contextlib.contextmanager
def _raising_broken_pipe() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BrokenPipeError from error


def safe_console(file: TextIO) -> BrokenPipeSafeConsole:
    """Make a console that survives its reader."""
    return BrokenPipeSafeConsole(file=cast("IO[str]", SafeStream(file)))
