"""When to look: the schedule, what it learns of jobs and gateways, and webhooks as hints."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import detection
from mjasync import (
    Client,
    PollSchedule,
    PollState,
    Retries,
    RetryPolicy,
    Schedule,
    Task,
    TaskInfo,
    TaskStatus,
)
from mjasync._http.api import ServerApi
from mjasync._polling.estimates import Durations, GatewayRefreshCycle
from mjasync._protocol import decoding
from mjasync.simulator import DIALECTS, Simulator
from support.clients import Every, connect
from support.clock import FakeClock
from support.loopback import serving
from support.sent_requests import count_sent
from support.waiting import follow, leave

# --- the schedule: a pure function -------------------------------------------------------------

SECONDS = st.floats(min_value=0, max_value=1e6)
MAYBE_SECONDS = st.none() | SECONDS


@st.composite
def looks(draw: st.DrawFn) -> PollState:
    """Anything that can be known of a task when its next look is planned."""
    info = TaskInfo(
        id="1",
        status=TaskStatus(draw(st.sampled_from([*TaskStatus, "POLISHING"]))),
        action=draw(st.sampled_from(["", "IMAGINE", "UPSCALE", "DESCRIBE", "VIDEO", "what?"])),
        progress=draw(st.none() | st.integers(0, 100)),
        mode=draw(st.sampled_from([None, "RELAX", "FAST", "TURBO", "?"])),
    )
    watched = draw(SECONDS)
    return PollState(
        info=info,
        waited=watched,
        since_change=draw(st.floats(min_value=0, max_value=watched)),
        since_start=draw(st.none() | st.floats(min_value=0, max_value=watched)),
        speed=draw(st.sampled_from([None, "relax", "fast", "turbo"])),
        typical_duration=draw(st.none() | st.floats(min_value=1e-3, max_value=1e6)),
    )


@given(looks(), st.floats(0.01, 10), st.floats(0.01, 10), st.floats(1e-3, 100))
def test_the_schedule_keeps_to_its_bounds(
    look: PollState, one: float, other: float, price: float
) -> None:
    """Whatever is known of a task: never later than `longest`, and nothing but a wait."""
    shortest, longest = sorted([one, other])
    schedule = Schedule(min_interval=shortest, max_interval=longest, seconds_per_poll=price)
    wait = schedule.next_delay(look)
    assert 0 < wait <= longest
    assert wait == schedule.next_delay(look)
    early = math.inf if look.typical_duration else max(schedule.initial_delay, look.waited)
    assert wait >= min(shortest, early)


@given(looks(), MAYBE_SECONDS, MAYBE_SECONDS)
def test_a_net_is_never_wider_than_it_says(
    look: PollState, refresh: float | None, hinted: float | None
) -> None:
    """Gateways and webhooks let a look wait for `net` times `longest` at most."""
    schedule = Schedule()
    wait = schedule.next_delay(
        attrs.evolve(look, gateway_refresh_in=refresh, webhook_pending=hinted)
    )
    assert 0 < wait <= schedule.idle_factor * schedule.max_interval


@given(looks(), st.floats(0.01, 10), st.floats(0.01, 10))
def test_a_dearer_look_comes_no_sooner(look: PollState, one: float, other: float) -> None:
    """The price of a look buys delay, monotonically."""
    cheap, dear = (
        Schedule(seconds_per_poll=price).next_delay(look) for price in sorted([one, other])
    )
    assert cheap <= dear


@given(looks())
def test_a_task_that_goes_nowhere_is_looked_at_as_rarely_as_can_be(look: PollState) -> None:
    """A job that outlives every estimate is looked at every `longest` seconds in the end."""
    schedule = Schedule()
    long_since = attrs.evolve(look, waited=1e6, since_change=1e6, since_start=None)
    assert schedule.next_delay(long_since) == schedule.max_interval


def waits(**facts: Any) -> float:  # noqa: ANN401 - what TaskInfo takes
    """Return the default schedule's wait for a job that has been watched for 20 seconds."""
    about = {"waited": 20.0, "since_change": 0.0}
    for name in attrs.fields_dict(PollState).keys() & facts.keys():
        about[name] = facts.pop(name)
    return Schedule().next_delay(PollState(info=TaskInfo(id="1", **facts), **about))


