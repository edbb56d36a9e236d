"""The traps of PROTOCOL §7 and the mistakes of PROTOCOL §8, a test named after each.

Where a server of the family sets a trap by itself, it is that server that is asked.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

import mjasync
from mjasync import Client, Task, TaskStatus
from mjasync._http import api
from mjasync.errors import MJError
from mjasync.simulator import Simulator
from support.clients import connect
from support.clock import FakeClock
from support.pictures import png
from support.sent_requests import sent
from support.stories import FROZEN, is_grid, serving
from support.waiting import leave

GATEWAYS = ["new-api", "one-hub"]


async def refused(asking: Awaitable[object], error: type[MJError]) -> MJError:
    """Return the error that something ends in."""
    with pytest.raises(error) as caught:
        await asyncio.wait_for(asking, 10)
    assert type(caught.value) is error
    return caught.value


async def retold(sim: Simulator, mj: Client, **changes: object) -> Task:
    """Return a task of which the server tells something else than it would, once."""
    grid = await mj.imagine("a lighthouse")
    told = orjson.dumps({**grid.info.raw, **changes})
    sim.fault("reply", on="fetch", status=200, body=told)
    return mj.task(grid.id)


# --- 7.1 the shapes of replies -----------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["original", "plus", *GATEWAYS])
async def test_trap_7_1_a_a_refusal_in_http_200(dialect: str) -> None:
    """A SubmitResult that refuses is an error, whatever its status says."""
    async with serving(dialect) as (sim, mj):
        error = await refused(mj.imagine("a naked lighthouse"), mjasync.BannedPrompt)
        assert (error.http_status, error.code, error.word) == (200, 24, "naked")
        assert len(sent(sim, "imagine")) == 1


async def test_trap_7_1_b_a_refusal_with_a_status_of_its_own() -> None:
    """The parent is gone: code 3 in an HTTP 404 is no missing endpoint."""
    async with serving("plus") as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        sim.forget(grid.id)
        error = await refused(grid.upscale(1), mjasync.TaskNotFound)
        assert (error.http_status, error.code) == (404, 3)


async def test_trap_7_1_c_success_false_in_http_200() -> None:
    """A wrong enum is refused in a shape that is no SubmitResult at all."""
    async with serving("open-plus") as (sim, mj):
        wrong = {"account_filter": {"modes": ["WARP"]}}
        error = await refused(mj.imagine("a lighthouse", **wrong), mjasync.InvalidRequest)
        assert (error.http_status, error.code) == (200, -1)
        assert error.description
        assert not sim.submissions


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_trap_7_1_d_the_gateways_own(dialect: str) -> None:
    """A gateway's description loses its trailing space; its 400 means not found."""
    async with serving(dialect) as (_, mj):
        error = await refused(mj.task("42").refresh(), mjasync.TaskNotFound)
        assert (error.http_status, error.description) == (400, "task_no_found")


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_trap_7_1_e_an_error_object(dialect: str) -> None:
    """What is nested in `error` is read, and its words are told."""
    async with (
        serving(dialect) as (sim, _),
        connect(sim, token="sk-" + "w" * 48) as stranger,
    ):
        error = await refused(stranger.imagine("a fox"), mjasync.AuthenticationError)
        assert error.http_status == 401
        assert "request id" in error.description


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_trap_7_1_f_an_error_string(dialect: str) -> None:
    """`{"error": "…"}` is read, too."""
    async with serving(dialect) as (_, mj):
        error = await refused(mj.image("42"), mjasync.TaskNotFound)
        assert error.description == "midjourney_task_not_found"


async def test_trap_7_1_g_a_panic() -> None:
    """A gateway that crashed may have passed the job on: nothing is sent again."""
    async with serving("one-hub") as (sim, mj):
        odd = [{"customId": "nonsense", "label": "Odd", "emoji": ""}]
        task = await retold(sim, mj, buttons=odd)
        error = await refused(task.action("Odd"), mjasync.SubmitUncertain)
        assert (error.http_status, len(sent(sim, "action"))) == (500, 1)
        assert "Panic" in error.description


async def test_trap_7_1_h_springs_errors() -> None:
    """The original's 404 is JSON without a code."""
    async with serving("original") as (_, mj):
        error = await refused(mj.shorten("a tall tower"), mjasync.UnsupportedEndpoint)
        assert error.http_status == 404


