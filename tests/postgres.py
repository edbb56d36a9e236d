"""A PostgreSQL of the tests' own, from the binaries that Debian installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

BINARIES: Final = Path("/usr/lib/postgresql")
QUICK: Final = "-c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=50"


def binary(name: str) -> Path | None:
    """Find one of the server's programs, of the newest version there is."""
    found = sorted(BINARIES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return found[-1] if found else None


@contextmanager
def server() -> Iterator[Path]:
    """Run a server for a while; yield the folder of its socket."""
    initdb, control = binary("initdb"), binary("pg_ctl")
    assert initdb is not None
    assert control is not None
    folder = Path(tempfile.mkdtemp(prefix="mjasync-pg-"))
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": folder}
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        options |= {"user": "postgres", "group": "postgres", "extra_groups": []}
    data = folder / "data"
    make = [initdb, "-D", data, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C"]
    start = [control, "-D", data, "-w", "-l", folder / "log", "-o", f"{QUICK} -k {folder}", "start"]
    try:
        subprocess.run(make, check=True, **options)
        subprocess.run(start, check=True, **options)
        try:
            yield folder
        finally:
            subprocess.run([control, "-D", data, "-m", "immediate", "stop"], check=True, **options)
    finally:
        shutil.rmtree(folder)
