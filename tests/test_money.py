"""Never pay twice, never lose a paid job: submissions when everything goes wrong."""

from __future__ import annotations

import asyncio
import gc
import math
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mjasync
from mjasync import Client, Clock, Retries, RetryPolicy, Task, TaskPhase, TaskStatus
from mjasync._submission_tasks import SubmissionTask
from mjasync.simulator import Simulator
from support.clients import AT_ONCE, EAGER, connect
from support.clock import FakeClock
from support.internals import suppress_unawaited_warning
from support.loopback import ScriptedApp
from support.ports import reserved_port
from support.sent_requests import count_sent, submits
from support.waiting import eventually, leave, turns


class Gated(ScriptedApp):
    """A server that answers submissions with what it is given, once its gate is open."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = [*answers, {"code": 1, "result": "42", "description": "ok"}]
        self.asked = 0
        self.gate = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        if "/submit/" not in request.path:
            return web.json_response({"id": "42", "status": "SUCCESS"})
        self.asked += 1
        await self.gate.wait()
        return web.json_response(self.answers.pop(0))

    async def left(self, task: Task) -> None:
        """Wait for a Task and leave as soon as its submission is on the wire."""
        waiter = asyncio.ensure_future(task.wait())
        await eventually(lambda: self.asked == 1)
        await leave(waiter)


# --- uncertain ---------------------------------------------------------------------------------


async def test_a_reset_after_accepting_is_never_sent_again(plain: Simulator) -> None:
    """With every answer lost, 50 imagines are 50 submissions and 50 `SubmitUncertain`."""
    plain.fault("reset_after", on="submit", times=None)
    async with connect(plain) as mj:
        tasks = [mj.imagine(f"fox {n}") for n in range(50)]
        done = await mj.gather(*tasks, return_exceptions=True)
        for _ in range(2):  # and awaiting them once more changes nothing
            errors = [task.error for task in done]
            assert {type(error) for error in errors} == {mjasync.SubmitUncertain}
            assert submits(plain) == len(plain.submissions) == 50
            await mj.gather(*tasks, return_exceptions=True)
    assert [error.payload["prompt"] for error in errors] == [f"fox {n}" for n in range(50)]
    assert {error.state for error in errors} == {s.state for s in plain.submissions}
    assert {(error.endpoint, error.retryable) for error in errors} == {("imagine", False)}
    assert [error.task for error in errors] == tasks


async def test_resets_on_reads_cost_nothing() -> None:
    """With resets on 30 % of the reads 200 tasks all finish, and are 200 submissions."""
    async with Simulator(time_scale=0.001, draw=False, concurrency=200) as sim:
        for place in ("fetch", "list"):
            sim.fault("reset_before", on=place, times=None, chance=0.15)
            sim.fault("reset_after", on=place, times=None, chance=0.15)
        async with connect(sim) as mj:
            done = await mj.gather(*(mj.imagine(f"fox {n}") for n in range(200)))
        assert {task.status for task in done} == {TaskStatus.SUCCESS}
        assert {task.id for task in done} == {s.task_id for s in sim.submissions}
        assert submits(sim) == len(sim.submissions) == 200


AMBIGUOUS = [
    ("reset_before", {}, 0),
    ("reset_after", {}, 1),
    ("truncated", {}, 1),
    ("reply", {"status": 502, "body": "<html>bad gateway</html>"}, 0),
    ("reply", {"status": 504}, 0),
    ("reply", {"status": 503, "body": "<html>maintenance</html>"}, 0),
    ("reply", {"status": 503, "body": {"error": "Service Unavailable"}}, 0),
    ("reply", {"status": 499}, 0),
    ("reply", {"status": 500, "body": {"code": 1, "result": "1", "description": "ok"}}, 0),
    ("reply", {"status": 200, "body": ""}, 0),
    ("reply", {"status": 200, "body": "{"}, 0),
    ("reply", {"status": 400, "body": {"code": 5, "description": "do_request_failed "}}, 0),
]


@pytest.mark.parametrize("kind, options, taken", AMBIGUOUS)
@pytest.mark.parametrize("press", [False, True], ids=["imagine", "action"])
async def test_what_is_ambiguous_is_sent_once(
    plain: Simulator, kind: str, options: dict[str, Any], taken: int, press: bool
) -> None:
    """Whatever leaves it open whether the server took the job raises, and is never repeated."""
    async with connect(plain) as mj:
        task = (await mj.imagine("a fox")).upscale(1) if press else mj.imagine("a fox")
        before, asked = len(plain.submissions), submits(plain)
        plain.fault(kind, on="submit", times=None, **options)
        for _ in range(2):
            with pytest.raises(mjasync.SubmitUncertain) as caught:
                await task
            assert caught.value.task is task
        assert submits(plain) == asked + 1
        assert len(plain.submissions) == before + taken
        assert caught.value.state == caught.value.payload["state"]


async def test_a_hook_that_fails_during_the_search(plain: Simulator) -> None:
    """Looking for a lost submission may fail in any way: it stays uncertain, and is sent once."""

    async def hook(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.method == "GET":
            raise LookupError("a hook of the caller's")
        return await handler(request)

    plain.fault("reset_after", on="submit")
    async with (
        aiohttp.ClientSession(middlewares=(hook,)) as session,
        connect(plain, session=session, reconcile=True) as mj,
    ):
        task = mj.imagine("a fox")
        for _ in range(2):
            with pytest.raises(mjasync.SubmitUncertain):
                await task
    assert len(plain.submissions) == 1


class LingeringClock(Clock):
    """A clock on which a submission that waits for a retry, and is cancelled, ends late."""

    def __init__(self) -> None:
        self.is_waiting = asyncio.Event()
        self.may_end = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Sleep; a submission sleeps until it is cancelled."""
        if not isinstance(asyncio.current_task(), SubmissionTask):
            await super().sleep(seconds)
            return
        self.is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()


