"""Every operation, on a server that has it and on one that has not (PROTOCOL §1.0)."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

import mjasync
from mjasync import AccountFilter, Client, Task, TaskStatus
from mjasync._protocol.buttons import classify_button
from mjasync.simulator import Simulator
from support.clients import connect
from support.pictures import png
from support.raw_http import simulated
from support.sent_requests import sent
from support.stories import FROZEN, TOKEN, is_grid, serving

Ask = Callable[[Simulator, Client], Awaitable[object]]
ADMIN = {"token": "sim-admin"}


def asked(sim: Simulator, path: str) -> int:
    """How many requests went to a path, whatever stands before it."""
    return sum(re.search(rf"/mj/{path}$", request.path) is not None for request in sim.requests)


# --- the matrix --------------------------------------------------------------------------------


async def with_task(sim: Simulator, mj: Client, **changes: object) -> Task:
    """Return a finished task about which the server tells something else than it would."""
    grid = await mj.imagine("a lighthouse")
    told = {**grid.info.raw, **changes}
    sim.fault("reply", on="fetch", status=200, body=orjson.dumps(told))
    return mj.task(grid.id)


async def change(sim: Simulator, mj: Client) -> object:
    """Upscale where no buttons are listed."""
    task = await with_task(sim, mj, action="IMAGINE", buttons=None)
    return await task.upscale(1)


async def action(sim: Simulator, mj: Client) -> object:
    """Press a button that is listed."""
    button = {"customId": "MJ::JOB::upsample::1::x", "label": "U1", "emoji": ""}
    if sim.dialect.name == "original":
        task = await with_task(sim, mj, buttons=[button])
    else:
        task = await mj.imagine("a lighthouse")
    return await task.action("U1")


async def modal(sim: Simulator, mj: Client) -> object:
    """Answer a modal that is open."""
    if sim.dialect.name == "original":
        return await (await with_task(sim, mj, status="MODAL")).modal("a tower")
    return await mj.imagine("a lighthouse").upscale(1).action("Custom Zoom").modal("x --zoom 1.8")


async def show(sim: Simulator, mj: Client) -> Task:
    """Rebuild a task from a job."""
    grid = await mj.imagine("a lighthouse")
    made = sim.tasks[grid.id]
    job, account = getattr(made, "midjourney_job_id", "4a3f6b4e-7c1d-4d6a-9d6a-111111111111"), "1"
    if sim.dialect.name == "plus":
        account = (await mj.accounts())[0].id
    return await mj.show(job, instance_id=account)


async def seed(_: Simulator, mj: Client) -> object:
    """Ask for a seed."""
    return await (await mj.imagine("a lighthouse")).seed()


async def cancel(sim: Simulator, mj: Client) -> object:
    """Give a job up."""
    task = await mj.imagine("a lighthouse").submit()
    return await task.cancel()


async def image(_: Simulator, mj: Client) -> object:
    """Read a picture by the id of its task."""
    return await mj.image((await mj.imagine("a lighthouse")).id)


async def fetch(_: Simulator, mj: Client) -> object:
    """Look at a task."""
    task = await mj.imagine("a lighthouse").submit()
    return await task.refresh()


async def swap_video(_: Simulator, mj: Client) -> object:
    """Put a face into a video."""
    return await mj.swap_video_face(png(), b"\0\0\0\x18ftypmp42 and so on")


@attrs.frozen
class Row:
    """One row of the matrix that the client has a method for."""

    path: str
    ask: Ask
    has: str
    lacks: str | None
    """None: no server lacks it, so the one that has it is made to lack it."""
    method: str = "POST"
    options: dict[str, Any] = attrs.field(factory=dict)


ROWS = [
    Row("submit/imagine", lambda _, mj: mj.imagine("a fox"), "original", None),
    Row("submit/blend", lambda _, mj: mj.blend([png(), png("L")]), "one-hub", None),
    Row("submit/describe", lambda _, mj: mj.describe(png()), "new-api", None),
    Row("submit/change", change, "original", "open-plus"),
    Row("submit/change", change, "new-api", None),
    Row("submit/action", action, "plus", "original"),
    Row("submit/modal", modal, "open-plus", "original"),
    Row("submit/shorten", lambda _, mj: mj.shorten("a tall tower"), "open-plus", "original"),
    Row("submit/show", show, "plus", "open-plus"),
    Row("submit/show", show, "plus", "new-api"),
    Row("submit/upload-discord-images", lambda _, mj: mj.upload(png()), "one-hub", "original"),
    Row("submit/edits", lambda _, mj: mj.edit(png(), "red"), "plus", "new-api-2025"),
    Row("submit/edits", lambda _, mj: mj.edit(png(), "red"), "new-api", "one-hub"),
    Row("submit/edits", lambda _, mj: mj.edit(png(), "red"), "path-gateway", "original"),
    Row("submit/retexture", lambda _, mj: mj.retexture(png(), "brass"), "plus", "one-hub"),
    Row("submit/video", lambda _, mj: mj.video("it turns", image=png()), "open-plus", "one-hub"),
    Row("submit/video", lambda _, mj: mj.video("it turns"), "new-api", "new-api-2025"),
    Row("task/[^/]+/fetch", fetch, "original", None, "GET"),
    Row("task/[^/]+/image-seed", seed, "one-hub", "original", "GET"),
    Row("task/[^/]+/cancel", cancel, "plus", "new-api"),
    Row("task/[^/]+/cancel", cancel, "open-plus", "original", "POST", ADMIN),
    Row("task/list", lambda _, mj: mj.tasks(), "original", "one-hub", "GET"),
    Row("task/list", lambda _, mj: mj.tasks(), "open-plus", "new-api", "GET"),
    Row("task/queue", lambda _, mj: mj.queue(), "original", "open-plus", "GET"),
    Row("insight-face/swap", lambda _, mj: mj.swap_face(png(), png("L")), "new-api", "original"),
    Row("insight-face/video-swap", swap_video, "open-plus", "one-hub"),
    Row("image/[^/]+", image, "new-api", "plus", "GET"),
    Row("image/[^/]+", image, "one-hub", "original", "GET"),
    Row("account/list", lambda _, mj: mj.accounts(), "original", "open-plus", "GET"),
    Row("account/query", lambda _, mj: mj.accounts(), "plus", "new-api"),
]


def name_of(row: Row) -> str:
    """Tell rows apart."""
    return f"{row.path}-{row.has}-{row.lacks}".replace("[^/]+", "id")


@pytest.mark.parametrize("row", ROWS, ids=name_of)
async def test_a_server_that_has_it(row: Row) -> None:
    """The operation does what it is for, with one request to the endpoint of its row."""
    async with serving(row.has, **row.options) as (sim, mj):
        await row.ask(sim, mj)
        assert asked(sim, row.path) == 1
        assert row.method in {r.method for r in sim.requests if re.search(row.path, r.path)}


@pytest.mark.parametrize("row", [row for row in ROWS if row.lacks], ids=name_of)
async def test_a_server_that_has_it_not(row: Row) -> None:
    """It says UnsupportedEndpoint, after exactly one request."""
    async with serving(row.lacks) as (sim, mj):
        with pytest.raises(mjasync.UnsupportedEndpoint):
            await asyncio.wait_for(row.ask(sim, mj), 10)
        assert asked(sim, row.path) == 1


WAYS_TO_LACK = [
    {"kind": "html"},
    {"kind": "reply", "status": 404},
    {"kind": "reply", "status": 405},
    {"kind": "reply", "status": 404, "body": b'{"timestamp":"x","status":404,"path":"/mj"}'},
]


@pytest.mark.parametrize("way", WAYS_TO_LACK, ids=lambda way: f"{way['kind']}-{way.get('status')}")
@pytest.mark.parametrize("row", [row for row in ROWS if not row.lacks], ids=name_of)
async def test_a_server_that_is_made_to_lack_it(row: Row, way: dict[str, Any]) -> None:
    """Even what every server has may be missing somewhere, in any of the known ways."""
    async with serving(row.has) as (sim, mj):
        endpoint = row.path.rpartition("/")[2]
        on = "fetch" if endpoint == "fetch" else "submit"
        sim.fault(**way, on=on, endpoint=endpoint, times=None)
        with pytest.raises(mjasync.UnsupportedEndpoint):
            await asyncio.wait_for(row.ask(sim, mj), 10)
        assert asked(sim, row.path) == 1


@pytest.mark.parametrize("way", WAYS_TO_LACK, ids=lambda way: f"{way['kind']}-{way.get('status')}")
async def test_waiting_where_no_task_can_be_fetched(way: dict[str, Any]) -> None:
    """A paid job is given the grace of one that is not found yet, and no longer."""
    async with serving("plus") as (sim, mj):
        sim.fault(**way, on="fetch", times=None)
        sim.fault(**way, on="list", times=None)
        with pytest.raises(mjasync.UnsupportedEndpoint) as caught:
            await asyncio.wait_for(mj.imagine("a lighthouse").wait(), 10)
        assert caught.value.task_id == sim.submissions[0].task_id


@pytest.mark.parametrize("dialect", ["original", "plus", "one-hub"])
@pytest.mark.parametrize("lists", [True, False])
async def test_looking_at_many_with_a_list_and_without(dialect: str, lists: bool) -> None:
    """`/mj/task/list-by-condition` is used where it is; where not, each is fetched instead."""
    async with serving(dialect, list_endpoint=lists) as (sim, mj):
        ids = [(await mj.imagine(f"fox {n}").submit()).id for n in range(4)]
        before = asked(sim, "task/[^/]+/fetch")
        found = await mj.fetch([*ids, "42"])
        assert [*found] == ids
        assert asked(sim, "task/list-by-condition") == 1
        assert asked(sim, "task/[^/]+/fetch") - before == (0 if lists else 5)


# --- rows that no method exists for ------------------------------------------------------------

UNUSED = ["simple-change", "list-by-ids", "mj/notify", '"notify"']


@pytest.mark.parametrize("path", UNUSED)
def test_what_the_client_never_asks_for(path: str) -> None:
    """No code outside the simulator so much as knows these endpoints."""
    package = Path(mjasync.__file__).parent
    sources = [p for p in package.rglob("*.py") if "simulator" not in p.parts]
    code = "\n".join(p.read_text(encoding="utf-8") for p in sources)
    assert len(sources) > 20
    assert path not in re.sub(r'""".*?"""|#.*', "", code, flags=re.DOTALL)


@pytest.mark.parametrize(
    "dialect, status",
    [("original", 200), ("plus", 200), ("open-plus", 404), ("new-api", 503), ("one-hub", 400)],
)
async def test_simple_change(dialect: str, status: int) -> None:
    """Simple-change is there, gone, or routed and broken: why `change` is used (PROTOCOL §1.7)."""
    async with simulated(dialect, token=TOKEN) as (_, raw):
        grid = await raw.grid()
        answer = await raw.submit("simple-change", content=f"{grid['id']} U1")
        assert answer.status == status


@pytest.mark.parametrize("dialect, status", [("plus", 200), ("original", 404), ("new-api", 200)])
async def test_list_by_ids(dialect: str, status: int) -> None:
    """An alias that only some have, and a web page on gateways (PROTOCOL §1.0)."""
    async with simulated(dialect, token=TOKEN) as (_, raw):
        grid = await raw.grid()
        answer = await raw.post("/mj/task/list-by-ids", ids=[grid["id"]])
        assert answer.status == status
        is_list = answer.body.startswith(b"[")
        assert is_list == (dialect == "plus")


@pytest.mark.parametrize(
    "dialect, status", [("new-api-2025", 200), ("one-hub", 200), ("plus", 404)]
)
async def test_notify(dialect: str, status: int) -> None:
    """A gateway's own inbound hook takes a whole task (PROTOCOL §1.18)."""
    async with simulated(dialect, token=TOKEN) as (_, raw):
        grid = await raw.grid()
        answer = await raw.post("/mj/notify", id=grid["id"], status="SUCCESS", progress="100%")
        assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("dialect", ["new-api", "one-hub"])
