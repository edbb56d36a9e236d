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

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import aiohttp
import attrs
import orjson
import pytest

from mjasync.simulator import Simulator
from support.pictures import data_url
from support.raw_http import Answer
from support.recordings import RECORDED, Player, scenes_of

TOKEN: Final = "sim-token"
FAMILIES: Final = {path.stem: scenes_of(path) for path in sorted(RECORDED.glob("*.json"))}
ANY: Final = {
    "<id>": re.compile(r"[1-9]\d{15,18}"),
    "<ms>": re.compile(r"1[6-9]\d{11}"),
    "<string>": re.compile(r"(?s).+"),
    "<uuid>": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}


@attrs.frozen
class Submission:
    """A submission of a set-up; its id becomes a value of the player."""

    name: str
    endpoint: str = "imagine"
    body: Mapping[str, Any] = {"prompt": "a fox", "state": "mine"}
    fault: str | None = None
    fault_options: Mapping[str, Any] = {}

    async def send(self, player: Player) -> None:
        """Send it, after the fault that it is to meet."""
        if self.fault is not None:
            player.sim.fault(self.fault, **self.fault_options)
        request = {"send": f"POST /mj/submit/{self.endpoint}", "json": self.body}
        player.values[self.name] = (await player.send(request)).result


def change(name: str, action: str, task: str = "grid", index: int = 1, **fault: Any) -> Submission:
    """Make a change of a task."""
    body = {"taskId": f"{{{task}}}", "action": action, "index": index}
    return Submission(name, "change", body, **fault)


FOR_EVER: Final = {"for_ever": True}
STUCK: Final = {"fault": "stuck", "fault_options": FOR_EVER}
TWO: Final = {"base64Array": ["{png}", "{png}"]}
SET_UP: Final[Mapping[str, list[Submission]]] = {
    "grid": [Submission("grid")],
    "blended": [Submission("blended", "blend", TWO)],
    "described": [Submission("described", "describe", {"base64": "{png}"})],
    "shortened": [Submission("shortened", "shorten", {"prompt": "a tall fox"})],
    "filmed": [Submission("filmed", "video", {"prompt": "it runs", "image": "{png}"})],
    "changed": [
        change("single", "UPSCALE"),
        change("varied", "VARIATION"),
        change("again", "REROLL"),
    ],
    "waiting": [Submission("waiting", **STUCK)],
    "running": [Submission("running", fault="stall", fault_options={"at": 31, **FOR_EVER})],
    "begun": [Submission("begun", fault="stall", fault_options={"at": 15, **FOR_EVER})],
    "imaged": [
        Submission("imaged", body={"prompt": "a fox", "base64Array": ["{png}"]}),
        change("varied_imaged", "VARIATION", "imaged"),
    ],
    "waiting_others": [
        change("waiting_change", "VARIATION", index=2, **STUCK),
        Submission("waiting_blend", "blend", TWO, **STUCK),
        Submission("waiting_describe", "describe", {"base64": "{png}"}, **STUCK),
    ],
    "failed": [
        Submission(
            "failed",
            fault="fail",
            fault_options={"at": 46, "reason": "[Invalid parameter] no such flag"},
        )
    ],
}


def requests_of(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every request of a row."""
    sends = row["send"] if isinstance(row["send"], list) else [row["send"]]
    for send, change in itertools.product(sends, row.get("each", [{}])):
        yield {**row, "send": send, **change}


def differences(reply: Mapping[str, Any], answer: Answer, player: Player) -> Iterator[str]:
    """Yield how a reply differs from the real one."""
    text = answer.body.decode("utf-8", "replace")
    if answer.status != reply["status"]:
        yield f"status {answer.status} and not {reply['status']}: {text[:200]!r}"
    for name, value in reply.get("headers", {}).items():
        expected = None if value is None else player.fill(value)
        if answer.headers.get(name) != expected:
            yield f"{name}: {answer.headers.get(name)} and not {expected}"
    if "text" in reply and text != player.fill(reply["text"]):
        yield f"body {text[:200]!r} and not {reply['text']!r}"
    if "pattern" in reply and not re.search(player.fill(reply["pattern"]), text):
        yield f"no {reply['pattern']!r} in {text[:200]!r}"
    if reply.get("page") and not text.lower().startswith(("<!doctype", "<html")):
        yield f"no page: {text[:200]!r}"
    if reply.keys() & {"json", "keys", "absent"}:
        try:
            value = answer.json
        except orjson.JSONDecodeError:
            yield f"no JSON: {text[:200]!r}"
            return
        yield from json_differences(reply, value, player)


def json_differences(reply: Mapping[str, Any], value: Any, player: Player) -> Iterator[str]:
    """Yield how the JSON of a reply differs from the real one."""
    if "json" in reply:
        yield from differing(player.fill_json(reply["json"]), value)
    if "keys" in reply and {*value} != {*reply["keys"]}:
        yield f"keys {[*value]} and not {reply['keys']}"
    for place in reply.get("absent", ()):
        *path, last = place.split("/")
        inner = value
        for part in path:
            inner = inner[part]
        if last in inner:
            yield f"{place} is there: {inner[last]!r}"


def differing(expected: Any, got: Any, place: str = "") -> Iterator[str]:
    """Yield how some JSON differs from what it must have in it."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key, value in expected.items():
            if key in got:
                yield from differing(value, got[key], f"{place}/{key}")
            else:
                yield f"no {place}/{key}"
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for number, (left, right) in enumerate(zip(expected, got, strict=True)):
            yield from differing(left, right, f"{place}/{number}")
    elif not _same(expected, got):
        yield f"{place or 'body'} is {got!r} and not {expected!r}"


def _same(expected: Any, got: Any) -> bool:
    if isinstance(expected, str) and expected in ANY:
        return not isinstance(got, bool) and ANY[expected].fullmatch(str(got)) is not None
    if isinstance(expected, str) and expected.startswith("~"):
        return isinstance(got, str) and re.search(expected[1:], got) is not None
    return type(expected) is type(got) and expected == got


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_server_answers_as_the_real_one_does(family: str) -> None:
    """Every request of a family's table."""
    wrong = []
    png = {"png": data_url(), "bare": data_url().partition(",")[2]}
    async with aiohttp.ClientSession() as session:
        for scene in FAMILIES[family]:
            options = {"token": TOKEN, "time_scale": 0, "draw": False, **scene.get("server", {})}
            async with Simulator(family, **options) as sim:
                player = Player(sim, session, TOKEN, values={"base": sim.url, **png})
                for submission in itertools.chain(*(SET_UP[n] for n in scene.get("set_up", ()))):
                    await submission.send(player)
                for request in itertools.chain(*map(requests_of, scene["rows"])):
                    reply = request.pop("reply")
                    if different := [*differences(reply, await player.send(request), player)]:
                        wrong.append(f"{scene['scene']}: {request}\n    {different}")
    assert not wrong, f"{len(wrong)} replies differ:\n" + "\n".join(wrong)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tables_are_large(family: str) -> None:
    """At least 300 requests to each family are recorded."""
    rows = (row for scene in FAMILIES[family] for row in scene["rows"])
    assert sum(len([*requests_of(row)]) for row in rows) >= 300
