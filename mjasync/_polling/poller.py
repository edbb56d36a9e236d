"""When to look at which task: one schedule and one timer for every waiting task of a client.

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
from .._http.api import LIST_AT_MOST, Calls, is_overload
from .._http.retry import Pace
from .._models import TaskInfo, TaskStatus
from .._protocol import decoding
from .._protocol.vocabulary import strange_words
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
    twin_of,
)
from .estimates import Durations, Refreshes
from .schedule import Look, NextLook
from .watch import _NEVER, Waiter, _fail, _tell, _Watch

__all__ = ["Watcher"]

_RUNNING: Final = 3
_PROGRESS: Final = {
    TaskStatus.NOT_START: 1,
    TaskStatus.SUBMITTED: 2,
    TaskStatus.IN_PROGRESS: _RUNNING,
}
"""How far a status is; no look leads back."""
_LANES: Final = 32
"""Single fetches under way at once, so that submissions find a free connection."""
_ROOM: Final = 1000
"""Entries of the schedule that are not worth tidying up."""


_log: Final = logging.getLogger("mjasync")


class Watcher:
    """Watches every task somebody waits for."""

    def __init__(
        self,
        calls: Calls,
        *,
        schedule: NextLook,
        clock: Clock,
        grace: float,
        speed: str | None = None,
    ) -> None:
        self.trouble: tuple[MJError, float] | None = None
        """Why looks fail, and how long it is tried; None once one has worked."""
        self._told_of_older = False
        self._overload: Pace | None = None
        self._quiet_until: float = -_NEVER
        """Until when nothing is asked, since the server said that it has too much to do."""
        self._calls = calls
        self._schedule = schedule
        self._clock = clock
        self._grace = grace
        self._speed = speed
        self._watches: dict[str, _Watch] = {}
        self._expected: dict[str, bool] = {}
        """Tasks that are not waited for yet; whether a webhook told of them."""
        self._gates: set[Waiter] = set()
        self._alarms: dict[int, set[Waiter]] = {}
        self._due: list[tuple[float, int, _Watch | Waiter | int]] = []
        self._crowded = _ROOM
        self._together = schedule.together
        self._singly: deque[_Watch] = deque()
        self._lanes = 0
        self._durations = Durations()
        self._refreshes: Refreshes | None = None
        self._strange: set[tuple[str, str]] = set()
        self._order = itertools.count()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = _NEVER
        self._jobs: set[asyncio.Task[None]] = set()
        self._closed = False

    def until(
        self,
        info: TaskInfo,
        tell: Callable[[TaskInfo], bool],
        *,
        known: bool,
        deadline: float,
        stall: float,
        answered: bool = False,
    ) -> Waiter:
        """Watch a task until `tell(snapshot)` says so, which is told every snapshot that differs.

        Args:
            info: What is known of it so far.
            tell: Told every snapshot that differs from the one before; whether that is what is
                waited for.
            known: Whether the server is known to have it; if not, the first "unknown" is final.
            deadline: When to give up, on the client's clock.
            stall: Seconds without change after which to give up.
            answered: Whether it is the answer to a modal, which lists show sooner than a fetch.

        Returns:
            A future; whoever awaited it must `leave`, whatever came of it. That is no coroutine
            in between, because every task that is waited for would have to keep one.

        Raises (when awaited):
            TaskTimeout: At the deadline.
            TaskStalled: Nothing changed for `stall` seconds.
            TaskNotFound: The server does not know it (any more).
            MJError: It cannot be read.
        """
        self._check_open()
        now = self._clock.now()
        watch = self._watches.get(info.id) or self._begin(info, now, known=known)
        watch.answered |= answered
        waiter = self._wait(now, deadline, stall, tell, watch)
        watch.waiters += (waiter,)
        if watch.info is not info and (watch.info.status.is_final or not decoding.is_told(info)):
            _tell(waiter, watch.info)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer; what nobody waits for is not looked at any more."""
        if waiter.alarms is not None:
            waiter.alarms.discard(waiter)
        watch = waiter.watch
        if watch is not None:
            watch.waiters = tuple(other for other in watch.waiters if other is not waiter)
            if not watch.waiters and self._watches.get(watch.id) is watch:
                del self._watches[watch.id]
        self._rest_if_idle()

    async def within(self, deadline: float, future: asyncio.Future[Any]) -> None:
        """Wait until `future` is done, whatever its outcome, or the deadline passes.

        Raises:
            TaskTimeout: At the deadline.
        """
        if future.done():
            return
        self._check_open()
        waiter = self._wait(self._clock.now(), deadline, _NEVER, lambda _: True)

        def open_gate(_: asyncio.Future[Any]) -> None:
            _tell(waiter, _NOTHING)

        future.add_done_callback(open_gate)
        self._gates.add(waiter)
        try:
            await waiter
        finally:
            future.remove_done_callback(open_gate)
            self._gates.discard(waiter)
            self.leave(waiter)

    def hint(self, task_id: str | None) -> bool:
        """Look at a task soon, for somebody says it has changed; whether anybody waits for it.

        However many hints there are, looks at one task are `together` seconds apart, and a
        server in trouble is not asked sooner.
        """
        watch = self._watches.get(task_id or "")
        if watch is None or self._closed:
            if task_id in self._expected:
                self._expected[task_id] = True
            return task_id in self._expected
        watch.hinted = True
        soon = max(self._clock.now(), watch.asked + self._together)
        is_seen = watch.pace is None and watch.missing_since is None
        if is_seen and soon < watch.due < _NEVER:
            self._plan_look(soon, watch)
        return True

    def expect(self, task_id: str) -> None:
        """Keep hints about a task for whoever waits for it first."""
        self._expected[task_id] = False

    def expect_no_more(self, task_id: str) -> None:
        """Forget about a task: nobody can wait for it any more."""
        self._expected.pop(task_id, None)

    async def close(self) -> None:
        """Let every waiter go with `ClientClosed`, and stop."""
        self._closed = True
        for waiter in self._everyone():
            _fail(waiter, ClientClosed("The Client was closed while this was waiting."))
        jobs = [*self._jobs, *filter(None, [self._timer])]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    # --- waiters ---

    def _wait(
        self,
        now: float,
        deadline: float,
        stall: float,
        tell: Callable[[TaskInfo], bool],
        watch: _Watch | None = None,
    ) -> Waiter:
        waiter = Waiter(loop=asyncio.get_running_loop())
        waiter.begun, waiter.deadline, waiter.stall = now, deadline, stall
        waiter.tell, waiter.watch, waiter.alarms = tell, watch, None
        self._set_alarm(waiter, now)
        return waiter

    def _begin(self, info: TaskInfo, now: float, *, known: bool) -> _Watch:
        watch = _Watch(
            info.id,
            info,
            begun=now,
            changed=now,
            was_seen=known,
            asked=now,
            from_birth=known and not decoding.is_told(info),
        )
        watch.hinted = self._expected.pop(info.id, False)
        first_look = now + (self._delay(watch, now) if known and not watch.hinted else 0.0)
        self._watches[info.id] = watch
        self._plan_look(first_look, watch)
        return watch

    def _rest_if_idle(self) -> None:
        if not self._watches and not self._gates:
            self._due.clear()
            self._alarms.clear()
            self._disarm()

    def _everyone(self) -> Iterable[Waiter]:
        yield from self._gates
        for watch in self._watches.values():
            yield from watch.waiters

    def _check_open(self) -> None:
        if self._closed:
            message = "This Client is closed."
            raise ClientClosed(message)

    # --- the timer ---

    def _set_alarm(self, waiter: Waiter, now: float) -> None:
        """Ring when a waiter gives up.

        Hardly anybody waits that long: until then those of the same second are kept in one heap,
        from which whoever leaves is taken without a trace.
        """
        when = waiter.expires()
        if when == _NEVER:
            return
        second = int(when)
        if second <= now:
            self._plan(when, waiter)
            return
        waiter.alarms = self._alarms.get(second)
        if waiter.alarms is None:
            waiter.alarms = self._alarms[second] = set()
            self._plan(second, second)
        waiter.alarms.add(waiter)

    def _plan_look(self, when: float, watch: _Watch) -> None:
        watch.due = when
        self._plan(when, watch)

    def _plan(self, when: float, what: _Watch | Waiter | int) -> None:
        if when == _NEVER:
            return
        heapq.heappush(self._due, (when, next(self._order), what))
        if len(self._due) > self._crowded:
            self._tidy()
        if when < self._timer_at:
            self._arm()

    def _tidy(self) -> None:
        """Forget looks at tasks that nobody waits for, so that they do not pile up."""
        self._due = [entry for entry in self._due if self._is_live(entry[0], entry[2])]
        heapq.heapify(self._due)
        self._crowded = 2 * len(self._due) + _ROOM

    def _is_live(self, when: float, what: _Watch | Waiter | int) -> bool:
        if isinstance(what, _Watch):
            return what.due == when and self._watches.get(what.id) is what
        return isinstance(what, int) or not what.done()

    def _arm(self) -> None:
        self._disarm()
        if self._due and not self._closed:
            self._timer_at = self._due[0][0]
            self._timer = asyncio.get_running_loop().create_task(self._ring(self._timer_at))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, _NEVER

    async def _ring(self, when: float) -> None:
        await self._clock.sleep(when - self._clock.now())
        self._timer, self._timer_at = None, _NEVER
        looks = self._take_due()
        self._start_looks(looks)
        self._arm()

    def _take_due(self) -> list[_Watch]:
        """Everything due by now, and the looks due so soon that they may as well come along."""
        now = horizon = self._clock.now()
        due = self._due
        looks: list[_Watch] = []
        early: list[tuple[float, int, Waiter | int]] = []
        while due and due[0][0] <= horizon:
            when, order, what = heapq.heappop(due)
            if isinstance(what, _Watch):
                if self._is_live(when, what):
                    what.due = _NEVER
                    looks.append(what)
                    horizon = now + self._together
            elif when > now:
                early.append((when, order, what))
            elif isinstance(what, int):
                for waiter in self._alarms.pop(what):
                    waiter.alarms = None
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
            self._set_alarm(waiter, now)
        elif now >= waiter.deadline:
            waited = waiter.deadline - waiter.begun
            _fail(waiter, TaskTimeout(f"The task was not finished after {_told(waited)} s."))
        else:
            _fail(waiter, TaskStalled(f"Nothing changed on the task for {_told(waiter.stall)} s."))

    # --- looking ---

    def _start_looks(self, watches: list[_Watch]) -> None:
        if not watches:
            return
        if self._clock.now() < self._quiet_until:
            for watch in watches:
                self._plan_look(self._quiet_until, watch)
            return
        is_alone = len(watches) == 1 and not watches[0].answered
        if is_alone or not self._calls.can_list():
            self._look_singly(watches)
            return
        for first in range(0, len(watches), LIST_AT_MOST):
            chunk = watches[first : first + LIST_AT_MOST]
            self._spawn(self._look_together(chunk), chunk)

    def _spawn(self, job: Coroutine[Any, Any, None], watches: list[_Watch]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._jobs.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:  # a schedule that fails, or a flaw here: nobody may wait in vain
                for watch in watches:
                    self._give_up(watch, error)

        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(ended)

    def _look_singly(self, watches: Iterable[_Watch]) -> None:
        self._singly.extend(watches)
        for _ in range(min(_LANES - self._lanes, len(self._singly))):
            self._lanes += 1
            self._spawn(self._look_in_a_lane(), [])

    async def _look_in_a_lane(self) -> None:
        """Fetch one task after another, until none is due."""
        try:
            while self._singly:
                watch = self._singly.popleft()
                if self._clock.now() < self._quiet_until:
                    self._plan_look(self._quiet_until, watch)
                    continue
                if self._watches.get(watch.id) is watch:
                    try:
                        await self._look_at(watch)
                    except Exception as error:  # noqa: BLE001 - as in `_spawn`
                        self._give_up(watch, error)
        finally:
            self._lanes -= 1

    async def _look_at(self, watch: _Watch) -> None:
        try:
            asked = self._ask(watch)
            body, raw = await self._calls.look(watch.id, known=watch.body)
        except (TaskNotFound, UnsupportedEndpoint) as error:
            self._missed(watch, error)
        except MJError as error:
            self._stumbled([watch], error)
        else:
            self._saw(watch, body, raw, asked, self._clock.now())

    async def _look_together(self, watches: list[_Watch]) -> None:
        asked = self._ask(*watches)
        try:
            same, tasks = await self._calls.look_at_many(
                [watch.id for watch in watches], [watch.body for watch in watches if watch.body]
            )
        except MJError as error:
            unlisted = isinstance(error, UnsupportedEndpoint | InvalidRequest)
            if unlisted or not self._calls.can_list():
                self._look_singly(watches)
                return
            self._stumbled(watches, error)
            return
        found = _by_id(tasks)
        now = self._clock.now()
        missing = []
        for watch in watches:
            body, raw = found.get(watch.id) or (b"", None)
            if watch.body in same and not (raw and _has_ended(raw)):
                self._saw_again(watch, asked, now)
            elif raw is not None:
                self._saw(watch, body, raw, asked, now)
            else:
                missing.append(watch)
        self._look_singly(missing)

    def _ask(self, *watches: _Watch) -> float:
        """Note that a look is sent now."""
        for watch in watches:
            watch.checking, watch.hinted = watch.hinted, False
        return self._clock.now()

    def _saw(
        self, watch: _Watch, body: bytes, raw: dict[str, Any] | None, asked: float, now: float
    ) -> None:
        """Take in a look; no `raw` where the body was the same as before."""
        if raw is None or body == watch.body:
            self._saw_again(watch, asked, now)
            return
        watch.was_seen, watch.missing_since, watch.pace = True, None, None
        self.trouble = self._overload = None
        watch.body = body = bytes(memoryview(body))  # no longer than need be: it stays
        self._changed(watch, raw, body, now)
        watch.asked = asked
        if not watch.info.status.is_final:
            self._look_later(watch, now)

    def _saw_again(self, watch: _Watch, asked: float, now: float) -> None:
        """Take in a look that brought nothing new."""
        self.trouble = self._overload = watch.missing_since = watch.pace = None
        watch.asked = asked
        self._look_later(watch, now)

    def _log_strange(self, info: TaskInfo, raw: dict[str, Any]) -> None:
        """Say once of each word that the protocol does not know; it passes through all the same."""
        for kind, word in strange_words(info, raw):
            if (kind, word) not in self._strange:
                self._strange.add((kind, word))
                _log.warning(
                    "unknown %s '%s' (task %s): passed through as it is",
                    kind,
                    printable(word),
                    printable(info.id),
                )

    def _changed(self, watch: _Watch, raw: dict[str, Any], body: bytes, now: float) -> None:
        before = watch.info
        if raw.get("id") == watch.id:
            raw["id"] = watch.id  # the same text, kept once
        watch.info = info = decoding.snapshot(raw, body)
        is_first = not decoding.is_told(before)
        if (before.status, before.progress) != (info.status, info.progress):
            self._progressed(watch, raw, now, before, is_first=is_first)
        if before.status is not info.status or is_first:
            self._log_strange(info, raw)
        for waiter in watch.waiters:
            _tell(waiter, info)

    def _progressed(
        self, watch: _Watch, raw: dict[str, Any], now: float, before: TaskInfo, *, is_first: bool
    ) -> None:
        """Note what a change of status or progress tells of the job, the server and its hooks."""
        watch.changed = now
        if watch.checking:
            watch.told = now
        if watch.running is None and watch.info.status is TaskStatus.IN_PROGRESS:
            watch.running = now
        period = None if self._refreshes else decoding.refresh_period(raw)
        if period is not None:
            self._refreshes = Refreshes(period)
        if is_first:
            return  # it was so before, perhaps
        self._tell_if_older(before, watch.info)
        if self._refreshes is not None:
            self._refreshes.changed(watch.asked, now)
        if watch.from_birth and watch.info.status is TaskStatus.SUCCESS:
            self._learn_duration(watch.info, now - watch.begun)

    def _tell_if_older(self, before: TaskInfo, info: TaskInfo) -> None:
        """Say once that a look brought less than the one before: somebody else answers."""
        was, now = (_PROGRESS.get(look.status, 0) for look in (before, info))
        is_less = was == now == _RUNNING and (info.progress or 0) < (before.progress or 0)
        if not self._told_of_older and (is_less or 0 < now < was):
            self._told_of_older = True
            _log.warning(
                "task %s went back from %s to %s: a cache in front of the server answers, or "
                "several servers do that do not share their tasks",
                printable(info.id),
                _state_of(before),
                _state_of(info),
            )

    def _learn_duration(self, info: TaskInfo, seconds: float) -> None:
        """Learn by the speed the server tells, and by the client's: early looks know no other."""
        for speed in {info.mode, self._speed}:
            self._durations.learn(info.action, speed, seconds)

    def _look_later(self, watch: _Watch, now: float) -> None:
        if self._watches.get(watch.id) is watch:
            delay = self._together if watch.hinted else self._delay(watch, now)
            self._plan_look(now + delay, watch)

    def _delay(self, watch: _Watch, now: float) -> float:
        info, running, told = watch.info, watch.running, watch.told
        look = Look(
            info=info,
            watched=now - watch.begun,
            unchanged=now - watch.changed,
            running=None if running is None else now - running,
            speed=self._speed,
            typical=self._durations.typical(info.action, info.mode or self._speed),
            refresh=None if self._refreshes is None else self._refreshes.next_in(now),
            hinted=None if told is None else now - told,
        )
        delay = self._schedule.next_look(look)
        if not delay > 0:
            message = f"The schedule asked for the next look in {delay!r} s: that must be positive."
            raise ConfigurationError(message)
        return delay

    def _stumbled(self, watches: Sequence[_Watch], error: MJError) -> None:
        """A look failed: look again ever later, for as long as the policy has patience.

        What was asked for together stays together: many looks at random times would be many
        requests, for a server that has too much to do already.
        """
        policy, now = self._calls.retries.watch, self._clock.now()
        if self.trouble is None:
            self.trouble = error, now + policy.budget
        again_at: float | None = None
        if is_overload(error):
            again_at = self._hold_off(error, now)
        for watch in watches:
            if watch.pace is None:
                watch.pace = Pace(lambda e: policy if e.retryable else None, self._clock.now)
            if watch.pace.gives_up(error):
                self._give_up(watch, error)
            elif self._watches.get(watch.id) is watch:
                wait = watch.pace.next_wait(error)
                again_at = now + wait if again_at is None else again_at
                self._plan_look(again_at, watch)

    def _hold_off(self, error: MJError, now: float) -> float:
        """Ask nothing for a while, ever longer until a look works; return until when."""
        if now >= self._quiet_until:
            if self._overload is None:
                policy = self._calls.retries.watch
                self._overload = Pace(lambda _: policy, self._clock.now)
            wait = self._overload.next_wait(error)
            self._quiet_until = now + min(wait, self._calls.retries.watch.budget)
        return self._quiet_until

    def _missed(self, watch: _Watch, error: MJError) -> None:
        """The server says it does not know the task: believe it only after a while."""
        now = self._clock.now()
        if watch.missing_since is None:
            watch.missing_since = now
        if watch.was_seen and now - watch.missing_since < self._grace:
            self._look_later(watch, now)
        else:
            self._give_up(watch, error)

    def _give_up(self, watch: _Watch, error: BaseException) -> None:
        if self._watches.get(watch.id) is watch:
            del self._watches[watch.id]
        for waiter in watch.waiters:  # with a twin for each
            _fail(waiter, twin_of(error))


_NOTHING: Final = TaskInfo(id="")


def _by_id(
    tasks: Iterable[tuple[bytes, dict[str, Any]]],
) -> dict[str | None, tuple[bytes, dict[str, Any]]]:
    """The tasks by id; of a gateway's two rows for an answered modal, the one that ended (§4.3)."""
    found: dict[str | None, tuple[bytes, dict[str, Any]]] = {}
    for body, task in tasks:
        task_id = decoding.text(task.get("id"))
        if task_id not in found or _has_ended(task):
            found[task_id] = body, task
    return found


def _state_of(info: TaskInfo) -> str:
    percent = "" if info.progress is None else f" {info.progress}%"
    return f"{printable(info.status, 40)}{percent}"


def _has_ended(task: dict[str, Any]) -> bool:
    return TaskStatus(str(task.get("status"))).is_final


def _told(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"
