"""The gallery of a batch, as it is on disk; what it does is in test_gallery_browser.py."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
import sys
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mjasync import ConfigurationError
from mjasync.batch import Batch, Job, write_gallery
from mjasync.batch._gallery.page import GalleryPage
from mjasync.simulator import Simulator
from support.clients import connect
from support.gallery_jobs import (
    ANSWERED,
    FAMILY,
    HOSTILE,
    a_file,
    a_job,
    facts_of,
    hostile,
    many,
    one_of_each,
    png_header,
    told,
)


async def written(folder: Path, jobs: list[Job], **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """Write a gallery, and return what its page is told."""
    await GalleryPage(folder).write(jobs, **{"running": False, **options})
    return facts_of(folder / "index.html")


class Blocks(HTMLParser):
    """The elements of a page, and the text of its inline blocks."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note the text of a style or a script."""
        if self.cdata_elem:
            self.blocks.append((self.cdata_elem, data))


# --- the page ----------------------------------------------------------------------------------


async def test_a_batch_gets_a_gallery(sim: Simulator, tmp_path: Path) -> None:
    """The gallery of a real batch shows every job, and each of its pictures has a thumbnail."""
    async with connect(sim) as mj, Batch(tmp_path, client=mj, steps="U1>Upscale (Subtle)") as batch:
        batch.add(["a fox --ar 3:2", "an owl"])
        jobs = [job async for job in batch.run()]
    page = await write_gallery(tmp_path)
    assert page == tmp_path / "index.html"
    facts = facts_of(page)
    assert facts["name"] == tmp_path.name
    assert {row["key"] for row in facts["jobs"]} == {job.key for job in jobs}
    for row in facts["jobs"]:
        (file,) = row["files"]
        with (
            Image.open(tmp_path / file["thumbnail"]) as small,
            Image.open(tmp_path / file["path"]) as large,
        ):
            assert (file["width"], file["height"]) == large.size
            assert max(small.size) <= 480
            assert small.width / small.height == pytest.approx(large.width / large.height, rel=0.02)


async def test_a_folder_without_a_batch(tmp_path: Path) -> None:
    """Where no batch is, an error says so, and nothing is left there."""
    with pytest.raises(ConfigurationError, match="no batch"):
        await write_gallery(tmp_path)
    assert not list(tmp_path.iterdir())


async def test_the_page_stands_alone(tmp_path: Path) -> None:
    """The page names nothing outside of its folder, and no element of it has a handler."""
    await written(tmp_path, one_of_each(tmp_path))
    page = Blocks((tmp_path / "index.html").read_text("utf-8"))
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "poster"):
            link = attributes.get(name) or ""
            assert link == "" or link.startswith(("#", "data:image/")), (tag, link)
        assert not [name for name in attributes if name.startswith("on")]
        assert "style" not in attributes


