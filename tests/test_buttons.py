"""Buttons: what each one of PROTOCOL §5.1 means, and how it is found."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import Button, ButtonMeaning, ButtonNotFound, Buttons
from mjasync._protocol.buttons import change_payload, classify_button

H = "d5f3c8a1-8f3e-4d4c-9a51-0c5b9b1f6f11"

# custom id, label, emoji, and what it means; a row of PROTOCOL §5.1 each
ROWS = (
    *((f"MJ::JOB::upsample::{n}::{H}", f"U{n}", "", f"upscale {n}") for n in range(1, 5)),
    *((f"MJ::JOB::variation::{n}::{H}", f"V{n}", "", f"vary {n}") for n in range(1, 5)),
    (f"MJ::JOB::reroll::0::{H}::SOLO", "", "🔄", "reroll"),
    *(
        (
            f"MJ::JOB::upsample_{version}_2x_{kind}::1::{H}::SOLO",
            f"Upscale ({kind.capitalize()})",
            "upscale_1",
            f"upscale {kind}",
        )
        for version in ("v7", "v6r1", "v6", "v9", "niji8")
        for kind in ("subtle", "creative")
    ),
    (f"MJ::JOB::upsample_v5_2x::1::{H}::SOLO", "Upscale (2x)", "upscale_1", "upscale 2x"),
    (f"MJ::JOB::upsample_v5_4x::1::{H}::SOLO", "Upscale (4x)", "upscale_1", "upscale 4x"),
    (f"MJ::JOB::low_variation::1::{H}::SOLO", "Vary (Subtle)", "🪄", "vary subtle"),
    (f"MJ::JOB::high_variation::1::{H}::SOLO", "Vary (Strong)", "🪄", "vary strong"),
    (f"MJ::Inpaint::1::{H}::SOLO", "Vary (Region)", "🖌️", "inpaint"),
    (f"MJ::Outpaint::50::1::{H}::SOLO", "Zoom Out 2x", "🔍", "zoom 2"),
    (f"MJ::Outpaint::75::1::{H}::SOLO", "Zoom Out 1.5x", "🔍", "zoom 1.5"),
    (f"MJ::Outpaint::100::1::{H}::SOLO", "Make Square", "↔️", "zoom square"),
    (f"MJ::CustomZoom::{H}", "Custom Zoom", "🔍", "zoom custom"),
    (f"MJ::CustomZoom::1::{H}", "Custom Zoom", "🔍", "zoom custom"),
    (f"MJ::JOB::pan_left::1::{H}::SOLO", "", "⬅️", "pan left"),
    (f"MJ::JOB::pan_right::1::{H}::SOLO", "", "➡️", "pan right"),
    (f"MJ::JOB::pan_up::1::{H}::SOLO", "", "⬆️", "pan up"),
    (f"MJ::JOB::pan_down::1::{H}::SOLO", "", "⬇️", "pan down"),
    (f"MJ::JOB::animate_high::1::{H}::SOLO", "Animate (High motion)", "🎞️", "animate high"),
    (f"MJ::JOB::animate_low::1::{H}::SOLO", "Animate (Low motion)", "🎞️", "animate low"),
    *(
        (f"MJ::JOB::video_virtual_upscale::{n}::{H}", f"U{n}", "", f"upscale {n}")
        for n in range(1, 5)
    ),
    (f"MJ::JOB::animate_high_extend::1::{H}", "Extend (High motion)", "🎞️", "extend high"),
    (f"MJ::JOB::animate_low_extend::4::{H}", "Extend (Low motion)", "🎞️", "extend low"),
    *((f"MJ::Job::PicReader::{n}", "", f"{n}️⃣", f"imagine {n}") for n in range(1, 5)),
    ("MJ::Job::PicReader::all", "Imagine all", "🎉", "imagine all"),
    ("MJ::Picread::Retry", "", "🔄", "reroll"),
    *((f"MJ::Job::PromptAnalyzer::{n}", f"{n}", f"{n}️⃣", f"imagine {n}") for n in range(1, 6)),
    (f"MJ::Job::PromptAnalyzerExtended::{H}", "Show Details", "", "details"),
    (f"MJ::BOOKMARK::{H}", "", "❤️", "bookmark"),
)
IDS = [row[0].replace(H, "h") for row in ROWS]


def button(row: tuple[str, str, str, str]) -> Button:
    """A row as a button."""
    return Button(custom_id=row[0], label=row[1], emoji=row[2], style=2, type=2)


def row(custom_id: str) -> Button:
    """The first button of the table whose id begins like this."""
    return button(next(each for each in ROWS if each[0].startswith(custom_id)))


GRID = Buttons(button(each) for each in ROWS[:9])
SINGLE = Buttons(
    row(f"MJ::{kind}")
    for kind in (
        "JOB::upsample_v7_2x_subtle",
        "JOB::upsample_v7_2x_creative",
        "JOB::low_variation",
        "JOB::high_variation",
        "Inpaint",
        "Outpaint::50",
        "Outpaint::75",
        "CustomZoom",
        "JOB::pan_left",
        "JOB::pan_right",
        "JOB::pan_up",
        "JOB::pan_down",
        "JOB::animate_high",
        "JOB::animate_low",
        "BOOKMARK",
    )
)
STRANGE = Button(custom_id=f"MJ::JOB::sculpt_v9::1::{H}", label="Sculpt", emoji="🗿")
NAMELESS = Button(custom_id=f"MJ::JOB::video::1::{H}::manual")


# --- what they mean ----------------------------------------------------------------------------


@pytest.mark.parametrize("each", ROWS, ids=IDS)
def test_every_row_by_id(each: tuple[str, str, str, str]) -> None:
    """Each custom id tells what its button means, without label and emoji."""
    assert str(classify_button(Button(custom_id=each[0]))) == each[3]
    assert str(classify_button(Button(custom_id=each[0].lower()))) == each[3]


@pytest.mark.parametrize("each", ROWS, ids=IDS)
def test_every_row_by_label(each: tuple[str, str, str, str]) -> None:
    """Each label tells the same, where a server's ids are of a kind nobody knows."""
    told = classify_button(Button(custom_id=f"XX::{H}", label=each[1], emoji=each[2]))
    tells = (each[1] and not each[1].isdecimal()) or each[2][0] in "🔄⬅➡⬆⬇❤"
    assert str(told or "") == (each[3] if tells else "")


