"""Landscapes that the simulator draws: moods, skies and subjects."""

from __future__ import annotations

import functools
import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from PIL import Image as PillowImage
    from PIL import ImageDraw as PillowDraw

    _Image: TypeAlias = PillowImage.Image
    _Pen: TypeAlias = PillowDraw.ImageDraw

__all__ = [
    "_SCENERY",
    "_Colour",
    "_Mood",
    "_Size",
    "_canvas",
    "_clouds",
    "_colour",
    "_dice",
    "_gradient",
    "_meadow",
    "_mix",
    "_moods",
    "_paint_sky",
    "_scene",
]


_Colour: TypeAlias = tuple[int, int, int]


_Point: TypeAlias = tuple[float, float]


_Size: TypeAlias = tuple[int, int]


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
