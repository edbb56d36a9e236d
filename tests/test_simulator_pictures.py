"""The simulator's pictures: rendered when fetched, behind links that expire (PROTOCOL §7.3)."""

from __future__ import annotations

import io
import sys

import pytest
from PIL import Image

from mjasync.simulator.images import store
from mjasync.simulator.images.render import render
from mjasync.simulator.images.store import image_type
from support.internals import set_time_scale
from support.pictures import data_url, encode
from support.raw_http import FROZEN, Raw, simulated


async def seen(raw: Raw, url: str) -> Image.Image:
    """Fetch the picture of a link."""
    answer = await raw.get(url)
    assert answer.status == 200
    image = Image.open(io.BytesIO(answer.body))
    image.load()
    assert answer.headers["Content-Type"] == f"image/{(image.format or '').lower()}"
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of the channels of two pictures, 0 to 255."""
    small = [image.convert("RGB").resize((32, 32)).tobytes() for image in (one, other)]
    return sum(abs(a - b) for a, b in zip(*small, strict=True)) / len(small[0])


async def test_a_grid_is_drawn_at_the_aspect_ratio_asked_for() -> None:
    """A PNG of the size the task states, different for another prompt."""
    async with simulated(draw=True, picture_size=160) as (_, raw):
        fox, sea = await raw.grid("a fox --ar 16:9"), await raw.grid("the sea --ar 16:9")
        picture = await seen(raw, fox["imageUrl"])
        assert picture.size == (fox["imageWidth"], fox["imageHeight"]) == (160, 90)
        assert difference(picture, await seen(raw, sea["imageUrl"])) > 5
        assert difference(picture, await seen(raw, fox["imageUrl"])) == 0


async def test_upscaling_quadrant_three_gives_quadrant_three() -> None:
    """U3 is the third quadrant, enlarged."""
    async with simulated(draw=True, picture_size=160) as (_, raw):
        grid = await raw.grid()
        single = await raw.pressed(grid, "U3")
        whole = await seen(raw, grid["imageUrl"])
        large = await seen(raw, single["imageUrl"])
        w, h = whole.size
        quarters = [
            whole.crop(box)
            for box in (
                (0, 0, w // 2, h // 2),
                (w // 2, 0, w, h // 2),
                (0, h // 2, w // 2, h),
                (w // 2, h // 2, w, h),
            )
        ]
        assert large.size == whole.size
        gaps = [difference(large, quarter) for quarter in quarters]
        assert gaps[2] == min(gaps) < 3


PATHS = [
    ["V1"],
    ["🔄"],
    ["U1", "Upscale (Subtle)"],
    ["U1", "Upscale (Subtle)", "⬅️"],
    ["U1", "Vary (Subtle)"],
    ["U1", "Vary (Subtle)", "🔄"],
    ["U1", "Zoom Out 2x"],
    ["U1", "Zoom Out 1.5x", "V2"],
    ["U1", "⬆️"],
    ["U1", "Animate (High motion)"],
    ["U1", "Animate (High motion)", "U2"],
    ["U1", "Animate (High motion)", "U2", "Extend (Low motion)"],
    ["U1", "Custom Zoom"],
    ["U1", "Vary (Region)"],
]


@pytest.mark.parametrize("path", PATHS)
async def test_every_button_leads_to_a_new_picture(path: list[str]) -> None:
    """Every button gives another picture, which is valid and has the reported size."""
    async with simulated(draw=True, picture_size=128) as (_, raw):
        task = await raw.grid("a fox --ar 2:1")
        for name in path:
            before = task
            answer = await raw.press(task, name)
            if answer.code == 21:
                mask = {"maskBase64": data_url(mask_of(128, 64))} if "Region" in name else {}
                answer = await raw.submit("modal", taskId=answer.result, **mask)
            task = await raw.done(answer)
        picture = await seen(raw, task["imageUrl"])
        assert picture.size == (task["imageWidth"], task["imageHeight"])
        assert max(picture.size) == (256 if "Upscale" in path[-1] else 128)
        bodies = [(await raw.get(each["imageUrl"])).body for each in (task, before)]
        assert bodies[0] != bodies[1]
        assert (picture.format == "WEBP") == (
            task["action"] == "VIDEO" or before["action"] == "VIDEO"
        )


def mask_of(width: int, height: int) -> bytes:
    """Return a mask with a white selection in the middle, on black."""
    mask = Image.new("RGB", (width, height))
    mask.paste((255, 255, 255), (width // 3, height // 3, 2 * width // 3, 2 * height // 3))
    return encode(mask)


async def test_an_enlarged_picture_is_two_or_four_times_as_large() -> None:
    """The factor is two, or four with the second button of version 5."""
    async with simulated(draw=True, picture_size=64) as (_, raw):
        single = await raw.pressed(await raw.grid("x --v 5"), "U1")
        sizes = [(await raw.pressed(single, f"Upscale ({n}x)"))["imageWidth"] for n in (2, 4)]
        assert sizes == [128, 256]


@pytest.mark.parametrize("endpoint", ["blend", "swap"])
async def test_pictures_made_of_pictures(endpoint: str) -> None:
    """The pictures of blend and swap depend on the images."""
    async with simulated(draw=True, picture_size=128) as (_, raw):
        pictures = []
        for first in (b"1", b"3"):
            images = [data_url(first), data_url(b"2")]
            if endpoint == "blend":
                answer = await raw.submit("blend", base64Array=images)
            else:
                faces = {"sourceBase64": images[0], "targetBase64": images[1]}
                answer = await raw.post("/mj/insight-face/swap", **faces)
            task = await raw.done(answer)
            pictures.append(await seen(raw, task["imageUrl"]))
        assert difference(*pictures) > 1
        if endpoint == "blend":
            task = await raw.pressed(task, "🔄")
            assert difference(await seen(raw, task["imageUrl"]), pictures[-1]) > 1


async def test_image_urls_are_the_four_quadrants() -> None:
    """They need the option and a finished grid (PROTOCOL §3.3)."""
    async with simulated(draw=True, picture_size=128, image_urls=True) as (sim, raw):
        grid = await raw.grid()
        assert [sorted(entry) for entry in grid["imageUrls"]] == [["thumbnail", "url"]] * 4
        single = await raw.pressed(grid, "U2")
        assert single["imageUrls"] is None
        second = await seen(raw, grid["imageUrls"][1]["url"])
        assert difference(second, await seen(raw, single["imageUrl"])) < 3
        assert (await raw.task(grid["id"]))["imageUrls"] == grid["imageUrls"]
        set_time_scale(sim, FROZEN)
        answer = await raw.submit("imagine", prompt="x")
        assert (await raw.task(answer.result))["imageUrls"] is None


async def test_a_preview_is_gone_when_the_task_is_done() -> None:
    """The link of a running task leads to a preview, which is 404 at the end (PROTOCOL §7.3)."""
    async with simulated(draw=True, picture_size=128) as (sim, raw):
        sim.fault("stall", at=62)
        task = await raw.grid()
        assert task["progress"] == "62%"
        assert (await seen(raw, task["imageUrl"])).size == (128, 128)
        await raw.call("POST", f"/mj/task/{task['id']}/cancel")
        assert (await raw.get(task["imageUrl"])).status == 404


async def test_a_link_expires_after_its_lifetime() -> None:
    """An expired link returns 403, and every fetch of the task renews it."""
    async with simulated(link_lifetime=0.0) as (_, raw):
        grid = await raw.grid()
        assert (await raw.get(grid["imageUrl"])).status == 403
        assert (await raw.task(grid["id"]))["imageUrl"] != grid["imageUrl"]
    async with simulated(link_lifetime=3600) as (_, raw):
        grid = await raw.grid()
        assert (await raw.get(grid["imageUrl"])).status == 200
        assert await raw.task(grid["id"]) == grid
        forged = grid["imageUrl"].replace("?ex=", "?ex=1&x=")
        assert (await raw.get(forged)).status == 403


async def test_expire_links_ends_every_link_so_far() -> None:
    """Links of uploads expire too; a fetch of the task renews its link."""
    async with simulated() as (sim, raw):
        grid = await raw.grid()
        upload = (await raw.submit("upload-discord-images", base64Array=[data_url()])).result[0]
        described = await raw.done(await raw.submit("describe", base64=data_url()))
        sim.expire_links()
        for url in (grid["imageUrl"], upload, described["imageUrl"]):
            assert (await raw.get(url)).status == 403
        for task in (grid, described):
            fresh = await raw.task(task["id"])
            assert (await raw.get(fresh["imageUrl"])).status == 200


async def test_without_drawing_there_is_a_tiny_png_and_no_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """draw=False does not need Pillow; the four pixels split into four quadrants."""
    async with simulated(draw=False) as (_, raw):
        grid = await raw.grid()
        monkeypatch.setitem(sys.modules, "PIL", None)
        answer = await raw.get(grid["imageUrl"])
        monkeypatch.undo()
        picture = Image.open(io.BytesIO(answer.body))
        assert picture.size == (2, 2)
        assert len(picture.convert("RGB").getcolors() or ()) == 4


async def test_few_drawn_pictures_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of stored pictures and uploads are limited."""
    monkeypatch.setattr(store, "_MAX_CACHED", 3)
    monkeypatch.setattr(store, "_MAX_UPLOADS", 5)
    async with simulated(draw=True, picture_size=32) as (sim, raw):
        for n in range(4):
            await seen(raw, (await raw.grid(f"fox {n}"))["imageUrl"])
        assert len(sim._image_store._rendered) == 3
        links = [
            sim._image_store.create_link(sim._image_store.add_upload(str(n).encode()))
            for n in range(7)
        ]
        assert len(sim._image_store._uploads) == 5
        assert (await raw.get(links[0])).status == 404
        assert (await raw.get(links[-1])).body == b"6"


async def test_a_forgotten_parent_still_has_its_picture() -> None:
    """A picture made from a lost task can still be rendered."""
    async with simulated(draw=True, picture_size=64) as (sim, raw):
        grid = await raw.grid()
        single = await raw.pressed(grid, "U1")
        sim.forget(grid["id"])
        assert (await seen(raw, single["imageUrl"])).size == (64, 64)
        assert render(sim.tasks[single["id"]].image)


def test_formats_are_detected_by_their_first_bytes() -> None:
    """An unknown format is ``octet-stream``."""
    kinds = [
        image_type(data)
        for data in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF", b"")
    ]
    assert kinds == ["png", "jpeg", "gif", "webp", "octet-stream"]
