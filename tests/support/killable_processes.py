"""A server and a batch in processes of their own, which can be killed at chosen moments.

`python -m support.killable_processes serve` and `… work` read orders from stdin, line by line.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import pickle
import signal
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import attrs
from aiohttp import web

import mjasync.batch
from mjasync import Client, Retries, RetryPolicy, Schedule
from mjasync.batch import Batch
from mjasync.simulator import Simulator
from support.kill_moments import NEVER, Moment
from support.ports import reserved_port

WATCHED: Final = (
    str(Path(mjasync.batch.__file__).parent),
    str(Path(sysconfig.get_path("purelib")) / "aiosqlite"),
)
"""Where the code is whose calls and returns are the moments a batch dies at."""
PACE: Final = Schedule(initial_delay=0.01, min_interval=0.01, max_interval=0.05, coalesce=0.005)
AGAIN: Final = RetryPolicy(max_attempts=1000, initial_delay=0.01, max_delay=0.1, max_elapsed=20.0)
TOKEN: Final = "sk-" + "k" * 48


class Armed(Simulator):
    """A simulator that kills a process at a chosen request, and records what was paid."""

    def __init__(self, book: Path, *, keeps: bool, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._book = book
        self._target: tuple[int, Moment] | None = None
        self._written = 0
        with suppress(FileNotFoundError), book.open("rb") as file:
            self._restore(file, keeps=keeps)
        self._written = len(self.submissions)

    def _restore(self, file: io.BufferedReader, *, keeps: bool) -> None:
        """Restore the paid submissions and, like a server with a database, their tasks."""
        tasks = self._engine.tasks
        with suppress(EOFError):
            while True:
                task, submission = pickle.load(file)  # noqa: S301 - its own
                self.submissions.append(submission)
                if keeps and task is not None:
                    task.parent = task.parent and tasks[task.parent.id]  # one, not a copy each
                    task.status, task.percent, task.finished_ms = "SUCCESS", 100, task.submitted_ms
                    task.running, task.link, task.cached_json = False, None, None
                    self._engine.add(task)

    def arm(self, pid: int, moment: Moment) -> None:
        """Kill a process when its moment comes, counted from now."""
        self._target = (pid or os.getpid(), moment)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        kind = self._backend.route(request.method, request.path).kind
        has_come = self._count(kind)
        if has_come:
            self._kill("before")
        response = await super()._answer(request)
        self._write_down()
        if has_come:
            self._kill("after")
        return response

    def _count(self, kind: str) -> bool:
        if self._target is None or self._target[1].of not in {"any", kind}:
            return False
        pid, moment = self._target
        self._target = (pid, attrs.evolve(moment, n=moment.n - 1))
        return moment.n == 1

    def _kill(self, when: str) -> None:
        pid, moment = self._target or (0, NEVER)
        if pid and moment.kind == when:
            self._target = None
            with suppress(ProcessLookupError):
                os.kill(pid, moment.signal)

    def _write_down(self) -> None:
        new = self.submissions[self._written :]
        if not new:
            return
        self._written = len(self.submissions)
        with self._book.open("ab") as file:
            for one in new:
                pickle.dump((self._engine.tasks.get(one.task_id), one), file)

    def facts(self) -> dict[str, Any]:
        """Return what was requested and paid, as JSON."""
        paid = [
            (one.endpoint, one.parent_id or one.prompt, one.body.get("customId"), one.task_id)
            for one in self.submissions
        ]
        return {
            "paid": paid,
            "marks": len({one.state for one in self.submissions}),
            "asked": Counter(request.kind for request in self.requests),
            "all": len(self.requests),
        }


async def serve(book: str, options: Mapping[str, Any]) -> None:
    """Run a server that takes its orders from stdin."""
    sim = Armed(Path(book), **options)
    await sim.start()
    say(sim.url)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if order:
            sim.arm(order["pid"], Moment(**order["moment"]))
        say(sim.facts())
    await sim.stop()


def serve_again(book: str, given: str) -> None:
    """Run one server after the other at the same address, each after the last was killed."""
    with reserved_port() as port:
        options = {**json.loads(given), "port": port}
        status = 1
        while status:
            pid = os.fork()
            if not pid:
                asyncio.run(serve(book, options))
                os._exit(0)
            _, status = os.waitpid(pid, 0)


def say(what: object) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Fuse:
    """Counts what the batch's code does, and kills the process at the n-th thing."""

    def __init__(self, at: int) -> None:
        self._at, self.count = at, 0
        self._known: dict[str, bool] = {}

    def light(self) -> None:
        """Start to count, in every thread."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def _see(self, frame: FrameType, _event: str, _arg: object) -> None:
        name = frame.f_code.co_filename
        watched = self._known.get(name)
        if watched is None:
            watched = self._known[name] = name.startswith(WATCHED)
        if watched:
            self.count += 1
            if self.count == self._at:
                os.kill(os.getpid(), signal.SIGKILL)


async def labour(order: Mapping[str, Any]) -> dict[str, Any]:
    """Run a batch; return the outcome of its jobs."""
    retries = Retries(read=AGAIN, poll=AGAIN, overloaded=AGAIN, not_ready=AGAIN)
    begun, worked = time.perf_counter(), time.process_time()
    said: dict[str, Any] = {"ended": [], "error": None}
    async with Client(
        order["url"], TOKEN, schedule=PACE, retries=retries, not_found_grace=0.1
    ) as mj:
        try:
            async with Batch(order["folder"], client=mj, **order["options"]) as batch:
                batch.add(order["prompts"])
                async for job in batch.run():
                    said["ended"].append((job.key, job.status, job.error_class))
        except Exception as error:  # noqa: BLE001 - to be told
            said["error"] = f"{type(error).__name__}: {error}"
            said["is_os_error"] = isinstance(error, OSError)
    seconds, work = time.perf_counter() - begun, time.process_time() - worked
    return {**said, "seconds": seconds, "work": work}


def labour_again() -> None:
    """Run a batch in a process of its own for each line, without the time that imports take."""
    for line in sys.stdin:
        order = json.loads(line)
        (begin, go), (heard, told) = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            os.read(begin, 1)
            fuse = Fuse(order["at"])
            if order["at"] >= 0:
                fuse.light()
            said = asyncio.run(labour(order))
            sys.setprofile(None)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(told, json.dumps({**said, "count": fuse.count, "peak": peak}).encode())
            os._exit(0)
        os.close(told)
        say(pid)
        sys.stdin.readline()
        os.write(go, b"!")
        with os.fdopen(heard) as pipe:
            said = json.loads(pipe.read() or "null")
        os.waitpid(pid, 0)
        for end in (begin, go):
            os.close(end)
        say(said)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve_again(sys.argv[2], sys.argv[3])
    else:
        import resource

        labour_again()
