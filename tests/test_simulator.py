"""The simulator as a Plus server: life cycle, limits, reads, auth, paths and records."""

from __future__ import annotations

import ast
import asyncio
import random
from pathlib import Path

import aiohttp
import pytest

import mjasync.simulator
from mjasync.simulator import DIALECTS, Simulator
from mjasync.simulator.button_sets import COMMAND_TABLE
from mjasync.simulator.engine import Engine
from mjasync.simulator.prompts import parse_version
from mjasync.simulator.sim_task import SimTask, SubmissionRequest, TaskOutcome
from support.internals import set_time_scale
from support.pictures import PIXEL, data_url
from support.raw_http import FROZEN, simulated, talking

KEYS = [
    *("id", "properties", "action", "status", "prompt", "promptEn", "description", "state"),
    *("submitTime", "startTime", "finishTime", "imageUrl", "progress", "failReason"),
    *("buttons", "imageHeight", "imageWidth"),
]


# --- the life of a task --------------------------------------------------------------------------


async def test_a_finished_task_has_exactly_the_documented_keys() -> None:
    """A Plus task carries the keys of PROTOCOL §3.1 and §3.2, no more and no fewer."""
    async with simulated() as (sim, raw):
        task = await raw.grid("a fox --ar 16:9")
        assert list(task) == KEYS
        assert task["status"], task["progress"] == ("SUCCESS", "100%")
        assert task["prompt"] == task["promptEn"] == "a fox --ar 16:9"
        assert task["properties"]["finalPrompt"] == "a fox --ar 16:9 --v 7"
        assert task["failReason"] is None
        assert (task["imageWidth"], task["imageHeight"]) == (512, 288)
        assert task["submitTime"] <= task["startTime"] <= task["finishTime"]
        assert task["imageUrl"].startswith(f"{sim.url}/attachments/sim_a_fox_ar_16_9_")
        assert len(task["id"]) == 16
        assert task["id"].isdecimal()


async def test_a_task_that_has_not_started_says_so() -> None:
    """An accepted task is NOT_START with nulls where nothing has happened (PROTOCOL §3.6)."""
    async with simulated(time_scale=FROZEN) as (sim, raw):
        answer = await raw.submit("imagine", prompt="a fox", state="mine")
        task = await raw.task(answer.result)
        assert (task["status"], task["progress"], task["buttons"]) == ("NOT_START", None, [])
        assert task["startTime"] is task["finishTime"] is task["imageUrl"] is None
        assert task["state"] == "mine"
        assert sim.in_flight == 1


async def test_a_task_passes_through_every_status_on_a_real_clock() -> None:
    """The progress of polled tasks only increases, and ends with SUCCESS."""
    async with simulated(time_scale=0.005) as (_, raw):
        answer = await raw.submit("imagine", prompt="a fox")
        seen = []
        await raw.until(
            answer.result, lambda task: seen.append(task) or task["status"] == "SUCCESS"
        )
        percents = [int((task["progress"] or "0%")[:-1]) for task in seen]
        assert percents == sorted(percents)
        assert percents[-1] == 100
        previews = {task["imageUrl"] for task in seen if task["status"] == "IN_PROGRESS"}
        assert all(url is None or "_grid_0.webp?" in url for url in previews)


def task_of(engine: Engine, verb: str = "imagine", now: float = 0.0) -> SimTask:
    """Create a task for an engine."""
    return SimTask(
        id=engine.new_id(now),
        request=SubmissionRequest(endpoint=verb, path="", body={}, received_at=now),
        command=COMMAND_TABLE[verb],
        action=COMMAND_TABLE[verb].action,
        model=parse_version("7"),
        seed=1,
        midjourney_job_id=engine.new_job_id(),
        mode="FAST",
        submitted_ms=0,
    )


def run(
    verb: str = "imagine", fate: TaskOutcome | None = None, scale: float = 1.0
) -> list[tuple[str, int | None]]:
    """Return every change of a task."""
    seen: list[tuple[str, int | None]] = []
    engine = Engine(time_scale=scale, account_count=1, concurrency=1, queue_size=0, seed=1)
    engine.on_change = lambda task: seen.append((task.status, task.percent))
    account = engine.choose_account()
    assert account is not None
    engine.accept(task_of(engine, verb), account, fate or TaskOutcome(), 0.0)
    engine.advance(10_000)
    return seen


