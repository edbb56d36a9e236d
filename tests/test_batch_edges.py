"""Batches where it is easily got wrong: names that meet, counts after retries, doubled cancels."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from mjasync import AuthenticationError, Client, InvalidRequest, Task
from mjasync.batch import Batch, Job, JobStatus, Totals, _output, read_batch
from mjasync.batch._filenames import DEFAULT_NAME, Filenames
from mjasync.batch._ledger import tables as _ledger_tables
from mjasync.batch._planning import plan_jobs
from mjasync.batch._readers import read_rows
from mjasync.batch._rows import InputRow
from mjasync.errors import ConfigurationError
from mjasync.simulator import Simulator
from support.batches import BOUND, finish
from support.clients import Every, connect
from support.waiting import eventually


def digests(folder: Path, jobs: list[Job]) -> list[tuple[str, str]]:
    """Return what the files are, and what the ledger says they are."""
    return [
        (hashlib.sha256((folder / file.path).read_bytes()).hexdigest(), file.sha256)
        for job in jobs
        for file in job.files
    ]


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["{task_id}.{ext}", "picture.{ext}", "{key}-{slug}.{ext}"])
async def test_parts_never_share_a_name(
    sim: Simulator, mj: Client, tmp_path: Path, name: str
) -> None:
    """The four pictures of a grid are four files, whatever the template leaves out."""
    jobs = await finish(tmp_path, mj, "a fox", "an owl", images="split", name=name)
    found = digests(tmp_path, jobs)
    assert len({file.path for job in jobs for file in job.files}) == len(found) == 8
    assert all(is_ == told for is_, told in found)


async def test_many_jobs_do_not_hold_up_the_loop(
    mj_plain: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes time for each job of a batch, reading and listing them, is done in threads."""
    threads: list[threading.Thread] = []

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        return lambda given: (threads.append(threading.current_thread()), work(given))[1]

    await finish(tmp_path, mj_plain, "a fox", "an owl")
    monkeypatch.setattr(_ledger_tables, "decode_job", watched(_ledger_tables.decode_job))
    monkeypatch.setattr(_output, "_manifest_line", watched(_output._manifest_line))
    before = (tmp_path / "manifest.jsonl").read_bytes()
    async with Batch(tmp_path, client=mj_plain, **BOUND) as batch:
        await batch._output.write_manifest(await batch.jobs())
    assert len(await read_batch(tmp_path)) == 2
    assert (tmp_path / "manifest.jsonl").read_bytes() == before
    assert len(threads) == 6
    assert threading.main_thread() not in threads


def test_long_names_stay_apart() -> None:
    """What tells files apart is not cut off with the end of a long name."""
    names = Filenames(DEFAULT_NAME)
    (job,) = plan_jobs(InputRow("\U00020000" * 60), ())
    one, other = (attrs.evolve(job, key=key, task_id="1" * 19) for key in ("a" * 32, "b" * 32))
    paths = [names.for_job(one, part, "png") for part in (None, 1, 2, 3, 4)]
    paths += [Filenames(DEFAULT_NAME).for_job(other, part, "png") for part in (None, 1)]
    assert len({*paths}) == 7


