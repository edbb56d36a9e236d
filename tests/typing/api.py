"""The public surface, as type checkers see it. Read by them, never run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import aiohttp

from mjasync import (
    Account,
    AccountFilter,
    BannedPrompt,
    Button,
    Buttons,
    Client,
    Look,
    MJError,
    ModalRequired,
    Picture,
    Retries,
    RetryPolicy,
    Schedule,
    Task,
    TaskInfo,
    TaskStatus,
)
from mjasync.prompt import with_flag
from mjasync.simulator import Simulator


class Steady:
    """A schedule of one's own needs no base class."""

    together = 0.5

    def next_look(self, look: Look) -> float:
        return 2.0 if look.info.status is TaskStatus.IN_PROGRESS else 5.0


async def setting_up(session: aiohttp.ClientSession) -> None:
    Client()
    Client("https://api.example.com", "sk-...", speed="turbo", image_host="proxy")
    Client(schedule=Steady(), retries=Retries(read=RetryPolicy(tries=3)), session=session)
    Client(schedule=Schedule(shortest=0.5), reconcile=True, auth="bearer", speed_via="both")
    Client(speed="warp")  # type: ignore[arg-type]
    async with Client() as mj:
        assert_type(mj, Client)


async def submitting(mj: Client, picture: bytes, path: Path) -> None:
    assert_type(mj.imagine("a fox"), Task)
    assert_type(await mj.imagine("a fox", images=[picture, path, "fox.png"], bot="niji"), Task)
    assert_type(await mj.imagine("a fox", speed="relax", state="mine"), Task)
    assert_type(await mj.blend([picture, picture], dimensions="PORTRAIT"), Task)
    assert_type(await mj.describe(path), Task)
    assert_type(await mj.shorten("a long prompt"), Task)
    assert_type(await mj.video("it runs", image=picture, batch_size=1), Task)
    assert_type(await mj.swap_face(picture, path), Task)
    assert_type(await mj.upload(path), list[str])
    await mj.imagine("a fox", account_filter=AccountFilter(modes=("fast",)))
    await mj.imagine("a fox", bot="dall-e")  # type: ignore[arg-type]
    await mj.imagine("a fox", colour="red")  # type: ignore[call-arg]


async def following_up(grid: Task) -> None:
    assert_type(grid.action("U1").action("Custom Zoom").modal("a fox --zoom 1.8"), Task)
    assert_type(await grid.upscale(1), Task)
    assert_type(await grid.vary("subtle", strong=True), Task)
    assert_type(await grid.pan("left"), Task)
    assert_type(await grid.wait(timeout=60), Task)
    assert_type(await grid.submit(), Task)
    assert_type(grid.buttons, Buttons)
    assert_type(grid.buttons["U1"], Button)
    assert_type(grid.progress, int | None)
    assert_type(grid.raw, Mapping[str, Any])
    assert_type(await grid.save("out/"), Path)
    assert_type(await grid.read(), bytes)
    assert_type(await grid.images(), tuple[Picture, ...])
    assert_type(await grid.seed(), int)
    async for update in grid:
        assert_type(update, TaskInfo)
    await grid.pan("sideways")  # type: ignore[arg-type]


async def many(mj: Client) -> None:
    assert_type(await mj.gather(mj.imagine("a"), mj.imagine("b"), limit=2), list[Task])
    async for done in mj.as_completed((mj.imagine(p) for p in ["a", "b"]), limit=8):
        assert_type(done, Task)
        assert_type(done.error, BaseException | None)
    assert_type(await mj.fetch(["1", "2"]), dict[str, TaskInfo])
    assert_type(mj.task("1"), Task)
    assert_type(await mj.tasks(), list[TaskInfo])
    assert_type(await mj.accounts(), list[Account])


async def failing(task: Task) -> None:
    try:
        await task
    except ModalRequired as error:
        assert_type(error.task, Task | None)
    except BannedPrompt as error:
        assert_type(error.word, str)
    except MJError as error:
        assert_type(error.retryable, bool)
        assert_type(error.retry_after, float | None)


async def simulating() -> None:
    async with Simulator(dialect="plus", time_scale=0.01) as sim:
        assert_type(sim.url, str)
        assert_type(with_flag("a fox", "ar", "16:9"), str)