async def test_a_change_has_an_index_always(dialect: str) -> None:
    """Gateways refuse even a reroll without one, so it is always sent (PROTOCOL §1.6)."""
    async with serving(dialect, time_scale=0) as (sim, mj):
        for press in (lambda t: t.reroll(), lambda t: t.vary(3), lambda t: t.upscale(2)):
            task = await with_task(sim, mj, buttons=None)
            assert (await press(task)).status is TaskStatus.SUCCESS
        kept = [(body["action"], body["index"]) for body in sent(sim, "change")]
        assert kept == [("REROLL", 1), ("VARIATION", 3), ("UPSCALE", 2)]
        assert not sent(sim, "simple-change")


# --- what is sent and what comes of it ---------------------------------------------------------


@pytest.fixture
def data() -> bytes:
    """A picture."""
    return png()


async def test_edit_and_retexture(data: bytes) -> None:
    """Both send a whole data URL and a prompt; the task is a grid to go on with."""
    async with serving("plus") as (sim, mj):
        for ask, endpoint in ((mj.edit, "edits"), (mj.retexture, "retexture")):
            task = await ask(data, "all brass", state="mine")
            assert is_grid(task)
            (body,) = sent(sim, endpoint)
            assert (body["prompt"], body["state"]) == ("all brass", "mine")
            assert body["image"].startswith("data:image/png;base64,")


