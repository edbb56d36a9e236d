"""What a probe finds out, that it only reads, and how `mjasync doctor` tells it."""

# ruff: noqa: ANN401  options of any kind

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import attrs
import pytest
from aiohttp import web
from yarl import URL

from mjasync import (
    AuthenticationError,
    Client,
    Clock,
    ConnectionFailed,
    Probe,
    Retries,
)
from mjasync._probe.questions import AnswerKind, detect_family
from mjasync.cli.signals import GracefulShutdown
from mjasync.simulator import DIALECTS, Simulator
from support.clients import AT_ONCE, EAGER, QUICK
from support.command_line import Outcome, Run
from support.loopback import serving
from support.scripted_server import answering, http
from support.waiting import PATIENCE, eventually

TOKEN = "sk-" + "t" * 48
SPEEDS = ("relax", "fast", "turbo")
HOSTS = ("relay", "origin", "proxy")
RESALES = ("new-api", "one-hub")


@attrs.frozen
class Known:
    """What is to be found out about a dialect."""

    family: str
    is_gateway: bool = False
    speeds: tuple[str, ...] = SPEEDS
    image_hosts: tuple[str, ...] = HOSTS
    any_path: bool = False
    task_list: bool = True
    task_queue: bool = True
    image_by_id: bool = False
    webhooks: str = "kept"


_RESALE: dict[str, Any] = {
    "is_gateway": True,
    "image_hosts": (),
    "task_list": False,
    "task_queue": False,
    "image_by_id": True,
    "webhooks": "dropped by default",
}
KNOWN = {
    "original": Known("original", speeds=(), image_hosts=()),
    "plus": Known("plus"),
    "open-plus": Known("open-plus", task_queue=False, image_hosts=()),
    "new-api": Known("new-api", speeds=(), any_path=True, **_RESALE),
    "new-api-2025": Known("new-api", speeds=(), any_path=True, **_RESALE),
    "one-hub": Known("one-hub", **_RESALE),
    "one-api": Known("gateway", speeds=(), any_path=True, **_RESALE),
    "path-gateway": Known("path-gateway", is_gateway=True, webhooks="unknown"),
}


@asynccontextmanager
async def probing(dialect: str = "plus", **options: Any) -> AsyncIterator[tuple[Simulator, Client]]:
    """A simulator that finishes everything at once, and a client of it."""
    names = {"token", "auth", "speed", "speed_via", "image_host", "clock", "reconcile"}
    of_client = {name: options.pop(name) for name in names & options.keys()}
    settings = {"token": TOKEN, "time_scale": 0, "draw": False, **options.pop("sim", {}), **options}
    async with Simulator(dialect, **settings) as sim, client(sim.url, **of_client) as mj:
        yield sim, mj


def client(url: str, **options: Any) -> Client:
    """A quick client."""
    usual = {"token": TOKEN, "retries": EAGER, "schedule": QUICK, "timeout": PATIENCE}
    return Client(url, **{**usual, **options})


def asked(sim: Simulator) -> list[tuple[str, str]]:
    """Method and path of every request, also of those a gateway passed on."""
    own = [(request.method, request.path) for request in sim.requests]
    return own + (asked(sim.upstream) if sim.upstream else [])


# --- which server it is ------------------------------------------------------------------------


def test_every_dialect_is_in_the_table() -> None:
    """No dialect of the simulator goes unrecognised."""
    assert set(KNOWN) == set(DIALECTS)


@pytest.mark.parametrize("dialect", KNOWN)
async def test_each_dialect_is_recognised(dialect: str) -> None:
    """The report names the family and what works there, and finds nothing wrong."""
    async with probing(dialect) as (sim, mj):
        report = await mj.probe()
    known = attrs.asdict(KNOWN[dialect])
    assert {name: getattr(report, name) for name in known} == known
    assert (report.auth, report.list_by_condition, report.links_reachable) == ("secret", True, None)
    assert (report.problems, report.ok, report.drawn) == ((), True, None)
    assert report.url == f"{sim.url}/mj"
    assert 0 < report.round_trip < PATIENCE


