"""Pictures as a user takes them: saved, read, cut in four, and told apart."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import connect
from PIL import Image, ImageChops, ImageStat

from mjasync import Client, InvalidRequest, LinkExpired, MalformedReply, Task
from mjasync.simulator import Simulator

SIZE = 128


@pytest.fixture
async def drawn() -> AsyncIterator[Simulator]:
    """A server that draws small pictures at once."""
    async with Simulator(time_scale=0, picture_size=SIZE) as sim:
        yield sim


@pytest.fixture
async def artist(drawn: Simulator) -> AsyncIterator[Client]:
    """A client of it."""
    async with connect(drawn) as mj:
        yield mj


def opened(data: bytes) -> Image.Image:
    """The pixels of a picture."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    """How much two pictures differ, 0 to 255, whatever their sizes."""
    smaller = other.resize(one.size)
    return sum(ImageStat.Stat(ImageChops.difference(one, smaller)).mean) / 3


async def finished(artist: Client, prompt: str = "a fox") -> Task:
    """A finished grid."""
    return await artist.imagine(prompt)


async def test_a_directory_gets_the_id_and_the_ending_of_the_bytes(
    artist: Client, tmp_path: Path
) -> None:
    """The name in a directory comes from the task and what was downloaded."""
    grid = await finished(artist)
    saved = await grid.save(tmp_path)
    assert saved == tmp_path / f"{grid.id}.png"
    assert opened(saved.read_bytes()).size == (SIZE, SIZE)


async def test_a_new_directory_is_made(artist: Client, tmp_path: Path) -> None:
    """A path that ends in a slash is a directory, there or not."""
    grid = await finished(artist)
    saved = await grid.save(f"{tmp_path}/new/deep/")
    assert saved.parent == tmp_path / "new" / "deep"


@pytest.mark.parametrize(
    "name,expected",
    [
        ("fox.png", "fox.png"),
        ("fox.jpg", "fox.jpg"),
        ("fox", "fox.png"),
        ("{action}-{id}.{ext}", "imagine-{id}.png"),
        ("{prompt}", "a fox.png"),
    ],
)
async def test_names_and_templates(
    artist: Client, tmp_path: Path, name: str, expected: str
) -> None:
    """A file name is kept; what it leaves open is filled in."""
    grid = await finished(artist)
    saved = await grid.save(tmp_path / name)
    assert saved == tmp_path / expected.format(id=grid.id)
    assert [*tmp_path.iterdir()] == [saved]


async def test_the_four_of_a_grid_cut_here_are_those_of_the_server(tmp_path: Path) -> None:
    """Cut in four locally, a grid gives the same pictures as a server that lists them."""
    async with (
        Simulator(time_scale=0, picture_size=SIZE) as plain,
        Simulator(time_scale=0, picture_size=SIZE, image_urls=True) as listing,
        connect(plain) as cutter,
        connect(listing) as lister,
    ):
        cut = await (await cutter.imagine("a fox --seed 7")).images()
        listed = await (await lister.imagine("a fox --seed 7")).images()
    assert len(cut) == len(listed) == 4
    for one, other in zip(cut, listed, strict=True):
        assert difference(opened(one.data), opened(other.data)) < 4
    assert difference(opened(cut[0].data), opened(cut[1].data)) > 4
    places = [await picture.save(tmp_path) for picture in cut]
    assert len({*places}) == 4


async def test_upscale_three_is_quadrant_three(artist: Client) -> None:
    """U3 enlarges the third picture of the grid, and no other."""
    grid = await finished(artist)
    big = opened(await (await grid.upscale(3)).read())
    differences = [difference(opened(part.data), big) for part in await grid.images()]
    assert differences.index(min(differences)) == 2
    assert differences[2] < 6


async def test_a_single_picture_is_its_only_one(artist: Client) -> None:
    """`images` of an upscale is that picture, not four pieces of it."""
    big = await (await finished(artist)).upscale(1)
    (only,) = await big.images()
    assert bytes(only) == await big.read()
    assert only.extension == "png"


async def test_an_expired_link_is_fetched_afresh_once(
    drawn: Simulator, artist: Client, tmp_path: Path
) -> None:
    """403 on the link: the task is fetched again, and its new link works."""
    grid = await finished(artist)
    old = grid.image_url
    drawn.expire_links()
    await grid.save(tmp_path)
    assert grid.image_url != old
    assert sum(request.kind == "fetch" for request in drawn.requests[-3:]) == 1


async def test_a_dead_link_stays_an_error(
    drawn: Simulator, artist: Client, tmp_path: Path
) -> None:
    """When the fresh link is dead, too, that is said, and nothing is left behind."""
    grid = await finished(artist)
    drawn.fault("reply", on="image", times=None, status=404, body=b"")
    with pytest.raises(LinkExpired) as caught:
        await grid.save(tmp_path / "fox.png")
    assert caught.value.task is grid
    assert not [*tmp_path.iterdir()]


async def test_a_broken_off_picture_is_downloaded_again(
    drawn: Simulator, artist: Client, tmp_path: Path
) -> None:
    """A picture that breaks off costs another attempt, not a broken file."""
    grid = await finished(artist)
    fault = drawn.fault("truncated", on="image", times=2)
    saved = await grid.save(tmp_path / "fox.png")
    assert fault.hits == 2
    opened(saved.read_bytes()).load()


async def test_a_page_for_a_picture_leaves_nothing(
    drawn: Simulator, artist: Client, tmp_path: Path
) -> None:
    """A web page where the picture should be is an error, and no file."""
    grid = await finished(artist)
    drawn.fault("html", on="image", times=None)
    with pytest.raises(MalformedReply):
        await grid.save(tmp_path / "fox.png")
    assert not [*tmp_path.iterdir()]


async def test_a_slow_picture_arrives(drawn: Simulator, artist: Client) -> None:
    """A body that comes in drops is put together."""
    async with Simulator(time_scale=0, draw=False) as tiny, connect(tiny) as mj:
        grid = await mj.imagine("a fox")
        tiny.fault("slow_body", on="image", gap=0.0)
        assert (await grid.read()).startswith(b"\x89PNG")


async def test_a_video_is_saved_as_what_it_is(artist: Client, tmp_path: Path) -> None:
    """An animation is named by its bytes, whatever its link says, and is not cut in four."""
    big = await (await finished(artist)).upscale(1)
    video = await big.animate("low")
    saved = await video.save(tmp_path)
    assert saved.suffix == ".webp"
    assert len(await video.images()) == 1


async def test_text_results_have_no_picture(artist: Client, tmp_path: Path) -> None:
    """A shorten says that its result is text."""
    short = await artist.shorten("a very long prompt about a fox")
    with pytest.raises(InvalidRequest, match=r"\.text"):
        await short.save(tmp_path)


async def test_what_is_not_finished_has_no_picture(drawn: Simulator, artist: Client) -> None:
    """A preview is not the result: awaiting comes first."""
    drawn.fault("stall", at=50)
    task = await artist.imagine("a fox").submit()
    await task.refresh()
    with pytest.raises(InvalidRequest, match="await the Task first"):
        await task.read()


async def test_an_unwritable_place_is_an_oserror(artist: Client, tmp_path: Path) -> None:
    """Where nothing can be written the operating system's own error says so."""
    grid = await finished(artist)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        await grid.save(tmp_path / "file" / "fox.png")
