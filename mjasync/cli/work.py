"""What every command that waits for tasks does: open, carry out, stop in good order, sum up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import attrs

from ..errors import MJError
from .jobs import Job, carry_out, look_back
from .server import Server
from .show import Cards, Screen
from .stop import Stop
from .words import command, explain, is_usage, one_line, stands

__all__ = ["Work"]


@attrs.define(kw_only=True)
class Work:
    """A command: its jobs, and how they are to be done."""

    server: Server
    jobs: Sequence[Job]
    as_json: bool = False
    resume: Sequence[str] = ("watch",)
    """The command that goes on with ids."""
    _screen: Screen = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        cards = Cards(fleeting=self.server.simulate, flags=self.server.flags())
        self._screen = Screen(cards, as_json=self.as_json, total=len(self.jobs))

    def run(self) -> int:
        """Do it, and return the exit code."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
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
        if stopped or any(map(_is_news, self.jobs)):
            self._say_what_is_open()
        return stop.exit_code or self._exit_code()

    async def _carry_out(self) -> None:
        with self._screen:
            async with self.server.open(len(self.jobs)) as mj:
                await carry_out(self.jobs, mj, self._screen)

    def _exit_code(self) -> int:
        failed = [job for job in self.jobs if not job.delivered]
        if len(self.jobs) == 1 and failed and is_usage(failed[0].error):
            return 2
        return 1 if failed else 0

    # --- when it is over ---

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
        save = self.jobs[0].save
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
