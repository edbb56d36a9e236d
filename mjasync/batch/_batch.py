"""The batch: takes prompts, plans jobs, has them done."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Mapping,
    Sequence,
)
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, TypeAlias

import attrs

from .._circuit_breaker import CircuitBreaker
from .._client import Client
from .._clock import Clock
from .._concurrency import whole
from .._http.retry import RetryPolicy
from .._models import TaskInfo
from .._text import printable
from ..errors import ConfigurationError, MJError
from ._adaptive_limit import Pace
from ._client_adapter import Door
from ._filenames import DEFAULT_NAME, Names
from ._gallery.page import Gallery
from ._job_executor import DOUBTFUL, NEVER_AGAIN, Life, no_function
from ._jobs import CALL, Job, JobState, LedgerError, Totals
from ._ledger.open import ledger_of
from ._output import Images, Output
from ._planning import Step, jobs_of, steps_of
from ._readers import read_rows
from ._recovery import Recovery
from ._rows import Row, as_row, check_source, placed_by
from ._runner import Bounds, Crew

__all__ = ["Batch", "Given"]

_log: Final = logging.getLogger("mjasync")

Given: TypeAlias = str | Mapping[str, object]
"""A prompt, or a row: a mapping with a `prompt`, or with what goes into a template."""
Source: TypeAlias = Given | Iterable[Given] | AsyncIterable[Given]

_PLANNED_AT_ONCE: Final = 500
_SHOWN_EVERY: Final = 3.0
"""Seconds between two galleries of a run."""
_OPEN: Final = (
    JobState.PLANNED,
    JobState.SUBMITTING,
    JobState.UNCERTAIN,
    JobState.ACCEPTED,
    JobState.FINISHED,
)
_PROBES_FIRST: Final = 5
_PROBES_LONGEST: Final = 15
"""How much slower probes are than the client's `retries.busy`: 5 s and 5 min by default."""
_SOONEST_PROBE: Final = 0.001
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
        max_uncertain: int | None = None,
        settle: float = 60.0,
        ledger: str | None = None,
        gallery: bool = True,
    ) -> None:
        """Set up a batch; nothing is touched before `async with`.

        Args:
            folder: Where the ledger and the pictures are.
            client: The client to use; never closed here.
            limit: How many tasks may be unfinished at once.
            then: Buttons to press, as paths from the grid (`"U1>Upscale (Subtle)"`), the answer to
                a modal in brackets (`"U1>Custom Zoom[{prompt} --zoom 1.8]"`); and async functions
                that take the finished Task and may return another one to be saved.
            images: What to save of a grid: the grid, its four pictures, or both it and U1 to U4.
            name: Template of file names, relative to the folder.
            repeat: How often each prompt is drawn.
            retry_failed: Begin failed jobs anew: all, or those of one error class or several, by
                name. A banned prompt never.
            resubmit_uncertain: Send again what may have been taken; it may be paid twice.
            max_submits: Send no more than this in one run.
            max_failures: Begin nothing more once so many have failed in one run.
            max_uncertain: Begin nothing more once so many of one run may have been taken and cannot
                be looked up.
            settle: Seconds after which a submission the server does not list is taken as lost.
            ledger: Where the ledger is, as the URL of a SQLite or PostgreSQL database; by default
                `ledger.db` in the folder. On PostgreSQL several processes may share the batch.
            gallery: Whether to write `index.html`, the pictures to look at.

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
        self._bounds = Bounds(
            limit=limit,
            max_submits=max_submits,
            max_failures=max_failures,
            max_uncertain=max_uncertain,
        )
        self._repeat = repeat
        classes = [retry_failed] if isinstance(retry_failed, str) else retry_failed
        self._retry_failed = classes if isinstance(classes, bool) else frozenset(classes)
        self._resubmit_uncertain = resubmit_uncertain
        self._settle = settle
        self._names = Names(name)
        self._output = Output(self._folder, self._names, images)
        self._gallery = Gallery(self._folder) if gallery else None
        self._is_beside = ledger is None
        place = ledger_of(self._folder, ledger)
        ledger = None  # a traceback shows variables, and it may have a password
        if isinstance(place, str):
            raise ConfigurationError(place)
        self._ledger, self._lock = place
        if self._ledger.is_shared and not self._names.are_apart:
            message = f"Where several processes write, {name!r} needs {{key}} or {{task_id}}."
            raise ConfigurationError(message)
        self._sources: list[tuple[Source, str | None, int]] = []
        self._duplicates = 0
        self._asked_keys: set[str] = set()
        self._columns: set[str] = set()
        self._used_columns: set[str] = set()
        self._is_open = False
        self._crew: Crew | None = None
        self._last: Crew | None = None
        self._showing: asyncio.Task[None] | None = None
        self._winding_up = asyncio.Lock()

    @property
    def stopped(self) -> str:
        """Why the last run began no more jobs; "" while there is no reason.

        "max_submits", "max_failures", "max_uncertain", "stop", or the class of an error.
        """
        return self._last.stopped if self._last is not None else ""

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Ids of tasks that the server took in the last run and the ledger had no room for."""
        return () if self._last is None else self._last.unrecorded

    @property
    def duplicates(self) -> int:
        """How many rows, of those last planned or counted, ask for what others before them do."""
        return self._duplicates

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """The columns, of rows last planned or counted, that nothing uses but the manifest has.

        Neither the prompt nor the name of a file nor the answer to a modal takes them.
        """
        return tuple(sorted(self._columns - self._used_columns))

    @property
    def under_way(self) -> tuple[tuple[Job, TaskInfo | None], ...]:
        """The jobs under way in the order they began, each with the last that is known of it."""
        return self._crew.under_way if self._crew is not None else ()

    @property
    def held_up(self) -> tuple[MJError, float] | None:
        """Why the server takes or tells nothing now, and for how many seconds more it is tried.

        A `SubmitUncertain` means that only single submissions are tried, ever more slowly, until
        one is accepted. None while all is well.
        """
        return self._crew.held_up if self._crew is not None else None

    @property
    def uncertainty(self) -> str:
        """Why the last run tried only single submissions, with the server's own words; "" else."""
        return self._last.reason if self._last is not None else ""

    # --- life ---

    async def __aenter__(self) -> Self:
        """Take the folder.

        Raises:
            BatchInUse: Somebody else has it.
            ConfigurationError: The ledger cannot be reached, a later version made it, or it knows
                nothing of what the manifest lists.
            LedgerError: It is damaged, locked by another program, or cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock is not None:
            self._lock.take()
        try:
            await self._ledger.open()
            await self._check_manifest()
            if self._lock is not None:  # else they may be another's, and just being written
                await asyncio.to_thread(self._output.tidy)
        except BaseException:
            await self._close()
            raise
        self._is_open = True
        return self

    async def _check_manifest(self) -> None:
        """See that the ledger is not an empty or an old one, which would pay everything again.

        Raises:
            ConfigurationError: It is.
        """
        listed = await asyncio.to_thread(self._output.listed)
        unknown = listed - await self._ledger.sent(listed)
        if not unknown or not (self._is_beside or unknown == listed):
            return
        jobs = "job" if len(unknown) == 1 else "jobs"
        message = (
            f"manifest.jsonl lists {len(unknown)} {jobs} of which the ledger does not know that "
            "they were sent: it is empty, or an old copy, and would pay for them again. Restore "
            "the ledger from a backup; to draw everything anew, remove manifest.jsonl."
        )
        raise ConfigurationError(message)

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
            if self._lock is not None:
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
            template: The prompt of each row, with its columns in braces. A plain prompt goes in as
                `{prompt}`.
            repeat: How often each is drawn; by default what the batch says.

        Raises:
            InvalidRequest: It is none of these. What is wrong with a row is told when it is read.
        """
        check_source(prompts)
        self._sources.append((prompts, template, repeat or self._repeat))

    def add_file(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        *,
        template: str | None = None,
        repeat: int = 0,
    ) -> int:
        r"""Add what is in a file: text, CSV, TSV, JSON (an array or one row a line) or YAML.

        Text has a prompt on each line; `#` begins a comment, `\#` a prompt with a hash.

        Args:
            file: Its path, whose ending tells what it is; or text that is open for reading bytes.
            template: The prompt of each row, with its columns in braces; `{prompt}` is a line of
                text.
            repeat: How often each is drawn; by default what the batch says.

        Returns:
            How many rows there are in it.

        Raises:
            ConfigurationError: It cannot be read; the message says where.
        """
        source = Path(file) if isinstance(file, str | os.PathLike) else file
        rows = read_rows(source, template, repeat or self._repeat)
        self._sources.append((rows, None, 1))  # type: ignore[arg-type]  # rows are taken as they are
        return len(rows)

    async def dry_run(self) -> int:
        """How many submissions a run would make if all went well. Sends and writes nothing.

        Runs of functions are not among them, for nobody knows what those submit: they are in
        `forecast`.

        Raises:
            MJError: A row makes no sense.
        """
        steps = await self.forecast()
        return sum(many for step, many in steps.items() if not step.startswith(CALL))

    async def forecast(self) -> Counter[str]:
        """The same by step, as `Job.step` names them: "" for grids.

        Raises:
            MJError: A row makes no sense.
        """
        self._check_open()
        failed = await self._ledger.jobs(JobState.FAILED)
        held = {job.key for job in failed if not self._retries(job)}
        todo: dict[str, str] = {}
        async for job in self._to_pay():
            if job.parent in held:
                held.add(job.key)
            else:
                todo[job.key] = job.step
        return Counter(todo.values())

    async def unasked(self) -> list[Job]:
        """The planned jobs that nothing added asks for: their prompts left the file, say.

        They are drawn with the others, unless they are dropped. None of a batch to which nothing
        was added, nor of one that several processes share, since each may add its own.

        Raises:
            MJError: A row makes no sense.
        """
        self._check_open()
        await self._read_sources()
        if self._sources:
            async for _ in self._asked(self._sources):
                pass
        if not self._asked_keys or self._ledger.is_shared:
            return []
        planned = await self._ledger.jobs(JobState.PLANNED)
        return [job for job in planned if job.key not in self._asked_keys]

    async def drop(self, jobs: Iterable[Job]) -> int:
        """Forget planned jobs of which nothing was ever taken, and their steps; return how many."""
        self._check_open()
        keys = {job.key for job in jobs}
        for job in await self._ledger.jobs(JobState.PLANNED):  # each after what it is a step of
            if job.parent in keys:
                keys.add(job.key)
        return await self._ledger.remove(keys)

    async def _to_pay(self) -> AsyncIterator[Job]:
        """What is left to pay for, and what is new, each after the job it is a step of."""
        for job in await self._unfinished():
            is_doubtful = job.state in DOUBTFUL and self._resubmit_uncertain
            if job.state is JobState.PLANNED or job.modal == "open" or is_doubtful:
                yield job
        await self._read_sources()
        async for jobs in self._new(self._sources):
            for job in jobs:
                yield job

    async def _read_sources(self) -> None:
        """Read what can be read only once."""
        for at, (source, template, repeat) in enumerate(self._sources):
            rows: list[Any] = [one async for one in _each(source)]
            self._sources[at] = (rows, template, repeat)

    async def plan(self) -> int:
        """Put into the ledger what was added and is not there yet; return how many jobs that is.

        `run` does it when it was not done.

        Raises:
            MJError: A row makes no sense.
        """
        self._check_open()
        new = [job async for jobs in self._new(self._sources) for job in jobs]
        count = await self._ledger.add(new) if new else 0
        self._sources = []
        return count

    async def _new(self, sources: list[tuple[Source, str | None, int]]) -> AsyncIterator[list[Job]]:
        """The jobs that the ledger does not have, so many at a time."""
        async for chunk in self._asked(sources):
            known = await self._ledger.known({job.key for job in chunk})
            fresh = [job for job in chunk if job.key not in known]
            for job in fresh:
                self._names.check(job)
            yield fresh

    async def _asked(
        self, sources: list[tuple[Source, str | None, int]]
    ) -> AsyncIterator[list[Job]]:
        chunk: list[Job] = []
        seen: set[str] = set()
        if sources:
            self._duplicates = 0
            self._columns = set()
            self._used_columns = {"bot"} | self._names.fields
            self._used_columns |= {name for step in self._steps for name in placed_by(step)}
        for source, template, repeat in sources:
            async for given in _each(source):
                row = as_row(given, template, repeat)
                self._columns |= row.variables.keys()
                self._used_columns |= row.placed
                jobs = [*jobs_of(row, self._steps)]
                keys = {job.key for job in jobs}
                self._duplicates += keys <= seen
                seen |= keys
                chunk += jobs
                if len(chunk) >= _PLANNED_AT_ONCE:
                    yield chunk
                    chunk = []
        yield chunk
        self._asked_keys |= seen

    # --- doing it ---

    async def run(self) -> AsyncGenerator[Job, None]:
        """Do what is left to do; yield each job as it ends, failed and uncertain ones too.

        Leaving the loop early stops waiting: what is on the wire is finished and noted.

        Raises:
            ConfigurationError: A function that is left to run is not in `then`.
            MJError: The account cannot go on (token, balance), or the server draws nothing; what
                was under way is carried to its end first, and noted.
            OSError: The disk is full, or the like; the same.
        """
        self._check_open()
        if self._crew is not None:
            message = "This Batch is running already."
            raise ConfigurationError(message)
        door = Door(self._client)
        recovery = Recovery(
            door=door,
            ledger=self._ledger,
            resubmit_uncertain=self._resubmit_uncertain,
            settle=self._settle,
        )
        life = Life(
            client=self._client,
            door=door,
            ledger=self._ledger,
            output=self._output,
            calls=self._calls,
            recovery=recovery,
            breaker=_breaker_of(door.busy),
            saving=asyncio.Semaphore(self._bounds.limit),
        )
        self._crew = self._last = crew = Crew(
            life=life,
            pace=Pace(self._bounds.limit, door.busy, door.clock.now()),
            bounds=self._bounds,
        )
        try:
            await self.plan()
            jobs = await self._unfinished()
            self._check_calls(jobs)
            lost = await self._lost(await self._list())
            if jobs:
                await self._ledger.reserve(self._bounds.limit)
            await crew.begin([*lost, *jobs])
            if self._gallery is not None and crew.had_work:
                self._showing = asyncio.create_task(self._keep_showing(door.clock))
            while (job := await crew.next_ended()) is not None:
                yield job
        finally:
            await self._wind_up(crew)
        if crew.error is not None:
            raise _with_ids(crew.error, life.unrecorded)

    async def _wind_up(self, crew: Crew | None) -> None:
        """End a run, once: what is on the wire is finished, noted and listed."""
        await whole(self._wound_up(crew))  # however often it is cancelled meanwhile

    async def _wound_up(self, crew: Crew | None) -> None:
        async with self._winding_up:
            if crew is None or self._crew is not crew:
                return
            try:
                if self._showing is not None:
                    self._showing.cancel()
                    await asyncio.gather(self._showing, return_exceptions=True)
                await crew.disband()
                await self._list_at_the_end(crew)
            except OSError:
                if crew.error is None:  # else that one is raised, with the ids that it alone has
                    raise
            finally:
                self._crew = self._showing = None

    async def _list_at_the_end(self, crew: Crew) -> None:
        if getattr(crew.error, "errno", None) != errno.ENOSPC:  # else the next run needs it
            await self._ledger.give_back()
        if crew.had_work:
            await self._list()
            await self._show(running=False)

    def stop(self) -> None:
        """Begin nothing more; `run` ends when what is under way has ended."""
        if self._crew is not None:
            self._crew.stop("stop")

    async def _list(self) -> list[Job]:
        """Write the manifest; return all jobs."""
        async with self._ledger.listing():
            jobs = await self._ledger.jobs()
            for job in jobs:
                self._names.keep(job)
            try:
                await self._output.list(jobs)
            except OSError as error:
                raise _unwritable(error) from error
        return jobs

    async def _lost(self, jobs: list[Job]) -> list[Job]:
        """The saved ones among some jobs of which files are gone, as they are to be saved again."""
        if self._ledger.is_shared:  # they may be in the folder of another machine
            return []
        gone = await asyncio.to_thread(self._output.gone, jobs)
        return [attrs.evolve(job, state=JobState.FINISHED) for job in gone]

    def _check_calls(self, jobs: Iterable[Job]) -> None:
        """See that every function that is left to run is there, before anything is sent."""
        begun = {JobState.PLANNED, *(DOUBTFUL if self._resubmit_uncertain else ())}
        for job in jobs:
            if job.is_call and job.state in begun and job.step not in self._calls:
                raise ConfigurationError(no_function(job))

    async def _keep_showing(self, clock: Clock) -> None:
        """Have the gallery follow the run, for a tenth of the time at most."""
        while True:
            began = clock.now()
            await self._show(running=True)
            await clock.sleep(max(_SHOWN_EVERY, 9 * (clock.now() - began)))

    async def _show(self, *, running: bool) -> None:
        """Write the gallery; a run does not fail for it, as it can be made again any time."""
        if self._gallery is not None:
            try:
                await whole(self._gallery.write(await self._ledger.jobs(), running=running))
            except Exception as error:  # noqa: BLE001 - one odd picture, say
                _log.warning("the gallery was not written: %s", printable(error))

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

    async def jobs(self, *states: JobState) -> list[Job]:
        """Every job of the ledger, or those in some states, in the order they were planned."""
        self._check_open()
        return await self._ledger.jobs(*states)

    async def totals(self) -> Totals:
        """Where the batch stands, in numbers."""
        self._check_open()
        return await self._ledger.totals()


