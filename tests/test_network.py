"""The way to a server: proxies, connections, what a client refuses to be set up with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

import mjasync
from mjasync import Client, ConfigurationError
from mjasync._http import network
from mjasync.errors import ConnectionFailed, SubmitUncertain
from mjasync.simulator import Simulator
from support.clients import connect
from support.clock import FakeClock
from support.loopback import serving_streams
from support.pictures import PNG
from support.scripted_server import (
    TOKEN,
    Answering,
    answering,
    asking,
    finished,
    http,
    length_of,
    picture,
)

API = "http://api.example.com"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxies but those of a test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    network._environment_proxy.cache_clear()
    yield
    network._environment_proxy.cache_clear()


# --- proxies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["argument", "with a login", "environment", "session"])
async def test_a_proxy_takes_every_request(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls and pictures of other hosts go through it."""
    answers = (picture("http://cdn.example.com/a.png"), http(200, PNG))
    async with answering(*answers) as proxy, aiohttp.ClientSession(proxy=proxy.url) as session:
        options: dict[str, Any] = {
            "argument": {"proxy": f" {proxy.url} "},
            "with a login": {"proxy": proxy.url.replace("//", "//me:pass-word@")},
            "environment": {"trust_env": True},
            "session": {"session": session},
        }[how]
        if how == "environment":
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with Client(API, TOKEN, **options) as mj:
            task = await mj.task("17").refresh()
            assert await task.read() == PNG
    assert proxy.paths == [f"{API}/mj/task/17/fetch", "http://cdn.example.com/a.png"]
    logins = [b"Proxy-Authorization: Basic" in request for request in proxy.asked]
    assert logins == [how == "with a login"] * 2
    assert TOKEN.encode() not in proxy.asked[1]


async def test_hosts_that_the_environment_takes_out_go_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NO_PROXY is heeded, and so is that nothing was said of the environment."""
    async with answering(http(200, [])) as proxy, answering(http(200, [])) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for trust in (True, False):
            async with asking(server.url, trust_env=trust) as mj:
                await mj.tasks()
    assert (len(proxy.asked), len(server.asked)) == (0, 2)


async def test_a_proxy_that_refuses() -> None:
    """The error says that it was the proxy; nothing has reached the server."""
    async with (
        answering(http(407)) as proxy,
        asking("https://api.example.com", proxy=proxy.url) as mj,
    ):
        with pytest.raises(ConnectionFailed, match=r"proxy refused.*HTTP 407"):
            await mj.tasks()


@pytest.mark.parametrize(
    "proxy, words",
    [
        ("127.0.0.1:8080", "as in 'http://127.0.0.1:8080'"),
        ("http://", "HTTP proxy"),
        ("http://host:99999", "HTTP proxy"),
        (8080, "HTTP proxy"),
        ("socks5://127.0.0.1:1080", "aiohttp_socks"),
    ],
)
def test_what_is_no_proxy(proxy: Any, words: str) -> None:  # noqa: ANN401
    """It is refused when the client is made, with what to do."""
    with pytest.raises(ConfigurationError, match=words):
        Client(API, proxy=proxy)


async def test_a_session_has_its_own_proxies() -> None:
    """What would be ignored is refused."""
    async with aiohttp.ClientSession() as session:
        for options in ({"proxy": "http://127.0.0.1:8080"}, {"trust_env": True}):
            with pytest.raises(ConfigurationError, match="set them on the session"):
                Client(API, session=session, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"must be an aiohttp\.ClientSession"):
        Client(API, session=aiohttp.ClientSession)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="limits must be"):
        Client(API, limits=16)  # type: ignore[arg-type]


async def test_two_logins_in_one_header_are_refused() -> None:
    """Only one of them could be sent, and the other would be missed without a word."""
    login = {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}
    Client(API, TOKEN, headers=login)
    with pytest.raises(ConfigurationError, match="sent as Authorization"):
        Client(API, TOKEN, auth="bearer", headers=login)
    with pytest.raises(ConfigurationError, match="sent as mj-api-secret"):
        Client(API, TOKEN, headers={"MJ-Api-Secret": "x"})


# --- connections -------------------------------------------------------------------------------


@asynccontextmanager
async def keeping(server: Answering, answer: bytes) -> AsyncIterator[list[int]]:
    """Keep connections open; the number of each request's connection."""
    connections: list[asyncio.StreamWriter] = []
    used: list[int] = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: asyncio.Event
    ) -> None:
        connections.append(writer)
        number = len(connections)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(length_of(head))
                used.append(number)
                writer.write(answer.replace(b"Connection: close\r\n", b""))
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async with serving_streams(handle) as server.url:
        yield used


