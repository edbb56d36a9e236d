"""What a batch makes of its input, and what it calls its files: without a server."""

from __future__ import annotations

import builtins
import csv
import importlib
import io
import json
import os
import subprocess
import sys
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mjasync import ConfigurationError, InvalidRequest, QueueFull, RetryPolicy
from mjasync.batch import File, Job
from mjasync.batch._adaptive_limit import AdaptiveLimit
from mjasync.batch._filenames import DEFAULT_NAME, Filenames
from mjasync.batch._output import _manifest_line
from mjasync.batch._planning import expand_steps, plan_jobs
from mjasync.batch._png_metadata import embed_metadata
from mjasync.batch._readers import read_rows
from mjasync.batch._rows import InputRow, check_source, parse_row
from mjasync.prompt import expand, normalise

# --- prompts -----------------------------------------------------------------------------------

EXPANSIONS = [
    ("a fox", ["a fox"]),
    ("a {red, blue} fox", ["a red fox", "a blue fox"]),
    ("fox --ar {1:1, 16:9}", ["fox --ar 1:1", "fox --ar 16:9"]),
    ("fox{, es}", ["fox", "foxes"]),
    ("{a, b {c, d}}", ["a", "b c", "b d"]),
    ("{a,b}{1,2}", ["a1", "a2", "b1", "b2"]),
    ("a {single}, b", ["a single, b"]),
    (r"a \{b, c\} {d\, e, f}", ["a {b, c} d, e", "a {b, c} f"]),
    ("back\\\\slash \\n", ["back\\slash \\n"]),
    ("", [""]),
]


@pytest.mark.parametrize("prompt, expected", EXPANSIONS)
def test_braces_stand_for_several(prompt: str, expected: list[str]) -> None:
    """`{a, b}` stands for one prompt each, nested, in flags, with escapes, in order."""
    assert expand(prompt) == expected


@pytest.mark.parametrize("prompt", ["{a", "a}", "{a, {b}", "{a}}", "{1,2}" * 20, "{a,b,c,d}"])
def test_what_does_not_match_or_is_too_many_is_told(prompt: str) -> None:
    """Braces that do not match, and those that stand for too many, are refused at once."""
    with pytest.raises(InvalidRequest):
        expand(prompt, max_prompts=3)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_escaped_text_stands_for_itself(text: str) -> None:
    """Whatever a column holds, put into a template it is never expanded."""
    row = parse_row({"x": text}, "a {x} b")
    assert expand(row.prompt) == [f"a {text} b"]


NORMAL = [
    ("  a\tfox\u00a0\u3000in\nsnow ", "a fox in snow"),
    ("fox \u2014ar 16:9 \u2013v 7 \u2014\u2014niji 6", "fox --ar 16:9 --v 7 --niji 6"),
    ("fox \u2014 a red one \u2014red", "fox \u2014 a red one \u2014red"),
    ("\u201cfox\u201d \u2018s", '"fox" \'s'),
    ("a\x00b\u200bc\ufeff\u202ed", "abcd"),
    ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
    ("well-known --no red-fox", "well-known --no red-fox"),
]


@pytest.mark.parametrize("prompt, expected", NORMAL)
def test_prompts_are_as_they_were_meant(prompt: str, expected: str) -> None:
    """What phones and word processors do to a prompt is undone, and nothing else."""
    assert normalise(prompt) == expected


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    """What is normal stays as it is."""
    assert normalise(normalise(text)) == normalise(text)


# --- jobs --------------------------------------------------------------------------------------


def plan(prompt: str, repeat: int = 1, steps: tuple[str, ...] = ()) -> list[Job]:
    """Return the jobs of a row."""
    return list(plan_jobs(InputRow(prompt, repeat), steps))


def test_columns_are_text_that_can_be_written() -> None:
    """A column loses what no file and no database takes: halves of characters, and NUL."""
    assert parse_row({"prompt": "a", "x\0": "b\0\ud800c"}).variables == {"x": "b?c"}


