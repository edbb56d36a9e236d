"""Handlers of queries for tasks and accounts, and of cancel (PROTOCOL §1.15-16)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import attrs

from ..request_fields import RequestFields
from ..responses import SimResponse, json_response, make_refusal, submit_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..dialect import Dialect
    from ..engine import Engine, SimAccount
    from ..sim_task import SimTask, SubmissionRequest
    from ..task_json import TaskSerializer


@attrs.frozen(kw_only=True)
class Queries:
    """The queries of one engine's tasks and accounts, in one dialect."""

    dialect: Dialect
    engine: Engine
    serializer: TaskSerializer

    def fetch(self, task_id: str, _now: float) -> SimResponse:
        """Return one task."""
        task = self.engine.tasks.get(task_id)
        return (
            self.dialect.unknown_task_response
            if task is None
            else SimResponse(body=self.serializer.dump(task))
        )

    def seed(self, task_id: str, _now: float) -> SimResponse:
        """Return the seed of a finished picture as a string."""
        task = self.engine.tasks.get(task_id)
        if task is None:
            raise make_refusal(3, "任务不存在或已失效", status=404)
        if task.status != "SUCCESS":
            raise make_refusal(4, "关联任务状态错误", status=400)
        if task.image is None:
            raise make_refusal(3, "未找到 seed")
        seed_delay = self.dialect.seed_delay_seconds * self.engine.time_scale
        delay = 0.0 if task.is_seed_known else seed_delay
        task.is_seed_known, task.cached_json = True, None
        return attrs.evolve(submit_result(1, "成功", str(task.image.seed)), delay=delay)

    def cancel(self, task_id: str, now: float) -> SimResponse:
        """Cancel a task; answer 200 with an empty body even if there is no such task."""
        task = self.engine.tasks.get(task_id)
        if task is not None:
            self.engine.cancel(task, self.dialect.cancel_status, now)
        return SimResponse()

    def list_tasks(self, _task_id: str, _now: float) -> SimResponse:
        """Return the latest tasks, the newest first."""
        newest = islice(reversed(self.engine.tasks.values()), self.dialect.list_limit)
        return SimResponse(body=self.serializer.dump_list([*newest]))

    def list_queue(self, _task_id: str, _now: float) -> SimResponse:
        """Return the running and waiting tasks, the oldest first."""
        queued = [task for task in self.engine.tasks.values() if _is_queued(task)]
        return SimResponse(body=self.serializer.dump_list(queued))

    def list_accounts(self, _account_id: str, _now: float) -> SimResponse:
        """Return every account, including its secret (PROTOCOL §1.16)."""
        return json_response([self._account_json(account) for account in self.engine.all_accounts])

    def fetch_account(self, account_id: str, _now: float) -> SimResponse:
        """Return one account, including its secret; an empty body for an unknown one."""
        matches = (account for account in self.engine.all_accounts if account.id == account_id)
        account = next(matches, None)
        return SimResponse() if account is None else json_response(self._account_json(account))

    def query_accounts(self, _request: SubmissionRequest) -> SimResponse:
        """Return every account without its secret (PROTOCOL §1.16)."""
        accounts = [self._account_json(account) for account in self.engine.all_accounts]
        for account in accounts:
            del account["userToken"]
        return json_response(accounts)

    def _account_json(self, account: SimAccount) -> dict[str, object]:
        has_own_channel = not self.dialect.channel_id_is_account_id
        return {
            "id": account.id,
            "properties": {},
            "guildId": f"3{account.id[1:]}",
            "channelId": account.channel_id if has_own_channel else account.id,
            "userToken": account.user_token,
            "userAgent": "Mozilla/5.0",
            "enable": True,
            "coreSize": self.engine.concurrency,
            "queueSize": self.engine.queue_size,
            "timeoutMinutes": 5,
        }

    def list_by_ids(self, request: SubmissionRequest) -> SimResponse:
        """Return the existing tasks of some ids, each once, in the reverse order."""
        requested = RequestFields(request, self.dialect).texts("ids")
        if not self.dialect.uses_jackson:
            requested = [task_id.strip() for task_id in requested]
        last_first, tasks = reversed(dict.fromkeys(requested)), self.engine.tasks
        existing = [tasks[task_id] for task_id in last_first if task_id in tasks]
        return SimResponse(body=self.serializer.dump_list(existing))


def _is_queued(task: SimTask) -> bool:
    is_shown = not task.is_terminal if task.is_shown_in_queue is None else task.is_shown_in_queue
    return task.accepted and is_shown


GET_HANDLERS: Final[Mapping[str, Callable[[Queries, str, float], SimResponse]]] = {
    "fetch": Queries.fetch,
    "image-seed": Queries.seed,
    "cancel": Queries.cancel,
    "list": Queries.list_tasks,
    "queue": Queries.list_queue,
    "account-list": Queries.list_accounts,
    "account-fetch": Queries.fetch_account,
}
"""Handlers of endpoints that take at most an id in the path, by endpoint."""
POST_HANDLERS: Final[Mapping[str, Callable[[Queries, SubmissionRequest], SimResponse]]] = {
    "list-by-condition": Queries.list_by_ids,
    "list-by-ids": Queries.list_by_ids,
    "account-query": Queries.query_accounts,
}
"""Handlers of endpoints that take a body, by endpoint."""