async def test_a_run_that_ends_late_leaves_the_next_one_alone() -> None:
    """The state of a submission is that of the run in flight, not of one that was cancelled."""
    server = Gated({"code": 3, "description": "无可用的账号实例"})
    server.gate.set()
    clock = LingeringClock()
    async with server.open(clock=clock) as mj:
        task = mj.imagine("a fox")
        first = asyncio.ensure_future(task.submit())
        await clock.is_waiting.wait()
        server.gate.clear()
        first.cancel()
        await turns(5)
        second = asyncio.ensure_future(task.submit())
        await eventually(lambda: server.asked == 2)
        clock.may_end.set()
        await turns(10)
        assert (task.phase, task.error) == (TaskPhase.SENDING, None)
        server.gate.set()
        await second
        assert (task.id, task.error, server.asked) == ("42", None, 2)
        await asyncio.gather(first, return_exceptions=True)


async def test_a_prompt_that_is_no_text() -> None:
    """A prompt that `extra` replaced by a list is compared with that of the server all the same."""

    class Other(ScriptedApp):
        async def answer(self, request: web.BaseRequest) -> web.Response:
            if "/submit/" in request.path:
                return web.json_response({"code": 1, "result": "7"})
            return web.json_response({"id": "7", "state": "other", "prompt": "q", "status": ""})

    async with Other().open() as mj:
        with pytest.raises(mjasync.TaskShadowed):
            await mj.imagine("x", extra={"prompt": ["a"]})


async def test_cancelled_by_others_on_the_wire(plain: Simulator) -> None:
    """Whoever cancels every task of the loop leaves it open whether the job was taken."""
    plain.fault("slow_body", on="submit", gap=0.5)
    async with connect(plain) as mj:
        task = mj.imagine("a fox")
        waiting = asyncio.ensure_future(task.submit())
        await eventually(lambda: len(plain.submissions) == 1)
        for job in mj._context.submission_tasks._tasks:
            job.cancel()
        for _ in range(2):
            with pytest.raises(mjasync.SubmitUncertain, match="cancelled") as caught:
                await waiting
            waiting = asyncio.ensure_future(task.submit())
        await asyncio.gather(waiting, return_exceptions=True)
    assert caught.value.state == plain.submissions[0].state
    assert len(plain.submissions) == 1


