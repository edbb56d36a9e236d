"""What a server, a file or a program says cannot steer a terminal, and no traceback is shown."""

from __future__ import annotations

import errno
import json
import logging
import os
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mjasync import ServerError
from mjasync.cli import main
from mjasync.cli import task_text as words
from mjasync.cli.unexpected_errors import SentenceHandler, report, without_debug
from mjasync.simulator import Simulator
from support.command_line import SECRET, Outcome, Run, command, ended, on_terminal
from support.loopback import serving

pytestmark = pytest.mark.usefixtures("clean_environment")
EVIL = (
    "\x1b]0;pwned\x07\x1b[31mRED\x9b31m\u202egnp.exe\r\nFAKE LINE\x08[bold red]markup[/bold red]%s"
)
FORBIDDEN = {
    "a title": "\x1b]0;",
    "a colour": "\x1b[31mRED",
    "C1": "\x9b",
    "a bell": "\x07",
    "a line": "\nFAKE LINE",
    "a backspace": "\x08",
    "bidi": "\u202e",
}
KINDS = ("fail", "refuse", "banned", "page", "status", "modal", "all", "id", "describe")


class Hostile:
    """A server that says what steers a terminal, wherever a server may say something."""

    def __init__(self) -> None:
        self.kind = "fail"

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer anything."""
        if request.path.startswith("/mj/submit/"):
            return self._submitted()
        if request.path.endswith("/fetch"):
            return web.json_response(self._task(request.path.split("/")[-2]))
        if request.path.endswith("/list") and self.kind != "page":
            return web.json_response([])
        return web.Response(status=404)

    def _submitted(self) -> web.Response:
        if self.kind == "page":
            return web.Response(text=f"<html>{EVIL}", content_type="text/html", status=500)
        taken = {"code": 1, "description": "ok", "result": f"7{EVIL}" if self.kind == "id" else "7"}
        refusals: dict[str, dict[str, Any]] = {
            "refuse": {"code": 4, "description": EVIL},
            "banned": {"code": 24, "description": EVIL, "properties": {"bannedWord": EVIL}},
            "modal": {**taken, "code": 21, "properties": {"finalPrompt": EVIL, "remix": True}},
        }
        return web.json_response(refusals.get(self.kind, taken))

    def _task(self, task_id: str) -> dict[str, Any]:
        mine = f"7{EVIL}" if self.kind == "id" else task_id
        task = {"id": mine, "action": "IMAGINE", "status": "SUCCESS", "progress": "100%"}
        button = {"customId": EVIL, "label": EVIL, "emoji": EVIL}
        odd: dict[str, dict[str, Any]] = {
            "fail": {"status": "FAILURE", "failReason": EVIL},
            "status": {"status": EVIL},
            "all": {
                **dict.fromkeys(("action", "prompt", "promptEn", "mode"), EVIL),
                "imageUrl": f"http://127.0.0.1:9/x.png?{EVIL}",
                "buttons": [button],
                "properties": {"finalPrompt": EVIL},
            },
            "describe": {"action": "DESCRIBE", "properties": {"finalPrompt": f"1️⃣ {EVIL}"}},
        }
        return task | odd.get(self.kind, {})


@pytest.fixture
async def hostile(quick_clients: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hostile]:
    """One of them; the environment names it."""
    server = Hostile()
    async with serving(server.answer) as url:
        monkeypatch.setenv("MJASYNC_BASE_URL", url)
        monkeypatch.setenv("MJASYNC_TOKEN", SECRET)
        yield server


def check(said: str) -> None:
    """See that nothing in it steers, and that it is no traceback."""
    assert said
    steering = [name for name, text in FORBIDDEN.items() if text in said.replace("\r\n", "\n")]
    assert not steering
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flags", [(), ("--json",)])
async def test_what_a_server_says(
    hostile: Hostile, cli: Run, kind: str, flags: tuple[str, ...]
) -> None:
    """In a pipe, in whatever way a task ends."""
    hostile.kind = kind
    endless = kind in {"status", "id"}  # a task that never ends, or is long looked for
    patience = ("--timeout", "0.1") if endless else ()
    outcome = await cli("imagine", "a fox", *patience, *flags)
    check(outcome.out + outcome.err)
    if kind == "all":
        assert "\\x1b]0;pwned" in outcome.out or "\\u001b]0;pwned" in outcome.out
        assert "[bold red]markup" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fail", "all"])
async def test_what_a_server_says_on_a_terminal(hostile: Hostile, kind: str) -> None:
    """With bars, too, and markup is text."""
    hostile.kind = kind
    _, said = await on_terminal("imagine", "a fox", columns=400)
    assert "\x1b]0;" not in said
    assert "\x1b[31mRED" not in said
    assert not {"\x9b", "\x07", "\x08", "\u202e"} & set(said)
    assert "[bold red]markup[/bold red]" in said


@pytest.mark.parametrize("kind", ["fail", "refuse", "all"])
async def test_what_a_batch_says(hostile: Hostile, cli: Run, kind: str) -> None:
    """A batch, what it says of itself later, and prompts out of a file."""
    hostile.kind = kind
    Path("p.txt").write_text("fox \x1b[31mRED \u202ex\nan owl\n", "utf-8")
    line = ("batch", "p.txt", "--out", "out", "--no-gallery")
    said: list[Outcome] = [
        await cli(*line, "--dry-run"),
        await cli(*line),
        await cli("batch", "status", "out"),
        await cli("batch", "status", "out", "--json"),
    ]
    check("".join(outcome.out + outcome.err for outcome in said))


def test_commands_to_copy_reach_what_they_name() -> None:
    """Words that cannot be shown are escapes which a shell reads back."""
    assert words.command("watch", "7", "a b") == "mjasync watch 7 'a b'"
    assert words.command("watch", "7\x1b'\\") == "mjasync watch $'7\\x1b\\'\\\\'"
    assert words.command("watch", "\u202e") == "mjasync watch $'\\u202e'"


def test_json_is_ascii_and_without_controls() -> None:
    """A terminal shows JSON, and does not obey it; reading it gives the same back."""
    record = {"prompt": f"{EVIL}\x7f 狐"}
    line = words.json_line(record)
    assert line.isascii()
    assert not any(unicodedata.category(char) == "Cc" for char in line)
    assert json.loads(line) == record


def test_logged_lines_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What is logged is one line that steers nothing; a traceback is for --debug."""
    error = ServerError(EVIL)
    record = logging.LogRecord("x", 40, "x", 1, "told %s", (EVIL,), (type(error), error, None))
    SentenceHandler(debug=False).emit(record)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    SentenceHandler(debug=True).emit(record)
    said += capsys.readouterr().err
    assert "ServerError" in said
    assert not any(unicodedata.category(char) in {"Cc", "Cf"} for char in said.replace("\n", ""))


