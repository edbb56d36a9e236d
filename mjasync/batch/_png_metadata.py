"""Metadata in the text chunks of PNG files."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_IHDR_END: Final = len(_PNG_SIGNATURE) + 25
"""The end of the first chunk, the IHDR."""
_ESCAPED_CHARACTERS: Final = re.compile(
    "[\x80-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Control, bidirectional and invisible characters, line separators, and surrogates."""


def embed_metadata(data: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Add metadata to a PNG without changing its pixels; return any other file as it is."""
    if not data.startswith(_PNG_SIGNATURE) or data[12:16] != b"IHDR":
        return data
    present = {name: value for name, value in metadata.items() if value not in (None, "", {})}
    text = metadata_json(present)
    chunks = _text_chunk("Description", str(metadata["prompt"])) + _text_chunk("mjasync", text)
    return data[:_IHDR_END] + chunks + data[_IHDR_END:]


def _text_chunk(keyword: str, text: str) -> bytes:
    body = b"iTXt" + keyword.encode() + b"\0\0\0\0\0" + text.encode("utf-8", "replace")
    return (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def metadata_json(values: Mapping[str, Any]) -> str:
    """Return JSON on one line, with escapes for characters that affect the text around them."""
    text = json.dumps(values, ensure_ascii=False)
    return _ESCAPED_CHARACTERS.sub(lambda match: json.dumps(match[0])[1:-1], text)