async def test_what_a_video_can_be_asked_for(data: bytes) -> None:
    """Every wish has its field; what is not wished for is not sent (PROTOCOL §1.11)."""
    async with serving("plus") as (sim, mj):
        await mj.video("it turns")
        video = await mj.video(
            "it turns",
            image=data,
            end_image=data,
            motion="high",
            loop=True,
            video_type="vid_1.1_i2v_720",
            batch_size=2,
        )
        plain, full = sent(sim, "video")
        assert plain.keys() == {"prompt", "motion", "state"}
        assert plain["motion"] == "low"
        assert full["image"] == full["endImage"]
        assert (full["motion"], full["loop"], full["batchSize"]) == ("high", True, 2)
        assert full["videoType"] == "vid_1.1_i2v_720"
        assert len(video.video_urls) == 2
        longer = await mj.video("on it goes", extend=video.id, index=2)
        asked_for = sent(sim, "video")[-1]
        assert (asked_for["action"], asked_for["taskId"]) == ("extend", video.id)
        assert asked_for["index"] == 1  # 0-based here
        assert longer.status is TaskStatus.SUCCESS


async def test_a_video_to_extend_that_is_unknown() -> None:
    """The server does not know it, and says so (PROTOCOL §1.11)."""
    async with serving("open-plus", remix=True) as (_, mj):
        with pytest.raises(mjasync.TaskNotFound):
            await mj.video("on it goes", extend="42")


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 3}, {"index": 0}, {"motion": "wild"}, {"video_type": "4k"}, {"prompt": " "}],
)
async def test_videos_that_do_not_exist(options: dict[str, Any]) -> None:
    """What no server takes is refused where it is written."""
    async with serving("plus") as (sim, mj):
        with pytest.raises(mjasync.InvalidRequest):
            mj.video(**{"prompt": "it turns", **options})
        assert not sim.requests


