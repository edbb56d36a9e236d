"""Pictures behind links: links that expire, and a small cache of rendered files."""

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

from ..responses import SimResponse
from .image_spec import ImageSpec, size_for
from .lineage import derived_from
from .render import render

if TYPE_CHECKING:
    from ..sim_task import SimTask, UploadedImage

_MAX_CACHED: Final = 64
_MAX_UPLOADS: Final = 1024
_PREVIEW_SUFFIX: Final = "_grid_0.webp"
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"RIFF", "webp"),
)


def image_type(data: bytes) -> str:
    """Return the image format that the first bytes show; ``octet-stream`` if unknown."""
    return next((name for start, name in _SIGNATURES if data.startswith(start)), "octet-stream")


@attrs.define(kw_only=True, eq=False)
class ImageStore:
    """Creates links and serves the files behind them."""

    draws_images: bool
    grid_size: int
    """Longest side of a grid in pixels."""
    link_lifetime: float | None
    """Real seconds for which a link is valid; None: without limit."""
    expired_status: int
    preview_from_percent: int = 31
    """The percentage from which a grid has a preview."""
    renews_links: bool = True
    """Whether an expired link is renewed when the task is fetched again."""
    base_url: str = ""
    """The base URL of the server, for links."""
    _last_serial: int = attrs.field(default=0, init=False)
    _first_valid_serial: int = attrs.field(default=0, init=False)
    _expired_serials: set[int] = attrs.field(factory=set, init=False)
    _links: dict[str, tuple[SimTask, ImageSpec, int]] = attrs.field(factory=dict, init=False)
    _uploads: OrderedDict[str, bytes] = attrs.field(factory=OrderedDict, init=False)
    _rendered: OrderedDict[str, bytes] = attrs.field(factory=OrderedDict, init=False)

    def add_upload(self, data: bytes) -> str:
        """Store a file and return its name."""
        digest = hashlib.sha256(data).hexdigest()
        name = f"upload_{digest[:32]}.{image_type(data)}"
        self._uploads[name] = data
        while len(self._uploads) > _MAX_UPLOADS:
            self._uploads.popitem(last=False)
        return name

    def create_link(self, name: str) -> str:
        """Return a new link to a stored file."""
        return self._new_link(name)[0]

    def task_link(self, task: SimTask) -> str | None:
        """Return the link of a task's picture, renewed if the last one expired (PROTOCOL §7.3)."""
        name = self._image_name(task)
        if name is None:
            return task.described_link
        is_expired = self.renews_links and not self.is_link_valid(task)
        if task.link is None or name not in task.link or is_expired:
            if task.image is not None:
                self._links[name] = (task, task.image, 0)
            task.link, task.link_serial, task.link_expires_at = self._new_link(name)
        return task.link

    def quadrant_links(self, task: SimTask) -> list[dict[str, str]] | None:
        """Return the links of a grid's four pictures (PROTOCOL §3.3)."""
        name = self._image_name(task)
        is_finished_grid = task.status == "SUCCESS" and task.command.result == "grid"
        if name is None or task.image is None or not is_finished_grid:
            return None
        links = []
        for quadrant in range(1, 5):
            quadrant_name = name.replace(".png", f"_{quadrant}.png")
            self._links[quadrant_name] = (task, task.image, quadrant)
            url = self._sign_link(quadrant_name, task.link_serial, task.link_expires_at)
            links.append({"url": url, "thumbnail": url})
        return links

    def video_links(self, task: SimTask) -> list[dict[str, str]] | None:
        """Return the links of a task's videos (PROTOCOL §3.3)."""
        name = self._image_name(task)
        if name is None or task.image is None or task.status != "SUCCESS":
            return None
        is_batch = task.command.result == "video"
        links = []
        for index in range(1, task.batch_size + 1) if is_batch else [task.image.index]:
            urls = {}
            for key, suffix in (("url", "mp4"), ("thumbnail", "webp")):
                file_name = name.replace(".webp", f"_video_{index}.{suffix}")
                self._links[file_name] = (task, attrs.evolve(task.image, index=index), 0)
                urls[key] = self._sign_link(file_name, task.link_serial, task.link_expires_at)
            links.append(urls)
        return links

    def find_image(self, image: UploadedImage) -> ImageSpec:
        """Describe an image that was sent; one of ours is recognised by its link."""
        name = urlsplit(image.link or "").path.rpartition("/")[2]
        if name in self._links:
            _, spec, quadrant = self._links[name]
            return derived_from("upscale", spec, index=quadrant) if quadrant else spec
        data = self._uploads.get(name, image.data)
        width, height = size_for((1, 1), self.grid_size)
        prompt = hashlib.sha256(data or (image.link or "").encode()).hexdigest()
        return ImageSpec("photo", prompt, 0, width, height, mask=data or None)

    def is_link_valid(self, task: SimTask) -> bool:
        """Report whether a task's last link is still valid; true if there was none."""
        return task.link is None or self._is_valid(task.link_serial, task.link_expires_at)

    def expire_links(self) -> None:
        """Make every link created so far expire."""
        self._first_valid_serial = self._last_serial + 1

    def expire_link(self, query: str) -> SimResponse:
        """Make the link with this query expire, and answer as for an expired link."""
        self._expired_serials.add(_parse_signature(query)[0])
        return SimResponse(status=self.expired_status)

    async def serve(self, name: str, query: str) -> SimResponse:
        """Answer a GET of a link."""
        if not self._is_valid(*_parse_signature(query)):
            return SimResponse(status=self.expired_status)
        data = self._uploads.get(name)
        if data is None and name in self._links:
            data = await self._draw(name)
        if data is None:
            return SimResponse(status=404)
        return SimResponse(body=data, content_type=_content_type(data))

    async def _draw(self, name: str) -> bytes | None:
        task, spec, quadrant = self._links[name]
        is_preview = name.endswith(_PREVIEW_SUFFIX)
        if is_preview and task.is_terminal:
            return None
        if name.endswith(".mp4"):
            return _video_bytes(spec)
        if not self.draws_images:
            return _TINY_PNG
        if name in self._rendered:
            self._rendered.move_to_end(name)
            return self._rendered[name]
        if quadrant:
            spec = derived_from("upscale", spec, index=quadrant)
        if is_preview:
            return await asyncio.to_thread(
                render, derived_from("preview", spec, detail=f"{task.percent}%")
            )
        self._rendered[name] = data = await asyncio.to_thread(render, spec)
        while len(self._rendered) > _MAX_CACHED:
            self._rendered.popitem(last=False)
        return data

    def _image_name(self, task: SimTask) -> str | None:
        """Return the present file name of a task's picture; None if there is none to show."""
        if task.image is None:
            return task.upload_name
        slug = re.sub(r"[^a-z0-9]+", "_", (task.prompt or task.action).lower())[:40].strip("_")
        stem = f"sim_{slug or 'picture'}_{task.midjourney_job_id}"
        if task.status == "SUCCESS":
            return f"{stem}.{'webp' if task.image.kind == 'video' else 'png'}"
        has_preview = (
            task.status == "IN_PROGRESS" and (task.percent or 0) >= self.preview_from_percent
        )
        return stem + _PREVIEW_SUFFIX if has_preview else None

    def _new_link(self, name: str) -> tuple[str, int, float | None]:
        self._last_serial += 1
        expires = None
        if self.link_lifetime is not None:
            expires = int((time.time() + self.link_lifetime) * 1000) / 1000
        return self._sign_link(name, self._last_serial, expires), self._last_serial, expires

    def _sign_link(self, name: str, serial: int, expires: float | None) -> str:
        expires_hex = "0" if expires is None else f"{int(expires * 1000):x}"
        return f"{self.base_url}/attachments/{name}?ex={expires_hex}&hm={serial:x}"

    def _is_valid(self, serial: int, expires: float | None) -> bool:
        if serial < self._first_valid_serial or serial in self._expired_serials:
            return False
        return expires is None or time.time() < expires