@pytest.mark.parametrize("dialect", KNOWN)
async def test_a_probe_only_reads(dialect: str) -> None:
    """Nothing is submitted, here or upstream; the POSTs there are ask for lists."""
    async with probing(dialect) as (sim, mj):
        await mj.probe()
        assert sim.submissions == []
        assert not [request for request in sim.requests if request.kind == "submit"]
        assert not [path for _, path in asked(sim) if "/submit" in path or "/insight" in path]
        posts = {path for method, path in asked(sim) if method != "GET"}
        assert posts == {"/mj/task/list-by-condition", "/mj/account/query"}


@pytest.mark.parametrize("dialect", KNOWN)
async def test_no_list_endpoint(dialect: str) -> None:
    """A server without lists is recognised all the same, and what that means is said."""
    async with probing(dialect, list_endpoint=False) as (_, mj):
        report = await mj.probe()
    assert report.family == KNOWN[dialect].family
    assert (report.list_by_condition, report.task_list) == (False, False)
    assert any("one by one" in note for note in report.notes)
    assert any("no lost job can be looked up" in note for note in report.notes)


@pytest.mark.parametrize(
    "front, behind, family",
    [
        ("new-api", "original", "new-api"),
        ("one-hub", "open-plus", "one-hub"),
        ("path-gateway", "original", "path-gateway"),
        ("path-gateway", "open-plus", "path-gateway"),
        ("path-gateway", "new-api", "path-gateway"),
        ("new-api", "path-gateway", "new-api"),
    ],
)
async def test_a_gateway_is_told_from_what_is_behind_it(
    front: str, behind: str, family: str
) -> None:
    """A chain is known by its front."""
    async with (
        Simulator(behind, token=TOKEN, time_scale=0, draw=False) as server,
        probing(front, upstream=server.url, upstream_token=TOKEN) as (_, mj),
    ):
        assert (await mj.probe()).family == family


@pytest.mark.parametrize(
    "signs, family",
    [
        (
            {
                "fetch": AnswerKind.NO_CONTENT,
                "elsewhere": AnswerKind.PAGE,
                "proxy": AnswerKind.PAGE,
            },
            "plus",
        ),
        (
            {"fetch": AnswerKind.VOID, "elsewhere": AnswerKind.PAGE, "proxy": AnswerKind.MISSING},
            "original",
        ),
        ({"fetch": AnswerKind.NO_CONTENT, "queue": AnswerKind.PAGE}, "open-plus"),
        ({"fetch": AnswerKind.NO_CONTENT, "unregistered": AnswerKind.PAGE}, "gateway"),
        ({"fetch": AnswerKind.UNKNOWN_TASK, "elsewhere": AnswerKind.MISSING}, "gateway"),
        ({"fetch": AnswerKind.MISSING}, "unknown"),
    ],
    ids=str,
)
def test_signs_that_no_simulator_gives(signs: dict[str, AnswerKind], family: str) -> None:
    """A web page around a server makes no gateway of it; an unheard-of gateway is one."""
    assert detect_family(signs) == family


@pytest.mark.parametrize(
    "answer",
    [
        http(404),
        http(404, {"detail": "Not Found"}),
        http(200, "<!doctype html><title>Welcome</title>"),
        http(301, headers={"Location": "https://www.example.com/"}),
    ],
    ids=["404", "another API", "page", "redirect"],
)
async def test_no_server_of_the_family(answer: bytes) -> None:
    """What is no Midjourney-Proxy is unknown, and the base URL is what to look at."""
    async with answering(answer) as server, client(server.url) as mj:
        report = await mj.probe()
    assert (report.family, report.is_gateway, report.clock_skew) == ("unknown", False, None)
    assert not report.ok
    assert "base URL" in report.problems[0]
    assert report.notes == ()


ONE_API = {"X-Oneapi-Request-Id": "2026112714"}
NO_MJ_ID = {"code": 4, "description": "Get mj id failed Error", "result": ""}
NO_CHANNEL = {"error": {"message": "There are no channels available for model mj_imagine"}}