def test_keys_tell_what_is_asked() -> None:
    """The same thing, however it is typed, has one key; another one has another."""
    (one,), (same,), (other,) = plan("a fox \u2014ar 1:1"), plan(" a  fox --ar 1:1"), plan("a fox")
    assert one.key == same.key != other.key
    assert len({job.key for job in plan("a fox", steps=("U1", "U1>Zoom", "U2"))}) == 4


def test_repeats_have_seeds_of_their_own() -> None:
    """Each repeat has another seed, always the same; more repeats leave the first as they were."""
    three, five = plan("a fox --repeat 3"), plan("a fox", 5)
    assert three == five[:3]
    assert len({job.prompt for job in five}) == len({job.seed for job in five}) == 5
    assert [job.seed for job in plan("a fox --seed 4294967295", 3)] == [4294967295, 0, 1]


def test_steps_follow_one_another() -> None:
    """A path is a step for each button; what paths share is there once."""
    steps, calls = expand_steps(["U1 > Upscale (Subtle)", "U1>Zoom"])
    assert (steps, calls) == (("U1", "U1>Upscale (Subtle)", "U1>Zoom"), {})
    grid, first, second, third = plan("a fox", steps=steps)
    assert (first.parent, second.parent, third.parent) == (grid.key, first.key, first.key)
    assert {job.root for job in (grid, first, second, third)} == {grid.key}


@pytest.mark.parametrize("prompt", ["a --repeat 0", "{a, }", "--repeat 2", "{"])
def test_what_cannot_be_asked_is_told(prompt: str) -> None:
    """A blank prompt, or one that is repeated not at all, is refused."""
    with pytest.raises(InvalidRequest):
        plan(prompt)


@pytest.mark.parametrize("repeat", [-1, 0, 10_001])
@pytest.mark.parametrize("given", ["a fox", {"prompt": "a fox"}], ids=["line", "row"])
def test_repeats_have_bounds(given: object, repeat: int) -> None:
    """A plain prompt cannot be repeated not at all, or without end; no more than a row can."""
    with pytest.raises(InvalidRequest, match="repeat must be a number from 1 to 10000"):
        parse_row(given, repeat=repeat)


class Frame(dict[str, Any]):
    """Stands for a data frame: iterating one gives the names of its columns."""

    columns = ("prompt",)

    def to_dict(self, orient: str) -> object:
        """The rows."""


NO_SOURCES: list[tuple[object, str]] = [
    ("prompts.txt", "add_file"),
    (Path("prompts"), "add_file"),
    (io.StringIO("# a comment\na fox\n"), "add_file"),
    (io.BytesIO(b"a fox"), "add_file"),
    (Frame(prompt=["a fox"]), "to_dict"),
    (b"a fox", "not bytes"),
    (5, "not int"),
    (None, "not NoneType"),
]


@pytest.mark.parametrize("given, said", NO_SOURCES, ids=range(len(NO_SOURCES)))
def test_what_holds_no_prompts_is_told(given: object, said: str) -> None:
    """A file's name, a file that is open and a data frame are not taken for prompts."""
    with pytest.raises(InvalidRequest, match=said):
        check_source(given)


@pytest.mark.parametrize(
    "given", ["a fox.", "a fox named b.txt", {"prompt": "a"}, ["a"], iter("a")]
)
def test_what_holds_prompts_is_taken(given: object) -> None:
    """A prompt, a row and any iterable of them."""
    check_source(given)


class NAType:
    """Stands for pandas' own, which need not be there: every comparison gives itself."""

    def __eq__(self, other: object) -> bool:
        raise TypeError(other)

    __hash__ = None  # type: ignore[assignment]


MISSING = [None, float("nan"), Decimal("nan"), NAType()]


