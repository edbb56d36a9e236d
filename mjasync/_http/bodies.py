"""The bodies of requests.

Files are read and images encoded while they are sent: the images of thousands of submissions would
not fit into memory, and encoding tens of megabytes at once would block the event loop.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import os
import stat
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import attrs

from .._concurrency import run_in_worker, worker_thread
from .._json import dump_json
from ..errors import InvalidRequest

T = TypeVar("T")
_PIECE_SIZE: Final = 1 << 16
"""Bytes that are sent, and characters that are encoded, at a time."""
_ENCODED_PIECE_SIZE: Final = 3 * (_PIECE_SIZE // 4)
"""Bytes that make a piece of base64."""
_BLOCK_SIZE: Final = 8 * _ENCODED_PIECE_SIZE
"""Bytes of a file that are in memory at once."""
_HEAD_SIZE: Final = 64
"""Bytes from which the format of a file is detected."""
_PLACEHOLDER: Final = f"a part ({os.urandom(16).hex()})"
"""The placeholder of a part while the rest is encoded."""


if hasattr(os, "register_at_fork"):  # a child process has no such thread
    os.register_at_fork(after_in_child=worker_thread.cache_clear)


@attrs.frozen
class FileContent:
    """A file that is read block by block while it is sent."""

    path: Path
    size: int
    modified: int
    """Time of the last change, in nanoseconds."""
    start: bytes = attrs.field(repr=False)
    """The first bytes, from which the format is detected."""

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self.blocks())

    @classmethod
    def from_path(cls, path: Path) -> Self | bytes:
        """Open a file, or read all of a stream such as a pipe.

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if stat.S_ISREG(about.st_mode) and about.st_size:
                return cls(path, about.st_size, about.st_mtime_ns, file.read(_HEAD_SIZE))
            return file.read()

    def check(self) -> None:
        """Check that the file can still be sent.

        Raises:
            InvalidRequest: The file is gone or has changed.
        """
        try:
            about = self.path.stat()
        except OSError as error:
            raise self._missing_file(error) from error
        if (about.st_size, about.st_mtime_ns) != (self.size, self.modified):
            raise self._has_changed()

    def blocks(self) -> Generator[bytes, None, None]:
        """Yield the content block by block.

        Raises:
            InvalidRequest: The file is gone, or shorter than it was.
        """
        try:
            with self.path.open("rb") as file:
                for at in range(0, self.size, _BLOCK_SIZE):
                    block = file.read(min(_BLOCK_SIZE, self.size - at))
                    if len(block) < min(_BLOCK_SIZE, self.size - at):
                        raise self._has_changed()
                    yield block
        except OSError as error:
            raise self._missing_file(error) from error

    def _missing_file(self, error: OSError) -> InvalidRequest:
        return InvalidRequest(
            f"The file {str(self.path)!r} cannot be read any more: {error.strerror}."
        )

    def _has_changed(self) -> InvalidRequest:
        return InvalidRequest(
            f"The file {str(self.path)!r} has changed since it was looked at: leave it as it is "
            "until the job is accepted; a new Task looks at it afresh."
        )


