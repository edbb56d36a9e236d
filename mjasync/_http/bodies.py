"""What a request carries.

Files are read, and pictures spelled out, while they are sent: what thousands of submissions carry
would not fit into memory, and to encode tens of megabytes at once would hold up everything else.
"""

from __future__ import annotations

import asyncio
import binascii
import os
import stat
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import attrs

from .._concurrency import _worker, in_turn
from .._protocol.decoding import dump
from ..errors import InvalidRequest

__all__ = ["Body", "DataUrl", "OnDisk", "in_words", "make_body"]

T = TypeVar("T")

_PIECE: Final = 1 << 16
"""Bytes that are sent, and characters that are dumped, at once."""
_ENCODED: Final = 3 * (_PIECE // 4)
"""Bytes that make a piece of base64."""
_BLOCK: Final = 8 * _ENCODED
"""Bytes of a file that are in memory at once."""
_START: Final = 64
"""Bytes that tell what a file is."""
_PART: Final = f"a part ({os.urandom(16).hex()})"
"""Stands for one while the rest is dumped."""


if hasattr(os, "register_at_fork"):  # a child has no such thread, and would wait for it for ever
    os.register_at_fork(after_in_child=_worker.cache_clear)


@attrs.frozen
class OnDisk:
    """A file that stays where it is, and is read a block at a time."""

    path: Path
    size: int
    modified: int
    """When it was last written to, in nanoseconds."""
    start: bytes = attrs.field(repr=False)
    """Its first bytes, which tell what it is."""

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self.blocks())

    @classmethod
    def found(cls, path: Path) -> Self | bytes:
        """The file at a place; all it holds where that comes only once (a pipe, say).

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if stat.S_ISREG(about.st_mode) and about.st_size:
                return cls(path, about.st_size, about.st_mtime_ns, file.read(_START))
            return file.read()

    def check(self) -> None:
        """See to it that what was looked at can be sent.

        Raises:
            InvalidRequest: The file is gone, or was written to since.
        """
        try:
            about = self.path.stat()
        except OSError as error:
            raise self._gone(error) from error
        if (about.st_size, about.st_mtime_ns) != (self.size, self.modified):
            raise self._changed()

    def blocks(self) -> Generator[bytes, None, None]:
        """All of it.

        Raises:
            InvalidRequest: The file is gone, or shorter than it was.
        """
        try:
            with self.path.open("rb") as file:
                for at in range(0, self.size, _BLOCK):
                    block = file.read(min(_BLOCK, self.size - at))
                    if len(block) < min(_BLOCK, self.size - at):
                        raise self._changed()
                    yield block
        except OSError as error:
            raise self._gone(error) from error

    def _gone(self, error: OSError) -> InvalidRequest:
        return InvalidRequest(
            f"The file {str(self.path)!r} cannot be read any more: {error.strerror}."
        )

    def _changed(self) -> InvalidRequest:
        return InvalidRequest(
            f"The file {str(self.path)!r} has changed since it was looked at: leave it as it is "
            "until the job is accepted; a new Task looks at it afresh."
        )


@attrs.frozen
class DataUrl:
    """A picture in the one form every server takes (PROTOCOL §1.1), of which `str` is the words."""

    mime: str
    data: bytes | OnDisk = attrs.field(repr=False)

    @property
    def head(self) -> str:
        """What stands before the base64."""
        return f"data:{self.mime};base64,"

    def __str__(self) -> str:
        return bytes(self).decode()

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())

    def __len__(self) -> int:
        return len(self.head) + 4 * ((len(self.data) + 2) // 3)

    def pieces(self) -> Iterator[bytes]:
        """All of it, a little at a time."""
        yield self.head.encode()
        for block in self.data.blocks() if isinstance(self.data, OnDisk) else (self.data,):
            yield from _spelt(block)


@attrs.frozen
class Body:
    """A long one, in parts; it can be sent again."""

    parts: tuple[bytes | OnDisk | DataUrl, ...] = attrs.field(repr=False)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(map(bytes, self.parts))

    async def check(self) -> None:
        """See to it, before anything is sent, that all of it can be.

        Raises:
            InvalidRequest: A file is gone, or has changed.
        """
        files = [source for source in map(_source, self.parts) if isinstance(source, OnDisk)]
        if files:
            await in_turn(_check, files)

    async def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """A piece at a time: others have a turn in between.

        Raises:
            InvalidRequest: A file is gone, or shorter than it was.
        """
        for part in self.parts:
            cut: Callable[[bytes], Iterator[bytes | memoryview]] = _cut
            if isinstance(part, DataUrl):
                yield part.head.encode()
                cut = _spelt
            async with aclosing(_loaded(_source(part))) as blocks:
                async for block in blocks:
                    for piece in cut(block):
                        yield piece
                        await asyncio.sleep(0)


def _source(part: bytes | OnDisk | DataUrl) -> bytes | OnDisk:
    return part.data if isinstance(part, DataUrl) else part


def _check(files: Iterable[OnDisk]) -> None:
    for file in files:
        file.check()


async def _loaded(data: bytes | OnDisk) -> AsyncGenerator[bytes, None]:
    """What is in memory at once, a file's blocks one by one: each is read in a thread."""
    if isinstance(data, bytes):
        yield data
        return
    blocks = data.blocks()
    try:
        while block := await in_turn(_next, blocks):
            yield block
    finally:  # behind a read that may be under way: left to the collector, the file stays open
        _worker("ours").submit(blocks.close)


def _next(blocks: Iterator[bytes]) -> bytes:
    return next(blocks, b"")


def _spelt(data: bytes) -> Iterator[bytes]:
    view = memoryview(data)
    for at in range(0, len(view), _ENCODED):
        yield binascii.b2a_base64(view[at : at + _ENCODED], newline=False)


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