async def test_one_api_of_another_maker() -> None:
    """A gateway with words of its own for an unknown task is one, and what works is told."""
    async with answering(http(400, NO_MJ_ID, ONE_API)) as server, client(server.url) as mj:
        report = await mj.probe()
    assert (report.family, report.is_gateway, report.any_path) == ("gateway", True, True)
    assert report.list_by_condition is True
    assert any("one-api" in note for note in report.notes)


async def test_gateway_without_a_channel() -> None:
    """One that has no channel says so; its words are in the report."""
    async with answering(http(503, NO_CHANNEL, ONE_API)) as server, client(server.url) as mj:
        (problem,) = (await mj.probe()).problems
    assert "There are no channels available" in problem


@pytest.mark.parametrize(
    "headers, family",
    [(ONE_API, "gateway"), ({**ONE_API, "X-New-Api-Version": "v0.9"}, "new-api"), ({}, "original")],
    ids=["one-api", "new-api", "none"],
)
async def test_gateways_sign_their_answers(headers: dict[str, str], family: str) -> None:
    """A gateway that answers as the server behind it would is known by its headers."""
    async with answering(http(200, b"", headers)) as server, client(server.url) as mj:
        assert (await mj.probe()).family == family


@pytest.mark.parametrize("status", [401, 404])
async def test_base_url_of_another_api(status: int) -> None:
    """A base URL that ends in /v1 is told to go without, refused or not found."""
    answer = http(status, {"error": {"message": "Invalid URL (GET /v1/mj/task)"}}, ONE_API)
    async with answering(answer) as server, client(f"{server.url}/v1") as mj:
        try:
            said = (await mj.probe()).problems[0]
        except AuthenticationError as error:
            said = str(error)
        else:
            assert "a gateway made from one-api" in said
    assert "ends in /v1" in said


async def test_guard_of_a_busy_machine_is_named() -> None:
    """new-api's refusal while its CPU is busy is not taken for a broken server."""
    async with probing("new-api") as (sim, mj):
        sim.fault("cpu_guard", times=None)
        (problem,) = (await mj.probe()).problems
    assert "guard of its machine" in problem


async def test_web_limit_is_named() -> None:
    """An empty 429 for a path that the gateway does not know is its web limit."""
    async with probing("new-api") as (sim, mj):
        sim.fault("web_limit", times=None, allowed=0)
        (problem,) = (await mj.probe()).problems
    assert "unanswered" in problem
    assert "web limit" in problem


async def test_guard_against_private_addresses_is_named() -> None:
    """A picture that new-api may not fetch is a problem, and its guard is named."""
    async with probing("new-api") as (sim, mj):
        sim.fault("ssrf_guard", times=None)
        (problem,) = (await mj.probe(spend=mj.imagine("a lighthouse"))).problems
    assert "SSRF" in problem


@pytest.mark.parametrize("path", ["account/list", "account/query"])
@pytest.mark.parametrize("enabled", [True, False])
async def test_accounts_that_are_all_disabled(path: str, enabled: bool) -> None:
    """When no account is enabled nothing can be drawn, however well the server answers."""
    accounts = [{"id": "1", "enable": False}, {"id": "2", "enable": enabled}]

    async def handle(request: web.BaseRequest) -> web.Response:
        if request.path == f"/mj/{path}":
            return web.json_response(accounts)
        if request.path.endswith("/fetch"):
            return web.Response(status=204)
        return web.json_response([]) if "/task/" in request.path else web.Response(status=404)

    async with serving(handle) as url, client(url) as mj:
        problems = (await mj.probe()).problems
    assert [*problems] == [] if enabled else "2" in problems[0] and "disabled" in problems[0]


async def test_original_without_an_account() -> None:
    """A server that shows all its accounts and has none is told of."""
    async with probing("original", sim={"accounts": 0}) as (_, mj):
        (problem,) = (await mj.probe()).problems
    assert "no account" in problem


async def test_a_base_url_with_a_mode_and_a_mount_is_no_obstacle() -> None:
    """The server is asked at its plain path, whatever mode the client uses."""
    async with probing("original", speed="turbo", image_host="proxy") as (sim, mj):
        report = await mj.probe()
        assert report.family == "original"
        assert sim.requests[0].path.startswith("/mj/task/")


