"""A Task: lazy, sent exactly once, awaited as often as one likes, followed up by its buttons."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import math
import warnings
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image

import mjasync
from mjasync import Client, Task, TaskStatus
from mjasync._protocol.buttons import ButtonMeaning, classify_button
from mjasync.simulator import Simulator
from support.clients import connect
from support.clock import FakeClock
from support.internals import suppress_unawaited_warning
from support.pictures import encode, png
from support.sent_requests import sent
from support.waiting import eventually


@contextlib.contextmanager
def no_requests(sim: Simulator) -> Iterator[None]:
    """Check that the block sends nothing."""
    before = len(sim.requests)
    yield
    assert [f"{r.method} {r.path}" for r in sim.requests[before:]] == []


# --- lazy, and sent once -----------------------------------------------------------------------


async def test_building_a_chain_sends_nothing(plain: Simulator) -> None:
    """Nothing goes out for a chain of any length until its last Task is awaited."""
    async with connect(plain) as mj:
        with no_requests(plain):
            chain = mj.imagine("a red fox").action("U1").zoom(1.8, "a fox").upscale(3)
            await asyncio.sleep(0)
            assert (chain.id, chain.status, chain.done) == ("", TaskStatus.NOT_START, False)
        last = await chain
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action", "modal", "action"]
    assert last.parent.parent.parent.parent.prompt == "a red fox"


@pytest.mark.parametrize(
    "build, name",
    [
        (lambda mj: mj.imagine("a red fox"), "imagine 'a red fox'"),
        (lambda mj: mj.imagine("a red fox").action("U1").vary("subtle"), "vary subtle"),
        (lambda mj: mj.task("42").modal("x"), "modal"),
    ],
)
async def test_a_dropped_task_warns_like_a_coroutine(
    mj: Client, build: Callable[[Client], Task], name: str
) -> None:
    """A Task that nobody ever awaits warns once, for the end of its chain, and says which."""
    with pytest.warns(RuntimeWarning, match=rf"{name}.*never awaited") as caught:
        build(mj)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "use", [Task.wait, Task.submit, suppress_unawaited_warning, lambda task: task]
)
async def test_a_task_that_was_used_does_not_warn(
    plain: Simulator, use: Callable[[Task], object]
) -> None:
    """However a Task is used, and attached ones anyway, dropping it afterwards is silent."""
    async with connect(plain) as mj:
        used = use(mj.imagine("a fox"))
        if not isinstance(used, Task) or used.id == "":
            used = used if asyncio.iscoroutine(used) else used.wait()
            await used
        mj.task("42")
        del used
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gc.collect()


async def test_many_waiters_submit_once(sim: Simulator, mj: Client) -> None:
    """However many wait, in whatever way, the request is sent once and all get the same Task."""
    task = mj.imagine("a lighthouse")

    async def follow() -> Task:
        async for _ in task:
            pass
        return task

    async def plainly() -> Task:
        return await task

    ways = [task.wait, plainly, follow, task.submit] * 5
    got = await asyncio.gather(*(way() for way in ways))
    assert set(got) == {task}
    assert task.status is TaskStatus.SUCCESS
    assert [s.task_id for s in sim.submissions] == [task.id]


async def test_wait_is_a_coroutine_for_a_task_group(plain: Simulator) -> None:
    """`wait()` is a real coroutine: task groups and `asyncio.wait_for` take it."""
    async with connect(plain) as mj, asyncio.TaskGroup() as group:
        waiting = group.create_task(mj.imagine("a fox").wait())
        assert (await asyncio.wait_for(waiting, 20)).done


async def test_siblings_share_their_parent(plain: Simulator) -> None:
    """Two presses on one grid, awaited at once, submit the grid once."""
    async with connect(plain) as mj:
        grid = mj.imagine("a fox")
        await asyncio.gather(grid.upscale(1).wait(), grid.upscale(2).wait(), grid.wait())
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action", "action"]


async def test_awaiting_a_finished_task_again_asks_nothing(plain: Simulator) -> None:
    """A finished Task answers at once, every way of waiting for it."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a fox")
        with no_requests(plain):
            assert await grid is grid
            assert await grid.wait(timeout=0) is grid
            assert await grid.submit() is grid
            assert [update.status async for update in grid] == ["SUCCESS"]


async def test_awaiting_a_failed_task_again_raises_anew(plain: Simulator) -> None:
    """A failed Task raises the same verdict again, as a new exception, and asks nothing."""
    plain.fault("fail", reason="out of paint")
    async with connect(plain) as mj:
        task = mj.imagine("a fox")
        with pytest.raises(mjasync.TaskFailed, match="out of paint") as first:
            await task
        with no_requests(plain), pytest.raises(mjasync.TaskFailed) as second:
            await task
    assert first.value is not second.value
    assert first.value.task is second.value.task is task
    assert task.error is second.value
    assert (second.value.reason, task.fail_reason) == ("out of paint", "out of paint")


