"""Batches on the command line: as they go, as they are stopped, and as they go on."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
from pathlib import Path

import pytest

from mjasync.batch import Job, JobStatus, Totals, read_batch
from mjasync.batch._ledger.open import open_ledger
from mjasync.cli.batch_options import BatchOptions, flags_of, without_password
from mjasync.cli.batch_text import (
    format_charges,
    format_counts,
    format_failure,
    format_problems,
    format_time_left,
)
from mjasync.cli.batch_view import BatchDisplay
from mjasync.cli.server_options import ServerOptions
from mjasync.simulator import Simulator
from support.command_line import PROMPTS, SECRET, Run, command, ended, on_terminal, size_of
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("clean_environment")

FEW = ("a fox", "an owl", "一只猫", "a cat", "an elk", "a hen")


SENT = (JobStatus.SUBMITTING, JobStatus.UNCERTAIN, JobStatus.ACCEPTED, JobStatus.FINISHED)


def prompts(*lines: str, name: str = "prompts.txt") -> str:
    """Write a file of prompts."""
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return name


def pictures(folder: str = "out") -> list[Path]:
    """The pictures of a batch, each of which can be decoded."""
    found = sorted(Path(folder).glob("*.png"))
    assert all(size_of(path) for path in found)
    return found


# --- a batch -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_grids_and_then_nothing_to_do(run: Run) -> None:
    """Every prompt becomes a picture of its own; the same command again sends nothing."""
    line = ("batch", PROMPTS, "--simulate", "--out", "renders", "--limit", 12)
    outcome = run(*line)
    assert outcome.code == 0
    files = pictures("renders")
    assert len({file.read_bytes() for file in files}) == len(files) == 20
    assert files[2].name.startswith("0003-一只橘猫坐在苏州园林的窗台上-水墨画风格-")
    assert "20 saved" in outcome.err
    assert "Submissions: 20. Finished: IMAGINE 20. In this run: 20." in outcome.err
    assert "The pictures are in renders." in outcome.err
    assert all(str(file) in outcome.out for file in files)
    again = run(*line)
    assert (again.code, again.out) == (0, "")
    assert "All 20 are there already: nothing was sent." in again.err
    assert pictures("renders") == files


async def test_a_picture_that_is_missing(server: Simulator, cli: Run) -> None:
    """It is fetched again; where the server has forgotten it, that is said, and nothing is sent."""
    line = ("batch", prompts("a fox", "an owl", "a  fox"), "--out", "out")
    outcome = await cli(*line)
    assert "1 row asks for what others do: drawn once." in outcome.err
    first = pictures()[0]
    first.unlink()
    outcome = await cli(*line)
    assert (outcome.code, outcome.out.count("saved"), len(pictures())) == (0, 1, 2)
    first.unlink()
    server.forget()
    outcome = await cli(*line)
    assert (outcome.out, len(server.submissions)) == ("", 2)
    assert "left" in outcome.err
    assert "cannot be downloaded again" in outcome.err
    assert "there already" not in outcome.err


async def test_prompts_are_read(
    server: Simulator, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments and blank lines are skipped; - is stdin; BOM, CRLF and UTF-16 are no matter."""
    text = "\r\n# a comment\r\na fox\r\n\r\n  一只猫  \r\n"
    Path("utf16.txt").write_text(text, encoding="utf-16")
    Path("bom.txt").write_text(text, encoding="utf-8-sig")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    for source in ("utf16.txt", "bom.txt", "-"):
        assert (await cli("batch", source, "--out", f"of {source}")).code == 0
    assert sorted(s.prompt or "" for s in server.submissions) == [*["a fox"] * 3, *["一只猫"] * 3]


@pytest.mark.slow
async def test_options_reach_the_batch(server: Simulator, cli: Run) -> None:
    """Tables, templates, repeats, steps, pictures and names are those of the library."""
    table = prompts("animal", "fox", "owl", name="animals.csv")
    steps = ("--then", "U1", "--then", "U2>Zoom Out 2x")
    names = ("--name", "{animal}/{n}{step}.{ext}", "--images", "split")
    options = (*steps, *names, "--template", "a {animal}", "--repeat", 2)
    outcome = await cli("batch", table, "--out", "out", *options)
    assert outcome.code == 0
    assert len(server.submissions) == 2 * 2 * (1 + 3)
    assert len(list(Path("out/fox").glob("1-[1-4].png"))) == 4
    assert Path("out/owl/4-u2-zoom-out-2x.png").is_file()


def test_a_batch_needs_a_folder(run: Run) -> None:
    """Without --out, it is said what that is for."""
    outcome = run("batch", prompts("a fox"), "--simulate")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--out renders" in outcome.err


