"""A Task from before it is sent until it has ended: closed, shadowed, serialized, and told of."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

import mjasync
from mjasync import Client, Task, TaskInfo, TaskPhase, TaskStatus
from mjasync._http.bodies import FileContent, RequestBody
from mjasync.batch import Batch, JobStatus
from mjasync.cli.task_jobs import TaskRun
from mjasync.cli.task_text import task_dict
from mjasync.simulator import Simulator
from support.clients import Every, connect
from support.clock import FakeClock
from support.internals import suppress_unawaited_warning
from support.loopback import ScriptedApp
from support.waiting import eventually, leave, turns

# --- closed --------------------------------------------------------------------------------------


async def test_a_closed_task_is_not_sent_and_does_not_warn(
    mj_plain: Client, plain: Simulator
) -> None:
    """As with a coroutine; awaiting it says so, however often."""
    task = mj_plain.imagine("a fox")
    task.close()
    task.close()
    for _ in range(2):
        with pytest.raises(mjasync.TaskCancelled, match="closed before it was sent") as caught:
            await task
        assert caught.value.task is task
    assert task.phase is TaskPhase.CLOSED
    assert "closed" in repr(task)
    with pytest.raises(mjasync.TaskCancelled):
        await task.upscale(1)
    assert plain.requests == []


async def test_cancelling_what_is_not_sent_closes_it(mj_plain: Client, plain: Simulator) -> None:
    """There is nothing to ask the server."""
    task = mj_plain.imagine("a fox")
    assert await task.cancel() is task
    with pytest.raises(mjasync.TaskCancelled):
        await task.submit()
    assert plain.requests == []


async def test_closing_what_was_sent_changes_nothing(mj_plain: Client) -> None:
    """It is paid, and goes on."""
    task = await mj_plain.imagine("a fox").submit()
    task.close()
    assert (await task).done


async def test_cancelling_what_is_on_the_wire_asks_the_server_then() -> None:
    """The submission gets its answer first: it cannot be called back."""
    async with Simulator(time_scale=1e9) as sim, connect(sim) as mj:
        sim.fault("slow_body", on="submit", gap=0.0005)
        task = mj.imagine("a fox")
        waiting = asyncio.ensure_future(task.wait())
        await eventually(lambda: bool(sim.submissions))
        await task.cancel()
        with pytest.raises(mjasync.TaskCancelled):
            await waiting
    assert len(sim.submissions) == 1


async def test_closing_lets_go_of_whoever_waits(clock: FakeClock) -> None:
    """A submission that is held up is not tried any more."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        sim.fault("reply", on="submit", times=None, status=200, body={"code": 23})
        task = mj.imagine("a fox")
        waiting = asyncio.ensure_future(task.wait())
        await eventually(lambda: task.phase is TaskPhase.HELD_UP)
        task.close()
        with pytest.raises(mjasync.TaskCancelled):
            await waiting
        before = len(sim.requests)
        await clock.advance(1000, mj)
        assert len(sim.requests) == before


def test_asyncio_says_what_to_write() -> None:
    """A Task is no coroutine: the error of asyncio shows its repr, which says what to pass."""
    task = suppress_unawaited_warning(Client("http://127.0.0.1:1").imagine("a fox"))
    with pytest.raises((TypeError, ValueError), match=r"pass its \.wait\(\)"):
        asyncio.run(task)  # type: ignore[arg-type]


async def test_create_task_says_what_to_write(mj_plain: Client) -> None:
    """So does `create_task`, alone and of a group."""
    task = suppress_unawaited_warning(mj_plain.imagine("a fox"))
    with pytest.raises(TypeError, match=r"pass its \.wait\(\)"):
        asyncio.create_task(task)  # type: ignore[arg-type]  # noqa: RUF006
    async with asyncio.TaskGroup() as group:
        with pytest.raises(TypeError, match=r"pass its \.wait\(\)"):
            group.create_task(task)  # type: ignore[arg-type]


