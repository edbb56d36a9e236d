"""The life of tasks: accounts with their queues, and one heap of what happens next.

Nothing here knows HTTP or JSON. Time is whatever the caller says it is: `Engine.advance` applies
everything that has fallen due, at the moment it fell due, so that results do not depend on how
often anybody looks.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from .sim_task import TERMINAL, SimTask, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .sim_task import Fate

__all__ = ["Account", "Engine"]

_PACE: Final = {"TURBO": 0.4, "FAST": 1.0, "RELAX": 3.0}
_LEAD: Final = 1.0
_PERCENTS: Final = (0, 15, 31, 46, 62, 78, 93)
_MIDWAY: Final = 62


@attrs.define(kw_only=True, eq=False)
class Account:
    """One Midjourney account: so many jobs at once, so many more in the queue."""

    id: str
    channel: str
    running: int = 0
    waiting: deque[SimTask] = attrs.field(factory=deque)

    @property
    def user_token(self) -> str:
        """The secret it signs in with: made up, and yet nothing a client should show."""
        return f"sim-user-token-{self.id}"

    @property
    def load(self) -> int:
        """Jobs it has taken on."""
        return self.running + len(self.waiting)


@attrs.define(kw_only=True, eq=False)
class Engine:
    """Runs tasks. ``changed`` is called after every change of a task's status or progress."""

    time_scale: float
    accounts: int
    concurrency: int
    queue_size: int
    seed: int
    modal_linger: float = 0.0
    changed: Callable[[SimTask], None] = lambda _task: None
    tasks: dict[str, SimTask] = attrs.field(factory=dict, init=False)
    in_flight: int = attrs.field(default=0, init=False)
    max_in_flight: int = attrs.field(default=0, init=False)
    _accounts: dict[str, Account] = attrs.field(init=False)
    _random: random.Random = attrs.field(init=False)
    _due: list[tuple[float, int, SimTask]] = attrs.field(factory=list, init=False)
    _pushed: int = attrs.field(default=0, init=False)
    _last_id: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)
        accounts = (_account(number) for number in range(self.accounts))
        self._accounts = {account.id: account for account in accounts}

    def new_id(self, now: float) -> str:
        """An unused id: epoch milliseconds and three digits (PROTOCOL §2)."""
        millis = int(now * 1000)
        self._last_id = max(millis * 1000 + self._random.randrange(1000), self._last_id + 1)
        return str(self._last_id)

    def new_seed(self) -> int:
        """A seed as Midjourney picks one."""
        return self._random.getrandbits(32)

    def new_job(self) -> str:
        """A job id as Midjourney picks one."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    @property
    def everyone(self) -> list[Account]:
        """Every account."""
        return [*self._accounts.values()]

    def keep(self, task: SimTask) -> None:
        """Store a task that does not run: it waits for its modal to be answered."""
        self.tasks[task.id] = task

    def choose(self, parent: SimTask | None = None, wanted: str | None = None) -> Account | None:
        """The account a job goes to: its parent's, the one wanted or the least busy.

        None: there is none, or not the one wanted.
        """
        if parent is not None and parent.account in self._accounts:
            return self._accounts[parent.account]
        if wanted is not None:
            return self._accounts.get(wanted)
        return min(self._accounts.values(), key=lambda account: account.load, default=None)

    def is_full(self, account: Account) -> bool:
        """Whether an account takes no more jobs."""
        return account.running >= self.concurrency and len(account.waiting) >= self.queue_size

    def accept(self, task: SimTask, account: Account, fate: Fate, now: float) -> int:
        """Take a task on; its place in the queue, 0 when it starts at once."""
        task.account, task.channel = account.id, account.channel
        task.fate, task.accepted, task.cache = fate, True, None
        self.tasks[task.id] = task
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if account.running < self.concurrency:
            self._start(task, account, now)
            return 0
        account.waiting.append(task)
        return len(account.waiting)

    def advance(self, now: float) -> None:
        """Apply everything that has fallen due."""
        while self._due and self._due[0][0] <= now:
            due, _, task = heapq.heappop(self._due)
            if not (task.gone or task.terminal):
                self._step(task, due)

    @property
    def next_due(self) -> float | None:
        """When the next thing happens; None: nothing will, unless somebody asks for it."""
        while self._due and (self._due[0][2].gone or self._due[0][2].terminal):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def cancel(self, task: SimTask, status: str, now: float) -> None:
        """End a task early; a task that has ended stays as it is (PROTOCOL §1.15)."""
        if task.terminal:
            return
        task.fail_reason = "取消任务"
        self._change(task, Step(0, status, task.percent or 0), now)
        self._leave(task, now)

    def divert(self, task: SimTask, fate: Fate, now: float) -> None:
        """Give a task another fate, from now on."""
        task.fate = fate
        if not task.running:
            return
        done = task.steps[-1].at if task.steps else 0.0
        steps = _steps(task, 1.0, 0.0)
        task.steps = [step for step in steps if step.at >= done][::-1]
        self._due = [entry for entry in self._due if entry[2] is not task]
        heapq.heapify(self._due)
        if task.steps:
            self._queue_step(task, now, 0.0)

    def forget(self, task: SimTask, now: float) -> None:
        """Lose a task: it is no longer known, and what it held is free again."""
        del self.tasks[task.id]
        task.gone = True
        if not task.terminal:
            self._leave(task, now)

    def _start(self, task: SimTask, account: Account, at: float) -> None:
        account.running += 1
        task.running = True
        wobble = self._random.uniform(0.85, 1.15)
        task.steps = _steps(task, wobble, self.modal_linger)[::-1]
        task.started_ms = None
        if task.steps:
            self._queue_step(task, at, task.steps[-1].at)

    def _queue_step(self, task: SimTask, at: float, wait: float) -> None:
        self._pushed += 1
        heapq.heappush(self._due, (at + wait * self.time_scale, self._pushed, task))

    def _step(self, task: SimTask, at: float) -> None:
        step = task.steps.pop()
        self._change(task, step, at)
        if step.status in TERMINAL:
            self._leave(task, at)
        elif task.steps:
            self._queue_step(task, at, task.steps[-1].at - step.at)

    def _change(self, task: SimTask, step: Step, at: float) -> None:
        task.status, task.percent, task.cache = step.status, step.percent, None
        millis = int(at * 1000)
        task.begun = task.begun or step.status == "IN_PROGRESS"
        never = step.status == "FAILURE" and task.started_ms is None
        if step.status == "SUBMITTED" or (never and task.fate.started):
            task.started_ms = millis
        if step.status in TERMINAL:
            task.finished_ms = millis
        if step.status == "FAILURE" and not task.fail_reason:
            task.fail_reason = task.fate.reason
        self.changed(task)
        if task.told_twice and task.terminal:
            self.changed(task)

    def _leave(self, task: SimTask, at: float) -> None:
        """A task is no longer anybody's work: what it held is free for the next."""
        if not task.accepted:
            return
        self.in_flight -= 1
        account = self._accounts[task.account]
        if not task.running:
            account.waiting.remove(task)
            return
        task.running = False
        account.running -= 1
        if account.waiting:
            self._start(account.waiting.popleft(), account, at)


