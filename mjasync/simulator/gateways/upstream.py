"""The channel to the upstream: one HTTP exchange at a time, and what a gateway makes of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
import attrs
import orjson

from .gateway_responses import local_error
from .go_json import GoJsonError, decode, decode_struct

if TYPE_CHECKING:
    from ..faults import FaultScript
    from ..webhook_sender import WebhookDelivery

__all__ = [
    "EmbeddedServer",
    "UpstreamClient",
    "UpstreamResponse",
    "UpstreamSettings",
    "empty_submit_result",
    "parse_submit_result",
]

_MIN_TIMEOUT: Final = 10.0
_SUBMIT_RESULT_FIELDS: Final = {
    "code": int,
    "description": str,
    "properties": object,
    "result": object,
}
"""The fields of a SubmitResult; ``result`` may be one of two things."""


class EmbeddedServer(Protocol):
    """What a gateway uses of the simulator that was started for it alone."""

    @property
    def url(self) -> str:
        """The base URL."""
        ...

    @property
    def fault_script(self) -> FaultScript:
        """The faults that it injects."""
        ...

    @property
    def hooks(self) -> list[WebhookDelivery]:
        """The webhooks that it posted."""
        ...

    async def start(self) -> Any:  # noqa: ANN401 - itself
        """Listen."""

    async def stop(self) -> None:
        """Stop listening."""

    async def wait_idle(self) -> None:
        """Wait until all tasks have ended."""

    def forget(self, task_id: str | None = None) -> None:
        """Lose a task, or all of them."""

    def expire_links(self) -> None:
        """Make all image links expire."""


@attrs.frozen(kw_only=True)
class UpstreamSettings:
    """The server a gateway stands in front of."""

    url: str | None
    """Its base URL; None: it is our own, and has one once it listens."""
    token: str | None
    embedded: EmbeddedServer | None
    """The simulator that was started for this gateway alone."""


@attrs.frozen
class UpstreamResponse:
    """What the upstream answered."""

    status: int
    body: bytes
    content_type: str | None

    def json(self) -> Any:  # noqa: ANN401 - JSON holds anything
        """The body; None when it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class UpstreamClient:
    """Calls the upstream with the token of the gateway instead of its users'."""

    def __init__(self, server: UpstreamSettings, time_scale: float) -> None:
        self._server = server
        self._time_scale = time_scale
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Begin."""
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        """Let go of every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._session is not None

    @property
    def base_url(self) -> str:
        """The base URL of the upstream."""
        embedded = self._server.embedded
        return embedded.url if embedded is not None else (self._server.url or "").rstrip("/")

    @property
    def origin(self) -> str:
        """Scheme and host of the upstream, which its links begin with."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def scale_timeout(self, simulated_seconds: float, min_seconds: float = _MIN_TIMEOUT) -> float:
        """Real seconds to wait; never so few that a busy machine alone could use them up."""
        return (
            max(simulated_seconds * self._time_scale, min_seconds)
            if self._time_scale
            else _MIN_TIMEOUT
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        content_type: str | None = None,
        timeout: float = _MIN_TIMEOUT,
        authenticated: bool = True,
    ) -> UpstreamResponse:
        """Make one call, to a path or a whole URL.

        Raises:
            Refusal: There was no whole answer in time: code 5 (PROTOCOL §2).
        """
        if self._session is None:
            raise local_error("do_request_failed", code=5)
        headers = {"Content-Type": content_type} if content_type else {}
        if authenticated and self._server.token:
            headers["mj-api-secret"] = self._server.token
        url = url if url.startswith("http") else self.base_url + url
        client_timeout = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=client_timeout
            ) as response:
                response_body = await response.read()
        except aiohttp.ClientPayloadError as error:
            raise local_error("read_response_body_failed", code=5) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise local_error("do_request_failed", code=5) from error
        return UpstreamResponse(
            response.status, response_body, response.headers.get("Content-Type")
        )

    async def fetch_image(self, url: str) -> UpstreamResponse:
        """Fetch a picture; one that is cut off is whole as far as anybody is told.

        Raises:
            Refusal: There was no answer.
        """
        if self._session is None or not url.startswith("http"):
            raise local_error("do_request_failed", code=5)
        client_timeout = aiohttp.ClientTimeout(total=_MIN_TIMEOUT)
        body = bytearray()
        try:
            async with self._session.get(url, timeout=client_timeout) as response:
                with contextlib.suppress(aiohttp.ClientPayloadError):
                    async for chunk in response.content.iter_any():
                        body += chunk
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise local_error("do_request_failed", code=5) from error
        return UpstreamResponse(response.status, bytes(body), response.headers.get("Content-Type"))


def parse_submit_result(response: UpstreamResponse) -> dict[str, Any]:
    """A SubmitResult as the Go struct takes it: zero values for what is missing or null.

    Raises:
        Refusal: It does not fit: no JSON object, or a ``result`` that is neither a string nor a
            list of them (PROTOCOL §2: 5).
    """
    try:
        fields = decode_struct(
            decode(response.body), _SUBMIT_RESULT_FIELDS, "dto.MidjourneyResponse"
        )
        if isinstance(fields["result"], list):
            decode_struct(fields, {"result": list}, "dto.MidjourneyUploadResponse")
        else:
            fields |= decode_struct(fields, {"result": str}, "dto.MidjourneyResponse")
    except GoJsonError as error:
        raise local_error("unmarshal_response_body_failed", code=5) from error
    return fields


def empty_submit_result() -> dict[str, Any]:
    """What stands for an answer without a body where one is marshalled again."""
    return {"code": 5, "description": "empty_response_body", "properties": None, "result": ""}
