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
from .links import candidate_urls, parse_link
from .reads import ReadApi
from .transport import HttpResponse, RequestInterrupted

__all__ = ["DownloadApi"]

_BLOCKED_TEXT: Final = re.compile(r"request (is )?blocked", re.IGNORECASE)
"""new-api's words for an address that it does not ask."""


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
        """Stream a picture into `consume`, which is called afresh for every attempt.

        Args:
            url: Its link, as the server gave it, or the caller did.
            consume: Takes in the pieces.
            operation: What is asked for.
            is_input: The caller gave the link, and knows best where it leads.

        Raises:
            LinkExpired: The link does not answer any more.
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
            async with self.transport.stream(url, self.read_timeout) as (reply, pieces):
                is_picture = sniff(await pieces.read_head()) is not None
                if not (is_picture and 200 <= reply.status < 300):
                    body = self.transport.redactor.clean(await pieces.error())
                    self._check_image_reply(attrs.evolve(reply, body=body), operation)
                return await consume(pieces)
        except RequestInterrupted as error:
            raise error.as_read() from error.__cause__

    def _check_image_reply(self, reply: HttpResponse, operation: Operation) -> NoReturn:
        """Raise what came instead of a picture."""
        words = self._parse(reply)
        if reply.status == 403 and _BLOCKED_TEXT.search(words.description):
            message = (
                "The gateway refuses to fetch this picture from its upstream: its guard against "
                "private addresses and unusual ports (SSRF) blocks it."
            )
            raise LinkRefused(message, description=words.description, http_status=reply.status)
        if isinstance(words.json, dict) and set(words.json) == {"error"}:
            operation = Operation.IMAGE  # the gateway passes on the reply of the image host
        wall = self.clock.wall()
        check_image(reply.status, reply.headers, reply.body, wall=wall, operation=operation)
        message = f"The link led to {len(reply.body)} bytes that are no picture."
        raise MalformedReply(message)

    async def download_by_id(
        self, task_id: str, consume: Callable[[AsyncIterator[bytes]], Awaitable[T]]
    ) -> T:
        """Stream the picture a gateway serves by task id (PROTOCOL §1.18)."""
        url = self.url.endpoint(f"image/{quote(task_id, safe='')}")
        return await self.download(str(url), consume, Operation.OTHER)
