"""Replies that are nearly JSON: what waiting needs is read all the same."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import MalformedReply, MJError, SubmitUncertain
from mjasync._json import dump_json, parse_json, parse_json_leniently
from support.clients import EAGER, QUICK
from support.scripted_server import answering, asking, http

ID = "1700000000000001"
ODD = {
    "half an emoji": b"a \\ud83d",
    "two halves the wrong way round": b"a \\udc00\\ud83d",
    "a cut character": b"a \xe6\x8f",
    "GBK": "提交成功".encode("gbk"),
    "GBK with a backslash in it": "誠".encode("big5hkscs") + b" a",
    "a line break": b"a\nfox",
    "a tab": b"a\tfox",
    "a NUL": b"a\0fox",
}


def finished(prompt: bytes) -> bytes:
    """A finished task as it is sent."""
    task = {"id": ID, "action": "IMAGINE", "status": "SUCCESS", "prompt": "XX", "buttons": []}
    return orjson.dumps(task).replace(b"XX", prompt)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_an_odd_task_ends(odd: bytes) -> None:
    """A finished task is finished, whatever its prompt is made of."""
    receipt = http(200, {"code": 1, "result": ID})
    async with (
        answering(receipt, http(200, finished(odd))) as server,
        asking(server.url, schedule=QUICK, retries=EAGER) as mj,
    ):
        task = await mj.imagine("a fox")
        assert task.status == "SUCCESS"
        assert task.prompt is not None
        task.prompt.encode("utf-8")


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_an_odd_receipt_is_an_acceptance(odd: bytes) -> None:
    """A job that was taken is no uncertainty for the words that came with it."""
    body = orjson.dumps({"code": 1, "description": "XX", "result": ID}).replace(b"XX", odd)
    async with answering(http(200, body)) as server, asking(server.url) as mj:
        task = await mj.imagine("a fox").submit()
        assert task.id == ID


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_an_odd_row_costs_no_other(odd: bytes) -> None:
    """One stranger's odd row breaks neither the list nor the rows beside it."""
    rows = [b'{"id": "1", "status": "SUCCESS", "prompt": "' + odd + b'"}', finished(b"a fox")]
    rows += [b"null", b'{"status": "SUCCESS"}', b'{"id": {}, "status": 7}']
    body = b"[" + b",".join(rows) + b"]"
    async with answering(http(200, body)) as server, asking(server.url) as mj:
        assert [task.id for task in await mj.tasks()] == ["1", ID]
        assert [*await mj.fetch(["1", ID])] == ["1", ID]


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\r\n", b" \n"])
@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"Infinity"])
def test_numbers_that_json_lacks_are_nothing(number: bytes, tail: bytes) -> None:
    """NaN and infinities read as null, and a NUL at the end is no matter."""
    assert parse_json_leniently(b'{"progress": ' + number + b"}" + tail) == {"progress": None}


@pytest.mark.parametrize("body", [b'{"id": "1"', b"<html>", b"", b"[" * 5000, b"\xff\xfe"])
def test_what_is_no_json_stays_none(body: bytes) -> None:
    """A second reading makes no JSON of what is cut off or something else."""
    with pytest.raises(ValueError, match="JSON"):
        parse_json_leniently(body)


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.integers(0, 2**53) | st.text(), st.lists))
def test_good_json_is_read_as_it_is(value: object) -> None:
    """What is JSON means the same to both readings."""
    assert parse_json_leniently(orjson.dumps(value)) == value


async def test_another_task_than_the_one_asked_for() -> None:
    """A fetch that is answered with another task is asked again, and never believed."""
    other = http(200, {"id": "2", "status": "SUCCESS", "imageUrl": "http://x/y.png"})
    right = http(200, {"id": "1", "status": "SUCCESS", "buttons": []})
    async with (
        answering(other, other, right) as server,
        asking(server.url, schedule=QUICK, retries=EAGER) as mj,
    ):
        task = await mj.task("1")
        assert (task.id, task.image_url) == ("1", None)
    assert len(server.asked) == 3