async def test_faces(data: bytes) -> None:
    """A swap sends both pictures as base64, which gateways insist on (PROTOCOL §1.13)."""
    async with serving("new-api") as (sim, mj):
        task = await mj.swap_face(data, png("L"))
        (body,) = sent(sim, "swap")
        assert body["sourceBase64"] != body["targetBase64"]
        assert body["targetBase64"].startswith("data:image/png;base64,")
        assert (await task.read())[1:4] == b"PNG"


@pytest.mark.parametrize(
    "target", [b"\0\0\0\x18ftypmp42 a film", "https://films.example.com/film.mp4"]
)
async def test_faces_in_videos(data: bytes, target: str | bytes) -> None:
    """A video goes as a file of a form, or as its link (PROTOCOL §1.13)."""
    async with serving("open-plus") as (sim, mj):
        task = await mj.swap_video_face(data, target, state="mine", extra={"SourceBase64": "x"})
        assert (task.status, task.info.action) == (TaskStatus.SUCCESS, "SWAP_VIDEO_FACE")
        (request,) = [r for r in sim.requests if r.endpoint == "video-swap"]
        assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
        assert request.body["state"] == "mine"
        assert request.body["SourceBase64"].startswith("data:image/png;base64,")
        assert ("TargetUrl" in request.body) == isinstance(target, str)


async def test_show() -> None:
    """A job is rebuilt on the account that made it (PROTOCOL §1.14)."""
    async with serving("plus") as (sim, mj):
        task = await show(sim, mj)
        (body,) = sent(sim, "show")
        (account,) = await mj.accounts()
        assert body["accountFilter"] == {"instanceId": account.id}
        assert task.status is TaskStatus.SUCCESS
        with pytest.raises(mjasync.InvalidRequest):
            mj.show(" ", instance_id=account.id)


async def test_a_picture_is_uploaded_once(data: bytes, tmp_path: Path) -> None:
    """The same content is sent once per client, in whatever form and however often at once."""
    path = tmp_path / "one.png"
    path.write_bytes(data)
    other = png("L")
    async with serving("plus") as (sim, mj):
        spelt = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        forms = [data, path, str(path), io.BytesIO(data), bytearray(data), spelt]
        *same, last = await asyncio.gather(
            *(mj.upload(form) for form in forms), mj.upload([other, data])
        )
        assert len({links[0] for links in same}) == 1
        assert last[1] == same[0][0] != last[0]
        bodies = sent(sim, "upload-discord-images")
        uploaded = [one for body in bodies for one in body["base64Array"]]
        assert len(uploaded) == len(set(uploaded)) == 2
        assert await mj.upload([data, data, other]) == [*same[0], *same[0], last[0]]
        assert len(sent(sim, "upload-discord-images")) == 2
        async with connect(sim) as another:
            await another.upload(data)
        assert len(sent(sim, "upload-discord-images")) == 3


async def test_an_upload_that_fails_is_tried_anew(data: bytes) -> None:
    """What was not taken is not remembered as taken."""
    async with serving("plus") as (sim, mj):
        refusal = {"code": 4, "description": "禁止上传"}
        sim.fault("reply", endpoint="upload-discord-images", status=200, body=refusal)
        with pytest.raises(mjasync.InvalidRequest, match="禁止上传"):
            await mj.upload(data)
        assert len(await mj.upload(data)) == 1