@pytest.mark.parametrize("each", ROWS, ids=IDS)
def test_every_row_is_found(each: tuple[str, str, str, str]) -> None:
    """Each button, alone among strangers, is found by id, label, emoji and meaning."""
    wanted = button(each)
    buttons = Buttons([STRANGE, NAMELESS, wanted])
    for key in (*each, each[1].upper(), f" {each[1]} ", each[2].replace("\ufe0f", "")):
        if key.strip():
            assert buttons[key] is wanted, key
            assert key in buttons
    meaning = classify_button(wanted)
    assert meaning is not None
    assert buttons.meaning(meaning.verb, meaning.detail) is wanted


@pytest.mark.parametrize("each", [STRANGE, NAMELESS, Button(custom_id=""), Button(custom_id="x")])
def test_strangers_mean_nothing(each: Button) -> None:
    """An unknown button has no meaning that could be mistaken for another."""
    assert classify_button(each) is None


def test_a_label_beats_an_emoji() -> None:
    """A labelled stranger is not taken for what its emoji stands for elsewhere."""
    assert classify_button(Button(custom_id="x", label="Remake", emoji="🔄")) is None
    assert classify_button(Button(custom_id="x", emoji="🔄")) == ButtonMeaning("reroll")


@given(st.text(max_size=30), st.text(max_size=10), st.text(max_size=5))
def test_any_button_has_a_name(custom_id: str, label: str, emoji: str) -> None:
    """Whatever a server makes up, a button can be shown and pressed by its position."""
    made = Button(custom_id=custom_id, label=label, emoji=emoji)
    buttons = Buttons([made])
    assert len(buttons.names) == 1
    assert buttons[0] is made
    assert str(classify_button(made) or "") == str(classify_button(made) or "").strip()


# --- how they are found ------------------------------------------------------------------------


def test_unknown_buttons_are_usable() -> None:
    """A button nobody has heard of is found by label, emoji, id and position."""
    buttons = Buttons([*GRID, STRANGE, NAMELESS])
    assert buttons["Sculpt"] is STRANGE
    assert buttons["sculpt"] is STRANGE
    assert buttons["🗿"] is STRANGE
    assert buttons[STRANGE.custom_id] is STRANGE
    assert buttons[-1] is NAMELESS
    assert buttons[NAMELESS.custom_id] is NAMELESS
    assert buttons.names[-2:] == ("Sculpt", NAMELESS.custom_id)


@pytest.mark.parametrize("key", ["❤️", "❤", "❤\ufe0e", " ❤️ ", "bookmark", "BOOKMARK"])
def test_variation_selectors_do_not_matter(key: str) -> None:
    """Emoji are the same with and without variation selectors, on either side."""
    for emoji in ("❤️", "❤", "❤\ufe0e"):
        heart = Button(custom_id=f"MJ::BOOKMARK::{H}", emoji=emoji)
        assert Buttons([*GRID, heart])[key] is heart


def test_ambiguous_emoji() -> None:
    """An emoji that stands on several buttons finds none of them, and names them all."""
    with pytest.raises(ButtonNotFound) as caught:
        SINGLE["🔍"]
    assert "Zoom Out 2x, Zoom Out 1.5x, Custom Zoom" in str(caught.value)
    assert "Use a label" in str(caught.value)
    with pytest.raises(ButtonNotFound):
        SINGLE["upscale_1"]
    assert "🔍" in SINGLE


def test_stronger_names_win() -> None:
    """An id beats a label, a label beats an emoji, an emoji beats a meaning."""
    first = Button(custom_id="1", label="2", emoji="3")
    second = Button(custom_id="2", label="3", emoji="reroll")
    third = Button(custom_id=f"MJ::JOB::reroll::0::{H}::SOLO", label="x")
    buttons = Buttons([first, second, third])
    assert buttons["2"] is second
    assert buttons["3"] is second
    assert buttons["reroll"] is second
    assert Buttons([first, third])["reroll"] is third


