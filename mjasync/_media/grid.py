"""A downloaded image, and the four images of a grid."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import attrs

from ..errors import ConfigurationError, MalformedReply
from .files import write_stream
from .formats import SNIFFED_BYTES as _SNIFF
from .formats import sniff
from .inputs import PillowImage


@attrs.frozen
class Picture:
    """An image in memory."""

    data: bytes = attrs.field(repr=False)
    """The file's bytes."""
    name: str = "picture"
    """The name of its file in a directory, without the extension."""

    @property
    def extension(self) -> str:
        """The extension of its format ("png", "webp")."""
        kind = sniff(self.data[:_SNIFF])
        return kind[0] if kind else "bin"

    def __bytes__(self) -> bytes:
        return self.data

    async def save(self, path: str | os.PathLike[str], **fields: object) -> Path:
        """Write it to a directory, a template or a file name, as `Task.save` does.

        Raises:
            OSError: The file cannot be written; nothing is left behind.
        """

        async def whole() -> AsyncIterator[bytes]:
            yield self.data

        return await write_stream(whole(), path, {"id": self.name, **fields})


async def split_grid(data: bytes) -> list[bytes]:
    """Split a grid into its four images, row by row, in a thread.

    Raises:
        ConfigurationError: Pillow is not installed.
        MalformedReply: Pillow cannot read the image.
    """
    return await asyncio.to_thread(_split_sync, data)


def _split_sync(data: bytes) -> list[bytes]:
    try:
        from PIL import Image
    except ImportError:
        message = 'Splitting a grid needs Pillow: python -m pip install "mjasync[images]".'
        raise ConfigurationError(message) from None
    try:
        with Image.open(io.BytesIO(data)) as grid:
            grid.load()
            width, height = max(1, grid.width // 2), max(1, grid.height // 2)
            corners = [(x, y) for y in (0, grid.height - height) for x in (0, grid.width - width)]
            parts = [grid.crop((x, y, x + width, y + height)) for x, y in corners]
        return list(map(_encode_png, parts))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = (
            f"The grid is too large for Pillow to open ({error}). Take it whole with read() or "
            "save(), or set PIL.Image.MAX_IMAGE_PIXELS to a number that it stays under."
        )
        raise ConfigurationError(message) from error
    except (OSError, SyntaxError, ValueError) as error:
        message = f"The grid cannot be cut in four: {error}."
        raise MalformedReply(message) from error


def _encode_png(image: PillowImage) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