@pytest.mark.parametrize(
    "dialect", ["plus", "open-plus", "new-api-2025", "one-hub", "path-gateway"]
)
async def test_the_seed_is_a_number(dialect: str) -> None:
    """Servers tell it as a string; it is asked for once (PROTOCOL §1.15)."""
    async with serving(dialect) as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        first = await grid.seed()
        assert isinstance(first, int)
        assert await grid.seed() == first
        assert asked(sim, "task/[^/]+/image-seed") <= 1


async def test_the_seed_behind_new_api() -> None:
    """It shows its upstream no secret when it asks for a seed: only an open one tells."""
    async with serving("new-api") as (_, mj):
        with pytest.raises(mjasync.ServerError, match="unmarshal_response_body_failed"):
            await (await mj.imagine("a lighthouse")).seed()
    async with (
        Simulator("plus", time_scale=0) as server,
        serving("new-api", upstream=server.url) as (_, mj),
    ):
        assert isinstance(await (await mj.imagine("a lighthouse")).seed(), int)


async def test_cancelling_on_plus() -> None:
    """A cancelled job is over, and awaiting it says why."""
    async with serving("plus", time_scale=FROZEN) as (_, mj):
        task = await mj.imagine("a lighthouse").submit()
        assert (await task.cancel()).status is TaskStatus.CANCEL
        with pytest.raises(mjasync.TaskCancelled):
            await task


async def test_cancelling_on_open_plus() -> None:
    """There only the administrator may; the task ends as FAILURE, and is no less cancelled."""
    async with serving("open-plus", time_scale=FROZEN) as (sim, mj):
        task = await mj.imagine("a lighthouse").submit()
        with pytest.raises(mjasync.MJError, match="演示模式"):
            await task.cancel()
        async with connect(sim, **ADMIN) as admin:
            mine = await admin.task(task.id).cancel()
        assert mine.status is TaskStatus.FAILURE
        with pytest.raises(mjasync.TaskCancelled):
            await task


@pytest.mark.parametrize("dialect", ["original", "plus", "open-plus"])
async def test_the_tasks_of_a_server(dialect: str) -> None:
    """The newest come first, in full."""
    async with serving(dialect) as (_, mj):
        ids = [(await mj.imagine(f"fox {n}")).id for n in range(3)]
        listed = await mj.tasks()
        assert [task.id for task in listed] == ids[::-1]
        assert {task.status for task in listed} == {TaskStatus.SUCCESS}


@pytest.mark.parametrize("dialect", ["original", "plus"])
async def test_the_queue_of_a_server(dialect: str) -> None:
    """What waits or runs, the oldest first."""
    async with serving(dialect, time_scale=FROZEN) as (_, mj):
        ids = [(await mj.imagine(f"fox {n}").submit()).id for n in range(5)]
        waiting = await mj.queue()
        assert [task.id for task in waiting] == ids
        assert not any(task.status.is_final for task in waiting)


@pytest.mark.parametrize("dialect", ["original", "plus"])
async def test_accounts_keep_their_secrets(dialect: str) -> None:
    """Accounts are told without their tokens, which the original gives away (PROTOCOL §1.16)."""
    async with serving(dialect, accounts=2) as (sim, mj):
        accounts = await mj.accounts()
        assert len(accounts) == 2
        assert {account.concurrency for account in accounts} == {3}
        assert all(account.enabled for account in accounts)
        secrets = [one.user_token for one in sim._engine.all_accounts]
        told = "".join(f"{account!r}{account.raw!r}" for account in accounts)
        assert secrets
        assert not [secret for secret in secrets if secret in told]
        assert "oken" not in told


@pytest.mark.parametrize("dialect", ["new-api", "one-hub"])
async def test_a_picture_by_id(dialect: str) -> None:
    """A gateway serves pictures by id; one it does not know it says so about."""
    async with serving(dialect) as (_, mj):
        grid = await mj.imagine("a lighthouse")
        assert await mj.image(grid.id) == await grid.read()
        with pytest.raises(mjasync.TaskNotFound):
            await mj.image("42")


async def test_describe_then_imagine_one(data: bytes) -> None:
    """The modal is answered with the chosen prompt, never with all four (PROTOCOL §1.9)."""
    async with serving("open-plus") as (sim, mj):
        told = await mj.describe(data)
        drawn = await told.imagine(2)
        (body,) = sent(sim, "modal")
        assert told.prompts[1] in body["prompt"]
        assert told.prompts[0] not in body["prompt"]
        assert is_grid(drawn)
        changed = await told.imagine(3, "a tower")
        assert changed.prompt == "a tower"


async def test_describe_then_imagine_all(data: bytes) -> None:
    """One press, four jobs: the one returned and its siblings, each awaitable."""
    async with serving("open-plus") as (sim, mj):
        told = await mj.describe(data)
        first = await told.imagine("all")
        everyone = (first, *first.siblings)
        await mj.gather(*everyone)
        assert len({task.id for task in everyone}) == 4
        assert all(map(is_grid, everyone))
        assert asked(sim, "submit/action") == 1


