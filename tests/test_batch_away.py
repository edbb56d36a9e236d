"""A batch whose server cannot be reached: at its beginning, and later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from mjasync import ConnectionFailed
from mjasync.batch import Batch, Job, JobStatus
from mjasync.simulator import Simulator
from support.clients import EAGER, connect
from support.waiting import eventually


async def test_a_server_that_was_never_there(plain: Simulator, tmp_path: Path) -> None:
    """A run gives up as soon as a single submission would, and everything is still planned."""
    await plain.stop()
    async with connect(plain) as mj, Batch(tmp_path, client=mj) as batch:
        batch.add(f"fox {n}" for n in range(20))
        with pytest.raises(ConnectionFailed):
            [job async for job in batch.run()]
        assert {job.status for job in await batch.jobs()} == {JobStatus.PLANNED}
        assert (batch.stopped, batch.blocked_by) == ("ConnectionFailed", None)


async def test_a_server_that_goes_away_and_comes_back(plain: Simulator, tmp_path: Path) -> None:
    """Once it has taken something, it is waited for; meanwhile the batch says what holds it up."""
    jobs: list[Job] = []

    async def draw(batch: Batch) -> None:
        async for job in batch.run():
            jobs.append(job)
            if len(jobs) == 1:
                await plain.stop()

    patient = attrs.evolve(EAGER, read=EAGER.overloaded, poll=EAGER.overloaded)
    async with (
        connect(plain, retries=patient) as mj,
        Batch(tmp_path, client=mj, limit=1) as batch,
    ):
        batch.add(f"fox {n}" for n in range(20))
        assert batch.blocked_by is None
        drawing = asyncio.create_task(draw(batch))
        await eventually(lambda: batch.blocked_by is not None)
        error, seconds = batch.blocked_by or (None, 0.0)
        assert isinstance(error, ConnectionFailed)
        assert 0 < seconds <= 120
        await plain.start()
        await drawing
    on_the_wire = [job for job in jobs if job.status is JobStatus.UNCERTAIN]
    assert sum(job.status is JobStatus.SAVED for job in jobs) == 20 - len(on_the_wire) >= 19
    assert len({sent.prompt for sent in plain.submissions}) == len(plain.submissions)
