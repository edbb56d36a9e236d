"""Private memory of a waiting task, the asyncio task of the caller included.

Prompts are submitted, a hundred at a time, each by an asyncio task that then waits. Memory is
read before and after, in one process for each side. The loop by hand has the usual four frames:
the job, the call, the wait and the pause.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs

from mjasync import Client, PollState, TaskStatus

from . import baselines, payloads
from .harness import cancel, counts, in_processes, process
from .row import Row, row_of

__all__ = ["memory"]

_STEP: Final = 100
_NEVER: Final = 86_400.0
_PLAN: Final = "7-0-list"


def private_bytes() -> int:
    """Return the private memory of this process, after releasing what can be released."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


async def _job(session: aiohttp.ClientSession, root: str, prompt: str, *, polls: bool) -> None:
    await _imagine(session, root, prompt, polls=polls)


async def _imagine(session: aiohttp.ClientSession, root: str, prompt: str, *, polls: bool) -> None:
    task_id = await baselines.submit(session, root, prompt)
    await _wait(session, root, task_id, polls=polls)


async def _wait(
    session: aiohttp.ClientSession, root: str, task_id: str, *, polls: bool
) -> dict[str, Any] | None:
    """Wait for the end, and keep the last reply, as such loops do."""
    task = await baselines.fetch(session, root, task_id) if polls else None
    await _pause()
    return task


async def _pause() -> None:
    await asyncio.sleep(_NEVER)


async def _bytes_of_each(
    server: str, tasks: int, start: Callable[[str], Coroutine[Any, Any, Any]], *, polls: bool
) -> float:
    """Start tasks, wait until the server has counted them all, and measure their memory."""
    running: list[asyncio.Task[Any]] = []
    prompts = (f"a fox, number {n}" for n in itertools.count())

    async with aiohttp.ClientSession() as session:

        async def add(number: int) -> None:
            await counts(server, session)
            for _ in range(0, number, _STEP):
                running.extend(asyncio.create_task(start(next(prompts))) for _ in range(_STEP))
                missing = _STEP
                while missing > 0:
                    await asyncio.sleep(0.002)
                    missing -= (await counts(server, session))["polls" if polls else "submits"]
            await asyncio.sleep(0.1)

        await add(2 * _STEP)
        before = private_bytes()
        await add(tasks)
        grown = private_bytes() - before
    await cancel(running)
    return grown / tasks


async def baseline_bytes(server: str, tasks: str, polls: str) -> float:
    """Return the bytes of a loop by hand."""
    async with aiohttp.ClientSession() as session:
        return await _bytes_of_each(
            server,
            int(tasks),
            lambda prompt: _job(session, f"{server}/{_PLAN}", prompt, polls=polls == "1"),
            polls=polls == "1",
        )


async def sdk_bytes(server: str, tasks: str, polls: str) -> float:
    """Return the bytes of an awaited Task, polled once or never."""
    async with Client(
        f"{server}/{_PLAN}",
        baselines.TOKEN,
        schedule=_Once(polls=polls == "1"),
        timeout=2 * _NEVER,
        stall_timeout=2 * _NEVER,
    ) as mj:
        return await _bytes_of_each(
            server,
            int(tasks),
            lambda prompt: mj.imagine(prompt, state=payloads.STATE).wait(),
            polls=polls == "1",
        )


@attrs.frozen(kw_only=True)
class _Once:
    """A schedule of one early poll, or of none."""

    polls: bool
    coalesce: float = 0.5

    def next_delay(self, state: PollState) -> float:
        """Return the seconds until the next poll."""
        return 0.02 if self.polls and state.info.status is TaskStatus.NOT_START else _NEVER


def memory(tasks: int = 10_000) -> list[Row]:
    """Compare a waiting Task with a loop by hand, before and after the first poll."""
    rows = []
    with process("server") as server:
        for polls, when in enumerate(("before the first poll", "after a poll")):
            baseline, sdk, again = (
                float(in_processes(f"memory:{side}", 1, server, tasks, polls)[0])
                for side in ("baseline_bytes", "sdk_bytes", "baseline_bytes")
            )
            row = row_of(
                f"memory of a waiting task, {when} / a loop of four frames",
                [sdk / baseline],
                nulls=[again / baseline],
                bar=0.40,
                note=f"{sdk:.0f} B, by hand {baseline:.0f} B",
            )
            rows.append(row)
    return rows
