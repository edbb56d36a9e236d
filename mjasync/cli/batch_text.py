"""Text and JSON about the jobs of a batch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .. import errors
from ..batch import InputRows, Job, JobStatus, Totals
from .task_text import one_line

_STATUS_WORDS: Final = {
    JobStatus.SAVED: "saved",
    JobStatus.FAILED: "failed",
    JobStatus.UNCERTAIN: "uncertain",
    JobStatus.FINISHED: "drawn but not saved",
    JobStatus.ACCEPTED: "on the server",
    JobStatus.SUBMITTING: "being submitted",
    JobStatus.PLANNED: "not begun",
}
"""Statuses in words, in the order in which they are listed."""
_ENDED: Final = frozenset({JobStatus.SAVED, JobStatus.FAILED, JobStatus.UNCERTAIN})
_MAX_LISTED: Final = 10
"""Jobs listed at the end; a batch may have thousands."""
_MAX_SHOWN_PROMPTS: Final = 3
"""Prompts that a dry run shows."""
_MAX_TITLE: Final = 40
_MAX_ERROR_TEXT: Final = 240
_TASK_ID: Final = re.compile(r"\(task \S+\) ")


def format_counts(totals: Totals) -> str:
    """Return the number of jobs by status; 0 is only shown for saved ones."""
    counts = {status: totals.by_status.get(status, 0) for status in _STATUS_WORDS}
    shown = [status for status in counts if counts[status] or status is JobStatus.SAVED]
    return ", ".join(f"{counts[status]} {_STATUS_WORDS[status]}" for status in shown)


def format_charges(totals: Totals) -> str:
    """Return the number of submissions, and of finished tasks by action and speed."""
    submissions = f"Submissions: {totals.submits}."
    charges = [
        " ".join(filter(None, (one_line(action), one_line(speed), str(count))))
        for (action, speed), count in sorted(totals.charges.items())
    ]
    return f"{submissions} Finished: {', '.join(charges)}." if charges else submissions


def format_forecast(steps: Mapping[str, int]) -> str:
    """Return what a run would pay for, by step."""
    presses = {step: count for step, count in steps.items() if step}
    parts = [_plural(steps.get("", 0), "grid")]
    if presses:
        by_step = ", ".join(f"{count} {one_line(step)}" for step, count in presses.items())
        parts.append(f"{_plural(sum(presses.values()), 'follow-up')} ({by_step})")
    total = _plural(sum(steps.values()), "submission")
    return f"{total} to pay for: {', '.join(parts)}. Nothing was sent."


def format_input_notes(rows: InputRows, unused: Sequence[str]) -> Iterable[str]:
    """Yield what is easily overlooked in a file: skipped lines, multi-line rows, unused columns."""
    skipped = [_plural(rows.comments, "comment")] if rows.comments else []
    skipped += [_plural(rows.blank, "blank line")] if rows.blank else []
    if skipped:
        yield f"Skipped in the file: {', '.join(skipped)}."
    if rows.multiline_places:
        places = ", ".join(rows.multiline_places[:_MAX_LISTED])
        yield f"Quotes make one row of several lines: {places}."
    if unused:
        names = ", ".join(one_line(repr(name), _MAX_TITLE) for name in unused[:_MAX_LISTED])
        yield (
            f"Nothing uses these columns; only the manifest has them: {names}. "
            "A prompt or --template uses one by its name in braces."
        )


def format_not_requested(jobs: Sequence[Job], *, is_dropped: bool) -> Iterable[str]:
    """Yield the jobs that an earlier run planned and the file no longer contains."""
    if not jobs:
        return
    fate = "dropped" if is_dropped else "drawn, too, unless you add --drop-missing"
    yield f"{_plural(len(jobs), 'job')} of an earlier run not in the file any more ({fate}):"
    yield from _listed(jobs, format_job)


def preview_prompts(grids: Sequence[Job]) -> Iterable[str]:
    """Yield the first prompts, and the number of duplicates."""
    distinct = list({grid.key: grid for grid in grids}.values())
    yield from _listed(distinct, lambda grid: f"  {one_line(grid.prompt)}", _MAX_SHOWN_PROMPTS)
    if duplicates := len(grids) - len(distinct):
        yield f"{_plural(duplicates, 'duplicate')} left out: the same prompt is drawn once."


def _listed(
    jobs: Sequence[Job], render: Callable[[Job], str], limit: int = _MAX_LISTED
) -> Iterable[str]:
    """Yield a line for each of the first jobs, and the number of the others."""
    yield from map(render, jobs[:limit])
    if len(jobs) > limit:
        yield f"  … and {len(jobs) - limit} more"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_job(job: Job) -> str:
    """Return the number, the step and the prompt of a job."""
    return " ".join(filter(None, (f"{job.number:>4} ", one_line(job.step), one_line(job.prompt))))


def files_of(job: Job, folder: Path) -> list[str]:
    """Return the paths of the pictures of a job."""
    return [str(folder / file.path) for file in job.files]


def format_failure(job: Job) -> str:
    """Return a failed job and its error, without the hint, which the summary has."""
    hint = getattr(getattr(errors, job.error_class, None), "hint", "")
    return f"{_job_label(job)}: {one_line(_error_text(job).removesuffix(hint))}"


def _job_label(job: Job) -> str:
    title = one_line(" ".join(filter(None, (job.step, job.prompt))), _MAX_TITLE)
    return f"{job.number:>4}  {one_line(job.task_id or '-')}  {title}"


def _error_text(job: Job) -> str:
    """Return the error of a job, without the id of its task."""
    unexplained = "no reason given" if job.status is JobStatus.FAILED else _STATUS_WORDS[job.status]
    return _TASK_ID.sub("", job.error) or job.error_class or unexplained


def format_problems(
    jobs: Sequence[Job], retry_command: str, prefix: str = "Go on with:"
) -> Iterable[str]:
    """Yield what failed, is uncertain or is not finished, and what to do about each.

    Args:
        jobs: All jobs.
        retry_command: The command that resumes the batch.
        prefix: The line before that command.
    """
    failed = [job for job in jobs if job.status is JobStatus.FAILED]
    uncertain = [job for job in jobs if job.status is JobStatus.UNCERTAIN]
    yield from _format_failed(failed)
    if uncertain:
        yield "Uncertain: sent, and it is not known whether the server accepted it:"
        yield from _listed(uncertain, _format_uncertain)
    failed_by_root: defaultdict[str, list[Job]] = defaultdict(list)
    for job in failed:
        failed_by_root[job.root].append(job)
    blocked = [
        job
        for job in jobs
        if job.status is JobStatus.PLANNED
        and job.is_step
        and _is_blocked(job, failed_by_root[job.root])
    ]
    if blocked:
        numbers = _numbers(job.number for job in blocked)
        yield f"{_plural(len(blocked), 'follow-up')} not begun: waiting for failed {numbers}."
    blocked_keys = {job.key for job in blocked}
    if any(job.status not in _ENDED and job.key not in blocked_keys for job in jobs):
        yield prefix
        yield f"  {retry_command}"
    orphans = [job for job in failed if job.is_orphan]
    if orphans:
        yield (
            f"The server has forgotten what {_plural(len(orphans), 'follow-up')} would follow: "
            "to have it drawn again, use a new --out."
        )
    if any(job.retry_can_help for job in failed):
        yield "To retry what failed:"
        yield f"  {retry_command} --retry-failed"
    if uncertain:
        yield "Look for those on the server first. To send them again, and perhaps pay twice:"
        yield f"  {retry_command} --resubmit-uncertain"


def _format_failed(jobs: Sequence[Job]) -> Iterable[str]:
    """Yield failed jobs by error, the most frequent first."""
    jobs_by_error: defaultdict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        error = job.error_class or "?", one_line(_error_text(job), _MAX_ERROR_TEXT)
        jobs_by_error[error].append(job)
    groups = sorted(jobs_by_error.items(), key=lambda item: -len(item[1]))
    if groups:
        yield f"Failed ({len(jobs)}):"
    for (error_class, text), group in groups[:_MAX_LISTED]:
        numbers = _numbers(job.number for job in group)
        yield f"  {len(group)} × {one_line(error_class)}: {numbers}"
        yield f"    {text}"
    if len(groups) > _MAX_LISTED:
        others = sum(len(group) for _, group in groups[_MAX_LISTED:])
        yield f"  … and {others} more, for {len(groups) - _MAX_LISTED} other reasons"


def _format_uncertain(job: Job) -> str:
    text = one_line(_error_text(job), _MAX_ERROR_TEXT)
    return f"{_job_label(job)}: {text} (state {job.state_token or 'unknown'})"


def _numbers(numbers: Iterable[int]) -> str:
    distinct = list(dict.fromkeys(numbers))
    count = len(distinct) - _MAX_LISTED
    others = f" … and {count} more" if count > 0 else ""
    return ", ".join(f"#{number}" for number in distinct[:_MAX_LISTED]) + others


def _is_blocked(job: Job, failed: Iterable[Job]) -> bool:
    """Return whether a job continues one that has failed, directly or not."""
    return any(not other.is_step or job.step.startswith(f"{other.step}>") for other in failed)


def format_time_left(total: int, done: float, seconds: float) -> str:
    """Return the time left at the average speed so far; "" if unknown.

    Args:
        total: The number of jobs in this run.
        done: The number of finished jobs; running ones count in part.
        seconds: The seconds since the run began.
    """
    if done <= 0 or total <= done:
        return ""
    minutes, seconds_left = divmod(round((total - done) * seconds / done), 60)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{shown}:{seconds_left:02} left"


def job_dict(job: Job, folder: Path) -> dict[str, Any]:
    """Return the JSON of a job, in which no key is ever missing."""
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
    """Return the JSON of what a run would pay for."""
    presses = {step: count for step, count in steps.items() if step}
    return {"submits": sum(steps.values()), "grids": steps.get("", 0), "steps": presses}


def charges_dict(totals: Totals) -> list[dict[str, Any]]:
    """Return the JSON of what was paid for."""
    return [
        {"action": action, "speed": speed or None, "count": count}
        for (action, speed), count in sorted(totals.charges.items())
    ]
