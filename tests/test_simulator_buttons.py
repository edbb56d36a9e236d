"""The simulator's buttons and modals on a Plus server (PROTOCOL §4, §5.1)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mjasync.simulator.button_sets import BUTTON_SETS
from mjasync.simulator.prompts import (
    DEFAULT_BANNED_WORDS,
    find_banned_word,
    find_model,
    parse_version,
    shorten_result,
)
from support.internals import set_time_scale
from support.pictures import PIXEL, data_url
from support.raw_http import FROZEN, Answer, Raw, named, simulated

GRID = ["U1", "U2", "U3", "U4", "🔄", "V1", "V2", "V3", "V4"]
HD = ["Upscale (Subtle)", "Upscale (Creative)"]
HD_5 = ["Upscale (2x)", "Upscale (4x)"]
VARY = ["Vary (Subtle)", "Vary (Strong)"]
REGION = ["Vary (Region)"]
OUT = ["Zoom Out 2x", "Zoom Out 1.5x", "Custom Zoom", "⬅️", "➡️", "⬆️", "⬇️"]
LAST = ["❤️", "Animate (High motion)", "Animate (Low motion)"]


@pytest.mark.parametrize(
    "flags,labels,code",
    [
        *((f"--v {n}", [*VARY, *LAST], None) for n in (1, 2, 3, 4)),
        *((f"--v {n}", [*HD_5, *VARY, *REGION, *OUT, *LAST], "v5_2x") for n in (5, 5.1, 5.2)),
        ("--niji 5", [*HD_5, *VARY, *REGION, *OUT, *LAST], "v5_2x"),
        ("--v 6", [*HD, *VARY, *REGION, *OUT, *LAST], "v6_2x_subtle"),
        ("--v 6.0", [*HD, *VARY, *REGION, *OUT, *LAST], "v6_2x_subtle"),
        ("--niji 6", [*HD, *VARY, *REGION, *OUT, *LAST], "v6_2x_subtle"),
        ("--version 6.1", [*HD, *VARY, *REGION, *OUT, *LAST], "v6r1_2x_subtle"),
        ("--v 7", [*HD, *VARY, *REGION, *OUT, *LAST], "v7_2x_subtle"),
        ("--niji 7", [*HD, *VARY, *REGION, *OUT, *LAST], "v7_2x_subtle"),
        ("--niji", [*HD, *VARY, *REGION, *OUT, *LAST], "v7_2x_subtle"),
        ("", [*HD, *VARY, *REGION, *OUT, *LAST], "v7_2x_subtle"),
        ("--v 8", [*VARY, *REGION, *LAST], None),
        ("--v 9", [*HD, *VARY, *REGION, *LAST], "v9_2x_subtle"),
    ],
)
async def test_a_single_picture_offers_what_its_model_does(
    flags: str, labels: list[str], code: str | None
) -> None:
    """Each model version has its own buttons, with Midjourney's custom ids."""
    async with simulated() as (_, raw):
        grid = await raw.grid(f"a fox {flags}".strip())
        assert [*named(grid)] == GRID
        single = await raw.pressed(grid, "U3")
        assert [*named(single)] == labels
        first = single["buttons"][0]
        if code:
            job = single["properties"]["messageHash"]
            assert first["customId"] == f"MJ::JOB::upsample_{code}::1::{job}::SOLO"
            assert first["emoji"] == "upscale_1"


async def test_custom_ids_are_written_as_midjourney_writes_them() -> None:
    """Every pattern of PROTOCOL §5.1, with the job's UUID as its hash."""
    async with simulated() as (_, raw):
        grid = await raw.grid()
        single = await raw.pressed(grid, "U1")
        g, s = grid["properties"]["messageHash"], single["properties"]["messageHash"]
        ids = [button["customId"] for button in grid["buttons"]]
        assert ids[0] == f"MJ::JOB::upsample::1::{g}"
        assert ids[4] == f"MJ::JOB::reroll::0::{g}::SOLO"
        assert ids[8] == f"MJ::JOB::variation::4::{g}"
        by_name = {name: button["customId"] for name, button in named(single).items()}
        assert by_name["Vary (Subtle)"] == f"MJ::JOB::low_variation::1::{s}::SOLO"
        assert by_name["Vary (Strong)"] == f"MJ::JOB::high_variation::1::{s}::SOLO"
        assert by_name["Vary (Region)"] == f"MJ::Inpaint::1::{s}::SOLO"
        assert by_name["Zoom Out 2x"] == f"MJ::Outpaint::50::1::{s}::SOLO"
        assert by_name["Zoom Out 1.5x"] == f"MJ::Outpaint::75::1::{s}::SOLO"
        assert by_name["Custom Zoom"] == f"MJ::CustomZoom::{s}"
        assert by_name["⬅️"] == f"MJ::JOB::pan_left::1::{s}::SOLO"
        assert by_name["Animate (Low motion)"] == f"MJ::JOB::animate_low::1::{s}::SOLO"
        assert by_name["❤️"] == f"MJ::BOOKMARK::{s}"
        assert {(button["type"], button["style"]) for button in single["buttons"]} == {(2, 2)}


