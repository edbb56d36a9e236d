"""The calls of the protocol to one server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import attrs

from .._protocol import decoding, payloads
from .._protocol.parsing import Operation
from .._protocol.replies import parse_object, parse_seed
from ..errors import MalformedReply
from .bodies import DataUrl, encode_body
from .submission import check_body
from .submitter import SubmitApi

_SEED_TIMEOUT: Final = 75.0
"""The server itself may block for a minute (PROTOCOL §1.15)."""


@attrs.define
class ServerApi(SubmitApi):
    """All calls of the protocol: reads, downloads and submissions."""

    async def upload(self, images: Sequence[DataUrl | str]) -> list[str]:
        """Upload images; return their links, in the same order.

        Raises:
            MJError: The server has no uploads, refused, or the exchange failed.
        """
        url = self.url.endpoint("submit/upload-discord-images")
        body = await asyncio.to_thread(encode_body, payloads.upload(images))

        async def attempt() -> list[str]:
            await check_body(body)
            response = await self._exchange("POST", url, body=body, timeout=self.submit_timeout)
            reply = parse_object(Operation.OTHER, self._parse(response))
            result = reply.get("result")
            links = decoding.parse_urls(result if isinstance(result, list) else [result])
            if len(links) != len(images):
                message = f"The server returned {len(links)} links for {len(images)} images."
                raise MalformedReply(message)
            return list(links)

        return await self._with_read_retries(attempt, self.retries.read)

    async def seed(self, task_id: str) -> int:
        """Return the seed of a finished task; the server may take a minute to find it.

        Raises:
            MJError: The task has no seed, or the read failed.
        """
        url = self.url.task_endpoint(task_id, "image-seed")

        async def attempt() -> int:
            return parse_seed(self._parse(await self._exchange("GET", url, timeout=_SEED_TIMEOUT)))

        return await self._with_read_retries(attempt, self.retries.read)

    async def cancel(self, task_id: str) -> None:
        """Cancel a task on the server (PROTOCOL §1.15).

        Raises:
            UnsupportedEndpoint: The server cannot cancel tasks.
            MJError: The server refused.
        """
        url = self.url.task_endpoint(task_id, "cancel")
        response = await self._exchange("POST", url, body=b"{}")
        reply = self._parse(response)
        if not (response.status in {200, 204} and reply.is_empty):
            parse_object(Operation.OTHER, reply)
