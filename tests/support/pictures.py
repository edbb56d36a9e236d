"""Pictures and videos as bytes, in every format that the package recognises."""

from __future__ import annotations

import io
from collections.abc import Iterable

from PIL import Image

from mjasync._media.formats import FormatCheck


def encoded(form: str, **options: object) -> bytes:
    """A picture with something to see on it."""
    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 90).convert("RGB").save(buffer, format=form, **options)
    return buffer.getvalue()


def box(kind: bytes, data: bytes) -> bytes:
    """A box of an MP4."""
    return (len(data) + 8).to_bytes(4, "big") + kind + data


def large_box(kind: bytes, data: bytes) -> bytes:
    """A box whose size takes 64 bits."""
    return b"\0\0\0\x01" + kind + (len(data) + 16).to_bytes(8, "big") + data


def extension_of(pieces: Iterable[bytes] | bytes) -> str:
    """What a file is, once all of it has come in."""
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
