"""What the command line says about the jobs of a batch: to people, and to machines. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .. import errors
from ..batch import Job, JobStatus, Totals
from .task_text import one_line

__all__ = [
    "charges_dict",
    "files_of",
    "forecast_dict",
    "format_charges",
    "format_counts",
    "format_failure",
    "format_forecast",
    "format_input_notes",
    "format_job",
    "format_not_requested",
    "format_problems",
    "format_time_left",
    "job_dict",
    "preview_prompts",
]

_STATUS_WORDS: Final = {
    JobStatus.SAVED: "saved",
    JobStatus.FAILED: "failed",
    JobStatus.UNCERTAIN: "uncertain",
    JobStatus.FINISHED: "drawn but not saved",
    JobStatus.ACCEPTED: "on the server",
    JobStatus.SUBMITTING: "being submitted",
    JobStatus.PLANNED: "not begun",
}
"""Where jobs stand, in the order it is told."""
_UNFINISHED: Final = frozenset(_STATUS_WORDS) - {
    JobStatus.SAVED,
    JobStatus.FAILED,
    JobStatus.UNCERTAIN,
}
_MAX_LISTED: Final = 10
"""Failed jobs listed at the end; a batch may have thousands."""
_MAX_SHOWN_PROMPTS: Final = 3
"""Prompts shown of a dry run."""
_MAX_TITLE: Final = 40
_MAX_ERROR_TEXT: Final = 240
_MAX_ID: Final = re.compile(r"\(task \S+\) ")


def format_counts(totals: Totals) -> str:
    """How many jobs stand where; none saved is worth saying."""
    told = {word: totals.by_status.get(state, 0) for state, word in _STATUS_WORDS.items()}
    return ", ".join(f"{n} {word}" for word, n in told.items() if n or word == "saved")


def format_charges(totals: Totals) -> str:
    """What was submitted and paid, by action and speed."""
    said = f"Submissions: {totals.submits}."
    paid = [
        " ".join(filter(None, (one_line(action), one_line(speed), str(many))))
        for (action, speed), many in sorted(totals.charges.items())
    ]
    return f"{said} Finished: {', '.join(paid)}." if paid else said


def format_forecast(steps: Mapping[str, int]) -> str:
    """What a run would pay for, by step."""
    presses = {step: many for step, many in steps.items() if step}
    said = [_plural(steps.get("", 0), "grid")]
    if presses:
        by_step = ", ".join(f"{many} {one_line(step)}" for step, many in presses.items())
        said.append(f"{_plural(sum(presses.values()), 'follow-up')} ({by_step})")
    whole = _plural(sum(steps.values()), "submission")
    return f"{whole} to pay for: {', '.join(said)}. Nothing was sent."


def format_input_notes(
    comments: int, blank: int, spanning: Sequence[str], unused: Sequence[str]
) -> Iterable[str]:
    """What of a file is easily overlooked: skipped lines, rows over several, unused columns."""
    skipped = [_plural(comments, "comment")] if comments else []
    skipped += [_plural(blank, "blank line")] if blank else []
    if skipped:
        yield f"Skipped in the file: {', '.join(skipped)}."
    if spanning:
        places = ", ".join(spanning[:_MAX_LISTED])
        yield f"Quotes make one row of several lines: {places}."
    if unused:
        names = ", ".join(one_line(repr(name), _MAX_TITLE) for name in unused[:_MAX_LISTED])
        yield (
            f"Nothing uses these columns; only the manifest has them: {names}. "
            "A prompt or --template uses one by its name in braces."
        )


def format_not_requested(jobs: Sequence[Job], *, is_dropped: bool) -> Iterable[str]:
    """What an earlier run planned and the file does not ask for any more."""
    if not jobs:
        return
    fate = "dropped" if is_dropped else "drawn, too, unless you add --drop-missing"
    yield f"{_plural(len(jobs), 'job')} of an earlier run not in the file any more ({fate}):"
    for job in jobs[:_MAX_LISTED]:
        yield format_job(job)
    if len(jobs) > _MAX_LISTED:
        yield f"  … and {len(jobs) - _MAX_LISTED} more"


def preview_prompts(grids: Sequence[Job]) -> Iterable[str]:
    """The first prompts of what is asked for, and how many are there twice."""
    distinct = list({grid.key: grid for grid in grids}.values())
    for grid in distinct[:_MAX_SHOWN_PROMPTS]:
        yield f"  {one_line(grid.prompt)}"
    if len(distinct) > _MAX_SHOWN_PROMPTS:
        yield f"  … and {len(distinct) - _MAX_SHOWN_PROMPTS} more"
    if twice := len(grids) - len(distinct):
        yield f"{_plural(twice, 'duplicate')} left out: the same prompt is drawn once."


def _plural(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def format_job(job: Job) -> str:
    """Number, step and prompt of a job."""
    return " ".join(filter(None, (f"{job.number:>4} ", one_line(job.step), one_line(job.prompt))))


def files_of(job: Job, folder: Path) -> list[str]:
    """Where its pictures are."""
    return [str(folder / file.path) for file in job.files]


def format_failure(job: Job) -> str:
    """Which job failed, and what was said; what to do about it is told at the end."""
    hint = getattr(getattr(errors, job.error_class, None), "hint", "")
    return f"{_job_label(job)}: {one_line(_error_text(job).removesuffix(hint))}"


def _job_label(job: Job) -> str:
    title = one_line(" ".join(filter(None, (job.step, job.prompt))), _MAX_TITLE)
    return f"{job.number:>4}  {one_line(job.task_id or '-')}  {title}"


def _error_text(job: Job) -> str:
    """What was said, without what differs from job to job."""
    unexplained = "no reason given" if job.status is JobStatus.FAILED else _STATUS_WORDS[job.status]
    return _MAX_ID.sub("", job.error) or job.error_class or unexplained


def format_problems(
    jobs: Sequence[Job], retry_command: str, prefix: str = "Go on with:"
) -> Iterable[str]:
    """What failed, what is uncertain, what is left; and what to do about each.

    `retry_command` is the command that goes on with the batch; `prefix` introduces it.
    """
    failed = [job for job in jobs if job.status is JobStatus.FAILED]
    uncertain = [job for job in jobs if job.status is JobStatus.UNCERTAIN]
    yield from _failed(failed)
    yield from _uncertain(uncertain)
    lost: defaultdict[str, list[Job]] = defaultdict(list)
    for job in failed:
        lost[job.root].append(job)
    waiting = [
        job
        for job in jobs
        if job.status is JobStatus.PLANNED and job.is_step and _blocked_steps(job, lost[job.root])
    ]
    if waiting:
        behind = _numbers(job.number for job in waiting)
        yield f"{_plural(len(waiting), 'follow-up')} not begun: waiting for failed {behind}."
    stuck = {job.key for job in waiting}
    if any(job.status in _UNFINISHED and job.key not in stuck for job in jobs):
        yield prefix
        yield f"  {retry_command}"
    orphans = [job for job in failed if job.is_orphan]
    if orphans:
        yield (
            f"The server has forgotten what {_plural(len(orphans), 'follow-up')} would follow: "
            "to have it drawn again, use a new --out."
        )
    if any(job.retry_can_help for job in failed):
        yield "To begin what failed anew:"
        yield f"  {retry_command} --retry-failed"
    if uncertain:
        yield "Look for those on the server first. To send them again, and perhaps pay twice:"
        yield f"  {retry_command} --resubmit-uncertain"


def _failed(jobs: Sequence[Job]) -> Iterable[str]:
    """What failed, by what was said: that is told once."""
    alike: defaultdict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        alike[job.error_class or "?", one_line(_error_text(job), _MAX_ERROR_TEXT)].append(job)
    by_number = sorted(alike.items(), key=lambda item: -len(item[1]))
    if by_number:
        yield f"Failed ({len(jobs)}):"
    for (error_class, said), those in by_number[:_MAX_LISTED]:
        yield f"  {len(those)} × {one_line(error_class)}: {_numbers([job.number for job in those])}"
        yield f"    {said}"
    if len(by_number) > _MAX_LISTED:
        rest = sum(len(those) for _, those in by_number[_MAX_LISTED:])
        yield f"  … and {rest} more, for {len(by_number) - _MAX_LISTED} other reasons"


def _uncertain(jobs: Sequence[Job]) -> Iterable[str]:
    if jobs:
        yield "Uncertain: sent, and nobody can tell whether the server took it:"
    for job in jobs[:_MAX_LISTED]:
        text = one_line(_error_text(job), _MAX_ERROR_TEXT)
        yield f"{_job_label(job)}: {text} (state {job.state_token or 'unknown'})"
    if len(jobs) > _MAX_LISTED:
        yield f"  … and {len(jobs) - _MAX_LISTED} more"


def _numbers(numbers: Iterable[int]) -> str:
    """A few numbers of prompts."""
    given = list(dict.fromkeys(numbers))
    more = f" … and {len(given) - _MAX_LISTED} more" if len(given) > _MAX_LISTED else ""
    return ", ".join(f"#{number}" for number in given[:_MAX_LISTED]) + more


def _blocked_steps(job: Job, failed: Iterable[Job]) -> bool:
    """Whether what a job would follow has failed, or waits itself."""
    return any(not other.is_step or job.step.startswith(f"{other.step}>") for other in failed)


def format_time_left(total: int, done: float, seconds: float) -> str:
    """How long the rest takes at the speed so far; "" while there is none.

    Args:
        total: Jobs to do in this run.
        done: How many of them are; those under way count in part.
        seconds: Since the run began.
    """
    if done <= 0 or total <= done:
        return ""
    minutes, rest = divmod(round((total - done) * seconds / done), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


# --- for machines ------------------------------------------------------------------------------


def job_dict(job: Job, folder: Path) -> dict[str, Any]:
    """The JSON of one job. Every key is always there."""
    error = {"type": job.error_class, "message": job.error} if job.error_class else None
    return {
        "ok": job.status is JobStatus.SAVED,
        "number": job.number,
        "key": job.key,
        "prompt": job.prompt,
        "step": job.step or None,
        "seed": job.seed,
        "state": str(job.status),
        "id": job.task_id,
        "action": job.action or None,
        "speed": job.speed or None,
        "mark": job.state_token,
        "attempts": job.attempts,
        "files": files_of(job, folder),
        "error": error,
    }


def forecast_dict(steps: Mapping[str, int]) -> dict[str, Any]:
    """The JSON of what a run would pay for."""
    presses = {step: many for step, many in steps.items() if step}
    return {"submits": sum(steps.values()), "grids": steps.get("", 0), "steps": presses}


def charges_dict(totals: Totals) -> list[dict[str, Any]]:
    """The JSON of what was paid for."""
    return [
        {"action": action, "speed": speed or None, "count": many}
        for (action, speed), many in sorted(totals.charges.items())
    ]
