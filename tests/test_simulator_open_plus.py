"""The simulator as the open re-implementation (v11): every quirk of its row in the table."""

# ruff: noqa: ANN401  the options of a simulator are many

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from mjasync.simulator import Simulator
from mjasync.simulator.button_sets import BUTTON_SETS_SYNTHETIC
from mjasync.simulator.prompts import parse_version
from mjasync.simulator.task_json_open_plus import TASK_KEYS
from support.internals import set_time_scale
from support.loopback import serving
from support.pictures import data_url
from support.raw_http import FROZEN, PATIENCE, Answer, Raw, named, simulated

ADMIN = {"mj-api-secret": "sim-admin"}


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[Simulator, Raw]]:
    """A simulator of this dialect."""
    async with simulated("open-plus", **options) as pair:
        yield pair


async def cancel(raw: Raw, task_id: str, **headers: str) -> Answer:
    """Ask for the end of a task."""
    return await raw.call("POST", f"/mj/task/{task_id}/cancel", headers=headers)


# --- endpoints and errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method,path",
    [
        *(("POST", f"/mj/submit/{name}") for name in ("change", "simple-change", "show")),
        *(("GET", f"/mj/{name}") for name in ("task/queue", "account/list", "account/1/fetch")),
        ("POST", "/mj/account/query"),
    ],
)
async def test_what_v11_removed_is_404_and_empty(method: str, path: str) -> None:
    """PROTOCOL §1.0, §7.5."""
    async with opened() as (_, raw):
        answer = await raw.call(method, path, json={})
        assert (answer.status, answer.body) == (404, b"")


async def test_an_unknown_id_is_204_and_an_unknown_parent_404() -> None:
    """PROTOCOL §1.15, §1.8, §1.9, §1.11."""
    async with opened() as (_, raw):
        answer = await raw.get("/mj/task/1/fetch")
        assert (answer.status, answer.body) == (204, b"")
        for endpoint, body in (
            ("action", {"taskId": "1", "customId": "MJ::x"}),
            ("modal", {"taskId": "1"}),
            ("video", {"taskId": "1", "prompt": "x", "action": "extend"}),
        ):
            answer = await raw.submit(endpoint, **body)
            assert (answer.status, answer.code) == (404, 3)


@pytest.mark.parametrize(
    "endpoint,body",
    [
        ("imagine", {"prompt": 1}),
        ("imagine", {"prompt": "x", "accountFilter": {"modes": ["WARP"]}}),
        ("blend", {"base64Array": [data_url()] * 2, "dimensions": "ROUND"}),
        ("action", {"taskId": 1, "customId": "x"}),
        ("modal", {"taskId": 1}),
        ("describe", {"base64": data_url(), "state": "s" * 256}),
        ("shorten", {"prompt": "x", "notifyHook": "http://a.b/" + "c" * 2000}),
    ],
)
async def test_errors_are_200_and_success_false(endpoint: str, body: dict[str, Any]) -> None:
    """PROTOCOL §7.1-C: wrong types, unknown words, and a state that is too long."""
    async with opened() as (sim, raw):
        answer = await raw.submit(endpoint, **body)
        assert answer.status == 200
        assert list(answer.json) == ["success", "code", "message", "timestamp"]
        assert (answer.json["success"], answer.code) == (False, -1)
        assert answer.json["timestamp"].isdecimal()
        assert sim.submissions == []


async def test_imagine_makes_an_ordinary_code_4_of_a_long_state() -> None:
    """PROTOCOL §7.1-C: the one endpoint that catches it; 255 characters are taken."""
    async with opened() as (_, raw):
        answer = await raw.submit("imagine", prompt="x", state="s" * 256)
        assert (answer.status, answer.code) == (200, 4)
        task = await raw.done(await raw.submit("imagine", prompt="x", state="s" * 255))
        assert task["state"] == "s" * 255


