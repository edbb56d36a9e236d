"""The images and videos of a finished Task."""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
)
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ._concurrency import gather_or_cancel
from ._media.files import read_all, write_stream
from ._media.grid import Picture, split_grid
from ._models import TaskInfo
from ._protocol import results
from ._task_lifecycle import TaskLifecycle
from .errors import (
    LinkExpired,
)

if TYPE_CHECKING:
    import os

__all__ = ["TaskFiles"]

T = TypeVar("T")
L = TypeVar("L")


class TaskFiles(TaskLifecycle):
    """Downloads of what a task made."""

    __slots__ = ()

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Download the picture (or video) to a file and return where it went.

        Args:
            path: A directory; a template such as `"out/{id}-{action}.{ext}"`; or a file name. In a
                directory the name is the id with the ending of its bytes, whatever the link says.

        Raises:
            InvalidRequest: It has no picture, or is not finished.
            LinkExpired: The link is dead, and so is the fresh one.
            MalformedReply: What came is no picture, or not all of one; nothing is left behind.
            ConfigurationError: The template does not work.
            OSError: The place cannot be written to; nothing is left behind.
        """
        info = self._info
        fields = {name: getattr(info, name) for name in ("id", "state", "prompt")}
        fields["action"] = info.action.lower()

        async def write(url: str) -> Path:
            return await self._context.api.download(
                url, lambda chunks: write_stream(chunks, path, fields)
            )

        return await self._with_fresh_link(results.result_url, write)

    async def read(self) -> bytes:
        """The bytes of the picture (or video).

        Raises:
            InvalidRequest: It has no picture, or is not finished.
            LinkExpired: The link is dead, and so is the fresh one.
            MalformedReply: What came is no picture, or not all of one.
        """
        return await self._with_fresh_link(results.result_url, self._download)

    async def images(self) -> tuple[Picture, ...]:
        """The four pictures of a grid, 1 to 4; of anything else, the one picture.

        The server's own single pictures where it lists them, else the grid cut in four (Pillow).

        Raises:
            ConfigurationError: The grid must be cut, and Pillow is not installed.
            MJError: As `read` does.
        """
        if len(self._info.image_urls) > 1:
            parts = await self._with_fresh_link(
                lambda info: info.image_urls,
                lambda urls: gather_or_cancel(map(self._download, urls)),
            )
        elif results.is_grid(self._info):
            parts = await split_grid(await self.read())
        else:
            return (Picture(await self.read(), self.id),)
        return tuple(Picture(part, f"{self.id}-{n}") for n, part in enumerate(parts, 1))

    async def _download(self, url: str) -> bytes:
        return await self._context.api.download(url, read_all)

    async def _download_input(self, url: str) -> bytes:
        return await self._context.api.download(url, read_all, is_input=True)

    async def _with_fresh_link(
        self, link_of: Callable[[TaskInfo], L], use: Callable[[L], Awaitable[T]]
    ) -> T:
        """Use a link, or some; when one has expired, refetch the task once for fresh ones."""
        self._context.loop.check()
        with self._attaching_errors():
            try:
                return await use(link_of(self._info))
            except LinkExpired:
                await self.refresh()
            return await use(link_of(self._info))
