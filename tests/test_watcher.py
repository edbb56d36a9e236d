"""The watcher: when it looks at which task, with how many requests, and when it gives up."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from typing import Any

import pytest

import mjasync
from mjasync import Client, Clock, PollState, Task, TaskStatus, TaskUpdate
from mjasync._polling.fetcher import _MAX_SINGLE_FETCHES
from mjasync.simulator import Simulator
from support.clients import EAGER, Every, connect
from support.clock import FakeClock
from support.internals import is_polling, is_watching
from support.waiting import eventually, follow, leave

# --- requests ----------------------------------------------------------------------------------


async def accepted(mj: Client, count: int) -> list[Task]:
    """Submit some tasks."""
    return list(await asyncio.gather(*(mj.imagine(f"fox {n}").submit() for n in range(count))))


def wait_for(tasks: list[Task], **options: float) -> asyncio.Future[list[Any]]:
    """Begin to wait for tasks."""
    return asyncio.gather(*(task.wait(**options) for task in tasks), return_exceptions=True)


def asked(sim: Simulator) -> list[int]:
    """Return the numbers of ids in the list requests so far."""
    return [len(request.body["ids"]) for request in sim.requests if request.kind == "list"]


def fetched(sim: Simulator) -> list[str]:
    """Return the ids that were fetched singly so far."""
    return [request.path.split("/")[-2] for request in sim.requests if request.kind == "fetch"]


async def test_many_tasks_share_list_requests(plain: Simulator, clock: FakeClock) -> None:
    """200 tasks due together take two list requests of a hundred string ids, and no fetch."""
    async with connect(plain, clock=clock) as mj:
        tasks = await accepted(mj, 200)
        waiting = wait_for(tasks)
        await clock.advance(10, mj)
        assert set(await waiting) == set(tasks)
        assert (asked(plain), fetched(plain)) == ([100, 100], [])
        lists = [request.body["ids"] for request in plain.requests if request.kind == "list"]
        assert sorted(itertools.chain(*lists)) == sorted(task.id for task in tasks)


async def test_a_task_alone_is_fetched(plain: Simulator, clock: FakeClock) -> None:
    """One that falls due alone takes a fetch."""
    async with connect(plain, clock=clock) as mj:
        (task,) = await accepted(mj, 1)
        waiting = wait_for([task])
        await clock.advance(10, mj)
        await waiting
        assert (asked(plain), fetched(plain)) == ([], [task.id])


async def test_tasks_due_soon_after_one_another_share_a_request(clock: FakeClock) -> None:
    """Polls within `coalesce` of the first come along; later ones do not."""
    async with (
        Simulator(time_scale=1e9) as sim,
        connect(sim, clock=clock, schedule=Every(5, coalesce=1)) as mj,
    ):
        tasks = await accepted(mj, 3)
        waiting = []
        for task, pause in zip(tasks, (0.9, 2, 0), strict=True):
            waiting.append(wait_for([task]))
            await clock.advance(pause, mj)
        await clock.advance(2.2, mj)
        assert (asked(sim), fetched(sim)) == ([2], [])
        await clock.advance(3, mj)
        assert (asked(sim), fetched(sim)) == ([2], [tasks[2].id])
        for one in waiting:
            await leave(one)


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 404},
        {"status": 200, "body": "<!doctype html><html></html>", "content_type": "text/html"},
        {"status": 400, "body": {"code": 4, "description": "unknown_relay_action "}},
        {"status": 400, "body": {"code": 4, "description": "ids参数错误"}},
        {"status": 200, "body": {"what": "is this"}},
    ],
)
async def test_a_missing_list_endpoint_is_noticed_once(
    clock: FakeClock, reply: dict[str, Any]
) -> None:
    """Without a usable list endpoint every task is fetched singly, and that is not tried again."""
    async with Simulator(time_scale=0, draw=False) as sim, connect(sim, clock=clock) as mj:
        sim.fault("reply", on="list", times=None, **reply)
        for count in (3, 5):
            sim.requests.clear()
            tasks = await accepted(mj, count)
            waiting = wait_for(tasks)
            await clock.advance(10, mj)
            assert set(await waiting) == set(tasks)
            assert sorted(fetched(sim)) == sorted(task.id for task in tasks)
            assert bool(asked(sim)) == (count == 3)


async def test_a_server_without_lists(clock: FakeClock) -> None:
    """The simulator's own way of having no list endpoint is understood, too."""
    async with (
        Simulator(time_scale=0, draw=False, list_endpoint=False) as sim,
        connect(sim, clock=clock) as mj,
    ):
        for count in (3, 40):
            tasks = await accepted(mj, count)
            waiting = wait_for(tasks)
            await clock.advance(10, mj)
            assert set(await waiting) == set(tasks)
            assert asked(sim) == [3]
        assert len(fetched(sim)) == 43


