"""Bytes of pictures, in and out: data URLs, downloads, names, grids."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol, runtime_checkable

import attrs

from .._http.bodies import DataUrl, OnDisk, in_turn
from .._safe_filename import safe_filename, unreserved
from .._text import printable
from ..errors import ConfigurationError, InvalidRequest, LinkRefused, MalformedReply, MJError
from .formats import SNIFFED_BYTES as _SNIFF
from .formats import FormatCheck, sniff

__all__ = [
    "ImageInput",
    "Picture",
    "as_data_url",
    "as_file",
    "as_mask",
    "collect",
    "is_data_url",
    "link_of",
    "several",
    "split_grid",
    "write_stream",
]


@runtime_checkable
class PillowImage(Protocol):
    """What is used of a `PIL.Image.Image`, so that Pillow need not be there."""

    def save(self, fp: BinaryIO, /, format: str) -> None:  # noqa: A002 - Pillow's own name
        """Write the picture in a format."""

    def getbands(self) -> tuple[str, ...]:
        """The names of its channels."""
        ...


ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PillowImage
"""A picture: a path, an http(s) URL, a data URL, bytes, an open binary file, a Pillow image."""

_ONE: Final = (str, os.PathLike, bytes, bytearray, memoryview, io.IOBase, PillowImage)
_LINK: Final = re.compile(r"\s*https?://", re.IGNORECASE)
_DATA_URL: Final = re.compile(r"\s*data:", re.IGNORECASE)
_BUSY: Final = (408, 425, 429)
"""Statuses between 400 and 500 after which the same may be asked again."""
_NAME: Final = 200
"""Characters of a name that a message repeats: somebody will pass the picture itself."""
_FIELD: Final = 80
"""Characters of a field in a file name."""
_FIELDS: Final = re.compile(r"\{[^{}]*\}")
_HELD: Final = 1 << 21
"""Bytes after which a thread writes what has come: more would be memory for every download."""
_QUICK: Final = 0.005
"""Seconds that nobody notices: what is written in less need not go to a thread."""
_AT_ONCE: Final = 1024
"""Pieces that one call writes: systems take no more."""


# --- in ----------------------------------------------------------------------------------------


def several(images: ImageInput | Iterable[ImageInput] | None) -> tuple[ImageInput, ...]:
    """Pictures, however given: a single one (a path is a string, too) counts as one, None as none.

    Raises:
        InvalidRequest: It is no picture and holds none.
    """
    if isinstance(images, tuple):  # none, most of the time
        return images
    if images is None:
        return ()
    if isinstance(images, _ONE) or hasattr(images, "read") or link_of(images):
        return (images,)  # type: ignore[return-value]  # one of ImageInput, by the line above
    if not isinstance(images, Iterable):
        raise _no_picture(images)
    return tuple(images)


def link_of(image: object) -> str | None:
    """The http(s) address that a picture is given by, or None; URL objects count, too."""
    text = str(image) if hasattr(image, "host") else image
    return text.strip() if isinstance(text, str) and _LINK.match(text) else None


def is_data_url(image: object) -> bool:
    """Whether a picture is given as a data URL."""
    return isinstance(image, str) and _DATA_URL.match(image) is not None


async def as_data_url(
    image: ImageInput, download: Callable[[str], Awaitable[bytes]]
) -> DataUrl | str:
    """Any kind of picture as the one form every server takes (PROTOCOL §1.1).

    `download` fetches http(s) URLs. A file stays on disk until it is sent. A data URL stays as it
    is.

    Raises:
        InvalidRequest: It is no picture, is cut short, or cannot be read.
    """
    if isinstance(image, str) and is_data_url(image):
        return f"data:{image.strip()[5:]}"
    link = link_of(image)
    if link:
        return _checked(await _downloaded(link, download), _name_of(link))
    return await in_turn(_read_whole, image, queue="given")


async def _downloaded(link: str, download: Callable[[str], Awaitable[bytes]]) -> bytes:
    """Fetch a picture; what fails names the address, for it is not the server that failed."""
    try:
        return await download(link)
    except LinkRefused:
        raise
    except MJError as error:
        status = error.http_status or 0
        is_refusal = 400 <= status < 500 and status not in _BUSY
        if is_refusal or isinstance(error, MalformedReply) or not error.retryable:
            why = f"its host answered HTTP {status}" if is_refusal else error.message
            if error.description and not is_refusal:
                why = f"its host sent no picture but {printable(error.description, _NAME)}"
            message = f"The picture {_name_of(link)} cannot be had: {why.rstrip('.')}."
            raise InvalidRequest(message) from error
        error.message = f"The picture {_name_of(link)} cannot be had: {error.message}"
        error.hint = "Check its address, then try again."
        raise


async def as_mask(image: ImageInput, download: Callable[[str], Awaitable[bytes]]) -> DataUrl | str:
    """A mask as a PNG data URL, the only form every server takes (PROTOCOL §4.2).

    Raises:
        InvalidRequest: It is no PNG, marks nothing (with Pillow installed), or cannot be read.
    """
    url = await as_data_url(image, download)
    head = url.head if isinstance(url, DataUrl) else url[:_SNIFF].lower()
    if not head.startswith("data:image/png;base64,"):
        kind = head.partition(";")[0].removeprefix("data:")
        message = f"A mask must be a PNG (white where to repaint, on black), not {kind}."
        raise InvalidRequest(message)
    await in_turn(_check_mask, url, queue="given")
    return url


def _check_mask(url: DataUrl | str) -> None:
    """See that a mask marks something.

    Raises:
        InvalidRequest: It does not, so that the whole picture or nothing would be repainted.
    """
    from .pillow import fault_of_mask

    try:
        if isinstance(url, DataUrl):
            data = bytes(url.data)
        else:
            data = base64.b64decode(url.partition(",")[2])
        fault = fault_of_mask(data)
    except ImportError:  # without Pillow it goes as it is
        return
    except ValueError as error:
        raise InvalidRequest(f"The mask cannot be read: {error}.") from error
    if fault:
        message = (
            f"The mask marks nothing: {fault}. Paint what is to be repainted white, on "
            "black; a transparent hole, as masks of other services have it, is black here."
        )
        raise InvalidRequest(message)


async def as_file(file: ImageInput) -> bytes | OnDisk:
    """Any file, picture or not: where it is, or its bytes, read in a thread.

    Raises:
        InvalidRequest: It cannot be read.
    """
    return await in_turn(_read, file, queue="given")


def _read(image: ImageInput) -> bytes | OnDisk:
    try:
        data = _content_of(image)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"The picture {_name_of(image)} cannot be read: {reason}."
        raise InvalidRequest(message) from error
    if not isinstance(data, bytes | OnDisk):
        raise _no_picture(image)
    return data


def _read_whole(image: ImageInput) -> DataUrl:
    """Read a picture, and see that it is one to its end."""
    data, name = _read(image), _name_of(image)
    checked = _checked(data, name)
    _check_whole(data, name)
    return checked


def _no_picture(image: object) -> InvalidRequest:
    return InvalidRequest(
        f"{type(image).__name__} is not a picture: pass a path, an http(s) URL, bytes, "
        "a file opened in binary mode, or a Pillow image."
    )


def _content_of(image: ImageInput) -> object:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return OnDisk.found(Path(image).absolute())
    if isinstance(image, PillowImage):
        from .pillow import png_of

        return png_of(image)
    is_text = isinstance(image, io.TextIOBase)
    read = None if is_text else getattr(image, "read", None)
    return read() if callable(read) else None


def _checked(data: bytes | OnDisk, name: str) -> DataUrl:
    kind = sniff(data.start if isinstance(data, OnDisk) else data[:_SNIFF])
    if kind is None or not kind[1].startswith("image/"):
        what = "is empty" if not data else "is not in a picture format servers know"
        message = f"The picture {name} {what} (PNG, JPEG, WebP, GIF…)."
        raise InvalidRequest(message)
    return DataUrl(kind[1], data)


def _check_whole(data: bytes | OnDisk, name: str) -> None:
    """See that a picture does not break off: servers draw from half of one, and are paid for it.

    Raises:
        InvalidRequest: It does, is damaged, or is gone.
    """
    check = FormatCheck()
    try:
        for block in data.blocks() if isinstance(data, OnDisk) else (data,):
            check.feed(block)
        check.finish()
    except MalformedReply as error:
        message = error.message.replace("The picture", f"The picture {name}", 1)
        raise InvalidRequest(message) from error


def _name_of(image: ImageInput) -> str:
    if isinstance(image, str | os.PathLike):
        name = str(os.fspath(image))
        return repr(printable(name, _NAME))
    return f"given as {type(image).__name__}"


# --- out ---------------------------------------------------------------------------------------


@attrs.frozen
class Picture:
    """One picture, in memory."""

    data: bytes = attrs.field(repr=False)
    """The file's bytes."""
    name: str = "picture"
    """What it is called in a directory, without the ending."""

    @property
    def extension(self) -> str:
        """What its bytes are, as a file ending ("png", "webp")."""
        kind = sniff(self.data[:_SNIFF])
        return kind[0] if kind else "bin"

    def __bytes__(self) -> bytes:
        return self.data

    async def save(self, path: str | os.PathLike[str], **fields: object) -> Path:
        """Write it to a directory, a template or a file name, as `Task.save` does.

        Raises:
            OSError: The place cannot be written to; nothing is left behind.
        """

        async def whole() -> AsyncIterator[bytes]:
            yield self.data

        return await write_stream(whole(), path, {"id": self.name, **fields})


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    """All the bytes of a picture.

    Raises:
        MalformedReply: It is none, or is cut short.
    """
    check, pieces = FormatCheck(), []
    async for chunk in chunks:
        check.feed(chunk)
        pieces.append(chunk)
    check.finish()
    return b"".join(pieces)


