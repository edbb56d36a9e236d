"""The simulator as a gateway: `new-api`, `one-hub` and `path-gateway`, in front of real servers.

Single requests are compared with what the real programs answer in `test_recorded_gateways`.
"""

# ruff: noqa: ANN401  JSON holds anything

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from mjasync.simulator import DIALECTS, Simulator
from mjasync.simulator.gateways import GATEWAYS, forwarded_submissions, middleware
from mjasync.simulator.gateways.custom_ids import CustomIdAction, GatewayPanic, parse_custom_id
from mjasync.simulator.gateways.go_json import GoJsonError, decode
from support.internals import set_time_scale
from support.loopback import serving
from support.pictures import PIXEL, data_url
from support.raw_http import FROZEN, PATIENCE, Answer, Raw, named, simulated

RESALES = ["new-api", "one-hub"]
ALL = [*RESALES, "path-gateway"]
SECRET = "sk-" + "k" * 48
OTHER = "sk-" + "o" * 48

KEYS = [
    *("id", "action", "customId", "botType", "prompt", "promptEn", "description", "state"),
    *("submitTime", "startTime", "finishTime", "imageUrl", "status", "progress", "failReason"),
    *("buttons", "maskBase64", "properties"),
]
VIDEOS = ["videoUrl", "videoUrls"]


@asynccontextmanager
async def chained(
    dialect: str, *, server: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Raw, Raw]]:
    """A gateway whose clock stands still, in front of a server that finishes everything at once.

    Rows change when a test calls `refresh`, and never else.
    """
    async with (
        simulated(**{"token": "upstream", **(server or {})}) as (behind, direct),
        simulated(
            dialect,
            upstream=behind.url,
            upstream_token="upstream",
            **{"time_scale": FROZEN, **options},
        ) as (_, raw),
    ):
        yield raw, direct


class Fake:
    """An upstream that answers whatever a test wants."""

    def __init__(self) -> None:
        self.replies: dict[str, Callable[[], web.StreamResponse]] = {}
        self.seen: list[tuple[str, Any]] = []
        self.hangs: set[str] = set()
        self.released = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer by the last word of the path."""
        raw = await request.read()
        self.seen.append((request.path, orjson.loads(raw) if raw[:1] == b"{" else None))
        name = request.path.rpartition("/")[2]
        if name in self.hangs:
            await self.released.wait()
        return self.replies.get(name, lambda: web.Response(status=404))()

    def will(self, name: str, body: Any = b"", status: int = 200, **more: Any) -> None:
        """Answer this from now on."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        self.replies[name] = lambda: web.Response(status=status, body=data, **more)


@asynccontextmanager
async def faked(dialect: str, **options: Any) -> AsyncIterator[tuple[Simulator, Raw, Fake]]:
    """A gateway in front of a made-up upstream."""
    fake = Fake()
    async with (
        serving(fake.handle) as url,
        simulated(dialect, upstream=url, **{"time_scale": FROZEN, **options}) as pair,
    ):
        yield *pair, fake
        fake.released.set()


def accepted(task_id: str = "1700000000000001", code: int = 1, **properties: Any) -> dict[str, Any]:
    """A SubmitResult."""
    return {"code": code, "description": "ok", "result": task_id, "properties": properties}


async def grid(raw: Raw, prompt: str = "a fox", **more: Any) -> dict[str, Any]:
    """A finished imagine, as the gateway shows it."""
    return await raw.done(await raw.submit("imagine", prompt=prompt, **more))


def sent(raw: Raw, endpoint: str) -> list[Any]:
    """The bodies of all requests of one kind that came in somewhere."""
    return [request.body for request in raw.sim.requests if request.endpoint == endpoint]


def problem(answer: Answer) -> tuple[int, str, str, int]:
    """Shape D: status, description, type and code."""
    body = answer.json
    assert list(body) == ["code", "description", "type"]
    return answer.status, body["description"], body["type"], body["code"]


# --- chains --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ALL)
async def test_a_story_goes_through_every_gateway(dialect: str) -> None:
    """Imagine, U1, custom zoom and its modal end well through a gateway with its own server."""
    async with simulated(dialect) as (sim, raw):
        single = await raw.pressed(await grid(raw), "U1")
        opened = await raw.press(single, "Custom Zoom")
        assert opened.code == 21
        answer = await raw.submit("modal", taskId=opened.result, prompt="a fox --zoom 1.8")
        zoomed = await raw.done(answer)
        assert (zoomed["id"], zoomed["status"], zoomed["progress"]) == (
            opened.result,
            "SUCCESS",
            "100%",
        )
        assert [one.endpoint for one in sim.submissions] == ["imagine", "action", "modal"]
        parents = [one.parent_id for one in sim.submissions]
        assert parents == [None, sim.submissions[0].task_id, single["id"]]
        picture = await raw.get(zoomed["imageUrl"])
        assert (picture.status, picture.body[:4]) == (200, PIXEL[:4])
        assert sim.upstream is not None
        assert len(sim.upstream.submissions) == 3
        assert (sim.in_flight, sim.max_in_flight, sim.hooks) == (0, 1, [])
        assert sim.tasks[zoomed["id"]].status == "SUCCESS"


@pytest.mark.parametrize("front", ALL)
@pytest.mark.parametrize("middle", ALL)
async def test_a_gateway_in_front_of_a_gateway(front: str, middle: str) -> None:
    """Each shows its own token to the next, and pictures come through both."""
    async with (
        simulated(middle, token=SECRET) as (inner, _),
        simulated(front, upstream=inner.url, upstream_token=SECRET, token=OTHER) as (_, raw),
    ):
        single = await raw.pressed(await grid(raw), "U2")
        assert single["status"] == "SUCCESS"
        assert (await raw.get(single["imageUrl"])).status == 200
        assert len(inner.submissions) == 2


@pytest.mark.parametrize("dialect", RESALES)
async def test_rows_are_refreshed_on_the_gateways_own_clock(dialect: str) -> None:
    """Every 15 simulated seconds, without anybody asking (PROTOCOL §6.3)."""
    async with simulated(dialect, time_scale=0.0005) as (sim, raw):
        answer = await raw.submit("imagine", prompt="x")
        await raw.until(answer.result, lambda task: task["status"] == "SUCCESS")
        async with asyncio.timeout(PATIENCE):
            await sim.wait_idle()
        assert sim.in_flight == 0


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", RESALES)
async def test_a_row_is_blank_until_the_first_refresh(dialect: str) -> None:
    """Status "", progress 0%, buttons and properties null, times 0 (PROTOCOL §3.4)."""
    async with chained(dialect) as (raw, _):
        answer = await raw.submit("imagine", prompt="a fox", state="mine")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        fresh = await raw.task(answer.result)
        keys = [*KEYS[:12], *(VIDEOS if dialect == "new-api" else ()), *KEYS[12:]]
        assert list(fresh) == keys
        assert (fresh["status"], fresh["progress"], fresh["state"]) == ("", "0%", "")
        assert (fresh["startTime"], fresh["finishTime"], fresh["imageUrl"]) == (0, 0, "")
        assert fresh["buttons"] is fresh["properties"] is None
        assert fresh["submitTime"] > 1_600_000_000_000
        assert (raw.sim.in_flight, raw.sim.max_in_flight) == (1, 1)
        await raw.sim.refresh()
        done = await raw.task(answer.result)
        assert list(done) == keys
        assert (done["status"], done["progress"], done["state"]) == ("SUCCESS", "100%", "mine")
        assert done["properties"] == {"finalPrompt": "a fox --v 7", "finalZhPrompt": ""}
        assert (done["action"], done["description"]) == ("IMAGINE", "提交成功")
        assert named(done)["U1"]["style"] == 2
        assert raw.sim.in_flight == 0


