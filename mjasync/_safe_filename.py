"""Parts of file names that every system takes, whatever text they are made of."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Final

__all__ = ["LONGEST_NAME", "safe_filename", "unreserved"]

LONGEST_NAME: Final = 150
"""Bytes of a name without its ending: file systems take 255, some of their users less."""
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|]+")
_RESERVED: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE
)
"""Devices of Windows: opened instead of a file, in every folder and with any ending."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_EDGES: Final = ". -\u200d"
_JOINER: Final = "\u200d"
"""What many emoji are joined by."""


def safe_filename(text: str, *, longest: int = LONGEST_NAME) -> str:
    """Turn any text into one part of a path: no separator, never empty, `.` or `..`.

    Characters that Windows refuses become `-`, invisible ones go, and a name that Windows reserves
    for a device gets a `_` in front. The same text always gives the same name.

    Args:
        text: What to call the file, without the ending.
        longest: Bytes to keep in UTF-8.
    """
    allowed = _FORBIDDEN.sub("-", text)
    shown = "".join(c for c in allowed if c == _JOINER or unicodedata.category(c) not in _UNSEEN)
    name = unicodedata.normalize("NFC", shown)
    name = name.encode()[:longest].decode("utf-8", "ignore").strip(_EDGES) or "_"
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # file names are ASCII here
        name = name.encode("ascii", "ignore").decode().strip(_EDGES) or "_"
    return unreserved(name)


def unreserved(name: str) -> str:
    """Put `_` before a name that Windows would take for a device (`NUL`, `con.png`)."""
    return f"_{name}" if _RESERVED.match(name) else name
