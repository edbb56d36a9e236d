"""What every command that waits for tasks does: open, carry out, stop in good order, sum up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import attrs

from ..errors import MJError
from .connection_notices import Trouble
from .server_options import Server
from .signals import Stop
from .task_display import Cards, Screen
from .task_jobs import Job, carry_out, look_back
from .task_text import command, explain, is_usage, one_line, stands

if TYPE_CHECKING:
    from .._client import Client

__all__ = ["Work"]

_FOR_EVER: Final = float("inf")
_TICK: Final = 0.1
"""Seconds between two questions whether the server is in trouble."""


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
            except Exception as error:  # noqa: BLE001 - told, or raised again, when all is said
                trouble = error
        stopped = stop.exit_code is not None
        await look_back(self.jobs)
        if stopped or trouble is not None or any(map(_is_news, self.jobs)):
            self._say_what_is_open()
        if trouble is not None:
            raise trouble
        return stop.exit_code or self._exit_code()

    async def _carry_out(self) -> None:
        with self._screen:
            async with self.server.open(len(self.jobs)) as mj:
                telling = asyncio.create_task(self._tell_of_trouble(mj))
                try:
                    await carry_out(self.jobs, mj, self._screen, self.server.timeout)
                finally:
                    telling.cancel()
                    await asyncio.gather(telling, return_exceptions=True)

    async def _tell_of_trouble(self, mj: Client) -> None:
        """Say why nothing is heard of the tasks, and when the server answers again."""
        trouble = Trouble()
        while True:
            is_well = any(job.id and job.is_seen for job in self.jobs)
            held = _held_up(mj) or _refused(self.jobs)
            said = trouble.notice(held, time.monotonic(), is_well=is_well)
            if said:
                self._screen.note(said)
            await asyncio.sleep(_TICK)

    def _exit_code(self) -> int:
        failed = [job for job in self.jobs if not job.delivered]
        if len(self.jobs) == 1 and failed and is_usage(failed[0].error):
            return 2
        return 1 if failed else 0

    # --- when it is over ---

    def _say_what_is_open(self) -> None:
        """Say what is on the server and was not delivered, and how to go on with it."""
        left = [job for job in self.jobs if job.is_open and job.is_seen]
        unheard = [job for job in self.jobs if job.is_open and not job.is_seen]
        self._list_open(left)
        if left and self.server.simulate:
            self._screen.note("These ended with the simulator.")
        elif left:
            self._screen.note("These are on the server; nothing is lost. Go on with:")
            self._screen.note(f"  {self._resume(left)}")
        self._list_open(unheard)
        if unheard:
            self._screen.note("The server has told nothing of these yet. Ask again with:")
            self._screen.note(f"  {self._resume(unheard)}")
        for job in self.jobs:
            if job.uncertain is not None:
                self._screen.note(f"  {one_line(job.title, 40)}: {explain(job.uncertain)}")

    def _list_open(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            stand = stands(job.info) if job.is_seen else "unheard of"
            self._screen.note(f"  {one_line(job.id)}  {stand}  {one_line(job.title, 60)}")

    def _resume(self, jobs: Sequence[Job]) -> str:
        save = self.jobs[0].save
        saving = ["--save", save] if save else []
        ids = (job.id for job in jobs)
        return command(*self.resume, *self.server.flags(), *saving, *ids)

    # --- signals ---

    def _stopping(self) -> None:
        self._screen.close()
        if any(job.is_being_sent for job in self.jobs):
            text = "Stopping: what is being submitted is let finish (again to stop at once)."
            self._screen.note(text)

    def _giving_up(self) -> None:
        self._screen.note("Stopped at once.")
        self._say_what_is_open()
        uncertain = sum(job.is_being_sent for job in self.jobs)
        if uncertain:
            text = f"{uncertain} more being submitted: whether the server took them is unknown."
            self._screen.note(text)


def _is_news(job: Job) -> bool:
    """Whether more is known of a job than was said when it failed."""
    accepted_late = job.is_open and not getattr(job.error, "task_id", "")
    return accepted_late or job.is_unsaved or job.uncertain is not None


def _refused(jobs: Sequence[Job]) -> tuple[MJError, float] | None:
    """Why a submission is not taken for now, and for how many seconds more that is tried."""
    held = next((job.task.held_up for job in jobs if job.task and job.task.held_up), None)
    if held is None:
        return None
    until = held.until
    seconds = _FOR_EVER if until is None else (until - datetime.now(UTC)).total_seconds()
    return held.error, max(0.0, seconds)


def _held_up(mj: Client) -> tuple[MJError, float] | None:
    """Why no task can be looked at now, and for how many seconds more that is tried."""
    trouble = mj._watcher.trouble  # noqa: SLF001 - as a batch asks
    if trouble is None:
        return None
    error, until = trouble
    return error, max(0.0, until - mj._calls.clock.now())  # noqa: SLF001
