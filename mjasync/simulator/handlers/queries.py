"""All that asks about tasks and accounts and changes nothing, cancel apart (PROTOCOL §1.15-16)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import attrs

from ..request_fields import Intake
from ..responses import Reply, json_reply, refuse, submit_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..dialect import Dialect
    from ..engine import Account, Engine
    from ..sim_task import Order, SimTask
    from ..task_json import View

__all__ = ["ASKS", "LOOKS", "Reads"]


@attrs.frozen(kw_only=True)
class Reads:
    """Answers questions about one engine's tasks, in one dialect."""

    dialect: Dialect
    engine: Engine
    view: View

    def fetch(self, task_id: str, now: float) -> Reply:  # noqa: ARG002 - as every look
        """One task."""
        task = self.engine.tasks.get(task_id)
        return self.dialect.unknown_task if task is None else Reply(body=self.view.task(task))

    def image_seed(self, task_id: str, now: float) -> Reply:  # noqa: ARG002 - as every look
        """The seed of a finished picture, as a string."""
        task = self.engine.tasks.get(task_id)
        if task is None:
            raise refuse(3, "任务不存在或已失效", status=404)
        if task.status != "SUCCESS":
            raise refuse(4, "关联任务状态错误", status=400)
        if task.picture is None:
            raise refuse(3, "未找到 seed")
        wait = 0.0 if task.seed_known else self.dialect.seed_seconds * self.engine.time_scale
        task.seed_known, task.cache = True, None
        seed = str(task.picture.seed)
        return attrs.evolve(submit_result(1, "成功", seed), delay=wait)

    def cancel(self, task_id: str, now: float) -> Reply:
        """200 with an empty body, whether or not there is such a task."""
        task = self.engine.tasks.get(task_id)
        if task is not None:
            self.engine.cancel(task, self.dialect.cancel_status, now)
        return Reply()

    def everything(self, task_id: str, now: float) -> Reply:  # noqa: ARG002 - as every look
        """The newest first."""
        newest = islice(reversed(self.engine.tasks.values()), self.dialect.list_limit)
        return Reply(body=self.view.tasks([*newest]))

    def queue(self, task_id: str, now: float) -> Reply:  # noqa: ARG002 - as every look
        """What runs or waits, the oldest first."""
        busy = [t for t in self.engine.tasks.values() if _is_queued(t)]
        return Reply(body=self.view.tasks(busy))

    def accounts(self, asked: str, now: float) -> Reply:  # noqa: ARG002 - as every look
        """Every account with its secret in it (PROTOCOL §1.16)."""
        return json_reply([self._account(account) for account in self.engine.everyone])

    def account(self, asked: str, now: float) -> Reply:  # noqa: ARG002 - as every look
        """One account with its secret in it; nothing for an unknown one."""
        found = (account for account in self.engine.everyone if account.id == asked)
        account = next(found, None)
        return Reply() if account is None else json_reply(self._account(account))

    def query_accounts(self, order: Order) -> Reply:  # noqa: ARG002 - as every ask
        """Every account without its secret (PROTOCOL §1.16)."""
        known = [self._account(account) for account in self.engine.everyone]
        kept = [{key: one[key] for key in one if key != "userToken"} for one in known]
        return json_reply(kept)

    def _account(self, account: Account) -> dict[str, object]:
        return {
            "id": account.id,
            "properties": {},
            "guildId": f"3{account.id[1:]}",
            "channelId": account.id if self.dialect.one_id else account.channel,
            "userToken": account.user_token,
            "userAgent": "Mozilla/5.0",
            "enable": True,
            "coreSize": self.engine.concurrency,
            "queueSize": self.engine.queue_size,
            "timeoutMinutes": 5,
        }

    def by_ids(self, order: Order) -> Reply:
        """Those that are known, each once; never in the order that was asked for."""
        asked = Intake(order, self.dialect).texts("ids")
        ids = dict.fromkeys(i if self.dialect.jackson else i.strip() for i in asked)
        known = self.engine.tasks
        return Reply(body=self.view.tasks([known[i] for i in reversed(ids) if i in known]))


def _is_queued(task: SimTask) -> bool:
    shown = not task.terminal if task.queued is None else task.queued
    return task.accepted and shown


LOOKS: Final[Mapping[str, Callable[[Reads, str, float], Reply]]] = {
    "fetch": Reads.fetch,
    "image-seed": Reads.image_seed,
    "cancel": Reads.cancel,
    "list": Reads.everything,
    "queue": Reads.queue,
    "account-list": Reads.accounts,
    "account-fetch": Reads.account,
}
"""Endpoints that take at most an id, which stands in the path."""

ASKS: Final[Mapping[str, Callable[[Reads, Order], Reply]]] = {
    "list-by-condition": Reads.by_ids,
    "list-by-ids": Reads.by_ids,
    "account-query": Reads.query_accounts,
}
"""Endpoints that take a body."""
