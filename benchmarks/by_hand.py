"""The baselines: what somebody writes in an afternoon, without any of the guarantees."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson

if TYPE_CHECKING:
    import httpx

    from .polls import Turns

__all__ = ["TOKEN", "fetch", "poll", "poll_with_httpx", "submit"]

TOKEN: Final = "sk-made-up-for-the-benchmarks"  # noqa: S105 - opens nothing
_ENDED: Final = frozenset({"SUCCESS", "FAILURE", "CANCEL"})


async def poll(
    session: aiohttp.ClientSession,
    root: str,
    task_id: str,
    turns: Turns | None = None,
    interval: float = 0.0,
) -> dict[str, Any]:
    """Fetch a task until it has ended: every so often, or in turns."""
    while True:
        async with session.get(f"{root}/mj/task/{task_id}/fetch") as response:
            task: dict[str, Any] = orjson.loads(await response.read())
        if task["status"] in _ENDED:
            return task
        if interval:
            await asyncio.sleep(interval)
        elif turns is not None and not turns.goes_on():
            await turns.opened


async def fetch(session: aiohttp.ClientSession, root: str, task_id: str) -> dict[str, Any]:
    """One look at a task."""
    async with session.get(f"{root}/mj/task/{task_id}/fetch") as response:
        task: dict[str, Any] = orjson.loads(await response.read())
    return task


async def submit(session: aiohttp.ClientSession, root: str, prompt: str) -> str:
    """Have a prompt drawn; the task's id."""
    body = orjson.dumps({"prompt": prompt})
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{root}/mj/submit/imagine", data=body, headers=headers) as response:
        receipt = orjson.loads(await response.read())
    if receipt["code"] not in {1, 22}:
        raise RuntimeError(receipt)
    return str(receipt["result"])


async def poll_with_httpx(
    client: httpx.AsyncClient, root: str, task_id: str, turns: Turns
) -> dict[str, Any]:
    """The same with httpx."""
    while True:
        response = await client.get(f"{root}/mj/task/{task_id}/fetch")
        task: dict[str, Any] = orjson.loads(response.content)
        if task["status"] in _ENDED:
            return task
        if not turns.goes_on():
            await turns.opened