def test_the_schedule_looks_more_often_the_nearer_the_end() -> None:
    """The further along a job is, the sooner the next look."""
    progress = [waits(status=TaskStatus.IN_PROGRESS, progress=done) for done in range(1, 101)]
    assert progress == sorted(progress, reverse=True)
    assert (progress[0], progress[-1]) == (Schedule().max_interval, Schedule().min_interval)


def test_the_schedule_knows_what_jobs_take() -> None:
    """Quick kinds of job, and quick modes, are looked at sooner; the task's own mode decides."""
    assert waits(action="UPSCALE") < waits(action="IMAGINE")
    assert waits(mode="TURBO") < waits(mode="FAST")
    assert waits(speed="turbo") < waits()
    assert waits(speed="turbo", mode="FAST") == waits(mode="FAST")
    assert waits(mode="?") == waits()
    assert waits(waited=0.0) < waits()


def test_what_was_learnt_counts_more_than_what_is_usual() -> None:
    """With a typical duration the kind of job does not matter, and there are no early looks."""
    assert waits(typical_duration=20.0) == waits(
        typical_duration=20.0, action="VIDEO", mode="RELAX"
    )
    assert waits(typical_duration=20.0) < waits(typical_duration=50.0) == Schedule().max_interval
    assert waits(typical_duration=50.0, waited=0.0) == Schedule().max_interval > waits(waited=0.0)


def test_the_time_in_the_queue_does_not_foretell_the_run() -> None:
    """Progress is measured from when the job ran, if that was seen."""
    nearly = {"status": TaskStatus.IN_PROGRESS, "progress": 80, "waited": 600.0}
    assert waits(**nearly, since_start=20.0) < waits(**nearly)


def test_a_task_found_midway_is_not_rushed() -> None:
    """Its progress tells how much is left, but not how fast it goes before that has changed."""
    found = {"status": TaskStatus.IN_PROGRESS, "waited": 10.0, "since_change": 10.0}
    assert waits(**found, progress=95) < waits(**found, progress=46) == Schedule().max_interval


@pytest.mark.slow
def test_the_schedule_beats_a_fixed_interval_in_every_model() -> None:
    """At equal polls the delay is a quarter less at least; a gateway takes a quarter fewer polls.

    A simulation in virtual time with seeds of its own: nothing here depends on the machine.
    """
    rows = detection.detection(80)
    assert len(rows) == 10
    assert [row.name for row in rows if row.verdict != "met"] == []


# --- what jobs take ----------------------------------------------------------------------------


@given(st.lists(st.floats(0.01, 1e5), min_size=3, max_size=50))
def test_the_typical_duration_is_among_those_seen(seconds: list[float]) -> None:
    """What is called typical lies between the shortest and the longest."""
    durations = Durations()
    for one in seconds:
        durations.record("IMAGINE", "fast", one)
    typical = durations.estimate("IMAGINE", "fast")
    assert typical is not None
    assert min(seconds) * 0.999 <= typical <= max(seconds) * 1.001


def test_each_kind_of_job_is_learnt_apart() -> None:
    """Nothing is said of a kind that was seen too little, whatever others took."""
    durations = Durations()
    for _ in range(3):
        assert durations.estimate("IMAGINE", "fast") is None
        durations.record("IMAGINE", "fast", 40.0)
    assert durations.estimate("IMAGINE", "fast") == pytest.approx(40.0)
    assert durations.estimate("IMAGINE", "relax") is durations.estimate("UPSCALE", "fast") is None


def test_a_server_that_grew_slower_is_learnt_anew() -> None:
    """What is long past counts ever less."""
    durations = Durations()
    for seconds in [10.0] * 100 + [100.0] * 100:
        durations.record("IMAGINE", None, seconds)
    assert durations.estimate("IMAGINE", None) == pytest.approx(100.0, rel=0.05)