# --- many of them, cancelled ---------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
async def test_a_cancelled_gather_closes_what_was_not_begun(begun: bool) -> None:
    """Nothing warns, what was sent goes on, and the rest is not sent by mistake later."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with Simulator(time_scale=1e9) as sim, connect(sim) as mj:
            tasks = [mj.imagine(f"fox {n}") for n in range(6)]
            gathering = asyncio.ensure_future(mj.gather(*tasks, limit=2))
            if begun:
                await eventually(lambda: bool(tasks[0].id and tasks[1].id))
            await leave(gathering)
            assert len(sim.submissions) == (2 if begun else 0)
            if begun:
                with pytest.raises(mjasync.TaskCancelled, match="closed"):
                    await tasks[5]
                assert tasks[0].phase is not TaskPhase.CLOSED
            tasks.clear()
            del gathering
            gc.collect()


async def test_a_cancelled_as_completed_closes_what_was_not_begun() -> None:
    """As `gather` does; leaving the loop by `break` closes nothing."""
    async with Simulator(time_scale=1e9) as sim, connect(sim) as mj:
        tasks = [mj.imagine(f"fox {n}") for n in range(4)]
        waiting = asyncio.ensure_future(anext(mj.as_completed(tasks, limit=1)))
        await eventually(lambda: bool(tasks[0].id))
        await leave(waiting)
        assert [task.phase is TaskPhase.CLOSED for task in tasks] == [False, True, True, True]


async def test_what_others_wait_for_is_not_closed(mj_plain: Client) -> None:
    """A Task that somebody else has begun is none of the gather's to close."""
    async with Simulator(time_scale=1e9) as sim, connect(sim) as mj:
        shared = await mj.imagine("a fox").submit()
        held = mj.imagine("an owl")
        gathering = asyncio.ensure_future(mj.gather(shared, held, shared.upscale(1), limit=1))
        await turns(5)
        waiting = asyncio.ensure_future(held.wait())
        await eventually(lambda: bool(held.id))
        await leave(gathering)
        assert held.phase is not TaskPhase.CLOSED
        await leave(waiting)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are told by Linux")
async def test_a_file_is_closed_when_its_submission_stops(tmp_path: Path) -> None:
    """Not only when it is collected: the reading may be under way in a thread."""

    def is_open() -> bool:
        opened = set()
        for file in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                opened.add(file.readlink())
        return path.resolve() in opened

    path = tmp_path / "fox.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5_000_000))
    found = FileContent.from_path(path)
    assert isinstance(found, FileContent)
    pieces = RequestBody((found,)).pieces()
    await anext(pieces)
    assert is_open()
    await pieces.aclose()
    await eventually(lambda: not is_open())
    sending = asyncio.ensure_future(anext(RequestBody((found,)).pieces()))
    await turns(2)
    await leave(sending)
    await eventually(lambda: not is_open())


# --- a server that says what it wants ------------------------------------------------------------


class Telling(ScriptedApp):
    """A server that accepts everything as task 42, and tells of it as the test says."""

    def __init__(self, *told: Mapping[str, Any]) -> None:
        self.told = [dict(one) for one in told]
        self.listed: list[dict[str, Any]] | None = None
        self.sent: list[dict[str, Any]] = []
        self.kinds: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        body = await request.read()
        self.kinds.append(request.path.split("/")[-1])
        if "/submit/" in request.path:
            self.sent.append(orjson.loads(body))
            return web.json_response({"code": 1, "result": "42", "description": ""})
        if request.path.endswith("list-by-condition"):
            if self.listed is None:
                return web.Response(status=404)
            return web.json_response([{"id": "42", **one} for one in self.listed])
        if request.path.endswith("queue"):
            return web.json_response([{"id": str(n), **one} for n, one in enumerate(self.told)])
        told = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        return web.json_response({"id": "42", "action": "IMAGINE", **told})


RUNNING = {"status": "IN_PROGRESS", "progress": "10%", "prompt": "a fox"}
DONE = {"status": "SUCCESS", "progress": "100%", "prompt": "a fox"}
OTHER = {"state": "mjasync-somebody-elses", "prompt": "an owl"}


@pytest.mark.parametrize("wait", [Task.wait, Task.refresh], ids=["wait", "refresh"])
@pytest.mark.parametrize(
    "told",
    [
        [{**RUNNING, **OTHER}],
        [{**DONE, **OTHER}],
        [{**DONE, "state": "order-9", "prompt": "an owl"}],
        [{**DONE, "state": "mjasync-somebody-elses"}],
    ],
)
async def test_another_task_under_the_same_id_is_an_error(
    told: list[dict[str, Any]],
    wait: Any,  # noqa: ANN401 - a method
) -> None:
    """The state that a server repeats is not the one sent: nobody sees another's prompt."""
    server = Telling(*told)
    async with server.open() as mj:
        task = await mj.imagine("a fox").submit()
        for _ in range(2):
            with pytest.raises(mjasync.TaskShadowed, match="another task") as caught:
                await wait(task)
            assert (caught.value.task_id, task.prompt, task.done) == ("42", "a fox", False)


