"""An HTTP client for the tests of the simulator: aiohttp alone, without mjasync."""

# ruff: noqa: ANN401  JSON holds anything

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
import orjson

from mjasync.simulator import Simulator

FROZEN = 1e9  # a time scale at which nothing happens by itself while a test runs
PATIENCE = 20


@attrs.frozen
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def code(self) -> int:
        """The ``code`` of a SubmitResult."""
        return self.json["code"]

    @property
    def result(self) -> Any:
        """The ``result`` of a SubmitResult."""
        return self.json["result"]


@attrs.frozen
class Raw:
    """Requests to one simulator."""

    sim: Simulator
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Send a request to a path or a complete URL."""
        url = path if path.startswith("http") else self.sim.url + path
        async with self.session.request(method, url, **options) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **options: Any) -> Answer:
        """Send a GET request."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, **body: Any) -> Answer:
        """Send a POST request with a JSON object."""
        return await self.call("POST", path, json=body)

    async def submit(self, endpoint: str, **body: Any) -> Answer:
        """Send a submission."""
        return await self.post(f"/mj/submit/{endpoint}", **body)

    async def account_ids(self) -> list[str]:
        """Return the ids of the accounts."""
        return [account["id"] for account in (await self.post("/mj/account/query")).json]

    async def task(self, task_id: str) -> dict[str, Any]:
        """Fetch a task."""
        return (await self.get(f"/mj/task/{task_id}/fetch")).json

    async def done(self, answer: Answer) -> dict[str, Any]:
        """Return the task of an accepted submission once it is finished."""
        assert answer.code in {1, 22}, answer.body
        async with asyncio.timeout(PATIENCE):
            await self.sim.wait_idle()
        return await self.task(answer.result)

    async def grid(self, prompt: str = "a fox") -> dict[str, Any]:
        """Submit an imagine; return its finished task."""
        return await self.done(await self.submit("imagine", prompt=prompt))

    async def press(self, task: dict[str, Any], name: str, **more: Any) -> Answer:
        """Press a button by its label or its emoji."""
        return await self.submit(
            "action", taskId=task["id"], customId=named(task)[name]["customId"], **more
        )

    async def pressed(self, task: dict[str, Any], *names: str) -> dict[str, Any]:
        """Press one button after the other, each on the result of the last."""
        for name in names:
            task = await self.done(await self.press(task, name))
        return task

    async def until(self, task_id: str, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Fetch a task until it meets a condition."""
        async with asyncio.timeout(PATIENCE):
            while not good(task := await self.task(task_id)):
                pass
        return task


def named(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the buttons of a task by label, or by emoji if they have none."""
    return {button["label"] or button["emoji"]: button for button in task["buttons"]}


@asynccontextmanager
async def simulated(dialect: str = "plus", **options: Any) -> AsyncIterator[tuple[Simulator, Raw]]:
    """Yield a simulator that by default finishes everything at once, and a client of it."""
    settings = {"time_scale": 0, "draw": False, **options}
    async with Simulator(dialect, **settings) as sim, talking(sim) as raw:
        yield sim, raw


@asynccontextmanager
async def talking(sim: Simulator) -> AsyncIterator[Raw]:
    """Yield a client of a simulator, with its token."""
    headers = {"mj-api-secret": sim.token} if sim.token else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield Raw(sim, session)
