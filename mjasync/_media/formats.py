"""Image and video formats: detected by content, and checked for completeness.

Servers send no reliable Content-Length (PROTOCOL §1.18), so only the content shows whether a file
is complete. It is parsed as it arrives: its chunks (PNG), segments (JPEG), blocks (GIF) or boxes
(MP4, AVIF). Bytes after its end are ignored.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Generator
from typing import Final

import attrs

from ..errors import MalformedReply

SNIFFED_BYTES: Final = 64
"""Bytes at the beginning of a file from which its format is detected."""
_SIGNATURES: Final = (
    (rb"\x89PNG\r\n\x1a\n", "png", "image/png"),
    (rb"\xff\xd8\xff", "jpg", "image/jpeg"),
    (rb"RIFF....WEBP", "webp", "image/webp"),
    (rb"GIF8[79]a", "gif", "image/gif"),
    (rb"BM.{4}\0{4}", "bmp", "image/bmp"),
    (rb"....ftypavi[fs]", "avif", "image/avif"),
    (rb"....ftyp", "mp4", "video/mp4"),
    (rb"\x1aE\xdf\xa3", "webm", "video/webm"),
)
_PNG_END: Final = b"IEND\xaeB`\x82"
_PNG_HEADER: Final = b"IHDR"
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker of a JPEG that is neither a stuffed byte nor a restart."""
_JPEG_END: Final = b"\xff\xd9"
_MARKERS_WITHOUT_LENGTH: Final = frozenset({b"\xff\x01", b"\xff\xd8"})
_MIN_BOX_SIZE: Final = 8


def sniff(data: bytes) -> tuple[str, str] | None:
    """Return the file extension and MIME type of a file by its first bytes, or None."""
    for pattern, extension, mime in _SIGNATURES:
        if re.match(pattern, data, re.DOTALL):
            return extension, mime
    return None


class FormatCheck:
    """Parses a file piece by piece; `finish` returns its extension if it is complete."""

    def __init__(self) -> None:
        self.size = 0
        self._start = b""
        self._end = b""
        self._parser: FormatParser | None = None

    def feed(self, piece: bytes) -> None:
        """Parse the next piece.

        Raises:
            MalformedReply: The file is damaged.
        """
        self.size += len(piece)
        self._end = (self._end + piece[-SNIFFED_BYTES:])[-SNIFFED_BYTES:]
        if self._parser is not None:
            self._parser.feed(piece)
        elif len(self._start) < SNIFFED_BYTES:
            self._start += piece
            if len(self._start) >= SNIFFED_BYTES:
                self._begin()

    def finish(self) -> str:
        """Return the extension of a complete file.

        Raises:
            MalformedReply: The format is unknown, or the file is damaged or incomplete.
        """
        if self._parser is None:
            self._begin()
        kind = sniff(self._start)
        size, is_whole = self.size, self._is_whole(kind[0] if kind else "")
        self._start = self._end = b""  # so that no traceback shows the response
        if kind is None:
            message = f"The link led to {size} bytes that are no picture."
            raise MalformedReply(message)
        if not is_whole:
            message = f"The picture broke off after {size} bytes."
            raise MalformedReply(message)
        return kind[0]

    def _begin(self) -> None:
        start, kind = self._start, sniff(self._start)
        parse = _PARSERS.get(kind[0]) if kind else None
        if parse is None or (parse is _png and start[12:16] != _PNG_HEADER):
            return
        self._parser = FormatParser(parse())
        self._parser.feed(start)
        self._start = start[:SNIFFED_BYTES]

    def _is_whole(self, extension: str) -> bool:
        if self._parser is not None:
            return self._parser.may_end
        return extension != "png" or _PNG_END in self._end


@attrs.frozen
class ReadBytes:
    """A request for the next bytes."""

    count: int
    may_end: bool = False
    """Whether the file may end before them."""


@attrs.frozen
class SkipBytes:
    """A request to skip the next bytes, and for their CRC if one is `begun`."""

    count: int
    begun: int | None = None


@attrs.frozen
class FindPattern:
    """A request for the next match; the bytes before it are skipped."""

    pattern: re.Pattern[bytes]


ParserGenerator = Generator[ReadBytes | SkipBytes | FindPattern, bytes, None]


