"""One process for each batch: a lock that the system takes back however the process ends."""

from __future__ import annotations

import errno
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import ConfigurationError
from .._jobs import BatchInUse

__all__ = ["LedgerLock"]

_CLOSE_ON_EXEC: Final = getattr(os, "O_CLOEXEC", 0)
_HELD_ERRNOS: Final = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})

if sys.platform == "win32":  # pragma: no cover - of several ways each system has one
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _is_locked(fd: int) -> bool:
        try:
            _lock(fd)
        except OSError:
            return True
        return False
elif sys.platform == "linux":
    import fcntl

    _FLOCK_FORMAT: Final = "hhqqi"  # type, whence, start, length, process
    _WHOLE_FILE: Final = (os.SEEK_SET, 0, 0, 0)

    def _lock(fd: int) -> None:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK_FORMAT, fcntl.F_WRLCK, *_WHOLE_FILE))

    def _is_locked(fd: int) -> bool:
        asked = struct.pack(_FLOCK_FORMAT, fcntl.F_WRLCK, *_WHOLE_FILE)
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
        return bool(struct.unpack(_FLOCK_FORMAT, answer[: len(asked)])[0] != fcntl.F_UNLCK)
else:  # pragma: no cover - as above
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _is_locked(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


class LedgerLock:
    """Held from `acquire` to `release`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take it at once.

        Raises:
            BatchInUse: Somebody has it.
            ConfigurationError: It cannot be made.
        """
        while self._fd is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | _CLOSE_ON_EXEC, 0o600)
            except OSError as error:
                reason = error.strerror or error
                message = f"The lock {str(self._path)!r} cannot be made: {reason}."
                raise ConfigurationError(message) from error
            if self._try_lock(fd) and self._is_same_file(fd):  # else it was deleted just now
                self._fd = fd
                with suppress(OSError):  # an earlier version let others read it
                    self._path.chmod(0o600)
            else:
                os.close(fd)

    def _try_lock(self, fd: int) -> bool:
        try:
            _lock(fd)
        except OSError as error:
            os.close(fd)
            if error.errno not in _HELD_ERRNOS:
                reason = error.strerror or error
                message = f"The lock {str(self._path)!r} cannot be taken: {reason}."
                raise ConfigurationError(message) from error
            message = f"The batch in {str(self._path.parent)!r} is being worked on already."
            raise BatchInUse(message) from error
        return True

    def check(self) -> None:
        """See that it is still this process that has it; take it again where it was deleted.

        Raises:
            BatchInUse: Somebody else has taken it since.
            ConfigurationError: It cannot be made again.
        """
        if self._fd is None or self._is_same_file(self._fd):
            return
        self.release()
        self.acquire()

    def _is_same_file(self, fd: int) -> bool:
        """Whether an open file is the one that has the lock's name."""
        try:
            path_stat = self._path.stat()
        except OSError:
            return False
        fd_stat = os.fstat(fd)
        return (path_stat.st_dev, path_stat.st_ino) == (fd_stat.st_dev, fd_stat.st_ino)

    def is_held(self) -> bool:
        """Whether somebody has it; nothing is made, and on Linux nothing taken, to find out."""
        try:
            fd = os.open(self._path, os.O_RDWR | _CLOSE_ON_EXEC)
        except OSError:
            try:
                fd = os.open(self._path, os.O_RDONLY | _CLOSE_ON_EXEC)
            except OSError:  # never taken, or not ours to see
                return False
        try:
            return _is_locked(fd)
        except OSError:
            return False
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give it back, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
