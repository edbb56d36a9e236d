"""The channel to the upstream: one HTTP exchange at a time, and what a gateway makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import attrs
import orjson

from .shapes import local_error

if TYPE_CHECKING:
    from ..server import Simulator

__all__ = ["Answer", "Channel", "Upstream", "empty", "told"]

_LOOPBACK: Final = 10.0


@attrs.frozen(kw_only=True)
class Upstream:
    """The server a gateway stands in front of."""

    url: str | None
    """Its base URL; None: it is our own, and has one once it listens."""
    token: str | None
    own: Simulator | None
    """The simulator that was started for this gateway alone."""


@attrs.frozen
class Answer:
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


class Channel:
    """Calls the upstream with the token of the gateway instead of its users'."""

    def __init__(self, upstream: Upstream, time_scale: float) -> None:
        self._upstream = upstream
        self._scale = time_scale
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Begin."""
        secret = {"mj-api-secret": self._upstream.token} if self._upstream.token else {}
        self._session = aiohttp.ClientSession(headers=secret)

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
    def base(self) -> str:
        """The base URL of the upstream."""
        own = self._upstream.own
        return own.url if own is not None else (self._upstream.url or "").rstrip("/")

    @property
    def origin(self) -> str:
        """Scheme and host of the upstream, which its links begin with."""
        parts = urlsplit(self.base)
        return f"{parts.scheme}://{parts.netloc}"

    def deadline(self, simulated: float, floor: float = _LOOPBACK) -> float:
        """Real seconds to wait; never so few that a busy machine alone could use them up."""
        return max(simulated * self._scale, floor) if self._scale else _LOOPBACK

    async def call(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        data: bytes | None = None,
        content_type: str | None = None,
        seconds: float = _LOOPBACK,
    ) -> Answer:
        """Make one call, to a path or a whole URL.

        Raises:
            Refusal: There was no whole answer in time: code 5 (PROTOCOL §2).
        """
        if self._session is None:
            raise local_error("do_request_failed", code=5)
        headers = {"Content-Type": content_type} if content_type else None
        url = url if url.startswith("http") else self.base + url
        if json is not None:
            data, headers = orjson.dumps(json), {"Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, timeout=timeout
            ) as response:
                body = await response.read()
        except aiohttp.ClientPayloadError as error:
            raise local_error("read_response_body_failed", code=5) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise local_error("do_request_failed", code=5) from error
        return Answer(response.status, body, response.headers.get("Content-Type"))


def told(answer: Answer) -> dict[str, Any]:
    """A SubmitResult as the Go struct takes it: zero values for what is missing or null.

    Raises:
        Refusal: It does not fit: no JSON object, or a ``result`` that is neither a string nor a
            list of them (PROTOCOL §2: 5).
    """
    body = answer.json()
    if isinstance(body, dict):
        fields = {
            "code": body.get("code") or 0,
            "description": body.get("description") or "",
            "properties": body.get("properties") or None,
            "result": body.get("result") or "",
        }
        if _fits(fields):
            return fields
    raise local_error("unmarshal_response_body_failed", code=5)


def _fits(fields: dict[str, Any]) -> bool:
    result = fields["result"]
    texts = result if isinstance(result, list) else [result]
    return (
        isinstance(fields["code"], int)
        and isinstance(fields["description"], str)
        and all(isinstance(text, str) for text in texts)
    )


def empty() -> dict[str, Any]:
    """What stands for an answer without a body where one is marshalled again."""
    return {"code": 5, "description": "empty_response_body", "properties": None, "result": ""}
