"""Servers on a free port of 127.0.0.1, for as long as a block runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from mjasync import Client
from support.clients import EAGER, QUICK


@asynccontextmanager
async def serving(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Answer every HTTP request with one function; yield the base URL."""
    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving_streams(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event], Awaitable[None]],
) -> AsyncIterator[str]:
    """Handle every connection with one coroutine; yield the base URL.

    Its third argument is an event that is set when the block ends, for handlers that hang.
    """
    over = asyncio.Event()

    async def handle_until_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handle(reader, writer, over)

    server = await asyncio.start_server(handle_until_over, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        server.close()
        await server.wait_closed()


class ScriptedApp:
    """A server whose `answer` a test defines, and a quick client of it."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        raise NotImplementedError

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Client]:  # noqa: ANN401 - of Client
        """Serve a client."""
        settings = {"schedule": QUICK, "retries": EAGER, **options}
        async with serving(self.answer) as url, Client(url, **settings) as mj:
            yield mj