async def test_files_of_others_are_left_alone(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A file that was in the folder before is never overwritten."""
    (tmp_path / "a-fox.png").write_text("mine")
    (job,) = await finish(tmp_path, mj_plain, "a fox", name="{slug}.{ext}")
    assert (tmp_path / "a-fox.png").read_text() == "mine"
    assert all(is_ == told for is_, told in digests(tmp_path, [job]))


# --- counts ------------------------------------------------------------------------------------


async def test_every_submission_counts(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A job that failed and was sent again was paid for twice, and the totals say so."""
    plain.fault("fail", reason="Internal error", times=2)
    for _ in range(3):
        await finish(tmp_path, mj_plain, "a fox", retry_failed=True)
    jobs = await read_batch(tmp_path)
    async with Batch(tmp_path, client=mj_plain) as batch:
        totals = await batch.totals()
    assert len(plain.submissions) == totals.submits == Totals.from_jobs(jobs).submits == 3


async def test_what_was_finished_and_lost_was_paid(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A job that had finished, was lost with its server and drawn again was paid for twice."""
    fault = plain.fault("reply", on="image", times=None, status=403, body="gone")
    await finish(tmp_path, mj_plain, "a fox")
    fault.remove()
    plain.forget()
    await finish(tmp_path, mj_plain)
    (job,) = await finish(tmp_path, mj_plain, retry_failed=True)
    assert (job.status, job.previous_charges) == (JobStatus.SAVED, (("IMAGINE", ""),))
    async with Batch(tmp_path, client=mj_plain) as batch:
        totals = await batch.totals()
    assert totals == Totals.from_jobs(await read_batch(tmp_path))
    assert (totals.submits, totals.charges) == (2, {("IMAGINE", ""): 2})


async def test_one_class_is_tried_again(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """The name of one error class means that class, as it does in a list."""
    plain.fault("fail", reason="Internal error", times=2)
    await finish(tmp_path, mj_plain, "a fox")
    for names in ("TaskFailed", ["TaskFailed"]):
        assert await finish(tmp_path, mj_plain, retry_failed="BannedPrompt") == []
        (job,) = await finish(tmp_path, mj_plain, retry_failed=names)
    assert job.status is JobStatus.SAVED


async def test_a_ledger_of_the_second_version(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """What it has counted stays counted, and it counts on."""
    await finish(tmp_path, mj_plain, "a fox")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as old, old:
        for column in ("taken", "earlier"):
            old.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        old.execute("UPDATE ledger_version SET version = 2")
    read = Totals.from_jobs(await read_batch(tmp_path))
    await finish(tmp_path, mj_plain, "an owl")
    async with Batch(tmp_path, client=mj_plain) as batch:
        totals = await batch.totals()
    assert (read.submits, totals.submits, totals.charges) == (1, 2, {("IMAGINE", ""): 2})


async def test_a_dry_run_leaves_out_what_waits_for_a_failure(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Steps of a job that failed are not paid for unless it is tried again."""
    then = ["U1>Zoom Out 2x", "U2"]
    plain.fault("fail", reason="Internal error")
    await finish(tmp_path, mj_plain, "a fox", steps=then)
    async with Batch(tmp_path, client=mj_plain, steps=[*then, "U3"]) as batch:
        batch.add("a fox")
        assert await batch.dry_run() == 0
        assert [job async for job in batch.run()] == []
    async with Batch(tmp_path, client=mj_plain, retry_failed=True) as batch:
        assert await batch.dry_run() == 5
        assert len([job async for job in batch.run()]) == 5


async def test_a_dry_run_that_fails_forgets_nothing(mj_plain: Client, tmp_path: Path) -> None:
    """What was added is still there after a row that makes no sense."""
    async with Batch(tmp_path, client=mj_plain) as batch:
        batch.add(name for name in ("a fox", "an owl"))
        batch.add("a { fox")
        batch.add("an elk")
        for _ in range(2):
            with pytest.raises(InvalidRequest):
                await batch.dry_run()
        assert len(batch._sources) == 3


# --- plans -------------------------------------------------------------------------------------


async def test_duplicates_are_counted(mj_plain: Client, tmp_path: Path) -> None:
    """Rows that ask for nothing new are counted, by a dry run and by a plan, and left out."""
    async with Batch(tmp_path, client=mj_plain, steps="U1>Custom Zoom[a {zoom}]") as batch:
        batch.add([{"prompt": "a fox", "zoom": zoom} for zoom in "112"])
        batch.add({"prompt": "a  fox", "zoom": "2"})
        assert (await batch.dry_run(), batch.duplicates) == (4, 2)
        assert (await batch.plan(), batch.duplicates) == (4, 2)


async def test_what_add_takes(mj_plain: Client, tmp_path: Path) -> None:
    """What cannot be added says so, with what can."""
    batch = Batch(tmp_path, client=mj_plain)
    for given in (5, None):
        with pytest.raises(InvalidRequest, match=r"add takes a prompt, .* not (int|NoneType)"):
            batch.add(given)  # type: ignore[arg-type]


async def test_a_plan_is_whole_or_not_at_all(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A row that makes no sense leaves nothing of the others to be paid for by the next run."""
    async with Batch(tmp_path, client=mj_plain) as batch:
        batch.add([*(f"fox {n}" for n in range(600)), "a { fox"])
        with pytest.raises(InvalidRequest):
            await batch.plan()
        assert await batch.jobs() == []


def test_columns_in_an_answer_are_asked_for() -> None:
    """Rows that differ in what they answer a modal with are different steps of one grid."""
    step = "U1>Custom Zoom[{prompt} --zoom {zoom}]"
    rows = [InputRow("a fox", variables={"zoom": zoom, "note": zoom}) for zoom in ("1.2", "1.8")]
    jobs = {job.key: job for row in rows for job in plan_jobs(row, ("U1", step))}
    assert [job.step for job in jobs.values()] == ["", "U1", step, step]


def test_a_field_that_is_too_long_is_told(tmp_path: Path) -> None:
    """A table that cannot be read is told with the place."""
    (tmp_path / "p.csv").write_text("prompt\na fox\n" + "x" * 200_000)
    with pytest.raises(ConfigurationError, match="line"):
        read_rows(tmp_path / "p.csv")


# --- functions ---------------------------------------------------------------------------------


async def test_a_function_may_return_a_task_not_sent_yet(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """It is submitted, noted, waited for and saved as one that was."""

    async def upscaled(task: Task) -> Task:
        return task.upscale(2)

    jobs = await finish(tmp_path, mj_plain, "a fox", steps=upscaled)
    assert [len(job.files) for job in jobs] == [1, 1]
    assert len(plain.submissions) == 2


# --- waiting and leaving -----------------------------------------------------------------------


async def test_a_task_that_cannot_be_read_has_not_failed(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A page instead of a task does not end a paid job: the next run attaches to it."""
    fault = plain.fault("reply", on="fetch", times=None, status=400, body="<html>oh no</html>")
    more = plain.fault("reply", on="list", times=None, status=404, body="<html>not here</html>")
    (job,) = await finish(tmp_path, mj_plain, "a fox")
    assert job.status is JobStatus.ACCEPTED
    assert job.error_class
    fault.remove()
    more.remove()
    (job,) = await finish(tmp_path, mj_plain, retry_failed=True)
    assert (job.status, len(plain.submissions)) == (JobStatus.SAVED, 1)


@pytest.mark.slow
async def test_leaving_twice_notes_what_is_on_the_wire(tmp_path: Path) -> None:
    """A second cancel does not cut off the answer to a submission either."""
    async with (
        Simulator(time_scale=0.001, draw=False, list_endpoint=False) as sim,
        connect(sim, schedule=Every(3600)) as mj,
    ):
        sim.fault("slow_body", on="submit", times=None, gap=0.01)

        async def run() -> None:
            async with Batch(tmp_path, client=mj) as batch:
                batch.add("a fox")
                async for _ in batch.run():
                    pass

        running = asyncio.ensure_future(run())
        await eventually(lambda: bool(sim.submissions))
        for _ in range(3):
            running.cancel()
            for _ in range(3):
                await asyncio.sleep(0)
        await asyncio.gather(running, return_exceptions=True)
        (job,) = await read_batch(tmp_path)
        assert (job.status, bool(job.task_id)) == (JobStatus.ACCEPTED, True)


async def test_a_dry_run_counts_the_answer_of_an_open_modal(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A modal that was opened and not answered is paid for by its answer."""
    then = "U1>Custom Zoom[{prompt} --zoom 1.8]"
    plain.fault("reply", endpoint="modal", times=None, status=401, body="no")
    with pytest.raises(AuthenticationError):
        await finish(tmp_path, mj_plain, "a fox", steps=then)
    async with Batch(tmp_path, client=mj_plain) as batch:
        assert await batch.forecast() == {then: 1}


async def test_rows_that_answer_differently_are_all_done(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """One grid is paid for, and an answer for each row, each saved in a file of its own."""
    rows = [{"prompt": "a fox", "zoom": zoom} for zoom in ("1.2", "1.8")]
    then = "U1>Custom Zoom[{prompt} --zoom {zoom}]"
    jobs = await finish(tmp_path, mj_plain, *rows, steps=then, name="{n}{step}.{ext}")
    answers = [s.body["prompt"] for s in plain.submissions if s.endpoint == "modal"]
    assert sorted(answers) == ["a fox --zoom 1.2", "a fox --zoom 1.8"]
    assert len({file.path for job in jobs for file in job.files}) == len(jobs) == 4


def test_lines_go_into_a_template(tmp_path: Path) -> None:
    """A line of text is `{prompt}`; a template without a place for it would draw it as it is."""
    file = tmp_path / "p.txt"
    file.write_text("a {red, blue} fox\nan owl\n")
    rows = read_rows(file, "{prompt} in snow")
    assert [row.prompt for row in rows] == ["a {red, blue} fox in snow", "an owl in snow"]
    with pytest.raises(ConfigurationError, match=r"only as \{prompt\}"):
        read_rows(file, "in snow")


@pytest.mark.parametrize("name", ["p.csv", "p.txt"])
def test_a_brace_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    """What only expanding finds out is told with the line, too."""
    (tmp_path / name).write_text(
        "Prompt\na fox\na { fox\n" if name == "p.csv" else "\na fox\na { fox\n"
    )
    with pytest.raises(ConfigurationError, match=r"line 3: There is a \{"):
        read_rows(tmp_path / name)


async def test_an_empty_list_is_never_believed(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Where nothing was ever accepted, a list without anything in it proves nothing."""
    plain.fault("reset_after", on="submit", times=None)
    plain.fault("reply", on="list", times=None, status=200, body="[]")
    for _ in range(2):
        (job,) = await finish(tmp_path, mj_plain, "a fox")
        assert (job.status, len(plain.submissions)) == (JobStatus.UNCERTAIN, 1)
