"""What a request carries.

Pictures are spelled out while they are sent, and do not stand in memory a second time: to encode
tens of megabytes at once would hold up everything else.
"""

from __future__ import annotations

import asyncio
import binascii
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import attrs

from .codec import dump

__all__ = ["Body", "DataUrl", "in_words", "make_body"]

_PIECE: Final = 1 << 16
"""Bytes that are sent, and characters that are dumped, at once."""
_ENCODED: Final = 3 * (_PIECE // 4)
"""Bytes that make a piece of base64."""
_PART: Final = f"a part ({os.urandom(16).hex()})"
"""Stands for one while the rest is dumped."""


@attrs.frozen
class DataUrl:
    """A picture in the one form every server takes (PROTOCOL §1.1), of which `str` is the words."""

    mime: str
    data: bytes = attrs.field(repr=False)

    @property
    def head(self) -> str:
        """What stands before the base64."""
        return f"data:{self.mime};base64,"

    def __str__(self) -> str:
        return b"".join(self.pieces()).decode()

    def __len__(self) -> int:
        return len(self.head) + 4 * ((len(self.data) + 2) // 3)

    def pieces(self) -> Iterator[bytes]:
        """All of it, a little at a time."""
        yield self.head.encode()
        data = memoryview(self.data)
        for at in range(0, len(data), _ENCODED):
            yield binascii.b2a_base64(data[at : at + _ENCODED], newline=False)


@attrs.frozen
class Body:
    """A long one, in parts; it can be sent again."""

    parts: tuple[bytes | DataUrl, ...] = attrs.field(repr=False)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces())

    async def pieces(self) -> AsyncIterator[bytes | memoryview]:
        """A piece at a time: others have a turn in between."""
        for piece in self._pieces():
            yield piece
            await asyncio.sleep(0)

    def _pieces(self) -> Iterator[bytes | memoryview]:
        for part in self.parts:
            yield from _cut(part) if isinstance(part, bytes) else part.pieces()


def _cut(data: bytes) -> Iterator[bytes | memoryview]:
    if len(data) <= _PIECE:
        yield data
        return
    view = memoryview(data)
    for at in range(0, len(view), _PIECE):
        yield view[at : at + _PIECE]


def make_body(payload: Mapping[str, Any]) -> bytes | Body:
    """A payload as JSON, pictures and long texts as parts of their own.

    Texts are dumped a little at a time: a call that takes long holds up every other thread.
    """
    parts: list[bytes | DataUrl | str] = []

    def without_parts(value: object) -> object:
        if isinstance(value, DataUrl) or (isinstance(value, str) and len(value) > _PIECE):
            parts.append(value)
            return _PART
        if isinstance(value, list | tuple):
            return [without_parts(item) for item in value]
        return value

    rest = dump({name: without_parts(value) for name, value in payload.items()})
    if not parts:
        return rest
    first, *others = rest.split(_PART.encode())
    made: list[bytes | DataUrl] = [first]
    for part, after in zip(parts, others, strict=True):
        made += _dumped(part) if isinstance(part, str) else [part]
        made.append(after)
    return Body(tuple(made))


def _dumped(text: str) -> Iterator[bytes]:
    for at in range(0, len(text), _PIECE):
        yield dump(text[at : at + _PIECE])[1:-1]


def in_words(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload whose pictures are the texts that were sent."""

    def worded(value: object) -> object:
        if isinstance(value, list | tuple):
            return [worded(item) for item in value]
        return str(value) if isinstance(value, DataUrl) else value

    return {name: worded(value) for name, value in payload.items()}
