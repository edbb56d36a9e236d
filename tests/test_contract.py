"""The contract in code: the example every promise of the package is made with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import mjasync
from mjasync.simulator import Simulator
from support.clients import QUICK, connect
from support.pictures import mask

CONTRACT = """\
import asyncio
from mjasync import Client

async def main() -> None:
    async with Client("https://api.example.com", "sk-...", speed="turbo", image_host="proxy") as mj:
        grid = await mj.imagine("a lighthouse in a storm --ar 16:9")      # submitted, polled, finished
        big = await grid.action("U2")                                     # one of its buttons
        await big.save("lighthouse.png")

        # chained without intermediate awaits: nothing is sent until the last Task is awaited
        wide = await mj.imagine("a red fox").action("U1").action("Zoom Out 2x").action("U3")
        door = await big.action("Vary (Region)").modal("a red door", mask="mask.png")
        zoom = await big.action("Custom Zoom").modal("a lighthouse --zoom 1.8")

        # the same things by meaning instead of by label
        await grid.upscale(1); await grid.vary(3); await grid.reroll()
        await big.vary("subtle"); await big.upscale("creative"); await big.zoom(1.8, "a lighthouse")
        await big.pan("left"); await big.inpaint("mask.png", "a red door"); await big.animate("low")

        # progress, resuming, many at once
        async for update in mj.imagine("a blue fox"):                     # TaskInfo, only when something changed
            print(update.status, update.progress)
        task = await mj.imagine("later").submit()                         # accepted: it has an id, nobody waits
        same = await mj.task(task.id)                                     # attach to a known id and wait
        foxes = await mj.gather(*(mj.imagine(f"fox {n}") for n in range(40)), limit=8)
        async for done in mj.as_completed((mj.imagine(p) for p in prompts), limit=8):
            ...                                                           # a finished Task, or done.error is set

asyncio.run(main())
"""  # noqa: E501 - as it stands in the design


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a directory with a mask in it, and work there."""
    (tmp_path / "mask.png").write_bytes(mask())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients that are given no schedule look at once; what they do stays the same."""
    monkeypatch.setattr("mjasync._client.Schedule", lambda: QUICK)


def pressed(sim: Simulator) -> list[str]:
    """What was accepted: the endpoint, or the button's own words for a press."""
    words = []
    for submission in sim.submissions:
        button = sim.tasks[submission.task_id].pressed_button
        if submission.endpoint == "modal":
            words.append(f"modal: {submission.prompt}")
        else:
            words.append((button.label or button.emoji) if button else submission.endpoint)
    return words


@pytest.mark.usefixtures("quick_by_default")
async def test_the_contract_runs_as_written(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example of the design runs as it stands, and does what its comments say."""
    async with Simulator(time_scale=0.001, token="sk-...") as sim:
        source = CONTRACT.replace("https://api.example.com", sim.url)
        names = {"prompts": ["a heron", "an otter", "a newt"]}
        await asyncio.to_thread(exec, compile(source, "contract", "exec"), names)

        with Image.open(workplace / "lighthouse.png") as picture:
            assert picture.width > picture.height
        assert capsys.readouterr().out.splitlines()[-1] == "SUCCESS 100"
        assert pressed(sim) == [
            *("imagine", "U2"),
            *("imagine", "U1", "Zoom Out 2x", "U3"),
            *("modal: a red door", "modal: a lighthouse"),
            *("U1", "V3", "🔄"),
            *("Vary (Subtle)", "Upscale (Creative)", "modal: a lighthouse"),
            *("⬅️", "modal: a red door", "Animate (Low motion)"),
            *["imagine"] * (2 + 40 + 3),
        ]
        assert {task.status for task in sim.tasks.values()} == {"SUCCESS"}
        submits = [request for request in sim.requests if request.kind == "submit"]
        assert {request.path.split("/")[1] for request in submits} == {"mj-turbo-proxy"}
        prompts = [s.prompt for s in sim.submissions]
        assert {f"fox {n}" for n in range(40)} < set(prompts)


@pytest.mark.parametrize(
    "follow, change",
    [
        (lambda grid: grid.action("U2"), ("UPSCALE", 2)),
        (lambda grid: grid.upscale(1), ("UPSCALE", 1)),
        (lambda grid: grid.action("V4"), ("VARIATION", 4)),
        (lambda grid: grid.vary(3), ("VARIATION", 3)),
        (lambda grid: grid.action("🔄"), ("REROLL", 1)),
        (lambda grid: grid.reroll(), ("REROLL", 1)),
    ],
)
async def test_without_buttons_the_user_does_not_notice(
    original: Simulator,
    follow: Callable[[mjasync.Task], mjasync.Task],
    change: tuple[str, int],
) -> None:
    """On the original server the verbs, and the labels, go through `/submit/change`."""
    async with connect(original) as mj:
        task = await follow(mj.imagine("a lighthouse"))
        assert task.status == "SUCCESS"
        assert [s.endpoint for s in original.submissions] == ["imagine", "change"]
        body = original.submissions[1].body
        assert (body["action"], body["index"], body["taskId"]) == (*change, task.parent.id)
        assert await task.read()


async def test_what_the_original_cannot_do_is_refused_before_anything_is_sent(
    original: Simulator,
) -> None:
    """A single picture has no buttons there: pressing one names that and costs nothing."""
    async with connect(original) as mj:
        big = await mj.imagine("a lighthouse").upscale(1)
        assert not big.buttons
        with pytest.raises(mjasync.ButtonNotFound, match="no buttons"):
            await big.zoom(2)
        assert len(original.submissions) == 2