@pytest.mark.parametrize(
    "content,said",
    [
        (b"", "no prompt"),
        (b"# nothing\n\n", "no prompt"),
        (b"a fox\n\xff\xfa\n", "UTF-8"),
        (b"a {fox\n", "without its }"),
    ],
)
def test_a_file_without_prompts(run: Run, content: bytes, said: str) -> None:
    """A file that holds no prompt, or no text, is refused, and so is one that makes no sense."""
    Path("prompts.txt").write_bytes(content)
    outcome = run("batch", "prompts.txt", "--simulate", "--out", "renders")
    assert outcome.code == 2
    assert said in outcome.err


def test_a_file_that_is_not_there(run: Run) -> None:
    """It is named; one in another encoding says what to save it as."""
    outcome = run("batch", "nope.csv", "--simulate", "--out", "renders")
    assert (outcome.code, outcome.err) == (2, "mjasync: There is no file 'nope.csv'.\n")
    Path("excel.csv").write_bytes(b"prompt\n\xd2\xbb\xff\n")
    outcome = run("batch", "excel.csv", "--simulate", "--out", "renders")
    assert "Save it as UTF-8 (in Excel: CSV UTF-8)" in outcome.err


def test_options_that_eat_the_file(run: Run) -> None:
    """When --retry-failed has taken FILE for a class of errors, it is said where FILE belongs."""
    for line in (("--retry-failed", prompts("a fox")), ("--retry-failed", "--", "prompts.txt")):
        outcome = run("batch", *line, "--out", "renders", "--simulate", "--dry-run")
        assert outcome.code == 2
        assert "FILE comes first: mjasync batch FILE" in outcome.err
        assert "Did you mean --dry-run" not in outcome.err


def test_places_that_cannot_be_written_to(run: Run) -> None:
    """Where pictures cannot be saved, nothing is submitted in the first place."""
    file = prompts("a fox")
    outcome = run("batch", file, "--simulate", "--out", file)
    assert (outcome.code, outcome.out) == (2, "")
    assert "cannot be written" in outcome.err


async def test_a_prompt_file_called_status(server: Simulator, cli: Run) -> None:
    """A name that is a command's can be said as a path."""
    prompts("a fox", name="status")
    assert (await cli("batch", "./status", "--out", "out")).code == 0
    assert len(server.submissions) == 1


async def test_keeps_within_its_limit(server: Simulator, cli: Run) -> None:
    """No more than --limit tasks are unfinished at once."""
    assert (await cli("batch", prompts(*FEW), "--out", "out", "--limit", "2")).code == 0
    assert server.max_in_flight <= 2
    assert len(server.submissions) == 6


def test_what_is_missing_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, one line says how to install it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for line in (("batch", "prompts.txt"), ("batch", "status", "out"), ("gallery", "out")):
        outcome = run(*line)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.count("\n") == 1
        assert 'python -m pip install "mjasync[batch]"' in outcome.err


# --- what goes wrong ---------------------------------------------------------------------------


async def test_goes_on_after_failures(server: Simulator, cli: Run) -> None:
    """Failures are told as they happen and at the end, with the command that begins them anew."""
    file = prompts("a fox", "gore", "a cat")
    server.fault("fail", reason="the moon is full")
    outcome = await cli("batch", file, "--out", "out", "--limit", "1")
    lost = server.submissions[0].task_id
    assert outcome.code == 1
    report, _, listed = outcome.err.partition("Failed (")
    assert re.search(f"failed +1  {lost}  a fox: .*the moon is full", report)
    assert "1 saved, 2 failed" in report
    assert re.search(r"^  1 × TaskFailed: #1\n    .*the moon is full", listed, re.MULTILINE)
    assert re.search(r"^  1 × BannedPrompt: #2\n    .*Reword", listed, re.MULTILINE)
    assert "Reword" not in report, "what to do is told once"
    command_line = f"mjasync batch {file} --out out --limit 1 --retry-failed"
    assert command_line in listed

    again = await cli(*command_line.split()[1:])
    assert again.code == 1
    assert "2 saved, 1 failed" in again.err
    assert "--retry-failed" not in again.err, "a banned prompt is not worth another try"
    assert [s.prompt for s in server.submissions] == ["a fox", "a cat", "a fox"]