@pytest.mark.slow
async def test_a_silent_server_is_uncertain() -> None:
    """A server that takes a request and never answers: no second request, an error in time."""
    server = Gated()
    async with server.open(submit_timeout=0.05) as mj:
        with pytest.raises(mjasync.SubmitUncertain):
            await mj.imagine("a fox")
        assert server.asked == 1
        server.gate.set()


async def test_a_hook_that_fails_is_uncertain(plain: Simulator) -> None:
    """An error of one's own trace config may come after the request has gone out."""
    trace = aiohttp.TraceConfig()

    async def fail(*_: object) -> None:
        raise KeyError("my dashboard")

    trace.on_request_end.append(fail)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        connect(plain, session=session) as mj,
    ):
        with pytest.raises(mjasync.SubmitUncertain, match="my dashboard"):
            await mj.imagine("a fox")
    assert submits(plain) == len(plain.submissions) == 1


@pytest.mark.parametrize("reconcile", [None, True])
async def test_reconciling_finds_the_job(
    plain: Simulator, clock: FakeClock, reconcile: bool | None
) -> None:
    """A submission whose answer was lost is found by its mark, where the server keeps a list."""
    async with connect(plain, clock=clock, reconcile=reconcile, **ENDLESS) as mj:
        plain.fault("reset_after", on="submit", endpoint="imagine")
        plain.fault("reply", on="list", status=200, body=[])
        waiting = asyncio.ensure_future(mj.imagine("a fox").upscale(1).wait())
        await clock.until_done(waiting, mj)
        big = await waiting
    assert big.parent.id == plain.submissions[0].task_id
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action"]
    assert sum(request.endpoint == "list" for request in plain.requests) == 2


@pytest.mark.parametrize("reconcile, lists", [(None, 1), (True, 2), (False, 0)])
async def test_a_server_without_a_list_is_asked_once(
    plain: Simulator, clock: FakeClock, reconcile: bool | None, lists: int
) -> None:
    """By default a server that keeps no list is not asked for it again."""
    async with connect(plain, clock=clock, reconcile=reconcile, **ENDLESS) as mj:
        plain.fault("reply", on="list", times=None, status=404)
        plain.fault("reply", on="submit", times=None, status=503)
        for _ in range(2):
            waiting = asyncio.ensure_future(mj.imagine("a fox").wait())
            await clock.until_done(waiting, mj)
            with pytest.raises(mjasync.SubmitUncertain):
                await waiting
    assert submits(plain) == 2
    assert count_sent(plain, "list") == lists


OWN = f"mjasync-{7:032x}"
NOW = "Fri, 01 Jan 2100 12:00:00 GMT"
TWELVE = 4_102_488_000_000
"""The same, as servers write the times of tasks."""


@pytest.mark.parametrize(
    "mark, dated, submitted, is_found",
    [
        (OWN, True, TWELVE - 3_600_000, True),
        (OWN, False, TWELVE, True),
        ("mine", True, TWELVE - 1000, True),
        ("mine", True, TWELVE - 300_000, False),
        ("mine", True, None, False),
        ("mine", False, TWELVE, False),
    ],
    ids=["made up", "no date", "new", "old", "no time", "neither"],
)
async def test_ages_are_judged_by_the_servers_clock(
    plain: Simulator,
    clock: FakeClock,
    *,
    mark: str,
    dated: bool,
    submitted: int | None,
    is_found: bool,
) -> None:
    """A mark of the caller's finds a task only if the server's clock says that it is new."""
    async with connect(plain, clock=clock, reconcile=True, **ENDLESS) as mj:
        plain.fault("reply", on="submit", times=None, status=503)
        headers = {"Date": NOW} if dated else {"Date": NOW, "Age": "9"}
        rows = [{"id": "7", "state": mark, "submitTime": submitted}]
        plain.fault("reply", on="list", times=None, status=200, body=rows, headers=headers)
        task = mj.imagine("a fox", state=mark)
        waiting = asyncio.ensure_future(task.submit())
        await clock.until_done(waiting, mj)
        found = await asyncio.gather(waiting, return_exceptions=True)
    assert (task.id == "7") == is_found
    assert isinstance(found[0], mjasync.SubmitUncertain) != is_found


