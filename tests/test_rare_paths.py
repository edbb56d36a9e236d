"""Paths of the core that few callers take: wrong arguments, odd replies, closed clients."""

from __future__ import annotations

import asyncio
import copy
import warnings
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from yarl import URL

import mjasync
from mjasync import Client, Clock, ConfigurationError, InvalidRequest, TaskInfo
from mjasync import _clock as clock_module
from mjasync._circuit_breaker import CircuitBreaker, CircuitState
from mjasync._error_base import copy_for_raising
from mjasync._followup_requests import ModalRequest
from mjasync._gather import _SubmissionReport
from mjasync._http import network as network_module
from mjasync._http.network import NetworkSettings
from mjasync._http.reads import _date_of
from mjasync._http.redaction import Redactor
from mjasync._http.sessions import _PublicResolver
from mjasync._http.transport import HttpResponse
from mjasync._protocol.error_rules import is_refusal
from mjasync._protocol.parsing import parse_reply
from mjasync._submission_queue import _to_datetime
from mjasync._validation import CLIENT_DEFAULT
from support.pictures import png
from support.scripted_server import answering, asking, http

ACCEPTED = {"code": 1, "result": "1"}


def test_base_urls_that_are_no_text() -> None:
    """A URL object is accepted; anything else is refused by its type."""
    url = URL("https://api.example.com")
    assert "api.example.com" in repr(Client(cast("Any", url), ""))
    with pytest.raises(ConfigurationError, match="base_url must be text, not int"):
        Client(cast("Any", 7), "")


def test_a_machine_without_a_boot_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:  # noqa: ANN401
    """The process has an identifier of its own then."""
    monkeypatch.setattr(clock_module, "_BOOT_ID", tmp_path / "missing")
    clock_module._boot_id.cache_clear()
    try:
        assert len(Clock().boot_id()) == 32
    finally:
        clock_module._boot_id.cache_clear()


async def test_a_task_whose_end_cannot_be_seen_holds_nothing() -> None:
    """Once the client is closed, what waits for the end of a task is released at once."""
    released: list[str] = []
    async with Client("http://127.0.0.1:9", "") as mj:
        context = mj._context
    context.call_when_ended(TaskInfo(id="1"), lambda _: True, lambda: released.append("1"))
    assert released == ["1"]


class Uncopyable(Exception):
    """An exception whose arguments cannot be passed again."""

    def __init__(self, first: str, *, second: str) -> None:
        super().__init__(first, second)


def test_copies_of_errors() -> None:
    """Each waiter adds notes to its own copy; what cannot be copied is shared."""
    error = ValueError("bad")
    error.add_note("first")
    copied = copy_for_raising(error)
    copied.add_note("second")
    assert (error.__notes__, copied.__notes__) == (["first"], ["first", "second"])
    odd = Uncopyable("a", second="b")
    with pytest.raises(TypeError):
        copy.copy(odd)
    assert copy_for_raising(odd) is odd


def test_a_zoom_without_a_proposed_text_takes_that_of_the_picture() -> None:
    """Some servers open the modal of a custom zoom empty."""
    task = SimpleNamespace(
        final_prompt=None,
        parent=SimpleNamespace(final_prompt=None, prompt="a fox"),
        _speed=None,
        _context=None,
    )
    request = ModalRequest(task=cast("Any", task), prompt=None, zoom="1.8")
    assert request._compose_prompt() == "a fox --zoom 1.8"


async def test_a_submission_is_reported_once() -> None:
    """An accepted submission stays accepted, whatever becomes of its task."""
    breaker = CircuitBreaker(threshold=1)
    report = _SubmissionReport(breaker, breaker.start_submission(), asyncio.Queue())
    report.on_change(cast("Any", SimpleNamespace(id="1")))
    report.on_uncertain(mjasync.SubmitUncertain("lost"), 0.0)
    assert breaker.state is CircuitState.CLOSED


