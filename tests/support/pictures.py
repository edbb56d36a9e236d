"""Pictures and videos as bytes, in every format that the package recognises."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

from PIL import Image

from mjasync._media.formats import FormatCheck

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel."""


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """Return a picture as the content of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def encoded(
    form: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: object
) -> bytes:
    """Return a small picture of noise."""
    return encode(Image.effect_noise(size, 90).convert(mode), form, **options)


def png(mode: str = "RGB", colour: int | str = 0, side: int = 16) -> bytes:
    """Return a square of one colour; as "L" it is a mask."""
    return encode(Image.new(mode, (side, side), colour))


def mask() -> bytes:
    """Return a mask of 64 by 64 pixels: black, and white in the middle."""
    image = Image.new("L", (64, 64))
    image.paste(255, (16, 16, 49, 49))
    return encode(image)


def data_url(data: bytes = PIXEL, mime: str = "image/png") -> str:
    """Return a data URL."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def box(kind: bytes, data: bytes) -> bytes:
    """Return a box of an MP4."""
    return (len(data) + 8).to_bytes(4, "big") + kind + data


def large_box(kind: bytes, data: bytes) -> bytes:
    """Return a box whose size takes 64 bits."""
    return b"\0\0\0\x01" + kind + (len(data) + 16).to_bytes(8, "big") + data


def extension_of(pieces: Iterable[bytes] | bytes) -> str:
    """Return the extension that fits a complete file."""
    check = FormatCheck()
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        check.feed(piece)
    return check.finish()


PNG = encoded("PNG")
JPEG = encoded("JPEG")
EXIF = b"Exif\0\0MM\0*\0\0\0\x08" + JPEG  # as cameras do: with a small picture inside
FILES = {
    "png": PNG,
    "jpg": JPEG,
    "progressive jpg": encoded("JPEG", progressive=True),
    "jpg with a thumbnail": encoded("JPEG", exif=EXIF),
    "webp": encoded("WEBP"),
    "gif": encoded("GIF"),
    "avif": box(b"ftyp", b"avif0000") + box(b"meta", b"m" * 60) + box(b"mdat", b"d" * 300),
    "mp4": box(b"ftyp", b"isom0000") + large_box(b"mdat", b"d" * 300) + box(b"moov", b"m" * 90),
}