@pytest.mark.parametrize("lists", ["nothing", "others", "twice", "older", "error"])
async def test_reconciling_never_guesses(plain: Simulator, clock: FakeClock, lists: str) -> None:
    """A job that is not there, or not the only one, or an old one, stays uncertain."""
    shown: dict[str, Callable[[str], list[dict[str, Any]]]] = {
        "nothing": lambda _: [],
        "others": lambda _: [{"id": "1", "state": "another"}, {"id": "2"}],
        "twice": lambda state: [{"id": "1", "state": state}, {"id": "2", "state": state}],
        "older": lambda state: [{"id": "1", "state": state, "submitTime": 1000}],
    }
    async with connect(plain, clock=clock, reconcile=True, **ENDLESS) as mj:
        plain.fault("reset_before", on="submit")
        reply = {"status": 200, "body": shown[lists]("mine")} if lists in shown else {"status": 404}
        looks = plain.fault("reply", on="list", times=None, **reply)
        task = mj.imagine("a fox", state="mine")
        waiting = asyncio.ensure_future(task.wait())
        await clock.until_done(waiting, mj)
        with pytest.raises(mjasync.SubmitUncertain) as caught:
            await waiting
        assert (caught.value.state, task.id) == ("mine", "")
        assert looks.hits == (1 if lists == "error" else 3)


async def test_an_answered_modal_is_not_reconciled(plain: Simulator, clock: FakeClock) -> None:
    """The task of a modal has the mark of the press: finding it proves nothing."""
    async with connect(plain) as quick:
        pressed = await quick.imagine("a fox").upscale(1).action("Custom Zoom").submit()
    async with connect(plain, clock=clock, reconcile=True, **ENDLESS) as mj:
        plain.fault("reset_after", on="submit")
        answer = mj.task(pressed.id).modal("a fox --zoom 1.5")
        waiting = asyncio.ensure_future(answer.wait())
        await clock.until_done(waiting, mj)
        with pytest.raises(mjasync.SubmitUncertain):
            await waiting
        assert not count_sent(plain, "list")


# --- provably not taken ------------------------------------------------------------------------

REFUSED_FOR_NOW = [
    {"status": 200, "body": {"code": 23, "description": "队列已满，请稍后尝试", "result": None}},
    {"status": 200, "body": {"code": 9, "description": "提交失败，队列已满，请稍后重试"}},
    {"status": 429},
    {"status": 429, "body": {"code": 30, "description": "当前分组负载已饱和 ", "type": "x"}},
    {"status": 503, "body": {"error": {"message": "system cpu overloaded (current: 97.2%)"}}},
    {"status": 503, "body": {"error": {"message": "No available channel for model mj_imagine"}}},
    {"status": 200, "body": {"code": 3, "description": "无可用的账号实例"}},
]


@pytest.mark.parametrize("reply", REFUSED_FOR_NOW)
async def test_what_was_provably_not_taken_is_sent_again(
    plain: Simulator, reply: dict[str, Any]
) -> None:
    """Queue full, rate limits, overload and "no account" are tried again, until one is accepted."""
    async with connect(plain) as mj:
        plain.fault("reply", on="submit", times=3, **reply)
        task = await mj.imagine("a fox")
        assert task.id == plain.submissions[0].task_id
    assert (submits(plain), len(plain.submissions)) == (4, 1)


