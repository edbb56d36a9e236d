"""Texts of the command line by value, and options of batches that few tests use."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from mjasync import ConnectionFailed, LinkRefused, QueueFull, SubmitUncertain
from mjasync.batch import Job, JobStatus, read_batch
from mjasync.cli.batch_text import _format_failed, format_input_notes, format_not_requested
from mjasync.cli.connection_notices import ConnectionNotices
from mjasync.cli.folders import check_target
from mjasync.cli.task_text import explain, run_state
from mjasync.cli.unexpected_errors import _sentence
from mjasync.simulator import Simulator
from support.command_line import Run

pytestmark = pytest.mark.usefixtures("clean_environment")


def job(number: int, **fields: Any) -> Job:  # noqa: ANN401 - of Job
    """Return a job of a batch."""
    return Job(key=str(number), number=number, prompt=f"fox {number}", **fields)


def test_notes_about_a_file() -> None:
    """Rows over several lines are named by their places."""
    rows = SimpleNamespace(comments=0, blank=0, multiline_places=["line 2"])
    (note,) = format_input_notes(cast("Any", rows), ())
    assert note == "Quotes make one row of several lines: line 2."


@pytest.mark.parametrize(
    "is_dropped, text", [(True, "(dropped)"), (False, "unless you add --drop-missing")]
)
def test_jobs_that_left_the_file(is_dropped: bool, text: str) -> None:
    """They are listed with what becomes of them."""
    lines = list(format_not_requested([job(1)], is_dropped=is_dropped))
    assert text in lines[0]
    assert "fox 1" in lines[1]
    assert list(format_not_requested([], is_dropped=is_dropped)) == []


def test_many_reasons_of_failures() -> None:
    """The rarest are only counted."""
    jobs = [job(n, status=JobStatus.FAILED, error_class=f"E{n}", error="bad") for n in range(60)]
    lines = list(_format_failed(jobs))
    assert lines[0] == "Failed (60):"
    assert lines[-1].endswith("other reasons")


def test_notices_about_uncertain_submissions() -> None:
    """They say that single submissions are tried; a limit is named if there is one."""
    notice = ConnectionNotices().update((SubmitUncertain("Lost."), float("inf")), 0.0)
    assert notice == "Lost. Until one is accepted, one submission at a time is tried. Trying again."
    assert "Trying again for up to 5 min." in ConnectionNotices().update(
        (ConnectionFailed("Gone."), 300.0), 0.0
    )
    assert ConnectionNotices().update((QueueFull("Full."), 9.0), 0.0, is_busy=True) == ""


def test_states_without_a_task() -> None:
    """A job whose Task is not made yet is about to be sent."""
    assert run_state(cast("Any", SimpleNamespace(task=None))) == "sending"


def test_errors_of_others() -> None:
    """A gateway's refusal keeps its own hint; a database's error is that of the ledger."""
    refused = LinkRefused("The gateway blocks it.", http_status=403)
    assert "SSRF" in explain(refused)
    broken = OperationalError("SELECT 1", None, Exception("disk I/O error"))
    assert explain(broken) == "The ledger cannot be used: disk I/O error"
    assert _sentence(broken) == explain(broken)
    assert _sentence(MemoryError()) == "There is not enough memory."


def test_folders_in_a_template(tmp_path: Path) -> None:
    """The part of a path before the first placeholder is made."""
    check_target(f"{tmp_path}/new/{{id}}/{{action}}.png")
    assert (tmp_path / "new").is_dir()


async def test_prompts_that_leave_the_file(server: Simulator, cli: Run) -> None:
    """They are drawn with the others, or dropped; a dry run counts the same."""
    Path("prompts.txt").write_text("a fox\nan owl\n", encoding="utf-8")
    line = ("batch", "prompts.txt", "--out", "out", "--no-gallery")
    assert (await cli(*line, "--max-submits", 1)).code == 1
    Path("prompts.txt").write_text("a fox\n", encoding="utf-8")
    dry = await cli(*line, "--drop-missing", "--dry-run")
    assert dry.code == 0
    outcome = await cli(*line, "--drop-missing")
    assert (outcome.code, len(server.submissions)) == (0, 1)
    assert "of an earlier run not in the file any more (dropped):" in outcome.err
    jobs = await read_batch("out")
    assert Counter(each.status for each in jobs) == {JobStatus.SAVED: 1}
