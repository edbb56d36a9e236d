"""The simulator's artist: draws every picture the simulated Midjourney hands out.

A `Picture` says what to draw as a *lineage* (this is the left pan of the upscale of the second
quadrant of that grid), never as pixels. `render` paints the lineage from its oldest ancestor
onwards and returns the encoded file. The same picture always gives the same bytes, in any thread,
and nothing is kept between two calls.

Grids (`grid`, `blend`, and the four candidates of `zoom`, `pan`, `inpaint` and `vary`) have four
quadrants that a person and a program can tell apart. The other kinds are single pictures.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import random
import re
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from PIL import Image as PillowImage
    from PIL import ImageDraw as PillowDraw

    _Image: TypeAlias = PillowImage.Image
    _Pen: TypeAlias = PillowDraw.ImageDraw

__all__ = ["KINDS", "Picture", "aspect_of", "render", "size_for"]

_Colour: TypeAlias = tuple[int, int, int]
_Point: TypeAlias = tuple[float, float]
_Size: TypeAlias = tuple[int, int]

KINDS = (
    "grid",
    "upscale",
    "hd",
    "zoom",
    "pan",
    "inpaint",
    "vary",
    "blend",
    "describe",
    "video",
    "swap",
    "photo",
    "preview",
)
"""Every kind of picture the artist can draw."""

_GRIDS = frozenset({"grid", "blend", "zoom", "pan", "inpaint", "vary"})
_NUMBERS = (1, 2, 3, 4)
_SHORTEST_SIDE = 16
_MASK_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_MASK_PIXELS = 40_000_000
_FRAMES = 12
_FRAME_MS = 90


@attrs.frozen
class Picture:
    """What to draw: a lineage, not pixels."""

    kind: str = attrs.field(validator=attrs.validators.in_(KINDS))
    """One of `KINDS`."""
    prompt: str
    """The text the picture is made from; it decides subject, scenery and colours."""
    seed: int
    """Another seed gives a visibly different picture of the same prompt."""
    width: int = attrs.field(validator=attrs.validators.ge(2))
    """Width of the whole picture in pixels (of the whole grid, for a grid)."""
    height: int = attrs.field(validator=attrs.validators.ge(2))
    """Height of the whole picture in pixels."""
    parent: Picture | None = None
    """The picture this one came from; for a preview, the picture that is on its way."""
    index: int = 0
    """Which quadrant (1-4) of a grid parent is meant; which candidate (1-4) of a video; 0: none."""
    detail: str = ""
    """How: `left` for a pan, `2x` or `1.8` for a zoom, `subtle`, `low`, `46%` for a preview."""
    mask: bytes | None = attrs.field(default=None, repr=False)
    """For an inpaint: an image file, the selection non-black on black; for a photo: the file."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height


def render(picture: Picture) -> bytes:
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


_ASPECT = re.compile(r"(?:--|—)(?:ar|aspect)\s+(\d{1,5})[::](\d{1,5})(?!\S)", re.IGNORECASE)


def aspect_of(prompt: str) -> tuple[int, int]:
    """Read the aspect ratio that a prompt asks for.

    Args:
        prompt: A prompt, with or without `--ar W:H` or `--aspect W:H`; the last one counts.

    Returns:
        Width and height as written; `(1, 1)` where there is none or it makes no sense.
    """
    found = _ASPECT.findall(prompt)
    if not found:
        return 1, 1
    width, height = (int(side) for side in found[-1])
    return (width, height) if width and height else (1, 1)


def size_for(aspect: tuple[int, int], longest: int) -> tuple[int, int]:
    """Give the size in pixels of a picture with an aspect ratio.

    Args:
        aspect: Width and height in any unit, both positive.
        longest: The longest side wanted, in pixels.

    Returns:
        Two even numbers, so that a grid splits in exact halves. The shortest side never gets
        thinner than 16 pixels, however extreme the ratio.
    """
    longest = max(longest, _SHORTEST_SIDE)
    scale = longest / max(aspect)
    width, height = (max(round(side * scale / 2) * 2, _SHORTEST_SIDE) for side in aspect)
    even = longest - longest % 2
    return min(width, even), min(height, even)


# --- Palettes, subjects and scenery: what there is to draw --------------------------------------


