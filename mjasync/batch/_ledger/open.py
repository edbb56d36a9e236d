"""Which ledger a batch has, and how to look into it from outside."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from ..._text import printable, redact
from ...errors import ConfigurationError
from .._jobs import Job
from .database_errors import database_message
from .lock import LedgerLock
from .reader import read_jobs
from .sqlite import Ledger

__all__ = ["is_running", "open_ledger", "read_batch"]

_SQLITE_DRIVER: Final = "sqlite+aiosqlite"
_POSTGRES_DRIVER: Final = "postgresql+asyncpg"
_COMPANION_SUFFIXES: Final = frozenset({".lock", ".reserve"})
"""What the files are called that a ledger in SQLite has beside it."""
_DRIVER_HINTS: Final = {
    "sqlite": _SQLITE_DRIVER,
    _SQLITE_DRIVER: _SQLITE_DRIVER,
    "postgres": _POSTGRES_DRIVER,
    "postgresql": _POSTGRES_DRIVER,
    _POSTGRES_DRIVER: _POSTGRES_DRIVER,
}


def open_ledger(folder: Path, url: str | None) -> tuple[Ledger, LedgerLock | None] | str:
    """The ledger of a batch, and the lock that keeps others away where it cannot be shared.

    Returns:
        What is wrong with the URL, if anything is: whoever raises it must not have the password
        among its variables.
    """
    resolved_url = _resolve_url(folder, url)
    if isinstance(resolved_url, str):
        return resolved_url
    if resolved_url.drivername == _POSTGRES_DRIVER:
        from .postgres import SharedLedger  # which takes a while: others need no dialect of it

        return SharedLedger(resolved_url), None
    ledger, lock = Ledger(resolved_url), _lock_for(resolved_url)
    ledger.check_ownership = lock.check
    return ledger, lock


async def read_batch(folder: str | os.PathLike[str], *, ledger: str | None = None) -> list[Job]:
    """The jobs of a batch in the order they were planned, while another process may run it.

    Args:
        folder: The batch's folder.
        ledger: Its ledger, where it is not in the folder.

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
        return await read_jobs(url)
    except ConfigurationError as error:
        reason = error.message
    except (SQLAlchemyError, OSError, ValueError, TypeError) as error:
        reason = redact_password(database_message(error), url)
    message = f"There is no batch that can be read in {os.fspath(folder)!r}: {reason}"
    raise ConfigurationError(message)  # out here, where nothing refers to what was tried


def is_running(folder: Path, ledger: str | None = None) -> bool | None:
    """Whether some process works on a batch; None where the ledger is shared: that is not known.

    Raises:
        ConfigurationError: The URL is of no ledger.
    """
    url = _resolve_url(folder, ledger)
    ledger = None
    if isinstance(url, str):
        raise ConfigurationError(url)
    return None if url.drivername == _POSTGRES_DRIVER else _lock_for(url).is_held()


def redact_password(message: str, url: URL) -> str:
    """What may be told of what a database says."""
    return redact(message, [url.password or ""])


def _lock_for(url: URL) -> LedgerLock:
    return LedgerLock(Path(url.database or "").with_suffix(".lock"))


def _resolve_url(folder: Path, ledger: str | None) -> URL | str:
    """The address of a ledger, or what is wrong with it: without the password."""
    if ledger is None:
        return URL.create(_SQLITE_DRIVER, database=str((folder / "ledger.db").resolve()))
    try:
        url = make_url(ledger)
    except Exception:  # noqa: BLE001 - a port that is no number, half an IPv6 address …
        return (
            "ledger= must be the URL of a database, as in 'postgresql+asyncpg://host/name': see "
            "to its host, port and brackets, and write what is special in a password in %-escapes."
        )
    driver = _DRIVER_HINTS.get(url.drivername)
    if driver is None:
        return (
            f"A ledger is kept in SQLite or PostgreSQL, through {_SQLITE_DRIVER} or "
            f"{_POSTGRES_DRIVER}, not through {printable(url.drivername, 40)}."
        )
    if driver == _POSTGRES_DRIVER:
        if isinstance(password := url.query.get("password"), str):  # where nothing shows it
            url = url.difference_update_query(["password"]).set(password=password)
        return _postgres_problem(url) or url.set(drivername=driver)
    database = str(Path(url.database or "").resolve())
    return _sqlite_problem(url) or url.set(drivername=driver, database=database)


def _sqlite_problem(url: URL) -> str:
    if url.database in {None, "", ":memory:"}:
        return "A ledger in memory would be lost with the process: name a file."
    if url.query:
        return (
            "The URL of a ledger in SQLite is its file and nothing else: leave out what follows ?."
        )
    if (suffix := Path(url.database or "").suffix).lower() in _COMPANION_SUFFIXES:
        return f"A ledger cannot end in {suffix}, as a file beside it does: name it ledger.db."
    return ""


def _postgres_problem(url: URL) -> str:
    if find_spec("asyncpg") is None:
        return 'PostgreSQL needs asyncpg: python -m pip install "mjasync[batch,postgres]".'
    if url.port is not None and not 0 < url.port < 2**16:
        return f"The port of a ledger is between 1 and 65535, not {url.port}."
    if "sslmode" in url.query:
        return (
            "asyncpg does not know sslmode=: write ssl= in the URL of the ledger, as ssl=require."
        )
    return ""
