"""Downloads to memory and to files."""

from __future__ import annotations

import asyncio
import io
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from .._concurrency import run_in_worker
from .._safe_filename import avoid_reserved_name, safe_filename
from ..errors import ConfigurationError
from .formats import FormatCheck

_MAX_FIELD_LENGTH: Final = 80
"""Characters of a field in a file name."""
_TEMPLATE_FIELDS: Final = re.compile(r"\{[^{}]*\}")
_MAX_BUFFERED_BYTES: Final = 1 << 21
"""Bytes that are held for a thread; each download needs that much memory."""
_FAST_WRITE_SECONDS: Final = 0.005
"""Seconds below which a write need not run in a thread."""


async def read_all(chunks: AsyncIterator[bytes]) -> bytes:
    """Return all bytes of a download.

    Raises:
        MalformedReply: The file is not an image, or incomplete.
    """
    check, pieces = FormatCheck(), []
    async for chunk in chunks:
        check.feed(chunk)
        pieces.append(chunk)
    check.finish()
    return b"".join(pieces)


async def write_stream(
    chunks: AsyncIterator[bytes], path: str | os.PathLike[str], fields: Mapping[str, object]
) -> Path:
    """Write a stream to a file, completely or not at all.

    The bytes go to a temporary file beside the target, which is renamed when they are complete.

    Raises:
        MalformedReply: The stream ended early or is not an image.
        OSError: The file cannot be written.
    """
    target_for(path, "png", fields)  # an invalid template fails before the download
    folder = _folder_of(path)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    part = folder / f".mjasync-{os.urandom(8).hex()}.part"
    try:
        extension = await _write_part(chunks, part)
        target = target_for(path, extension, fields)
        await asyncio.to_thread(_replace, part, target)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(part.unlink, missing_ok=True))
        raise
    return target


async def _write_part(chunks: AsyncIterator[bytes], part: Path) -> str:
    """Write a temporary file; return the extension of its format."""
    check = FormatCheck()
    with part.open("xb", buffering=0) as file:
        writer = BufferedWriter(file)
        async for chunk in chunks:
            check.feed(chunk)
            await writer.write(chunk)
        await writer.flush()
    return check.finish()


class BufferedWriter:
    """Writes pieces in the event loop as long as the disk is fast, otherwise in a thread.

    The time that a write takes is known only afterwards: the first piece is written in a thread,
    and so are all that follow a slow one.
    """

    __slots__ = ("_file", "_held_bytes", "_is_quick", "_now", "_pieces")

    def __init__(self, file: io.FileIO, now: Callable[[], float] = time.perf_counter) -> None:
        self._file = file
        self._now = now
        self._pieces: list[bytes] = []
        self._held_bytes = _MAX_BUFFERED_BYTES  # so that the first piece is not held
        self._is_quick: bool | None = None

    async def write(self, piece: bytes) -> None:
        """Write a piece, or hold it until there are enough."""
        if self._is_quick:
            self._write([piece])
            return
        self._pieces.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes >= _MAX_BUFFERED_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write the held pieces in a thread, and wait for it even if cancelled."""
        if not self._pieces:
            return
        writing = run_in_worker(self._write, self._pieces)
        self._pieces, self._held_bytes = [], 0
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    def _write(self, pieces: Iterable[bytes]) -> None:
        started_at = self._now()
        _write_all(self._file, pieces)
        self._is_quick = (
            self._is_quick is not False and self._now() - started_at < _FAST_WRITE_SECONDS
        )


def _write_all(file: io.FileIO, pieces: Iterable[bytes]) -> None:
    """Write all bytes; a disk that fills up takes a part first and fails the next time."""
    for piece in pieces:
        unwritten = memoryview(piece)
        while unwritten:
            unwritten = unwritten[file.write(unwritten) :]


def _replace(part: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


def _folder_of(path: str | os.PathLike[str]) -> Path:
    """Return the folder for the temporary file: the last part of `path` without a field."""
    folder = Path(path) if _is_folder(path) else Path(path).parent
    while "{" in str(folder):
        folder = folder.parent
    return folder


def _is_folder(path: str | os.PathLike[str]) -> bool:
    text = os.fspath(path)
    return text.endswith(("/", os.sep)) or Path(text).is_dir()


def target_for(path: str | os.PathLike[str], extension: str, fields: Mapping[str, object]) -> Path:
    """Return the path of a file: in a folder, by a template, or by name.

    A name without an extension gets the one of its format. The value of a field is not taken for
    an extension.

    Raises:
        ConfigurationError: The template names an unknown field.
    """
    text = os.fspath(path)
    values = {key: _safe_value(value) for key, value in fields.items()} | {"ext": extension}
    target = Path(text if Path(text).is_dir() else _fill_template(text, values))
    if _is_folder(path):
        return target / f"{values['id']}.{extension}"
    has_ending = Path(_TEMPLATE_FIELDS.sub("_", text)).suffix
    name = target.name if has_ending else f"{target.name}.{extension}"
    return target.with_name(avoid_reserved_name(name) if "{" in text else name)


def _fill_template(template: str, values: Mapping[str, object]) -> str:
    if "{" not in template:
        return template
    try:
        return template.format_map(values)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        known = ", ".join(f"{{{key}}}" for key in values)
        message = f"The template {template!r} does not work ({error}); it may use {known}."
        raise ConfigurationError(message) from None


def _safe_value(value: object) -> object:
    """Return a value that is safe in a file name on every system."""
    if value is None:
        return ""
    return safe_filename(value[:_MAX_FIELD_LENGTH]) if isinstance(value, str) else value