async def test_a_refusal_is_remembered(plain: Simulator) -> None:
    """A refused submission is never sent again: each wait raises the refusal, as a new one."""
    async with connect(plain) as mj:
        task = mj.imagine("a naked lunch")
        errors = []
        for _ in range(3):
            with pytest.raises(mjasync.BannedPrompt) as caught:
                await task
            errors.append(caught.value)
    assert len(sent(plain, "imagine")) == 1
    assert len(set(map(id, errors))) == 3
    assert {(error.word, error.task, error.task_id) for error in errors} == {("naked", task, "")}
    assert repr(task) == "<Task - imagine 'a naked lunch': failed (BannedPrompt)>"


async def test_a_chain_stops_at_its_first_failure(plain: Simulator) -> None:
    """What fails on the way is raised at the end of the chain, about the Task that failed."""
    plain.fault("fail", reason="out of paint")
    async with connect(plain) as mj:
        grid = mj.imagine("a fox")
        chain = grid.action("U1").action("Zoom Out 2x")
        with pytest.raises(mjasync.TaskFailed) as caught:
            await chain
    assert caught.value.task is grid
    assert chain.error is caught.value
    assert len(plain.submissions) == 1


async def test_a_chain_can_be_awaited_again_after_a_failure_before_it(plain: Simulator) -> None:
    """When a Task before it could not be read, awaiting the chain again takes it up there."""
    plain.fault("reply", on="fetch", status=401)
    async with connect(plain) as mj:
        grid = mj.imagine("a fox")
        big = grid.upscale(1)
        with pytest.raises(mjasync.AuthenticationError) as caught:
            await big
        assert caught.value.task is grid
        assert (await big).status is TaskStatus.SUCCESS
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action"]


async def test_submit_accepts_and_does_not_wait() -> None:
    """`submit()` returns once the Task has an id; the job goes on without anybody."""
    async with Simulator(time_scale=1e9) as slow, connect(slow) as mj:
        task = await mj.imagine("later", state="mine").submit()
        assert (task.id, task.status) == (slow.submissions[0].task_id, TaskStatus.NOT_START)
        assert (task.prompt, task.state, task.error) == ("later", "mine", None)
        assert {request.kind for request in slow.requests} == {"submit"}


async def test_submit_remembers_what_it_raised(plain: Simulator) -> None:
    """A refused `submit()` leaves its error on the Task."""
    async with connect(plain) as mj:
        task = mj.imagine("nude study")
        with pytest.raises(mjasync.BannedPrompt) as caught:
            await task.submit()
        assert task.error is caught.value
        assert caught.value.task is task


async def test_a_cancelled_waiter_leaves_the_job_alone(clock: FakeClock) -> None:
    """Cancelling a waiter keeps the id and the remote job; awaiting again resumes."""
    async with Simulator(time_scale=0, draw=False) as sim, connect(sim, clock=clock) as mj:
        task = mj.imagine("a fox")
        waiter = asyncio.ensure_future(task.wait())
        await eventually(lambda: task.id != "")
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        again = asyncio.ensure_future(task.wait())
        await clock.advance(10, mj)
        assert (await again).done
        assert len(sim.submissions) == 1


async def test_a_job_of_a_closed_client_is_not_begun(plain: Simulator) -> None:
    """After `close()` nothing is sent; what was finished is still there to be looked at."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a fox")
    late = grid.upscale(1)
    with no_requests(plain):
        assert await grid is grid
        for act in (late, mj.task("42"), grid.refresh(), grid.read(), grid.seed(), grid.cancel()):
            with pytest.raises(mjasync.ClientClosed):
                await act


# --- snapshots ---------------------------------------------------------------------------------


async def test_a_finished_task_carries_everything(sim: Simulator, mj: Client) -> None:
    """A Task shows all of its snapshot: texts, times, links, the bag of properties and the raw."""
    task = await mj.imagine("a heron --ar 3:2", state="my-mark")
    assert task.info.action == "IMAGINE"
    assert (task.progress, task.prompt, task.state) == (100, "a heron --ar 3:2", "my-mark")
    assert task.final_prompt.startswith("a heron --ar 3:2")
    assert task.image_url.startswith(sim.url)
    assert (task.image_urls, task.video_urls, task.fail_reason) == ((), (), None)
    assert (task.text, task.prompts, task.siblings, task.parent) == ("", (), (), None)
    assert task.submitted_at <= task.started_at <= task.finished_at
    assert timedelta(0) <= datetime.now(UTC) - task.finished_at < timedelta(minutes=5)
    assert task.properties["discordInstanceId"] == task.raw["properties"]["discordInstanceId"]
    assert repr(task) == f"<Task {task.id} imagine 'a heron --ar 3:2': SUCCESS 100%>"


async def test_repr_before_submission(mj: Client) -> None:
    """An unsent Task says so."""
    task = suppress_unawaited_warning(mj.imagine("a heron"))
    assert repr(task).startswith("<Task - imagine 'a heron': not submitted (await it;")


async def test_updates_come_when_something_changed(sim: Simulator, mj: Client) -> None:
    """`async for` yields different snapshots in order, from accepted to the end, and no other."""
    task = mj.imagine("a blue fox")
    updates = [update async for update in task]
    assert updates[0].status is TaskStatus.NOT_START
    assert updates[-1] == task.info
    assert updates[-1].status is TaskStatus.SUCCESS
    assert all(earlier != later for earlier, later in itertools.pairwise(updates))
    percents = [update.progress or 0 for update in updates]
    assert percents == sorted(percents)
    assert len(sim.submissions) == 1


async def test_updates_of_an_attached_task_begin_with_the_servers_word(plain: Simulator) -> None:
    """A snapshot that the server never sent is not yielded."""
    async with connect(plain) as mj:
        known = await mj.imagine("a fox").submit()
        assert [update.status async for update in mj.task(known.id)] == ["SUCCESS"]


async def test_updates_end_with_the_verdict(plain: Simulator) -> None:
    """The last snapshot of a failed Task is yielded, and then its error raised."""
    plain.fault("fail", at=40)
    seen = []
    async with connect(plain) as mj:
        with pytest.raises(mjasync.TaskFailed):  # noqa: PT012 - a loop is one statement
            async for update in mj.imagine("a fox"):
                seen.append(update.status)  # noqa: PERF401 - up to the error
    assert seen == ["NOT_START", "FAILURE"]


async def test_leaving_updates_early_stops_waiting_only(plain: Simulator) -> None:
    """A loop that is left lets go of its wait; the Task can be awaited as before."""
    async with connect(plain) as mj:
        task = mj.imagine("a fox")
        async with contextlib.aclosing(task.updates()) as updates:
            async for _ in updates:
                break
        assert task._listeners == ()
        assert (await task).done
    assert len(plain.submissions) == 1


async def test_refresh_looks_now(clock: FakeClock) -> None:
    """`refresh()` fetches a snapshot without waiting for the schedule, finished or not."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        sim.fault("stall", at=46)
        task = await mj.imagine("a fox").submit()
        assert await task.refresh() is task
        assert (task.status, task.progress) == (TaskStatus.IN_PROGRESS, 46)
        assert sim.requests[-1].endpoint == "fetch"


