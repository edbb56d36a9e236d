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

KEEPER: Final = """
"$1" -D data -w -l log -o "$2" start >/dev/null && echo ready
read -r _
"$1" -D data -m immediate stop >/dev/null
rm -rf "$PWD"
"""
"""Runs the server until its standard input ends, as it does when the tests end or are killed."""


def binary(name: str) -> Path | None:
    """Find a program of the newest installed server."""
    found = sorted(BINARIES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return found[-1] if found else None


@contextmanager
def server() -> Iterator[Path]:
    """Run a server for a while; yield the folder of its socket."""
    initdb, control = binary("initdb"), binary("pg_ctl")
    assert initdb is not None
    assert control is not None
    folder = Path(tempfile.mkdtemp(prefix="mjasync-pg-"))
    options: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        options |= {"user": "postgres", "group": "postgres", "extra_groups": []}
    make = [initdb, "-D", "data", "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8"]
    subprocess.run([*make, "--locale=C"], stdout=subprocess.DEVNULL, check=True, **options)
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", KEEPER, "keeper", control, f"{QUICK} -k {folder}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        **options,
    )
    with keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"ready\n"
        yield folder
