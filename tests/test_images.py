"""Bytes of pictures: what is taken, what is written and under which name, how grids are cut."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import itertools
import os
import pickle
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from yarl import URL

from mjasync import (
    ConfigurationError,
    InvalidRequest,
    MalformedReply,
    MJError,
    Picture,
    ServerError,
)
from mjasync._media import files as _images
from mjasync._media.files import BufferedWriter, read_all, target_for, write_stream
from mjasync._media.formats import sniff
from mjasync._media.grid import split_grid
from mjasync._media.inputs import as_data_url, as_mask, as_tuple
from mjasync._media.pillow import encode_as_png
from support.pictures import encode, encoded, extension_of
from support.scripted_server import answering, asking, http
from support.waiting import PATIENCE, turns

PNG = encoded("PNG")
JPEG = encoded("JPEG")
WEBP = encoded("WEBP")
WHOLE = {"png": PNG, "jpg": JPEG, "webp": WEBP}
MP4 = b"\x00\x00\x00\x20ftypisom" + b"\x00" * 40
MASK = Image.new("L", (2, 2), "white")
FIELDS = {"id": "17", "prompt": "a red fox", "state": "mine", "action": "imagine"}


FORKS = """
import asyncio, os, signal
from mjasync._media.inputs import read_file_input

def read():
    assert asyncio.run(read_file_input({png!r})) == {png!r}

read()
child = os.fork()
if not child:
    signal.alarm(10)
    read()
    os._exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


async def nowhere(url: str) -> bytes:
    """A download that must not be asked for."""
    raise AssertionError(url)


async def data_url(image: Any) -> tuple[str, bytes]:  # noqa: ANN401 - wrong kinds too
    """The MIME type and the bytes that would be sent."""
    head, _, body = str(await as_data_url(image, nowhere)).partition(";base64,")
    return head.removeprefix("data:"), base64.b64decode(body, validate=True)


async def chunks(data: bytes, size: int = 16) -> AsyncIterator[bytes]:
    """A picture as it comes in from the network."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def write(data: bytes, path: str | Path, **fields: object) -> Path:
    """Write a picture that comes in bit by bit."""
    return await write_stream(chunks(data), path, {**FIELDS, **fields})


def left_in(folder: Path) -> list[str]:
    """The files anywhere below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- what it is --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, kind",
    [
        (PNG, ("png", "image/png")),
        (JPEG, ("jpg", "image/jpeg")),
        (WEBP, ("webp", "image/webp")),
        (encoded("GIF"), ("gif", "image/gif")),
        (encoded("BMP"), ("bmp", "image/bmp")),
        (b"\x00\x00\x00\x20ftypavif", ("avif", "image/avif")),
        (b"\x00\x00\x00\x20ftypavis", ("avif", "image/avif")),
        (MP4, ("mp4", "video/mp4")),
        (b"\x00\x00\x00\x0aftypqt  ", ("mp4", "video/mp4")),
        (b"\x1aE\xdf\xa3webm", ("webm", "video/webm")),
        (b"", None),
        (b"\x89PNG", None),
        (b"BMW is a car", None),
        (b"RIFF....WAVE", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"%PDF-1.7", None),
    ],
)
def test_sniff(data: bytes, kind: tuple[str, str] | None) -> None:
    """A format is told by its first bytes, whatever a name or a link says."""
    assert sniff(data) == kind


@given(st.binary(max_size=80))
def test_anything_is_sniffed(data: bytes) -> None:
    """Any bytes are a known format or none, and have an ending."""
    kind = sniff(data)
    assert Picture(data).extension == (kind[0] if kind else "bin")


# --- in ----------------------------------------------------------------------------------------


class Readable:
    """A file object of a kind that is no io class."""

    @staticmethod
    def read() -> bytes:
        """All of it."""
        return PNG


GIVEN: dict[str, Callable[[Path], object]] = {
    "path as text": str,
    "path": lambda path: path,
    "bytes": lambda _: PNG,
    "bytearray": lambda _: bytearray(PNG),
    "memoryview": lambda _: memoryview(PNG),
    "bytesio": lambda _: io.BytesIO(PNG),
}


