"""The client of a batch, whose submissions the ledger records one by one."""

from __future__ import annotations

from datetime import datetime

import attrs

from .._client import Client, context_of
from .._client_reads import decode_tasks
from .._http.retry import SINGLE_ATTEMPT
from .._http.submitter import SubmitPolicy
from .._models import TaskInfo, TaskStatus
from .._submissions import SubmissionMethods
from .._task import Task
from ..errors import MJError


class BatchClient(SubmissionMethods):
    """Creates Tasks that share a client's connections and polling, but are submitted once.

    The batch itself retries and reconciles, so that its ledger knows of each attempt.
    """

    def __init__(self, client: Client) -> None:
        context = context_of(client)
        retries = attrs.evolve(
            context.config.retries,
            connect=SINGLE_ATTEMPT,
            overloaded=SINGLE_ATTEMPT,
            no_account=SINGLE_ATTEMPT,
            not_ready=SINGLE_ATTEMPT,
        )
        policy = SubmitPolicy(retries=retries, reconcile=False)
        self._context = attrs.evolve(context, submit_policy=policy)
        self.clock = context.clock
        self.overloaded = context.config.retries.overloaded
        self.connect_policy = context.config.retries.connect
        self.timeout = context.config.timeout

    @property
    def last_error(self) -> tuple[MJError, float] | None:
        """The error that keeps all tasks from being polled now, and the end of its retries."""
        return self._context.poller.last_error

    def check_open(self) -> None:
        """Check that the client is open.

        Raises:
            ClientClosed: The client is closed.
        """
        self._context.submission_tasks.check_open()

    async def list_tasks(self) -> tuple[list[TaskInfo], datetime | None]:
        """Return the server's list of tasks and its date, None if missing or from a cache.

        Raises:
            UnsupportedEndpoint: The server has no list.
            MJError: The read failed.
        """
        rows, date = await self._context.api.get_list_with_date()
        return decode_tasks(rows), date

    async def server_date(self, unknown_id: str) -> datetime | None:
        """Return the server's date from a response that no cache has; None if unknown.

        Args:
            unknown_id: An id that was never requested.
        """
        return await self._context.api.server_date(unknown_id)

    def task(self, task_id: str, is_modal: str = "", state_token: str | None = None) -> Task:
        """Attach to a task of the server.

        Args:
            task_id: The id of the task.
            is_modal: The state of its modal: "", "open" or "answered".
            state_token: The state that was sent; a task with another state is not this one.
        """
        status = TaskStatus.MODAL if is_modal == "open" else TaskStatus.NOT_START
        info = TaskInfo(id=task_id, status=status)
        submitted_state = (state_token, None) if state_token else None
        return Task(
            self._context,
            "attached",
            info=info,
            modal_answered=is_modal == "answered",
            sent_state_and_prompt=submitted_state,
        )
