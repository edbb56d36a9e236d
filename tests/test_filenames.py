"""Parts of file names: safe on every system, wherever the text comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync._media.files import target_for
from mjasync._safe_filename import MAX_NAME_LENGTH, avoid_reserved_name, safe_filename

RESERVED = [
    "CON",
    "con",
    "nul",
    "Aux.txt",
    "prn",
    "COM1",
    "lpt9.a.b",
    "com\u00b9",
    "CONIN$",
    "nul ",
]


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_devices_are_no_names_of_files(name: str) -> None:
    """What Windows opens as a device, with any ending, gets another name; saving a task as well."""
    assert safe_filename(name).startswith("_")
    assert avoid_reserved_name(f"{name}.png") == f"_{name}.png"
    fields = {"id": name, "rest": name[1:]}
    assert target_for("out/{id}", "png", fields).name.startswith("_")
    assert target_for(f"out/{name[0]}{{rest}}.{{ext}}", "png", fields).name.startswith("_")


@pytest.mark.parametrize("name", ["console", "nullo", "com10", "lpt", "a-con", "auxiliary.png"])
def test_names_like_those_of_devices_stay(name: str) -> None:
    """Only the names themselves are reserved."""
    assert safe_filename(name) == name


def test_a_file_name_of_the_callers_own_stays() -> None:
    """What somebody wrote out is what they want."""
    assert target_for("out/aux.png", "png", {"id": "17"}) == Path("out/aux.png")


@given(st.text())
def test_any_text_is_one_part_of_a_path(text: str) -> None:
    """It leads nowhere, is not empty, not too long, and stays itself when it is made safe again."""
    name = safe_filename(text)
    assert name not in {"", ".", ".."}
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert len(name.encode()) <= MAX_NAME_LENGTH + 1
    assert name == name.strip(". ")
    assert safe_filename(name) == name