@pytest.mark.parametrize("given_as", GIVEN.values(), ids=GIVEN)
async def test_kinds_of_input(given_as: Callable[[Path], object], tmp_path: Path) -> None:
    """A picture may be a path, bytes of any kind, or a file object."""
    path = tmp_path / "fox.dat"
    path.write_bytes(PNG)
    assert await data_url(given_as(path)) == ("image/png", PNG)


async def test_open_files(tmp_path: Path) -> None:
    """An open binary file is read, whatever its class."""
    (tmp_path / "fox.jpg").write_bytes(JPEG)
    with (tmp_path / "fox.jpg").open("rb") as file:
        assert await data_url(file) == ("image/jpeg", JPEG)
    assert await data_url(Readable()) == ("image/png", PNG)


SHOWN = {
    **dict.fromkeys(["RGB", "RGBA", "CMYK", "YCbCr", "HSV", "RGBX", "RGBa", "P"], (200, 40, 90)),
    **dict.fromkeys(["L", "LA", "La", "I", "F", "I;16"], (95, 95, 95)),
    "1": (0, 0, 0),
    "LAB": (200, 40, 90),
    "PA": (200, 40, 90),
}


def in_mode(mode: str) -> Image.Image:
    """A picture of one colour in a mode."""
    image = Image.new("RGB", (5, 3), (200, 40, 90))
    if mode == "PA":
        return image.quantize().convert("PA")
    if mode == "P":
        return image.quantize()
    if mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")  # type: ignore[return-value]
    if mode == "I;16":
        return Image.new(mode, (5, 3), 95 * 257)
    if mode in {"RGBa", "La"}:
        return image.convert(f"{mode[:-1]}A").convert(mode)
    return image.convert("L").convert(mode) if mode in {"I", "F"} else image.convert(mode)


@pytest.mark.parametrize("mode", SHOWN)
async def test_pillow_images(mode: str) -> None:
    """A Pillow image of any mode goes as the PNG that shows the same, readable for everybody."""
    mime, data = await data_url(in_mode(mode))
    sent = Image.open(io.BytesIO(data))
    assert (mime, sent.size) == ("image/png", (5, 3))
    assert sent.mode in {"1", "L", "LA", "P", "RGB", "RGBA"}
    shown = sent.convert("RGB").getpixel((1, 1))
    assert all(abs(a - b) <= 6 for a, b in zip(shown, SHOWN[mode], strict=True))


@pytest.mark.parametrize(
    "mode, values", [("F", (0.25, 1.0)), ("I", (16384, 65535)), ("I;16", (16384, 65535))]
)
async def test_grey_of_many_bits(mode: str, values: tuple[float, float]) -> None:
    """Grey from 0 to 1, or of 16 bits, is as light as it was."""
    image = Image.new(mode, (2, 1), values[0])
    image.putpixel((1, 0), values[1])
    _, data = await data_url(image)
    assert abs(Image.open(io.BytesIO(data)).getpixel((0, 0)) - 64) <= 1


async def test_a_profile_of_other_colours_is_left_out() -> None:
    """What was CMYK is RGB, and does not say that it is CMYK."""
    image = Image.new("CMYK", (2, 2))
    image.info["icc_profile"] = b"of a printer"
    _, data = await data_url(image)
    assert "icc_profile" not in Image.open(io.BytesIO(data)).info


