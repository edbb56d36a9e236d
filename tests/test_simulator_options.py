"""Options of the simulator: rare faults of real servers, limits and browsers."""

from __future__ import annotations

import logging
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mjasync.simulator import Simulator
from mjasync.simulator.bounded_log import BoundedLog
from support.loopback import serving
from support.raw_http import FROZEN, simulated

# --- troubles of the original --------------------------------------------------------------------


async def test_two_tasks_with_one_id() -> None:
    """`id_collision`: the second task gets the first one's id, and replaces it."""
    async with simulated("original") as (sim, raw):
        first = await raw.submit("imagine", prompt="a fox", state="one")
        sim.fault("id_collision")
        second = await raw.submit("imagine", prompt="an owl", state="two")
        assert second.result == first.result
        task = await raw.task(first.result)
        assert (task["prompt"], task["state"]) == ("an owl", "two")
        assert len(sim.submissions) == 2


@pytest.mark.parametrize("order", [("VARIATION", "REROLL"), ("REROLL", "VARIATION")])
async def test_a_reroll_is_answered_with_the_picture_of_a_variation(order: tuple[str, str]) -> None:
    """`crossed_pictures`: the variation never ends by itself and times out."""
    async with simulated("original", time_scale=0.002) as (sim, raw):
        grid = await raw.grid()
        fault = sim.fault("crossed_pictures")
        ids = {}
        for action in order:
            answer = await raw.submit("change", taskId=grid["id"], action=action, index=1)
            ids[action] = answer.result
        assert fault.hits == 1
        await sim.wait_idle()
        reroll, variation = sim.tasks[ids["REROLL"]], sim.tasks[ids["VARIATION"]]
        assert reroll.status == "SUCCESS"
        assert reroll.image is variation.image
        assert (variation.status, variation.fail_reason) == ("FAILURE", "任务超时")


async def test_a_variation_in_the_queue_can_be_crossed_too() -> None:
    """`crossed_pictures`: the variation has not started yet, and will stall."""
    async with simulated("original", concurrency=1) as (sim, raw):
        grid = await raw.grid()
        sim.fault("crossed_pictures")
        sim._engine.time_scale = FROZEN
        await raw.submit("imagine", prompt="the task that runs")
        changes = [
            await raw.submit("change", taskId=grid["id"], action=action, index=1)
            for action in ("VARIATION", "REROLL")
        ]
        variation, reroll = (sim.tasks[answer.result] for answer in changes)
        assert reroll.image is variation.image
        assert (variation.status, variation.outcome.kind) == ("NOT_START", "stall")


async def test_changes_of_one_grid_have_their_own_pictures() -> None:
    """Without the fault, or with different grids, each has its own picture."""
    async with simulated("original", time_scale=0.001) as (sim, raw):
        one, other = await raw.grid(), await raw.grid("an owl")
        fault = sim.fault("crossed_pictures")
        for grid, action in ((one, "VARIATION"), (other, "REROLL")):
            await raw.submit("change", taskId=grid["id"], action=action, index=1)
        await sim.wait_idle()
        assert {task.status for task in sim.tasks.values()} == {"SUCCESS"}
        assert fault.hits == 0


async def test_an_account_disabled_while_a_task_runs() -> None:
    """`account_disabled`: the task stays IN_PROGRESS, and is not in the queue."""
    async with simulated("original") as (sim, raw):
        sim.fault("account_disabled")
        task = await raw.grid()
        assert task["status"] == "IN_PROGRESS"
        assert (await raw.get("/mj/task/queue")).json == []


async def test_a_ghost_in_the_queue() -> None:
    """`queue_ghost`: the queue still shows a task that has failed."""
    async with simulated("original") as (sim, raw):
        sim.fault("queue_ghost")
        task = await raw.grid()
        (ghost,) = (await raw.get("/mj/task/queue")).json
        assert (ghost["id"], ghost["status"]) == (task["id"], "FAILURE")


async def test_failures_by_exception_have_no_start() -> None:
    """The start time is set after the request to Midjourney, unless that raises."""
    async with simulated("original") as (sim, raw):
        sim.fault("fail", exception=True, reason="timed out")
        task = await raw.grid()
        assert task["failReason"] == "[Internal Server Error] timed out"
        assert (task["status"], task["startTime"], task["progress"]) == ("FAILURE", None, "")


@pytest.mark.parametrize(
    "fault,text",
    [({"at": 0}, "0%"), ({"at": 7, "progress": "Paused"}, "Paused"), ({"at": 7}, "7%")],
)
async def test_progress_may_be_any_text(fault: dict[str, Any], text: str) -> None:
    """`stall` may replace the progress where it halts."""
    async with simulated("original") as (sim, raw):
        sim.fault("stall", for_ever=True, **fault)
        assert (await raw.grid())["progress"] == text


