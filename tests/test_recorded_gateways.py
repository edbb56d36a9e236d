"""The gateways answer as the real programs did, request by request.

``recorded/gateways/*.json`` holds requests that were sent to the real programs, and their replies.
A scene is one gateway in front of one upstream: a `plus` simulator that finishes every task at
once, or one that says what the scene wants.
"""

# ruff: noqa: ANN401  JSON holds anything

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson
import pytest
from aiohttp import web

from mjasync.simulator import Simulator
from support.loopback import serving
from support.raw_http import FROZEN
from support.recordings import Player, scenes_of

DIALECTS: Final = ("new-api", "new-api-2025", "one-hub", "one-api")
TOKENS: Final = {"main": "k" * 48, "other": "o" * 48, "spent": "x" * 48}
CHANNEL: Final = "channel-key"
SHOWN: Final = (
    *("Content-Type", "Location", "Allow", "Server"),
    *("X-New-Api-Version", "X-Oneapi-Request-Id", "X-Request-Id"),
    *("Access-Control-Allow-Origin", "Access-Control-Allow-Headers"),
    *("Access-Control-Allow-Methods", "Access-Control-Allow-Credentials"),
)
"""The headers that are compared."""
SCENES: Final = {
    dialect: {scene["scene"]: scene for scene in scenes_of(f"gateways/{dialect}.json")}
    for dialect in DIALECTS
}


class Upstream:
    """A server whose replies a scene sets, by the last part of the path."""

    def __init__(self) -> None:
        self.replies: dict[str, Mapping[str, Any]] = {}
        self.seen: list[dict[str, Any]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        raw = await request.read()
        if not request.path.endswith("list-by-condition"):
            self.seen.append(_told(request, raw))
        reply = self.replies.get(request.path.rstrip("/").rpartition("/")[2], {"status": 404})
        body = reply.get("body", "")
        if request.path.endswith("list-by-condition") and isinstance(body, list):
            ids = orjson.loads(raw)["ids"]
            body = [task for task in body if task["id"] in ids]
        encoded = body.encode() if isinstance(body, str) else orjson.dumps(body)
        if reply.get("drop") or reply.get("cut"):
            return _broken(request, encoded if reply.get("cut") else b"")
        headers = {"Content-Type": reply.get("type", "application/json")}
        return web.Response(status=reply.get("status", 200), body=encoded, headers=headers)


def _told(request: web.BaseRequest, raw: bytes) -> dict[str, Any]:
    return {
        "path": request.path_qs,
        "body": orjson.loads(raw) if raw else None,
        "secret": request.headers.get("mj-api-secret"),
    }


def _broken(request: web.BaseRequest, half: bytes) -> web.Response:
    """Send half a picture, or nothing at all, and close the connection."""
    if request.transport is not None:
        if half:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(half) * 2}"
            request.transport.write(head.encode() + b"\r\n\r\n" + half)
        request.transport.close()
    return web.Response()


