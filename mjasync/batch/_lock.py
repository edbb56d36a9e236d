"""One process for each batch: a lock that the system takes back however the process ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ._jobs import BatchInUse

__all__ = ["Lock"]

if sys.platform == "win32":  # pragma: no cover - of two ways each system has one
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """Held from `take` to `release`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> None:
        """Take it at once.

        Raises:
            BatchInUse: Somebody has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            _lock(fd)
        except OSError as error:
            os.close(fd)
            message = f"The batch in {str(self._path.parent)!r} is being worked on already."
            raise BatchInUse(message) from error
        self._fd = fd

    def is_held(self) -> bool:
        """Whether somebody has it; nothing is made to find out."""
        try:
            fd = os.open(self._path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError:  # never taken, or not ours to take
            return False
        try:
            _lock(fd)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        """Give it back, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
