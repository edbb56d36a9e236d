"""Pictures behind links: what to draw, links that expire, and a small store of drawn bytes."""

from __future__ import annotations

import asyncio
import hashlib
import re
import struct
import time
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

import attrs

from ..responses import Reply
from .image_spec import Picture, size_for
from .lineage import child
from .render import render

if TYPE_CHECKING:
    from ..sim_task import Image, SimTask

__all__ = ["Gallery", "sniff"]

_DRAWN_KEPT: Final = 64
_UPLOADS_KEPT: Final = 1024
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"RIFF", "webp"),
)


def sniff(data: bytes) -> str:
    """The image format of some bytes by their first ones; ``octet-stream`` when unknown."""
    return next((name for start, name in _SIGNATURES if data.startswith(start)), "octet-stream")


@attrs.define(kw_only=True, eq=False)
class Gallery:
    """Hands out links and serves what is behind them."""

    draw: bool
    size: int
    """Longest side of a grid in pixels."""
    lifetime: float | None
    """Real seconds a link lives; None: for ever."""
    expired_status: int
    preview_from: int = 31
    """The percentage from which on a grid has a preview."""
    renews: bool = True
    """Whether a link that has run out is renewed when the task is shown again."""
    base: str = ""
    """The address of the server, for links."""
    _serial: int = attrs.field(default=0, init=False)
    _floor: int = attrs.field(default=0, init=False)
    _dead: set[int] = attrs.field(factory=set, init=False)
    _shown: dict[str, tuple[SimTask, Picture, int]] = attrs.field(factory=dict, init=False)
    _uploads: OrderedDict[str, bytes] = attrs.field(factory=OrderedDict, init=False)
    _drawn: OrderedDict[str, bytes] = attrs.field(factory=OrderedDict, init=False)

    def keep(self, data: bytes) -> str:
        """Keep some bytes and give the name they go by."""
        digest = hashlib.sha256(data).hexdigest()
        name = f"upload_{digest[:32]}.{sniff(data)}"
        self._uploads[name] = data
        while len(self._uploads) > _UPLOADS_KEPT:
            self._uploads.popitem(last=False)
        return name

    def link_to(self, name: str) -> str:
        """A new link to something that was kept."""
        return self._fresh(name)[0]

    def link(self, task: SimTask) -> str | None:
        """The link of a task's picture, renewed when the last one has run out (PROTOCOL §7.3)."""
        name = self._name(task)
        if name is None:
            return task.source_link
        dead = self.renews and not self.is_alive(task)
        if task.link is None or name not in task.link or dead:
            if task.picture is not None:
                self._shown[name] = (task, task.picture, 0)
            task.link, task.link_serial, task.link_expires = self._fresh(name)
        return task.link

    def quadrants(self, task: SimTask) -> list[dict[str, str]] | None:
        """The links of a grid's four pictures (PROTOCOL §3.3)."""
        name = self._name(task)
        done = task.status == "SUCCESS" and task.verb.makes == "grid"
        if name is None or task.picture is None or not done:
            return None
        pairs = []
        for n in range(1, 5):
            single = name.replace(".png", f"_{n}.png")
            self._shown[single] = (task, task.picture, n)
            url = self._signed(single, task.link_serial, task.link_expires)
            pairs.append({"url": url, "thumbnail": url})
        return pairs

    def videos(self, task: SimTask) -> list[dict[str, str]] | None:
        """The links of the videos it made (PROTOCOL §3.3)."""
        name = self._name(task)
        if name is None or task.picture is None or task.status != "SUCCESS":
            return None
        numbers = range(1, task.batch + 1) if task.verb.makes == "video" else [task.picture.index]
        pairs = []
        for n in numbers:
            still = name.replace(".webp", f"_video_{n}.webp")
            moving = still.replace(".webp", ".mp4")
            for single in (still, moving):
                self._shown[single] = (task, attrs.evolve(task.picture, index=n), 0)
            url, thumbnail = (
                self._signed(single, task.link_serial, task.link_expires)
                for single in (moving, still)
            )
            pairs.append({"url": url, "thumbnail": thumbnail})
        return pairs

    def picture_of(self, image: Image) -> Picture:
        """What was sent, as a picture to draw others from; ours are known by their links."""
        name = urlsplit(image.link or "").path.rpartition("/")[2]
        if name in self._shown:
            _, picture, quadrant = self._shown[name]
            return child("upscale", picture, index=quadrant) if quadrant else picture
        data = self._uploads.get(name, image.data)
        width, height = size_for((1, 1), self.size)
        prompt = hashlib.sha256(data or (image.link or "").encode()).hexdigest()
        return Picture("photo", prompt, 0, width, height, mask=data or None)

    def is_alive(self, task: SimTask) -> bool:
        """Whether the link a task last handed out still works, or it has handed out none."""
        return task.link is None or self._works(task.link_serial, task.link_expires)

    def expire(self) -> None:
        """Every link handed out so far works no more."""
        self._floor = self._serial + 1

    def refuse(self, query: str) -> Reply:
        """One link works no more."""
        self._dead.add(_signature(query)[0])
        return Reply(status=self.expired_status)

    async def serve(self, name: str, query: str) -> Reply:
        """What a GET of a link answers."""
        if not self._works(*_signature(query)):
            return Reply(status=self.expired_status)
        data = self._uploads.get(name)
        if data is None and name in self._shown:
            data = await self._look(name)
        if data is None:
            return Reply(status=404)
        return Reply(body=data, content_type=_content_type(data))

    async def _look(self, name: str) -> bytes | None:
        task, picture, quadrant = self._shown[name]
        if self._is_preview(name) and task.terminal:
            return None
        if name.endswith(".mp4"):
            return _film(picture)
        if not self.draw:
            return _TINY
        if name in self._drawn:
            self._drawn.move_to_end(name)
            return self._drawn[name]
        if quadrant:
            picture = child("upscale", picture, index=quadrant)
        if self._is_preview(name):
            picture = child("preview", picture, detail=f"{task.percent}%")
        return self._remember(name, await asyncio.to_thread(render, picture))

    def _remember(self, name: str, data: bytes) -> bytes:
        if not self._is_preview(name):
            self._drawn[name] = data
        while len(self._drawn) > _DRAWN_KEPT:
            self._drawn.popitem(last=False)
        return data

    @staticmethod
    def _is_preview(name: str) -> bool:
        return name.endswith("_grid_0.webp")

    def _name(self, task: SimTask) -> str | None:
        """The file name its picture goes by now; None: there is nothing of ours to show."""
        if task.picture is None:
            return task.upload
        stem = f"sim_{_slug(task.prompt or task.action)}_{task.job}"
        if task.status == "SUCCESS":
            return f"{stem}.{'webp' if task.picture.kind == 'video' else 'png'}"
        early = task.status == "IN_PROGRESS" and (task.percent or 0) >= self.preview_from
        return f"{stem}_grid_0.webp" if early else None

    def _fresh(self, name: str) -> tuple[str, int, float | None]:
        self._serial += 1
        expires = (
            None if self.lifetime is None else int((time.time() + self.lifetime) * 1000) / 1000
        )
        return self._signed(name, self._serial, expires), self._serial, expires

    def _signed(self, name: str, serial: int, expires: float | None) -> str:
        moment = "0" if expires is None else f"{int(expires * 1000):x}"
        return f"{self.base}/attachments/{name}?ex={moment}&hm={serial:x}"

    def _works(self, serial: int, expires: float | None) -> bool:
        if serial < self._floor or serial in self._dead:
            return False
        return expires is None or time.time() < expires


