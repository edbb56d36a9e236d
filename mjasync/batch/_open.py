"""Which ledger a batch has, and how to look into it from outside."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ..errors import ConfigurationError
from ._jobs import Job
from ._ledger import Ledger, Reader, said
from ._lock import Lock

__all__ = ["ledger_of", "read_batch"]

_SQLITE: Final = "sqlite+aiosqlite"
_POSTGRES: Final = "postgresql+asyncpg"
_MEANT: Final = {
    "sqlite": _SQLITE,
    _SQLITE: _SQLITE,
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    _POSTGRES: _POSTGRES,
}


def ledger_of(folder: Path, url: str | None) -> tuple[Ledger, Lock | None]:
    """The ledger of a batch, and the lock that keeps others away where it cannot be shared.

    Raises:
        ConfigurationError: The URL is of no ledger.
    """
    where = _url(folder, url)
    if where.drivername == _POSTGRES:
        from ._shared import SharedLedger  # which takes a while: others need no dialect of it

        return SharedLedger(where), None
    return Ledger(where), _lock_of(where)


async def read_batch(folder: str | os.PathLike[str], *, ledger: str | None = None) -> list[Job]:
    """The jobs of a batch in the order they were planned, while another process may run it.

    Args:
        folder: The batch's folder.
        ledger: Its ledger, where it is not in the folder.

    Raises:
        ConfigurationError: There is no batch, or it cannot be read.
    """
    url = _url(Path(folder), ledger)
    if url.drivername == _SQLITE and not os.path.isfile(url.database or ""):  # noqa: ASYNC240, PTH113
        raise ConfigurationError(f"There is no batch in {os.fspath(folder)!r}.")
    reader = Reader(url)
    try:
        return await reader.jobs()
    except (SQLAlchemyError, OSError) as error:
        message = f"There is no batch that can be read in {os.fspath(folder)!r}: {said(error)}"
        raise ConfigurationError(message) from error
    finally:
        await reader.close()


def is_running(folder: Path, ledger: str | None = None) -> bool | None:
    """Whether some process works on a batch; None where the ledger is shared: that is not known.

    Raises:
        ConfigurationError: The URL is of no ledger.
    """
    url = _url(folder, ledger)
    return None if url.drivername == _POSTGRES else _lock_of(url).is_held()


def _lock_of(url: URL) -> Lock:
    return Lock(Path(url.database or "").with_suffix(".lock"))


def _url(folder: Path, given: str | None) -> URL:
    if given is None:
        return URL.create(_SQLITE, database=str(folder / "ledger.db"))
    try:
        url = make_url(given)
    except ArgumentError:
        message = "ledger= must be the URL of a database, as in 'postgresql+asyncpg://host/name'."
        raise ConfigurationError(message) from None
    meant = _MEANT.get(url.drivername)
    if meant is None:
        message = (
            f"A ledger is kept in SQLite or PostgreSQL, through {_SQLITE} or {_POSTGRES}, "
            f"not through {url.drivername}."
        )
        raise ConfigurationError(message)
    if meant == _POSTGRES and find_spec("asyncpg") is None:
        message = 'PostgreSQL needs asyncpg: python -m pip install "mjasync[batch,postgres]".'
        raise ConfigurationError(message)
    if meant == _SQLITE and url.database in {None, "", ":memory:"}:
        message = "A ledger in memory would be lost with the process: name a file."
        raise ConfigurationError(message)
    return url.set(drivername=meant)
