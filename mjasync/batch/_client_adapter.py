"""The client as a batch needs it: every attempt at a submission is one the ledger knows of."""

from __future__ import annotations

from datetime import datetime

import attrs

from .._client import Client
from .._client_reads import decode_tasks
from .._http.retry import RetryPolicy
from .._models import TaskInfo, TaskStatus
from .._submissions import SubmissionMethods
from .._task import Task
from ..errors import MJError

__all__ = ["BatchClient"]

_SINGLE_ATTEMPT = RetryPolicy(max_attempts=1)


class BatchClient(SubmissionMethods):
    """Makes Tasks that share a client's connections and watcher, and are sent once."""

    def __init__(self, client: Client) -> None:
        api = client._api  # noqa: SLF001 - another way into the same client
        retries = attrs.evolve(
            api.retries,
            connect=_SINGLE_ATTEMPT,
            overloaded=_SINGLE_ATTEMPT,
            no_account=_SINGLE_ATTEMPT,
            not_ready=_SINGLE_ATTEMPT,
        )
        self._client = client
        self._context = attrs.evolve(
            client._context,  # noqa: SLF001 - the same
            api=attrs.evolve(api, retries=retries, reconcile=False),
        )
        self._speed = client._speed  # noqa: SLF001 - the same
        self._speed_via = client._speed_via  # noqa: SLF001 - the same
        self.clock = api.clock
        self.overloaded = api.retries.overloaded
        self.connect_policy = api.retries.connect

    @property
    def last_error(self) -> tuple[MJError, float] | None:
        """Why no task can be looked at now, and until when that is tried."""
        return self._client._poller.last_error  # noqa: SLF001 - the same

    def check_open(self) -> None:
        """See that the client is.

        Raises:
            ClientClosed: It is not.
        """
        self._client._context.check_open()  # noqa: SLF001 - the same

    async def list_tasks(self) -> tuple[list[TaskInfo], datetime | None]:
        """The server's list of tasks, and its date: None where that is missing or a cache's.

        Raises:
            UnsupportedEndpoint: It keeps no list.
            MJError: The read failed.
        """
        rows, date = await self._context.api.get_list_with_date()
        return decode_tasks(rows), date

    async def server_date(self, unknown_id: str) -> datetime | None:
        """The server's clock, from an answer that no cache has; None where it does not tell."""
        return await self._context.api.server_date(unknown_id)

    def task(self, task_id: str, is_modal: str = "", state_token: str | None = None) -> Task:
        """Attach to a task the server knows.

        Args:
            task_id: Its id.
            is_modal: Where its modal stands.
            state_token: The state that was sent, where another one is that of another task.
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
