"""What loads when: nothing before it is needed, and an interrupt meanwhile is no accident."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import mjasync
from support.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
OPTIONAL = {"PIL", "sqlalchemy", "aiosqlite", "rich", "cyclopts", "yaml"}
OURS = {"mjasync.simulator", "mjasync.batch", "mjasync.cli"}
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


@pytest.mark.slow
def test_all_names_load_nothing_optional() -> None:
    """The whole library is there without any extra, its simulator, its batches and its commands."""
    loaded = loaded_by("from mjasync import *")
    assert {"mjasync._client", "aiohttp"} <= loaded
    assert not loaded & (OPTIONAL | OURS)


def test_every_public_name_is_imported() -> None:
    """`__all__` lists what the package imports, no more and no less."""
    tree = ast.parse(Path(mjasync.__file__).read_text("utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    assert sorted(name.name for node in imports for name in node.names) == sorted(
        [*mjasync.__all__, "errors", "prompt"]
    )


@pytest.mark.slow
def test_errors_unpickle_first() -> None:
    """An error is unpickled by a process that has not loaded anything of the library."""
    error = pickle.dumps(mjasync.TaskNotFound("gone", task_id="1"))
    outcome = python("-c", f"import pickle; print(pickle.loads({error!r}).task_id)")
    assert (outcome.stdout, outcome.stderr) == ("1\n", "")


@pytest.mark.parametrize("module", ["cyclopts", "rich", "mjasync.simulator"])
@pytest.mark.slow
def test_interrupted_while_loading(module: str) -> None:
    """Ctrl-C while modules load ends the command with 130 and not a word."""
    outcome = python("-c", INTERRUPTED.format(module=module))
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (130, "", "")


@pytest.mark.slow
def test_interrupted_while_a_class_is_made() -> None:
    """Ctrl-C is Ctrl-C where Python 3.11 makes another error of it."""
    outcome = python("-c", INSIDE_A_CLASS)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (130, "", "")