# --- the token ---------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["secret", "bearer"])
@pytest.mark.parametrize("dialect", KNOWN)
async def test_wrong_token(dialect: str, auth: str) -> None:
    """A token that is refused both ways is an error, after two questions, and is not shown."""
    wrong = "sk-" + "w" * 48
    async with (
        probing(dialect, sim={"token": TOKEN}) as (sim, _),
        client(sim.url, token=wrong, auth=auth) as mj,
    ):
        with pytest.raises(AuthenticationError, match="mj-api-secret and as Auth") as caught:
            await mj.probe()
        assert caught.value.http_status == 401
        assert wrong not in str(caught.value)
        shown = [{"mj-api-secret", "Authorization"} & set(r.headers) for r in sim.requests]
        other = {"secret": "Authorization", "bearer": "mj-api-secret"}[auth]
        assert len(shown) == 2
        assert shown[1] == {other}


async def test_no_token_where_one_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token there is no other way to show it."""
    monkeypatch.delenv("MJASYNC_TOKEN", raising=False)
    async with probing(token="") as (sim, mj):
        with pytest.raises(AuthenticationError, match="none to show"):
            await mj.probe()
        assert len(sim.requests) == 1


async def test_bearer_only() -> None:
    """A host that takes the token as a bearer alone is found out, and so is what to set."""
    async with probing(sim={"token": f"Bearer {TOKEN}"}) as (sim, mj):
        report = await mj.probe()
        assert (report.family, report.auth) == ("plus", "bearer")
        assert report.problems == (
            'It refuses auth="secret": set auth="bearer" (MJASYNC_AUTH=bearer).',
        )
        assert not [r for r in sim.requests if {"mj-api-secret", "Authorization"} <= set(r.headers)]
    async with probing(sim={"token": f"Bearer {TOKEN}"}, auth="bearer") as (_, mj):
        report = await mj.probe()
        assert (report.auth, report.ok) == ("bearer", True)


@pytest.mark.parametrize("dialect", ["original", "plus", "open-plus", "one-hub"])
async def test_bearer_refused(dialect: str) -> None:
    """Where a bearer is refused, the secret is tried, and the rest is asked with that."""
    async with probing(dialect, auth="bearer") as (_, mj):
        report = await mj.probe()
    assert (report.family, report.auth, len(report.problems)) == (
        KNOWN[dialect].family,
        "secret",
        1,
    )


async def test_a_token_kept_from_the_second_session() -> None:
    """The second session is closed when the probe is over, and the client goes on as before."""
    async with probing(sim={"token": f"Bearer {TOKEN}"}) as (sim, mj):
        await mj.probe()
        with pytest.raises(AuthenticationError):
            await mj.tasks()
        assert "Authorization" not in sim.requests[-1].headers


@pytest.mark.parametrize("token", ["", TOKEN])
@pytest.mark.parametrize("dialect", KNOWN)
async def test_open_server(dialect: str, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that asks for no token is recognised as one, with or without a token at hand."""
    monkeypatch.delenv("MJASYNC_TOKEN", raising=False)
    async with probing(dialect, sim={"token": None}, token=token) as (_, mj):
        report = await mj.probe()
    assert (report.family, report.auth, report.ok) == (KNOWN[dialect].family, "none", True)
    assert any("whoever finds it" in note for note in report.notes) == bool(token)


# --- what the client is set up to do -----------------------------------------------------------


@pytest.mark.parametrize(
    "dialect, options, said",
    [
        ("original", {"speed": "turbo"}, 'set speed_via="prompt"'),
        ("new-api", {"speed": "turbo"}, 'set speed_via="prompt"'),
        ("one-hub", {"speed": "turbo", "speed_via": "prompt"}, 'set speed_via="path"'),
        ("one-hub", {"image_host": "proxy"}, "leave it out"),
        ("original", {"image_host": "proxy"}, "leave it out"),
    ],
)
async def test_what_is_set_and_will_not_work(
    dialect: str, options: dict[str, str], said: str
) -> None:
    """A setting the server does not heed is a problem, with what to set instead."""
    async with probing(dialect, **options) as (_, mj):
        report = await mj.probe()
    (problem,) = report.problems
    assert said in problem


