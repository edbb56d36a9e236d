"""A ledger that several processes share: each claims its jobs, and claims of the dead are found.

A process is alive while it holds an advisory lock under its own number. PostgreSQL releases the
lock when the connection ends, for whatever reason. There is only one connection: a process that can
write is alive at that moment, and no clock is needed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from ..._concurrency import uninterrupted
from ..._text import redact
from ...errors import ConfigurationError, MJError
from .._jobs import BatchInUse, Job, JobStatus
from .database_errors import database_message
from .ledger import Ledger
from .tables import JOBS, TABLES, decode_job, decode_jobs, jobs_query

_CLAIMS: Final = Table(
    "claims",
    MetaData(),
    Column("key", String(32), primary_key=True),
    Column("shares", String(32), nullable=False, unique=True),
    Column("owner", BigInteger, nullable=False, index=True),
)
"""The running jobs with their owners; no two of them may have the same value in `shares`."""
_OWNER_COUNT: Final = 2**63
_PLANNING_LOCK_ID: Final = -0x6D6A01
"""The advisory lock for creating tables and numbering jobs; the ids of owners are positive."""
_MANIFEST_LOCK_ID: Final = -0x6D6A02


class SharedLedger(Ledger):
    """The state of every job in PostgreSQL, used by several processes."""

    is_shared = True
    tables = (TABLES, _CLAIMS.metadata)

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._secrets = [url.password or ""]
        self._owner = 0

    async def open(self) -> None:
        """Connect, and create or migrate the tables.

        Raises:
            ConfigurationError: The database cannot be reached, or a later mjasync created it.
        """
        try:
            return await super().open()
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - an error of the driver's own
            reason = error.message if isinstance(error, MJError) else database_message(error)
        # raised here, without a reference to the driver's variables: they contain the password
        message = f"The batch's ledger cannot be opened: {redact(reason, self._secrets)}"
        raise ConfigurationError(message)

    async def _register_owner(self, connection: AsyncConnection) -> None:
        self._owner = secrets.randbelow(_OWNER_COUNT - 1) + 1
        await connection.execute(select(func.pg_advisory_lock(self._owner)))

    @uninterrupted
    async def close(self) -> None:
        """Release all claims and close the connection."""
        try:
            if self._owner and self._connection is not None and not self._connection.invalidated:
                await self.release_all()
        finally:
            await super().close()

    async def _lock_planning(self, connection: AsyncConnection) -> None:
        await connection.execute(select(func.pg_advisory_xact_lock(_PLANNING_LOCK_ID)))

    @asynccontextmanager
    async def manifest_lock(self) -> AsyncIterator[None]:
        """Exclude other processes from writing the manifest."""
        await self._execute(select(func.pg_advisory_lock(_MANIFEST_LOCK_ID)))
        try:
            yield
        finally:
            await self._execute(select(func.pg_advisory_unlock(_MANIFEST_LOCK_ID)))

    @uninterrupted
    async def _execute(self, statement: Any) -> None:  # noqa: ANN401 - any statement
        async with self._transaction() as connection:
            await connection.execute(statement)

    def _is_own_claim(self, job: Job) -> Any:  # noqa: ANN401 - an SQL expression
        return (_CLAIMS.c.key == job.key) & (_CLAIMS.c.owner == self._owner)

    @uninterrupted
    async def claim(self, job: Job) -> bool:
        """Claim a job, unless it is claimed or changed, or conflicts with a running job."""
        async with self._transaction() as connection:
            row = {"key": job.key, "shares": _conflict_key(job), "owner": self._owner}
            statement = insert(_CLAIMS).values(row).on_conflict_do_nothing()
            if not (await connection.execute(statement)).rowcount:
                return False
            current = (await connection.execute(select(JOBS).where(JOBS.c.key == job.key))).one()
            if _is_unchanged(decode_job(current), job):
                return True
            await connection.execute(delete(_CLAIMS).where(_CLAIMS.c.key == job.key))
            return False

    async def release(self, job: Job) -> None:
        """Release the claim on a job."""
        await self._execute(delete(_CLAIMS).where(self._is_own_claim(job)))

    async def release_all(self) -> None:
        """Release the claims on all jobs."""
        await self._execute(delete(_CLAIMS).where(_CLAIMS.c.owner == self._owner))

    async def _write(
        self, connection: AsyncConnection, job: Job, changed: Job, row: dict[str, Any]
    ) -> None:
        is_own = self._is_own_claim(job)
        query = select(_CLAIMS.c.key).where(is_own).with_for_update()
        if (await connection.execute(query)).first() is None:
            message = "Another process has taken this job over: the ledger was out of reach."
            raise BatchInUse(message)
        await connection.execute(update(JOBS).where(JOBS.c.key == job.key).values(**row))
        if changed.status is JobStatus.FINISHED:  # the job conflicts with no other any more
            await connection.execute(update(_CLAIMS).where(is_own).values(shares=job.key))

    @uninterrupted
    async def unclaimed(self, *statuses: JobStatus) -> tuple[list[Job], bool]:
        """Return jobs that no living process has claimed, and whether others have claims."""
        async with self._transaction() as connection:
            is_other = _CLAIMS.c.owner != self._owner
            owners = await connection.execute(select(_CLAIMS.c.owner).where(is_other).distinct())
            living_owners = [
                owner for (owner,) in owners if not await _release_if_dead(connection, owner)
            ]
            query = jobs_query(statuses).where(JOBS.c.key.not_in(select(_CLAIMS.c.key)))
            return await decode_jobs(await connection.execute(query)), bool(living_owners)


async def _release_if_dead(connection: AsyncConnection, owner: int) -> bool:
    """Release the claims of an owner that has ended; return whether it has."""
    lock = await connection.execute(select(func.pg_try_advisory_xact_lock(owner)))
    is_dead = bool(lock.scalar())
    if is_dead:
        await connection.execute(delete(_CLAIMS).where(_CLAIMS.c.owner == owner))
    return is_dead


def _conflict_key(job: Job) -> str:
    if job.status is JobStatus.FINISHED:
        return job.key
    return hashlib.sha256(job.conflict_key.encode()).hexdigest()[:32]


def _is_unchanged(current: Job, previous: Job) -> bool:
    """Return whether no other process has changed a job; a retried job may still be failed."""
    is_retried = previous.status is JobStatus.PLANNED and current.status is JobStatus.FAILED
    return (is_retried or current.status is previous.status) and (
        attrs.evolve(current, status=previous.status) == previous
    )
