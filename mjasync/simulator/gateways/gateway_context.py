"""What all handlers of a gateway share: settings, users, rows and the upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..sim_task import Submission
from .task_rows import TaskRow, TaskRows
from .upstream import MIN_TIMEOUT, UpstreamClient

if TYPE_CHECKING:
    from ..backend import SimulatorSettings
    from ..faults import FaultScript
    from ..sim_task import RequestRecord
    from .users import GatewayAccounts


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

    def scale_timeout(self, simulated_seconds: float, min_seconds: float = MIN_TIMEOUT) -> float:
        """Return a timeout in real seconds, not below ``min_seconds``."""
        if not self.settings.time_scale:
            return MIN_TIMEOUT
        return max(simulated_seconds * self.settings.time_scale, min_seconds)

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
