"""Batches in processes of their own, against a server in another one, killed at chosen moments.

`tests/test_batch_fire.py` and `tests/soak.py` light it; this file is also what their processes run:
`python tests/fire.py serve` and `python tests/fire.py work`, told what to do line by line.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import pickle
import random
import signal
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import attrs
from aiohttp import web
from PIL import Image
from ports import reserved_port

import mjasync.batch
from mjasync import Client, Retries, RetryPolicy, Schedule
from mjasync.batch import Batch, Job, JobStatus
from mjasync.simulator import Simulator

HERE: Final = Path(__file__)
WATCHED: Final = (
    str(Path(mjasync.batch.__file__).parent),
    str(Path(sysconfig.get_path("purelib")) / "aiosqlite"),
)
"""Where the code is whose calls and returns are the moments a batch dies at."""
PACE: Final = Schedule(initial_delay=0.01, min_interval=0.01, max_interval=0.05, coalesce=0.005)
AGAIN: Final = RetryPolicy(max_attempts=1000, initial_delay=0.01, max_delay=0.1, max_elapsed=20.0)
TOKEN: Final = "sk-" + "k" * 48


@attrs.frozen
class Moment:
    """When somebody dies."""

    kind: str = ""
    """`call`: the batch's n-th call, return or call into C; `before` or `after`: what the server
    does about its n-th request; `seconds`; "": never."""
    n: float = 0
    who: str = "batch"
    """`batch` or `server`."""
    of: str = "any"
    """Which requests are counted: `submit`, `fetch`, `list`, `image` or any."""
    signal: int = 9
    """What is sent: SIGKILL, unless it is only to stop for a while."""


NEVER: Final = Moment()


def any_moment(chance: random.Random, calls: int, requests: int) -> Moment:
    """A moment within so many calls of a batch, or so many requests of it."""
    kind = chance.choice(("call", "call", "before", "after"))
    of = chance.choice(("any", "submit"))
    within = calls if kind == "call" else max(requests // (4 if of == "submit" else 1), 1)
    return Moment(kind, chance.randint(1, within), of=of)


# --- the server --------------------------------------------------------------------------------


class Armed(Simulator):
    """Kills a process at one of its requests, and writes down what it has been paid for."""

    def __init__(self, book: Path, *, keeps: bool, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._book = book
        self._target: tuple[int, Moment] | None = None
        self._written = 0
        with suppress(FileNotFoundError), book.open("rb") as file:
            self._restore(file, keeps=keeps)
        self._written = len(self.submissions)

    def _restore(self, file: io.BufferedReader, *, keeps: bool) -> None:
        """Know what was paid for; as a server with a database, also what came of it meanwhile."""
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
        """What was asked and paid, as JSON."""
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
    """Be a server, and do what the lines on stdin say."""
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
    """Be the parent of servers: whenever one was killed there is another, at the same address."""
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
    """Say something in a line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


# --- the batch ---------------------------------------------------------------------------------


class Fuse:
    """Counts what the batch's code does, and kills the process at the n-th thing."""

    def __init__(self, at: int) -> None:
        self._at, self.count = at, 0
        self._known: dict[str, bool] = {}

    def light(self) -> None:
        """Begin to count, in every thread."""
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
    """Run a batch; say what became of its jobs."""
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


# --- both, from outside ------------------------------------------------------------------------


class Helper:
    """A process that answers lines with lines."""

    def __init__(self, *command: str) -> None:
        self._command = (sys.executable, str(HERE), *command)
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
        environment = {**os.environ}
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
        """Have it kill a process, or itself (0), when the moment comes."""
        await self._ask({"pid": pid, "moment": attrs.asdict(moment)})

    async def facts(self) -> dict[str, Any]:
        """What was asked of it and paid."""
        return await self._ask(None)

    async def _ask(self, what: object) -> dict[str, Any]:
        async with self._turn:
            self.tell(what)
            while not isinstance(said := await self.hear(), dict):
                self.deaths += 1  # and this is the address of the next one
            return said

    async def die_and_live(self, moments: Iterable[Moment]) -> None:
        """Die at each of some moments, counted from the last death, and be started again."""
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
        """Run it; return what it said, None if it was killed at its moment before its end."""
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
        """End it, and the batch, should that be left."""
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