async def test_photos_are_upright() -> None:
    """A photo opened with Pillow is sent as it is looked at, and is not changed itself."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32)).save(buffer, "JPEG", exif=exif)
    photo = Image.open(buffer)
    _, data = await data_url(photo)
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size == (32, 64)
    assert photo.size == (64, 32)


@pytest.mark.parametrize("form, mime", [("JPEG", "jpeg"), ("WEBP", "webp"), ("GIF", "gif")])
async def test_mime_by_content(form: str, mime: str, tmp_path: Path) -> None:
    """The MIME type is that of the bytes, not that of the name."""
    path = tmp_path / "fox.png"
    path.write_bytes(encoded(form))
    assert (await data_url(path))[0] == f"image/{mime}"


async def test_data_urls_pass() -> None:
    """A data URL is what is sent anyway."""
    assert await as_data_url("data:image/png;base64,AAAA", nowhere) == "data:image/png;base64,AAAA"


async def test_urls_are_downloaded() -> None:
    """An http address is fetched, without the token, and sent as bytes: not every server would."""
    async with answering(http(200, WEBP)) as elsewhere, asking("http://127.0.0.1:9") as mj:
        sent = await as_data_url(f"{elsewhere.url}/fox", mj._context.download_input)
    assert str(sent) == f"data:image/webp;base64,{base64.b64encode(WEBP).decode()}"
    assert b"secret" not in elsewhere.asked[0].lower()


@pytest.mark.parametrize(
    "answer, error, words",
    [
        (http(404, b"gone"), InvalidRequest, "HTTP 404"),
        (http(403, b""), InvalidRequest, "HTTP 403"),
        (http(401, b"<html>"), InvalidRequest, "HTTP 401"),
        (http(200, b"<html>"), InvalidRequest, "cannot be had"),
        (http(200, b""), InvalidRequest, "cannot be had"),
        (http(200, b"just text"), InvalidRequest, "no picture"),
        (http(200, PNG[:-20]), InvalidRequest, "broke off"),
        (http(200, MP4), InvalidRequest, "not in a picture format"),
        (http(500, b"oops"), ServerError, "HTTP 500"),
        (b"", MJError, "cannot be had"),
    ],
    ids=["404", "403", "401", "page", "empty", "text", "cut", "video", "500", "nothing"],
)
async def test_urls_that_lead_to_no_picture(
    answer: bytes, error: type[Exception], words: str
) -> None:
    """An address that leads to no whole picture is no input; it is named, and no server blamed."""
    async with answering(answer) as elsewhere, asking("http://127.0.0.1:9") as mj:
        with pytest.raises(error, match=words) as caught:
            await as_data_url(f" {elsewhere.url}/fox.png\n", mj._context.download_input)
    said = str(caught.value)
    assert f"{elsewhere.url}/fox.png" in said
    assert not any(word in said for word in ("Refresh", "base URL", "token"))
    assert str(pickle.loads(pickle.dumps(caught.value))) == said  # noqa: S301


@pytest.mark.parametrize("spell", [str.upper, " {}".format, "\t{}\n".format, URL], ids=range(4))
async def test_links_are_links(spell: Callable[[str], Any]) -> None:
    """Blanks around an address, capitals and an URL object make no path of it."""
    async with answering(http(200, PNG)) as elsewhere, asking("http://127.0.0.1:9") as mj:
        link = spell(elsewhere.url)
        assert as_tuple(link) == (link,)
        sent = await as_data_url(link, mj._context.download_input)
    assert str(sent).endswith(base64.b64encode(PNG).decode())


def text_file(folder: Path) -> object:
    """A picture, opened as text by mistake."""
    path = folder / "fox.png"
    path.write_bytes(PNG)
    return path.open(encoding="utf-8")


def closed_file(folder: Path) -> object:
    """A file that was closed already."""
    file = io.BytesIO(PNG)
    file.close()
    return file


def file_with(data: bytes) -> Callable[[Path], object]:
    """A path to a file that holds this."""

    def make(folder: Path) -> object:
        (folder / "file").write_bytes(data)
        return folder / "file"

    return make


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: folder / "no.png", r"no\.png' cannot be read: No such file"),
    "folder": (lambda folder: folder, "cannot be read: Is a directory"),
    "null byte": (lambda _: "fox\0.png", "cannot be read: embedded null"),
    "empty": (file_with(b""), "is empty"),
    "text": (file_with(b"a red fox"), "not in a picture format"),
    "video": (file_with(MP4), "not in a picture format"),
    "empty bytes": (lambda _: b"", "given as bytes is empty"),
    "opened as text": (text_file, "TextIOWrapper is not a picture: .* in binary mode"),
    "closed": (closed_file, "cannot be read: I/O operation on closed file"),
    "number": (lambda _: 5, "int is not a picture"),
    "none": (lambda _: None, "NoneType is not a picture"),
    "cut": (lambda _: PNG[:-20], "given as bytes broke off after"),
    "cut file": (file_with(JPEG[: len(JPEG) // 2]), r"file' broke off after \d+ bytes"),
    "cut Pillow image": (lambda _: Image.open(io.BytesIO(JPEG[:-200])), "cannot be read: .*trunc"),
    "ftp": (lambda _: "ftp://example.com/fox.png", "cannot be read"),
}


@pytest.mark.parametrize("make, words", BAD.values(), ids=BAD)
async def test_what_is_no_picture(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    """What is no picture, or cannot be read, is refused before anything is sent."""
    image = make(tmp_path)
    try:
        with pytest.raises(InvalidRequest, match=words) as caught:
            await data_url(image)
        assert "refused" not in str(caught.value), "no server has said anything"
    finally:
        getattr(image, "close", lambda: None)()


async def test_bare_base64_is_not_repeated() -> None:
    """Somebody who passes base64 for a path gets a message that can be read."""
    with pytest.raises(InvalidRequest) as caught:
        await data_url(base64.b64encode(PNG * 9).decode())
    assert len(str(caught.value)) < 500


async def test_masks() -> None:
    """A mask is a PNG, however given; anything else is refused by what it is."""
    assert str(await as_mask(PNG, nowhere)).startswith("data:image/png;base64,")
    assert str(await as_mask(MASK, nowhere)).startswith("data:image/png;base64,")
    with pytest.raises(InvalidRequest, match=r"must be a PNG .* not image/jpeg"):
        await as_mask(JPEG, nowhere)
    with pytest.raises(InvalidRequest, match=r"must be a PNG .* not image/webp"):
        await as_mask("data:image/webp;base64,AAAA", nowhere)


def hole(size: tuple[int, int] = (8, 8)) -> Image.Image:
    """A mask as another service has it: black, transparent where to repaint."""
    mask = Image.new("RGBA", size, "black")
    mask.paste((0, 0, 0, 0), (2, 2, 5, 5))
    return mask


def picture_with_hole() -> Image.Image:
    """A picture with a hole in it, which other services take for a mask."""
    picture = Image.new("RGBA", (8, 8), (250, 240, 90, 255))
    picture.paste((0, 0, 0, 0), (2, 2, 5, 5))
    return picture


NO_MASKS: dict[str, object] = {
    "black": Image.new("L", (8, 8)),
    "nearly black": Image.new("RGB", (8, 8), (90, 90, 90)),
    "hole": hole(),
    "picture with a hole": picture_with_hole(),
    "transparent white": Image.new("RGBA", (8, 8), (255, 255, 255, 0)),
    "bytes": encode_as_png(hole()),
    "data URL": f"data:image/png;base64,{base64.b64encode(encode_as_png(hole())).decode()}",
}


@pytest.mark.parametrize("mask", NO_MASKS.values(), ids=NO_MASKS)
async def test_a_mask_without_white_is_refused(mask: Any) -> None:  # noqa: ANN401
    """What marks nothing is refused before it is paid for, with words about holes."""
    with pytest.raises(InvalidRequest, match=r"(no white|with a hole)\..*transparent hole"):
        await as_mask(mask, nowhere)


async def test_masks_of_every_mode() -> None:
    """White strokes are seen in any mode, on a transparent ground as well."""
    strokes = Image.new("RGBA", (8, 8))
    strokes.paste("white", (2, 2, 4, 4))
    modes = [Image.new("L", (8, 8), 255).convert(mode) for mode in ("1", "P", "RGB", "I", "LA")]
    for mask in (strokes, strokes.convert("P"), *modes):
        assert str(await as_mask(mask, nowhere)).startswith("data:image/png;base64,")
    with pytest.raises(InvalidRequest, match="mask cannot be read"):
        await as_mask(f"data:image/png;base64,{base64.b64encode(PNG[:60]).decode()}", nowhere)


async def test_masks_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Pillow is not installed, a mask goes as it is."""
    data = encode_as_png(NO_MASKS["black"])
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert bytes((await as_mask(data, nowhere)).data) == data  # type: ignore[union-attr]


