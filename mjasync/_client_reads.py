"""The reads of a client: tasks, lists, accounts, images by id."""

from __future__ import annotations

from collections.abc import (
    Iterable,
    Mapping,
)
from typing import Any

from ._concurrency import gather_or_cancel
from ._http.reads import MAX_LIST_SIZE
from ._media.files import read_all
from ._models import Account, TaskInfo
from ._protocol import decoding
from ._submissions import SubmissionMethods
from ._task import Task
from ._validation import check_task_id
from .errors import (
    MJError,
    TaskNotFound,
    UnsupportedEndpoint,
)


class ClientReads(SubmissionMethods):
    """The methods of a client that read from the server."""

    def task(self, task_id: str, *, answered: bool = False) -> Task:
        """Attach to an existing task; awaiting the result submits nothing.

        Args:
            task_id: The id of the task.
            answered: Whether its modal was answered already, so that MODAL means pending.

        Raises:
            InvalidRequest: The id is empty or not a string.
        """
        info = TaskInfo(id=check_task_id(task_id))
        return Task(self._context, "attached", info=info, modal_answered=answered)

    async def fetch(self, task_ids: Iterable[str]) -> dict[str, TaskInfo]:
        """Fetch the current state of many tasks.

        Args:
            task_ids: The ids of the tasks.

        Returns:
            The tasks by id, in the order of `task_ids`, without those that the server does not
            know.

        Raises:
            MJError: The read failed.
        """
        self._context.loop.check()
        is_single = isinstance(task_ids, str | bytes) or not isinstance(task_ids, Iterable)
        unique_ids = list(dict.fromkeys(map(check_task_id, [task_ids] if is_single else task_ids)))
        infos: dict[str, TaskInfo] = {}
        for start in range(0, len(unique_ids), MAX_LIST_SIZE):
            infos |= await self._fetch_chunk(unique_ids[start : start + MAX_LIST_SIZE])
        return {task_id: infos[task_id] for task_id in unique_ids if task_id in infos}

    async def _fetch_chunk(self, task_ids: list[str]) -> dict[str, TaskInfo]:
        api = self._context.api
        if api.can_list():
            try:
                tasks = await api.fetch_many(task_ids, api.retries.read)
            except MJError as error:
                if api.can_list() or error.retryable:
                    raise
            else:
                return {info.id: info for info in decode_tasks(tasks)}
        infos = await gather_or_cancel(map(self._fetch_or_none, task_ids))
        return {info.id: info for info in infos if info is not None}

    async def _fetch_or_none(self, task_id: str) -> TaskInfo | None:
        try:
            return await self._context.api.fetch(task_id)
        except TaskNotFound:
            return None

    async def tasks(self) -> list[TaskInfo]:
        """List the tasks of the server: all, or the newest hundred (PROTOCOL §1.15).

        Raises:
            UnsupportedEndpoint: The server has no task list.
            MJError: The read failed.
        """
        self._context.loop.check()
        return decode_tasks(await self._context.api.get_list("task/list"))

    async def queue(self) -> list[TaskInfo]:
        """List the tasks that wait or run on the server.

        Raises:
            UnsupportedEndpoint: The server does not list them.
            MJError: The read failed.
        """
        self._context.loop.check()
        listed = decode_tasks(await self._context.api.get_list("task/queue"))
        return [
            info for info in listed if not info.status.is_final
        ]  # some servers keep failed ones

    async def accounts(self) -> list[Account]:
        """List the Midjourney accounts of the server, without their tokens (PROTOCOL §1.16).

        Raises:
            UnsupportedEndpoint: The server does not list them.
            MJError: The read failed.
        """
        self._context.loop.check()
        try:
            accounts = await self._context.api.get_list("account/list")
        except UnsupportedEndpoint:
            accounts = await self._context.api.get_list("account/query", "POST")
        return [decoding.decode_account(raw) for raw in accounts]

    async def account(self, account_id: str) -> Account | None:
        """Return one of those accounts, or None if the server does not know it.

        Args:
            account_id: The id of the account, which is the id of its channel.

        Raises:
            UnsupportedEndpoint: The server does not list accounts.
            MJError: The read failed.
        """
        self._context.loop.check()
        raw = await self._context.api.account(check_task_id(account_id, "account id"))
        return None if raw is None else decoding.decode_account(raw)

    async def image(self, task_id: str) -> bytes:
        """Download the image of a task by its id, from a gateway that has this endpoint.

        The endpoint is described in PROTOCOL §1.18.

        Args:
            task_id: The id of the task.

        Raises:
            UnsupportedEndpoint: The server has no such endpoint.
            MJError: The server does not know the task, or the download failed.
        """
        self._context.loop.check()
        return await self._context.api.download_by_id(check_task_id(task_id), read_all)


def decode_tasks(tasks: Iterable[Mapping[str, Any]]) -> list[TaskInfo]:
    return [decoding.decode_task(task) for task in tasks if decoding.parse_text(task.get("id"))]
