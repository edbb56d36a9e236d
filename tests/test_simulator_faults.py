"""The faults of the simulator: each kind, and how often it occurs."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest

from mjasync.simulator.faults import FAULT_KINDS, FaultScript
from support.raw_http import FROZEN, simulated
from support.waiting import eventually

KNOWN = [
    ("GET /mj/task/1/fetch", "fetch", "fetch"),
    ("GET /mj/task/list", "list", "list"),
    ("GET /mj/task/queue", "list", "queue"),
    ("POST /mj/task/list-by-condition", "list", "list-by-condition"),
    ("POST /mj/task/list-by-ids", "list", "list-by-ids"),
    ("GET /attachments/x.png", "image", "image"),
    ("GET /mj/task/1/image-seed", "other", "image-seed"),
    ("POST /mj/task/1/cancel", "other", "cancel"),
    ("GET /mj/account/list", "other", "account-list"),
    ("POST /mj/account/query", "other", "account-query"),
    ("GET /mj/account/1/fetch", "other", "account-fetch"),
]
"""Every read by its path, with its kind and its endpoint."""


@pytest.mark.parametrize(
    "options,status,body,content_type",
    [
        ({}, 500, b"", None),
        ({"status": 503, "body": "busy"}, 503, b"busy", "text/plain; charset=utf-8"),
        ({"status": 400, "body": {"a": "菜"}}, 400, '{"a": "菜"}'.encode(), "application/json"),
        ({"body": [1]}, 500, b"[1]", "application/json"),
        ({"status": 200, "body": b"\x00\xff"}, 200, b"\x00\xff", "application/octet-stream"),
        ({"body": b"x", "content_type": "text/html"}, 500, b"x", "text/html"),
        ({"status": 204}, 204, b"", None),
    ],
)
async def test_reply_answers_anything_without_doing_anything(
    options: dict[str, object], status: int, body: bytes, content_type: str | None
) -> None:
    """Any status, body and type; nothing is accepted."""
    async with simulated() as (sim, raw):
        sim.fault("reply", **options)
        answer = await raw.submit("imagine", prompt="x")
        assert (answer.status, answer.body) == (status, body)
        assert answer.headers.get("Content-Type") == content_type
        assert (sim.submissions, sim.requests[0].status) == ([], status)
        assert (await raw.submit("imagine", prompt="x")).code == 1


async def test_reply_sends_the_headers_it_is_given() -> None:
    """Retry-After, for instance."""
    async with simulated() as (sim, raw):
        sim.fault("reply", on="any", status=429, headers={"Retry-After": "7"})
        answer = await raw.get("/mj/task/1/fetch")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_html_is_a_page_of_an_application() -> None:
    """200 with HTML, as gateways answer unknown paths (PROTOCOL §7.1-K)."""
    async with simulated() as (sim, raw):
        sim.fault("html", on="fetch")
        answer = await raw.get("/mj/task/1/fetch")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert answer.body.startswith(b"<!doctype html>")


async def test_truncated_promises_more_than_it_sends() -> None:
    """The submission is accepted, and the response is incomplete."""
    async with simulated() as (sim, raw):
        sim.fault("truncated")
        with pytest.raises(aiohttp.ClientPayloadError):
            await raw.submit("imagine", prompt="x")
        assert len(sim.submissions) == 1
        assert sim.requests[0].status == 200


async def test_reset_before_accepts_nothing() -> None:
    """The connection is reset before the request is handled."""
    async with simulated() as (sim, raw):
        sim.fault("reset_before")
        with pytest.raises(aiohttp.ClientError):
            await raw.submit("imagine", prompt="x")
        assert (sim.submissions, sim.requests[0].status) == ([], None)


async def test_reset_after_accepts_and_says_nothing() -> None:
    """The task exists, but the client receives no id."""
    async with simulated() as (sim, raw):
        sim.fault("reset_after")
        with pytest.raises(aiohttp.ClientError):
            await raw.submit("imagine", prompt="x", state="mine")
        assert [s.state for s in sim.submissions] == ["mine"]
        assert sim.requests[0].status is None
        assert (await raw.submit("imagine", prompt="x")).code == 1


@pytest.mark.parametrize("ends_first", ["client", "server"])
async def test_silent_after_accepts_and_never_answers(ends_first: str) -> None:
    """The request ends when the client hangs up, or when the simulator stops."""
    async with simulated() as (sim, raw):
        sim.fault("silent_after")
        submission = asyncio.create_task(raw.submit("imagine", prompt="x", state="mine"))
        await eventually(lambda: bool(sim.submissions))
        assert sim.requests[0].status is None
        if ends_first == "client":
            submission.cancel()
        else:
            await sim.stop()
        with pytest.raises((asyncio.CancelledError, aiohttp.ClientError)):
            await submission
        await eventually(lambda: not sim._active_requests)


async def test_a_stopped_simulator_cancels_the_responses_of_closed_connections() -> None:
    """A slow response continues after its client has gone, but not after a stop."""
    async with simulated() as (sim, raw):
        sim.fault("slow_body", on="any", gap=FROZEN)
        response = asyncio.create_task(raw.get("/mj/task/list"))
        await eventually(lambda: bool(sim.requests))
        response.cancel()
        with pytest.raises(asyncio.CancelledError):
            await response
        server = sim._runner and sim._runner.server
        assert server is not None
        await eventually(lambda: not any(each.transport for each in server.connections))
        assert len(sim._active_requests) == 1
        await sim.stop()
        assert not sim._active_requests


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
async def test_a_cut_is_a_real_tcp_reset(kind: str) -> None:
    """The connection is aborted, not closed in an orderly way."""
    async with simulated() as (sim, _):
        sim.fault(kind, on="any")
        address = sim.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /mj/task/1/fetch HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_slow_body_arrives_in_the_end() -> None:
    """Byte by byte, but whole."""
    async with simulated() as (sim, raw):
        sim.fault("slow_body", gap=0)
        assert (await raw.submit("imagine", prompt="x")).code == 1


async def test_slow_body_survives_a_client_that_goes_away() -> None:
    """A client may disconnect during the response."""
    async with simulated() as (sim, raw):
        sim.fault("slow_body", gap=0.005)
        async with raw.session.post(f"{sim.url}/mj/submit/imagine", json={"prompt": "x"}) as answer:
            assert await answer.content.read(1) == b"{"
            answer.close()
        assert (await raw.submit("imagine", prompt="x")).code == 1


async def test_numeric_result_is_an_integer() -> None:
    """As in published examples (PROTOCOL §2); other answers stay as they are."""
    async with simulated() as (sim, raw):
        fault = sim.fault("numeric_result", times=None)
        answer = await raw.submit("imagine", prompt="x")
        assert answer.result == int(sim.submissions[0].task_id)
        assert (await raw.submit("imagine")).result is None
        assert (await raw.submit("upload-discord-images", base64Array=["eHg="])).code == 1
        assert (await raw.call("POST", "/mj/submit/imagine", data=b"x")).status == 415
        assert fault.hits == 4


# --- faults of tasks -----------------------------------------------------------------------------


async def test_fail_ends_in_failure_with_its_reason() -> None:
    """The progress of a failed task is an empty string (PROTOCOL §3.6)."""
    async with simulated() as (sim, raw):
        sim.fault("fail", reason="Job failed", at=46)
        task = await raw.grid()
        assert (task["status"], task["failReason"]) == ("FAILURE", "Job failed")
        assert (task["progress"], task["buttons"], task["imageUrl"]) == ("", [], None)
        assert sim.tasks[task["id"]].percent == 46
        assert (await raw.grid())["status"] == "SUCCESS"


async def test_stall_stops_at_its_percentage_and_holds_its_place() -> None:
    """A stalled task never finishes, and wait_idle() does not wait for it."""
    async with simulated(concurrency=1, queue_size=0) as (sim, raw):
        sim.fault("stall", at=46)
        task = await raw.grid()
        assert (task["status"], task["progress"]) == ("IN_PROGRESS", "46%")
        assert "_grid_0.webp?" in task["imageUrl"]
        assert sim.in_flight == 1
        assert (await raw.submit("imagine", prompt="x")).code == 23


async def test_lost_is_accepted_and_unknown_at_once() -> None:
    """The response has an id that no fetch finds."""
    async with simulated(time_scale=FROZEN) as (sim, raw):
        sim.fault("lost")
        answer = await raw.submit("imagine", prompt="x")
        assert answer.code == 1
        assert (await raw.get(f"/mj/task/{answer.result}/fetch")).status == 204
        assert (len(sim.submissions), sim.in_flight, sim.max_in_flight) == (1, 0, 1)


@pytest.mark.parametrize("word,reason", [("", "可能包含敏感词"), ("gore", "可能包含敏感词: gore")])
async def test_banned_late_fails_without_having_started(word: str, reason: str) -> None:
    """The task fails, as on the later servers (PROTOCOL §2: 24)."""
    async with simulated() as (sim, raw):
        sim.fault("banned_late", word=word)
        task = await raw.grid()
        assert (task["status"], task["failReason"]) == ("FAILURE", reason)
        assert task["startTime"] is None


async def test_task_faults_wait_for_an_accepted_submission_of_their_endpoint() -> None:
    """A refused submission takes none, nor does another endpoint."""
    async with simulated() as (sim, raw):
        fault = sim.fault("fail", endpoint="action")
        await raw.submit("imagine", prompt="")
        grid = await raw.grid()
        assert (grid["status"], fault.remaining) == ("SUCCESS", 1)
        assert (await raw.pressed(grid, "U1"))["status"] == "FAILURE"
        assert (fault.remaining, fault.hits) == (0, 1)


# --- links ---------------------------------------------------------------------------------------


async def test_expired_link_kills_one_link_and_a_refetch_gives_another() -> None:
    """The link returns 403 from then on; the picture still exists."""
    async with simulated() as (sim, raw):
        task = await raw.grid()
        sim.fault("expired_link")
        statuses = [(await raw.get(task["imageUrl"])).status for _ in range(2)]
        fresh = await raw.task(task["id"])
        assert statuses == [403, 403]
        assert fresh["imageUrl"] != task["imageUrl"]
        assert (await raw.get(fresh["imageUrl"])).status == 200


# --- how often and where -------------------------------------------------------------------------


async def test_times_on_and_endpoint_say_how_often_and_where() -> None:
    """A fault affects its own requests, as many as specified, and can be removed."""
    async with simulated() as (sim, raw):
        twice = sim.fault("reply", times=2, on="submit")
        ever = sim.fault("html", on="fetch", times=None)
        shorten = sim.fault("reply", on="any", endpoint="shorten", status=418)
        statuses = [(await raw.submit("imagine", prompt="x")).status for _ in range(3)]
        assert statuses == [500, 500, 200]
        assert (twice.remaining, twice.hits) == (0, 2)
        for _ in range(3):
            assert b"html" in (await raw.get("/mj/task/1/fetch")).body
        assert (ever.remaining, ever.hits) == (None, 3)
        ever.remove()
        assert (await raw.get("/mj/task/1/fetch")).status == 204
        assert (await raw.submit("shorten", prompt="x")).status == 418
        assert shorten.hits == 1


async def test_every_kind_of_request_can_be_struck() -> None:
    """Submit, fetch, list, image and other are distinguished."""
    async with simulated() as (sim, raw):
        grid = await raw.grid()
        calls = {
            "submit": raw.submit("imagine", prompt="x"),
            "fetch": raw.get(f"/mj/task/{grid['id']}/fetch"),
            "list": raw.get("/mj/task/queue"),
            "image": raw.get(grid["imageUrl"]),
            "other": raw.get(f"/mj/task/{grid['id']}/image-seed"),
        }
        for kind, call in calls.items():
            fault = sim.fault("reply", on=kind, status=418)
            assert (await call).status == 418
            assert fault.remaining == 0


def test_chance_is_repeatable() -> None:
    """The same seed affects the same requests, at about the specified rate."""
    runs = []
    for _ in range(2):
        faults = FaultScript(seed=7)
        faults.add("reset_before", chance=0.3, times=None)
        runs.append([faults.next_fault("http", on="submit") is not None for _ in range(1000)])
    assert runs[0] == runs[1]
    assert 230 < sum(runs[0]) < 370


def test_mistakes_in_a_script_are_named() -> None:
    """The error for an unknown kind, request or option lists the available ones."""
    faults = FaultScript()
    with pytest.raises(ValueError, match="unknown fault 'explode'; available are account_disabled"):
        faults.add("explode")
    with pytest.raises(
        ValueError, match="unknown kind of request 'imagine'; available are any, fetch"
    ):
        faults.add("html", on="imagine")
    with pytest.raises(TypeError, match="fault 'html' has no option body"):
        faults.add("html", body="x")
    levels = {"http", "task", "pair", "hook", "link", "gateway"}
    assert {kind.level for kind in FAULT_KINDS.values()} == levels


@pytest.mark.parametrize("path,place,endpoint", KNOWN)
async def test_a_fault_that_could_never_strike_says_where_its_endpoint_is(
    path: str, place: str, endpoint: str
) -> None:
    """A read is not a submission, which is the default of faults."""
    async with simulated(time_scale=0) as (sim, raw):
        with pytest.raises(ValueError, match=f"no submit request .* pass on='{place}'"):
            sim.fault("reply", endpoint=endpoint)
        fault = sim.fault("reply", on=place, endpoint=endpoint)
        method, path = path.split()
        assert (await raw.call(method, path)).status == 500
        assert fault.hits == 1
        assert sim.fault("html", on="any", endpoint=endpoint).remaining == 1
        assert sim.fault("fail", endpoint=endpoint).remaining == 1


async def test_many_resets_leave_the_books_right() -> None:
    """Fifty submits reset after acceptance are exactly fifty submissions."""
    async with simulated(concurrency=50) as (sim, raw):
        sim.fault("reset_after", times=None)

        async def once() -> None:
            with contextlib.suppress(aiohttp.ClientError):
                await raw.submit("imagine", prompt="x")

        await asyncio.gather(*(once() for _ in range(50)))
        assert len(sim.submissions) == len(sim.requests) == 50