@pytest.mark.parametrize("reply", REFUSED_FOR_NOW)
async def test_patience_with_a_refusal_ends(plain: Simulator, reply: dict[str, Any]) -> None:
    """Without a second attempt the refusal itself is raised, as one that may be tried again."""
    async with connect(plain, retries=Retries.none()) as mj:
        plain.fault("reply", on="submit", times=None, **reply)
        task = mj.imagine("a fox")
        with pytest.raises(mjasync.MJError) as caught:
            await task
        assert caught.value.retryable
        assert not isinstance(caught.value, mjasync.SubmitUncertain)
        assert caught.value.task is task
    assert submits(plain) == 1


async def test_queues_that_fill_naturally() -> None:
    """More jobs than the server's queue holds all get in as places become free, each once."""
    async with (
        Simulator(time_scale=0.003, draw=False, concurrency=2, queue_size=1) as sim,
        connect(sim) as mj,
    ):
        sim.fault("stall", at=10, times=2)
        tasks = [mj.imagine(f"fox {n}") for n in range(8)]
        ending = asyncio.gather(*tasks, return_exceptions=True)
        await eventually(lambda: submits(sim) > 8)  # two stand still, one waits, five ask again
        assert len(sim.submissions) == 3
        for stalled in sim.submissions[:2]:
            await mj.task(stalled.task_id).cancel()
        await ending
        assert Counter(task.status for task in tasks) == {"SUCCESS": 6, "CANCEL": 2}
        assert len(sim.submissions) == 8
        assert sim.max_in_flight == 3


async def test_retry_after_is_kept_to(plain: Simulator) -> None:
    """A wait the server asks for beyond the budget is not begun, and is on the error."""
    async with connect(plain, retries=Retries(overloaded=RetryPolicy(max_elapsed=5))) as mj:
        plain.fault("reply", on="submit", status=429, headers={"Retry-After": "600"})
        with pytest.raises(mjasync.RateLimited) as caught:
            await mj.imagine("a fox")
        assert caught.value.retry_after == 600
        plain.fault("reply", on="submit", status=429, headers={"Retry-After": "0"})
        assert (await mj.imagine("a fox")).done
    assert (submits(plain), len(plain.submissions)) == (3, 1)


async def test_a_refused_connection_is_tried_again() -> None:
    """A server that is not up yet has taken nothing: the submission waits for it."""
    retries = Retries(connect=RetryPolicy(max_attempts=1000, initial_delay=0.001, max_delay=0.01))
    with reserved_port() as port:
        sim = Simulator(time_scale=0, draw=False, port=port)
        async with connect(sim, base_url=f"http://127.0.0.1:{port}", retries=retries) as mj:
            task = mj.imagine("a fox")
            waiting = asyncio.ensure_future(task.wait())
            await eventually(
                lambda: task._pending is not None and task._pending._asyncio_task is not None
            )
            async with sim:
                assert (await waiting).done
                assert len(sim.submissions) == 1


async def test_nobody_there() -> None:
    """After enough refused connections it is said so; that may be tried again."""
    with reserved_port() as port:
        async with Client(f"http://127.0.0.1:{port}", retries=EAGER) as mj:
            with pytest.raises(mjasync.ConnectionFailed) as caught:
                await mj.imagine("a fox")
        assert caught.value.retryable
        assert isinstance(caught.value, ConnectionError)


async def test_a_permanent_refusal_is_not_repeated(plain: Simulator) -> None:
    """A wrong token is not tried twice."""
    async with connect(plain, token="wrong") as mj:
        with pytest.raises(mjasync.AuthenticationError):
            await mj.imagine("a fox")
    assert submits(plain) == 1


async def test_numeric_ids_are_understood(plain: Simulator) -> None:
    """An id sent as a number is the id as a string from then on."""
    async with connect(plain) as mj:
        plain.fault("numeric_result")
        task = await mj.imagine("a fox")
        assert task.id == plain.submissions[0].task_id
        assert (await task.upscale(1)).parent is task


# --- leaving -----------------------------------------------------------------------------------


