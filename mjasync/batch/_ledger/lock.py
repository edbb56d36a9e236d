"""A lock file: the operating system releases the lock when the process ends."""

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

_CLOSE_ON_EXEC: Final = getattr(os, "O_CLOEXEC", 0)
_HELD_ERRNOS: Final = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})

if sys.platform == "win32":  # pragma: no cover - other platforms have their own branch
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

    _WRITE_LOCK: Final = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    """A `struct flock` for the whole file: type, whence, start, length, process."""

    def _lock(fd: int) -> None:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WRITE_LOCK)

    def _is_locked(fd: int) -> bool:
        blocker = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _WRITE_LOCK)
        return struct.unpack_from("h", blocker) != (fcntl.F_UNLCK,)
else:  # pragma: no cover - other platforms have their own branch
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
    """A lock that is held from `acquire` to `release`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Acquire the lock without waiting.

        Raises:
            BatchInUse: Another process, or another `Batch`, holds the lock.
            ConfigurationError: The lock file cannot be created or locked.
        """
        while self._fd is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | _CLOSE_ON_EXEC, 0o600)
            except OSError as error:
                raise self._problem("created", error) from error
            try:
                _lock(fd)
            except OSError as error:
                os.close(fd)
                if error.errno not in _HELD_ERRNOS:
                    raise self._problem("locked", error) from error
                message = f"The batch in {str(self._path.parent)!r} is in use already."
                raise BatchInUse(message) from error
            if self._has_path(fd):
                self._fd = fd
                with suppress(OSError):  # earlier versions let other users read the file
                    self._path.chmod(0o600)
            else:  # the file was deleted between the two calls
                os.close(fd)

    def _problem(self, action: str, error: OSError) -> ConfigurationError:
        reason = error.strerror or error
        return ConfigurationError(f"The lock {str(self._path)!r} cannot be {action}: {reason}.")

    def check(self) -> None:
        """Check that this process still holds the lock; acquire it again if it was deleted.

        Raises:
            BatchInUse: Another process has acquired the lock since.
            ConfigurationError: The lock file cannot be created again.
        """
        if self._fd is not None and not self._has_path(self._fd):
            self.release()
            self.acquire()

    def _has_path(self, fd: int) -> bool:
        """Return whether the lock's path still leads to an open file."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(fd))
        except OSError:
            return False

    def is_held(self) -> bool:
        """Return whether the lock is held, without creating it; on Linux, without taking it."""
        try:
            fd = os.open(self._path, os.O_RDONLY | _CLOSE_ON_EXEC)
        except OSError:  # never acquired, or not readable
            return False
        try:
            return _is_locked(fd)
        except OSError:
            return False
        finally:
            os.close(fd)

    def release(self) -> None:
        """Release the lock if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