async def test_the_bot_and_the_default_version_choose_the_model() -> None:
    """The bot NIJI_JOURNEY uses niji; a simulator may have another default version."""
    async with simulated(version="6.1") as (sim, raw):

        async def model(**body: object) -> str:
            answer = await raw.submit("imagine", prompt="x", **body)
            return sim.tasks[answer.result].final_prompt

        assert await model() == "x --v 6.1"
        assert await model(botType="NIJI_JOURNEY") == "x --niji 6"
        assert await model(botType="nonsense") == "x --v 6.1"
    assert find_model("x --v 5", parse_version("7"), niji=True) == parse_version("niji 5")


@pytest.mark.parametrize(
    "path,action,buttons",
    [
        (["V2"], "VARIATION", GRID),
        (["🔄"], "REROLL", GRID),
        (["U1", "Upscale (Creative)"], "UPSCALE", [*VARY, *REGION, *OUT, *LAST]),
        (["U1", "Vary (Strong)"], "VARIATION", GRID),
        (["U1", "Zoom Out 2x"], "ZOOM", GRID),
        (["U1", "Zoom Out 1.5x", "U4"], "UPSCALE", [*HD, *VARY, *REGION, *OUT, *LAST]),
        (["U1", "⬆️"], "PAN", GRID),
        (["U1", "Upscale (Subtle)", "➡️"], "PAN", GRID),
        (["U1", "Animate (High motion)"], "VIDEO", ["U1", "U2", "U3", "U4"]),
        (
            ["U1", "Animate (Low motion)", "U2"],
            "UPSCALE",
            ["Extend (High motion)", "Extend (Low motion)"],
        ),
        (
            ["U1", "Animate (Low motion)", "U2", "Extend (High motion)"],
            "VIDEO",
            ["U1", "U2", "U3", "U4"],
        ),
    ],
)
async def test_buttons_lead_on(path: list[str], action: str, buttons: list[str]) -> None:
    """Each button creates a task with the action and the buttons of its result."""
    async with simulated() as (sim, raw):
        grid = await raw.grid("a fox")
        task = await raw.pressed(grid, *path)
        assert (task["action"], task["status"]) == (action, "SUCCESS")
        assert [*named(task)] == buttons
        assert task["prompt"] == "a fox"
        assert len(sim.submissions) == 1 + len(path)


async def test_a_custom_id_of_another_task_is_unknown() -> None:
    """A task accepts its own buttons only."""
    async with simulated() as (sim, raw):
        grid, other = await raw.grid(), await raw.grid()
        for custom_id in (other["buttons"][0]["customId"], "MJ::JOB::upsample::5::x", "U1"):
            answer = await raw.submit("action", taskId=grid["id"], customId=custom_id)
            assert (answer.code, answer.json["description"]) == (4, "未知的 Action 类型")
        assert len(sim.submissions) == 2


@pytest.mark.parametrize(
    "body", [{}, {"taskId": "1"}, {"customId": "x"}, {"taskId": " ", "customId": "x"}]
)
async def test_an_action_needs_a_task_and_a_button(body: dict[str, str]) -> None:
    """Blank arguments are code 4 (PROTOCOL §1.8)."""
    async with simulated() as (_, raw):
        answer = await raw.submit("action", **body)
        assert (answer.code, answer.json["description"]) == (4, "参数错误")


async def test_an_unknown_parent_is_404_and_an_unfinished_one_code_4() -> None:
    """PROTOCOL §1.6, §1.8, §1.9."""
    async with simulated() as (sim, raw):
        grid = await raw.grid()
        set_time_scale(sim, FROZEN)
        unfinished = (await raw.submit("imagine", prompt="x")).result
        press = {"customId": grid["buttons"][0]["customId"]}
        change = {"action": "UPSCALE", "index": 1}
        for endpoint, body in (("action", press), ("change", change), ("modal", {})):
            answer = await raw.submit(endpoint, taskId="1", **body)
            assert (answer.status, answer.code, answer.result) == (404, 3, None)
            answer = await raw.submit(endpoint, taskId=unfinished, **body)
            assert (answer.status, answer.code) == (200, 4)
            assert answer.json["description"] == "关联任务状态错误"