class GatewayPlayer(Player):
    """Plays the steps of one scene."""

    def __init__(
        self,
        sim: Simulator,
        session: aiohttp.ClientSession,
        upstream: Simulator | Upstream,
        url: str,
    ) -> None:
        super().__init__(sim, session, "main", TOKENS, {"base": sim.url, "upstream": url})
        self._upstream = upstream

    async def play(self, step: Mapping[str, Any]) -> Any:
        """Do one step; return its result, comparable with the recorded one."""
        if "send" not in step:
            return await getattr(self, f"_{step['do']}")(step)
        try:
            answer = await self.send(step)
        except aiohttp.ClientError:
            return {"dropped": True}
        for name, place in step.get("keep", {}).items():
            self.values[name] = _value_at(answer.json, place)
        headers = {
            name: "*" if name.startswith("X-") else self._normal(answer.headers[name])
            for name in SHOWN
            if name in answer.headers
        }
        text = self._normal(answer.body.decode("utf-8", "backslashreplace"))
        return {"status": answer.status, "headers": headers, **_content(text)}

    def _normal(self, text: str) -> str:
        """Return the text without what differs from run to run."""
        for name in ("base", "upstream"):
            text = text.replace(self.values[name], f"{{{name}}}")
        return normal(text)

    async def _refresh(self, _: Mapping[str, Any]) -> None:
        """Poll the upstream until there is nothing new."""
        for _ in range(3):
            await self.sim.refresh()

    async def _says(self, step: Mapping[str, Any]) -> None:
        assert isinstance(self._upstream, Upstream)
        reply = _of_today(self.fill(orjson.dumps(step["reply_with"]).decode()))
        self._upstream.replies[step["path"]] = orjson.loads(reply)

    async def _seen(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert isinstance(self._upstream, Upstream)
        seen, self._upstream.seen = self._upstream.seen, []
        return orjson.loads(self._normal(orjson.dumps(seen).decode()))

    async def _parent_off(self, _: Mapping[str, Any]) -> None:
        self.sim.fault("parent_channel_off", times=None)


def normal(text: str) -> str:
    """Return the text without ids and times."""
    text = re.sub(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>", text)
    text = re.sub(r"request id: \w+\)", "request id: <id>)", text)
    text = re.sub(r"rand=\d+", "rand=<ns>", text)
    text = re.sub(r"hm=[0-9a-f]+", "hm=<hash>", text)
    text = re.sub(r"\b1[678]\d{11}\b", "0.5", text)
    return re.sub(r"\b\d{15,}\b", "<number>", text)


def _of_today(text: str) -> str:
    """Move the times of the tasks in a text to now: a gateway fails old tasks."""
    begin = int(time.time()) - 5
    return re.sub(r"\b17000000(\d\d)(?=000\b)", lambda found: str(begin + int(found[1])), text)


def _content(text: str) -> dict[str, Any]:
    try:
        return {"json": orjson.loads(text)}
    except orjson.JSONDecodeError:
        page = text[:15].lower().startswith("<!doctype")
        return {"text": "<page>" if page else text}


def _value_at(value: Any, place: str) -> str:
    for part in place.split("/"):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return str(value)


@asynccontextmanager
async def played(dialect: str, scene: Mapping[str, Any]) -> AsyncIterator[GatewayPlayer]:
    """Yield a player of a gateway in front of the upstream that a scene names."""
    async with AsyncExitStack() as stack:
        upstream: Simulator | Upstream
        if scene.get("upstream") == "scripted":
            upstream = Upstream()
            url = await stack.enter_async_context(serving(upstream.handle))
        else:
            options = {"time_scale": 0, "draw": False, **scene.get("server", {})}
            upstream = await stack.enter_async_context(Simulator("plus", token=CHANNEL, **options))
            url = upstream.url
        sim = await stack.enter_async_context(
            Simulator(
                dialect,
                upstream=url,
                upstream_token=CHANNEL,
                token=TOKENS["main"],
                tokens=[TOKENS["other"]],
                spent_tokens=[TOKENS["spent"]],
                **{"time_scale": FROZEN, **scene.get("gateway", {})},
            )
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield GatewayPlayer(sim, session, upstream, url)


def _differs(expected: Any, got: Any) -> bool:
    """Whether two replies differ; the order of keys counts as well."""
    return orjson.dumps(expected) != orjson.dumps(got)


@pytest.mark.parametrize(
    "dialect,name", [(dialect, name) for dialect in DIALECTS for name in SCENES[dialect]]
)
async def test_a_gateway_answers_as_the_real_one_did(dialect: str, name: str) -> None:
    """Status, headers and body of every reply, and what reached the upstream."""
    scene = SCENES[dialect][name]
    wrong = []
    async with played(dialect, scene) as player:
        for step in scene["steps"]:
            got = await player.play(step)
            if "reply" in step and _differs(step["reply"], got):
                wrong.append((step.get("send", step.get("do")), step["reply"], got))
    told = "\n".join(f"{request}\n  real: {real}\n  ours: {ours}" for request, real, ours in wrong)
    assert not wrong, f"{len(wrong)} of {len(scene['steps'])} replies differ:\n{told}"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_tables_are_large(dialect: str) -> None:
    """At least 300 requests to each gateway are recorded."""
    steps = [step for scene in SCENES[dialect].values() for step in scene["steps"]]
    assert sum("send" in step for step in steps) >= 300