# --- gateways that refresh every so often ------------------------------------------------------


def after(refreshes: GatewayRefreshCycle, *windows: tuple[float, float]) -> GatewayRefreshCycle:
    """Have some changes come to light."""
    for window in windows:
        refreshes.record_change(*window)
    return refreshes


def test_a_refresh_is_foretold_after_two() -> None:
    """One change tells nothing; a second a period later tells when the third will come."""
    refreshes = after(GatewayRefreshCycle(15.0), (100, 102))
    assert refreshes.next_in(103) is None
    after(refreshes, (116, 118))
    assert 130 <= 118 + (refreshes.next_in(118) or 0) <= 133
    assert refreshes.next_in(150) is None


def test_what_tells_nothing_new_of_a_refresh_is_passed_over() -> None:
    """The same refresh, seen by another task, can only narrow the moment down; an older one not."""
    known = [(100, 102), (116, 118)]
    narrow = after(GatewayRefreshCycle(15.0), *known, (117, 120), (90, 99), (90, 117.5))
    assert narrow.next_in(118) == after(GatewayRefreshCycle(15.0), *known, (117, 117.5)).next_in(
        118
    )
    assert 118 + (narrow.next_in(118) or 0) == pytest.approx(132.5)


def test_what_changes_in_between_is_no_refresh() -> None:
    """A server that changes twice within a period is never taken for one that cannot."""
    refreshes = after(GatewayRefreshCycle(15.0), (100, 102), (116, 118), (123, 125))
    assert refreshes.next_in(126) is None
    assert after(refreshes, (131, 133), (146, 148)).next_in(149) is None


@given(
    st.floats(0, 15),
    st.lists(st.floats(0.1, 5), min_size=60, max_size=60),
    st.floats(0, 0.5),
)
def test_the_refreshes_of_a_gateway_are_found(
    phase: float, pauses: list[float], drift: float
) -> None:
    """From looks at any moments a refresh is foretold, soon after it has come to light."""
    ticks = list(itertools.accumulate([phase] + [15.0 + drift] * 20))
    refreshes, before = GatewayRefreshCycle(15.0), 0.0
    for now in itertools.accumulate(pauses):
        seen = [tick for tick in ticks if before < tick <= now]
        if seen:
            refreshes.record_change(before, now)
        foretold = refreshes.next_in(now)
        if foretold:
            coming = next(tick for tick in ticks if tick > now)
            assert coming - 3 <= now + foretold <= coming + 5
        before = now


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_only_rows_of_a_gateway_are_refreshed(dialect: str) -> None:
    """The shape of a task tells whether its server looks at another now and then."""
    async with Simulator(dialect=dialect, time_scale=0, draw=False) as sim, connect(sim) as mj:
        task = await mj.imagine("a fox").submit()
        info = (await mj.fetch([task.id]))[task.id]
        known = dict.fromkeys(("new-api", "new-api-2025", "one-hub", "one-api"), 15.0)
        assert decoding.gateway_refresh_period(info.raw) == known.get(dialect)


GATEWAY_ROW = {"id": "1", "action": "IMAGINE", "maskBase64": ""}
SERVER_ROW = {"id": "1", "action": "IMAGINE"}


class Stage:
    """What a simulator answers to every fetch, until it is set again."""

    def __init__(self, sim: Simulator, row: Mapping[str, str]) -> None:
        self.sim, self.row = sim, row
        self.fault = sim.fault("reply", on="fetch", status=204)

    def show(self, progress: str) -> None:
        """Answer with the task in progress."""
        self.answer(status=200, body={**self.row, "status": "IN_PROGRESS", "progress": progress})

    def answer(self, **reply: object) -> None:
        """Answer with whatever."""
        self.fault.remove()
        self.fault = self.sim.fault("reply", on="fetch", times=None, **reply)