async def test_a_submission_takes_no_connection_that_was_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server may be closing it at this very moment; looks keep theirs, and try again."""
    now = [1000.0]
    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: now[0])
    server = Answering()
    reply = http(200, {"code": 1, "result": "17", "id": "17", "status": "SUBMITTED"})
    async with keeping(server, reply) as used, asking(server.url) as mj:
        await mj.imagine("a fox").submit()
        await mj.task("17").refresh()
        now[0] += 0.2
        await mj.imagine("a fox").submit()
        now[0] += 0.3
        await mj.imagine("a fox").submit()
        now[0] += 20
        await mj.task("17").refresh()
    first, look, again, later, look_again = used
    assert look == look_again
    assert first == again
    assert later not in {first, look}


# --- lists -------------------------------------------------------------------------------------


async def test_an_empty_429_does_not_hold_up_a_reconcile(
    plain: Simulator, clock: FakeClock
) -> None:
    """It is a gateway's limit on paths that it has no route for: there is no list there."""
    retries = mjasync.Retries()
    async with connect(plain, clock=clock, reconcile=True, retries=retries) as mj:
        plain.fault("reply", on="list", times=None, status=429, body="")
        plain.fault("reset_after", on="submit")
        submitting = asyncio.ensure_future(mj.imagine("a fox").submit())
        await clock.until_done(submitting, mj)
        assert isinstance(submitting.exception(), SubmitUncertain)
        assert [request.path for request in plain.requests].count("/mj/task/list") <= 3


async def test_a_rate_limit_with_words_is_waited_for() -> None:
    """What says how long to wait, or why, is no missing list."""
    retries = mjasync.Retries(read=mjasync.RetryPolicy(max_attempts=3, initial_delay=0))
    for limited in (http(429, {"error": "slow down"}), http(429, headers={"Retry-After": "0"})):
        async with (
            answering(limited, http(200, [])) as server,
            asking(server.url, retries=retries) as mj,
        ):
            assert await mj.tasks() == []


async def test_a_task_that_goes_back_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """A cache, or several servers behind one address: once, not at every look."""

    def at(status: str, progress: int) -> bytes:
        return http(200, {"id": "17", "status": status, "progress": f"{progress}%"})

    steps = [at("IN_PROGRESS", 50), at("IN_PROGRESS", 30), at("SUBMITTED", 0)]
    steps += [at("IN_PROGRESS", 50), at("IN_PROGRESS", 30), at("SUCCESS", 100)]
    schedule = mjasync.Schedule(min_interval=0.001, max_interval=0.002)
    async with answering(*steps) as server, asking(server.url, schedule=schedule) as mj:
        await mj.task("17")
    told = [record.getMessage() for record in caplog.records if "went back" in record.msg]
    assert len(told) == 1
    assert told[0].startswith("task 17 went back from IN_PROGRESS 50% to IN_PROGRESS 30%: a cache")


async def test_pictures_through_a_session_of_the_caller() -> None:
    """The session for other hosts ends with the client; the caller's does not."""
    async with (
        aiohttp.ClientSession() as session,
        answering(http(200, PNG)) as other,
        answering(picture(f"{other.url}/a.png")) as server,
    ):
        async with finished(server, session=session) as task:
            await task.read()
            elsewhere = task._context.api.transport.sessions._public_session
            assert elsewhere is not None
        assert elsewhere.closed
        assert not session.closed
        assert session.connector is not None
        assert not session.connector.closed