@pytest.mark.parametrize("dialect", RESALES)
async def test_null_and_dropped_fields(dialect: str) -> None:
    """What the upstream says with null is "" or 0 here (PROTOCOL §3.4, §7.3)."""
    async with chained(dialect, server={"time_scale": FROZEN}) as (raw, _):
        answer = await raw.submit("imagine", prompt="a fox")
        await raw.sim.refresh()
        task = await raw.task(answer.result)
        assert (task["status"], task["progress"], task["startTime"]) == ("NOT_START", "", 0)
        assert (task["failReason"], task["buttons"]) == ("", [])


@pytest.mark.parametrize("dialect", RESALES)
async def test_a_failure_has_progress_100(dialect: str) -> None:
    """PROTOCOL §3.6: the one field that must not be read as an outcome."""
    async with simulated(dialect) as (sim, raw):
        sim.fault("fail", reason="no luck", at=31)
        task = await grid(raw)
        assert (task["status"], task["progress"], task["failReason"]) == (
            "FAILURE",
            "100%",
            "no luck",
        )


@pytest.mark.parametrize("dialect", RESALES)
async def test_queued_and_modal_codes_become_1(dialect: str) -> None:
    """22 always, 21 but for Inpaint and CustomZoom (PROTOCOL §4.4)."""
    async with chained(dialect, server={"remix": True}) as (raw, direct):
        single = await raw.pressed(await grid(raw), "U1")
        opened = await raw.press(single, "Vary (Strong)")
        assert (opened.code, opened.json["properties"]["remix"]) == (1, True)
        await raw.sim.refresh()
        assert (await raw.task(opened.result))["status"] == "MODAL"
        assert (await raw.task(opened.result))["action"] == "HIGH_VARIATION"
        assert (await raw.press(single, "Vary (Region)")).code == 21
        assert (await raw.press(single, "Custom Zoom")).code == 21
        set_time_scale(direct.sim, FROZEN)
        codes = [(await raw.submit("imagine", prompt="x")).code for _ in range(5)]
        assert codes == [1] * 5
        assert sum(b"numberOfQueues" in orjson.dumps(b) for b in sent(direct, "imagine")) == 0


@pytest.mark.parametrize("dialect", RESALES)
async def test_an_answered_modal_leaves_two_rows_and_a_stale_fetch(dialect: str) -> None:
    """Fetch shows the first row, the refresh fills the last one until it ends (PROTOCOL §4.3)."""
    async with chained(dialect) as (raw, direct):
        single = await raw.pressed(await grid(raw), "U1")
        opened = await raw.press(single, "Vary (Region)")
        set_time_scale(direct.sim, FROZEN)
        answer = await raw.submit("modal", taskId=opened.result, prompt="a hat", maskBase64="")
        assert answer.result == opened.result
        await raw.sim.refresh()
        assert (await raw.task(answer.result))["status"] == ""
        both = (await raw.post("/mj/task/list-by-condition", ids=[answer.result])).json
        assert [(row["action"], row["status"]) for row in both] == [
            ("INPAINT", ""),
            ("MODAL", "MODAL"),
        ]
        assert both[1]["prompt"] == single["prompt"]
        direct.sim.forget()


@pytest.mark.parametrize("dialect", RESALES)
async def test_a_stale_row_jumps_to_its_end(dialect: str) -> None:
    """One refresh after the last row has ended, the first one is as well (PROTOCOL §4.3)."""
    async with chained(dialect) as (raw, _):
        single = await raw.pressed(await grid(raw), "U1")
        opened = await raw.press(single, "Vary (Region)")
        await raw.submit("modal", taskId=opened.result, prompt="a hat")
        seen = []
        for _ in range(3):
            seen.append((await raw.task(opened.result))["status"])
            await raw.sim.refresh()
        assert seen == ["", "", "SUCCESS"]


@pytest.mark.parametrize("dialect", RESALES)
async def test_an_action_needs_a_row_that_is_known_to_have_succeeded(dialect: str) -> None:
    """Right after completion it is refused (PROTOCOL §6.3)."""
    async with chained(dialect) as (raw, direct):
        answer = await raw.submit("imagine", prompt="a fox")
        button = named(await direct.task(answer.result))["U1"]["customId"]
        refused = await raw.submit("action", taskId=answer.result, customId=button)
        assert problem(refused) == (400, "task_status_not_success ", "upstream_error", 4)
        await raw.sim.refresh()
        assert (await raw.submit("action", taskId=answer.result, customId=button)).code == 1


@pytest.mark.parametrize("dialect", RESALES)
async def test_users_see_their_own_tasks_alone(dialect: str) -> None:
    """Another user's id is not found, and missing from lists (PROTOCOL §1.15)."""
    async with simulated(dialect, token=SECRET, tokens=[OTHER]) as (_, raw):
        task = await grid(raw)
        other = {"mj-api-secret": OTHER}
        path = f"/mj/task/{task['id']}/fetch"
        hidden = await raw.get(path, headers=other)
        assert problem(hidden) == (400, "task_no_found ", "upstream_error", 4)
        body = {"ids": [task["id"], "1"]}
        assert len((await raw.post("/mj/task/list-by-condition", **body)).json) == 1
        listed = await raw.call("POST", "/mj/task/list-by-condition", json=body, headers=other)
        assert listed.json == []
        seed = await raw.get(f"/mj/task/{task['id']}/image-seed", headers=other)
        assert problem(seed)[1] == "task_no_found "


@pytest.mark.parametrize("dialect", RESALES)
async def test_a_list_takes_strings_alone(dialect: str) -> None:
    """Numbers are a bind error, nothing is an empty list (PROTOCOL §1.15)."""
    async with chained(dialect) as (raw, _):
        path = "/mj/task/list-by-condition"
        assert problem(await raw.post(path, ids=[1])) == (
            400,
            "do_request_failed ",
            "upstream_error",
            4,
        )
        assert (await raw.post(path, ids=None)).json == []
        assert (await raw.post(path)).json == []
        assert (await raw.post(path, ids=[])).headers["Content-Type"] == "application/json"


async def test_a_task_older_than_an_hour_has_failed() -> None:
    """PROTOCOL §3.6."""
    async with faked("new-api", time_scale=1) as (sim, raw, fake):
        fake.will("imagine", accepted())
        fake.will("list-by-condition", [{"id": accepted()["result"], "status": "IN_PROGRESS"}])
        answer = await raw.submit("imagine", prompt="x")
        await sim.refresh()
        assert (await raw.task(answer.result))["status"] == "IN_PROGRESS"
        sim.tasks[answer.result].submitted_at -= 3_601_000
        await sim.refresh()
        task = await raw.task(answer.result)
        assert (task["status"], task["progress"]) == ("FAILURE", "100%")
        assert task["failReason"] == "上游任务超时（超过1小时）"


async def test_a_refresh_survives_whatever_the_upstream_says() -> None:
    """Only a list of tasks with HTTP 200 changes anything (PROTOCOL §6.3)."""
    async with faked("new-api") as (sim, raw, fake):
        fake.will("imagine", accepted())
        answer = await raw.submit("imagine", prompt="x")
        told = {"id": answer.result, "status": "SUCCESS", "progress": "100%"}
        bodies = ([1, told], [{"id": "2"}], {"error": "x"}, b"<html>")
        for body, status in (([told], 500), *((body, 200) for body in bodies)):
            fake.will("list-by-condition", body, status)
            await sim.refresh()
            assert (await raw.task(answer.result))["status"] == ""
        fake.will("list-by-condition", [told])
        await sim.wait_idle()
        assert (await raw.task(answer.result))["status"] == "SUCCESS"


