"""The simulator's webhooks: one POST for every change, in order, sent once (PROTOCOL §1.17)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from mjasync.simulator import Simulator
from support.loopback import serving
from support.pictures import data_url
from support.raw_http import PATIENCE, simulated


class Receiver:
    """A webhook receiver that records its requests."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.types: set[str] = set()
        self.url = ""
        self.answer: web.Response | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Record one webhook."""
        self.got.append(await request.json())
        self.types.add(request.content_type)
        return web.Response(status=500 if request.path == "/refuse" else 200)

    def seen(self, task_id: str) -> list[tuple[str, str]]:
        """Status and progress of each webhook of one task."""
        return [(h["status"], h["progress"]) for h in self.got if h["id"] == task_id]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook receiver on loopback."""
    receiver = Receiver()
    async with serving(receiver.handle) as url:
        receiver.url = f"{url}/hook"
        yield receiver


async def settled(sim: Simulator) -> None:
    """Wait until every task is finished and every webhook is sent."""
    async with asyncio.timeout(PATIENCE):
        await sim.wait_idle()


async def test_every_change_is_posted_as_the_whole_task(receiver: Receiver) -> None:
    """Webhooks have the fields of a fetch and arrive in order, including the final one."""
    async with simulated(time_scale=0.0001) as (sim, raw):
        answer = await raw.submit("imagine", prompt="x", notifyHook=receiver.url, state="s")
        await settled(sim)
        task_id = answer.result
        seen = receiver.seen(task_id)
        assert seen[0] == ("SUBMITTED", "0%")
        assert seen[-1] == ("SUCCESS", "100%")
        percents = [int(progress[:-1]) for _, progress in seen]
        assert percents == sorted(percents)
        assert len(seen) == len(set(seen)) == 9
        assert receiver.got[-1] == await raw.task(task_id)
        assert receiver.got[-1]["properties"]["notifyHook"] == receiver.url
        assert receiver.types == {"application/json"}
        assert [post.body for post in sim.hooks] == receiver.got
        assert {(post.url, post.task_id, post.status) for post in sim.hooks} == {
            (receiver.url, task_id, 200)
        }


async def test_a_task_without_a_hook_posts_nothing(receiver: Receiver) -> None:
    """A blank notifyHook is ignored."""
    async with simulated() as (sim, raw):
        await raw.submit("imagine", prompt="x", notifyHook="")
        await settled(sim)
        assert sim.hooks == receiver.got == []


async def test_a_failure_is_posted_too(receiver: Receiver) -> None:
    """Every end of a task is sent."""
    async with simulated() as (sim, raw):
        sim.fault("fail", at=31, reason="no")
        await raw.submit("describe", base64=data_url(), notifyHook=receiver.url)
        await settled(sim)
        assert receiver.got[-1]["status"] == "FAILURE"
        assert receiver.got[-1]["failReason"] == "no"


@pytest.mark.parametrize("where", ["refuse", "gone", "nonsense", "scheme"])
async def test_a_refusing_receiver_is_recorded_and_harms_nobody(
    receiver: Receiver, where: str
) -> None:
    """There is one POST for each change, and no retry after an error."""
    urls = {
        "refuse": receiver.url.replace("/hook", "/refuse"),
        "gone": "http://127.0.0.1:1/hook",
        "nonsense": "not a url",
        "scheme": "ftp://127.0.0.1/hook",
    }
    async with simulated() as (sim, raw):
        answer = await raw.submit("imagine", prompt="x", notifyHook=urls[where])
        await settled(sim)
        assert sim.tasks[answer.result].status == "SUCCESS"
        assert [post.status for post in sim.hooks] == [500 if where == "refuse" else None] * 9


async def test_duplicate_hooks_arrive_twice(receiver: Receiver) -> None:
    """As a terminal one may (PROTOCOL §1.17)."""
    async with simulated() as (sim, raw):
        sim.fault("duplicate_hooks", times=None)
        answer = await raw.submit("imagine", prompt="x", notifyHook=receiver.url)
        await settled(sim)
        seen = receiver.seen(answer.result)
        assert len(seen) == 18
        assert seen[::2] == seen[1::2]


async def test_reordered_hooks_arrive_swapped(receiver: Receiver) -> None:
    """Each pair arrives in the wrong order; none is lost, and the last is never delayed."""
    async with simulated() as (sim, raw):
        fault = sim.fault("reorder_hooks", times=None)
        answer = await raw.submit("imagine", prompt="x", notifyHook=receiver.url)
        await settled(sim)
        percents = [progress for _, progress in receiver.seen(answer.result)]
        assert percents == ["0%", "0%", "31%", "15%", "62%", "46%", "93%", "78%", "100%"]
        assert fault.hits == 4


async def test_stopping_drops_what_is_not_sent(receiver: Receiver) -> None:
    """A stopped simulator sends no webhooks, and sends them again after another start."""
    async with simulated() as (sim, raw):
        for _ in range(3):
            await raw.submit("imagine", prompt="x", notifyHook=receiver.url)
        await sim.stop()
        await sim.start()
        before = len(receiver.got)
        assert before < 27
        await raw.submit("imagine", prompt="x", notifyHook=receiver.url)
        await settled(sim)
        assert len(receiver.got) >= before + 9
