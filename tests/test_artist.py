"""The simulator's artist: what its pictures promise to people and to programs."""

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
from mjasync.simulator.images.scenes import _WORDS, _subject_of

PROMPTS = (
    "a lighthouse in a storm",
    "a red fox, watercolor",
    "雪山下的城堡，电影感 --ar 16:9",
    "夜晚的猫",
    "hot air balloon \N{CLOUD}",
    "",
)
ASPECTS = ((1, 1), (16, 9), (9, 16), (21, 9), (3, 1))


def draw(picture: ImageSpec) -> Image.Image:
    """Render and decode."""
    return Image.open(io.BytesIO(render(picture))).convert("RGB")


def quadrants(image: Image.Image) -> list[Image.Image]:
    """Split a grid the way a client does."""
    x, y = image.width // 2, image.height // 2
    corners = ((0, 0), (x, 0), (0, y), (x, y))
    return [image.crop((left, top, left + x, top + y)) for left, top in corners]


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference per channel, 0 to 255, seen at a coarse size."""
    pair = [image.resize((16, 16), Image.Resampling.BOX) for image in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*pair)).mean) / 3


def contrast(image: Image.Image) -> float:
    """The smallest distance between the mean colours of any two quadrants."""
    means = [ImageStat.Stat(part).mean for part in quadrants(image)]
    return min(
        sum(abs(a - b) for a, b in zip(*pair, strict=True))
        for pair in itertools.combinations(means, 2)
    )


def grid(prompt: str = "a red fox", seed: int = 1, side: int = 256) -> ImageSpec:
    """The oldest ancestor of most pictures here."""
    return ImageSpec("grid", prompt, seed, side, side)


def single(side: int = 256, index: int = 2) -> ImageSpec:
    """One picture of the grid, large."""
    return ImageSpec("upscale", "a red fox", 1, side, side, parent=grid(side=side), index=index)


def derived(kind: str, detail: str = "", side: int = 256, **changes: object) -> ImageSpec:
    """A picture made from a single one."""
    return attrs.evolve(
        ImageSpec(kind, "a red fox", 5, side, side, parent=single(), detail=detail),
        **changes,  # type: ignore[arg-type]
    )


def mask_file(size: tuple[int, int] = (256, 256), mode: str = "L", form: str = "PNG") -> bytes:
    """A mask with the right half selected."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle((size[0] // 2, 0, *size), fill=255)
    out = io.BytesIO()
    mask.convert(mode).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_grid_quadrants_can_be_told_apart(prompt: str, aspect: tuple[int, int]) -> None:
    """Whatever the prompt and shape, mean colours and compositions of the quadrants differ."""
    width, height = size_for(aspect, 256)
    image = draw(ImageSpec("grid", prompt, 3, width, height))
    assert image.size == (width, height)
    assert contrast(image) > 20
    pairs = itertools.combinations(quadrants(image), 2)
    assert min(itertools.starmap(distance, pairs)) > 10


def test_prompts_and_seeds_give_visibly_different_grids() -> None:
    """No two of many prompts, nor two seeds of one prompt, give similar grids."""
    pictures = [grid(f"prompt {n}", side=128) for n in range(12)]
    pictures += [grid("prompt 0", seed, side=128) for seed in range(2, 14)]
    images = [draw(picture) for picture in pictures]
    assert min(itertools.starmap(distance, itertools.combinations(images, 2))) > 12


