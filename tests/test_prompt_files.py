"""Files of prompts: each read as what it is, or refused with words, and never paid for as text."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import ConfigurationError
from mjasync.batch._readers import InputRows, read_rows

PROMPTS = ["a red fox", "an owl, at night"]
OBJECTS = [{"prompt": prompt, "mood": None} for prompt in PROMPTS]


def read(folder: Path, name: str, text: str | bytes, template: str | None = None) -> InputRows:
    """Return the rows of a file with such a name."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rows(path, template)


def prompts(rows: InputRows) -> list[str]:
    """Return the prompts of some rows."""
    return [row.prompt for row in rows]


# --- JSON --------------------------------------------------------------------------------------

JSON_DOCUMENTS = {
    "array": json.dumps(PROMPTS),
    "pretty array": f"\ufeff{json.dumps(PROMPTS, indent=2)}\n",
    "objects": json.dumps(OBJECTS, indent="\t"),
    "lines of objects": "".join(f"{json.dumps(row)}\n\n" for row in OBJECTS),
    "lines of strings": "\r\n".join(map(json.dumps, PROMPTS)),
}


@pytest.mark.parametrize("text", JSON_DOCUMENTS.values(), ids=JSON_DOCUMENTS)
@pytest.mark.parametrize("name", ["p.json", "p.jsonl", "p.ndjson", "P.JSON"])
def test_json_is_read_in_every_form(tmp_path: Path, name: str, text: str) -> None:
    """An array, an array of objects and one value on each line hold the same prompts."""
    assert prompts(read(tmp_path, name, text)) == PROMPTS


@pytest.mark.parametrize("form", ["array", "pretty array", "objects", "lines of objects"])
def test_json_under_another_name_is_read_as_json(tmp_path: Path, form: str) -> None:
    """What is plainly JSON is no lines of text, nor is it on standard input."""
    text = JSON_DOCUMENTS[form]
    assert prompts(read(tmp_path, "p.txt", text)) == PROMPTS
    assert prompts(read_rows(io.BytesIO(text.encode()))) == PROMPTS


BRACKETS = ["[red] fox\n[blue] fox", '{"OPEN", "SHUT"} sign\na fox', "{a, b} fox", '["OPEN] sign']


@pytest.mark.parametrize("text", BRACKETS)
def test_prompts_may_begin_with_brackets(tmp_path: Path, text: str) -> None:
    """A prompt that begins with a bracket, alternatives or a quote is a prompt."""
    assert prompts(read(tmp_path, "p.txt", text)) == text.splitlines()


NO_JSON = [
    ("p.json", '[\n  "a fox",\n  "an owl",\n]', "not valid JSON.*line [34]"),
    ("p.txt", '[\n  "a fox",\n  "an owl",\n]', "not valid JSON.*line [34]"),
    ("p.json", '{"prompts": ["a fox"]}', "list of prompts.*'prompts'"),
    ("p.json", '[["a fox"]]', "item 1: .*not list"),
    ("p.json", '[{"prompt": ["a", "b"]}]', "item 1: .*'prompt' contains"),
    ("p.jsonl", '{"prompt": "a"}\n{"prompt"', "line 2: this is not valid JSON"),
    ("p.json", "a fox\n", "not valid JSON"),
    ("p.json", "[" * 100_000, "not valid JSON"),
    ("p.csv", json.dumps(OBJECTS), "is JSON"),
]


@pytest.mark.parametrize("name, text, said", NO_JSON, ids=range(len(NO_JSON)))
def test_what_cannot_be_read_as_json_is_told(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    """Broken JSON, and JSON of another shape, is refused with the place."""
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path, name, text)


# --- what holds no prompts ---------------------------------------------------------------------

