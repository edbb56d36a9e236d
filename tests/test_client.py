"""The Client: how it is set up, what it sends along, many Tasks at once, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest

import mjasync
from mjasync import Client, Task, TaskStatus
from mjasync._models import Auth, ImageHost, Speed, SpeedVia
from mjasync.simulator import Simulator
from support.clients import connect
from support.internals import is_watching, suppress_unawaited_warning
from support.pictures import png
from support.waiting import PATIENCE, eventually, leave, turns

VARIABLES = ("BASE_URL", "TOKEN", "SPEED", "IMAGE_HOST", "AUTH")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset every variable the client reads."""
    for name in VARIABLES:
        monkeypatch.delenv(f"MJASYNC_{name}", raising=False)


def headers(sim: Simulator) -> list[dict[str, str]]:
    """Return the credentials of each API request so far."""
    names = ("mj-api-secret", "Authorization")
    asked = [request for request in sim.requests if request.kind != "image"]
    return [{n: r.headers[n] for n in names if n in r.headers} for r in asked]


# --- setting up --------------------------------------------------------------------------------


async def test_everything_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Client()` reads its five variables."""
    async with Simulator(time_scale=0, draw=False, token="Bearer sk-env") as sim:
        values = (f"{sim.url}/mj/", "sk-env", "relax", "origin", "bearer")
        for name, value in zip(VARIABLES, values, strict=True):
            monkeypatch.setenv(f"MJASYNC_{name}", value)
        async with Client() as mj:
            await mj.imagine("a fox").submit()
            assert repr(mj) == f"<Client {sim.url}/mj-relax-origin/mj>"
        assert headers(sim) == [{"Authorization": "Bearer sk-env"}]
        assert sim.requests[0].path == "/mj-relax-origin/mj/submit/imagine"


def test_arguments_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is passed counts more than what is set."""
    monkeypatch.setenv("MJASYNC_BASE_URL", "https://elsewhere.example.com")
    monkeypatch.setenv("MJASYNC_SPEED", "relax")
    assert repr(Client("https://here.example.com", speed="fast")) == (
        "<Client https://here.example.com/mj-fast/mj>"
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"base_url": None}, r"No base URL.*MJASYNC_BASE_URL"),
        ({"base_url": "api.example.com"}, "is not a base URL"),
        ({"speed": "warp"}, "speed must be relax, fast or turbo, not 'warp'"),
        ({"image_host": "cdn"}, "image_host must be relay, origin or proxy"),
        ({"speed_via": "post"}, "speed_via must be path, prompt or both"),
        ({"auth": "basic"}, "auth must be secret or bearer"),
    ],
)
def test_a_choice_that_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    """A mistake in setting up is a `ConfigurationError`, and a `ValueError`, that says what."""
    with pytest.raises(mjasync.ConfigurationError, match=message) as caught:
        Client(**{"base_url": "https://api.example.com", **options})
    assert isinstance(caught.value, ValueError)


def test_a_wrong_choice_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that came from a variable."""
    monkeypatch.setenv("MJASYNC_AUTH", "none")
    with pytest.raises(mjasync.ConfigurationError, match="auth must be"):
        Client("https://api.example.com")


def test_a_client_needs_no_loop() -> None:
    """A client, and Tasks of it, can be made before there is a running loop."""
    assert repr(
        suppress_unawaited_warning(Client("https://api.example.com", "sk-secret").imagine("a fox"))
    )


def test_with_instead_of_async_with() -> None:
    """`with Client(…)` says what was meant."""
    with pytest.raises(TypeError, match="async with"), Client("https://api.example.com"):
        pass
    assert Client("https://api.example.com").__exit__(None, None, None) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda mj: mj.imagine(" "),
        lambda mj: mj.imagine(None),
        lambda mj: mj.shorten(""),
        lambda mj: mj.blend([png(side=8)]),
        lambda mj: mj.blend([png(side=8)] * 6),
        lambda mj: mj.blend(png(side=8)),
        lambda mj: mj.blend([png(side=8)] * 2, dimensions="ROUND"),
        lambda mj: mj.imagine("a fox", state="x" * 256),
        lambda mj: mj.imagine("a fox", bot="dalle"),
        lambda mj: mj.task(""),
    ],
)
def test_what_no_server_takes_is_refused_where_it_is_written(
    build: Callable[[Client], Task],
) -> None:
    """A request that cannot work never becomes a Task."""
    with pytest.raises(mjasync.InvalidRequest):
        build(Client("https://api.example.com"))


# --- what is sent along ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "auth, token, header",
    [
        ("secret", "sk-1", {"mj-api-secret": "sk-1"}),
        ("bearer", "sk-1", {"Authorization": "Bearer sk-1"}),
        (None, "sk-1", {"mj-api-secret": "sk-1"}),
        ("secret", "", {}),
        ("bearer", None, {}),
    ],
)
async def test_exactly_one_header_carries_the_token(
    auth: Auth | None, token: str | None, header: dict[str, str]
) -> None:
    """Never both headers, on no kind of request; and none without a token."""
    async with Simulator(time_scale=0, token=None) as sim:
        async with connect(sim, token=token, auth=auth) as mj:
            grids = await mj.gather(mj.imagine("a fox"), mj.imagine("an owl"))
            big = await grids[0].upscale(1)
            await big.seed()
            await mj.fetch([big.id])
            await big.read()
        kinds = {request.kind for request in sim.requests}
        assert kinds >= {"submit", "fetch", "list", "other", "image"}
        assert all(sent == header for sent in headers(sim))
        pictures = [request for request in sim.requests if request.kind == "image"]
        assert not any("secret" in str(dict(request.headers)).lower() for request in pictures)
        assert not any("Authorization" in request.headers for request in pictures)


@pytest.mark.parametrize(
    "speed, via, path, prompt",
    [
        ("turbo", "path", "/mj-turbo/mj", "a fox --fast"),
        ("turbo", "prompt", "/mj", "a fox --turbo"),
        ("turbo", "both", "/mj-turbo/mj", "a fox --turbo"),
        (None, "both", "/mj", "a fox --fast"),
    ],
)
async def test_speed_by_path_and_by_prompt(
    plain: Simulator, speed: Speed | None, via: SpeedVia, path: str, prompt: str
) -> None:
    """The speed goes where it is asked to, in place of one in the prompt; reads go the same way."""
    async with connect(plain, speed=speed, speed_via=via) as mj:
        await mj.imagine("a fox --fast").upscale(1)
    assert plain.submissions[0].prompt == prompt
    paths = {request.path.split("/submit")[0].split("/task")[0] for request in plain.requests}
    assert paths == {path}


@pytest.mark.parametrize("host", ["relay", "origin", "proxy"])
async def test_image_hosts(plain: Simulator, host: ImageHost) -> None:
    """The image host is a suffix of the mode, with or without a speed, however it is passed."""
    for base in (plain.url, f"{plain.url}/mj", f"{plain.url}/mj-{host}/mj/submit/imagine"):
        async with connect(plain, base_url=base, image_host=host) as mj:
            await mj.imagine("a fox").submit()
    async with connect(plain, base_url=f"{plain.url}/mj-fast-{host}") as mj:
        await mj.imagine("a fox").submit()
    modes = [request.path.split("/")[1] for request in plain.requests]
    assert modes == [f"mj-{host}"] * 3 + [f"mj-fast-{host}"]


async def test_the_common_fields(plain: Simulator) -> None:
    """Mark, hook, bot and account filter are sent; each Task without a mark gets one of its own."""
    async with connect(plain) as mj:
        options: dict[str, Any] = {
            "state": "mine",
            "notify_hook": "http://127.0.0.1:9/hook",
            "bot": "niji",
            "account_filter": {"modes": ["FAST"]},
        }
        tasks = [
            mj.imagine("a fox", **options),
            mj.blend([png(side=8), png(side=9)], dimensions="LANDSCAPE", **options),
            mj.describe(png(side=8), **options),
            mj.shorten("a fox", **options),
        ]
        await mj.gather(*tasks)
        for submission in plain.submissions:
            body = submission.body
            assert (body["state"], body["botType"]) == ("mine", "NIJI_JOURNEY")
            assert body["notifyHook"] == "http://127.0.0.1:9/hook"
            assert body["accountFilter"] == {"modes": ["FAST"]}
        plain.submissions.clear()
        await mj.gather(*(mj.imagine("a fox", bot="midjourney") for _ in range(3)))
        assert len({s.state for s in plain.submissions}) == 3
        assert plain.submissions[0].body.keys() == {"prompt", "state", "botType"}


async def test_one_job_may_go_another_way(plain: Simulator) -> None:
    """A job's own speed and image host go before the client's, and reach its picture's link."""
    async with connect(plain, speed="fast") as mj:
        task = await mj.imagine("a fox", speed="turbo", image_host="proxy")
        await mj.imagine("an owl")
        paths = [request.path.split("/")[1] for request in plain.requests]
        assert paths[0] == "mj-turbo-proxy"
        assert "mj-turbo-proxy" in paths[1:-2]
        assert paths[-2:] == ["mj-fast", "mj-fast"]
        assert await task.read()
        for wrong in ({"speed": "warp"}, {"image_host": "cdn"}):
            with pytest.raises(mjasync.InvalidRequest):
                mj.imagine("a fox", **wrong)


async def test_what_is_no_json_is_refused_where_it_is_given(plain: Simulator) -> None:
    """A field that cannot be sent makes no Task."""
    async with connect(plain) as mj:
        with pytest.raises(mjasync.InvalidRequest, match=r"accountFilter .* JSON"):
            mj.imagine("a fox", account_filter={"modes": {1, 2}})
        assert plain.requests == []


async def test_pictures_are_sent_as_data_urls(plain: Simulator) -> None:
    """Reference pictures arrive whole, one or several, in order; links are fetched first."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a fox")
        await mj.imagine("like these", images=[png(side=8), png(side=9), grid.image_url])
        await mj.imagine("like this", images=png(side=10))
        first, second = (s.body["base64Array"] for s in plain.submissions[1:])
        assert (len(first), len(second)) == (3, 1)
        assert all(one.startswith("data:image/png;base64,") for one in [*first, *second])
        assert plain.tasks[plain.submissions[1].task_id].image_sizes[:2] == (
            len(png(side=8)),
            len(png(side=9)),
        )


async def test_one_bad_picture_stops_the_others(plain: Simulator) -> None:
    """When one of several pictures cannot be had, nothing is sent and nothing goes on."""
    async with connect(plain) as mj:
        grid = await mj.imagine("a fox")
        bad = mj.imagine("like these", images=[grid.image_url, b"no picture", grid.image_url])
        with pytest.raises(mjasync.InvalidRequest, match="picture") as caught:
            await bad
        assert caught.value.task is bad
        assert len(plain.submissions) == 1


# --- the session -------------------------------------------------------------------------------


async def test_ones_own_session_is_used_and_left_open(plain: Simulator) -> None:
    """A session that was passed in is never closed; its trace configs see every request."""
    seen: list[str] = []
    trace = aiohttp.TraceConfig()

    async def note(_: object, __: object, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(f"{params.method} {params.url.path}")

    trace.on_request_start.append(note)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        async with connect(plain, session=session) as mj:
            task = await mj.imagine("a fox")
        assert not session.closed
        with pytest.raises(mjasync.ClientClosed):
            await task.refresh()
    assert seen == ["POST /mj/submit/imagine", f"GET /mj/task/{task.id}/fetch"]


async def test_a_session_that_raises_for_status_changes_nothing(plain: Simulator) -> None:
    """However one's session treats errors, replies are read by the client."""
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        connect(plain, session=session, token="wrong") as mj,
    ):
        with pytest.raises(mjasync.AuthenticationError):
            await mj.imagine("a fox")


async def test_its_own_session_is_closed(plain: Simulator) -> None:
    """The session a client made for itself ends with it; closing twice is fine."""
    mj = connect(plain)
    await mj.imagine("a fox")
    session = mj._context.api.transport.sessions._server_session
    assert not session.closed
    await mj.close()
    await mj.close()
    assert session.closed


async def test_a_closed_client_says_so(plain: Simulator) -> None:
    """Every call of a closed client raises `ClientClosed`, and sends nothing."""
    async with connect(plain) as mj:
        pass
    for call in (mj.imagine("a fox").wait(), mj.fetch(["1"]), mj.task("1").wait()):
        with pytest.raises(mjasync.ClientClosed) as caught:
            await call
        assert isinstance(caught.value, RuntimeError)
    assert plain.requests == []


async def test_tokens_are_not_shown(plain: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """No token in a repr, an error or the log of a whole job."""
    with caplog.at_level(logging.DEBUG):
        async with connect(plain) as mj:
            task = await mj.imagine("a fox").upscale(1)
            await task.read()
        async with connect(plain, token=f"{plain.token}-wrong") as wrong:
            with pytest.raises(mjasync.AuthenticationError) as caught:
                await wrong.imagine("a fox")
    shown = [repr(mj), repr(task), repr(mj._context.api.transport.__dict__), str(caught.value)]
    assert not any(plain.token in words for words in [*shown, caplog.text])


# --- many at once ------------------------------------------------------------------------------


def foxes(mj: Client, count: int) -> Iterator[Task]:
    """Make some Tasks, one by one."""
    return (mj.imagine(f"fox {n}") for n in range(count))


@pytest.fixture
async def wide() -> AsyncIterator[Simulator]:
    """A server with room for a hundred jobs at once."""
    async with Simulator(time_scale=0.001, draw=False, concurrency=100) as simulator:
        yield simulator


@pytest.mark.parametrize("limit", [1, 3])
async def test_gather_keeps_to_its_limit(wide: Simulator, limit: int) -> None:
    """At most `limit` jobs are unfinished at once; results are in the order given."""
    async with connect(wide) as mj:
        tasks = list(foxes(mj, 12))
        assert await mj.gather(*tasks, limit=limit) == tasks
    assert all(task.status is TaskStatus.SUCCESS for task in tasks)
    assert wide.max_in_flight <= limit


@pytest.mark.parametrize("limit, most", [(1, 1), (3, 3), (50, 12), (None, 12)])
async def test_gather_makes_use_of_its_limit(limit: int | None, most: int) -> None:
    """So many jobs are with the server at once, and no fewer, as long as there are any."""
    async with Simulator(time_scale=1e9, concurrency=20) as slow, connect(slow) as mj:
        waiting = asyncio.ensure_future(mj.gather(*foxes(mj, 12), limit=limit))
        await eventually(lambda: slow.in_flight == most)
        await turns(50)
        assert slow.in_flight == most
        await leave(waiting)


async def test_gather_carries_every_task_to_its_end(plain: Simulator) -> None:
    """One failure is raised when all have ended, with all Tasks on it and in words."""
    plain.fault("fail", times=2, reason="out of paint")
    async with connect(plain) as mj:
        tasks = list(foxes(mj, 5))
        with pytest.raises(mjasync.TaskFailed, match="out of paint") as caught:
            await mj.gather(*tasks, limit=2)
        assert list(caught.value.gathered) == tasks
        assert caught.value.__notes__ == ["2 of 5 tasks failed; all are on error.gathered."]
        assert [type(task.error) for task in tasks].count(type(None)) == 3
        assert all(task.done for task in tasks)


async def test_gather_returning_exceptions(plain: Simulator) -> None:
    """With `return_exceptions` every Task is returned; what it raised is on it."""
    plain.fault("fail", times=1)
    async with connect(plain) as mj:
        got = await mj.gather(*foxes(mj, 3), return_exceptions=True)
        assert sorted(bool(task.error) for task in got) == [False, False, True]
        assert await mj.gather() == []


async def test_gather_of_a_chain_and_its_parent(plain: Simulator) -> None:
    """Tasks that hang together, or are the same, are still sent once each."""
    async with connect(plain) as mj:
        grid = mj.imagine("a fox")
        big = grid.upscale(1)
        assert await mj.gather(big, grid, grid, limit=2) == [big, grid, grid]
    assert len(plain.submissions) == 2


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_that_lets_nothing_through(mj: Client, limit: int) -> None:
    """A limit below one is refused before anything is sent."""
    with pytest.raises(mjasync.ConfigurationError, match="at least 1"):
        await mj.gather(*foxes(mj, 2), limit=limit)
    with pytest.raises(mjasync.ConfigurationError, match="at least 1"):
        await anext(mj.as_completed([], limit=limit))


async def test_as_completed_yields_whatever_ends(plain: Simulator) -> None:
    """Each Task comes out once, the failed ones, too."""
    plain.fault("fail", times=1)
    async with connect(plain) as mj:
        tasks = list(foxes(mj, 4))
        done = [task async for task in mj.as_completed(tasks, limit=2)]
        assert sorted(done, key=id) == sorted(tasks, key=id)
        assert sum(task.error is not None for task in done) == 1
        assert [task async for task in mj.as_completed([])] == []


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_as_completed_draws_only_when_there_is_room(
    wide: Simulator, asynchronous: bool
) -> None:
    """An endless iterable is drawn on as places become free, and never further ahead."""
    drawn = ended = 0

    def draw() -> Task:
        nonlocal drawn
        drawn += 1
        assert drawn - ended <= 3
        return mj.imagine(f"fox {drawn}")

    def endless() -> Iterator[Task]:
        while True:
            yield draw()

    async def slowly() -> AsyncIterator[Task]:
        while True:
            await asyncio.sleep(0)  # left here, it holds no Task that nobody will see
            yield draw()

    async with connect(wide) as mj:
        source = slowly() if asynchronous else endless()
        async with contextlib.aclosing(mj.as_completed(source, limit=3)) as completed:
            async for task in completed:
                ended += 1
                assert task.done
                if ended == 7:
                    break
        if asynchronous:
            await source.aclose()
    assert wide.max_in_flight <= 3
    assert drawn <= 10


async def test_as_completed_left_with_a_task_just_drawn_warns_of_nothing(
    wide: Simulator,
) -> None:
    """What the crowd drew is the crowd's: leaving before it began is no mistake of the caller's."""
    drawn = asyncio.Event()

    def endless() -> Iterator[Task]:
        yield mj.imagine("a fox")
        drawn.set()
        yield mj.imagine("an owl")

    async with connect(wide) as mj:
        completed = mj.as_completed(endless(), limit=2)
        first = asyncio.ensure_future(anext(completed))
        await drawn.wait()  # the owl is drawn in this very step, and has not begun
        await leave(first)
        await completed.aclose()
        gc.collect()
    assert len(wide.submissions) <= 1


async def test_as_completed_does_not_wait_for_a_slow_source(plain: Simulator) -> None:
    """What has ended comes out while the source is still thinking about the next."""
    thinking = asyncio.Event()

    async def source() -> AsyncIterator[Task]:
        yield mj.imagine("a fox")
        await thinking.wait()
        yield mj.imagine("an owl")

    async with connect(plain) as mj, asyncio.timeout(PATIENCE):
        prompts = []
        async for task in mj.as_completed(source()):
            prompts.append(task.prompt)
            thinking.set()
    assert prompts == ["a fox", "an owl"]


async def test_a_source_that_fails(plain: Simulator) -> None:
    """An error of the iterable comes out, and nobody waits any longer."""

    def source() -> Iterator[Task]:
        yield mj.imagine("a fox")
        raise KeyError("the list of prompts")

    async with connect(plain) as mj:
        with pytest.raises(KeyError, match="the list of prompts"):
            _ = [task async for task in mj.as_completed(source())]


async def test_leaving_as_completed_early(plain: Simulator) -> None:
    """A loop that is left stops waiting; what was accepted goes on, and nothing is left behind."""
    async with Simulator(time_scale=1e9) as slow, connect(slow) as mj:
        tasks = list(foxes(mj, 3))
        completed = mj.as_completed(tasks)
        first = asyncio.ensure_future(anext(completed))
        await eventually(lambda: len(slow.submissions) == 3)
        await eventually(lambda: all(task.id for task in tasks))
        await leave(first)
        await completed.aclose()
        assert not is_watching(mj)
        assert slow.in_flight == 3


async def test_tasks_that_were_not_drawn_warn(plain: Simulator) -> None:
    """What was never begun says so, like a coroutine; what was begun does not."""
    async with connect(plain) as mj:
        tasks = [mj.imagine("begun"), mj.imagine("never begun")]
        async with contextlib.aclosing(mj.as_completed(tasks, limit=1)) as completed:
            async for task in completed:
                assert task.prompt == "begun"
                break
        await turns(3)
        if not tasks[1]._is_awaited:
            with pytest.warns(RuntimeWarning, match="never begun"):
                tasks.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del tasks, task


# --- bulk reads --------------------------------------------------------------------------------


@pytest.mark.parametrize("lists", [True, False])
async def test_fetch_gives_snapshots_of_many(lists: bool) -> None:
    """`fetch` asks for a hundred at a time, in the order given, and leaves unknown ones out."""
    async with Simulator(time_scale=0, draw=False, list_endpoint=lists) as sim, connect(sim) as mj:
        count = 120 if lists else 5
        ids = [(await mj.imagine(f"fox {n}").submit()).id for n in range(count)]
        sim.requests.clear()
        found = await mj.fetch([*reversed(ids), "1", ids[0], int(ids[1])])
        assert list(found) == ids[::-1]
        assert all(info.status is TaskStatus.SUCCESS for info in found.values())
        asked = [len(r.body["ids"]) for r in sim.requests if r.kind == "list"]
        assert asked == ([100, 21] if lists else [6])
        assert await mj.fetch([]) == {}


async def test_fetch_raises_what_it_cannot_read(plain: Simulator) -> None:
    """A failed read is raised; nothing is silently missing."""
    async with connect(plain) as mj:
        plain.fault("reply", on="list", status=401)
        with pytest.raises(mjasync.AuthenticationError):
            await mj.fetch(["1"])
    async with (
        Simulator(time_scale=0, list_endpoint=False) as sim,
        connect(sim, retries=mjasync.Retries.none()) as mj,
    ):
        ids = [(await mj.imagine(f"fox {n}").submit()).id for n in range(3)]
        sim.fault("reply", on="fetch", status=500)
        with pytest.raises(mjasync.ServerError):
            await mj.fetch(ids)


async def test_a_single_id_is_not_taken_apart(plain: Simulator) -> None:
    """A string is one id, not the ids of its characters."""
    async with connect(plain) as mj:
        task = await mj.imagine("a fox").submit()
        assert list(await mj.fetch(task.id)) == [task.id]