async def test_a_list_that_fails_is_tried_again_later(clock: FakeClock) -> None:
    """A list request the server fails to answer is not given up for good, but for a while."""
    async with Simulator(time_scale=0, draw=False) as sim, connect(sim, clock=clock) as mj:
        sim.fault("reply", on="list", times=3, status=500)
        for expected in ([3] * 3, [3] * 3, [3] * 4):
            tasks = await accepted(mj, 3)
            waiting = wait_for(tasks)
            await clock.advance(40, mj)
            assert set(await waiting) == set(tasks)
            assert asked(sim) == expected
        assert len(fetched(sim)) == 6


async def test_a_refused_token_ends_every_wait(plain: Simulator, clock: FakeClock) -> None:
    """What asking singly would not mend is not asked singly; each waiter has its own error."""
    async with connect(plain, clock=clock) as mj:
        tasks = await accepted(mj, 3)
        plain.fault("reply", on="list", status=401)
        waiting = wait_for(tasks)
        await clock.advance(10, mj)
        errors = await waiting
        assert {type(error) for error in errors} == {mjasync.AuthenticationError}
        assert [error.task for error in errors] == tasks
        assert fetched(plain) == []
        again = wait_for(tasks)
        await clock.advance(10, mj)
        assert await again == tasks


async def test_an_id_missing_from_a_list_is_fetched(plain: Simulator, clock: FakeClock) -> None:
    """A list that leaves a task out proves nothing: it is asked for singly at once."""
    async with connect(plain, clock=clock) as mj:
        tasks = await accepted(mj, 3)
        some = [{"id": task.id, "status": "SUCCESS"} for task in tasks[1:]]
        plain.fault("reply", on="list", status=200, body=some)
        waiting = wait_for(tasks)
        await clock.advance(5, mj)
        assert await waiting == tasks
        assert fetched(plain) == [tasks[0].id]


@pytest.mark.parametrize("count", [1, 3])
async def test_a_vanished_task_has_a_period_of_grace(clock: FakeClock, count: int) -> None:
    """A task the server confirmed and then does not know is believed lost only after a while."""
    async with (
        Simulator(time_scale=1e9) as sim,
        connect(sim, clock=clock, not_found_grace=30) as mj,
    ):
        tasks = await accepted(mj, count)
        sim.forget()
        waiting = wait_for(tasks)
        await clock.advance(34, mj)
        assert not waiting.done()
        await clock.advance(6, mj)
        errors = await waiting
        assert {type(error) for error in errors} == {mjasync.TaskNotFound}
        assert [error.task for error in errors] == tasks


async def test_a_task_that_comes_back_starts_its_grace_anew(clock: FakeClock) -> None:
    """The grace is for one absence: a task seen in between is not nearly lost."""
    async with (
        Simulator(time_scale=1e9) as sim,
        connect(sim, clock=clock, not_found_grace=12) as mj,
    ):
        (task,) = await accepted(mj, 1)
        waiting = wait_for([task])
        for _ in range(3):
            fault = sim.fault("reply", on="fetch", times=None, status=204)
            await clock.advance(10, mj)
            fault.remove()
            await clock.advance(5, mj)
        assert not waiting.done()
        sim.forget(task.id)
        await clock.advance(30, mj)
        assert isinstance((await waiting)[0], mjasync.TaskNotFound)


async def test_an_unknown_attached_id_is_reported_at_once(clock: FakeClock) -> None:
    """An attached id is looked at at once, and its first "unknown" is final; in a list, too."""
    async with Simulator(time_scale=1e9) as sim, connect(sim, clock=clock) as mj:
        alone = wait_for([mj.task("1")])
        await clock.advance(0, mj)
        assert isinstance((await alone)[0], mjasync.TaskNotFound)
        waiting = wait_for([mj.task("2"), mj.task("3"), *await accepted(mj, 1)])
        await clock.advance(0, mj)
        assert sorted(fetched(sim)) == ["1", "2", "3"]
        await leave(waiting)


