"""The HTTP client for the upstream of a gateway, and the SubmitResults it receives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
import attrs
import orjson

from .gateway_responses import local_error
from .go_json import GoJsonError, GoStruct, decode

if TYPE_CHECKING:
    from ..faults import FaultScript
    from ..webhook_sender import WebhookDelivery

ACCEPTED_CODES: Final = frozenset({1, 22})
"""Codes of a SubmitResult with a task that runs or waits."""
MODAL_CODE: Final = 21
"""The code of a task that waits for its modal, or that exists already (PROTOCOL §2)."""
MIN_TIMEOUT: Final = 10.0
"""Real seconds for an upstream on a busy machine."""
_SUBMIT_RESULT: Final = GoStruct(
    "dto.MidjourneyResponse",
    {"code": int, "description": str, "properties": object, "result": object},
)
_TEXT_RESULT: Final = GoStruct("dto.MidjourneyResponse", {"result": str})
_LIST_RESULT: Final = GoStruct("dto.MidjourneyUploadResponse", {"result": list})


class EmbeddedServer(Protocol):
    """The part of a simulator that the gateway in front of it uses."""

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


@attrs.frozen
class UpstreamResponse:
    """A response of the upstream."""

    status: int
    body: bytes
    content_type: str | None

    def json(self) -> Any:  # noqa: ANN401 - JSON holds anything
        """Return the decoded body; None when it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@attrs.define(kw_only=True, eq=False)
class UpstreamClient:
    """Sends requests to the upstream, with the token of the gateway instead of its users'."""

    url: str | None
    """Its base URL; None: that of ``embedded``, once it listens."""
    token: str | None
    embedded: EmbeddedServer | None
    """The simulator that runs for this gateway alone."""
    _session: aiohttp.ClientSession | None = attrs.field(default=None, init=False)

    async def open(self) -> None:
        """Start the embedded server, and allow requests."""
        if self.embedded is not None:
            await self.embedded.start()
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        """Close all connections, and stop the embedded server."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self.embedded is not None:
            await self.embedded.stop()

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._session is not None

    @property
    def base_url(self) -> str:
        """The base URL of the upstream."""
        return self.embedded.url if self.embedded is not None else (self.url or "").rstrip("/")

    @property
    def origin(self) -> str:
        """Scheme and host of the upstream, with which its links begin."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        content_type: str | None = None,
        timeout: float = MIN_TIMEOUT,
        authenticated: bool = True,
        allows_truncated: bool = False,
    ) -> UpstreamResponse:
        """Send one request.

        Args:
            method: The HTTP method.
            url: A path at the upstream, or a whole URL.
            body: The body.
            content_type: Its content type.
            timeout: Real seconds for the whole exchange.
            authenticated: Send the token of the gateway.
            allows_truncated: Return the part of a body that arrived before the connection broke.

        Raises:
            RequestRefused: No complete response arrived in time: code 5 (PROTOCOL §2).
        """
        if self._session is None:
            raise local_error("do_request_failed", code=5)
        headers = {"Content-Type": content_type} if content_type else {}
        if authenticated and self.token:
            headers["mj-api-secret"] = self.token
        url = url if url.startswith("http") else self.base_url + url
        client_timeout = aiohttp.ClientTimeout(total=timeout)
        received = bytearray()
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=client_timeout
            ) as response:
                try:
                    async for chunk in response.content.iter_any():
                        received += chunk
                except aiohttp.ClientPayloadError as error:
                    if not allows_truncated:
                        raise local_error("read_response_body_failed", code=5) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise local_error("do_request_failed", code=5) from error
        return UpstreamResponse(
            response.status, bytes(received), response.headers.get("Content-Type")
        )


def parse_submit_result(response: UpstreamResponse) -> dict[str, Any]:
    """Return the fields of a SubmitResult, with zero values for those missing or null.

    Raises:
        RequestRefused: The body is no JSON object, or its ``result`` is neither a string nor a
            list of strings (PROTOCOL §2: 5).
    """
    if not response.body:
        return {"code": 5, "description": "empty_response_body", "properties": None, "result": ""}
    try:
        fields = _SUBMIT_RESULT.decode(decode(response.body))
        if isinstance(fields["result"], list):
            _LIST_RESULT.decode(fields)
        else:
            fields |= _TEXT_RESULT.decode(fields)
    except GoJsonError as error:
        raise local_error("unmarshal_response_body_failed", code=5) from error
    return fields