@attrs.frozen
class DataUrl:
    """An image in the form that every server accepts (PROTOCOL §1.1); `str` returns its text."""

    mime: str
    data: bytes | FileContent = attrs.field(repr=False)

    @property
    def head(self) -> str:
        """The text before the base64."""
        return f"data:{self.mime};base64,"

    def __str__(self) -> str:
        return bytes(self).decode()

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())

    def __len__(self) -> int:
        return len(self.head) + 4 * ((len(self.data) + 2) // 3)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body in pieces."""
        yield self.head.encode()
        for block in self.data.blocks() if isinstance(self.data, FileContent) else (self.data,):
            yield from _base64_of(block)


@attrs.frozen
class RequestBody:
    """A long body in parts; it can be sent several times."""

    parts: tuple[bytes | FileContent | DataUrl, ...] = attrs.field(repr=False)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(map(bytes, self.parts))

    async def check(self) -> None:
        """Check, before anything is sent, that all files can be sent.

        Raises:
            InvalidRequest: A file is gone, or has changed.
        """
        files = [
            source for source in map(_open_part, self.parts) if isinstance(source, FileContent)
        ]
        if files:
            await run_in_worker(_check, files)

    async def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield the body in pieces.

        Raises:
            InvalidRequest: A file is gone, or shorter than it was.
        """
        for part in self.parts:
            cut: Callable[[bytes], Iterator[bytes | memoryview]] = _split_pieces
            if isinstance(part, DataUrl):
                yield part.head.encode()
                cut = _base64_of
            async with aclosing(_read_into_memory(_open_part(part))) as blocks:
                async for block in blocks:
                    for piece in cut(block):
                        yield piece
                        await asyncio.sleep(0)


def _open_part(part: bytes | FileContent | DataUrl) -> bytes | FileContent:
    return part.data if isinstance(part, DataUrl) else part


def _check(files: Iterable[FileContent]) -> None:
    for file in files:
        file.check()


async def _read_into_memory(data: bytes | FileContent) -> AsyncGenerator[bytes, None]:
    """Yield bytes from memory at once, and the blocks of a file as a thread reads them."""
    if isinstance(data, bytes):
        yield data
        return
    blocks = data.blocks()
    try:
        while block := await run_in_worker(_next_block, blocks):
            yield block
    finally:  # after a read that may be under way; a garbage collection would be late
        worker_thread("ours").submit(blocks.close)


def _next_block(blocks: Iterator[bytes]) -> bytes:
    return next(blocks, b"")


def _base64_of(data: bytes) -> Iterator[bytes]:
    view = memoryview(data)
    for at in range(0, len(view), _ENCODED_PIECE_SIZE):
        yield binascii.b2a_base64(view[at : at + _ENCODED_PIECE_SIZE], newline=False)


def _split_pieces(data: bytes) -> Iterator[bytes | memoryview]:
    if len(data) <= _PIECE_SIZE:
        yield data
        return
    view = memoryview(data)
    for at in range(0, len(view), _PIECE_SIZE):
        yield view[at : at + _PIECE_SIZE]


def encode_body(payload: Mapping[str, Any]) -> bytes | RequestBody:
    """Encode a payload as JSON, with images and long texts as separate parts.

    Texts are encoded a little at a time: a long call would block all other threads.
    """
    parts: list[bytes | DataUrl | str] = []

    def without_parts(value: object) -> object:
        if isinstance(value, DataUrl) or (isinstance(value, str) and len(value) > _PIECE_SIZE):
            parts.append(value)
            return _PLACEHOLDER
        if isinstance(value, list | tuple):
            return [without_parts(item) for item in value]
        return value

    skeleton = dump_json({name: without_parts(value) for name, value in payload.items()})
    if not parts:
        return skeleton
    first, *others = skeleton.split(_PLACEHOLDER.encode())
    encoded: list[bytes | DataUrl] = [first]
    for part, after in zip(parts, others, strict=True):
        encoded += _dumped(part) if isinstance(part, str) else [part]
        encoded.append(after)
    return RequestBody(tuple(encoded))


def _dumped(text: str) -> Iterator[bytes]:
    for at in range(0, len(text), _PIECE_SIZE):
        yield dump_json(text[at : at + _PIECE_SIZE])[1:-1]


def payload_with_data_urls(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload with images as data URLs, as they were sent."""

    def as_sent(value: object) -> object:
        if isinstance(value, list | tuple):
            return [as_sent(item) for item in value]
        return str(value) if isinstance(value, DataUrl) else value

    return {name: as_sent(value) for name, value in payload.items()}


def encode_form(
    boundary: str, fields: Mapping[str, Any], file: bytes | FileContent | None
) -> RequestBody:
    """Encode a multipart form; a video that is not a link is a file in it."""
    parts: list[bytes | FileContent | DataUrl] = []

    def add(about: str, value: bytes | FileContent | DataUrl) -> None:
        head = f"--{boundary}\r\nContent-Disposition: form-data; {about}\r\n\r\n"
        parts.extend((head.encode(), value, b"\r\n"))

    for name, value in fields.items():
        text = value.encode() if isinstance(value, str) else value
        add(
            f'name="{name}"',
            text if isinstance(text, bytes | DataUrl) else dump_json(text),
        )
    if file is not None:
        add('name="TargetFile"; filename="target.mp4"\r\nContent-Type: video/mp4', file)
    return RequestBody((*parts, f"--{boundary}--\r\n".encode()))


def content_key(picture: DataUrl | str) -> str:
    """Return a key that is the same for the same image."""
    digest = hashlib.sha256()
    for piece in picture.pieces() if isinstance(picture, DataUrl) else (picture.encode(),):
        digest.update(piece)
    return digest.hexdigest()