async def watched(clock: FakeClock, row: Mapping[str, str], every: int) -> tuple[int, float]:
    """Watch a task of four minutes whose progress changes every so many seconds.

    Returns:
        How often it was looked at, and the mean seconds until a change was noticed.
    """
    late: list[float] = []
    async with (
        Simulator(time_scale=1e9) as sim,
        connect(sim, clock=clock, schedule=Schedule()) as mj,
    ):
        task, stage = mj.task("1"), Stage(sim, row)
        begun = clock.now()
        waiting = follow(task, lambda _: late.append((clock.now() - begun) % every))
        for second in range(240):
            if second % every == 0:
                stage.show(f"{second // every}%")
            await clock.advance(1, mj)
        await leave(waiting)
        return count_sent(sim, "fetch"), sum(late) / len(late)


async def test_a_gateway_is_not_asked_for_what_it_cannot_know() -> None:
    """Rows that change every 15 s are looked at when they do: fewer looks, and none too late."""
    looks, late = await watched(FakeClock(), GATEWAY_ROW, every=15)
    usual_looks, usually_late = await watched(FakeClock(), SERVER_ROW, every=15)
    assert looks < 0.6 * usual_looks
    assert late < usually_late


async def test_a_gateway_that_keeps_up_is_looked_at_as_any_server() -> None:
    """Rows of a gateway's shape that change more often than every 15 s are no reason to wait."""
    gateway, server = [
        await watched(FakeClock(), row, every=4) for row in (GATEWAY_ROW, SERVER_ROW)
    ]
    assert gateway == server


# --- what the watcher tells the schedule -------------------------------------------------------


@attrs.frozen
class Noting:
    """A schedule that keeps what it was told."""

    seconds: float
    looks: list[PollState] = attrs.field(factory=list)
    coalesce: float = 0.5

    def next_delay(self, state: PollState) -> float:
        """Seconds until the next look."""
        self.looks.append(state)
        return self.seconds


async def test_the_client_learns_what_jobs_take(plain: Simulator, clock: FakeClock) -> None:
    """After three jobs the schedule is told what such jobs take here, and of no other kind."""
    noting = Noting(5)
    async with connect(plain, clock=clock, schedule=noting) as mj:
        for _ in range(4):
            task = await mj.imagine("a fox").submit()
            body = {"id": task.id, "action": "IMAGINE", "status": "IN_PROGRESS"}
            plain.fault("reply", on="fetch", times=2, status=200, body=body)
            waiting = asyncio.ensure_future(task.wait())
            await clock.until_done(waiting, mj)
        assert [look.typical_duration for look in noting.looks[:9]] == [None] * 9
        assert [look.typical_duration for look in noting.looks[9:]] == [pytest.approx(15.0)] * 3
        assert [look.since_start for look in noting.looks[9:]] == [None, 0.0, 5.0]


async def test_the_client_learns_by_the_speed_it_asks_for_and_the_one_it_gets(
    plain: Simulator, clock: FakeClock
) -> None:
    """Jobs of a speed that is not the one asked for are foretold before and after they tell it."""
    noting = Noting(5)
    async with connect(plain, clock=clock, schedule=noting, speed="fast") as mj:
        for _ in range(4):
            task = await mj.imagine("a fox").submit()
            body = {"id": task.id, "action": "IMAGINE", "status": "IN_PROGRESS", "mode": "RELAX"}
            plain.fault("reply", on="fetch", times=2, status=200, body=body)
            plain.fault("reply", on="fetch", status=200, body={**body, "status": "SUCCESS"})
            waiting = asyncio.ensure_future(task.wait())
            await clock.until_done(waiting, mj)
        assert [look.info.mode for look in noting.looks[9:]] == [None, "RELAX", "RELAX"]
        assert [look.typical_duration for look in noting.looks[9:]] == [pytest.approx(15.0)] * 3