# --- what must hold ----------------------------------------------------------------------------


async def ledger(folder: Path) -> list[Job]:
    """What the ledger says."""
    async with Client("http://127.0.0.1:9", "") as nobody, Batch(folder, client=nobody) as batch:
        return await batch.jobs()


def states(jobs: Iterable[Job]) -> Counter[str]:
    """How many jobs there are in each state."""
    return Counter(job.status for job in jobs)


def check_paid_once(facts: Mapping[str, Any]) -> None:
    """See that nothing was paid twice."""
    paid = [tuple(one[:3]) for one in facts["paid"]]
    twice = [one for one, count in Counter(paid).items() if count > 1]
    if twice:
        raise AssertionError(f"paid more than once: {twice}")
    if facts["marks"] != len(paid):
        raise AssertionError("two submissions have one mark")


def check_files(folder: Path, jobs: Iterable[Job]) -> int:
    """See that each saved job's files are whole and as ledger and manifest say; count them."""
    lines = (folder / "manifest.jsonl").read_text("utf-8").splitlines()
    manifest = {line["key"]: line for line in map(json.loads, lines)}
    saved = {job.key: job for job in jobs if job.status is JobStatus.SAVED}
    if manifest.keys() != saved.keys() or len(lines) != len(saved):
        raise AssertionError("the manifest does not list the saved jobs, each once")
    paths = set()
    for job in saved.values():
        told = [(file.path, file.size, file.sha256) for file in job.files]
        if told != [tuple(file.values()) for file in manifest[job.key]["files"]]:
            raise AssertionError(f"ledger and manifest differ about {job}")
        paths |= {check_file(folder, *file) for file in told}
    thumbnails = folder / "thumbnails"
    there = {path for path in folder.rglob("*") if path.is_file() and path.parent != thumbnails}
    ours = {folder / name for name in ("manifest.jsonl", "ledger.lock", "index.html")}
    strange = {path for path in there - paths - ours if not path.name.startswith("ledger.db")}
    if strange:
        raise AssertionError(f"files of nobody: {strange}")
    return len(paths)


def check_file(folder: Path, path: str, size: int, sha256: str) -> Path:
    """See that one file is what was noted, and a picture."""
    data = (folder / path).read_bytes()
    if (len(data), hashlib.sha256(data).hexdigest()) != (size, sha256):
        raise AssertionError(f"{path} is not what was noted")
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
    return folder / path


def check_all(folder: Path, jobs: list[Job], facts: Mapping[str, Any], count: int) -> None:
    """See that so many jobs are saved, and paid exactly once each."""
    check_paid_once(facts)
    found = (states(jobs), len(facts["paid"]), check_files(folder, jobs))
    if found != ({JobStatus.SAVED: count}, count, count):
        raise AssertionError(f"not {count} jobs, each saved and paid once: {found}")


def check_reported(jobs: list[Job], facts: Mapping[str, Any]) -> None:
    """See that nothing was paid twice, and whatever was paid has its picture or is reported."""
    check_paid_once(facts)
    known = {job.task_id: job.status for job in jobs if job.task_id}
    stray = [one for one in facts["paid"] if one[3] not in known]
    told = {JobStatus.SAVED, JobStatus.FAILED}
    lost = [one for one in facts["paid"] if known.get(one[3], JobStatus.SAVED) not in told]
    doubtful = states(jobs)[JobStatus.UNCERTAIN]
    if lost or len(stray) > doubtful:
        raise AssertionError(f"paid and not reported: {stray}, {lost}; uncertain are {doubtful}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve_again(sys.argv[2], sys.argv[3])
    else:
        import resource

        labour_again()