# --- who comes in --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers,status",
    [
        ({"Authorization": "Bearer sk-mine"}, 400),
        ({"Authorization": "mine"}, 400),
        ({"mj-api-secret": "sk-mine"}, 400),
        ({"mj-api-secret": "Bearer sk-mine"}, 400),
        ({"Authorization": "Bearer midjourney-proxy", "mj-api-secret": "sk-mine"}, 400),
        ({"Authorization": "Bearer sk-other", "mj-api-secret": "sk-mine"}, 401),
        ({"mj-api-secret": "sk-mine-7"}, 403),
        ({"mj-api-secret": "sk-other-7"}, 401),
        ({}, 401),
    ],
)
async def test_new_api_reads_authorization_and_then_the_secret(
    headers: dict[str, str], status: int
) -> None:
    """PROTOCOL §6.2; whoever is let in is told that there is no such task (400)."""
    async with simulated("new-api", token="sk-mine") as (sim, raw):
        raw.session.headers.clear()
        answer = await raw.get("/mj/task/1/fetch", headers=headers)
        assert answer.status == status == sim.requests[-1].status
        if status != 400:
            error = answer.json["error"]
            assert error["type"] == "new_api_error"
            assert "(request id: " in error["message"]


@pytest.mark.parametrize(
    "headers,status",
    [
        ({"mj-api-secret": SECRET}, 400),
        ({"mj-api-secret": SECRET.removeprefix("sk-")}, 400),
        ({"Authorization": f"Bearer {SECRET}"}, 401),
        ({"mj-api-secret": OTHER}, 401),
        ({"mj-api-secret": f"{SECRET}#3"}, 403),
    ],
)
async def test_one_hub_reads_the_secret_alone(headers: dict[str, str], status: int) -> None:
    """PROTOCOL §6.2."""
    async with simulated("one-hub", token=SECRET) as (_, raw):
        raw.session.headers.clear()
        answer = await raw.get("/mj/task/1/fetch", headers=headers)
        assert answer.status == status
        if status == 401:
            assert answer.json["error"]["message"].startswith("无效的令牌 (request id: ")


def test_one_hub_has_no_short_tokens() -> None:
    """A token of fewer than 48 characters could never be used; it is not named either."""
    with pytest.raises(ValueError, match="fewer than 48") as caught:
        Simulator("one-hub", token="sim-token")
    assert "sim-token" not in str(caught.value)


def test_only_gateways_have_an_upstream() -> None:
    """A server that does the work itself takes nothing of what gateways do."""
    extras: list[dict[str, Any]] = [
        {"upstream": "http://x"},
        {"upstream_token": "x"},
        {"quota": 1},
        {"tokens": ["x"]},
        {"spent_tokens": ["x"]},
        {"public_url": ""},
    ]
    for extra in extras:
        with pytest.raises(ValueError, match="plus is not a gateway"):
            Simulator("plus", **extra)
    assert set(GATEWAYS) <= set(DIALECTS)


# --- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", RESALES)
@pytest.mark.parametrize(
    "method,path",
    [
        ("GET", "/"),
        ("GET", "/mj/task/list"),
        ("GET", "/mj/task/queue"),
        ("POST", "/mj/task/list-by-ids"),
        ("POST", "/mj/task/1/cancel"),
        ("GET", "/mj/submit/imagine"),
        ("GET", "/mj/task/1"),
        ("POST", "/mj/submit/retexture"),
        ("GET", "/mj-ultra/foo"),
        ("GET", "/attachments/x.png"),
        ("GET", "/mj/image/1/fetch"),
    ],
)
async def test_what_is_not_registered_is_the_web_page(dialect: str, method: str, path: str) -> None:
    """HTML with HTTP 200, token or none (PROTOCOL §7.1-K, §7.5)."""
    async with faked(dialect, token=SECRET) as (_, raw, _):
        answer = await raw.call(method, path, headers={"mj-api-secret": "wrong"})
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert answer.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("dialect", ALL)
async def test_a_gateway_without_the_list(dialect: str) -> None:
    """It is the web page then; the gateway's own look at its upstream is not affected."""
    async with simulated(dialect, list_endpoint=False) as (_, raw):
        assert (await grid(raw))["status"] == "SUCCESS"
        answer = await raw.post("/mj/task/list-by-condition", ids=["1"])
        assert answer.body.startswith(b"<!doctype html>")


async def test_new_api_loses_modes_with_mj_in_them_and_passes_others_on() -> None:
    """PROTOCOL §6.1."""
    async with chained("new-api") as (raw, direct):
        for prefix in ("/mj-fast", "/mj-turbo-proxy", "/mj-whatever"):
            answer = await raw.post(f"{prefix}/mj/submit/imagine?x=1", prompt="x")
            assert answer.code == 1
            assert (await raw.get(f"/anything/mj/task/{answer.result}/fetch")).status == 200
        assert {r.path for r in direct.sim.requests} == {"/mj/submit/imagine"}
        assert {task.mode for task in direct.sim.tasks.values()} == {"FAST"}
        lost = await raw.post("/fast/mj/submit/imagine", prompt="x")
        assert (lost.status, lost.body) == (404, b"")
        assert direct.sim.requests[-1].path == "/fast/mj/submit/imagine"


async def test_a_mode_in_the_channels_base_url_counts() -> None:
    """PROTOCOL §6.1."""
    async with (
        simulated() as (server, _),
        simulated("new-api", upstream=f"{server.url}/mj-turbo/") as (_, raw),
    ):
        task = await grid(raw)
        assert server.tasks[task["id"]].mode == "TURBO"


async def test_one_hub_knows_three_modes() -> None:
    """Any other is a 400, before the token is looked at (PROTOCOL §6.1)."""
    async with chained("one-hub", token=SECRET) as (raw, direct):
        for prefix, mode in (("", "FAST"), ("/mj-turbo", "TURBO"), ("/mj-relax", "RELAX")):
            task = await raw.done(await raw.post(f"{prefix}/mj/submit/imagine", prompt="x"))
            assert direct.sim.tasks[task["id"]].mode == mode
            assert sent(direct, "imagine")[-1]["accountFilter"] == {"modes": [mode]}
        await raw.press(task, "U1")
        assert sent(direct, "action")[-1]["accountFilter"] == {"modes": ["RELAX"]}
        for prefix in ("/fast", "/mj-turbo-proxy", "/mj-relay"):
            answer = await raw.call(
                "POST", f"{prefix}/mj/submit/imagine", json={}, headers={"mj-api-secret": ""}
            )
            assert answer.status == 400
            assert answer.json == {
                "code": 4,
                "description": "无效的加速模式",
                "type": "one_hub_error",
            }


async def test_one_hub_strips_flags_and_replaces_the_filter() -> None:
    """PROTOCOL §1.1, §6.1: on the wire; its own row keeps the prompt as it came."""
    async with chained("one-hub") as (raw, direct):
        body = {"accountFilter": {"modes": ["RELAX"]}, "notifyHook": "http://127.0.0.1:9/x"}
        answer = await raw.submit("imagine", prompt="a --turbo fox --relax", **body)
        assert sent(direct, "imagine") == [
            {"prompt": "a  fox ", "accountFilter": {"modes": ["FAST"]}}
        ]
        assert (await raw.task(answer.result))["prompt"] == "a --turbo fox --relax"


