"""Private bytes of a waiting task, the caller's own asyncio task included.

Ten thousand prompts are submitted, a hundred at a time, each by an asyncio task that then waits.
The memory is taken before and after; two processes, one for each side. The loop written by hand
has the four frames of its kind: the job, the call, the wait, the pause.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import re
import resource
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs

from mjasync import Client, PollState, TaskStatus

from . import by_hand, payloads
from .harness import counts, in_processes, process
from .row import Row, row_of

__all__ = ["forget_peak", "memory", "peak_bytes"]

_BATCH: Final = 100
_NEVER: Final = 86_400.0
_ENDLESS: Final = "7-0-list"
Start = Callable[[str], Coroutine[Any, Any, Any]]


def _give_back() -> None:
    """Give back all memory that can be given back."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def private_bytes() -> int:
    """Memory that belongs to this process alone, once all that can be given back has been."""
    _give_back()
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return 1024 * sum(int(one.split()[1]) for one in lines if one.startswith("Private_"))


def forget_peak() -> None:
    """Have `peak_bytes` tell of what comes, beginning with what is held now (on Linux)."""
    _give_back()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def peak_bytes() -> int:
    """The most memory this process had at once since it was made to forget.

    Not `ru_maxrss`, where there is another: a process inherits that from whoever started it.
    """
    with suppress(OSError):
        if told := re.search(rb"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_bytes()):
            return 1024 * int(told[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def _wait_by_hand(
    session: aiohttp.ClientSession, root: str, prompt: str, *, looks: bool
) -> dict[str, Any]:
    """The job."""
    return await _imagine(session, root, prompt, looks=looks)


async def _imagine(
    session: aiohttp.ClientSession, root: str, prompt: str, *, looks: bool
) -> dict[str, Any]:
    """The call."""
    task_id = await by_hand.submit(session, root, prompt)
    return await _until_ended(session, root, task_id, looks=looks)


async def _until_ended(
    session: aiohttp.ClientSession, root: str, task_id: str, *, looks: bool
) -> dict[str, Any]:
    """The wait; it holds its last reply, as such loops do."""
    while True:
        if looks:
            task = await by_hand.fetch(session, root, task_id)
            if task["status"] == "SUCCESS":
                return task
        await _pause()


async def _pause() -> None:
    await asyncio.sleep(_NEVER)


async def _fill(server: str, start: Start, tasks: int, counted: str | None) -> float:
    """Start so many, wait until the server has counted them all; private bytes of each."""
    running: list[asyncio.Task[Any]] = []

    async def add(session: aiohttp.ClientSession, number: int) -> None:
        seen = 0
        await counts(server, session)
        for first in range(0, number, _BATCH):
            fresh = range(first, min(first + _BATCH, number))
            running.extend(asyncio.create_task(start(f"a fox, number {n}")) for n in fresh)
            while counted and seen < fresh.stop:
                await asyncio.sleep(0.002)
                seen += (await counts(server, session))[counted]

    async with aiohttp.ClientSession() as session:
        await add(session, 200)
        await asyncio.sleep(0.1)
        before = private_bytes()
        await add(session, tasks)
        await asyncio.sleep(0.1)
        found = private_bytes() - before
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return found / tasks


async def by_hand_bytes(server: str, tasks: str, looks: str) -> float:
    """The loop written by hand."""
    root = f"{server}/{_ENDLESS}"
    async with aiohttp.ClientSession() as session:
        counted = "polls" if looks == "1" else "submits"
        return await _fill(
            server,
            lambda prompt: _wait_by_hand(session, root, prompt, looks=looks == "1"),
            int(tasks),
            counted,
        )


async def sdk_bytes(server: str, tasks: str, looks: str) -> float:
    """The SDK: as many Tasks awaited, looked at never or once."""
    async with Client(
        f"{server}/{_ENDLESS}",
        by_hand.TOKEN,
        schedule=_Once(soon=looks == "1"),
        timeout=2 * _NEVER,
        stall_timeout=2 * _NEVER,
    ) as mj:
        counted = "polls" if looks == "1" else "submits"
        return await _fill(
            server,
            lambda prompt: mj.imagine(prompt, state=payloads.STATE).wait(),
            int(tasks),
            counted,
        )


async def bare_bytes(server: str, tasks: str, looks: str) -> float:
    """What nobody can do without: an asyncio task on a bare future, and the reply if there is one.

    No SDK, no id, no connection; nothing that could ask anybody.
    """
    loop = asyncio.get_running_loop()
    template = memoryview(payloads.running("1760000000123456", 7) if looks == "1" else b"")

    async def wait(_prompt: str, _reply: bytes) -> None:
        await loop.create_future()

    def start(prompt: str) -> Coroutine[Any, Any, None]:
        return wait(prompt, bytes(template))

    return await _fill(server, start, int(tasks), None)


@attrs.frozen(kw_only=True)
class _Once:
    """A schedule of one look, soon or not at all."""

    soon: bool
    coalesce: float = 0.5

    def next_delay(self, look: PollState) -> float:
        """Seconds until the next look."""
        return 0.02 if self.soon and look.info.status is TaskStatus.NOT_START else _NEVER


def memory(tasks: int = 10_000, processes: int = 1) -> list[Row]:
    """What a waiting task takes, before and after the first look, and what any takes at least."""
    with process("benchmarks.server") as server:
        return [
            row for looks in (False, True) for row in _rows(server, tasks, processes, looks=looks)
        ]


def _rows(server: str, tasks: int, processes: int, *, looks: bool) -> list[Row]:
    """One side after the other, each time in a fresh process."""
    here, there, again, bare = (
        in_processes(f"memory:{side}", processes, server, tasks, int(looks))
        for side in ("sdk_bytes", "by_hand_bytes", "by_hand_bytes", "bare_bytes")
    )
    when = "once it was looked at" if looks else "before the first look"
    reply = " and the reply" if looks else ""
    nulls = [one / other for one, other in zip(again, there, strict=True)]
    return [
        row_of(
            f"memory of a waiting task, {when} / a loop of four frames",
            [mine / other for mine, other in zip(here, there, strict=True)],
            nulls=nulls,
            bar=0.40,
            note=f"{here[0]:.0f} B, by hand {there[0]:.0f} B",
        ),
        row_of(
            f"memory of an asyncio task, a bare future{reply}, and no SDK / a loop of four frames",
            [least / other for least, other in zip(bare, there, strict=True)],
            nulls=nulls,
            note=f"{bare[0]:.0f} B",
        ),
    ]
