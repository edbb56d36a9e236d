"""A server and a batch in processes of their own, controlled from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from support.kill_moments import NEVER, Moment
from support.killable_processes import TOKEN

TESTS: Final = Path(__file__).parents[1]


class Helper:
    """A process that answers lines with lines."""

    def __init__(self, *command: str) -> None:
        self._command = (sys.executable, "-m", "support.killable_processes", *command)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process, which runs."""
        if self._process is None:
            raise RuntimeError("it was not started")
        return self._process

    async def open(self) -> None:
        """Start it."""
        pipe = asyncio.subprocess.PIPE
        paths = filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        environment.pop("COVERAGE_PROCESS_CONFIG", None)  # what is killed writes none
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=2**26, env=environment
        )

    async def hear(self) -> Any:  # noqa: ANN401 - JSON
        """Read a line; None from a process that has died."""
        if self.process.stdout is None:
            raise RuntimeError("it has no stdout")
        return json.loads(await self.process.stdout.readline() or "null")

    def tell(self, what: object) -> None:
        """Write a line."""
        if self.process.stdin is None:
            raise RuntimeError("it has no stdin")
        self.process.stdin.write(json.dumps(what).encode() + b"\n")

    async def close(self) -> None:
        """Let it end."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        await self.process.wait()


class Server(Helper):
    """The simulator in a process of its own, which keeps its address when it dies."""

    def __init__(self, book: Path, **options: Any) -> None:  # noqa: ANN401 - of the Simulator
        super().__init__("serve", str(book), json.dumps({"keeps": True, "token": TOKEN, **options}))
        self.url = ""
        self.deaths = 0
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Start it."""
        await super().open()
        self.url = await self.hear()

    async def arm(self, pid: int, moment: Moment) -> None:
        """Let it kill a process, or itself (0), at a moment."""
        await self._ask({"pid": pid, "moment": attrs.asdict(moment)})

    async def facts(self) -> dict[str, Any]:
        """Return what was requested and paid."""
        return await self._ask(None)

    async def _ask(self, what: object) -> dict[str, Any]:
        async with self._turn:
            self.tell(what)
            while not isinstance(said := await self.hear(), dict):
                self.deaths += 1  # and this is the address of the next one
            return said

    async def die_and_live(self, moments: Iterable[Moment]) -> None:
        """Kill and restart it at each moment, counted from the last restart."""
        for moment in moments:
            await self.arm(0, moment)
            await self.hear()
            self.deaths += 1


class Labour(Helper):
    """Runs one batch over and over, each time in a process of its own."""

    def __init__(self, server: Server, folder: Path, prompts: list[str], **options: Any) -> None:  # noqa: ANN401
        super().__init__("work")
        self._server = server
        self._order = {
            "folder": str(folder),
            "prompts": prompts,
            "options": {"reconcile_after": 0.05, **options},
        }
        self.kills = 0
        self.pid = 0
        """Of the process that runs the batch now."""

    async def run(self, moment: Moment = NEVER, *, watch: bool = True) -> dict[str, Any] | None:
        """Run it; return its report, or None if it was killed before its end."""
        at = (int(moment.n) if moment.kind == "call" else 0) if watch else -1
        self.tell({**self._order, "url": self._server.url, "at": at})
        self.pid = pid = await self.hear()
        if moment.kind in {"before", "after"}:
            await self._server.arm(pid if moment.who == "batch" else 0, moment)
        self.tell("go")
        killer = asyncio.ensure_future(self._kill(pid, moment))
        said: dict[str, Any] | None = await self.hear()
        killer.cancel()
        self.pid = 0
        self.kills += said is None
        if moment.kind in {"before", "after"} and moment.who == "batch":
            await self._server.arm(0, NEVER)
        return said

    async def close(self) -> None:
        """End it, and the batch if that still runs."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        await super().close()

    @staticmethod
    async def _kill(pid: int, moment: Moment) -> None:
        if moment.kind == "seconds":
            await asyncio.sleep(moment.n)
            os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def opened(*helpers: Helper) -> AsyncIterator[None]:
    """Start some processes, and end them."""
    for helper in helpers:
        await helper.open()
    try:
        yield
    finally:
        for helper in reversed(helpers):
            await helper.close()
