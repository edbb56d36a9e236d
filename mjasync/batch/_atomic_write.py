"""Files that are replaced completely or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

PART_SUFFIX: Final = ".mjasync-*.part"


def write_atomically(target: Path, data: bytes, *, is_private: bool = False) -> None:
    """Write a complete file to disk, or nothing."""
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
    with suppress(OSError):  # the new name must be on disk, too; not every system can sync folders
        fd = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