async def test_progress_of_the_original_is_not_always_a_whole_percentage() -> None:
    """Texts of Midjourney are passed on unchanged."""
    async with simulated("original", time_scale=0) as (sim, raw):
        seen = []
        sim._engine.on_change = lambda task: seen.append(
            sim._backend._serializer.format_progress(task)
        )
        await raw.grid()
        assert {"Waiting to start", "46.5%", "100%"} <= {*seen}


# --- connections ---------------------------------------------------------------------------------


async def test_a_connection_is_closed_after_some_requests() -> None:
    """`close_after`: the last response announces it, and the next request opens a connection."""
    async with simulated("original", close_after=3) as (_, raw):
        said = [
            (await raw.get("/mj/task/1/fetch")).headers.get("Connection") == "close"
            for _ in range(7)
        ]
        assert said == [False, False, True, False, False, True, False]


@pytest.mark.parametrize("options", [{"close_after": 0}, {"record_limit": 0}, {"hooks": "nowhere"}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    """They are refused when the simulator is created."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Simulator(**options)


# --- the record ----------------------------------------------------------------------------------


async def test_the_record_has_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    """The oldest are dropped and counted, and the log has one warning."""
    with caplog.at_level(logging.WARNING, "mjasync.simulator"):
        async with simulated(record_limit=5) as (sim, raw):
            for number in range(20):
                await raw.submit("imagine", prompt=f"x {number}")
            assert [bought.prompt for bought in sim.submissions] == [
                f"x {n}" for n in range(15, 20)
            ]
            assert (len(sim.requests), sim.requests.dropped) == (5, 15)
    assert len([record for record in caplog.records if "record_limit" in record.message]) == 2


def test_a_record_without_a_bound_keeps_everything() -> None:
    """None means no maximum."""
    record: BoundedLog[int] = BoundedLog("numbers", None)
    for number in range(1000):
        record.append(number)
    assert (len(record), record.dropped) == (1000, 0)


# --- webhooks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://192.0.2.1/hook", "http://hooks.invalid/", "http://[::2]/"])
async def test_webhooks_stay_on_this_machine(url: str) -> None:
    """They are recorded as withheld."""
    async with simulated() as (sim, raw):
        await raw.done(await raw.submit("imagine", prompt="x", notifyHook=url))
        assert sim.hooks
        assert all(post.is_withheld and post.status is None for post in sim.hooks)


async def test_webhooks_may_go_to_any_host_with_the_option() -> None:
    """`hooks="any"` sends them; a redirect is not followed."""
    async with simulated(hooks="any") as (sim, raw):
        await raw.done(await raw.submit("imagine", prompt="x", notifyHook="http://hooks.invalid/"))
        assert sim.hooks
        assert not any(post.is_withheld for post in sim.hooks)


async def test_a_webhook_is_not_led_elsewhere() -> None:
    """A receiver on loopback cannot redirect it to another host."""
    asked = []

    async def redirect(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(redirect) as url, simulated() as (sim, raw):
        await raw.done(await raw.submit("imagine", prompt="x", notifyHook=f"{url}/hook"))
        assert {post.status for post in sim.hooks} == {307}
    assert {*asked} == {"/hook"}


# --- browsers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dialect,works", [("plus", True), ("open-plus", True), ("new-api", True), ("original", False)]
)
async def test_a_web_page_elsewhere_can_be_a_client(dialect: str, works: bool) -> None:
    """The preflight request of a browser with a token, and its result."""
    origin = "https://web.example"
    asks = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,mj-api-secret",
    }
    async with (
        Simulator(dialect, token="k" * 48, time_scale=FROZEN, draw=False) as sim,
        aiohttp.ClientSession() as session,
        session.options(f"{sim.url}/mj/submit/imagine", headers=asks) as answer,
    ):
        allowed = answer.headers.get("Access-Control-Allow-Origin") in {"*", origin}
        named = answer.headers.get("Access-Control-Allow-Headers", "")
        assert (
            answer.ok and allowed and named in {"*", asks["Access-Control-Request-Headers"]}
        ) is works


async def test_a_preflight_without_headers_allows_none() -> None:
    """Only the requested headers are allowed."""
    asks = {"Origin": "https://web.example", "Access-Control-Request-Method": "GET"}
    async with simulated() as (_, raw):
        answer = await raw.call("OPTIONS", "/mj/task/1/fetch", headers=asks)
        assert (answer.status, answer.headers["Access-Control-Allow-Methods"]) == (204, "GET")
        assert "Access-Control-Allow-Headers" not in answer.headers
