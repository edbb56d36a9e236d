"""The implementation of each HTTP fault."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
from aiohttp import web

from .responses import SimResponse

if TYPE_CHECKING:
    from .faults import Fault

_ERROR_PAGE: Final = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>New API</title></head>
<body><noscript>You need to enable JavaScript to run this app.</noscript><div id="root"></div>
<script type="module" src="/assets/index.js"></script></body></html>
"""
_LINGER_SECONDS: Final = struct.pack("ii", 1, 0)
_UNSENT_BYTES: Final = 64
_CLOSED_CHECK_INTERVAL: Final = 0.01
"""Seconds between two checks whether the client has closed the connection."""
_Handle: TypeAlias = Callable[[], Awaitable[SimResponse]]
_FaultResult: TypeAlias = tuple[web.StreamResponse, int | None]


@attrs.frozen(kw_only=True)
class FaultExchange:
    """A request with the options of the fault that affects it."""

    options: Mapping[str, object]
    request: web.BaseRequest
    handle: _Handle


class AnonymousResponse(web.Response):
    """A response without a Server header."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


def send_response(reply: SimResponse) -> web.Response:
    """Convert a response to aiohttp's."""
    content_type = {"Content-Type": _with_charset(reply.content_type)} if reply.body else {}
    headers = {**content_type, **reply.headers}
    return AnonymousResponse(status=reply.status, body=reply.body, headers=headers)


async def inject_fault(fault: Fault, request: web.BaseRequest, handle: _Handle) -> _FaultResult:
    """Answer a request with a fault.

    Args:
        fault: The fault to inject.
        request: The request.
        handle: Handles the request and returns the correct response.

    Returns:
        The response, and the status that the client receives; None if it receives none.
    """
    context = FaultExchange(options=fault.options, request=request, handle=handle)
    return await _INJECTORS[fault.kind](context)


def _with_charset(content_type: str) -> str:
    return f"{content_type}; charset=utf-8" if content_type == "text/html" else content_type


async def _send_reply(context: FaultExchange) -> _FaultResult:
    body, default_type = _encode_body(context.options["body"])
    content_type = context.options["content_type"] or default_type
    headers = {"Content-Type": str(content_type)} if body or context.options["content_type"] else {}
    extra_headers = context.options["headers"]
    if isinstance(extra_headers, dict):
        headers |= extra_headers
    status = _status(context)
    return web.Response(status=status, body=body, headers=headers), status


def _status(context: FaultExchange) -> int:
    return int(str(context.options["status"]))


def _encode_body(body: object) -> tuple[bytes, str]:
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return json.dumps(body, ensure_ascii=False).encode(), "application/json"


async def _send_html(context: FaultExchange) -> _FaultResult:
    reply = SimResponse(status=_status(context), body=_ERROR_PAGE, content_type="text/html")
    return send_response(reply), reply.status


async def _truncate(context: FaultExchange) -> _FaultResult:
    """Send less than the Content-Length, and close the connection."""
    reply = await context.handle()
    header = (
        f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {reply.content_type}\r\n"
        f"Content-Length: {len(reply.body) + _UNSENT_BYTES}\r\n\r\n"
    )
    if context.request.transport is not None:
        context.request.transport.write(header.encode() + reply.body[: -(-len(reply.body) // 2)])
        context.request.transport.close()
    return web.Response(), reply.status


async def _reset_before(context: FaultExchange) -> _FaultResult:
    _reset_connection(context)
    return web.Response(), None


async def _reset_after(context: FaultExchange) -> _FaultResult:
    await context.handle()
    _reset_connection(context)
    return web.Response(), None


async def _silent_after(context: FaultExchange) -> _FaultResult:
    """Handle the request without an answer, until the client closes the connection."""
    await context.handle()
    transport = context.request.transport
    while transport is not None and not transport.is_closing():  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(_CLOSED_CHECK_INTERVAL)
    return web.Response(), None


def _reset_connection(context: FaultExchange) -> None:
    """Close the connection with a reset."""
    transport = context.request.transport
    if transport is not None:
        raw_socket = transport.get_extra_info("socket")
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_SECONDS)
        transport.abort()


async def _send_slowly(context: FaultExchange) -> _FaultResult:
    """Send the body byte by byte."""
    reply = await context.handle()
    headers = {"Content-Type": _with_charset(reply.content_type)}
    response = web.StreamResponse(status=reply.status, headers=headers)
    response.content_length = len(reply.body)
    with contextlib.suppress(ConnectionError):
        await response.prepare(context.request)
        for position in range(len(reply.body)):
            await response.write(reply.body[position : position + 1])
            await asyncio.sleep(float(str(context.options["gap"])))
    return response, reply.status


async def _send_numeric_result(context: FaultExchange) -> _FaultResult:
    """Send ``result`` as a JSON integer, as in published examples (PROTOCOL §2)."""
    reply = await context.handle()
    body = json.loads(reply.body) if reply.body[:1] == b"{" else None
    if isinstance(body, dict) and str(body.get("result")).isdecimal():
        body["result"] = int(body["result"])
        reply = SimResponse(status=reply.status, body=_encode_body(body)[0])
    return send_response(reply), reply.status


_INJECTORS: Final[Mapping[str, Callable[[FaultExchange], Awaitable[_FaultResult]]]] = {
    "reply": _send_reply,
    "html": _send_html,
    "truncated": _truncate,
    "reset_before": _reset_before,
    "reset_after": _reset_after,
    "silent_after": _silent_after,
    "slow_body": _send_slowly,
    "numeric_result": _send_numeric_result,
}
