"""The poller: one queue and one timer for all waiting tasks of a client.

Tasks that fall due together share a list request; a single one is fetched. Waiters are futures: a
waiting task costs an entry in the queue, not a sleeping coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from .._clock import Clock
from .._error_base import copy_for_raising
from .._http.api import ServerApi
from .._http.reads import is_overload
from .._http.retry import RetryState
from .._models import TaskInfo
from .._protocol import decoding
from ..errors import (
    ClientClosed,
    ConfigurationError,
    MJError,
    TaskStalled,
    TaskTimeout,
)
from .due_queue import NEVER, DueQueue
from .estimates import Estimates
from .fetcher import TaskFetcher
from .schedule import PollSchedule
from .watch import Waiter, Watch, fail_waiter, update_waiter, warn_if_older

_NO_TASK: Final = TaskInfo(id="")


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
        """The first of the current errors, and when its retries end; None after a success."""
        self._api = api
        self._schedule = schedule
        self._clock = clock
        self._grace = grace
        self._estimates = Estimates(speed)
        self._watches: dict[str, Watch] = {}
        self._expected: dict[str, bool] = {}
        """Tasks that are not awaited yet, and whether a webhook reported a change."""
        self._bare_waiters: set[Waiter] = set()
        self._fetcher = TaskFetcher(api, self)
        self._polls = DueQueue[Watch](clock, self._fetcher.start, coalesce=schedule.coalesce)
        self._deadlines = DueQueue[Waiter](clock, self._expire)
        self._overload: RetryState | None = None
        self._paused_until: float = -NEVER
        """Until when nothing is polled, because the server is overloaded."""
        self._has_warned_of_older = False
        self._is_closed = False

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
            info: The last snapshot of the task.
            on_update: Receives each snapshot that differs from the one before; returns whether it
                is the one that is waited for.
            is_known: Whether the server is known to have the task; if not, the first "unknown" is
                final.
            deadline: When to give up, on the client's clock.
            stall: Seconds without change after which to give up.
            modal_answered: Whether the task answers a modal; lists show that sooner than a fetch.

        Returns:
            A future; pass it to `unwatch` after awaiting it, whatever its outcome. It is not a
            coroutine, since each waiting task would have to keep one.

        Raises (when awaited):
            TaskTimeout: At the deadline.
            TaskStalled: Nothing changed for `stall` seconds.
            TaskNotFound: The server does not know the task, or no longer.
            MJError: The task cannot be read.
        """
        self._check_open()
        now = self._clock.now()
        watch = self._watches.get(info.id) or self._start_watch(info, now, is_known=is_known)
        watch.modal_answered |= modal_answered
        waiter = self._make_waiter(now, deadline, stall, on_update, watch)
        watch.waiters += (waiter,)
        if watch.info is not info and (
            watch.info.status.is_final or not decoding.is_from_server(info)
        ):
            update_waiter(waiter, watch.info)
        return waiter

    def unwatch(self, waiter: Waiter) -> None:
        """Remove a waiter; a task without waiters is no longer polled."""
        self._deadlines.schedule(waiter, NEVER)
        watch = waiter.watch
        if watch is not None:
            watch.waiters = tuple(other for other in watch.waiters if other is not waiter)
            if not watch.waiters:
                self._stop_watch(watch)
        if not self._watches and not self._bare_waiters:
            self._polls.clear()
            self._deadlines.clear()

    async def wait_for(self, deadline: float, future: asyncio.Future[Any]) -> None:
        """Wait until `future` is done, whatever its outcome, or the deadline passes.

        Raises:
            TaskTimeout: At the deadline.
        """
        if future.done():
            return
        self._check_open()
        waiter = self._make_waiter(self._clock.now(), deadline, NEVER, lambda _: True)

        def on_done(_: asyncio.Future[Any]) -> None:
            update_waiter(waiter, _NO_TASK)

        future.add_done_callback(on_done)
        self._bare_waiters.add(waiter)
        try:
            await waiter
        finally:
            future.remove_done_callback(on_done)
            self._bare_waiters.discard(waiter)
            self.unwatch(waiter)

    def mark_changed(self, task_id: str | None) -> bool:
        """Poll a task soon, since a webhook reports a change; return whether it is known.

        Polls of a task stay `coalesce` seconds apart, and retries are not hastened.
        """
        watch = self._watches.get(task_id or "")
        if watch is None or self._is_closed:
            if task_id in self._expected:
                self._expected[task_id] = True
            return task_id in self._expected
        watch.webhook_pending = True
        soon = max(self._clock.now(), watch.last_poll_at + self._schedule.coalesce)
        is_healthy = watch.retry_state is None and watch.missing_since is None
        if is_healthy and soon < watch.due_at < NEVER:
            self._polls.schedule(watch, soon)
        return True

    def expect(self, task_id: str) -> None:
        """Keep webhooks of a task for its first wait."""
        self._expected[task_id] = False

    def expect_no_more(self, task_id: str) -> None:
        """Forget a task that cannot be awaited any more."""
        self._expected.pop(task_id, None)

    async def close(self) -> None:
        """Fail every waiter with `ClientClosed`, and stop."""
        self._is_closed = True
        waiters = [waiter for watch in self._watches.values() for waiter in watch.waiters]
        for waiter in (*self._bare_waiters, *waiters):
            fail_waiter(waiter, ClientClosed("The Client was closed while this was waiting."))
        await asyncio.gather(self._polls.close(), self._deadlines.close(), self._fetcher.close())

    def _check_open(self) -> None:
        if self._is_closed:
            message = "This Client is closed."
            raise ClientClosed(message)

    def _make_waiter(
        self,
        now: float,
        deadline: float,
        stall: float,
        on_update: Callable[[TaskInfo], bool],
        watch: Watch | None = None,
    ) -> Waiter:
        waiter = Waiter(loop=asyncio.get_running_loop())
        waiter.started_at, waiter.deadline, waiter.stall = now, deadline, stall
        waiter.on_update, waiter.watch = on_update, watch
        self._deadlines.schedule(waiter, waiter.expires())
        return waiter

    def _expire(self, waiters: Sequence[Waiter]) -> None:
        """Fail the waiters whose time is up; a change may have given one more time."""
        now = self._clock.now()
        for waiter in waiters:
            if waiter.expires() > now:
                self._deadlines.schedule(waiter, waiter.expires())
            elif now >= waiter.deadline:
                waited = _describe_seconds(waiter.deadline - waiter.started_at)
                fail_waiter(waiter, TaskTimeout(f"The task was not finished after {waited} s."))
            else:
                stall = _describe_seconds(waiter.stall)
                fail_waiter(waiter, TaskStalled(f"Nothing changed on the task for {stall} s."))

    def _start_watch(self, info: TaskInfo, now: float, *, is_known: bool) -> Watch:
        watch = Watch(
            info.id,
            info,
            started_at=now,
            changed_at=now,
            was_seen=is_known,
            last_poll_at=now,
            seen_from_start=is_known and not decoding.is_from_server(info),
        )
        watch.webhook_pending = self._expected.pop(info.id, False)
        is_urgent = not is_known or watch.webhook_pending
        delay = 0.0 if is_urgent else self._next_delay(watch, now)
        self._watches[info.id] = watch
        self._polls.schedule(watch, now + delay)
        return watch

    def _stop_watch(self, watch: Watch) -> None:
        if self._is_watched(watch):
            del self._watches[watch.id]
            self._polls.schedule(watch, NEVER)

    def _is_watched(self, watch: Watch) -> bool:
        return self._watches.get(watch.id) is watch

    def filter_due(self, watches: Sequence[Watch]) -> Sequence[Watch]:
        """Return the tasks that are to be polled; put all off while polls are paused."""
        watches = [watch for watch in watches if self._is_watched(watch)]
        if self._clock.now() >= self._paused_until:
            return watches
        for watch in watches:
            self._polls.schedule(watch, self._paused_until)
        return ()

    def _schedule_next_poll(self, watch: Watch, now: float) -> None:
        if self._is_watched(watch):
            has_news = watch.webhook_pending
            delay = self._schedule.coalesce if has_news else self._next_delay(watch, now)
            self._polls.schedule(watch, now + delay)

    def _next_delay(self, watch: Watch, now: float) -> float:
        delay = self._schedule.next_delay(self._estimates.poll_state(watch, now))
        if not delay > 0:
            message = f"The schedule asked for the next poll in {delay!r} s: that must be positive."
            raise ConfigurationError(message)
        return delay

    def on_reply(
        self, watch: Watch, body: bytes, raw: dict[str, Any] | None, sent_at: float, now: float
    ) -> None:
        """Process a response; `raw` is None if the body is the same as before."""
        self.last_error = self._overload = watch.missing_since = watch.retry_state = None
        has_ended = False
        if raw is not None and body != watch.body:
            watch.was_seen = True
            watch.body = body = bytes(memoryview(body))  # it is kept, without spare capacity
            self._on_change(watch, raw, body, now)
            has_ended = watch.info.status.is_final
        watch.last_poll_at = sent_at
        if not has_ended:
            self._schedule_next_poll(watch, now)

    def _on_change(self, watch: Watch, raw: dict[str, Any], body: bytes, now: float) -> None:
        before = watch.info
        if raw.get("id") == watch.id:
            raw["id"] = watch.id  # one copy of the text is kept
        watch.info = info = decoding.decode_running_task(raw, body)
        if (before.status, before.progress) != (info.status, info.progress):
            is_first = not decoding.is_from_server(before)
            watch.record_progress(now)
            self._estimates.record_progress(watch, raw, now, is_first=is_first)
            if not is_first and not self._has_warned_of_older:
                self._has_warned_of_older = warn_if_older(before, info)
        for waiter in watch.waiters:
            update_waiter(waiter, info)

    def on_error(self, watches: Sequence[Watch], error: MJError) -> None:
        """Retry a failed poll with growing delays, within the policy.

        Tasks that were polled together stay together: polls at random times would be many requests
        for a server that is overloaded already.
        """
        policy, now = self._api.retries.poll, self._clock.now()
        if self.last_error is None:
            self.last_error = error, now + policy.max_elapsed
        retry_at = self._pause_after_overload(error, now) if is_overload(error) else None
        for watch in watches:
            if watch.retry_state is None:
                watch.retry_state = RetryState(
                    lambda e: policy if e.retryable else None, self._clock.now
                )
            if watch.retry_state.is_exhausted(error):
                self.give_up(watch, error)
            elif self._is_watched(watch):
                delay = watch.retry_state.next_delay(error).seconds
                retry_at = now + delay if retry_at is None else retry_at
                self._polls.schedule(watch, retry_at)

    def _pause_after_overload(self, error: MJError, now: float) -> float:
        """Pause all polls, longer each time until one succeeds; return the end of the pause."""
        policy = self._api.retries.poll
        if now >= self._paused_until:
            if self._overload is None:
                self._overload = RetryState(lambda _: policy, self._clock.now)
            delay = self._overload.next_delay(error).seconds
            self._paused_until = now + min(delay, policy.max_elapsed)
        return self._paused_until

    def on_not_found(self, watch: Watch, error: MJError) -> None:
        """Fail the waits for an unknown task, but only after the grace period."""
        now = self._clock.now()
        if watch.missing_since is None:
            watch.missing_since = now
        if watch.was_seen and now - watch.missing_since < self._grace:
            self._schedule_next_poll(watch, now)
        else:
            self.give_up(watch, error)

    def give_up(self, watch: Watch, error: BaseException) -> None:
        self._stop_watch(watch)
        for waiter in watch.waiters:
            fail_waiter(waiter, copy_for_raising(error))


def _describe_seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"
