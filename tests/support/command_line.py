"""The command line as tests run it: in this process, in one of its own, on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from fcntl import ioctl
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from PIL import Image

from mjasync import Client
from mjasync.cli import main
from mjasync.simulator import Simulator
from support.clients import EAGER, QUICK, SMALL

SECRET = "sk-nobody-may-read-this"
PATIENCE = 30  # seconds after which a process that does not end is given up
PROMPTS = Path(__file__).parents[2] / "examples" / "prompts.txt"


@attrs.frozen
class Outcome:
    """Exit status and output of a command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        """Its only JSON line."""
        (found,) = self.records
        return found


Run = Callable[..., Outcome]


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, with no server in the environment and nothing to colour."""
    for name in [name for name in os.environ if name.startswith("MJASYNC_")]:
        monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(clean_environment: None, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process; its output must not contain the token."""

    def run(*argv: object) -> Outcome:
        code = main([str(word) for word in argv])
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
        return Outcome(code, said.out, said.err)

    return run


@pytest.fixture
def quick_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients of all commands poll and retry without delay."""
    quick = partial(Client, schedule=QUICK, retries=EAGER)
    monkeypatch.setattr("mjasync.cli.server_options.Client", quick)


@pytest.fixture
async def server(
    clean_environment: None, quick_clients: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Simulator]:
    """A server that requires a token; the environment names both."""
    async with Simulator(time_scale=0.001, token=SECRET, concurrency=50, picture_size=SMALL) as sim:
        monkeypatch.setenv("MJASYNC_BASE_URL", sim.url)
        monkeypatch.setenv("MJASYNC_TOKEN", SECRET)
        yield sim


@pytest.fixture
def cli(run: Run) -> Callable[..., Any]:
    """Run a command line in a thread, so that a server of this loop can answer it."""
    return partial(asyncio.to_thread, run)


def size_of(path: str | Path) -> tuple[int, int]:
    """Decode a picture completely; return its size."""
    with Image.open(path) as image:
        image.load()
        return image.size


Process = asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def command(*argv: object, **options: Any) -> AsyncIterator[Process]:  # noqa: ANN401 - what a subprocess takes
    """Start the real command; it must not outlive the test."""
    pipes = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.PIPE)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mjasync", *map(str, argv), **{**pipes, **options}
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined] - closed before it is collected


async def ended(process: Process) -> Outcome:
    """Wait for a process to end; return its exit status and output."""
    out, err = await process.communicate()
    assert process.returncode is not None
    outcome = Outcome(process.returncode, (out or b"").decode(), (err or b"").decode())
    assert SECRET not in outcome.out + outcome.err
    return outcome


@pytest.fixture
async def slow(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Simulator]:
    """A server whose tasks never end; the environment names it."""
    async with Simulator(time_scale=0.001, token=SECRET, concurrency=50, picture_size=SMALL) as sim:
        monkeypatch.setenv("MJASYNC_BASE_URL", sim.url)
        monkeypatch.setenv("MJASYNC_TOKEN", SECRET)
        sim.fault("stall", times=None, at=31)
        yield sim


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[tuple[int, int]]:
    """Yield both ends of a pseudo-terminal: ours, and that of a process."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(ours, "rb", buffering=0) as end:
        try:
            yield end.fileno(), theirs
        finally:
            with contextlib.suppress(OSError):
                os.close(theirs)


def shown_on(end: int) -> str:
    """Return all that a process writes to a terminal until it ends."""
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(end, 65536):
            shown += piece
    return shown.decode()


async def on_terminal(*argv: object, columns: int = 90) -> tuple[int, str]:
    """Run a command on a terminal of its own."""
    environment = {**os.environ, "TERM": "xterm-256color"}
    with terminal(columns) as (ours, theirs):
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        async with command(*argv, env=environment, **streams) as process:
            os.close(theirs)
            shown = await asyncio.to_thread(shown_on, ours)
            return await process.wait(), shown