async def test_names_are_read_in_any_case() -> None:
    """PROTOCOL §1.0; the exact name goes first, and a missing one is still missing."""
    async with opened() as (sim, raw):
        body = {"Prompt": "a fox", "STATE": "s", "AccountFilter": {"MODES": ["TURBO"]}}
        task = await raw.done(await raw.submit("imagine", **body))
        assert (task["prompt"], task["state"], task["mode"]) == ("a fox", "s", "TURBO")
        assert sim.submissions[0].body == body
        task = await raw.done(await raw.submit("imagine", PROMPT="no", prompt="yes"))
        assert task["prompt"] == "yes"
        assert (await raw.submit("imagine", prompts="x")).code == 4


async def test_a_full_queue_is_code_9() -> None:
    """PROTOCOL §2: 9 with its own words; there is always room to pick a picture (§7.3)."""
    async with opened(time_scale=0, concurrency=1, queue_size=1) as (sim, raw):
        grid = await raw.grid()
        set_time_scale(sim, FROZEN)
        codes = [(await raw.submit("imagine", prompt="x")).code for _ in range(3)]
        assert codes == [1, 22, 9]
        answer = await raw.submit("imagine", prompt="x")
        assert answer.json["description"] == "提交失败，队列已满，请稍后重试"
        assert answer.result is None
        assert (await raw.press(grid, "U1")).json["properties"]["numberOfQueues"] == 2
        assert (await raw.press(grid, "V1")).code == 9


async def test_a_banned_prompt_fails_late() -> None:
    """PROTOCOL §2: 24 is gone; the task fails before it has started, and was paid for."""
    async with opened() as (sim, raw):
        task = await raw.grid("a naked fox")
        assert (task["status"], task["failReason"]) == ("FAILURE", "可能包含敏感词")
        assert (task["startTime"], task["progress"]) == (None, "")
        single = await raw.pressed(await raw.grid(), "U1")
        modal = await raw.press(single, "Vary (Region)")
        task = await raw.done(await raw.submit("modal", taskId=modal.result, prompt="nude"))
        assert (task["status"], task["failReason"]) == ("FAILURE", "可能包含敏感词")
        assert len(sim.submissions) == 4
        sim.fault("fail", reason="other")
        assert (await raw.grid("a naked fox"))["failReason"] == "other"


async def test_a_failed_upload_is_bare() -> None:
    """PROTOCOL §1.12: a code and a description, and not even a result."""
    async with opened() as (_, raw):
        answer = await raw.submit("upload-discord-images", base64Array=["!"])
        assert answer.json == {"code": 4, "description": "base64格式错误"}
        answer = await raw.submit("upload-discord-images", base64Array=[data_url()])
        assert (answer.code, len(answer.result)) == (1, 1)


async def test_discord_accounts_do_not_edit() -> None:
    """PROTOCOL §1.10: code 9, after the fields were found in order."""
    async with opened() as (_, raw):
        for endpoint in ("edits", "edit", "retexture"):
            answer = await raw.submit(endpoint, prompt="x", image=data_url())
            assert (answer.code, answer.json["description"]) == (9, "当前账号不支持编辑/重绘任务")
            assert (await raw.submit(endpoint, prompt="x")).code == 4


# --- cancel --------------------------------------------------------------------------------------


async def test_only_the_administrator_cancels() -> None:
    """PROTOCOL §1.15: 400 and plain text for others; FAILURE, not CANCEL, for the task."""
    async with opened(time_scale=FROZEN, token="sim-token") as (_, raw):
        task_id = (await raw.submit("imagine", prompt="x")).result
        answer = await cancel(raw, task_id)
        assert (answer.status, answer.body.decode()) == (400, "演示模式，禁止操作")
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert (await raw.task(task_id))["status"] == "NOT_START"
        for known in (task_id, "1"):
            answer = await cancel(raw, known, **ADMIN)
            assert (answer.status, answer.body) == (200, b"")
        task = await raw.task(task_id)
        assert (task["status"], task["failReason"]) == ("FAILURE", "取消任务")
        assert (await cancel(raw, task_id, Authorization="wrong")).status == 401