async def test_a_list_of_others_is_no_answer() -> None:
    """A list without what was asked for is refused; strangers in a list are left out."""
    other = {"id": "2", "status": "SUCCESS"}
    async with (
        answering(
            http(200, [other]), http(200, [other, {"id": "1", "status": "SUCCESS"}])
        ) as server,
        asking(server.url) as mj,
    ):
        with pytest.raises(MalformedReply, match="not requested"):
            await mj.fetch(["1", "3"])
        assert [*await mj.fetch(["1", "3"])] == ["1"]


@pytest.mark.parametrize("result", [["https://x/1.png"], {"seed": 1}, 1.5, True, "https://x/1.png"])
async def test_a_receipt_of_something_else_is_uncertain(result: object) -> None:
    """An acceptance that names no task is no receipt, and the job may have been taken."""
    async with (
        answering(http(200, {"code": 1, "result": result})) as server,
        asking(server.url) as mj,
    ):
        with pytest.raises(SubmitUncertain):
            await mj.imagine("a fox").submit()


@pytest.mark.parametrize("result", [[1], {"seed": 1}, 1.5])
async def test_a_seed_is_a_number(result: object) -> None:
    """A seed of another shape is asked for again, and is no missing one."""
    async with (
        answering(
            http(200, {"code": 1, "result": result}), http(200, {"code": 1, "result": "7"})
        ) as server,
        asking(server.url, retries=EAGER) as mj,
    ):
        assert await mj.task("1").seed() == 7


DEEP = b'[{"id": "1", "x": ' + b"[" * 700 + b"NaN" + b"]" * 700 + b"}]"
NESTED = b'{"x": ' + b"[" * 700 + b"]" * 700 + b"}"
HUGE = b'[{"id": "1", "status": "SUCCESS", "x": [1e999, NaN, ' + b"9" * 30 + b"]}]"


@pytest.mark.parametrize("body", [DEEP, NESTED, HUGE], ids=["deep", "nested", "huge"])
async def test_odd_values_are_read_or_refused(body: bytes) -> None:
    """Deep nesting and numbers without bounds are no foreign exceptions, alone or in a list."""
    async with answering(http(200, body)) as server, asking(server.url) as mj:
        for ask in (mj.tasks, partial(mj.fetch, ["1"]), mj.task("1").refresh):
            with suppress(MJError):
                await ask()
        with pytest.raises(SubmitUncertain):
            await mj.imagine("a fox").submit()


def test_a_row_that_is_no_json_costs_itself() -> None:
    """Of a list whose rows cannot all be read, the others are; what is cut off is no list."""
    rows = [b'{"id": "1"}', b'{"id": "2", "prompt": "a "quoted" fox"}', b'{"id": "3"}']
    body = b"[" + b",".join(rows) + b"]"
    assert parse_json_leniently(body) == [{"id": "1"}, {}, {"id": "3"}]
    with pytest.raises(ValueError, match="JSON"):
        parse_json_leniently(body[:-1])


async def test_a_list_with_an_unreadable_row_has_no_date() -> None:
    """What is not in such a list may be on the server: nothing is proven by its absence."""
    good, bad = b'[{"id": "1"}]', b'[{"id": "1"},{"id": "2", "prompt": "a "fox""}]'
    date = {"Date": "Fri, 01 Jan 2100 12:00:00 GMT"}
    async with (
        answering(http(200, good, headers=date), http(200, bad, headers=date)) as server,
        asking(server.url) as mj,
    ):
        rows, when = await mj._context.api.get_list_with_date()
        assert (len(rows), when is None) == (1, False)
        rows, when = await mj._context.api.get_list_with_date()
        assert (rows, when) == ([{"id": "1"}, {}], None)


@given(st.binary(max_size=60))
def test_a_second_reading_is_json_or_no_value(body: bytes) -> None:
    """Whatever comes, what is read of it can be written again, and nothing else is raised."""
    for text in (body, b'{"a": "' + body + b'"}', b'[{"id": ' + body + b"}]"):
        with suppress(ValueError):
            assert parse_json(dump_json(parse_json_leniently(text))) is not NotImplemented