async def test_a_state_that_was_repeated_once_is_relied_on() -> None:
    """On a server that repeats states, another one is another task, the same prompt or not."""
    server = Telling(DONE)
    async with server.open() as mj:
        server.told = [{**DONE, "state": "order-1"}]
        assert await mj.imagine("a fox", state="order-1")
        with pytest.raises(mjasync.TaskShadowed):
            await mj.imagine("a fox", state="order-2")


@pytest.mark.parametrize("state", [None, "", 0, {}, "the gateway's own"], ids=repr)
async def test_a_server_that_repeats_no_state(state: object) -> None:
    """Gateways repeat none, or put one of their own in its place: that is no other task."""
    server = Telling({**RUNNING, "state": state}, {**DONE, "state": state})
    async with server.open() as mj:
        assert (await mj.imagine("a fox")).done


async def test_an_attached_task_has_any_state() -> None:
    """What was submitted elsewhere carries a state that nobody here knows."""
    server = Telling({**DONE, **OTHER})
    async with server.open() as mj:
        assert (await mj.task("42")).prompt == "an owl"


async def test_a_resumed_batch_saves_nobody_elses_picture(tmp_path: Path) -> None:
    """What a batch submitted in an earlier run is told from another task by its mark as well."""
    server = Telling({"status": "IN_PROGRESS"})
    async with server.open(timeout=0.01) as mj, Batch(tmp_path / "out", client=mj) as batch:
        batch.add(["a fox"])
        assert [job.status async for job in batch.run()] == [JobStatus.ACCEPTED]
    server.told = [{**DONE, **OTHER, "imageUrl": "http://127.0.0.1:1/owl.png"}]
    async with server.open() as mj, Batch(tmp_path / "out", client=mj) as batch:
        (job,) = [job async for job in batch.run()]
    assert (job.status, job.error_class) == (JobStatus.FAILED, "TaskShadowed")
    assert len(server.sent) == 1


async def test_a_stale_answer_brings_nothing_back_to_life() -> None:
    """What has ended stays so, whatever a cache says later."""
    server = Telling(DONE)
    async with server.open() as mj:
        task = await mj.imagine("a fox")
        server.told = [RUNNING]
        await task.refresh()
        assert (task.status, task.phase) == (TaskStatus.SUCCESS, TaskPhase.FINISHED)
        assert await task


async def test_an_answered_modal_is_looked_at_by_list() -> None:
    """A gateway lists the end of it long before a single fetch shows it."""
    server = Telling({"status": "MODAL", "properties": {"finalPrompt": "a fox"}})
    async with server.open() as mj:
        answer = await mj.task("42").modal("a fox --zoom 1.5").submit()
        server.listed = [{"status": "MODAL"}, {**DONE}]
        server.kinds.clear()
        assert (await answer).done
        assert server.kinds == ["list-by-condition"]


async def test_an_answered_modal_where_there_is_no_list() -> None:
    """Then a single fetch has to do."""
    server = Telling({"status": "MODAL", "properties": {}})
    async with server.open() as mj:
        answer = await mj.task("42").modal("a fox").submit()
        server.told = [{"status": "MODAL"}, DONE]
        assert (await answer).done


async def test_the_queue_is_of_what_has_not_ended() -> None:
    """The original server keeps failed tasks in it."""
    words = ("SUCCESS", "FAILURE", "CANCEL", "SUBMITTED", "IN_PROGRESS", "")
    server = Telling(*({"status": word} for word in words))
    async with server.open() as mj:
        assert [info.id for info in await mj.queue()] == ["3", "4", "5"]


# --- one grid, without buttons -------------------------------------------------------------------


async def test_changes_of_one_grid_take_turns(original: Simulator) -> None:
    """A server that tells results apart by their prompt never has two of one grid at once."""
    async with connect(original) as mj:
        grid, other = await mj.gather(mj.imagine("a fox"), mj.imagine("an owl"))
        again = mj.task(grid.id)
        under_way = most = 0

        async def follow(task: Task) -> None:
            nonlocal under_way, most
            async for update in task:
                if update.task.id and update.task.id not in begun:
                    begun.add(update.task.id)
                    under_way += 1
                    most = max(most, under_way)
                under_way -= update.phase is TaskPhase.FINISHED and update.task is task

        begun: set[str] = {grid.id, other.id}
        pressed = [grid.vary(1), grid.reroll(), again.vary(2), again.reroll(), grid.vary(4)]
        async with asyncio.TaskGroup() as group:
            for task in (*pressed,):
                group.create_task(follow(task))
        assert most == 1
        assert {task.info.action for task in pressed} == {
            "VARIATION",
            "REROLL",
        }
        assert len({task.id for task in pressed}) == 5


