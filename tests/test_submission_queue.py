"""The order of submissions: a client's limit, what is held up, and what it tells meanwhile."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web

import mjasync
from mjasync import Client, HeldUp, Retries, RetryPolicy, Task, TaskPhase, TaskUpdate
from mjasync.cli.task_text import explain
from mjasync.simulator import Simulator
from support.clients import Every, connect
from support.clock import FakeClock
from support.loopback import ScriptedApp
from support.waiting import eventually, leave, turns

FULL = {"code": 23, "description": "队列已满，请稍后尝试", "result": None}
PATIENT = Retries(
    overloaded=RetryPolicy(max_attempts=10_000, initial_delay=100, max_delay=100, max_elapsed=1000)
)


class Crowded(ScriptedApp):
    """A server that takes so many jobs at once, each of which ends when the test says so."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.asked: list[str] = []
        """Prompts, as often as they were submitted."""
        self.taken: list[str] = []
        """Prompts, in the order in which they were accepted."""
        self.ended: set[str] = set()
        self.most = 0
        self.refusal: tuple[int, Mapping[str, Any], dict[str, str]] = (200, FULL, {})

    @property
    def under_way(self) -> int:
        """Jobs that were accepted and have not ended."""
        return len(self.taken) - len(self.ended)

    def end(self, prompt: str) -> None:
        """Let a job end."""
        self.ended.add(prompt)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        if "/submit/" in request.path:
            return self._submit(orjson.loads(await request.read()))
        if request.path.endswith("/fetch"):
            return web.json_response(self._told(int(request.path.split("/")[-2])))
        ids = orjson.loads(await request.read())["ids"]
        return web.json_response([self._told(int(task_id)) for task_id in ids])

    def _submit(self, body: dict[str, Any]) -> web.Response:
        self.asked.append(body["prompt"])
        if self.under_way >= self.places:
            status, refusal, headers = self.refusal
            return web.json_response(refusal, status=status, headers=headers)
        self.taken.append(body["prompt"])
        self.most = max(self.most, self.under_way)
        return web.json_response({"code": 1, "result": str(len(self.taken)), "description": ""})

    def _told(self, number: int) -> dict[str, Any]:
        prompt = self.taken[number - 1]
        status = "SUCCESS" if prompt in self.ended else "IN_PROGRESS"
        return {"id": str(number), "status": status, "prompt": prompt, "action": "IMAGINE"}


def foxes(mj: Client, count: int) -> list[asyncio.Task[Task]]:
    """So many Tasks, all of them waited for."""
    return [asyncio.ensure_future(mj.imagine(f"fox {n}").wait()) for n in range(count)]


def held_up(mj: Client) -> list[object]:
    """What a full queue holds up."""
    return [ticket for line in mj._context.queue._waiting.values() for ticket in line]


async def test_a_limit_is_for_the_whole_client() -> None:
    """No more jobs are unfinished at once, whoever waits; first come, first served."""
    server = Crowded(places=100)
    async with server.open(limit=3) as mj:
        waiting = foxes(mj, 10)
        for n in range(10):
            await eventually(lambda n=n: len(server.taken) == min(n + 3, 10))
            await turns(3)
            assert server.under_way <= 3
            server.end(f"fox {n}")
        await asyncio.gather(*waiting)
    assert server.taken == server.asked == [f"fox {n}" for n in range(10)]
    assert server.most == 3


async def test_a_place_is_free_when_a_job_ends_that_nobody_waits_for() -> None:
    """`submit()` and leaving keep the place until the job itself has ended."""
    server = Crowded(places=100)
    async with server.open(limit=1) as mj:
        fox = await mj.imagine("fox 0").submit()
        second = asyncio.ensure_future(mj.imagine("fox 1").submit())
        await turns(20)
        assert server.taken == ["fox 0"]
        server.end("fox 0")
        await second
        assert server.taken == ["fox 0", "fox 1"]
        assert (await fox).done