@attrs.frozen
class _Mood:
    """The colours of one time of day; no two moods have a similar mean colour."""

    sky: tuple[_Colour, _Colour, _Colour]
    """From the zenith to the horizon."""
    light: _Colour
    """Sun or moon, stars, snow, glitter."""
    far: _Colour
    near: _Colour
    stars: bool


_MOODS = (
    "060a24 101c4c 344488  f4f2dc  1e2a5c 060a1c  stars",
    "8078c6 f09cb4 ffd2bc  fff2da  cc84a8 743e70",
    "3484dc 7ec2f2 def2fc  fffde8  80b8c4 2c7a54",
    "461846 ce3e46 ffa44c  ffdc82  963246 2c0e24",
    "3a444c 687276 aab0ac  e4e8e6  6a7476 22282c",
    "d68228 f8be54 ffeca6  fffce2  d69046 703c16",
    "10665a 3cba86 c2f4b0  fcffd8  46a878 0a5640",
    "2c0e5c 8238c0 f096f0  ffe2ff  8242b4 280c4a  stars",
    "a0bed8 cee0ec f6f8fc  ffffff  b0c6da 6886a8",
)
"""Zenith, middle and horizon; light; far and near land."""

_SUBJECTS: Mapping[str, Sequence[str]] = {
    "lighthouse": (
        "near -34,-6 -24,7 -10,12 16,11 36,-6",
        "f4f0e8 -13,8 -8,78 8,78 13,8",
        "ce3e36 -11.8,24 -10.5,42 10.5,42 11.8,24",
        "ce3e36 -9.5,56 -8.3,72 8.3,72 9.5,56",
        "near -12,76 -12,80 12,80 12,76",
        "ffec8c -6,80 -6,91 6,91 6,80",
        "96282c -9,91 0,102 9,91",
    ),
    "fox": (
        "d66224 10,0 42,0 60,14 56,36 44,18 16,20",
        "faf0e4 51,8 60,14 56,36 49,22",
        "e26c28 -20,0 -20,36 -10,58 10,58 28,26 30,0",
        "faf0e4 -12,0 -13,34 -4,50 5,34 4,0",
        "e26c28 -27,102 -28,72 -4,48 20,72 19,102 5,84 -13,84",
        "faf0e4 -28,72 -4,48 20,72 -4,62",
        "281a1a -4,51,3.5 -14,72,2.8 6,72,2.8",
    ),
    "cat": (
        "28242f 20,0 44,2 54,20 50,46 40,60 36,52 43,36 42,18 30,12",
        "2e2a38 -22,0 -18,36 -10,60 10,60 26,30 30,0",
        "2e2a38 -24,98 -25,66 -12,52 10,52 22,66 21,98 8,84 -10,84",
        "f0d65a -11,70,4.5 9,70,4.5",
        "1c1820 -11,70,2 9,70,2",
        "e68c96 -1,62,2",
    ),
    "castle": (
        "96929e -40,0 -40,46 40,46 40,0",
        "807c8c -48,0 -48,70 -26,70 -26,0",
        "807c8c 26,0 26,62 48,62 48,0",
        "a6a2ae -12,10 -12,82 12,82 12,10",
        "46528c -52,68 -37,96 -22,68",
        "46528c 22,60 37,88 52,60",
        "46528c -17,80 0,114 17,80",
        "ffe282 -3,56 -3,68 3,68 3,56",
        "ffe282 -37,50,3.5 37,44,3.5",
        "3e2e34 -10,0 -10,18 -6,24 0,26 6,24 10,18 10,0",
    ),
    "balloon": (
        "704630 -10,0 -12,16 12,16 10,0",
        "near -12,16 -26,44 -24,44 -10,16",
        "near 12,16 26,44 24,44 10,16",
        "de463e 0,74,38",
        "de463e -12,34 -34,58 34,58 12,34",
        "face5a -7,34 -19,58 -21,76 -15,100 0,112 15,100 21,76 19,58 7,34",
        "faf4e6 -2,34 -7,58 -8,76 -6,100 0,112 6,100 8,76 7,58 2,34",
    ),
    "boat": (
        "78422c -42,12 -28,-4 30,-4 44,14",
        "near -1.5,10 -1.5,100 1.5,100 1.5,10",
        "faf6ec 3,16 3,96 38,20",
        "e25c46 -3,18 -3,84 -32,20",
    ),
    "cabin": (
        "70462e -36,0 -36,42 36,42 36,0",
        "4a2c22 16,60 16,92 27,92 27,50",
        "b23e32 -48,38 -26,80 26,80 48,38",
        "ffe282 -26,14 -26,32 -8,32 -8,14",
        "46281e 6,0 6,32 22,32 22,0",
    ),
    "tree": (
        "4e3228 -7,-2 -4,40 -20,60 -16,62 -1,48 14,62 18,60 4,40 8,-2",
        "near -24,62,20 22,64,22 0,82,24 -2,64,20",
        "e87878 -26,66,16 20,68,18 -2,84,20 -4,62,14",
        "fab2ac -30,70,9 14,74,10 -6,90,11 24,62,6",
    ),
}
"""Parts from back to front, in percent of the height, from the middle and from the ground up:
a paint (`near` as the land, or fixed), then a polygon `x,y` or discs `x,y,radius`."""