def test_an_imagine_goes_through_submitted_and_progress() -> None:
    """NOT_START → SUBMITTED → IN_PROGRESS n% → SUCCESS (PROTOCOL §3.6)."""
    changes = run()
    assert changes[0] == ("SUBMITTED", 0)
    assert [status for status, _ in changes[1:-1]] == ["IN_PROGRESS"] * 7
    assert changes[-1] == ("SUCCESS", 100)


@pytest.mark.parametrize("verb", ["upsample", "describe", "shorten"])
def test_quick_jobs_go_from_submitted_to_success(verb: str) -> None:
    """U1-4, describe and shorten have no progress before their end (PROTOCOL §3.6)."""
    assert run(verb) == [("SUBMITTED", 0), ("SUCCESS", 100)]


@pytest.mark.parametrize(
    "fate,ending",
    [
        (TaskOutcome(kind="stall", at_percent=46), ("IN_PROGRESS", 46)),
        (TaskOutcome(kind="stall", at_percent=0), ("SUBMITTED", 0)),
        (TaskOutcome(kind="stall", at_percent=100), ("IN_PROGRESS", 100)),
        (TaskOutcome(kind="fail", at_percent=50, fail_reason="x"), ("FAILURE", 50)),
        (TaskOutcome(kind="fail", at_percent=0, fail_reason="x"), ("FAILURE", 0)),
        (TaskOutcome(kind="refuse", fail_reason="x"), ("FAILURE", 0)),
    ],
)
@pytest.mark.parametrize("verb", ["imagine", "upsample"])
def test_a_fate_ends_a_task_where_it_says(
    verb: str, fate: TaskOutcome, ending: tuple[str, int]
) -> None:
    """A scripted end happens at exactly the requested percentage, for every kind of job."""
    changes = run(verb, fate)
    assert changes[-1] == ending
    assert [percent for _, percent in changes] == sorted(percent or 0 for _, percent in changes)


def test_what_happens_does_not_depend_on_how_often_anybody_looks() -> None:
    """Advancing at once or in random steps gives the same times for every change."""
    moments = []
    for step in (10_000.0, 0.7):
        engine = Engine(time_scale=1, account_count=1, concurrency=1, queue_size=5, seed=3)
        account = engine.choose_account()
        assert account is not None
        tasks = [task_of(engine) for _ in range(3)]
        for task in tasks:
            engine.accept(task, account, TaskOutcome(), 0.0)
        dice, now = random.Random(5), 0.0
        while engine.next_due is not None:
            engine.advance(now)
            now += dice.uniform(0, step)
        moments.append([(task.started_ms, task.finished_ms) for task in tasks])
    assert moments[0] == moments[1]


def test_relax_is_slower_and_turbo_faster() -> None:
    """The speed decides how long a job takes."""
    ends = {}
    for mode in ("TURBO", "FAST", "RELAX"):
        engine = Engine(time_scale=1, account_count=1, concurrency=1, queue_size=0, seed=1)
        task, account = task_of(engine), engine.choose_account()
        assert account is not None
        task.mode = mode
        engine.accept(task, account, TaskOutcome(), 0.0)
        engine.advance(10_000)
        ends[mode] = task.finished_ms or 0
    assert ends["TURBO"] < ends["FAST"] < ends["RELAX"]


def test_a_cancelled_task_changes_no_more() -> None:
    """Its remaining changes are skipped."""
    engine = Engine(time_scale=1, account_count=1, concurrency=2, queue_size=0, seed=1)
    account = engine.choose_account()
    assert account is not None
    tasks = [task_of(engine) for _ in range(2)]
    for task in tasks:
        engine.accept(task, account, TaskOutcome(), 0.0)
    engine.cancel(tasks[0], "CANCEL", 0.5)
    engine.forget(tasks[1], 0.5)
    engine.advance(10_000)
    assert [task.status for task in tasks] == ["CANCEL", "NOT_START"]
    assert (engine.next_due, account.running_count, engine.in_flight) == (None, 0, 0)


def test_ids_never_repeat() -> None:
    """Ids created within one millisecond are distinct and increasing (PROTOCOL §7.3)."""
    engine = Engine(time_scale=1, account_count=1, concurrency=1, queue_size=0, seed=1)
    ids = [engine.new_id(1_700_000_000.0) for _ in range(5000)]
    assert len(set(ids)) == 5000
    assert ids == sorted(ids)


