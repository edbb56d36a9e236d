"""Flags of a prompt: taken out, put in, replaced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync.prompt import with_flag, with_speed, without_flags


@pytest.mark.parametrize(
    "prompt, left",
    [
        ("a fox --zoom 1.8", "a fox"),
        ("a fox --zoom", "a fox"),
        ("a fox --ZOOM 2", "a fox"),
        ("a fox —zoom 1.8", "a fox"),
        ("a fox –zoom 1.8", "a fox"),
        ("--zoom 1.8 a fox", "a fox"),
        ("--zoom 2", ""),
        ("a fox --zoom 2 --ar 16:9", "a fox --ar 16:9"),
        ("a fox --zoom 2 --zoom 1.5 --v 7", "a fox --v 7"),
        ("a fox --zoom --v 7", "a fox --v 7"),
        ("a fox --zoomed 2", "a fox --zoomed 2"),
        ("a fox--zoom 2", "a fox--zoom 2"),
        ("a zoom 2 fox", "a zoom 2 fox"),
        ("一只狐狸 --zoom 1.8", "一只狐狸"),
        ("a fox\n--zoom 1.8", "a fox"),
        ("", ""),
    ],
)
def test_without_flags(prompt: str, left: str) -> None:
    """A flag goes with its number, however it was typed, and nothing else does."""
    assert without_flags(prompt, "zoom") == left


def test_several_flags_go_at_once() -> None:
    """Each of the names is taken out; a name is no pattern."""
    assert without_flags("a --fast b --turbo --ar 3:2", "fast", "turbo", "ar") == "a b"
    assert without_flags("a fox --v 7", ".") == "a fox --v 7"


@pytest.mark.parametrize(
    "prompt, made",
    [
        ("a fox", "a fox --zoom 1.8"),
        ("a fox --zoom 2", "a fox --zoom 1.8"),
        ("a fox --zoom 2 --v 7", "a fox --v 7 --zoom 1.8"),
        ("", "--zoom 1.8"),
    ],
)
def test_with_flag(prompt: str, made: str) -> None:
    """A flag is put at the end, in place of one that is there."""
    assert with_flag(prompt, "zoom", 1.8) == made


def test_flag_without_a_value() -> None:
    """A flag may stand alone."""
    assert with_flag("a fox", "tile") == "a fox --tile"
    assert with_flag("a fox --tile --v 7", "tile") == "a fox --v 7 --tile"


@pytest.mark.parametrize("before", ["relax", "fast", "turbo", "FAST"])
@pytest.mark.parametrize("speed", ["relax", "fast", "turbo"])
def test_with_speed(before: str, speed: str) -> None:
    """A prompt asks for one speed: the last one given."""
    assert with_speed(f"a fox --{before} --v 7", speed) == f"a fox --v 7 --{speed}"
    assert with_speed("a fast fox", speed) == f"a fast fox --{speed}"


@given(st.text(max_size=60), st.floats(1.0, 2.0))
def test_with_flag_twice_is_once(prompt: str, zoom: float) -> None:
    """Putting the same flag in again changes nothing."""
    value = f"{zoom:.2f}"
    made = with_flag(prompt, "zoom", value)
    assert made.endswith(f"--zoom {value}")
    assert with_flag(made, "zoom", value) == made


@given(st.text(max_size=60))
def test_without_flags_leaves_none(prompt: str) -> None:
    """What was taken out of a prompt is not in it any more."""
    text = f"{prompt} --fast"
    left = without_flags(text, "fast")
    assert without_flags(left, "fast") == left
    assert not left.endswith(" --fast")