async def test_new_api_deletes_the_filter_and_the_hook() -> None:
    """PROTOCOL §1.1; flags in the prompt stay."""
    async with chained("new-api") as (raw, direct):
        body = {"accountFilter": {"modes": ["RELAX"]}, "notifyHook": "http://127.0.0.1:9/x"}
        await raw.submit("imagine", prompt="a fox --turbo", state="s", **body)
        assert sent(direct, "imagine") == [{"prompt": "a fox --turbo", "state": "s"}]
        assert direct.sim.requests[-1].headers["mj-api-secret"] == "upstream"


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "custom_id,press",
    [
        ("MJ::JOB::upsample::2::h", CustomIdAction("UPSCALE", 2)),
        ("MJ::JOB::upsample_v7_2x_subtle::1::h::SOLO", CustomIdAction("UPSCALE", 1)),
        ("MJ::JOB::variation::4::h", CustomIdAction("VARIATION", 4)),
        ("MJ::JOB::low_variation::1::h::SOLO", CustomIdAction("LOW_VARIATION", 1)),
        ("MJ::JOB::high_variation::1::h::SOLO", CustomIdAction("HIGH_VARIATION", 1)),
        ("MJ::JOB::pan_left::1::h::SOLO", CustomIdAction("PAN", 1)),
        ("MJ::JOB::reroll::0::h::SOLO", CustomIdAction("REROLL", 1)),
        ("MJ::Outpaint::50::1::h::SOLO", CustomIdAction("ZOOM", 1)),
        ("MJ::CustomZoom::h", CustomIdAction("CUSTOM_ZOOM", 1)),
        ("MJ::Inpaint::1::h::SOLO", CustomIdAction("INPAINT", 1)),
    ],
)
def test_custom_ids_that_are_sold(custom_id: str, press: CustomIdAction) -> None:
    """PROTOCOL §5.3."""
    assert parse_custom_id(custom_id) == press


@pytest.mark.parametrize(
    "custom_id",
    [
        "MJ::BOOKMARK::h",
        "MJ::Job::PicReader::1",
        "MJ::Picread::Retry",
        "MJ::Job::PromptAnalyzer::1",
        "MJ::JOB::animate_high::1::h::SOLO",
        "MJ::JOB::video_virtual_upscale::1::h",
    ],
)
@pytest.mark.parametrize("dialect", RESALES)
async def test_custom_ids_that_are_not_sold(dialect: str, custom_id: str) -> None:
    """Each gateway has its own shape for it (PROTOCOL §5.3)."""
    async with faked(dialect) as (_, raw, fake):
        answer = await raw.submit("action", taskId="1", customId=custom_id)
        assert answer.status == 400
        if dialect == "new-api":
            error = answer.json["error"]
            start = f"Invalid request: unknown_action:{custom_id} (request id: "
            assert error["message"].startswith(start)
            assert error["type"] == "new_api_error"
        else:
            assert problem(answer) == (400, f"unknown_action:{custom_id} ", "internal_error", 4)
        assert fake.seen == []


def test_custom_ids_that_do_not_parse() -> None:
    """An index that is none, nothing at all, and too few fields (PROTOCOL §5.3)."""
    with pytest.raises(GoJsonError, match="index_parse_failed"):
        parse_custom_id("MJ::JOB::upsample::x::h")
    with pytest.raises(GoJsonError, match="custom_id_is_required"):
        parse_custom_id("")
    for short in ("U1", "MJ::JOB", "MJ::JOB::variation"):
        with pytest.raises(GatewayPanic, match="index out of range"):
            parse_custom_id(short)


@pytest.mark.parametrize(
    "body,message",
    [
        (b"[1 2]", "invalid character '2' after array element"),
        (b'[{"a":1} 2]', "invalid character '2' after array element"),
        (b'["a" "b"]', "invalid character '\"' after array element"),
        (b'{"a":"[" "b":2}', "invalid character '\"' after object key:value pair"),
        (b'{"a":[1] 2}', "invalid character '2' after object key:value pair"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"'x'", r"invalid character '\'' looking for beginning of value"),
        (b"[NaN]", "invalid character 'N' looking for beginning of value"),
        (b"-Infinity", "invalid character 'I' in numeric literal"),
        (b'"\t"', r"invalid character '\t' in string literal"),
        (b"1 2", "invalid character '2' after top-level value"),
        (b"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value"),
        (b'"abc', "unexpected end of JSON input"),
    ],
)
def test_json_errors_are_those_of_go(body: bytes, message: str) -> None:
    """The messages are the output of Go 1.26 for the same bodies."""
    with pytest.raises(GoJsonError) as caught:
        decode(body)
    assert str(caught.value) == message


@pytest.mark.parametrize("dialect", RESALES)
async def test_a_body_that_is_no_object_is_not_forwarded(dialect: str) -> None:
    """Without a JSON type it is not decoded as a submission, but still for the upstream."""
    async with faked(dialect) as (_, raw, fake):
        answer = await raw.call("POST", "/mj/submit/describe", data=b"[1]")
        assert problem(answer) == (400, "read_request_body_failed ", "upstream_error", 5)
        assert fake.seen == []


async def test_a_custom_id_without_colons_makes_it_panic() -> None:
    """HTTP 500, or no answer at all (PROTOCOL §5.3, §7.1-G)."""
    async with faked("one-hub") as (_, raw, _):
        answer = await raw.submit("action", taskId="1", customId="U1")
        assert (answer.status, answer.json["error"]["type"]) == (500, "one_hub_panic")
    async with faked("new-api") as (sim, raw, _):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await raw.submit("action", taskId="1", customId="U1")
        assert sim.requests[-1].status is None


@pytest.mark.parametrize("dialect", RESALES)
async def test_a_change_always_needs_an_index(dialect: str) -> None:
    """Even a reroll (PROTOCOL §1.6); the right one goes through."""
    async with simulated(dialect) as (sim, raw):
        task = await grid(raw)
        refused = await raw.submit("change", taskId=task["id"], action="REROLL")
        assert problem(refused) == (400, "index_is_required ", "upstream_error", 4)
        again = await raw.submit("change", taskId=task["id"], action="REROLL", index=1)
        assert (await raw.done(again))["action"] == "REROLL"
        unknown = await raw.submit("change", taskId="1", action="UPSCALE", index=1)
        assert problem(unknown) == (400, "task_not_found ", "upstream_error", 4)
        assert [one.endpoint for one in sim.submissions] == ["imagine", "change"]


@pytest.mark.parametrize("dialect", RESALES)
async def test_a_change_without_a_task_is_left_to_the_upstream(dialect: str) -> None:
    """The gateway checks nothing then; the upstream's refusal passes."""
    async with chained(dialect) as (raw, _):
        answer = await raw.submit("change", action="UPSCALE", index=1)
        assert (answer.status, answer.code) == (200, 4)
        assert raw.sim.submissions == []


@pytest.mark.parametrize("dialect", RESALES)
async def test_simple_change_is_broken(dialect: str) -> None:
    """It is routed, and then nobody sells it (PROTOCOL §1.0 b)."""
    async with faked(dialect) as (_, raw, _):
        answer = await raw.submit("simple-change", content="1 U1")
        if dialect == "new-api":
            assert answer.status == 503
            assert "mj_ " in answer.json["error"]["message"]
        else:
            status, description, _, code = problem(answer)
            assert (status, code) == (400, 5)
            assert "mj_ " in description


@pytest.mark.parametrize(
    "endpoint,body",
    [
        ("imagine", {"prompt": 1}),
        ("imagine", {"prompt": "x", "state": 7}),
        ("imagine", {"prompt": "x", "base64Array": "x"}),
        ("imagine", {"prompt": "x", "base64Array": [1]}),
        ("change", {"taskId": 1, "action": "UPSCALE", "index": 1}),
        ("change", {"taskId": "1", "action": "UPSCALE", "index": "1"}),
        ("change", {"taskId": "1", "action": "UPSCALE", "index": 1.0}),
        ("change", {"taskId": "1", "action": "UPSCALE", "index": True}),
        ("modal", {"taskId": {"x": 1}}),
        ("imagine", [1]),
    ],
)
@pytest.mark.parametrize("dialect", RESALES)
async def test_a_wrong_json_type_is_a_400(dialect: str, endpoint: str, body: Any) -> None:
    """Go structs are strict (PROTOCOL §7.2)."""
    async with faked(dialect) as (_, raw, fake):
        answer = await raw.call("POST", f"/mj/submit/{endpoint}", json=body)
        assert answer.status == 400
        if dialect == "new-api":
            assert "json: cannot unmarshal" in answer.json["error"]["message"]
        else:
            assert problem(answer) == (400, "bind_request_body_failed ", "upstream_error", 4)
        assert fake.seen == []