NO_TEXT: list[tuple[str, str | bytes, str]] = [
    ("p.html", "a fox", "suffix, '.html'"),
    ("p.md", "# foxes\n- a fox\n", "suffix, '.md'"),
    ("p.txt", "<!DOCTYPE html>\n<p>a fox</p>", "web page"),
    ("p.csv", "\n<html><body>Sign in</body></html>", "web page"),
    ("p", '<?xml version="1.0"?>\n<a/>', "web page"),
    ("p.csv", b"PK\x03\x04\x14\x00", "ZIP archive"),
    ("p.xlsx", b"", "'.xlsx'"),
    ("p.txt", b"%PDF-1.7\n", "a PDF"),
    ("p.txt", b"{\\rtf1\\ansi a fox}", "an RTF document"),
    ("p.txt", b"\x89PNG\r\n", "a picture"),
    ("p.txt", "prompt,ar\na fox,16:9\n", "a table.*rename it to .csv"),
    ("p.txt", "prompt\na fox\n", "a table"),
    ("p", "animal\tplace\nfox\tfog\nowl\tsnow\n", "a table, but it has no suffix"),
    ("p.txt", "animal;place\nfox;fog\n", "a table"),
    ("p.txt", "| a | b |\n|---|:-:|\n| c | d |\n", "a table"),
    ("p.txt", "sep=;\na;b\n", "a table"),
    ("p.txt", "# foxes\n- prompt: a fox\n", "YAML"),
    ("p.txt", '"a fox",\n"an owl"\n', "strings of source code"),
    ("p.txt", "prompts:\n  - a fox\n", "YAML"),
    ("p.txt", "['a fox', 'an owl']\n", "not valid JSON"),
]


@pytest.mark.parametrize("name, text, said", NO_TEXT, ids=range(len(NO_TEXT)))
def test_what_is_no_text_is_refused(
    tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    """Web pages, documents, archives, pictures and tables are no lines to be paid for."""
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path, name, text)


PLAIN = [
    "a fox, red\nan owl, white",
    "a fox; red\nan owl",
    "hot::2 dog | cat\nan owl",
    "<lora:fox:1> a fox\nan owl",
    "a\tfox\nan owl",
    "fox,snow\nowl,rain",
]


@pytest.mark.parametrize("text", PLAIN)
@pytest.mark.parametrize("name", ["p.txt", "p", "p.v2"])
def test_prompts_with_signs_of_tables_are_prompts(tmp_path: Path, name: str, text: str) -> None:
    """Commas, semicolons, bars and a tab in prompts make no table."""
    assert prompts(read(tmp_path, name, text)) == text.splitlines()


# --- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    """A byte order mark tells the encoding."""
    assert prompts(read(tmp_path, "p.txt", "a fox\r\n狐狸\r\n".encode(encoding))) == [
        "a fox",
        "狐狸",
    ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["p.txt", "p.csv", "p.json"])
def test_an_encoding_without_a_mark_is_named(tmp_path: Path, name: str, encoding: str) -> None:
    """What holds NULs is told to be UTF-16 or UTF-32, and is not read as odd text."""
    with pytest.raises(ConfigurationError, match="UTF-16 and UTF-32 without a byte order mark"):
        read(tmp_path, name, "prompt\r\na fox\r\n".encode(encoding))


def test_comments_are_counted_and_a_hash_can_be_escaped(tmp_path: Path) -> None:
    r"""Lines that begin with `#` and blank ones are counted; `\#` begins a prompt with a hash."""
    rows = read(tmp_path, "p.txt", "# foxes\n\n  # more\n\\#1 dad, a mug\n a fox\u2028b \n \n")
    assert prompts(rows) == ["#1 dad, a mug", "a fox\u2028b"]
    assert (rows.comments, rows.blank) == (2, 2)


def test_a_file_that_is_open_has_its_ending(tmp_path: Path) -> None:
    """A file opened for bytes is read by the ending of its name; one opened as text is refused."""
    path = tmp_path / "p.csv"
    path.write_text("prompt\na fox\n")
    with path.open("rb") as file:
        assert prompts(read_rows(file)) == ["a fox"]
    with pytest.raises(ConfigurationError, match="binary"):
        read_rows(io.StringIO("a fox"))  # type: ignore[arg-type]


# --- tables ------------------------------------------------------------------------------------

SEPARATED = {
    "semicolons": "prompt;ar\na fox, red;16:9\n",
    "sep line": "sep=;\r\nprompt;ar\r\na fox, red;16:9\r\n",
    "quoted sep line": '"sep=|"\nprompt|ar\na fox, red|16:9\n',
    "tabs": "prompt\tar\na fox, red\t16:9\n",
    "sep tab": "sep=\\t\nprompt\tar\na fox, red\t16:9\n",
    "commas": 'sep=,\nprompt,ar\n"a fox, red",16:9\n',
    "semicolons, a comma in a name": 'prompt;"a, b"\na fox, red;16:9\n',
}


