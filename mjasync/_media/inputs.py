"""Images that callers pass: read, checked, encoded."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final, Protocol, runtime_checkable

from .._concurrency import run_in_worker
from .._http.bodies import DataUrl, FileContent
from .._text import printable
from ..errors import InvalidRequest, LinkRefused, MalformedReply, MJError
from .formats import SNIFFED_BYTES as _SNIFF
from .formats import FormatCheck, sniff


@runtime_checkable
class PillowImage(Protocol):
    """The part of `PIL.Image.Image` that is used, so that Pillow is optional."""

    def save(self, fp: BinaryIO, /, format: str) -> None:  # noqa: A002 - Pillow's own name
        """Write the image in a format."""

    def getbands(self) -> tuple[str, ...]:
        """Return the names of the channels."""
        ...


ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PillowImage
"""A picture: a path, an http(s) URL, a data URL, bytes, an open binary file, a Pillow image."""
_SINGLE_INPUT_TYPES: Final = (
    str,
    os.PathLike,
    bytes,
    bytearray,
    memoryview,
    io.IOBase,
    PillowImage,
)
_HTTP_URL: Final = re.compile(r"\s*https?://", re.IGNORECASE)
_DATA_URL: Final = re.compile(r"\s*data:", re.IGNORECASE)
_RETRYABLE_STATUSES: Final = (408, 425, 429)
"""Statuses from 400 to 499 after which a request may be retried."""
_MAX_SHOWN_NAME: Final = 200
"""Maximum length of a name in a message; callers may pass the image itself as a string."""


def as_tuple(images: ImageInput | Iterable[ImageInput] | None) -> tuple[ImageInput, ...]:
    """Return images as a tuple: a single one (a path is a string, too) or an iterable of them.

    Raises:
        InvalidRequest: It is neither an image nor an iterable.
    """
    if isinstance(images, tuple):  # usually empty
        return images
    if images is None:
        return ()
    if isinstance(images, _SINGLE_INPUT_TYPES) or hasattr(images, "read") or input_url(images):
        return (images,)  # type: ignore[return-value]  # one of ImageInput, by the line above
    if not isinstance(images, Iterable):
        raise _not_an_image(images)
    return tuple(images)


def input_url(image: object) -> str | None:
    """Return the http(s) URL of an image given by URL, or None."""
    text = str(image) if hasattr(image, "host") else image
    return text.strip() if isinstance(text, str) and _HTTP_URL.match(text) else None


def is_data_url(image: object) -> bool:
    """Return whether an image is a data URL."""
    return isinstance(image, str) and _DATA_URL.match(image) is not None


async def as_data_url(
    image: ImageInput, download: Callable[[str], Awaitable[bytes]]
) -> DataUrl | str:
    """Return an image as a data URL, which every server accepts (PROTOCOL §1.1).

    `download` fetches http(s) URLs. A file stays on disk until it is sent. A data URL stays as it
    is.

    Raises:
        InvalidRequest: It is not an image, incomplete, or unreadable.
    """
    if isinstance(image, str) and is_data_url(image):
        return f"data:{image.strip()[5:]}"
    link = input_url(image)
    if link:
        return _validate_size(await _download_url(link, download), _name_of(link))
    return await run_in_worker(_read_whole, image, queue="given")


async def _download_url(link: str, download: Callable[[str], Awaitable[bytes]]) -> bytes:
    """Download an image; errors name its address, since the server did not fail."""
    try:
        return await download(link)
    except LinkRefused:
        raise
    except MJError as error:
        status = error.http_status or 0
        is_refusal = 400 <= status < 500 and status not in _RETRYABLE_STATUSES
        if is_refusal or isinstance(error, MalformedReply) or not error.retryable:
            why = f"its host answered HTTP {status}" if is_refusal else error.message
            if error.description and not is_refusal:
                why = (
                    f"its host sent no picture but {printable(error.description, _MAX_SHOWN_NAME)}"
                )
            message = f"The picture {_name_of(link)} cannot be had: {why.rstrip('.')}."
            raise InvalidRequest(message) from error
        error.message = f"The picture {_name_of(link)} cannot be had: {error.message}"
        error.hint = "Check its address, then try again."
        raise


async def as_mask(image: ImageInput, download: Callable[[str], Awaitable[bytes]]) -> DataUrl | str:
    """Return a mask as a PNG data URL, which every server accepts (PROTOCOL §4.2).

    Raises:
        InvalidRequest: It is not a PNG, marks nothing (if Pillow is installed), or is unreadable.
    """
    url = await as_data_url(image, download)
    head = url.head if isinstance(url, DataUrl) else url[:_SNIFF].lower()
    if not head.startswith("data:image/png;base64,"):
        kind = head.partition(";")[0].removeprefix("data:")
        message = f"A mask must be a PNG (white where to repaint, on black), not {kind}."
        raise InvalidRequest(message)
    await run_in_worker(_check_mask, url, queue="given")
    return url


def _check_mask(url: DataUrl | str) -> None:
    """Check that a mask marks something.

    Raises:
        InvalidRequest: It marks nothing: the whole image or nothing would be repainted.
    """
    from .pillow import mask_problem

    try:
        if isinstance(url, DataUrl):
            data = bytes(url.data)
        else:
            data = base64.b64decode(url.partition(",")[2])
        fault = mask_problem(data)
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


async def read_file_input(file: ImageInput) -> bytes | FileContent:
    """Return a file, or its bytes, read in a thread.

    Raises:
        InvalidRequest: It cannot be read.
    """
    return await run_in_worker(_read_source, file, queue="given")


def _read_source(image: ImageInput) -> bytes | FileContent:
    try:
        data = _read_content(image)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"The picture {_name_of(image)} cannot be read: {reason}."
        raise InvalidRequest(message) from error
    if not isinstance(data, bytes | FileContent):
        raise _not_an_image(image)
    return data


def _read_whole(image: ImageInput) -> DataUrl:
    """Read an image, and check that it is complete."""
    data, name = _read_source(image), _name_of(image)
    checked = _validate_size(data, name)
    _check_complete(data, name)
    return checked


def _not_an_image(image: object) -> InvalidRequest:
    return InvalidRequest(
        f"{type(image).__name__} is not a picture: pass a path, an http(s) URL, bytes, "
        "a file opened in binary mode, or a Pillow image."
    )


def _read_content(image: ImageInput) -> object:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return FileContent.from_path(Path(image).absolute())
    if isinstance(image, PillowImage):
        from .pillow import encode_as_png

        return encode_as_png(image)
    is_text = isinstance(image, io.TextIOBase)
    read = None if is_text else getattr(image, "read", None)
    return read() if callable(read) else None


def _validate_size(data: bytes | FileContent, name: str) -> DataUrl:
    kind = sniff(data.start if isinstance(data, FileContent) else data[:_SNIFF])
    if kind is None or not kind[1].startswith("image/"):
        what = "is empty" if not data else "is not in a picture format servers know"
        message = f"The picture {name} {what} (PNG, JPEG, WebP, GIF…)."
        raise InvalidRequest(message)
    return DataUrl(kind[1], data)


def _check_complete(data: bytes | FileContent, name: str) -> None:
    """Check that an image is complete: servers accept half of one, and charge for it.

    Raises:
        InvalidRequest: It is incomplete, damaged, or gone.
    """
    check = FormatCheck()
    try:
        for block in data.blocks() if isinstance(data, FileContent) else (data,):
            check.feed(block)
        check.finish()
    except MalformedReply as error:
        message = error.message.replace("The picture", f"The picture {name}", 1)
        raise InvalidRequest(message) from error


def _name_of(image: ImageInput) -> str:
    if isinstance(image, str | os.PathLike):
        name = str(os.fspath(image))
        return repr(printable(name, _MAX_SHOWN_NAME))
    return f"given as {type(image).__name__}"
