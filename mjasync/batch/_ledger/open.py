"""Opening the ledger of a batch, or reading it while another process runs the batch."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ..._concurrency import uninterrupted
from ..._text import printable, redact
from ...errors import ConfigurationError
from .._jobs import Job
from .database_errors import database_message
from .ledger import Ledger
from .lock import LedgerLock
from .sqlite import SQLiteLedger
from .tables import decode_jobs, jobs_query, parse_json, table_columns

_SQLITE_DRIVER: Final = "sqlite+aiosqlite"
_POSTGRES_DRIVER: Final = "postgresql+asyncpg"
_COMPANION_SUFFIXES: Final = frozenset({".lock", ".reserve"})
"""The suffixes of the files beside a SQLite ledger."""
_DRIVERS: Final = {
    "sqlite": _SQLITE_DRIVER,
    _SQLITE_DRIVER: _SQLITE_DRIVER,
    "postgres": _POSTGRES_DRIVER,
    "postgresql": _POSTGRES_DRIVER,
    _POSTGRES_DRIVER: _POSTGRES_DRIVER,
}
_NOT_WRITABLE_CODES: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_NO_TABLE_MESSAGE: Final = (
    "Its ledger has no jobs: it is being created, or it is empty. Try again in a moment; if it "
    "stays empty, restore it from a backup."
)


def open_ledger(folder: Path, url: str | None) -> Ledger | str:
    """Create the ledger of a batch, without connecting to it.

    Returns:
        The ledger, or what is wrong with the URL. The caller raises that error, because the URL may
        contain a password, which must not be among the variables of a traceback.
    """
    resolved_url = _resolve_url(folder, url)
    if isinstance(resolved_url, str):
        return resolved_url
    if resolved_url.drivername == _POSTGRES_DRIVER:
        from .postgres import SharedLedger  # slow to import, and rarely needed

        return SharedLedger(resolved_url)
    return SQLiteLedger(resolved_url)


async def read_batch(folder: str | os.PathLike[str], *, ledger: str | None = None) -> list[Job]:
    """Return the jobs of a batch in planning order, even while another process runs it.

    Args:
        folder: The folder of the batch.
        ledger: The URL of its ledger, if that is not in the folder.

    Raises:
        ConfigurationError: There is no batch, or it cannot be read.
    """
    url = _resolve_url(Path(folder), ledger)
    ledger = None
    if isinstance(url, str):
        raise ConfigurationError(url)
    if url.drivername == _SQLITE_DRIVER and not os.path.isfile(url.database or ""):  # noqa: ASYNC240, PTH113
        raise ConfigurationError(f"There is no batch in {os.fspath(folder)!r}.")
    try:
        return await _read_jobs(url)
    except ConfigurationError as error:
        reason = error.message
    except (SQLAlchemyError, OSError, ValueError, TypeError) as error:
        reason = redact(database_message(error), [url.password or ""])
    message = f"The batch in {os.fspath(folder)!r} cannot be read: {reason}"
    raise ConfigurationError(message)  # outside of the handler: its error refers to the password


async def _read_jobs(url: URL) -> list[Job]:
    if url.drivername == _POSTGRES_DRIVER:
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
    return URL.create(_SQLITE_DRIVER, database=database, query={"uri": "true"})


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


def is_running(folder: str | os.PathLike[str], *, ledger: str | None = None) -> bool | None:
    """Return whether a process runs a batch; None if its ledger is shared, and this is unknown.

    Args:
        folder: The folder of the batch.
        ledger: The URL of its ledger; by default `ledger.db` in the folder.

    Raises:
        ConfigurationError: The URL is not valid.
    """
    url = _resolve_url(Path(folder), ledger)
    ledger = None
    if isinstance(url, str):
        raise ConfigurationError(url)
    if url.drivername == _POSTGRES_DRIVER:
        return None
    return LedgerLock(Path(url.database or "").with_suffix(".lock")).is_held()


def _resolve_url(folder: Path, ledger: str | None) -> URL | str:
    """Return the URL of a ledger, or what is wrong with it, without the password."""
    if ledger is None:
        return URL.create(_SQLITE_DRIVER, database=str((folder / "ledger.db").resolve()))
    try:
        url = make_url(ledger)
    except Exception:  # noqa: BLE001 - a port that is no number, half an IPv6 address …
        return (
            "ledger= must be the URL of a database, as in 'postgresql+asyncpg://host/name': check "
            "its host, port and brackets, and percent-encode special characters in the password."
        )
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        return (
            f"A ledger uses SQLite or PostgreSQL, through {_SQLITE_DRIVER} or "
            f"{_POSTGRES_DRIVER}, not through {printable(url.drivername, 40)}."
        )
    if driver == _POSTGRES_DRIVER:
        if isinstance(password := url.query.get("password"), str):  # SQLAlchemy hides it only here
            url = url.difference_update_query(["password"]).set(password=password)
        return _postgres_problem(url) or url.set(drivername=driver)
    database = str(Path(url.database or "").resolve())
    return _sqlite_problem(url) or url.set(drivername=driver, database=database)


def _sqlite_problem(url: URL) -> str:
    if url.database in {None, "", ":memory:"}:
        return "A ledger in memory would be lost with the process: name a file."
    if url.query:
        return "The URL of a SQLite ledger has no query: remove the part from '?' on."
    if (suffix := Path(url.database or "").suffix).lower() in _COMPANION_SUFFIXES:
        return f"A ledger cannot end in {suffix}, as a file beside it does: name it ledger.db."
    return ""


def _postgres_problem(url: URL) -> str:
    if find_spec("asyncpg") is None:
        return 'PostgreSQL needs asyncpg: python -m pip install "mjasync[batch,postgres]".'
    if url.port is not None and not 0 < url.port < 2**16:
        return f"The port of a ledger must be between 1 and 65535, not {url.port}."
    if "sslmode" in url.query:
        return "asyncpg does not support sslmode=: use ssl= in the URL, as in ssl=require."
    return ""
