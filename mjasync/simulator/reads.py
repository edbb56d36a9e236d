"""Everything that asks about tasks and changes none of them, cancel apart (PROTOCOL §1.15)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import attrs

from .intake import Intake
from .replies import Reply, refuse, submit_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dialects import Dialect
    from .engine import Engine
    from .tasks import Order
    from .view import View

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
        if task.status != "SUCCESS" or task.picture is None:
            raise refuse(4, "关联任务状态错误", status=400)
        return submit_result(1, "成功", str(task.picture.seed))

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
        busy = [t for t in self.engine.tasks.values() if t.accepted and not t.terminal]
        return Reply(body=self.view.tasks(busy))

    def by_ids(self, order: Order) -> Reply:
        """Those that are known, each once; never in the order that was asked for."""
        ids = dict.fromkeys(task_id.strip() for task_id in Intake(order, self.dialect).texts("ids"))
        known = self.engine.tasks
        return Reply(body=self.view.tasks([known[i] for i in reversed(ids) if i in known]))


LOOKS: Final[Mapping[str, Callable[[Reads, str, float], Reply]]] = {
    "fetch": Reads.fetch,
    "image-seed": Reads.image_seed,
    "cancel": Reads.cancel,
    "list": Reads.everything,
    "queue": Reads.queue,
}
"""Endpoints that take at most an id, which stands in the path."""

ASKS: Final[Mapping[str, Callable[[Reads, Order], Reply]]] = {
    "list-by-condition": Reads.by_ids,
    "list-by-ids": Reads.by_ids,
}
"""Endpoints that take a body."""