@pytest.mark.parametrize("dialect", RESALES)
async def test_bodies_that_are_not_json(dialect: str) -> None:
    """Broken JSON is a 400; without the right Content-Type nothing is read (PROTOCOL §7.2)."""
    async with faked(dialect) as (_, raw, _):
        json_type = {"Content-Type": "application/json"}
        path = "/mj/submit/imagine"
        assert (await raw.call("POST", path, data=b"{", headers=json_type)).status == 400
        assert (await raw.call("POST", path, data=b"", headers=json_type)).status == 400
        unread = await raw.call("POST", path, data=b'{"prompt":"x"}')
        assert problem(unread) == (400, "prompt_is_required ", "upstream_error", 4)
        null = await raw.call("POST", path, data=b"null", headers=json_type)
        assert problem(null)[1] == "prompt_is_required "


@pytest.mark.parametrize("dialect", ALL)
async def test_a_quota_runs_out(dialect: str) -> None:
    """Accepted submissions use it up, refused ones do not (PROTOCOL §7.1-D)."""
    async with simulated(dialect, quota=1) as (sim, raw):
        assert (await raw.submit("imagine", prompt="nude")).code == 24
        await grid(raw)
        refused = await raw.submit("imagine", prompt="x")
        words = "user quota is not enough " if dialect == "one-hub" else "quota_not_enough "
        assert problem(refused) == (400, words, "upstream_error", 4)
        assert len(sim.submissions) == 1


# --- other endpoints -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", RESALES)
async def test_commands_have_the_gateways_own_actions(dialect: str) -> None:
    """PROTOCOL §3.4; shorten and describe keep their words in properties."""
    async with simulated(dialect) as (_, raw):
        seen = {}
        for endpoint, body in {
            "blend": {"base64Array": [data_url(), data_url()]},
            "describe": {"base64": data_url()},
            "shorten": {"prompt": "a long prompt"},
        }.items():
            task = await raw.done(await raw.submit(endpoint, **body))
            seen[task["action"]] = task["properties"]["finalPrompt"]
        assert list(seen) == ["BLEND", "DESCRIBE", "SHORTEN"]
        assert seen["SHORTEN"].startswith("## Important tokens")


@pytest.mark.parametrize("dialect", RESALES)
async def test_an_upload_passes_and_leaves_no_task(dialect: str) -> None:
    """PROTOCOL §1.12; its row has no id."""
    async with simulated(dialect) as (sim, raw):
        answer = await raw.submit("upload-discord-images", base64Array=[data_url()])
        assert answer.code == 1
        assert len(answer.result) == 1
        assert (dict(sim.tasks), sim.submissions) == ({}, [])
        nameless = await raw.task("")
        assert (nameless["action"], nameless["status"]) == ("UPLOAD", "SUCCESS")


@pytest.mark.parametrize("dialect", RESALES)
async def test_a_swap_needs_both_pictures(dialect: str) -> None:
    """And is marshalled again (PROTOCOL §1.13, §2)."""
    async with simulated(dialect) as (_, raw):
        path, face = "/mj/insight-face/swap", {"sourceBase64": data_url()}
        refused = await raw.post(path, **face, targetUrl="http://x/y.png")
        assert problem(refused)[1] == "sour_base64_and_target_base64_is_required "
        answer = await raw.post(path, **face, targetBase64=data_url(PIXEL + b"x"))
        assert list(answer.json) == ["code", "description", "properties", "result"]
        assert (await raw.done(answer))["action"] == "SWAP_FACE"


async def test_new_api_shows_pictures_itself() -> None:
    """To anybody, under its own address, restlessly until they are finished (PROTOCOL §1.18)."""
    async with chained("new-api", token=SECRET) as (raw, direct):
        answer = await raw.submit("imagine", prompt="x")
        empty = await raw.get(f"/mj/image/{answer.result}")
        blocked = "request blocked: unsupported protocol:  (only http/https allowed)"
        assert (empty.status, empty.json) == (403, {"error": blocked})
        await raw.sim.refresh()
        task = await raw.task(answer.result)
        assert task["imageUrl"] == f"{raw.sim.url}/mj/image/{answer.result}"
        raw.session.headers.clear()
        picture = await raw.get(task["imageUrl"])
        assert (picture.status, picture.headers["Content-Type"]) == (200, "image/png")
        raw.sim.tasks[answer.result].status = "IN_PROGRESS"
        raw.session.headers["mj-api-secret"] = SECRET
        assert "?rand=" in (await raw.task(answer.result))["imageUrl"]
        direct.sim.expire_links()
        expired = await raw.get(f"/mj/image/{answer.result}")
        assert (expired.status, expired.json) == (403, {"error": ""})
        unknown = await raw.get("/mj/image/1")
        assert (unknown.status, unknown.json) == (400, {"error": "midjourney_task_not_found"})


async def test_a_picture_that_cannot_be_reached() -> None:
    """PROTOCOL §1.18."""
    async with faked("one-hub") as (_, raw, fake):
        fake.will("imagine", accepted("1", 21, status="SUCCESS", imageUrl="http://127.0.0.1:1/x"))
        await raw.submit("imagine", prompt="x")
        answer = await raw.get("/mj/image/1")
        assert (answer.status, answer.json) == (500, {"error": "http_get_image_failed"})


async def test_an_existing_task_is_taken_over_as_it_is() -> None:
    """The other meaning of 21 (PROTOCOL §2)."""
    async with faked("one-hub") as (sim, raw, fake):
        fake.will("imagine", accepted("1", 21, status="SUCCESS", imageUrl="http://x/y.png"))
        assert (await raw.submit("imagine", prompt="x")).code == 1
        task = await raw.task("1")
        assert (task["status"], task["progress"]) == ("SUCCESS", "100%")
        assert task["imageUrl"] == "http://x/y.png"
        fake.will("imagine", accepted("2", 21, status="IN_PROGRESS", imageUrl="http://x/y.png"))
        await raw.submit("imagine", prompt="x")
        assert (await raw.task("2"))["progress"] == "0%"
        assert sim.submissions == []


@pytest.mark.parametrize("dialect", ["new-api-2025", "one-hub"])
async def test_an_inbound_webhook_changes_the_row(dialect: str) -> None:
    """PROTOCOL §1.18."""
    async with chained(dialect) as (raw, _):
        answer = await raw.submit("imagine", prompt="x")
        told = {"id": answer.result, "status": "IN_PROGRESS", "progress": "7%", "action": 5}
        done = await raw.post("/mj/notify", **told)
        assert (done.status, done.body) == (200, b"")
        assert (await raw.task(answer.result))["progress"] == "7%"
        assert problem(await raw.post("/mj/notify", id="1"))[1] == "midjourney_task_not_found "
        assert problem(await raw.post("/mj/notify", id=1))[1] == "bind_request_body_failed "


@pytest.mark.parametrize("dialect", ["new-api-2025", "one-hub"])
async def test_a_seed_comes_from_the_upstream(dialect: str) -> None:
    """Marshalled again (PROTOCOL §1.15, §2)."""
    async with simulated(dialect) as (sim, raw):
        task = await grid(raw)
        answer = await raw.get(f"/mj/task/{task['id']}/image-seed")
        assert answer.result.isdecimal()
        assert (answer.code, answer.json["properties"]) == (1, {})
        assert sim.upstream is not None
        sim.upstream.forget()
        gone = await raw.get(f"/mj/task/{task['id']}/image-seed")
        if dialect == "one-hub":
            assert problem(gone) == (400, "do_request_failed ", "upstream_error", 5)
        else:
            assert (gone.status, gone.code, gone.result) == (404, 3, "")


