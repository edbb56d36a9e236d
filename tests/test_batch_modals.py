"""Steps that open a modal: answered as the path says, and paid for once."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mjasync import Client, ConfigurationError
from mjasync.batch import Batch, Job, JobStatus, read_batch
from mjasync.batch._steps import last_step, parent_path, parse_path, split_steps
from mjasync.simulator import Simulator
from support import batches
from support.clients import connect
from support.sent_requests import sent
from support.waiting import eventually, leave

ZOOM = "U1>Custom Zoom[{prompt} --zoom 1.8]"


async def finish(folder: Path, mj: Client, *prompts: Any, **options: Any) -> dict[str, Job]:  # noqa: ANN401
    """Run a batch to its end; return the jobs that ended by their steps."""
    return {job.step: job for job in await batches.finish(folder, mj, *prompts, **options)}


def answers(sim: Simulator) -> list[str]:
    """Return what modals were answered with, once taken."""
    return [s.body["prompt"] for s in sim.submissions if s.endpoint == "modal"]


# --- paths -------------------------------------------------------------------------------------


def test_paths_are_read_one_way() -> None:
    """Blanks around buttons and answers mean nothing; `>` and brackets may be in an answer."""
    step = " U1 > Custom Zoom [ a [red] > b --zoom 2 ] > U2 "
    names = parse_path(step)
    assert names == ("U1", "Custom Zoom[a [red] > b --zoom 2]", "U2")
    path = ">".join(names)
    assert split_steps(path) == [*names]
    assert parse_path(path) == names
    assert parent_path(path) == names[0] + ">" + names[1]
    assert last_step(parent_path(path)) == ("Custom Zoom", "a [red] > b --zoom 2")
    assert last_step("U1") == ("U1", None)
    assert parent_path("U1") == ""


@pytest.mark.parametrize(
    "step", ["", "U1>", ">U1", "U1[", "U1]", "U1[]", "[a]", "U1[a]b", "U1[a]b[c]", "U1[a>U2", "]["]
)
async def test_paths_that_are_none(mj_plain: Client, tmp_path: Path, step: str) -> None:
    """A path with a gap, or brackets that do not match, is told at once."""
    with pytest.raises(ConfigurationError, match="not a path of buttons"):
        Batch(tmp_path, client=mj_plain, steps=[step])


# --- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["plus", "open-plus", "new-api"])
async def test_a_step_answers_its_modal(dialect: str, tmp_path: Path) -> None:
    """The answer has the prompt and the columns put in; steps may follow; a press is answered."""
    async with (
        Simulator(dialect=dialect, time_scale=0, draw=False, remix=True) as sim,
        connect(sim) as mj,
    ):
        then = [ZOOM + ">U2", "V1", "U1>Vary (Subtle)[a {color} fox > \\{all\\}]"]
        jobs = await finish(tmp_path, mj, {"prompt": "a fox", "color": "red"}, steps=then)
        assert {job.status for job in jobs.values()} == {JobStatus.SAVED}
        assert len(jobs) == len(sim.submissions) == 6
        assert len(answers(sim)) == 3
        assert {"a fox --zoom 1.8", "a red fox > {all}"} < {*answers(sim)}
        assert jobs[ZOOM].attempts == jobs["V1"].attempts == 2
        before = len(sim.requests)
        assert await finish(tmp_path, mj, steps=then) == {}
        assert len(sim.requests) == before


async def test_a_press_is_asked_for_its_modal(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """With remix off, a button with an answer asks for its modal; what cannot ask is told."""
    steps = ["V1[a red fox]", "U2[no]", "U1>Vary (Region)[a door]", "U1>Animate (Low motion)[run]"]
    jobs = await finish(tmp_path, mj_plain, "a fox", steps=steps)
    assert {step: jobs[step].error_class for step in steps} == {
        "V1[a red fox]": "",
        "U2[no]": "InvalidRequest",
        "U1>Vary (Region)[a door]": "ModalRequired",
        "U1>Animate (Low motion)[run]": "ModalNotOpened",
    }
    assert answers(plain) == ["a red fox"]
    assert jobs[steps[-1]].task_id
    assert len(plain.submissions) == 4
    assert await finish(tmp_path, mj_plain, retry_failed=["ModalNotOpened"]) == {}


async def test_an_answer_refused_for_now_is_sent_again(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A full queue costs neither the modal nor a second press; a refusal for good fails."""
    busy = {"status": 200, "body": {"code": 23, "description": "队列已满"}}
    plain.fault("reply", endpoint="modal", times=3, **busy)
    jobs = await finish(tmp_path, mj_plain, "a fox", steps=[ZOOM, "U1>Custom Zoom[a naked fox]"])
    assert (jobs[ZOOM].status, len(answers(plain))) == (JobStatus.SAVED, 1)
    assert len(sent(plain, "action")) == 3
    (banned,) = (job for job in jobs.values() if job.status is JobStatus.FAILED)
    assert banned.error_class == "BannedPrompt"


