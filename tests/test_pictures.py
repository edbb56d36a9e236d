"""Pictures: saved, read, taken apart, and fetched again when their link has run out."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

import mjasync
from mjasync import Client, LinkExpired, Task
from mjasync.simulator import Simulator
from support.clients import connect
from support.sent_requests import count_sent
from support.waiting import eventually


def opened(data: bytes) -> Image.Image:
    """Decode a picture."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def distance(one: bytes, other: bytes) -> float:
    """Return how much two pictures differ, scaled to one size: 0 is not at all, 255 is all."""
    first, second = opened(one).resize((64, 64)), opened(other).resize((64, 64))
    return max(ImageStat.Stat(ImageChops.difference(first, second)).mean)


@pytest.fixture
async def grid(mj: Client) -> Task:
    """Draw a grid."""
    return await mj.imagine("a lighthouse in a storm --ar 3:2", state="my mark")


# --- saving ------------------------------------------------------------------------------------


async def test_save_into_a_directory(grid: Task, tmp_path: Path) -> None:
    """In a directory a picture is named by its id and by what its bytes are."""
    path = await grid.save(tmp_path)
    assert path == tmp_path / f"{grid.id}.png"
    assert path.read_bytes() == await grid.read()
    assert await grid.save(str(tmp_path / "new") + "/") == tmp_path / "new" / f"{grid.id}.png"


async def test_save_by_a_template(grid: Task, tmp_path: Path) -> None:
    """A template may use id, action, state, prompt and the ending; folders are made."""
    path = await grid.save(tmp_path / "{action}" / "{state}" / "{prompt}-{id}.{ext}")
    name = f"a lighthouse in a storm --ar 3-2-{grid.id}.png"
    assert path.relative_to(tmp_path) == Path("imagine", "my mark", name)
    assert path.is_file()


@pytest.mark.parametrize("name, saved", [("fox.png", "fox.png"), ("fox", "fox.png")])
async def test_save_to_a_file(grid: Task, tmp_path: Path, name: str, saved: str) -> None:
    """A name with an ending is taken as it is; one without gets that of the bytes."""
    assert await grid.save(tmp_path / name) == tmp_path / saved
    assert [path.name for path in tmp_path.iterdir()] == [saved]


async def test_saving_again_replaces(grid: Task, tmp_path: Path) -> None:
    """A file that is there already is replaced as a whole."""
    target = tmp_path / "fox.png"
    target.write_bytes(b"before")
    await grid.save(target)
    assert target.read_bytes() == await grid.read()
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_template_with_an_unknown_field(grid: Task, tmp_path: Path) -> None:
    """It says which fields there are, and leaves nothing behind."""
    with pytest.raises(mjasync.ConfigurationError, match=r"\{prompt\}"):
        await grid.save(tmp_path / "{what}.png")
    assert list(tmp_path.iterdir()) == []