@pytest.mark.parametrize("text", SEPARATED.values(), ids=SEPARATED)
@pytest.mark.parametrize("name", ["p.csv", "p.tsv"])
def test_tables_are_read_with_the_sign_that_parts_them(
    tmp_path: Path, name: str, text: str
) -> None:
    """Excel's semicolons and `sep=` line are understood, whatever the ending says."""
    (row,) = read(tmp_path, name, text)
    assert (row.prompt, [*row.variables.values()]) == ("a fox, red", ["16:9"])


def test_a_template_goes_over_semicolons(tmp_path: Path) -> None:
    """A table without a column of prompts is read with semicolons, too."""
    (row,) = read(tmp_path, "p.csv", "animal;place\nfox, red;snow\n", "a {animal} in {place}")
    assert row.prompt == r"a fox\, red in snow"


OPEN_QUOTES = [
    ('prompt\n"Neon sign says OPEN, rain\na fox\nan owl\n', 2),
    ('prompt,ar\na fox,1:1\n\n"Open sign,16:9\na fox,1:1\n"Closed sign" at night,2:3\n', 4),
    ('prompt,ar\n"a\nb",1:1\n"OPEN" sign,1:1\n', 4),
    ('prompt;ar\n"OPEN sign;1:1\n', 2),
    ('"prompt\na fox\n', 1),
]


@pytest.mark.parametrize("text, line", OPEN_QUOTES)
def test_an_open_quote_swallows_no_rows(tmp_path: Path, text: str, line: int) -> None:
    """A quote that does not end its cell is refused with the line it is on."""
    with pytest.raises(ConfigurationError, match=f"line {line}: a cell of this row begins with"):
        read(tmp_path, "p.csv", text)


def test_blanks_before_a_quote_do_not_matter(tmp_path: Path) -> None:
    """A cell whose quote stands behind a blank is quoted all the same."""
    (row,) = read(tmp_path, "p.csv", 'prompt, ar\n"a", "1:1, wide"\n')
    assert (row.prompt, row.variables["ar"]) == ("a", "1:1, wide")


def test_quotes_have_their_uses(tmp_path: Path) -> None:
    """Cells over several lines, doubled quotes and quotes within a cell are as they were typed."""
    text = 'prompt,ar\r\n"a fox,\r\nin ""snow""",1:1\r\na 6" pipe,2:3\r\n'
    rows = read(tmp_path, "p.csv", text)
    assert prompts(rows) == ['a fox,\r\nin "snow"', 'a 6" pipe']
    assert rows.multiline_places == ("lines 2-3",)


TABBED = {
    "literal": ('prompt\tar\n"OPEN" sign\t1:1\n"x\t2:3\n', ['"OPEN" sign', '"x']),
    "open to the end": ('prompt\n"Open sign\na fox\nan owl\n', ['"Open sign', "a fox", "an owl"]),
    "pairs": ('prompt\tar\n"a ""red"" fox"\t"1:1"\n', ['a "red" fox']),
    "over lines": ('prompt\tar\n"a fox\nin snow\t!"\t1:1\nb\t\n', ["a fox\nin snow\t!", "b"]),
}


@pytest.mark.parametrize("text, expected", TABBED.values(), ids=TABBED)
def test_quotes_in_tabbed_tables_are_literal_unless_paired(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    """No row is swallowed by a quote, and none loses one; spreadsheets' own quoting is undone."""
    assert prompts(read(tmp_path, "p.tsv", text)) == expected


def test_a_quote_in_a_tabbed_table_that_may_have_a_pair_is_told(tmp_path: Path) -> None:
    """What may be one row or several is refused with the line."""
    text = 'prompt\tar\n"Open\t1:1\na fox\t1:1\nShut"\t1:1\n'
    with pytest.raises(ConfigurationError, match=r"line 2: a cell .* one in line 4 could end it"):
        read(tmp_path, "p.tsv", text)


CELLS = st.text(st.sampled_from('ab ,;"\t\n'), min_size=1, max_size=6).map(lambda text: f"x{text}x")


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4))
def test_what_is_written_as_a_table_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """A table that is quoted as the rules have it gives every cell back, in each kind."""
    for name, delimiter in (("p.csv", ","), ("p.tsv", "\t"), ("q.csv", ";")):
        path = tmp_path_factory.getbasetemp() / name
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerows([("a", "b"), *rows])
        try:
            found = read_rows(path, "{a}")
        except ConfigurationError as error:
            assert "could end it" in str(error)  # noqa: PT017 - the one kind that is ambiguous
            assert any("\t" in cell and "\n" in cell for row in rows for cell in row)
            continue
        assert [(row.variables["a"], row.variables["b"]) for row in found] == rows