async def test_trap_7_1_i_plain_text() -> None:
    """Text is the description: why a token is refused, why a cancel is."""
    async with serving("open-plus") as (sim, mj), connect(sim, token="wrong") as stranger:
        error = await refused(stranger.imagine("a fox"), mjasync.AuthenticationError)
        assert error.description == "Authorization header missing."
        task = await mj.imagine("a lighthouse")
        error = await refused(task.cancel(), mjasync.InvalidRequest)
        assert error.description == "演示模式，禁止操作"


@pytest.mark.parametrize("dialect, status", [("original", 200), ("plus", 204), ("open-plus", 204)])
async def test_trap_7_1_j_an_empty_body(dialect: str, status: int) -> None:
    """Nothing at all means: no such task."""
    async with serving(dialect) as (_, mj):
        error = await refused(mj.task("42").refresh(), mjasync.TaskNotFound)
        assert error.http_status == status


async def test_trap_7_1_j_an_empty_body_to_a_wrong_token() -> None:
    """The original refuses without a word."""
    async with serving("original") as (sim, _), connect(sim, token="wrong") as stranger:
        error = await refused(stranger.imagine("a fox"), mjasync.AuthenticationError)
        assert (error.http_status, error.description) == (401, "")


async def test_trap_7_1_j_an_empty_acceptance_is_uncertain() -> None:
    """A gateway relays whatever it got, even nothing: the job may have been taken."""
    async with serving("new-api") as (sim, mj):
        sim.upstream.fault("reply", endpoint="imagine", status=200)
        await refused(mj.imagine("a lighthouse"), mjasync.SubmitUncertain)
        assert len(sent(sim, "imagine")) == 1


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_trap_7_1_k_html_200(dialect: str) -> None:
    """A front page where the endpoint should be says that there is none; asked once."""
    async with serving(dialect) as (sim, mj):
        error = await refused(mj.retexture(png(), "brass"), mjasync.UnsupportedEndpoint)
        assert error.http_status == 200
        assert len(sim.requests) == 1


@pytest.mark.parametrize(
    "status, place, error",
    [
        (301, "/mj/submit/imagine", mjasync.UnsupportedEndpoint),
        (308, "/mj/submit/imagine", mjasync.UnsupportedEndpoint),
        (308, "/welcome", mjasync.SubmitUncertain),
        (302, "/mj/submit/imagine", mjasync.SubmitUncertain),
        (303, "/mj/task/1", mjasync.SubmitUncertain),
    ],
)
async def test_trap_7_1_k_a_redirect(status: int, place: str, error: type[MJError]) -> None:
    """No redirect is followed with a job; only those that move the endpoint are refusals."""
    async with serving("plus") as (sim, mj):
        headers = {"Location": f"{sim.url}{place}"}
        sim.fault("reply", endpoint="imagine", status=status, headers=headers)
        caught = await refused(mj.imagine("a lighthouse"), error)
        assert place in str(caught)
        assert len(sim.requests) == 1


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_trap_7_1_json_without_its_content_type(dialect: str) -> None:
    """A gateway's acceptance comes as text/plain, and is one."""
    async with serving(dialect) as (sim, mj):
        task = await mj.imagine("a lighthouse").submit()
        assert task.id == sim.submissions[0].task_id
        sim.fault("reply", on="fetch", body=orjson.dumps(task.info.raw), content_type="text/plain")
        assert is_grid(await task)


async def test_trap_7_1_a_gateway_that_hides_what_was_wrong() -> None:
    """one-hub makes `do_request_failed` of any refusal: what became of the job is unknown."""
    async with serving("one-hub") as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        sim.upstream.forget(grid.id)
        error = await refused(grid.upscale(1), mjasync.SubmitUncertain)
        assert (error.code, error.description) == (5, "do_request_failed")
        assert len(sent(sim, "action")) == 1


@pytest.mark.parametrize("status", [502, 504, 520, 524])
async def test_trap_7_1_html_of_a_proxy_in_front(status: int) -> None:
    """A proxy's page with an error status is no missing endpoint: uncertain when paid for."""
    async with serving("plus") as (sim, mj):
        sim.fault("html", endpoint="imagine", status=status)
        error = await refused(mj.imagine("a lighthouse"), mjasync.SubmitUncertain)
        assert error.http_status == status
        sim.fault("html", on="fetch", status=status)
        assert is_grid(await mj.imagine("a lighthouse"))