async def test_what_was_refused_holds_no_place(plain: Simulator) -> None:
    """A banned prompt, or a submission nobody waits for any more, leaves its place to others."""
    async with connect(plain, limit=1) as mj:
        with pytest.raises(mjasync.BannedPrompt):
            await mj.imagine("a naked fox")
        await mj.imagine("a fox").upscale(1)
        assert len(plain.submissions) == 2


async def test_an_open_modal_holds_no_place(plain: Simulator) -> None:
    """A job that waits for an answer is no burden; its answer takes a place of its own."""
    async with connect(plain, limit=1) as mj:
        single = await mj.imagine("a fox").upscale(1)
        asked = await single.action("Custom Zoom").submit()
        assert asked.status == "MODAL"
        assert await mj.imagine("an owl")
        assert (await asked.modal("a fox --zoom 1.5")).done


async def test_whoever_was_refused_first_is_tried_first(clock: FakeClock) -> None:
    """However the random delays fall, and whoever comes later, the order is kept."""
    server = Crowded(places=1)
    async with server.open(clock=clock, schedule=Every(5), retries=PATIENT) as mj:
        waiting = foxes(mj, 6)
        await eventually(lambda: len(held_up(mj)) == 5)
        late = asyncio.ensure_future(mj.imagine("late").wait())
        await turns(20)
        assert server.asked == server.taken + [f"fox {n}" for n in range(1, 6)]
        for n in range(6):
            await eventually(lambda n=n: server.taken == [f"fox {m}" for m in range(n + 1)])
            server.end(f"fox {n}")
            await clock.advance(6, mj)
        server.end("late")
        await clock.until_done(asyncio.gather(*waiting, late), mj)
    assert server.taken == [*(f"fox {n}" for n in range(6)), "late"]


async def test_only_the_first_is_tried_while_the_queue_is_full(clock: FakeClock) -> None:
    """A full server is not asked once for each of those that wait."""
    server = Crowded(places=0)
    async with server.open(clock=clock, schedule=Every(5), retries=PATIENT) as mj:
        waiting = foxes(mj, 20)
        await eventually(lambda: len(server.asked) == 20)
        await clock.advance(900, mj)
        assert set(server.asked[20:]) == {"fox 0"}
        waiting[0].cancel()
        await eventually(lambda: server.asked[-1] == "fox 1")
        for waiter in waiting:
            waiter.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert mj._context.queue._waiting == {}


async def test_retry_after_is_kept_to_the_second(clock: FakeClock) -> None:
    """A server that says when to come back is not asked sooner, whatever ends meanwhile."""
    server = Crowded(places=1)
    server.refusal = (429, {"code": 23, "description": "slowly"}, {"Retry-After": "40"})
    async with server.open(clock=clock, schedule=Every(5), retries=PATIENT) as mj:
        waiting = foxes(mj, 2)
        await eventually(lambda: len(server.asked) == 2)
        server.end("fox 0")
        await clock.advance(39, mj)
        assert (waiting[0].done(), len(server.asked)) == (True, 2)
        await clock.advance(2, mj)
        await eventually(lambda: len(server.asked) == 3)
        server.end("fox 1")
        await clock.until_done(waiting[1], mj)


async def test_different_kinds_do_not_wait_for_one_another() -> None:
    """A queue that is full for one speed holds nothing up at another."""
    server = Crowded(places=0)
    async with server.open(retries=PATIENT) as mj:
        slow = asyncio.ensure_future(mj.imagine("a slow fox", speed="relax").wait())
        await eventually(lambda: len(server.asked) == 1)
        server.places = 1
        fast = await mj.imagine("a fast fox", speed="fast").submit()
        assert fast.id
        await leave(slow)


async def test_the_log_names_the_job(caplog: pytest.LogCaptureFixture) -> None:
    """Which submission was refused, which accepted, and by which mark it can be found."""
    server = Crowded(places=0)
    caplog.set_level(logging.INFO, "mjasync")
    async with server.open() as mj:
        submitting = asyncio.ensure_future(mj.imagine("a red\nfox", state="order-7").submit())
        await eventually(lambda: len(server.asked) > 1)
        server.places = 1
        await submitting
    refused = next(line for line in caplog.messages if "attempt 1 failed" in line)
    accepted = next(line for line in caplog.messages if "accepted as 1" in line)
    for line in (refused, accepted):
        assert r"imagine 'a red\\nfox' (order-7)" in line


