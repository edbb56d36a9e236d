"""Settings and arguments are checked where they are given, before anything is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from PIL import Image

import mjasync
from mjasync import Client, QueueFull, RateLimited, Retries, RetryPolicy, Schedule, Task
from mjasync._http.retry import RetryState
from mjasync.simulator import Simulator
from support.clients import EAGER, Every, connect
from support.clock import FakeClock
from support.internals import suppress_unawaited_warning

URL = "http://127.0.0.1:1"
NO_NUMBERS = [math.nan, "5", True, None, b"1", [1], RetryPolicy]


@pytest.mark.parametrize(
    "settings",
    [
        *({"max_attempts": value} for value in [0, -1, 1.5, math.inf, *NO_NUMBERS]),
        *({"initial_delay": value} for value in [-0.1, math.inf, *NO_NUMBERS]),
        *({"max_delay": value} for value in [-1, math.inf, *NO_NUMBERS]),
        *({"max_elapsed": value} for value in [-1, *NO_NUMBERS]),
    ],
)
def test_a_policy_that_makes_no_sense(settings: dict[str, Any]) -> None:
    """It is refused when it is made, by the name of what is wrong."""
    with pytest.raises(mjasync.ConfigurationError, match=next(iter(settings))):
        RetryPolicy(**settings)


@pytest.mark.parametrize("kind", [field.name for field in attrs.fields(Retries)])
@pytest.mark.parametrize("given", [3, 0, None, RetryPolicy, Retries(), {"max_attempts": 3}])
def test_retries_take_policies(kind: str, given: object) -> None:
    """A number, a class or anything else is no policy."""
    with pytest.raises(mjasync.ConfigurationError, match=kind):
        Retries(**{kind: given})


@pytest.mark.parametrize(
    "settings",
    [
        *({name: 0} for name in ("min_interval", "max_interval", "initial_delay")),
        *(
            {name: -1}
            for name in (
                "min_interval",
                "max_interval",
                "initial_delay",
                "seconds_per_poll",
                "coalesce",
            )
        ),
        *({"min_interval": value} for value in [math.inf, *NO_NUMBERS]),
        {"idle_factor": 0.5},
        {"min_interval": 3, "max_interval": 2},
        {"min_interval": 10},
    ],
)
def test_a_schedule_that_makes_no_sense(settings: dict[str, Any]) -> None:
    """It is refused when it is made."""
    with pytest.raises(mjasync.ConfigurationError, match="Schedule"):
        Schedule(**settings)


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
async def test_a_schedule_of_ones_own_that_would_never_rest(
    plain: Simulator, seconds: float
) -> None:
    """An interval that is not positive is an error of whoever waits, and no flood of looks."""
    async with connect(plain, schedule=Every(seconds)) as mj:
        with pytest.raises(mjasync.ConfigurationError, match="next poll"):
            await mj.imagine("a fox")
    assert len(plain.requests) <= 2


@pytest.mark.parametrize(
    "options",
    [
        *({"retries": value} for value in [3, 0, False, RetryPolicy(), Retries]),
        *({"schedule": value} for value in [Schedule, 5, "often"]),
        *({"clock": value} for value in [FakeClock, 1.0]),
        *({"reconcile": value} for value in ["yes", 0, "auto"]),
        *({"limit": value} for value in [0, -1, 2.0, True, "3", math.inf]),
        *(
            {name: value}
            for name in ("timeout", "stall_timeout", "connect_timeout", "read_timeout")
            for value in (0, -1, math.nan, "60", True)
        ),
        *({"submit_timeout": value} for value in (0, -1, math.nan, "60", True)),
        *({"not_found_grace": value} for value in (-1, math.nan, "60")),
        *({"token": value} for value in (b"sk-secret", 42, ["sk-secret"])),
    ],
)
def test_a_client_that_makes_no_sense(options: dict[str, Any]) -> None:
    """It is refused when it is made, by the name of what is wrong, and shows no token."""
    name = next(iter(options))
    with pytest.raises(mjasync.ConfigurationError, match=name) as caught:
        Client(URL, **options)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["timeout", "stall_timeout", "connect_timeout", "read_timeout", "submit_timeout"]
)
async def test_none_is_no_limit(plain: Simulator, name: str) -> None:
    """None means no limit, as in aiohttp and httpx; for pictures on the way, too."""
    async with connect(plain, **{name: None}) as mj:
        grid = await mj.imagine("a fox", images=Image.effect_noise((400, 400), 100))
        assert await grid.read()


async def test_a_wait_without_limit(clock: FakeClock) -> None:
    """`wait(timeout=None)` waits longer than the client would by default."""
    async with (
        Simulator(time_scale=1e9) as sim,
        connect(sim, clock=clock, timeout=5, stall_timeout=5) as mj,
    ):
        task = await mj.imagine("a fox").submit()
        waiters = [
            asyncio.ensure_future(task.wait(**limits))
            for limits in ({}, {"timeout": None}, {"timeout": None, "stall_timeout": None})
        ]
        await clock.advance(100, mj)
        assert [waiter.done() for waiter in waiters] == [True, True, False]
        assert isinstance(waiters[0].exception(), mjasync.TaskTimeout)
        assert isinstance(waiters[1].exception(), mjasync.TaskStalled)
        waiters[2].cancel()
        await asyncio.gather(*waiters, return_exceptions=True)


@pytest.mark.parametrize("value", ["60", -1, math.nan, True])
async def test_a_wait_of_no_length(plain: Simulator, value: object) -> None:
    """What is no duration is refused before anything is sent."""
    async with connect(plain) as mj:
        for limit in ("timeout", "stall_timeout"):
            with pytest.raises(mjasync.ConfigurationError, match=limit):
                await mj.imagine("a fox").wait(**{limit: value})
    assert plain.requests == []


class SecretStr:
    """A token as pydantic wraps it."""

    def get_secret_value(self) -> str:
        """What is in it."""
        return "sim-token"

    def __str__(self) -> str:
        return "**********"


async def test_a_wrapped_token_is_unwrapped(plain: Simulator) -> None:
    """What goes on the wire is the token, not the stars that stand for it."""
    async with Client(plain.url, SecretStr(), retries=EAGER) as mj:
        assert await mj.imagine("a fox").submit()
    assert plain.requests[0].headers["mj-api-secret"] == "sim-token"


@pytest.mark.parametrize("kind", ["overloaded", "connect"])
def test_kinds_of_trouble_count_apart(kind: str) -> None:
    """Two kinds that are given the very same policy have its attempts each."""
    shared = RetryPolicy(max_attempts=2)
    retries = Retries(overloaded=shared, connect=shared, no_account=shared)
    others = {"overloaded": retries.connect, "connect": retries.overloaded}
    policies = {QueueFull: getattr(retries, kind), RateLimited: others[kind]}
    pace = RetryState(lambda error: policies[type(error)], lambda: 0.0)
    assert not pace.is_exhausted(QueueFull("full"))
    pace.next_delay(QueueFull("full"))
    assert not pace.is_exhausted(RateLimited("slowly"))
    assert pace.is_exhausted(QueueFull("full"))


async def test_a_note_on_one_waiters_error_is_on_no_other(plain: Simulator) -> None:
    """Each waiter has an error of its own, notes included."""
    plain.fault("reply", endpoint="imagine", status=200, body={"code": 24, "description": "no"})
    async with connect(plain) as mj:
        task = mj.imagine("a fox")
        seen = []
        for n in range(3):
            with pytest.raises(mjasync.BannedPrompt) as caught:
                await task
            caught.value.add_note(f"waiter {n}")
            seen.append(caught.value)
        task._pending._error.add_note("of the refusal itself")
        for n in range(2):
            with pytest.raises(mjasync.BannedPrompt) as caught:
                await task
            assert caught.value.__notes__ == ["of the refusal itself"]
            caught.value.add_note(f"waiter {n}")
    assert [error.__notes__ for error in seen] == [[f"waiter {n}"] for n in range(3)]


HALF = "half a fox \ud83e"
BAD_CALLS: dict[str, Callable[[Client, Task], object]] = {
    "prompt": lambda mj, _: mj.imagine(HALF),
    "shorten": lambda mj, _: mj.shorten(HALF),
    "edit": lambda mj, _: mj.edit(b"", HALF),
    "video": lambda mj, _: mj.video(HALF),
    "language": lambda mj, _: mj.describe(b"", language=HALF),
    "state": lambda mj, _: mj.imagine("a fox", state=HALF),
    "state of a button": lambda _, task: task.upscale(1, state=HALF),
    "a number as state": lambda mj, _: mj.imagine("a fox", state=42),
    "hook": lambda mj, _: mj.imagine("a fox", notify_hook=HALF),
    "extra": lambda mj, _: mj.imagine("a fox", extra={"tools": [{"name": HALF}]}),
    "a set": lambda mj, _: mj.imagine("a fox", extra={"tools": {1}}),
    "no extra": lambda mj, _: mj.imagine("a fox", extra="tools"),
    "filter": lambda mj, _: mj.imagine("a fox", account_filter={"remark": HALF}),
    "no filter": lambda mj, _: mj.imagine("a fox", account_filter=3),
    "bot": lambda mj, _: mj.imagine("a fox", bot=["niji"]),
    "modal": lambda _, task: task.action("Custom Zoom").modal(HALF),
    "no text in a modal": lambda _, task: task.action("Custom Zoom").modal(7),
    "vary": lambda _, task: task.vary(1, HALF),
    "zoom": lambda _, task: task.zoom(1.8, HALF),
    "described": lambda _, task: task.imagine(1, HALF),
    "target": lambda mj, _: mj.swap_video_face(b"", f"https://example.com/{HALF}"),
    "show": lambda mj, _: mj.show("1234", instance_id=None),
    "extend": lambda mj, _: mj.video("it runs", extend=4.5),
    **{
        f"id {given!r}": lambda mj, _, given=given: mj.task(given)
        for given in (None, 1.5, True, b"1", "", "  ", ["1"], HALF)
    },
}


@pytest.mark.filterwarnings("ignore:.*was never awaited")
@pytest.mark.parametrize("name", BAD_CALLS)
async def test_what_cannot_be_sent_is_refused_where_it_is_given(
    mj_plain: Client, plain: Simulator, name: str
) -> None:
    """Half an emoji, a number for a text, an id that is none: no Task is made of it."""
    task = mj_plain.task("1")
    with pytest.raises(mjasync.InvalidRequest):
        BAD_CALLS[name](mj_plain, task)
    assert plain.requests == []


@pytest.mark.parametrize("given", [None, 1.5, True, b"1", "", HALF])
async def test_ids_are_checked_before_anything_is_asked(
    mj_plain: Client, plain: Simulator, given: object
) -> None:
    """For reads of the client as well."""
    for call in (
        lambda: mj_plain.fetch(["1", given]),
        lambda: mj_plain.image(given),
        lambda: mj_plain.account(given),
    ):
        with pytest.raises(mjasync.InvalidRequest, match="id"):
            await call()
    assert plain.requests == []


async def test_a_number_is_an_id(mj_plain: Client) -> None:
    """Ids are digits, and may have been kept as numbers."""
    task = await mj_plain.imagine("a fox")
    assert await mj_plain.task(int(task.id))
    assert list(await mj_plain.fetch([int(task.id)])) == [task.id]
    assert list(await mj_plain.fetch(int(task.id))) == [task.id]


# --- gather and as_completed ---------------------------------------------------------------------


async def test_tasks_may_come_in_lists(mj_plain: Client) -> None:
    """One by one, in lists, from generators, or a single one: each Task counts as one."""
    fox, owl, elk = (mj_plain.imagine(name) for name in ("fox", "owl", "elk"))
    assert await mj_plain.gather([fox, owl], elk) == [fox, owl, elk]
    made = await mj_plain.gather(mj_plain.imagine(name) for name in "ab")
    assert [task.prompt for task in made] == ["a", "b"]
    assert [task async for task in mj_plain.as_completed(mj_plain.imagine("hen"))]


@pytest.mark.parametrize("wrong", ["a fox", b"a fox", 7, None, [1], ["a fox"], {"a": 1}], ids=repr)
async def test_what_is_no_task_is_refused_in_words(
    mj_plain: Client, plain: Simulator, wrong: object
) -> None:
    """And nothing is sent for the others, which do not warn either."""
    with pytest.raises(TypeError, match="Pass Tasks"):
        mj_plain.gather(mj_plain.imagine("a fox"), wrong)
    with pytest.raises(TypeError, match="Pass Tasks"):
        mj_plain.as_completed(wrong)
    with pytest.raises(TypeError, match=r"without \.wait"):
        mj_plain.gather(suppress_unawaited_warning(mj_plain.imagine("a fox")).wait())
    assert plain.requests == []


async def test_a_generator_of_something_else(mj_plain: Client, plain: Simulator) -> None:
    """It is found out when it is drawn."""

    async def slowly() -> Any:  # noqa: ANN401 - what is wrong with it
        yield "a fox"

    for source in (iter(["a fox"]), slowly()):
        with pytest.raises(TypeError, match="Pass Tasks"):
            _ = [task async for task in mj_plain.as_completed(source)]
    assert plain.requests == []
