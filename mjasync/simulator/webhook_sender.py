"""Webhooks: one POST for every change of a task, in order, sent once (PROTOCOL §1.17)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import attrs
import orjson
from yarl import URL

from .bounded_log import BoundedLog

if TYPE_CHECKING:
    from .faults import FaultScript

_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)


@attrs.define(kw_only=True, eq=False)
class WebhookDelivery:
    """One webhook that was sent or attempted."""

    url: str
    task_id: str
    payload: bytes = attrs.field(repr=False)
    status: int | None = None
    """The status of the receiver's response; None if there was none."""
    is_withheld: bool = False
    """Whether it was not sent because its receiver is on another machine."""

    @property
    def body(self) -> Any:  # noqa: ANN401 - JSON holds anything
        """The Task JSON that was sent."""
        return orjson.loads(self.payload)


@attrs.define(kw_only=True, eq=False)
class WebhookSender:
    """Sends webhooks from its own asyncio task; errors of a receiver are ignored."""

    faults: FaultScript
    allow_any_host: bool = False
    """Whether webhooks are sent to other machines."""
    deliveries: BoundedLog[WebhookDelivery] = attrs.field(
        factory=lambda: BoundedLog("webhooks", None)
    )
    """Every webhook, in order."""
    _delayed: dict[str, WebhookDelivery] = attrs.field(factory=dict, init=False)
    _queue: asyncio.Queue[WebhookDelivery] | None = attrs.field(default=None, init=False)
    _worker: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    def enqueue(self, url: str, task_id: str, payload: bytes, *, is_last: bool) -> None:
        """Queue a Task JSON; ``is_last`` means that no change of this task follows."""
        delivery = WebhookDelivery(url=url, task_id=task_id, payload=payload)
        delayed = self._delayed.pop(task_id, None)
        if not (delayed or is_last) and self.faults.next_fault("hook", kind="reorder_hooks"):
            self._delayed[task_id] = delivery
            return
        for next_delivery in filter(None, (delivery, delayed)):
            self._enqueue_delivery(next_delivery)

    async def wait_idle(self) -> None:
        """Wait until every webhook has been sent."""
        if self._queue is not None:
            await self._queue.join()

    async def stop(self) -> None:
        """Stop sending; drop unsent webhooks."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        self._queue = self._worker = None

    def _enqueue_delivery(self, delivery: WebhookDelivery) -> None:
        if self._queue is None:
            self._queue = asyncio.Queue()
            self._worker = asyncio.create_task(self._run(self._queue))
        self._queue.put_nowait(delivery)
        if self.faults.next_fault("hook", kind="duplicate_hooks"):
            self._queue.put_nowait(attrs.evolve(delivery))

    async def _run(self, queue: asyncio.Queue[WebhookDelivery]) -> None:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                delivery = await queue.get()
                await self._deliver(session, delivery)
                queue.task_done()

    async def _deliver(self, session: aiohttp.ClientSession, delivery: WebhookDelivery) -> None:
        headers = {"Content-Type": "application/json"}
        self.deliveries.append(delivery)
        delivery.is_withheld = not (self.allow_any_host or _is_loopback(delivery.url))
        if delivery.is_withheld:
            return
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with session.post(
                delivery.url, data=delivery.payload, headers=headers, allow_redirects=False
            ) as response:
                delivery.status = response.status


def _is_loopback(url: str) -> bool:
    try:
        host = URL(url).host or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
