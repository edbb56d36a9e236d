"""Signals, deadlines, servers that go away: a command ends in order, and says what is open."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

from mjasync import Client
from mjasync.batch import read_batch
from mjasync.batch._client_adapter import BatchClient
from mjasync.batch._job_executor import JobExecutor
from mjasync.cli.batch_options import flags_of
from mjasync.cli.connection_notices import ConnectionNotices
from mjasync.cli.server_options import ServerOptions
from mjasync.cli.task_jobs import TaskRun, run_all
from mjasync.errors import ConnectionFailed, QueueFull, RequestTimeout
from mjasync.simulator import Simulator
from support.command_line import Outcome, Run, command, ended, terminal
from support.loopback import serving, serving_streams
from support.waiting import eventually

pytestmark = [pytest.mark.usefixtures("clean_environment"), pytest.mark.slow]
DEAD = "http://127.0.0.1:9"
TASK = "1700000000000001"


def prompts(*lines: str) -> Path:
    """Write a file of prompts."""
    path = Path("prompts.txt")
    path.write_text("\n".join(lines), "utf-8")
    return path


# --- signals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGTERM"])
async def test_what_is_on_the_wire_is_named(slow: Simulator, name: str) -> None:
    """An id that comes after the signal is told, and nothing more is sent."""
    number = getattr(signal, name)
    slow.fault("slow_body", on="submit", gap=0.005)
    async with command("imagine", "a fox") as process:
        await eventually(lambda: len(slow.submissions) == 1)
        process.send_signal(number)
        outcome = await ended(process)
    assert outcome.code == 128 + number
    assert f"  mjasync watch {slow.submissions[0].task_id}\n" in outcome.err
    assert len(slow.submissions) == 1


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT"])
async def test_what_is_on_the_wire_is_in_the_ledger(slow: Simulator, name: str) -> None:
    """A batch whose connection is dropped notes every id that is still to come."""
    slow.fault("slow_body", on="submit", times=3, gap=0.005)
    line = ("batch", prompts("a fox", "an owl", "a cat"), "--out", "out", "--limit", "3")
    async with command(*line) as process:
        await eventually(lambda: len(slow.submissions) == 3)
        process.send_signal(getattr(signal, name))
        outcome = await ended(process)
    assert "3 on the server" in outcome.err
    sent = {submission.task_id for submission in slow.submissions}
    assert {job.task_id for job in await read_batch("out")} == sent


async def test_hangup_after_termination_is_the_same(slow: Simulator) -> None:
    """SIGHUP right after SIGTERM, as systemd sends it, does not end the process at once."""
    slow.fault("slow_body", on="submit", gap=0.005)
    async with command("batch", prompts("a fox"), "--out", "out") as process:
        await eventually(lambda: len(slow.submissions) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert b"at once" in await process.stderr.readline()
        process.send_signal(signal.SIGHUP)
        outcome = await ended(process)
    assert outcome.code == 128 + signal.SIGTERM
    assert "1 on the server" in outcome.err


@contextmanager
def ignoring(number: signal.Signals) -> Iterator[None]:
    """Have processes that are started meanwhile ignore a signal, as `nohup` does."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


async def test_hangup_that_nohup_ignores(slow: Simulator) -> None:
    """A signal that is ignored when the command starts stays ignored."""
    with ignoring(signal.SIGHUP):
        started = command("imagine", "a fox")
        process = await started.__aenter__()
    try:
        await eventually(lambda: len(slow.submissions) == 1)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        outcome = await ended(process)
    finally:
        await started.__aexit__(None, None, None)
    assert outcome.code == 128 + signal.SIGINT


@pytest.mark.parametrize("words", [("imagine", "a fox"), ("batch", "prompts.txt", "--out", "out")])
async def test_terminal_that_goes_away(slow: Simulator, words: tuple[str, ...]) -> None:
    """Bars whose terminal is gone do not keep a command from ending in good order."""
    prompts("a fox")
    slow.fault("slow_body", on="submit", gap=0.005)
    environment = {**os.environ, "TERM": "xterm-256color"}
    with terminal(80) as (ours, theirs):
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        async with command(*words, env=environment, **streams) as process:
            os.close(theirs)
            await eventually(lambda: len(slow.submissions) == 1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), ours)  # the last end on our side is closed
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == 128 + signal.SIGHUP
    if words[0] == "batch":
        (job,) = await read_batch("out")
        assert job.task_id == slow.submissions[0].task_id


