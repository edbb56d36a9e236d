"""What every command that waits for tasks does: open, carry out, stop in good order, sum up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from ..errors import MJError
from .jobs import Job, carry_out, look_back
from .server import Server
from .show import BatchStyle, CardStyle, Screen
from .stop import Stop
from .words import command, explain, is_usage, one_line, stands

__all__ = ["Work"]


@attrs.define(kw_only=True)
class Work:
    """A command: its jobs, and how they are to be done."""

    server: Server
    jobs: Sequence[Job]
    as_json: bool = False
    limit: int | None = None
    """How many may be unfinished at once; None for all."""
    folder: Path | None = None
    """Where a batch puts its pictures; None: this is no batch."""
    resume: Sequence[str] = ("watch",)
    """The command that goes on with ids."""
    _screen: Screen = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        flags = self.server.flags()
        card = CardStyle(fleeting=self.server.simulate, flags=flags)
        style = BatchStyle(flags=flags) if self.folder else card
        self._screen = Screen(style, as_json=self.as_json, total=len(self.jobs))

    def run(self) -> int:
        """Do it, and return the exit code."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        began = time.monotonic()
        trouble: Exception | None = None
        with Stop(self._stopping, self._giving_up) as stop:
            try:
                await self._carry_out()
            except (MJError, OSError) as error:
                trouble = error
        if trouble is not None:
            self._screen.complain(explain(trouble))
            return 2 if is_usage(trouble) else 1
        stopped = stop.exit_code is not None
        await look_back(self.jobs)
        if self.folder is not None:
            self._sum_up(time.monotonic() - began, stopped=stopped)
        if stopped or self.folder is not None or any(map(_is_news, self.jobs)):
            self._say_what_is_open()
        return stop.exit_code or self._exit_code()

    async def _carry_out(self) -> None:
        at_once = min(self.limit or len(self.jobs), len(self.jobs))
        with self._screen:
            async with self.server.open(at_once) as mj:
                await carry_out(self.jobs, mj, self._screen, self.limit)

    def _exit_code(self) -> int:
        failed = [job for job in self.jobs if not job.delivered]
        if len(self.jobs) == 1 and failed and is_usage(failed[0].error):
            return 2
        return 1 if failed else 0

    # --- when it is over ---

    def _sum_up(self, seconds: float, *, stopped: bool) -> None:
        """Say how a batch went."""
        done = sum(job.delivered for job in self.jobs)
        failed = [job for job in self.jobs if job.error is not None]
        begun = sum(job.task is not None for job in self.jobs) - done - len(failed)
        counts = {
            "done": done,
            "failed": len(failed),
            "begun": begun,
            "not begun": len(self.jobs) - done - len(failed) - begun,
        }
        said = ", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "done")
        first = "Stopped: " if stopped else ""
        place = f" The pictures are in {self.folder}" if done else ""
        self._screen.note(f"{first}{said}, in {seconds:.1f} s.{place}")
        if failed:
            self._screen.note("Failed:")
        for job in failed:
            title = one_line(job.title, 40)
            self._screen.note(f"  {job.number or 0:>4}  {job.id or '-'}  {title}: {_cause(job)}")

    def _say_what_is_open(self) -> None:
        """Say what is on the server and was not delivered, and how to go on with it."""
        left = [job for job in self.jobs if job.is_open]
        for job in left:
            self._screen.note(f"  {job.id}  {stands(job.info)}  {one_line(job.title, 60)}")
        if left and self.server.simulate:
            self._screen.note("These ended with the simulator.")
        elif left:
            self._screen.note("These are on the server; nothing is lost. Go on with:")
            self._screen.note(f"  {self._resume(left)}")
        for job in self.jobs:
            if job.uncertain is not None:
                self._screen.note(f"  {one_line(job.title, 40)}: {explain(job.uncertain)}")

    def _resume(self, jobs: Sequence[Job]) -> str:
        save = f"{self.folder}/" if self.folder else self.jobs[0].save
        saving = ["--save", save] if save else []
        ids = (job.id for job in jobs)
        return command(*self.resume, *self.server.flags(), *saving, *ids)

    # --- signals ---

    def _stopping(self) -> None:
        self._screen.close()
        if any(job.is_on_wire for job in self.jobs):
            text = "Stopping: what is being submitted is let finish (again to stop at once)."
            self._screen.note(text)

    def _giving_up(self) -> None:
        self._screen.note("Stopped at once.")
        self._say_what_is_open()
        uncertain = sum(job.is_on_wire for job in self.jobs)
        if uncertain:
            text = f"{uncertain} more being submitted: whether the server took them is unknown."
            self._screen.note(text)


def _is_news(job: Job) -> bool:
    """Whether more is known of a job than was said when it failed."""
    accepted_late = job.is_open and not getattr(job.error, "task_id", "")
    return accepted_late or job.uncertain is not None


def _cause(job: Job) -> str:
    """Why a job failed, in a sentence."""
    said = getattr(job.error, "reason", "") or getattr(job.error, "message", "")
    return one_line(said or explain(job.error or OSError()))