async def test_describe_again(data: bytes) -> None:
    """A described picture can be described again, whatever glyph the button carries (§3.5)."""
    for dialect in ("plus", "open-plus"):
        async with serving(dialect) as (sim, mj):
            told = await mj.describe(data)
            again = await told.reroll()
            assert again.info.action == "DESCRIBE"
            assert len(again.prompts) == 4
            assert sent(sim, "action")[-1]["customId"] == "MJ::Picread::Retry"


async def test_shorten_then_imagine() -> None:
    """A shorter prompt can be drawn where the server lets it."""
    async with serving("plus") as (_, mj):
        short = await mj.shorten("a very very tall lighthouse in a rather wild storm")
        assert (await short.imagine(2)).prompt == short.prompts[1]
        assert (await short.imagine(2, "a tower")).prompt == "a tower"


@pytest.mark.parametrize("dialect", ["plus", "open-plus", "new-api", "one-hub"])
async def test_bookmarks_that_are_refused(dialect: str) -> None:
    """The button is shown, and these servers refuse it (PROTOCOL §5.1)."""
    async with serving(dialect) as (sim, mj):
        big = await mj.imagine("a lighthouse").upscale(1)
        with pytest.raises(mjasync.UnsupportedEndpoint):
            await big.bookmark()
        assert len(sent(sim, "action")) == 2


async def test_a_bookmark_that_is_kept() -> None:
    """A server that keeps them answers with the picture's own id (PROTOCOL §2)."""
    async with serving("plus") as (sim, mj):
        big = await mj.imagine("a lighthouse").upscale(1)
        reply = {"code": 1, "description": "提交成功", "result": big.id, "properties": {}}
        sim.fault("reply", endpoint="action", status=200, body=reply)
        assert (await big.bookmark()).id == big.id


# --- every button that is drawn ----------------------------------------------------------------

VERBS: dict[str, Callable[[Task, str], Task]] = {
    "upscale": lambda task, how: task.upscale(int(how) if how.isdecimal() else how),
    "vary": lambda task, how: task.vary(int(how) if how.isdecimal() else how),
    "reroll": lambda task, _: task.reroll(),
    "inpaint": lambda task, _: task.inpaint(png("L", 255), "a red door"),
    "zoom": lambda task, how: task.zoom(1.8) if how == "custom" else task.zoom(float(how)),
    "pan": lambda task, way: task.pan(way),
    "animate": lambda task, motion: task.animate(motion),
    "extend": lambda task, motion: task.extend(motion),
    "imagine": lambda task, which: task.imagine(which),
    "details": lambda task, _: task.details(),
    "bookmark": lambda task, _: task.bookmark(),
}
REFUSED = {
    "open-plus": r"PromptAnalyzer|BOOKMARK",
    "new-api": r"Job::|Picread|BOOKMARK|animate_|video_",
    "one-hub": r"Job::|Picread|BOOKMARK|animate_|video_",
}
DRAWN: dict[str, Callable[[Client], Task]] = {
    "grid": lambda mj: mj.imagine("a lighthouse"),
    "single": lambda mj: mj.imagine("a lighthouse").upscale(1),
    "enlarged": lambda mj: mj.imagine("a lighthouse").upscale(1).upscale("subtle"),
    "description": lambda mj: mj.describe(png()),
    "analysis": lambda mj: mj.shorten("a very very tall lighthouse in a rather wild storm"),
    "video": lambda mj: mj.video("it turns", image=png()),
    "clip": lambda mj: mj.video("it turns", image=png()).upscale(1),
}
SELL_NO_VIDEOS = {"new-api", "one-hub"}
DRAWINGS = [
    (dialect, kind)
    for dialect in REFUSED
    for kind in DRAWN
    if not (dialect in SELL_NO_VIDEOS and kind in {"video", "clip"})
]


async def outcome_of(pressed: Task) -> str:
    """Say what pressing a button comes to."""
    try:
        await pressed
    except mjasync.ModalRequired:
        return "done"
    except mjasync.UnsupportedEndpoint:
        return "refused"
    return "done"


@pytest.mark.parametrize("dialect, kind", DRAWINGS)
async def test_every_button_by_name_and_by_meaning(dialect: str, kind: str) -> None:
    """Each button a server draws is sent as it stands, however it was asked for (PROTOCOL §5.1)."""
    async with serving(dialect) as (sim, mj):
        task = await DRAWN[kind](mj)
        assert len(task.buttons)
        for button in task.buttons:
            meaning = classify_button(button)
            refused = re.search(REFUSED[dialect], button.custom_id) is not None
            by_name = task.action(button.label or button.emoji)
            for pressed in (by_name, VERBS[meaning.verb](task, meaning.detail)):
                assert await outcome_of(pressed) == ("refused" if refused else "done"), button
                assert sent(sim, "action")[-1]["customId"] == button.custom_id


