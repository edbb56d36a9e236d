"""Output on stdout and stderr: escaped, and without errors when its reader is gone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from .. import printable


def printable_block(text: str) -> str:
    """Escape text of several lines."""
    return printable(text, None, lines=True)


def print_result(text: str) -> None:
    """Print a result on stdout."""
    _print(sys.stdout, text)


def print_note(text: str) -> None:
    """Print anything else on stderr."""
    _print(sys.stderr, text)


def silence(file: TextIO) -> None:
    """Discard the rest of a buffer whose reader is gone."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, file.fileno())
        os.close(null)


def _print(file: TextIO, text: str) -> None:
    try:
        file.write(f"{printable_block(text)}\n")
        file.flush()
    except OSError:
        silence(file)


class BrokenPipeSafeConsole(Console):
    """A console that becomes silent when its reader is gone, so that tasks continue."""

    def on_broken_pipe(self) -> None:
        """Print nothing more, and discard the buffer."""
        self.quiet = True
        silence(cast("TextIO", self.file))

    def write_line(self, text: Text | str) -> None:
        """Print escaped text, without markup and wrapping."""
        escaped = printable_block(str(text))
        try:
            text = text if escaped == str(text) else escaped
            self.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
            self.file.flush()
        except OSError:
            self.on_broken_pipe()


class SafeStream:
    """A stream that raises `BrokenPipeError` for every error, which consoles handle.

    A terminal whose connection was dropped raises another error than a pipe.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write some text."""
        with _raising_broken_pipe():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flush the buffer."""
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
    """Return a console that continues without its reader."""
    return BrokenPipeSafeConsole(file=cast("IO[str]", SafeStream(file)))