async def test_a_submission_on_the_wire_outlives_its_waiters(plain: Simulator) -> None:
    """Cancelled while the answer is under way, the id is still recorded on the Task."""
    async with connect(plain) as mj:
        plain.fault("slow_body", on="submit", gap=0.0005)
        task = mj.imagine("a fox")
        waiter = asyncio.ensure_future(task.wait())
        await eventually(lambda: bool(plain.submissions))
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert task.id == ""
        await eventually(lambda: task.id != "")
        assert (await task).id == plain.submissions[0].task_id
    assert submits(plain) == 1


ENDLESS = {"timeout": math.inf, "stall_timeout": math.inf}
FULL = {"code": 23, "description": "队列已满，请稍后尝试", "result": None}
PATIENT = Retries(overloaded=RetryPolicy(initial_delay=1000, max_delay=1000, max_elapsed=9e9))


async def test_an_answer_nobody_waits_for_is_remembered() -> None:
    """So is a refusal that arrives when everybody has left."""
    server = Gated({"code": 24, "description": "可能包含敏感词", "result": None})
    async with server.open() as mj:
        task = mj.imagine("a fox")
        await server.left(task)
        server.gate.set()
        with pytest.raises(mjasync.BannedPrompt):
            await task
    assert server.asked == 1


async def test_nothing_is_sent_again_for_nobody() -> None:
    """When everybody has left, a refused attempt is not repeated; whoever returns starts over."""
    server = Gated(FULL)
    async with server.open() as mj:
        task = mj.imagine("a fox")
        await server.left(task)
        server.gate.set()
        await eventually(lambda: not mj._context.submission_tasks)
        assert (server.asked, task.id) == (1, "")
        assert (await task).id == "42"
    assert server.asked == 2


async def test_whoever_returns_in_time_is_served() -> None:
    """Somebody who waits again before the refusal has another attempt made."""
    server = Gated(FULL)
    async with server.open() as mj:
        task = mj.imagine("a fox")
        await server.left(task)
        again = asyncio.ensure_future(task.wait())
        await turns(3)
        server.gate.set()
        assert (await again).id == "42"
    assert server.asked == 2


async def test_closing_waits_for_what_is_on_the_wire(plain: Simulator) -> None:
    """`close()` lets a submission get its answer, and tells its waiter that the client closed."""
    async with connect(plain) as mj:
        plain.fault("slow_body", on="submit", gap=0.0005)
        task = mj.imagine("a fox")
        waiter = asyncio.ensure_future(task.wait())
        await eventually(lambda: bool(plain.submissions))
    with pytest.raises(mjasync.ClientClosed):
        await waiter
    assert task.id == plain.submissions[0].task_id


async def test_closing_waits_for_no_other_attempt() -> None:
    """`close()` does not wait until a full queue has room, and lets nothing else begin."""
    server = Gated(FULL)
    async with server.open(retries=PATIENT) as mj:
        waiter = asyncio.ensure_future(mj.imagine("a fox").wait())
        await eventually(lambda: server.asked == 1)
        closing = asyncio.ensure_future(mj.close())
        await turns(3)
        with pytest.raises(mjasync.ClientClosed):
            await mj.imagine("too late")
        server.gate.set()
        await closing
        with pytest.raises((mjasync.QueueFull, mjasync.ClientClosed)):
            await waiter
    assert server.asked == 1


async def test_closing_drops_what_was_not_sent(plain: Simulator) -> None:
    """A submission that waits for its turn to be tried again is not sent by a closed client."""
    mj = connect(plain, retries=PATIENT)
    plain.fault("reply", on="submit", times=None, status=429)
    task = mj.imagine("a fox")
    waiter = asyncio.ensure_future(task.wait())
    await eventually(lambda: submits(plain) == 1 and plain.requests[-1].status == 429)
    await eventually(lambda: not mj._context.submission_tasks.in_flight)
    await mj.close()
    with pytest.raises(mjasync.ClientClosed):
        await waiter
    assert submits(plain) == 1


