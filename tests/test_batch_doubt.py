"""Batches in doubt: a brake on uncertainty, lost answers, clocks that jump, lists that are old."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web

from mjasync import (
    Client,
    Clock,
    MJError,
    Retries,
    RetryPolicy,
    SubmitUncertain,
    UnsupportedEndpoint,
)
from mjasync.batch import Batch, Job, JobStatus, read_batch
from mjasync.simulator import Simulator
from support.batches import finish, states
from support.clients import EAGER, QUICK, connect
from support.loopback import serving
from support.sent_requests import submits
from support.waiting import eventually

SETTLE = 60.0
LONGEST = 600.0  # what a wait for probes or for settling may be; those for tasks are longer
PAGE = "<html><title>503 Backend fetch failed</title></html>"


class QuickClock(Clock):
    """A clock on which some seconds or minutes are over at once, and whose wall a test may set."""

    def __init__(self, boot: str = "one start of the machine") -> None:
        self._leapt = 5000.0
        self.ahead = 0.0
        self.boot = boot
        self.waits: list[float] = []

    def now(self) -> float:
        """Seconds since whenever."""
        return super().now() + self._leapt

    def wall(self) -> float:
        """Seconds since the epoch, as somebody has set them."""
        return super().wall() + self._leapt + self.ahead

    def boot_id(self) -> str:
        """Which start of the machine this is."""
        return self.boot

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` have passed."""
        leaps = 2 <= seconds <= LONGEST
        if leaps and seconds > SETTLE / 2:
            self.waits.append(seconds)
        self._leapt += seconds if leaps else 0.0
        await asyncio.sleep(0 if leaps else max(0.0, seconds))


# --- the brake ---------------------------------------------------------------------------------


@pytest.fixture
async def blind() -> AsyncIterator[Simulator]:
    """A server without a list, where what is in doubt stays so."""
    async with Simulator(time_scale=0, draw=False, list_endpoint=False, token="sim-token") as sim:
        yield sim


LOST = [
    {"status": 502, "body": "upstream is down"},
    {"status": 500, "body": ""},
    {"status": 504, "body": PAGE},
    {"status": 524, "body": "error code: 524"},
    {"status": 408, "body": ""},
]


@pytest.mark.parametrize("reply", LOST, ids=lambda reply: str(reply["status"]))
async def test_a_few_lost_answers_stop_the_sending(
    blind: Simulator, tmp_path: Path, reply: dict[str, Any]
) -> None:
    """After three in a row only what was on the wire goes out; it says why, and `stop` ends it."""
    blind.fault("reply", on="submit", times=None, **reply)
    busy = RetryPolicy(
        max_attempts=1000, initial_delay=3600.0, max_delay=3600.0, max_elapsed=10.0**6
    )
    async with (
        connect(blind, retries=attrs.evolve(EAGER, overloaded=busy)) as mj,
        Batch(tmp_path, client=mj, limit=8, gallery=False, reconcile_after=0.0) as batch,
    ):
        batch.add(f"fox {n}" for n in range(40))
        running = asyncio.ensure_future(_all(batch))
        await eventually(lambda: batch.blocked_by is not None and not batch.active)
        error, seconds = batch.blocked_by or (None, 0.0)
        assert isinstance(error, SubmitUncertain)
        assert seconds > 0
        assert "submissions in a row" in batch.uncertainty
        assert str(error) in batch.uncertainty
        if reply["body"] == "upstream is down":
            assert "upstream is down" in batch.uncertainty
        assert submits(blind) <= 3 + 8
        batch.stop()
        jobs = await running
        assert states(jobs) == {"uncertain": submits(blind)}
        assert states(await batch.jobs())["planned"] == 40 - submits(blind)


async def _all(batch: Batch) -> list[Job]:
    return [job async for job in batch.run()]


@pytest.mark.slow
@pytest.mark.parametrize("lost", [3, 14])
async def test_it_goes_on_by_itself(blind: Simulator, tmp_path: Path, lost: int) -> None:
    """Single probes go out until one is accepted; then everything else is done."""
    blind.fault("reset_before", on="submit", times=lost)
    clock = QuickClock()
    async with connect(blind, clock=clock, schedule=QUICK) as mj:
        jobs = await finish(tmp_path, mj, *(f"fox {n}" for n in range(40)), limit=2)
    assert states(jobs) == {"saved": 40 - lost, "uncertain": lost}
    assert len(blind.submissions) == 40 - lost


