"""Room on a disk that is kept free for what a server may answer when the disk is full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["DiskReserve"]

_BYTES_PER_JOB: Final = 2**15
"""Bytes that noting the answer to one submission may take."""
_BLOCK_SIZE: Final = 2**16


class DiskReserve:
    """A file whose only use is to be deleted when there is no room left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_released = False
        """Whether it was needed: what is free now is for what is on the wire already."""

    def reserve(self, slots: int) -> None:
        """Set aside enough for so many submissions on the wire at once.

        Raises:
            OSError: There is not as much room.
        """
        size = _BYTES_PER_JOB * (slots + 2)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            for _ in range(-(-size // _BLOCK_SIZE)):  # bytes that no file system can do without
                block = os.urandom(_BLOCK_SIZE)
                while block:
                    block = block[os.write(fd, block) :]
            os.fsync(fd)
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        self.is_released = False

    def release(self) -> bool:
        """Give the room to whoever needs it now; return whether there was any."""
        self.is_released = True
        return self.close()

    def close(self) -> bool:
        """Free the room; return whether any was taken."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