async def test_the_policy_names_the_blocks(tmp_path: Path) -> None:
    """Only the style and the script that the page came with may have an effect."""
    await written(tmp_path, [])
    page = Blocks((tmp_path / "index.html").read_text("utf-8"))
    (policy,) = (a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    texts = {"style": "", "script": ""}
    for tag, text in page.blocks:
        texts[tag] = texts[tag] or text
    for tag, text in texts.items():
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


async def test_words_stay_words(tmp_path: Path) -> None:
    """Whatever a prompt holds, the page has the elements it always has, and tells it unchanged."""
    await written(tmp_path, [])
    usual = Blocks((tmp_path / "index.html").read_text("utf-8")).elements
    facts = await written(tmp_path, hostile(tmp_path))
    assert Blocks((tmp_path / "index.html").read_text("utf-8")).elements == usual
    told_prompts = [row["prompt"] for row in facts["jobs"] if "parent" not in row]
    assert told_prompts == list(HOSTILE)
    assert all("thumbnail" in f for row in facts["jobs"] for f in row.get("files", ()))


async def test_a_step_follows_its_parent(tmp_path: Path) -> None:
    """Jobs are told by number, each after its parent, and a shared prompt is told once."""
    jobs = many(tmp_path, 15)
    facts = await written(tmp_path, jobs[::-1])
    assert [row["n"] for row in facts["jobs"]] == [1] * 5 + [2] * 5 + [3] * 5
    assert [row.get("step", "") for row in facts["jobs"][:5]] == list(FAMILY)
    assert ["prompt" in row for row in facts["jobs"][:5]] == [True, False, False, False, False]


async def test_an_answer_is_part_of_its_step(tmp_path: Path) -> None:
    """A step is told as its path of buttons, whatever the answers to their modals hold."""
    facts = await written(tmp_path, [a_job(1, step) for step in reversed(ANSWERED)])
    paths = ["U1", "Custom Zoom[day > night]", "U2"]
    assert [row.get("path", []) for row in facts["jobs"]] == [paths[:end] for end in range(4)]


async def test_it_tells_whether_to_look_again(tmp_path: Path) -> None:
    """A page knows whether its batch is being worked on."""
    assert (await written(tmp_path, [], running=True))["running"] is True
    assert (await written(tmp_path, [], running=False))["running"] is False


async def test_a_page_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk fails, the page from before is there, and nothing half written."""
    await written(tmp_path, [a_job(1)])
    before = (tmp_path / "index.html").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        await written(tmp_path, [a_job(1), a_job(2)])
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_bytes() == before


async def test_writing_at_once(tmp_path: Path) -> None:
    """Writes at the same time leave a whole page with all there was."""
    jobs = many(tmp_path, 20)
    gallery = GalleryPage(tmp_path)
    await asyncio.gather(*(gallery.write(jobs, running=True) for _ in range(4)))
    assert len(facts_of(tmp_path / "index.html")["jobs"]) == 20
    assert len(list((tmp_path / "thumbnails").iterdir())) == 20


# --- thumbnails --------------------------------------------------------------------------------


async def test_thumbnails_are_made_once(tmp_path: Path) -> None:
    """A thumbnail that is there is not made again, by this gallery or another; a lost one is."""
    jobs = many(tmp_path, 10, distinct=10)
    gallery = GalleryPage(tmp_path)
    await gallery.write(jobs, running=True)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "thumbnails").iterdir()}
    assert len(made) == 10
    lost = min(made)
    await gallery.write(jobs, running=True)
    lost.unlink()
    await written(tmp_path, jobs)
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "thumbnails").iterdir()}
    assert {path for path in again if again[path] != made[path]} <= {lost}
    assert again.keys() == made.keys()


async def test_pictures_that_come_later(tmp_path: Path) -> None:
    """A gallery makes the thumbnails of what has been saved since."""
    gallery = GalleryPage(tmp_path)
    await gallery.write([a_job(1, status="accepted")], running=True)
    assert not (tmp_path / "thumbnails").exists()
    await gallery.write([a_job(1, files=[a_file(tmp_path, "1.png")])], running=True)
    ((row,),) = [row["files"] for row in facts_of(tmp_path / "index.html")["jobs"]]
    assert (tmp_path / row["thumbnail"]).is_file()


@pytest.mark.parametrize(
    "data", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "half"]
)
async def test_a_broken_picture_has_none(tmp_path: Path, data: bytes | str | None) -> None:
    """A picture that is missing, empty, of no format or cut short spoils nothing."""
    good = a_file(tmp_path, "good.png", (400, 300))
    bad = a_file(tmp_path, "bad.png", (400, 301), seed=1)
    if data is None:
        (tmp_path / "bad.png").unlink()
    else:
        whole = (tmp_path / "bad.png").read_bytes()
        (tmp_path / "bad.png").write_bytes(whole[: len(whole) // 2] if data == "half" else data)
    facts = await written(tmp_path, [a_job(1, files=[good]), a_job(2, files=[bad])])
    assert ["thumbnail" in row["files"][0] for row in facts["jobs"]] == [True, False]


LARGE = {
    "large.png": png_header(12_000, 12_000),
    "bomb.png": png_header(60_000, 60_000),
    "bomb.bmp": b"BM"
    + bytes(12)
    + (40).to_bytes(4, "little")
    + (20_000).to_bytes(4, "little") * 2
    + b"\1\0\x18\0"
    + bytes(24),
}


async def test_a_servers_words_turn_no_text_around(tmp_path: Path) -> None:
    """What acts on the text beside it is escaped on the page, and what is endless is cut."""
    said = "\x1b[31m\u202egnp\n" + "x" * 10_000
    facts = await written(tmp_path, [a_job(1, status="failed", error=said, task_id="1\u2066")])
    (job,) = facts["jobs"]
    assert job["error"].startswith("\\x1b[31m\\u202egnp\nxxx")
    assert len(job["error"]) < 3000
    assert job["task"] == "1\\u2066"


@pytest.mark.parametrize("name", LARGE)
async def test_a_picture_too_large_is_a_link(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture that would take too much memory is named on the page and in the log, not opened."""
    (tmp_path / name).write_bytes(LARGE[name])
    good = a_file(tmp_path, "good.png")
    facts = await written(
        tmp_path, [a_job(1, files=[told(tmp_path, name)]), a_job(2, files=[good])]
    )
    (large,), (small,) = (row["files"] for row in facts["jobs"])
    assert "thumbnail" not in large
    assert ("too large" in large["why"]) is (large.get("large", False)) is name.endswith(".png")
    assert "thumbnail" in small
    assert name in caplog.text


MEASURE = """
import asyncio, hashlib, resource
from pathlib import Path
from PIL import Image
from mjasync.batch import File, Job
from mjasync.batch._gallery.page import GalleryPage

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

async def shown(paths):
    files = [
        File(path=path.name, size=1, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for path in paths
    ]
    jobs = [
        Job(key=file.sha256, root=file.sha256, number=n, prompt="", files=(file,))
        for n, file in enumerate(files)
    ]
    await GalleryPage(Path()).write(jobs, running=False)

async def main():
    await shown([Path("small.png")])
    before = peak()
    await shown(sorted(Path().glob("large*")))
    print(peak() - before, len([*Path("thumbnails").iterdir()]))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no resource module")
def test_thumbnails_take_a_bounded_memory(tmp_path: Path) -> None:
    """Large pictures are decoded one at a time and without a copy; JPEGs are decoded smaller."""
    a_file(tmp_path, "small.png")
    side = 3000
    for number in range(4):
        Image.new("RGB", (side, side), (number, 0, 0)).save(tmp_path / f"large{number}.png")
    Image.new("RGB", (2 * side, 2 * side)).save(tmp_path / "large.jpg")
    root = Path(__file__).parent.parent
    out = subprocess.check_output(
        [sys.executable, "-c", MEASURE], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}
    )
    most, made = map(int, out.split())
    assert made == 6
    assert most < 2 * 4 * side * side, "one picture of four bytes a pixel, and some room"


async def test_a_broken_picture_is_tried_once(tmp_path: Path) -> None:
    """What could not be read is left alone by this gallery, and tried by the next."""
    file = a_file(tmp_path, "1.png")
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(b"broken")
    gallery = GalleryPage(tmp_path)
    await gallery.write([a_job(1, files=[file])], running=True)
    (tmp_path / "1.png").write_bytes(data)
    await gallery.write([a_job(1, files=[file])], running=True)
    assert "thumbnail" not in facts_of(tmp_path / "index.html")["jobs"][0]["files"][0]
    assert "thumbnail" in (await written(tmp_path, [a_job(1, files=[file])]))["jobs"][0]["files"][0]


async def test_a_missing_picture_may_come_back(tmp_path: Path) -> None:
    """A picture that was not there has its thumbnail once it is, in the same gallery."""
    file = a_file(tmp_path, "1.png")
    away = (tmp_path / "1.png").rename(tmp_path / "away.png")
    gallery = GalleryPage(tmp_path)
    await gallery.write([a_job(1, files=[file])], running=True)
    assert "thumbnail" not in facts_of(tmp_path / "index.html")["jobs"][0]["files"][0]
    away.rename(tmp_path / "1.png")
    await gallery.write([a_job(1, files=[file])], running=True)
    assert "thumbnail" in facts_of(tmp_path / "index.html")["jobs"][0]["files"][0]


async def test_a_video_is_no_picture(tmp_path: Path) -> None:
    """A video gets no thumbnail, and is told as what it is."""
    (tmp_path / "1.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    facts = await written(tmp_path, [a_job(1, files=[told(tmp_path, "1.mp4")])])
    assert facts["jobs"][0]["files"][0]["moving"] is True


@pytest.mark.parametrize(
    "mode, ending",
    [
        ("1", "png"),
        ("L", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("RGBA", "webp"),
        ("I;16", "png"),
        ("P", "gif"),
        ("CMYK", "jpg"),
    ],
)
async def test_every_kind_of_picture(tmp_path: Path, mode: str, ending: str) -> None:
    """A picture of any kind Pillow reads has a thumbnail of its shape."""
    Image.new(mode, (1200, 600)).save(tmp_path / f"1.{ending}")
    facts = await written(tmp_path, [a_job(1, files=[told(tmp_path, f"1.{ending}")])])
    file = facts["jobs"][0]["files"][0]
    assert (file["width"], file["height"]) == (1200, 600)
    with Image.open(tmp_path / file["thumbnail"]) as small:
        assert small.size == (480, 240)


async def test_a_picture_on_its_side(tmp_path: Path) -> None:
    """A photograph stored on its side is told, and shown, upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1200, 600)).save(tmp_path / "1.jpg", exif=exif)
    facts = await written(tmp_path, [a_job(1, files=[told(tmp_path, "1.jpg")])])
    file = facts["jobs"][0]["files"][0]
    assert (file["width"], file["height"]) == (600, 1200)
    with Image.open(tmp_path / file["thumbnail"]) as small:
        assert small.size == (240, 480)


async def test_a_small_picture_stays_small(tmp_path: Path) -> None:
    """A thumbnail is never larger than its picture, and has its colour."""
    facts = await written(tmp_path, [a_job(1, files=[a_file(tmp_path, "1.png", (30, 20))])])
    file = facts["jobs"][0]["files"][0]
    assert re.fullmatch("2[6-9]2[6-9]2[6-9]", file["colour"])
    with Image.open(tmp_path / file["thumbnail"]) as small:
        assert small.size == (30, 20)