# --- unexpected errors --------------------------------------------------------------------------


class Surprise(Exception):
    """Something that no command expects."""


def surprised(*_: object, **__: object) -> None:
    """Fail unexpectedly, with a secret."""
    message = f"no {SECRET}"
    raise Surprise(message)


LINES = (
    ("imagine", "a fox", "--base-url", "http://127.0.0.1:9"),
    ("doctor", "--base-url", "http://127.0.0.1:9"),
    ("batch", "p.txt", "--out", "out", "--base-url", "http://127.0.0.1:9"),
    ("simulate", "--port", "0"),
)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_nothing_unexpected_is_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...]
) -> None:
    """It is a sentence that says how to report it; --debug adds where, without secrets."""
    Path("p.txt").write_text("a fox\n")
    monkeypatch.setenv("MJASYNC_TOKEN", SECRET)
    monkeypatch.setattr("mjasync._client.Client.__init__", surprised)
    monkeypatch.setattr("mjasync.cli.simulate.Simulator", surprised)
    outcome = run(*line)
    assert (outcome.code, outcome.out) == (1, "")
    assert "Traceback" not in outcome.err
    assert "Surprise: no ***" in outcome.err
    assert "--debug" in outcome.err
    outcome = run(*line, "--debug")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert SECRET not in outcome.err


def test_output_whose_reader_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be printed, the exit code still tells."""

    class Gone:
        """A terminal that has gone away."""

        encoding = "utf-8"

        def write(self, *_: object) -> int:
            """Fail."""
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def isatty(self) -> bool:
            """Be none any more."""
            return False

        flush = fileno = write

    monkeypatch.setattr("sys.stderr", Gone())
    assert main(["imagine"]) == 2
    assert main(["batch", "status", "nowhere"]) == 2


def test_secrets_of_a_command_line_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens and passwords are taken out of whatever an unexpected error says."""
    line = ["--token", "sk-a", "--ledger=postgresql://me:p%40ss@host/x", "--token=sk-b"]
    report(Surprise("sk-a p@ss p%40ss sk-b"), line, debug=True)
    said = capsys.readouterr().err
    assert not any(secret in said for secret in ("sk-a", "sk-b", "p@ss", "p%40ss"))


def test_debug_is_taken_out_of_a_command_line() -> None:
    """It may stand anywhere among the options, and is a prompt behind `--`."""
    assert without_debug(["imagine", "--debug", "x"]) == (["imagine", "x"], True)
    assert without_debug(["imagine", "--", "--debug"]) == (["imagine", "--", "--debug"], False)
    assert without_debug([]) == ([], False)


