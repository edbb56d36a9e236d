"""The gallery of a batch: one page that needs nothing but the folder it is in."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import threading
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import attrs

try:
    from PIL import ExifTags, Image, ImageOps
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        'mjasync.batch needs Pillow: python -m pip install "mjasync[batch]".'
    ) from error

from ._jobs import File, Job
from ._open import read_batch
from ._output import write_whole
from ._path import elements

__all__ = ["Gallery", "write_gallery"]

_PAGE: Final = "index.html"
_FOLDER: Final = "thumbnails"
_SIDE: Final = 480
"""Longest side of a thumbnail in pixels: a card on a dense screen."""
_QUALITY: Final = 80
_MOVING: Final = (".mp4", ".webm", ".mov")
_WORKERS: Final = 4
_LYING: Final = (5, 6, 7, 8)
"""Orientations in which a picture is stored on its side."""
_POLICY: Final = (
    "default-src 'none'; img-src 'self' file: data:; media-src 'self' file:; "
    "style-src '{style}'; script-src '{script}'; base-uri 'none'; form-action 'none'"
)
_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}
"""What could end the block the data stands in."""


async def write_gallery(folder: str | os.PathLike[str], *, ledger: str | None = None) -> Path:
    """Write the gallery of a batch, whether or not it is being worked on, and return its page.

    Args:
        folder: The folder of the batch.
        ledger: Its ledger, where it is not in the folder.

    Raises:
        ConfigurationError: There is no batch.
        OSError: The page or a thumbnail cannot be written.
    """
    jobs = await read_batch(folder, ledger=ledger)
    await Gallery(Path(folder)).write(jobs, running=False)
    return Path(folder) / _PAGE


class Gallery:
    """Writes `index.html` of a folder, and the thumbnails that are missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thumbnails = _Thumbnails(folder)
        self._lock = threading.Lock()

    async def write(self, jobs: Sequence[Job], *, running: bool) -> None:
        """Replace the page, whole or not at all. A picture that cannot be read has a placeholder.

        Args:
            jobs: All jobs of the batch.
            running: Whether a page that is open should look again by itself.

        Raises:
            OSError: The page or a thumbnail cannot be written.
        """
        await asyncio.to_thread(self._write, jobs, running=running)

    def _write(self, jobs: Sequence[Job], *, running: bool) -> None:
        with self._lock:
            self._thumbnails.make(file for job in jobs for file in job.files)
            ordered = sorted(jobs, key=lambda job: (job.n, job.root, _path(job)))
            facts = {
                "name": self._folder.resolve().name,
                "running": running,
                "written": time.time(),
                "jobs": list(self._rows(ordered)),
            }
            write_whole(self._folder / _PAGE, _page(facts))

    def _rows(self, jobs: Iterable[Job]) -> Iterator[dict[str, Any]]:
        """What the page is told, without what says nothing; a step comes after its parent."""
        prompts: dict[str | None, str] = {}
        for job in jobs:
            prompts[job.key] = job.prompt
            row = {
                "key": job.key,
                "n": job.n,
                "parent": job.parent,
                "prompt": "" if prompts.get(job.parent) == job.prompt else job.prompt,
                "step": job.step,
                "path": _path(job),
                "state": job.state,
                "task": job.task_id,
                "action": job.action,
                "speed": job.speed,
                "seed": job.seed,
                "variables": dict(job.variables),
                "attempts": job.attempts,
                "files": [self._thumbnails.row(file) for file in job.files],
                "error_class": job.error_class,
                "error": job.error,
            }
            yield {name: value for name, value in row.items() if value not in ("", None, [], {})}


def _path(job: Job) -> list[str]:
    """The buttons from the grid to a job; none for the grid."""
    return elements(job.step) if job.step else []


def _page(facts: Mapping[str, Any]) -> bytes:
    """The page, with the facts in a block that nothing in them can leave."""
    text = json.dumps(facts, separators=(",", ":")).translate(_ESCAPES)
    before, after = _template()
    return f"{before}{text}{after}".encode()