def test_quadrants_are_pictures_and_not_noise() -> None:
    """Blurring a quadrant changes little, and it holds many colours."""
    for part in quadrants(draw(grid())):
        blurred = part.filter(ImageFilter.GaussianBlur(2))
        assert sum(ImageStat.Stat(ImageChops.difference(part, blurred)).mean) / 3 < 12
        assert len(part.getcolors(part.width * part.height) or []) > 100


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_same_picture_gives_same_bytes_whatever_chance_does(kind: str) -> None:
    """Drawing neither reads nor moves the global generator, and threads do not matter."""
    picture = derived(kind, "2x left low 40%", side=64, mask=mask_file(), index=1)
    random.seed(1)
    state = random.getstate()
    first = render(picture)
    assert random.getstate() == state
    random.seed(2)
    again: list[bytes] = []
    threads = [threading.Thread(target=lambda: again.append(render(picture))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert again == [first] * 3


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_upscale_is_its_quadrant_enlarged(index: int) -> None:
    """Made small again, an upscale is nearly its quadrant, and none of the other three."""
    big = draw(single(index=index))
    parts = quadrants(draw(grid()))
    small = big.resize(parts[0].size, Image.Resampling.LANCZOS)
    difference = ImageChops.difference(small, parts[index - 1])
    assert big.size == (256, 256)
    assert max(ImageStat.Stat(difference).mean) < 2
    assert [distance(small, part) < 5 for part in parts].count(True) == 1


@pytest.mark.parametrize("detail", ["subtle", "creative", "2x"])
def test_hd_is_the_same_picture_at_its_size(detail: str) -> None:
    """An upscale of an upscale keeps what there is to see."""
    image = draw(derived("hd", detail, side=512))
    assert image.size == (512, 512)
    assert distance(image, draw(single())) < 2


@pytest.mark.parametrize("detail, factor", [("2x", 2), ("1.5x", 1.5), ("1.8", 1.8), ("", 2)])
def test_zoom_shrinks_the_parent_into_the_middle(detail: str, factor: float) -> None:
    """The middle of each candidate is the parent at 1/factor; around it there is new land."""
    side = round(128 / factor)
    small = draw(single()).resize((side, side), Image.Resampling.LANCZOS)
    at, edge = (128 - side) // 2, 12
    image = draw(derived("zoom", detail))
    for part in quadrants(image):
        middle = part.crop((at, at, at + side, at + side))
        inner = edge, edge, side - edge, side - edge
        assert distance(middle.crop(inner), small.crop(inner)) < 2
    assert contrast(image) > 10


def test_zoom_to_another_shape_keeps_the_whole_parent() -> None:
    """A custom zoom of 1 with a wider aspect adds land at both sides only."""
    wide = derived("zoom", "1", width=512, height=256)
    parent = draw(single()).resize((128, 128), Image.Resampling.LANCZOS)
    for part in quadrants(draw(wide)):
        assert part.size == (256, 128)
        assert distance(part.crop((80, 16, 176, 112)), parent.crop((16, 16, 112, 112))) < 12


def test_a_parent_stays_visible_however_small_it_gets() -> None:
    """A wide picture shrunk into a tall one is a few lines high, and still there."""
    wide = attrs.evolve(single(), width=420, height=40)
    small = draw(wide).resize((60, 6), Image.Resampling.LANCZOS)
    tall = ImageSpec("zoom", "", 1, 240, 400, parent=wide, detail="2x")
    for part in quadrants(draw(tall)):
        middle = part.crop((30, 97, 90, 103)).crop((4, 2, 56, 4))
        assert distance(middle, small.crop((4, 2, 56, 4))) < 6


@pytest.mark.parametrize(
    "direction, moved",
    [("left", (42, 0)), ("right", (-42, 0)), ("up", (0, 42)), ("down", (0, -42))],
)
def test_pan_shifts_the_parent_and_shows_new_land(direction: str, moved: tuple[int, int]) -> None:
    """The parent moves away from where we look, by a third; there, the candidates differ."""
    parent = draw(single()).resize((128, 128), Image.Resampling.LANCZOS)
    image = draw(derived("pan", direction))
    left, top = (max(0, shift) + 12 for shift in moved)
    right, bottom = (min(128, 128 + shift) - 12 for shift in moved)
    before = parent.crop((left - moved[0], top - moved[1], right - moved[0], bottom - moved[1]))
    for part in quadrants(image):
        assert distance(part.crop((left, top, right, bottom)), before) < 2
    assert contrast(image) > 4


@pytest.mark.parametrize("width, height, detail", [(384, 256, "right"), (256, 384, "up")])
def test_pan_onto_a_larger_canvas_keeps_the_whole_parent(
    width: int, height: int, detail: str
) -> None:
    """Where the canvas grew, nothing of the parent is cut off."""
    parent = draw(single()).resize((128, 128), Image.Resampling.LANCZOS)
    top = 0 if detail == "right" else 64
    for part in quadrants(draw(derived("pan", detail, width=width, height=height))):
        kept = part.crop((0, top, 128, top + 128))
        inner = 12, 12, 116, 116
        assert distance(kept.crop(inner), parent.crop(inner)) < 2


def test_inpaint_repaints_the_selection_and_nothing_else() -> None:
    """Outside the mask every byte is the parent's; inside the candidates are new and differ."""
    image = draw(derived("inpaint", side=512, prompt="a red door", mask=mask_file()))
    parent = draw(single())
    kept, painted = (0, 0, 128, 256), (128, 0, 256, 256)
    parts = quadrants(image)
    for part in parts:
        assert part.crop(kept).tobytes() == parent.crop(kept).tobytes()
        assert distance(part.crop(painted), parent.crop(painted)) > 8
    pairs = itertools.combinations([part.crop(painted) for part in parts], 2)
    assert min(itertools.starmap(distance, pairs)) > 8


def _plain(mode: str, size: tuple[int, int], colour: int | tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


def _bomb() -> bytes:
    """A small file that announces ten thousand million pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", crc32(body))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(256, 256), (64, 64), (1000, 30), (2, 2)])
def test_masks_of_any_mode_and_size_fit(mode: str, size: tuple[int, int]) -> None:
    """A mask is resized to the picture, whatever way it is stored."""
    image = draw(derived("inpaint", prompt="a red door", mask=mask_file(size, mode)))
    parent = draw(single()).resize((128, 128), Image.Resampling.LANCZOS)
    for part in quadrants(image):
        assert part.crop((0, 0, 63, 128)).tobytes() == parent.crop((0, 0, 63, 128)).tobytes()
        assert distance(part.crop((64, 0, 128, 128)), parent.crop((64, 0, 128, 128))) > 5


@pytest.mark.parametrize(
    "mask, selected",
    [
        (None, False),
        (b"", False),
        (b"not an image", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (mask_file()[:60], False),
        (mask_file(form="JPEG"), True),
        (mask_file(form="GIF"), True),
        (_plain("1", (7000, 7000), 1), False),
        (_bomb(), False),
        (_plain("RGBA", (64, 64), (255, 255, 255, 0)), False),
        (_plain("RGB", (64, 64), (0, 0, 1)), True),
    ],
)
def test_nonsense_masks_select_nothing(mask: bytes | None, selected: bool) -> None:
    """What cannot be read as an image selects nothing; what is not black is selected."""
    image = draw(derived("inpaint", mask=mask))
    parent = draw(single()).resize((128, 128), Image.Resampling.LANCZOS)
    changed = {part.tobytes() != parent.tobytes() for part in quadrants(image)}
    assert changed == {selected}


@given(st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_any_bytes_will_do_for_a_mask(junk: bytes) -> None:
    """No mask makes drawing fail."""
    draw(ImageSpec("inpaint", "x", 1, 32, 32, mask=mask_file((8, 8))[: len(junk)] + junk))


def test_vary_gives_four_relatives_and_strong_goes_further() -> None:
    """Variations differ among themselves, resemble their parent, the strong ones less."""
    parent = draw(single())
    subtle, strong = (draw(derived("vary", detail)) for detail in ("subtle", "strong"))
    assert contrast(subtle) > 10
    assert contrast(strong) > 15
    near, far = (
        sum(distance(part, parent) for part in quadrants(image)) / 4 for image in (subtle, strong)
    )
    assert near < far < 60
    assert near < 30


def test_a_quadrant_of_a_grid_can_be_varied() -> None:
    """With an index and a grid for a parent, the quadrant is what is varied."""
    parts = quadrants(draw(grid()))
    image = draw(ImageSpec("vary", "a red fox", 5, 256, 256, grid(), index=3, detail="subtle"))
    assert all(distance(part, parts[2]) < 30 for part in quadrants(image))


def test_blend_quadrants_can_be_told_apart() -> None:
    """A blend is a grid too."""
    assert min(contrast(draw(ImageSpec("blend", "", n, 128, 128))) for n in range(8)) > 15


def test_preview_shows_more_and_more_of_the_picture() -> None:
    """A preview resembles what it announces, the better the further it is."""
    final = draw(grid())
    early, late = (
        draw(ImageSpec("preview", "a red fox", 1, 256, 256, parent=grid(), detail=detail))
        for detail in ("5%", "90%")
    )
    close = [
        sum(ImageStat.Stat(ImageChops.difference(image, final)).mean) for image in (early, late)
    ]
    assert close[0] > close[1] > 0
    assert distance(late, final) < 3


@pytest.mark.parametrize("detail", ["low", "high"])
def test_video_is_an_animated_webp_of_its_parent(detail: str) -> None:
    """It starts with the parent and moves; each candidate moves in its own way."""
    files = [render(derived("video", detail, side=128, index=n)) for n in (1, 2, 3, 4)]
    assert len(set(files)) == 4
    with Image.open(io.BytesIO(files[0])) as video:
        assert video.format == "WEBP"
        assert video.size == (128, 128)
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(video)]
    assert len(frames) >= 8
    assert distance(frames[0], draw(single())) < 8
    assert distance(frames[0], frames[len(frames) // 2]) > 1


@pytest.mark.parametrize("kind", ["describe", "swap"])
def test_single_pictures_of_nothing_before_them(kind: str) -> None:
    """They vary with the seed."""
    assert distance(*(draw(ImageSpec(kind, "", seed, 128, 128)) for seed in (1, 2))) > 5


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize("size", [(2, 2), (3, 5), (16, 400), (401, 17)])
def test_every_kind_has_the_asked_size_without_a_parent(kind: str, size: tuple[int, int]) -> None:
    """Orphans, slivers and odd sizes are drawn."""
    picture = ImageSpec(kind, "灯塔", 1, *size, mask=mask_file())
    assert Image.open(io.BytesIO(render(picture))).size == size


@pytest.mark.parametrize("size", [(1, 64), (64, 0), (-4, 64)])
def test_a_picture_without_room_for_four_is_refused(size: tuple[int, int]) -> None:
    """Both sides have at least two pixels."""
    with pytest.raises(ValueError, match="must be >= 2"):
        ImageSpec("grid", "", 1, *size)


def test_an_unknown_kind_is_refused() -> None:
    """A typing error shows where it is made."""
    with pytest.raises(ValueError, match="kind"):
        ImageSpec("gird", "", 1, 2, 2)


def test_a_lineage_may_be_long() -> None:
    """Hundreds of steps need no stack, and still show what was done last."""
    picture = grid(side=32)
    for n in range(600):
        kind = ("upscale", "vary")[n % 2]
        picture = ImageSpec(kind, "a red fox", n, 32, 32, picture, index=n % 4 + 1)
    assert draw(picture).size == (32, 32)


@given(
    st.lists(
        st.tuples(st.sampled_from(IMAGE_KINDS), st.integers(-1, 9), st.text(max_size=6)), max_size=5
    ),
    st.text(st.characters(exclude_categories=()), max_size=30),
    st.integers(-(2**70), 2**70),
)
@settings(max_examples=40, deadline=None)
def test_any_lineage_can_be_drawn(
    steps: list[tuple[str, int, str]], prompt: str, seed: int
) -> None:
    """Any order of kinds, odd indexes, details and prompts (lone surrogates too) will do."""
    picture = ImageSpec("grid", prompt, seed, 40, 24)
    for kind, index, detail in steps:
        picture = ImageSpec(kind, prompt, seed, 40, 24, picture, index, detail)
    assert Image.open(io.BytesIO(render(picture))).size == (40, 24)


@pytest.mark.parametrize(
    "prompt, aspect",
    [
        ("a fox", (1, 1)),
        ("a fox --ar 16:9", (16, 9)),
        ("一只狐狸 --aspect 9:16 --v 7", (9, 16)),
        ("a fox —ar 21:9", (21, 9)),
        ("a fox --AR 3:1", (3, 1)),
        ("a fox --ar 1:2 --ar 2:3", (2, 3)),
        ("a fox --ar 4:5", (4, 5)),
        ("a fox --ar 16x9", (1, 1)),
        ("a fox --ar 0:9", (1, 1)),
        ("a fox --ar 16:", (1, 1)),
        ("a fox --ar 1.5:1", (1, 1)),
        ("a fox --ar 16:9wide", (1, 1)),
        ("a fox --art 16:9", (1, 1)),
        ("a fox --ar 9999999:1", (1, 1)),
    ],
)
def test_aspect_is_read_from_the_prompt(prompt: str, aspect: tuple[int, int]) -> None:
    """The last well-formed ratio counts; junk is square."""
    assert aspect_of(prompt) == aspect


@given(st.text())
def test_any_prompt_has_an_aspect(prompt: str) -> None:
    """No text makes reading the aspect fail."""
    assert min(aspect_of(f"x --ar {prompt}")) >= 1


@given(st.integers(1, 99_999), st.integers(1, 99_999), st.integers(2, 4096))
def test_sizes_are_even_and_bounded(width: int, height: int, longest: int) -> None:
    """Both sides are even, neither is longer than asked (16 at least) nor thinner than 16."""
    size = size_for((width, height), longest)
    assert all(side % 2 == 0 for side in size)
    assert min(size) >= 16
    assert max(size) == max(16, longest - longest % 2)


def test_sizes_have_the_asked_shape() -> None:
    """Usual ratios at the usual size."""
    sizes = [size_for(aspect, 512) for aspect in ASPECTS]
    assert sizes == [(512, 512), (512, 288), (288, 512), (512, 220), (512, 170)]


@pytest.mark.parametrize("words", _WORDS.items(), ids=lambda item: item[0])
def test_what_a_prompt_names_stands_in_its_picture(words: tuple[str, tuple[str, ...]]) -> None:
    """In English and in Chinese, the subject is the one named first."""
    subject, names = words
    assert {_subject_of(f"x {name.upper()} x") for name in names} == {subject}


def test_drawing_without_pillow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names both ways out."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"mjasync\[sim\].*draw=False"):
        render(grid())


def test_importing_the_artist_does_not_import_pillow() -> None:
    """Only drawing needs Pillow."""
    code = "import mjasync.simulator.images.render, sys; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
