"""The life cycle of tasks: accounts with their queues, and one heap of scheduled changes.

Nothing here depends on HTTP or JSON. The caller passes the time: `Engine.advance` applies every
change that is due, at the moment it was due, so that results do not depend on how often a task is
fetched.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from .sim_task import TERMINAL_STATUSES, SimTask, StatusStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sim_task import TaskOutcome

_SPEED_FACTORS: Final = {"TURBO": 0.4, "FAST": 1.0, "RELAX": 3.0}
_QUEUE_SECONDS: Final = 1.0
_PROGRESS_PERCENTS: Final = (0, 15, 31, 46, 62, 78, 93)
_RESTART_PERCENT: Final = 62


@attrs.define(kw_only=True, eq=False)
class SimAccount:
    """One Midjourney account with its running and waiting jobs."""

    id: str
    channel_id: str
    running_count: int = 0
    waiting_tasks: deque[SimTask] = attrs.field(factory=deque)

    @property
    def user_token(self) -> str:
        """The secret of the account: invented, but clients must still not show it."""
        return f"sim-user-token-{self.id}"

    @property
    def task_count(self) -> int:
        """The number of running and waiting jobs."""
        return self.running_count + len(self.waiting_tasks)


@attrs.define(kw_only=True, eq=False)
class Engine:
    """Runs tasks and calls ``on_change`` after every change of a status or progress."""

    time_scale: float
    account_count: int
    concurrency: int
    queue_size: int
    seed: int
    modal_linger_seconds: float = 0.0
    on_change: Callable[[SimTask], None] = lambda _task: None
    tasks: dict[str, SimTask] = attrs.field(factory=dict, init=False)
    in_flight: int = attrs.field(default=0, init=False)
    max_in_flight: int = attrs.field(default=0, init=False)
    _accounts: dict[str, SimAccount] = attrs.field(factory=dict, init=False)
    _random: random.Random = attrs.field(init=False)
    _events: list[tuple[float, int, SimTask]] = attrs.field(factory=list, init=False)
    _event_count: int = attrs.field(default=0, init=False)
    _last_id: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)
        for number in range(self.account_count):
            account_id = str(10**18 + number)
            channel_id = str(2_000_000 + number)
            self._accounts[account_id] = SimAccount(id=account_id, channel_id=channel_id)

    def new_id(self, now: float) -> str:
        """Return an unused id: epoch milliseconds and three digits (PROTOCOL §2)."""
        millis = int(now * 1000)
        self._last_id = max(millis * 1000 + self._random.randrange(1000), self._last_id + 1)
        return str(self._last_id)

    def new_seed(self) -> int:
        """Return a random seed of 32 bits, as Midjourney does."""
        return self._random.getrandbits(32)

    def new_job_id(self) -> str:
        """Return a random job id, a UUID as Midjourney's."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    @property
    def all_accounts(self) -> list[SimAccount]:
        """Every account."""
        return [*self._accounts.values()]

    def add(self, task: SimTask) -> None:
        """Store a task that waits for the answer to its modal and does not run yet."""
        self.tasks[task.id] = task

    def choose_account(
        self, parent: SimTask | None = None, account_id: str | None = None
    ) -> SimAccount | None:
        """Return the account for a job: its parent's, the requested one or the least busy.

        Args:
            parent: The task that the job follows.
            account_id: The requested account.

        Returns:
            None if there is no account, or if the requested one does not exist.
        """
        if parent is not None and parent.account_id in self._accounts:
            return self._accounts[parent.account_id]
        if account_id is not None:
            return self._accounts.get(account_id)
        return min(self._accounts.values(), key=lambda account: account.task_count, default=None)

    def is_full(self, account: SimAccount) -> bool:
        """Report whether the account accepts no more jobs."""
        is_busy = account.running_count >= self.concurrency
        return is_busy and len(account.waiting_tasks) >= self.queue_size

    def accept(self, task: SimTask, account: SimAccount, outcome: TaskOutcome, now: float) -> int:
        """Accept a task; return its position in the queue, 0 if it starts at once."""
        task.account_id, task.channel_id = account.id, account.channel_id
        task.outcome, task.accepted, task.cached_json = outcome, True, None
        self.tasks[task.id] = task
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if account.running_count < self.concurrency:
            self._start(task, account, now)
            return 0
        account.waiting_tasks.append(task)
        return len(account.waiting_tasks)

    def advance(self, now: float) -> None:
        """Apply every change that is due."""
        while self._events and self._events[0][0] <= now:
            due_at, _, task = heapq.heappop(self._events)
            if not (task.forgotten or task.is_terminal):
                self._apply_step(task, due_at)

    @property
    def next_due(self) -> float | None:
        """The time of the next change; None if no task will change by itself."""
        while self._events and (self._events[0][2].forgotten or self._events[0][2].is_terminal):
            heapq.heappop(self._events)
        return self._events[0][0] if self._events else None

    def cancel(self, task: SimTask, status: str, now: float) -> None:
        """End a task early; a task that has ended stays as it is (PROTOCOL §1.15)."""
        if task.is_terminal:
            return
        task.fail_reason = "取消任务"
        self._apply_status(task, StatusStep(0, status, task.percent or 0), now)
        self._release_account(task, now)

    def change_outcome(self, task: SimTask, outcome: TaskOutcome, now: float) -> None:
        """Replace the outcome of a task, from now on."""
        task.outcome = outcome
        if not task.running:
            return
        elapsed = task.pending_steps[-1].offset_seconds if task.pending_steps else 0.0
        steps = _plan_steps(task, 1.0, 0.0)
        task.pending_steps = [step for step in steps if step.offset_seconds >= elapsed][::-1]
        self._events = [entry for entry in self._events if entry[2] is not task]
        heapq.heapify(self._events)
        if task.pending_steps:
            self._schedule_step(task, now, 0.0)

    def forget(self, task: SimTask, now: float) -> None:
        """Lose a task and free its place in the account."""
        del self.tasks[task.id]
        task.forgotten = True
        if not task.is_terminal:
            self._release_account(task, now)

    def _start(self, task: SimTask, account: SimAccount, now: float) -> None:
        account.running_count += 1
        task.running = True
        duration_factor = self._random.uniform(0.85, 1.15)
        task.pending_steps = _plan_steps(task, duration_factor, self.modal_linger_seconds)[::-1]
        task.started_ms = None
        if task.pending_steps:
            self._schedule_step(task, now, task.pending_steps[-1].offset_seconds)

    def _schedule_step(self, task: SimTask, now: float, delay: float) -> None:
        self._event_count += 1
        heapq.heappush(self._events, (now + delay * self.time_scale, self._event_count, task))

    def _apply_step(self, task: SimTask, now: float) -> None:
        step = task.pending_steps.pop()
        self._apply_status(task, step, now)
        if step.status in TERMINAL_STATUSES:
            self._release_account(task, now)
        elif task.pending_steps:
            delay = task.pending_steps[-1].offset_seconds - step.offset_seconds
            self._schedule_step(task, now, delay)

    def _apply_status(self, task: SimTask, step: StatusStep, now: float) -> None:
        task.status, task.percent, task.cached_json = step.status, step.percent, None
        millis = int(now * 1000)
        task.has_started = task.has_started or step.status == "IN_PROGRESS"
        failed_before_start = step.status == "FAILURE" and task.started_ms is None
        if step.status == "SUBMITTED" or (failed_before_start and task.outcome.has_start_time):
            task.started_ms = millis
        if step.status in TERMINAL_STATUSES:
            task.finished_ms = millis
        if step.status == "FAILURE" and not task.fail_reason:
            task.fail_reason = task.outcome.fail_reason
        self.on_change(task)
        if task.notify_twice and task.is_terminal:
            self.on_change(task)

    def _release_account(self, task: SimTask, now: float) -> None:
        """Free the place of a task for the next one."""
        if not task.accepted:
            return
        self.in_flight -= 1
        account = self._accounts[task.account_id]
        if not task.running:
            account.waiting_tasks.remove(task)
            return
        task.running = False
        account.running_count -= 1
        if account.waiting_tasks:
            self._start(account.waiting_tasks.popleft(), account, now)