@pytest.mark.parametrize(
    "dialect, options",
    [
        ("path-gateway", {"speed": "turbo", "image_host": "proxy"}),
        ("one-hub", {"speed": "turbo"}),
        ("new-api", {"speed": "turbo", "speed_via": "prompt"}),
        ("original", {"speed": "turbo", "speed_via": "both"}),
    ],
)
async def test_what_is_set_and_works(dialect: str, options: dict[str, str]) -> None:
    """A setting the server heeds is none, nor is one that has a second way."""
    async with probing(dialect, **options) as (_, mj):
        assert (await mj.probe()).problems == ()


# --- the clock ---------------------------------------------------------------------------------


class Wrong(Clock):
    """A wall clock that is wrong by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def wall(self) -> float:
        """Seconds since some other epoch."""
        return super().wall() + self._seconds


@pytest.mark.parametrize("seconds", [-7200, -60, 0, 3600])
async def test_clock_skew(seconds: int) -> None:
    """The server is ahead by as much as the clock here is behind; much is worth a word."""
    async with probing(clock=Wrong(seconds)) as (_, mj):
        report = await mj.probe()
    assert report.clock_skew == pytest.approx(-seconds, abs=2)
    far_off = abs(seconds) > 300
    assert any("disagree" in said for said in report.notes) == far_off


@pytest.mark.parametrize(
    "date, skew",
    [
        (None, None),
        ("yesterday", None),
        ("Thu, 01 Jan 1970 00:16:40 GMT", 0),
        ("Thu, 01 Jan 1970 00:16:50 -0000", 10),
    ],
)
async def test_date_header(date: str | None, skew: int | None) -> None:
    """A Date that is missing or unreadable tells nothing."""

    class Still(Clock):
        def wall(self) -> float:
            return 1000.5

    headers = {"Date": date} if date else {}
    async with (
        answering(http(204, headers=headers)) as server,
        client(server.url, clock=Still()) as mj,
    ):
        assert (await mj.probe()).clock_skew == skew


# --- when it does not answer -------------------------------------------------------------------


async def test_a_dead_server_is_tried_as_often_as_any_connection() -> None:
    """Nothing listens: the connect policy alone decides when to give up."""
    async with Simulator(token=TOKEN) as sim:
        url = sim.url
    async with client(url, retries=Retries(read=AT_ONCE, connect=AT_ONCE)) as mj:
        with pytest.raises(ConnectionFailed, match="No connection"):
            await mj.probe()


async def test_a_cut_connection_is_tried_again_within_the_connect_policy() -> None:
    """A server that hangs up is asked the first question only, that many times."""
    async with answering(None) as server, client(server.url) as mj:
        with pytest.raises(ConnectionFailed, match="cut off"):
            await mj.probe()
        assert len(set(server.paths)) == 1
        assert len(server.paths) <= 2 * EAGER.connect.max_attempts  # aiohttp itself asks once more


async def test_a_silent_server_is_asked_once() -> None:
    """No answer in time is no answer: ConnectionFailed, and no second attempt."""
    async with (
        answering(http(200), hang=True) as server,
        client(server.url, read_timeout=0.05) as mj,
    ):
        with pytest.raises(ConnectionFailed, match="not answer in time"):
            await mj.probe()
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [403, 429, 500, 503])
async def test_a_server_in_trouble_is_left_alone(status: int) -> None:
    """A failure or a rate limit at the first question ends the probe, with a report."""
    async with probing() as (sim, mj):
        sim.fault("reply", on="any", times=None, status=status)
        report = await mj.probe()
        assert len(sim.requests) == 1
    assert (report.family, report.auth, report.task_list) == ("unknown", "unknown", None)
    assert report.problems[0].startswith("It cannot be probed now.")
    assert report.notes == ()


async def test_a_failing_first_knock_needs_no_token() -> None:
    """Trouble is reported as trouble, token or not."""
    async with probing(sim={"token": None}, token="") as (sim, mj):
        sim.fault("reply", on="fetch", status=503)
        assert (await mj.probe()).auth == "unknown"


@pytest.mark.parametrize("fault", [{"kind": "reset_before"}, {"kind": "reply", "status": 500}])
async def test_a_question_left_unanswered(fault: dict[str, Any]) -> None:
    """One question that fails is unknown and named; the rest of the report stands."""
    async with probing() as (sim, mj):
        sim.fault(on="list", endpoint="queue", times=None, **fault)
        report = await mj.probe()
    assert (report.family, report.task_list, report.task_queue) == ("plus", True, None)
    (problem,) = report.problems
    assert "unanswered (queue)" in problem


async def test_the_other_way_in_trouble_too() -> None:
    """A token refused one way, and not judged the other, is refused."""
    locked, trouble = http(401), http(503)
    async with answering(locked, trouble) as server, client(server.url) as mj:
        with pytest.raises(AuthenticationError):
            await mj.probe()


# --- pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["original", "plus", "open-plus", "path-gateway"])
async def test_the_newest_link_is_tried(dialect: str) -> None:
    """A finished task of the list lends its link, and that is all that is done with it."""
    async with probing(dialect) as (sim, mj):
        await mj.imagine("a fox")
        done = await mj.imagine("an owl")
        sim.requests.clear()
        report = await mj.probe()
        assert (report.links_reachable, report.ok) == (True, True)
        images = [request.path for request in sim.requests if request.kind == "image"]
        assert images == [URL(done.image_url).path]
        assert len(sim.submissions) == 2


async def test_a_failed_task_lends_no_link() -> None:
    """Tasks without a picture tell nothing of links."""
    async with probing() as (sim, mj):
        sim.fault("fail")
        await mj.gather(mj.imagine("a fox"), mj.shorten("an owl"), return_exceptions=True)
        assert (await mj.probe()).links_reachable is None


async def test_an_expired_link_is_worth_a_note() -> None:
    """Links expire: that is no fault of the set-up."""
    async with probing() as (sim, mj):
        await mj.imagine("a fox")
        sim.fault("expired_link", times=None)
        report = await mj.probe()
    assert (report.links_reachable, report.ok) == (False, True)
    assert "expired" in report.notes[-1]


async def test_an_unreadable_link_is_a_problem() -> None:
    """A picture that cannot be had is, and it is tried once."""
    async with probing() as (sim, mj):
        await mj.imagine("a fox")
        sim.fault("reply", on="image", times=None, status=500)
        sim.requests.clear()
        report = await mj.probe()
        assert sum("attachments" in request.path for request in sim.requests) == 1
    assert report.links_reachable is False
    assert "cannot be read" in report.problems[0]


# --- spending ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", KNOWN)
async def test_spending_draws_one_picture(dialect: str) -> None:
    """With a task to spend, that one is submitted and finished, and its link answers."""
    async with probing(dialect) as (sim, mj):
        task = mj.imagine("a lighthouse")
        report = await mj.probe(spend=task)
        assert [paid.prompt for paid in sim.submissions] == ["a lighthouse"]
        assert (report.drawn, report.links_reachable, report.ok) == (True, True, True)
        assert task.status == "SUCCESS"


async def test_a_picture_that_fails() -> None:
    """A task that fails is reported, not raised."""
    async with probing() as (sim, mj):
        sim.fault("fail", reason="Out of paint")
        report = await mj.probe(spend=mj.imagine("a lighthouse"))
    assert (report.drawn, report.links_reachable) == (False, None)
    assert "Out of paint" in report.problems[0]


async def test_a_picture_without_a_link() -> None:
    """What has no picture was finished all the same."""
    async with probing() as (_, mj):
        report = await mj.probe(spend=mj.shorten("a very red fox"))
    assert (report.drawn, report.links_reachable) == (True, None)
    assert "without a link" in report.problems[0]


async def test_a_picture_whose_link_is_dead() -> None:
    """A fresh picture that cannot be read is a problem, expired or not."""
    async with probing() as (sim, mj):
        sim.fault("expired_link", times=None)
        report = await mj.probe(spend=mj.imagine("a lighthouse"))
    assert (report.drawn, report.links_reachable) == (True, False)
    assert "cannot be read" in report.problems[0]


async def test_nothing_is_spent_where_it_cannot_work() -> None:
    """A refused set-up is seen to first; the task is not sent, and dropping it does not warn."""
    async with probing(sim={"token": f"Bearer {TOKEN}"}) as (sim, mj):
        report = await mj.probe(spend=mj.imagine("a lighthouse"))
        assert sim.submissions == []
        assert report.drawn is None
        assert "Nothing was spent" in report.problems[-1]
    async with answering(http(404)) as server, client(server.url) as mj:
        assert (await mj.probe(spend=mj.imagine("a lighthouse"))).drawn is None
    async with answering(None) as server, client(server.url) as mj:
        with pytest.raises(ConnectionFailed):
            await mj.probe(spend=mj.imagine("a lighthouse"))


# --- mjasync doctor ----------------------------------------------------------------------------


@pytest.fixture
def doctor(cli: Run, quick_clients: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run `mjasync doctor` in a thread; its output must not contain the token."""
    monkeypatch.setenv("MJASYNC_TOKEN", TOKEN)

    async def run(*argv: str) -> Outcome:
        outcome: Outcome = await cli("doctor", *argv)
        assert TOKEN not in outcome.out + outcome.err
        return outcome

    return run