async def test_what_has_ended_never_comes_alive_again(plain: Simulator) -> None:
    """A stale reply does not undo an end."""
    async with connect(plain) as mj:
        task = await mj.imagine("a fox")
        stale = {"id": task.id, "status": "IN_PROGRESS", "progress": "15%"}
        plain.fault("reply", on="fetch", status=200, body=stale)
        await task.refresh()
        assert (task.status, task.progress) == (TaskStatus.SUCCESS, 100)


async def test_waiters_are_told_by_a_refresh_too(clock: FakeClock) -> None:
    """A refresh between two looks may find the end first; the waiter still gets it, once."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        task = await mj.imagine("a fox").submit()
        waiter = asyncio.ensure_future(task.wait())
        await clock.advance(0, mj)
        assert not waiter.done()
        await task.refresh()
        assert task.done
        await clock.advance(10, mj)
        assert (await waiter).done


async def test_an_unknown_status_is_pending(clock: FakeClock) -> None:
    """A word the protocol does not know passes through and is waited on."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        task = await mj.imagine("a fox").submit()
        odd = {"id": task.id, "status": "POLISHING", "progress": "100%", "imageUrl": "x"}
        fault = sim.fault("reply", on="fetch", times=2, status=200, body=odd)
        waiter = asyncio.ensure_future(task.wait())
        await clock.advance(5, mj)
        assert (fault.hits, task.status, waiter.done()) == (1, "POLISHING", False)
        await clock.advance(10, mj)
        assert (await waiter).status is TaskStatus.SUCCESS


# --- attached ----------------------------------------------------------------------------------


async def test_attaching_waits_and_sends_nothing_paid(plain: Simulator) -> None:
    """A Task attached to a known id waits for it, whatever form the id has, and costs nothing."""
    async with connect(plain) as mj:
        task = await mj.imagine("a fox").submit()
        for known in (task.id, f" {task.id} ", int(task.id)):
            same = await mj.task(known)
            assert (same.id, same.status) == (task.id, TaskStatus.SUCCESS)
        assert await mj.task(task.id).upscale(2)
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action"]


async def test_an_unknown_id_is_reported_at_once(plain: Simulator) -> None:
    """An id the server has never confirmed gets no period of grace."""
    async with connect(plain) as mj:
        task = mj.task("1234567890123456")
        with pytest.raises(mjasync.TaskNotFound) as caught:
            await task
    assert caught.value.task is task
    assert caught.value.task_id == "1234567890123456"


@pytest.mark.parametrize("blank", ["", "  "])
async def test_an_empty_id_is_no_task(mj: Client, blank: str) -> None:
    """An empty id is refused where it is given."""
    with pytest.raises(mjasync.InvalidRequest, match="empty"):
        mj.task(blank)


# --- modals ------------------------------------------------------------------------------------


async def big(mj: Client) -> Task:
    """Draw a single picture."""
    return await mj.imagine("a lighthouse").upscale(1)


async def test_a_modal_without_an_answer_is_reported_and_can_still_be_answered(
    plain: Simulator,
) -> None:
    """Awaiting a press that opens a modal raises `ModalRequired`; its Task takes the answer."""
    async with connect(plain) as mj:
        pressed = (await big(mj)).action("Custom Zoom")
        with pytest.raises(mjasync.ModalRequired) as caught:
            await pressed
        assert caught.value.task is pressed
        assert pressed.status is TaskStatus.MODAL
        assert [s.endpoint for s in plain.submissions] == ["imagine", "action"]
        answered = await caught.value.task.modal("a lighthouse --zoom 1.5")
        assert (answered.status, answered.prompt) == (TaskStatus.SUCCESS, "a lighthouse")
        assert await pressed is pressed
        assert pressed.id == answered.id
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action", "modal"]


