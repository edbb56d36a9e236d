"""What loads when: nothing before it is needed, and an interrupt meanwhile is no accident."""

from __future__ import annotations

import ast
import os
import pickle
import pty
import subprocess
import sys
import termios
import tomllib
from pathlib import Path

import help_text
import pytest
from conftest import PATIENCE

import mjasync
from mjasync.cli import _help, main

ROOT = Path(__file__).parent.parent
OPTIONAL = {"PIL", "sqlalchemy", "aiosqlite", "rich", "cyclopts", "yaml"}
OURS = {"mjasync.simulator", "mjasync.batch", "mjasync.cli"}
COMMANDS = [name for name in help_text.app if not name.startswith("-")]
INTERRUPTED = """
import signal, sys
from mjasync.cli import main

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.exit(main(["shorten", "a fox", "--simulate"]))
"""
INSIDE_A_CLASS = """
import sys
from mjasync.cli import main

class Interrupted:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt

class Loading:
    def find_spec(self, name, path=None, target=None):
        type("Made", (), {"it": Interrupted()})

sys.meta_path.insert(0, Loading())
sys.exit(main(["shorten", "a fox"]))
"""


@pytest.fixture(autouse=True)
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that asks for no special look; xdist sets COLUMNS."""
    for name in _help._DECIDES:
        monkeypatch.delenv(name, raising=False)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter of its own, that nothing has been imported into."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("COV")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
        env=env | {"PYTHONUTF8": "1"},
    )


def loaded_by(code: str) -> set[str]:
    """What an interpreter has loaded after some code, beyond what it has anyway."""
    report = "import sys; before = {{*sys.modules}}; {}; print(*({{*sys.modules}} - before))"
    return set(python("-c", report.format(code)).stdout.splitlines()[-1].split())


def test_import_loads_nothing() -> None:
    """`import mjasync` by itself loads no other package and none of its own rooms."""
    loaded = loaded_by("import mjasync")
    assert "mjasync" in loaded
    assert not {name for name in loaded if name.startswith("mjasync.")}
    assert not loaded & {"aiohttp", "asyncio", "attr", "cattrs", "orjson", "typing", *OPTIONAL}


def test_all_names_load_nothing_optional() -> None:
    """The whole library is there without any extra, its simulator, its batches and its commands."""
    loaded = loaded_by("from mjasync import *")
    assert {"mjasync._client", "aiohttp"} <= loaded
    assert not loaded & (OPTIONAL | OURS)


def test_every_name_loads() -> None:
    """Every name of `__all__` is found where type checkers are told it is."""
    (told,) = (
        node
        for node in ast.parse(Path(mjasync.__file__).read_text("utf-8")).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    imports = [node for node in told.body if isinstance(node, ast.ImportFrom) and node.module]
    homes = {alias.name: node.module for node in imports for alias in node.names}
    assert sorted(homes) == sorted(mjasync.__all__)
    for name, home in homes.items():
        vars(mjasync).pop(name, None)
        assert getattr(mjasync, name) is getattr(sys.modules[f"mjasync.{home}"], name)
        assert mjasync._ROOM_OF.get(name, "errors") == home
    assert {"errors", "prompt", *mjasync.__all__} <= {*dir(mjasync)}
    assert mjasync.prompt.__name__ == "mjasync.prompt"


def test_no_other_name() -> None:
    """A name there is not is an AttributeError that says so, as of any module."""
    with pytest.raises(AttributeError, match="module 'mjasync' has no attribute 'Cleint'"):
        mjasync.Cleint  # type: ignore[attr-defined]  # noqa: B018


def test_errors_unpickle_first() -> None:
    """An error is unpickled by a process that has not loaded anything of the library."""
    error = pickle.dumps(mjasync.TaskNotFound("gone", task_id="1"))
    outcome = python("-c", f"import pickle; print(pickle.loads({error!r}).task_id)")
    assert (outcome.stdout, outcome.stderr) == ("1\n", "")


def test_stored_help_is_what_the_app_says() -> None:
    """What is stored is what the app says now; if not, `nox -s help` writes it again."""
    assert help_text.STORED.read_text("utf-8") == help_text.asked(), "run: nox -s help"


def test_stored_version_is_of_this_project() -> None:
    """The stored version is that of pyproject.toml; if not, `nox -s help` writes it again."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert _help._read()["--version"] == f"{project['version']}\n", "run: nox -s help"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_stored_help_looks_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Through a pipe, the stored help and that of the app are the same to the last space."""
    outputs = []
    for words in ([command, "--help"], [command, "-h"]):
        assert main([word for word in words if word]) == 0
        outputs.append(capsys.readouterr().out)
    monkeypatch.setenv("COLUMNS", str(_help.WIDTH))
    assert main([word for word in (command, "--help") if word]) == 0
    outputs.append(capsys.readouterr().out)
    assert outputs[0]
    assert outputs == outputs[:1] * 3


@pytest.mark.parametrize("words", [["--help"], [], ["-h"], ["--version"], ["imagine", "--help"]])
def test_help_loads_no_parser(words: list[str]) -> None:
    """Help and version load neither the parser nor the library."""
    loaded = loaded_by(f"import mjasync.cli; mjasync.cli.main({words})")
    assert "mjasync.cli._help" in loaded
    assert not loaded & {"cyclopts", "rich", "aiohttp", "typing", "importlib.metadata"}


@pytest.mark.parametrize(
    "words", [["fly", "--help"], ["--help", "imagine"], ["imagine", "--version"], ["imagine"]]
)
def test_other_words_ask_the_app(words: list[str]) -> None:
    """What is not stored is left to the app."""
    assert _help.stored(words) is None


@pytest.mark.parametrize(
    "columns,term,answered,colored",
    [
        (80, "xterm", True, True),
        (200, "xterm-256color", True, True),
        (79, "xterm", False, False),
        (80, "dumb", False, False),
    ],
)
def test_stored_help_on_terminals(
    monkeypatch: pytest.MonkeyPatch, columns: int, term: str, answered: bool, colored: bool
) -> None:
    """A terminal that is wide enough gets the stored help in colour; another one the app's own."""
    monkeypatch.setenv("TERM", term)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with os.fdopen(ours, "rb", buffering=0), os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        text = _help.stored(["--help"])
    assert (text is not None, "\x1b[36m" in (text or "")) == (answered, colored)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", None])
def test_stored_help_needs_its_characters(
    monkeypatch: pytest.MonkeyPatch, encoding: str | None
) -> None:
    """A stdout that cannot show the frames gets what the app makes for it."""

    class Narrow:
        def __init__(self) -> None:
            self.encoding = encoding

    monkeypatch.setattr("sys.stdout", Narrow())
    assert _help.stored(["--help"]) is None


def test_help_without_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package has no files, as inside an archive, the app is asked."""
    monkeypatch.setattr(_help, "__file__", "/nowhere/_help.py")
    assert _help.stored(["--help"]) is None


@pytest.mark.parametrize(
    "module", ["cyclopts", "rich", "mjasync._client", "aiohttp", "mjasync.simulator"]
)
def test_interrupted_while_loading(module: str) -> None:
    """Ctrl-C while modules load ends the command with 130 and not a word."""
    outcome = python("-c", INTERRUPTED.format(module=module))
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (130, "", "")


def test_interrupted_while_a_class_is_made() -> None:
    """Ctrl-C is Ctrl-C where Python 3.11 makes another error of it."""
    outcome = python("-c", INSIDE_A_CLASS)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (130, "", "")
