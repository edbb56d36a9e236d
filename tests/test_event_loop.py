"""A Client belongs to one event loop, and what is on the wire outlives the end of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

import mjasync
from mjasync import Client, Task
from mjasync.simulator import Simulator
from support.clients import connect
from support.scripted_server import http, length_of


@pytest.fixture
def elsewhere() -> Iterator[Simulator]:
    """A simulator in a thread of its own, for tests that open and close loops."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sim = Simulator(time_scale=0, draw=False, token="sim-token")
    asyncio.run_coroutine_threadsafe(sim.start(), loop).result()
    yield sim
    asyncio.run_coroutine_threadsafe(sim.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def first(task: Task) -> object:
    """The first update of a Task."""
    return await anext(task.updates())


async def one_of_many(mj: Client) -> object:
    """The first Task that ends."""
    return await anext(mj.as_completed([mj.imagine("a fox")]))


CALLS: dict[str, Callable[[Client, Task], Awaitable[Any]]] = {
    "await": lambda mj, _: mj.imagine("a fox").wait(),
    "submit": lambda mj, _: mj.imagine("a fox").submit(),
    "updates": lambda mj, _: first(mj.imagine("a fox")),
    "chain": lambda _, task: task.upscale(1).wait(),
    "wait": lambda _, task: task.wait(),
    "refresh": lambda _, task: task.refresh(),
    "cancel": lambda _, task: task.cancel(),
    "cancel unsent": lambda mj, _: mj.imagine("a fox").cancel(),
    "seed": lambda _, task: task.seed(),
    "save": lambda _, task: task.save("renders"),
    "read": lambda _, task: task.read(),
    "images": lambda _, task: task.images(),
    "tasks": lambda mj, _: mj.tasks(),
    "queue": lambda mj, _: mj.queue(),
    "fetch": lambda mj, task: mj.fetch([task.id]),
    "accounts": lambda mj, _: mj.accounts(),
    "account": lambda mj, _: mj.account("1"),
    "image": lambda mj, task: mj.image(task.id),
    "upload": lambda mj, _: mj.upload(b"\x89PNG\r\n\x1a\n"),
    "probe": lambda mj, _: mj.probe(),
    "gather": lambda mj, _: mj.gather(mj.imagine("a fox")),
    "as_completed": lambda mj, _: one_of_many(mj),
    "open": lambda mj, _: mj.__aenter__(),
    "close": lambda mj, _: mj.close(),
}


def test_another_loop_is_refused_before_anything_is_sent(elsewhere: Simulator) -> None:
    """Whatever is called in another loop, open or closed the first, says so and sends nothing."""

    async def refused(call: Callable[[Client, Task], Awaitable[Any]], words: str) -> None:
        with pytest.raises(mjasync.ConfigurationError, match=words):
            await call(mj, task)

    mj = connect(elsewhere)
    with asyncio.Runner() as other:
        with asyncio.Runner() as own:
            task = own.run(mj.imagine("a lighthouse").wait())
            before = len(elsewhere.requests)
            for name, call in CALLS.items():
                other.run(refused(call, "another event loop"))
                assert len(elsewhere.requests) == before, name
            with pytest.raises(mjasync.ConfigurationError, match="No asyncio"):
                mj.handle_webhook({"id": task.id})  # as from a thread without a loop
            assert own.run(mj.fetch([task.id]))
            own.run(mj.close())
        for call in CALLS.values():
            other.run(refused(call, "loop that is closed"))
    assert len(elsewhere.submissions) == 1


def test_a_given_session_names_the_loop(elsewhere: Simulator) -> None:
    """A client with a session of one's own belongs to the loop of that session."""

    async def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    with asyncio.Runner() as own, asyncio.Runner() as other:
        given = own.run(session())
        mj = Client(elsewhere.url, elsewhere.token, session=given)
        with pytest.raises(mjasync.ConfigurationError, match="session it was given"):
            other.run(mj.imagine("a fox").submit())
        own.run(given.close())
    assert elsewhere.requests == []


def test_without_asyncio_it_says_so() -> None:
    """Under another kind of event loop, which drives coroutines by itself, the error says that."""
    mj = Client("http://127.0.0.1:1")
    with pytest.raises(mjasync.ConfigurationError, match="trio"):
        mj.imagine("a fox").wait().send(None)


@pytest.mark.parametrize("ending", ["returns", "fails", "is interrupted"])
def test_the_end_of_the_loop_waits_for_the_wire(ending: str) -> None:
    """The id of a submission that was on the wire is kept, though nobody closed the Client."""
    task, error = ended_on_the_wire(ending, answers=True)
    assert (task.id, task.error) == ("1700000000000001", None)
    assert isinstance(error, {"returns": type(None), "fails": KeyError}.get(ending, SystemExit))


def test_what_the_end_of_the_loop_tore_off_is_on_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission that gets no answer even so is uncertain, and the Task says so by itself."""
    monkeypatch.setattr("mjasync._submission_tasks._SHUTDOWN_GRACE_SECONDS", 0.0)
    task, _ = ended_on_the_wire("returns", answers=False)
    assert isinstance(task.error, mjasync.SubmitUncertain)
    assert task.error.state.startswith("mjasync-")
    assert task.error.task is task
    assert task.phase is mjasync.TaskPhase.FAILED


async def closed_at_the_end(session: aiohttp.ClientSession) -> AsyncIterator[None]:
    """Close a session when a loop closes its generators: after its tasks."""
    try:
        yield
    finally:
        await session.close()


def test_a_loop_that_was_given_no_time_to_end() -> None:
    """An interrupt while the end of the loop waits leaves the Task with an error all the same."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        writers.append(writer)

    async def main() -> None:
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        mj = Client(f"http://127.0.0.1:{port}")
        tasks.append(mj.imagine("a fox"))
        waiting.append(asyncio.ensure_future(tasks[0].wait()))
        await asked.wait()
        waiting[0].cancel()

    asked = asyncio.Event()
    tasks: list[Task] = []
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []
    waiting: list[asyncio.Future[Task]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    runtime = tasks[0]._context
    assert tasks[0].error is None
    job = next(iter(runtime.submission_tasks._tasks))
    real, job.get_loop = job.get_loop, lambda: closed  # type: ignore[method-assign]
    closed = asyncio.new_event_loop()
    closed.close()
    assert isinstance(tasks[0].error, mjasync.SubmitUncertain)
    assert tasks[0].phase is mjasync.TaskPhase.FAILED
    job.get_loop = real  # type: ignore[method-assign]

    async def clean_up() -> None:
        job.cancel()
        await asyncio.gather(job, *waiting, return_exceptions=True)
        servers[0].close()
        for writer in writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        await runtime.api.transport.close()

    loop.run_until_complete(clean_up())
    loop.close()


def ended_on_the_wire(ending: str, *, answers: bool) -> tuple[Task, BaseException | None]:
    """End a loop while a submission is on the wire, whose answer comes only when it is ending."""
    tasks: list[Task] = []
    keep: list[Any] = []
    asked, ending_now = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(length_of(head))
            asked.set()
            with suppress(asyncio.CancelledError):
                await ending_now.wait()
            if answers:
                writer.write(http(200, {"code": 1, "result": "1700000000000001"}))
                await writer.drain()
        writer.close()

    async def until_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending_now.set()

    def interrupt() -> None:
        raise SystemExit

    async def main() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        session = aiohttp.ClientSession()
        keep.append(closed_at_the_end(session))
        await anext(keep[0])
        mj = Client(f"http://127.0.0.1:{port}", session=session)
        tasks.append(mj.imagine("a fox"))
        keep.extend(map(asyncio.ensure_future, (tasks[0].wait(), until_the_end())))
        await asked.wait()
        server.close()
        if ending == "fails":
            raise KeyError
        if ending == "is interrupted":  # as a second Ctrl-C does
            asyncio.get_running_loop().call_soon(interrupt)
            await asyncio.Event().wait()

    error: BaseException | None = None
    runner = asyncio.Runner()
    try:
        runner.run(main())
    except (KeyError, SystemExit) as caught:
        error = caught
    runner.close()
    return tasks[0], error
