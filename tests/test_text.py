"""Text that a server sent, made safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync._text import MAX_PRINTABLE, printable, redact


@pytest.mark.parametrize(
    "sent, shown",
    [
        ("\x1b[31mRED", r"\x1b[31mRED"),
        ("\x9b31m", r"\x9b31m"),
        ("done\r\nFAKE LINE", r"done\r\nFAKE LINE"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        ("half \ud83d", r"half \ud83d"),
        ("line\u2028break", r"line\u2028break"),
        ("提交成功：狐狸 👩\u200d🎨 🖌\ufe0f", "提交成功：狐狸 👩\u200d🎨 🖌\ufe0f"),
        (21, "21"),
        (None, "None"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped(sent: object, shown: str) -> None:
    """Characters that draw nothing become escapes; text in any script stays as it is."""
    assert printable(sent) == shown


def test_lines_are_kept_where_asked() -> None:
    """A block of text keeps its line breaks and tabs, and nothing else that is invisible."""
    assert printable("one\n\ttwo\x1b\r", lines=True) == "one\n\ttwo\\x1b\\r"


@given(st.text())
def test_nothing_invisible_is_left(sent: str) -> None:
    """Whatever is sent, what is shown encodes as UTF-8 and stands on one line."""
    shown = printable(sent, None)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1


def test_long_text_is_cut() -> None:
    """A cut is marked, and is as long as promised."""
    assert printable("x" * 10_000) == "x" * MAX_PRINTABLE + "…"
    assert printable("x" * 10_000, None) == "x" * 10_000


def test_secrets_are_masked_wherever_they_stand() -> None:
    """Every secret is masked, and an empty one masks nothing."""
    assert redact("sk-1 and sk-2, sk-1", ["sk-1", "", "sk-2"]) == "*** and ***, ***"
    assert redact(f"x{'s' * 16}y", ["s" * 16]) == "x***y"


def test_a_short_secret_leaves_words_alone() -> None:
    """A password of a letter or two is masked in a URL, and not inside the words of a message."""
    said = redact("no password in http://u:p@host, please", ["p"])
    assert said == "no password in http://u:***@host, please"
