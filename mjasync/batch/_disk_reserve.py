"""Disk space that is reserved for the server's responses in case the disk becomes full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_BYTES_PER_JOB: Final = 2**15
"""Bytes that recording the response to one submission may take."""
_BLOCK_SIZE: Final = 2**16


class DiskReserve:
    """A file whose only use is to be deleted when the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_released = False
        """Whether the space was needed: it is for the responses to what was sent already."""

    def reserve(self, slots: int) -> None:
        """Reserve space for the responses to `slots` submissions.

        Raises:
            OSError: There is not enough space.
        """
        size = _BYTES_PER_JOB * (slots + 2)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            for _ in range(-(-size // _BLOCK_SIZE)):
                block = os.urandom(_BLOCK_SIZE)  # which no file system can compress
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
        """Free the space for responses; return whether any was reserved."""
        self.is_released = True
        return self.close()

    def close(self) -> bool:
        """Free the space; return whether any was reserved."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
