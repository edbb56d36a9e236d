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

T = TypeVar("T")
L = TypeVar("L")


class TaskFiles(TaskLifecycle):
    """The methods that download the results of a task."""

    __slots__ = ()

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Download the image or video to a file.

        Args:
            path: A directory, a file name, or a template such as `"out/{id}-{action}.{ext}"`. In a
                directory, the name is the id with the extension of the actual format.

        Returns:
            The path of the file.

        Raises:
            InvalidRequest: The task has no image, or has not finished.
            LinkExpired: The link has expired, and so has the refreshed one.
            MalformedReply: The download is not an image, or is incomplete. No file is left.
            ConfigurationError: The template is invalid.
            OSError: The file cannot be written. No file is left.
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
        """Download the image or video and return its bytes.

        Raises:
            InvalidRequest: The task has no image, or has not finished.
            LinkExpired: The link has expired, and so has the refreshed one.
            MalformedReply: The download is not an image, or is incomplete.
        """
        return await self._with_fresh_link(results.result_url, self._download)

    async def images(self) -> tuple[Picture, ...]:
        """Return the four images of a grid, in order; for any other task, its one image.

        The images are downloaded singly if the server lists them. Otherwise, the grid is split
        with Pillow.

        Raises:
            ConfigurationError: The grid must be split, but Pillow is not installed.
            MJError: The download failed, as in `read`.
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

    async def _with_fresh_link(
        self, link_of: Callable[[TaskInfo], L], use: Callable[[L], Awaitable[T]]
    ) -> T:
        """Call `use` with a link; if it has expired, refresh the task and try once more."""
        self._context.loop.check()
        with self._attaching_errors():
            try:
                return await use(link_of(self._info))
            except LinkExpired:
                await self.refresh()
            return await use(link_of(self._info))
