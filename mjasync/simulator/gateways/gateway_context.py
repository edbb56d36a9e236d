"""What all handlers of a gateway share: settings, users, rows and the upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..sim_task import Submission
from .task_rows import TaskRow, TaskRows

if TYPE_CHECKING:
    from ..backend import SimulatorSettings
    from ..faults import FaultScript
    from ..sim_task import RequestRecord
    from .upstream import UpstreamClient
    from .users import GatewayAccounts

__all__ = ["GatewayContext"]


@attrs.define(kw_only=True, eq=False)
class GatewayContext:
    """The collaborators of one gateway."""

    settings: SimulatorSettings
    accounts: GatewayAccounts
    upstream: UpstreamClient
    submissions: list[Submission]
    faults: FaultScript
    rows: TaskRows = attrs.field(factory=TaskRows)
    base_url: str = ""
    """The address the gateway listens at."""

    def record_submission(
        self, record: RequestRecord, row: TaskRow, *, state: str | None, prompt: str | None
    ) -> None:
        """Record an accepted submission and the row of its task."""
        self.submissions.append(
            Submission(
                endpoint=record.endpoint or "",
                task_id=row.id,
                body=record.body if isinstance(record.body, dict) else {},
                state=state or None,
                prompt=prompt or row.prompt or None,
                action=row.action,
                parent_id=row.parent_id,
                at=record.at,
            )
        )