async def test_fewer_links_than_pictures() -> None:
    """An upload without a link for each picture is no success."""
    reply = http(200, {"code": 1, "result": ["https://cdn.example.com/a.png"]})
    async with answering(reply) as server, asking(server.url) as mj:
        with pytest.raises(mjasync.MalformedReply, match="1 links for 2 images"):
            await mj.upload([png(), png() + b"\0"])


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its host and port are those of a proxy, which may be on a private address."""
    monkeypatch.setenv("HTTP_PROXY", "http://10.0.0.1:8080")
    monkeypatch.setenv("NO_PROXY", "internal.example.com")
    network_module._environment_proxy.cache_clear()
    try:
        network = NetworkSettings(origin=URL("http://api.example.com"), trust_env=True)
        assert network.is_proxy("10.0.0.1", 8080)
        assert not network.is_proxy("10.0.0.1", 80)
        assert network.proxy_for(URL("http://internal.example.com")) is None
    finally:
        network_module._environment_proxy.cache_clear()


@pytest.mark.parametrize(
    "headers, date",
    [
        ({"Date": "Sat, 28 Nov 2026 00:00:00 GMT"}, datetime(2026, 11, 28, tzinfo=UTC)),
        ({"Date": "Sat, 28 Nov 2026 00:00:00 GMT", "Age": "5"}, None),
        ({"Date": "yesterday"}, None),
        ({}, None),
    ],
)
def test_dates_of_responses(headers: dict[str, str], date: datetime | None) -> None:
    """A cached response has no date of the server, and neither has one that is no date."""
    assert _date_of(HttpResponse(200, headers, b"")) == date


async def test_the_date_of_a_server_that_is_down() -> None:
    """It is unknown, and that is no error."""
    async with answering(None) as server, asking(server.url) as mj:
        assert await mj._context.api.server_date("never-seen") is None


def test_headers_without_secrets_are_the_same() -> None:
    """Without a secret there is nothing to replace."""
    headers = {"X-Id": "1"}
    assert Redactor([]).clean_headers(headers) is headers


async def test_a_session_that_its_owner_closed() -> None:
    """The error names the session, and not the client."""
    async with aiohttp.ClientSession() as session:
        pass
    async with Client("http://127.0.0.1:9", "", session=session) as mj:
        with pytest.raises(mjasync.ClientClosed, match="session given to this Client"):
            await mj.fetch(["1"])


async def test_only_public_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a public address is resolved; one of a private one is refused."""
    closed: list[bool] = []

    class Names:
        async def resolve(self, host: str, *_: object) -> list[dict[str, str]]:
            return [{"host": {"public.example.com": "1.1.1.1"}.get(host, "10.0.0.1")}]

        async def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr("aiohttp.DefaultResolver", Names)
    resolver = _PublicResolver(NetworkSettings(origin=URL("http://api.example.com")))
    (address,) = await resolver.resolve("public.example.com", 443)
    assert address["host"] == "1.1.1.1"
    with pytest.raises(OSError, match="not public"):
        await resolver.resolve("private.example.com", 443)
    await resolver.close()
    assert closed == [True]


async def test_a_token_and_a_login_in_one_header() -> None:
    """Only one of them could be sent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # aiohttp 4 will have headers instead
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("me", "secret"))
    async with session:
        with pytest.raises(ConfigurationError, match="Authorization"):
            Client("http://127.0.0.1:9", "token", auth="bearer", session=session)


async def test_an_input_link_that_may_not_be_followed() -> None:
    """The refusal is that of `image_links`, not of the server."""
    async with (
        answering(http(200, ACCEPTED)) as server,
        asking(server.url, image_links=lambda _: False) as mj,
    ):
        with pytest.raises(mjasync.LinkRefused):
            await mj.imagine("a fox", images="http://127.0.0.2/a.png").submit()
    assert server.asked == []


@pytest.mark.parametrize(
    "status, reply, is_refused",
    [
        (400, {"code": 9, "description": "操作异常"}, True),
        (400, {"code": 400, "description": "bad"}, True),
        (400, {"code": 77, "description": "odd"}, False),
    ],
)
def test_refusals_by_shape(status: int, reply: dict[str, Any], is_refused: bool) -> None:
    """A code of the protocol, or one that repeats the status, is the shape of a refusal."""
    parsed = parse_reply(status, {}, mjasync._json.dump_json(reply))
    assert is_refusal(parsed, ()) is is_refused


async def test_pictures_that_are_missing() -> None:
    """They are refused before a Task exists."""
    async with Client("http://127.0.0.1:9", "") as mj:
        with pytest.raises(InvalidRequest, match="An image is required"):
            mj.describe(cast("Any", None))


def test_small_things() -> None:
    """Times without an end have no date; the default shows itself by name."""
    assert _to_datetime(float("inf")) is None
    assert repr(CLIENT_DEFAULT) == "CLIENT_DEFAULT"
