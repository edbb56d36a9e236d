"""When the same is tried again: the pace, the budget, and who gets a second attempt at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import (
    Clock,
    ConnectionFailed,
    InvalidRequest,
    MalformedReply,
    MJError,
    NoAccount,
    QueueFull,
    RateLimited,
    Retries,
    RetryPolicy,
    ServerError,
    SubmitUncertain,
    TaskNotReady,
)
from mjasync._http.retry import Delay, RetryState, retry_call
from support.scripted_server import CALLS, answering, asking, http

AT_ONCE = RetryPolicy(max_attempts=4, initial_delay=0.0, max_delay=0.0)
EAGER = Retries(
    read=AT_ONCE,
    poll=AT_ONCE,
    connect=AT_ONCE,
    overloaded=AT_ONCE,
    no_account=AT_ONCE,
    not_ready=AT_ONCE,
)
ID = "1700000000000001"
ACCEPTED = http(200, {"code": 1, "description": "提交成功", "result": ID, "properties": {}})
PICTURE = b"\x89PNG\r\n\x1a\n................IEND\xaeB`\x82"
GOOD = {
    "submit": ACCEPTED,
    "fetch": http(200, {"id": ID, "status": "SUBMITTED"}),
    "list": http(200, []),
    "image": http(200, PICTURE),
}


class Caller:
    """Fails with some errors in turn, then succeeds; counts the calls."""

    def __init__(self, *errors: MJError) -> None:
        self._errors = iter(errors)
        self.calls = 0

    async def attempt(self) -> str:
        """Fail, or succeed at last."""
        self.calls += 1
        error = next(self._errors, None)
        if error is not None:
            raise error
        return "done"


def always(policy: RetryPolicy | None) -> Callable[[MJError], RetryPolicy | None]:
    """Give the same policy to every error."""
    return lambda _: policy


class ShownTimes(Clock):
    """A clock that shows these times in turn, then the last one for ever; nobody waits for it."""

    def __init__(self, *times: float) -> None:
        self._last = times[-1]
        self._times = iter(times)
        self.delays: list[float] = []

    def now(self) -> float:
        """Return the next time."""
        return next(self._times, self._last)

    async def sleep(self, seconds: float) -> None:
        """Take down the delay."""
        self.delays.append(seconds)


def waits(policy: RetryPolicy, error: MJError, count: int) -> list[float]:
    """The first waits that a policy chooses after the same failure."""
    state = RetryState(always(policy), lambda: 0.0)
    return [state.next_delay(error).seconds for _ in range(count)]


# --- persist -----------------------------------------------------------------------------------


async def test_success_is_called_once() -> None:
    """What works is not called again."""
    call = Caller()
    assert await retry_call(call.attempt, always(AT_ONCE), ShownTimes(0)) == "done"
    assert call.calls == 1


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_tries_count_the_first(failures: int) -> None:
    """A policy of four tries forgives three failures, each attempt made exactly once."""
    call = Caller(*(QueueFull("full") for _ in range(failures)))
    assert await retry_call(call.attempt, always(AT_ONCE), ShownTimes(0)) == "done"
    assert call.calls == failures + 1


@pytest.mark.parametrize("tries", [1, 2, 4])
async def test_the_last_failure_is_raised(tries: int) -> None:
    """When the tries are used up, the last failure is what is raised."""
    errors = [QueueFull(str(number)) for number in range(9)]
    call = Caller(*errors)
    policy = RetryPolicy(max_attempts=tries, initial_delay=0.0)
    with pytest.raises(QueueFull) as caught:
        await retry_call(call.attempt, always(policy), ShownTimes(0))
    assert call.calls == tries
    assert caught.value is errors[call.calls - 1]


async def test_no_policy_no_second_attempt() -> None:
    """An error that no policy covers is raised at once, first or later."""
    only_queue: Callable[[MJError], RetryPolicy | None] = lambda error: (  # noqa: E731
        AT_ONCE if isinstance(error, QueueFull) else None
    )
    first = Caller(InvalidRequest("wrong"))
    with pytest.raises(InvalidRequest):
        await retry_call(first.attempt, only_queue, ShownTimes(0))
    assert first.calls == 1
    later = Caller(QueueFull("full"), InvalidRequest("wrong"))
    with pytest.raises(InvalidRequest):
        await retry_call(later.attempt, only_queue, ShownTimes(0))
    assert later.calls == 2


async def test_other_errors_pass() -> None:
    """What is no MJError is a bug, and not tried again."""

    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await retry_call(broken, always(AT_ONCE), ShownTimes(0))


async def test_the_budget_ends_it() -> None:
    """No attempt is made once the time for waiting is over."""
    call = Caller(*(QueueFull("full") for _ in range(9)))
    policy = RetryPolicy(max_attempts=1000, initial_delay=0.0, max_elapsed=10.0)
    with pytest.raises(QueueFull):
        await retry_call(call.attempt, always(policy), ShownTimes(0, 1, 2, 11))
    assert call.calls == 3


async def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    """A Retry-After that would outlast the budget is not waited for."""
    call = Caller(RateLimited("slow down", retry_after=11.0))
    policy = RetryPolicy(max_attempts=5, max_elapsed=10.0)
    with pytest.raises(RateLimited):
        await retry_call(call.attempt, always(policy), ShownTimes(0))
    assert call.calls == 1


async def test_delays_pass_on_the_clock_of_the_client() -> None:
    """Every delay is slept through on the client's clock, which a test may have made its own."""
    clock = ShownTimes(0)
    call = Caller(*(RateLimited("slow down", retry_after=seconds) for seconds in (30.0, 60.0)))
    assert await retry_call(call.attempt, always(RetryPolicy()), clock) == "done"
    assert clock.delays == [30.0, 60.0]