def _parse_signature(query: str) -> tuple[int, float | None]:
    """Parse the serial and expiry of a link; a link without them counts as expired."""
    fields = parse_qs(query)
    try:
        serial, expires_ms = int(fields["hm"][0], 16), int(fields["ex"][0], 16)
    except (KeyError, ValueError):
        return -1, None
    return serial, (expires_ms / 1000 if expires_ms else None)


def _content_type(data: bytes) -> str:
    kind = image_type(data)
    if data[4:8] == b"ftyp":
        return "video/mp4"
    return f"image/{kind}" if kind != "octet-stream" else "application/octet-stream"


def _video_bytes(spec: ImageSpec) -> bytes:
    """Return a file with the boxes of an MP4 and its description as text for data."""
    root, details = spec, [spec.detail]
    while root.parent is not None and root.parent.kind == "video":
        root = root.parent
        details.append(root.detail)
    texts = (root.prompt, str(root.seed), *filter(None, details), f"#{spec.index}")
    text = " ".join(texts).encode()
    boxes = ((b"ftyp", b"isom\0\0\2\0isommp41"), (b"mdat", text))
    return b"".join(struct.pack(">I", len(data) + 8) + name + data for name, data in boxes)


def _make_tiny_png() -> bytes:
    """Encode four pixels in four colours, so that even this file splits into quadrants."""
    rows = b"\x00\xff\x00\x00\x00\xff\x00" + b"\x00\x00\x00\xff\xff\xff\x00"
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


_TINY_PNG: Final = _make_tiny_png()