async def write_stream(
    chunks: AsyncIterator[bytes], path: str | os.PathLike[str], fields: Mapping[str, object]
) -> Path:
    """Write a stream to its place: whole or not at all.

    The bytes go to a temporary file beside the target, which is renamed when they are complete.

    Raises:
        MalformedReply: The stream ended early or holds no picture.
        OSError: The place cannot be written to.
    """
    target_for(path, "png", fields)  # a template that does not work is told before the download
    folder = _folder_of(path)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    part = folder / f".mjasync-{os.urandom(8).hex()}.part"
    try:
        extension = await _write_part(chunks, part)
        target = target_for(path, extension, fields)
        await asyncio.to_thread(_move, part, target)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(part.unlink, missing_ok=True))
        raise
    return target


async def _write_part(chunks: AsyncIterator[bytes], part: Path) -> str:
    """Write everything; return the extension of what it is."""
    check = FormatCheck()
    with part.open("xb", buffering=0) as file:
        writer = _Writer(file)
        async for chunk in chunks:
            check.feed(chunk)
            await writer.write(chunk)
        await writer.flush()
    return check.finish()


class _Writer:
    """Writes what comes in: where it comes in as long as that is quick, else in a thread.

    What writing takes is known only when it is done, so the first piece goes to a thread, and the
    first slow one sends all that come after it there.
    """

    __slots__ = ("_file", "_held", "_is_quick", "_now", "_pieces")

    def __init__(self, file: io.FileIO, now: Callable[[], float] = time.perf_counter) -> None:
        self._file = file
        self._now = now
        self._pieces: list[bytes] = []
        self._held = _HELD  # as if: the first piece is not held
        self._is_quick: bool | None = None

    async def write(self, piece: bytes) -> None:
        """Write a piece, or hold it until there are more."""
        if self._is_quick:
            self._write([piece])
            return
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held >= _HELD:
            await self.flush()

    async def flush(self) -> None:
        """Write what is held in a thread; who is cancelled meanwhile does not leave it alone."""
        if not self._pieces:
            return
        job = in_turn(self._write, self._pieces)
        self._pieces, self._held = [], 0
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait([job])
            raise

    def _write(self, pieces: Sequence[bytes]) -> None:
        begun = self._now()
        _write_all(self._file, pieces)
        self._is_quick = self._is_quick is not False and self._now() - begun < _QUICK