TEXT = """\
{url}/mj
  family       new-api, a gateway in front of others
  auth         the token is taken as mj-api-secret
  speeds       none by path
  image hosts  none by path
  lists        list-by-condition: yes, task/list: no, task/queue: no
  webhooks     dropped by default
  clock        the same
  links        reachable: unknown
  round trip   N ms
note: In the path it takes any word for a speed and may lose it: set speed_via="prompt", or write \
the flag into the prompt.
note: It offers no choice of image hosts: leave image_host out.
note: It has no task list: mj.tasks() fails, and no lost job can be looked up.
note: It has no task queue: mj.queue() fails.
note: Its states are up to 15 s late: looking more often gains nothing.
note: It drops notify_hook by default: do not wait for webhooks.
No problems.
"""


async def test_doctor_text(doctor: Callable[..., Any]) -> None:
    """The report is plain lines on stdout, and nothing is said on stderr."""
    async with probing("new-api") as (sim, _):
        outcome = await doctor("--base-url", sim.url)
        assert sim.submissions == []
    assert (outcome.code, outcome.err) == (0, "")
    assert re.sub(r"\d+ ms", "N ms", outcome.out) == TEXT.format(url=sim.url)


async def test_doctor_json(doctor: Callable[..., Any]) -> None:
    """--json prints one object with every field of the report, and nothing else."""
    async with probing("path-gateway") as (sim, _):
        outcome = await doctor("--base-url", sim.url, "--json")
    record = json.loads(outcome.out)
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    names = {field.name for field in attrs.fields(Probe)}
    assert set(record) == {"ok", *names, "task", "error"}
    assert (record["ok"], record["family"], record["task"]) == (True, "path-gateway", None)
    assert record["image_hosts"] == [*HOSTS]