_WORDS: Mapping[str, Sequence[str]] = {
    "lighthouse": ("lighthouse", "tower", "storm", "灯塔", "塔"),
    "fox": ("fox", "wolf", "dog", "狐", "狼", "狗"),
    "cat": ("cat", "kitten", "tiger", "猫", "虎"),
    "castle": ("castle", "palace", "dragon", "knight", "城堡", "宫", "龙"),
    "balloon": ("balloon", "airship", "flying", "气球", "飞"),
    "boat": ("boat", "ship", "sail", "ocean", "船", "舟", "帆", "海"),
    "cabin": ("cabin", "house", "cottage", "door", "village", "屋", "家", "村", "门"),
    "tree": ("tree", "forest", "garden", "flower", "blossom", "树", "林", "花", "园"),
}
"""Subject: what a prompt calls it."""


# --- One scene ----------------------------------------------------------------------------------


@attrs.define
class _Canvas:
    """One scene while it is painted: two pixels for each pixel of the result."""

    image: _Image
    pen: _Pen
    mood: _Mood
    dice: random.Random
    width: int
    height: int
    unit: int
    """What sizes are measured in: the shortest side, unless that is a sliver."""
    skyline: list[_Point] = attrs.Factory(list)
    """Top of the foreground, left to right: what a subject stands on."""
    wet: bool = False
    """Whether the foreground is water."""

    def polygon(self, points: Sequence[_Point], colour: _Colour) -> None:
        """Fill a polygon."""
        self.pen.polygon([(round(x), round(y)) for x, y in points], fill=colour)

    def disc(self, centre: _Point, radius: float, colour: _Colour) -> None:
        """Fill a circle."""
        x, y = centre
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def ripple(self, centre: _Point, half: float, colour: _Colour, thick: float) -> None:
        """Draw a level stroke; `thick` in units."""
        (x, y), width = centre, max(1, round(self.unit * thick))
        self.pen.line(((x - half, y), (x + half, y)), fill=colour, width=width)

    def land(self, top: list[_Point], colour: _Colour) -> None:
        """Fill everything below a line and make it the foreground."""
        self.polygon([*top, (self.width, self.height), (0, self.height)], colour)
        self.skyline, self.wet = top, False

    def ground(self, x: float) -> float:
        """Give the height of the foreground at `x`."""
        return next((y for at, y in reversed(self.skyline) if at <= x), self.height * 0.8)

    def depth(self, share: float) -> _Colour:
        """Give the colour of land: 0 at the horizon, 1 at our feet."""
        return _mix(self.mood.far, self.mood.near, share)


def _scene(prompt: str, seed: int, number: int, size: _Size) -> _Image:
    """Paint one landscape: scenes 0-4 of a prompt and seed differ in mood and scenery."""
    cast = _dice("cast", prompt, seed)
    mood = cast.sample(_moods(), 5)[number]
    scenery = cast.sample(_SCENERY, 5)[number]
    canvas = _canvas(_gradient(size, mood.sky), mood, _dice("scene", prompt, seed, number))
    sun = _paint_sky(canvas)
    scenery(canvas, sun)
    _place_subject(canvas, _subject_of(prompt), sun)
    return canvas.image.reduce(2)


