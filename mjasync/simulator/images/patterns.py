"""Abstract pictures: layered waves whose colours and shapes follow from a prompt and a seed."""

from __future__ import annotations

import cmath
import colorsys
import hashlib
import math
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image as PillowImage

_LAYERS = 6
_POINTS = 36
"""Segments along the crest of a wave."""
_LIGHTS = ((-0.15, 0.7, 1.0), (0.1, 0.7, 0.75), (0.2, 0.7, 0.7), (0.3, 0.9, 0.35))
"""The light of the four corners: an offset of the hue, saturation and value."""


def draw_pattern(prompt: str, seed: int, number: int, size: tuple[int, int]) -> PillowImage.Image:
    """Draw waves; the numbers 0 to 4 of one prompt and seed differ in hue and direction."""
    from PIL import Image, ImageChops, ImageDraw

    palette, shapes = _random_for(prompt, seed), _random_for(prompt, seed, number)
    hue, direction = palette.random() + number / 5, palette.random() + number * 0.29
    along = cmath.rect(1, direction * math.tau)
    width, height = size[0] * 2, size[1] * 2  # twice the size, for smooth edges
    unit = max(min(width, height), max(width, height) / 8)
    # Crests are computed as x + y·i, with x along them and y across the layers, and then turned.
    across, depth = abs(complex(width, height)), abs(along.real) * height + abs(along.imag) * width
    waves = Image.new("RGB", (width, height), _colour(hue, 0.3, 1))
    for share in (layer / (_LAYERS - 1) for layer in range(1, _LAYERS)):
        sines = [(n / unit * shapes.uniform(2, 3.4), shapes.random() * 7, n) for n in (1, 2.3)]
        outline = [complex(across, 2 * across), complex(-across, 2 * across)]
        for x in (across * (n / _POINTS - 0.5) for n in range(_POINTS + 1)):
            swell = sum(unit / n * math.sin(x * pace + phase) for pace, phase, n in sines)
            outline.append(complex(x, depth * (0.75 * share - 0.42) + 0.09 * swell))
        turned = [complex(width, height) / 2 + along * point for point in outline]
        colour = _colour(hue + 0.12 * share, 0.3 + 0.5 * share, 1 - 0.62 * share)
        ImageDraw.Draw(waves).polygon([(point.real, point.imag) for point in turned], colour)
    corners = shapes.sample(_LIGHTS, 4)
    light = Image.new("RGB", (2, 2))
    light.putdata([_colour(hue + offset, *strength) for offset, *strength in corners])
    light = light.resize(size, Image.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5))
    return ImageChops.soft_light(waves.reduce(2), light)


def draw_number(image: PillowImage.Image, number: int) -> None:
    """Draw a number on a dark disc into the lower left corner, if there is room for it."""
    from PIL import Image, ImageDraw, ImageFont

    side = min(image.size) // 11
    if side < 6:
        return
    disc = Image.new("L", (side * 4, side * 4))
    ImageDraw.Draw(disc).ellipse((0, 0, side * 4 - 1, side * 4 - 1), fill=255)
    left, top = side // 3, image.height - side - side // 3
    image.paste((24, 22, 34), (left, top), disc.reduce(4))
    middle, font = (left + side / 2, top + side / 2), ImageFont.load_default(side * 0.75)
    ImageDraw.Draw(image).text(middle, str(number), "white", font, anchor="mm")


def _random_for(*facts: object) -> random.Random:
    """Return a random number generator that depends on these facts alone."""
    return random.Random(hashlib.blake2b(repr(facts).encode()).digest())


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
