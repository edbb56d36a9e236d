"""Requests that were recorded with a real server, and a player that sends them to a simulator."""

# ruff: noqa: ANN401  JSON holds anything

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
import orjson
from yarl import URL

from mjasync.simulator import Simulator
from support.raw_http import Answer

RECORDED: Final = Path(__file__).parents[1] / "recorded"


def scenes_of(path: str | Path) -> list[dict[str, Any]]:
    """Return the scenes of a file in `tests/recorded/`."""
    scenes: list[dict[str, Any]] = orjson.loads((RECORDED / path).read_bytes())
    return scenes


@attrs.define
class Player:
    """Sends recorded requests to one simulator."""

    sim: Simulator
    session: aiohttp.ClientSession
    token: str
    """The token of a request that names none; a request without a token has `"token": null`."""
    tokens: Mapping[str, str] = attrs.field(factory=dict)
    """Tokens that requests name instead of spelling them."""
    values: dict[str, str] = attrs.field(factory=dict)
    """Values for `{name}` in paths, headers and bodies."""

    async def send(self, request: Mapping[str, Any]) -> Answer:
        """Send one request, byte for byte as recorded."""
        method, _, path = request["send"].partition(" ")
        url = URL(self.sim.url + self.fill(path), encoded=True)
        headers, data = self._headers(request), self._body(request)
        plain = () if "Content-Type" in headers else ("Content-Type",)
        async with self.session.request(
            method, url, data=data, headers=headers, allow_redirects=False, skip_auto_headers=plain
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    def fill(self, text: str) -> str:
        """Replace every `{name}` that has a value."""
        return re.sub(r"\{(\w+)\}", lambda name: self.values.get(name[1], name[0]), text)

    def fill_json(self, value: Any) -> Any:
        """Replace every `{name}` that has a value, anywhere in some JSON."""
        return orjson.loads(self.fill(orjson.dumps(value).decode()))

    def _headers(self, request: Mapping[str, Any]) -> dict[str, str]:
        token = request.get("token", self.token)
        headers = {"mj-api-secret": self.tokens.get(token, token) or None}
        if request.keys() & {"json", "text", "base64"}:
            headers["Content-Type"] = "application/json"
        headers |= request.get("headers", {})
        return {name: self.fill(value) for name, value in headers.items() if value is not None}

    def _body(self, request: Mapping[str, Any]) -> bytes | None:
        if "base64" in request:
            return base64.b64decode(request["base64"])
        if "text" in request:
            return self.fill(request["text"]).encode()
        if "json" in request:
            body = json.dumps(request["json"], ensure_ascii=False, separators=(",", ":"))
            return self.fill(body).encode()
        return None