def _signature(query: str) -> tuple[int, float | None]:
    """Serial and expiry out of a link's query; a link without them is as good as expired."""
    fields = parse_qs(query)
    try:
        serial, moment = int(fields["hm"][0], 16), int(fields["ex"][0], 16)
    except (KeyError, ValueError):
        return -1, None
    return serial, (moment / 1000 if moment else None)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower())[:40].strip("_") or "picture"


def _content_type(data: bytes) -> str:
    kind = sniff(data)
    if data[4:8] == b"ftyp":
        return "video/mp4"
    return f"image/{kind}" if kind != "octet-stream" else "application/octet-stream"


def _film(picture: Picture) -> bytes:
    """An MP4 file that is one by its boxes: what it shows stands in it as words."""
    first, details = picture, [picture.detail]
    while first.parent is not None and first.parent.kind == "video":
        first = first.parent
        details.append(first.detail)
    said = (first.prompt, str(first.seed), *filter(None, details), f"#{picture.index}")
    words = " ".join(said).encode()
    boxes = ((b"ftyp", b"isom\0\0\2\0isommp41"), (b"mdat", words))
    return b"".join(struct.pack(">I", len(data) + 8) + name + data for name, data in boxes)


def _tiny_png() -> bytes:
    """Four pixels in four colours, so that even this splits into quadrants."""
    rows = b"\x00\xff\x00\x00\x00\xff\x00" + b"\x00\x00\x00\xff\xff\xff\x00"
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


_TINY: Final = _tiny_png()