@pytest.mark.parametrize("outcome", ["FAILURE", "attached"])
async def test_only_whole_jobs_are_learnt_from(clock: FakeClock, outcome: str) -> None:
    """What failed, and what was attached to midway, says nothing of how long jobs take."""
    noting = Noting(5)
    async with (
        Simulator(time_scale=0, draw=False) as sim,
        connect(sim, clock=clock, schedule=noting) as mj,
    ):
        for _ in range(4):
            job = await mj.imagine("a fox").submit()
            task = mj.task(job.id) if outcome == "attached" else job
            body = {"id": job.id, "action": "IMAGINE", "status": "IN_PROGRESS"}
            sim.fault("reply", on="fetch", times=2, status=200, body=body)
            if outcome == "FAILURE":
                sim.fault("reply", on="fetch", status=200, body={**body, "status": "FAILURE"})
            waiting = asyncio.ensure_future(asyncio.wait([asyncio.ensure_future(task.wait())]))
            await clock.until_done(waiting, mj)
            (ended,) = waiting.result()[0]
            assert (ended.exception() is None) == (outcome == "attached")
        assert {look.typical_duration for look in noting.looks} == {None}


# --- webhooks as hints -------------------------------------------------------------------------

SELDOM = Every(1e9)
FOR_EVER = {"timeout": math.inf, "stall_timeout": math.inf}


@asynccontextmanager
async def waited_for(
    clock: FakeClock, schedule: PollSchedule = SELDOM, **options: object
) -> AsyncIterator[tuple[Stage, Client, Task]]:
    """A task in progress that somebody waits for, already looked at once."""
    async with (
        Simulator(time_scale=1e9) as sim,
        connect(sim, clock=clock, schedule=schedule, **FOR_EVER, **options) as mj,
    ):
        stage = Stage(sim, SERVER_ROW)
        stage.show("1%")
        task = mj.task("1")
        waiting = asyncio.ensure_future(task.wait())
        await clock.advance(1, mj)
        try:
            yield stage, mj, task
        finally:
            await leave(waiting)


@pytest.mark.parametrize(
    "payload",
    [b'{"id": "1"}', '{"id": "1"}', '{"id": 1, "status": "SUCCESS"}', {"id": "1", "status": 7}],
)
async def test_a_hook_wakes_the_watcher(
    clock: FakeClock, payload: bytes | str | dict[str, Any]
) -> None:
    """The task a hook names is looked at at once, and only what the server says then counts."""
    async with waited_for(clock) as (stage, mj, task):
        stage.show("2%")
        assert mj.handle_webhook(payload)
        await clock.advance(0, mj)
        assert (count_sent(stage.sim, "fetch"), task.status, task.progress) == (
            2,
            TaskStatus.IN_PROGRESS,
            2,
        )


async def test_a_storm_of_hooks_costs_few_looks(clock: FakeClock) -> None:
    """However many hooks there are, looks at one task are half a second apart."""
    async with waited_for(clock) as (stage, mj, _):
        for _ in range(10):
            for _ in range(20):
                assert mj.handle_webhook({"id": "1"})
            await clock.advance(0.1, mj)
        assert count_sent(stage.sim, "fetch") == 4
        await clock.advance(60, mj)
        assert count_sent(stage.sim, "fetch") == 4


async def test_hooks_of_strangers_are_ignored(clock: FakeClock) -> None:
    """Nothing is asked about an id that nobody waits for."""
    async with waited_for(clock) as (stage, mj, _):
        asked = len(stage.sim.requests)
        assert not mj.handle_webhook({"id": "2"})
        await clock.advance(10, mj)
        assert len(stage.sim.requests) == asked


PAYLOADS = (
    st.binary()
    | st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("id"), inner),
    ).flatmap(lambda value: st.sampled_from([value, json.dumps(value)]))
)


@pytest.mark.slow
@given(PAYLOADS)
def test_a_bad_payload_is_no_error(payload: bytes) -> None:
    """Whatever a stranger posts, it is answered False and raises nothing."""
    assert Client("https://api.example.com", "").handle_webhook(payload) is False


async def test_a_hook_for_a_closed_client_is_too_late(clock: FakeClock) -> None:
    """After `close` nobody waits for anything."""
    async with waited_for(clock) as (_, mj, _):
        await mj.close()
        assert not mj.handle_webhook({"id": "1"})


