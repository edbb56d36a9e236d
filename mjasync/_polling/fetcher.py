"""Fetching the tasks that are due: many in lists, few singly."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol

import attrs

from .._http.api import ServerApi
from .._http.reads import MAX_LIST_SIZE
from .._models import TaskStatus
from .._protocol import decoding
from ..errors import InvalidRequest, MJError, TaskNotFound, UnsupportedEndpoint
from .watch import Watch

_MAX_SINGLE_FETCHES: Final = 32
"""Concurrent fetches of single tasks, so that submissions find a free connection."""


class PollHandler(Protocol):
    """Processes the outcomes of polls."""

    def filter_due(self, watches: Sequence[Watch], /) -> Sequence[Watch]:
        """Return the tasks that are to be polled; put all off while polls are paused."""
        ...

    def on_reply(
        self, watch: Watch, body: bytes, raw: dict[str, Any] | None, sent_at: float, now: float, /
    ) -> None:
        """Process a response; `raw` is None if it is the same as the one before."""

    def on_not_found(self, watch: Watch, error: MJError, /) -> None:
        """Process that the server does not know a task."""

    def on_error(self, watches: Sequence[Watch], error: MJError, /) -> None:
        """Process a failure that may be retried."""

    def give_up(self, watch: Watch, error: BaseException, /) -> None:
        """Fail all waits for a task."""


@attrs.define
class TaskFetcher:
    """Fetches tasks in asyncio tasks of its own."""

    _api: ServerApi
    _handler: PollHandler
    asyncio_tasks: set[asyncio.Task[None]] = attrs.field(factory=set, init=False)
    """Fetches under way."""
    _single_queue: deque[Watch] = attrs.field(factory=deque, init=False)
    _worker_count: int = attrs.field(default=0, init=False)

    def start(self, watches: Sequence[Watch]) -> None:
        """Start to fetch the tasks that are due."""
        watches = self._handler.filter_due(watches)
        is_single = len(watches) == 1 and not watches[0].modal_answered
        if is_single or not self._api.can_list():
            self._fetch_singly(watches)
            return
        for start in range(0, len(watches), MAX_LIST_SIZE):
            chunk = watches[start : start + MAX_LIST_SIZE]
            self._spawn(self._fetch_list(chunk), chunk)

    async def close(self) -> None:
        """Cancel all fetches."""
        asyncio_tasks = [*self.asyncio_tasks]
        for asyncio_task in asyncio_tasks:
            asyncio_task.cancel()
        await asyncio.gather(*asyncio_tasks, return_exceptions=True)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], watches: Sequence[Watch]) -> None:
        def on_done(asyncio_task: asyncio.Task[None]) -> None:
            self.asyncio_tasks.discard(asyncio_task)
            error = None if asyncio_task.cancelled() else asyncio_task.exception()
            if error is not None:  # a failing schedule, or a bug here: no wait may hang
                for watch in watches:
                    self._handler.give_up(watch, error)

        asyncio_task = asyncio.get_running_loop().create_task(coroutine)
        self.asyncio_tasks.add(asyncio_task)
        asyncio_task.add_done_callback(on_done)

    def _fetch_singly(self, watches: Iterable[Watch]) -> None:
        self._single_queue.extend(watches)
        for _ in range(min(_MAX_SINGLE_FETCHES - self._worker_count, len(self._single_queue))):
            self._worker_count += 1
            self._spawn(self._run_worker(), [])

    async def _run_worker(self) -> None:
        """Fetch one task after another, until none is due."""
        try:
            while self._single_queue:
                watch = self._single_queue.popleft()
                if self._handler.filter_due([watch]):
                    try:
                        await self._fetch(watch)
                    except Exception as error:  # noqa: BLE001 - as in `_spawn`
                        self._handler.give_up(watch, error)
        finally:
            self._worker_count -= 1

    async def _fetch(self, watch: Watch) -> None:
        sent_at = self._mark_sent([watch])
        try:
            body, raw = await self._api.fetch_once(watch.id, known=watch.body)
        except (TaskNotFound, UnsupportedEndpoint) as error:
            self._handler.on_not_found(watch, error)
        except MJError as error:
            self._handler.on_error([watch], error)
        else:
            self._handler.on_reply(watch, body, raw, sent_at, self._api.clock.now())

    async def _fetch_list(self, watches: Sequence[Watch]) -> None:
        sent_at = self._mark_sent(watches)
        try:
            unchanged, tasks = await self._api.fetch_many_once(
                [watch.id for watch in watches], [watch.body for watch in watches if watch.body]
            )
        except MJError as error:
            has_no_list = isinstance(error, UnsupportedEndpoint | InvalidRequest)
            if has_no_list or not self._api.can_list():
                self._fetch_singly(watches)
            else:
                self._handler.on_error(watches, error)
            return
        tasks_by_id = _by_id(tasks)
        now = self._api.clock.now()
        missing = []
        for watch in watches:
            body, raw = tasks_by_id.get(watch.id) or (b"", None)
            if watch.body in unchanged and not (raw and _has_ended(raw)):
                self._handler.on_reply(watch, body, None, sent_at, now)
            elif raw is not None:
                self._handler.on_reply(watch, body, raw, sent_at, now)
            else:
                missing.append(watch)
        self._fetch_singly(missing)

    def _mark_sent(self, watches: Iterable[Watch]) -> float:
        """Note that a poll is sent; return the time."""
        for watch in watches:
            watch.webhook_poll, watch.webhook_pending = watch.webhook_pending, False
        return self._api.clock.now()


def _by_id(
    tasks: Iterable[tuple[bytes, dict[str, Any]]],
) -> dict[str | None, tuple[bytes, dict[str, Any]]]:
    """Return tasks by id; of two rows for an answered modal, the one that ended (§4.3)."""
    rows: dict[str | None, tuple[bytes, dict[str, Any]]] = {}
    for body, task in tasks:
        task_id = decoding.parse_text(task.get("id"))
        if task_id not in rows or _has_ended(task):
            rows[task_id] = body, task
    return rows


def _has_ended(task: dict[str, Any]) -> bool:
    return TaskStatus(str(task.get("status"))).is_final