def _write_all(file: io.FileIO, pieces: Sequence[bytes]) -> None:
    """Write them whole: a disk that fills up takes a part first and complains the next time."""
    rest: Sequence[bytes | memoryview] = pieces
    while rest:
        written = _write_some(file, rest[:_AT_ONCE])
        done = 0
        while done < len(rest) and written >= len(rest[done]):
            written -= len(rest[done])
            done += 1
        rest = rest[done:]
        if written:
            rest = [memoryview(rest[0])[written:], *rest[1:]]


def _write_some(file: io.FileIO, pieces: Sequence[bytes | memoryview]) -> int:
    """Bytes written of some pieces, with one call where the system has it for several."""
    if len(pieces) > 1 and hasattr(os, "writev"):
        return os.writev(file.fileno(), pieces)
    return file.write(pieces[0])


def _move(part: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


def _folder_of(path: str | os.PathLike[str]) -> Path:
    """Where the temporary file goes: the last folder of `path` that is no template."""
    folder = Path(path) if _is_folder(path) else Path(path).parent
    while "{" in str(folder):
        folder = folder.parent
    return folder


def _is_folder(path: str | os.PathLike[str]) -> bool:
    text = os.fspath(path)
    return text.endswith(("/", os.sep)) or Path(text).is_dir()


def target_for(path: str | os.PathLike[str], extension: str, fields: Mapping[str, object]) -> Path:
    """Where a picture goes: into a folder as `<id>.<ext>`, by template, or to a file name.

    A name without an ending gets the one of its bytes; a name with one is taken as it is. What a
    field holds is no ending.

    Raises:
        ConfigurationError: The template names an unknown field.
    """
    text = os.fspath(path)
    values = {key: _safe(value) for key, value in fields.items()} | {"ext": extension}
    target = Path(text if Path(text).is_dir() else _filled(text, values))
    if _is_folder(path):
        return target / f"{values['id']}.{extension}"
    has_ending = Path(_FIELDS.sub("_", text)).suffix
    name = target.name if has_ending else f"{target.name}.{extension}"
    return target.with_name(unreserved(name) if "{" in text else name)


def _filled(template: str, values: Mapping[str, object]) -> str:
    if "{" not in template:
        return template
    try:
        return template.format_map(values)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        known = ", ".join(f"{{{key}}}" for key in values)
        message = f"The template {template!r} does not work ({error}); it may use {known}."
        raise ConfigurationError(message) from None


def _safe(value: object) -> object:
    """A field for a file name: no separators, nothing that a system reserves, not too long."""
    if value is None:
        return ""
    return safe_filename(value[:_FIELD]) if isinstance(value, str) else value


async def split_grid(data: bytes) -> list[bytes]:
    """Cut a grid into its four pictures, row by row, in a thread.

    Raises:
        ConfigurationError: Pillow is not installed.
        MalformedReply: It is no picture that Pillow can read.
    """
    return await asyncio.to_thread(_split, data)


def _split(data: bytes) -> list[bytes]:
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
        return list(map(_as_png, parts))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = (
            f"The grid is too large for Pillow to open ({error}). Take it whole with read() or "
            "save(), or set PIL.Image.MAX_IMAGE_PIXELS to a number that it stays under."
        )
        raise ConfigurationError(message) from error
    except (OSError, SyntaxError, ValueError) as error:
        message = f"The grid cannot be cut in four: {error}."
        raise MalformedReply(message) from error


def _as_png(image: PillowImage) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