async def test_a_place_that_cannot_be_written_to(grid: Task, tmp_path: Path) -> None:
    """It is the operating system's own error."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        await grid.save(tmp_path / "file" / "fox.png")


@pytest.mark.parametrize("use", [Task.read, Task.images, lambda task: task.save("x.png")])
async def test_what_has_no_picture_yet(
    plain: Simulator, use: Callable[[Task], Awaitable[object]]
) -> None:
    """Before the end there is no picture, whatever link to a preview there may be."""
    async with connect(plain) as mj:
        plain.fault("stall", at=80)
        task = await mj.imagine("a fox").submit()
        await task.refresh()
        assert ".webp" in task.image_url
        with pytest.raises(mjasync.InvalidRequest, match="IN_PROGRESS") as caught:
            await use(task)
        assert caught.value.task is task
        assert count_sent(plain, "image") == 0


# --- taken apart -------------------------------------------------------------------------------


async def test_a_grid_is_taken_apart(sim: Simulator, mj: Client, grid: Task) -> None:
    """`images()` of a grid are its four quadrants: an upscale shows the one it is of."""
    parts = await grid.images()
    whole = opened(await grid.read())
    assert [opened(part.data).size for part in parts] == [(whole.width // 2, whole.height // 2)] * 4
    big = await grid.upscale(3)
    (single,) = await big.images()
    assert single.data == await big.read()
    near = [distance(part.data, single.data) for part in parts]
    assert min(near) == near[2]
    assert all(other > 2 * near[2] for n, other in enumerate(near) if n != 2)


@pytest.fixture
async def listing() -> AsyncIterator[Simulator]:
    """Serve grids whose four pictures have links of their own."""
    async with Simulator(time_scale=0, image_urls=True) as simulator:
        yield simulator


async def test_the_servers_own_single_pictures(listing: Simulator) -> None:
    """Where the server lists the four pictures, those are fetched, and nothing is cut."""
    async with connect(listing) as mj:
        grid = await mj.imagine("a lighthouse")
        assert len(grid.image_urls) == 4
        parts = await grid.images()
        assert count_sent(listing, "image") == 4
        whole = opened(await grid.read())
        assert all(opened(part.data).size == whole.size for part in parts)
        cut = await mjasync._media.grid.split_grid(await grid.read())
        for n, part in enumerate(parts):
            near = [distance(part.data, getattr(one, "data", one)) for one in cut]
            assert near.index(min(near)) == n


async def test_single_pictures_whose_links_ran_out(listing: Simulator) -> None:
    """Four dead links at once cost one refetch."""
    async with connect(listing) as mj:
        grid = await mj.imagine("a lighthouse")
        looks = count_sent(listing, "fetch")
        listing.expire_links()
        assert len(await grid.images()) == 4
        assert count_sent(listing, "fetch") == looks + 1


async def test_one_of_four_that_cannot_be_had(listing: Simulator) -> None:
    """When one picture fails for good, its error is raised and the others are let go."""
    async with connect(listing, retries=mjasync.Retries.none()) as mj:
        grid = await mj.imagine("a lighthouse")
        listing.fault("reply", on="image", status=500)
        with pytest.raises(mjasync.ServerError) as caught:
            await grid.images()
        assert caught.value.task is grid


async def test_saving_the_parts(grid: Task, tmp_path: Path) -> None:
    """Each of the four can be saved, and into one directory, too."""
    parts = await grid.images()
    paths = [await part.save(tmp_path) for part in parts]
    assert len(set(paths)) == 4
    assert [path.read_bytes() for path in paths] == [bytes(part) for part in parts]
    assert {part.extension for part in parts} == {"png"}


async def test_a_video_is_no_grid(mj: Client, grid: Task, tmp_path: Path) -> None:
    """A video is saved as what its bytes are, and not cut in four."""
    video = await grid.upscale(1).animate("high")
    (one,) = await video.images()
    assert one.data == await video.read()
    path = await video.save(tmp_path)
    assert path.suffix == f".{one.extension}" == ".mp4"
    assert (await (await video.upscale(2)).save(tmp_path)).is_file()


# --- links that run out ------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["plus", "open-plus"])
@pytest.mark.parametrize(
    "use", [Task.read, Task.images, lambda task: task.save(task.id)], ids=["read", "images", "save"]
)
async def test_an_expired_link_is_refetched_once(
    dialect: str,
    use: Callable[[Task], Awaitable[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead link costs one refetch of the task, and the fresh link is used from then on."""
    monkeypatch.chdir(tmp_path)
    async with Simulator(dialect, time_scale=0) as sim, connect(sim) as mj:
        task = await mj.imagine("a lighthouse")
        looks = count_sent(sim, "fetch")
        sim.expire_links()
        assert await use(task)
        assert (count_sent(sim, "fetch"), count_sent(sim, "image")) == (looks + 1, 2)
        assert await use(task)
        assert (count_sent(sim, "fetch"), count_sent(sim, "image")) == (looks + 1, 3)