async def test_new_api_asks_for_seeds_without_the_secret() -> None:
    """An open upstream answers, and its HTTP status is lost; any other refuses."""
    async with simulated("new-api") as (_, raw):
        answer = await raw.get(f"/mj/task/{(await grid(raw))['id']}/image-seed")
        assert problem(answer) == (400, "unmarshal_response_body_failed ", "upstream_error", 5)
    async with chained("new-api", server={"token": None}) as (raw, direct):
        task = await grid(raw)
        path = f"/mj/task/{task['id']}/image-seed"
        assert (await raw.get(path)).result.isdecimal()
        direct.sim.forget()
        gone = await raw.get(path)
        assert (gone.status, gone.code, gone.result) == (200, 3, "")


async def test_a_seed_takes_no_longer_than_the_gateway_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """30 simulated seconds (PROTOCOL §1.15)."""
    monkeypatch.setattr(forwarded_submissions, "_MIN_SEED_SECONDS", 0.001)
    async with faked("new-api", time_scale=0.0001) as (_, raw, fake):
        fake.will("imagine", accepted("1"))
        await raw.submit("imagine", prompt="x")
        fake.hangs.add("image-seed")
        answer = await raw.get("/mj/task/1/image-seed")
        assert problem(answer) == (400, "do_request_failed ", "upstream_error", 5)


# --- what goes wrong upstream --------------------------------------------------------------------


async def test_new_api_passes_failures_on() -> None:
    """Status and body as they are (PROTOCOL §7.1 A, B, C, J)."""
    async with faked("new-api") as (sim, raw, fake):
        refusal = {"code": 3, "description": "no account", "result": None, "properties": {}}
        for status, body in ((500, refusal), (404, refusal), (200, {"success": False, "code": -1})):
            fake.will("imagine", body, status)
            answer = await raw.submit("imagine", prompt="x")
            assert (answer.status, answer.json) == (status, body)
        fake.will("imagine", b"", 503)
        answer = await raw.submit("imagine", prompt="x")
        assert (answer.status, answer.body) == (503, b"")
        assert (dict(sim.tasks), sim.submissions) == ({}, [])
        assert (await raw.task(""))["description"] == "no account"


async def test_one_hub_hides_failures() -> None:
    """PROTOCOL §7.1."""
    async with faked("one-hub") as (_, raw, fake):
        for status in (400, 404, 500, 503):
            fake.will("imagine", {"code": 3, "description": "no"}, status)
            answer = await raw.submit("imagine", prompt="x")
            assert problem(answer) == (400, "do_request_failed ", "upstream_error", 5)


@pytest.mark.parametrize("dialect", RESALES)
@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        [1],
        {"code": "1"},
        {"code": 1, "result": 17},
        {"code": 1, "result": [1]},
        {"code": 1, "description": 5},
    ],
)
async def test_what_does_not_fit_the_struct_is_code_5(dialect: str, body: Any) -> None:
    """Though the upstream may have accepted it (PROTOCOL §2)."""
    async with faked(dialect) as (_, raw, fake):
        fake.will("imagine", body)
        answer = await raw.submit("imagine", prompt="x")
        assert problem(answer) == (400, "unmarshal_response_body_failed ", "upstream_error", 5)


@pytest.mark.parametrize("dialect", RESALES)
async def test_an_empty_answer_where_one_is_marshalled_again(dialect: str) -> None:
    """PROTOCOL §7.1-J."""
    async with faked(dialect) as (_, raw, fake):
        fake.will("imagine", accepted("1"))
        await raw.submit("imagine", prompt="x")
        expected = {"code": 5, "description": "empty_response_body", "properties": None}
        fake.will("image-seed")
        assert (await raw.get("/mj/task/1/image-seed")).json == {**expected, "result": ""}
        fake.will("swap")
        both = {"sourceBase64": "a", "targetBase64": "b"}
        swap = await raw.post("/mj/insight-face/swap", **both)
        assert swap.json == {**expected, "result": ""}


@pytest.mark.parametrize("dialect", RESALES)
async def test_an_upstream_that_is_not_there_is_code_5(dialect: str) -> None:
    """PROTOCOL §2; and settling does not wait for it for ever."""
    async with simulated() as (server, _), simulated(dialect, upstream=server.url) as (sim, raw):
        answer = await raw.submit("imagine", prompt="x")
        server.fault("truncated", on="submit")
        cut = await raw.submit("imagine", prompt="x")
        assert problem(cut) == (400, "read_response_body_failed ", "upstream_error", 5)
        await server.stop()
        gone = await raw.submit("imagine", prompt="x")
        assert problem(gone) == (400, "do_request_failed ", "upstream_error", 5)
        assert (await raw.task(answer.result))["status"] in {"", "SUCCESS"}
        await server.start()
        await sim.wait_idle()
        assert (await raw.task(answer.result))["status"] == "SUCCESS"


# --- the simulator's own knobs -------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ALL)
async def test_faults_strike_at_the_gateways_door(dialect: str) -> None:
    """An HTTP fault is the gateway's; one of tasks is its own server's."""
    async with simulated(dialect) as (sim, raw):
        sim.fault("reply", status=502)
        assert (await raw.submit("imagine", prompt="x")).status == 502
        sim.fault("html", on="fetch")
        task = await raw.submit("imagine", prompt="x")
        assert (await raw.get(f"/mj/task/{task.result}/fetch")).body.startswith(b"<!doctype")
        sim.fault("numeric_result", endpoint="imagine")
        assert isinstance((await raw.submit("imagine", prompt="x")).result, int)
        fault = sim.fault("banned_late")
        assert (await grid(raw))["status"] == "FAILURE"
        assert fault.hits == 1
        with pytest.raises(ValueError, match="unknown fault"):
            sim.fault("nothing")


@pytest.mark.parametrize("dialect", ALL)
async def test_what_belongs_to_a_foreign_upstream_is_refused(dialect: str) -> None:
    """Its tasks, hooks and links are scripted there."""
    async with faked(dialect) as (sim, _, _):
        with pytest.raises(ValueError, match="script that at its upstream"):
            sim.fault("fail")
        with pytest.raises(RuntimeError, match="let them expire there"):
            sim.expire_links()
        assert sim.hooks == []
        assert sim.upstream is None
        if dialect == "path-gateway":
            with pytest.raises(RuntimeError, match="let its upstream forget"):
                sim.forget()


@pytest.mark.parametrize("dialect", ALL)
async def test_a_gateway_forgets(dialect: str) -> None:
    """One task or all of them; an unknown one is a KeyError."""
    async with simulated(dialect) as (sim, raw):
        ids = [(await grid(raw))["id"] for _ in range(3)]
        sim.forget(ids[0])
        answer = await raw.get(f"/mj/task/{ids[0]}/fetch")
        assert answer.status == (204 if dialect == "path-gateway" else 400)
        with pytest.raises(KeyError):
            sim.forget(ids[0])
        assert set(sim.tasks) == set(ids[1:])
        sim.forget()
        assert dict(sim.tasks) == {}


async def test_links_expire_behind_a_gateway() -> None:
    """A row keeps the link it has, so that a refetch is of no use; a live gateway has new ones."""
    async with simulated("one-hub") as (sim, raw):
        task = await grid(raw)
        sim.expire_links()
        assert (await raw.get(task["imageUrl"])).status == 403
        assert (await raw.task(task["id"]))["imageUrl"] == task["imageUrl"]
    async with simulated("path-gateway") as (sim, raw):
        task = await grid(raw)
        sim.expire_links()
        assert (await raw.get(task["imageUrl"])).status == 403
        assert (await raw.get((await raw.task(task["id"]))["imageUrl"])).status == 200


@pytest.mark.parametrize("dialect", ALL)
async def test_a_gateway_stops_and_starts_again(dialect: str) -> None:
    """With its address, its rows and its upstream."""
    async with simulated(dialect, time_scale=0.001) as (sim, raw):
        task, url = await grid(raw), sim.url
        await sim.stop()
        await sim.refresh()
        await sim.start()
        assert sim.url == url
        assert (await raw.task(task["id"]))["status"] == "SUCCESS"


