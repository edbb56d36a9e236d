"""Random chains: whatever is pressed and answered, it ends in a finished Task or a known error."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mjasync
from mjasync import Client, Task, TaskStatus
from mjasync._protocol.buttons import classify_button
from mjasync.simulator import Simulator
from support.clients import connect
from support.internals import suppress_unawaited_warning
from support.pictures import png

VERSIONS = ("4", "5", "6", "6.1", "7", "8", "niji 5", "niji 6")
PRESSES = 6
PROMPTS = (None, "", "a red door", "a door --zoom 1.5", "a naked door", "门", "a door --niji 6")
DOCUMENTED = {getattr(mjasync.errors, name) for name in mjasync.errors.__all__}
reached: Counter[str] = Counter()


GRID, MASK = png(colour="white"), png("L", "white")
BEGINNINGS = {
    "imagine": lambda mj: mj.imagine("a lighthouse --ar 16:9"),
    "picture": lambda mj: mj.imagine("a lighthouse", images=[GRID]),
    "blend": lambda mj: mj.blend([GRID, MASK], dimensions="PORTRAIT"),
    "describe": lambda mj: mj.describe(GRID),
    "shorten": lambda mj: mj.shorten("a very tall and rather lonely lighthouse"),
}
VERBS = {
    "upscale": lambda task, n: task.upscale([1, 2, 3, 4, "subtle", "creative", "2x", "4x"][n]),
    "vary": lambda task, n: task.vary([1, 2, 3, 4, "subtle", "strong", 1, 2][n]),
    "reroll": lambda task, _: task.reroll(),
    "zoom": lambda task, n: task.zoom(1 + n / 7),
    "pan": lambda task, n: task.pan(["left", "right", "up", "down"][n % 4]),
    "inpaint": lambda task, n: task.inpaint(MASK, PROMPTS[n % 3]),
    "animate": lambda task, n: task.animate(["low", "high"][n % 2]),
    "extend": lambda task, n: task.extend(["low", "high"][n % 2]),
    "imagine": lambda task, n: task.imagine(n % 5 + 1, PROMPTS[n % 3]),
    "details": lambda task, _: task.details(),
    "bookmark": lambda task, _: task.bookmark(),
}


def next_link(data: st.DataObject, task: Task) -> Task:
    """Draw what comes next: a button that is there or not, a verb, an answer."""
    how = data.draw(st.sampled_from(["button", "button", "button", "verb", "modal", "unknown"]))
    if how == "verb":
        verb = VERBS[data.draw(st.sampled_from(sorted(VERBS)))]
        return verb(task, data.draw(st.integers(0, 7)))
    if how == "modal" and task.parent is not None:
        return answered(data, task)
    if how == "unknown" or not len(task.buttons):
        return task.action(data.draw(st.sampled_from(["U1", "V7", "🔄", "?", 0, 40])))
    button = data.draw(st.sampled_from(list(task.buttons)))
    names = [n for n in (button.custom_id, button.label) if n] or [str(classify_button(button))]
    pressed = suppress_unawaited_warning(task.action(data.draw(st.sampled_from(names))))
    return answered(data, pressed) if data.draw(st.booleans()) else pressed


def answered(data: st.DataObject, task: Task) -> Task:
    """Draw the answer to a modal."""
    mask = data.draw(st.sampled_from([None, None, MASK]))
    return task.modal(data.draw(st.sampled_from(PROMPTS)), mask=mask)


async def follow(data: st.DataObject, mj: Client) -> None:
    """Press and answer at random, going on from whatever Task came of it."""
    task = suppress_unawaited_warning(
        BEGINNINGS[data.draw(st.sampled_from(sorted(BEGINNINGS)))](mj)
    )
    for _ in range(data.draw(st.integers(1, PRESSES))):
        waiting = data.draw(st.booleans(), label="awaited before the next press")
        task = await finished(task) if waiting else task
        task = suppress_unawaited_warning(next_link(data, task))
    await finished(task)


async def finished(task: Task) -> Task:
    """Wait for a Task; after an error, go on with what its documentation offers."""
    try:
        done = await task
    except mjasync.MJError as error:
        reached[type(error).__name__] += 1
        return await resumed(task, error)
    assert done is task
    assert (done.status, done.error, bool(done.id)) == (TaskStatus.SUCCESS, None, True)
    reached["finished"] += 1
    return done


async def resumed(task: Task, error: mjasync.MJError) -> Task:
    """Check an error, and return the Task to go on with."""
    assert type(error) in DOCUMENTED
    assert error.task is not None
    assert str(error)
    if isinstance(error, mjasync.ModalRequired):
        return await finished(error.task.modal("a lighthouse --zoom 1.2", mask=MASK))
    if isinstance(error, mjasync.ModalNotOpened):
        return await finished(error.task)
    return task.parent or task


@given(st.data())
@settings(max_examples=60)
@pytest.mark.slow
async def test_every_chain_ends(data: st.DataObject) -> None:
    """Any chain of buttons, verbs and modals, on any version, ends well or in an MJError."""
    options: dict[str, Any] = {
        "dialect": data.draw(st.sampled_from(["plus", "plus", "plus", "original"])),
        "version": data.draw(st.sampled_from(VERSIONS)),
        "remix": data.draw(st.booleans()),
        "list_endpoint": data.draw(st.booleans()),
    }
    async with Simulator(time_scale=0, draw=False, **options) as sim:
        if data.draw(st.booleans()):
            sim.fault("fail", times=2, chance=0.3, reason="out of paint")
            sim.fault("banned_late", times=1, chance=0.2, word="gore")
        async with connect(sim) as mj:
            await follow(data, mj)
            assert not mj._context.submission_tasks
        made = [task.id for task in sim.tasks.values() if task.accepted]
        assert sorted(s.task_id for s in sim.submissions) == sorted(made)
