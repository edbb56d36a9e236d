"""The pictures of the simulator: what they promise to people and to programs."""

from __future__ import annotations

import io
import itertools
import random
import struct
import subprocess
import sys
import threading
from zlib import crc32

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageSequence, ImageStat

from mjasync.simulator.images.image_spec import IMAGE_KINDS, ImageSpec, aspect_of, size_for
from mjasync.simulator.images.render import render

GRID = ImageSpec("grid", "a red fox", 1, 256, 256)
SINGLE = attrs.evolve(GRID, kind="upscale", parent=GRID, index=2)


def draw(spec: ImageSpec) -> Image.Image:
    """Render and decode."""
    return Image.open(io.BytesIO(render(spec))).convert("RGB")


def derived(kind: str, detail: str = "", **changes: object) -> ImageSpec:
    """A picture made from a single one."""
    changes = {"parent": SINGLE, "index": 0, "seed": 5, **changes}
    return attrs.evolve(SINGLE, kind=kind, detail=detail, **changes)  # type: ignore[arg-type]


def quadrants(spec: ImageSpec) -> list[Image.Image]:
    """Draw a grid and split it the way a client does."""
    image, x, y = draw(spec), spec.width // 2, spec.height // 2
    return [image.crop((a, b, a + x, b + y)) for b in (0, y) for a in (0, x)]


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference per channel, 0 to 255, seen at a coarse size."""
    pair = [image.resize((16, 16), Image.Resampling.BOX) for image in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*pair)).mean) / 3


def smallest_distance(images: list[Image.Image]) -> float:
    """The distance of the two images that are most alike."""
    return min(itertools.starmap(distance, itertools.combinations(images, 2)))


def image_file(mode: str, size: tuple[int, int], colour: object, form: str = "PNG") -> bytes:
    """An image whose right half has a colour, on black."""
    image = Image.new("RGBA", size, "black")
    ImageDraw.Draw(image).rectangle((size[0] // 2, 0, *size), fill=colour)  # type: ignore[arg-type]
    out = io.BytesIO()
    image.convert(mode).save(out, form)
    return out.getvalue()


MASK = image_file("L", (256, 256), "white")
_HUGE = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
BOMB = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + _HUGE + struct.pack(">I", crc32(_HUGE))


@pytest.mark.parametrize("aspect", [(1, 1), (16, 9), (9, 16), (3, 1)])
@pytest.mark.parametrize("prompt", ["a red fox, watercolor", "雪山下的城堡 --ar 16:9", ""])
@pytest.mark.parametrize("kind", ["grid", "blend"])
def test_quadrants_are_different_pictures(kind: str, prompt: str, aspect: tuple[int, int]) -> None:
    """Colours and shapes of the quadrants differ, and none of them is noise."""
    parts = quadrants(ImageSpec(kind, prompt, 3, *size_for(aspect, 256)))
    assert smallest_distance(parts) > 15
    for part in parts:
        blurred = part.filter(ImageFilter.GaussianBlur(2))
        assert sum(ImageStat.Stat(ImageChops.difference(part, blurred)).mean) / 3 < 6
        assert len(part.getcolors(part.width * part.height) or []) > 100


def test_prompts_and_seeds_give_visibly_different_grids() -> None:
    """No two of many prompts, nor two seeds of one prompt, give similar grids."""
    specs = [ImageSpec("grid", f"prompt {n}", 1, 128, 128) for n in range(12)]
    specs += [ImageSpec("grid", "prompt 0", seed, 128, 128) for seed in range(2, 14)]
    assert smallest_distance([draw(spec) for spec in specs]) > 12


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_the_same_specification_gives_the_same_bytes(kind: str) -> None:
    """Drawing neither reads nor moves the global generator, and threads do not matter."""
    spec = derived(kind, "2x left low 40%", mask=MASK, index=1)
    state = random.getstate()
    results = [render(spec)]
    assert random.getstate() == state
    threads = [threading.Thread(target=lambda: results.append(render(spec))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len(set(results)) == 1


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_an_upscale_is_its_quadrant_enlarged(index: int) -> None:
    """An upscale resembles its quadrant alone; enlarged once more, it stays what it is."""
    single = attrs.evolve(SINGLE, index=index)
    close = [distance(draw(single), part) < 2 for part in quadrants(GRID)]
    assert close == [n == index for n in (1, 2, 3, 4)]
    larger = attrs.evolve(single, kind="hd", parent=single, width=512, height=512)
    assert draw(larger).size == (512, 512)
    assert distance(draw(larger), draw(single)) < 2


@pytest.mark.parametrize(
    "kind, detail, box",
    [
        ("zoom", "2x", (32, 32, 96, 96)),
        ("zoom", "1.5x", (21, 21, 107, 107)),
        ("zoom", "", (32, 32, 96, 96)),
        ("pan", "left", (42, 0, 170, 128)),
        ("pan", "right", (-43, 0, 85, 128)),
        ("pan", "up", (0, 42, 128, 170)),
        ("pan", "down", (0, -43, 128, 85)),
    ],
)
def test_zoom_and_pan_show_the_parent_in_a_new_place(
    kind: str, detail: str, box: tuple[int, int, int, int]
) -> None:
    """The parent keeps its look where it went; around it, the candidates differ."""
    parts = quadrants(derived(kind, detail))
    left, top, right, bottom = box
    moved = Image.new("RGB", (128, 128))
    moved.paste(draw(SINGLE).resize((right - left, bottom - top)), (left, top))
    kept = max(0, left) + 12, max(0, top) + 12, min(128, right) - 12, min(128, bottom) - 12
    assert all(distance(part.crop(kept), moved.crop(kept)) < 2 for part in parts)
    assert smallest_distance(parts) > 8


@pytest.mark.parametrize(
    "mask, is_selected",
    [
        *((image_file(mode, (64, 30), "white"), True) for mode in ("1", "L", "LA", "P", "RGBA")),
        *((image_file("RGB", (256, 256), "white", form), True) for form in ("JPEG", "GIF")),
        (image_file("I;16", (256, 256), "white"), True),
        (image_file("RGB", (256, 256), (0, 0, 1)), True),
        (image_file("RGBA", (256, 256), (255, 255, 255, 0)), False),
        *((junk, False) for junk in (None, b"", b"not an image", MASK[:60], BOMB)),
        (image_file("1", (7000, 7000), "white"), False),
    ],
)
def test_inpaint_repaints_the_selection_and_nothing_else(
    mask: bytes | None, is_selected: bool
) -> None:
    """Pixels outside the mask are the parent's; inside, the candidates are new and differ."""
    parts = quadrants(derived("inpaint", prompt="a red door", mask=mask))
    parent = draw(SINGLE).resize((128, 128), Image.Resampling.LANCZOS)
    kept, selected = (0, 0, 64, 110), (64, 0, 128, 128)
    assert {part.crop(kept).tobytes() for part in parts} == {parent.crop(kept).tobytes()}
    repainted = [parent.crop(selected), *(part.crop(selected) for part in parts)]
    assert smallest_distance(repainted) > 8 if is_selected else distance(*repainted[:2]) < 1


