"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["PART_SUFFIX", "write_atomically"]


PART_SUFFIX: Final = ".mjasync-*.part"


def write_atomically(target: Path, data: bytes, *, is_private: bool = False) -> None:
    """Write a file so that it is there whole, on disk, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial_path = target.parent / f".mjasync-{secrets.token_hex(8)}.part"
    try:
        with partial_path.open("xb") as file:
            if is_private:
                partial_path.chmod(0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial_path.replace(target)
    except BaseException:
        partial_path.unlink(missing_ok=True)
        raise
    _fsync_folder(target.parent)


def _fsync_folder(folder: Path) -> None:
    """Have the new name itself be on disk, where folders can be asked."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
