"""Front ends that lose the answer to a job that was taken: each is a real program.

The server behind takes the job, and the front end answers for it with a page of its own (502, 503,
504), or passes on half of the answer. What was paid is read from the simulator's record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mjasync import Client, SubmitUncertain
from mjasync.batch import Batch, JobStatus
from mjasync.simulator import Simulator
from support.clients import connect
from support.front_ends import FRONT_ENDS, in_front_of

pytestmark = pytest.mark.slow

LOSSES = ["reset_after", "silent_after", "truncated"]
PROMPTS = [f"fox {number}" for number in range(5)]


@pytest.fixture(params=FRONT_ENDS)
def front_end(request: pytest.FixtureRequest) -> str:
    """A front end that is installed here."""
    name: str = request.param
    if FRONT_ENDS[name].path is None:
        pytest.skip(f"{name} is not installed")
    return name


@asynccontextmanager
async def behind(front_end: str, **options: object) -> AsyncIterator[tuple[Simulator, Client]]:
    """A Plus server whose jobs end at once, and a client that reaches it by a front end alone."""
    settings = {"time_scale": 0, "draw": False, "token": "sim-token", **options}
    async with (
        Simulator("plus", **settings) as sim,  # type: ignore[arg-type]
        in_front_of(sim.url, front_end) as url,
        connect(sim, base_url=url, reconcile=None) as mj,
    ):
        yield sim, mj


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_lost_answer_is_uncertain_and_sent_once(front_end: str, loss: str) -> None:
    """Whatever a front end says for a job that was taken, the job is not sent again."""
    async with behind(front_end, list_endpoint=False) as (sim, mj):
        sim.fault(loss, on="submit", times=None)
        with pytest.raises(SubmitUncertain) as caught:
            await mj.imagine("a fox")
        assert not caught.value.retryable
        assert [paid.prompt for paid in sim.submissions] == ["a fox"]


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_lost_answer_on_a_used_connection(front_end: str, loss: str) -> None:
    """HAProxy answers nothing there: that is no leave to send the job again, either."""
    async with behind(front_end, list_endpoint=False) as (sim, mj):
        await mj.imagine("a fox").submit()
        sim.fault(loss, on="submit", times=None)
        with pytest.raises(SubmitUncertain):
            await mj.imagine("an owl").submit()
        assert [paid.prompt for paid in sim.submissions] == ["a fox", "an owl"]


async def test_a_lost_job_is_found_in_the_list(front_end: str) -> None:
    """Where the server has a list, the job is looked up there by its state, and waited for."""
    async with behind(front_end) as (sim, mj):
        sim.fault("reset_after", on="submit")
        task = await mj.imagine("a fox")
        assert [paid.task_id for paid in sim.submissions] == [task.id]


@pytest.mark.parametrize("has_list", [True, False])
async def test_a_batch_pays_each_prompt_once(
    front_end: str,
    has_list: bool,
    tmp_path: Path,
) -> None:
    """However often a batch is run again, no prompt is paid twice, and the ledger says the same."""
    async with behind(front_end, list_endpoint=has_list) as (sim, mj):
        sim.fault("reset_after", on="submit", times=3)
        for _ in range(3):
            async with Batch(tmp_path, client=mj, retry_failed=True, reconcile_after=0) as batch:
                batch.add(PROMPTS)
                async for _ in batch.run():
                    pass
                jobs = await batch.jobs()
        paid = Counter(submission.prompt for submission in sim.submissions)
        assert max(paid.values()) == 1
        uncertain = [job for job in jobs if job.status is JobStatus.UNCERTAIN]
        saved = [job for job in jobs if job.status is JobStatus.SAVED]
        assert len(uncertain) + len(saved) == len(jobs) == len(PROMPTS)
        assert len(uncertain) == (0 if has_list else 3)
        assert {job.prompt for job in saved} <= set(paid)