@pytest.mark.parametrize("value", MISSING, ids=lambda value: type(value).__name__)
def test_a_missing_value_is_never_drawn(value: object) -> None:
    """What stands for no value is blank where nobody asks for it, and refused where it is used."""
    row = parse_row({"prompt": "a fox", "mood": value, "repeat": value})
    assert (row.variables, row.repeat) == ({"mood": ""}, 1)
    with pytest.raises(InvalidRequest, match="blank"):
        parse_row({"prompt": value})
    with pytest.raises(InvalidRequest, match="no value in the column 'mood'"):
        parse_row({"prompt": "a {mood} fox", "mood": value})
    with pytest.raises(InvalidRequest, match="no value in the column 'mood'"):
        [*plan_jobs(row, ("U1", "U1>Custom Zoom[{mood} --zoom 2]"))]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ["a", "b"]},
        {"prompt": True},
        {"prompt": "a", "tags": ["b"]},
        {"prompt": "a", "x": {"b": 1}},
        {"prompt": "a", "x": b"b"},
        {"prompt": "a {x}", "x": float("inf")},
    ],
    ids=str,
)
def test_what_is_neither_text_nor_number_is_refused(row: dict[str, object]) -> None:
    """A list, a mapping or bytes would be drawn as their brackets and quotes."""
    with pytest.raises(InvalidRequest, match="neither text nor a number"):
        parse_row(row)


def test_a_column_that_is_there_twice_is_told() -> None:
    """Of two columns of one name, neither is dropped in silence."""
    with pytest.raises(InvalidRequest, match="several columns called 'prompt'"):
        parse_row({"prompt": "a fox", "Prompt ": "an owl"})


class Mood(str, Enum):  # noqa: UP042 - the kind whose str() is no value
    """Text with a name."""

    CALM = "calm"


def test_values_read_as_they_were_typed() -> None:
    """Whole numbers have no point, whatever a data frame makes of a column with gaps."""
    row = parse_row(
        {"prompt": "a", "s": 250.0, "v": 6.1, "day": date(2026, 1, 2), "mood": Mood.CALM, "n": 3}
    )
    assert [*row.variables.values()] == ["250", "6.1", "2026-01-02", "calm", "3"]


@pytest.mark.parametrize("value", [2, 2.0, "2", " 2 ", "2.0", Decimal(2)], ids=repr)
def test_two_is_two(value: object) -> None:
    """A number of repeats counts, however a table holds it."""
    assert parse_row({"prompt": "a fox", "repeat": value}).repeat == 2


@pytest.mark.parametrize("value", [1.5, "two", "1e99", "nan", "inf", -2.0, False], ids=repr)
def test_no_whole_number_is_no_repeat(value: object) -> None:
    """Half a repeat, or endless ones, are refused."""
    with pytest.raises(InvalidRequest, match=r"repeat"):
        parse_row({"prompt": "a fox", "repeat": value})


@pytest.mark.parametrize("step", ["U5", "U0", "V9", "u12", "U1>V0", "Vary (Subtle)>U5"])
def test_a_button_that_no_grid_has_is_refused(step: str) -> None:
    """A number that no picture of a grid has is told before anything is paid."""
    with pytest.raises(ConfigurationError, match="no grid has a button"):
        expand_steps([step])


@pytest.mark.parametrize("step", ["U4", "v1", "U1>Upscale (5x)", "V", "Unheard Of 9", "U1>Zoom>U3"])
def test_a_button_that_may_be_there_is_planned(step: str) -> None:
    """What some model might have is left to the server."""
    assert expand_steps([step])[0]


# --- files -------------------------------------------------------------------------------------

