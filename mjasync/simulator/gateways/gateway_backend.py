"""The backend of a gateway: its handler, its rows, and the polls that refresh them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from ..responses import RequestRefused, SimResponse
from ..routes import MatchedRoute
from ..sim_task import RequestRecord
from .gateway_dialects import GatewayDialect, ResellerDialect
from .gateway_request import NOTIFICATION
from .go_json import GoJsonError, GoStruct, decode
from .passthrough import Passthrough
from .reseller import Reseller

if TYPE_CHECKING:
    from ..faults import FaultScript
    from ..webhook_sender import WebhookDelivery
    from .gateway_context import GatewayContext
    from .task_rows import TaskRow

_IDLE_SECONDS: Final = 0.05
"""Simulated seconds between the first task of an idle gateway and its poll."""
_WAIT_SECONDS: Final = 0.005
_MAX_TASK_SECONDS: Final = 3600.0
"""Simulated seconds after which an unfinished task counts as failed (PROTOCOL §3.6)."""
_MIN_MAX_TASK_SECONDS: Final = 60.0
_PASSTHROUGH_POLL_TIMEOUT: Final = 15.0
_LIST_PATH: Final = "/mj/task/list-by-condition"
_TASK: Final = GoStruct(
    "dto.MidjourneyDto",
    {
        **NOTIFICATION.fields,
        **dict.fromkeys(("buttons", "properties", "videoUrls"), object),
        "videoUrl": str,
    },
)
"""A task in a list."""


class GatewayBackend:
    """A gateway: its handler answers requests, and its polls refresh the rows."""

    def __init__(self, dialect: GatewayDialect, context: GatewayContext) -> None:
        self._context = context
        self._rows, self._upstream = context.rows, context.upstream
        self._embedded = context.upstream.embedded
        self._time_scale = context.settings.time_scale
        self._handler: Reseller | Passthrough
        self._reseller_dialect: ResellerDialect | None = None
        if isinstance(dialect, ResellerDialect):
            self._handler, self._reseller_dialect = Reseller(dialect, context), dialect
        else:
            self._handler = Passthrough(dialect, context)
        self._poll_asyncio_task: asyncio.Task[None] | None = None
        self._refresh_lock = asyncio.Lock()

    async def open(self, url: str) -> None:
        """Start to poll; requests come in at ``url``."""
        await self._upstream.open()
        self._context.base_url = url
        if self._reseller_dialect is not None and self._time_scale:
            self._poll_asyncio_task = asyncio.create_task(
                self._poll_forever(self._reseller_dialect)
            )

    async def close(self) -> None:
        """Stop; the rows are kept for another `open`."""
        asyncio_task, self._poll_asyncio_task = self._poll_asyncio_task, None
        if asyncio_task is not None:
            asyncio_task.cancel()
            await asyncio.wait([asyncio_task])
        await self._upstream.close()

    def route(self, method: str, path: str) -> MatchedRoute:
        """Return the route of a request."""
        return self._handler.route(method, path)

    async def answer(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request; without simulated time, rows are never stale."""
        keeps_fresh = self._reseller_dialect is not None and not self._time_scale
        if keeps_fresh and route.kind != "image":
            while await self.refresh():
                pass
        return await self._handler.answer(request, route, record)

    @property
    def faults(self) -> FaultScript:
        """The fault script of the embedded upstream."""
        if self._embedded is None:
            raise ValueError("a gateway has no tasks, hooks or links: script that at its upstream")
        return self._embedded.fault_script

    @property
    def tasks(self) -> Mapping[str, TaskRow]:
        """The row that a fetch of each task returns."""
        return self._rows.by_id

    @property
    def in_flight(self) -> int:
        """The number of tasks that are accepted and not known to be finished."""
        return self._rows.in_flight

    @property
    def max_in_flight(self) -> int:
        """The most tasks that were in flight at once."""
        return self._rows.max_in_flight

    @property
    def hooks(self) -> list[WebhookDelivery]:
        """The webhooks that the embedded upstream posted."""
        return self._embedded.hooks if self._embedded is not None else []

    def forget(self, task_id: str | None) -> None:
        """Lose rows; a gateway without rows of its own loses its upstream's tasks."""
        if self._reseller_dialect is not None:
            self._rows.forget(task_id)
            return
        if self._embedded is None:
            raise RuntimeError("this gateway keeps no tasks: let its upstream forget them")
        self._embedded.forget(task_id)
        with contextlib.suppress(KeyError):
            self._rows.forget(task_id)

    def expire_links(self) -> None:
        """Make all links expire; rows keep the links they have."""
        if self._embedded is None:
            raise RuntimeError("the links are the upstream's: let them expire there")
        self._embedded.expire_links()

    async def wait_idle(self) -> None:
        """Wait until the upstream is idle and all rows are up to date."""
        if self._embedded is not None:
            await self._embedded.wait_idle()
        while await self.refresh() or (self._embedded is None and self._rows.in_flight):
            if not self._upstream.is_open:
                raise RuntimeError("a stopped simulator settles nothing: start() it again")
            await asyncio.sleep(_WAIT_SECONDS if self._embedded is None else 0)

    async def refresh(self) -> bool:
        """Poll all unfinished tasks once; return whether any row changed."""
        async with self._refresh_lock:
            self._rows.fail_rows_without_id()
            rows = self._rows.unfinished_by_id
            previous_progress = _progress_of(rows)
            for task in await self._poll([*rows]) if rows else ():
                if row := rows.get(task["id"]):
                    row.refresh(task, self._max_task_ms())
                    self._rows.update(row)
            return _progress_of(rows) != previous_progress

    async def _poll_forever(self, dialect: ResellerDialect) -> None:
        """Poll at the interval of the dialect (PROTOCOL §6.3)."""
        while True:
            if dialect.polls_new_tasks_at_once and not self._rows.has_unfinished:
                await self._rows.row_inserted.wait()
                await asyncio.sleep(_IDLE_SECONDS * self._time_scale)
            else:
                await asyncio.sleep(dialect.poll_interval * self._time_scale)
            await self.refresh()

    async def _poll(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return the upstream's tasks; one field of a wrong type invalidates the whole list."""
        dialect = self._reseller_dialect
        timeout = dialect.poll_timeout if dialect is not None else _PASSTHROUGH_POLL_TIMEOUT
        try:
            response = await self._upstream.request(
                "POST",
                _LIST_PATH,
                body=orjson.dumps({"ids": ids}),
                content_type="application/json",
                timeout=self._context.scale_timeout(timeout),
            )
            items = decode(response.body) if response.status == 200 else []
            return [_TASK.decode(item) for item in items] if isinstance(items, list) else []
        except (RequestRefused, GoJsonError):
            return []

    def _max_task_ms(self) -> float | None:
        """Return the age at which a task has failed; None: it never does."""
        if not self._time_scale or self._reseller_dialect is None:
            return None
        seconds = self._context.scale_timeout(_MAX_TASK_SECONDS, min_seconds=_MIN_MAX_TASK_SECONDS)
        return seconds * 1000


def _progress_of(rows: Mapping[str, TaskRow]) -> list[tuple[str, str]]:
    return [(row.status, row.progress) for row in rows.values()]