@pytest.mark.parametrize("name", ["❤️", "Imagine all"])
async def test_some_buttons_are_shown_and_refused(name: str) -> None:
    """P does not support the bookmark nor "Imagine all" (PROTOCOL §4.1, §5.1)."""
    async with simulated() as (_, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        described = await raw.done(await raw.submit("describe", base64=data_url()))
        owner = single if name in named(single) else described
        answer = await raw.press(owner, name)
        assert (answer.status, answer.code) == (200, 4)


# --- change on a Plus server ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "action,index,made",
    [("UPSCALE", 2, "UPSCALE"), ("VARIATION", "3", "VARIATION"), ("REROLL", 1, "REROLL")],
)
async def test_change_does_what_the_buttons_do(action: str, index: object, made: str) -> None:
    """PROTOCOL §1.6; a number may come as a string."""
    async with simulated() as (sim, raw):
        grid = await raw.grid()
        answer = await raw.submit("change", taskId=grid["id"], action=action, index=index)
        task = await raw.done(answer)
        assert task["action"] == made
        assert task["buttons"]
        assert "customId" not in task["properties"]
        assert sim.submissions[-1].endpoint == "change"


@pytest.mark.parametrize(
    "body",
    [
        {"taskId": ""},
        {"action": None},
        {"index": None},
        {"index": 5},
        {"index": 0},
    ],
)
async def test_change_is_checked(body: dict[str, object]) -> None:
    """A missing task, action or index, and an index outside 1-4, are code 4."""
    async with simulated() as (_, raw):
        grid = await raw.grid()
        full = {"taskId": grid["id"], "action": "UPSCALE", "index": 1, **body}
        answer = await raw.submit("change", **full)
        assert (answer.status, answer.code) == (200, 4)


async def test_an_upscale_cannot_be_changed() -> None:
    """Only IMAGINE, VARIATION, REROLL and BLEND can (PROTOCOL §1.6)."""
    async with simulated() as (_, raw):
        single = await raw.pressed(await raw.grid(), "U1")
        answer = await raw.submit("change", taskId=single["id"], action="UPSCALE", index=1)
        assert (answer.code, answer.json["description"]) == (4, "关联任务不允许执行变化")


# --- words ---------------------------------------------------------------------------------------


async def test_describe_offers_its_prompts_and_another_try() -> None:
    """Four prompts to imagine, retry, and "Imagine all" (PROTOCOL §5.1)."""
    async with simulated() as (_, raw):
        task = await raw.done(await raw.submit("describe", base64=data_url()))
        assert [*named(task)] == ["1️⃣", "2️⃣", "3️⃣", "4️⃣", "🔄", "Imagine all"]
        ids = [button["customId"] for button in task["buttons"]]
        assert (ids[1], ids[4]) == ("MJ::Job::PicReader::2", "MJ::Picread::Retry")
        again = await raw.pressed(task, "🔄")
        assert (again["action"], again["imageUrl"] is None) == ("DESCRIBE", False)
        assert again["properties"]["finalPrompt"] != task["properties"]["finalPrompt"]
        assert [*named(again)] == [*named(task)]


async def test_shorten_offers_its_prompts_and_details() -> None:
    """Five prompts and Show Details, which is a SHORTEN of its own (PROTOCOL §5.1)."""
    async with simulated() as (_, raw):
        task = await raw.done(await raw.submit("shorten", prompt="a very beautiful red fox"))
        assert [*named(task)] == ["1", "2", "3", "4", "5", "Show Details"]
        assert task["buttons"][0]["emoji"] == "1️⃣"
        details = await raw.pressed(task, "Show Details")
        assert details["action"] == "SHORTEN"
        assert "(0." in details["properties"]["finalPrompt"]
        assert [*named(details)] == ["1", "2", "3", "4", "5"]
        modal = await raw.press(details, "2")
        assert modal.code == 21
        assert modal.json["properties"]["finalPrompt"] in details["properties"]["finalPrompt"]


def test_even_a_prompt_of_flags_can_be_shortened() -> None:
    """There are always five prompts of decreasing length."""
    for prompt in (" --ar 1:1", "fox", "a fox and another fox in the snow --v 7"):
        words = shorten_result(prompt)
        lengths = [len(line) for line in words.prompts]
        assert len(lengths) == 5
        assert min(lengths) >= 1
        assert lengths == sorted(lengths, reverse=True)