# --- a picture that does not come ---------------------------------------------------------------


async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event) -> None:
    """Accept a connection and never answer."""
    await over.wait()
    writer.close()


def finished(link: str) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    """Make a server whose every task is finished, its picture on another host."""

    async def handle(request: web.BaseRequest) -> web.Response:
        if request.path.startswith("/mj/submit/"):
            return web.json_response({"code": 1, "description": "ok", "result": TASK})
        if request.path.endswith("/fetch"):
            task = {"id": TASK, "action": "IMAGINE", "status": "SUCCESS", "progress": "100%"}
            return web.json_response(task | {"prompt": "a fox", "imageUrl": link, "buttons": []})
        return web.Response(status=404)

    return handle


class Hanging:
    """An output whose pictures never arrive."""

    async def save(self, *_: object) -> None:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()


async def test_timeout_bounds_the_saving_of_batches() -> None:
    """A batch gives a picture that does not arrive up for now, as it does any read."""
    async with Client(DEAD, "", timeout=1e-9) as mj:
        life = SimpleNamespace(client_adapter=BatchClient(mj), output=Hanging())
        with pytest.raises(RequestTimeout, match="ready, but it did not arrive"):
            await JobExecutor._download(life, None, mj.task(TASK))  # type: ignore[arg-type]


class Silent:
    """An onlooker who does not care."""

    def task_started(self, job: TaskRun) -> None:
        """A job is about to be sent."""

    task_changed = task_ended = task_started


async def test_timeout_bounds_the_saving_too() -> None:
    """A picture whose host hangs ends with the command's time; that it is paid is told."""
    job = TaskRun(create_task=lambda mj: mj.task(TASK), save="fox.png", attached=True)
    async with (
        serving_streams(hang) as host,
        serving(finished(f"{host}/fox.png")) as url,
        Client(url, "") as mj,
    ):
        await run_all([job], mj, Silent(), timeout=0.0)
    assert isinstance(job.error, RequestTimeout)
    assert f"drawn and paid, but it did not arrive in time. (task {TASK})" in str(job.error)
    assert job.is_unsaved
    assert not Path("fox.png").exists()


async def test_picture_that_cannot_be_saved(cli: Run, quick_clients: None) -> None:
    """Whatever keeps a paid picture from being saved, the command that fetches it is named."""
    async with serving(finished(f"{DEAD}/fox.png")) as url:
        outcome: Outcome = await cli("imagine", "a fox", "--save", "fox.png", "--base-url", url)
    assert outcome.code == 1
    assert f"mjasync watch --base-url {url} --save fox.png {TASK}\n" in outcome.err


# --- a server that does not answer --------------------------------------------------------------


async def test_watch_without_a_server() -> None:
    """It says at once why nothing is heard, and at the end claims nothing about the task."""
    async with command("watch", TASK, "--base-url", DEAD) as process:
        assert process.stderr is not None
        said = (await process.stderr.readline()).decode()
        process.send_signal(signal.SIGINT)
        outcome = await ended(process)
    assert f"No connection to {DEAD}" in said
    assert "Trying again for up to" in said
    assert outcome.code == 130
    assert "are on the server" not in outcome.err
    assert "has returned nothing about these yet" in outcome.err
    assert f"  mjasync watch --base-url {DEAD} {TASK}\n" in outcome.err


@pytest.mark.parametrize("words", [("imagine", "a fox"), ("action", TASK, "U1")])
async def test_submitting_without_a_server(words: tuple[str, ...]) -> None:
    """Whatever waits for a server that is not there says so at once, and that it goes on trying."""
    async with command(*words, "--base-url", DEAD) as process:
        assert process.stderr is not None
        said = ""
        while "Trying again for up to" not in said:
            said += (await process.stderr.readline()).decode()
        process.send_signal(signal.SIGINT)
        outcome = await ended(process)
    assert f"No connection to {DEAD}" in said
    assert outcome.code == 130
    assert "on the server" not in outcome.err


async def test_a_full_queue_is_told() -> None:
    """A submission that is held up says by what, with the server's words, and for how long."""
    async with Simulator(time_scale=1e9, concurrency=1, queue_size=0, draw=False) as sim:
        async with Client(sim.url, "") as mj:
            await mj.imagine("an owl").submit()
        async with command("imagine", "a fox", "--base-url", sim.url) as process:
            assert process.stderr is not None
            said = ""
            while "Trying again" not in said:
                said += (await process.stderr.readline()).decode()
            process.send_signal(signal.SIGINT)
            outcome = await ended(process)
        assert len(sim.submissions) == 1
    assert "The server's queue is full. The server said: " in said
    assert "for up to 60 min." in said
    assert outcome.code == 130


