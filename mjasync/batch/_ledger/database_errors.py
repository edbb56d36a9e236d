"""What goes wrong with a database, as an error of ours that says what to do."""

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

__all__ = ["database_message", "ledger_errors"]

_LOCKED_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def database_message(error: Exception) -> str:
    """What a database has to say, without the statement."""
    message = str(getattr(error, "orig", None) or error)
    return printable(message.rpartition(">: ")[2])


@contextmanager
def ledger_errors(path: Path | None) -> Iterator[None]:
    """Raise what goes wrong with a database as a LedgerError.

    Raises:
        LedgerError: It did.
    """
    try:
        yield
    except MJError:
        raise
    except (SQLAlchemyError, OSError) as error:  # a driver of a network's raises those, too
        raise _ledger_error(error, path) from error


def _ledger_error(error: SQLAlchemyError | OSError, path: Path | None) -> LedgerError:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    subject = f"The batch's ledger {str(path)!r}" if path else "The batch's ledger"
    if code == sqlite3.SQLITE_FULL:
        message = f"{subject} cannot be written: the disk is full ({database_message(error)})."
        return LedgerError(message, errno=errno.ENOSPC)
    if code in _LOCKED_CODES:
        holders = _processes_holding(path) if path else ""
        reason = database_message(error)
        message = f"{subject} is locked by another program{holders}, and was waited for ({reason})."
        return LedgerError(message, errno=errno.EAGAIN)
    if code in _DAMAGED_CODES:
        message = (
            f"{subject} is damaged ({database_message(error)}). Restore it from a backup, or have "
            "`sqlite3 FILE .recover` save what can be; a new one would pay for everything again."
        )
        return LedgerError(message, errno=errno.EIO)
    summary = f"{subject} cannot be used: {database_message(error)}"
    return LedgerError(f"{summary.rstrip('.')}.", errno=errno.EIO)


def _processes_holding(path: Path) -> str:
    """Name the programs that have a file open, where the system tells."""
    holders: list[str] = []
    for process in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):  # it has ended, or is another user's
            if any(os.path.realpath(fd) == str(path) for fd in (process / "fd").iterdir()):
                name = (process / "comm").read_text("utf-8", "replace").strip()
                holders.append(f"{printable(name)}, process {process.name}")
    return f" ({'; '.join(holders)})" if holders else ""