async def test_submitting_a_press_that_opens_a_modal(plain: Simulator) -> None:
    """`submit()` is content with the open modal; what the server proposes is its final prompt."""
    async with connect(plain) as mj:
        pressed = await (await big(mj)).action("Custom Zoom").submit()
        assert pressed.status is TaskStatus.MODAL
        assert pressed.final_prompt == "a lighthouse --v 7 --zoom 2"
        await pressed.modal()
        assert sent(plain, "modal")[-1]["prompt"] == "a lighthouse --v 7 --zoom 2"


async def test_the_prompt_of_a_modal_is_left_out_when_there_is_none(plain: Simulator) -> None:
    """Vary (Region) proposes no text: an empty prompt is not sent."""
    async with connect(plain) as mj:
        await (await big(mj)).inpaint(png("L", "white"))
        (body,) = sent(plain, "modal")
        assert "prompt" not in body
        assert body["maskBase64"].startswith("data:image/png;base64,")


async def test_a_bad_mask_is_found_before_the_press(plain: Simulator) -> None:
    """A mask that is no PNG costs nothing and leaves no modal open."""
    jpeg = encode(Image.new("L", (8, 8)), "JPEG")
    async with connect(plain) as mj:
        single = await big(mj)
        with no_requests(plain), pytest.raises(mjasync.InvalidRequest, match="PNG"):
            await single.inpaint(jpeg, "a red door")


async def test_an_answered_modal_cannot_be_answered_again(plain: Simulator) -> None:
    """The second answer to one modal is refused here: some servers would draw and charge again."""
    async with connect(plain) as mj:
        pressed = (await big(mj)).action("Custom Zoom")
        await pressed.modal("a lighthouse --zoom 1.5")
        with no_requests(plain), pytest.raises(mjasync.InvalidRequest, match="answered") as caught:
            await pressed.modal("a lighthouse --zoom 2")
        assert caught.value.task is pressed


async def test_two_answers_at_once_are_one_answer(plain: Simulator) -> None:
    """Of two answers awaited together one goes out, and the other is refused here."""
    async with connect(plain) as mj:
        pressed = (await big(mj)).action("Custom Zoom")
        answers = [pressed.modal(f"a lighthouse --zoom {zoom}") for zoom in (1.5, 2)]
        done = await asyncio.gather(*(a.wait() for a in answers), return_exceptions=True)
        assert sorted(type(one).__name__ for one in done) == ["InvalidRequest", "Task"]
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action", "modal"]
    assert len(sent(plain, "modal")) == 1


async def test_an_answer_may_go_on_under_another_id(plain: Simulator) -> None:
    """Whatever id the answer to a modal brings is the one that is waited for, by the press too."""
    async with connect(plain) as mj:
        pressed = await (await big(mj)).action("Custom Zoom").submit()
        other = await mj.imagine("what it goes on as").submit()
        reply = {"code": 1, "description": "", "result": other.id}
        plain.fault("reply", endpoint="modal", status=200, body=reply)
        assert (await pressed.modal("a lighthouse --zoom 1.5")).id == other.id
        assert (await pressed).id == other.id


async def test_a_refused_answer_leaves_the_modal_open(plain: Simulator) -> None:
    """After an answer that the server refused another one can be given."""
    async with connect(plain) as mj:
        pressed = (await big(mj)).action("Custom Zoom")
        with pytest.raises(mjasync.InvalidRequest):
            await pressed.modal("without a zoom")
        assert (await pressed.modal("a lighthouse --zoom 1.5")).done


async def test_after_an_answer_modal_means_pending(plain: Simulator) -> None:
    """MODAL lingers after an accepted answer, and is waited through."""
    async with connect(plain) as mj:
        pressed = await (await big(mj)).action("Custom Zoom").submit()
        answer = await pressed.modal("a lighthouse --zoom 1.5").submit()
        lingers = {"id": answer.id, "status": "MODAL", "progress": None}
        plain.fault("reply", on="list", times=2, status=200, body=[lingers])
        seen = [update.status async for update in answer]
        assert seen == ["NOT_START", "MODAL", "SUCCESS"]
        assert (await pressed).status is TaskStatus.SUCCESS


async def test_attached_to_an_answered_modal(clock: FakeClock) -> None:
    """`task(id, answered=True)` knows that somebody else has answered; without it, MODAL asks."""
    async with Simulator(time_scale=0, draw=False) as sim, connect(sim) as quick:
        pressed = await (await big(quick)).action("Custom Zoom").submit()
        async with connect(sim, clock=clock) as mj:
            waiter = asyncio.ensure_future(mj.task(pressed.id, answered=True).wait())
            await clock.advance(10, mj)
            assert not waiter.done()
            await pressed.modal("a lighthouse --zoom 1.5")
            await clock.advance(10, mj)
            assert (await waiter).status is TaskStatus.SUCCESS


