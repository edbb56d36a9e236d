"""The ledger: one row for each job, on disk before anything else happens."""

from __future__ import annotations

import asyncio
import errno
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import attrs
from sqlalchemy import (
    Executable,
    MetaData,
    delete,
    event,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from ..._concurrency import finish_despite_cancellation
from .._disk_reserve import DiskReserve
from .._jobs import BatchInUse, Job, JobStatus, LedgerError, Totals
from .database_errors import ledger_errors
from .database_file import check_links, file_identity, make_private
from .tables import (
    EVENTS,
    JOBS,
    OWNER,
    TABLES,
    chunks,
    create_or_migrate,
    decode_job,
    decode_jobs,
    decode_status,
    encode_job,
    jobs_query,
    numbers_of,
    parse_json,
)

__all__ = ["Ledger", "LedgerEvent"]

T = TypeVar("T")
LedgerEvent = Literal["", "submitting", "accepted"]
_BUSY_TIMEOUT: Final = 60.0
"""Seconds for which a ledger that another program has locked is waited for."""
_TAKEN_OVER_MESSAGE: Final = (
    "Another process has taken this batch over: its lock file was deleted or replaced meanwhile."
)


class Ledger:
    """What is known of every job, in SQLite: a note is on disk when `update` returns.

    It has one connection, from `open` to `close`.
    """

    is_shared = False
    """Whether other processes may do some of the jobs."""
    tables: tuple[MetaData, ...] = (TABLES, OWNER.metadata)

    def __init__(self, url: URL) -> None:
        self._path = self._file(url)
        self._engine = create_async_engine(
            url, poolclass=NullPool, json_deserializer=parse_json, connect_args=self._connect_args()
        )
        self._connection: AsyncConnection | None = None
        self._connection_lock = asyncio.Lock()
        self._reserve = DiskReserve(self._path.with_suffix(".reserve")) if self._path else None
        self._file_identity: tuple[int, int] | None = None
        self._owner_token = secrets.token_hex(16)
        self.check_ownership: Callable[[], None] = lambda: None
        """Sees, before each payment, that nobody else pays."""
        self._register_listeners()

    @staticmethod
    def _file(url: URL) -> Path | None:
        return Path(url.database or "")

    @staticmethod
    def _connect_args() -> dict[str, Any]:
        return {"timeout": _BUSY_TIMEOUT}

    def _register_listeners(self) -> None:
        event.listen(self._engine.sync_engine, "connect", _configure_connection)

    # --- life ---

    async def open(self) -> None:
        """Connect, and make the tables where there are none.

        Raises:
            ConfigurationError: It was made by a later version of this package.
            LedgerError: It cannot be used.
        """
        await finish_despite_cancellation(self._open())

    async def _open(self) -> None:
        if self._path is not None:
            make_private(self._path)
            check_links(self._path)
        with ledger_errors(self._path):
            self._connection = await self._engine.connect()
        async with self._transaction() as connection:
            await self._exclusive(connection)
            await connection.run_sync(create_or_migrate, *self.tables)
            await self._take_over(connection)
        if self._path is not None:
            self._file_identity = file_identity(self._path)

    async def _take_over(self, connection: AsyncConnection) -> None:
        """Have nobody pay who opened this ledger before."""
        await connection.execute(delete(OWNER))
        await connection.execute(insert(OWNER).values(token=self._owner_token))

    async def close(self) -> None:
        """Close the connection."""
        await finish_despite_cancellation(self._close())

    async def _close(self) -> None:
        async with self._connection_lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """The connection, for one at a time.

        Raises:
            LedgerError: It has broken (it is not made again: what was held by it is lost), the
                disk is full, or the like.
        """
        async with self._connection_lock:
            if self._connection is None or self._connection.invalidated:
                raise LedgerError("The connection to the batch's ledger has broken.")
            with ledger_errors(self._path):
                async with self._connection.begin():
                    yield self._connection

    # --- room ---

    @property
    def is_full(self) -> bool:
        """Whether the disk was full, and what was kept free is needed for what was sent."""
        return self._reserve is not None and self._reserve.is_released

    async def reserve_space(self, slots: int) -> None:
        """Keep room free for what is on the wire when the disk is full.

        Raises:
            LedgerError: There is none.
        """
        if self._reserve is None:
            return
        try:
            await asyncio.to_thread(self._reserve.reserve, slots)
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"There is no room for what the server will answer: {reason}."
            raise LedgerError(message, errno=error.errno) from error

    async def release_space(self) -> None:
        """Keep no room free any more."""
        if self._reserve is not None:
            await asyncio.to_thread(self._reserve.close)

    # --- writing ---

    async def add(self, jobs: Collection[Job]) -> int:
        """Number those that are not there yet and add them; return how many they are."""
        async with self._naming_damage():
            return await finish_despite_cancellation(self._add({job.key: job for job in jobs}))

    @asynccontextmanager
    async def _naming_damage(self) -> AsyncIterator[None]:
        """Name the row that makes no sense, where one does not.

        Raises:
            LedgerError: It does.
        """
        try:
            yield
        except (TypeError, ValueError):
            await self.jobs()
            raise

    async def _add(self, jobs: dict[str, Job]) -> int:
        async with self._transaction() as connection:
            await self._exclusive(connection)
            keys = jobs.keys() | {job.root for job in jobs.values()}
            numbers = await numbers_of(connection, keys)
            last_number = (await connection.execute(select(func.max(JOBS.c.number)))).scalar() or 0
            rows = []
            for job in jobs.values():
                if job.key in numbers:
                    continue
                if job.root not in numbers:
                    last_number += 1
                    numbers[job.root] = last_number
                rows.append(encode_job(attrs.evolve(job, number=numbers[job.root])))
            for chunk in chunks(rows):
                await connection.execute(insert(JOBS), chunk)
            return len(rows)

    async def _exclusive(self, connection: AsyncConnection) -> None:
        """Let nobody else make tables or number jobs meanwhile: here there is nobody else."""

    async def remove(self, keys: Iterable[str]) -> int:
        """Remove those of some jobs of which nothing was ever sent; return how many."""
        return await finish_despite_cancellation(self._remove(list(keys)))

    async def _remove(self, keys: list[str]) -> int:
        is_untouched = (JOBS.c.status == JobStatus.PLANNED) & (JOBS.c.times_accepted == 0)
        count = 0
        async with self._transaction() as connection:
            for chunk in chunks(keys):
                statement = delete(JOBS).where(JOBS.c.key.in_(chunk) & is_untouched)
                count += (await connection.execute(statement)).rowcount
        return count

    async def update(
        self,
        job: Job,
        *,
        event: LedgerEvent = "",
        **changes: Any,  # noqa: ANN401 - fields of a Job
    ) -> Job:
        """Change a job, on disk; return it as it is now.

        `event` numbers a submission or an acceptance in the order of all of them.

        Raises:
            BatchInUse: Another process works on the batch now.
            LedgerError: It cannot be written.
        """
        is_payment = changes.get("status") is JobStatus.SUBMITTING
        if is_payment:
            self._check_owner()
        return await finish_despite_cancellation(
            self._update_with_reserve(job, event, changes, is_payment=is_payment)
        )

    def _check_owner(self) -> None:
        self.check_ownership()
        if self._path is not None and self._file_identity != file_identity(self._path):
            message = f"The batch's ledger {str(self._path)!r} was deleted or replaced meanwhile."
            raise LedgerError(message)

    async def _update_with_reserve(
        self, job: Job, event: LedgerEvent, changes: dict[str, Any], *, is_payment: bool
    ) -> Job:
        """Note, with the room that is kept free where that is for what was sent already."""
        reserve = self._reserve
        if is_payment and reserve is not None and reserve.is_released:
            message = "The batch's ledger has no room for another submission: the disk is full."
            raise LedgerError(message, errno=errno.ENOSPC)
        try:
            return await self._update(job, event, changes)
        except LedgerError as error:
            if (
                is_payment
                or reserve is None
                or error.errno != errno.ENOSPC
                or not reserve.release()
            ):
                raise
        return await self._update(job, event, changes)

    async def _update(self, job: Job, event: LedgerEvent, changes: dict[str, Any]) -> Job:
        async with self._transaction() as connection:
            if event:
                changes = {
                    **changes,
                    f"{event}_sequence": await self._next_event_number(connection),
                }
            changed = attrs.evolve(job, **changes)
            statement = update(JOBS).where(self._is_own_row(job, changed))
            row = encode_job(changed, *changes)
            if not (await connection.execute(statement.values(**row))).rowcount:
                raise BatchInUse(_TAKEN_OVER_MESSAGE)
            return changed

    def _is_own_row(self, job: Job, changed: Job) -> Any:  # noqa: ANN401 - a clause
        """What must hold of a row to be written: nobody has taken it over.

        An id that comes in late belongs to whatever carries its mark.
        """
        clause: Any = exists().where(OWNER.c.token == self._owner_token)
        if changed.status is not JobStatus.SUBMITTING:
            clause = or_(clause, JOBS.c.state_token.is_not_distinct_from(job.state_token))
        return (JOBS.c.key == job.key) & clause

    @staticmethod
    async def _next_event_number(connection: AsyncConnection) -> int:
        await connection.execute(update(EVENTS).values(n=EVENTS.c.n + 1))
        return int((await connection.execute(select(EVENTS.c.n))).scalar_one())

    # --- sharing ---

    async def claim(self, job: Job) -> bool:
        """Whether a job, as it is known here, is this process's to do."""
        return bool(job)

    async def release(self, job: Job) -> None:
        """Let others have a job."""

    async def release_all(self) -> None:
        """Let others have every job."""

    async def unclaimed(self, *states: JobStatus) -> tuple[list[Job], bool]:
        """Jobs in some states that no living process has claimed; and whether any has one."""
        return await self.jobs(*states), False

    @asynccontextmanager
    async def manifest_lock(self) -> AsyncIterator[None]:
        """Keep others from writing what is written of all jobs meanwhile."""
        yield

    # --- reading ---

    async def jobs(self, *states: JobStatus) -> list[Job]:
        """All jobs, or those in some states, in the order they were planned."""
        return await finish_despite_cancellation(self._jobs(states))

    async def _jobs(self, states: Collection[JobStatus]) -> list[Job]:
        async with self._transaction() as connection:
            return await decode_jobs(await connection.execute(jobs_query(states)))

    async def by_keys(self, keys: Iterable[str]) -> dict[str, Job]:
        """Those of some jobs that are there, by key."""
        jobs: dict[str, Job] = {}
        for chunk in chunks(keys):
            rows = await self._fetch_rows(select(JOBS).where(JOBS.c.key.in_(chunk)))
            jobs |= {row.key: decode_job(row) for row in rows}
        return jobs

    async def existing_keys(self, keys: Iterable[str]) -> set[str]:
        """The keys of those of some jobs that are there."""
        existing: set[str] = set()
        for chunk in chunks(keys):
            rows = await self._fetch_rows(select(JOBS.c.key).where(JOBS.c.key.in_(chunk)))
            existing.update(row.key for row in rows)
        return existing

    async def accepted(self) -> dict[str, tuple[str, int]]:
        """Of every task that was accepted: its mark, and its place in the order of events."""
        c = JOBS.c
        query = select(c.task_id, c.state_token, c.accepted_sequence).where(
            c.accepted_at.is_not(None)
        )
        rows = await self._fetch_rows(
            query.where(c.state_token.is_not(None), c.task_id.is_not(None))
        )
        return {task_id: (mark, number or 0) for task_id, mark, number in rows}

    async def submitted(self, keys: Iterable[str]) -> set[str]:
        """The keys of those of some jobs that were sent, as far as this ledger knows."""
        is_untouched = (JOBS.c.status == JobStatus.PLANNED) & (JOBS.c.attempts == 0)
        submitted: set[str] = set()
        for chunk in chunks(keys):
            rows = await self._fetch_rows(
                select(JOBS.c.key).where(JOBS.c.key.in_(chunk), ~is_untouched)
            )
            submitted.update(row.key for row in rows)
        return submitted

    async def totals(self) -> Totals:
        """Where the batch stands."""
        async with self._naming_damage():
            return await self._totals()

    async def _totals(self) -> Totals:
        c, count = JOBS.c, func.count()
        state_rows = await self._fetch_rows(select(c.status, count).group_by(c.status))
        accepted_rows = await self._fetch_rows(select(func.coalesce(func.sum(c.times_accepted), 0)))
        query = select(c.action, c.speed, count).where(c.action != "").group_by(c.action, c.speed)
        charges = Counter({(a, speed): many for a, speed, many in await self._fetch_rows(query)})
        for (previous_charges,) in await self._fetch_rows(
            select(c.previous_charges).where(c.attempts > 1)
        ):
            charges.update(map(tuple, previous_charges))
        return Totals(
            by_status={decode_status(state): many for state, many in state_rows},
            submits=accepted_rows[0][0],
            charges=charges,
        )

    async def _fetch_rows(self, query: Executable) -> list[Any]:
        return await finish_despite_cancellation(self._execute_query(query))

    async def _execute_query(self, query: Executable) -> list[Any]:
        async with self._transaction() as connection:
            return list((await connection.execute(query)).all())


def _configure_connection(connection: Any, _: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Have a commit be on disk when it returns."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