async def test_doctor_finds_something_wrong(doctor: Callable[..., Any]) -> None:
    """A problem is exit code 1, and is told with what to set."""
    async with probing("original") as (sim, _):
        options = ("--base-url", sim.url, "--speed", "turbo", "--auth", "bearer")
        outcome = await doctor(*options)
        machine = await doctor(*options, "--json")
    assert (outcome.code, machine.code) == (1, 1)
    assert 'problem: It refuses auth="bearer": set auth="secret"' in outcome.out
    assert 'problem: It does not heed speed="turbo"' in outcome.out
    assert "No problems" not in outcome.out
    assert json.loads(machine.out)["ok"] is False


async def test_doctor_spends_only_when_told_to(doctor: Callable[..., Any]) -> None:
    """--spend has one picture drawn, and names its task."""
    async with probing() as (sim, _):
        outcome = await doctor("--base-url", sim.url, "--spend")
        machine = await doctor("--base-url", sim.url, "--spend", "--json")
        first, second = sim.submissions
    assert (outcome.code, machine.code) == (0, 0)
    assert f"picture      drawn: yes (task {first.task_id})" in outcome.out
    assert "links        reachable: yes" in outcome.out
    assert json.loads(machine.out)["task"] == second.task_id


async def test_doctor_says_when_nothing_was_accepted(doctor: Callable[..., Any]) -> None:
    """A picture that was refused has no task to name."""
    async with probing() as (sim, _):
        sim.fault("reply", on="submit", status=400, body=b'{"code":4,"description":"no"}')
        outcome = await doctor("--base-url", sim.url, "--spend")
    assert outcome.code == 1
    assert "picture      drawn: no\n" in outcome.out


