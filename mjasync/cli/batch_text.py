"""What the command line says about the jobs of a batch: to people, and to machines. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .. import errors
from ..batch import Job, JobState, Totals
from .task_text import one_line

__all__ = [
    "asked",
    "counts",
    "failure",
    "files_of",
    "forecast",
    "forecast_record",
    "line",
    "money",
    "money_record",
    "record",
    "remarks",
    "time_left",
    "troubles",
    "unasked",
]

_WORDS: Final = {
    JobState.SAVED: "saved",
    JobState.FAILED: "failed",
    JobState.UNCERTAIN: "uncertain",
    JobState.FINISHED: "drawn but not saved",
    JobState.ACCEPTED: "on the server",
    JobState.SUBMITTING: "being submitted",
    JobState.PLANNED: "not begun",
}
"""Where jobs stand, in the order it is told."""
_UNFINISHED: Final = frozenset(_WORDS) - {JobState.SAVED, JobState.FAILED, JobState.UNCERTAIN}
_TOLD: Final = 10
"""Failed jobs listed at the end; a batch may have thousands."""
_SHOWN: Final = 3
"""Prompts shown of a dry run."""
_TITLE: Final = 40
_SAID: Final = 240
_ID: Final = re.compile(r"\(task \S+\) ")


def counts(totals: Totals) -> str:
    """How many jobs stand where; none saved is worth saying."""
    told = {word: totals.states.get(state, 0) for state, word in _WORDS.items()}
    return ", ".join(f"{n} {word}" for word, n in told.items() if n or word == "saved")


def money(totals: Totals) -> str:
    """What was submitted and paid, by action and speed."""
    said = f"Submissions: {totals.submits}."
    paid = [
        " ".join(filter(None, (one_line(action), one_line(speed), str(many))))
        for (action, speed), many in sorted(totals.paid.items())
    ]
    return f"{said} Finished: {', '.join(paid)}." if paid else said


def forecast(steps: Mapping[str, int]) -> str:
    """What a run would pay for, by step."""
    presses = {step: many for step, many in steps.items() if step}
    said = [_many(steps.get("", 0), "grid")]
    if presses:
        by_step = ", ".join(f"{many} {one_line(step)}" for step, many in presses.items())
        said.append(f"{_many(sum(presses.values()), 'follow-up')} ({by_step})")
    whole = _many(sum(steps.values()), "submission")
    return f"{whole} to pay for: {', '.join(said)}. Nothing was sent."


def remarks(
    comments: int, blank: int, spanning: Sequence[str], unused: Sequence[str]
) -> Iterable[str]:
    """What of a file is easily overlooked: skipped lines, rows over several, unused columns."""
    skipped = [_many(comments, "comment")] if comments else []
    skipped += [_many(blank, "blank line")] if blank else []
    if skipped:
        yield f"Skipped in the file: {', '.join(skipped)}."
    if spanning:
        places = ", ".join(spanning[:_TOLD])
        yield f"Quotes make one row of several lines: {places}."
    if unused:
        names = ", ".join(one_line(repr(name), _TITLE) for name in unused[:_TOLD])
        yield (
            f"Nothing uses these columns; only the manifest has them: {names}. "
            "A prompt or --template uses one by its name in braces."
        )


def unasked(jobs: Sequence[Job], *, is_dropped: bool) -> Iterable[str]:
    """What an earlier run planned and the file does not ask for any more."""
    if not jobs:
        return
    fate = "dropped" if is_dropped else "drawn, too, unless you add --drop-missing"
    yield f"{_many(len(jobs), 'job')} of an earlier run not in the file any more ({fate}):"
    for job in jobs[:_TOLD]:
        yield line(job)
    if len(jobs) > _TOLD:
        yield f"  … and {len(jobs) - _TOLD} more"


def asked(grids: Sequence[Job]) -> Iterable[str]:
    """The first prompts of what is asked for, and how many are there twice."""
    distinct = list({grid.key: grid for grid in grids}.values())
    for grid in distinct[:_SHOWN]:
        yield f"  {one_line(grid.prompt)}"
    if len(distinct) > _SHOWN:
        yield f"  … and {len(distinct) - _SHOWN} more"
    if twice := len(grids) - len(distinct):
        yield f"{_many(twice, 'duplicate')} left out: the same prompt is drawn once."


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def line(job: Job) -> str:
    """Number, step and prompt of a job."""
    return " ".join(filter(None, (f"{job.n:>4} ", one_line(job.step), one_line(job.prompt))))


def files_of(job: Job, folder: Path) -> list[str]:
    """Where its pictures are."""
    return [str(folder / file.path) for file in job.files]


def failure(job: Job) -> str:
    """Which job failed, and what was said; what to do about it is told at the end."""
    hint = getattr(getattr(errors, job.error_class, None), "hint", "")
    return f"{_which(job)}: {one_line(_said(job).removesuffix(hint))}"


def _which(job: Job) -> str:
    title = one_line(" ".join(filter(None, (job.step, job.prompt))), _TITLE)
    return f"{job.n:>4}  {one_line(job.task_id or '-')}  {title}"


def _said(job: Job) -> str:
    """What was said, without what differs from job to job."""
    unexplained = "no reason given" if job.state is JobState.FAILED else _WORDS[job.state]
    return _ID.sub("", job.error) or job.error_class or unexplained


def troubles(jobs: Sequence[Job], again: str, lead: str = "Go on with:") -> Iterable[str]:
    """What failed, what is uncertain, what is left; and what to do about each.

    `again` is the command that goes on with the batch; `lead` introduces it.
    """
    failed = [job for job in jobs if job.state is JobState.FAILED]
    uncertain = [job for job in jobs if job.state is JobState.UNCERTAIN]
    yield from _failed(failed)
    yield from _uncertain(uncertain)
    lost: defaultdict[str, list[Job]] = defaultdict(list)
    for job in failed:
        lost[job.root].append(job)
    waiting = [
        job
        for job in jobs
        if job.state is JobState.PLANNED and job.is_step and _waits_for(job, lost[job.root])
    ]
    if waiting:
        behind = _numbers(job.n for job in waiting)
        yield f"{_many(len(waiting), 'follow-up')} not begun: waiting for failed {behind}."
    stuck = {job.key for job in waiting}
    if any(job.state in _UNFINISHED and job.key not in stuck for job in jobs):
        yield lead
        yield f"  {again}"
    orphans = [job for job in failed if job.is_orphan]
    if orphans:
        yield (
            f"The server has forgotten what {_many(len(orphans), 'follow-up')} would follow: "
            "to have it drawn again, use a new --out."
        )
    if any(job.retry_can_help for job in failed):
        yield "To begin what failed anew:"
        yield f"  {again} --retry-failed"
    if uncertain:
        yield "Look for those on the server first. To send them again, and perhaps pay twice:"
        yield f"  {again} --resubmit-uncertain"


def _failed(jobs: Sequence[Job]) -> Iterable[str]:
    """What failed, by what was said: that is told once."""
    alike: defaultdict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        alike[job.error_class or "?", one_line(_said(job), _SAID)].append(job)
    by_number = sorted(alike.items(), key=lambda item: -len(item[1]))
    if by_number:
        yield f"Failed ({len(jobs)}):"
    for (error_class, said), those in by_number[:_TOLD]:
        yield f"  {len(those)} × {one_line(error_class)}: {_numbers([job.n for job in those])}"
        yield f"    {said}"
    if len(by_number) > _TOLD:
        rest = sum(len(those) for _, those in by_number[_TOLD:])
        yield f"  … and {rest} more, for {len(by_number) - _TOLD} other reasons"


def _uncertain(jobs: Sequence[Job]) -> Iterable[str]:
    if jobs:
        yield "Uncertain: sent, and nobody can tell whether the server took it:"
    for job in jobs[:_TOLD]:
        yield f"{_which(job)}: {one_line(_said(job), _SAID)} (state {job.mark or 'unknown'})"
    if len(jobs) > _TOLD:
        yield f"  … and {len(jobs) - _TOLD} more"


def _numbers(numbers: Iterable[int]) -> str:
    """A few numbers of prompts."""
    given = list(dict.fromkeys(numbers))
    more = f" … and {len(given) - _TOLD} more" if len(given) > _TOLD else ""
    return ", ".join(f"#{number}" for number in given[:_TOLD]) + more


def _waits_for(job: Job, failed: Iterable[Job]) -> bool:
    """Whether what a job would follow has failed, or waits itself."""
    return any(not other.is_step or job.step.startswith(f"{other.step}>") for other in failed)


def time_left(total: int, done: float, seconds: float) -> str:
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


def record(job: Job, folder: Path) -> dict[str, Any]:
    """The JSON of one job. Every key is always there."""
    error = {"type": job.error_class, "message": job.error} if job.error_class else None
    return {
        "ok": job.state is JobState.SAVED,
        "number": job.n,
        "key": job.key,
        "prompt": job.prompt,
        "step": job.step or None,
        "seed": job.seed,
        "state": str(job.state),
        "id": job.task_id,
        "action": job.action or None,
        "speed": job.speed or None,
        "mark": job.mark,
        "attempts": job.attempts,
        "files": files_of(job, folder),
        "error": error,
    }


def forecast_record(steps: Mapping[str, int]) -> dict[str, Any]:
    """The JSON of what a run would pay for."""
    presses = {step: many for step, many in steps.items() if step}
    return {"submits": sum(steps.values()), "grids": steps.get("", 0), "steps": presses}


def money_record(totals: Totals) -> list[dict[str, Any]]:
    """The JSON of what was paid for."""
    return [
        {"action": action, "speed": speed or None, "count": many}
        for (action, speed), many in sorted(totals.paid.items())
    ]
