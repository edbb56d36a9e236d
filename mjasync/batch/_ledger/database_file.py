"""The file of a ledger: whose it is, and whether it is still the same."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .._jobs import LedgerError

__all__ = ["check_links", "file_identity", "make_private"]


def make_private(path: Path) -> None:
    """Have only this user read a ledger: it has the prompts."""
    with suppress(OSError):  # it is there, or opening it will say what is wrong
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with suppress(OSError):  # somebody else's
        path.chmod(0o600)


def check_links(path: Path) -> None:
    """See that a ledger has one name: by another one SQLite would not see what is written here.

    Raises:
        LedgerError: It has several.
    """
    try:
        link_count = path.stat().st_nlink
    except OSError:
        return
    if link_count > 1:
        message = (
            f"The batch's ledger {str(path)!r} has {link_count} names (hard links), and by each "
            "SQLite would see other jobs. Copy it, and put the copy in its place."
        )
        raise LedgerError(message)


def file_identity(path: Path) -> tuple[int, int] | None:
    """Which file has a name; a link that took its place is another one.

    What is opened through that has its journal elsewhere, which SQLite would not see here.
    """
    try:
        file_stat = path.lstat()
    except OSError:
        return None
    return file_stat.st_dev, file_stat.st_ino
