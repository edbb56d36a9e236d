"""A ledger that several processes share: each claims what it does, and the dead are found out.

A process is alive while it holds an advisory lock under its own number; PostgreSQL gives the lock
back when its connection ends, however that happens. There is one connection, so that whoever can
write is alive at that moment, and no clock is asked.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from ..._concurrency import finish_despite_cancellation
from ..._text import redact
from ...errors import ConfigurationError, MJError
from .._jobs import BatchInUse, Job, JobStatus
from .database_errors import database_message
from .sqlite import Ledger, LedgerEvent
from .tables import JOBS, TABLES, decode_job, decode_jobs, encode_job

__all__ = ["SharedLedger"]

_CLAIMS: Final = Table(
    "claims",
    MetaData(),
    Column("key", String(32), primary_key=True),
    Column("shares", String(32), nullable=False, unique=True),
    Column("owner", BigInteger, nullable=False, index=True),
)
"""The jobs under way: whose they are, and what no two of them may share."""
_OWNER_COUNT: Final = 2**63
_PLANNING_LOCK_ID: Final = -0x6D6A01
"""Number of the lock under which tables are made and jobs are numbered; owners are positive."""
_MANIFEST_LOCK_ID: Final = -0x6D6A02


class SharedLedger(Ledger):
    """What is known of every job, in PostgreSQL."""

    is_shared = True
    tables = (TABLES, _CLAIMS.metadata)
    _owner = 0

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._secrets = [url.password or ""]

    @staticmethod
    def _file(url: URL) -> Path | None:
        del url
        return None

    @staticmethod
    def _connect_args() -> dict[str, Any]:
        return {}

    def _register_listeners(self) -> None:
        """Every commit is on disk already."""

    async def _take_over(self, connection: AsyncConnection) -> None:
        """Others may pay, too: each what it has claimed."""

    async def open(self) -> None:
        """Connect, and make the tables where there are none.

        Raises:
            ConfigurationError: It cannot be reached, or was made by a later mjasync.
        """
        try:
            return await super().open()
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - a driver's own, of what the URL asks for
            reason = error.message if isinstance(error, MJError) else database_message(error)
        # out here, where nothing refers to the driver's variables: the password is among them
        message = f"The batch's ledger cannot be opened: {redact(reason, self._secrets)}"
        raise ConfigurationError(message)

    async def _open(self) -> None:
        await super()._open()
        self._owner = secrets.randbelow(_OWNER_COUNT - 1) + 1
        async with self._transaction() as connection:
            await connection.execute(select(func.pg_advisory_lock(self._owner)))

    async def _close(self) -> None:
        try:
            if self._owner and self._connection is not None and not self._connection.invalidated:
                await self._release_all()
        finally:
            await super()._close()

    async def _exclusive(self, connection: AsyncConnection) -> None:
        await connection.execute(select(func.pg_advisory_xact_lock(_PLANNING_LOCK_ID)))

    @asynccontextmanager
    async def manifest_lock(self) -> AsyncIterator[None]:
        """Keep others from writing what is written of all jobs meanwhile."""
        await self._fetch_rows(select(func.pg_advisory_lock(_MANIFEST_LOCK_ID)))
        try:
            yield
        finally:
            await self._fetch_rows(select(func.pg_advisory_unlock(_MANIFEST_LOCK_ID)))

    # --- claims ---

    async def claim(self, job: Job) -> bool:
        """Claim a job, if nobody has it or has changed it, and nothing that shares with it."""
        return await finish_despite_cancellation(self._claim(job))

    async def _claim(self, job: Job) -> bool:
        async with self._transaction() as connection:
            row = {"key": job.key, "shares": _conflict_key(job), "owner": self._owner}
            claimed = insert(_CLAIMS).values(row).on_conflict_do_nothing()
            if not (await connection.execute(claimed)).rowcount:
                return False
            current = (await connection.execute(select(JOBS).where(JOBS.c.key == job.key))).one()
            if _is_unchanged(decode_job(current), job):
                return True
            await connection.execute(delete(_CLAIMS).where(_CLAIMS.c.key == job.key))
            return False

    async def release(self, job: Job) -> None:
        """Let others have a job."""
        await finish_despite_cancellation(self._release(job.key))

    async def _release(self, key: str) -> None:
        async with self._transaction() as connection:
            own_claim = (_CLAIMS.c.key == key) & (_CLAIMS.c.owner == self._owner)
            await connection.execute(delete(_CLAIMS).where(own_claim))

    async def release_all(self) -> None:
        """Let others have every job."""
        await finish_despite_cancellation(self._release_all())

    async def _release_all(self) -> None:
        async with self._transaction() as connection:
            await self._remove_owner(connection, self._owner)

    async def _update(self, job: Job, event: LedgerEvent, changes: dict[str, Any]) -> Job:
        own_claim = (_CLAIMS.c.key == job.key) & (_CLAIMS.c.owner == self._owner)
        async with self._transaction() as connection:
            query = select(_CLAIMS.c.key).where(own_claim).with_for_update()
            if (await connection.execute(query)).first() is None:
                message = "Another process has taken this job over: the ledger was out of reach."
                raise BatchInUse(message)
            if event:
                changes = {
                    **changes,
                    f"{event}_sequence": await self._next_event_number(connection),
                }
            changed = attrs.evolve(job, **changes)
            row = encode_job(changed, *changes)
            await connection.execute(update(JOBS).where(JOBS.c.key == job.key).values(**row))
            if changed.status is JobStatus.FINISHED:  # nothing of it is in flight any more
                await connection.execute(update(_CLAIMS).where(own_claim).values(shares=job.key))
            return changed

    async def unclaimed(self, *states: JobStatus) -> tuple[list[Job], bool]:
        """Jobs in some states that no living process has claimed; and whether any has one."""
        return await finish_despite_cancellation(self._unclaimed(states))

    async def _unclaimed(self, states: tuple[JobStatus, ...]) -> tuple[list[Job], bool]:
        async with self._transaction() as connection:
            others = _CLAIMS.c.owner != self._owner
            owners = await connection.execute(select(_CLAIMS.c.owner).where(others).distinct())
            living_owners = [
                owner for (owner,) in owners if not await self._release_if_dead(connection, owner)
            ]
            query = (
                select(JOBS).where(JOBS.c.status.in_(states)).order_by(JOBS.c.number, JOBS.c.step)
            )
            free = query.where(JOBS.c.key.not_in(select(_CLAIMS.c.key)))
            return await decode_jobs(await connection.execute(free)), bool(living_owners)

    async def _release_if_dead(self, connection: AsyncConnection, owner: int) -> bool:
        """Whether an owner is dead, and what it had is free now."""
        locked = await connection.execute(select(func.pg_try_advisory_xact_lock(owner)))
        if not locked.scalar():
            return False
        await self._remove_owner(connection, owner)
        return True

    @staticmethod
    async def _remove_owner(connection: AsyncConnection, owner: int) -> None:
        await connection.execute(delete(_CLAIMS).where(_CLAIMS.c.owner == owner))


def _conflict_key(job: Job) -> str:
    if job.status is JobStatus.FINISHED:
        return job.key
    return hashlib.sha256(job.conflict_key.encode()).hexdigest()[:32]


def _is_unchanged(current: Job, previous: Job) -> bool:
    """Whether nobody has done anything to a job; a failed one may be about to be done again."""
    states = (
        {previous.status, JobStatus.FAILED}
        if previous.status is JobStatus.PLANNED
        else {previous.status}
    )
    return current.status in states and attrs.evolve(current, status=previous.status) == previous
