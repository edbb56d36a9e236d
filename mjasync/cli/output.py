"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from .console import stream_to
from .progress import Bars

__all__ = ["Voice", "on_terminal"]


class Voice:
    """Says results on stdout, and everything else on stderr, where bars may be."""

    def __init__(self) -> None:
        self._out = stream_to(sys.stdout)
        self._err = stream_to(sys.stderr)
        self._bars: Bars | None = None

    def note(self, text: Text | str) -> None:
        """Say something beside the results."""
        self._err.say(text)

    def complain(self, text: str) -> None:
        """Say that the command cannot go on."""
        self._err.say(Text.assemble(("mjasync: ", "bold red"), text))

    def _result(self, text: Text | str) -> None:
        same_terminal = self._bars is not None and sys.stdout.isatty()
        (self._err if same_terminal else self._out).say(text)


def on_terminal(console: Console) -> bool:
    """Whether bars can be shown there."""
    return console.is_interactive and sys.stderr.isatty()
