"""The servers answer as the real ones do, request by request.

``recorded/*.json`` holds requests, and what of the real server's replies must be the same. A scene
is one simulator, set up by steps that have names; a row is one or more requests with one reply:
every path in ``send``, each with every change in ``each``.

What a reply says is compared in part: ``json`` are the keys that must be there with these values,
``keys`` all the keys there are, ``absent`` those there must not be, ``text`` the whole body,
``pattern`` a regular expression for it, ``page`` that it is a web page. A string such as ``<id>``
stands for any id; ``{grid}`` for the id of what the set-up made.
"""

# ruff: noqa: ANN401  JSON holds anything

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import pytest
from yarl import URL

from mjasync.simulator import Simulator
from support.raw_http import Raw, data_url

RECORDED: Final = Path(__file__).parent / "recorded"
TOKEN: Final = "sim-token"
FAMILIES: Final = {
    path.stem: orjson.loads(path.read_bytes()) for path in sorted(RECORDED.glob("*.json"))
}
ANY: Final = {
    "<id>": re.compile(r"[1-9]\d{15,18}"),
    "<ms>": re.compile(r"1[6-9]\d{11}"),
    "<string>": re.compile(r"(?s).+"),
    "<uuid>": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}


def requests_of(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every request of a row."""
    sends = row["send"] if isinstance(row["send"], list) else [row["send"]]
    for send, change in itertools.product(sends, row.get("each", [{}])):
        yield {**row, "send": send, **change}


class Player:
    """Plays one scene."""

    def __init__(self, sim: Simulator, session: aiohttp.ClientSession, raw: Raw) -> None:
        self._sim, self._session, self._raw = sim, session, raw
        self._known = {"base": sim.url, "png": data_url(), "bare": data_url().partition(",")[2]}

    async def set_up(self, name: str) -> None:
        """Do one step by its name."""
        await getattr(self, f"_{name}")()

    async def _imagine(self) -> str:
        return (await self._raw.submit("imagine", prompt="a fox", state="mine")).result

    async def _grid(self) -> None:
        self._known["grid"] = await self._imagine()

    async def _blended(self) -> None:
        answer = await self._raw.submit("blend", base64Array=[data_url(), data_url()])
        self._known["blended"] = answer.result

    async def _described(self) -> None:
        self._known["described"] = (await self._raw.submit("describe", base64=data_url())).result

    async def _shortened(self) -> None:
        self._known["shortened"] = (await self._raw.submit("shorten", prompt="a tall fox")).result

    async def _filmed(self) -> None:
        answer = await self._raw.submit("video", prompt="it runs", image=data_url())
        self._known["filmed"] = answer.result

    async def _changed(self) -> None:
        """One of each change of the grid."""
        for name, action in (("single", "UPSCALE"), ("varied", "VARIATION"), ("again", "REROLL")):
            answer = await self._raw.submit(
                "change", taskId=self._known["grid"], action=action, index=1
            )
            self._known[name] = answer.result

    async def _waiting(self) -> None:
        """A task that never starts."""
        self._sim.fault("stuck", for_ever=True)
        self._known["waiting"] = await self._imagine()

    async def _running(self) -> None:
        """A task that stays at 31 %."""
        self._sim.fault("stall", at=31, for_ever=True)
        self._known["running"] = await self._imagine()

    async def _begun(self) -> None:
        """A task that stays at 15 %."""
        self._sim.fault("stall", at=15, for_ever=True)
        self._known["begun"] = await self._imagine()

    async def _imaged(self) -> None:
        """A grid of a prompt with a picture, and a variation of it."""
        answer = await self._raw.submit("imagine", prompt="a fox", base64Array=[data_url()])
        self._known["imaged"] = answer.result
        answer = await self._raw.submit("change", taskId=answer.result, action="VARIATION", index=1)
        self._known["varied_imaged"] = answer.result

    async def _waiting_others(self) -> None:
        """A change, a blend and a describe that never start."""
        grid, picture = self._known["grid"], data_url()
        for endpoint, body in (
            ("change", {"taskId": grid, "action": "VARIATION", "index": 2}),
            ("blend", {"base64Array": [picture, picture]}),
            ("describe", {"base64": picture}),
        ):
            self._sim.fault("stuck", for_ever=True)
            answer = await self._raw.submit(endpoint, **body)
            self._known[f"waiting_{endpoint}"] = answer.result

    async def _failed(self) -> None:
        self._sim.fault("fail", at=46, reason="[Invalid parameter] no such flag")
        self._known["failed"] = await self._imagine()

    async def play(self, row: Mapping[str, Any]) -> list[str]:
        """Send one request; how its reply differs from the real one."""
        method, _, path = row["send"].partition(" ")
        url = URL(self._sim.url + self._filled(path), encoded=True)
        headers, data = self._headers(row), self._body(row)
        plain = () if "Content-Type" in headers else ("Content-Type",)
        async with self._session.request(
            method,
            url,
            data=data,
            headers=headers,
            allow_redirects=False,
            skip_auto_headers=plain,
        ) as response:
            return [*self._differences(row["reply"], response, await response.read())]

    def _headers(self, row: Mapping[str, Any]) -> dict[str, str]:
        token = row.get("token", TOKEN)
        headers = {"mj-api-secret": token} if token else {}
        if row.keys() & {"json", "text", "base64"}:
            headers["Content-Type"] = "application/json"
        given = row.get("headers", {})
        headers |= {name: value for name, value in given.items() if value is not None}
        return {name: value for name, value in headers.items() if given.get(name, "") is not None}

    def _body(self, row: Mapping[str, Any]) -> bytes | None:
        if "base64" in row:
            return base64.b64decode(row["base64"])
        if "text" in row:
            return self._filled(row["text"]).encode()
        return self._filled(orjson.dumps(row["json"]).decode()).encode() if "json" in row else None

    def _filled(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda name: self._known.get(name[1], name[0]), text)

    def _differences(
        self, reply: Mapping[str, Any], response: aiohttp.ClientResponse, body: bytes
    ) -> Iterator[str]:
        if response.status != reply["status"]:
            yield f"status {response.status} and not {reply['status']}: {body[:200]!r}"
        for name, value in reply.get("headers", {}).items():
            wanted = None if value is None else self._filled(value)
            if response.headers.get(name) != wanted:
                yield f"{name}: {response.headers.get(name)} and not {wanted}"
        text = body.decode("utf-8", "replace")
        if "text" in reply and text != self._filled(reply["text"]):
            yield f"body {text[:200]!r} and not {reply['text']!r}"
        if "pattern" in reply and not re.search(self._filled(reply["pattern"]), text):
            yield f"no {reply['pattern']!r} in {text[:200]!r}"
        if reply.get("page") and not text.lower().startswith(("<!doctype", "<html")):
            yield f"no page: {text[:200]!r}"
        if reply.keys() & {"json", "keys", "absent"}:
            yield from self._json_differences(reply, text)

    def _json_differences(self, reply: Mapping[str, Any], text: str) -> Iterator[str]:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            yield f"no JSON: {text[:200]!r}"
            return
        if "json" in reply:
            wanted = orjson.loads(self._filled(orjson.dumps(reply["json"]).decode()))
            yield from differing(wanted, value)
        if "keys" in reply and {*value} != {*reply["keys"]}:
            yield f"keys {[*value]} and not {reply['keys']}"
        for place in reply.get("absent", ()):
            *path, last = place.split("/")
            inner = value
            for part in path:
                inner = inner[part]
            if last in inner:
                yield f"{place} is there: {inner[last]!r}"


def differing(wanted: Any, got: Any, place: str = "") -> Iterator[str]:
    """How some JSON differs from what it must have in it."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key, value in wanted.items():
            if key in got:
                yield from differing(value, got[key], f"{place}/{key}")
            else:
                yield f"no {place}/{key}"
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for number, (one, other) in enumerate(zip(wanted, got, strict=True)):
            yield from differing(one, other, f"{place}/{number}")
    elif not _same(wanted, got):
        yield f"{place or 'body'} is {got!r} and not {wanted!r}"


def _same(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, str) and wanted in ANY:
        return not isinstance(got, bool) and ANY[wanted].fullmatch(str(got)) is not None
    if isinstance(wanted, str) and wanted.startswith("~"):
        return isinstance(got, str) and re.search(wanted[1:], got) is not None
    return type(wanted) is type(got) and wanted == got


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_server_answers_as_the_real_one_does(family: str) -> None:
    """Every request of a family's table."""
    wrong = []
    async with aiohttp.ClientSession() as session:
        for scene in FAMILIES[family]:
            options = {"token": TOKEN, "time_scale": 0, "draw": False, **scene.get("server", {})}
            async with (
                Simulator(family, **options) as sim,
                aiohttp.ClientSession(headers={"mj-api-secret": TOKEN}) as ours,
            ):
                player = Player(sim, session, Raw(sim, ours))
                for step in scene.get("set_up", ()):
                    await player.set_up(step)
                for row in scene["rows"]:
                    for request in requests_of(row):
                        if differences := await player.play(request):
                            shown = {key: request[key] for key in request if key != "reply"}
                            wrong.append(f"{scene['scene']}: {shown}\n    {differences}")
    assert not wrong, f"{len(wrong)} replies differ:\n" + "\n".join(wrong)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tables_are_large(family: str) -> None:
    """At least 300 requests to each family are recorded."""
    rows = (row for scene in FAMILIES[family] for row in scene["rows"])
    assert sum(len([*requests_of(row)]) for row in rows) >= 300