def test_nothing_is_no_picture() -> None:
    """None stands for no pictures; what cannot hold any is refused."""
    assert as_tuple(None) == ()
    with pytest.raises(InvalidRequest, match="int is not a picture"):
        as_tuple(5)  # type: ignore[arg-type]


def test_one_picture_is_one() -> None:
    """One picture, however given, counts as one; several are several."""
    ones: Iterable[Any] = ("fox.png", Path("fox.png"), b"x", io.BytesIO(), Readable(), MASK)
    for one in ones:
        assert as_tuple(one) == (one,)
    assert as_tuple(["a", "b"]) == ("a", "b")
    assert as_tuple(name for name in "ab") == ("a", "b")
    assert as_tuple([]) == ()


# --- whole or not ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
async def test_collect(size: int) -> None:
    """Bytes come together as they were, in chunks of any size."""
    for data in WHOLE.values():
        assert await read_all(chunks(data, size)) == data
    with pytest.raises(MalformedReply, match=f"broke off after {len(PNG) - 1} bytes"):
        await read_all(chunks(PNG[:-1], size))
    with pytest.raises(MalformedReply, match="4 bytes that are no picture"):
        await read_all(chunks(b"text", size))
    with pytest.raises(MalformedReply, match="0 bytes"):
        await read_all(chunks(b""))