@pytest.mark.parametrize(
    "custom_id, label, names",
    [
        ("MJ::Outpaint::100::1::abc::SOLO", "Make Square", ["make square", "zoom square"]),
        ("MJ::CustomZoom::1::abc", "Custom Zoom", ["Custom Zoom", "zoom custom"]),
        ("MJ::JOB::video::1::abc::manual", "Animate manually", ["Animate manually"]),
        ("MJ::JOB::upsample_v5_4x::1::abc::SOLO", "Upscale (4x)", ["Upscale (4x)", "upscale 4x"]),
    ],
)
async def test_buttons_that_are_seldom_seen(custom_id: str, label: str, names: list[str]) -> None:
    """What only some servers write is pressed as well, by label and by meaning (PROTOCOL §5.1)."""
    buttons = [{"customId": custom_id, "label": label, "emoji": "", "type": 2, "style": 2}]
    async with serving("plus") as (sim, mj):
        for name in names:
            task = await (await with_task(sim, mj, buttons=buttons))
            reply = {"code": 1, "result": task.id, "description": ""}
            sim.fault("reply", endpoint="action", status=200, body=reply)
            await task.action(name)
        assert {body["customId"] for body in sent(sim, "action")} == {custom_id}


# --- options -----------------------------------------------------------------------------------


async def test_asking_for_remix_and_strength() -> None:
    """`enable_remix` opens the modal, which is left to the caller; `strong` is passed on."""
    async with serving("plus") as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        with pytest.raises(mjasync.ModalRequired) as caught:
            await grid.vary(1, enable_remix=True)
        assert is_grid(await caught.value.task.modal("a tower"))
        assert is_grid(await grid.vary(2, strong=True))
        first, second = sent(sim, "action")
        assert (first["enableRemix"], second["strong"]) == (True, True)
        assert "strong" not in first
        assert "enableRemix" not in second
        assert sim.tasks[sim.submissions[-1].task_id].is_strong


def filters() -> Iterator[Any]:
    """Account filters, typed and as the wire has them."""
    wire = {"instanceId": "7", "modes": ["FAST", "RELAX"], "remix": True, "remark": "mine"}
    typed = AccountFilter(instance_id="7", modes=["fast", "relax"], remix=True, remark="mine")
    yield pytest.param(typed, wire, id="typed")
    yield pytest.param(wire, wire, id="plain")
    yield pytest.param(AccountFilter(), {}, id="empty")
    yield pytest.param(
        AccountFilter(niji_remix=False, remix_auto_considered=True),
        {"nijiRemix": False, "remixAutoConsidered": True},
        id="rare",
    )


@pytest.mark.parametrize("given, wire", list(filters()))
async def test_account_filters(given: Any, wire: dict[str, Any]) -> None:  # noqa: ANN401
    """A filter goes out as the server spells it, with nothing that was not said (PROTOCOL §1.1)."""
    async with serving("plus") as (sim, mj):
        sim.fault("reply", endpoint="imagine", status=200, body={"code": 1, "result": "42"})
        await mj.imagine("a lighthouse", account_filter=given).submit()
        (body,) = sent(sim, "imagine")
        assert body["accountFilter"] == wire


async def test_an_account_nobody_has() -> None:
    """The server has no such account, and says so for good."""
    async with serving("open-plus") as (sim, mj):
        with pytest.raises(mjasync.NoAccount):
            await mj.imagine("a lighthouse", account_filter=AccountFilter(instance_id="7"))
        assert not sim.submissions


@pytest.mark.parametrize(
    "client, call, path",
    [
        ({}, {}, "/mj/"),
        ({}, {"speed": "turbo"}, "/mj-turbo/mj/"),
        ({"speed": "turbo"}, {}, "/mj-turbo/mj/"),
        ({"speed": "turbo"}, {"speed": "relax"}, "/mj-relax/mj/"),
        ({"image_host": "relay"}, {"speed": "fast"}, "/mj-fast-relay/mj/"),
        ({"speed": "fast", "image_host": "relay"}, {"image_host": "proxy"}, "/mj-fast-proxy/mj/"),
    ],
)
async def test_speed_and_image_host(
    client: dict[str, Any], call: dict[str, Any], path: str
) -> None:
    """A call's speed and image host go before the client's; a gateway's links show the host."""
    async with serving("path-gateway") as (sim, _), connect(sim, **client) as mj:
        grid = await mj.imagine("a lighthouse", **call)
        big = await grid.upscale(1)
        posts = [r.path for r in sim.requests if "/submit/" in r.path]
        assert [one.rpartition("submit/")[0] for one in posts] == [path, path]
        host = {**client, **call}.get("image_host", "origin")
        for task in (grid, big):
            assert f"{sim.url}/{host}/" in (task.image_url or "")
            assert (await task.read())[1:4] == b"PNG"
        speed = {**client, **call}.get("speed")
        made = sim.upstream.tasks[grid.id]
        assert speed is None or made.mode == speed.upper()


