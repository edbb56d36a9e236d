"""The output of a command: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from .console import safe_console
from .progress import ProgressBars

__all__ = ["ConsoleOutput", "on_terminal"]


class ConsoleOutput:
    """Prints results on stdout, and everything else on stderr, which may show bars."""

    def __init__(self) -> None:
        self._out = safe_console(sys.stdout)
        self._err = safe_console(sys.stderr)
        self._bars: ProgressBars | None = None

    def info(self, text: Text | str) -> None:
        """Print a note."""
        self._err.write_line(text)

    def error(self, text: str) -> None:
        """Print an error that ends the command."""
        self._err.write_line(Text.assemble(("mjasync: ", "bold red"), text))

    def _result(self, text: Text | str) -> None:
        same_terminal = self._bars is not None and sys.stdout.isatty()
        (self._err if same_terminal else self._out).write_line(text)


def on_terminal(console: Console) -> bool:
    """Return whether a console can show bars."""
    return console.is_interactive and sys.stderr.isatty()