async def test_changes_of_different_grids_do_not_wait() -> None:
    """Nor do picks of the same one."""
    async with Simulator("original", time_scale=0, draw=False) as sim, connect(sim) as mj:
        grids = await mj.gather(mj.imagine("a fox"), mj.imagine("an owl"))
        sim.fault("stall", times=None, for_ever=True)
        submitting = [grids[0].vary(1), grids[1].vary(1), grids[0].upscale(1), grids[0].upscale(2)]
        await asyncio.gather(*(task.submit() for task in submitting))
        late = asyncio.ensure_future(grids[0].reroll().submit())
        await turns(30)
        assert not late.done()
        await leave(late)


async def test_a_refused_change_lets_the_next_one_go(original: Simulator) -> None:
    """There is no job to wait for."""
    async with connect(original) as mj:
        grid = await mj.imagine("a fox")
        original.fault("reply", endpoint="change", status=200, body={"code": 4, "description": "x"})
        first, second = await mj.gather(grid.vary(1), grid.reroll(), return_exceptions=True)
        assert isinstance(first.error, mjasync.InvalidRequest)
        assert second.done


# --- webhooks before anybody waits ---------------------------------------------------------------


async def test_a_hook_before_the_first_wait_wakes_it(clock: FakeClock) -> None:
    """It is kept for a task that was submitted here, and the first look comes at once."""
    async with (
        Simulator(time_scale=0, draw=False) as sim,
        connect(sim, clock=clock, schedule=Every(500)) as mj,
    ):
        task = await mj.imagine("a fox").submit()
        assert mj.handle_webhook({"id": task.id})
        waiting = asyncio.ensure_future(task.wait())
        await clock.advance(1, mj)
        assert (await waiting).done
        assert not mj.handle_webhook({"id": task.id})  # it has ended, and nobody waits


async def test_nothing_is_kept_for_tasks_that_are_gone(mj_plain: Client) -> None:
    """A Task that was dropped can have no first wait."""
    task = await mj_plain.imagine("a fox").submit()
    task_id = task.id
    assert mj_plain.handle_webhook({"id": task_id})
    del task
    gc.collect()
    assert not mj_plain.handle_webhook({"id": task_id})
    assert mj_plain._context.poller._expected == {}


# --- snapshots -----------------------------------------------------------------------------------


async def test_a_snapshot_is_hashed_and_pickled(mj: Client) -> None:
    """Finished or under way, read or not; two that are equal hash alike."""
    task = mj.imagine("a fox")
    seen = [update async for update in task]
    for info in (*seen, task.info, TaskInfo(id="1", properties={"finalPrompt": ["a", {}]})):
        twin = pickle.loads(pickle.dumps(info))  # noqa: S301 - our own
        assert type(twin) is TaskInfo
        assert twin == info
        assert hash(twin) == hash(info)
        assert twin.raw == info.raw
    assert task.info != TaskInfo(id=task.id)
    assert task.info != task.id


async def test_a_record_is_what_the_command_line_prints(mj: Client, original: Simulator) -> None:
    """`to_dict()` and `to_json()` have what `--json` says of a task, buttons included."""
    async with connect(original) as other:
        for task in (await mj.imagine("a fox"), await other.imagine("a fox")):
            told = task.info.to_dict()
            assert json.loads(task.info.to_json()) == told
            printed = task_dict(TaskRun(create_task=lambda _: task, task=task))  # noqa: B023 - at once
            assert told == {key: printed[key] for key in told}
            assert set(printed) - set(told) == {"ok", "file", "error"}
            assert [button["label"] for button in told["buttons"][:4]] == ["U1", "U2", "U3", "U4"]


async def test_a_task_does_not_pickle_and_says_what_does(mj_plain: Client) -> None:
    """Its id goes to another process, and `mj.task(id)` takes it up there."""
    task = await mj_plain.imagine("a fox")
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"pickle task\.id"):
            copied(task)


async def test_the_phase_after_a_parent_that_failed(plain: Simulator) -> None:
    """A Task whose wait failed for what is before it in the chain is no new one."""
    async with connect(plain) as mj:
        closed = mj.imagine("a fox")
        refused = mj.imagine("nude")
        closed.close()
        for parent in (closed, refused):
            task = parent.upscale(1)
            assert task.phase is TaskPhase.NEW
            with pytest.raises(mjasync.MJError) as caught:
                await task
            assert task.phase is TaskPhase.FAILED
            assert repr(task) == f"<Task - upscale 1: failed ({type(caught.value).__name__})>"