async def test_attached_to_an_open_modal(plain: Simulator) -> None:
    """A modal left open by another process is found, reported, and answered."""
    async with connect(plain) as mj:
        pressed = await (await big(mj)).action("Custom Zoom").submit()
        attached = mj.task(pressed.id)
        with pytest.raises(mjasync.ModalRequired):
            await attached
        assert (await mj.task(pressed.id).modal("a lighthouse --zoom 1.5")).done


async def test_a_modal_that_does_not_open_is_reported_with_the_job(plain: Simulator) -> None:
    """`modal()` on a press the server just takes raises; the paid job is on the error."""
    async with connect(plain) as mj:
        pressed = (await big(mj)).action("Vary (Subtle)")
        with pytest.raises(mjasync.ModalNotOpened) as caught:
            await pressed.modal("a red lighthouse")
        assert caught.value.task is pressed
        assert (await caught.value.task).done
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action", "action"]


async def test_a_modal_that_does_not_open_on_a_failed_press(plain: Simulator) -> None:
    """When the press has failed by then, that is what is raised."""
    async with connect(plain) as mj:
        single = await big(mj)
        plain.fault("fail", reason="out of paint")
        pressed = single.action("Vary (Subtle)")
        with pytest.raises(mjasync.TaskFailed, match="out of paint") as caught:
            await pressed.modal("a red lighthouse")
        assert caught.value.task is pressed


@pytest.mark.parametrize(
    "press, text",
    [
        (lambda grid: grid.vary(2, "a red fox"), "a red fox"),
        (lambda grid: grid.reroll("a red fox"), "a red fox"),
        (lambda grid: grid.upscale(1).vary("strong", "a red fox"), "a red fox"),
        (lambda grid: grid.upscale(1).pan("left", "a red fox"), "a red fox"),
        (lambda grid: grid.action("V1").modal("a red fox"), "a red fox"),
        (lambda grid: grid.action("V1").modal(), "a fox --v 7"),
    ],
)
async def test_remix_takes_a_new_prompt(press: Callable[[Task], Task], text: str) -> None:
    """With remix on, variations, rerolls and pans take a prompt; each costs one submission."""
    async with Simulator(time_scale=0, draw=False, remix=True) as sim, connect(sim) as mj:
        task = await press(mj.imagine("a fox"))
        assert task.prompt == text
        drawn = [s.endpoint for s in sim.submissions if s.action != "UPSCALE"]
        assert drawn == ["imagine", "modal"]


async def test_remix_without_a_prompt_asks(plain: Simulator) -> None:
    """Whether a variation opens a modal is account state: without an answer it is reported."""
    async with Simulator(time_scale=0, draw=False, remix=True) as sim, connect(sim) as mj:
        grid = await mj.imagine("a lighthouse")
        for pressed in (grid.vary(1), grid.reroll()):
            with pytest.raises(mjasync.ModalRequired) as caught:
                await pressed
            assert (await caught.value.task.modal()).done


DISGUISES = [
    {"description": "提交成功", "properties": {}},
    {"description": "提交成功", "properties": {"remix": True, "finalPrompt": "a fox --zoom 2"}},
    {"description": "Waiting for window confirm", "properties": None},
    {"description": "窗口等待"},
]


@pytest.mark.parametrize("disguise", DISGUISES)
async def test_a_modal_behind_a_gateway(plain: Simulator, disguise: dict[str, Any]) -> None:
    """A 21 that a gateway rewrote to 1 is noticed by whatever else tells, the status at last."""
    async with connect(plain) as mj:
        single = await big(mj)
        opened = await single.action("Custom Zoom").submit()
        reply = {"code": 1, "result": opened.id, **disguise}
        plain.fault("reply", endpoint="action", status=200, body=reply, times=2)
        with pytest.raises(mjasync.ModalRequired):
            await single.action("Custom Zoom")
        assert (await single.action("Custom Zoom").modal("a fox --zoom 1.5")).id == opened.id
    assert [s.endpoint for s in plain.submissions] == ["imagine", "action", "modal"]


async def test_code_21_for_a_task_that_exists_is_no_modal(plain: Simulator) -> None:
    """The original's 21 names a task there is already: that one is waited for."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a fox")
        single = await grid.upscale(1)
        properties = {"status": "SUCCESS", "imageUrl": single.image_url}
        reply = {"code": 21, "description": "已存在", "result": single.id, "properties": properties}
        plain.fault("reply", endpoint="action", status=200, body=reply)
        again = await grid.upscale(1)
        assert (again.id, again.status) == (single.id, TaskStatus.SUCCESS)


# --- words -------------------------------------------------------------------------------------


async def test_describe_gives_prompts_that_can_be_imagined(plain: Simulator) -> None:
    """Describe gives a text and its four prompts; each can be imagined, as it is or changed."""
    async with connect(plain) as mj:
        told = await mj.describe(png(), bot="niji")
        assert len(told.prompts) == 4
        assert all(prompt in told.text for prompt in told.prompts)
        assert sent(plain, "describe")[0]["botType"] == "NIJI_JOURNEY"
        drawn = await told.imagine(2)
        assert drawn.prompt == told.prompts[1]
        assert (await told.imagine(3, "something else")).prompt == "something else"
        assert (await told.reroll()).info.action == "DESCRIBE"


async def test_shorten_gives_prompts_and_details(plain: Simulator) -> None:
    """Shorten gives shorter prompts to imagine, and its details on request."""
    async with connect(plain) as mj:
        short = await mj.shorten("a very very tall lighthouse in a rather wild storm")
        assert len(short.prompts) == 5
        assert (await short.imagine(5)).prompt == short.prompts[4]
        assert (await short.details()).prompts == short.prompts
        with pytest.raises(mjasync.InvalidRequest, match="no image"):
            await short.read()


async def test_imagining_a_description_on_a_server_that_opens_no_modal(plain: Simulator) -> None:
    """Without words of one's own it does not matter whether the server asks for any."""
    async with connect(plain) as mj:
        told = await mj.describe(png())
        drawn = await mj.imagine("what the server went ahead with").submit()
        reply = {"code": 1, "description": "", "result": drawn.id}
        plain.fault("reply", endpoint="action", status=200, body=reply, times=2)
        assert (await told.imagine(1)).id == drawn.id
        with pytest.raises(mjasync.ModalNotOpened) as caught:
            await told.imagine(1, "words of one's own")
        assert caught.value.task.id == drawn.id


