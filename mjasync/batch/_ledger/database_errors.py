"""Translation of database errors to a `LedgerError` that says what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from ..._text import printable
from ...errors import MJError
from .._jobs import LedgerError

_LOCKED_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def database_message(error: Exception) -> str:
    """Return the message of a database error without the statement."""
    message = str(getattr(error, "orig", None) or error)
    return printable(message.rpartition(">: ")[2])


@contextmanager
def ledger_errors(path: Path | None) -> Iterator[None]:
    """Translate errors of the database at `path`.

    Raises:
        LedgerError: The database raised an error.
    """
    try:
        yield
    except MJError:
        raise
    except (SQLAlchemyError, OSError) as error:  # network drivers raise OSErrors, too
        raise _ledger_error(error, path) from error


def _ledger_error(error: SQLAlchemyError | OSError, path: Path | None) -> LedgerError:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    subject = f"The batch's ledger {str(path)!r}" if path else "The batch's ledger"
    reason = database_message(error)
    if code == sqlite3.SQLITE_FULL:
        message = f"{subject} cannot be written: the disk is full ({reason})."
        return LedgerError(message, errno=errno.ENOSPC)
    if code in _LOCKED_CODES:
        holders = _processes_holding(path) if path else ""
        message = f"{subject} stayed locked by another program{holders} ({reason})."
        return LedgerError(message, errno=errno.EAGAIN)
    if code in _DAMAGED_CODES:
        message = (
            f"{subject} is damaged ({reason}). Restore it from a backup, or save its contents with "
            "`sqlite3 FILE .recover`; a new ledger would pay for everything again."
        )
        return LedgerError(message, errno=errno.EIO)
    message = f"{subject} cannot be used: {reason}".rstrip(".")
    return LedgerError(f"{message}.", errno=errno.EIO)


def _processes_holding(path: Path) -> str:
    """Name the programs that have a file open, if the system lists them."""
    holders: list[str] = []
    for process in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):  # the process has ended, or belongs to another user
            if any(os.path.realpath(fd) == str(path) for fd in (process / "fd").iterdir()):
                name = (process / "comm").read_text("utf-8", "replace").strip()
                holders.append(f"{printable(name)}, process {process.name}")
    return f" ({'; '.join(holders)})" if holders else ""
