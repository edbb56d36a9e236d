"""The command line: as people type it, as scripts read it, and as it is interrupted."""

from __future__ import annotations

import asyncio
import errno
import importlib
import io
import json
import os
import re
import signal
import socket
import sys
import unicodedata
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import mjasync
from mjasync import (
    Client,
    MJError,
    SubmitUncertain,
    TaskFailed,
    TaskInfo,
    TaskPhase,
    TaskStalled,
    TaskStatus,
)
from mjasync.cli import main
from mjasync.cli import task_text as words
from mjasync.cli.app import app
from mjasync.cli.task_jobs import TaskRun, resolve_in_flight
from mjasync.errors import QueueFull, ServerError, TooManyOpenFiles
from mjasync.simulator import Simulator
from support import pictures
from support.clients import connect
from support.command_line import SECRET, Outcome, Run, command, ended, shown_on, size_of, terminal
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("clean_environment")
COMMANDS = (
    *("imagine", "blend", "describe", "shorten", "action", "modal", "watch", "batch"),
    *("gallery", "doctor", "simulate"),
)
SERVERLESS = ("gallery", "simulate")


def picture(name: str = "cat.png", size: tuple[int, int] = (64, 48)) -> Path:
    """Draw a small picture."""
    path = Path(name)
    Image.new("RGB", size, "orange").save(path)
    return path


def mask(name: str = "mask.png") -> Path:
    """Draw a mask: black, white where to repaint."""
    path = Path(name)
    path.write_bytes(pictures.mask())
    return path


# --- where the server is -----------------------------------------------------------------------


def test_no_server_names_both_ways_out(run: Run) -> None:
    """Without a server, the error names the option, the variable and the simulator."""
    outcome = run("imagine", "a fox")
    assert (outcome.code, outcome.out) == (2, "")
    assert all(way in outcome.err for way in ("--base-url", "MJASYNC_BASE_URL", "--simulate"))


def test_server_and_simulator_exclude_each_other(run: Run) -> None:
    """Naming a server and asking for the simulator is a mistake to point out."""
    outcome = run("imagine", "a fox", "--simulate", "--base-url", "http://127.0.0.1:9")
    assert outcome.code == 2
    assert "--base-url, or --simulate" in outcome.err