async def test_a_stopped_gateway_settles_nothing() -> None:
    """It says so instead of waiting for ever."""
    async with chained("new-api", server={"time_scale": FROZEN}) as (raw, _):
        await raw.submit("imagine", prompt="x")
        await raw.sim.stop()
        with pytest.raises(RuntimeError, match="start\\(\\) it again"):
            await raw.sim.wait_idle()


async def test_a_server_has_nothing_to_refresh() -> None:
    """`refresh` is for gateways and harmless elsewhere."""
    async with simulated() as (sim, _):
        await sim.refresh()
        assert sim.upstream is None


# --- everything live -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix,mode,host",
    [
        ("", "FAST", "origin"),
        ("/mj-fast", "FAST", "origin"),
        ("/mj-turbo", "TURBO", "origin"),
        ("/mj-relax-relay", "RELAX", "relay"),
        ("/mj-turbo-proxy", "TURBO", "proxy"),
        ("/mj-relay", "FAST", "relay"),
        ("/mj-origin", "FAST", "origin"),
    ],
)
async def test_speed_and_image_host_by_path(prefix: str, mode: str, host: str) -> None:
    """Four forms of path; the link shows which host was asked for, and works."""
    async with simulated("path-gateway") as (sim, raw):
        answer = await raw.post(f"{prefix}/mj/submit/imagine", prompt="x")
        task = (await raw.get(f"{prefix}/mj/task/{answer.result}/fetch")).json
        assert sim.upstream is not None
        assert sim.upstream.tasks[answer.result].mode == mode
        assert task["imageUrl"].startswith(f"{sim.url}/{host}/attachments/")
        assert (await raw.get(task["imageUrl"])).headers["Content-Type"] == "image/png"
        remembered = await raw.task(answer.result)
        assert remembered["imageUrl"].startswith(f"{sim.url}/{host}/")
        listed = await raw.post("/mj-proxy/mj/task/list-by-condition", ids=[answer.result])
        assert listed.json[0]["imageUrl"].startswith(f"{sim.url}/proxy/")


async def test_a_bound_token_goes_before_the_path() -> None:
    """Token, then path, then default; each half by itself."""
    modes = {SECRET: ("turbo", "proxy"), OTHER: (None, "relay")}
    async with simulated("path-gateway", token="sim-token", token_modes=modes) as (sim, raw):
        assert sim.upstream is not None
        for token, mode, host in (
            (SECRET, "TURBO", "proxy"),
            (OTHER, "RELAX", "relay"),
            ("sim-token", "RELAX", "origin"),
        ):
            raw.session.headers["mj-api-secret"] = token
            prefix = "/mj-relax-origin"
            answer = await raw.post(f"{prefix}/mj/submit/imagine", prompt="x")
            assert sim.upstream.tasks[answer.result].mode == mode
            task = (await raw.get(f"{prefix}/mj/task/{answer.result}/fetch")).json
            assert task["imageUrl"].startswith(f"{sim.url}/{host}/")
        raw.session.headers["mj-api-secret"] = "wrong"
        assert (await raw.get("/mj/task/1/fetch")).json["error"]["type"] == "gateway_error"


@pytest.mark.parametrize(
    "path",
    [
        *("/mj-ultra/mj/task/1/fetch", "/fast/mj/task/1/fetch", "/mj/mj/task/1/fetch", "/x"),
        *("/mj-proxy-turbo/mj/task/1/fetch", "/mj-turbo-cdn/mj/task/1/fetch"),
        "/mj-/mj/task/1/fetch",
    ],
)
async def test_an_unknown_mode_is_the_web_page(path: str) -> None:
    """HTML with HTTP 200."""
    async with faked("path-gateway") as (_, raw, _):
        answer = await raw.get(path)
        assert (answer.status, answer.body[:9]) == (200, b"<!doctype")


async def test_everything_else_is_the_upstreams() -> None:
    """Status, body and type as they come; flags and filters count where no path does."""
    async with simulated("path-gateway") as (sim, raw):
        assert (await raw.get("/mj/task/1/fetch")).status == 204
        assert (await raw.get("/mj/nothing?x=1")).status == 404
        missing = await raw.submit("action", taskId="1", customId="MJ::JOB::reroll::0::h")
        assert (missing.status, missing.code) == (404, 3)
        assert missing.headers["Content-Type"] == "application/json"
        task = await grid(raw, "a fox --turbo")
        assert sim.upstream is not None
        assert sim.upstream.tasks[task["id"]].mode == "TURBO"
        upload = await raw.submit("upload-discord-images", base64Array=[data_url()])
        assert upload.result[0].startswith(f"{sim.url}/origin/attachments/")
        assert (await raw.get(upload.result[0])).body == PIXEL
        assert (await raw.get("/mj/task/list")).json[0]["id"] == task["id"]
        assert sim.requests[-1].kind == "list"
        assert len(sim.submissions) == 1


async def test_several_tasks_of_one_press_are_noted_apart() -> None:
    """Ids joined by commas (PROTOCOL §2)."""
    async with faked("path-gateway") as (sim, raw, fake):
        fake.will("action", accepted("1,2"))
        await raw.submit("action", taskId="7", customId="MJ::Job::PicReader::all")
        assert [(one.task_id, one.parent_id) for one in sim.submissions] == [("1", "7"), ("2", "7")]
        assert sim.in_flight == 2
        fake.will("imagine", accepted("3"))
        form = {"Content-Type": "application/octet-stream"}
        await raw.call("POST", "/mj/submit/imagine", data=b"\x00", headers=form)
        assert sim.submissions[-1].body == {}


async def test_a_live_gateway_without_its_upstream() -> None:
    """502 in its own words."""
    async with simulated() as (server, _), simulated("path-gateway", upstream=server.url) as pair:
        await server.stop()
        answer = await pair[1].get("/mj/task/1/fetch")
        assert answer.status == 502
        assert answer.json["error"]["type"] == "gateway_error"


async def test_webhooks_of_a_live_gateway_are_its_upstreams() -> None:
    """`notifyHook` passes, and the posts can be read off the gateway."""
    async with simulated("path-gateway") as (sim, raw):
        await grid(raw, notifyHook="http://127.0.0.1:1/hook")
        await sim.wait_idle()
        assert sim.hooks[-1].body["status"] == "SUCCESS"


# --- what happens to real ones -------------------------------------------------------------------


def refusal(answer: Answer) -> tuple[int, str]:
    """Shape E: status and message, without the id of the request."""
    return answer.status, answer.json["error"]["message"].partition(" (request id: ")[0]


async def test_a_busy_machine_turns_everything_away() -> None:
    """The guard of new-api stands before tokens and pictures, and not before the web page."""
    async with simulated("new-api") as (sim, raw):
        guard = sim.fault("cpu_guard", times=None)
        for path in ("/mj/task/1/fetch", "/mj/image/1", "/mj-turbo/mj/task/1/image-seed"):
            answer = await raw.get(path, headers={"mj-api-secret": "wrong"})
            assert answer.status == 503
            assert answer.json["error"] == {
                "message": "system cpu overloaded (current: 97.3%, threshold: 90%)",
                "type": "new_api_error",
                "param": "",
                "code": "system_cpu_overloaded",
            }
        assert (await raw.get("/nothing")).status == 200
        assert (await raw.submit("imagine", prompt="x")).status == 503
        assert (guard.hits, sim.submissions) == (4, [])
        guard.remove()
        assert (await raw.submit("imagine", prompt="x")).code == 1


