"""Pictures and videos by their bytes: what they are, and whether they are whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import MalformedReply
from mjasync._media.formats import sniff
from support.pictures import FILES, PNG, extension_of


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("behind", [b"", b"\0" * 200, b"meta" * 50])
def test_a_whole_file_is_whole(name: str, size: int, behind: bytes) -> None:
    """In pieces of any size, with anything behind its end: viewers take it, too."""
    if sniff(FILES[name]) == ("mp4", "video/mp4") or name == "avif":
        behind = behind[:4] and b"\0" * 200  # whatever stands there is one more box
    data = FILES[name] + behind
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    assert extension_of(pieces) == name.replace(" with a thumbnail", "").split()[-1]


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
def test_a_file_that_breaks_off_anywhere_is_found_out(name: str, data: st.DataObject) -> None:
    """Servers end it as a clean 200."""
    whole = FILES[name]
    at = data.draw(st.integers(0, len(whole) - 1))
    if name in {"mp4", "avif"} and at in {16, 332, 84}:
        return  # between two boxes: nothing tells
    with pytest.raises(MalformedReply, match=r"broke off|no picture"):
        extension_of(whole[:at])


@given(st.integers(16, len(PNG) - 1), st.integers(1, 255))
def test_a_png_with_a_wrong_byte_is_damaged(at: int, change: int) -> None:
    """Each of its parts has a checksum."""
    damaged = bytearray(PNG)
    damaged[at] ^= change
    with pytest.raises(MalformedReply, match=r"damaged|broke off"):
        extension_of(bytes(damaged))


def test_what_only_looks_like_a_png_is_told_by_its_end() -> None:
    """Without a header it has no parts that could be followed."""
    assert extension_of(b"\x89PNG\r\n\x1a\n" + b"x" * 20 + b"IEND\xaeB`\x82") == "png"
    with pytest.raises(MalformedReply, match="broke off after 28 bytes"):
        extension_of(b"\x89PNG\r\n\x1a\n" + b"x" * 20)


@pytest.mark.parametrize("data", [b"BM" + bytes(60), b"\x1aE\xdf\xa3" + bytes(60)])
def test_formats_that_do_not_tell_their_end(data: bytes) -> None:
    """They are believed."""
    assert extension_of(data) in {"bmp", "webm"}


def test_a_text_is_no_picture() -> None:
    """The message has its length, and the traceback none of it."""
    with pytest.raises(MalformedReply, match="led to 200 bytes that are no picture"):
        extension_of(b"secret" + b"x" * 194)
