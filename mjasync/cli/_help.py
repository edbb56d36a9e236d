"""Help and version without loading what parses command lines: what the app said, stored.

`nox -s help` writes `help.txt` from the app; a test compares them.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # loading typing would take longer than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

__all__ = ["WIDTH", "plain", "stored"]

WIDTH: Final = 80
"""Columns of the stored text."""
_DECIDES: Final = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE")
"""Variables that ask for another look, which only the app can give."""


def stored(words: Sequence[str]) -> str | None:
    """What the app says to these words, for this stdout; None where it has to be asked."""
    asked = [*words] or ["--help"]
    if asked[-1] == "-h":
        asked[-1] = "--help"
    if asked[-1] not in {"--help", "--version"} or not _is_ordinary():
        return None
    text = _read().get(" ".join(asked))
    return text if text is None or sys.stdout.isatty() else plain(text)


def plain(text: str) -> str:
    """Text without its colours."""
    first, *rest = text.split("\x1b[")
    return first + "".join(part.partition("m")[2] for part in rest)


def _is_ordinary() -> bool:
    """Whether stdout shows the stored text as the app would print it."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    if encoding != "utf8" or any(name in os.environ for name in _DECIDES):
        return False
    if not sys.stdout.isatty():
        return True
    if sys.platform == "win32" or os.environ.get("TERM", "dumb") in {"dumb", "unknown"}:
        return False
    return os.get_terminal_size(sys.stdout.fileno()).columns >= WIDTH


def _read() -> dict[str, str]:
    """The stored texts by what was asked: a form feed and the words head each."""
    path = os.path.join(os.path.dirname(__file__), "help.txt")  # noqa: PTH118, PTH120 - see above
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - see above
            pages = file.read().split("\f")[1:]
    except OSError:
        return {}
    return {asked: text for asked, _, text in (page.partition("\n") for page in pages)}