async def test_an_account_error_keeps_the_modal(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """What stops the batch at an answer leaves the modal to the next run, which answers it."""
    fault = plain.fault("reply", endpoint="modal", times=None, status=401, body="no")
    with pytest.raises(Exception, match="token"):
        await finish(tmp_path, mj_plain, "a fox", steps=ZOOM)
    job = (await read_batch(tmp_path))[-1]
    assert (job.status, job.modal, bool(job.task_id)) == (JobStatus.ACCEPTED, "open", True)
    fault.remove()
    jobs = await finish(tmp_path, mj_plain)
    assert jobs[ZOOM].status is JobStatus.SAVED
    assert len(sent(plain, "action")) == 2


# --- in doubt ----------------------------------------------------------------------------------


async def test_an_answer_whose_reply_is_lost(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """The task has gone on, so the answer was taken: it is not sent again."""
    plain.fault("reset_after", endpoint="modal", times=1)
    jobs = await finish(tmp_path, mj_plain, "a fox", steps=ZOOM)
    assert (jobs[ZOOM].status, len(answers(plain)), len(sent(plain, "modal"))) == (
        JobStatus.SAVED,
        1,
        1,
    )


async def test_an_answer_that_is_lost(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A task that stays MODAL proves nothing: uncertain, until it is asked for."""
    plain.fault("reset_before", endpoint="modal", times=1)
    jobs = await finish(tmp_path, mj_plain, "a fox", steps=ZOOM)
    assert (jobs[ZOOM].status, jobs[ZOOM].modal) == (JobStatus.UNCERTAIN, "answered")
    jobs = await finish(tmp_path, mj_plain)
    assert jobs[ZOOM].status is JobStatus.UNCERTAIN
    jobs = await finish(tmp_path, mj_plain, resubmit_uncertain=True)
    assert (jobs[ZOOM].status, len(answers(plain))) == (JobStatus.SAVED, 1)
    assert len(sent(plain, "action")) == 2


async def test_an_answer_that_cannot_be_looked_up(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """While the task of a modal cannot be read, nothing is sent again, whatever is asked."""
    plain.fault("reset_before", endpoint="modal", times=1)
    await finish(tmp_path, mj_plain, "a fox", steps=ZOOM)
    fault = plain.fault("reply", on="fetch", times=None, status=403, body="no")
    jobs = await finish(tmp_path, mj_plain, resubmit_uncertain=True)
    assert (jobs[ZOOM].status, answers(plain)) == (JobStatus.UNCERTAIN, [])
    fault.remove()
    jobs = await finish(tmp_path, mj_plain, resubmit_uncertain=True)
    assert (jobs[ZOOM].status, len(answers(plain))) == (JobStatus.SAVED, 1)


@pytest.mark.parametrize("taken", [False, True])
async def test_a_run_that_was_left_while_answering(
    plain: Simulator, mj_plain: Client, tmp_path: Path, taken: bool
) -> None:
    """What is left on the wire is finished and noted, and the next run waits for that task."""
    plain.fault("slow_body", endpoint="modal", times=1, gap=0.001)
    async with Batch(tmp_path, client=mj_plain, steps=ZOOM, reconcile_after=0.0) as batch:
        batch.add("a fox")

        async def run() -> None:
            async for _ in batch.run():
                pass

        running = asyncio.ensure_future(run())
        endpoint = "modal" if taken else "action"
        await eventually(lambda: len(sent(plain, endpoint)) == 1 + (not taken))
        await leave(running)
    await finish(tmp_path, mj_plain)
    states = {job.step: job.status for job in await read_batch(tmp_path)}
    assert states == dict.fromkeys(["", "U1", ZOOM], JobStatus.SAVED)
    assert (len(answers(plain)), len(sent(plain, "action"))) == (1, 2)


# --- versions ----------------------------------------------------------------------------------


async def test_a_ledger_of_the_first_version(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A ledger without a version is read as it is, and opened: its finished jobs stay so."""
    await finish(tmp_path, mj_plain, "a fox", steps="U1")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as old, old:
        old.execute("ALTER TABLE jobs DROP COLUMN modal")
        old.execute("DROP TABLE ledger_version")
    assert [job.status for job in await read_batch(tmp_path)] == [JobStatus.SAVED] * 2
    assert await finish(tmp_path, mj_plain, "a fox", steps="U1") == {}
    jobs = await finish(tmp_path, mj_plain, steps=ZOOM)
    assert jobs == {}
    jobs = await finish(tmp_path, mj_plain, "a fox", steps=ZOOM)
    assert jobs[ZOOM].status is JobStatus.SAVED


async def test_a_ledger_of_a_later_version(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A ledger that a later version made is refused, and left as it is."""
    await finish(tmp_path, mj_plain, "a fox")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as later, later:
        later.execute("UPDATE ledger_version SET version = 99")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="version 99"):
            await finish(tmp_path, mj_plain)
        with pytest.raises(ConfigurationError, match="version 99"):
            await read_batch(tmp_path)