# --- buttons -----------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Task, str], Task]] = {
    "upscale": lambda task, how: task.upscale(int(how) if how.isdecimal() else how),
    "vary": lambda task, how: task.vary(int(how) if how.isdecimal() else how),
    "reroll": lambda task, _: task.reroll(),
    "inpaint": lambda task, _: task.inpaint(png("L", "white"), "a red door"),
    "zoom": lambda task, how: task.zoom(1.8) if how == "custom" else task.zoom(float(how)),
    "pan": lambda task, way: task.pan(way),
    "animate": lambda task, motion: task.animate(motion),
    "extend": lambda task, motion: task.extend(motion),
    "imagine": lambda task, which: task.imagine(which),
    "details": lambda task, _: task.details(),
    "bookmark": lambda task, _: task.bookmark(),
}
UNSUPPORTED = {ButtonMeaning("bookmark"), ButtonMeaning("imagine", "all")}  # by Plus itself
VERSIONS = ["4", "5", "6", "6.1", "7", "8", "niji 6"]


async def press_all(sim: Simulator, task: Task, *, by_name: bool = True) -> None:
    """Press every button of a task, by its name and by its meaning; each must be that button."""
    assert len(task.buttons)
    for button in task.buttons:
        meaning = classify_button(button)
        ways = [VERBS[meaning.verb](task, meaning.detail)]
        if by_name:
            ways.append(task.action(button.label or button.emoji))
        for pressed in ways:
            try:
                assert (await pressed).status is TaskStatus.SUCCESS
            except mjasync.ModalRequired:
                assert pressed is not ways[0]
            except mjasync.UnsupportedEndpoint:
                assert meaning in UNSUPPORTED
            assert sent(sim, "action")[-1]["customId"] == button.custom_id


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_button_of_a_single_picture(version: str) -> None:
    """Every button of every model version is found by its label or emoji and by its meaning."""
    async with Simulator(time_scale=0, draw=False, version=version) as sim, connect(sim) as mj:
        single = await big(mj)
        await press_all(sim, single)
        enlarged = [b for b in single.buttons if b.label.startswith("Upscale")]
        if enlarged:
            await press_all(sim, await single.action(enlarged[0].label), by_name=False)


async def test_every_other_button(plain: Simulator) -> None:
    """So are those of grids, videos, picked videos, descriptions and shortened prompts."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a lighthouse")
        await press_all(plain, grid)
        video = await grid.upscale(1).animate("low")
        await press_all(plain, video)
        await press_all(plain, await video.upscale(2))
        await press_all(plain, await mj.describe(png()))
        short = await mj.shorten("a very tall lighthouse")
        await press_all(plain, short)
        await press_all(plain, await short.details())


@pytest.mark.parametrize("version, how", [("7", "2x"), ("5", "subtle")])
async def test_what_one_version_calls_subtle_another_calls_2x(version: str, how: str) -> None:
    """The gentle upscale is found under either name."""
    async with Simulator(time_scale=0, draw=False, version=version) as sim, connect(sim) as mj:
        await (await big(mj)).upscale(how)
        assert "2x" in sent(sim, "action")[-1]["customId"]
        assert "creative" not in sent(sim, "action")[-1]["customId"]


async def test_a_button_by_position_emoji_and_custom_id(plain: Simulator) -> None:
    """A button is pressed by whatever names it; an emoji with or without its selector."""
    async with connect(plain) as mj:
        single = await big(mj)
        left = next(b for b in single.buttons if "pan_left" in b.custom_id)
        position = list(single.buttons).index(left)
        for key in (position, left.custom_id, "⬅️", "⬅", "pan left"):
            await single.action(key)
            assert sent(plain, "action")[-1]["customId"] == left.custom_id


@pytest.mark.parametrize(
    "key, hint",
    [
        ("U9", "U1"),
        ("Vary (Regoin)", "Vary"),
        ("nonsense", "has: U1"),
        (40, "position 40"),
        (-20, "position"),
    ],
)
async def test_an_unknown_button_costs_nothing(plain: Simulator, key: str | int, hint: str) -> None:
    """It raises `ButtonNotFound`, naming what there is; the Task is the one without it."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a lighthouse")
        with no_requests(plain), pytest.raises(mjasync.ButtonNotFound, match=hint) as caught:
            await grid.action(key)
        assert caught.value.task is grid
        assert "U1, U2, U3, U4" in str(caught.value)