def test_simulator_wins_over_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--simulate uses the simulator, whatever server and token the environment names."""
    monkeypatch.setenv("MJASYNC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MJASYNC_TOKEN", SECRET)
    assert run("shorten", "a very red fox", "--simulate").code == 0


def test_simulator_needs_pillow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow, the simulator says what to install instead of drawing nothing."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    outcome = run("imagine", "a fox", "--simulate")
    assert outcome.code == 2
    assert "mjasync[sim]" in outcome.err


@pytest.mark.parametrize("missing", ["cyclopts", "rich.console"])
def test_missing_extra_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Without cyclopts or rich, the command says how to install them."""
    for name in ("mjasync.cli.app", "mjasync.cli.task_display", "mjasync.cli.run_tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)  # type: ignore[arg-type]
    outcome = run("imagine", "a fox", "--simulate")
    assert outcome.code == 2
    assert 'python -m pip install "mjasync[cli]"' in outcome.err


def test_other_missing_modules_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is missing for another reason is named, and not blamed on the extra."""
    monkeypatch.delitem(sys.modules, "mjasync.cli.app", raising=False)
    monkeypatch.setitem(sys.modules, "mjasync.cli.server_options", None)  # type: ignore[arg-type]
    outcome = run("shorten", "a fox")
    assert outcome.code == 1
    assert "mjasync.cli.server_options" in outcome.err
    assert "mjasync[cli]" not in outcome.err


async def test_options_reach_the_server(server: Simulator, cli: Run) -> None:
    """Speed, image host and auth given as options are those of the requests."""
    options = ("--speed", "turbo", "--image-host", "proxy", "--auth", "bearer", "--timeout", "20")
    await cli("shorten", "a very red fox", *options)
    submitted = server.requests[0]
    assert submitted.path.startswith("/mj-turbo-proxy/mj/")
    assert submitted.headers["Authorization"] == f"Bearer {SECRET}"


# --- how it is called --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(run: Run, command: str) -> None:
    """Every command explains itself on stdout, and help is no failure."""
    outcome = run(*filter(None, [command]), "--help")
    assert (outcome.code, outcome.err) == (0, "")
    expected = (
        COMMANDS if not command else () if command in SERVERLESS else ("--base-url", "--token")
    )
    assert all(word in outcome.out for word in expected)


def test_help_prefers_the_environment_for_tokens(run: Run) -> None:
    """The help of --token says that a command line can be read by others."""
    text = " ".join(run("imagine", "--help").out.replace("│", " ").split())
    assert "Prefer the environment" in text
    assert "MJASYNC_TOKEN" in text


def test_version(run: Run) -> None:
    """--version prints the version and nothing else."""
    from importlib.metadata import version

    assert run("--version") == Outcome(0, f"{version('mjasync')}\n", "")


@pytest.mark.parametrize(
    "line,said",
    [
        ("nope", "nope"),
        ("imagine", "PROMPT"),
        ("imagine a red fox --simulate", "quotes"),
        ("imagine fox --ar 16:9", "quotes"),
        ("imagine fox --simulatee", "--simulate"),
        ("imagine fox --simulate --timeout 0", "--timeout"),
        ("imagine fox --simulate --speed warp", "speed must be"),
        ("imagine fox --simulate --image nowhere.png", "nowhere.png"),
        ("imagine fox --simulate --save {nope}.png", "{nope}.png"),
        ("imagine fox --base-url nonsense:// --token t", "nonsense"),
        ("blend one.png --simulate", "one.png"),
        ("describe nowhere.png --simulate", "nowhere.png"),
        ("modal 1 --mask nowhere.png --simulate", "nowhere.png"),
        ("watch --simulate", "id"),
        ("watch 1 2 --simulate --save one.png", "folder"),
        ("batch nowhere.txt --simulate --out renders", "nowhere.txt"),
        ("batch - --simulate --out renders --limit 0", "--limit"),
        ("batch - --simulate", "--out"),
        ("simulate --dialect klingon", "klingon"),
        ("simulate --port 99999", "65535"),
    ],
)
def test_usage_errors(run: Run, line: str, said: str) -> None:
    """A command line that cannot work ends with 2, says why on stderr, and leaves stdout alone."""
    outcome = run(*line.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_mistakes_the_client_finds_are_usage_too(run: Run, output: tuple[str, ...]) -> None:
    """A blank prompt, or a blend of one picture, is refused before anything is sent."""
    cat = picture()
    for line in (("imagine", " "), ("blend", cat)):
        outcome = run(*line, "--simulate", *output)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("mjasync: ")


def test_values_of_unknown_options_are_not_repeated(run: Run) -> None:
    """A token given to a misspelt option does not show up in the error."""
    outcome = run("imagine", "a fox", f"--tokne={SECRET}")
    assert outcome.code == 2
    assert "--tokne" in outcome.err


# --- one task ----------------------------------------------------------------------------------


def test_imagine_on_the_simulator_saves_a_real_picture(run: Run) -> None:
    """The command waits, shows id, link, buttons and file; the file is a picture of that shape."""
    outcome = run("imagine", "a [red] fox :smile: --ar 16:9", "--simulate", "--save", "out/fox")
    assert outcome.code == 0
    width, height = size_of("out/fox.png")
    assert width > height
    assert "a [red] fox :smile: --ar 16:9" in outcome.out
    assert re.search(r"done +\d{16} +IMAGINE", outcome.out)
    for row in ("link     http://127.0.0.1:", "buttons  U1 · U2", "saved    out/fox.png"):
        assert row in outcome.out


def test_imagine_on_the_simulator_says_that_links_die(run: Run) -> None:
    """Without --save, the picture of a simulator ends with the process, and that is said."""
    outcome = run("imagine", "a fox", "--simulate")
    assert outcome.code == 0
    assert "--save PATH" in outcome.out


async def test_imagine_names_the_next_command(server: Simulator, cli: Run) -> None:
    """With a server, the result ends with a command that presses its first button."""
    outcome = await cli("imagine", "a fox")
    assert outcome.code == 0
    assert f"next     mjasync action {server.submissions[0].task_id} U1" in outcome.out


async def test_progress_is_told_in_plain_lines(server: Simulator, cli: Run) -> None:
    """Into a pipe, each state is one plain line on stderr, without escape sequences."""
    outcome = await cli("imagine", "a fox")
    steps = outcome.err.splitlines()
    assert steps[-1] == f"{server.submissions[0].task_id}  done"
    assert len(set(steps)) == len(steps)
    assert "\x1b" not in outcome.out + outcome.err


async def test_imagine_sends_reference_pictures(server: Simulator, cli: Run) -> None:
    """--image may be repeated; the pictures are sent in order."""
    cat, dog = picture("cat.png"), picture("dog.png", (10, 10))
    assert (await cli("imagine", "a fox", "--image", cat, "--image", dog)).code == 0
    first, second = server.submissions[0].body["base64Array"]
    assert first != second
    assert first.startswith("data:image/png;base64,")


async def test_a_prompt_is_sent_as_it_was_meant(server: Simulator, cli: Run) -> None:
    """What an input method and a chat make of a prompt is undone, as in batches."""
    assert (await cli("imagine", "/imagine prompt: a fox \u2014AR 16\uff1a9")).code == 0
    assert server.submissions[-1].prompt == "a fox --ar 16:9"


async def test_blend_describe_and_shorten(server: Simulator, cli: Run) -> None:
    """The other three submissions work; words are shown one a line, with their buttons."""
    cat, dog = picture("cat.png"), picture("dog.png")
    blended = await cli("blend", cat, dog, "--dimensions", "LANDSCAPE", "--save", "both.png")
    assert blended.code == 0
    width, height = size_of("both.png")
    assert width > height
    described = await cli("describe", cat)
    assert re.search(r"^  4 +\S", described.out, re.MULTILINE)
    assert "imagine 1" in described.out
    shortened = await cli("shorten", "a very long and winding prompt about a fox", "--json")
    assert shortened.record["prompts"]
    assert shortened.record["text"]
    assert [s.endpoint for s in server.submissions] == ["blend", "describe", "shorten"]


async def test_action_and_modal(server: Simulator, cli: Run) -> None:
    """A button is pressed; one that opens a modal names the command that answers it."""
    grid = (await cli("imagine", "a fox", "--json")).record["id"]
    big = (await cli("action", grid, "U2", "--json", "--save", "big.png")).record
    assert big["action"] == "UPSCALE"
    assert size_of(big["file"]) == size_of("big.png")

    asked = await cli("action", big["id"], "Custom Zoom")
    assert asked.code == 1
    (modal_id,) = set(re.findall(r"mjasync modal (\d+) --prompt", asked.err))
    assert asked.err.splitlines()[-1].startswith("  proposed ")
    answered = await cli("modal", modal_id, "--prompt", "a fox --zoom 1.8", "--save", "zoom")
    assert answered.code == 0
    assert size_of("zoom.png")
    assert server.submissions[-1].body["prompt"] == "a fox --zoom 1.8"

    region = (await cli("action", big["id"], "Vary (Region)", "--json")).record
    assert (region["ok"], region["status"]) == (False, "MODAL")
    assert region["error"]["type"] == "ModalRequired"
    repainted = await cli("modal", region["id"], "--prompt", "a door", "--mask", mask(), "--json")
    assert repainted.record["ok"]
    again = await cli("watch", "--answered", region["id"], "--json")
    assert again.record["image_url"]


async def test_server_without_buttons(original: Simulator, cli: Run, quick_clients: None) -> None:
    """On the original server the buttons of a grid are shown, and can be pressed, all the same."""
    flags = ("--base-url", original.url, "--token", original.token)
    grid = (await cli("imagine", "a fox", "--json", *flags)).record
    assert [button["label"] for button in grid["buttons"][:4]] == ["U1", "U2", "U3", "U4"]
    assert (await cli("action", grid["id"], "U2", "--save", "big.png", *flags)).code == 0
    assert size_of("big.png")


async def test_watch_waits_for_many(server: Simulator, cli: Run) -> None:
    """It sends nothing, waits for each id once, and saves every picture under its own name."""
    async with connect(server) as client:
        tasks = [await client.imagine(f"fox {n}").submit() for n in range(3)]
    ids = [task.id for task in tasks]
    outcome = await cli("watch", *ids, ids[0], "--save", "out/")
    assert outcome.code == 0
    assert sorted(Path("out").iterdir()) == sorted(Path(f"out/{name}.png") for name in ids)
    assert len(server.submissions) == 3


async def test_watch_leaves_words_unsaved(server: Simulator, cli: Run) -> None:
    """A task whose result is words is shown, and --save does not make it fail."""
    async with connect(server) as client:
        task = await client.shorten("a very red fox").submit()
    record = (await cli("watch", task.id, "--save", "{id}.{ext}", "--json")).record
    assert (record["ok"], record["file"]) == (True, None)


async def test_unknown_ids_and_buttons_fail(server: Simulator, cli: Run) -> None:
    """What the server does not have is a failure that says so; the id stays visible."""
    assert (await cli("watch", "12345")).code == 1
    grid = (await cli("imagine", "a fox", "--json")).record["id"]
    outcome = await cli("action", grid, "U9")
    assert outcome.code == 1
    assert "no button 'U9'" in outcome.err
    assert grid in outcome.err


async def test_server_that_is_down(cli: Run, server: Simulator) -> None:
    """A server that cannot be reached is a failure, explained in one line."""
    await server.stop()
    outcome = await cli("imagine", "a fox")
    assert (outcome.code, outcome.out) == (1, "")
    notices, failed, _ = outcome.err.rpartition("failed  a fox\n")
    assert failed
    for notice in notices.splitlines():  # there is one if the retries take that long
        assert notice.startswith(f"No connection to {server.url}")


async def test_wait_that_takes_too_long(server: Simulator, cli: Run) -> None:
    """After --timeout the job goes on, and the command that goes on with it is named."""
    server.fault("stall", at=31)
    outcome = await cli("imagine", "a fox", "--timeout", "0.5", "--base-url", server.url)
    assert outcome.code == 1
    resume = f"mjasync watch --base-url {server.url} {server.submissions[0].task_id}"
    assert resume in outcome.err


async def test_answer_that_comes_after_the_wait(server: Simulator, cli: Run) -> None:
    """An id that comes after --timeout is up is not lost: it is said before the command ends."""
    server.fault("slow_body", gap=0.005)
    outcome = await cli("imagine", "a fox", "--timeout", "0.3")
    assert outcome.code == 1
    assert f"  mjasync watch {server.submissions[0].task_id}" in outcome.err


async def test_uncertain_submission_names_its_mark(server: Simulator, cli: Run) -> None:
    """A submission that nobody can vouch for shows the state to look for."""
    server.fault("reset_after")
    server.fault("reply", on="list", times=None, status=404)
    outcome = await cli("imagine", "a fox", "--json")
    assert outcome.code == 1
    error = outcome.record["error"]
    assert error["type"] == "SubmitUncertain"
    assert error["state"] == server.submissions[0].state
    assert error["state"] in outcome.err
    assert len(server.submissions) == 1


async def test_lost_answer_is_found_again(server: Simulator, cli: Run) -> None:
    """A submission whose answer was lost is found in the list of the server, and waited for."""
    server.fault("reset_after")
    outcome = await cli("imagine", "a fox", "--json")
    assert outcome.record["id"] == server.submissions[0].task_id
    assert len(server.submissions) == 1


# --- for machines ------------------------------------------------------------------------------


async def test_json_has_every_key_every_time(server: Simulator, cli: Run) -> None:
    """Whatever becomes of a task, its JSON is one line with the same keys."""
    good = (await cli("imagine", "a fox", "--json", "--save", "fox.png")).record
    server.fault("fail", reason="Internal Server Error")
    failed = (await cli("imagine", "a fox", "--json")).record
    refused = (await cli("imagine", "gore", "--json")).record
    assert good.keys() == failed.keys() == refused.keys()
    assert (good["ok"], good["status"], good["file"]) == (True, "SUCCESS", "fox.png")
    assert good["buttons"][0]["label"] == "U1"
    assert (failed["ok"], failed["status"], bool(failed["id"])) == (False, "FAILURE", True)
    assert failed["error"]["reason"] == "Internal Server Error"
    assert (refused["id"], refused["prompt"]) == (None, "gore")
    assert refused["error"]["type"] == "BannedPrompt"


def test_output_outlives_a_poor_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that stdout cannot encode are replaced; the picture is saved all the same."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    assert main(["imagine", "一只橘猫", "--simulate", "--save", "cat.png"]) == 0
    assert size_of("cat.png")
    assert b"saved    cat.png" in raw.getvalue()


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, _: str) -> int:
        """Fail."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_output_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing more can be printed, the work is still done."""
    monkeypatch.setattr("sys.stdout", Full())
    assert main(["imagine", "a fox", "--simulate", "--save", "fox.png"]) == 0
    assert size_of("fox.png")


def test_interrupt_before_anything_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the command starts ends it with 130 and no traceback."""

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("mjasync.cli.app"), "run", interrupted)
    assert main(["shorten", "a fox"]) == 130


# --- pure parts --------------------------------------------------------------------------------


@given(st.text(max_size=200), st.integers(1, 50))
def test_lines_cannot_steer_a_terminal(text: str, most: int) -> None:
    """Text from elsewhere stays on its line, holds no control character, and is cut to length."""
    line = words.one_line(f"\x1b[2J{text}\r\n\a", most)
    assert len(line) <= most
    assert not any(unicodedata.category(char) == "Cc" for char in line)


@pytest.mark.parametrize(
    "error,said",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "x.png"), "Permission denied: 'x.png'"),
        (KeyError("surprise"), "KeyError: 'surprise'"),
        (TaskFailed("It failed.", reason="moon"), "The server said: 'moon'"),
        (TaskStalled("Nothing changed.", task_id="7"), "mjasync watch 7"),
        (TaskStalled("Nothing changed."), "Nothing changed."),
    ],
)
def test_errors_are_explained_in_one_line(error: Exception, said: str) -> None:
    """Every error is one line with what happened and, where a command helps, that command."""
    line = words.explain(error)
    assert said in line
    assert "\n" not in line
    assert "await" not in line
    assert "Errno" not in line


@pytest.mark.parametrize("name", mjasync.errors.__all__)
def test_advice_is_for_the_command_line(name: str) -> None:
    """What to do next never speaks of Python, whatever the error."""
    line = words.explain(getattr(mjasync.errors, name)("It failed.", task_id="7"))
    assert not re.search(r"\w\(|await|new Task\b|mj\.|[a-z]=", line.replace("(task 7)", ""))


@pytest.mark.parametrize(
    "info,said",
    [
        (None, "sending"),
        (TaskInfo(id="1"), "waiting"),
        (TaskInfo(id="1", status=TaskStatus.IN_PROGRESS, progress=46), "drawing 46%"),
        (TaskInfo(id="1", status=TaskStatus("BREWING")), "brewing"),
    ],
)
def test_states_in_a_word(info: TaskInfo | None, said: str) -> None:
    """Each status has a word, also one nobody has heard of."""
    assert words.task_state(info) == said


@pytest.mark.parametrize(
    "error,said",
    [
        (QueueFull("Full."), "queue full"),
        (TooManyOpenFiles("None left."), "no connection"),
        (ServerError("Failed."), "held up"),
        (None, "queued here"),
    ],
)
def test_states_before_it_is_sent(error: MJError | None, said: str) -> None:
    """What a submission waits for has a word, too."""
    held = error and SimpleNamespace(error=error)
    task = SimpleNamespace(held_up=held, phase=TaskPhase.QUEUED, info=TaskInfo(id=""))
    assert words.run_state(TaskRun(create_task=lambda mj: mj.task("7"), task=task)) == said  # type: ignore[arg-type]


async def test_what_was_on_the_wire_is_looked_back_at(sim: Simulator) -> None:
    """A submission that turned out uncertain after its wait was cancelled is not forgotten."""
    jobs = [TaskRun(create_task=partial(Client.imagine, prompt=f"fox {n}")) for n in range(2)]
    sim.fault("slow_body", gap=0.001)
    sim.fault("truncated")
    async with connect(sim) as client:
        waits = []
        for job in jobs:
            job.task = job.create_task(client)
            waits.append(asyncio.create_task(job.task.wait()))
            await eventually(lambda: len(sim.submissions) == len(waits))
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    await resolve_in_flight(jobs)
    assert jobs[0].id == sim.submissions[0].task_id
    assert isinstance(jobs[1].uncertain, SubmitUncertain)
    assert jobs[1].uncertain.state == sim.submissions[1].state


def test_everything_public_is_a_command() -> None:
    """The commands are those that are documented."""
    assert {name for name in app if not name.startswith("-")} == set(COMMANDS)
    assert issubclass(SubmitUncertain, MJError)


# --- real processes ----------------------------------------------------------------------------


@pytest.mark.slow
async def test_interrupt_while_submitting(slow: Simulator) -> None:
    """An id that the server gives while the command stops is named too; nothing is sent after."""
    slow.fault("slow_body", on="submit", gap=0.005)
    base_url = os.environ["MJASYNC_BASE_URL"]
    async with command("imagine", "a fox", "--base-url", base_url) as process:
        await eventually(lambda: len(slow.submissions) == 1)
        process.send_signal(signal.SIGTERM)
        outcome = await ended(process)
    assert outcome.code == 143
    assert f"mjasync watch --base-url {base_url} {slow.submissions[0].task_id}" in outcome.err
    assert len(slow.submissions) == 1


@pytest.mark.slow
async def test_second_interrupt_stops_at_once(slow: Simulator) -> None:
    """A second Ctrl-C does not wait for the wire, and says what is unknown because of that."""
    slow.fault("slow_body", on="submit", gap=0.2)
    async with command("imagine", "a fox") as process:
        await eventually(lambda: len(slow.submissions) == 1)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"Again to stop at once" in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        outcome = await ended(process)
    assert outcome.code == 130
    assert "whether the server took" in outcome.err
    await eventually(lambda: slow.requests[0].status is not None)


@pytest.mark.slow
async def test_simulate_is_a_server_for_other_commands(
    cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prints its address, serves other commands, and Ctrl-C is its ordinary end."""
    options = ("--port", "0", "--time-scale", "0", "--token", SECRET)
    async with command("simulate", *options) as process:
        assert process.stdout is not None
        monkeypatch.setenv("MJASYNC_BASE_URL", (await process.stdout.readline()).decode().strip())
        monkeypatch.setenv("MJASYNC_TOKEN", SECRET)
        assert (await cli("imagine", "a fox", "--save", "fox.png")).code == 0
        process.send_signal(signal.SIGINT)
        outcome = await ended(process)
    assert outcome.code == 0
    assert "MJASYNC_TOKEN" in outcome.err
    assert "accepted: 1" in outcome.err
    assert size_of("fox.png")


def test_simulate_on_a_port_that_is_taken(run: Run) -> None:
    """An address that is in use is a failure that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = run("simulate", "--port", port)
    assert outcome.code == 1
    assert f"127.0.0.1:{port}" in outcome.err


# --- a terminal --------------------------------------------------------------------------------


@pytest.mark.slow
async def test_bars_leave_stdout_to_machines() -> None:
    """With stdout in a pipe, the bars are on the terminal and the JSON is in the pipe."""
    environment = {**os.environ, "TERM": "xterm-256color"}
    with terminal(80) as (ours, theirs):
        options = {"env": environment, "stdin": theirs, "stderr": theirs}
        async with command("imagine", "a fox", "--simulate", "--json", **options) as process:
            os.close(theirs)
            shown = await asyncio.to_thread(shown_on, ours)
            out, _ = await process.communicate()
            assert process.returncode == 0
    assert json.loads(out)["ok"]
    assert "a fox" in shown
    assert "\x1b" not in out.decode()