# --- limits --------------------------------------------------------------------------------------


async def test_limits_give_1_then_22_then_23() -> None:
    """Three run, ten wait with their place in the queue, and the next is refused."""
    async with simulated(time_scale=FROZEN) as (sim, raw):
        answers = [await raw.submit("imagine", prompt=f"fox {n}") for n in range(14)]
        assert [answer.code for answer in answers] == [1] * 3 + [22] * 10 + [23]
        places = [answer.json["properties"].get("numberOfQueues") for answer in answers]
        assert places == [None] * 3 + [*range(1, 11)] + [None]
        assert answers[-1].result is None
        assert answers[-1].status == 200
        assert (len(sim.submissions), sim.in_flight, sim.max_in_flight) == (13, 13, 13)
        queue = (await raw.get("/mj/task/queue")).json
        assert [task["id"] for task in queue] == [answer.result for answer in answers[:13]]


async def test_a_second_account_doubles_the_room_and_keeps_its_own_tasks() -> None:
    """New jobs go to the least busy account; follow-ups go to the account of their task."""
    async with simulated(accounts=2, concurrency=1, queue_size=0) as (sim, raw):
        grid = await raw.grid()
        upscale = await raw.pressed(grid, "U1")
        instance = grid["properties"]["discordInstanceId"]
        assert upscale["properties"]["discordInstanceId"] == instance
        set_time_scale(sim, FROZEN)
        codes = [(await raw.submit("imagine", prompt="a fox")).code for _ in range(3)]
        assert codes == [1, 1, 23]
        assert (await raw.press(grid, "U2")).code == 23


async def test_a_server_without_accounts_refuses_everything() -> None:
    """No account is code 3 (PROTOCOL §2)."""
    async with simulated(accounts=0) as (_, raw):
        answer = await raw.submit("imagine", prompt="a fox")
        assert (answer.status, answer.code, answer.json["description"]) == (
            200,
            3,
            "无可用的账号实例",
        )


async def test_a_finished_task_lets_the_next_one_start() -> None:
    """Every waiting task runs in the end."""
    async with simulated(time_scale=0.0001, concurrency=2, queue_size=50) as (sim, raw):
        ids = [(await raw.submit("imagine", prompt=f"fox {n}")).result for n in range(30)]
        async with asyncio.timeout(20):
            await sim.wait_idle()
        assert {sim.tasks[task_id].status for task_id in ids} == {"SUCCESS"}
        assert sim.in_flight == 0


# --- submissions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [None, "", "   "])
async def test_a_blank_prompt_is_code_4(prompt: str | None) -> None:
    """A prompt is required (PROTOCOL §1.2)."""
    async with simulated() as (sim, raw):
        for endpoint in ("imagine", "shorten"):
            assert (await raw.submit(endpoint, prompt=prompt)).code == 4
        assert sim.submissions == []


async def test_a_banned_word_is_code_24_with_the_word() -> None:
    """A banned word is reported as spelled, and only if it is a whole word (PROTOCOL §2)."""
    async with simulated(banned_words=["Gore"]) as (_, raw):
        answer = await raw.submit("imagine", prompt="much gore, please")
        assert (answer.code, answer.result) == (24, None)
        properties = {"promptEn": "much gore, please", "bannedWord": "gore"}
        assert answer.json["properties"] == properties
        assert (await raw.submit("imagine", prompt="gorecki")).code == 1


async def test_reference_images_are_decoded_and_recorded() -> None:
    """Data URLs, bare base64 and links are accepted; their links precede the prompt."""
    async with simulated() as (sim, raw):
        images = [data_url(b"x" * 30), data_url(b"yy").partition(",")[2], "https://a.b/c.png"]
        answer = await raw.submit("imagine", prompt="a fox", base64Array=images)
        task = sim.tasks[answer.result]
        assert task.image_sizes == (30, 2, 0)
        seen = (await raw.task(task.id))["promptEn"].split()
        assert seen[2:] == ["https://a.b/c.png", "a", "fox"]
        shown = await raw.get(seen[0])
        assert (shown.body, shown.headers["Content-Type"]) == (
            b"x" * 30,
            "application/octet-stream",
        )