async def test_remix_can_be_asked_for(plain: Simulator, original: Simulator) -> None:
    """`enable_remix` opens the modal of a variation, where the server has modals."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a lighthouse")
        assert (await grid.vary(1, "a red fox", enable_remix=True)).prompt == "a red fox"
    async with connect(original) as mj:
        grid = await mj.imagine("a lighthouse")
        with no_requests(original), pytest.raises(mjasync.UnsupportedEndpoint) as caught:
            await grid.vary(1, enable_remix=True)
        assert caught.value.task is grid


async def test_a_verb_the_version_lacks(plain: Simulator) -> None:
    """A verb without its button says so, and costs nothing."""
    async with Simulator(time_scale=0, draw=False, version="8") as sim, connect(sim) as mj:
        single = await big(mj)
        for verb in (single.zoom(1.8), single.pan("up"), single.upscale("4x"), single.extend()):
            with no_requests(sim), pytest.raises(mjasync.ButtonNotFound):
                await verb


@pytest.mark.parametrize(
    "wrong",
    [
        lambda task: task.upscale(5),
        lambda task: task.vary(0),
        lambda task: task.zoom(2.5),
        lambda task: task.zoom(0.5),
    ],
)
async def test_numbers_out_of_range_are_refused_where_they_are_given(
    mj: Client, wrong: Callable[[Task], Task]
) -> None:
    """A quadrant or factor that cannot be never becomes a Task."""
    with pytest.raises(mjasync.InvalidRequest):
        wrong(mj.task("42"))


async def test_zoom_factors(plain: Simulator) -> None:
    """2 and 1.5 have buttons; any other factor, or words, answer the custom zoom's modal."""
    async with connect(plain) as mj:
        single = await big(mj)
        await single.zoom()
        await single.zoom(1.5)
        await single.zoom(1.25)
        await single.zoom(2, "a taller lighthouse --zoom 1.1")
        kinds = [body["customId"].split("::")[1:3] for body in sent(plain, "action")[1:]]
        assert [kind[0] for kind in kinds] == ["Outpaint", "Outpaint", "CustomZoom", "CustomZoom"]
        assert [body["prompt"] for body in sent(plain, "modal")] == [
            "a lighthouse --v 7 --zoom 1.25",
            "a taller lighthouse --zoom 2",
        ]


async def test_one_press_that_makes_several_tasks(plain: Simulator) -> None:
    """Ids joined by commas are one Task and its siblings, each to be awaited."""
    async with connect(plain) as mj:
        told = await mj.describe(png())
        made = [await mj.imagine(prompt).submit() for prompt in told.prompts]
        reply = {"code": 1, "description": "", "result": ",".join(one.id for one in made)}
        plain.fault("reply", endpoint="action", status=200, body=reply)
        first = await told.action("Imagine all")
        assert [first.id, *(one.id for one in first.siblings)] == [one.id for one in made]
        assert [(await one).prompt for one in first.siblings] == list(told.prompts[1:])
        assert {one.parent for one in first.siblings} == {told}


async def test_a_follow_up_waits_for_a_gateway_that_lags(plain: Simulator) -> None:
    """A press refused because the task is "not finished" yet is tried again: gateways lag."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a lighthouse")
        late = {"description": "task_status_not_success ", "type": "upstream_error", "code": 4}
        fault = plain.fault("reply", endpoint="action", status=400, body=late, times=3)
        assert (await grid.upscale(1)).done
        assert fault.hits == 3
    assert len(plain.submissions) == 2


# --- seed, cancel, and what is wrong with them -------------------------------------------------


async def test_the_seed_is_asked_for_once(plain: Simulator) -> None:
    """The seed comes from the server, as a number, and is kept."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a lighthouse --seed 42")
        assert await grid.seed() == 42
        with no_requests(plain):
            assert await grid.seed() == 42


async def test_a_seed_the_task_tells_is_not_asked_for(plain: Simulator) -> None:
    """Servers that put the seed on the task are believed."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a lighthouse")
        told = {"id": grid.id, "status": "SUCCESS", "seed": "636646138"}
        plain.fault("reply", on="fetch", status=200, body=told)
        await grid.refresh()
        with no_requests(plain):
            assert await grid.seed() == 636646138
        assert grid.info.seed == 636646138


async def test_a_seed_nobody_knows(plain: Simulator) -> None:
    """An answer without a result says that the server cannot tell."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a lighthouse")
        unknown = {"code": 1, "description": "?", "result": None}
        plain.fault("reply", on="other", status=200, body=unknown)
        with pytest.raises(mjasync.UnsupportedEndpoint, match="seed") as caught:
            await grid.seed()
        assert caught.value.task is grid