@pytest.mark.parametrize(
    "key, nearest",
    [
        ("Upscale (Subtl)", "Upscale (Subtle)"),
        ("vary subtel", "vary subtle"),
        ("Zoom Out 2", "Zoom Out 2x"),
        ("costum zoom", "Custom Zoom"),
        ("pan lef", "pan left"),
    ],
)
def test_nearest_match(key: str, nearest: str) -> None:
    """What is not there is answered with what there is, and the nearest of it."""
    with pytest.raises(ButtonNotFound) as caught:
        SINGLE[key]
    assert f"There is no button {key!r}. Did you mean {nearest!r}?" in str(caught.value)
    assert all(name in str(caught.value) for name in SINGLE.names)


@pytest.mark.parametrize("key", ["U1", "", "  ", "\ufe0f", "完全不同"])
def test_nothing_near(key: str) -> None:
    """A name like no other is answered with what there is, and no guess."""
    buttons = Buttons([STRANGE])
    with pytest.raises(ButtonNotFound) as caught:
        buttons[key]
    assert "Did you mean" not in str(caught.value)
    assert "Sculpt" in str(caught.value)
    assert key not in buttons


def test_no_buttons() -> None:
    """A task without buttons says so."""
    with pytest.raises(ButtonNotFound, match="no buttons"):
        Buttons([])["U1"]
    with pytest.raises(ButtonNotFound, match="no buttons"):
        Buttons([]).meaning("upscale", "1")


def test_names_tell_them_apart() -> None:
    """Every button of a picture has a name of its own to show."""
    assert GRID.names == ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4", "🔄 (reroll)")
    assert "⬅️ (pan left)" in SINGLE.names
    assert "❤️ (bookmark)" in SINGLE.names
    assert len(set(SINGLE.names)) == len(SINGLE)
    assert repr(GRID) == f"Buttons({', '.join(GRID.names)})"


# --- by meaning --------------------------------------------------------------------------------


def test_the_first_detail_there_is() -> None:
    """A meaning may have several details: the first that is there wins."""
    assert SINGLE.meaning("upscale", "2x", "subtle").label == "Upscale (Subtle)"
    assert SINGLE.meaning("upscale", "subtle", "creative").label == "Upscale (Subtle)"
    assert GRID.meaning("reroll").emoji == "🔄"


def test_the_first_of_several() -> None:
    """Where two buttons mean the same, the server's first is taken."""
    first, second = (Button(custom_id=f"MJ::CustomZoom::{n}", label="Custom Zoom") for n in "12")
    assert Buttons([first, second]).meaning("zoom", "custom") is first


def test_meaning_that_is_not_there() -> None:
    """A meaning that no button has is answered with what there is."""
    with pytest.raises(ButtonNotFound, match=r"There is no button 'zoom 3'\..*Custom Zoom"):
        SINGLE.meaning("zoom", "3")
    with pytest.raises(ButtonNotFound, match="There is no button 'reroll'"):
        SINGLE.meaning("reroll")


# --- a sequence --------------------------------------------------------------------------------


def test_it_is_a_sequence() -> None:
    """Buttons come in the server's order, and slices of them are Buttons."""
    assert len(GRID) == 9
    assert [each.label for each in GRID] == ["U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4", ""]
    assert GRID[0].label == "U1"
    assert GRID[-1].emoji == "🔄"
    assert GRID[4:8].names == ("V1", "V2", "V3", "V4")
    assert isinstance(GRID[:2], Buttons)
    assert GRID.index(GRID["V2"]) == 5
    assert GRID[0] in GRID
    assert STRANGE not in GRID
    assert 5 not in GRID
    with pytest.raises(IndexError):
        GRID[9]


def test_equality() -> None:
    """Buttons are equal when they hold the same in the same order, and hash alike."""
    assert Buttons(GRID) == GRID
    assert hash(Buttons(GRID)) == hash(GRID)
    assert Buttons(reversed(GRID)) != GRID
    assert list(GRID) != GRID


def test_order_does_not_matter_to_lookups() -> None:
    """Wherever a server puts a button, it is the same one."""
    shuffled = list(SINGLE)
    random.Random(1).shuffle(shuffled)
    for each in SINGLE:
        assert Buttons(shuffled)[each.custom_id] is each


@pytest.mark.parametrize(
    "label, emoji, change",
    [
        ("U1", "", {"action": "UPSCALE", "index": 1}),
        ("U4", "", {"action": "UPSCALE", "index": 4}),
        ("V2", "", {"action": "VARIATION", "index": 2}),
        ("", "🔄", {"action": "REROLL", "index": 1}),
    ],
)
def test_change(label: str, emoji: str, change: dict[str, str | int]) -> None:
    """A button without an id is a `/submit/change`, always with an index (PROTOCOL §1.6)."""
    assert change_payload(Button(custom_id="", label=label, emoji=emoji)) == change
