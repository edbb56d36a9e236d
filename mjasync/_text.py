"""Server text, made safe to show: the only way it reaches a message, a log line or a screen.

A server chooses its own statuses, ids, labels, links and reasons. Printed as they are, they can
move a terminal's cursor, forge a second log line, reverse the reading order or repeat the token.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

__all__ = ["MAX_PRINTABLE", "printable", "redact"]

MAX_PRINTABLE: Final = 500
"""Characters of a server's text that a message, a log line or a screen shows."""
_MASK: Final = "***"
_MIN_UNAMBIGUOUS_LENGTH: Final = 16
"""Characters from which on a secret is replaced inside other words, too."""
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that draw nothing and act on what stands beside them."""
_JOINERS: Final = frozenset("\u200c\u200d\ufe0f")
"""What emoji and some scripts are joined by; harmless to the text around them."""
_PLAIN_TEXT: Final = re.compile(
    r"[ -~\u00a1-\u00ac\u00ae-\u05ff\u3000-\u303f\u4e00-\u9fff\uff01-\uff60]*"
)
"""What is shown as it is: most text takes this short way."""


def printable(text: object, limit: int | None = MAX_PRINTABLE, *, lines: bool = False) -> str:
    r"""Render text that a server sent.

    Control, bidirectional and other invisible characters become escapes (`\x1b`, `\u202e`), lone
    surrogates too, so that the result is always encodable as UTF-8.

    Args:
        text: What to show; anything but text is shown as `str` has it.
        limit: Characters to keep of `text`; None for all of them. A cut is marked by "…".
        lines: Keep line breaks and tabs, for text that is shown as a block of its own.
    """
    shown = text if isinstance(text, str) else str(text)
    if limit is not None and len(shown) > limit:
        shown = shown[:limit] + "…"
    if _PLAIN_TEXT.fullmatch(shown):
        return shown
    return "".join(_escaped(char, lines=lines) for char in shown)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in a text by `***`; do this before the text is cut.

    A short one is replaced only where it stands alone: a password such as "p" is in most words.
    """
    for secret in secrets:
        if len(secret) >= _MIN_UNAMBIGUOUS_LENGTH:
            text = text.replace(secret, _MASK)
        elif secret:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _MASK, text)
    return text


def _escaped(char: str, *, lines: bool) -> str:
    if char in _JOINERS or (lines and char in "\n\t"):
        return char
    if unicodedata.category(char) in _HIDDEN_CATEGORIES:
        return char.encode("unicode_escape").decode("ascii")
    return char