# --- out: where to -----------------------------------------------------------------------------


async def test_into_a_folder(tmp_path: Path) -> None:
    """In a folder the name is the id with the ending of the bytes; the folder may be new."""
    for extension, data in WHOLE.items():
        assert await write(data, tmp_path) == tmp_path / f"17.{extension}"
        new = await write(data, f"{tmp_path}/a/b/")
        assert new == tmp_path / "a" / "b" / f"17.{extension}"
        assert new.read_bytes() == data
    assert len(left_in(tmp_path)) == 6


@pytest.mark.parametrize(
    "name, written",
    [
        ("fox.png", "fox.png"),
        ("fox.jpg", "fox.jpg"),
        ("fox", "fox.webp"),
        ("a/b/fox", "a/b/fox.webp"),
        (".fox", ".fox.webp"),
        ("红狐狸", "红狐狸.webp"),
        ("{id}", "17.webp"),
        ("{id}.{ext}", "17.webp"),
        ("{id}.png", "17.png"),
        ("{action}/{id}-{state}.{ext}", "imagine/17-mine.webp"),
        ("{prompt}", "a red fox.webp"),
        ("{action}/{prompt}/", "imagine/a red fox/17.webp"),
        ("v6.1/{id}", "v6.1/17.webp"),
        ("{{{id}}}", "{17}.webp"),
        ("{id:>5}", "   17.webp"),
    ],
)
async def test_names_and_templates(name: str, written: str, tmp_path: Path) -> None:
    """A name is taken as it is, a template is filled; without an ending it gets the right one."""
    target = await write(WEBP, tmp_path / name if not name.endswith("/") else f"{tmp_path}/{name}")
    assert str(target.relative_to(tmp_path)) == written
    assert left_in(tmp_path) == [written]
    assert target.read_bytes() == WEBP


async def test_a_dot_in_a_field_is_no_ending(tmp_path: Path) -> None:
    """What a prompt holds is not taken for the ending of the file."""
    target = await write(PNG, tmp_path / "{prompt}", prompt="a fox --v 6.1")
    assert target.name == "a fox --v 6.1.png"