class FormatParser:
    """Drives a parser over pieces of any size."""

    def __init__(self, parser: ParserGenerator) -> None:
        self._parser = parser
        self._request: ReadBytes | SkipBytes | FindPattern | None = next(parser)
        self._held = b""
        self._skipped = 0
        self._crc = 0

    @property
    def may_end(self) -> bool:
        """Whether the file is complete if it ends here."""
        request = self._request
        if isinstance(request, ReadBytes):
            return request.may_end and not self._held
        return request is None

    def feed(self, piece: bytes) -> None:
        """Parse a piece."""
        start = 0
        while start < len(piece) and self._request is not None:
            match self._request:
                case ReadBytes(count):
                    start = self._read(piece, start, count)
                case SkipBytes(count, begun):
                    start = self._skip(piece, start, count, begun)
                case FindPattern(pattern):
                    start = self._search(piece, start, pattern)

    def _read(self, piece: bytes, start: int, count: int) -> int:
        end = start + count - len(self._held)
        self._held += piece[start:end]
        if len(self._held) == count:
            self._answer(self._held)
        return min(end, len(piece))

    def _skip(self, piece: bytes, start: int, count: int, begun: int | None) -> int:
        end = min(start + count - self._skipped, len(piece))
        if begun is not None:
            crc = self._crc if self._skipped else begun
            self._crc = zlib.crc32(memoryview(piece)[start:end], crc)
        self._skipped += end - start
        if self._skipped == count:
            self._answer(self._crc.to_bytes(4, "big"))
        return end

    def _search(self, piece: bytes, start: int, pattern: re.Pattern[bytes]) -> int:
        if self._held:  # the last byte of the previous piece
            match = pattern.match(self._held + piece[start : start + 1])
            self._held = b""
            if match:
                self._answer(match[0])
                return start + 1
        match = pattern.search(piece, start)
        if match is None:
            self._held = piece[-1:]
            return len(piece)
        self._answer(match[0])
        return match.end()

    def _answer(self, answer: bytes) -> None:
        self._held, self._skipped = b"", 0
        try:
            self._request = self._parser.send(answer)
            while isinstance(self._request, SkipBytes) and not self._request.count:
                self._request = self._parser.send((self._request.begun or 0).to_bytes(4, "big"))
        except StopIteration:
            self._request = None


def _png() -> ParserGenerator:
    yield ReadBytes(8)
    kind = b""
    while kind != b"IEND":
        head = yield ReadBytes(8)
        kind = head[4:]
        checksum = yield SkipBytes(int.from_bytes(head[:4], "big"), begun=zlib.crc32(kind))
        if (yield ReadBytes(4)) != checksum:
            message = "The picture is damaged: a part of it does not match its checksum."
            raise MalformedReply(message)


def _jpeg() -> ParserGenerator:
    yield ReadBytes(2)
    while (marker := (yield FindPattern(_MARKER))) != _JPEG_END:
        if marker not in _MARKERS_WITHOUT_LENGTH:
            length = yield ReadBytes(2)
            yield SkipBytes(max(0, int.from_bytes(length, "big") - 2))


def _webp() -> ParserGenerator:
    head = yield ReadBytes(8)
    yield SkipBytes(int.from_bytes(head[4:], "little"))


def _gif() -> ParserGenerator:
    head = yield ReadBytes(13)
    yield SkipBytes(_color_table_size(head[10]))
    while (block := (yield ReadBytes(1))) != b";":
        if block == b",":
            image = yield ReadBytes(9)
            yield SkipBytes(_color_table_size(image[8]))
        yield ReadBytes(1)
        while size := (yield ReadBytes(1))[0]:
            yield SkipBytes(size)


def _color_table_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _boxes() -> ParserGenerator:
    may_end = False
    while True:
        head = yield ReadBytes(_MIN_BOX_SIZE, may_end=may_end)
        size, read = int.from_bytes(head[:4], "big"), _MIN_BOX_SIZE
        if size == 1:
            size, read = int.from_bytes((yield ReadBytes(8)), "big"), 16
        if size < read:  # 0: as far as the file goes
            return
        yield SkipBytes(size - read)
        may_end = True


_PARSERS: Final[dict[str, Callable[[], ParserGenerator]]] = {
    "png": _png,
    "jpg": _jpeg,
    "webp": _webp,
    "gif": _gif,
    "avif": _boxes,
    "mp4": _boxes,
}
