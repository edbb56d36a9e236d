"""Webhooks: one POST for every change of a task, in order, tried once (PROTOCOL §1.17)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import attrs
import orjson
from yarl import URL

from .bounded_log import Record

if TYPE_CHECKING:
    from .faults import Faults

__all__ = ["HookPost", "Hooks"]

_PATIENCE: Final = aiohttp.ClientTimeout(total=5)


@attrs.define(kw_only=True, eq=False)
class HookPost:
    """One webhook that was sent, or tried."""

    url: str
    task_id: str
    payload: bytes = attrs.field(repr=False)
    status: int | None = None
    """What the receiver answered; None when it could not be reached, or was not asked."""
    withheld: bool = False
    """Whether it was not sent, because it would have left this machine."""

    @property
    def body(self) -> Any:  # noqa: ANN401 - JSON holds anything
        """The Task JSON that was sent."""
        return orjson.loads(self.payload)


@attrs.define(kw_only=True, eq=False)
class Hooks:
    """Sends webhooks from one task of its own; a receiver that refuses harms nobody."""

    faults: Faults
    anywhere: bool = False
    """Whether webhooks may leave this machine."""
    sent: Record[HookPost] = attrs.field(factory=lambda: Record("webhooks", None))
    """Every post made, in order."""
    _held: dict[str, HookPost] = attrs.field(factory=dict, init=False)
    _queue: asyncio.Queue[HookPost] | None = attrs.field(default=None, init=False)
    _worker: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    def post(self, url: str, task_id: str, payload: bytes, *, last: bool) -> None:
        """Send a Task JSON soon; ``last`` says that nothing follows for this task."""
        post = HookPost(url=url, task_id=task_id, payload=payload)
        if held := self._held.pop(task_id, None):
            self._send(post)
            self._send(held)
        elif not last and self.faults.take("hook", kind="reorder_hooks"):
            self._held[task_id] = post
        else:
            self._send(post)

    async def drained(self) -> None:
        """Wait until everything has been sent."""
        if self._queue is not None:
            await self._queue.join()

    async def stop(self) -> None:
        """Send no more; what is left is dropped."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        self._queue = self._worker = None

    def _send(self, post: HookPost) -> None:
        if self._queue is None:
            self._queue = asyncio.Queue()
            self._worker = asyncio.create_task(self._work(self._queue))
        self._queue.put_nowait(post)
        if self.faults.take("hook", kind="duplicate_hooks"):
            self._queue.put_nowait(attrs.evolve(post))

    async def _work(self, queue: asyncio.Queue[HookPost]) -> None:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
            while True:
                post = await queue.get()
                await self._deliver(session, post)
                queue.task_done()

    async def _deliver(self, session: aiohttp.ClientSession, post: HookPost) -> None:
        headers = {"Content-Type": "application/json"}
        self.sent.append(post)
        post.withheld = not (self.anywhere or _is_loopback(post.url))
        if post.withheld:
            return
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with session.post(
                post.url, data=post.payload, headers=headers, allow_redirects=False
            ) as answer:
                post.status = answer.status


def _is_loopback(url: str) -> bool:
    try:
        host = URL(url).host or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