def test_variations_resemble_their_parent() -> None:
    """The four differ, and a strong variation differs from its parent more than a subtle one."""
    parent = draw(SINGLE)
    subtle, strong = (quadrants(derived("vary", detail)) for detail in ("subtle", "strong"))
    assert smallest_distance(subtle) > 4
    near, far = (sum(distance(part, parent) for part in parts) / 4 for parts in (subtle, strong))
    assert near < far < 40
    grid = quadrants(GRID)
    of_third = quadrants(attrs.evolve(GRID, kind="vary", parent=GRID, index=3, detail="subtle"))
    assert all(distance(part, grid[2]) < 30 for part in of_third)


def test_a_preview_shows_more_and_more_of_the_picture() -> None:
    """The further a preview is, the closer it is to the picture."""
    early, late = (draw(derived("preview", detail, parent=GRID)) for detail in ("5%", "90%"))
    assert distance(early, draw(GRID)) > distance(late, draw(GRID)) > 0


@pytest.mark.slow
def test_a_video_is_an_animated_webp_of_its_parent() -> None:
    """It starts with the parent and moves; each candidate and motion in its own way."""
    files = [
        render(derived("video", how, index=n)) for n in (1, 2, 3, 4) for how in ("low", "high")
    ]
    assert len(set(files)) == 8
    with Image.open(io.BytesIO(files[0])) as video:
        assert video.format == "WEBP"
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(video)]
    assert len(frames) == 12
    assert distance(frames[0], draw(SINGLE)) < 8
    assert distance(frames[0], frames[6]) > 1


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize("size", [(2, 2), (3, 5), (16, 400), (401, 17)])
def test_every_kind_is_drawn_at_any_size_without_a_parent(kind: str, size: tuple[int, int]) -> None:
    """Slivers and odd sizes are drawn at their size."""
    assert draw(ImageSpec(kind, "灯塔", 1, *size)).size == size


