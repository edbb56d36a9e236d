"""Stories that users live through, played on every server of the family."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import pytest

import mjasync
from mjasync import Client, RetryPolicy, Task, TaskStatus
from mjasync.simulator import Simulator
from support.clients import EAGER, connect
from support.pictures import png

DIALECTS: Final = (
    *("original", "plus", "open-plus"),
    *("new-api", "new-api-2025", "one-hub", "one-api", "path-gateway"),
)
TOKEN: Final = "sk-" + "k" * 48
"""Long enough for the one server that counts its characters (PROTOCOL §6.2)."""
YES: Final = "yes"
SMALL: Final = 64
FROZEN: Final = 1e9
"""A time scale at which nothing ends by itself while a story is told."""
FEW: Final = attrs.evolve(
    EAGER, overloaded=RetryPolicy(max_attempts=2, initial_delay=0.001, max_delay=0.001)
)
GRID: Final = ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4")


@asynccontextmanager
async def serving(
    dialect: str,
    **options: Any,  # noqa: ANN401 - what Simulator takes
) -> AsyncIterator[tuple[Simulator, Client]]:
    """Yield a server that finishes everything at once, and a client of it."""
    settings = {"time_scale": 0, "token": TOKEN, "picture_size": SMALL, "draw": False, **options}
    async with (
        Simulator(dialect, **settings) as sim,
        connect(sim, retries=FEW, not_found_grace=0.02) as mj,
    ):
        yield sim, mj


Play = Callable[[Simulator, Client], Awaitable[object]]


@attrs.frozen
class Story:
    """A user's story, and its outcome on each dialect."""

    name: str
    play: Play
    expected: str = YES
    """What comes of it on a server that can: `YES`, or the name of an error."""
    elsewhere: Mapping[str, str] = attrs.field(factory=dict)
    """What comes of it on servers that cannot, by name."""
    note: str = ""
    """Why it is different there."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """How the server is set up."""

    def outcome(self, dialect: str) -> str:
        """Return the documented outcome on a dialect."""
        return self.elsewhere.get(dialect, self.expected)

    async def played(self, dialect: str) -> str:
        """Play it on a dialect; return the outcome."""
        async with serving(dialect, **self.options) as (sim, mj):
            try:
                async with asyncio.timeout(20):
                    await self.play(sim, mj)
            except mjasync.MJError as error:
                return told(error)
            return YES


def told(error: mjasync.MJError) -> str:
    """Return the name of an error, which must have a message."""
    assert str(error)
    return type(error).__name__


STORIES: Final[list[Story]] = []


def story(name: str, **details: Any) -> Callable[[Play], Play]:  # noqa: ANN401
    """Add a story to the table."""

    def add(play: Play) -> Play:
        STORIES.append(Story(name, play, **details))
        return play

    return add


def on(dialects: str | Iterable[str], error: str) -> dict[str, str]:
    """Return the same error for several dialects."""
    names = dialects.split() if isinstance(dialects, str) else dialects
    return dict.fromkeys(names, error)


def is_grid(task: Task) -> bool:
    """Return whether a task succeeded and has the buttons of a grid."""
    return task.status is TaskStatus.SUCCESS and set(GRID) <= set(task.buttons.names)


NO_BUTTONS: Final = on("original", "ButtonNotFound")
LISTS_NONE: Final = "the original has only the buttons of a grid"
OLDER: Final = "new-api-2025 one-hub one-api"
UNSOLD: Final = f"new-api {OLDER}"


@story("`imagine`, and save the grid", options={"draw": True})
async def _(_: Simulator, mj: Client) -> None:
    grid = await mj.imagine("a lighthouse --ar 16:9")
    assert is_grid(grid)
    assert grid.prompt
    assert (await grid.read())[1:4] == b"PNG"
    assert len(await grid.images()) == 4


@story('`action("U2")` of a grid')
async def _(_: Simulator, mj: Client) -> None:
    big = await mj.imagine("a lighthouse").action("U2")
    assert big.info.action == "UPSCALE"
    assert big.image_url
    assert "V1" not in big.buttons


@story("`vary(3)`, `reroll()` of a grid")
async def _(_: Simulator, mj: Client) -> None:
    grid = await mj.imagine("a lighthouse")
    assert is_grid(await grid.vary(3))
    assert is_grid(await grid.reroll())


@story("`imagine` with a reference picture")
async def _(_: Simulator, mj: Client) -> None:
    assert is_grid(await mj.imagine("like this", images=[png()]))


@story("`blend` two pictures")
async def _(_: Simulator, mj: Client) -> None:
    assert is_grid(await mj.blend([png(), png("L")], dimensions="PORTRAIT"))


@story("`zoom(2)` of one picture", elsewhere=NO_BUTTONS, note=LISTS_NONE)
async def _(_: Simulator, mj: Client) -> None:
    assert is_grid(await mj.imagine("a lighthouse").upscale(1).zoom(2))


@story(
    'U1, `action("Zoom Out 2x")`, U3, `action("Custom Zoom").modal(…)`',
    elsewhere=NO_BUTTONS,
    note=LISTS_NONE,
)
async def _(_: Simulator, mj: Client) -> None:
    wide = mj.imagine("a lighthouse").action("U1").action("Zoom Out 2x")
    last = await wide.action("U3").action("Custom Zoom").modal("a lighthouse --zoom 1.8")
    assert is_grid(last)
    assert is_grid(wide)


@story("`zoom(1.8, prompt)`", elsewhere=NO_BUTTONS, note=LISTS_NONE)
async def _(_: Simulator, mj: Client) -> None:
    assert is_grid(await mj.imagine("a lighthouse").upscale(1).zoom(1.8, "a tower"))


@story("`inpaint(mask, prompt)`: Vary (Region)", elsewhere=NO_BUTTONS, note=LISTS_NONE)
async def _(_: Simulator, mj: Client) -> None:
    door = mj.imagine("a lighthouse").upscale(1).inpaint(png("L", 255), "a red door")
    assert is_grid(await door)


@story(
    "`vary(1, prompt)`: remix",
    options={"remix": True},
    elsewhere=on("original", "UnsupportedEndpoint"),
    note="the original's variations keep their prompt",
)
async def _(sim: Simulator, mj: Client) -> None:
    changed = await mj.imagine("a lighthouse").vary(1, "a red lighthouse")
    assert is_grid(changed)
    asked = [request.body for request in sim.requests if request.endpoint == "modal"]
    assert [body["prompt"] for body in asked] == ["a red lighthouse"]


@story(
    "`vary(1, prompt)`, on an account without remix",
    elsewhere=on("original open-plus", "UnsupportedEndpoint"),
    note="the original keeps the prompt; open-plus refuses (PROTOCOL §4.1)",
)
async def _(_: Simulator, mj: Client) -> None:
    changed = await mj.imagine("a lighthouse").vary(1, "a red lighthouse")
    assert is_grid(changed)


@story('`pan("left")`', elsewhere=NO_BUTTONS, note=LISTS_NONE)
async def _(_: Simulator, mj: Client) -> None:
    assert is_grid(await mj.imagine("a lighthouse").upscale(1).pan("left"))


@story('`upscale("subtle")` of one picture', elsewhere=NO_BUTTONS, note=LISTS_NONE)
async def _(_: Simulator, mj: Client) -> None:
    assert (await mj.imagine("a lighthouse").upscale(1).upscale("subtle")).image_url


@story('`vary("strong")` of one picture', elsewhere=NO_BUTTONS, note=LISTS_NONE)
async def _(_: Simulator, mj: Client) -> None:
    assert is_grid(await mj.imagine("a lighthouse").upscale(1).vary("strong"))


@story("`describe`: four prompts")
async def _(_: Simulator, mj: Client) -> None:
    told = await mj.describe(png())
    assert len(told.prompts) == 4
    assert all(prompt in told.text for prompt in told.prompts)


@story(
    "`describe`, then `imagine(2)`",
    elsewhere=NO_BUTTONS | on(UNSOLD, "UnsupportedEndpoint"),
    note="gateways with their own task rows refuse this button (PROTOCOL §5.3)",
)
async def _(_: Simulator, mj: Client) -> None:
    told = await mj.describe(png())
    drawn = await told.imagine(2)
    assert is_grid(drawn)
    assert told.prompts[1] in (drawn.prompt or "")
    assert told.prompts[0] not in (drawn.prompt or "")


@story(
    '`describe`, then `imagine("all")`',
    elsewhere=NO_BUTTONS | on(f"plus {UNSOLD} path-gateway", "UnsupportedEndpoint"),
    note="Plus refuses it, and so does every gateway in front of one (PROTOCOL §4.1)",
)
async def _(_: Simulator, mj: Client) -> None:
    told = await mj.describe(png())
    first = await told.imagine("all")
    assert len({task.id for task in (first, *first.siblings)}) == 4
    assert [is_grid(await task) for task in (first, *first.siblings)] == [True] * 4


@story("`shorten`", elsewhere=on("original", "UnsupportedEndpoint"), note="no such endpoint")
async def _(_: Simulator, mj: Client) -> None:
    short = await mj.shorten("a very very tall lighthouse in a rather wild storm")
    assert len(short.prompts) == 5


@story(
    "`shorten`, then `imagine(1)`",
    elsewhere=on(f"original open-plus {UNSOLD}", "UnsupportedEndpoint"),
    note="open-plus and gateways with their own task rows refuse this button (PROTOCOL §4.1)",
)
async def _(_: Simulator, mj: Client) -> None:
    short = await mj.shorten("a very very tall lighthouse in a rather wild storm")
    assert (await short.imagine(1)).prompt == short.prompts[0]


NOT_SOLD: Final = on(f"original {OLDER}", "UnsupportedEndpoint")


@story("`video` of a picture and a prompt", elsewhere=NOT_SOLD, note="no such endpoint")
async def _(_: Simulator, mj: Client) -> None:
    video = await mj.video("the light turns", image=png(), motion="high")
    assert (video.status, video.info.action) == (TaskStatus.SUCCESS, "VIDEO")


@story(
    '`animate("low")`, U2, `extend("high")`',
    elsewhere=NO_BUTTONS | on(UNSOLD, "UnsupportedEndpoint"),
    note="gateways with their own task rows refuse these buttons (PROTOCOL §5.3)",
)
async def _(_: Simulator, mj: Client) -> None:
    video = await mj.imagine("a lighthouse").upscale(1).animate("low")
    longer = await video.upscale(2).extend("high")
    assert longer.status is TaskStatus.SUCCESS


EDITS: Final = NOT_SOLD | on("open-plus", "UnsupportedEndpoint")
EDIT_NOTE: Final = "no such endpoint; open-plus requires another kind of account (PROTOCOL §1.10)"


@story(
    "`edit` a picture",
    elsewhere=EDITS,
    note=EDIT_NOTE,
)
async def _(_: Simulator, mj: Client) -> None:
    assert (await mj.edit(png(), "a red door")).status is TaskStatus.SUCCESS


@story(
    "`retexture` a picture",
    elsewhere=EDITS | on("new-api", "UnsupportedEndpoint"),
    note=EDIT_NOTE,
)
async def _(_: Simulator, mj: Client) -> None:
    assert (await mj.retexture(png(), "all brass")).status is TaskStatus.SUCCESS


@story("`swap_face`", elsewhere=on("original", "UnsupportedEndpoint"), note="no such endpoint")
async def _(_: Simulator, mj: Client) -> None:
    assert (await mj.swap_face(png(), png("L"))).image_url


@story(
    "`upload` pictures",
    elsewhere=on("original one-api", "UnsupportedEndpoint"),
    note="no such endpoint",
)
async def _(_: Simulator, mj: Client) -> None:
    links = await mj.upload([png(), png("L")])
    assert len(set(links)) == 2


@story(
    "`seed()`",
    elsewhere=on("original", "UnsupportedEndpoint") | on("new-api", "ServerError"),
    note="no such endpoint; new-api omits its upstream's token, which a Plus with a token refuses",
)
async def _(_: Simulator, mj: Client) -> None:
    assert await (await mj.imagine("a lighthouse")).seed() > 0


@story("`gather` twelve, four at a time")
async def _(sim: Simulator, mj: Client) -> None:
    foxes = await mj.gather(*(mj.imagine(f"fox {n}") for n in range(12)), limit=4)
    assert all(map(is_grid, foxes))
    assert len(sim.submissions) == 12


@story("submit, and await it by its id in another client")
async def _(sim: Simulator, mj: Client) -> None:
    task = await mj.imagine("a lighthouse").submit()
    async with connect(sim) as other:
        assert is_grid(await other.task(task.id))


@story("a task that fails", expected="TaskFailed")
async def _(sim: Simulator, mj: Client) -> None:
    sim.fault("fail", reason="Internal Server Error", at=46)
    task = mj.imagine("a lighthouse")
    with pytest.raises(mjasync.TaskFailed) as caught:
        await task
    assert (caught.value.reason, caught.value.task) == ("Internal Server Error", task)
    raise caught.value


@story(
    "a banned word in the prompt",
    expected="BannedPrompt",
    elsewhere=on("open-plus", "TaskBanned"),
    note="the job is accepted and fails later; `TaskBanned` is a subclass of `BannedPrompt`",
)
async def _(_: Simulator, mj: Client) -> None:
    await mj.imagine("a naked lighthouse")


@story("a full queue", expected="QueueFull", options={"concurrency": 1, "queue_size": 1})
async def _(sim: Simulator, mj: Client) -> None:
    sim.fault("stall", times=None, for_ever=True)
    for n in range(2):
        await mj.imagine(f"fox {n}").submit()
    with pytest.raises(mjasync.QueueFull) as caught:
        await mj.imagine("fox 3").submit()
    assert caught.value.retryable
    assert len(sim.submissions) == 2
    raise caught.value


@story("an unknown id", expected="TaskNotFound")
async def _(_: Simulator, mj: Client) -> None:
    await mj.task("1320098173412546")


@story("a wrong token", expected="AuthenticationError")
async def _(sim: Simulator, _: Client) -> None:
    async with connect(sim, token="sk-" + "w" * 48) as stranger:
        await stranger.imagine("a lighthouse")


@story("a button that does not exist", expected="ButtonNotFound")
async def _(_: Simulator, mj: Client) -> None:
    await mj.imagine("a lighthouse").action("U7")


@story(
    "a restart while the job runs",
    elsewhere=on("original", "TaskNotFound"),
    note="the original keeps its tasks in memory and loses them (PROTOCOL §3.6)",
)
async def _(sim: Simulator, mj: Client) -> None:
    task = await mj.imagine("a lighthouse").submit()
    await sim.stop()
    if sim.dialect.name == "original":
        sim.forget()
    await sim.start()
    assert is_grid(await task)