@cache
def _template() -> tuple[str, str]:
    """What stands before the facts and after them."""
    room = files("mjasync.batch").joinpath("gallery")
    page, style, script = (
        room.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    policy = _POLICY.format(style=_digest(style), script=_digest(script))
    parts = {"policy": policy, "style": style, "script": script}
    whole = re.sub(r"\{\{(policy|style|script)\}\}", lambda match: parts[match[1]], page)
    before, _, after = whole.partition("{{facts}}")
    return before, after


def _digest(text: str) -> str:
    """What names an inline block in a policy."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


# --- thumbnails --------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Thumbnail:
    """A small picture; its name tells all there is to know about the large one."""

    stem: str
    width: int
    """Of the large picture, in pixels."""
    height: int
    colour: str
    """The average, as `rrggbb`."""

    @property
    def name(self) -> str:
        return f"{self.stem}-{self.width}x{self.height}-{self.colour}.webp"


_NAME: Final = re.compile(r"([0-9a-f]{32})-(\d+)x(\d+)-([0-9a-f]{6})\.webp")


class _Thumbnails:
    """The thumbnails of a folder, by the SHA-256 of what they show."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, _Thumbnail] | None = None
        self._hopeless: set[str] = set()

    def row(self, file: File) -> dict[str, Any]:
        """What the page is told of a file."""
        row: dict[str, Any] = {"path": file.path, "size": file.size}
        made = (self._made or {}).get(_stem(file))
        if made is not None:
            picture = {"width": made.width, "height": made.height, "colour": made.colour}
            row |= {"thumbnail": f"{_FOLDER}/{made.name}", **picture}
        elif file.path.casefold().endswith(_MOVING):
            row["moving"] = True
        return row

    def make(self, files: Iterable[File]) -> None:
        """Make those that are missing; a picture that cannot be read is not tried again."""
        if self._made is None:
            self._made = self._found()
        wanted = {_stem(file): file for file in files}
        missing = [
            wanted[stem]
            for stem in wanted.keys() - self._made.keys() - self._hopeless
            if not wanted[stem].path.casefold().endswith(_MOVING)
        ]
        if not missing:
            return
        with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as pool:
            for file, made in zip(missing, pool.map(self._make, missing), strict=True):
                if made is not None:
                    self._made[_stem(file)] = made

    def _found(self) -> dict[str, _Thumbnail]:
        folder = self._folder / _FOLDER
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        matches = filter(None, map(_NAME.fullmatch, names))
        return {
            m[1]: _Thumbnail(stem=m[1], width=int(m[2]), height=int(m[3]), colour=m[4])
            for m in matches
        }

    def _make(self, file: File) -> _Thumbnail | None:
        try:
            made, data = _shrunk(self._folder / file.path, _stem(file))
        except FileNotFoundError:  # it may come back
            return None
        except Exception:  # noqa: BLE001 - whatever a broken picture does to Pillow
            self._hopeless.add(_stem(file))
            return None
        write_whole(self._folder / _FOLDER / made.name, data)
        return made


def _stem(file: File) -> str:
    """What the name of a thumbnail begins with: as much of a digest as tells files apart."""
    return file.sha256[:32]


def _shrunk(path: Path, stem: str) -> tuple[_Thumbnail, bytes]:
    with Image.open(path) as picture:
        width, height = picture.size
        if picture.getexif().get(ExifTags.Base.Orientation, 1) in _LYING:
            width, height = height, width
        picture.draft("RGB", (_SIDE, _SIDE))
        small = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    ImageOps.exif_transpose(small, in_place=True)
    red, green, blue = small.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes()
    data = io.BytesIO()
    small.save(data, "WEBP", quality=_QUALITY)
    colour = f"{red:02x}{green:02x}{blue:02x}"
    return _Thumbnail(stem=stem, width=width, height=height, colour=colour), data.getvalue()
