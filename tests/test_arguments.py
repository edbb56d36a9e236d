"""Arguments of the wrong kind are refused where they are given: nothing is sent for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import mjasync
from mjasync import Client, InvalidRequest, Task
from mjasync.simulator import Simulator
from support.clients import connect

URL = "http://127.0.0.1:1"
CHAINED: dict[str, Callable[[Task], Task]] = {
    **{
        f"{verb} {given!r}": lambda task, verb=verb, given=given: getattr(task, verb)(given)
        for verb in ("upscale", "vary", "pan", "animate", "extend", "imagine", "action")
        for given in (None, True, 1.0, b"left", [1], int)
    },
    **{
        f"{verb} 'x'": lambda task, verb=verb: getattr(task, verb)("x")
        for verb in ("upscale", "vary", "pan", "animate", "extend", "imagine")
    },
    "inpaint": lambda task: task.inpaint(None, "a door"),  # type: ignore[arg-type]
    "enable_remix": lambda task: task.vary(1, enable_remix="no"),  # type: ignore[arg-type]
    "strong": lambda task: task.vary(1, strong=0),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("call", CHAINED.values(), ids=list(CHAINED))
async def test_what_no_button_does(plain: Simulator, call: Callable[[Task], Task]) -> None:
    """In a chain it is refused before the Tasks in front of it are paid for."""
    async with connect(plain) as mj:
        grid = mj.imagine("a fox")
        with pytest.raises(InvalidRequest):
            call(grid)
        grid.close()
    assert not plain.submissions


@pytest.mark.parametrize(
    "options",
    [
        *({"notify_hook": value} for value in (0, b"http://127.0.0.1/hook", ["a"], int)),
        *({name: value} for name in ("speed", "image_host") for value in (0, False, [])),
        *({"extra": value} for value in (0, "", [])),
    ],
)
async def test_options_that_make_no_sense(plain: Simulator, options: dict[str, Any]) -> None:
    """What is false counts as little as anything else, and nothing is made text by force."""
    async with connect(plain) as mj:
        with pytest.raises(InvalidRequest, match=next(iter(options))):
            mj.imagine("a fox", **options)


@pytest.mark.parametrize(
    "options", [{"extend": ""}, {"extend": 1.5}, {"index": True}, {"batch_size": True}, {"loop": 1}]
)
async def test_videos_that_make_no_sense(plain: Simulator, options: dict[str, Any]) -> None:
    """An id that is empty does not make another video than the one asked for."""
    async with connect(plain) as mj:
        with pytest.raises(InvalidRequest):
            mj.video("a fox runs", **options)


@pytest.mark.parametrize("ids", [None, b"17", 1.5, int])
async def test_ids_that_make_no_sense(plain: Simulator, ids: Any) -> None:  # noqa: ANN401 - any
    """Bytes are not read as numbers."""
    async with connect(plain) as mj:
        with pytest.raises(InvalidRequest, match="task id"):
            await mj.fetch(ids)
    assert not plain.requests


@pytest.mark.parametrize(
    "options",
    [
        *(
            {name: value}
            for name in ("speed", "image_host", "speed_via", "auth", "headers", "limits")
            for value in (0, False, [])
        ),
        *({"trust_env": value} for value in (0, 1, "no", None)),
    ],
)
def test_settings_that_are_false(options: dict[str, Any]) -> None:
    """They are no way to say "the default", but for None and an empty text."""
    with pytest.raises(mjasync.ConfigurationError, match=next(iter(options))):
        Client(URL, **options)