@pytest.mark.parametrize("kind, size", [("grid", (1, 64)), ("grid", (64, -4)), ("gird", (2, 2))])
def test_impossible_specifications_raise(kind: str, size: tuple[int, int]) -> None:
    """An unknown kind, or a size without room for four quadrants."""
    with pytest.raises(ValueError, match=r"must be >= 2|kind"):
        ImageSpec(kind, "", 1, *size)


@pytest.mark.slow
def test_a_lineage_may_be_long() -> None:
    """Hundreds of steps need no stack."""
    spec = ImageSpec("grid", "", 1, 32, 32)
    for n in range(600):
        spec = ImageSpec(("upscale", "vary")[n % 2], "", n, 32, 32, spec, index=n % 4 + 1)
    assert draw(spec).size == (32, 32)


@given(
    st.lists(
        st.tuples(st.sampled_from(IMAGE_KINDS), st.integers(-1, 9), st.text(max_size=6)), max_size=5
    ),
    st.text(st.characters(exclude_categories=()), max_size=30),
    st.integers(-(2**70), 2**70),
    st.binary(max_size=200),
)
@settings(max_examples=40, deadline=None)
def test_any_lineage_can_be_drawn(
    steps: list[tuple[str, int, str]], prompt: str, seed: int, junk: bytes
) -> None:
    """Any kinds, indexes, details, prompts (even lone surrogates) and masks are drawn."""
    spec = ImageSpec("grid", prompt, seed, 40, 24)
    for kind, index, detail in steps:
        spec = ImageSpec(kind, prompt, seed, 40, 24, spec, index, detail, MASK[: len(junk)] + junk)
    assert draw(spec).size == (40, 24)


@pytest.mark.parametrize(
    "prompt, aspect",
    [
        ("a fox", (1, 1)),
        ("一只狐狸 --aspect 9:16 --v 7", (9, 16)),
        ("a fox —ar 21:9", (21, 9)),
        ("a fox --AR 3:1", (3, 1)),
        ("a fox --ar 1:2 --ar 2:3", (2, 3)),
        ("a fox --ar 16x9", (1, 1)),
        ("a fox --ar 0:9", (1, 1)),
        ("a fox --ar 16:", (1, 1)),
        ("a fox --ar 1.5:1", (1, 1)),
        ("a fox --ar 16:9wide", (1, 1)),
        ("a fox --art 16:9", (1, 1)),
        ("a fox --ar 9999999:1", (1, 1)),
    ],
)
def test_the_aspect_is_read_from_the_prompt(prompt: str, aspect: tuple[int, int]) -> None:
    """The last well-formed ratio counts; anything else is square."""
    assert aspect_of(prompt) == aspect


@given(st.text())
def test_every_prompt_has_an_aspect(prompt: str) -> None:
    """No text makes reading the aspect fail."""
    assert min(aspect_of(f"x --ar {prompt}")) >= 1


@given(st.integers(1, 99_999), st.integers(1, 99_999), st.integers(2, 4096))
def test_sizes_are_even_and_bounded(width: int, height: int, max_side: int) -> None:
    """Both sides are even, at least 16, and at most what was requested."""
    size = size_for((width, height), max_side)
    assert all(side % 2 == 0 for side in size)
    assert min(size) >= 16
    assert max(size) == max(16, max_side - max_side % 2)


def test_drawing_without_pillow_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names both ways out."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"mjasync\[sim\].*draw=False"):
        render(GRID)


@pytest.mark.slow
def test_importing_the_renderer_does_not_import_pillow() -> None:
    """Only drawing needs Pillow."""
    code = "import mjasync.simulator.images.render, sys; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