def test_banned_words_are_whole_words_of_any_case() -> None:
    """The default list matches whole words."""
    assert find_banned_word("some NSFW thing", DEFAULT_BANNED_WORDS) == "NSFW"
    assert find_banned_word("a gorgeous view", DEFAULT_BANNED_WORDS) is None


# --- modals --------------------------------------------------------------------------------------


async def modal_of(raw: Raw, name: str, **more: object) -> tuple[dict[str, Any], Answer]:
    """The parent of a modal and the answer that opened it."""
    if name[0] in "1234":
        parent = await raw.done(await raw.submit("describe", base64=data_url()))
    else:
        parent = await raw.grid("a fox --ar 3:2")
        if name not in named(parent):
            parent = await raw.pressed(parent, "U1")
    return parent, await raw.press(parent, name, **more)


@pytest.mark.parametrize(
    "name,offered,action",
    [
        ("Custom Zoom", "a fox --ar 3:2 --v 7 --zoom 2", "ZOOM"),
        ("Vary (Region)", "", "VARIATION"),
        ("3️⃣", None, "IMAGINE"),
    ],
)
async def test_some_buttons_always_open_a_modal(
    name: str, offered: str | None, action: str
) -> None:
    """Code 21 with a new id, a MODAL task that costs nothing, and SUCCESS under the same id."""
    async with simulated() as (sim, raw):
        parent, opened = await modal_of(raw, name)
        paid = len(sim.submissions)
        assert (opened.status, opened.code, opened.json["description"]) == (200, 21, "窗口等待")
        properties = opened.json["properties"]
        assert properties["remix"] is True
        if offered is None:
            lines = parent["properties"]["finalPrompt"].split("\n\n")
            offered = lines[2].removeprefix("3️⃣ ")
        assert properties["finalPrompt"] == offered
        waiting = await raw.task(opened.result)
        assert (waiting["status"], waiting["buttons"]) == ("MODAL", [])
        assert waiting["properties"]["modalCustomId"].startswith("MJ::RemixModal::")
        assert waiting["properties"]["finalPrompt"] == offered
        assert (sim.in_flight, opened.result == parent["id"]) == (0, False)
        await sim.wait_idle()
        answered = await raw.submit("modal", taskId=opened.result)
        assert (answered.code, answered.result) == (1, opened.result)
        task = await raw.done(answered)
        assert (task["action"], task["status"], [*named(task)]) == (action, "SUCCESS", GRID)
        assert "modalCustomId" not in task["properties"]
        assert len(sim.submissions) == paid + 1
        assert (sim.submissions[-1].endpoint, sim.submissions[-1].task_id) == (
            "modal",
            opened.result,
        )
        assert sim.submissions[-1].parent_id == parent["id"]


REMIXED = ["V1", "🔄", "Vary (Subtle)", "Vary (Strong)", "⬅️", "⬇️"]


@pytest.mark.parametrize("name", REMIXED)
@pytest.mark.parametrize("how", ["account", "asked", "no"])
async def test_remix_makes_variations_pans_and_rerolls_open_a_modal(name: str, how: str) -> None:
    """Remix is enabled by the account or by the request (PROTOCOL §4.1)."""
    async with simulated(remix=how == "account") as (_, raw):
        more = {"enableRemix": True} if how == "asked" else {}
        _, opened = await modal_of(raw, name, **more)
        assert opened.code == (1 if how == "no" else 21)
        if how != "no":
            assert opened.json["properties"]["finalPrompt"] == "a fox --ar 3:2 --v 7"
            prompt = "a blue fox --ar 1:2"
            answered = await raw.submit("modal", taskId=opened.result, prompt=prompt)
            task = await raw.done(answered)
            assert (task["prompt"], task["properties"]["finalPrompt"]) == (
                prompt,
                f"{prompt} --v 7",
            )


@pytest.mark.parametrize("name", ["U1", "Upscale (Subtle)", "Zoom Out 2x", "Animate (Low motion)"])
async def test_some_buttons_never_open_a_modal(name: str) -> None:
    """U, HD and plain zooms are accepted at once, remix or not (PROTOCOL §4.1)."""
    async with simulated(remix=True) as (_, raw):
        _, answer = await modal_of(raw, name, enableRemix=True)
        assert answer.code == 1


