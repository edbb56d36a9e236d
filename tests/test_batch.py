"""Batches: each job paid for once, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import attrs
import pytest
from PIL import Image

from mjasync import (
    Client,
    Clock,
    ConfigurationError,
    InvalidRequest,
    MJError,
    Retries,
    RetryPolicy,
    Task,
    UnsupportedEndpoint,
)
from mjasync.batch import Batch, BatchInUse, Job, JobStatus, Totals, read_batch
from mjasync.simulator import Simulator
from support.batches import BOUND, finish, ledger
from support.clients import QUICK, Every, connect
from support.gallery_jobs import facts_of
from support.sent_requests import submits
from support.waiting import eventually, leave

PROMPTS = [f"fox {n}" for n in range(6)]
SETTLE = 60.0


def check_files(folder: Path, jobs: list[Job]) -> None:
    """See that every saved job has its file, whole, and nothing else is there."""
    for job in jobs:
        assert job.status is JobStatus.SAVED, job
        for file in job.files:
            data = (folder / file.path).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                assert picture.text["Description"] == job.prompt
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*.*") if p.suffix != ".webp"}
    ours = {"ledger.db", "ledger.lock", "manifest.jsonl"}
    assert there - {"ledger.db-wal", "ledger.db-shm", "index.html"} == ours | {
        file.path for job in jobs for file in job.files
    }
    lines = map(json.loads, (folder / "manifest.jsonl").read_text("utf-8").splitlines())
    assert {line["key"] for line in lines} == {job.key for job in jobs}


class Leaping(Clock):
    """A clock on which a minute takes no time, and passes."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since whenever."""
        return super().now() + self._ahead

    def wall(self) -> float:
        """Seconds since the epoch."""
        return super().wall() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` have passed."""
        leaps = SETTLE / 2 < seconds <= SETTLE
        self._ahead += seconds if leaps else 0.0
        await super().sleep(0 if leaps else seconds)


# --- the usual ---------------------------------------------------------------------------------


async def test_a_batch_and_its_steps(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """Permutations and steps become jobs, each is paid once, saved, and in the manifest."""
    jobs = await finish(
        tmp_path,
        mj_plain,
        "a {red, blue} fox --ar {1:1, 16:9}",
        steps=["U1>Upscale (Subtle)", "U3"],
    )
    assert len(jobs) == len(plain.submissions) == 4 * 4
    assert {job.step for job in jobs} == {"", "U1", "U1>Upscale (Subtle)", "U3"}
    assert {job.number for job in jobs} == {1, 2, 3, 4}
    check_files(tmp_path, jobs)


async def test_a_finished_batch_asks_for_nothing(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Running a finished batch again sends no request; new rows are all it pays for."""
    await finish(tmp_path, mj_plain, PROMPTS, steps="U1")
    before = len(plain.requests)
    assert await finish(tmp_path, mj_plain, PROMPTS, steps="U1") == []
    assert len(plain.requests) == before
    jobs = await finish(tmp_path, mj_plain, "an owl", PROMPTS, steps=("U1", "U2"))
    assert len(plain.submissions) == 2 * 6 + 3 + 6
    assert {job.number for job in jobs} == {1, 2, 3, 4, 5, 6, 7}
    check_files(tmp_path, await ledger(tmp_path))


async def test_the_limit_counts_unfinished_tasks(tmp_path: Path) -> None:
    """There are never more unfinished tasks than the limit, and as many as it where there can."""
    async with (
        Simulator(time_scale=0.002, draw=False, concurrency=20) as sim,
        connect(sim) as mj,
    ):
        sim.fault("stall", at=10, times=4)  # nothing ends before four are there
        prompts = (f"fox {n}" for n in range(12))
        ending = asyncio.ensure_future(finish(tmp_path, mj, prompts, limit=4))
        await eventually(lambda: ending.done() or sim.in_flight == 4)
        for stalled in tuple(sim.submissions):
            await mj.task(stalled.task_id).cancel()
        states = Counter(job.status for job in await ending)
        assert states == {JobStatus.SAVED: 8, JobStatus.FAILED: 4}
        assert sim.max_in_flight == 4


async def test_equal_prompts_are_never_in_flight_together(tmp_path: Path) -> None:
    """Repeats have seeds of their own and run one after the other."""
    async with Simulator(time_scale=0.002, draw=False, concurrency=9) as sim, connect(sim) as mj:
        jobs = await finish(tmp_path, mj, "a fox --repeat 3", repeat=5)
        assert sim.max_in_flight == 1
        assert len({s.prompt for s in sim.submissions}) == len({j.seed for j in jobs}) == 3


async def test_split_and_upscale_all(
    plain: Simulator, mj_plain: Client, sim: Simulator, mj: Client, tmp_path: Path
) -> None:
    """`split` saves the four pictures of a grid, `upscale-all` the grid and U1 to U4."""
    (job,) = await finish(tmp_path / "split", mj, "a fox", images="split")
    assert [file.path.rpartition("-")[2] for file in job.files] == [f"{n}.png" for n in range(1, 5)]
    check_files(tmp_path / "split", [job])
    jobs = await finish(tmp_path / "all", mj_plain, "a fox", images="upscale-all")
    assert sorted(job.step for job in jobs) == ["", "U1", "U2", "U3", "U4"]


async def test_any_iterable_is_taken(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """Async iterables, rows and templates are input; what a column holds is never expanded."""

    async def source() -> AsyncIterator[str]:
        for name in ("fox", "owl", "fox"):
            yield f"a {name}"

    async with Batch(tmp_path, client=mj_plain, name="{place}/{n}-{key}.{ext}") as batch:
        batch.add(source(), template="{prompt} in snow")
        with pytest.raises(ConfigurationError, match="'place'"):
            await batch.dry_run()
    async with Batch(tmp_path, client=mj_plain, name="{animal}/{n}.{ext}") as batch:
        batch.add({"animal": "{a, b}", "repeat": 2}, template="one {animal}, {big, small}")
        assert [await batch.dry_run() for _ in range(2)] == [4, 4]
        assert plain.requests == []
        jobs = [job async for job in batch.run()]
        assert await batch.dry_run() == 0
        totals = await batch.totals()
    assert {job.prompt.partition(" --seed")[0] for job in jobs} == {
        "one {a, b}, big",
        "one {a, b}, small",
    }
    assert {file.path for job in jobs for file in job.files} == {
        f"{{a, b}}/{n}.png" for n in range(1, 5)
    }
    assert (totals.by_status, totals.submits) == ({JobStatus.SAVED: 4}, 4)
    assert sum(totals.charges.values()) == 4


async def test_names_never_clash(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A template that gives two files one name gives the second its key, each time the same."""
    jobs = await finish(tmp_path, mj_plain, PROMPTS, name="picture.{ext}")
    assert len({file.path for job in jobs for file in job.files}) == 6
    check_files(tmp_path, jobs)
    await finish(tmp_path, mj_plain, "an owl", name="picture.{ext}")
    check_files(tmp_path, await ledger(tmp_path))


async def test_a_file_that_is_gone_is_fetched_again(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """The server still has it, so it is saved again and not paid for; the others are left alone."""
    jobs = await finish(tmp_path, mj_plain, PROMPTS, steps="U1")
    lost = next(job for job in jobs if job.is_step)
    (tmp_path / lost.files[0].path).unlink()
    (again,) = await finish(tmp_path, mj_plain, PROMPTS, steps="U1")
    assert (again.key, again.files, len(plain.submissions)) == (lost.key, lost.files, 12)
    check_files(tmp_path, await ledger(tmp_path))


async def test_a_file_that_is_gone_for_good(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Where the server has forgotten it, too, it is told, and never drawn and paid for again."""
    (job,) = await finish(tmp_path, mj_plain, "a fox")
    (tmp_path / job.files[0].path).unlink()
    fault = plain.fault("reply", on="image", times=None, status=403, body="gone")
    for error in ("LinkExpired", "TaskNotFound"):
        for _ in range(2):
            (again,) = await finish(tmp_path, mj_plain, retry_failed=True)
            assert (again.status, again.error_class) == (JobStatus.SAVED, error)
            assert "is missing, and cannot be downloaded again" in again.error
        plain.forget()
    fault.remove()
    assert len(plain.submissions) == 1


async def test_texts_have_no_file(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A job whose task has no picture is saved with no file."""

    async def shorten(task: Task) -> Task:
        return await mj_plain.shorten(task.prompt or "")

    jobs = await finish(tmp_path, mj_plain, "a fox", steps=shorten)
    assert [len(job.files) for job in jobs] == [1, 0]


# --- functions ---------------------------------------------------------------------------------


async def test_a_step_may_be_a_function(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A function gets the finished Task; the Task it returns is saved; it runs once."""
    seen: list[str] = []

    async def wide(task: Task) -> Task:
        seen.append(task.id)
        return await task.upscale(2).zoom(2)

    async def look(task: Task) -> None:
        seen.append(task.id)

    async with Batch(tmp_path, client=mj_plain, steps=[wide, look, "U1"]) as batch:
        batch.add("a fox")
        assert (await batch.dry_run(), (await batch.forecast()).total()) == (2, 4)
    for _ in range(2):
        await finish(tmp_path, mj_plain, "a fox", steps=[wide, look, "U1"])
    jobs = await ledger(tmp_path)
    assert seen == [jobs[0].task_id] * 2
    assert sorted(len(job.files) for job in jobs) == [0, 1, 1, 1]
    assert len(plain.submissions) == 4


async def test_a_function_that_fails(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """Its error is the job's; a lost answer is uncertain; a function that is gone is asked for."""
    errors = [RuntimeError("no"), None]

    async def odd(task: Task) -> None:
        error = errors.pop(0)
        if error:
            raise error
        plain.fault("reset_after", on="submit")
        await task.upscale(1)

    *_, job = await finish(tmp_path, mj_plain, "a fox", steps=odd)
    assert (job.status, job.error_class, job.error) == (JobStatus.FAILED, "RuntimeError", "no")
    (job,) = await finish(tmp_path, mj_plain, steps=odd, retry_failed=["RuntimeError"])
    assert (job.status, job.error_class) == (JobStatus.UNCERTAIN, "SubmitUncertain")
    before = len(plain.requests)
    with pytest.raises(ConfigurationError, match=r"odd.*pass it in steps="):
        await finish(tmp_path, mj_plain, "an owl", resubmit_uncertain=True)
    assert len(plain.requests) == before
    assert [job.status for job in await ledger(tmp_path)][1] is JobStatus.UNCERTAIN


async def test_a_function_that_returns_something_else(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Only a Task can be saved: the job says so and fails, and the others go on."""

    async def several(task: Task) -> Any:  # noqa: ANN401
        return [await task.upscale(n) for n in (1, 2)]

    jobs = await finish(tmp_path, mj_plain, PROMPTS[:2], steps=[several, "U3"])
    failed = [job for job in jobs if job.status is JobStatus.FAILED]
    assert {job.error for job in failed} == {"A step returns a Task or None, not list."}
    assert (len(failed), len(jobs)) == (2, 6)


async def test_a_function_that_was_interrupted(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """What it has paid for is not known, so it is uncertain, and says where to look."""
    begun = asyncio.Event()

    async def endless(_: Task) -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.ensure_future(finish(tmp_path, mj_plain, "a fox", steps=endless))
    await begun.wait()
    await leave(running)
    (job,) = await finish(tmp_path, mj_plain)
    assert (job.status, job.error_class) == (JobStatus.UNCERTAIN, "SubmitUncertain")
    assert "function was interrupted" in job.error
    assert "state" not in job.error


# --- trouble -----------------------------------------------------------------------------------


async def test_a_small_queue_loses_nothing(tmp_path: Path) -> None:
    """With far more under way than the server takes, each job is accepted once and none is lost."""
    async with (
        Simulator(time_scale=0.002, draw=False, concurrency=1, queue_size=1) as sim,
        connect(sim) as mj,
    ):
        stalling = sim.fault("stall", at=10)  # nothing ends before the server is full
        prompts = (f"fox {n}" for n in range(8))
        ending = asyncio.ensure_future(finish(tmp_path, mj, prompts, limit=8))
        await eventually(lambda: submits(sim) == 8)
        assert (stalling.hits, sim.in_flight) == (1, 2)
        await mj.task(sim.submissions[0].task_id).cancel()
        jobs = await ending
        assert Counter(job.status for job in jobs) == {JobStatus.SAVED: 7, JobStatus.FAILED: 1}
        assert submits(sim) > len(sim.submissions) == 8
        assert sum(job.attempts for job in jobs) == submits(sim)
        await finish(tmp_path, mj, retry_failed=True)
        check_files(tmp_path, await ledger(tmp_path))
        assert len(sim.submissions) == 9


REFUSALS = [
    {"status": 429, "body": "", "headers": {"Retry-After": "0"}},
    {"status": 200, "body": {"code": 3, "description": "无可用的账号实例"}},
    {"status": 503, "body": {"error": {"message": "system memory overloaded (current: 99%)"}}},
]


@pytest.mark.parametrize("reply", REFUSALS)
async def test_refusals_for_now_lose_nothing(
    plain: Simulator, mj_plain: Client, tmp_path: Path, reply: dict[str, Any]
) -> None:
    """Whatever the server refuses for now is sent again, and every attempt is in the ledger."""
    plain.fault("reply", on="submit", times=5, **reply)
    jobs = await finish(tmp_path, mj_plain, PROMPTS, limit=3)
    assert len(plain.submissions) == 6
    assert sum(job.attempts for job in jobs) == submits(plain) == 11
    check_files(tmp_path, jobs)


async def test_patience_has_an_end(plain: Simulator, tmp_path: Path) -> None:
    """A server that takes nothing for longer than the client's budget stops the batch."""
    short = Retries(overloaded=RetryPolicy(initial_delay=0.001, max_delay=0.01, max_elapsed=0.02))
    plain.fault("reply", on="submit", times=None, **REFUSALS[1])
    async with connect(plain, retries=short) as mj:
        with pytest.raises(MJError, match="account"):
            await finish(tmp_path, mj, PROMPTS)
        assert {job.status for job in await ledger(tmp_path)} == {JobStatus.PLANNED}


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 401, "body": "no"},
        {"status": 400, "body": {"code": 4, "description": "quota_not_enough"}},
    ],
)
async def test_an_account_error_stops_the_batch(
    plain: Simulator, mj_plain: Client, tmp_path: Path, reply: dict[str, Any]
) -> None:
    """What concerns the account stops the batch; the job goes back, and the next run takes it."""
    plain.fault("reply", on="submit", times=1, **reply)
    async with Batch(tmp_path, client=mj_plain, limit=1) as batch:
        batch.add(PROMPTS)
        with pytest.raises(MJError) as caught:
            assert [job async for job in batch.run()] == []
        assert batch.stopped == type(caught.value).__name__
        assert {job.status for job in await batch.jobs()} == {JobStatus.PLANNED}
        assert submits(plain) == 1
        assert len([job async for job in batch.run()]) == 6


async def test_a_server_that_draws_nothing_stops_the_batch(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """At the wrong address nothing fails: the run ends, and goes on at the right one."""
    page = {"status": 404, "body": "<html>not here</html>"}
    faults = [plain.fault("reply", on=on, times=None, **page) for on in ("submit", "fetch", "list")]
    with pytest.raises(UnsupportedEndpoint):
        await finish(tmp_path, mj_plain, PROMPTS)
    assert {job.status for job in await ledger(tmp_path)} == {JobStatus.PLANNED}
    for fault in faults:
        fault.remove()
    assert len(await finish(tmp_path, mj_plain)) == 6


async def test_failures_are_kept_and_retried_by_class(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A failed job is left alone until it is asked for; a banned prompt always; its steps wait."""
    plain.fault("fail", reason="Internal error")
    first = await finish(tmp_path, mj_plain, "a fox", "a naked fox", steps="U1")
    assert {job.error_class for job in first} == {"TaskFailed", "BannedPrompt"}
    assert await finish(tmp_path, mj_plain) == []
    assert await finish(tmp_path, mj_plain, retry_failed=["LinkExpired"]) == []
    again = await finish(tmp_path, mj_plain, retry_failed=True, steps="U1")
    assert [(job.prompt, job.step) for job in again] == [("a fox", ""), ("a fox", "U1")]


async def test_money_has_bounds(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """`max_submits` and `max_failures` stop a run, and what they are counts anew in the next."""
    async with Batch(tmp_path, client=mj_plain, max_submits=4, limit=3) as batch:
        batch.add(PROMPTS)
        assert len([job async for job in batch.run()]) == len(plain.submissions) == 4
        assert batch.stopped == "max_submits"
        plain.fault("fail", reason="Internal error", times=None)
        assert len([job async for job in batch.run()]) == 2
    async with Batch(
        tmp_path, client=mj_plain, max_failures=1, limit=1, retry_failed=True
    ) as batch:
        assert len([job async for job in batch.run()]) == 1
        assert batch.stopped == "max_failures"


async def test_a_modal_is_not_answered(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A step that opens a modal fails and says so; one that does not exist, too."""
    jobs = await finish(tmp_path, mj_plain, "a fox", steps=["U1>Custom Zoom", "Nine"])
    found = {job.step: job.error_class for job in jobs if job.status is JobStatus.FAILED}
    assert found == {"U1>Custom Zoom": "ModalRequired", "Nine": "ButtonNotFound"}
    (asked,) = (job.error for job in jobs if job.error_class == "ModalRequired")
    assert asked.endswith("Write the answer in brackets, as in 'Custom Zoom[{prompt} --zoom 1.8]'.")


async def test_a_forgotten_parent(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A step whose parent the server has lost fails and is not sent."""
    await finish(tmp_path, mj_plain, "a fox")
    plain.forget()
    (job,) = await finish(tmp_path, mj_plain, "a fox", steps="U1")
    assert (job.status, job.error_class) == (JobStatus.FAILED, "TaskNotFound")
    assert "draw the grid again, in a new folder" in job.error


async def test_a_parent_that_cannot_be_read(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """While the parent cannot be read a step waits; the account's errors stop the batch there."""
    await finish(tmp_path, mj_plain, "a fox")
    fault = plain.fault("reply", on="fetch", times=None, status=401, body="no")
    with pytest.raises(MJError):
        await finish(tmp_path, mj_plain, "a fox", steps="U1")
    fault.remove()
    plain.fault("reply", on="fetch", times=10, status=500)
    (job,) = await finish(tmp_path, mj_plain, "a fox", steps="U1")
    assert job.status is JobStatus.SAVED


async def test_pictures_that_cannot_be_had_are_fetched_later(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A finished job whose picture fails stays finished; the next run pays for nothing."""
    fault = plain.fault("reply", on="image", times=None, status=403, body="gone")
    (job,) = await finish(tmp_path, mj_plain, "a fox")
    assert (job.status, job.error_class) == (JobStatus.FINISHED, "LinkExpired")
    fault.remove()
    (job,) = await finish(tmp_path, mj_plain, "a fox")
    check_files(tmp_path, [job])
    assert len(plain.submissions) == 1


async def test_a_full_disk_stops_the_batch(
    plain: Simulator, mj_plain: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that cannot be written stops the batch with nothing lost, and no half a file."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    async with Batch(tmp_path, client=mj_plain, limit=1) as batch:
        batch.add(PROMPTS)
        await batch.plan()
        with monkeypatch.context() as patch:
            write = Path.open

            def opened(path: Path, *args: Any) -> Any:  # noqa: ANN401
                file = write(path, *args)
                if path.parent == tmp_path and not path.name.startswith("ledger"):
                    patch.setattr(os, "fsync", full)
                return file

            patch.setattr(Path, "open", opened)
            with pytest.raises(OSError, match="No space"):
                await anext(batch.run())
        assert plain.submissions == []
    assert list(tmp_path.glob(".mjasync*")) == []


async def test_waiting_that_fails_keeps_the_job(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A wait that runs out of time leaves the job accepted, and the next run attaches to it."""
    fault = plain.fault("stall", times=1)
    async with connect(plain, timeout=0.05) as hasty:
        (job,) = await finish(tmp_path, hasty, "a fox")
    assert (job.status, job.error_class) == (JobStatus.ACCEPTED, "TaskTimeout")
    assert fault.hits == 1
    task = plain._engine.tasks[job.task_id or ""]
    assert task.state == job.state_token
    assert len(plain.submissions) == 1


async def test_a_closed_client_stops_the_batch(plain: Simulator, tmp_path: Path) -> None:
    """With the client closed nothing is sent, and everything is still planned."""
    mj = connect(plain)
    await mj.close()
    with pytest.raises(MJError, match="closed"):
        await finish(tmp_path, mj, PROMPTS)
    assert {job.status for job in await ledger(tmp_path)} == {JobStatus.PLANNED}


# --- in doubt ----------------------------------------------------------------------------------


async def test_a_lost_answer_is_looked_up(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Where the server lists, a lost answer is found by its mark, a lost request sent again."""
    plain.fault("reset_after", on="submit", times=3)
    plain.fault("reset_before", on="submit", times=3)
    jobs = await finish(tmp_path, mj_plain, PROMPTS, steps="U1")
    assert len(plain.submissions) == 12
    check_files(tmp_path, jobs)


@pytest.mark.slow
async def test_requests_that_always_get_lost(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A job whose requests never arrive is given up for this run, and stays planned."""
    await finish(tmp_path, mj_plain, "an owl")
    plain.fault("reset_before", on="submit", times=None)
    (job,) = await finish(tmp_path, mj_plain, "a fox")
    assert (job.status, len(plain.submissions)) == (JobStatus.PLANNED, 1)


async def test_without_a_list_nothing_is_sent_twice(tmp_path: Path) -> None:
    """Where the server cannot list, what is in doubt is reported, until it is asked for again."""
    async with (
        Simulator(time_scale=0, draw=False, list_endpoint=False) as sim,
        connect(sim) as mj,
    ):
        sim.fault("reset_after", on="submit", times=2)
        jobs = await finish(tmp_path, mj, PROMPTS)
        doubtful = [job for job in jobs if job.status is JobStatus.UNCERTAIN]
        assert (len(doubtful), len(sim.submissions)) == (2, 6)
        assert {job.error_class for job in doubtful} == {"SubmitUncertain"}
        again = await finish(tmp_path, mj)
        assert (len(again), len(sim.submissions)) == (2, 6)
        before = len(sim.requests)
        assert len(await finish(tmp_path, mj, limit=1)) == 2
        assert len(sim.requests) == before + 1  # one look for a list is enough
        async with Batch(tmp_path, client=mj, resubmit_uncertain=True) as batch:
            assert await batch.dry_run() == 2
            assert len([job async for job in batch.run()]) == 2
        assert len(sim.submissions) == 8


async def test_a_list_that_fails_proves_nothing(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """While the list cannot be read, what is in doubt is never sent again."""
    plain.fault("reset_after", on="submit", times=1)
    fault = plain.fault("reply", on="list", times=None, status=500)
    for _ in range(2):
        (job,) = await finish(tmp_path, mj_plain, "a fox", resubmit_uncertain=True)
        assert job.status is JobStatus.UNCERTAIN
    fault.remove()
    (job,) = await finish(tmp_path, mj_plain)
    assert (job.status, len(plain.submissions)) == (JobStatus.SAVED, 1)


async def test_a_list_without_marks_proves_nothing(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Where the list does not repeat the marks of known tasks, absence from it means nothing."""
    await finish(tmp_path, mj_plain, "an owl")
    plain.fault("reset_before", on="submit", times=1)
    for task in plain._engine.tasks.values():
        task.state, task.cached_json = None, None
    (job,) = await finish(tmp_path, mj_plain, "a fox")
    assert (job.status, len(plain.submissions)) == (JobStatus.UNCERTAIN, 1)


async def test_a_server_that_forgot_proves_nothing(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Where the list lacks a task accepted just before, absence from it means nothing."""
    await finish(tmp_path, mj_plain, "an owl")
    plain.fault("reset_after", on="submit")
    fault = plain.fault("reply", on="list", times=None, status=500)
    await finish(tmp_path, mj_plain, "a fox")
    fault.remove()
    plain.forget()
    (job,) = await finish(tmp_path, mj_plain)
    assert (job.status, len(plain.submissions)) == (JobStatus.UNCERTAIN, 2)


@pytest.mark.slow
async def test_a_full_list_must_reach_back(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """In a list of the newest hundred only an older task of ours proves absence."""
    await mj_plain.gather(*(mj_plain.imagine(f"elk {n}") for n in range(100)))
    plain.fault("reset_before", on="submit", times=1)
    (job,) = await finish(tmp_path, mj_plain, "a fox")
    assert job.status is JobStatus.UNCERTAIN
    await finish(tmp_path, mj_plain, "an owl")
    plain.fault("reset_before", on="submit", times=1)
    jobs = await finish(tmp_path, mj_plain, "an elk")
    assert {(job.prompt, job.status) for job in jobs} == {
        ("a fox", JobStatus.UNCERTAIN),
        ("an elk", JobStatus.SAVED),
    }


async def test_absence_is_believed_once_it_has_settled(plain: Simulator, tmp_path: Path) -> None:
    """A submission the server does not list is looked for again when `reconcile_after` is over."""
    async with connect(plain, clock=Leaping(), schedule=QUICK) as mj:
        await finish(tmp_path, mj, "an owl")  # by which the list is known to hold what is ours
        plain.fault("reset_before", on="submit", times=1)
        (job,) = await finish(tmp_path, mj, "a fox", reconcile_after=SETTLE)
    lists = [request for request in plain.requests if request.endpoint == "list"]
    assert (job.status, job.attempts, len(lists)) == (JobStatus.SAVED, 2, 2)


# --- stopping ----------------------------------------------------------------------------------


async def test_leaving_notes_what_is_on_the_wire(tmp_path: Path) -> None:
    """Leaving the loop waits for the answers to what is on the wire; the next run attaches."""
    async with (
        Simulator(time_scale=0.001, draw=False, concurrency=9) as sim,
        connect(sim, schedule=Every(3600)) as unseeing,
        connect(sim) as mj,
    ):
        sim.fault("slow_body", on="submit", times=None, gap=0.002)
        async with Batch(tmp_path, client=unseeing) as batch:
            batch.add(PROMPTS)
            running = asyncio.ensure_future(anext(batch.run()))
            await eventually(lambda: submits(sim) == 6)
            await leave(running)
        assert {job.status for job in await ledger(tmp_path)} == {JobStatus.ACCEPTED}
        check_files(tmp_path, await finish(tmp_path, mj))
        assert len(sim.submissions) == 6


async def test_leaving_by_break_loses_nothing(tmp_path: Path) -> None:
    """A loop left by `break` is wound up when the batch closes; the next run has the rest."""
    async with Simulator(time_scale=0.001, draw=False, concurrency=9) as sim, connect(sim) as mj:
        async with Batch(tmp_path, client=mj, limit=3) as batch:
            batch.add(PROMPTS)
            async for _ in batch.run():
                break
        states = {job.status for job in await ledger(tmp_path)}
        assert not states & {JobStatus.SUBMITTING, JobStatus.UNCERTAIN}
        await finish(tmp_path, mj)
        assert len(sim.submissions) == 6
        check_files(tmp_path, await ledger(tmp_path))


async def test_stop_drains(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """After `stop` nothing more is begun, and what is under way comes out."""
    async with Batch(tmp_path, client=mj_plain, limit=2) as batch:
        batch.stop()
        batch.add(PROMPTS)
        count = 0
        async for _ in batch.run():
            count += 1
            batch.stop()
        assert batch.stopped == "stop"
        assert count == len(plain.submissions) < 6


async def test_a_batch_tells_where_it_stands(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """What is new is counted, what is under way told, and all of it read from outside meanwhile."""
    fault = plain.fault("stall", times=1)
    async with Batch(tmp_path, client=mj_plain, limit=1, steps="U1") as batch:
        batch.add(PROMPTS)
        assert [await batch.plan(), await batch.plan(), batch.active] == [12, 0, ()]
        running = asyncio.ensure_future(anext(batch.run()))
        await eventually(lambda: [job.status for job, _ in batch.active] == [JobStatus.ACCEPTED])
        ((job, info),) = batch.active
        assert (job.prompt, fault.hits) == (PROMPTS[0], 1)
        assert info is not None
        states = [job.status for job in await read_batch(tmp_path)]
        assert states == [JobStatus.ACCEPTED] + [JobStatus.PLANNED] * 11
        await leave(running)
        (accepted,) = await batch.jobs(JobStatus.ACCEPTED)
        assert accepted == (await read_batch(tmp_path))[0]
    await mj_plain.task(accepted.task_id or "").cancel()  # it stands still
    await finish(tmp_path, mj_plain)
    async with Batch(tmp_path, client=mj_plain) as batch:
        assert Totals.from_jobs(await read_batch(tmp_path)) == await batch.totals()


async def test_a_ledger_may_be_elsewhere(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A SQLite ledger may be at another place; its lock is beside it."""
    url = f"sqlite:///{tmp_path}/kept/fox.db"
    await finish(tmp_path / "out", mj_plain, "a fox", ledger=url)
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"fox.db", "fox.lock"}
    assert len(await read_batch(tmp_path / "out", ledger=url)) == 1
    with pytest.raises(ConfigurationError, match="no batch in"):
        await read_batch(tmp_path / "out")
    (tmp_path / "ledger.db").touch()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await read_batch(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "mysql+aiomysql://u:pass-word@host/db",
        "u:pass-word@host",
        "sqlite://",
        "postgresql+psycopg://h",
    ],
)
async def test_ledgers_that_are_none(mj_plain: Client, tmp_path: Path, url: str) -> None:
    """What is no ledger is told without the password."""
    with pytest.raises(ConfigurationError) as caught:
        Batch(tmp_path, client=mj_plain, ledger=url)
    assert "pass-word" not in str(caught.value)


async def test_a_driver_that_is_missing(
    mj_plain: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without asyncpg a PostgreSQL ledger says what to install."""
    monkeypatch.setattr("mjasync.batch._ledger.open.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"mjasync\[batch,postgres\]"):
        Batch(tmp_path, client=mj_plain, ledger="postgresql://host/db")


async def test_a_row_says_its_bot(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """The column `bot` is sent along, is part of what is asked, and must be one."""
    rows = [{"prompt": "a fox", "bot": bot} for bot in ("niji", "Midjourney", "", None)]
    jobs = await finish(tmp_path, mj_plain, rows)
    assert len({job.key for job in jobs}) == 3
    assert [s.body.get("botType") for s in plain.submissions] == [
        "NIJI_JOURNEY",
        "MID_JOURNEY",
        None,
    ]
    with pytest.raises(InvalidRequest, match="bot must be"):
        await finish(tmp_path, mj_plain, {"prompt": "a fox", "bot": "dall-e"})


async def test_one_run_at_a_time(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A Batch runs once at a time, and only while it is open."""
    batch = Batch(tmp_path, client=mj_plain)
    with pytest.raises(ConfigurationError, match="async with"):
        await batch.jobs()
    async with batch:
        batch.add(PROMPTS)
        running = batch.run()
        await anext(running)
        with pytest.raises(ConfigurationError, match="already"):
            await anext(batch.run())
        await running.aclose()


@pytest.mark.slow
async def test_a_second_batch_is_told(mj_plain: Client, tmp_path: Path) -> None:
    """A folder in use is refused, to a second process and to this one; a killed one lets go."""
    code = f"""
        import asyncio, sys
        from mjasync import Client
        from mjasync.batch import Batch
        async def main():
            async with Batch({str(tmp_path)!r}, client=Client("http://127.0.0.1:9", "")):
                print("open", flush=True)
                await asyncio.Event().wait()
        asyncio.run(main())
    """
    with running(dedent(code)) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"open\n"
        with pytest.raises(BatchInUse, match="is in use already"):
            await ledger(tmp_path)
    async with Batch(tmp_path, client=mj_plain):
        with pytest.raises(BatchInUse):
            await ledger(tmp_path)
    assert await ledger(tmp_path) == []


async def test_a_ledger_that_is_none(mj_plain: Client, tmp_path: Path) -> None:
    """A file that is no ledger is told, and the folder is free again."""
    (tmp_path / "ledger.db").write_text(
        "not a database, but long enough to be told from one\n" * 99
    )
    for _ in range(2):
        with pytest.raises(Exception, match="not a database"):
            await ledger(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"repeat": 0},
        {"images": "all"},
        {"name": "../{n}.{ext}"},
        {"name": "/{n}.{ext}"},
        {"name": "{n}"},
        {"steps": "U1>"},
        {"steps": [asyncio.sleep, lambda _: _, lambda _: _]},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_what_makes_no_sense_is_told_at_once(
    mj_plain: Client, tmp_path: Path, options: dict[str, Any]
) -> None:
    """An option that cannot work raises before anything is touched."""
    with pytest.raises(ConfigurationError):
        Batch(tmp_path, client=mj_plain, **options)


async def test_a_row_that_makes_no_sense(mj_plain: Client, tmp_path: Path) -> None:
    """A row that is none raises before anything is paid."""
    for row in (3, {"repeat": 1}, {"prompt": "a", "repeat": "x"}, "a {fox"):
        with pytest.raises(InvalidRequest):
            await finish(tmp_path, mj_plain, [row])


def test_the_client_does_without_it() -> None:
    """`import mjasync` imports neither the batch nor what it needs."""
    code = "import mjasync, sys; print(sorted({'sqlalchemy', 'mjasync.batch'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"[]\n"


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python of our own; kill it as hard as can be, and see it gone."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_the_gallery_follows_a_run(tmp_path: Path, plain: Simulator) -> None:
    """It is there from the start, says that it will change, and in the end shows everything."""
    page = tmp_path / "index.html"
    async with connect(plain) as mj, Batch(tmp_path, client=mj, limit=1) as batch:
        batch.add(PROMPTS[:3])
        async for _ in batch.run():
            await eventually(page.exists)
            assert facts_of(page)["running"]
        assert not (facts := facts_of(page))["running"]
        assert [job["state"] for job in facts["jobs"]] == ["saved"] * 3
        assert all(file["thumbnail"] for job in facts["jobs"] for file in job["files"])


async def test_a_gallery_that_cannot_be_written_stops_nothing(
    tmp_path: Path, plain: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """It can be made again; what is paid for goes on."""
    (tmp_path / "index.html").mkdir()
    async with connect(plain) as mj:
        (job,) = await finish(tmp_path, mj, "a fox", gallery=True)
    assert job.status is JobStatus.SAVED
    assert "the gallery was not written" in caplog.text


async def test_only_submitted_jobs_are_planned_again(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A saved job is never paid for again, and neither is any other in the same call."""
    (saved,) = await finish(tmp_path, mj_plain, "a fox")
    async with Batch(tmp_path, client=mj_plain, **BOUND) as batch:
        batch.add("an owl")
        await batch.plan()
        for job in (saved, *await batch.jobs(JobStatus.PLANNED)):
            with pytest.raises(ConfigurationError, match="only jobs that were submitted"):
                await batch.plan_again([attrs.evolve(saved, status=JobStatus.ACCEPTED), job])
        assert {job.prompt: job.status for job in await batch.jobs()} == {
            "a fox": JobStatus.SAVED,
            "an owl": JobStatus.PLANNED,
        }
    assert len(plain.submissions) == 1
