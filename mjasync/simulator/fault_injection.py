"""How each HTTP fault is carried out on the wire."""

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

from .responses import Reply

if TYPE_CHECKING:
    from .faults import Fault

__all__ = ["answer", "sabotage"]

_PAGE: Final = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>New API</title></head>
<body><noscript>You need to enable JavaScript to run this app.</noscript><div id="root"></div>
<script type="module" src="/assets/index.js"></script></body></html>
"""
_LINGER: Final = struct.pack("ii", 1, 0)
_MISSING: Final = 64
_CLOSED_CHECK_INTERVAL: Final = 0.01
"""Seconds between two looks at whether the other side has closed the connection."""

_Process: TypeAlias = Callable[[], Awaitable[Reply]]
_Outcome: TypeAlias = tuple[web.StreamResponse, int | None]


@attrs.frozen(kw_only=True)
class _Exchange:
    """A request on the point of being answered wrongly."""

    options: Mapping[str, object]
    """Those of the fault."""
    request: web.BaseRequest
    process: _Process


class _Anonymous(web.Response):
    """A response that does not say what made it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


def answer(reply: Reply) -> web.Response:
    """An untampered answer."""
    typed = {"Content-Type": _typed(reply.content_type)} if reply.body else {}
    headers = {**typed, **reply.headers}
    return _Anonymous(status=reply.status, body=reply.body, headers=headers)


async def sabotage(fault: Fault, request: web.BaseRequest, process: _Process) -> _Outcome:
    """Answer a request as a fault would have it.

    Args:
        fault: What goes wrong.
        request: The request.
        process: Does what was asked and gives the answer that would be right.

    Returns:
        The response, and the status the client gets to see; None: it sees none.
    """
    exchange = _Exchange(options=fault.options, request=request, process=process)
    return await _WAYS[fault.kind](exchange)


def _typed(content_type: str) -> str:
    return f"{content_type}; charset=utf-8" if content_type == "text/html" else content_type


async def _reply(exchange: _Exchange) -> _Outcome:
    body, guessed = _encoded(exchange.options["body"])
    content_type = exchange.options["content_type"] or guessed
    headers = (
        {"Content-Type": str(content_type)} if body or exchange.options["content_type"] else {}
    )
    given = exchange.options["headers"]
    if isinstance(given, dict):
        headers |= given
    status = int(str(exchange.options["status"]))
    return web.Response(status=status, body=body, headers=headers), status


def _encoded(body: object) -> tuple[bytes, str]:
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return json.dumps(body, ensure_ascii=False).encode(), "application/json"


async def _html(exchange: _Exchange) -> _Outcome:
    reply = Reply(status=int(str(exchange.options["status"])), body=_PAGE, content_type="text/html")
    return answer(reply), reply.status


async def _truncated(exchange: _Exchange) -> _Outcome:
    """A Content-Length longer than what is sent, and then the end."""
    reply = await exchange.process()
    head = (
        f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {reply.content_type}\r\n"
        f"Content-Length: {len(reply.body) + _MISSING}\r\n\r\n"
    )
    if exchange.request.transport is not None:
        exchange.request.transport.write(head.encode() + reply.body[: -(-len(reply.body) // 2)])
        exchange.request.transport.close()
    return web.Response(), reply.status


async def _reset_before(exchange: _Exchange) -> _Outcome:
    _cut(exchange)
    return web.Response(), None


async def _reset_after(exchange: _Exchange) -> _Outcome:
    await exchange.process()
    _cut(exchange)
    return web.Response(), None


async def _silent_after(exchange: _Exchange) -> _Outcome:
    """Do what was asked and never answer: the other side has to end the wait."""
    await exchange.process()
    transport = exchange.request.transport
    while transport is not None and not transport.is_closing():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(_CLOSED_CHECK_INTERVAL)
    return web.Response(), None


def _cut(exchange: _Exchange) -> None:
    """Cut the connection with a reset instead of an orderly end."""
    transport = exchange.request.transport
    if transport is None:
        return
    if (raw := transport.get_extra_info("socket")) is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    transport.abort()


async def _slow_body(exchange: _Exchange) -> _Outcome:
    """Byte by byte."""
    reply = await exchange.process()
    response = web.StreamResponse(
        status=reply.status, headers={"Content-Type": _typed(reply.content_type)}
    )
    response.content_length = len(reply.body)
    with contextlib.suppress(ConnectionError):
        await response.prepare(exchange.request)
        for position in range(len(reply.body)):
            await response.write(reply.body[position : position + 1])
            await asyncio.sleep(float(str(exchange.options["gap"])))
    return response, reply.status


async def _numeric_result(exchange: _Exchange) -> _Outcome:
    """``result`` as a JSON integer, as in published examples (PROTOCOL §2)."""
    reply = await exchange.process()
    body = json.loads(reply.body) if reply.body[:1] == b"{" else None
    if isinstance(body, dict) and str(body.get("result")).isdecimal():
        body["result"] = int(body["result"])
        reply = Reply(status=reply.status, body=_encoded(body)[0])
    return answer(reply), reply.status


_WAYS: Final[Mapping[str, Callable[[_Exchange], Awaitable[_Outcome]]]] = {
    "reply": _reply,
    "html": _html,
    "truncated": _truncated,
    "reset_before": _reset_before,
    "reset_after": _reset_after,
    "silent_after": _silent_after,
    "slow_body": _slow_body,
    "numeric_result": _numeric_result,
}
