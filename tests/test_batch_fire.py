"""Batches under fire: processes killed, servers restarted, disks full, folders fought over."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mjasync import Client, MJError
from mjasync.batch import Batch, Job, JobStatus, LedgerError
from mjasync.batch._output import OutputFolder
from mjasync.simulator import Simulator
from support.batches import check_all, check_files, check_reported, finish, ledger, states
from support.clients import connect
from support.command_line import Run
from support.disks import mounted
from support.kill_moments import NEVER, Moment, any_moment
from support.killed_batches import Labour, Server, opened

pytestmark = pytest.mark.slow

PROMPTS = [f"fox {n}" for n in range(6)]
JOBS = 2 * len(PROMPTS)
DEATHS = 10
OPTIONS = {"limit": 3, "steps": "U1", "gallery": True}
SERVER: dict[str, Any] = {"time_scale": 0.001, "draw": False, "concurrency": 20}
posix = pytest.mark.skipif(sys.platform == "win32", reason="there is neither fork nor SIGKILL")


# --- kill -9 -----------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("dialect", ["plus", "new-api"], ids=["list", "no list"])
async def test_a_batch_killed_anywhere(tmp_path: Path, dialect: str) -> None:
    """Killed at ten moments, each paid once; with a list all is saved, else doubts reported."""
    chance = random.Random(7)
    server = Server(tmp_path / "book", dialect=dialect, **SERVER)
    batch = Labour(server, tmp_path / "batch", PROMPTS, steps="U1", limit=3)
    async with opened(server, batch):
        for _ in range(DEATHS):
            await batch.run(any_moment(chance, 4000, 12))
        said = await batch.run()
        facts = await server.facts()
    jobs = await ledger(tmp_path / "batch")
    assert batch.kills >= DEATHS // 2
    check_reported(jobs, facts)
    check_files(tmp_path / "batch", jobs)
    told = [state for _, state, _ in (said or {})["ended"]]
    assert told.count("uncertain") == states(jobs)[JobStatus.UNCERTAIN]
    if dialect == "plus":
        check_all(tmp_path / "batch", jobs, facts, JOBS)


@posix
@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "forgotten"])
async def test_a_server_killed(tmp_path: Path, keeps: bool) -> None:
    """Where the server keeps its tasks nothing is lost; where not, nothing is paid again."""
    server = Server(tmp_path / "book", keeps=keeps, **SERVER)
    batch = Labour(server, tmp_path / "batch", PROMPTS, steps="U1", limit=2)
    moments = [
        Moment("after", 8),
        Moment("after", 1, of="submit"),
        Moment("before", 1, of="fetch"),
        Moment("before", 1, of="submit"),
    ]
    async with opened(server, batch):
        deaths = asyncio.ensure_future(server.die_and_live(moments))
        await batch.run(watch=False)
        deaths.cancel()
        await asyncio.wait([deaths])
        await server.arm(0, NEVER)
        for _ in range(2):
            said = await batch.run(watch=False)
            assert said is not None
            assert said["error"] is None
        facts = await server.facts()
    jobs = await ledger(tmp_path / "batch")
    assert server.deaths
    check_reported(jobs, facts)
    check_files(tmp_path / "batch", jobs)
    failed = {job.error_class for job in jobs if job.status is JobStatus.FAILED}
    assert failed <= {"TaskNotFound"}
    if keeps:
        check_all(tmp_path / "batch", jobs, facts, JOBS)


@posix
async def test_two_processes_and_one_folder(tmp_path: Path) -> None:
    """The second process is told and touches nothing; the first one goes on."""
    server = Server(tmp_path / "book", **SERVER)
    first, second = (Labour(server, tmp_path / "batch", PROMPTS, steps="U1") for _ in range(2))
    async with opened(server, first, second):
        pause = Moment("after", 3, of="submit", signal=signal.SIGSTOP)
        running = asyncio.ensure_future(first.run(pause, watch=False))
        while len((await server.facts())["paid"]) < pause.n:
            pass
        refused = await second.run(watch=False)
        os.kill(first.pid, signal.SIGCONT)
        assert (await running or {})["error"] is None
        facts = await server.facts()
    assert refused is not None
    assert refused["error"].startswith("BatchInUse: ")
    assert refused["ended"] == []
    check_all(tmp_path / "batch", await ledger(tmp_path / "batch"), facts, JOBS)


# --- a full disk -------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    with mounted(tmp_path / "disk", "2m") as path:
        yield path


class Filling(Simulator):
    """Fills a disk once it has been asked for something, before it answers."""

    disk: Path
    at: str = ""
    after: int = 1
    takes_all: bool = False
    """Whether the room that the batch keeps free goes, too."""

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await super()._answer(request)
        if self._backend.route(request.method, request.path).kind == self.at:
            self.after -= 1
            if not self.after:
                if self.takes_all:
                    (self.disk / "batch" / "ledger.reserve").unlink()
                fill(self.disk)
        return response


def fill(disk: Path) -> None:
    """Leave not one byte."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@pytest.fixture