async def test_an_unchanged_reply_is_not_decoded(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch that brings the same bytes again is recognised before it is parsed."""
    parsed = []
    parse = mjasync._protocol.parsing.parse_task_fast
    monkeypatch.setattr(
        "mjasync._http.reads.parse_task_fast",
        lambda task_id, status, body: parsed.append(body) or parse(task_id, status, body),
    )
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        sim.fault("stall", at=46)
        (task,) = await accepted(mj, 1)
        updates: list[TaskUpdate] = []
        waiting = follow(task, updates.append)
        await clock.advance(50, mj)
        assert (len(fetched(sim)), len(parsed), len(updates)) == (10, 1, 2)
        await leave(waiting)


async def test_an_unchanged_list_brings_no_news(clock: FakeClock) -> None:
    """Tasks that a list shows as they were are not told again."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        sim.fault("stall", at=46, times=None)
        tasks = await accepted(mj, 2)
        updates: list[TaskUpdate] = []
        waiting = asyncio.gather(follow(tasks[0], updates.append), wait_for(tasks))
        await clock.advance(50, mj)
        assert (len(asked(sim)), [update.progress for update in updates]) == (10, [None, 46])
        await leave(waiting)


async def test_bytes_of_an_older_fetch_do_not_hide_a_change(clock: FakeClock) -> None:
    """After a list brought news, a fetch of the bytes before that is a change again."""
    async with Simulator(time_scale=1e9) as sim, connect(sim, clock=clock) as mj:
        task, other = await accepted(mj, 2)
        early = {"id": task.id, "status": "IN_PROGRESS", "progress": "0%"}
        later = [{**early, "progress": "60%"}, {**early, "id": other.id}]
        sim.fault("reply", on="fetch", times=2, status=200, body=early)
        sim.fault("reply", on="list", status=200, body=later)
        updates: list[TaskUpdate] = []
        waiting = follow(task, updates.append)
        await clock.advance(5, mj)
        passing = wait_for([other])
        await clock.advance(5, mj)
        await leave(passing)
        await clock.advance(5, mj)
        assert (fetched(sim), asked(sim)) == ([task.id] * 2, [2])
        assert [update.progress for update in updates] == [None, 0, 60, 0]
        await leave(waiting)


async def test_reads_are_tried_again_while_tasks_are_watched(clock: FakeClock) -> None:
    """A look that fails in passing is repeated, and nobody who waits hears of it."""
    async with Simulator(time_scale=0, draw=False) as sim, connect(sim, clock=clock) as mj:
        faults = [
            sim.fault("reset_before", on="fetch"),
            sim.fault("reply", on="fetch", status=502, body="<html>bad gateway</html>"),
            sim.fault("truncated", on="fetch"),
            sim.fault("reply", on="fetch", status=200, body="{"),
        ]
        (task,) = await accepted(mj, 1)
        waiting = wait_for([task])
        await clock.advance(6, mj)
        assert await waiting == [task]
        assert [fault.hits for fault in faults] == [1, 1, 1, 1]


# --- giving up ---------------------------------------------------------------------------------


async def stalled(sim: Simulator, mj: Client, at: int = 46) -> Task:
    """Submit a task that gets to some percentage and stays there."""
    sim.fault("stall", at=at)
    return await mj.imagine("a fox").submit()


async def test_the_deadline_is_exact(clock: FakeClock) -> None:
    """`timeout` ends a wait to the second, looks or no looks; the Task can be awaited again."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        task = await stalled(sim, mj)
        for seconds in (12.5, 3.0):
            waiting = asyncio.ensure_future(task.wait(timeout=seconds))
            await clock.advance(seconds - 0.01, mj)
            assert not waiting.done()
            await clock.advance(0.01, mj)
            with pytest.raises(mjasync.TaskTimeout) as caught:
                await waiting
            assert type(caught.value) is mjasync.TaskTimeout
            assert caught.value.task is task
            assert caught.value.retryable
        assert task.progress == 46


async def test_a_deadline_soon_after_a_look_is_kept_to(clock: FakeClock) -> None:
    """A look takes other looks along that are nearly due, but no deadline."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        task = await stalled(sim, mj)
        waiting = asyncio.ensure_future(task.wait(timeout=5.3))
        await clock.advance(5.2, mj)
        assert (len(fetched(sim)), waiting.done()) == (1, False)
        await clock.advance(0.1, mj)
        assert isinstance(waiting.exception(), mjasync.TaskTimeout)


async def test_the_stall_clock_restarts_with_progress(clock: FakeClock) -> None:
    """`stall_timeout` counts from the last change of status or progress, and from nothing else."""
    async with (
        Simulator(time_scale=0) as sim,
        connect(sim, clock=clock, schedule=Every(1), timeout=math.inf, stall_timeout=30) as mj,
    ):
        (task,) = await accepted(mj, 1)
        waiting = asyncio.ensure_future(task.wait())
        for percent in (10, 20, 30):
            body = {"id": task.id, "status": "IN_PROGRESS", "progress": f"{percent}%"}
            sim.fault("reply", on="fetch", times=13, status=200, body=body)
            moved = {**body, "imageUrl": "http://127.0.0.1/preview.webp"}
            sim.fault("reply", on="fetch", times=12, status=200, body=moved)
            await clock.advance(25, mj)
            assert (waiting.done(), task.progress) == (False, percent)
        sim.fault("reply", on="fetch", times=None, status=200, body=moved)
        await clock.advance(5.9, mj)
        assert not waiting.done()
        await clock.advance(0.1, mj)
        with pytest.raises(mjasync.TaskStalled, match="30 s") as caught:
            await waiting
        assert caught.value.task is task
        assert caught.value.info.progress == 30


async def test_two_waiters_with_different_patience(clock: FakeClock) -> None:
    """Each waiter has its own clocks; one that gives up takes nothing from the other."""
    async with (
        Simulator(time_scale=0) as sim,
        connect(sim, clock=clock, timeout=math.inf, stall_timeout=math.inf) as mj,
    ):
        task = await stalled(sim, mj)
        hasty = asyncio.ensure_future(task.wait(timeout=7))
        bored = asyncio.ensure_future(task.wait(stall_timeout=20))
        patient = asyncio.ensure_future(task.wait())
        await clock.advance(7, mj)
        assert (hasty.done(), bored.done()) == (True, False)
        await clock.advance(20, mj)
        assert (bored.done(), patient.done()) == (True, False)
        assert isinstance(hasty.exception(), mjasync.TaskTimeout)
        assert isinstance(bored.exception(), mjasync.TaskStalled)
        looks = len(fetched(sim))
        await clock.advance(100, mj)
        assert (len(fetched(sim)), patient.done()) == (looks + 20, False)
        await task.cancel()
        await clock.advance(5, mj)
        assert isinstance(patient.exception(), mjasync.TaskCancelled)


async def test_a_late_waiter_hears_what_is_known_already(clock: FakeClock) -> None:
    """Somebody else's handle on a watched id shares its watch, and what that has seen."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        task = await stalled(sim, mj)
        first = wait_for([task])
        await clock.advance(6, mj)
        other = mj.task(task.id)
        second = wait_for([other])
        await clock.advance(0, mj)
        assert (other.progress, len(fetched(sim))) == (46, 1)
        for waiting in (first, second):
            await leave(waiting)


async def test_a_deadline_in_the_past_gives_up_at_once(clock: FakeClock) -> None:
    """`timeout=0` submits what it can't wait for: nothing goes out, and it can be awaited again."""
    async with Simulator(time_scale=0, draw=False) as sim, connect(sim, clock=clock) as mj:
        task = mj.imagine("a fox")
        waiting = asyncio.ensure_future(task.wait(timeout=0))
        await clock.advance(0, mj)
        with pytest.raises(mjasync.TaskTimeout):
            await waiting
        again = asyncio.ensure_future(task.wait())
        await eventually(lambda: bool(task.id))
        await clock.advance(5, mj)
        assert (await again).done
        assert len(sim.submissions) == 1


@pytest.mark.parametrize("count", [1, 5])
async def test_close_lets_waiters_go(plain: Simulator, clock: FakeClock, count: int) -> None:
    """Closing the client ends every wait with `ClientClosed`; the jobs go on."""
    mj = connect(plain, clock=clock)
    tasks = await accepted(mj, count)
    waiting = wait_for(tasks)
    await clock.advance(1, mj)
    await mj.close()
    errors = await waiting
    assert {type(error) for error in errors} == {mjasync.ClientClosed}
    assert [error.task for error in errors] == tasks
    with pytest.raises(mjasync.ClientClosed):
        await tasks[0]
    await mj.close()


async def test_close_lets_a_look_go(clock: FakeClock) -> None:
    """A look under way does not hold up `close()`."""
    async with Simulator(time_scale=1e9) as sim:
        mj = connect(sim, clock=clock)
        tasks = await accepted(mj, 3)
        sim.fault("slow_body", on="list", gap=0.01)
        waiting = wait_for(tasks)
        moving = asyncio.ensure_future(clock.advance(5, mj))
        await eventually(lambda: bool(asked(sim)))
        await leave(moving)
        await mj.close()
        assert {type(error) for error in await waiting} == {mjasync.ClientClosed}


@pytest.mark.parametrize("count", [1, 2])
async def test_a_look_that_comes_back_to_nobody(clock: FakeClock, count: int) -> None:
    """When everybody has left during a look, it is the last one."""
    async with Simulator(time_scale=1e9) as sim, connect(sim, clock=clock) as mj:
        tasks = await accepted(mj, count)
        sim.fault("slow_body", on="any", times=count, gap=0.0002)
        waiting = wait_for(tasks)
        moving = asyncio.ensure_future(clock.advance(5, mj))
        await eventually(lambda: is_polling(mj))
        await leave(waiting)
        await moving
        assert not is_watching(mj)


async def test_nobody_waits_and_nothing_is_asked(clock: FakeClock) -> None:
    """When the last waiter has left, the schedule is empty and no timer runs."""
    async with Simulator(time_scale=1e9) as sim, connect(sim, clock=clock) as mj:
        tasks = await accepted(mj, 3)
        waiting = wait_for(tasks)
        await clock.advance(6, mj)
        await leave(waiting)
        looks = len(sim.requests)
        await clock.advance(1000, mj)
        assert len(sim.requests) == looks
        assert not is_watching(mj)
        assert mj._context.poller._polls._timer is None


async def test_a_waiter_takes_its_deadline_along(clock: FakeClock) -> None:
    """The deadline of a waiter that left is dead, and gone once everybody left."""
    async with Simulator(time_scale=1e9) as sim, connect(sim, clock=clock) as mj:
        (task,) = await accepted(mj, 1)
        lasting = wait_for([task], timeout=777.5)
        crowd = wait_for([task] * 20, timeout=777.5, stall_timeout=math.inf)
        await clock.advance(0, mj)
        deadlines = mj._context.poller._deadlines
        waiters = [waiter for _, _, waiter in deadlines._heap]
        assert [waiter.due_at - clock.now() for waiter in waiters] == [777.5] * 21
        await leave(crowd)
        assert sum(waiter.due_at < math.inf for waiter in waiters) == 1
        await leave(lasting)
        assert (deadlines._heap, deadlines._timer) == ([], None)


@pytest.mark.parametrize("timeout", [0.25, 1.0, 7.75, 8.0, 500.125])
async def test_an_alarm_rings_to_the_moment(clock: FakeClock, timeout: float) -> None:
    """A wait ends neither before its time nor after, wherever in a second that is."""
    async with Simulator(time_scale=1e9) as sim, connect(sim, clock=clock) as mj:
        (task,) = await accepted(mj, 1)
        waiting = asyncio.ensure_future(task.wait(timeout=timeout, stall_timeout=math.inf))
        await clock.advance(timeout - 0.0625, mj)
        assert not waiting.done()
        await clock.advance(0.0625, mj)
        await asyncio.gather(waiting, return_exceptions=True)
        assert type(waiting.exception()) is mjasync.TaskTimeout


async def test_alarms_of_waiters_that_left_are_tidied_away(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting again and again for one task does not fill the schedule with dead alarms."""
    monkeypatch.setattr("mjasync._polling.due_queue._MIN_COMPACT_SIZE", 20)
    async with Simulator(time_scale=1e9) as sim, connect(sim, clock=clock) as mj:
        (task,) = await accepted(mj, 1)
        lasting = wait_for([task])
        for _ in range(20):
            crowd = wait_for([task] * 20, timeout=50_000)
            await clock.advance(0, mj)
            await leave(crowd)
        assert len(mj._context.poller._deadlines._heap) <= 100
        assert len(mj._context.poller._polls._heap) <= 100
        await clock.advance(5, mj)
        assert len(fetched(sim)) == 1
        await leave(lasting)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_schedule_that_fails_leaves_nobody_waiting(
    plain: Simulator, clock: FakeClock, count: int
) -> None:
    """An error of one's own schedule comes out where the Task is awaited, at whichever look."""

    class Broken(Every):
        def next_delay(self, state: PollState) -> float:
            return 1 / (2 - state.waited) if state.waited else 1.0

    async with Simulator(time_scale=1e9) as sim, connect(sim, clock=clock) as mj:
        mj._context.poller._schedule = Broken(1)
        tasks = await accepted(mj, count)
        waiting = wait_for(tasks)
        await clock.advance(10, mj)
        assert {type(error) for error in await waiting} == {ZeroDivisionError}
        mj._context.poller._schedule = Every(0)
        assert not is_watching(mj)
        assert not fetched(sim) or tasks


# --- many --------------------------------------------------------------------------------------


class Hurried(Clock):
    """A clock that runs a hundred times as fast as others."""

    def now(self) -> float:
        """Seconds, a hundred of them in each second."""
        return time.monotonic() * 100

    async def sleep(self, seconds: float) -> None:
        """Let so many of those seconds pass."""
        await asyncio.sleep(max(0.0, seconds) / 100)


@pytest.mark.slow
async def test_two_thousand_tasks_at_once() -> None:
    """With default settings 2,000 tasks are waited for at once, and all finish."""
    async with (
        Simulator(time_scale=0.001, draw=False, concurrency=2000) as sim,
        Client(sim.url, sim.token, clock=Hurried()) as mj,
    ):
        submitted = await asyncio.gather(*(mj.imagine(f"fox {n}").submit() for n in range(2000)))
        done = await mj.gather(*submitted)
    assert {task.status for task in done} == {TaskStatus.SUCCESS}
    assert len({task.id for task in done}) == len(sim.submissions) == 2000
    assert max(asked(sim)) <= 100


def test_the_default_retries_outlive_a_restart() -> None:
    """The policy for watching gives a server ten minutes; tests give it milliseconds."""
    assert mjasync.Retries().poll.max_elapsed == 600.0
    assert EAGER.poll.max_delay < 0.01


# --- a server that has too much to do ----------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529])
async def test_an_overloaded_list_does_not_become_many_fetches(
    status: int, plain: Simulator, clock: FakeClock
) -> None:
    """It is asked for again, ever later; then everything goes on as before."""
    async with connect(plain, clock=clock, retries=mjasync.Retries()) as mj:
        tasks = await accepted(mj, 40)
        waiting = wait_for(tasks)
        fault = plain.fault("reply", on="list", times=None, status=status)
        await clock.advance(60, mj)
        assert 4 <= len(asked(plain)) <= 30
        assert set(asked(plain)) == {40}
        fault.remove()
        await clock.advance(20, mj)
        assert set(await waiting) == set(tasks)
        assert fetched(plain) == []


async def test_an_overloaded_server_without_lists_is_left_alone(
    plain: Simulator, clock: FakeClock
) -> None:
    """One that says how long to wait is asked nothing meanwhile, by any of the tasks."""
    async with connect(plain, clock=clock, retries=mjasync.Retries()) as mj:
        tasks = await accepted(mj, 100)
        plain.fault("reply", on="list", times=None, status=404)
        waiting = wait_for(tasks)
        fault = plain.fault(
            "reply", on="fetch", times=None, status=503, headers={"Retry-After": "30"}
        )
        await clock.advance(29, mj)
        assert len(fetched(plain)) <= _MAX_SINGLE_FETCHES  # those that were on their way
        await clock.advance(61, mj)
        assert len(fetched(plain)) <= 4 * _MAX_SINGLE_FETCHES
        fault.remove()
        await clock.advance(31, mj)
        assert set(await waiting) == set(tasks)


async def test_looks_that_failed_together_stay_together(plain: Simulator, clock: FakeClock) -> None:
    """After any failure that may pass: one list, not a fetch for each at its own time."""
    async with connect(plain, clock=clock, retries=mjasync.Retries()) as mj:
        tasks = await accepted(mj, 30)
        waiting = wait_for(tasks)
        plain.fault("reset_before", on="list", times=2)
        await clock.advance(20, mj)
        assert set(await waiting) == set(tasks)
        assert (asked(plain), fetched(plain)) == ([30, 30, 30], [])
