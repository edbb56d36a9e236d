"""Reading a ledger that other processes may be writing, without changing anything."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ..._concurrency import uninterrupted
from ...errors import ConfigurationError
from .._jobs import Job
from .tables import decode_jobs, jobs_query, parse_json, table_columns

__all__ = ["read_jobs"]

_NOT_WRITABLE_CODES: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_NO_TABLE_MESSAGE: Final = (
    "Its ledger has no jobs: it is being created, or it is empty. Try again in a moment; if it "
    "stays empty, restore it from a backup."
)


async def read_jobs(url: URL) -> list[Job]:
    """Return all jobs of a ledger in planning order.

    Raises:
        ConfigurationError: The ledger has no table of jobs, or a later version created it.
        LedgerError: A row is damaged.
        SQLAlchemyError: The ledger cannot be read.
    """
    if not url.drivername.startswith("sqlite"):
        return await _read_from(url)
    path = Path(url.database or "")
    try:
        return await _read_from(_read_only_url(path))
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in _NOT_WRITABLE_CODES:
            raise
        # SQLite creates files beside a ledger to read it, which a read-only folder does not allow
        with tempfile.TemporaryDirectory() as folder:
            copy = await asyncio.to_thread(_copy_ledger, path, Path(folder))
            return await _read_from(_read_only_url(copy))


def _copy_ledger(path: Path, folder: Path) -> Path:
    for name in (path.name, f"{path.name}-wal"):
        if (path.parent / name).exists():
            shutil.copyfile(path.parent / name, folder / name)
    return folder / path.name


def _read_only_url(path: Path) -> URL:
    database = f"{path.absolute().as_uri()}?mode=ro"
    return URL.create("sqlite+aiosqlite", database=database, query={"uri": "true"})


@uninterrupted
async def _read_from(url: URL) -> list[Job]:
    engine = create_async_engine(url, poolclass=NullPool, json_deserializer=parse_json)
    try:
        async with engine.connect() as connection:
            columns = await connection.run_sync(table_columns)
            if columns:
                return await decode_jobs(await connection.execute(jobs_query((), columns)))
    finally:
        await engine.dispose()
    raise ConfigurationError(_NO_TABLE_MESSAGE)