async def test_failures_are_retried_by_class(server: Simulator, cli: Run) -> None:
    """--retry-failed takes classes; one that does not exist is a slip."""
    line = ("batch", prompts("a fox"), "--out", "out")
    server.fault("fail")
    assert (await cli(*line)).code == 1
    slip = await cli(*line, "--retry-failed", "TaskFialed")
    assert slip.code == 2
    assert "'TaskFialed'" in slip.err
    assert (await cli(*line, "--retry-failed", "TaskBanned")).code == 1
    assert len(server.submissions) == 1
    assert (await cli(*line, "--retry-failed", "TaskFailed", "QueueFull")).code == 0


async def test_json(server: Simulator, cli: Run) -> None:
    """Each job is one JSON line with the same keys, whatever became of it."""
    server.fault("fail")
    line = ("batch", prompts("a fox", "gore", "a cat"), "--out", "out", "--limit", "1", "--json")
    records = (await cli(*line)).records
    accepted = [submission.task_id for submission in server.submissions]
    assert [record["number"] for record in records] == [1, 2, 3]
    assert [record["id"] for record in records] == [accepted[0], None, accepted[1]]
    assert [record["ok"] for record in records] == [False, False, True]
    assert records[0].keys() == records[2].keys()
    assert records[0]["error"]["type"] == "TaskFailed"
    assert [Path(file) for file in records[2]["files"]] == pictures()


async def test_stops_where_no_prompt_can_succeed(server: Simulator, cli: Run) -> None:
    """A refused token ends the batch; nothing is lost by that, and the token is not repeated."""
    line = ("batch", prompts(*FEW), "--out", "out", "--limit", "2", "--token", "wrong-token")
    outcome = await cli(*line)
    assert outcome.code == 1
    assert "0 saved, 6 not begun" in outcome.err
    assert "MJASYNC_TOKEN" in outcome.err
    assert "wrong-token" not in outcome.err
    assert len(server.requests) <= 2
    assert (await cli(*line[:-2])).code == 0


async def test_a_server_that_is_not_there(server: Simulator, cli: Run) -> None:
    """A batch says so and ends, as one picture would; the command that goes on is named."""
    await server.stop()
    outcome = await cli("batch", PROMPTS, "--out", "out")
    assert outcome.code == 1
    assert f"No connection to {server.url}" in outcome.err
    assert "0 saved, 20 not begun" in outcome.err
    assert "Go on with:\n  mjasync batch" in outcome.err