FILES = {
    "p.txt": "\ufeff# foxes\n\na red fox\n  a blue fox \n",
    "p.csv": 'prompt,mood\na red fox,"calm, {x}"\na blue fox,\n',
    "p.tsv": "Prompt\tmood\na red fox\tcalm\n\t\na blue fox\t\n",
    "p.jsonl": '"a red fox"\n\n{"prompt": "a blue fox", "mood": null, "n": 3}\n',
    "p.yaml": "- a red fox\n- {prompt: a blue fox, mood: calm}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_is_read(tmp_path: Path, name: str) -> None:
    """Text, CSV, TSV, JSONL and YAML hold the same prompts; other columns are variables."""
    (tmp_path / name).write_text(FILES[name], "utf-8")
    rows = read_rows(tmp_path / name, repeat=2)
    assert [(row.prompt, row.repeat) for row in rows] == [("a red fox", 2), ("a blue fox", 2)]


def test_columns_go_into_a_template(tmp_path: Path) -> None:
    """Columns fill the template; `repeat` is how often; alternatives and escapes stay."""
    with (tmp_path / "p.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["animal", "repeat"], ["fox", "2"], ["owl", ""]])
    rows = read_rows(tmp_path / "p.csv", r"a {animal} in {sun, rain} \{here\}")
    assert [row.repeat for row in rows] == [2, 1]
    assert rows[0].prompt == r"a fox in {sun, rain} \{here\}"
    assert rows[0].variables == {"animal": "fox"}


MISSPELT: list[tuple[Any, str | None, str]] = [
    ({"animal": "fox", "place": "fog"}, "a {animl} in {place}", r"'animl'.*\{animal\}, \{place\}"),
    ({"prompt": "a {red fx}", "red fox": "fox"}, None, "'red fx'"),
    ("a fox", "{prompt} in {place}", "'place'"),
    ("a fox", "in snow", "no place for a prompt"),
]


@pytest.mark.parametrize("given, template, said", MISSPELT)
def test_a_misspelt_column_is_not_drawn_as_a_word(
    given: Any,  # noqa: ANN401
    template: str | None,
    said: str,
) -> None:
    """Braces that name no column of the row are refused, with those that there are."""
    with pytest.raises(InvalidRequest, match=said):
        parse_row(given, template)


def test_braces_of_a_plain_prompt_are_its_own() -> None:
    """Without columns a single alternative stands for itself, as ever."""
    assert [job.prompt for job in plan_jobs(parse_row({"prompt": "a {single} fox"}), ())] == [
        "a single fox"
    ]
    assert parse_row("a {red, blue} fox", "{prompt} in snow").prompt == "a {red, blue} fox in snow"


def test_an_answer_names_columns_that_are_there() -> None:
    """A misspelt column in the answer to a modal is told before anything is sent."""
    step = "U1>Custom Zoom[{anml} --zoom 1.8]"
    with pytest.raises(InvalidRequest, match=r"'anml'.*\{prompt\}, \{animal\}"):
        [*plan_jobs(InputRow("a fox", variables={"animal": "fox"}), ("U1", step))]


BAD = [
    ("p.jsonl", b'"a"\n{', "line 2"),
    ("p.jsonl", b"3", "line 1"),
    ("p.csv", b"animal\nfox\n", "line 2.*'animal'"),
    ("p.csv", b"prompt,mood\n ,calm\n", "line 2.*blank"),
    ("p.csv", b"prompt,mood\na,b\nfox\n", r"line 3.*as many cells as the header \(1, not 2\)"),
    ("p.tsv", b"prompt\nfox\tcalm\n", "line 2.*quotes"),
    ("p.csv", b"prompt,Prompt\na,b\n", "line 1.*several.*'prompt'"),
    ("p.csv", b"prompt,animal\na {animl},fox\n", r"line 2.*no column 'animl'.*\{animal\}"),
    ("p.csv", b"prompt,repeat\nfox,-1\n", "line 2.*repeat"),
    ("p.yaml", b"a: [", "not valid YAML"),
    ("p.yaml", b"a: b", "a list"),
    ("p.txt", b"\xff\xfa", "cannot be read"),
]


@pytest.mark.parametrize("name, text, where", BAD)
def test_a_bad_file_is_told_with_the_place(
    tmp_path: Path, name: str, text: bytes, where: str
) -> None:
    """A file that cannot be read, or a row that is none, is told with the line."""
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ConfigurationError, match=where):
        read_rows(tmp_path / name)


def test_yaml_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyYAML a YAML file is refused with what to install."""
    (tmp_path / "p.yml").write_text("- a fox")
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(ConfigurationError, match="pip install PyYAML"):
        read_rows(tmp_path / "p.yml")


# --- names -------------------------------------------------------------------------------------

HOSTILE = [
    "../../etc/passwd",
    "..\\..\\windows",
    "C:\\con.txt",
    "a" * 10_000,
    "\U0001f98a" * 5_000,
    "\u202egnp.exe\u202c",
    "\u0645\u0646\u0627\u0631\u0629 \u0641\u064a \u0639\u0627\u0635\u0641\u0629",
    "nul\x00byte",
    "NUL",
    "com1.png",
    "<script>alert(1)</script>",
    "...",
    "-rf *",
    "a\nb\r\tc",
]
TEMPLATES = [DEFAULT_NAME, "{text}.{ext}", "{text}/{slug}/{n}.{ext}", "x{text}{task_id}.{ext}"]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_prompts_give_safe_names(tmp_path: Path, text: str, template: str) -> None:
    """Whatever a prompt, a column or a server says, a name is safe everywhere and stays put."""
    (job,) = plan(normalise(text))
    job = attrs.evolve(job, task_id=text, variables={"text": text})
    check_name(tmp_path, Filenames(template).for_job(job, None, "png"))


@given(st.text(min_size=1), st.sampled_from(TEMPLATES))
def test_any_text_gives_a_safe_name(text: str, template: str) -> None:
    """The same for any text at all."""
    job = Job(key="k", number=1, prompt=text, task_id=text, step=text, variables={"text": text})
    name = Filenames(template).for_job(job, 2, text)
    assert not set(name) & set('\\:*?"<>|\0\n\r\t')
    assert all(part not in {"", ".", ".."} for part in name.split("/"))


def check_name(folder: Path, name: str) -> None:
    """See that a name works, here and on other systems."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    assert path.resolve().is_relative_to(folder.resolve())
    assert name.isprintable()
    assert not set(name) & set('\\:*?"<>|')
    for part in name.split("/"):
        assert len(part.encode()) <= 200
        assert part.split(".")[0].upper() not in {"CON", "NUL", "COM1"}
        assert not part.endswith((".", " ", "-"))


@pytest.mark.slow
def test_names_fit_the_file_system() -> None:
    """Where file names must be ASCII, what is not is left out of them."""
    code = """if True:
        from mjasync.batch import Job
        from mjasync.batch._filenames import Filenames
        names = Filenames("{text}/{slug}-{task_id}.{ext}")
        for text in ("\\u4e00 fox", "\\u4e00"):
            job = Job(key=text, number=1, prompt=text, task_id="17", variables={"text": text})
            print(ascii(names.for_job(job, None, "png")))
    """
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out = subprocess.check_output([sys.executable, "-c", code], env={**os.environ, **plain})
    assert out.split() == [b"'fox/fox-17.png'", b"'_/_-17.png'"]


def test_names_are_the_same_each_time() -> None:
    """Asked again, a file has the name it had; another job's has another, without case, too."""
    names = Filenames("{slug}.{ext}")
    one, other = plan("A Fox")[0], plan("a fox, --ar 1:1")[0]
    kept = attrs.evolve(one, files=[File(path="a-fox.png", size=1, sha256="")])
    names.reserve(kept)
    assert [names.for_job(job, None, "png") for job in (other, one, other)] == [
        f"a-fox-{other.key}.png",
        "a-fox.png",
        f"a-fox-{other.key}.png",
    ]
    assert Filenames("ledger.{ext}").for_job(one, None, "db") == "_ledger.db"


def test_a_template_is_checked() -> None:
    """A field that does not exist is told with those that do."""
    for template in ("{colour}.{ext}", "{n!x}.{ext}", "{.ext}"):
        with pytest.raises(ConfigurationError, match=r"slug|end with"):
            Filenames(template).check(plan("a fox")[0])


# --- pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["a fox", "\u4e00\u53ea\u732b \U0001f98a", "<b>\ud800"])
def test_a_png_knows_what_it_is(prompt: str) -> None:
    """A PNG gets its prompt and its task as text; its pixels stay; other formats as they are."""
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(buffer, "PNG")
    data = embed_metadata(buffer.getvalue(), {"prompt": prompt, "part": None, "n": 0, "step": ""})
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.getpixel((2, 1)) == (1, 2, 3)
        assert picture.text["Description"] == prompt.replace("\ud800", "?")
        assert json.loads(picture.text["mjasync"])["n"] == 0
        assert "step" not in picture.text["mjasync"]
    assert embed_metadata(b"RIFF", {"prompt": prompt}) == b"RIFF"


@given(st.text(st.characters()))
def test_what_a_server_says_stays_on_its_line(text: str) -> None:
    """A manifest has one line a job for every reader, can be written, and gives all text back."""
    job = Job(key="k", number=1, prompt="a fox", task_id=text, action=text, variables={"x": text})
    line = _manifest_line(job)
    assert line.encode().decode().splitlines() == [line.removesuffix("\n")]
    assert not set(line) & set("\u202e\u2066\u200b\x9b\x1b\ufeff")
    read = json.loads(line)
    assert (read["task_id"], read["action"], read["variables"]["x"]) == (text, text, text)


# --- pace --------------------------------------------------------------------------------------


def test_the_pace_halves_and_recovers() -> None:
    """A refusal halves what is allowed, once for each pause; acceptances bring it back slowly."""
    pace = AdaptiveLimit(8, RetryPolicy(initial_delay=1.0, max_delay=4.0, max_elapsed=30.0), 0.0)
    assert pace.on_refused(QueueFull("full"), 0.0)
    assert pace.on_refused(QueueFull("full"), 0.1)  # it was on the wire already
    assert (pace.allowed, pace.paused_until) == (4, 2.0)
    assert pace.on_refused(QueueFull("full", retry_after=9.0), 2.0)
    assert (pace.allowed, pace.paused_until) == (2, 11.0)
    for _ in range(3):
        pace.on_accepted()
    assert pace.allowed == 3
    for _ in range(100):
        pace.on_accepted()
    assert pace.allowed == 8
    for now in (20.0, 30.0, 40.0):
        assert pace.on_refused(QueueFull("full"), now)
    assert not pace.on_refused(QueueFull("full"), 50.0)
    pace.on_task_finished(60.0)
    assert pace.on_refused(QueueFull("full"), 60.0)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SQLAlchemy the import says what to install."""
    import mjasync.batch._ledger.tables as module

    plain_import = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        if name == "sqlalchemy":
            raise ImportError(name)
        return plain_import(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"mjasync\[batch\]"):
        importlib.reload(module)


def test_steps_with_the_prefix_of_functions() -> None:
    """A path of buttons cannot be taken for a function."""
    with pytest.raises(ConfigurationError, match="prefix of functions"):
        expand_steps(["U1>call:draw"])


def test_files_of_blanks_and_folders(tmp_path: Path) -> None:
    """Blank lines before a table are skipped; a blank table has no rows; a folder is no file."""
    table = tmp_path / "table.csv"
    table.write_text("\n ,\nprompt\na fox\n", "utf-8")
    assert [row.prompt for row in read_rows(table)] == ["a fox"]
    table.write_text(" \n\n", "utf-8")
    assert read_rows(table) == []
    (tmp_path / "blank.json").write_text("\n", "utf-8")
    with pytest.raises(ConfigurationError, match="not valid JSON"):
        read_rows(tmp_path / "blank.json")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_rows(tmp_path)


def test_a_quote_that_ends_in_a_later_cell(tmp_path: Path) -> None:
    """With tabs, a quoted text that would give another number of cells is none."""
    table = tmp_path / "table.tsv"
    table.write_text('prompt\tar\n"a fox\tx\ny"\n', "utf-8")
    with pytest.raises(ConfigurationError, match=r"line 3: .*as many cells"):
        read_rows(table)