@pytest.mark.parametrize(
    "image", ["data:image/png;base64,?", "data:image/png;base64,", "***", "data:x"]
)
async def test_bad_base64_is_code_4(image: str) -> None:
    """An image that cannot be decoded is refused by every endpoint."""
    async with simulated() as (_, raw):
        for endpoint, body in (
            ("imagine", {"prompt": "a fox", "base64Array": [image]}),
            ("blend", {"base64Array": [image, data_url()]}),
            ("describe", {"base64": image}),
            ("upload-discord-images", {"base64Array": [image]}),
        ):
            assert (await raw.submit(endpoint, **body)).code == 4


@pytest.mark.parametrize(
    "dimensions,size",
    [("PORTRAIT", (342, 512)), ("SQUARE", (512, 512)), ("LANDSCAPE", (512, 342))],
)
async def test_blend_has_the_dimensions_asked_for(dimensions: str, size: tuple[int, int]) -> None:
    """Blend turns its dimensions into the aspect ratio of a grid with buttons."""
    async with simulated() as (sim, raw):
        answer = await raw.submit(
            "blend", base64Array=[data_url(), data_url(b"2")], dimensions=dimensions
        )
        task = await raw.done(answer)
        assert (task["action"], task["prompt"]) == ("BLEND", None)
        assert (task["imageWidth"], task["imageHeight"]) == size
        assert len(task["buttons"]) == 9
        assert sim.tasks[task["id"]].dimensions == dimensions


@pytest.mark.parametrize("count", [0, 1, 6])
async def test_blend_takes_two_to_five_pictures(count: int) -> None:
    """Fewer or more are code 4 (PROTOCOL §1.3)."""
    async with simulated() as (_, raw):
        answer = await raw.submit("blend", base64Array=[data_url()] * count)
        assert answer.code == 4


async def test_blend_with_null_dimensions_is_code_4_and_with_unknown_ones_malformed() -> None:
    """Null is a code 4, an unknown word cannot be bound (PROTOCOL §1.3)."""
    async with simulated() as (_, raw):
        images = [data_url()] * 2
        assert (await raw.submit("blend", base64Array=images, dimensions=None)).code == 4
        answer = await raw.submit("blend", base64Array=images, dimensions="ROUND")
        assert (answer.status, answer.code, answer.json["success"]) == (200, -1, False)


async def test_describe_gives_four_prompts_for_the_picture() -> None:
    """The description depends on the image (PROTOCOL §1.4)."""
    async with simulated() as (sim, raw):
        task = await raw.done(await raw.submit("describe", base64=data_url()))
        again = await raw.done(await raw.submit("describe", base64=data_url()))
        other = await raw.done(await raw.submit("describe", link="https://a.b/c.png"))
        text = task["properties"]["finalPrompt"]
        assert [line[:3] for line in text.split("\n\n")] == ["1️⃣", "2️⃣", "3️⃣", "4️⃣"]
        assert text == again["properties"]["finalPrompt"] != other["properties"]["finalPrompt"]
        assert task["prompt"] == task["promptEn"] == text
        assert (
            "灯" in task["properties"]["finalZhPrompt"]
            or "，" in task["properties"]["finalZhPrompt"]
        )
        shown = await raw.get(task["imageUrl"])
        assert (shown.body, shown.headers["Content-Type"]) == (PIXEL, "image/png")
        assert other["imageUrl"] == "https://a.b/c.png"
        assert sim.tasks[task["id"]].image_sizes == (len(PIXEL),)


async def test_describe_needs_a_picture_or_a_link() -> None:
    """Neither an image nor a link, or an invalid link, is code 4."""
    async with simulated() as (_, raw):
        assert (await raw.submit("describe")).code == 4
        assert (await raw.submit("describe", link="ftp://a.b/c")).code == 4


async def test_a_describe_says_nothing_before_its_end() -> None:
    """A running task has neither a prompt nor buttons."""
    async with simulated(time_scale=FROZEN) as (_, raw):
        answer = await raw.submit("describe", base64=data_url())
        task = await raw.task(answer.result)
        assert task["prompt"] is task["promptEn"] is None
        assert "finalPrompt" not in task["properties"]
        assert task["buttons"] == []