async def test_a_follow_up_may_have_another_speed() -> None:
    """Each press may ask for its own."""
    async with serving("plus") as (sim, mj):
        grid = await mj.imagine("a lighthouse", speed="relax")
        await grid.vary(1, speed="turbo")
        modes = [sim.tasks[paid.task_id].mode for paid in sim.submissions]
        assert modes == ["RELAX", "TURBO"]


SUBMISSIONS = {
    "imagine": lambda mj, **more: mj.imagine("a fox", **more),
    "blend": lambda mj, **more: mj.blend([png(), png()], **more),
    "describe": lambda mj, **more: mj.describe(png(), **more),
    "shorten": lambda mj, **more: mj.shorten("a fox", **more),
    "edit": lambda mj, **more: mj.edit(png(), "red", **more),
    "retexture": lambda mj, **more: mj.retexture(png(), "red", **more),
    "video": lambda mj, **more: mj.video("a fox", **more),
    "swap_face": lambda mj, **more: mj.swap_face(png(), png(), **more),
    "swap_video_face": lambda mj, **more: mj.swap_video_face(png(), b"film", **more),
    "show": lambda mj, **more: mj.show("a job", instance_id="1", **more),
}
PRESSES = {
    "action": lambda task, **more: task.action("U1", **more),
    "upscale": lambda task, **more: task.upscale(1, **more),
    "vary": lambda task, **more: task.vary(1, **more),
    "vary prompt": lambda task, **more: task.vary(1, "a fox", **more),
    "zoom": lambda task, **more: task.zoom(1.8, **more),
    "imagine": lambda task, **more: task.imagine("all", **more),
}


@pytest.mark.parametrize("option", ["spede", "enable_remix", "strong"])
@pytest.mark.parametrize("ask", SUBMISSIONS.values(), ids=SUBMISSIONS.keys())
async def test_options_no_submission_has(ask: Callable[..., Task], option: str) -> None:
    """A keyword that is misspelt, or is one of buttons, is a TypeError where it is written."""
    async with serving("plus") as (sim, mj):
        with pytest.raises(TypeError, match=rf"{option}; there are .*account_filter, bot,"):
            ask(mj, **{option: True})
        assert not sim.requests


@pytest.mark.parametrize("option", ["spede", "bot"])
@pytest.mark.parametrize("press", PRESSES.values(), ids=PRESSES.keys())
async def test_options_no_button_has(press: Callable[..., Task], option: str) -> None:
    """The same for buttons: which bot draws was decided before."""
    async with serving("plus") as (sim, mj):
        with pytest.raises(TypeError, match=rf"{option}; there are .*enable_remix, .*image_host"):
            press(mj.task("42"), **{option: "niji"})
        assert not sim.requests


async def test_state_is_echoed_everywhere() -> None:
    """A mark of one's own comes back on the task, through gateways too."""
    for dialect in ("original", "plus", "open-plus", "new-api", "one-hub", "path-gateway"):
        async with serving(dialect) as (_, mj):
            assert (await mj.imagine("a lighthouse", state="mine")).state == "mine", dialect


# --- money -------------------------------------------------------------------------------------


async def test_a_modal_that_does_not_open_loses_nothing() -> None:
    """`vary(1, prompt)` on a server that goes ahead: the paid Task is on the error."""
    async with serving("plus") as (sim, mj):
        grid = await mj.imagine("a lighthouse")
        paid = await mj.imagine("what the server went ahead with").submit()
        reply = {"code": 1, "description": "", "result": paid.id}
        sim.fault("reply", endpoint="action", status=200, body=reply)
        with pytest.raises(mjasync.ModalNotOpened) as caught:
            await grid.vary(1, "a tower")
        assert (await caught.value.task).id == paid.id
        assert not sent(sim, "modal")


async def test_everything_is_asked_for_once() -> None:
    """A long story sends each paid request once, whatever the server."""
    for dialect in ("plus", "new-api", "one-hub", "path-gateway"):
        async with serving(dialect) as (sim, mj):
            await mj.imagine("a lighthouse").upscale(1).zoom(1.8, "a tower").vary(2)
            paid = Counter(r.endpoint for r in sim.requests if r.kind == "submit")
            assert paid == {"imagine": 1, "action": 3, "modal": 1}, dialect
            assert len({one.task_id for one in sim.submissions}) == 4
