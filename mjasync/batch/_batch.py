"""The batch: takes prompts, plans jobs, keeps so many of them under way."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

import attrs

from .._client import Client
from ..errors import ConfigurationError, MJError
from ._door import Door
from ._jobs import Job, JobState, Totals
from ._ledger import Ledger
from ._life import DOUBTFUL, NEVER_AGAIN, Life, Outcome
from ._lock import Lock
from ._names import DEFAULT_NAME, Names
from ._output import Images, Output
from ._pace import Pace
from ._plan import Row, Step, as_row, jobs_of, read_rows, steps_of

__all__ = ["Batch", "Given"]

Given: TypeAlias = str | Mapping[str, object]
"""A prompt, or a row: a mapping with a `prompt`, or with what goes into a template."""
Source: TypeAlias = Given | Iterable[Given] | AsyncIterable[Given]

_PLANNED_AT_ONCE: Final = 500
_OPEN: Final = (
    JobState.PLANNED,
    JobState.SUBMITTING,
    JobState.UNCERTAIN,
    JobState.ACCEPTED,
    JobState.FINISHED,
)
_IMAGES: Final[Mapping[Images, tuple[str, ...]]] = {
    "grid": (),
    "split": (),
    "upscale-all": ("U1", "U2", "U3", "U4"),
}
"""The steps that a choice of pictures means."""


class Batch:
    """Many prompts, each paid for once, however often the process dies meanwhile.

    `async with Batch("renders", client=mj) as batch:`, then `batch.add(…)`, then
    `async for job in batch.run()`. The same again goes on where it stopped.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        client: Client,
        limit: int = 8,
        then: Step | Iterable[Step] = (),
        images: Images = "grid",
        name: str = DEFAULT_NAME,
        repeat: int = 1,
        retry_failed: bool | Iterable[str] = False,
        resubmit_uncertain: bool = False,
        max_submits: int | None = None,
        max_failures: int | None = None,
        settle: float = 60.0,
    ) -> None:
        """Set up a batch; nothing is touched before `async with`.

        Args:
            folder: Where the ledger and the pictures are.
            client: The client to use; never closed here.
            limit: How many tasks may be unfinished at once.
            then: Buttons to press, as paths from the grid (`"U1>Upscale (Subtle)"`), and async
                functions that take the finished Task and may return another one to be saved.
            images: What to save of a grid: the grid, its four pictures, or both it and U1 to U4.
            name: Template of file names, relative to the folder.
            repeat: How often each prompt is drawn.
            retry_failed: Begin failed jobs anew: all, or those of some error classes by name. A
                banned prompt never.
            resubmit_uncertain: Send again what may have been taken; it may be paid twice.
            max_submits: Send no more than this in one run.
            max_failures: Begin nothing more once so many have failed in one run.
            settle: Seconds after which a submission the server does not list is taken as lost.

        Raises:
            ConfigurationError: One of these makes no sense.
        """
        for what, number in (("limit", limit), ("repeat", repeat)):
            if number < 1:
                message = f"{what} must be at least 1, not {number}."
                raise ConfigurationError(message)
        if images not in _IMAGES:
            message = f"images must be one of {', '.join(_IMAGES)}, not {images!r}."
            raise ConfigurationError(message)
        given = [then] if isinstance(then, str) or callable(then) else [*then]
        self._steps, self._calls = steps_of([*_IMAGES[images], *given])
        self._folder = Path(folder)
        self._client = client
        self._limit = limit
        self._repeat = repeat
        self._retry_failed = (
            retry_failed if isinstance(retry_failed, bool) else frozenset(retry_failed)
        )
        self._resubmit_uncertain = resubmit_uncertain
        self._max_submits = max_submits
        self._max_failures = max_failures
        self._settle = settle
        self._names = Names(name)
        self._output = Output(self._folder, self._names, images)
        self._lock = Lock(self._folder / "ledger.lock")
        self._ledger = Ledger(self._folder / "ledger.db")
        self._sources: list[tuple[Source, str | None, int]] = []
        self._is_open = False
        self._crew: _Crew | None = None
        self._winding_up = asyncio.Lock()
        self.stopped: str = ""
        """Why the last run began no more jobs: "max_submits", "max_failures", "stop", or the
        class of the error; "" while there is nothing of the kind."""

    # --- life ---

    async def __aenter__(self) -> Self:
        """Take the folder.

        Raises:
            BatchInUse: Somebody else has it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        try:
            await self._ledger.open()
            await asyncio.to_thread(self._output.tidy)
        except BaseException:
            await self._close()
            raise
        self._is_open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._wind_up(self._crew)  # of a loop that was left: its generator ends later
        finally:
            await self._close()

    async def _close(self) -> None:
        self._is_open = False
        try:
            await self._ledger.close()
        finally:
            self._lock.release()

    def _check_open(self) -> None:
        if not self._is_open:
            message = "A Batch is used within `async with`."
            raise ConfigurationError(message)

    # --- what to do ---

    def add(self, prompts: Source, *, template: str | None = None, repeat: int = 0) -> None:
        """Add a prompt, a row, or any iterable of them; they are read when the batch runs.

        Args:
            prompts: `{a, b}` in a prompt stands for several. A row is a mapping: its `prompt`, or
                the template, may name its other columns in braces.
            template: The prompt of rows that have none.
            repeat: How often each is drawn; by default what the batch says.
        """
        self._sources.append((prompts, template, repeat or self._repeat))

    def add_file(
        self, path: str | os.PathLike[str], *, template: str | None = None, repeat: int = 0
    ) -> None:
        """Add what is in a file: text (a prompt a line, `#` for comments), CSV, TSV, JSONL, YAML.

        Args:
            path: The file; its ending tells what it is.
            template: The prompt of rows that have none.
            repeat: How often each is drawn; by default what the batch says.

        Raises:
            ConfigurationError: It cannot be read; the message says where.
        """
        rows = read_rows(Path(path), template, repeat or self._repeat)
        self._sources.append((rows, None, 1))  # type: ignore[arg-type]  # rows are taken as they are

    async def dry_run(self) -> int:
        """How many submissions a run would make if all went well. Sends and writes nothing.

        Raises:
            MJError: A row makes no sense.
        """
        self._check_open()
        count = sum(job.state is JobState.PLANNED for job in await self._unfinished())
        if self._resubmit_uncertain:
            count += len(await self._ledger.jobs(*DOUBTFUL))
        seen: set[str] = set()
        kept, self._sources = self._sources, []
        async for source in self._listed(kept):
            async for jobs in self._new([source]):
                count += len({job.key for job in jobs} - seen)
                seen |= {job.key for job in jobs}
        return count

    async def _listed(
        self, sources: list[tuple[Source, str | None, int]]
    ) -> AsyncIterator[tuple[Source, str | None, int]]:
        """Read sources that may be read only once into lists, which are kept for the run."""
        for source, template, repeat in sources:
            rows = [as_row(one, template, repeat) async for one in _each(source)]
            listed: tuple[Source, str | None, int] = (rows, None, 1)  # type: ignore[assignment]
            self._sources.append(listed)
            yield listed

    async def _plan(self) -> None:
        """Put into the ledger what is not there yet."""
        async for jobs in self._new(self._sources):
            await self._ledger.add(jobs)
        self._sources = []

    async def _new(self, sources: list[tuple[Source, str | None, int]]) -> AsyncIterator[list[Job]]:
        """Numbered jobs that the ledger does not have, so many at a time."""
        numbers: dict[str, int] = {}
        last = await self._ledger.last_number()
        async for chunk in self._asked(sources):
            known = await self._ledger.find([job.key for job in chunk])
            fresh = []
            for job in chunk:
                root = job.root
                if root not in numbers:
                    last += root not in known
                    numbers[root] = known[root].n if root in known else last
                if job.key not in known:
                    self._names.check(job)
                    fresh.append(attrs.evolve(job, n=numbers[root]))
            yield fresh

    async def _asked(
        self, sources: list[tuple[Source, str | None, int]]
    ) -> AsyncIterator[list[Job]]:
        chunk: list[Job] = []
        for source, template, repeat in sources:
            async for given in _each(source):
                chunk += jobs_of(as_row(given, template, repeat), self._steps)
                if len(chunk) >= _PLANNED_AT_ONCE:
                    yield chunk
                    chunk = []
        yield chunk

    # --- doing it ---

    async def run(self) -> AsyncGenerator[Job, None]:
        """Do what is left to do; yield each job as it ends, failed and uncertain ones too.

        Leaving the loop early stops waiting: what is on the wire is finished and noted.

        Raises:
            MJError: The account cannot go on (token, balance); what was under way is carried to
                its end first, and noted.
            OSError: The disk is full, or the like; the same.
        """
        self._check_open()
        if self._crew is not None:
            message = "This Batch is running already."
            raise ConfigurationError(message)
        self.stopped = ""
        door = Door(self._client)
        life = Life(
            client=self._client,
            door=door,
            ledger=self._ledger,
            output=self._output,
            calls=self._calls,
            resubmit_uncertain=self._resubmit_uncertain,
            settle=self._settle,
            saving=asyncio.Semaphore(self._limit),
        )
        self._crew = crew = _Crew(self, life, door, Pace(self._limit, door.busy, door.clock.now()))
        try:
            await self._plan()
            await self._list()
            await crew.take(await self._unfinished())
            while (job := await crew.next_ended()) is not None:
                yield job
        finally:
            await self._wind_up(crew)
        if crew.error is not None:
            raise crew.error

    async def _wind_up(self, crew: _Crew | None) -> None:
        """End a run, once: what is on the wire is finished, noted and listed."""
        async with self._winding_up:
            if crew is None or self._crew is not crew:
                return
            try:
                await crew.disband()
                await self._list()
            finally:
                self._crew = None

    def stop(self) -> None:
        """Begin nothing more; `run` ends when what is under way has ended."""
        if self._crew is not None:
            self._crew.stop("stop")

    async def _list(self) -> None:
        jobs = await self._ledger.jobs()
        for job in jobs:
            self._names.keep(job)
        await self._output.list(jobs)

    async def _unfinished(self) -> list[Job]:
        """What is left to do, as it is to be begun."""
        jobs = await self._ledger.jobs(*_OPEN)
        failed = await self._ledger.jobs(JobState.FAILED) if self._retry_failed else []
        again = [attrs.evolve(job, state=JobState.PLANNED) for job in failed if self._retries(job)]
        return sorted([*jobs, *again], key=lambda job: (job.n, job.step))

    def _retries(self, job: Job) -> bool:
        if job.error_class in NEVER_AGAIN:
            return False
        return self._retry_failed is True or job.error_class in (self._retry_failed or ())

    async def jobs(self) -> list[Job]:
        """Every job of the ledger, in the order they were planned."""
        self._check_open()
        return await self._ledger.jobs()

    async def totals(self) -> Totals:
        """Where the batch stands, in numbers."""
        self._check_open()
        return await self._ledger.totals()

    def enough(self, submits: int, failures: int) -> str:
        """Why nothing more may be begun; "" if it may."""
        if self._max_failures is not None and failures >= self._max_failures:
            return "max_failures"
        if self._max_submits is not None and submits >= self._max_submits:
            return "max_submits"
        return ""

    @property
    def limit(self) -> int:
        """How many tasks may be unfinished at once."""
        return self._limit

    async def parents(self, keys: set[str]) -> dict[str, Job]:
        """Some jobs by key."""
        return await self._ledger.find(keys)


class _Crew:
    """Jobs under way in one run: begun as places become free, each coming out when it ends."""

    def __init__(self, batch: Batch, life: Life, door: Door, pace: Pace) -> None:
        self.error: Exception | None = None
        self._batch = batch
        self._life = life
        self._clock = door.clock
        self._pace = pace
        self._planned: deque[Job] = deque()
        self._begun: deque[Job] = deque()
        self._after: defaultdict[str, list[Job]] = defaultdict(list)
        self._workers: dict[asyncio.Task[None], Job] = {}
        self._in_flight: dict[str, str] = {}
        self._paying: set[str] = set()
        self._news: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._alarm: asyncio.Task[None] | None = None
        self._count: Counter[str] = Counter()

    async def take(self, jobs: list[Job]) -> None:
        """Sort what is left to do: what waits for its parent, what the server has, the rest."""
        open_keys = {job.key for job in jobs}
        wanted = {job.parent for job in jobs if job.parent and job.parent not in open_keys}
        parents = await self._batch.parents(wanted)
        for job in jobs:
            if job.state is not JobState.PLANNED:
                self._begun.append(job)
            elif job.parent in open_keys:
                self._after[job.parent or ""].append(job)
            elif job.parent is None or parents[job.parent].state is JobState.SAVED:
                self._planned.append(job)

    async def next_ended(self) -> Job | None:
        """The next job that ends for this run; None after the last one."""
        while True:
            self._begin_some()
            if not self._workers and self._news.empty() and not self._waits():
                return None
            outcome = await self._news.get()
            if outcome is not None and (job := self._settle(outcome)) is not None:
                return job

    def stop(self, reason: str) -> None:
        """Begin nothing more."""
        self._batch.stopped = self._batch.stopped or reason
        self._news.put_nowait(None)

    async def disband(self) -> None:
        """Stop waiting for anything; what is on the wire is finished and noted first."""
        jobs = [*self._workers, *filter(None, [self._alarm])]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    # --- beginning ---

    def _waits(self) -> bool:
        """Whether a pause holds up what could be begun."""
        return self._alarm is not None and bool(self._planned) and not self._batch.stopped

    def _begin_some(self) -> None:
        while (job := self._next()) is not None:
            worker = asyncio.get_running_loop().create_task(self._work(job))
            self._workers[worker] = job
            if job.state is not JobState.FINISHED:
                self._in_flight[job.key] = job.shares
            if job.state is JobState.PLANNED:
                self._paying.add(job.key)

    def _next(self) -> Job | None:
        """The next job there is a place for, if any."""
        if self._batch.stopped or len(self._workers) >= 4 * self._batch.limit:
            return None
        if self._begun and len(self._in_flight) < self._batch.limit:
            return self._begun.popleft()
        if self._begun or not self._planned or len(self._in_flight) >= self._pace.allowed:
            return None
        if self._is_enough() or self._is_paused():
            return None
        for job in self._planned:
            if job.shares not in self._in_flight.values():
                self._planned.remove(job)
                return job
        return None

    def _is_enough(self) -> bool:
        submits = self._count["submits"] + len(self._paying)
        reason = self._batch.enough(submits, self._count["failures"])
        if reason and not (reason == "max_submits" and self._paying):
            self._batch.stopped = reason
        return bool(reason)

    def _is_paused(self) -> bool:
        rest = self._pace.paused_until - self._clock.now()
        if rest <= 0:
            return False
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().create_task(self._wake(rest))
        return True

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._alarm = None
        self._news.put_nowait(None)

    # --- ending ---

    async def _work(self, job: Job) -> None:
        try:
            outcome = await self._life.live(job, self._sent, self._landed)
        except Exception as error:  # noqa: BLE001 - the ledger cannot be written, say
            outcome = Outcome(job=job, stop=error)
        self._news.put_nowait(outcome)

    def _sent(self, job: Job) -> None:
        self._paying.discard(job.key)
        self._count["submits"] += 1
        if job.state is JobState.ACCEPTED:
            self._pace.speed_up()

    def _landed(self, job: Job) -> None:
        self._in_flight.pop(job.key, None)
        self._pace.land(self._clock.now())
        self._news.put_nowait(None)

    def _settle(self, outcome: Outcome) -> Job | None:
        """Take a job off; return it unless it is to be begun again."""
        job = outcome.job
        self._workers = {w: j for w, j in self._workers.items() if j.key != job.key}
        self._in_flight.pop(job.key, None)
        self._paying.discard(job.key)
        if outcome.refusal is not None:
            self._slow_down(outcome.refusal)
        if outcome.stop is not None:
            self._give_up(outcome.stop)
        if outcome.again:
            self._planned.appendleft(job)
            return None
        if outcome.stop is not None and job.state is JobState.PLANNED:
            return None
        if job.state in {JobState.SAVED, JobState.FINISHED}:
            self._planned.extendleft(reversed(self._after.pop(job.key, [])))
        self._count["failures"] += job.state is JobState.FAILED
        return job

    def _slow_down(self, refusal: MJError) -> None:
        goes_on = self._pace.slow_down(refusal, self._clock.now())
        if not goes_on and not self._in_flight:
            self._give_up(refusal)

    def _give_up(self, error: Exception) -> None:
        self.error = self.error or error
        self.stop(type(error).__name__)


async def _each(source: Source) -> AsyncIterator[Given | Row]:
    if isinstance(source, str | Row):
        yield source
    elif isinstance(source, Mapping):
        yield {str(name): value for name, value in source.items()}
    elif isinstance(source, AsyncIterable):
        async for one in source:
            yield one
    else:
        for one in source:
            yield one