async def test_a_server_that_goes_away(
    server: Simulator, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe, too, it is said that the batch waits for it, and for how long; then it goes on."""
    said: list[str] = []
    waits = re.compile(rf"^No connection to {server.url}.* Trying again for up to \d+ (s|min)\.$")
    note = BatchDisplay.info
    monkeypatch.setattr("mjasync.cli.connection_notices._FIRST_NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(
        BatchDisplay, "info", lambda self, text: (said.append(str(text)), note(self, text))
    )
    drawing = asyncio.create_task(cli("batch", prompts(*FEW), "--out", "out", "--limit", "1"))
    await eventually(lambda: len(server.submissions) == 2)
    await server.stop()
    await eventually(lambda: any(map(waits.search, said)) or drawing.done())
    await server.start()
    await drawing
    assert any(map(waits.search, said))
    assert "The server answers again." in said
    assert len({sent.prompt for sent in server.submissions}) == len(server.submissions) >= 5


async def test_how_far_it_is_without_a_bar(
    server: Simulator, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe a count is told now and then."""
    monkeypatch.setattr("mjasync.cli.batch_view._COUNT_SECONDS", 0.0)
    outcome = await cli("batch", prompts("a fox", "gore", "a cat"), "--out", "out", "--limit", "1")
    assert re.search(r"^2 of 3, 1 failed, \d:\d\d left$", outcome.err, re.MULTILINE)
    assert "3 of 3" not in outcome.err, "the end is told otherwise"


async def test_a_picture_that_does_not_come(server: Simulator, cli: Run) -> None:
    """It is fetched next time; when its task is lost by then, it is not taken for saved."""
    line = ("batch", prompts("a fox"), "--out", "out")
    fault = server.fault("reply", on="image", times=None, status=404)
    outcome = await cli(*line)
    assert outcome.code == 1
    assert "1 drawn but not saved" in outcome.err
    assert "Go on with:\n  mjasync batch" in outcome.err
    fault.remove()
    server.forget()
    outcome = await cli(*line)
    assert outcome.code == 1
    assert "TaskNotFound" in outcome.err
    assert pictures() == []


async def test_limits_of_one_run(server: Simulator, cli: Run) -> None:
    """--max-submits and --max-failures end a run; the command that goes on is named."""
    line = ("batch", prompts("a fox", "gore", "a cat", "an owl"), "--out", "out", "--limit", "1")
    outcome = await cli(*line, "--max-submits", "1")
    assert outcome.code == 1
    assert "Stopped by --max-submits." in outcome.err
    assert "1 saved, 3 not begun" in outcome.err
    outcome = await cli(*line, "--max-failures", "1")
    assert outcome.code == 1
    assert "Stopped by --max-failures." in outcome.err
    assert len(server.submissions) == 1
    assert "3 saved, 1 failed" in (await cli(*line)).err


async def test_uncertain_ones_are_left_alone(server: Simulator, cli: Run) -> None:
    """Where nobody can tell, it is said, and only --resubmit-uncertain sends it again."""
    line = ("batch", prompts("a fox"), "--out", "out")
    server.fault("reset_after")
    server.fault("reply", on="list", times=None, status=404)
    outcome = await cli(*line)
    assert outcome.code == 1
    assert "0 saved, 1 uncertain" in outcome.err
    assert (await cli(*line)).code == 1
    told = await cli("batch", "status", "out")
    assert "Uncertain: sent, and it is not known" in told.out
    assert "mjasync batch prompts.txt --out out --resubmit-uncertain" in told.out
    assert server.submissions[0].state
    assert server.submissions[0].state in told.out, "it can be looked for"
    assert len(server.submissions) == 1
    assert (await cli(*line, "--resubmit-uncertain")).code == 0
    assert len(server.submissions) == 2


# --- before, meanwhile and after ---------------------------------------------------------------


def test_dry_run_touches_nothing(run: Run) -> None:
    """It tells what would be paid, by kind; it needs no server, and makes no folder."""
    file = prompts("a {fox, cat}", "an owl")
    outcome = run("batch", file, "--out", "out", "--then", "U1>Zoom Out 2x", "--dry-run")
    assert outcome.code == 0
    assert outcome.out == (
        "9 submissions to pay for: 3 grids, 6 follow-ups (3 U1, 3 U1>Zoom Out 2x). "
        "Nothing was sent.\n  a fox\n  a cat\n  an owl\n"
    )
    assert [path.name for path in Path().iterdir()] == [file]
    assert run("batch", file, "--out", "out", "--ledger", "sqlite:///l.db", "--dry-run").code == 0
    assert not Path("out").exists()


def test_dry_run_needs_no_folder(run: Run) -> None:
    """To know what prompts cost, nobody has to say where the pictures go."""
    file = prompts("a fox", "a cat")
    outcome = run("batch", file, "--then", "U1", "--dry-run")
    assert outcome.code == 0
    assert "4 submissions" in outcome.out
    assert [path.name for path in Path().iterdir()] == [file]


def test_dry_run_of_a_pipe(run: Run) -> None:
    """Prompts that can be read but once, as those of `<(…)`, are counted and shown."""
    reader, writer = os.pipe()
    os.write(writer, b"a fox\nan owl\n")
    os.close(writer)
    outcome = run("batch", f"/dev/fd/{reader}", "--out", "out", "--dry-run")
    os.close(reader)
    assert outcome.out.splitlines()[0].startswith("2 submissions")
    assert outcome.out.splitlines()[1:] == ["  a fox", "  an owl"]


def test_dry_run_shows_what_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first prompts are shown as they would be sent; duplicates are counted; stdin is too."""
    text = "a {fox, cat}\n" * 2 + "a dog -- ar 3:2\nan owl\na fox\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    outcome = run("batch", "-", "--out", "out", "--dry-run")
    assert outcome.out.splitlines()[1:4] == ["  a fox", "  a cat", "  a dog -- ar 3:2"]
    assert outcome.out.splitlines()[4:] == [
        "  … and 1 more",
        "3 duplicates left out: the same prompt is drawn once.",
    ]


def test_what_of_a_file_is_no_prompt_is_told(run: Run) -> None:
    """Skipped lines are counted, and columns that nothing uses are named, before and in a run."""
    file = prompts("prompt,ar,mood,note", "a {mood} fox,16:9,red,x", name="p.csv")
    line = ("batch", file, "--out", "out", "--name", "{note}.{ext}")
    outcome = run(*line, "--dry-run")
    told = (
        "Nothing uses these columns; only the manifest has them: 'ar'. "
        "A prompt or --template uses one by its name in braces."
    )
    assert outcome.out.splitlines()[1:] == ["  a red fox", told]
    assert told in run(*line, "--simulate").err
    prompts("# foxes", "", "a fox", "\\#1 fox")
    lines = run("batch", "prompts.txt", "--out", "new", "--dry-run").out.splitlines()
    assert lines[1:] == ["  a fox", "  #1 fox", "Skipped in the file: 1 comment, 1 blank line."]


@pytest.mark.parametrize(
    "line,options,said",
    [
        ("a {fox", (), "without its }"),
        ("a fox --repeat 0", (), "repeat must be"),
        ("a fox", ("--speed", "ludicrous"), "ludicrous"),
        ("a fox", ("--auth", "magic"), "magic"),
        ("a fox", ("--then", "U9"), "no grid has a button 'U9'"),
    ],
)
def test_dry_run_refuses_what_a_run_would(
    run: Run, line: str, options: tuple[str, ...], said: str
) -> None:
    """What makes no sense is one line and exit code 2, as in the run itself; nothing is made."""
    outcome = run("batch", prompts(line), "--out", "out", *options, "--dry-run")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert said in outcome.err
    assert not Path("out").exists()


async def test_dry_run_of_the_rest(server: Simulator, cli: Run) -> None:
    """What is there is not counted; nothing is sent, and nothing is planned."""
    line = ("--out", "out")
    assert (await cli("batch", prompts("a fox"), *line)).code == 0
    before = len(server.requests)
    outcome = await cli("batch", prompts("a fox", "a cat"), *line, "--dry-run")
    assert outcome.out.startswith("1 submission to pay for: 1 grid. Nothing was sent.\n")
    told = await cli("batch", "prompts.txt", *line, "--repeat", "2", "--dry-run", "--json")
    assert told.record == {"submits": 3, "grids": 3, "steps": {}}
    assert len(server.requests) == before
    assert len(await read_batch("out")) == 1


async def test_status(server: Simulator, cli: Run) -> None:
    """It tells what stands where, what was paid and what failed; nothing is asked for that."""
    server.fault("fail", reason="the moon is full")
    line = ("batch", prompts("a fox", "a cat"), "--out", "out", "--limit", "1")
    assert (await cli(*line)).code == 1
    before = len(server.requests)
    told = await cli("batch", "status", "out")
    assert told.code == 1
    assert told.out.startswith(
        "out: 2 jobs: 1 saved, 1 failed. It is not running.\nSubmissions: 2. Finished: IM"
    )
    assert "the moon is full" in told.out
    assert "mjasync batch prompts.txt --out out --limit 1 --retry-failed" in told.out
    Path("out/.command").unlink()
    told = await cli("batch", "status", "out")
    assert "mjasync batch FILE --out out --retry-failed" in told.out
    record = (await cli("batch", "status", "out", "--json")).record
    assert (record["ok"], record["jobs"], record["submits"]) == (False, 2, 2)
    assert (record["states"]["saved"], record["states"]["planned"]) == (1, 0)
    assert record["paid"][0]["count"] == 1
    assert [job["prompt"] for job in record["failed"]] == ["a fox"]
    assert len(server.requests) == before
    assert (await cli(*line, "--retry-failed")).code == 0
    assert (await cli("batch", "status", "out")).code == 0


def test_status_of_nothing(run: Run) -> None:
    """A folder that is no batch is a mistake to point out, and stays as it is."""
    Path("out").mkdir()
    outcome = run("batch", "status", "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert "no batch in 'out'" in outcome.err
    assert list(Path("out").iterdir()) == []


async def test_gallery(server: Simulator, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is made again, its path is printed, and --open shows it."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert (await cli("batch", prompts("a fox"), "--out", "out", "--no-gallery")).code == 0
    assert not Path("out/index.html").exists()
    outcome = await cli("gallery", "out", "--open")
    assert (outcome.code, outcome.out) == (0, "out/index.html\n")
    assert Path("out/index.html").is_file()
    assert opened == [Path("out/index.html").resolve().as_uri()]
    assert (await cli("gallery", "nowhere")).code == 2


def test_simulated_and_real_pictures_do_not_mix(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is the simulator's or a server's; the other is told to use one of its own."""
    monkeypatch.setenv("MJASYNC_BASE_URL", "http://127.0.0.1:9")
    line = ("batch", prompts("a fox"), "--out", "out")
    assert run(*line, "--simulate").code == 0
    outcome = run(*line)
    assert (outcome.code, outcome.out) == (2, "")
    assert "simulator" in outcome.err
    (Path("out") / ".simulated").unlink()
    outcome = run(*line, "--simulate")
    assert (outcome.code, outcome.out) == (2, "")
    assert "real server" in outcome.err
    outcome = run(*line, "--simulate", "--ledger", "postgresql://nowhere/batch")
    assert outcome.code == 2


# --- stopped -----------------------------------------------------------------------------------


@pytest.mark.slow
async def test_interrupt_drains(server: Simulator) -> None:
    """Ctrl-C begins nothing more, waits for what is under way, and names the command to go on."""
    veils = [server.fault("reply", on=place, times=None, status=503) for place in ("fetch", "list")]
    async with command("batch", PROMPTS, "--out", "out", "--limit", "3") as process:
        await eventually(lambda: len(server.submissions) == 3)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = await process.stderr.readline()
        for veil in veils:
            veil.remove()
        outcome = await ended(process)
    assert b"3 under way are waited for and saved. Again to stop at once." in said
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert "Stopped: 3 saved, 17 not begun" in outcome.err
    assert len(pictures()) == len(server.submissions) == 3
    assert f"  mjasync batch {PROMPTS} --out out --limit 3\n" in outcome.err


@pytest.mark.slow
async def test_second_interrupt_stops_at_once(slow: Simulator, cli: Run) -> None:
    """It waits for nothing; each task that was accepted is in the ledger, for the next run."""
    async with command("batch", PROMPTS, "--out", "out", "--limit", "3") as process:
        await eventually(lambda: len(slow.submissions) == 3)
        running = await cli("batch", "status", "out", "--json")
        told = await cli("batch", "status", "out")
        in_use = await cli("batch", PROMPTS, "--out", "out")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"3 under way" in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        outcome = await ended(process)
    assert outcome.code == 130
    assert "Stopped: 0 saved, 3 on the server, 17 not begun" in outcome.err
    assert "Go on with:\n  mjasync batch" in outcome.err
    accepted = {job.task_id for job in await read_batch("out") if job.status is JobStatus.ACCEPTED}
    assert accepted == {submission.task_id for submission in slow.submissions}
    assert "It is running." in told.out
    assert "When it has ended, go on with:\n  mjasync batch" in told.out
    assert (running.code, running.record["states"]["planned"]) == (1, 17), "looked at meanwhile"
    assert (in_use.code, in_use.out) == (2, "")
    assert in_use.err.count("\n") == 1
    assert "in use already" in in_use.err


@pytest.mark.slow
async def test_terminated_while_submitting(slow: Simulator) -> None:
    """SIGTERM does not drain, but an id that is still to come is noted before the end."""
    slow.fault("slow_body", on="submit", gap=0.005)
    async with command("batch", prompts("a fox"), "--out", "out") as process:
        await eventually(lambda: len(slow.submissions) == 1)
        process.send_signal(signal.SIGTERM)
        outcome = await ended(process)
    assert outcome.code == 143
    assert "1 on the server" in outcome.err
    (job,) = await read_batch("out")
    assert job.task_id == slow.submissions[0].task_id


@pytest.mark.slow
async def test_terminated_twice_at_once(slow: Simulator) -> None:
    """SIGTERM and its echo, as `timeout` sends them, are one: the end is as orderly."""
    slow.fault("slow_body", on="submit", gap=0.005)
    async with command("batch", prompts("a fox"), "--out", "out") as process:
        await eventually(lambda: len(slow.submissions) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert b"at once" in await process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        outcome = await ended(process)
    assert outcome.code == 143
    assert "Stopped: 0 saved, 1 on the server" in outcome.err
    assert "ledger" not in outcome.err


@pytest.mark.slow
async def test_third_interrupt_waits_for_nothing(slow: Simulator) -> None:
    """It does not even wait for the wire; the ledger knows that something went out."""
    slow.fault("slow_body", on="submit", gap=0.5)
    async with command("batch", prompts("a fox"), "--out", "out") as process:
        await eventually(lambda: len(slow.submissions) == 1)
        assert process.stderr is not None
        for said in (b"1 under way", b"at once"):
            process.send_signal(signal.SIGINT)
            assert said in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        outcome = await ended(process)
    assert outcome.code == 130
    _, mark, after = outcome.err.partition("What was sent is in the ledger. Go on with:\n")
    assert mark
    assert after == "  mjasync batch prompts.txt --out out\n", "and nothing more is said"
    (job,) = await read_batch("out")
    assert job.status is JobStatus.SUBMITTING
    await eventually(lambda: slow.requests[0].status is not None)


@pytest.mark.slow
async def test_interrupt_on_the_simulator(run: Run) -> None:
    """A simulator takes its tasks with it: the next run draws them again, and ends well."""
    line = ("batch", prompts(*FEW), "--simulate", "--out", "out", "--limit", "2")
    async with command(*line) as process:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"saved")
        process.kill()
        await process.wait()
    lost = [job for job in await read_batch("out") if job.status in SENT]
    outcome = await asyncio.to_thread(run, *line)
    assert outcome.code == 0
    assert bool(lost) == ("tried again" in outcome.err)
    assert "6 saved" in outcome.err
    saved = {Path("out", file.path) for job in await read_batch("out") for file in job.files}
    assert len(saved) == 6
    assert saved <= set(pictures())


@pytest.fixture
async def cut_off(cli: Run) -> tuple[object, ...]:
    """A simulated batch that was killed with a job wherever one can stand; its command line."""
    line = ("batch", prompts(*"abcdef"), "--simulate", "--out", "out")
    assert (await cli(*line)).code == 0
    ledger = open_ledger(Path("out"), None)
    assert not isinstance(ledger, str)
    await ledger.open()
    unanswered = {"task_id": None, "accepted_at": None, "times_accepted": 0}
    for job, state in zip(await ledger.jobs(), [JobStatus.PLANNED, *SENT], strict=False):
        known = {} if state in {JobStatus.ACCEPTED, JobStatus.FINISHED} else unanswered
        paid = {} if state is JobStatus.FINISHED else {"action": "", "speed": ""}
        await ledger.update(job, status=state, files=(), **known, **paid)
    await ledger.close()
    return line


@pytest.mark.slow
async def test_what_a_simulator_took_with_it(cli: Run, cut_off: tuple[object, ...]) -> None:
    """Wherever a job stood when it ended, nothing is in doubt: it is drawn again."""
    outcome = await cli(*cut_off)
    assert outcome.code == 0
    assert "4 ended with an earlier simulator: tried again." in outcome.err
    assert "uncertain" not in outcome.err
    assert "6 saved" in outcome.err
    assert "In this run: 5." in outcome.err
    assert "nothing was sent" in (await cli(*cut_off)).err


@pytest.mark.slow
async def test_limits_hold_for_what_is_drawn_again(cli: Run, cut_off: tuple[object, ...]) -> None:
    """What ended with an earlier simulator counts for --max-submits as everything does."""
    before = sum(job.attempts for job in await read_batch("out"))
    outcome = await cli(*cut_off, "--max-submits", "1")
    assert outcome.code == 1
    assert "Stopped by --max-submits." in outcome.err
    assert "2 saved, 4 not begun" in outcome.err
    assert sum(job.attempts for job in await read_batch("out")) == before + 1


@pytest.mark.slow
async def test_reader_that_leaves() -> None:
    """When the reader of the pipe leaves, every picture is saved all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    line = ("batch", prompts(*FEW), "--simulate", "--out", "out")
    async with command(*line, stdout=writer) as process:
        os.close(writer)
        outcome = await ended(process)
    assert outcome.code == 0
    assert len(pictures()) == 6
    assert "BrokenPipe" not in outcome.err


@pytest.mark.slow
async def test_bars_on_a_terminal() -> None:
    """There are bars while jobs run; afterwards only the results are left.

    What a bar says in between depends on when it is drawn: `task_text` is tested by value.
    """
    line = ("batch", prompts("a fox", "一只猫", "gore"), "--simulate", "--out", "out")
    code, shown = await on_terminal(*line)
    assert code == 1
    assert "━━━━" in shown
    assert " of 3" in shown
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is back"
    assert "out/0002-一只猫" in shown


# --- pure parts --------------------------------------------------------------------------------


def test_the_command_that_goes_on_is_the_same() -> None:
    """Options are said again as they were given; secrets are not, nor what is asked for once."""
    order = BatchOptions(
        out=Path("a b"),
        then=("U1>Zoom Out 2x", "U3"),
        retry_failed=(),
        resubmit_uncertain=True,
        max_submits=5,
        no_gallery=True,
        ledger=f"postgresql://me:{SECRET}@host/batch",
    )
    assert flags_of(order) == [
        *("--out", "a b", "--then", "U1>Zoom Out 2x", "--then", "U3"),
        *("--max-submits", "5", "--ledger", "postgresql://me:***@host/batch", "--no-gallery"),
    ]
    server = ServerOptions(base_url="http://h", token=SECRET, speed="turbo", timeout=9.0)
    flags = flags_of(server)
    assert flags == ["--base-url", "http://h", "--speed", "turbo", "--timeout", "9.0"]


@pytest.mark.parametrize(
    "url,said",
    [
        (
            "postgresql+asyncpg://me:p@ss:w@host:5432/batch",
            "postgresql+asyncpg://me:***@host:5432/batch",
        ),
        ("postgresql://me:p/w@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me@corp:pw@h/db", "postgresql://me@corp:***@h/db"),
        ("postgresql://me:p@w/x?y@h/db", "postgresql://me:***@h/db"),
        ("postgresql://:pw@[::1]:5432/db", "postgresql://:***@[::1]:5432/db"),
        ("postgresql://me@[::1]:5432/db", "postgresql://me@[::1]:5432/db"),
        ("postgresql://me:p\nw@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me:a@h/db?Password=p@w", "postgresql://me:***@h/db?Password=***"),
        ("postgresql://me@h:5432/db", "postgresql://me@h:5432/db"),
        ("postgresql://me@host/batch", "postgresql://me@host/batch"),
        (
            "postgresql://host/batch?user=me&password=secret&x=1",
            "postgresql://host/batch?user=me&password=***&x=1",
        ),
        ("sqlite:///ledger.db", "sqlite:///ledger.db"),
        ("sqlite:///C:/me@home/ledger.db", "sqlite:///C:/me@home/ledger.db"),
    ],
)
def test_passwords_are_not_shown(url: str, said: str) -> None:
    """A database URL is shown without its password, however it is given."""
    assert without_password(url) == said


@pytest.mark.parametrize(
    "total,done,seconds,said",
    [
        (20, 0, 5, ""),
        (20, 20, 5, ""),
        (20, 10, 30, "0:30 left"),
        (20, 0.5, 4, "2:36 left"),
        (10_000, 100, 100, "2:45:00 left"),
    ],
)
def test_time_left(total: int, done: float, seconds: float, said: str) -> None:
    """What is left takes as long as the speed of this run says; nobody knows at its beginning."""
    assert format_time_left(total, done, seconds) == said


def test_thousands_of_failures_are_summed_up() -> None:
    """A few are listed, and all are counted by class; what a server says steers no terminal."""
    said = {"error_class": "TaskFailed", "error": "\x1b[2J" + "moon " * 200}
    jobs = [
        Job(key=f"{n}", number=n, prompt="a fox", status=JobStatus.FAILED, **said)
        for n in range(1000)
    ]
    jobs.append(
        Job(key="b", number=1001, prompt="gore", status=JobStatus.FAILED, error_class="QueueFull")
    )
    lines = list(format_problems(jobs, "again"))
    assert lines[:2] == [
        "Failed (1001):",
        "  1000 × TaskFailed: #0, #1, #2, #3, #4, #5, #6, #7, #8, #9 … and 990 more",
    ]
    assert lines[3] == "  1 × QueueFull: #1001"
    assert len(lines) < 20
    assert max(map(len, lines)) < 250
    assert "\x1b" not in "".join(lines)


def test_what_is_left_says_where_it_stands() -> None:
    """A job that merely was not saved yet, since the disk is full, has no failure to tell."""
    job = Job(key="a", number=3, prompt="a fox", task_id="17", status=JobStatus.FINISHED)
    assert format_failure(job) == "   3  17  a fox: drawn but not saved"


def test_why_follow_ups_are_not_begun() -> None:
    """Those behind a failed job are told with its number, and are nothing to go on with."""
    failed = {"status": JobStatus.FAILED, "error_class": "TaskFailed", "error": "moon"}
    jobs = [
        Job(key="a", root="a", number=3, prompt="a fox", **failed),
        Job(key="b", root="a", number=3, prompt="a fox", parent="a", step="U1"),
        Job(key="c", root="a", number=3, prompt="a fox", parent="b", step="U1>Zoom Out 2x"),
        Job(key="d", root="d", number=4, prompt="a cat", status=JobStatus.SAVED),
    ]
    lines = list(format_problems(jobs, "again"))
    assert "2 follow-ups not begun: waiting for failed #3." in lines
    assert lines[-2:] == ["To retry what failed:", "  again --retry-failed"]
    assert "  again" not in lines


async def test_follow_ups_of_what_the_server_has_forgotten(server: Simulator, cli: Run) -> None:
    """No retry helps there: it is said that a new folder does."""
    line = ("batch", prompts("a fox", "a cat"), "--out", "out")
    assert (await cli(*line)).code == 0
    server.forget()
    outcome = await cli(*line, "--then", "U1")
    assert outcome.code == 1
    assert "2 × TaskNotFound: #1, #2" in outcome.err
    assert "has forgotten what 2 follow-ups would follow" in outcome.err
    assert "use a new --out" in outcome.err
    assert "--retry-failed" not in outcome.err


def test_totals_in_words() -> None:
    """Where jobs stand and what was paid are told in one line each."""
    totals = Totals(
        by_status={JobStatus.SAVED: 3, JobStatus.ACCEPTED: 1},
        submits=4,
        charges={("IMAGINE", "FAST"): 2, ("UPSCALE", ""): 1},
    )
    assert format_counts(totals) == "3 saved, 1 on the server"
    assert format_charges(totals) == "Submissions: 4. Finished: IMAGINE FAST 2, UPSCALE 1."
