"""Text from servers, escaped before it is shown in a message, a log line or a screen.

Statuses, ids, labels, links and reasons come from the server. Unescaped, they could move the cursor
of a terminal, forge a second log line, reverse the reading order or repeat the token.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

MAX_PRINTABLE: Final = 500
"""Characters of a text that a message, a log line or a screen shows."""
_MASK: Final = "***"
_MIN_UNAMBIGUOUS_LENGTH: Final = 16
"""The length from which a secret is replaced inside other words, too."""
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that are invisible and affect the text next to them."""
_JOINERS: Final = frozenset("\u200c\u200d\ufe0f")
"""Characters that join emoji and some scripts, and do not affect other text."""
_PLAIN_TEXT: Final = re.compile(
    r"[ -~\u00a1-\u00ac\u00ae-\u05ff\u3000-\u303f\u4e00-\u9fff\uff01-\uff60]*"
)
"""Text without characters to escape, which is the common case."""


def printable(text: object, limit: int | None = MAX_PRINTABLE, *, lines: bool = False) -> str:
    r"""Escape text from a server.

    Control, bidirectional and other invisible characters become escapes (`\x1b`, `\u202e`). So do
    lone surrogates: the result can always be encoded as UTF-8.

    Args:
        text: The text, or an object that is converted with `str`.
        limit: Maximum number of characters; None for no limit. "…" marks omitted text.
        lines: Keep line breaks and tabs, for text that is shown as a block.
    """
    shown = text if isinstance(text, str) else str(text)
    if limit is not None and len(shown) > limit:
        shown = shown[:limit] + "…"
    if _PLAIN_TEXT.fullmatch(shown):
        return shown
    return "".join(_escaped(char, lines=lines) for char in shown)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace all secrets in a text by `***`. Call this before the text is shortened.

    Short secrets are replaced only as whole words, since a password such as "p" is in most words.
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