@pytest.mark.parametrize("seconds, said", [(-90, "90 s ahead"), (90, "90 s behind")])
async def test_doctor_tells_the_clock(
    doctor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seconds: int, said: str
) -> None:
    """A clock that is off is told with its direction."""
    still = partial(Client, retries=EAGER, clock=Wrong(seconds))
    monkeypatch.setattr("mjasync.cli.server_options.Client", still)
    async with probing() as (sim, _):
        outcome = await doctor("--base-url", sim.url)
    seen = re.search(r"clock +(\d+) s (ahead|behind)", outcome.out)
    number, _, word = said.partition(" s ")
    assert seen is not None
    assert int(seen[1]) == pytest.approx(int(number), abs=2)
    assert seen[2] == word


async def test_doctor_without_a_clock_to_go_by(doctor: Callable[..., Any]) -> None:
    """What cannot be told is called unknown."""
    async with answering(http(503)) as server:
        outcome = await doctor("--base-url", server.url)
    assert outcome.code == 1
    assert "clock        unknown" in outcome.out
    assert "auth         unknown" in outcome.out


@pytest.mark.parametrize("flags", [(), ("--json",)])
async def test_doctor_without_a_report(doctor: Callable[..., Any], flags: tuple[str, ...]) -> None:
    """A dead server or a wrong token: said on stderr, exit code 1, and JSON all the same."""
    async with probing(sim={"token": "sk-" + "o" * 48}) as (sim, _):
        refused = await doctor("--base-url", sim.url, *flags)
    dead = await doctor("--base-url", sim.url, *flags)
    assert (refused.code, dead.code) == (1, 1)
    assert "mjasync: The server refused the token" in refused.err
    assert "mjasync: No connection" in dead.err
    kinds = [json.loads(o.out)["error"]["type"] for o in (refused, dead) if flags]
    assert kinds == (["AuthenticationError", "ConnectionFailed"] if flags else [])
    assert flags or (refused.out, dead.out) == ("", "")


@pytest.mark.parametrize(
    "argv",
    [(), ("--speed", "warp", "--simulate", "--json"), ("--spent", "--simulate"), ("more",)],
)
async def test_doctor_called_wrongly(doctor: Callable[..., Any], argv: tuple[str, ...]) -> None:
    """No server, an unknown speed or option, a word too many: exit code 2, nothing on stdout."""
    outcome = await doctor(*argv)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("mjasync: ")


async def test_doctor_on_the_simulator_inside(doctor: Callable[..., Any]) -> None:
    """--simulate shows what a report looks like without a server."""
    outcome = await doctor("--simulate")
    assert outcome.code == 0
    assert "family       plus\n" in outcome.out


async def test_doctor_interrupted_names_what_was_paid(
    doctor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal while the picture is drawn ends the wait; the task is named, with what goes on."""

    class Stopped(GracefulShutdown):
        """A stop that a test can bring about without a signal."""

        def __enter__(self) -> Self:
            stops.append((self, asyncio.get_running_loop()))
            return super().__enter__()

    stops: list[tuple[Stopped, asyncio.AbstractEventLoop]] = []
    monkeypatch.setattr("mjasync.cli.doctor.GracefulShutdown", Stopped)
    async with probing(sim={"time_scale": 1e6}) as (sim, _):
        flags = ("--base-url", sim.url)
        running = asyncio.create_task(doctor(*flags, "--spend"))
        await eventually(lambda: bool(sim.submissions))
        await eventually(lambda: sim.requests[-1].kind == "fetch")
        stop, loop = stops[0]
        loop.call_soon_threadsafe(stop._stop, 2)
        outcome = await running
        task_id = sim.submissions[0].task_id
    assert (outcome.code, outcome.out) == (130, "")
    assert f"mjasync watch --base-url {sim.url} {task_id}" in outcome.err