# --- what it tells meanwhile ---------------------------------------------------------------------


async def test_what_is_held_up_says_since_when_and_for_how_long(clock: FakeClock) -> None:
    """An update comes when the server refuses for now, and `task.held_up` says more."""
    server = Crowded(places=0)
    async with server.open(clock=clock, schedule=Every(5), retries=PATIENT, timeout=None) as mj:
        task = mj.imagine("a fox")
        assert task.phase is TaskPhase.NEW
        updates = task.updates()
        update = await anext(updates)
        assert isinstance(update, TaskUpdate)
        assert (update.task, update.phase, update.id) == (task, TaskPhase.HELD_UP, "")
        held_up = update.held_up
        assert isinstance(held_up, HeldUp)
        assert isinstance(held_up.error, mjasync.QueueFull)
        assert held_up.since.timestamp() == pytest.approx(clock.wall())
        assert held_up.until is not None
        assert held_up.until - held_up.since == timedelta(seconds=1000)
        await clock.advance(300, mj)
        await eventually(lambda: task.held_up is not None and task.held_up.attempts > 1)
        assert (task.held_up.since, task.held_up.until) == (held_up.since, held_up.until)
        server.places = 1
        following = asyncio.ensure_future(anext(updates))
        await clock.until_done(following, mj)
        assert following.result().phase is TaskPhase.SUBMITTED
        assert following.result().held_up is None
        assert task.held_up is None
        server.end("a fox")
        seen = []
        while not task.done:
            following = asyncio.ensure_future(anext(updates))
            await clock.until_done(following, mj)
            seen.append(following.result().phase)
        assert seen[-1] is task.phase is TaskPhase.FINISHED
        await updates.aclose()