async def test_a_server_that_renews_no_link() -> None:
    """The original gives the same dead link again: one refetch, and the error."""
    async with Simulator("original", time_scale=0, draw=False) as sim, connect(sim) as mj:
        task = await mj.imagine("a lighthouse")
        looks = count_sent(sim, "fetch")
        sim.expire_links()
        with pytest.raises(LinkExpired):
            await task.read()
        assert count_sent(sim, "fetch") == looks + 1


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_link_that_stays_dead(plain: Simulator, status: int) -> None:
    """When the fresh link is dead, too, that is the end of it."""
    async with connect(plain) as mj:
        task = await mj.imagine("a lighthouse")
        looks = count_sent(plain, "fetch")
        plain.fault("reply", on="image", times=None, status=status)
        with pytest.raises(mjasync.LinkExpired) as caught:
            await task.read()
        assert caught.value.task is task
        assert (count_sent(plain, "fetch"), count_sent(plain, "image")) == (looks + 1, 2)


async def test_a_dead_link_of_a_lost_task(plain: Simulator) -> None:
    """When the task is gone as well, that is what is said."""
    async with connect(plain) as mj:
        task = await mj.imagine("a lighthouse")
        plain.expire_links()
        plain.forget(task.id)
        with pytest.raises(mjasync.TaskNotFound) as caught:
            await task.read()
        assert caught.value.task is task


async def test_what_is_no_link(plain: Simulator) -> None:
    """A server that names no http(s) address for a picture is not followed."""
    async with connect(plain) as mj:
        task = await mj.imagine("a lighthouse").submit()
        for url in ("file:///etc/hostname", "ftp://127.0.0.1/x.png", "http://", "http://[x"):
            told = {"id": task.id, "status": "SUCCESS", "imageUrl": url}
            plain.fault("reply", on="fetch", status=200, body=told)
            await task.refresh()
            with pytest.raises(mjasync.InvalidRequest, match="address"):
                await task.read()


# --- downloads that break ----------------------------------------------------------------------

BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("truncated", {}),
    ("reset_before", {}),
    ("reset_after", {}),
    ("reply", {"status": 500}),
    ("reply", {"status": 200, "body": b"\x89PNG\r\n\x1a\nhalf a picture"}),
    ("reply", {"status": 200, "body": {"error": "http_get_image_failed"}}),
    ("reply", {"status": 200, "body": "<!doctype html><html></html>"}),
    ("reply", {"status": 200, "body": b""}),
]


@pytest.mark.parametrize("kind, options", BROKEN)
async def test_a_broken_download_is_repeated(
    plain: Simulator, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    """A download that breaks off, or is no picture, is tried again; only a whole one is kept."""
    async with connect(plain) as mj:
        task = await mj.imagine("a lighthouse")
        fault = plain.fault(kind, on="image", times=2, **options)
        path = await task.save(tmp_path)
        assert fault.hits == 2
        assert opened(path.read_bytes()).size == (2, 2)
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind, options", BROKEN)
async def test_a_download_that_stays_broken_leaves_nothing(
    plain: Simulator, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    """After the last attempt the error is raised, and no part of a file is there."""
    async with connect(plain) as mj:
        task = await mj.imagine("a lighthouse")
        plain.fault(kind, on="image", times=None, **options)
        with pytest.raises(mjasync.MJError) as caught:
            await task.save(tmp_path)
        assert caught.value.retryable
        assert caught.value.task is task
        assert list(tmp_path.iterdir()) == []


async def test_a_slow_download_arrives(plain: Simulator, tmp_path: Path) -> None:
    """A picture that comes byte by byte comes whole."""
    async with connect(plain) as mj:
        task = await mj.imagine("a lighthouse")
        plain.fault("slow_body", on="image", gap=0)
        path = await task.save(tmp_path)
        assert opened(path.read_bytes()).size == (2, 2)


async def test_a_cancelled_download_leaves_nothing(plain: Simulator, tmp_path: Path) -> None:
    """Stopping a download half way leaves no part of it behind."""
    async with connect(plain) as mj:
        task = await mj.imagine("a lighthouse")
        plain.fault("slow_body", on="image", gap=0.002)
        saving = asyncio.ensure_future(task.save(tmp_path))
        await eventually(lambda: any(tmp_path.iterdir()))
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert list(tmp_path.iterdir()) == []