def _account(number: int) -> Account:
    return Account(id=str(1_000_000_000_000_000_000 + number), channel=str(2_000_000 + number))


def _steps(task: SimTask, wobble: float, linger: float) -> list[Step]:
    """All that is going to happen to a task, in order, from the moment its account is free."""
    verb = task.verb
    lead = _LEAD + (linger if task.status == "MODAL" else 0)
    total = verb.seconds * _PACE[task.mode] * wobble
    well = [
        Step(lead, "SUBMITTED"),
        *(Step(lead + total * share, "IN_PROGRESS", n) for share, n in _course(task)),
        Step(lead + total, "SUCCESS", 100),
    ]
    return _ENDINGS[task.fate.ending](well, task.fate)


def _course(task: SimTask) -> list[tuple[float, int]]:
    """At which share of its time it shows how many percent."""
    if task.verb.direct:
        return []
    once = [((n + 1) / 101, n) for n in _PERCENTS]
    if not task.restarts:
        return once
    first = [(share / 2, n) for share, n in once if n <= _MIDWAY]
    return [*first, *(((1 + share) / 2, n) for share, n in once)]


def _ends_well(well: list[Step], fate: Fate) -> list[Step]:  # noqa: ARG001 - as every ending
    return well


def _stalls(well: list[Step], fate: Fate) -> list[Step]:
    """It gets to exactly so many percent and no further, unless the server loses patience."""
    halted = _halted(well, fate.at)
    return [*halted, *_given_up(halted[0].at, fate)]


def _is_stuck(well: list[Step], fate: Fate) -> list[Step]:  # noqa: ARG001 - as every ending
    """Nothing ever happens to it, unless the server loses patience."""
    return _given_up(0, fate)


def _given_up(start: float, fate: Fate) -> list[Step]:
    """The server's own timeout (PROTOCOL §3.6)."""
    return [] if fate.patience is None else [Step(start + fate.patience, "FAILURE", fate.at)]


def _halted(well: list[Step], at: int) -> list[Step]:
    kept = [step for step in well[:-1] if step.percent < at] or well[:1]
    share = at / 100
    moment = kept[-1].at + (well[-1].at - kept[-1].at) * share
    return [*kept, Step(moment, "IN_PROGRESS", at)] if at else kept


def _fails(well: list[Step], fate: Fate) -> list[Step]:
    """It gets to exactly so many percent and fails there."""
    kept = _halted(well, fate.at)
    return [*kept, Step(kept[-1].at + 1, "FAILURE", fate.at)]


def _is_refused(well: list[Step], fate: Fate) -> list[Step]:
    """It fails before it has started (PROTOCOL §3.6)."""
    return [Step(well[0].at, "FAILURE", fate.at)]


_ENDINGS: Final[Mapping[str, Callable[[list[Step], Fate], list[Step]]]] = {
    "well": _ends_well,
    "stall": _stalls,
    "stuck": _is_stuck,
    "fail": _fails,
    "refuse": _is_refused,
}