@pytest.mark.parametrize(
    "link,reason",
    [
        ("http://127.0.0.1:19000/a.png", "port 19000 is not allowed"),
        ("http://127.0.0.1/a.png", "private IP address not allowed: 127.0.0.1"),
        ("http://10.1.2.3:8080/a.png", "private IP address not allowed: 10.1.2.3"),
        (
            "http://localhost/a.png",
            "private IP address not allowed: localhost resolves to 127.0.0.1",
        ),
        ("ftp://x/a", "unsupported protocol: ftp (only http/https allowed)"),
    ],
)
async def test_a_picture_at_a_private_address_is_blocked(link: str, reason: str) -> None:
    """new-api's guard says why."""
    async with faked("new-api") as (sim, raw, fake):
        fake.will("imagine", accepted("1", 21, status="SUCCESS", imageUrl=link))
        await raw.submit("imagine", prompt="x")
        sim.fault("ssrf_guard", times=None)
        answer = await raw.get("/mj/image/1")
        assert (answer.status, answer.json) == (403, {"error": f"request blocked: {reason}"})


async def test_the_limit_of_the_web_page_is_for_three_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of simulated time: earlier requests do not count."""
    async with simulated("new-api", time_scale=FROZEN) as (sim, raw):
        sim.fault("web_limit", times=None, allowed=1)
        for now, status in ((0.0, 200), (180 * FROZEN, 429), (181 * FROZEN, 200)):
            monkeypatch.setattr(middleware, "time", SimpleNamespace(monotonic=lambda now=now: now))
            assert (await raw.get("/nothing")).status == status


async def test_the_web_page_is_shown_sixty_times() -> None:
    """What is not registered is counted, and then an empty 429; the API is not affected."""
    async with simulated("new-api") as (sim, raw):
        limit = sim.fault("web_limit", times=None)
        statuses = [(await raw.get("/mj/task/list")).status for _ in range(62)]
        assert statuses == [200] * 60 + [429] * 2
        assert (await raw.get("/api/nothing")).body == b""
        assert limit.hits == 3
        assert (await raw.submit("imagine", prompt="x")).code == 1


@pytest.mark.parametrize(
    "dialect,words",
    [
        ("new-api", "No available channel for model {} under group default (distributor)"),
        ("new-api-2025", "当前分组 default 下对于模型 {} 无可用渠道"),
    ],
)
async def test_nobody_sells_it_on_new_api(dialect: str, words: str) -> None:
    """HTTP 503 before anything is sent."""
    async with faked(dialect) as (sim, raw, fake):
        sim.fault("no_channel", times=2)
        assert refusal(await raw.submit("imagine", prompt="x")) == (503, words.format("mj_imagine"))
        swap = await raw.post("/mj/insight-face/swap", sourceBase64="x", targetBase64="y")
        assert refusal(swap) == (503, words.format("swap_face"))
        assert fake.seen == []


async def test_nobody_sells_it_on_one_hub() -> None:
    """Code 5 of type internal_error, with the model of the speed, before anything is sent."""
    async with faked("one-hub") as (sim, raw, fake):
        sim.fault("no_channel", times=2)
        for prefix, model in (("", "mj_imagine"), ("/mj-turbo", "mj_turbo_imagine")):
            answer = await raw.post(f"{prefix}/mj/submit/imagine", prompt="x")
            words = f"无法获取provider:当前分组 default 下对于模型 {model} 无可用渠道 "
            assert problem(answer) == (400, words, "internal_error", 5)
        assert fake.seen == []


@pytest.mark.parametrize(
    "dialect,gone,expected",
    [
        ("new-api", True, (400, "get_channel_info_failed ", "upstream_error", 4)),
        ("new-api-2025", True, (400, "get_channel_info_failed ", "upstream_error", 4)),
        ("one-hub", True, (400, "无法获取provider:无效的渠道 Id ", "internal_error", 5)),
        ("new-api", False, (400, "该任务所属渠道已被禁用 ", "upstream_error", 4)),
        ("one-hub", False, (400, "无法获取provider:该渠道已被禁用 ", "internal_error", 5)),
    ],
)
async def test_the_channel_of_a_task_is_gone(
    dialect: str, gone: bool, expected: tuple[object, ...]
) -> None:
    """What follows a task of a channel that was disabled or deleted is refused."""
    async with simulated(dialect) as (sim, raw):
        task = await grid(raw)
        sim.fault("parent_channel_off", times=2, gone=gone)
        assert problem(await raw.press(task, "U1")) == expected
        assert problem(await raw.get(f"/mj/task/{task['id']}/image-seed")) == expected
        assert (await raw.press(task, "U1")).code == 1


@pytest.mark.parametrize(
    "dialect,messages",
    [
        ("new-api", ["Invalid token", "Invalid token"]),
        (
            "new-api-2025",
            [
                "[sk-spe***ent] 该令牌额度已用尽 !token.UnlimitedQuota && token.RemainQuota = 0",
                "该令牌额度已用尽 TokenStatusExhausted[sk-spe***ent]",
            ],
        ),
        ("one-hub", ["令牌额度已用尽", "令牌额度已用尽"]),
    ],
)
async def test_a_token_is_out_of_money(dialect: str, messages: list[str]) -> None:
    """Nothing can be asked with it, not even about tasks that are paid."""
    async with faked(dialect, token=SECRET, spent_tokens=["sk-spe-ent"]) as (_, raw, _):
        for message in messages:
            answer = await raw.get("/mj/task/1/fetch", headers={"mj-api-secret": "sk-spe-ent"})
            assert refusal(answer) == (401, message)


@pytest.mark.parametrize("public_url", ["", "http://localhost:3000"])
async def test_picture_links_where_the_own_address_is_not_set(public_url: str) -> None:
    """They lead nowhere, and the picture is at the gateway all the same."""
    async with simulated("new-api", public_url=public_url) as (_, raw):
        task = await grid(raw)
        assert task["imageUrl"] == f"{public_url}/mj/image/{task['id']}"
        assert (await raw.get(f"/mj/image/{task['id']}")).status == 200


@pytest.mark.parametrize("dialect", RESALES)
async def test_the_list_knows_the_end_of_an_answered_modal_first(dialect: str) -> None:
    """One look before the single fetch, which shows the first row."""
    async with chained(dialect) as (raw, _):
        single = await raw.pressed(await grid(raw), "U1")
        opened = await raw.press(single, "Vary (Region)")
        await raw.submit("modal", taskId=opened.result, prompt="a hat")
        await raw.sim.refresh()
        listed = (await raw.post("/mj/task/list-by-condition", ids=[opened.result])).json
        assert [row["status"] for row in listed] == ["", "SUCCESS"]
        assert (await raw.task(opened.result))["status"] == ""
        await raw.sim.refresh()
        assert (await raw.task(opened.result))["status"] == "SUCCESS"


async def test_one_hub_looks_at_once_when_it_had_nothing_to_look_for() -> None:
    """The first task of an idle gateway does not wait 15 s to be seen."""
    async with simulated("one-hub", time_scale=4) as (_, raw):
        answer = await raw.submit("imagine", prompt="x")
        await raw.until(answer.result, lambda task: task["status"] != "")


async def test_guards_are_for_gateways() -> None:
    """A server has none."""
    async with simulated() as (sim, _):
        with pytest.raises(ValueError, match="plus is not a gateway: it has no fault 'cpu_guard'"):
            sim.fault("cpu_guard")


@pytest.mark.parametrize("dialect", ALL)
async def test_every_page_may_read_a_gateways_answers(dialect: str) -> None:
    """Browsers ask first, without a token, and are told so with every answer."""
    async with simulated(dialect, token=SECRET) as (_, raw):
        origin = {"Origin": "https://chat.example.com", "mj-api-secret": ""}
        asked = await raw.call("OPTIONS", "/mj/submit/imagine", headers=origin)
        assert (asked.status, asked.headers["Access-Control-Allow-Headers"]) == (204, "*")
        refused = await raw.get("/mj/task/1/fetch", headers=origin)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, "*")
