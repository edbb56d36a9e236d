"""The ledger of a batch: one row for each job, on disk before anything is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
from sqlalchemy import MetaData, delete, func, insert, select, update
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from ..._concurrency import uninterrupted
from .._jobs import Job, JobStatus, LedgerError, Totals
from .database_errors import ledger_errors
from .tables import (
    EVENTS,
    JOBS,
    TABLES,
    chunks,
    create_or_migrate,
    decode_job,
    decode_jobs,
    decode_status,
    encode_job,
    fetch_by_key,
    jobs_query,
    parse_json,
)

LedgerEvent = Literal["", "submitting", "accepted"]


class Ledger:
    """The state of every job in a database; a change is on disk when `update` returns.

    A ledger has one connection, from `open` to `close`. A batch that is cancelled completes the
    statements that it has begun.
    """

    is_shared: ClassVar[bool] = False
    """Whether other processes may run some of the jobs."""
    tables: ClassVar[tuple[MetaData, ...]] = (TABLES,)

    def __init__(self, url: URL, path: Path | None = None, **connect_args: object) -> None:
        self._path = path
        self._engine = create_async_engine(
            url, poolclass=NullPool, json_deserializer=parse_json, connect_args=connect_args
        )
        self._connection: AsyncConnection | None = None
        self._connection_lock = asyncio.Lock()

    @property
    def is_full(self) -> bool:
        """Whether the disk was full, and the reserved space is needed for what was sent already."""
        return False

    @uninterrupted
    async def open(self) -> None:
        """Connect, and create or migrate the tables.

        Raises:
            BatchInUse: Another process works on the batch.
            ConfigurationError: A later version of this package created the ledger.
            LedgerError: The ledger cannot be used.
        """
        with ledger_errors(self._path):
            self._connection = await self._engine.connect()
        async with self._transaction() as connection:
            await self._lock_planning(connection)
            await connection.run_sync(create_or_migrate, *self.tables)
            await self._register_owner(connection)

    async def _lock_planning(self, connection: AsyncConnection) -> None:
        """Exclude other processes from creating tables and numbering jobs in this transaction."""

    async def _register_owner(self, connection: AsyncConnection) -> None:
        """Record which process opened the ledger."""

    @uninterrupted
    async def close(self) -> None:
        """Close the connection."""
        async with self._connection_lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction; only one is open at a time.

        Raises:
            LedgerError: The connection is lost (it is never reopened, since its locks are gone),
                the disk is full, or the database failed otherwise.
        """
        async with self._connection_lock:
            if self._connection is None or self._connection.invalidated:
                raise LedgerError("The connection to the batch's ledger is lost.")
            with ledger_errors(self._path):
                async with self._connection.begin():
                    yield self._connection

    async def reserve_space(self, slots: int) -> None:
        """Reserve disk space for the responses to `slots` submissions.

        Raises:
            LedgerError: The disk is full.
        """

    async def release_space(self) -> None:
        """Free the reserved disk space."""

    @asynccontextmanager
    async def _naming_damaged_rows(self) -> AsyncIterator[None]:
        """Replace an error from a damaged row by one that names the row.

        Raises:
            LedgerError: A row is damaged.
        """
        try:
            yield
        except (TypeError, ValueError):
            await self.jobs()
            raise

    @uninterrupted
    async def add(self, jobs: Iterable[Job]) -> int:
        """Number and add the jobs that are not in the ledger yet; return how many were added."""
        jobs_by_key = {job.key: job for job in jobs}
        keys = jobs_by_key.keys() | {job.root for job in jobs_by_key.values()}
        rows = []
        async with self._naming_damaged_rows(), self._transaction() as connection:
            await self._lock_planning(connection)
            query = select(JOBS.c.key, JOBS.c.number)
            numbers = {row.key: row.number for row in await fetch_by_key(connection, query, keys)}
            last_number = (await connection.execute(select(func.max(JOBS.c.number)))).scalar() or 0
            for job in jobs_by_key.values():
                if job.key in numbers:
                    continue
                if job.root not in numbers:
                    last_number += 1
                    numbers[job.root] = last_number
                rows.append(encode_job(attrs.evolve(job, number=numbers[job.root])))
            for chunk in chunks(rows):
                await connection.execute(insert(JOBS), chunk)
        return len(rows)

    @uninterrupted
    async def remove(self, keys: Iterable[str]) -> int:
        """Remove the planned jobs among `keys` that were never accepted; return how many."""
        is_untouched = (JOBS.c.status == JobStatus.PLANNED) & (JOBS.c.times_accepted == 0)
        count = 0
        async with self._transaction() as connection:
            for chunk in chunks(keys):
                statement = delete(JOBS).where(JOBS.c.key.in_(chunk) & is_untouched)
                count += (await connection.execute(statement)).rowcount
        return count

    @uninterrupted
    async def update(
        self,
        job: Job,
        *,
        event: LedgerEvent = "",
        **changes: Any,  # noqa: ANN401 - fields of a Job
    ) -> Job:
        """Change a job on disk; return the changed job.

        `event` gives a submission or an acceptance its number in the sequence of all events.

        Raises:
            BatchInUse: Another process works on the batch now.
            LedgerError: The ledger cannot be written.
        """
        return await self._update(job, event, changes)

    async def record_error(self, job: Job, exception: Exception, **changes: Any) -> Job:  # noqa: ANN401 - fields of a Job
        """Record the last error of a job, with other changes; return the changed job."""
        description: dict[str, Any] = {
            "error_class": type(exception).__name__,
            "error": str(exception) or repr(exception),
        }
        return await self.update(job, **(description | changes))

    async def _update(self, job: Job, event: LedgerEvent, changes: dict[str, Any]) -> Job:
        async with self._transaction() as connection:
            if event:
                await connection.execute(update(EVENTS).values(n=EVENTS.c.n + 1))
                number = (await connection.execute(select(EVENTS.c.n))).scalar_one()
                changes = {**changes, f"{event}_sequence": number}
            changed = attrs.evolve(job, **changes)
            await self._write(connection, job, changed, encode_job(changed, *changes))
        return changed

    async def _write(
        self, connection: AsyncConnection, job: Job, changed: Job, row: dict[str, Any]
    ) -> None:
        """Write the changed columns of a job that this process may change.

        Raises:
            BatchInUse: Another process has taken the job over.
        """
        raise NotImplementedError  # pragma: no cover - each subclass has its own

    @uninterrupted
    async def claim(self, job: Job) -> bool:
        """Return whether this process may run a job; on a shared ledger, claim it first."""
        return bool(job)

    async def release(self, job: Job) -> None:
        """Release the claim on a job."""

    async def release_all(self) -> None:
        """Release the claims on all jobs."""

    @uninterrupted
    async def unclaimed(self, *statuses: JobStatus) -> tuple[list[Job], bool]:
        """Return jobs that no living process has claimed, and whether others have claims."""
        return await self.jobs(*statuses), False

    @asynccontextmanager
    async def manifest_lock(self) -> AsyncIterator[None]:
        """Exclude other processes from writing the manifest."""
        yield

    @uninterrupted
    async def jobs(self, *statuses: JobStatus) -> list[Job]:
        """Return all jobs, or those with one of `statuses`, in planning order."""
        async with self._transaction() as connection:
            return await decode_jobs(await connection.execute(jobs_query(statuses)))

    @uninterrupted
    async def by_keys(self, keys: Iterable[str]) -> dict[str, Job]:
        """Return the existing jobs among `keys`, by key."""
        async with self._transaction() as connection:
            rows = await fetch_by_key(connection, select(JOBS), keys)
        return {row.key: decode_job(row) for row in rows}

    @uninterrupted
    async def existing_keys(self, keys: Iterable[str]) -> set[str]:
        """Return which of `keys` are in the ledger."""
        async with self._transaction() as connection:
            return {row.key for row in await fetch_by_key(connection, select(JOBS.c.key), keys)}

    @uninterrupted
    async def submitted(self, keys: Iterable[str]) -> set[str]:
        """Return which of `keys` belong to jobs that were sent."""
        is_untouched = (JOBS.c.status == JobStatus.PLANNED) & (JOBS.c.attempts == 0)
        query = select(JOBS.c.key).where(~is_untouched)
        async with self._transaction() as connection:
            return {row.key for row in await fetch_by_key(connection, query, keys)}

    @uninterrupted
    async def accepted(self) -> dict[str, tuple[str, int]]:
        """Return the state token and event number of every accepted task, by its id."""
        c = JOBS.c
        query = select(c.task_id, c.state_token, c.accepted_sequence).where(
            c.accepted_at.is_not(None), c.state_token.is_not(None), c.task_id.is_not(None)
        )
        async with self._transaction() as connection:
            rows = await connection.execute(query)
            return {task_id: (token, number or 0) for task_id, token, number in rows}

    @uninterrupted
    async def totals(self) -> Totals:
        """Return the totals of the batch."""
        c, count = JOBS.c, func.count()
        by_status = select(c.status, count).group_by(c.status)
        submits = select(func.coalesce(func.sum(c.times_accepted), 0))
        last_charges = (
            select(c.action, c.speed, count).where(c.action != "").group_by(c.action, c.speed)
        )
        previous_charges = select(c.previous_charges).where(c.attempts > 1)
        async with self._naming_damaged_rows(), self._transaction() as connection:
            rows = await connection.execute(last_charges)
            charges = Counter({(action, speed): n for action, speed, n in rows})
            for pairs in (await connection.execute(previous_charges)).scalars():
                charges.update(map(tuple, pairs))
            return Totals(
                by_status={
                    decode_status(status): n for status, n in await connection.execute(by_status)
                },
                submits=(await connection.execute(submits)).scalar_one(),
                charges=charges,
            )