async def test_probes_come_ever_more_slowly(blind: Simulator, tmp_path: Path) -> None:
    """With nothing confirmed for as long as `busy` allows, the run ends with the last error."""
    blind.fault("reply", on="submit", times=None, status=502, body="upstream is down")
    patient = Retries(read=EAGER.read, poll=EAGER.poll)
    async with connect(blind, clock=QuickClock(), schedule=QUICK, retries=patient) as mj:
        async with Batch(tmp_path, client=mj, limit=1, gallery=False) as batch:
            batch.add(f"fox {n}" for n in range(400))
            with pytest.raises(SubmitUncertain):
                await _all(batch)
            assert batch.stopped == "SubmitUncertain"
        assert submits(blind) < 3 + 30  # in an hour


async def test_so_many_doubts_and_no_more(blind: Simulator, tmp_path: Path) -> None:
    """`max_uncertain` ends a run without an error; one that was looked up is not counted."""
    blind.fault("reset_after", on="submit", times=None)
    async with (
        connect(blind) as mj,
        Batch(tmp_path, client=mj, limit=1, max_uncertain=2, gallery=False) as batch,
    ):
        batch.add(f"fox {n}" for n in range(9))
        assert states(await _all(batch)) == {"uncertain": 2}
        assert (batch.stopped, submits(blind)) == ("max_uncertain", 2)