async def test_a_hook_that_comes_during_a_look_has_another_follow(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer on its way may be older than the hook, so it is not the last."""
    async with waited_for(clock) as (stage, mj, task):
        really_look = ServerApi.fetch_once

        async def look_while_a_hook_comes(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            answer = await really_look(*args, **options)
            monkeypatch.undo()
            stage.show("3%")
            assert mj.handle_webhook({"id": "1"})
            return answer

        monkeypatch.setattr(ServerApi, "fetch_once", look_while_a_hook_comes)
        mj.handle_webhook({"id": "1"})
        await clock.advance(0, mj)
        assert task.progress == 1
        await clock.advance(0.5, mj)
        assert (count_sent(stage.sim, "fetch"), task.progress) == (3, 3)


async def test_hooks_do_not_hasten_a_server_in_trouble(clock: FakeClock) -> None:
    """While looks fail, the policy for that decides when to look again."""
    patient = Retries(poll=RetryPolicy(initial_delay=1e9, max_delay=1e9, max_elapsed=math.inf))
    async with waited_for(clock, retries=patient) as (stage, mj, _):
        stage.answer(status=502, body="")
        for _ in range(10):
            assert mj.handle_webhook({"id": "1"})
            await clock.advance(1, mj)
        assert count_sent(stage.sim, "fetch") == 2


async def told(clock: FakeClock, mj: Client, stage: Stage, changes: Iterable[str]) -> int:
    """Have a hook come every 8 s; how many looks were taken meanwhile."""
    before = count_sent(stage.sim, "fetch")
    for progress in changes:
        stage.show(progress)
        mj.handle_webhook({"id": "1"})
        await clock.advance(8, mj)
    return count_sent(stage.sim, "fetch") - before


async def test_while_hooks_bring_news_polling_is_but_a_net(clock: FakeClock) -> None:
    """One look for each true hook; when they stop, polling is back within a net's width."""
    async with waited_for(clock, Schedule()) as (stage, mj, _):
        assert await told(clock, mj, stage, (f"{n}%" for n in range(2, 12))) == 10
        before = count_sent(stage.sim, "fetch")
        await clock.advance(60, mj)
        assert 9 <= count_sent(stage.sim, "fetch") - before <= 12


async def test_false_hooks_do_not_slow_polling(clock: FakeClock) -> None:
    """Only a hook that the server bears out makes polling rarer."""
    async with waited_for(clock, Schedule()) as (stage, mj, _):
        assert await told(clock, mj, stage, ["1%"] * 10) >= 20


@asynccontextmanager
async def receiving(mj: Client) -> AsyncIterator[tuple[str, list[bool]]]:
    """A web server that hands hooks to a client; its address, and what `observe` said."""
    said: list[bool] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        said.append(mj.handle_webhook(await request.read()))
        return web.Response()

    async with serving(handle) as url:
        yield url, said


@pytest.mark.parametrize("fault", [None, "duplicate_hooks", "reorder_hooks"])
async def test_hooks_alone_carry_a_task_to_its_end(clock: FakeClock, fault: str | None) -> None:
    """Posted by a server, twice or in the wrong order: the task ends, and never goes backwards."""
    async with (
        Simulator(time_scale=0.01, draw=False) as sim,
        connect(sim, clock=clock, schedule=SELDOM, **FOR_EVER) as mj,
        receiving(mj) as (url, said),
    ):
        if fault:
            sim.fault(fault, times=None)
        task = await mj.imagine("a fox", notify_hook=url).submit()
        seen: list[int] = []
        waiting = follow(task, lambda update: seen.append(update.progress or 0))
        await clock.until_done(waiting, mj)
        await sim.wait_idle()
        assert task.status is TaskStatus.SUCCESS
        assert seen == sorted(seen)
        assert True in said
        assert count_sent(sim, "fetch") <= len(said) == (18 if fault == "duplicate_hooks" else 9)
