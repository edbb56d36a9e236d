"""The ledger of one process: a SQLite file, a lock beside it, and reserved disk space."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import delete, event, exists, insert, or_, update
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from ..._concurrency import uninterrupted
from .._disk_reserve import DiskReserve
from .._jobs import BatchInUse, Job, JobStatus, LedgerError
from .ledger import Ledger, LedgerEvent
from .lock import LedgerLock
from .tables import JOBS, OWNER, TABLES

_BUSY_TIMEOUT: Final = 60.0
"""Seconds to wait for a ledger that another program has locked."""
_TAKEN_OVER_MESSAGE: Final = (
    "Another process has taken this batch over: its lock file was deleted or replaced meanwhile."
)


class SQLiteLedger(Ledger):
    """The state of every job in a SQLite file, used by one process at a time.

    The lock file gives a second process an immediate error. A row of the ledger decides: only the
    process that opened the ledger last can record a submission.
    """

    tables = (TABLES, OWNER.metadata)

    def __init__(self, url: URL) -> None:
        path = Path(url.database or "")
        super().__init__(url, path, timeout=_BUSY_TIMEOUT)
        event.listen(self._engine.sync_engine, "connect", _make_commits_durable)
        self._file = path
        self._lock = LedgerLock(path.with_suffix(".lock"))
        self._reserve = DiskReserve(path.with_suffix(".reserve"))
        self._file_identity: tuple[int, int] | None = None
        self._owner_token = secrets.token_hex(16)

    async def open(self) -> None:
        """Lock the batch, connect, and create or migrate the tables.

        Raises:
            BatchInUse: Another process works on the batch.
            ConfigurationError: A later version of this package created the ledger.
            LedgerError: The ledger cannot be used.
        """
        self._lock.acquire()
        _make_private(self._file)
        _check_hard_links(self._file)
        await super().open()
        self._file_identity = _file_identity(self._file)

    async def _register_owner(self, connection: AsyncConnection) -> None:
        await connection.execute(delete(OWNER))
        await connection.execute(insert(OWNER).values(token=self._owner_token))

    async def close(self) -> None:
        """Close the connection and release the lock."""
        try:
            await super().close()
        finally:
            self._lock.release()

    @property
    def is_full(self) -> bool:
        """Whether the disk was full, and the reserved space is needed for what was sent already."""
        return self._reserve.is_released

    async def reserve_space(self, slots: int) -> None:
        """Reserve disk space for the responses to `slots` submissions.

        Raises:
            LedgerError: The disk is full.
        """
        try:
            await asyncio.to_thread(self._reserve.reserve, slots)
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"There is no disk space for the server's responses: {reason}."
            raise LedgerError(message, errno=error.errno) from error

    async def release_space(self) -> None:
        """Free the reserved disk space."""
        await asyncio.to_thread(self._reserve.close)

    @uninterrupted
    async def update(
        self,
        job: Job,
        *,
        event: LedgerEvent = "",
        **changes: Any,  # noqa: ANN401 - fields of a Job
    ) -> Job:
        """Change a job on disk, if necessary in the reserved space; return the changed job.

        Raises:
            BatchInUse: Another process works on the batch now.
            LedgerError: The ledger cannot be written.
        """
        is_payment = changes.get("status") is JobStatus.SUBMITTING
        if is_payment:
            self._check_exclusive()
        try:
            return await self._update(job, event, changes)
        except LedgerError as error:
            if is_payment or error.errno != errno.ENOSPC or not self._reserve.release():
                raise
        return await self._update(job, event, changes)

    def _check_exclusive(self) -> None:
        """Check before each payment that this process still has the ledger, and room in it."""
        self._lock.check()
        if self._file_identity != _file_identity(self._file):
            message = f"The batch's ledger {str(self._file)!r} was deleted or replaced meanwhile."
            raise LedgerError(message)
        if self._reserve.is_released:
            message = "The batch's ledger has no room for another submission: the disk is full."
            raise LedgerError(message, errno=errno.ENOSPC)

    async def _write(
        self, connection: AsyncConnection, job: Job, changed: Job, row: dict[str, Any]
    ) -> None:
        is_own: Any = exists().where(OWNER.c.token == self._owner_token)
        if changed.status is not JobStatus.SUBMITTING:
            # the id of a late response belongs to the submission with the same state token
            is_own = or_(is_own, JOBS.c.state_token.is_not_distinct_from(job.state_token))
        statement = update(JOBS).where(JOBS.c.key == job.key, is_own).values(**row)
        if not (await connection.execute(statement)).rowcount:
            raise BatchInUse(_TAKEN_OVER_MESSAGE)


def _make_commits_durable(connection: Any, _: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Make SQLite write a commit to disk before it returns."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _make_private(path: Path) -> None:
    """Let only this user read the ledger: it contains the prompts."""
    with suppress(OSError):  # the file exists, or opening it reports the reason
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with suppress(OSError):  # the file belongs to another user
        path.chmod(0o600)


def _check_hard_links(path: Path) -> None:
    """Check that a ledger has one name: SQLite keeps a separate journal for each name.

    Raises:
        LedgerError: The file has several names.
    """
    link_count = path.stat().st_nlink if path.exists() else 1
    if link_count > 1:
        message = (
            f"The batch's ledger {str(path)!r} has {link_count} names (hard links), and "
            "SQLite would see different jobs through each. Replace it by a copy."
        )
        raise LedgerError(message)


def _file_identity(path: Path) -> tuple[int, int] | None:
    """Identify the file at a path without following links: behind a link, the journal differs."""
    try:
        file_stat = path.lstat()
    except OSError:
        return None
    return file_stat.st_dev, file_stat.st_ino
