"""The simulator's artist: draws every picture the simulated Midjourney hands out.

A `Picture` says what to draw as a *lineage* (this is the left pan of the upscale of the second
quadrant of that grid), never as pixels. `render` paints the lineage from its oldest ancestor
onwards and returns the encoded file. The same picture always gives the same bytes, in any thread,
and nothing is kept between two calls.

Grids (`grid`, `blend`, and the four candidates of `zoom`, `pan`, `inpaint` and `vary`) have four
quadrants that a person and a program can tell apart. The other kinds are single pictures.
"""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .image_spec import ImageSpec
from .scenes import (
    _SCENERY,
    _canvas,
    _clouds,
    _Colour,
    _colour,
    _dice,
    _gradient,
    _meadow,
    _mix,
    _Mood,
    _moods,
    _paint_sky,
    _scene,
    _Size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from PIL import Image as PillowImage

    _Image: TypeAlias = PillowImage.Image

__all__ = ["render"]


_GRIDS = frozenset({"grid", "blend", "zoom", "pan", "inpaint", "vary"})
_NUMBERS = (1, 2, 3, 4)
_MASK_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_MASK_PIXELS = 40_000_000
_FRAMES = 12
_FRAME_MS = 90


def render(picture: ImageSpec) -> bytes:
    """Draw a picture with all its ancestors.

    Args:
        picture: What to draw.

    Returns:
        A PNG file; for kind `video` an animated WebP file.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as missing:
        raise ImportError(
            "drawing needs Pillow: pip install 'mjasync[sim]', or use Simulator(draw=False)"
        ) from missing
    image = _paint(picture)
    return _webp(image, picture) if picture.kind == "video" else _png(image)


# --- Palettes, subjects and scenery: what there is to draw --------------------------------------


# --- One scene ----------------------------------------------------------------------------------


# --- Sky ----------------------------------------------------------------------------------------


# --- Land and water -----------------------------------------------------------------------------


# --- The subject --------------------------------------------------------------------------------


# --- Pictures of pictures -----------------------------------------------------------------------


def _paint(picture: ImageSpec) -> _Image:
    """Paint a lineage from its oldest ancestor onwards, however long it is."""
    lineage = [picture]
    while lineage[-1].kind not in _ORIGINS:
        youngest = lineage[-1]
        lineage.append(youngest.parent or attrs.evolve(youngest, kind="grid"))
    image = _ORIGINS[lineage[-1].kind](lineage.pop())
    for step in reversed(lineage):
        image = _STEPS[step.kind](step, _meant(step, image))
    return image


def _meant(step: ImageSpec, parent: _Image) -> _Image:
    """Give the part of the parent that a step starts from: a quadrant, or the whole."""
    orphan = step.parent is None and step.kind != "preview"
    number = step.index or (1 if orphan else 0)
    if number not in _NUMBERS or (step.parent and step.parent.kind not in _GRIDS):
        return parent
    left, top = _corners(parent.size)[number - 1]
    width, height = _quarter(parent.size)
    return parent.crop((left, top, left + width, top + height))


def _quarter(size: _Size) -> _Size:
    """Give the size of a quadrant; the quadrants of an odd size overlap by one pixel."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def _corners(size: _Size) -> Sequence[_Size]:
    """Give the top left corners of the four quadrants, in reading order."""
    x, y = size[0] // 2, size[1] // 2
    return (0, 0), (x, 0), (0, y), (x, y)


def _sheet(size: _Size, candidate: Callable[[int], _Image]) -> _Image:
    """Put four quadrants together; `candidate` paints one by its number, 0 to 3."""
    from PIL import Image

    sheet = Image.new("RGB", size)
    for number, corner in enumerate(_corners(size)):
        sheet.paste(candidate(number), corner)
    return sheet


def _cover(image: _Image, size: _Size) -> _Image:
    """Resize; where the shapes differ, cut off what does not fit."""
    from PIL import Image, ImageOps

    return image if image.size == size else ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _tinted(image: _Image, number: int, share: float) -> _Image:
    """Give an image the light of one candidate, so that four of them can be told apart."""
    from PIL import Image

    return Image.blend(image, Image.new("RGB", image.size, _TINTS[number]), share)


def _upscale(step: ImageSpec, parent: _Image) -> _Image:
    return _cover(parent, step.size)


def _hd(step: ImageSpec, parent: _Image) -> _Image:
    from PIL import ImageFilter

    large = _cover(parent, step.size)
    return large.filter(ImageFilter.DETAIL) if "creative" in step.detail else large


def _preview(step: ImageSpec, parent: _Image) -> _Image:
    """Give a picture on its way: the fewer percent, the less there is to see."""
    from PIL import Image

    done = _number(step.detail, 30, lowest=0, highest=100) / 100
    width, height = (max(2, round(side * (0.02 + 0.2 * done**2))) for side in step.size)
    coarse = parent.resize((width, height), Image.Resampling.BOX)
    return coarse.resize(step.size, Image.Resampling.BICUBIC)


def _vary(step: ImageSpec, parent: _Image) -> _Image:
    strong = not ("subtle" in step.detail or "low" in step.detail)
    share, image = 0.22 if strong else 0.14, _cover(parent, _quarter(step.size))
    return _sheet(step.size, lambda n: _tinted(_reframed(step, image, n, strong), n, share))


def _reframed(step: ImageSpec, image: _Image, number: int, strong: bool) -> _Image:  # noqa: FBT001
    """Move the camera a little; for a strong variation also look from the other side."""
    from PIL import Image, ImageOps

    dice = _dice("vary", step.prompt, step.seed, step.index, number)
    lost = dice.uniform(0.12, 0.24) if strong else dice.uniform(0.02, 0.06)
    (width, height), kept = image.size, 1 - lost
    left, top = dice.random() * lost * width, dice.random() * lost * height
    window = left, top, left + width * kept, top + height * kept
    moved = image.resize(image.size, Image.Resampling.BICUBIC, box=window)
    return ImageOps.mirror(moved) if strong and number % 2 else moved


def _zoom(step: ImageSpec, parent: _Image) -> _Image:
    cell = _quarter(step.size)
    factor = _number(step.detail, 2.0, lowest=_LEAST_ZOOM, highest=8.0)
    inner = _scaled(parent, min(cell[0] / parent.width, cell[1] / parent.height) / factor)
    corner = (cell[0] - inner.width) // 2, (cell[1] - inner.height) // 2
    return _sheet(step.size, lambda number: _extended(step, inner, corner, number))


def _pan(step: ImageSpec, parent: _Image) -> _Image:
    axis, at_start = next((how for word, how in _PANS.items() if word in step.detail), (0, True))
    cell = _quarter(step.size)
    inner = _scaled(parent, cell[1 - axis] / parent.size[1 - axis])
    fresh = max(cell[axis] - inner.size[axis], cell[axis] // 3)
    shift = fresh if at_start else cell[axis] - fresh - inner.size[axis]
    corner = (0, shift) if axis else (shift, 0)
    return _sheet(step.size, lambda number: _extended(step, inner, corner, number))


def _scaled(image: _Image, scale: float) -> _Image:
    from PIL import Image

    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _number(text: str, otherwise: float, *, lowest: float, highest: float) -> float:
    """Read the first number of a text, such as `2x`, `1.8` or `46%`."""
    found = re.search(r"\d{1,3}(?:\.\d{1,6})?", text)
    return min(max(float(found[0]), lowest), highest) if found else otherwise


def _extended(step: ImageSpec, inner: _Image, corner: _Size, number: int) -> _Image:
    """Paint one candidate's new land around an image that lies somewhere on a larger canvas."""
    cell = _quarter(step.size)
    backdrop = _stretched(inner, corner[1], cell)
    dice = _dice("extended", step.prompt, step.seed, number)
    canvas = _canvas(backdrop, _mood_of(backdrop), dice)
    _clouds(canvas)
    scenery = _dice("cast", step.prompt, step.seed).sample(_SCENERY, 4)[number]
    scenery(canvas, (2 * corner[0] + inner.width, 0))
    land = _tinted(canvas.image.reduce(2), number, 0.2)
    land.paste(inner, corner, _fading(inner.size, corner, cell))
    return land


def _stretched(inner: _Image, top: int, size: _Size) -> _Image:
    """Carry the colours of an image's rows on to all sides."""
    from PIL import Image

    column = Image.new("RGB", (1, size[1]))
    rows = inner.resize((1, inner.height), Image.Resampling.BOX)
    column.paste(rows.resize((1, 1), box=(0, 0, 1, 1)).resize((1, size[1])), (0, 0))
    foot = rows.crop((0, inner.height - 1, 1, inner.height)).resize((1, size[1]))
    column.paste(foot, (0, top + inner.height))
    column.paste(rows, (0, top))
    return column.resize(size, Image.Resampling.NEAREST)


def _mood_of(image: _Image) -> _Mood:
    """Find the colours for new land beside an image."""
    from PIL import Image

    column = image.resize((1, 8), Image.Resampling.BOX).tobytes()
    rows = [(column[n], column[n + 1], column[n + 2]) for n in range(0, len(column), 3)]
    light = _mix(rows[4], (255, 255, 255), 0.6)
    near = _mix(rows[7], (0, 0, 0), 0.35)
    return _Mood((rows[0], rows[2], rows[4]), light, _mix(rows[5], near, 0.15), near, stars=False)


def _fading(inner: _Size, corner: _Size, whole: _Size) -> _Image:
    """Give a mask for an image on a canvas: fading where it meets other parts of the canvas."""
    from PIL import Image, ImageDraw, ImageFilter

    soft = min(min(whole) / 40, min(inner) / 8)
    spans = [
        (
            at + soft * 2 if at > 0 else -length,
            at + length - soft * 2 if at + length < side else 2 * side,
        )
        for at, length, side in zip(corner, inner, whole, strict=True)
    ]
    mask = Image.new("L", whole)
    (left, right), (top, bottom) = spans
    ImageDraw.Draw(mask).rectangle((left, top, right, bottom), fill=255)
    blurred = mask.filter(ImageFilter.GaussianBlur(soft))
    return blurred.crop((*corner, corner[0] + inner[0], corner[1] + inner[1]))


def _inpaint(step: ImageSpec, parent: _Image) -> _Image:
    from PIL import Image

    image = _cover(parent, _quarter(step.size))
    selected = _selection(step.mask, image.size)
    box = selected.getbbox()
    if box is None:
        return _sheet(step.size, lambda _: image)
    soft, size = _softened(selected), (box[2] - box[0], box[3] - box[1])

    def candidate(number: int) -> _Image:
        fresh = image.copy()
        fresh.paste(_tinted(_scene(step.prompt, step.seed, number, size), number, 0.15), box)
        return Image.composite(fresh, image, soft)

    return _sheet(step.size, candidate)


def _selection(mask: bytes | None, size: _Size) -> _Image:
    """Give the selected pixels: all that is not black; none if the mask is not an image."""
    from PIL import Image, ImageChops

    drawn = _opened(mask, size)
    if drawn is None:
        return Image.new("L", size)
    black = Image.new("RGBA", size, (0, 0, 0, 255))
    red, green, blue, _ = Image.alpha_composite(black, drawn).split()
    brightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return brightest.point([0] + [255] * 255)


def _opened(data: bytes | None, size: _Size) -> _Image | None:
    """Give an image file in a size of ours; None if it is not an image, or one too large."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data or b""), formats=_MASK_FORMATS) as file:
            if file.width * file.height > _MASK_PIXELS:
                return None
            return file.convert("RGBA").resize(size, Image.Resampling.NEAREST)
    except Exception:  # noqa: BLE001 - decoders raise anything on broken bytes
        return None


def _softened(selected: _Image) -> _Image:
    """Soften the edge of a selection inwards only: what is not selected stays as it is."""
    from PIL import ImageChops, ImageFilter

    return ImageChops.darker(selected, selected.filter(ImageFilter.GaussianBlur(1.5)))


_LEAST_ZOOM = 1.05
"""Even a zoom of 1 gets a narrow margin of new land, or its four candidates would be the same."""

_TINTS: Sequence[_Colour] = ((255, 176, 84), (70, 132, 255), (255, 104, 168), (72, 214, 150))
"""The light of each of four candidates."""

_PANS: Mapping[str, tuple[int, bool]] = {
    "left": (0, True),
    "right": (0, False),
    "up": (1, True),
    "down": (1, False),
}
"""Direction: the axis, and whether the new land lies at its beginning."""


# --- Pictures of nothing before them ------------------------------------------------------------


def _grid(step: ImageSpec) -> _Image:
    cell = _quarter(step.size)
    return _sheet(step.size, lambda number: _scene(step.prompt, step.seed, number, cell))


def _blend(step: ImageSpec) -> _Image:
    """Let the four scenes of a grid melt into a fifth, each from another side."""
    from PIL import Image

    cell = _quarter(step.size)
    fifth = _scene(step.prompt, step.seed, 4, cell)
    fading = [max(0, round(1.5 * level - 150)) for level in range(256)]

    def candidate(number: int) -> _Image:
        fade = Image.linear_gradient("L").rotate(90 * number).point(fading)
        soft = fade.resize(cell, Image.Resampling.BILINEAR)
        return Image.composite(fifth, _scene(step.prompt, step.seed, number, cell), soft)

    return _sheet(step.size, candidate)


def _describe(step: ImageSpec) -> _Image:
    """Paint what somebody uploaded: one scene in a white border."""
    from PIL import ImageOps

    edge = min(step.size) // 24
    inside = step.width - 2 * edge, step.height - 2 * edge
    return ImageOps.expand(_scene(step.prompt, step.seed, 0, inside), edge, (250, 248, 244))


def _photo(step: ImageSpec) -> _Image:
    """Show what somebody sent; what cannot be read is taken for a picture in a white border."""
    sent = _opened(step.mask, step.size)
    return _describe(step) if sent is None else sent.convert("RGB")


def _swap(step: ImageSpec) -> _Image:
    """Paint a portrait: the one picture with a face in it."""
    dice = _dice("portrait", step.prompt, step.seed)
    mood = dice.choice(_moods())
    c = _canvas(_gradient(step.size, mood.sky), mood, dice)
    _meadow(c, _paint_sky(c))
    skin, hair, coat = (_colour(dice.choice(words.split())) for words in _LOOKS)
    paints = {"skin": skin, "shade": _mix(skin, (90, 40, 40), 0.25), "hair": hair, "coat": coat}
    x, y, unit = c.width / 2, c.height / 2, min(c.width, c.height) / 100
    for paint, *box in (part.split() for part in _FACE):
        left, top, right, bottom = (float(word) * unit for word in box)
        colour = paints.get(paint) or _colour(paint)
        c.pen.ellipse((x + left, y + top, x + right, y + bottom), fill=colour)
    return c.image.reduce(2)


_LOOKS = (
    "fadcc4 e4b490 ba8260 784e3a",
    "2c2224 704228 cea054 aa4a2c",
    "38609c 3e7c5a a83e48 4a4460",
)
"""Skin, hair and coat to choose from."""

_FACE = (
    "hair -27 -34 27 30",
    "coat -42 26 42 90",
    "shade -10 8 10 36",
    "skin -20 -25 20 24",
    "hair -24 -33 10 -12",
    "hair -2 -32 24 -10",
    "faf6f0 -12.5 -5 -5 1",
    "faf6f0 5 -5 12.5 1",
    "2e2628 -10.5 -5 -6 1",
    "2e2628 6 -5 10.5 1",
    "shade -1.6 5 1.6 7.6",
    "b85a5c -6.5 11.5 6.5 16.5",
    "skin -7.5 10 7.5 14",
)
"""A paint and an ellipse in percent of the shortest side, from the middle."""


# --- Files --------------------------------------------------------------------------------------


def _png(image: _Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=3)
    return out.getvalue()


def _webp(image: _Image, picture: ImageSpec) -> bytes:
    first, *others = _frames(image, picture)
    out = io.BytesIO()
    first.save(
        out,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=_FRAME_MS,
        loop=0,
        method=0,
        quality=75,
    )
    return out.getvalue()


def _frames(image: _Image, picture: ImageSpec) -> Iterator[_Image]:
    """Move the camera over a still image and back; every candidate has its own way."""
    from PIL import Image

    reach = 0.3 if "high" in picture.detail else 0.12
    across, down = ((0.5, 0.5), (0.0, 0.3), (1.0, 0.3), (0.4, 1.0), (0.6, 0.0))[picture.index % 5]
    width, height = image.size
    for n in range(_FRAMES):
        lost = reach * (1 - math.cos(math.tau * n / _FRAMES)) / 2
        left, top = lost * width * across, lost * height * down
        window = left, top, left + width * (1 - lost), top + height * (1 - lost)
        yield image.resize(image.size, Image.Resampling.BILINEAR, box=window)


_ORIGINS: Mapping[str, Callable[[ImageSpec], _Image]] = {
    "grid": _grid,
    "blend": _blend,
    "describe": _describe,
    "swap": _swap,
    "photo": _photo,
}
_STEPS: Mapping[str, Callable[[ImageSpec, _Image], _Image]] = {
    "upscale": _upscale,
    "hd": _hd,
    "zoom": _zoom,
    "pan": _pan,
    "inpaint": _inpaint,
    "vary": _vary,
    "video": _upscale,
    "preview": _preview,
}
