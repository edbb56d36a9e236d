"""The poller: one schedule and one timer for all waiting tasks of a client.

Tasks that fall due together share a list request; one that falls due alone is fetched. Waiters are
futures: a waiting task costs an entry here, not a sleeping coroutine.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from .._clock import Clock
from .._error_base import copy_for_raising
from .._http.api import ServerApi
from .._http.reads import MAX_LIST_SIZE, is_overload
from .._http.retry import RetryState
from .._models import TaskInfo, TaskStatus
from .._protocol import decoding
from .._text import printable
from ..errors import (
    ClientClosed,
    ConfigurationError,
    InvalidRequest,
    MJError,
    TaskNotFound,
    TaskStalled,
    TaskTimeout,
    UnsupportedEndpoint,
)
from .estimates import Durations, GatewayRefreshCycle
from .schedule import PollSchedule, PollState
from .watch import NEVER, Waiter, Watch, fail_waiter, update_waiter

__all__ = ["Poller"]

_RUNNING_RANK: Final = 3
_STATUS_RANKS: Final = {
    TaskStatus.NOT_START: 1,
    TaskStatus.SUBMITTED: 2,
    TaskStatus.IN_PROGRESS: _RUNNING_RANK,
}
"""How far a status is; no look leads back."""
_MAX_SINGLE_FETCHES: Final = 32
"""Single fetches under way at once, so that submissions find a free connection."""
_MIN_COMPACT_SIZE: Final = 1000
"""Entries of the schedule that are not worth tidying up."""


_log: Final = logging.getLogger("mjasync")


class Poller:
    """Polls every task that is awaited."""

    def __init__(
        self,
        api: ServerApi,
        *,
        schedule: PollSchedule,
        clock: Clock,
        grace: float,
        speed: str | None = None,
    ) -> None:
        self.last_error: tuple[MJError, float] | None = None
        """Why looks fail, and how long it is tried; None once one has worked."""
        self._has_warned_of_older = False
        self._overload: RetryState | None = None
        self._paused_until: float = -NEVER
        """Until when nothing is asked, since the server said that it has too much to do."""
        self._api = api
        self._schedule = schedule
        self._clock = clock
        self._grace = grace
        self._speed = speed
        self._watches: dict[str, Watch] = {}
        self._expected: dict[str, bool] = {}
        """Tasks that are not waited for yet; whether a webhook told of them."""
        self._bare_waiters: set[Waiter] = set()
        self._deadlines: dict[int, set[Waiter]] = {}
        self._due_heap: list[tuple[float, int, Watch | Waiter | int]] = []
        self._compact_threshold = _MIN_COMPACT_SIZE
        self._coalesce_seconds = schedule.coalesce
        self._single_queue: deque[Watch] = deque()
        self._fetchers = 0
        self._durations = Durations()
        self._refresh_cycle: GatewayRefreshCycle | None = None
        self._order = itertools.count()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = NEVER
        self._asyncio_tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def watch(
        self,
        info: TaskInfo,
        on_update: Callable[[TaskInfo], bool],
        *,
        is_known: bool,
        deadline: float,
        stall: float,
        modal_answered: bool = False,
    ) -> Waiter:
        """Watch a task until `on_update` returns True for one of its changes.

        Args:
            info: What is known of it so far.
            on_update: Told every snapshot that differs from the one before; whether that is what is
                waited for.
            is_known: Whether the server is known to have it; if not, the first "unknown" is final.
            deadline: When to give up, on the client's clock.
            stall: Seconds without change after which to give up.
            modal_answered: Whether it answers a modal; lists show that sooner than a fetch does.

        Returns:
            A future; pass it to `unwatch` after awaiting it, whatever its outcome. It is not a
            coroutine, since each waiting task would have to keep one.

        Raises (when awaited):
            TaskTimeout: At the deadline.
            TaskStalled: Nothing changed for `stall` seconds.
            TaskNotFound: The server does not know it (any more).
            MJError: It cannot be read.
        """
        self._check_open()
        now = self._clock.now()
        watch = self._watches.get(info.id) or self._start_watch(info, now, known=is_known)
        watch.modal_answered |= modal_answered
        waiter = self._wait(now, deadline, stall, on_update, watch)
        watch.waiters += (waiter,)
        if watch.info is not info and (
            watch.info.status.is_final or not decoding.is_from_server(info)
        ):
            update_waiter(waiter, watch.info)
        return waiter

    def unwatch(self, waiter: Waiter) -> None:
        """Remove a waiter; a task without waiters is no longer polled."""
        if waiter.deadline_bucket is not None:
            waiter.deadline_bucket.discard(waiter)
        watch = waiter.watch
        if watch is not None:
            watch.waiters = tuple(other for other in watch.waiters if other is not waiter)
            if not watch.waiters and self._watches.get(watch.id) is watch:
                del self._watches[watch.id]
        self._reset_if_idle()

    async def wait_for(self, deadline: float, future: asyncio.Future[Any]) -> None:
        """Wait until `future` is done, whatever its outcome, or the deadline passes.

        Raises:
            TaskTimeout: At the deadline.
        """
        if future.done():
            return
        self._check_open()
        waiter = self._wait(self._clock.now(), deadline, NEVER, lambda _: True)

        def open_gate(_: asyncio.Future[Any]) -> None:
            update_waiter(waiter, _NOTHING)

        future.add_done_callback(open_gate)
        self._bare_waiters.add(waiter)
        try:
            await waiter
        finally:
            future.remove_done_callback(open_gate)
            self._bare_waiters.discard(waiter)
            self.unwatch(waiter)

    def mark_changed(self, task_id: str | None) -> bool:
        """Poll a task soon, since a webhook reports a change; return whether it is known.

        However many hints there are, looks at one task are `coalesce` seconds apart, and a
        server in trouble is not asked sooner.
        """
        watch = self._watches.get(task_id or "")
        if watch is None or self._closed:
            if task_id in self._expected:
                self._expected[task_id] = True
            return task_id in self._expected
        watch.webhook_pending = True
        soon = max(self._clock.now(), watch.last_poll_at + self._coalesce_seconds)
        is_seen = watch.retry_state is None and watch.missing_since is None
        if is_seen and soon < watch.next_poll_at < NEVER:
            self._schedule_poll(soon, watch)
        return True

    def expect(self, task_id: str) -> None:
        """Keep webhooks of a task for its first wait."""
        self._expected[task_id] = False

    def expect_no_more(self, task_id: str) -> None:
        """Forget a task that cannot be awaited any more."""
        self._expected.pop(task_id, None)

    async def close(self) -> None:
        """Let every waiter go with `ClientClosed`, and stop."""
        self._closed = True
        for waiter in self._all_waiters():
            fail_waiter(waiter, ClientClosed("The Client was closed while this was waiting."))
        jobs = [*self._asyncio_tasks, *filter(None, [self._timer])]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    # --- waiters ---

    def _wait(
        self,
        now: float,
        deadline: float,
        stall: float,
        on_update: Callable[[TaskInfo], bool],
        watch: Watch | None = None,
    ) -> Waiter:
        waiter = Waiter(loop=asyncio.get_running_loop())
        waiter.started_at, waiter.deadline, waiter.stall = now, deadline, stall
        waiter.on_update, waiter.watch, waiter.deadline_bucket = on_update, watch, None
        self._set_deadline(waiter, now)
        return waiter

    def _start_watch(self, info: TaskInfo, now: float, *, known: bool) -> Watch:
        watch = Watch(
            info.id,
            info,
            started_at=now,
            changed_at=now,
            was_seen=known,
            last_poll_at=now,
            seen_from_start=known and not decoding.is_from_server(info),
        )
        watch.webhook_pending = self._expected.pop(info.id, False)
        first_look = now + (self._delay(watch, now) if known and not watch.webhook_pending else 0.0)
        self._watches[info.id] = watch
        self._schedule_poll(first_look, watch)
        return watch

    def _reset_if_idle(self) -> None:
        if not self._watches and not self._bare_waiters:
            self._due_heap.clear()
            self._deadlines.clear()
            self._cancel_timer()

    def _all_waiters(self) -> Iterable[Waiter]:
        yield from self._bare_waiters
        for watch in self._watches.values():
            yield from watch.waiters

    def _check_open(self) -> None:
        if self._closed:
            message = "This Client is closed."
            raise ClientClosed(message)

    # --- the timer ---

    def _set_deadline(self, waiter: Waiter, now: float) -> None:
        """Ring when a waiter gives up.

        Hardly anybody waits that long: until then those of the same second are kept in one heap,
        from which a waiter that leaves is removed.
        """
        when = waiter.expires()
        if when == NEVER:
            return
        second = int(when)
        if second <= now:
            self._push(when, waiter)
            return
        waiter.deadline_bucket = self._deadlines.get(second)
        if waiter.deadline_bucket is None:
            waiter.deadline_bucket = self._deadlines[second] = set()
            self._push(second, second)
        waiter.deadline_bucket.add(waiter)

    def _schedule_poll(self, when: float, watch: Watch) -> None:
        watch.next_poll_at = when
        self._push(when, watch)

    def _push(self, when: float, what: Watch | Waiter | int) -> None:
        if when == NEVER:
            return
        heapq.heappush(self._due_heap, (when, next(self._order), what))
        if len(self._due_heap) > self._compact_threshold:
            self._compact()
        if when < self._timer_at:
            self._schedule_timer()

    def _compact(self) -> None:
        """Remove polls of tasks without waiters from the heap."""
        self._due_heap = [entry for entry in self._due_heap if self._is_live(entry[0], entry[2])]
        heapq.heapify(self._due_heap)
        self._compact_threshold = 2 * len(self._due_heap) + _MIN_COMPACT_SIZE

    def _is_live(self, when: float, what: Watch | Waiter | int) -> bool:
        if isinstance(what, Watch):
            return what.next_poll_at == when and self._watches.get(what.id) is what
        return isinstance(what, int) or not what.done()

    def _schedule_timer(self) -> None:
        self._cancel_timer()
        if self._due_heap and not self._closed:
            self._timer_at = self._due_heap[0][0]
            self._timer = asyncio.get_running_loop().create_task(self._fire(self._timer_at))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, NEVER

    async def _fire(self, when: float) -> None:
        await self._clock.sleep(when - self._clock.now())
        self._timer, self._timer_at = None, NEVER
        looks = self._take_due()
        self._start_polls(looks)
        self._schedule_timer()

    def _take_due(self) -> list[Watch]:
        """Everything due by now, and the looks due so soon that they may as well come along."""
        now = horizon = self._clock.now()
        due = self._due_heap
        looks: list[Watch] = []
        early: list[tuple[float, int, Waiter | int]] = []
        while due and due[0][0] <= horizon:
            when, order, what = heapq.heappop(due)
            if isinstance(what, Watch):
                if self._is_live(when, what):
                    what.next_poll_at = NEVER
                    looks.append(what)
                    horizon = now + self._coalesce_seconds
            elif when > now:
                early.append((when, order, what))
            elif isinstance(what, int):
                for waiter in self._deadlines.pop(what):
                    waiter.deadline_bucket = None
                    self._expire(waiter, now)
            else:
                self._expire(what, now)
        for entry in early:
            heapq.heappush(due, entry)
        return looks

    def _expire(self, waiter: Waiter, now: float) -> None:
        if waiter.done():
            return
        if waiter.expires() > now:
            self._set_deadline(waiter, now)
        elif now >= waiter.deadline:
            waited = waiter.deadline - waiter.started_at
            fail_waiter(
                waiter,
                TaskTimeout(f"The task was not finished after {_describe_seconds(waited)} s."),
            )
        else:
            fail_waiter(
                waiter,
                TaskStalled(
                    f"Nothing changed on the task for {_describe_seconds(waiter.stall)} s."
                ),
            )

    # --- looking ---

    def _start_polls(self, watches: list[Watch]) -> None:
        if not watches:
            return
        if self._clock.now() < self._paused_until:
            for watch in watches:
                self._schedule_poll(self._paused_until, watch)
            return
        is_alone = len(watches) == 1 and not watches[0].modal_answered
        if is_alone or not self._api.can_list():
            self._queue_single_fetches(watches)
            return
        for first in range(0, len(watches), MAX_LIST_SIZE):
            chunk = watches[first : first + MAX_LIST_SIZE]
            self._spawn(self._fetch_together(chunk), chunk)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], watches: list[Watch]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._asyncio_tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:  # a failing schedule, or a bug here: no wait may hang
                for watch in watches:
                    self._give_up(watch, error)

        task = asyncio.get_running_loop().create_task(coroutine)
        self._asyncio_tasks.add(task)
        task.add_done_callback(ended)

    def _queue_single_fetches(self, watches: Iterable[Watch]) -> None:
        self._single_queue.extend(watches)
        for _ in range(min(_MAX_SINGLE_FETCHES - self._fetchers, len(self._single_queue))):
            self._fetchers += 1
            self._spawn(self._run_fetcher(), [])

    async def _run_fetcher(self) -> None:
        """Fetch one task after another, until none is due."""
        try:
            while self._single_queue:
                watch = self._single_queue.popleft()
                if self._clock.now() < self._paused_until:
                    self._schedule_poll(self._paused_until, watch)
                    continue
                if self._watches.get(watch.id) is watch:
                    try:
                        await self._fetch(watch)
                    except Exception as error:  # noqa: BLE001 - as in `_spawn`
                        self._give_up(watch, error)
        finally:
            self._fetchers -= 1

    async def _fetch(self, watch: Watch) -> None:
        try:
            asked = self._mark_polled(watch)
            body, raw = await self._api.fetch_once(watch.id, known=watch.body)
        except (TaskNotFound, UnsupportedEndpoint) as error:
            self._on_not_found(watch, error)
        except MJError as error:
            self._on_error([watch], error)
        else:
            self._on_reply(watch, body, raw, asked, self._clock.now())

    async def _fetch_together(self, watches: list[Watch]) -> None:
        asked = self._mark_polled(*watches)
        try:
            same, tasks = await self._api.fetch_many_once(
                [watch.id for watch in watches], [watch.body for watch in watches if watch.body]
            )
        except MJError as error:
            unlisted = isinstance(error, UnsupportedEndpoint | InvalidRequest)
            if unlisted or not self._api.can_list():
                self._queue_single_fetches(watches)
                return
            self._on_error(watches, error)
            return
        found = _by_id(tasks)
        now = self._clock.now()
        missing = []
        for watch in watches:
            body, raw = found.get(watch.id) or (b"", None)
            if watch.body in same and not (raw and _has_ended(raw)):
                self._on_unchanged(watch, asked, now)
            elif raw is not None:
                self._on_reply(watch, body, raw, asked, now)
            else:
                missing.append(watch)
        self._queue_single_fetches(missing)

    def _mark_polled(self, *watches: Watch) -> float:
        """Note that a look is sent now."""
        for watch in watches:
            watch.webhook_poll, watch.webhook_pending = watch.webhook_pending, False
        return self._clock.now()

    def _on_reply(
        self, watch: Watch, body: bytes, raw: dict[str, Any] | None, asked: float, now: float
    ) -> None:
        """Take in a look; no `raw` where the body was the same as before."""
        if raw is None or body == watch.body:
            self._on_unchanged(watch, asked, now)
            return
        watch.was_seen, watch.missing_since, watch.retry_state = True, None, None
        self.last_error = self._overload = None
        watch.body = body = bytes(memoryview(body))  # no longer than need be: it stays
        self._on_change(watch, raw, body, now)
        watch.last_poll_at = asked
        if not watch.info.status.is_final:
            self._schedule_next_poll(watch, now)

    def _on_unchanged(self, watch: Watch, asked: float, now: float) -> None:
        """Take in a look that brought nothing new."""
        self.last_error = self._overload = watch.missing_since = watch.retry_state = None
        watch.last_poll_at = asked
        self._schedule_next_poll(watch, now)

    def _on_change(self, watch: Watch, raw: dict[str, Any], body: bytes, now: float) -> None:
        before = watch.info
        if raw.get("id") == watch.id:
            raw["id"] = watch.id  # the same text, kept once
        watch.info = info = decoding.decode_running_task(raw, body)
        is_first = not decoding.is_from_server(before)
        if (before.status, before.progress) != (info.status, info.progress):
            self._on_progress(watch, raw, now, before, is_first=is_first)
        for waiter in watch.waiters:
            update_waiter(waiter, info)

    def _on_progress(
        self, watch: Watch, raw: dict[str, Any], now: float, before: TaskInfo, *, is_first: bool
    ) -> None:
        """Update estimates from a change of status or progress."""
        watch.changed_at = now
        if watch.webhook_poll:
            watch.last_webhook_at = now
        if watch.running_since is None and watch.info.status is TaskStatus.IN_PROGRESS:
            watch.running_since = now
        period = None if self._refresh_cycle else decoding.gateway_refresh_period(raw)
        if period is not None:
            self._refresh_cycle = GatewayRefreshCycle(period)
        if is_first:
            return  # it was so before, perhaps
        self._warn_if_older(before, watch.info)
        if self._refresh_cycle is not None:
            self._refresh_cycle.record_change(watch.last_poll_at, now)
        if watch.seen_from_start and watch.info.status is TaskStatus.SUCCESS:
            self._record_duration(watch.info, now - watch.started_at)

    def _warn_if_older(self, before: TaskInfo, info: TaskInfo) -> None:
        """Warn once that a reply is older than the one before, as from a cache."""
        was, now = (_STATUS_RANKS.get(look.status, 0) for look in (before, info))
        is_less = was == now == _RUNNING_RANK and (info.progress or 0) < (before.progress or 0)
        if not self._has_warned_of_older and (is_less or 0 < now < was):
            self._has_warned_of_older = True
            _log.warning(
                "task %s went back from %s to %s: a cache in front of the server answers, or "
                "several servers do that do not share their tasks",
                printable(info.id),
                _describe_state(before),
                _describe_state(info),
            )

    def _record_duration(self, info: TaskInfo, seconds: float) -> None:
        """Learn by the speed the server tells, and by the client's: early looks know no other."""
        for speed in {info.mode, self._speed}:
            self._durations.record(info.action, speed, seconds)

    def _schedule_next_poll(self, watch: Watch, now: float) -> None:
        if self._watches.get(watch.id) is watch:
            delay = self._coalesce_seconds if watch.webhook_pending else self._delay(watch, now)
            self._schedule_poll(now + delay, watch)

    def _delay(self, watch: Watch, now: float) -> float:
        info, running, told = watch.info, watch.running_since, watch.last_webhook_at
        look = PollState(
            info=info,
            waited=now - watch.started_at,
            since_change=now - watch.changed_at,
            since_start=None if running is None else now - running,
            speed=self._speed,
            typical_duration=self._durations.estimate(info.action, info.mode or self._speed),
            gateway_refresh_in=None
            if self._refresh_cycle is None
            else self._refresh_cycle.next_in(now),
            webhook_pending=None if told is None else now - told,
        )
        delay = self._schedule.next_delay(look)
        if not delay > 0:
            message = f"The schedule asked for the next look in {delay!r} s: that must be positive."
            raise ConfigurationError(message)
        return delay

    def _on_error(self, watches: Sequence[Watch], error: MJError) -> None:
        """Retry a failed poll with growing delays, within the policy.

        What was asked for together stays together: many looks at random times would be many
        requests, for a server that has too much to do already.
        """
        policy, now = self._api.retries.poll, self._clock.now()
        if self.last_error is None:
            self.last_error = error, now + policy.max_elapsed
        again_at: float | None = None
        if is_overload(error):
            again_at = self._pause_after_overload(error, now)
        for watch in watches:
            if watch.retry_state is None:
                watch.retry_state = RetryState(
                    lambda e: policy if e.retryable else None, self._clock.now
                )
            if watch.retry_state.is_exhausted(error):
                self._give_up(watch, error)
            elif self._watches.get(watch.id) is watch:
                wait = watch.retry_state.next_delay(error).seconds
                again_at = now + wait if again_at is None else again_at
                self._schedule_poll(again_at, watch)

    def _pause_after_overload(self, error: MJError, now: float) -> float:
        """Ask nothing for a while, ever longer until a look works; return until when."""
        if now >= self._paused_until:
            if self._overload is None:
                policy = self._api.retries.poll
                self._overload = RetryState(lambda _: policy, self._clock.now)
            wait = self._overload.next_delay(error).seconds
            self._paused_until = now + min(wait, self._api.retries.poll.max_elapsed)
        return self._paused_until

    def _on_not_found(self, watch: Watch, error: MJError) -> None:
        """Fail the waits for an unknown task, but only after the grace period."""
        now = self._clock.now()
        if watch.missing_since is None:
            watch.missing_since = now
        if watch.was_seen and now - watch.missing_since < self._grace:
            self._schedule_next_poll(watch, now)
        else:
            self._give_up(watch, error)

    def _give_up(self, watch: Watch, error: BaseException) -> None:
        if self._watches.get(watch.id) is watch:
            del self._watches[watch.id]
        for waiter in watch.waiters:  # with a twin for each
            fail_waiter(waiter, copy_for_raising(error))


_NOTHING: Final = TaskInfo(id="")


def _by_id(
    tasks: Iterable[tuple[bytes, dict[str, Any]]],
) -> dict[str | None, tuple[bytes, dict[str, Any]]]:
    """Return tasks by id; of two rows for an answered modal, the one that ended (§4.3)."""
    found: dict[str | None, tuple[bytes, dict[str, Any]]] = {}
    for body, task in tasks:
        task_id = decoding.parse_text(task.get("id"))
        if task_id not in found or _has_ended(task):
            found[task_id] = body, task
    return found


def _describe_state(info: TaskInfo) -> str:
    percent = "" if info.progress is None else f" {info.progress}%"
    return f"{printable(info.status, 40)}{percent}"


def _has_ended(task: dict[str, Any]) -> bool:
    return TaskStatus(str(task.get("status"))).is_final


def _describe_seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"