async def test_the_caller_may_let_delays_pass() -> None:
    """A caller that waits in its own way is told what failed, and until when that is retried."""
    errors = [RateLimited("slow down", retry_after=30.0), QueueFull("full", retry_after=5.0)]
    call, clock, delays = Caller(*errors), ShownTimes(7.0), list[Delay]()

    async def wait(delay: Delay) -> None:
        delays.append(delay)

    policy = RetryPolicy(max_elapsed=100.0)
    assert await retry_call(call.attempt, always(policy), clock, wait=wait) == "done"
    assert delays == [Delay(errors[0], 1, 30.0, 107.0), Delay(errors[1], 2, 5.0, 107.0)]
    assert clock.delays == []


async def test_a_cancellation_ends_the_retries() -> None:
    """Whoever is cancelled between two attempts makes no other one."""
    call, begun = Caller(QueueFull("full")), asyncio.Event()

    async def wait(_: Delay) -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    retrying = asyncio.ensure_future(
        retry_call(call.attempt, always(AT_ONCE), ShownTimes(0), wait=wait)
    )
    await begun.wait()
    retrying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await retrying
    assert call.calls == 1


async def test_each_retry_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The log has what is retried, how often it failed, and when the next attempt is."""
    error = RateLimited("slow down", retry_after=30.0)
    call = Caller(error, error)
    with caplog.at_level(logging.INFO, "mjasync"):
        await retry_call(call.attempt, always(RetryPolicy()), ShownTimes(0), name="imagine 'fox'")
    assert caplog.messages == [
        f"imagine 'fox': attempt {number} failed, the next in 30.00 s: {error}" for number in (1, 2)
    ]


async def test_retry_after_of_nothing_is_at_once() -> None:
    """A server that asks for no wait gets none, whatever the policy."""
    call = Caller(RateLimited("slow down", retry_after=0.0))
    policy = RetryPolicy(max_attempts=2, initial_delay=1e6, max_delay=1e6)
    assert await retry_call(call.attempt, always(policy), ShownTimes(0)) == "done"


# --- the pace ----------------------------------------------------------------------------------


@given(st.floats(0.0, 3600.0))
def test_retry_after_is_exact(seconds: float) -> None:
    """What the server asks for is waited for exactly, without jitter."""
    error = RateLimited("slow down", retry_after=seconds)
    assert waits(RetryPolicy(), error, 3) == [seconds] * 3


@given(
    first=st.floats(0.0, 10.0),
    longest=st.floats(0.0, 60.0),
    count=st.integers(1, 12),
)
def test_full_jitter_stays_within_its_bounds(first: float, longest: float, count: int) -> None:
    """The n-th wait lies between nothing and min(longest, first * 2**n)."""
    policy = RetryPolicy(initial_delay=first, max_delay=longest)
    for number, seconds in enumerate(waits(policy, ServerError("failed"), count)):
        assert 0.0 <= seconds <= min(longest, first * 2**number)


def test_jitter_is_full() -> None:
    """Waits fill the whole range: many clients do not come back together."""
    policy = RetryPolicy(initial_delay=8.0, max_delay=8.0)
    seconds = waits(policy, ServerError("failed"), 400)
    assert min(seconds) < 1.0
    assert max(seconds) > 7.0


def test_each_kind_of_trouble_has_its_own_series() -> None:
    """A full queue does not wait longer because the connection failed before."""
    busy = RetryPolicy(initial_delay=1.0, max_delay=100.0)
    connect = RetryPolicy(initial_delay=64.0, max_delay=100.0)
    state = RetryState(lambda error: busy if isinstance(error, QueueFull) else connect, lambda: 0.0)
    for _ in range(5):
        state.next_delay(ConnectionFailed("refused"))
    delay = state.next_delay(QueueFull("full"))
    assert delay.seconds <= 1.0
    assert delay.attempts == 6


def test_none_means_none() -> None:
    """Retries.none() tries everything once."""
    none = Retries.none()
    policies = (none.read, none.poll, none.connect, none.overloaded, none.no_account)
    assert [policy.max_attempts for policy in policies] == [1] * 5


# --- who is asked again, over HTTP -------------------------------------------------------------

BUSY = {
    "queue full": http(200, {"code": 23, "description": "队列已满"}),
    "queue full, code 9": http(200, {"code": 9, "description": "提交失败，队列已满"}),
    "429": http(429),
    "429 with Retry-After": http(429, headers={"Retry-After": "0"}),
    "429 with a past date": http(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "overload": http(503, {"error": {"message": "system cpu overloaded (current: 97.2%)"}}),
    "no channel": http(503, {"error": {"message": "There are no channels available for model x"}}),
    "503 of a gateway's guard": http(503, {"error": {"message": "system cpu overloaded"}}),
    "503 without a channel": http(503, {"error": {"message": "No available channel for model x"}}),
    "no channel, code 5": http(400, {"code": 5, "description": "无法获取provider:该渠道已被禁用"}),
    "no account": http(200, {"code": 3, "description": "无可用的账号实例"}),
    "parent not ready": http(400, {"code": 4, "description": "task_status_not_success "}),
}


@pytest.mark.parametrize("answer", BUSY.values(), ids=BUSY)
async def test_refused_for_now_is_sent_again(answer: bytes) -> None:
    """A submission that the server provably did not take is sent until it does."""
    async with (
        answering(answer, answer, ACCEPTED) as server,
        asking(server.url, retries=EAGER) as mj,
    ):
        task = await mj.imagine("a fox").submit()
    assert task.id == ID
    assert len(server.asked) == 3
    bodies = {request.rpartition(b"\r\n\r\n")[2] for request in server.asked}
    assert len(bodies) == 1


@pytest.mark.parametrize("answer", BUSY.values(), ids=BUSY)
async def test_refused_for_good_at_last(answer: bytes) -> None:
    """A server that never has room is asked as often as the policy says, and not more."""
    async with answering(answer) as server, asking(server.url, retries=EAGER) as mj:
        with pytest.raises((QueueFull, RateLimited, ServerError, NoAccount, TaskNotReady)):
            await mj.imagine("a fox").submit()
    assert len(server.asked) == AT_ONCE.max_attempts


AMBIGUOUS = {
    "reset": None,
    "closed": b"",
    "cut": ACCEPTED[:-1],
    "500": http(500, {"code": 23, "description": "队列已满"}),
    "502": http(502, "<html>Bad Gateway"),
    "504": http(504),
    "503 of a cache": http(503, "<html><title>503 Backend fetch failed</title>"),
    "503 of a sidecar": http(503, "upstream connect error or disconnect/reset before headers"),
    "empty 200": http(200),
    "204": http(204),
    "unreadable": http(200, b'{"code":1'),
    "do_request_failed": http(400, {"code": 5, "description": "do_request_failed "}),
    "403 without a word": http(403),
    "503": http(503),
    "503 with Retry-After": http(503, "<html>", headers={"Retry-After": "0"}),
    "503 with words": http(503, {"error": "unavailable", "retryAfter": 0}),
    "499": http(499, "<html><title>499</title></html>"),
    "460": http(460),
    "409": http(409, {"message": "Conflict"}),
    "303": http(303, headers={"Location": "/mj/task/1"}),
    "a page": http(200, "<html><title>Just a moment...</title></html>"),
    "503 that accepts without an id": http(503, {"code": 1, "description": "提交成功"}),
    "429 that accepts without an id": http(429, {"code": 22, "result": ""}),
}


@pytest.mark.parametrize("answer", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_ambiguous_is_never_sent_again(answer: bytes | None) -> None:
    """A submission that may have been taken is sent once, however eager the policies are."""
    async with (
        answering(answer, ACCEPTED) as server,
        asking(server.url, retries=EAGER) as mj,
    ):
        with pytest.raises(SubmitUncertain):
            await mj.imagine("a fox").submit()
    assert len(server.asked) == 1


@pytest.mark.parametrize("question", ["fetch", "list", "image"])
@pytest.mark.parametrize(
    "answer",
    [None, b"", http(500), http(502, "<html>"), http(503), http(429), http(200, b"?")],
    ids=["reset", "closed", "500", "502", "503", "429", "garbage"],
)
async def test_reads_are_repeated(question: str, answer: bytes | None) -> None:
    """A read that fails in a way that may pass is repeated until it works."""
    async with (
        answering(answer, answer, GOOD[question]) as server,
        asking(server.url, retries=EAGER) as mj,
    ):
        await CALLS[question](mj, server.url)
    assert len(server.asked) == 3


@pytest.mark.parametrize("question", ["fetch", "list", "image"])
@pytest.mark.parametrize(
    "answer",
    [http(400), http(401), http(404), http(200, {"code": 4, "description": "参数错误"})],
    ids=["400", "401", "404", "code 4"],
)
async def test_refused_reads_are_not_repeated(question: str, answer: bytes) -> None:
    """A read that will be refused again is not repeated."""
    async with answering(answer) as server, asking(server.url, retries=EAGER) as mj:
        with pytest.raises(MJError) as caught:
            await CALLS[question](mj, server.url)
    assert not caught.value.retryable
    assert len(server.asked) == 1


async def test_retries_are_not_nested() -> None:
    """A read that always fails is asked as often as its one policy says: nothing multiplies it."""
    async with answering(http(200, b"?")) as server, asking(server.url, retries=EAGER) as mj:
        with pytest.raises(MalformedReply):
            await mj.fetch([ID])
    assert len(server.asked) == AT_ONCE.max_attempts


async def test_connection_that_never_was() -> None:
    """Without a connection nothing was sent: the policy for that case gives up in the end."""
    async with answering(b"") as server:
        pass
    async with asking(server.url, retries=EAGER) as mj:
        with pytest.raises(ConnectionFailed):
            await mj.imagine("a fox").submit()
