"""Thumbnails for the gallery, made with limited memory."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import attrs

try:
    from PIL import ExifTags, Image, ImageOps
    from PIL.GifImagePlugin import GifImageFile
    from PIL.ImageFile import ImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        'mjasync.batch needs Pillow: python -m pip install "mjasync[batch]".'
    ) from error

from ..._media.formats import SNIFFED_BYTES, sniff
from ..._text import printable
from .._atomic_write import write_atomically
from .._jobs import File

_log: Final = logging.getLogger("mjasync")
MAX_MEMORY: Final = 400_000_000
"""Bytes that decoding a picture may take: 80 megapixels as PNG, 23 as WebP."""
_SMALL_FILE: Final = 32_000_000
"""Bytes up to which several pictures are decoded concurrently."""
_FOLDER_NAME: Final = "thumbnails"
_MAX_SIDE: Final = 480
"""The longest side of a thumbnail in pixels: a card on a high-density screen."""
_WEBP_QUALITY: Final = 80
_VIDEO_SUFFIXES: Final = (".mp4", ".webm", ".mov")
_MAX_WORKERS: Final = 4
_ROTATED: Final = (5, 6, 7, 8)
"""EXIF orientations with width and height exchanged."""
_THUMBNAIL_NAME: Final = re.compile(r"([0-9a-f]{32})-(\d+)x(\d+)-([0-9a-f]{6})\.webp")
_OPENERS: Final[dict[str, type[ImageFile]]] = {
    "png": PngImageFile,
    "jpg": JpegImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
}
"""Used instead of `Image.open`, whose limit ignores that JPEGs are decoded smaller."""
_BYTES_PER_PIXEL: Final = {"PNG": 5, "WEBP": 17}
"""Measured, including copies."""
_OTHER_BYTES_PER_PIXEL: Final = 8


@attrs.frozen(kw_only=True)
class Thumbnail:
    """A thumbnail; its name contains the facts about the picture."""

    stem: str
    width: int
    """The width of the picture in pixels."""
    height: int
    colour: str
    """The average colour as `rrggbb`."""

    @property
    def name(self) -> str:
        return f"{self.stem}-{self.width}x{self.height}-{self.colour}.webp"


class ImageTooLargeError(Exception):
    """Decoding a picture needs too much memory."""


class Thumbnails:
    """The thumbnails of a folder, by the SHA-256 of the pictures."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thumbnails: dict[str, Thumbnail] | None = None
        self._reasons: dict[str, str] = {}
        self._too_large: set[str] = set()
        self._large_image_lock = threading.Lock()

    def facts(self, file: File) -> dict[str, Any]:
        """Return the data of a file for the page."""
        row: dict[str, Any] = {"path": file.path, "size": file.size}
        thumbnail = (self._thumbnails or {}).get(_stem(file))
        if thumbnail is not None:
            row["thumbnail"] = f"{_FOLDER_NAME}/{thumbnail.name}"
            row |= attrs.asdict(thumbnail, filter=lambda field, _: field.name != "stem")
        elif file.path.casefold().endswith(_VIDEO_SUFFIXES):
            row["moving"] = True
        elif _stem(file) in self._reasons:
            row["why"] = self._reasons[_stem(file)]
            row |= {"large": True} if _stem(file) in self._too_large else {}
        return row

    def make(self, files: Iterable[File]) -> None:
        """Make the missing thumbnails; a picture that cannot be read is not tried again.

        Raises:
            OSError: A thumbnail cannot be written.
        """
        if self._thumbnails is None:
            self._thumbnails = self._existing()
        files_by_stem = {_stem(file): file for file in files}
        missing = [
            files_by_stem[stem]
            for stem in files_by_stem.keys() - self._thumbnails.keys() - self._reasons.keys()
            if not files_by_stem[stem].path.casefold().endswith(_VIDEO_SUFFIXES)
        ]
        if not missing:
            return
        with ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1)) as pool:
            for file, thumbnail in zip(missing, pool.map(self._try_make, missing), strict=True):
                if thumbnail is not None:
                    self._thumbnails[_stem(file)] = thumbnail

    def _existing(self) -> dict[str, Thumbnail]:
        folder = self._folder / _FOLDER_NAME
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        matches = filter(None, map(_THUMBNAIL_NAME.fullmatch, names))
        return {
            m[1]: Thumbnail(stem=m[1], width=int(m[2]), height=int(m[3]), colour=m[4])
            for m in matches
        }

    def _try_make(self, file: File) -> Thumbnail | None:
        try:
            thumbnail, data = self._make_thumbnail(self._folder / file.path, _stem(file))
        except FileNotFoundError:  # the file may come back
            return None
        except Exception as error:  # noqa: BLE001 - Pillow raises many errors
            is_large = isinstance(error, ImageTooLargeError)
            reason = str(error) or type(error).__name__
            if not is_large:
                reason = f"The picture cannot be read: {printable(reason, 200)}."
            _log.warning("no thumbnail of %s: %s", printable(file.path), reason)
            self._reasons[_stem(file)] = reason
            if is_large:
                self._too_large.add(_stem(file))
            return None
        write_atomically(self._folder / _FOLDER_NAME / thumbnail.name, data)
        return thumbnail

    def _make_thumbnail(self, path: Path, stem: str) -> tuple[Thumbnail, bytes]:
        with _open_image(path) as picture:
            width, height = picture.size
            picture.draft("RGB", (_MAX_SIDE, _MAX_SIDE))
            needed = _memory_needed(picture, width * height)
            if needed > MAX_MEMORY:
                message = (
                    f"With {width} × {height} pixels it is too large for a preview: that would "
                    f"take {needed // 1_000_000} MB of memory, and {MAX_MEMORY // 1_000_000} may "
                    "be used."
                )
                raise ImageTooLargeError(message)
            with self._large_image_lock if needed > _SMALL_FILE else nullcontext():
                orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
                thumbnail = _downscale(picture)
        if orientation in _ROTATED:
            width, height = height, width
        ImageOps.exif_transpose(thumbnail, in_place=True)
        red, green, blue = thumbnail.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes()
        data = io.BytesIO()
        thumbnail.save(data, "WEBP", quality=_WEBP_QUALITY)
        colour = f"{red:02x}{green:02x}{blue:02x}"
        return Thumbnail(stem=stem, width=width, height=height, colour=colour), data.getvalue()


def _stem(file: File) -> str:
    """Return the start of a thumbnail's name: enough of a digest to distinguish files."""
    return file.sha256[:32]


def _open_image(path: Path) -> Image.Image:
    with path.open("rb") as file:
        kind = sniff(file.read(SNIFFED_BYTES))
    opener = _OPENERS.get(kind[0]) if kind else None
    return Image.open(path) if opener is None else opener(path)


def _memory_needed(picture: Image.Image, pixels: int) -> int:
    """Estimate the bytes that decoding takes; `pixels` is the size in the file."""
    width, height = picture.size
    if picture.format == "JPEG":  # decoded smaller, unless all of it has to be read first
        is_progressive = "progression" in picture.info
        return 4 * width * height + (6 * pixels if is_progressive else 0)
    return _BYTES_PER_PIXEL.get(picture.format or "", _OTHER_BYTES_PER_PIXEL) * pixels


def _downscale(picture: Image.Image) -> Image.Image:
    """Return a thumbnail, if possible without copying the picture."""
    if picture.mode in {"RGB", "RGBA"}:
        picture.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.LANCZOS)
    thumbnail = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    thumbnail.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.LANCZOS)
    return thumbnail