async def test_what_is_found_is_no_doubt(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Where the list has what was lost, every answer may be lost and each job is paid once."""
    plain.fault("reset_after", on="submit", times=None)
    prompts = [f"fox {n}" for n in range(12)]
    jobs = await finish(tmp_path, mj_plain, *prompts, max_uncertain=9, limit=3)
    assert states(jobs) == {"saved": 12}
    assert len(plain.submissions) == 12


async def test_answers_to_modals_are_held_back_too(blind: Simulator, tmp_path: Path) -> None:
    """While the circuit is open no modal is answered: its press waits, and costs nothing."""
    then = "U1>Custom Zoom[{prompt} --zoom 1.8]"
    fault = blind.fault("reply", endpoint="modal", times=None, status=502, body="down")
    prompts = [f"fox {n}" for n in range(4)]
    async with connect(blind) as mj:
        jobs = await finish(tmp_path, mj, *prompts, steps=then, max_uncertain=4)
        assert states(jobs)["uncertain"] == fault.hits == 4
        fault.remove()
        jobs = await finish(tmp_path, mj, resubmit_uncertain=True)
    assert states(jobs) == {"saved": 4}


# --- front ends --------------------------------------------------------------------------------


@asynccontextmanager
async def front_end(sim: Simulator) -> AsyncIterator[Front]:
    """Stand before a server."""
    front = Front(sim)
    async with serving(front.answer) as front.url, aiohttp.ClientSession() as front.session:
        yield front


class Front:
    """Hands requests on; loses the answers to submissions, or keeps an old list."""

    def __init__(self, sim: Simulator) -> None:
        self.sim, self.url = sim, ""
        self.lost: dict[str, Any] | None = None
        self.lists_fail = False
        self.old_list: tuple[bytes, str | None] | None = None
        self.session: aiohttp.ClientSession

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        body = await request.read()
        is_list = request.path.endswith("/task/list")
        if is_list and self.lists_fail:
            return web.Response(status=503, text=PAGE, content_type="text/html")
        if is_list and self.old_list is not None:
            text, date = self.old_list
            headers = {"Date": date} if date else {}
            return web.Response(body=text, content_type="application/json", headers=headers)
        async with self.session.request(
            request.method,
            self.sim.url + request.path_qs,
            data=body or None,
            headers={
                k: v
                for k, v in request.headers.items()
                if k.lower() in {"content-type", "mj-api-secret", "accept"}
            },
        ) as reply:
            content = await reply.read()
        if "/submit/" in request.path and self.lost is not None:
            return web.Response(**self.lost)
        return web.Response(
            status=reply.status, body=content, headers={"Content-Type": reply.content_type}
        )


TAKEN = [
    {"status": 503, "text": "first byte timeout", "headers": {"Retry-After": "0"}},
    {"status": 503, "text": PAGE, "content_type": "text/html"},
    {"status": 503, "text": ""},
    {"status": 403, "text": ""},
    {"status": 499, "text": ""},
    {"status": 200, "text": PAGE, "content_type": "text/html"},
]


@pytest.mark.parametrize("lost", TAKEN, ids=lambda lost: f"{lost['status']} {lost['text'][:9]}")
@pytest.mark.parametrize("lists", [True, False], ids=["list", "no list"])
async def test_a_front_end_that_loses_every_answer(
    plain: Simulator, tmp_path: Path, lost: dict[str, Any], lists: bool
) -> None:
    """Five jobs are paid five times at most, run after run, and the ledger knows or doubts each."""
    async with front_end(plain) as front:
        front.lost, front.lists_fail = lost, not lists
        async with connect(plain, base_url=front.url) as mj:
            for _ in range(3):
                await finish(tmp_path, mj, *(f"fox {n}" for n in range(5)), max_uncertain=9)
    paid = Counter(sent.prompt for sent in plain.submissions)
    assert set(paid.values()) == {1}
    found = states(await read_batch(tmp_path))
    assert found["saved"] + found["uncertain"] + found["planned"] == 5
    assert found["saved"] + found["uncertain"] == len(plain.submissions)
    if lists:
        assert found == {"saved": 5}


async def test_a_page_for_what_was_taken_before(plain: Simulator, tmp_path: Path) -> None:
    """A 404 of a server that has taken jobs ends the run, and pays no job twice."""
    async with front_end(plain) as front, connect(plain, base_url=front.url) as mj:
        await finish(tmp_path, mj, "an owl")
        front.lost = {"status": 404, "text": "<html>not found</html>", "content_type": "text/html"}
        for _ in range(2):
            with pytest.raises(UnsupportedEndpoint):
                await finish(tmp_path, mj, "a fox", "an elk", limit=1)
        front.lost = None
        await finish(tmp_path, mj)
    assert sorted(sent.prompt for sent in plain.submissions) == ["a fox", "an elk", "an owl"]
    assert states(await read_batch(tmp_path)) == {"saved": 3}


@pytest.mark.parametrize("date", ["Fri, 27 Nov 2015 00:00:00 GMT", None], ids=["dated", "fresh"])
async def test_an_old_list_proves_nothing(
    plain: Simulator, tmp_path: Path, date: str | None
) -> None:
    """A list that is older than what was accepted since is not believed about what it lacks."""
    async with front_end(plain) as front, connect(plain, base_url=front.url) as mj:
        await finish(tmp_path, mj, "an owl")
        async with front.session.get(
            f"{plain.url}/mj/task/list", headers={"mj-api-secret": "sim-token"}
        ) as reply:
            front.old_list = await reply.read(), date
        if date is None:  # a cache that makes up its dates: only what came since tells
            await finish(tmp_path, mj, "an elk")
        front.lost = TAKEN[0]
        (job,) = await finish(tmp_path, mj, "a fox")
        assert job.status is JobStatus.UNCERTAIN
        (job,) = await finish(tmp_path, mj)
        assert job.status is JobStatus.UNCERTAIN
        front.old_list = front.lost = None
        (job,) = await finish(tmp_path, mj)
    assert job.status is JobStatus.SAVED
    assert Counter(sent.prompt for sent in plain.submissions)["a fox"] == 1


async def test_what_others_prove_later(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """A first submission that never arrived is sent again once others show what the list holds."""
    plain.fault("reset_before", on="submit", times=1)
    jobs = await finish(tmp_path, mj_plain, *(f"fox {n}" for n in range(4)), limit=1)
    assert states(jobs) == {"saved": 4}
    assert len(plain.submissions) == 4


# --- clocks ------------------------------------------------------------------------------------


DAY = 86400.0


@pytest.mark.parametrize("jump", [-DAY, DAY], ids=["back", "forward"])
@pytest.mark.parametrize("boot", ["one start of the machine", "another"])
async def test_settling_is_counted_without_the_wall(
    plain: Simulator, tmp_path: Path, jump: float, boot: str
) -> None:
    """A submission that is listed late is not sent again, wherever the wall clock is set."""
    first, second = QuickClock(), QuickClock(boot)
    async with connect(plain, clock=first, schedule=QUICK) as mj:
        await finish(tmp_path, mj, "an owl")
        plain.fault("reset_before", on="submit", times=1)
        fault = plain.fault("reply", on="list", times=None, status=500)
        (job,) = await finish(tmp_path, mj, "a fox")
        assert job.status is JobStatus.UNCERTAIN
        fault.remove()
    second.ahead = jump
    async with connect(plain, clock=second, schedule=QUICK) as mj:
        (job,) = await finish(tmp_path, mj, reconcile_after=SETTLE)
    assert job.status is JobStatus.SAVED
    (wait,) = second.waits
    assert SETTLE / 2 < wait <= SETTLE


async def test_the_wall_is_set_while_it_settles(plain: Simulator, tmp_path: Path) -> None:
    """A wall clock that is set back or forward during a run changes neither wait nor verdict."""
    clock = QuickClock()
    async with connect(plain, clock=clock, schedule=QUICK) as mj:
        await finish(tmp_path, mj, "an owl")
        for jump in (DAY, -2 * DAY):
            plain.fault("reset_before", on="submit", times=1)
            clock.ahead += jump
            (job,) = await finish(tmp_path, mj, f"fox {jump}", reconcile_after=SETTLE)
            assert (job.status, job.attempts) == (JobStatus.SAVED, 2)
    assert len(plain.submissions) == 3
    assert all(wait <= SETTLE for wait in clock.waits)


async def test_a_ledger_of_the_third_version(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """What it noted is numbered in its order, and what was in doubt is settled anew."""
    await finish(tmp_path, mj_plain, "an owl")
    fault = plain.fault("reply", on="list", times=None, status=500)
    plain.fault("reset_before", on="submit", times=1)
    await finish(tmp_path, mj_plain, "a fox")
    fault.remove()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as old, old:
        for column in ("sent_boot", "sent_uptime", "sent_n", "accepted_n"):
            old.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        for table in ("ledger_events", "ledger_owner"):
            old.execute(f"DROP TABLE {table}")
        old.execute("UPDATE ledger_version SET version = 3")
    assert states(await read_batch(tmp_path)) == {"saved": 1, "uncertain": 1}
    async with Batch(tmp_path, client=mj_plain) as batch:
        owl, fox = await batch.jobs()
    assert (owl.submitting_sequence, owl.accepted_sequence, fox.submitting_sequence) == (1, 2, 3)
    (job,) = await finish(tmp_path, mj_plain)
    assert (job.status, len(plain.submissions)) == (JobStatus.SAVED, 2)


# --- stopping ----------------------------------------------------------------------------------


async def test_stop_does_not_wait_for_what_settles(plain: Simulator, tmp_path: Path) -> None:
    """With nothing on the wire a run that is stopped ends at once; the next one looks again."""
    async with connect(plain) as mj:
        await finish(tmp_path, mj, "an owl")
        plain.fault("reset_before", on="submit", times=1)
        async with Batch(tmp_path, client=mj, reconcile_after=3600.0, gallery=False) as batch:
            batch.add("a fox")
            running = asyncio.ensure_future(_all(batch))
            await eventually(
                lambda: (
                    any(request.endpoint == "list" for request in plain.requests)
                    and [job.status for job, _ in batch.active] == [JobStatus.UNCERTAIN]
                )
            )
            batch.stop()
            (job,) = await running
        assert job.status is JobStatus.SUBMITTING
        (job,) = await finish(tmp_path, mj)
        assert (job.status, len(plain.submissions)) == (JobStatus.SAVED, 2)


async def test_errors_are_ours(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """What ends a run is an MJError."""
    plain.fault("reply", on="submit", times=None, status=401, body="no")
    with pytest.raises(MJError):
        await finish(tmp_path, mj_plain, "a fox")
