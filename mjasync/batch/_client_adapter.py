"""The client as a batch needs it: every attempt at a submission is one the ledger knows of."""

from __future__ import annotations

from datetime import datetime

import attrs

from .._client import Client, _structured
from .._http.retry import RetryPolicy
from .._models import TaskInfo, TaskStatus
from .._submissions import Submits
from .._task import Task
from ..errors import MJError

__all__ = ["Door"]

_ONCE = RetryPolicy(tries=1)


class Door(Submits):
    """Makes Tasks that share a client's connections and watcher, and are sent once."""

    def __init__(self, client: Client) -> None:
        calls = client._calls  # noqa: SLF001 - another way into the same client
        retries = attrs.evolve(
            calls.retries, connect=_ONCE, busy=_ONCE, absent=_ONCE, lagging=_ONCE
        )
        self._client = client
        self._runtime = attrs.evolve(
            client._runtime,  # noqa: SLF001 - the same
            calls=attrs.evolve(calls, retries=retries, reconcile=False),
        )
        self._speed = client._speed  # noqa: SLF001 - the same
        self._speed_via = client._speed_via  # noqa: SLF001 - the same
        self.clock = calls.clock
        self.busy = calls.retries.busy
        self.connect = calls.retries.connect

    @property
    def trouble(self) -> tuple[MJError, float] | None:
        """Why no task can be looked at now, and until when that is tried."""
        return self._client._watcher.trouble  # noqa: SLF001 - the same

    def check_open(self) -> None:
        """See that the client is.

        Raises:
            ClientClosed: It is not.
        """
        self._client._runtime.check_open()  # noqa: SLF001 - the same

    async def tasks(self) -> tuple[list[TaskInfo], datetime | None]:
        """The server's list of tasks, and its date: None where that is missing or a cache's.

        Raises:
            UnsupportedEndpoint: It keeps no list.
            MJError: The read failed.
        """
        rows, date = await self._runtime.calls.list_dated()
        return _structured(rows), date

    async def server_date(self, unknown_id: str) -> datetime | None:
        """The server's clock, from an answer that no cache has; None where it does not tell."""
        return await self._runtime.calls.server_date(unknown_id)

    def task(self, task_id: str, modal: str = "", mark: str | None = None) -> Task:
        """Attach to a task the server knows.

        Args:
            task_id: Its id.
            modal: Where its modal stands.
            mark: The state that was sent, where another one is that of another task.
        """
        status = TaskStatus.MODAL if modal == "open" else TaskStatus.NOT_START
        info = TaskInfo(id=task_id, status=status)
        sent = (mark, None) if mark else None
        return Task(self._runtime, "attached", info=info, answered=modal == "answered", sent=sent)
