"""What every command that waits for tasks does: open, carry out, stop in good order, sum up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import attrs

from .. import Client
from ..errors import MJError
from .connection_notices import ConnectionNotices
from .server_options import ServerOptions
from .signals import GracefulShutdown
from .task_display import TaskDisplay, TaskFormatter
from .task_jobs import TaskRun, resolve_in_flight, run_all
from .task_text import command, explain, is_usage, one_line, task_state

__all__ = ["TaskCommand"]

_NO_TIMEOUT: Final = float("inf")
_TICK: Final = 0.1
"""Seconds between two questions whether the server is in trouble."""


@attrs.define(kw_only=True)
class TaskCommand:
    """A command: its jobs, and how they are to be done."""

    server: ServerOptions
    runs: Sequence[TaskRun]
    as_json: bool = False
    resume: Sequence[str] = ("watch",)
    """The command that goes on with ids."""
    _display: TaskDisplay = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        cards = TaskFormatter(links_expire=self.server.simulate, flags=self.server.flags())
        self._display = TaskDisplay(cards, as_json=self.as_json, total=len(self.runs))

    def run(self) -> int:
        """Do it, and return the exit code."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        trouble: Exception | None = None
        with GracefulShutdown(self._on_cancel, self._on_abort) as stop:
            try:
                await self._run_all()
            except Exception as error:  # noqa: BLE001 - told, or raised again, when all is said
                trouble = error
        stopped = stop.exit_code is not None
        await resolve_in_flight(self.runs)
        if stopped or trouble is not None or any(map(_is_changed, self.runs)):
            self._report_open_tasks()
        if trouble is not None:
            raise trouble
        return stop.exit_code or self._exit_code()

    async def _run_all(self) -> None:
        with self._display:
            async with self.server.open(len(self.runs)) as mj:
                telling = asyncio.create_task(self._report_connection(mj))
                try:
                    await run_all(self.runs, mj, self._display, self.server.timeout)
                finally:
                    telling.cancel()
                    await asyncio.gather(telling, return_exceptions=True)

    async def _report_connection(self, mj: Client) -> None:
        """Say why nothing is heard of the tasks, and when the server answers again."""
        trouble = ConnectionNotices()
        while True:
            is_well = any(job.id and job.is_seen for job in self.runs)
            held = mj.blocked_by or _refused_errors(self.runs)
            said = trouble.update(held, time.monotonic(), is_well=is_well)
            if said:
                self._display.info(said)
            await asyncio.sleep(_TICK)

    def _exit_code(self) -> int:
        failed = [job for job in self.runs if not job.delivered]
        if len(self.runs) == 1 and failed and is_usage(failed[0].error):
            return 2
        return 1 if failed else 0

    # --- when it is over ---

    def _report_open_tasks(self) -> None:
        """Say what is on the server and was not delivered, and how to go on with it."""
        left = [job for job in self.runs if job.is_open and job.is_seen]
        unheard = [job for job in self.runs if job.is_open and not job.is_seen]
        self._list_open(left)
        if left and self.server.simulate:
            self._display.info("These ended with the simulator.")
        elif left:
            self._display.info("These are on the server; nothing is lost. Go on with:")
            self._display.info(f"  {self._resume(left)}")
        self._list_open(unheard)
        if unheard:
            self._display.info("The server has told nothing of these yet. Ask again with:")
            self._display.info(f"  {self._resume(unheard)}")
        for job in self.runs:
            if job.uncertain is not None:
                self._display.info(f"  {one_line(job.title, 40)}: {explain(job.uncertain)}")

    def _list_open(self, jobs: Sequence[TaskRun]) -> None:
        for job in jobs:
            stand = task_state(job.info) if job.is_seen else "unheard of"
            self._display.info(f"  {one_line(job.id)}  {stand}  {one_line(job.title, 60)}")

    def _resume(self, jobs: Sequence[TaskRun]) -> str:
        save = self.runs[0].save
        saving = ["--save", save] if save else []
        ids = (job.id for job in jobs)
        return command(*self.resume, *self.server.flags(), *saving, *ids)

    # --- signals ---

    def _on_cancel(self) -> None:
        self._display.close()
        if any(job.is_submitting for job in self.runs):
            text = "Stopping: what is being submitted is let finish (again to stop at once)."
            self._display.info(text)

    def _on_abort(self) -> None:
        self._display.info("Stopped at once.")
        self._report_open_tasks()
        uncertain = sum(job.is_submitting for job in self.runs)
        if uncertain:
            text = f"{uncertain} more being submitted: whether the server took them is unknown."
            self._display.info(text)


def _is_changed(job: TaskRun) -> bool:
    """Whether more is known of a job than was said when it failed."""
    accepted_late = job.is_open and not getattr(job.error, "task_id", "")
    return accepted_late or job.is_unsaved or job.uncertain is not None


def _refused_errors(jobs: Sequence[TaskRun]) -> tuple[MJError, float] | None:
    """Why a submission is not taken for now, and for how many seconds more that is tried."""
    held = next((job.task.held_up for job in jobs if job.task and job.task.held_up), None)
    if held is None:
        return None
    until = held.until
    seconds = _NO_TIMEOUT if until is None else (until - datetime.now(UTC)).total_seconds()
    return held.error, max(0.0, seconds)