# --- 7.2 sending -------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_trap_7_2_types_that_gateways_insist_on(dialect: str) -> None:
    """Every body is declared as JSON; ids and states are strings, an index is a number."""
    async with serving(dialect) as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        await grid.upscale(1).zoom(1.8)
        await (await retold(sim, mj, buttons=None)).vary(2)
        await mj.fetch([grid.id])
        posts = [request for request in sim.requests if request.method == "POST"]
        assert {request.headers["Content-Type"] for request in posts} == {"application/json"}
        bodies = [request.body for request in posts]
        for name in ("taskId", "state", "customId", "prompt"):
            assert {type(body[name]) for body in bodies if name in body} == {str}, name
        assert [body["index"] for body in bodies if "index" in body] == [2]
        lists = [body["ids"] for body in bodies if "ids" in body]  # an answered modal's, too
        assert {type(task_id) for ids in lists for task_id in ids} == {str}
        assert lists[-1] == [grid.id]


@pytest.mark.parametrize("dialect", ["original", "plus", "open-plus", *GATEWAYS])
async def test_trap_7_2_blank_fields(dialect: str) -> None:
    """Blank options are as good as none."""
    async with serving(dialect) as (sim, mj):
        task = mj.imagine("a lighthouse", state="", notify_hook="", account_filter=None, bot=None)
        assert is_grid(await task)
        (body,) = sent(sim, "imagine")
        assert body.keys() == {"prompt", "state"}
        assert body["state"].startswith("mjasync-")


async def test_trap_7_2_large_bodies() -> None:
    """A body of several megabytes arrives whole."""
    async with serving("original") as (sim, mj):
        large = png() + b"\0" * (3 << 20)
        await mj.imagine("like this", images=[large])
        assert sim.tasks[sim.submissions[0].task_id].image_sizes == (len(large),)


# --- 7.3 receiving -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_trap_7_3_null_blank_and_zero_are_nothing(dialect: str) -> None:
    """A gateway's fresh row says "", 0 and null; each is None, or empty, and pending."""
    async with serving(dialect, time_scale=FROZEN) as (_, mj):
        info = (await (await mj.imagine("a lighthouse").submit()).refresh()).info
        assert (info.status, info.progress) == (TaskStatus.NOT_START, 0)
        assert info.image_url is info.fail_reason is info.started_at is info.finished_at is None
        assert (info.buttons, info.properties) == ((), {})


TEXTS = ("imageUrl", "failReason", "state", "mode")
NUMBERS = ("startTime", "finishTime", "seed")


@pytest.mark.parametrize("text, number", [(None, None), ("", 0), ("", "")])
async def test_trap_7_3_nothing_in_any_spelling(text: object, number: object) -> None:
    """Whatever a server says for "nothing" is nothing."""
    nothing = dict.fromkeys(TEXTS, text) | dict.fromkeys(NUMBERS, number)
    async with serving("plus") as (sim, mj):
        info = (await (await retold(sim, mj, **nothing, buttons=None, properties=None))).info
        assert info.image_url is info.fail_reason is info.state is info.mode is None
        assert info.started_at is info.finished_at is None
        assert not info.seed
        assert (info.buttons, info.properties) == ((), {})


@pytest.mark.parametrize("progress", ["100%", "99%"])
async def test_trap_7_3_progress_is_no_outcome(progress: str) -> None:
    """100 % without SUCCESS is not the end; without 100 % SUCCESS is."""
    async with serving("plus") as (sim, mj):
        task = await retold(sim, mj, status="IN_PROGRESS", progress="100%")
        assert (await task.refresh()).status is TaskStatus.IN_PROGRESS
        assert not task.done
        assert (await task).done
        assert (await (await retold(sim, mj, progress=progress))).done


@pytest.mark.parametrize("progress", ["", None, "Waiting to start", "(fast)", 7.5, []])
async def test_trap_7_3_progress_that_is_no_percentage(progress: object) -> None:
    """Discord's own words in its place are no number, and no trouble."""
    async with serving("plus") as (sim, mj):
        task = await (await retold(sim, mj, progress=progress))
        assert task.progress is None or isinstance(task.progress, int)
        assert task.done