async def test_shorten_weighs_the_words() -> None:
    """The result is in the final prompt, without an image (PROTOCOL §1.5)."""
    async with simulated() as (_, raw):
        prompt = "please make me a very beautiful red fox in the snow --ar 16:9"
        task = await raw.done(await raw.submit("shorten", prompt=prompt))
        text = task["properties"]["finalPrompt"]
        assert text.startswith("## Important tokens\n")
        assert [f"{n}️⃣" in text for n in range(1, 6)] == [True] * 5
        assert task["imageUrl"] is None
        assert task["prompt"] == prompt


async def test_upload_gives_links_and_no_task() -> None:
    """PROTOCOL §1.12: a list of URLs."""
    async with simulated() as (sim, raw):
        answer = await raw.submit("upload-discord-images", base64Array=[data_url(), data_url(b"2")])
        assert answer.code == 1
        assert [(await raw.get(url)).body for url in answer.result] == [PIXEL, b"2"]
        assert (await raw.submit("upload-discord-images", base64Array=[])).code == 4
        assert not sim.tasks
        assert sim.submissions == []


async def test_swap_needs_two_different_pictures() -> None:
    """PROTOCOL §1.13."""
    async with simulated() as (_, raw):
        path = "/mj/insight-face/swap"
        answer = await raw.post(path, sourceBase64=data_url(), targetUrl="https://a.b/c.png")
        task = await raw.done(answer)
        assert (task["action"], task["properties"]["botType"]) == ("SWAP_FACE", "INSIGHT_FACE")
        assert (task["buttons"], task["status"]) == ([], "SUCCESS")
        assert (await raw.post(path, sourceBase64=data_url())).code == 4
        assert (await raw.post(path, sourceBase64=data_url(), targetBase64=data_url())).code == 4


async def test_submissions_say_what_was_bought() -> None:
    """Every accepted submission is recorded once, with its body and its parent."""
    async with simulated() as (sim, raw):
        grid = await raw.done(await raw.submit("imagine", prompt="a fox", state="s1"))
        upscale = await raw.pressed(grid, "U2")
        first, second = sim.submissions
        assert (first.endpoint, first.task_id, first.state) == ("imagine", grid["id"], "s1")
        assert first.body == {"prompt": "a fox", "state": "s1"}
        assert (first.prompt, first.action, first.parent_id) == ("a fox", "IMAGINE", None)
        assert (second.endpoint, second.task_id, second.parent_id) == (
            "action",
            upscale["id"],
            grid["id"],
        )


# --- what does not bind --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint,body",
    [
        ("imagine", {"prompt": 7}),
        ("imagine", {"prompt": "x", "base64Array": "no list"}),
        ("imagine", {"prompt": "x", "base64Array": [7]}),
        ("imagine", {"prompt": "x", "accountFilter": {"modes": ["SLOW"]}}),
        ("imagine", {"prompt": "x", "accountFilter": {"modes": [[]]}}),
        ("imagine", {"prompt": "x", "accountFilter": []}),
        ("imagine", {"prompt": "x", "accountFilter": "FAST"}),
        ("imagine", {"prompt": "x", "accountFilter": {"modes": "FAST"}}),
        ("action", {"taskId": 1234, "customId": "x"}),
        ("change", {"taskId": "1", "action": "UPSCALE", "index": "one"}),
        ("change", {"taskId": "1", "action": "UPSCALE", "index": True}),
    ],
)
async def test_a_wrong_type_or_word_does_not_bind(endpoint: str, body: dict[str, object]) -> None:
    """The Plus family answers 200 with ``success: false`` (PROTOCOL §7.1-C)."""
    async with simulated() as (_, raw):
        answer = await raw.submit(endpoint, **body)
        assert (answer.status, answer.json["success"], answer.code) == (200, False, -1)
        assert answer.json["timestamp"].isdecimal()


async def test_a_body_that_is_no_json_object_does_not_bind() -> None:
    """Broken JSON, a JSON list and no body at all are malformed; another media type is 415."""
    async with simulated() as (sim, raw):
        for data in (b"{", b"[1]", b""):
            answer = await raw.call(
                "POST",
                "/mj/submit/imagine",
                data=data,
                headers={"Content-Type": "application/json"},
            )
            assert answer.code == -1
        answer = await raw.call("POST", "/mj/submit/imagine", data=b"prompt=x")
        assert (answer.status, answer.body) == (415, b"")
        assert sim.requests[0].body is None