def _breaker_of(busy: RetryPolicy) -> CircuitBreaker:
    """Slower than a server that says no is asked again: each probe may be paid for nothing."""
    first = max(_PROBES_FIRST * busy.first, _SOONEST_PROBE)
    return CircuitBreaker(
        first_delay=first, longest_delay=max(first, _PROBES_LONGEST * busy.longest)
    )


def _unwritable(error: OSError) -> LedgerError:
    return LedgerError(
        f"The batch's folder cannot be written: {printable(error)}.", errno=error.errno
    )


def _with_ids(error: Exception, unrecorded: Sequence[str]) -> Exception:
    """What ended a run, with the ids that nothing but this error has."""
    if isinstance(error, OSError) and not isinstance(error, MJError):
        told = _unwritable(error)
        told.__cause__, error = error, told
    if not unrecorded:
        return error
    message = error.message if isinstance(error, MJError) else str(error)
    ids = " ".join(unrecorded)
    told = LedgerError(
        f"{message} The server took {len(unrecorded)} more that could not be noted: {ids}. "
        f"`mjasync watch {ids} --save FOLDER/` has their pictures.",
        errno=error.errno if isinstance(error, OSError) else None,
        unrecorded=unrecorded,
    )
    told.__cause__ = error
    return told


async def _each(source: Source) -> AsyncIterator[object]:
    if isinstance(source, str | Row | Mapping):
        yield source
    elif isinstance(source, AsyncIterable):
        async for one in source:
            yield one
    else:
        for one in source:
            yield one