def test_trouble_is_told_soon_and_again_when_it_lasts() -> None:
    """At once where nobody ever answered, then once a minute, then that it is over."""
    trouble = ConnectionNotices()
    down = ConnectionFailed("No connection."), 600.0
    assert trouble.update(None, 0.0, is_well=False) == ""
    assert trouble.update(down, 0.0) == "No connection. Trying again for up to 10 min."
    assert trouble.update(down, 59.0) == ""
    assert trouble.update(down, 60.0)
    assert trouble.update(None, 61.0, is_well=False) == ""
    assert trouble.update(None, 62.0) == "The server answers again."
    assert trouble.update(None, 63.0) == ""


def test_trouble_that_passes_is_no_news() -> None:
    """A server that was there and is missed for a moment, or is busy, is worth no word."""
    trouble = ConnectionNotices()
    down = ConnectionFailed("No connection."), 600.0
    full = QueueFull("The queue is full.", description="队列已满"), 3600.0
    trouble.update(None, 0.0)
    assert [trouble.update(down, at) for at in (1.0, 2.9)] == ["", ""]
    assert trouble.update(None, 3.0) == ""
    assert trouble.update(full, 4.0, is_busy=True) == ""
    assert "'队列已满'" in trouble.update(full, 64.0, is_busy=True)


# --- proxies --------------------------------------------------------------------------------------


@asynccontextmanager
async def proxying() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that answers 401 itself, and the lines it was asked with."""
    asked: list[str] = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: asyncio.Event
    ) -> None:
        asked.append((await reader.readline()).decode().strip())
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with serving_streams(handle) as url:
        yield url, asked


@pytest.fixture
def unproxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without proxies."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("unproxied")
@pytest.mark.parametrize("how", ["option", "HTTP_PROXY", "ALL_PROXY"])
async def test_proxies(how: str) -> None:
    """The option's proxy is used, else the environment's; doctor says so, without its password."""
    environment = dict(os.environ)
    async with proxying() as (url, asked):
        way = url.replace("//", "//me:hidden@")
        words = ["--proxy", way] if how == "option" else []
        environment |= {} if how == "option" else {how: way}
        line = ("doctor", "--base-url", "http://api.invalid", *words)
        async with command(*line, env=environment) as process:
            outcome = await ended(process)
    assert asked[0].startswith("GET http://api.invalid/mj/task/")
    assert f"go through the proxy {url}." in outcome.err
    assert "hidden" not in outcome.err


@pytest.mark.usefixtures("unproxied")
async def test_this_machine_needs_no_proxy(cli: Run) -> None:
    """A base URL on loopback is asked directly, unless --proxy says otherwise."""
    async with proxying() as (url, asked), serving(finished(f"{DEAD}/x.png")) as server:
        environment = {**os.environ, "HTTP_PROXY": url}
        async with command("watch", TASK, "--base-url", server, env=environment) as process:
            assert (await ended(process)).code == 0
        assert asked == []
        await cli("watch", TASK, "--base-url", server, "--proxy", url)
        assert asked


@pytest.mark.usefixtures("unproxied")
async def test_proxies_of_another_kind() -> None:
    """One that cannot be used is a wrong call, and what to do about it is said."""
    environment = {**os.environ, "ALL_PROXY": "socks5://127.0.0.1:9"}
    line = ("imagine", "a fox", "--base-url", "http://api.invalid")
    async with command(*line, env=environment) as process:
        outcome = await ended(process)
    assert outcome.code == 2
    assert "NO_PROXY=api.invalid" in outcome.err


def test_a_proxy_is_kept_for_the_next_command() -> None:
    """Commands to copy go the same way; its password is not in them."""
    server = ServerOptions(base_url="http://api.invalid", proxy="http://me:hidden@proxy:1")
    assert server.flags() == [
        "--base-url",
        "http://api.invalid",
        "--proxy",
        "http://me:***@proxy:1",
    ]
    assert flags_of(server)[-1] == "http://me:***@proxy:1"
    assert "hidden" not in repr(server)