# --- reads ---------------------------------------------------------------------------------------


async def test_an_unknown_id_is_204_and_empty() -> None:
    """PROTOCOL §1.15."""
    async with simulated() as (_, raw):
        answer = await raw.get("/mj/task/1/fetch")
        assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("endpoint", ["list-by-condition", "list-by-ids"])
async def test_lists_leave_out_unknown_ids_and_repeat_nothing(endpoint: str) -> None:
    """Each existing id is listed once, in the server's order; no ids give no tasks."""
    async with simulated() as (_, raw):
        ids = [(await raw.grid())["id"] for _ in range(3)]
        path = f"/mj/task/{endpoint}"
        tasks = (await raw.post(path, ids=[*ids, "1", ids[0], f" {ids[1]} "])).json
        assert sorted(task["id"] for task in tasks) == ids
        assert [task["id"] for task in tasks] != ids
        assert tasks[0] == await raw.task(tasks[0]["id"])
        assert (await raw.post(path, ids=[])).json == []
        assert (await raw.post(path)).json == []
        assert (await raw.post(path, ids=[int(ids[0])])).json["success"] is False


async def test_the_list_shows_the_newest_hundred() -> None:
    """PROTOCOL §1.15."""
    async with simulated() as (_, raw):
        ids = [(await raw.submit("imagine", prompt="x")).result for _ in range(103)]
        tasks = (await raw.get("/mj/task/list")).json
        assert [task["id"] for task in tasks] == ids[:2:-1]
        assert (await raw.get("/mj/task/queue")).json == []


async def test_lists_can_be_missing() -> None:
    """A server without list endpoints answers 404 with nothing (PROTOCOL §7.5)."""
    async with simulated(list_endpoint=False) as (_, raw):
        for method, name in (
            ("POST", "list-by-condition"),
            ("POST", "list-by-ids"),
            ("GET", "list"),
        ):
            answer = await raw.call(method, f"/mj/task/{name}", json={"ids": []})
            assert (answer.status, answer.body) == (404, b"")
        assert (await raw.get("/mj/task/queue")).json == []


async def test_the_seed_is_a_string_and_a_flag_in_the_prompt_decides_it() -> None:
    """PROTOCOL §1.15: image-seed, with 404 for an unknown task and 400 for an unfinished one."""
    async with simulated() as (sim, raw):
        task = await raw.grid("a fox --seed 4242")
        answer = await raw.get(f"/mj/task/{task['id']}/image-seed")
        assert (answer.code, answer.result) == (1, "4242")
        unknown = await raw.get("/mj/task/1/image-seed")
        assert (unknown.status, unknown.code) == (404, 3)
        set_time_scale(sim, FROZEN)
        unfinished = (await raw.submit("imagine", prompt="x")).result
        answer = await raw.get(f"/mj/task/{unfinished}/image-seed")
        assert (answer.status, answer.code) == (400, 4)


async def test_cancel_ends_a_task_and_frees_its_place() -> None:
    """A running and a waiting task end as CANCEL; a finished or unknown one stays as it is."""
    async with simulated(time_scale=FROZEN, concurrency=1) as (sim, raw):
        running, waiting, last = [
            (await raw.submit("imagine", prompt="x")).result for _ in range(3)
        ]
        for task_id in (waiting, running, running, "1"):
            answer = await raw.call("POST", f"/mj/task/{task_id}/cancel")
            assert (answer.status, answer.body) == (200, b"")
        task = await raw.task(running)
        assert (task["status"], task["failReason"]) == ("CANCEL", "取消任务")
        assert task["finishTime"] >= task["submitTime"]
        assert sim.tasks[last].running
        assert sim.in_flight == 1