def _plan_steps(task: SimTask, duration_factor: float, linger_seconds: float) -> list[StatusStep]:
    """Plan every change of a task, in order, from the moment its account is free."""
    operation = task.command
    start_seconds = _QUEUE_SECONDS + (linger_seconds if task.status == "MODAL" else 0)
    run_seconds = operation.typical_seconds * _SPEED_FACTORS[task.mode] * duration_factor
    success_steps = [
        StatusStep(start_seconds, "SUBMITTED"),
        *(
            StatusStep(start_seconds + run_seconds * share, "IN_PROGRESS", percent)
            for share, percent in _progress_course(task)
        ),
        StatusStep(start_seconds + run_seconds, "SUCCESS", 100),
    ]
    return _with_outcome(success_steps, task.outcome)


def _progress_course(task: SimTask) -> list[tuple[float, int]]:
    """Return pairs of the share of the running time and the percentage shown then."""
    if task.command.is_immediate:
        return []
    single_pass = [((percent + 1) / 101, percent) for percent in _PROGRESS_PERCENTS]
    if not task.restarts_progress:
        return single_pass
    first_pass = [
        (share / 2, percent) for share, percent in single_pass if percent <= _RESTART_PERCENT
    ]
    return [*first_pass, *(((1 + share) / 2, percent) for share, percent in single_pass)]


def _with_outcome(success_steps: list[StatusStep], outcome: TaskOutcome) -> list[StatusStep]:
    """Replace the end of a successful course by the end of an outcome (PROTOCOL §3.6)."""
    steps: list[StatusStep] = []
    fail_seconds = outcome.timeout
    match outcome.kind:
        case "well":
            return success_steps
        case "refuse":
            fail_seconds = success_steps[0].offset_seconds
        case "fail":
            steps = _stopped_at(success_steps, outcome.at_percent)
            fail_seconds = steps[-1].offset_seconds + 1
        case "stall":
            steps = _stopped_at(success_steps, outcome.at_percent)
            if fail_seconds is not None:
                fail_seconds += steps[0].offset_seconds
    if fail_seconds is None:
        return steps
    return [*steps, StatusStep(fail_seconds, "FAILURE", outcome.at_percent)]


def _stopped_at(success_steps: list[StatusStep], percent: int) -> list[StatusStep]:
    reached_steps = [step for step in success_steps[:-1] if step.percent < percent]
    reached_steps = reached_steps or success_steps[:1]
    if not percent:
        return reached_steps
    last_offset, end_offset = reached_steps[-1].offset_seconds, success_steps[-1].offset_seconds
    stop_seconds = last_offset + (end_offset - last_offset) * (percent / 100)
    return [*reached_steps, StatusStep(stop_seconds, "IN_PROGRESS", percent)]