@pytest.mark.parametrize("zoom", ["", "--zoom 0.9", "--zoom 2.1", "--zoom x", "--zoom"])
async def test_a_custom_zoom_needs_a_zoom_from_1_to_2(zoom: str) -> None:
    """Otherwise code 4, and the modal can still be answered (PROTOCOL §4.2)."""
    async with simulated() as (sim, raw):
        _, opened = await modal_of(raw, "Custom Zoom")
        wrong = await raw.submit("modal", taskId=opened.result, prompt=f"a fox {zoom}".strip())
        assert wrong.code == 4
        assert (await raw.task(opened.result))["status"] == "MODAL"
        answer = await raw.submit("modal", taskId=opened.result, prompt="a fox --zoom 1.8 --v 6.1")
        task = await raw.done(answer)
        assert task["prompt"] == "a fox --v 6.1"
        assert sim.tasks[task["id"]].zoom_factor == 1.8
        single = await raw.pressed(task, "U1")
        assert "upsample_v6r1_2x_subtle" in single["buttons"][0]["customId"]


async def test_the_mask_of_a_region_is_kept_and_must_be_a_png() -> None:
    """PROTOCOL §4.2: PIXEL as data URL or bare base64, never JPEG."""
    async with simulated() as (sim, raw):
        _, opened = await modal_of(raw, "Vary (Region)")
        for mask in (data_url(b"\xff\xd8\xff jpeg", "image/jpeg"), "data:image/png;base64,%"):
            wrong = await raw.submit("modal", taskId=opened.result, prompt="x", maskBase64=mask)
            assert wrong.code == 4
        answer = await raw.submit(
            "modal", taskId=opened.result, prompt="a red door", maskBase64=data_url()
        )
        assert answer.code == 1
        assert sim.tasks[opened.result].mask == PIXEL


async def test_a_modal_is_answered_once() -> None:
    """A second answer, and an answer to a task without a modal, are code 4."""
    async with simulated(time_scale=FROZEN) as (sim, raw):
        set_time_scale(sim, 0)
        grid, opened = await modal_of(raw, "Vary (Region)")
        set_time_scale(sim, FROZEN)
        assert (await raw.submit("modal", taskId=opened.result)).code == 1
        assert (await raw.task(opened.result))["status"] == "MODAL"
        assert sim.in_flight == 1
        for task_id in (opened.result, grid["id"]):
            again = await raw.submit("modal", taskId=task_id)
            assert (again.code, again.json["description"]) == (4, "关联任务状态错误")


async def test_an_accepted_modal_lingers_and_then_runs() -> None:
    """MODAL persists for a moment after the answer (PROTOCOL §4.3)."""
    async with simulated(time_scale=0.001) as (sim, raw):
        _, opened = await modal_of(raw, "Custom Zoom")
        await raw.submit("modal", taskId=opened.result)
        async with asyncio.timeout(20):
            await sim.wait_idle()
        task = sim.tasks[opened.result]
        waited = (task.started_ms or 0) - sim.submissions[-1].at * 1000
        assert waited >= sim.dialect.modal_linger_seconds - 1


async def test_a_modal_that_finds_no_room_can_be_answered_again() -> None:
    """Codes 22 and 23 apply to modals, and so do banned words (PROTOCOL §4.2)."""
    async with simulated(concurrency=1, queue_size=1) as (sim, raw):
        _, opened = await modal_of(raw, "Vary (Region)")
        answer = await raw.submit("modal", taskId=opened.result, prompt="nsfw")
        assert answer.code == 24
        set_time_scale(sim, FROZEN)
        busy = [(await raw.submit("imagine", prompt="x")).result for _ in range(2)]
        assert (await raw.submit("modal", taskId=opened.result)).code == 23
        assert (await raw.task(opened.result))["status"] == "MODAL"
        await raw.call("POST", f"/mj/task/{busy[1]}/cancel")
        assert (await raw.submit("modal", taskId=opened.result)).code == 22


async def test_an_unanswered_modal_can_be_cancelled_or_forgotten() -> None:
    """An unanswered modal takes no place in the account, so none is freed."""
    async with simulated() as (sim, raw):
        _, first = await modal_of(raw, "Custom Zoom")
        _, second = await modal_of(raw, "Custom Zoom")
        await raw.call("POST", f"/mj/task/{first.result}/cancel")
        assert (await raw.task(first.result))["status"] == "CANCEL"
        sim.forget(second.result)
        assert sim.in_flight == 0


def test_every_kind_of_result_has_its_offers() -> None:
    """Every result of a command has its buttons, with unique custom ids."""
    for offer in BUTTON_SETS.values():
        buttons = [button.custom_id for button in offer(parse_version("7"), "job")]
        assert len(set(buttons)) == len(buttons)
