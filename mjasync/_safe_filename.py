"""Parts of file names that every system takes, whatever text they are made of."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Final

__all__ = ["MAX_NAME_LENGTH", "avoid_reserved_name", "safe_filename"]

MAX_NAME_LENGTH: Final = 150
"""Bytes of a name without its ending: file systems take 255, some of their users less."""
_FORBIDDEN_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|]+")
_RESERVED_NAME: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE
)
"""Devices of Windows: opened instead of a file, in every folder and with any ending."""
_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_STRIPPED_CHARACTERS: Final = ". -\u200d"
_ZERO_WIDTH_JOINER: Final = "\u200d"
"""What many emoji are joined by."""


def safe_filename(text: str, *, max_length: int = MAX_NAME_LENGTH) -> str:
    """Turn any text into one part of a path: no separator, never empty, `.` or `..`.

    Characters that Windows refuses become `-`, invisible ones go, and a name that Windows reserves
    for a device gets a `_` in front. The same text always gives the same name.

    Args:
        text: What to call the file, without the ending.
        max_length: Bytes to keep in UTF-8.
    """
    allowed = _FORBIDDEN_CHARACTERS.sub("-", text)
    shown = "".join(
        c
        for c in allowed
        if c == _ZERO_WIDTH_JOINER or unicodedata.category(c) not in _INVISIBLE_CATEGORIES
    )
    name = unicodedata.normalize("NFC", shown)
    name = name.encode()[:max_length].decode("utf-8", "ignore").strip(_STRIPPED_CHARACTERS) or "_"
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # file names are ASCII here
        name = name.encode("ascii", "ignore").decode().strip(_STRIPPED_CHARACTERS) or "_"
    return avoid_reserved_name(name)


def avoid_reserved_name(name: str) -> str:
    """Put `_` before a name that Windows would take for a device (`NUL`, `con.png`)."""
    return f"_{name}" if _RESERVED_NAME.match(name) else name