# --- auth and paths ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers,status",
    [
        ({}, 401),
        ({"mj-api-secret": "wrong"}, 401),
        ({"mj-api-secret": "sim-token"}, 204),
        ({"Authorization": "sim-token"}, 204),
        ({"Authorization": "Bearer sim-token"}, 401),
        ({"Authorization": "Bearer sim-token", "mj-api-secret": "sim-token"}, 401),
        ({"Authorization": "sim-token", "mj-api-secret": "wrong"}, 204),
    ],
)
async def test_authorization_is_read_raw_and_decides_when_present(
    headers: dict[str, str], status: int
) -> None:
    """A client that sends both headers, one with Bearer, is refused (PROTOCOL §6.2)."""
    async with (
        Simulator(token="sim-token") as sim,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        async with session.get(f"{sim.url}/mj/task/1/fetch") as answer:
            assert answer.status == status
            if status == 401:
                assert await answer.text() == "Authorization header missing."
        assert sim.requests[0].status == status


async def test_an_open_server_asks_for_nothing() -> None:
    """With token=None, no token is required."""
    async with simulated(token=None) as (sim, raw):
        assert sim.token is None
        assert (await raw.get("/mj/task/1/fetch")).status == 204


@pytest.mark.parametrize(
    "prefix,mode,host",
    [
        ("/mj", "FAST", None),
        ("/mj-fast/mj", "FAST", None),
        ("/mj-turbo/mj", "TURBO", None),
        ("/mj-relax/mj", "RELAX", None),
        ("/mj-turbo-proxy/mj", "TURBO", "proxy"),
        ("/mj-relax-origin/mj", "RELAX", "origin"),
        ("/mj-relay/mj", "FAST", "relay"),
    ],
)
async def test_the_path_chooses_speed_and_image_host(
    prefix: str, mode: str, host: str | None
) -> None:
    """PROTOCOL §6.1, with the suffixes of gateways."""
    async with simulated() as (sim, raw):
        answer = await raw.post(f"{prefix}/submit/imagine", prompt="a fox")
        task = sim.tasks[answer.result]
        assert (task.mode, task.request.image_host) == (mode, host)
        assert (await raw.get(f"{prefix}/task/{task.id}/fetch")).json["id"] == task.id


@pytest.mark.parametrize(
    "dialect,prefix,status",
    [
        ("open-plus", "/mj-turbo/mj", 204),
        ("open-plus", "/mj-turbo-proxy/mj", 404),
        ("original", "/mj-turbo/mj", 404),
        ("original", "/mj/mj", 404),
    ],
)
async def test_modes_in_the_path_are_not_for_every_server(
    dialect: str, prefix: str, status: int
) -> None:
    """The original has no modes, the open re-implementation no image hosts (PROTOCOL §6.1)."""
    async with simulated(dialect) as (_, raw):
        assert (await raw.get(f"{prefix}/task/1/fetch")).status == status


async def test_an_unknown_path_needs_no_token() -> None:
    """An existing path with another method is no endpoint either; with a token it is a 405."""
    async with simulated(token="sim-token") as (_, raw):
        raw.session.headers.clear()
        assert (await raw.get("/mj/nonsense")).status == 404
        assert (await raw.get("/mj/submit/imagine")).status == 404
        authorized = {"mj-api-secret": "sim-token"}
        assert (await raw.get("/mj/submit/imagine", headers=authorized)).status == 405


async def test_speed_goes_by_path_then_filter_then_flag_then_parent() -> None:
    """The path precedes accountFilter.modes, then a flag; a button inherits (PROTOCOL §6.1)."""
    async with simulated() as (sim, raw):

        async def mode(prefix: str = "/mj", **body: object) -> str:
            answer = await raw.post(f"{prefix}/submit/imagine", **body)
            return sim.tasks[answer.result].mode

        filtered = {"prompt": "x --turbo", "accountFilter": {"modes": ["RELAX", "FAST"]}}
        assert await mode("/mj-fast/mj", **filtered) == "FAST"
        assert await mode(**filtered) == "RELAX"
        assert await mode(prompt="x --turbo", accountFilter=None) == "TURBO"
        assert await mode(prompt="x", accountFilter={"modes": None}) == "FAST"
        relaxed = await raw.grid("x --relax")
        upscale = await raw.pressed(relaxed, "U1")
        assert sim.tasks[upscale["id"]].mode == "RELAX"


@pytest.mark.parametrize(
    "method,path",
    [
        ("GET", "/"),
        ("GET", "/mj/nonsense"),
        ("POST", "/mj/submit/nonsense"),
        ("GET", "/mj-slow/mj/task/1/fetch"),
        ("GET", "/attachments/nothing.png"),
        ("GET", "/attachments/nothing.png?ex=zz&hm=1"),
    ],
)
async def test_an_unknown_path_is_404_or_403(method: str, path: str) -> None:
    """A link without a signature counts as expired, and other paths are not served."""
    async with simulated() as (_, raw):
        answer = await raw.call(method, path)
        assert answer.status == (403 if "attachments" in path else 404)
        assert answer.body == b""


# --- records, clock, life ------------------------------------------------------------------------


async def test_every_request_is_recorded() -> None:
    """Method, path, kind, endpoint, headers, body and status of each, in order."""
    async with simulated(token="sim-token") as (sim, raw):
        grid = await raw.grid()
        await raw.post("/mj/task/list-by-condition", ids=[])
        await raw.get(grid["imageUrl"])
        await raw.get(f"/mj/task/{grid['id']}/image-seed")
        await raw.get("/nowhere")
        seen = [(r.method, r.kind, r.endpoint, r.status) for r in sim.requests]
        assert seen == [
            ("POST", "submit", "imagine", 200),
            ("GET", "fetch", "fetch", 200),
            ("POST", "list", "list-by-condition", 200),
            ("GET", "image", "image", 200),
            ("GET", "other", "image-seed", 200),
            ("GET", "other", None, 404),
        ]
        assert sim.requests[0].body == {"prompt": "a fox"}
        assert sim.requests[0].headers["mj-api-secret"] == "sim-token"
        assert sim.requests[0].path == "/mj/submit/imagine"
        assert sim.requests[0].at <= sim.requests[-1].at


async def test_a_stopped_simulator_starts_again_with_its_tasks_and_its_port() -> None:
    """Tasks survive a restart, and continue in the meantime."""
    sim = Simulator(time_scale=0.0001, draw=False)
    with pytest.raises(RuntimeError, match="no address"):
        _ = sim.url
    async with sim, talking(sim) as raw:
        task_id = (await raw.submit("imagine", prompt="x")).result
        url = sim.url
        await sim.start()
    assert sim.url == url
    async with sim, talking(sim) as raw:
        assert (await raw.until(task_id, lambda task: task["finishTime"]))["status"] == "SUCCESS"
    await sim.stop()


async def test_settled_refuses_to_wait_for_a_stopped_simulator() -> None:
    """A stopped simulator would never finish its tasks."""
    async with simulated(time_scale=FROZEN) as (sim, raw):
        await raw.submit("imagine", prompt="x")
        waiter = asyncio.ensure_future(sim.wait_idle())
        await asyncio.sleep(0)
        await sim.stop()
        with pytest.raises(RuntimeError, match="start"):
            await waiter


async def test_a_forgotten_task_is_unknown_and_its_place_is_free() -> None:
    """forget() loses one task or all of them, running or not."""
    async with simulated(time_scale=FROZEN, concurrency=1, queue_size=5) as (sim, raw):
        ids = [(await raw.submit("imagine", prompt="x")).result for _ in range(4)]
        sim.forget(ids[0])
        assert (await raw.get(f"/mj/task/{ids[0]}/fetch")).status == 204
        assert sim.tasks[ids[1]].running
        assert sim.in_flight == 3
        sim.forget()
        assert (dict(sim.tasks), sim.in_flight) == ({}, 0)
        await sim.wait_idle()
        with pytest.raises(KeyError):
            sim.forget("1")


async def test_many_tasks_are_cheap() -> None:
    """Many unfinished tasks share one timer, and all of them finish."""
    async with simulated(time_scale=0.001, concurrency=2000) as (sim, raw):
        before = len(asyncio.all_tasks())
        for n in range(200):
            await raw.submit("imagine", prompt=f"fox {n}")
        assert len(asyncio.all_tasks()) <= before + 2
        async with asyncio.timeout(20):
            await sim.wait_idle()
        assert {task.status for task in sim.tasks.values()} == {"SUCCESS"}


def test_an_unknown_dialect_is_named_with_what_there_is() -> None:
    """An unknown dialect is refused when the simulator is created."""
    with pytest.raises(ValueError, match="unknown dialect 'plsu'; available are plus, original"):
        Simulator("plsu")
    assert {"plus", "original"} <= set(DIALECTS)


def test_the_simulator_is_an_independent_witness() -> None:
    """It imports nothing from the client, so that an error cannot be on both sides."""
    package = Path(mjasync.simulator.__file__).parent
    for path in package.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2, path
                assert not (node.module or "").startswith("mjasync"), path
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("mjasync") for name in node.names), path