async def filling(disk: Path) -> AsyncIterator[Filling]:
    """A server that fills a disk."""
    sim = Filling(time_scale=0, draw=False)
    sim.disk = disk
    async with sim:
        yield sim


@pytest.mark.parametrize("at", ["submit", "image", "fetch"])
@pytest.mark.parametrize("after", [1, 4])
async def test_a_full_disk(filling: Filling, disk: Path, at: str, after: int) -> None:
    """A disk that fills up stops the batch; every id is noted; with room it goes on, paid once."""
    folder = disk / "batch"
    filling.at, filling.after = at, after
    async with connect(filling) as mj:
        for _ in range(2):
            with pytest.raises(OSError, match=r"full|[Nn]o space") as caught:
                await finish(folder, mj, PROMPTS, **OPTIONS)
            assert isinstance(caught.value, MJError)
            assert getattr(caught.value, "unrecorded", ()) == ()
        assert not list(folder.rglob("*.part"))
        (disk / "ballast").unlink()
        jobs = await ledger(folder)
        assert {job.task_id for job in jobs if job.task_id} == {*filling.tasks}
        await finish(folder, mj, PROMPTS, **OPTIONS)
    jobs = await ledger(folder)
    assert states(jobs) == {JobStatus.SAVED: JOBS}
    assert len(filling.submissions) == JOBS
    assert check_files(folder, jobs) == JOBS


