"""The baselines: short loops by hand, without any of the guarantees of the SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson

if TYPE_CHECKING:
    import httpx

__all__ = ["HEADERS", "TOKEN", "fetch", "poll", "poll_with_httpx", "submit"]

TOKEN: Final = "sk-made-up-for-the-benchmarks"  # noqa: S105 - opens nothing
HEADERS: Final = {"mj-api-secret": TOKEN}
_FINAL: Final = frozenset({"SUCCESS", "FAILURE", "CANCEL"})

Pause = Callable[[], Awaitable[None]]
"""Waits for the time of the next poll."""


async def fetch(session: aiohttp.ClientSession, root: str, task_id: str) -> dict[str, Any]:
    """Fetch a task once."""
    async with session.get(f"{root}/mj/task/{task_id}/fetch") as response:
        task: dict[str, Any] = orjson.loads(await response.read())
    return task


async def poll(session: aiohttp.ClientSession, root: str, task_id: str, pause: Pause) -> None:
    """Fetch a task until it ends."""
    while (await fetch(session, root, task_id))["status"] not in _FINAL:
        await pause()


async def poll_with_httpx(client: httpx.AsyncClient, root: str, task_id: str, pause: Pause) -> None:
    """Fetch a task with httpx until it ends."""
    url = f"{root}/mj/task/{task_id}/fetch"
    while orjson.loads((await client.get(url)).content)["status"] not in _FINAL:
        await pause()


async def submit(session: aiohttp.ClientSession, root: str, prompt: str) -> str:
    """Submit a prompt; return the id of its task."""
    body = orjson.dumps({"prompt": prompt})
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{root}/mj/submit/imagine", data=body, headers=headers) as response:
        reply = orjson.loads(await response.read())
    if reply["code"] not in {1, 22}:
        raise RuntimeError(reply)
    return str(reply["result"])
