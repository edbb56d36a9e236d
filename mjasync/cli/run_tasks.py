"""The run of a command that waits for tasks, from the connection to the summary."""

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

_NO_TIMEOUT: Final = float("inf")
_TICK: Final = 0.1
"""Seconds between two checks of the connection."""


@attrs.define(kw_only=True)
class TaskCommand:
    """A command and its tasks."""

    server: ServerOptions
    runs: Sequence[TaskRun]
    as_json: bool = False
    resume: Sequence[str] = ("watch",)
    """The command that resumes tasks by their ids."""
    _display: TaskDisplay = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        formatter = TaskFormatter(links_expire=self.server.simulate, flags=self.server.flags())
        self._display = TaskDisplay(formatter, as_json=self.as_json, total=len(self.runs))

    def run(self) -> int:
        """Run the command and return its exit code."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        error: Exception | None = None
        with GracefulShutdown(self._on_cancel, self._on_abort) as stop:
            try:
                await self._run_all()
            except Exception as caught:  # noqa: BLE001 - raised again after the summary
                error = caught
        stopped = stop.exit_code is not None
        await resolve_in_flight(self.runs)
        if stopped or error is not None or any(map(_is_changed, self.runs)):
            self._report_open_tasks()
        if error is not None:
            raise error
        return stop.exit_code or self._exit_code()

    async def _run_all(self) -> None:
        with self._display:
            async with self.server.open(len(self.runs)) as mj:
                report_task = asyncio.create_task(self._report_connection(mj))
                try:
                    await run_all(self.runs, mj, self._display, self.server.timeout)
                finally:
                    report_task.cancel()
                    await asyncio.gather(report_task, return_exceptions=True)

    async def _report_connection(self, mj: Client) -> None:
        """Print why tasks make no progress, and when the server responds again."""
        notices = ConnectionNotices()
        while True:
            is_well = any(run.id and run.is_seen for run in self.runs)
            blocked_by = mj.blocked_by or _refused_errors(self.runs)
            notice = notices.update(blocked_by, time.monotonic(), is_well=is_well)
            if notice:
                self._display.info(notice)
            await asyncio.sleep(_TICK)

    def _exit_code(self) -> int:
        failed = [run for run in self.runs if not run.delivered]
        if len(self.runs) == 1 and failed and is_usage(failed[0].error):
            return 2
        return 1 if failed else 0

    def _report_open_tasks(self) -> None:
        """Print the tasks that are still on the server, and the command that resumes them."""
        open_runs = [run for run in self.runs if run.is_open and run.is_seen]
        unseen_runs = [run for run in self.runs if run.is_open and not run.is_seen]
        self._list_open(open_runs)
        if open_runs and self.server.simulate:
            self._display.info("These ended with the simulator.")
        elif open_runs:
            self._display.info("These are on the server; nothing is lost. Go on with:")
            self._display.info(f"  {self._resume(open_runs)}")
        self._list_open(unseen_runs)
        if unseen_runs:
            self._display.info("The server has returned nothing about these yet. Ask again with:")
            self._display.info(f"  {self._resume(unseen_runs)}")
        for run in self.runs:
            if run.uncertain is not None:
                self._display.info(f"  {one_line(run.title, 40)}: {explain(run.uncertain)}")

    def _list_open(self, runs: Sequence[TaskRun]) -> None:
        for run in runs:
            state = task_state(run.info) if run.is_seen else "unheard of"
            self._display.info(f"  {one_line(run.id)}  {state}  {one_line(run.title, 60)}")

    def _resume(self, runs: Sequence[TaskRun]) -> str:
        save = self.runs[0].save
        saving = ["--save", save] if save else []
        ids = (run.id for run in runs)
        return command(*self.resume, *self.server.flags(), *saving, *ids)

    def _on_cancel(self) -> None:
        self._display.stop_bars()
        if any(run.is_submitting for run in self.runs):
            self._display.info("Stopping: pending submissions finish first. Again to stop at once.")

    def _on_abort(self) -> None:
        self._display.info("Stopped at once.")
        self._report_open_tasks()
        uncertain = sum(run.is_submitting for run in self.runs)
        if uncertain:
            text = f"{uncertain} more being submitted: whether the server took them is unknown."
            self._display.info(text)


def _is_changed(run: TaskRun) -> bool:
    """Return whether more is known about a task than when its error was printed."""
    accepted_late = run.is_open and not getattr(run.error, "task_id", "")
    return accepted_late or run.is_unsaved or run.uncertain is not None


def _refused_errors(runs: Sequence[TaskRun]) -> tuple[MJError, float] | None:
    """Return why a submission is held up, and the seconds for which it is still retried."""
    held_up = next((run.task.held_up for run in runs if run.task and run.task.held_up), None)
    if held_up is None:
        return None
    until = held_up.until
    seconds = _NO_TIMEOUT if until is None else (until - datetime.now(UTC)).total_seconds()
    return held_up.error, max(0.0, seconds)