def _canvas(backdrop: _Image, mood: _Mood, dice: random.Random) -> _Canvas:
    from PIL import Image, ImageDraw

    width, height = backdrop.width * 2, backdrop.height * 2
    image = backdrop.resize((width, height), Image.Resampling.NEAREST)
    unit = max(min(width, height), max(width, height) // 8)
    return _Canvas(image, ImageDraw.Draw(image), mood, dice, width, height, unit)


def _dice(*facts: object) -> random.Random:
    """Make a generator that these facts alone decide."""
    digest = hashlib.blake2b(repr(facts).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


@functools.cache
def _moods() -> Sequence[_Mood]:
    rows = (row.split() for row in _MOODS)
    paints = ([_colour(word) for word in row[:6]] for row in rows)
    return [
        _Mood((high, middle, low), light, far, near, "stars" in row)
        for row, (high, middle, low, light, far, near) in zip(_MOODS, paints, strict=True)
    ]


def _colour(text: str) -> _Colour:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def _mix(one: _Colour, other: _Colour, share: float) -> _Colour:
    """Give `one` with a share of `other` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _gradient(size: _Size, colours: Sequence[_Colour]) -> _Image:
    """Give a vertical gradient through some colours."""
    from PIL import Image

    strip = Image.new("RGB", (1, len(colours)))
    for row, colour in enumerate(colours):
        strip.putpixel((0, row), colour)
    centres = 0, 0.5, 1, len(colours) - 0.5
    column = strip.resize((1, size[1]), Image.Resampling.BILINEAR, box=centres)
    return column.resize(size, Image.Resampling.NEAREST)


# --- Sky ----------------------------------------------------------------------------------------


def _paint_sky(c: _Canvas) -> _Point:
    """Paint what is in the sky; give the place of its sun or moon."""
    sun = c.dice.uniform(0.16, 0.84) * c.width, c.dice.uniform(0.16, 0.46) * c.height
    radius = c.unit * c.dice.uniform(0.05, 0.11)
    if c.mood.stars:
        _stars(c)
    _glow(c, sun, radius * 5)
    c.disc(sun, radius, c.mood.light)
    birds = not c.mood.stars and c.dice.random() < 0.4
    (_birds if birds else _clouds)(c)
    return sun


def _glow(c: _Canvas, centre: _Point, radius: float) -> None:
    """Light up the air around a point."""
    from PIL import Image

    side = max(2, round(radius * 2))
    fade = [round(0.75 * max(0, 255 - far * 1.42) ** 2 / 255) for far in range(256)]
    halo = Image.radial_gradient("L").point(fade)
    left, top = round(centre[0] - radius), round(centre[1] - radius)
    mask = halo.resize((side, side), Image.Resampling.BILINEAR)
    c.image.paste(c.mood.light, (left, top, left + side, top + side), mask)


def _stars(c: _Canvas) -> None:
    for _ in range(70):
        place = c.dice.random() * c.width, c.dice.random() ** 1.5 * c.height * 0.6
        size = c.dice.choice((1, 1, 1, 2, 2, 3)) * c.unit / 500
        c.disc(place, size, _mix(c.mood.sky[0], c.mood.light, c.dice.uniform(0.5, 1)))


def _clouds(c: _Canvas) -> None:
    """Draw soft clouds over the upper half, as a small mask that is then enlarged."""
    from PIL import Image, ImageDraw, ImageFilter

    half = c.width, max(1, c.height // 2)
    mask = Image.new("L", (max(1, half[0] // 6), max(1, half[1] // 6)))
    pen, unit = ImageDraw.Draw(mask), c.unit / 6
    for _ in range(c.dice.randint(2, 4)):
        x, y = c.dice.random() * mask.width, c.dice.uniform(0.15, 0.7) * mask.height
        for _ in range(7):
            wide, tall = unit * c.dice.uniform(0.06, 0.14), unit * c.dice.uniform(0.02, 0.045)
            left, top = x + c.dice.uniform(-1.6, 1.6) * wide, y - c.dice.random() * tall
            pen.ellipse((left - wide, top - tall, left + wide, top + tall), fill=150)
    soft = mask.filter(ImageFilter.GaussianBlur(unit / 90))
    white = _mix(c.mood.sky[2], c.mood.light, 0.5)
    c.image.paste(white, (0, 0, *half), soft.resize(half, Image.Resampling.BILINEAR))


def _birds(c: _Canvas) -> None:
    x, y = c.dice.uniform(0.2, 0.8) * c.width, c.dice.uniform(0.15, 0.4) * c.height
    for _ in range(c.dice.randint(3, 6)):
        left = x + c.dice.uniform(-0.14, 0.14) * c.unit
        top = y + c.dice.uniform(-0.08, 0.08) * c.unit
        wing = c.unit * c.dice.uniform(0.014, 0.024)
        bird = [(left - wing, top - wing * 0.7), (left, top), (left + wing, top - wing * 0.7)]
        c.pen.line(bird, fill=c.mood.near, width=max(1, c.unit // 200))


# --- Land and water -----------------------------------------------------------------------------


def _wave(c: _Canvas, base: float, swell: float, length: float) -> list[_Point]:
    """Give a rolling line across the canvas: `base` in heights, the others in units."""
    waves = [(c.dice.uniform(0.6, 1.4) * n, c.dice.random() * math.tau, 1 / n) for n in (1, 2, 4)]
    turn, level, rise = math.tau / (c.unit * length), c.height * base, c.unit * swell

    def top(x: int) -> float:
        return level - rise * sum(math.sin(x * turn * pace + at) * size for pace, at, size in waves)

    step = max(1, c.width // 48)
    return [(x, top(x)) for x in range(0, c.width + step, step)]


def _crags(c: _Canvas, base: float, swell: float) -> list[_Point]:
    """Give a jagged line across the canvas, by halving it again and again."""
    line = [c.dice.uniform(-0.5, 0.5) for _ in range(max(3, 2 + round(c.width / c.unit * 2)))]
    rough = 0.5
    while len(line) < 90:
        middles = [(a + b) / 2 + c.dice.uniform(-rough, rough) for a, b in pairwise(line)]
        line = [y for pair in zip(line[:-1], middles, strict=True) for y in pair] + line[-1:]
        rough *= 0.52
    step, level, rise = c.width / (len(line) - 1), c.height * base, c.unit * swell
    return [(n * step, level - rise * y) for n, y in enumerate(line)]


def _water(c: _Canvas, level: float, sun: _Point) -> None:
    """Fill everything below `level` (in heights) with glittering water."""
    top = round(c.height * level)
    high, low = c.mood.sky[0], c.mood.sky[2]
    deep = _mix(_mix(high, c.mood.near, 0.45), low, 0.1)
    c.image.paste(_gradient((c.width, c.height - top), (_mix(low, deep, 0.25), deep)), (0, top))
    for _ in range(60):
        near = c.dice.random() ** 1.4
        half = c.unit * (0.01 + 0.07 * near) * c.dice.uniform(0.5, 1.5)
        lit = c.dice.random() < 0.6
        anywhere, glitter = c.dice.random() * c.width, c.dice.gauss(0, 0.05 + 0.12 * near)
        place = sun[0] + glitter * c.unit if lit else anywhere, top + near * (c.height - top)
        colour = _mix(deep, c.mood.light, 0.75 - 0.3 * near if lit else 0.16)
        c.ripple(place, half, colour, 0.003 + 0.005 * near)
    c.skyline, c.wet = [(0, c.height * (0.45 + 0.55 * level))], True


def _meadow(c: _Canvas, _: _Point) -> None:
    for n in range(5):
        c.land(_wave(c, 0.58 + 0.09 * n, 0.05 + 0.01 * n, 1.1 - 0.1 * n), c.depth(n / 4))


def _alps(c: _Canvas, _: _Point) -> None:
    snow = _mix(c.mood.light, c.mood.far, 0.15)
    for n, (base, swell) in enumerate(((0.46, 0.34), (0.66, 0.26))):
        line = _crags(c, base, swell)
        c.land(line, c.depth(0.15 + 0.4 * n))
        limit = c.height * (base - 0.02)
        caps = [(x, max(y, y + (limit - y) * c.dice.uniform(0.25, 0.75))) for x, y in line]
        c.polygon([*line, *reversed(caps)], _mix(snow, c.depth(0.5), 0.3 * n))
    c.land(_wave(c, 0.86, 0.03, 0.9), c.depth(1))


def _pines(c: _Canvas, _: _Point) -> None:
    for n in range(3):
        c.skyline = _wave(c, 0.62 + 0.14 * n, 0.04, 1.2)
        tall, colour, x = c.unit * (0.14 + 0.1 * n), c.depth(0.1 + 0.42 * n), 0.0
        while x < c.width:
            _pine(c, (x, c.ground(x) + 4), tall * c.dice.uniform(0.6, 1.2), colour)
            x += tall * c.dice.uniform(0.16, 0.44)
        c.land(c.skyline, colour)


def _pine(c: _Canvas, foot: _Point, tall: float, colour: _Colour) -> None:
    x, y = foot
    for tier in range(3):
        half, low = tall * (0.22 - 0.05 * tier), y - tall * (0.1 + 0.25 * tier)
        c.polygon([(x - half, low), (x, low - tall * 0.42), (x + half, low)], colour)
    c.pen.rectangle((x - tall * 0.02, y - tall * 0.12, x + tall * 0.02, y), fill=colour)


def _dunes(c: _Canvas, _: _Point) -> None:
    sand = _mix(c.mood.sky[2], (216, 158, 92), 0.3)
    for n in range(4):
        line = _wave(c, 0.6 + 0.11 * n, 0.07 + 0.015 * n, 1.6 - 0.2 * n)
        crest = [(x, y + c.unit * 0.05 * (1 + math.sin(x / c.unit * 5 + n))) for x, y in line]
        c.land(line, _mix(_mix(c.mood.far, sand, 0.45), c.mood.near, 0.28 * n))
        lit = _mix(_mix(c.mood.light, sand, 0.75), c.mood.near, 0.22 * n)
        c.polygon([*line, *reversed(crest)], lit)


def _mesas(c: _Canvas, _: _Point) -> None:
    rock = _mix(c.mood.near, (190, 84, 50), 0.5)
    for n in range(5):
        colour = _mix(_mix(c.mood.far, rock, 0.3 + 0.15 * n), c.mood.near, 0.08 * n)
        x, foot = c.dice.random() * c.width, c.height * (0.68 + 0.035 * n)
        wide, tall = c.unit * c.dice.uniform(0.1, 0.24), c.unit * c.dice.uniform(0.14, 0.36)
        rise = [(-1.4, 0), (-1, 0.5), (-0.9, 1), (0.9, 1), (1, 0.5), (1.4, 0)]
        c.polygon([(x + px * wide, foot - py * tall) for px, py in rise], colour)
        for band in (0.3, 0.6):
            c.ripple((x, foot - tall * band), wide * 0.9, _mix(colour, c.mood.near, 0.25), 0.01)
    c.land(_wave(c, 0.72, 0.012, 1.0), _mix(c.mood.near, rock, 0.6))
    c.land(_wave(c, 0.88, 0.03, 1.3), _mix(c.mood.near, rock, 0.25))


def _city(c: _Canvas, _: _Point) -> None:
    street = c.height * 0.86
    for n, (tall, colour) in enumerate(((0.4, c.depth(0.3)), (0.26, c.depth(0.85)))):
        x = -c.dice.random() * c.unit * 0.1
        while x < c.width:
            wide = c.unit * c.dice.uniform(0.07, 0.14)
            top = street - c.unit * tall * c.dice.uniform(0.4, 1.5)
            c.pen.rectangle((x, top, x + wide, c.height), fill=colour)
            _windows(c, (x, top, x + wide, street), 0.18 + 0.2 * n)
            x += wide * c.dice.uniform(1, 1.3)
    c.land([(0, street), (c.width, street)], c.depth(1))


def _windows(c: _Canvas, house: tuple[float, float, float, float], lit: float) -> None:
    left, top, right, bottom = house
    pitch = c.unit * 0.03
    glass = _mix((255, 224, 140), c.mood.light, 0.3)
    for row in range(1, int((bottom - top) / pitch)):
        for column in range(int((right - left) / pitch)):
            if c.dice.random() < lit:
                x, y = left + (column + 0.3) * pitch, top + row * pitch
                c.pen.rectangle((x, y, x + pitch * 0.4, y + pitch * 0.5), fill=glass)


def _coast(c: _Canvas, sun: _Point) -> None:
    c.land(_wave(c, 0.6, 0.06, 0.8), c.depth(0.1))
    _water(c, 0.6, sun)


def _isles(c: _Canvas, sun: _Point) -> None:
    level = 0.56
    _water(c, level, sun)
    for n in range(4):
        near, colour = n / 3, c.depth(0.25 + 0.2 * n)
        x, y = c.dice.random() * c.width, c.height * (level + 0.015 + 0.16 * near**1.5)
        wide = c.unit * (0.1 + 0.16 * near)
        tall = c.unit * c.dice.uniform(0.1, 0.2) * (1 + near)
        c.pen.chord((x - wide, y - tall, x + wide, y + tall), 180, 360, fill=colour)
        c.pen.ellipse((x - wide * 1.1, y - 2, x + wide * 1.1, y + c.unit * 0.012), fill=colour)


def _lake(c: _Canvas, _: _Point) -> None:
    """Paint mountains and let still water mirror them."""
    from PIL import Image, ImageOps

    level = round(c.height * 0.6)
    for n in range(2):
        c.land(_crags(c, 0.5 + 0.06 * n, 0.26 - 0.1 * n), c.depth(0.25 + 0.35 * n))
    above = c.image.crop((0, max(0, 2 * level - c.height), c.width, level))
    tint = Image.new("RGB", above.size, _mix(c.mood.sky[0], c.mood.near, 0.4))
    c.image.paste(ImageOps.flip(Image.blend(above, tint, 0.35)), (0, level))
    for n in range(16):
        y = level + (c.height - level) * (n / 16) ** 1.5
        half = c.unit * c.dice.uniform(0.1, 0.4)
        faint = _mix(c.mood.sky[1], c.mood.near, 0.3)
        c.ripple((c.dice.random() * c.width, y), half, faint, 0.004)
    c.skyline, c.wet = [(0, c.height * 0.82)], True


_SCENERY: Sequence[Callable[[_Canvas, _Point], None]] = (
    _alps,
    _city,
    _coast,
    _dunes,
    _isles,
    _lake,
    _meadow,
    _mesas,
    _pines,
)


# --- The subject --------------------------------------------------------------------------------


def _subject_of(prompt: str) -> str:
    """Choose what stands in the scene: what the prompt names first, else what its hash says."""
    text = prompt.casefold()
    named = [
        (text.index(word), subject)
        for subject, words in _WORDS.items()
        for word in words
        if word in text
    ]
    return min(named)[1] if named else _dice("subject", prompt).choice(list(_SUBJECTS))


def _place_subject(c: _Canvas, subject: str, sun: _Point) -> None:
    tall, x = c.unit * c.dice.uniform(0.26, 0.4), c.width * c.dice.uniform(0.2, 0.8)
    if subject == "boat" and not c.wet:
        _water(c, 0.84, sun)
    y = min(c.ground(x) + tall * 0.06, c.height * 0.94)
    if subject == "balloon":
        y = c.height * c.dice.uniform(0.42, 0.6)
    elif c.wet and subject not in {"boat", "lighthouse"}:
        shore = x - tall * 0.8, y - tall * 0.12, x + tall * 0.8, y + tall * 0.16
        c.pen.chord(shore, 180, 360, fill=c.mood.near)
    side = c.dice.choice((-1, 1)) * tall / 100
    for part in _SUBJECTS[subject]:
        _place_part(c, part, (x, y), (side, -tall / 100))


def _place_part(c: _Canvas, part: str, foot: _Point, scale: _Point) -> None:
    paint, *outline = part.split()
    own = c.mood.near if paint == "near" else _mix(_colour(paint), c.mood.sky[1], 0.12)
    shape = [[float(number) for number in point.split(",")] for point in outline]
    points = [(foot[0] + at[0] * scale[0], foot[1] + at[1] * scale[1]) for at in shape]
    if len(shape[0]) == 2:
        c.polygon(points, own)
        return
    for point, (_, _, radius) in zip(points, shape, strict=True):
        c.disc(point, radius * -scale[1], own)


# --- Pictures of pictures -----------------------------------------------------------------------


def _paint(picture: Picture) -> _Image:
    """Paint a lineage from its oldest ancestor onwards, however long it is."""
    lineage = [picture]
    while lineage[-1].kind not in _ORIGINS:
        youngest = lineage[-1]
        lineage.append(youngest.parent or attrs.evolve(youngest, kind="grid"))
    image = _ORIGINS[lineage[-1].kind](lineage.pop())
    for step in reversed(lineage):
        image = _STEPS[step.kind](step, _meant(step, image))
    return image


def _meant(step: Picture, parent: _Image) -> _Image:
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


def _upscale(step: Picture, parent: _Image) -> _Image:
    return _cover(parent, step.size)


def _hd(step: Picture, parent: _Image) -> _Image:
    from PIL import ImageFilter

    large = _cover(parent, step.size)
    return large.filter(ImageFilter.DETAIL) if "creative" in step.detail else large


def _preview(step: Picture, parent: _Image) -> _Image:
    """Give a picture on its way: the fewer percent, the less there is to see."""
    from PIL import Image

    done = _number(step.detail, 30, lowest=0, highest=100) / 100
    width, height = (max(2, round(side * (0.02 + 0.2 * done**2))) for side in step.size)
    coarse = parent.resize((width, height), Image.Resampling.BOX)
    return coarse.resize(step.size, Image.Resampling.BICUBIC)


def _vary(step: Picture, parent: _Image) -> _Image:
    strong = not ("subtle" in step.detail or "low" in step.detail)
    share, image = 0.22 if strong else 0.14, _cover(parent, _quarter(step.size))
    return _sheet(step.size, lambda n: _tinted(_reframed(step, image, n, strong), n, share))


def _reframed(step: Picture, image: _Image, number: int, strong: bool) -> _Image:  # noqa: FBT001
    """Move the camera a little; for a strong variation also look from the other side."""
    from PIL import Image, ImageOps

    dice = _dice("vary", step.prompt, step.seed, step.index, number)
    lost = dice.uniform(0.12, 0.24) if strong else dice.uniform(0.02, 0.06)
    (width, height), kept = image.size, 1 - lost
    left, top = dice.random() * lost * width, dice.random() * lost * height
    window = left, top, left + width * kept, top + height * kept
    moved = image.resize(image.size, Image.Resampling.BICUBIC, box=window)
    return ImageOps.mirror(moved) if strong and number % 2 else moved


def _zoom(step: Picture, parent: _Image) -> _Image:
    cell = _quarter(step.size)
    factor = _number(step.detail, 2.0, lowest=_LEAST_ZOOM, highest=8.0)
    inner = _scaled(parent, min(cell[0] / parent.width, cell[1] / parent.height) / factor)
    corner = (cell[0] - inner.width) // 2, (cell[1] - inner.height) // 2
    return _sheet(step.size, lambda number: _extended(step, inner, corner, number))


def _pan(step: Picture, parent: _Image) -> _Image:
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


def _extended(step: Picture, inner: _Image, corner: _Size, number: int) -> _Image:
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


def _inpaint(step: Picture, parent: _Image) -> _Image:
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


def _grid(step: Picture) -> _Image:
    cell = _quarter(step.size)
    return _sheet(step.size, lambda number: _scene(step.prompt, step.seed, number, cell))


def _blend(step: Picture) -> _Image:
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


def _describe(step: Picture) -> _Image:
    """Paint what somebody uploaded: one scene in a white border."""
    from PIL import ImageOps

    edge = min(step.size) // 24
    inside = step.width - 2 * edge, step.height - 2 * edge
    return ImageOps.expand(_scene(step.prompt, step.seed, 0, inside), edge, (250, 248, 244))


def _photo(step: Picture) -> _Image:
    """Show what somebody sent; what cannot be read is taken for a picture in a white border."""
    sent = _opened(step.mask, step.size)
    return _describe(step) if sent is None else sent.convert("RGB")


def _swap(step: Picture) -> _Image:
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


def _webp(image: _Image, picture: Picture) -> bytes:
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


def _frames(image: _Image, picture: Picture) -> Iterator[_Image]:
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


_ORIGINS: Mapping[str, Callable[[Picture], _Image]] = {
    "grid": _grid,
    "blend": _blend,
    "describe": _describe,
    "swap": _swap,
    "photo": _photo,
}
_STEPS: Mapping[str, Callable[[Picture, _Image], _Image]] = {
    "upscale": _upscale,
    "hd": _hd,
    "zoom": _zoom,
    "pan": _pan,
    "inpaint": _inpaint,
    "vary": _vary,
    "video": _upscale,
    "preview": _preview,
}