async def test_relative_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name goes to the working directory, where the bytes are written too."""
    monkeypatch.chdir(tmp_path)
    assert await write(PNG, "fox") == Path("fox.png")
    assert await write(PNG, "{id}") == Path("17.png")
    assert await write(PNG, "") == Path("17.png")
    assert left_in(tmp_path) == ["17.png", "fox.png"]


async def test_a_folder_that_looks_like_a_template(tmp_path: Path) -> None:
    """A folder that is there is a folder, whatever its name."""
    odd = tmp_path / "{odd}"
    odd.mkdir()
    assert await write(PNG, odd) == odd / "17.png"
    assert left_in(tmp_path) == ["{odd}/17.png"]


@pytest.mark.parametrize(
    "template",
    ["{size}", "{}", "{0}", "{id", "id}{", "{id.nothing}", "{id[a]}", "{state:d}", "{none:05d}"],
)
async def test_templates_that_do_not_work(template: str, tmp_path: Path) -> None:
    """A template that cannot be filled says which fields there are, and leaves nothing behind."""
    with pytest.raises(ConfigurationError, match=r"may use \{id\}, \{prompt\}") as caught:
        await write(PNG, tmp_path / template, none=None)
    assert "{ext}" in str(caught.value)
    assert left_in(tmp_path) == []


HOSTILE = {
    "../../etc/passwd": "etc-passwd",
    "/etc/passwd": "etc-passwd",
    "..": "_",
    "": "_",
    " . ": "_",
    "a\0b\nc\x7fd": "a-b-c-d",
    "C:\\fox*?": "C-fox",
    "{id}": "{id}",
    "trailing. . ": "trailing",
    "\ud800fox": "fox",
}


@pytest.mark.parametrize("prompt, name", HOSTILE.items(), ids=map(ascii, HOSTILE))
async def test_hostile_fields(prompt: str, name: str, tmp_path: Path) -> None:
    """A field cannot leave its folder, nor make a name that cannot be written."""
    target = await write(PNG, tmp_path / "{prompt}.{ext}", prompt=prompt)
    assert target == tmp_path / f"{name}.png"
    assert left_in(tmp_path) == [f"{name}.png"]


@pytest.mark.parametrize("letter", ["a", "狐", "🦊", "é", "👩‍🚀"])
async def test_long_fields_are_cut(letter: str, tmp_path: Path) -> None:
    """A long prompt makes a name that a file system takes, in any script."""
    target = await write(PNG, tmp_path / "{prompt}-{id}.{ext}", prompt=letter * 500)
    assert len(target.name.encode()) < 255
    assert target.name.startswith(letter)
    assert target.exists()


@given(prompt=st.text(max_size=300), state=st.none() | st.text(max_size=300))
def test_any_field_makes_one_name(prompt: str, state: str | None) -> None:
    """Whatever a field holds, a template stays where it points, within what a name may be."""
    fields = {**FIELDS, "prompt": prompt, "state": state}
    target = target_for("out/{prompt}-{id}", "png", fields)
    assert target.parent == Path("out")
    assert target.name not in {"", ".", ".."}
    assert len(target.name.encode()) <= 255
    assert target.suffix == ".png"


# --- out: whole or not at all ------------------------------------------------------------------


async def broken(data: bytes, error: BaseException) -> AsyncIterator[bytes]:
    """A picture that breaks off with an error."""
    yield data
    raise error


@pytest.mark.parametrize("extension", WHOLE)
async def test_cut_short_leaves_nothing(extension: str, tmp_path: Path) -> None:
    """A picture cut short is not written, and the one that was there stays."""
    old = tmp_path / "fox.png"
    old.write_bytes(b"the old one")
    for path in (tmp_path, old, tmp_path / "{id}", f"{tmp_path}/new/"):
        with pytest.raises(MalformedReply):
            await write(WHOLE[extension][:-9], path)
    assert left_in(tmp_path) == ["fox.png"]
    assert old.read_bytes() == b"the old one"


@pytest.mark.parametrize("data", [b"", b"text", b"<html></html>"])
async def test_no_picture_leaves_nothing(data: bytes, tmp_path: Path) -> None:
    """What is no picture is not written."""
    with pytest.raises(MalformedReply):
        await write(data, tmp_path)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("gone"), KeyError("bug")])
async def test_a_stream_that_fails_leaves_nothing(error: Exception, tmp_path: Path) -> None:
    """Whatever ends a download, nothing of it is left."""
    with pytest.raises(type(error)):
        await write_stream(broken(PNG, error), tmp_path, FIELDS)
    assert left_in(tmp_path) == []


async def test_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """A cancelled download leaves nothing either."""
    arrived, never = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield PNG
        arrived.set()
        await never.wait()

    writing = asyncio.create_task(write_stream(slow(), tmp_path, FIELDS))
    await arrived.wait()
    assert len(left_in(tmp_path)) == 1
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert left_in(tmp_path) == []


async def test_cancelled_waits_for_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stays open until the thread that writes to it has ended."""
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    closed: list[bool] = []

    def slow(file: io.FileIO, pieces: Iterable[bytes]) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(PATIENCE)
        closed.append(file.closed)

    monkeypatch.setattr(_images, "_write_all", slow)
    writing = asyncio.create_task(write_stream(chunks(PNG), tmp_path, FIELDS))
    await begun.wait()
    writing.cancel()
    await turns(5)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert closed == [False]
    assert left_in(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.slow
async def test_pictures_after_a_fork(tmp_path: Path) -> None:
    """A child process has no thread of its parent's, and makes its own."""
    script = tmp_path / "forks.py"
    script.write_text(FORKS.format(png=PNG), encoding="utf-8")
    child = await asyncio.create_subprocess_exec(sys.executable, str(script))
    try:
        async with asyncio.timeout(PATIENCE):
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.mark.slow
async def test_large_pictures(tmp_path: Path) -> None:
    """A picture of many pieces is written byte for byte, and replaces what was there."""
    large = encoded("PNG", size=(1500, 1500))
    assert len(large) > 2 << 20
    (tmp_path / "fox.png").write_bytes(b"old")
    target = await write_stream(chunks(large, 70_000), tmp_path / "fox.png", FIELDS)
    assert target.read_bytes() == large


@pytest.mark.parametrize("size", [1, 700, 3 << 20])
async def test_pieces_of_any_size(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many pieces, empty ones and a huge one all arrive."""
    monkeypatch.setattr(_images, "_FAST_WRITE_SECONDS", 0)  # what is held is written together
    data = PNG + bytes(range(256)) * (40 * min(size, 300))

    async def with_empty_ones() -> AsyncIterator[bytes]:
        async for chunk in chunks(data, size):
            yield b""
            yield chunk

    target = await write_stream(with_empty_ones(), tmp_path / "fox.png", FIELDS)
    assert target.read_bytes() == data


@pytest.mark.parametrize("most", [1, 5, 4096])
async def test_a_disk_that_takes_little_at_a_time(most: int, tmp_path: Path) -> None:
    """What a call did not take is written by the next, from where it stopped."""

    class Reluctant(io.FileIO):
        def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
            return super().write(data[:most])

    with Reluctant(tmp_path / "fox.png", "x") as file:
        writer = BufferedWriter(file)
        async for chunk in chunks(PNG, 7):
            await writer.write(chunk)
        await writer.flush()
    assert (tmp_path / "fox.png").read_bytes() == PNG


@pytest.mark.parametrize("seconds, here", [(0.0, 3), (1.0, 0)])
async def test_a_slow_disk_has_a_thread(seconds: float, here: int, tmp_path: Path) -> None:
    """Where writing is quick only the first piece goes to a thread, else every one does."""
    seen: list[int] = []

    class Noted(io.FileIO):
        def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
            seen.append(threading.get_ident())
            return super().write(data)

    ticks = itertools.count()
    large = bytes(3 << 20)
    with Noted(tmp_path / "fox.png", "x") as file:
        writer = BufferedWriter(file, now=lambda: seconds * next(ticks))
        for _ in range(4):
            await writer.write(large)
        await writer.flush()
    assert (tmp_path / "fox.png").read_bytes() == 4 * large
    assert seen[0] != threading.get_ident()
    assert (len(seen), seen.count(threading.get_ident())) == (4, here)


async def test_a_disk_that_grows_slow_gets_a_thread(tmp_path: Path) -> None:
    """The first slow piece is the last that anybody waits for, however quick a later one is."""
    fox, clock = tmp_path / "fox.png", itertools.accumulate([0, 0, 0, 9, 0, 0, 0, 0])
    with fox.open("xb", buffering=0) as file:
        writer = BufferedWriter(file, now=lambda: next(clock))
        await writer.write(PNG)
        await writer.write(PNG)
        assert fox.read_bytes() == 2 * PNG
        for written in (2, 3):
            await writer.write(PNG)
            assert fox.read_bytes() == written * PNG
            await writer.flush()
    assert fox.read_bytes() == 4 * PNG


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: it takes a part, as a full disk does, before it fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("room", [0, 100, len(PNG) - 1])
async def test_a_full_disk_leaves_nothing(room: int, tmp_path: Path) -> None:
    """A disk that takes a part of a picture and then is full leaves no part of it."""
    with room_for(room), pytest.raises(OSError) as caught:  # noqa: PT011 - the number tells
        await write(PNG, tmp_path / "fox.png")
    assert caught.value.errno in {errno.EFBIG, errno.ENOSPC}
    assert left_in(tmp_path) == []


async def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    """A place that is none is an OSError, and nothing is left beside it."""
    (tmp_path / "file").write_bytes(b"in the way")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "x").write_bytes(b"")
    for path in ("file/fox.png", "file/a/fox.png", "/dev/null/fox.png"):
        with pytest.raises(OSError, match=r"fox|file|null"):
            await write(PNG, tmp_path / path)
    with pytest.raises(OSError, match=r"folder\.png"):
        await write(PNG, tmp_path / "{state}.{ext}", state="folder")
    assert left_in(tmp_path) == ["file", "folder.png/x"]


# --- pictures in memory ------------------------------------------------------------------------


async def test_picture(tmp_path: Path) -> None:
    """A picture in memory shows no bytes, and is saved as a Task is."""
    picture = Picture(JPEG)
    assert bytes(picture) == JPEG
    assert "JFIF" not in repr(picture)
    assert picture.extension == "jpg"
    assert await picture.save(tmp_path) == tmp_path / "picture.jpg"
    assert await Picture(PNG, "17-1").save(tmp_path) == tmp_path / "17-1.png"
    assert await picture.save(tmp_path / "{id}-{n}", id="fox", n=3) == tmp_path / "fox-3.jpg"
    with pytest.raises(MalformedReply):
        await Picture(b"text").save(tmp_path)
    assert left_in(tmp_path) == ["17-1.png", "fox-3.jpg", "picture.jpg"]


COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))


def grid(width: int, height: int, mode: str = "RGB", form: str = "PNG") -> bytes:
    """Four quadrants, a colour each."""
    image = Image.new("RGB", (width, height))
    for number, colour in enumerate(COLOURS):
        corner = (number % 2 * (width - width // 2), number // 2 * (height - height // 2))
        image.paste(Image.new("RGB", (width // 2, height // 2), colour), corner)
    return encode(image.convert(mode), form, **({"lossless": True} if form == "WEBP" else {}))


@pytest.mark.parametrize("width, height", [(2, 2), (64, 64), (65, 64), (64, 33), (101, 57), (3, 9)])
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
async def test_split_grid(width: int, height: int, form: str) -> None:
    """A grid of any size comes apart row by row; an odd line in the middle belongs to none."""
    parts = await split_grid(grid(width, height, form=form))
    for part, colour in zip(parts, COLOURS, strict=True):
        image = Image.open(io.BytesIO(part))
        assert image.size == (width // 2, height // 2)
        assert image.convert("RGB").getcolors() == [((width // 2) * (height // 2), colour)]
        assert sniff(part) == ("png", "image/png")


@pytest.mark.parametrize("mode", ["RGBA", "P", "L"])
async def test_split_grid_modes(mode: str) -> None:
    """Grids with a palette, transparency or no colour come apart too."""
    parts = await split_grid(grid(10, 10, mode))
    assert [Image.open(io.BytesIO(part)).mode for part in parts] == [mode] * 4


@pytest.mark.parametrize("width, height", [(1, 1), (1, 8), (8, 1)])
async def test_split_a_line(width: int, height: int) -> None:
    """Even the smallest picture has four parts, each of at least a pixel."""
    parts = await split_grid(encoded("PNG", size=(width, height)))
    assert len(parts) == 4
    assert all(extension_of(part) == "png" for part in parts)


@pytest.mark.parametrize("data", [b"", b"text", PNG[:-30], PNG[:20], MP4, b"\x89PNG\r\n\x1a\nIEND"])
async def test_split_what_is_no_grid(data: bytes) -> None:
    """What Pillow cannot read is a malformed reply."""
    with pytest.raises(MalformedReply, match="cannot be cut in four"):
        await split_grid(data)


async def test_split_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow the message says what to install."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigurationError, match=r"mjasync\[images\]"):
        await split_grid(PNG)


async def test_a_grid_too_large_for_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own exception becomes one that says what to do."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ConfigurationError, match="MAX_IMAGE_PIXELS to a number"):
        await split_grid(PNG)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ConfigurationError, match=r"read\(\) or save\(\)"):
        await split_grid(PNG)