# --- leaving at random -------------------------------------------------------------------------

TROUBLES: list[tuple[str, dict[str, Any]]] = [
    ("reply", {"status": 429}),
    ("reply", {"status": 200, "body": {"code": 23, "description": "队列已满", "result": None}}),
    ("numeric_result", {}),
]
"""What may happen to a submission without leaving it open whether it was taken."""


async def drain(task: Task) -> None:
    """Follow a Task's updates."""
    async for _ in task:
        pass


WAYS: list[Callable[[Task], Coroutine[Any, Any, object]]] = [
    drain,
    Task.wait,
    Task.submit,
    lambda task: task.wait(timeout=5),
]


@st.composite
def interleavings(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what is waited for, when each waiter comes and leaves, and what goes wrong."""
    turn = st.integers(0, 40)
    return {
        "presses": draw(st.integers(0, 2)),
        "troubles": draw(st.lists(st.sampled_from(TROUBLES), max_size=2)),
        "waiters": draw(
            st.lists(st.tuples(st.integers(0, 2), st.sampled_from(WAYS), turn, turn), max_size=4)
        ),
        "returns": draw(st.booleans()),
    }


@pytest.mark.slow
@given(interleavings())
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_cancelling_at_random(plain: Simulator, story: dict[str, Any]) -> None:
    """However waiters of a chain come and go: no accepted id is lost, nothing is sent twice."""
    plain.submissions.clear()
    faults = [plain.fault(kind, on="submit", **options) for kind, options in story["troubles"]]
    before = asyncio.all_tasks()
    mj = connect(plain)
    chain = [suppress_unawaited_warning(mj.imagine("a fox"))]
    for _ in range(story["presses"]):
        chain.append(chain[-1].action("U1" if len(chain) == 1 else "Vary (Subtle)"))
    suppress_unawaited_warning(chain[-1])
    waiters = [
        asyncio.ensure_future(come_and_go(way(chain[which % len(chain)]), arrival, stay))
        for which, way, arrival, stay in story["waiters"]
    ]
    await asyncio.gather(*waiters)
    if story["returns"]:
        assert (await chain[-1]).status is TaskStatus.SUCCESS
        assert len(plain.submissions) == len(chain)
    await mj.close()
    ids = [submission.task_id for submission in plain.submissions]
    assert [task.id for task in chain if task.id] == ids
    assert len({submission.state for submission in plain.submissions}) == len(ids)
    for fault in faults:
        fault.remove()
    await turns(5)
    left = {task for task in asyncio.all_tasks() - before if "web_protocol" not in repr(task)}
    assert not left


async def come_and_go(waiting: Coroutine[Any, Any, object], arrival: int, stay: int) -> None:
    """Wait for something from some turn of the loop on, for some turns."""
    await turns(arrival)
    waiter = asyncio.ensure_future(waiting)
    await turns(stay)
    await leave(waiter)


async def test_nothing_is_left_when_everybody_left(plain: Simulator) -> None:
    """After a client was closed amid waiting nothing of it remains: no task, no session."""
    mj = connect(plain)
    waiters = [asyncio.ensure_future(mj.imagine(f"fox {n}").wait()) for n in range(10)]
    await turns(3)
    for waiter in waiters[::2]:
        waiter.cancel()
    await mj.close()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert (
        mj._context.submission_tasks._tasks,
        mj._context.submission_tasks.in_flight,
        mj._context.poller._fetcher.asyncio_tasks,
    ) == (
        set(),
        set(),
        set(),
    )
    assert (
        mj._context.api.transport.sessions._server_session is None
        or mj._context.api.transport.sessions._server_session.closed
    )
    del mj, waiters
    gc.collect()


def test_the_policy_for_tests_is_quick() -> None:
    """Tests try again at once; by default a full queue is given an hour."""
    assert AT_ONCE.max_delay < 0.01
    assert Retries().overloaded.max_elapsed == 3600.0