async def test_a_wait_that_ends_before_anything_was_taken_says_so(clock: FakeClock) -> None:
    """It names what the submission was refused for; the server does not have the job."""
    server = Crowded(places=0)
    async with server.open(clock=clock, schedule=Every(5), retries=PATIENT) as mj:
        task = mj.imagine("a fox")
        waiting = asyncio.ensure_future(task.wait(timeout=2.5))
        await clock.until_done(waiting, mj)
        error = waiting.exception()
    assert isinstance(error, mjasync.TaskTimeout)
    assert error.is_unsent
    assert (error.code, error.task_id) == (23, "")
    assert "not finished after 2.5 s. It could not be submitted so far: The server's queue" in str(
        error
    )
    assert str(error).endswith(
        "The server does not have it yet: await error.task again to continue."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own
    assert server.taken == []
    assert "The server does not have it: try again, or raise --timeout." in explain(error)


async def test_a_wait_that_ends_in_the_queue_of_the_client_says_so(clock: FakeClock) -> None:
    """What waits for a place was not sent; what is on the wire may have been taken."""
    gate = asyncio.Event()

    class Slow(Crowded):
        async def answer(self, request: web.BaseRequest) -> web.Response:
            if "/submit/" in request.path:
                await gate.wait()
            return await super().answer(request)

    server = Slow(places=9)
    async with server.open(clock=clock, limit=1) as mj:
        waiting = [asyncio.ensure_future(mj.imagine(f"fox {n}").wait(timeout=2)) for n in (0, 1)]
        await turns(20)
        for waiter in waiting:
            await clock.until_done(waiter, mj)
        on_wire, queued = (waiter.exception() for waiter in waiting)
        gate.set()
    assert isinstance(on_wire, mjasync.TaskTimeout)
    assert isinstance(queued, mjasync.TaskTimeout)
    assert (on_wire.is_unsent, queued.is_unsent) == (False, True)
    assert "could be paid twice" in str(on_wire)


async def test_a_chain_tells_of_all_its_tasks(plain: Simulator) -> None:
    """Updates of the Tasks before it come along, each with the Task it is about."""
    async with connect(plain) as mj:
        chain = mj.imagine("a fox").upscale(2).zoom(1.8)
        seen = [update async for update in chain]
    grid, single, pressed = chain.parent.parent.parent, chain.parent.parent, chain.parent
    assert list(dict.fromkeys(update.task for update in seen)) == [grid, single, pressed, chain]
    for task in (grid, single, chain):
        own = [update for update in seen if update.task is task]
        assert {update.id for update in own} == {task.id}
        assert own[-1].phase is TaskPhase.FINISHED
        assert own[-1] == task.info
    assert seen[-1] == chain.info


async def test_a_chain_on_a_finished_task_tells_of_what_is_new(plain: Simulator) -> None:
    """Nothing of a Task that was finished before comes again."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a fox")
        big = grid.upscale(1)
        assert {update.task async for update in big} == {big}


async def test_phases_on_this_side() -> None:
    """What waits here says for what: for a Task before it, for a place, on the wire."""
    gate = asyncio.Event()

    class Slow(Crowded):
        async def answer(self, request: web.BaseRequest) -> web.Response:
            if "/submit/" in request.path:
                await gate.wait()
            return await super().answer(request)

    server = Slow(places=9)
    async with server.open(limit=1) as mj:
        fox, owl = mj.imagine("fox 0"), mj.imagine("fox 1")
        elk = fox.upscale(1)
        waiting = [asyncio.ensure_future(task.wait()) for task in (fox, owl, elk)]
        await eventually(lambda: fox.phase is TaskPhase.SENDING)
        await eventually(lambda: owl.phase is TaskPhase.QUEUED)
        await eventually(lambda: elk.phase is TaskPhase.WAITING)
        gate.set()
        await eventually(lambda: fox.phase is TaskPhase.RUNNING)
        assert owl.phase is TaskPhase.QUEUED
        for waiter in waiting:
            waiter.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert owl.phase is elk.phase is TaskPhase.NEW


# --- the circuit breaker -------------------------------------------------------------------------


class Mute(Crowded):
    """A server that takes jobs and does not say so, until it is mended."""

    mended = False

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        answer = await super().answer(request)
        if "/submit/" in request.path and not self.mended:
            return web.Response(status=502)
        return answer


async def test_a_gather_with_a_limit_stops_at_a_broken_gateway(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After a few submissions of which nobody knows anything, single ones are tried, and slowly."""
    server = Mute(places=100)
    async with server.open(clock=clock, schedule=Every(5), timeout=None, reconcile=False) as mj:
        tasks = [mj.imagine(f"fox {n}") for n in range(40)]
        gathering = asyncio.ensure_future(mj.gather(*tasks, limit=4, return_exceptions=True))
        await eventually(lambda: "held up" in caplog.text)
        await turns(20)
        await eventually(
            lambda: not mj._context.submission_tasks
        )  # what was drawn before has ended
        begun = len(server.asked)
        assert begun <= 6
        for seconds in (5, 10, 20):
            await clock.advance(seconds - 1, mj)
            assert len(server.asked) == begun
            await clock.advance(1, mj)
            await eventually(lambda: tasks[begun].error is not None)  # noqa: B023 - at once
            begun += 1
            assert len(server.asked) == begun
        server.mended = True
        for n in range(40):
            server.end(f"fox {n}")
        await clock.until_done(gathering, mj)
        assert [task.error is None for task in tasks] == [n >= begun for n in range(40)]
        assert len(server.asked) == 40


async def test_a_gather_without_a_limit_sends_all(clock: FakeClock) -> None:
    """All were asked for at once."""
    server = Mute(places=100)
    async with server.open(clock=clock, schedule=Every(5), reconcile=False) as mj:
        tasks = [mj.imagine(f"fox {n}") for n in range(10)]
        await mj.gather(*tasks, return_exceptions=True)
    assert len(server.asked) == 10
