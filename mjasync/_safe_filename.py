"""Conversion of any text to a part of a file name that is valid on every system."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Final

MAX_NAME_LENGTH: Final = 150
"""Bytes of a name without its extension: file systems allow 255, some programs fewer."""
_FORBIDDEN_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|]+")
_RESERVED_NAME: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE
)
"""Devices of Windows, which opens them in every folder and with any extension."""
_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_STRIPPED_CHARACTERS: Final = ". -\u200d"
_ZERO_WIDTH_JOINER: Final = "\u200d"
"""Many emoji contain it."""


def safe_filename(text: str, *, max_length: int = MAX_NAME_LENGTH) -> str:
    """Convert text to one part of a path: without separators, and never empty, `.` or `..`.

    Characters that Windows refuses become `-`, invisible ones are removed, and `_` is put before
    the name of a device of Windows. The same text always gives the same name.

    Args:
        text: The name without its extension.
        max_length: The maximum length in bytes of UTF-8.
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
    except UnicodeEncodeError:  # this system has ASCII names only
        name = name.encode("ascii", "ignore").decode().strip(_STRIPPED_CHARACTERS) or "_"
    return avoid_reserved_name(name)


def avoid_reserved_name(name: str) -> str:
    """Put `_` before the name of a device of Windows (`NUL`, `con.png`)."""
    return f"_{name}" if _RESERVED_NAME.match(name) else name