# --- ledgers and prompts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hidden@host:99999/x",
        "postgresql://me:hidden@host:port/x",
        "postgresql://me:hidden@[::1/x",
        "postgresql://me:hidden@127.0.0.1:9/x?sslmode=require",
        "postgresql://me:hidden@127.0.0.1:9/x?surprise=1",
        "mysql://me:hidden@host/x",
        "sqlite:///x.db?surprise=1",
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        ("batch", "p.txt", "--out", "out", "--base-url", "http://127.0.0.1:9"),
        ("batch", "p.txt", "--out", "out", "--dry-run"),
        ("batch", "status", "out"),
        ("gallery", "out"),
    ],
    ids=["run", "dry run", "status", "gallery"],
)
def test_ledgers_that_cannot_be(run: Run, line: tuple[str, ...], url: str) -> None:
    """A sentence, and the exit code of a wrong call; no password."""
    Path("p.txt").write_text("a fox\n")
    outcome = run(*line, "--ledger", url)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "hidden" not in outcome.err


def test_the_command_to_go_on_is_its_owners(run: Run) -> None:
    """What is noted in the folder is readable for its owner only, and follows no link."""
    Path("p.txt").write_text("a fox\n")
    Path("victim").write_text("keep")
    Path("out").mkdir()
    Path("out/.command").symlink_to(Path("victim").resolve())
    assert run("batch", "p.txt", "--out", "out", "--simulate", "--no-gallery").code == 0
    assert Path("victim").read_text() == "keep"
    assert Path("out/.command").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("prompt", ["--ar 16:9 a fox", "-a fox", "-fox", "--ar=3:2 a fox"])
@pytest.mark.parametrize("name", ["imagine", "shorten"])
def test_prompts_that_begin_with_a_dash(run: Run, name: str, prompt: str) -> None:
    """They are taken for options; how to write them is said, and works."""
    outcome = run(name, prompt, "--simulate")
    assert outcome.code == 2
    assert f"mjasync {name} -- " in outcome.err
    assert "quotes" not in outcome.err
    assert run(name, "--simulate", "--", prompt).code == 0


def test_option_values_that_begin_with_a_dash(run: Run) -> None:
    """They are joined to their option, which is said."""
    outcome = run("modal", "7", "--prompt", "--zoom 2", "--simulate")
    assert outcome.code == 2
    assert "--prompt='--zoom 2'" in outcome.err


async def test_a_modal_that_is_not_open(server: object, cli: Run) -> None:
    """The modal of a finished task is not said to run; how to get the picture is."""
    grid = (await cli("imagine", "a fox", "--json")).record
    outcome = await cli("modal", grid["id"], "--prompt", "an owl")
    assert outcome.code == 1
    assert "runs and is paid" not in outcome.err
    assert "finished and asks for nothing" in outcome.err
    assert f"mjasync watch {grid['id']} --save PATH" in outcome.err


@pytest.mark.slow
async def test_arguments_of_a_process(hostile: Hostile) -> None:
    """The real command says nothing else."""
    hostile.kind = "fail"
    async with command("imagine", "a fox") as process:
        outcome = await ended(process)
    assert outcome.code == 1
    check(outcome.err)


@pytest.mark.parametrize(
    "token, auth, advice",
    [
        ("", "secret", "No token is set: set MJASYNC_TOKEN, or pass --token."),
        ("bad", "secret", "Check MJASYNC_TOKEN (or --token); some gateways require --auth bearer."),
        ("bad", "bearer", "Check MJASYNC_TOKEN (or --token); most servers require --auth secret"),
    ],
)
async def test_advice_about_tokens_is_right(
    server: Simulator, cli: Run, *, token: str, auth: str, advice: str
) -> None:
    """It is about the token that was sent and the way it was sent, in options."""
    os.environ["MJASYNC_TOKEN"] = token  # which the fixture of the server puts back
    outcome = await cli("imagine", "a fox", "--auth", auth)
    assert advice in outcome.err
    outcome = await cli("doctor", "--auth", auth)
    assert outcome.code == 1
    assert ("No token is set" in outcome.err) is (not token)
    assert "--auth" not in outcome.err
    assert server.submissions == []


async def test_speeds_can_be_asked_for_by_prompt(server: Simulator, cli: Run) -> None:
    """--speed-via is there, because doctor and errors recommend it."""
    await cli("imagine", "a fox", "--speed", "turbo", "--speed-via", "prompt")
    assert server.submissions[0].prompt == "a fox --turbo"
    assert server.requests[0].path == "/mj/submit/imagine"