async def test_on_an_open_server_the_administrator_still_says_who_he_is() -> None:
    """Whoever shows no token is let in, and is not the administrator."""
    async with opened() as (_, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        modal = await raw.press(single, "Custom Zoom")
        assert (await cancel(raw, modal.result)).status == 400
        assert (await cancel(raw, modal.result, Authorization="sim-admin")).status == 200
        assert (await raw.task(modal.result))["failReason"] == "取消任务"


# --- the Task JSON -------------------------------------------------------------------------------


async def test_a_task_has_all_its_keys() -> None:
    """PROTOCOL §3.3: every key always, enums as strings, nulls written."""
    async with opened() as (sim, raw):
        task = await raw.grid("a fox --seed 7 --turbo")
        assert tuple(task) == TASK_KEYS
        assert len(set(TASK_KEYS)) == len(TASK_KEYS)
        made = sim.tasks[task["id"]]
        expected = {
            "botType": "MID_JOURNEY",
            "instanceId": made.account_id,
            "action": "IMAGINE",
            "status": "SUCCESS",
            "prompt": "a fox --turbo",
            "promptEn": "a fox --seed 7 --turbo",
            "state": "",
            "failReason": "",
            "progress": "100%",
            "mode": "TURBO",
            "requestMode": "TURBO",
            "accountFilter": None,
            "seed": None,
            "jobId": made.midjourney_job_id,
            "version": "v 7",
            "isCompleted": True,
            "imageUrls": None,
            "videoUrl": None,
            "width": 512,
            "imageWidth": 512,
            "contentType": "image/png",
            "isDiscord": True,
            "isPartner": False,
            "messageIds": [task["messageId"]],
            "url": task["imageUrl"],
            "parentId": None,
        }
        assert {key: task[key] for key in expected} == expected
        assert re.fullmatch(r"\d+\.\d\d s", task["useTime"])
        assert task["displays"]["discordInstanceId"] == made.account_id
        assert (task["displays"]["status"], task["displays"]["action"]) == ("成功", "Imagine")
        properties = task["properties"]
        assert properties["discordChannelId"] == properties["discordInstanceId"] == made.account_id


async def test_a_task_that_has_not_started_says_so() -> None:
    """Null, false and "-" where nothing is known yet."""
    async with opened(time_scale=FROZEN, version="niji 6") as (_, raw):
        answer = await raw.submit("imagine", prompt="x")
        properties = answer.json["properties"]
        assert properties["discordChannelId"] == properties["discordInstanceId"]
        task = await raw.task(answer.result)
        assert (task["isCompleted"], task["useTime"], task["jobId"]) == (False, "-", None)
        assert (task["state"], task["failReason"], task["url"]) == (None, None, None)
        assert (task["width"], task["contentType"], task["messageIds"]) == (None, None, [])
        assert (task["requestMode"], task["mode"], task["version"]) == (None, "FAST", "niji 6")
        assert task["displays"]["startTime"] is None
        assert task["displays"]["status"] == "未启动"


@pytest.mark.parametrize(
    "path,action",
    [
        (["U1"], "UPSCALE"),
        (["U1", "Upscale (Creative)"], "UPSCALE_HD"),
        (["U1", "Vary (Strong)"], "VARIATION"),
        (["U1", "Zoom Out 2x"], "ZOOM"),
        (["U1", "⬅️"], "PAN"),
        (["🔄"], "IMAGINE"),
        (["V1", "🔄"], "VARIATION"),
        (["U1", "🔄"], "IMAGINE"),
        (["U1", "Upscale (Subtle)", "🔄"], "IMAGINE"),
        (["U1", "Animate (Low motion)"], "VIDEO"),
        (["U1", "Animate (Low motion)", "🔄"], "VIDEO"),
        (["U1", "Animate (Low motion)", "U2"], "UPSCALE"),
        (["U1", "Animate (Low motion)", "U2", "Extend (High motion)"], "VIDEO"),
    ],
)
async def test_actions_have_the_names_of_v11(path: list[str], action: str) -> None:
    """PROTOCOL §3.3; a reroll takes its parent's, of a picked picture the grid's."""
    async with opened() as (sim, raw):
        grid = await raw.grid()
        task = await raw.pressed(grid, *path)
        assert (task["action"], task["status"]) == (action, "SUCCESS")
        assert task["parentId"] == sim.submissions[-1].parent_id
        assert task["properties"]["custom_id"] == sim.submissions[-1].body["customId"]


async def test_a_reroll_makes_what_was_made() -> None:
    """A grid of a grid and of a picked picture, videos of videos."""
    async with opened() as (_, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        assert "U4" in named(await raw.pressed(single, "🔄"))
        video = await raw.pressed(single, "Animate (Low motion)")
        again = await raw.pressed(video, "🔄")
        assert [*named(again)] == ["U1", "U2", "U3", "U4", "🔄"]
        assert again["contentType"] == "image/webp"


async def test_custom_ids_are_made_up() -> None:
    """PROTOCOL §5: a number in the zoom's, and garbage for the retry's emoji (§3.5)."""
    async with opened() as (_, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        zoom = named(single)["Custom Zoom"]["customId"]
        assert zoom == f"MJ::CustomZoom::1::{single['jobId']}"
        described = await raw.done(await raw.submit("describe", base64=data_url()))
        assert named(described)["\u1f504"]["customId"] == "MJ::Picread::Retry"
        retried = await raw.pressed(described, "\u1f504")
        assert retried["action"] == "DESCRIBE"


def test_every_kind_of_result_has_its_offers() -> None:
    """Custom ids are unique in each."""
    for offer in BUTTON_SETS_SYNTHETIC.values():
        ids = [button.custom_id for button in offer(parse_version("7"), "job")]
        assert len(set(ids)) == len(ids)


async def test_image_urls_are_there_when_asked_for() -> None:
    """PROTOCOL §3.3: null otherwise; of a video they are its videos again."""
    async with opened(image_urls=True) as (_, raw):
        grid = await raw.grid()
        assert len(grid["imageUrls"]) == 4
        assert grid["videoUrls"] is None
        assert tuple(grid) == TASK_KEYS
        single = await raw.pressed(grid, "U1")
        assert single["imageUrls"] is None
        video = await raw.pressed(single, "Animate (High motion)")
        assert video["imageUrls"] == video["videoUrls"]
        assert video["videoUrl"] == video["videoUrls"][0]["url"]
    async with opened() as (_, raw):
        video = await raw.done(await raw.submit("video", prompt="x", image=data_url()))
        assert (video["imageUrls"], video["videoUrl"], video["videoUrls"]) == (None, None, None)
        assert video["contentType"] == "image/webp"
        assert video["videoGenOriginImageUrl"]
        assert (video["videoType"], video["isHdVideo"]) == ("vid_1.1_i2v_480", False)


async def test_blend_says_what_it_mixed() -> None:
    """PROTOCOL §1.3: it is an imagine with links, and its prompt says so."""
    async with opened() as (_, raw):
        answer = await raw.submit("blend", base64Array=[data_url()] * 2, dimensions="PORTRAIT")
        task = await raw.done(answer)
        assert task["action"] == "BLEND"
        assert task["prompt"].startswith("http")
        assert task["prompt"].endswith("--ar 2:3")


async def test_describe_has_no_prompt_and_heeds_the_language() -> None:
    """PROTOCOL §1.4: the answer is in finalPrompt, in Chinese for zh."""
    async with opened() as (_, raw):
        english = await raw.done(await raw.submit("describe", base64=data_url()))
        chinese = await raw.done(await raw.submit("describe", base64=data_url(), language="zh_cn"))
        assert (english["prompt"], english["promptEn"]) == (None, None)
        assert english["properties"]["finalPrompt"].startswith("1️⃣ ")
        assert english["properties"]["finalPrompt"].isascii() is False
        assert "，" in chinese["properties"]["finalPrompt"]
        assert "，" not in english["properties"]["finalPrompt"]
        assert (chinese["language"], chinese["properties"]["language"]) == ("zh_cn", "zh_cn")


async def test_shorten_overwrites_its_description_and_takes_blanks() -> None:
    """PROTOCOL §1.5."""
    async with opened() as (sim, raw):
        task = await raw.done(await raw.submit("shorten", prompt="a very red fox"))
        assert task["description"] == task["properties"]["finalPrompt"]
        assert "Shortened prompts" in task["description"]
        assert task["imageUrl"] is None
        assert (await raw.submit("shorten")).code == 1
        set_time_scale(sim, FROZEN)
        task = await raw.task((await raw.submit("shorten", prompt="x")).result)
        assert task["description"] == "/shorten x"


@pytest.mark.parametrize("name", ["1️⃣", "Show Details", "❤️"])
async def test_some_buttons_are_shown_and_refused(name: str) -> None:
    """PROTOCOL §4.1, §5.1: shortened prompts, their details, and the bookmark."""
    async with opened() as (sim, raw):
        if name == "❤️":
            task = await raw.pressed(await raw.grid(), "U1")
        else:
            task = await raw.done(await raw.submit("shorten", prompt="a red fox"))
        button = next(b for b in task["buttons"] if name in {b["label"], b["emoji"]})
        count = len(sim.submissions)
        answer = await raw.submit("action", taskId=task["id"], customId=button["customId"])
        assert (answer.status, answer.code) == (200, 4)
        assert answer.json["description"] == "未知的 Action 类型"
        assert len(sim.submissions) == count


async def test_a_swap_belongs_to_no_account() -> None:
    """PROTOCOL §1.13, §2: properties are empty, and no instance is named."""
    async with opened() as (_, raw):
        body = {"sourceBase64": data_url(), "targetUrl": "https://a.b/c.png"}
        answer = await raw.post("/mj/insight-face/swap", **body)
        assert answer.json["properties"] == {}
        task = await raw.done(answer)
        assert (task["botType"], task["instanceId"], task["buttons"]) == ("INSIGHT_FACE", None, [])
        assert "discordInstanceId" not in task["properties"]


# --- modals --------------------------------------------------------------------------------------


async def test_a_modal_persists_until_the_worker_ran() -> None:
    """PROTOCOL §4.3: MODAL for long after it was accepted; through the queue, too."""
    async with opened() as (sim, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        modal = await raw.press(single, "Vary (Region)")
        assert (modal.code, modal.json["description"]) == (21, "Waiting for window confirm")
        assert modal.json["properties"] == {"finalPrompt": "", "remix": True}
        waiting = await raw.task(modal.result)
        assert (waiting["status"], waiting["displays"]["status"]) == ("MODAL", "窗口等待")
        assert "iframe_modal_custom_id" in waiting["properties"]
        assert waiting["properties"]["remix"] is True
        set_time_scale(sim, FROZEN)
        accepted = await raw.submit("modal", taskId=modal.result, prompt="a door")
        assert (accepted.code, accepted.result) == (1, modal.result)
        task = sim.tasks[modal.result]
        start = task.request.received_at
        sim._engine.advance(start + 19 * FROZEN)
        assert task.status == "MODAL"
        sim._engine.advance(start + 22 * FROZEN)
        assert task.status in {"SUBMITTED", "IN_PROGRESS"}


async def test_a_modal_without_a_prompt_takes_its_parents() -> None:
    """PROTOCOL §1.9: for a described picture that is all four prompts at once."""
    async with opened() as (_, raw):
        described = await raw.done(await raw.submit("describe", base64=data_url()))
        modal = await raw.press(described, "2️⃣")
        offered = modal.json["properties"]["finalPrompt"]
        assert offered.startswith("2️⃣ ")
        assert (await raw.task(modal.result))["properties"]["action_index"] == "21"
        bug = await raw.done(await raw.submit("modal", taskId=modal.result))
        assert bug["prompt"] == described["properties"]["finalPrompt"]
        again = await raw.press(described, "2️⃣")
        right = await raw.done(await raw.submit("modal", taskId=again.result, prompt=offered))
        assert (right["prompt"], right["action"]) == (offered, "IMAGINE")
        single = await raw.pressed(await raw.grid("a fox --ar 2:1"), "U1")
        region = await raw.press(single, "Vary (Region)")
        task = await raw.done(await raw.submit("modal", taskId=region.result))
        assert task["prompt"] == "a fox --ar 2:1"


async def test_a_modal_of_nothing_is_code_4() -> None:
    """PROTOCOL §1.9: no prompt, and none to fall back on; it can still be answered."""
    async with opened() as (sim, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        modal = await raw.press(single, "Vary (Region)")
        parent = sim.tasks[single["id"]]
        parent.prompt, parent.final_prompt = None, ""
        answer = await raw.submit("modal", taskId=modal.result)
        assert (answer.code, answer.json["description"]) == (4, "prompt不能为空")
        assert (await raw.submit("modal", taskId=modal.result, prompt="x")).code == 1


async def test_a_modal_is_taken_as_often_as_it_is_answered() -> None:
    """PROTOCOL §1.9: nobody checks, so a second answer is paid for too."""
    async with opened() as (sim, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        modal = await raw.press(single, "Vary (Region)")
        before = len(sim.submissions)
        for _ in range(2):
            answer = await raw.submit("modal", taskId=modal.result, prompt="x")
            assert (answer.code, answer.result) == (1, modal.result)
        assert [bought.endpoint for bought in sim.submissions[before:]] == ["modal", "modal"]
        assert len(sim.tasks) == 3


async def test_imagine_all_is_four_tasks_at_once() -> None:
    """PROTOCOL §2: 1: no modal, ids with commas between."""
    async with opened() as (sim, raw):
        described = await raw.done(await raw.submit("describe", base64=data_url()))
        answer = await raw.press(described, "Imagine all")
        ids = answer.result.split(",")
        assert (answer.code, len(ids)) == (1, 4)
        tasks = [await raw.task(task_id) for task_id in ids]
        assert {task["action"] for task in tasks} == {"IMAGINE"}
        assert len({task["prompt"] for task in tasks}) == 4
        assert all(task["prompt"] in described["properties"]["finalPrompt"] for task in tasks)
        assert {task["status"] for task in tasks} == {"SUCCESS"}
        assert [bought.task_id for bought in sim.submissions[1:]] == ids


async def test_imagine_all_takes_the_room_there_is() -> None:
    """As many as fit; none at all is a full queue."""
    async with opened(concurrency=1, queue_size=1) as (sim, raw):
        described = await raw.done(await raw.submit("describe", base64=data_url()))
        set_time_scale(sim, FROZEN)
        answer = await raw.press(described, "Imagine all")
        assert (answer.code, len(answer.result.split(","))) == (1, 2)
        assert (await raw.press(described, "Imagine all")).code == 9


@pytest.mark.parametrize("name", ["V1", "🔄"])
async def test_remix_on_request_needs_an_account_with_remix(name: str) -> None:
    """PROTOCOL §4.1: code 4 without; with it the account asks without being told to."""
    async with opened() as (_, raw):
        grid = await raw.grid()
        answer = await raw.press(grid, name, enableRemix=True)
        assert (answer.code, "remix" in answer.json["description"]) == (4, True)
        assert (await raw.press(grid, name)).code == 1
        assert (await raw.press(grid, "U1", enableRemix=True)).code == 1
    async with opened(remix=True) as (_, raw):
        grid = await raw.grid()
        modal = await raw.press(grid, name)
        assert modal.code == 21
        waiting = await raw.task(modal.result)
        assert "remix_custom_id" in waiting["properties"]
        index = waiting["properties"].get("action_index")
        assert index == (1 if name == "V1" else None)
        single = await raw.pressed(grid, "U1")
        assert (await raw.press(single, "Animate (Low motion)")).code == 21


# --- time ----------------------------------------------------------------------------------------


async def test_progress_goes_backwards_when_a_video_is_extended() -> None:
    """PROTOCOL §3.6: back to 0% midway, and then on to its end."""
    async with opened(remix=True) as (sim, raw):
        video = await raw.done(await raw.submit("video", prompt="x"))
        set_time_scale(sim, FROZEN)
        extend = {"action": "extend", "taskId": video["id"], "index": 0}
        answer = await raw.submit("video", prompt="x", **extend)
        task = sim.tasks[answer.result]
        steps = [step.percent for step in task.pending_steps[::-1]]
        seen = [step.offset_seconds for step in task.pending_steps[::-1]]
        assert steps == [0, 0, 15, 31, 46, 62, 0, 15, 31, 46, 62, 78, 93, 100]
        assert seen == sorted(seen)


async def test_extending_a_video_by_request_needs_remix() -> None:
    """PROTOCOL §1.11: code 9 on a Discord account; the button works."""
    async with opened() as (_, raw):
        video = await raw.done(await raw.submit("video", prompt="x"))
        extend = {"action": "extend", "taskId": video["id"]}
        answer = await raw.submit("video", prompt="x", **extend)
        assert answer.code == 9
        assert answer.json["description"] == "未开启 REMIX，无法使用视频扩展功能"
        longer = await raw.pressed(video, "U1", "Extend (Low motion)")
        assert longer["action"] == "VIDEO"


async def test_the_seed_takes_its_time_once() -> None:
    """PROTOCOL §1.15: it blocks, then the task has it as a string; 404 and 400 at once."""
    async with opened() as (sim, raw):
        grid = await raw.grid("x --seed 42")
        path = f"/mj/task/{grid['id']}/image-seed"
        loop = asyncio.get_running_loop()
        set_time_scale(sim, 0.002)
        began = loop.time()
        answer = await raw.get(path)
        assert loop.time() - began > 0.035
        assert (answer.code, answer.result) == (1, "42")
        assert (await raw.task(grid["id"]))["seed"] == "42"
        set_time_scale(sim, FROZEN)
        async with asyncio.timeout(PATIENCE):
            assert (await raw.get(path)).result == "42"
            assert (await raw.get("/mj/task/1/image-seed")).status == 404
            unfinished = (await raw.submit("imagine", prompt="x")).result
            answer = await raw.get(f"/mj/task/{unfinished}/image-seed")
        assert (answer.status, answer.code) == (400, 4)


@pytest.mark.parametrize("kind,reason", [("stall", "执行超时 5 分钟"), ("stuck", "任务提交超时")])
async def test_the_server_loses_patience(kind: str, reason: str) -> None:
    """PROTOCOL §3.6: five minutes of running, an hour in the queue; never when told so."""
    async with opened() as (sim, raw):
        sim.fault(kind)
        task = await raw.grid()
        assert (task["status"], task["failReason"]) == ("FAILURE", reason)
        sim.fault(kind, for_ever=True)
        assert not (await raw.grid())["isCompleted"]
        sim.fault("fail", reason="", at=10)
        assert (await raw.grid())["status"] == "FAILURE"


# --- lists and hooks -----------------------------------------------------------------------------


async def test_lists_show_the_newest_hundred_and_what_is_asked_for() -> None:
    """PROTOCOL §1.15: list-by-ids is an alias; ids are trimmed and each comes once."""
    async with opened() as (_, raw):
        ids = [(await raw.submit("imagine", prompt="x")).result for _ in range(101)]
        listed = [task["id"] for task in (await raw.get("/mj/task/list")).json]
        assert listed == ids[:0:-1]
        for endpoint in ("list-by-ids", "list-by-condition"):
            answer = await raw.post(f"/mj/task/{endpoint}", Ids=[ids[3], f" {ids[3]} ", "1"])
            assert [task["id"] for task in answer.json] == [ids[3]]
            assert (await raw.post(f"/mj/task/{endpoint}", ids=[1])).json["success"] is False


async def test_hooks_tell_the_end_twice_and_the_modal_never() -> None:
    """PROTOCOL §1.17."""
    posted: list[dict[str, Any]] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        posted.append(await request.json())
        return web.Response()

    async with serving(handle) as hook, opened() as (sim, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        modal = await raw.press(single, "Vary (Region)", notifyHook=hook)
        assert posted == []
        await raw.done(await raw.submit("modal", taskId=modal.result, prompt="x"))
        statuses = [task["status"] for task in posted]
        assert statuses[-2:] == ["SUCCESS", "SUCCESS"]
        assert statuses.count("SUCCESS") == 2
        assert "MODAL" not in statuses
        assert posted[-1]["properties"]["notifyHook"] == hook
        assert tuple(posted[-1]) == TASK_KEYS
        assert [post.status for post in sim.hooks] == [200] * len(posted)


@pytest.mark.parametrize(
    "prefix,status",
    [("/mj-turbo", 204), ("/mj-relax", 204), ("/mj-proxy", 404), ("/mj-turbo-relay", 404)],
)
async def test_a_path_may_name_a_speed_and_no_image_host(prefix: str, status: int) -> None:
    """PROTOCOL §6.1: three speeds by path, and nothing else."""
    async with opened() as (_, raw):
        assert (await raw.get(f"{prefix}/mj/task/1/fetch")).status == status
