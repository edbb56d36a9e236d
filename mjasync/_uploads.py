"""The links of uploaded images, which are reused for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ._clock import Clock
from ._concurrency import run_in_worker
from ._http.bodies import DataUrl, content_key

_LINK_LIFETIME: Final = 3600.0
"""Seconds for which the link of an uploaded image is reused (PROTOCOL §7.3)."""


class UploadCache:
    """The links that the server returned for uploaded images, by the content of the image."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[str, tuple[str, float]] = {}
        self._lock = asyncio.Lock()

    async def links(
        self,
        images: Sequence[DataUrl | str],
        upload: Callable[[Sequence[DataUrl | str]], Awaitable[list[str]]],
    ) -> list[str]:
        """Return the link of each image; upload those without a fresh one.

        Args:
            images: The encoded images.
            upload: Uploads images and returns their links, in the same order.
        """
        keys = await run_in_worker(lambda: [content_key(image) for image in images])
        async with self._lock:
            now = self._clock.now()
            fresh = {
                key: (link, uploaded_at)
                for key, (link, uploaded_at) in self._links.items()
                if now - uploaded_at < _LINK_LIFETIME
            }
            missing = {
                key: image for key, image in zip(keys, images, strict=True) if key not in fresh
            }
            if missing:
                links = await upload(list(missing.values()))
                fresh |= {key: (link, now) for key, link in zip(missing, links, strict=True)}
            self._links = fresh
        return [fresh[key][0] for key in keys]