async def test_trap_7_3_a_success_without_a_picture() -> None:
    """A shorten ends well with no picture, and asking for one says where its result is."""
    async with serving("open-plus") as (_, mj):
        short = await mj.shorten("a very very tall lighthouse in a rather wild storm")
        assert (short.image_url, len(short.prompts)) == (None, 5)
        with pytest.raises(mjasync.InvalidRequest, match=r"\.text"):
            await short.read()


async def test_trap_7_3_a_preview_is_not_the_picture() -> None:
    """A link in a task that is in progress does not end it, and is not downloaded."""
    async with serving("plus") as (sim, mj):
        preview = f"{sim.url}/attachments/grid_0.webp"
        task = await retold(sim, mj, status="IN_PROGRESS", progress="62%", imageUrl=preview)
        await task.refresh()
        assert (task.image_url, task.done) == (preview, False)
        with pytest.raises(mjasync.InvalidRequest, match="await the Task first"):
            await task.read()
        assert (await task).image_url != preview


@pytest.mark.parametrize("dialect", ["plus", "open-plus", "path-gateway"])
async def test_trap_7_3_links_expire(dialect: str) -> None:
    """A link that has run out is replaced by a fresh one, once."""
    async with serving(dialect) as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        old = grid.image_url
        sim.expire_links()
        assert (await grid.read())[1:4] == b"PNG"
        assert grid.image_url != old


async def test_trap_7_3_a_video_that_is_a_webp() -> None:
    """Without `videoUrls` a video is what `imageUrl` leads to."""
    async with serving("open-plus") as (_, mj):
        video = await mj.video("it turns", image=png())
        assert video.video_urls == ()
        assert video.image_url
        assert await video.read()


async def test_trap_7_3_description_is_not_the_verdict() -> None:
    """`description` may hold an error, an analysis or "/up …": it decides nothing."""
    async with serving("plus") as (sim, mj):
        task = await (await retold(sim, mj, description="Invalid parameter, banned prompt"))
        assert task.status is TaskStatus.SUCCESS


async def test_trap_7_3_a_prompt_that_was_rewritten() -> None:
    """The task shows the server's prompt; what was asked for stays what was sent."""
    async with serving("open-plus") as (sim, mj):
        blend = await mj.blend([png(), png("L")], dimensions="LANDSCAPE")
        assert "--ar 3:2" in (blend.prompt or "")
        assert "prompt" not in sent(sim, "blend")[0]


@pytest.mark.parametrize("seed", ["636646138", 636646138])
async def test_trap_7_3_a_seed_that_is_text(seed: object) -> None:
    """A seed is a number, however it is written."""
    async with serving("plus") as (sim, mj):
        task = await (await retold(sim, mj, seed=seed))
        assert await task.seed() == 636646138


async def test_trap_7_3_ids_that_are_numbers() -> None:
    """An id is text on this side, however it comes, and goes out as text again."""
    async with serving("plus") as (sim, mj):
        sim.fault("numeric_result")
        grid = await mj.imagine("a lighthouse")
        assert grid.id == sim.submissions[0].task_id
        await grid.vary(1)
        assert sent(sim, "action")[0]["taskId"] == grid.id


@pytest.mark.parametrize("name", ["⬅️", "⬅", "pan left"])
async def test_trap_7_3_emoji_with_variation_selectors(name: str) -> None:
    """An arrow is found with its U+FE0F and without."""
    async with serving("plus") as (_, mj):
        big = await mj.imagine("a lighthouse").upscale(1)
        assert "pan_left" in big.buttons[name].custom_id


@pytest.mark.parametrize(
    "properties", [None, [], "", {"flags": "0", "action_index": "11", "remix": None, "x": {}}]
)
async def test_trap_7_3_untyped_properties(properties: object) -> None:
    """Properties may be anything; they pass through or are empty."""
    async with serving("plus") as (sim, mj):
        task = await (await retold(sim, mj, properties=properties))
        assert task.properties == (properties or {})


async def test_trap_7_3_the_same_button_twice() -> None:
    """Two presses of U1 are two jobs; a server that names the old one is understood, too."""
    async with serving("plus") as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        first, second = await grid.upscale(1), await grid.upscale(1)
        assert first.id != second.id
        properties = {"status": "SUCCESS", "imageUrl": first.image_url}
        known = {"code": 21, "description": "已存在", "result": first.id, "properties": properties}
        sim.fault("reply", endpoint="action", status=200, body=known)
        assert (await grid.upscale(1)).id == first.id


