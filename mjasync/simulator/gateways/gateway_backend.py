"""What stands behind a gateway's listener: the channel, the rows, and whoever keeps them fresh."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from ..responses import RequestRefused, SimResponse
from ..routes import MatchedRoute
from ..sim_task import RequestRecord, Submission
from .custom_ids import NOTIFY_FIELDS
from .gateway_dialects import GatewayDialect, ResellerDialect
from .go_json import GoJsonError, decode, decode_struct
from .passthrough import Passthrough
from .reseller import Reseller
from .task_rows import TaskRow, TaskRows
from .upstream import EmbeddedServer, UpstreamClient, UpstreamSettings
from .users import GatewayAccounts

if TYPE_CHECKING:
    from ..backend import SimulatorSettings
    from ..faults import FaultScript
    from ..webhook_sender import WebhookDelivery

__all__ = ["GatewayBackend"]

_IDLE_SECONDS: Final = 0.05
"""Simulated seconds after which a gateway that had nothing to look for looks."""
_WAIT_SECONDS: Final = 0.005
_MIN_MAX_TASK_SECONDS: Final = 60.0
_LIST_PATH: Final = "/mj/task/list-by-condition"
_TASK_FIELDS: Final = {
    **NOTIFY_FIELDS,
    **dict.fromkeys(("buttons", "properties", "videoUrls"), object),
    "videoUrl": str,
}
"""The fields of a task in a list."""


class GatewayBackend:
    """A gateway: what it answers is its clerk's business, when it looks upstream is its own."""

    def __init__(
        self,
        dialect: GatewayDialect,
        settings: SimulatorSettings,
        accounts: GatewayAccounts,
        *,
        upstream: UpstreamSettings,
        submissions: list[Submission],
        faults: FaultScript,
    ) -> None:
        self._faults = faults
        self._dialect, self._time_scale = dialect, settings.time_scale
        self._embedded: EmbeddedServer | None = upstream.embedded
        self._upstream = UpstreamClient(upstream, settings.time_scale)
        self._rows = TaskRows()
        self._handler = self._make_handler(dialect, settings, accounts, submissions)
        self._poll_asyncio_task: asyncio.Task[None] | None = None
        self._refresh_lock = asyncio.Lock()

    def _make_handler(
        self,
        dialect: GatewayDialect,
        settings: SimulatorSettings,
        accounts: GatewayAccounts,
        submissions: list[Submission],
    ) -> Reseller | Passthrough:
        if isinstance(dialect, ResellerDialect):
            return Reseller(
                dialect,
                accounts,
                upstream=self._upstream,
                rows=self._rows,
                submissions=submissions,
                faults=self._faults,
                time_scale=settings.time_scale,
                has_list_endpoint=settings.list_endpoint,
                seed=settings.seed,
            )
        return Passthrough(
            dialect,
            accounts,
            upstream=self._upstream,
            rows=self._rows,
            submissions=submissions,
            has_list_endpoint=settings.list_endpoint,
        )

    # --- life -----------------------------------------------------------------------------------

    async def open(self, url: str) -> None:
        """Begin; requests come in at ``url``."""
        if self._embedded is not None:
            await self._embedded.start()
        await self._upstream.open()
        self._handler.base_url = url
        if isinstance(self._dialect, ResellerDialect) and self._time_scale:
            self._poll_asyncio_task = asyncio.create_task(self._poll_forever(self._dialect))

    async def close(self) -> None:
        """Rest; what it knows is there after another `open`."""
        asyncio_task, self._poll_asyncio_task = self._poll_asyncio_task, None
        if asyncio_task is not None:
            asyncio_task.cancel()
            await asyncio.wait([asyncio_task])
        await self._upstream.close()
        if self._embedded is not None:
            await self._embedded.stop()

    def route(self, method: str, path: str) -> MatchedRoute:
        """The route of a request."""
        return self._handler.route(method, path)

    async def answer(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request. Where no time passes, rows are never stale."""
        if (
            not self._time_scale
            and isinstance(self._dialect, ResellerDialect)
            and route.kind != "image"
        ):
            await self._refresh_if_due()
        return await self._handler.answer(request, route, record)

    # --- what can be read off it ----------------------------------------------------------------

    @property
    def faults(self) -> FaultScript:
        """The script of its own upstream."""
        if self._embedded is None:
            raise ValueError("a gateway has no tasks, hooks or links: script that at its upstream")
        return self._embedded.fault_script

    @property
    def tasks(self) -> Mapping[str, TaskRow]:
        """What a fetch of each task shows."""
        return self._rows.by_id

    @property
    def in_flight(self) -> int:
        """How many tasks are accepted and not seen to be finished."""
        return self._rows.in_flight

    @property
    def max_in_flight(self) -> int:
        """The most there were at once."""
        return self._rows.max_in_flight

    @property
    def hooks(self) -> list[WebhookDelivery]:
        """Those that its own upstream has posted."""
        return self._embedded.hooks if self._embedded is not None else []

    def forget(self, task_id: str | None) -> None:
        """Lose rows; a gateway that has none loses its own upstream's tasks."""
        if isinstance(self._dialect, ResellerDialect):
            self._rows.forget(task_id)
            return
        if self._embedded is None:
            raise RuntimeError("this gateway keeps no tasks: let its upstream forget them")
        self._embedded.forget(task_id)
        with contextlib.suppress(KeyError):
            self._rows.forget(task_id)

    def expire_links(self) -> None:
        """Make every link handed out so far expire; rows keep the links they have."""
        if self._embedded is None:
            raise RuntimeError("the links are the upstream's: let them expire there")
        self._embedded.expire_links()

    # --- the upstream ---------------------------------------------------------------------------

    async def wait_idle(self) -> None:
        """Wait until the upstream has settled and everything about it is known here."""
        if self._embedded is not None:
            await self._embedded.wait_idle()
        while await self._refresh() or (self._embedded is None and self._rows.in_flight):
            if not self._upstream.is_open:
                raise RuntimeError("a stopped simulator settles nothing: start() it again")
            await asyncio.sleep(_WAIT_SECONDS if self._embedded is None else 0)

    async def refresh(self) -> None:
        """Look at the upstream once."""
        await self._refresh()

    async def _refresh_if_due(self) -> None:
        while await self._refresh():
            pass

    async def _poll_forever(self, dialect: ResellerDialect) -> None:
        """PROTOCOL §6.3."""
        while True:
            if dialect.refreshes_on_request and not self._rows.has_unfinished:
                await self._rows.row_inserted.wait()
                await asyncio.sleep(_IDLE_SECONDS * self._time_scale)
            else:
                await asyncio.sleep(dialect.poll_interval * self._time_scale)
            await self._refresh()

    async def _refresh(self) -> bool:
        """Ask for everything unfinished, once; whether that brought any news."""
        async with self._refresh_lock:
            self._rows.fail_rows_without_id()
            rows = self._rows.unfinished_by_id
            previous_progress = _changed_rows(rows)
            for task_fields in await self._fetch_upstream([*rows]) if rows else ():
                if row := rows.get(task_fields.get("id", "")):
                    row.refresh(task_fields, self._max_task_ms())
                    self._rows.update(row)
            return _changed_rows(rows) != previous_progress

    async def _fetch_upstream(self, ids: list[str]) -> list[Mapping[str, Any]]:
        """What the upstream says; one field that does not fit spoils the whole list."""
        timeout = self._dialect.poll_timeout if isinstance(self._dialect, ResellerDialect) else 15
        try:
            response = await self._upstream.request(
                "POST",
                _LIST_PATH,
                body=orjson.dumps({"ids": ids}),
                content_type="application/json",
                timeout=self._upstream.scale_timeout(timeout),
            )
            items = decode(response.body) if response.status == 200 else []
            return [
                decode_struct(item, _TASK_FIELDS, "dto.MidjourneyDto")
                for item in _require_list(items)
            ]
        except (RequestRefused, GoJsonError):
            return []

    def _max_task_ms(self) -> float | None:
        """How old a task may be; where no time passes, as old as it likes."""
        if not self._time_scale or not isinstance(self._dialect, ResellerDialect):
            return None
        return (
            self._upstream.scale_timeout(
                self._dialect.max_task_seconds, min_seconds=_MIN_MAX_TASK_SECONDS
            )
            * 1000
        )


def _require_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise GoJsonError("json: cannot unmarshal into Go value of type []dto.MidjourneyDto")
    return value


def _changed_rows(rows: Mapping[str, TaskRow]) -> list[tuple[str, str]]:
    return [(row.status, row.progress) for row in rows.values()]
