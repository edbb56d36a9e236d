"""Running coroutines together, and blocking calls in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, wraps
from typing import Any, Literal, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


async def gather_or_cancel(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await coroutines concurrently; cancel the others when one fails, and raise its error."""
    running = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*running)
    finally:
        for asyncio_task in running:
            asyncio_task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def run_in_worker(
    work: Callable[..., T], *args: object, queue: Literal["ours", "given"] = "ours"
) -> asyncio.Future[T]:
    """Do what handles megabytes in a thread of its own, one thing after the other.

    Several threads that copy or compute at once keep the event loop from its turn: that is one
    thread more, and it goes last. What is given may take any time (a pipe, a picture that has to
    be compressed) and has a queue apart: what is on the wire must not wait for it.
    """
    return asyncio.get_running_loop().run_in_executor(worker_thread(queue), work, *args)


@cache
def worker_thread(queue: str) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, thread_name_prefix=f"mjasync-{queue}")


async def finish_despite_cancellation(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await to the end, even if the caller is cancelled meanwhile."""
    asyncio_task = asyncio.ensure_future(coroutine)
    try:
        return await asyncio.shield(asyncio_task)
    except asyncio.CancelledError:
        while not asyncio_task.done():
            with suppress(asyncio.CancelledError):  # again, while it finishes
                await asyncio.wait([asyncio_task])
        if not asyncio_task.cancelled():
            asyncio_task.exception()  # retrieved, so that asyncio does not log it
        raise


def uninterrupted(
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a coroutine function run to its end, even if its caller is cancelled."""

    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await finish_despite_cancellation(function(*args, **kwargs))

    return run