@pytest.mark.parametrize("dialect", ["original", "plus", "open-plus", *GATEWAYS])
async def test_trap_7_3_unknown_ids_are_left_out_of_lists(dialect: str) -> None:
    """What is missing from a list is missing from the answer, and the rest is in order."""
    async with serving(dialect) as (_, mj):
        ids = [(await mj.imagine(f"fox {n}")).id for n in range(3)]
        assert [*await mj.fetch(["42", *ids, "43"])] == ids


async def test_trap_7_3_a_task_missing_from_a_list_is_not_lost() -> None:
    """A list without a task is not believed until a fetch of that task says so, too."""
    async with serving("plus", time_scale=0.001) as (sim, mj):
        sim.fault("reply", on="list", status=200, body=b"[]", times=None)
        foxes = await mj.gather(*(mj.imagine(f"fox {n}") for n in range(3)))
        assert all(map(is_grid, foxes))


# --- 7.4 timing --------------------------------------------------------------------------------


def test_trap_7_4_submissions_take_a_minute() -> None:
    """Servers upload pictures while they are asked: a submission may take more than that."""
    defaults = inspect.signature(Client).parameters
    assert defaults["submit_timeout"].default > 60
    assert api._SEED_TIMEOUT > 60


async def test_trap_7_4_a_queue_may_be_long(clock: FakeClock) -> None:
    """Ten minutes in a queue are no reason to give up."""
    async with serving("plus", time_scale=FROZEN) as (sim, _), connect(sim, clock=clock) as mj:
        waiting = asyncio.ensure_future(mj.imagine("a lighthouse").wait())
        await clock.advance(1, mj)
        await clock.advance(600, mj)
        assert not waiting.done()
        await leave(waiting)


# --- 7.5 what a server has not -----------------------------------------------------------------

ABSENT = {
    "an empty 404": {"status": 404},
    "a 404 of Spring": {"status": 404, "body": {"timestamp": "x", "status": 404, "error": "x"}},
    "a front page": {"status": 200, "body": b"<!DOCTYPE html><html><div id=root></div></html>"},
    "a mode nobody knows": {"status": 400, "body": {"description": "unknown_relay_action "}},
    "an unknown button": {"status": 200, "body": {"code": 4, "description": "未知的 Action 类型"}},
}


@pytest.mark.parametrize("reply", ABSENT.values(), ids=ABSENT.keys())
async def test_trap_7_5_unsupported_is_not_tried_again(reply: dict[str, Any]) -> None:
    """Each way to say "not here" is one error after one request."""
    async with serving("plus") as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        sim.fault("reply", endpoint="action", times=None, **reply)
        await refused(grid.upscale(1), mjasync.UnsupportedEndpoint)
        assert len(sent(sim, "action")) == 1


# --- 8 what others get wrong -------------------------------------------------------------------


async def test_mistake_8_1_only_success_and_failure_are_the_end() -> None:
    """CANCEL ends a wait, and so does a modal that nobody has answered."""
    async with serving("plus", time_scale=FROZEN) as (_, mj):
        task = await mj.imagine("a lighthouse").submit()
        await task.cancel()
        await refused(task.wait(), mjasync.TaskCancelled)
    async with serving("plus") as (_, mj):
        opened = mj.imagine("a lighthouse").upscale(1).action("Custom Zoom")
        await refused(opened.wait(), mjasync.ModalRequired)


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_mistake_8_2_a_hundred_percent_is_success(dialect: str) -> None:
    """A gateway's failures are at 100 %, and are failures."""
    async with serving(dialect) as (sim, mj):
        sim.fault("fail", at=46, reason="Internal Server Error")
        error = await refused(mj.imagine("a lighthouse"), mjasync.TaskFailed)
        assert error.task.info.raw["progress"] == "100%"
        assert error.reason == "Internal Server Error"


