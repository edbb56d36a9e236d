"""The text of a prompt: its flags taken out, put in, replaced; mistyped ones mended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync.prompt import normalise, with_flag, with_speed, without_flags


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


MENDED = [
    ("a fox \u2014AR 16\uff1a9", "a fox --ar 16:9"),
    ("a fox --Ar 16:9 --NIJI 6", "a fox --ar 16:9 --niji 6"),
    ("\u72d0\u72f8 \uff0d\uff0dar 16:9", "\u72d0\u72f8 --ar 16:9"),
    (
        "\u72d0\u72f8\uff0d\uff0d\uff41\uff52\u3000\uff11\uff16\uff1a\uff19",
        "\u72d0\u72f8 --ar 16:9",
    ),
    ("\u72d0\u72f8\u2014\u2014no \u4eba\u2014\u2014v 7", "\u72d0\u72f8 --no \u4eba --v 7"),
    ("\u72d0\u72f8--ar 16\uff1a9", "\u72d0\u72f8 --ar 16:9"),
    ("hot\uff1a\uff1a2 dog\uff1a:\uff0d\uff10.5", "hot::2 dog::-0.5"),
    ("fox \u2014no red\u2013blue \u2014ar 1:1", "fox --no red\u2013blue --ar 1:1"),
    ("\u72d0\u72f8\u30fc\u30fcar 16:9", "\u72d0\u72f8 --ar 16:9"),
    ("\u2014\u2014ar 16:9 a fox \u2e3ano red", "--ar 16:9 a fox --no red"),
    ("/imagine prompt: a fox", "a fox"),
    ("/Imagine prompt\uff1aa fox", "a fox"),
    ("/imagine prompt a fox", "a fox"),
    (" \uff0fimagine\u3000a fox", "a fox"),
]


@pytest.mark.parametrize("typed, meant", MENDED)
def test_what_input_methods_make_of_flags_is_mended(typed: str, meant: str) -> None:
    """Full-width signs and capitals of flags and weights, and Discord's command, are undone."""
    assert normalise(typed) == meant


UNCHANGED = [
    "una casa \u2014no muy grande\u2014 en el bosque",
    "una mujer \u2014raw denim\u2014, en la calle --ar 3:2",
    "the house \u2014fast and half\u2010open\u2014",
    "\u72d0\u72f8\u2014\u2014no \u4eba\u2014\u2014\u5728\u96ea\u91cc",
    "\u65f6\u95f4\uff1a8\uff1a30\uff0c\u96e8",
    "\u2014No quiero \u2014dijo ella",
    "\u30d2\u30fc\u30ed\u30fc no",
    "a /imagine b",
    "/imagines a fox",
    "a fox --Unknown X",
]


@pytest.mark.parametrize("prompt", UNCHANGED)
def test_running_text_is_no_flag(prompt: str) -> None:
    """A remark between two dashes, full-width signs in a sentence and other words stay."""
    assert normalise(prompt) == prompt


PIECES = [
    "\u30fc",
    "\u2014",
    "\uff0d",
    "-",
    "--",
    "no",
    "ar",
    "AR",
    "\uff41\uff52",
    " ",
    "\u3000",
    "\u72d0",
    "a",
]
PIECES += [
    "1",
    "\uff11",
    "\uff1a",
    "::",
    "/imagine",
    "prompt",
    "\uff0fimagine",
    "\uff0c",
    "raw",
    "v 6",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_mending_twice_is_mending_once(prompt: str) -> None:
    """What is mended stays as it is, however dashes, flags and signs are mixed."""
    mended = normalise(prompt)
    assert normalise(mended) == mended