@pytest.mark.parametrize("result", ["none", "1700000000000001", -1, {"id": "7"}, 1 << 32])
async def test_a_seed_that_is_none(plain: Simulator, result: object) -> None:
    """What is no seed, another task's id say, is not taken for one: it is asked for again."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a lighthouse")
        odd = {"code": 1, "description": "?", "result": result}
        plain.fault("reply", on="other", status=200, body=odd)
        assert await grid.seed() < 1 << 32
        plain.fault("reply", on="other", status=200, body=odd, times=None)
        with pytest.raises(mjasync.MalformedReply, match="not a seed"):
            await mj.task(grid.id).seed()


async def test_cancel_gives_the_job_up(clock: FakeClock) -> None:
    """`cancel()` asks the server and fetches what became of it; waiting then raises that."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        sim.fault("stall", at=46)
        task = await mj.imagine("a fox").submit()
        waiter = asyncio.ensure_future(task.wait())
        await clock.advance(0.1, mj)
        assert await task.cancel() is task
        assert task.status is TaskStatus.CANCEL
        await clock.advance(10, mj)
        for wait in (waiter, task):
            with pytest.raises(mjasync.TaskCancelled) as caught:
                await wait
            assert caught.value.task is task


async def test_cancel_after_the_end_changes_nothing(plain: Simulator) -> None:
    """A finished job stays finished."""
    async with connect(plain) as mj:
        task = await mj.imagine("a fox")
        assert (await task.cancel()).status is TaskStatus.SUCCESS


@pytest.mark.parametrize(
    "act, error",
    [
        (lambda task: task.seed(), mjasync.UnsupportedEndpoint),
        (lambda task: task.cancel(), mjasync.UnsupportedEndpoint),
    ],
)
async def test_what_the_original_lacks(
    original: Simulator, act: Callable[[Task], Awaitable[object]], error: type[Exception]
) -> None:
    """The original server has no seeds and no cancelling, and the error is about the Task."""
    async with connect(original) as mj:
        task = await mj.imagine("a fox")
        with pytest.raises(error) as caught:
            await act(task)
        assert caught.value.task is task


@pytest.mark.parametrize("act", [lambda task: task.refresh(), lambda task: task.seed()])
async def test_what_needs_an_id_says_so(
    plain: Simulator, act: Callable[[Task], Awaitable[object]]
) -> None:
    """Before it is submitted a Task cannot be refreshed or asked for its seed."""
    async with connect(plain) as mj:
        task = suppress_unawaited_warning(mj.imagine("a fox"))
        with no_requests(plain), pytest.raises(mjasync.InvalidRequest, match="submit") as caught:
            await act(task)
        assert caught.value.task is task


@pytest.mark.parametrize(
    "act",
    [
        lambda task: task.wait(),
        lambda task: task.refresh(),
        lambda task: task.seed(),
        lambda task: task.modal("x").wait(),
        lambda task: task.upscale(1).wait(),
    ],
)
async def test_errors_about_a_task_carry_it(
    plain: Simulator, act: Callable[[Task], Awaitable[object]]
) -> None:
    """Whatever went wrong with a Task, its error leads back to it and names its id."""
    async with connect(plain) as mj:
        task = mj.task("1234567890123456")
        with pytest.raises(mjasync.TaskNotFound) as caught:
            await act(task)
        assert caught.value.task is task
        assert "1234567890123456" in str(caught.value)


# --- patience ----------------------------------------------------------------------------------


async def test_a_timeout_counts_the_whole_chain(clock: FakeClock) -> None:
    """The deadline of the last Task covers those before it, and its error can be awaited again."""
    async with Simulator(time_scale=0) as sim, connect(sim, clock=clock) as mj:
        stalled = sim.fault("stall", at=46, times=1)
        chain = mj.imagine("a fox").upscale(1)
        waiter = asyncio.ensure_future(chain.wait(timeout=60))
        await eventually(lambda: bool(sim.submissions))
        await clock.advance(59, mj)
        assert not waiter.done()
        await clock.advance(1, mj)
        with pytest.raises(mjasync.TaskTimeout, match="60 s") as caught:
            await waiter
        assert not isinstance(caught.value, mjasync.TaskStalled)
        assert caught.value.task is chain
        assert stalled.hits == 1
        assert len(sim.submissions) == 1


async def test_a_stall_before_the_end_of_a_chain_is_about_the_chain(clock: FakeClock) -> None:
    """When a Task before it stalls, the error names the stalled id and resumes the whole chain."""
    async with (
        Simulator(time_scale=0) as sim,
        connect(sim, clock=clock, stall_timeout=30, timeout=math.inf) as mj,
    ):
        grid = mj.imagine("a fox")
        chain = grid.upscale(1)
        waiter = asyncio.ensure_future(chain.wait())
        await eventually(lambda: grid.id != "")
        halted = {"id": grid.id, "status": "IN_PROGRESS", "progress": "46%"}
        fault = sim.fault("reply", on="fetch", times=None, status=200, body=halted)
        await clock.advance(40, mj)
        with pytest.raises(mjasync.TaskStalled, match="30 s") as caught:
            await waiter
        assert caught.value.task is chain
        assert caught.value.task_id == grid.id
        assert isinstance(caught.value, TimeoutError)
        fault.remove()
        resumed = asyncio.ensure_future(caught.value.task.wait())
        await clock.advance(10, mj)
        await eventually(lambda: chain.id != "")
        await clock.advance(10, mj)
        assert (await resumed).done
        assert len(sim.submissions) == 2