@pytest.mark.parametrize("dialect", GATEWAYS)
async def test_mistake_8_3_modal_by_description(dialect: str) -> None:
    """A Chinese modal behind a gateway that says 1 for 21 is one; it is not confirmed unasked."""
    async with serving(dialect, remix=True) as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        error = await refused(grid.vary(1), mjasync.ModalRequired)
        assert not sent(sim, "modal")
        changed = await error.task.modal("a red lighthouse")
        assert sent(sim, "modal")[0]["prompt"] == "a red lighthouse"
        assert is_grid(changed)


async def test_mistake_8_4_modal_without_a_look_at_the_code() -> None:
    """A press that was refused is not answered, even when it comes with an id."""
    async with serving("plus") as (sim, mj):
        big = await mj.imagine("a lighthouse").upscale(1)
        refusal = {"code": 4, "description": "参数错误", "result": "1700000000000001"}
        sim.fault("reply", endpoint="action", status=200, body=refusal)
        error = await refused(big.zoom(1.8, "a tower"), mjasync.InvalidRequest)
        assert error.description == "参数错误"
        assert not sent(sim, "modal")


async def test_mistake_8_5_hard_coded_buttons() -> None:
    """A button of a model to come is shown, and pressed by its label and by its meaning."""
    wild = "MJ::JOB::upsample_v11_9x_creative::1::abc::SOLO"
    new = "MJ::Hologram::1::abc"
    buttons = [
        {"customId": wild, "label": "Upscale (Creative)", "emoji": "upscale_1", "type": 2},
        {"customId": new, "label": "Hologram", "emoji": "", "style": 1},
        {"customId": "MJ::BOOKMARK::abc", "label": "", "emoji": "❤️"},
    ]
    async with serving("plus") as (sim, mj):
        for press in (
            lambda task: task.upscale("creative"),
            lambda task: task.action("Upscale (Creative)"),
            lambda task: task.action("Hologram"),
            lambda task: task.action("❤"),
        ):
            task = await (await retold(sim, mj, buttons=buttons))
            assert len(task.buttons) == 3
            reply = {"code": 1, "result": task.id, "description": ""}
            sim.fault("reply", endpoint="action", status=200, body=reply)
            await press(task)
        pressed = [body["customId"] for body in sent(sim, "action")]
        assert pressed == [wild, wild, new, "MJ::BOOKMARK::abc"]


@pytest.mark.parametrize("dialect", ["original", "plus", "open-plus", *GATEWAYS])
async def test_mistake_8_6_queued_is_not_refused(dialect: str) -> None:
    """Code 22 is an acceptance: waited for, not sent again, and no duplicate."""
    async with serving(dialect, concurrency=1, time_scale=0.0002) as (sim, mj):
        foxes = await mj.gather(*(mj.imagine(f"fox {n}") for n in range(4)))
        assert all(map(is_grid, foxes))
        assert len(sim.submissions) == len(sent(sim, "imagine")) == 4


SAYS: dict[str, tuple[dict[str, Any], str]] = {
    "A": ({"status": 200, "body": {"code": 4, "description": "因为"}}, "因为"),
    "B": ({"status": 400, "body": {"code": 4, "description": "因为"}}, "因为"),
    "C": ({"status": 200, "body": {"success": False, "code": -1, "message": "因为"}}, "因为"),
    "D": ({"status": 400, "body": {"description": "因为 ", "type": "x", "code": 4}}, "因为"),
    "E": ({"status": 400, "body": {"error": {"message": "因为", "type": "x"}}}, "因为"),
    "F": ({"status": 400, "body": {"error": "因为"}}, "因为"),
    "G": ({"status": 500, "body": {"error": {"description": "因为", "code": 500}}}, "因为"),
    "H": ({"status": 400, "body": {"status": 400, "error": "因为", "path": "/mj"}}, "因为"),
    "I": ({"status": 400, "body": "因为".encode()}, "因为"),
    "J": ({"status": 400, "body": b""}, "HTTP 400"),
    "K": ({"status": 400, "body": b"<html><title>Oops</title>"}, "Oops"),
}


@pytest.mark.parametrize("reply, words", SAYS.values(), ids=SAYS.keys())
async def test_mistake_8_7_error_text_is_lost(reply: dict[str, Any], words: str) -> None:
    """Whatever the shape, what the server said is in the message; without a word, the status is."""
    async with serving("plus") as (sim, mj):
        sim.fault("reply", endpoint="imagine", **reply)
        with pytest.raises(MJError) as caught:
            await mj.imagine("a lighthouse")
        assert words in str(caught.value)


