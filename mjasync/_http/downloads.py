"""The calls that download images and videos."""

from __future__ import annotations

import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
)
from contextlib import suppress
from typing import Final, NoReturn
from urllib.parse import quote

import attrs
from yarl import URL

from .._concurrency import T
from .._media.formats import sniff
from .._protocol.parsing import Operation
from .._protocol.replies import (
    check_image,
)
from ..errors import (
    ConnectionFailed,
    LinkRefused,
    MalformedReply,
)
from .failures import RequestInterrupted
from .links import candidate_urls, parse_link
from .reads import ReadApi
from .transport import HttpResponse

_BLOCKED_TEXT: Final = re.compile(r"request (is )?blocked", re.IGNORECASE)
"""The text of new-api for an address that it does not fetch."""


@attrs.define
class DownloadApi(ReadApi):
    """Downloads, by link and by task."""

    async def download(
        self,
        url: str,
        consume: Callable[[AsyncIterator[bytes]], Awaitable[T]],
        operation: Operation = Operation.IMAGE,
        *,
        is_input: bool = False,
    ) -> T:
        """Stream an image into `consume`, which is called anew for each attempt.

        Args:
            url: The link from the server or the caller.
            consume: Receives the pieces.
            operation: The kind of request.
            is_input: Whether the link is from the caller, and so is tried as it is first.

        Raises:
            LinkExpired: The link has expired.
            MJError: The read failed.
        """
        addresses = candidate_urls(url, self.url.base)
        if is_input:
            addresses = tuple(dict.fromkeys((parse_link(url.strip()), *addresses)))

        async def once() -> T:
            for address in addresses[:-1]:
                with suppress(ConnectionFailed):
                    return await self._download_once(address, consume, operation)
            return await self._download_once(addresses[-1], consume, operation)

        return await self._with_read_retries(once, self.retries.read)

    async def _download_once(
        self,
        url: URL,
        consume: Callable[[AsyncIterator[bytes]], Awaitable[T]],
        operation: Operation,
    ) -> T:
        try:
            async with self.transport.stream(url, self.read_timeout) as (response, pieces):
                is_picture = sniff(await pieces.read_head()) is not None
                if not (is_picture and 200 <= response.status < 300):
                    body = self.transport.redactor.clean(await pieces.error())
                    self._check_image_reply(attrs.evolve(response, body=body), operation)
                return await consume(pieces)
        except RequestInterrupted as error:
            raise error.as_read() from error.__cause__

    def _check_image_reply(self, response: HttpResponse, operation: Operation) -> NoReturn:
        """Raise the error for a response that is not an image."""
        reply = self._parse(response)
        if response.status == 403 and _BLOCKED_TEXT.search(reply.description):
            message = (
                "The gateway refuses to fetch this picture from its upstream: its guard against "
                "private addresses and unusual ports (SSRF) blocks it."
            )
            raise LinkRefused(message, description=reply.description, http_status=response.status)
        if isinstance(reply.json, dict) and set(reply.json) == {"error"}:
            operation = Operation.IMAGE  # the gateway passes on the response of the image host
        wall = self.clock.wall()
        check_image(
            response.status, response.headers, response.body, wall=wall, operation=operation
        )
        message = f"The link led to {len(response.body)} bytes that are no picture."
        raise MalformedReply(message)

    async def download_by_id(
        self, task_id: str, consume: Callable[[AsyncIterator[bytes]], Awaitable[T]]
    ) -> T:
        """Stream the picture a gateway serves by task id (PROTOCOL §1.18)."""
        url = self.url.endpoint(f"image/{quote(task_id, safe='')}")
        return await self.download(str(url), consume, Operation.OTHER)