async def test_a_manifest_that_cannot_be_written(
    plain: Simulator, mj_plain: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be written is an error of the batch's own, before anything is paid."""

    async def full(self: OutputFolder, jobs: list[Job]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(OutputFolder, "write_manifest", full)
    with pytest.raises(LedgerError, match="No space left") as caught:
        await finish(tmp_path, mj_plain, PROMPTS, **OPTIONS)
    assert caught.value.errno == errno.ENOSPC
    assert plain.submissions == []


async def test_an_id_that_cannot_be_noted(filling: Filling, disk: Path) -> None:
    """An id for which there is no room at all is on the error, and is not paid for again."""
    filling.at, filling.takes_all = "submit", True
    async with connect(filling) as mj:
        with pytest.raises(LedgerError, match="mjasync watch") as caught:
            await finish(disk / "batch", mj, PROMPTS, **OPTIONS)
        assert {*caught.value.unrecorded} == {*filling.tasks}
        assert all(task_id in str(caught.value) for task_id in filling.tasks)
        (disk / "ballast").unlink()
        doubtful = [job for job in await ledger(disk / "batch") if job.state_token]
        assert {job.status for job in doubtful} == {JobStatus.SUBMITTING}
        assert {job.task_id for job in doubtful} == {None}
        await finish(disk / "batch", mj, PROMPTS, **OPTIONS)
    jobs = {job.key: job for job in await ledger(disk / "batch")}
    assert all(jobs[job.key].state_token == job.state_token for job in doubtful)
    assert len(filling.submissions) == JOBS


# --- hostile prompts ---------------------------------------------------------------------------

HOSTILE = [
    "../../etc/passwd",
    "..\\..\\windows\\system32",
    "/etc/passwd",
    "C:\\boot.ini",
    "..",
    ".",
    "con",
    "NUL.txt",
    "aux ",
    "a fox...",
    "~root",
    "-rf *",
    "a" * 10_000,
    "a" * 9_999 + "b",
    "狐" * 4_000,
    "🦊🏳️‍🌈👩‍👩‍👧",
    "🦊" * 200,
    "שלום \u202egnp.exe\u202c עולם",
    "\u202efox",
    "a\0b",
    "a\x1b[31mb\x7f",
    "lone \ud800 surrogate",
    "line\nbreak\r\ttab",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>.html",
    "&lt;b&gt; \" ' `$(reboot)` %00 %2e%2e%2f",
    "e\u0301 cafe\u0301",
    "É café",
    "Fox",
    "fox!",
    "fox?",
    "\ufeff\u200bfox",
]
WINDOWS = {"con", "prn", "aux", "nul", *(f"{w}{n}" for w in ("com", "lpt") for n in range(10))}


@pytest.mark.parametrize(
    "name", ["{n:04}-{slug}.{ext}", "{slug}.{ext}", "{text}/{slug}/{text}.{ext}"]
)
async def test_hostile_prompts(plain: Simulator, tmp_path: Path, name: str) -> None:
    """Whatever a prompt says, its file is in the folder, safely named, its own, and listed."""
    folder = tmp_path / "in" / "batch"
    before = {*tmp_path.rglob("*")}
    async with connect(plain) as mj, Batch(folder, client=mj, name=name) as batch:
        batch.add([{"prompt": prompt, "text": prompt} for prompt in map(literal, HOSTILE)])
        jobs = [job async for job in batch.run()]
    assert states(jobs) == {JobStatus.SAVED: len({job.prompt for job in jobs})}
    assert check_files(folder, jobs) == len(jobs) == len(plain.submissions)
    outside = {path for path in tmp_path.rglob("*") if folder not in (path, *path.parents)}
    assert outside - before == {folder.parent}
    paths = [file.path for job in jobs for file in job.files]
    assert len({path.casefold() for path in paths}) == len(paths)
    for path in paths:
        assert len(path.encode()) < 900
        for part in path.split("/"):
            assert len(part.encode()) <= 255
            assert part.partition(".")[0].rstrip().casefold() not in WINDOWS
            assert part == part.strip(" .")
            assert not set(part) & set('<>:"/\\|?*')
            assert part.replace("\u200d", "").isprintable()  # which joins emoji
    listed = map(json.loads, (folder / "manifest.jsonl").read_text("utf-8").splitlines())
    assert {line["key"]: line["prompt"] for line in listed} == {job.key: job.prompt for job in jobs}
    assert {job.key: job.prompt for job in await ledger(folder)} == {
        job.key: job.prompt for job in jobs
    }
    assert {s.prompt for s in plain.submissions} == {job.prompt for job in jobs}


def literal(prompt: str) -> str:
    """A prompt in which braces stand for themselves."""
    return prompt.replace("\\", "\\\\").replace("{", "\\{").replace("}", "\\}")


async def test_the_command_line_names_what_cannot_be_noted(
    filling: Filling, disk: Path, cli: Run
) -> None:
    """Ids that no ledger has are printed, with the command that saves their pictures."""
    filling.at, filling.takes_all = "submit", True
    prompts = disk.with_suffix(".txt")
    prompts.write_text("\n".join(PROMPTS), "utf-8")
    line = ("batch", prompts, "--out", disk / "batch", "--base-url", filling.url)
    outcome = await cli(*line, "--no-gallery")
    assert outcome.code == 1
    assert "Nothing is lost" not in outcome.err
    (watch,) = re.findall(r"^  (mjasync watch .*)$", outcome.err, re.MULTILINE)
    assert f"--base-url {filling.url} --save {disk / 'batch'}/" in watch
    assert filling.tasks
    assert all(task_id in watch.split() for task_id in filling.tasks)