@pytest.mark.parametrize("token", ["", None])
async def test_mistake_8_8_a_blank_token_is_sent(token: str | None) -> None:
    """Without a token there is no header for one."""
    async with serving("plus", token=None) as (sim, _), connect(sim, token=token) as mj:
        await mj.imagine("a lighthouse")
        names = {name.lower() for request in sim.requests for name in request.headers}
        assert not names & {"mj-api-secret", "authorization"}


@pytest.mark.parametrize("dialect", [*GATEWAYS, "open-plus"])
async def test_mistake_8_9_numeric_ids_in_lists(dialect: str) -> None:
    """Ids go out as strings even when they were given as numbers."""
    async with serving(dialect) as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        number: Any = int(grid.id)
        assert [*await mj.fetch([number])] == [grid.id]
        assert (await mj.task(number)).id == grid.id
        assert sent(sim, "list-by-condition")[-1]["ids"] == [grid.id]


async def test_mistake_8_10_results_from_the_wrong_field() -> None:
    """Texts are found where each server puts them; single pictures are not shown twice."""
    for dialect in ("original", "plus", "open-plus", *GATEWAYS):
        async with serving(dialect) as (_, mj):
            told = await mj.describe(png())
            assert len(told.prompts) == 4, dialect
            assert told.text.count(told.prompts[0]) == 1
    for dialect in ("plus", "open-plus", *GATEWAYS):
        async with serving(dialect) as (_, mj):
            short = await mj.shorten("a very very tall lighthouse in a rather wild storm")
            assert len(short.prompts) == 5, dialect


@pytest.mark.parametrize("dialect", ["plus", "open-plus"])
async def test_mistake_8_10_pictures_twice(dialect: str) -> None:
    """A grid whose four pictures are listed has four, and a video's links are videos alone."""
    async with serving(dialect, image_urls=True) as (_, mj):
        grid = await mj.imagine("a lighthouse")
        assert len(set(grid.image_urls)) == len(grid.image_urls) == 4
        assert len(await grid.images()) == 4
        video = await mj.video("it turns", image=png(), batch_size=2)
        assert len(set(video.video_urls)) == len(video.video_urls) == 2
        assert len(await video.images()) <= 2


async def test_mistake_8_11_waiting_for_ever() -> None:
    """A job that is stuck on the server ends the wait, not the job: it is resumed by its id."""
    async with serving("plus", time_scale=FROZEN) as (sim, mj):
        task = await mj.imagine("a lighthouse").submit()
        await refused(task.wait(stall_timeout=0.02), mjasync.TaskStalled)
        error = await refused(task.wait(timeout=0.02), mjasync.TaskTimeout)
        assert error.task_id == task.id
        ended = {**(await task.refresh()).info.raw, "status": "SUCCESS", "progress": "100%"}
        sim.fault("reply", on="fetch", times=None, body=orjson.dumps(ended), status=200)
        async with connect(sim) as another:
            assert (await another.task(task.id)).done
        assert (await task).done
        assert len(sim.submissions) == 1


@pytest.mark.parametrize("dialect", ["original", "plus", "open-plus", *GATEWAYS, "path-gateway"])
async def test_mistake_8_12_a_lost_answer_is_sent_again(dialect: str) -> None:
    """Where the answer was lost the job may be paid for: it is said, never repeated."""
    async with serving(dialect) as (sim, mj):
        sim.fault("reset_after", endpoint="imagine")
        error = await refused(mj.imagine("a lighthouse", state="mine"), mjasync.SubmitUncertain)
        assert (error.state, error.payload["prompt"]) == ("mine", "a lighthouse")
        assert len(sim.submissions) == len(sent(sim, "imagine")) == 1


@pytest.mark.parametrize("dialect", ["original", "plus", "open-plus", *GATEWAYS, "path-gateway"])
async def test_mistake_8_13_both_headers(dialect: str) -> None:
    """`mj-api-secret` alone lets the client in everywhere."""
    async with serving(dialect) as (sim, mj):
        await mj.imagine("a lighthouse").upscale(1)
        await mj.fetch(["42"])
        for request in sim.requests:
            assert "mj-api-secret" in request.headers
            assert "Authorization" not in request.headers


async def test_mistake_8_13_bearer_is_a_choice() -> None:
    """Bearer goes alone, too: it is what some gateways want, and what locks one out elsewhere."""
    async with serving("new-api") as (sim, _), connect(sim, auth="bearer") as mj:
        assert is_grid(await mj.imagine("a lighthouse"))
        assert {"mj-api-secret" in request.headers for request in sim.requests} == {False}
    async with serving("open-plus") as (sim, _), connect(sim, auth="bearer") as mj:
        await refused(mj.imagine("a lighthouse"), mjasync.AuthenticationError)


@pytest.mark.parametrize(
    "factor, label, custom_id", [(2, "Zoom Out 2x", "::50::"), (1.5, "Zoom Out 1.5x", "::75::")]
)
async def test_mistake_8_14_zooms_the_wrong_way_round(
    factor: float, label: str, custom_id: str
) -> None:
    """50 is twice and 75 is one and a half times, by meaning and by the server's label."""
    async with serving("plus") as (sim, mj):
        big = await mj.imagine("a lighthouse").upscale(1)
        await big.zoom(factor)
        await big.action(label)
        by_meaning, by_label = sent(sim, "action")[-2:]
        assert custom_id in by_meaning["customId"]
        assert by_meaning["customId"] == by_label["customId"]


@pytest.mark.parametrize(
    "answer",
    [lambda told: told.imagine(2), lambda told: told.action("MJ::Job::PicReader::2").modal()],
)
async def test_mistake_8_15_a_modal_with_nothing_but_its_id(
    answer: Callable[[Task], Task],
) -> None:
    """The prompt is always sent: without it open-plus draws all four at once (PROTOCOL §1.9)."""
    async with serving("open-plus") as (sim, mj):
        told = await mj.describe(png())
        drawn = await answer(told)
        (body,) = sent(sim, "modal")
        assert told.prompts[1] in body["prompt"]
        assert [prompt in (drawn.prompt or "") for prompt in told.prompts] == [
            False,
            True,
            False,
            False,
        ]


# --- and all of them ---------------------------------------------------------------------------


def test_no_trap_is_left_out() -> None:
    """Every shape of §7.1, every other part of §7 and every mistake of §8 has a test."""
    names = [name.removeprefix("test_") for name in globals() if name.startswith("test_")]
    expected = [f"trap_7_1_{letter}_" for letter in "abcdefghijk"]
    expected += [f"trap_7_{part}_" for part in range(2, 6)]
    expected += [f"mistake_8_{number}_" for number in range(1, 16)]
    missing = [one for one in expected if not any(name.startswith(one) for name in names)]
    assert not missing


@pytest.mark.parametrize("dialect", ["new-api-2025", "one-hub", "one-api"])
async def test_a_token_without_money_is_no_wrong_token(dialect: str) -> None:
    """Gateways say it with HTTP 401, to submissions and looks alike (PROTOCOL §6.2)."""
    spent = "sk-" + "x" * 48
    async with serving(dialect, spent_tokens=[spent]) as (sim, _):
        async with connect(sim, token=spent) as mj:
            for _ in range(2):
                await refused(mj.imagine("a lighthouse"), mjasync.QuotaExhausted)
            with pytest.raises(mjasync.QuotaExhausted):
                await mj.task("1").refresh()
        assert sim.submissions == []


@pytest.mark.parametrize("body", [b"null", {"message": "Service Unavailable"}])
async def test_a_gateways_word_for_an_answer_without_a_code_is_uncertain(body: object) -> None:
    """Whatever stood between it and its server may have lost the answer (PROTOCOL §2)."""
    async with serving("one-api") as (sim, mj):
        sim.upstream.fault("reply", endpoint="imagine", status=200, body=body)
        await refused(mj.imagine("a lighthouse"), mjasync.SubmitUncertain)
        assert len(sent(sim, "imagine")) == 1


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("dialect", ["new-api", "new-api-2025", "one-hub"])
async def test_the_channel_of_the_parent_is_gone(dialect: str, gone: bool) -> None:
    """Nothing was sent: there is no account for it now (PROTOCOL §2)."""
    async with serving(dialect) as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        sim.fault("parent_channel_off", times=None, gone=gone)
        await refused(grid.upscale(1), mjasync.NoAccount)
        assert len(sim.submissions) == 1
