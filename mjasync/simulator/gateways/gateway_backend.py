"""What stands behind a gateway's listener: the channel, the rows, and whoever keeps them fresh."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from ..responses import Refusal, Reply
from ..routes import Route
from ..sim_task import Request, Submission
from .custom_ids import NOTICE
from .gateway_dialects import Gateway, Resale
from .go_json import Unreadable, decode, fill
from .passthrough import Passthrough
from .reseller import Counter
from .task_rows import Row, Rows
from .upstream import Channel, EmbeddedServer, Upstream
from .users import Terms

if TYPE_CHECKING:
    from ..backend import Settings
    from ..faults import Faults
    from ..webhook_sender import HookPost

__all__ = ["GatewayHouse"]

_MOMENT: Final = 0.05
"""Simulated seconds after which a gateway that had nothing to look for looks."""
_NAP: Final = 0.005
_LONGEST_FLOOR: Final = 60.0
_LIST: Final = "/mj/task/list-by-condition"
_SEEN: Final = {
    **NOTICE,
    **dict.fromkeys(("buttons", "properties", "videoUrls"), object),
    "videoUrl": str,
}
"""The fields of a task in a list."""


class GatewayHouse:
    """A gateway: what it answers is its clerk's business, when it looks upstream is its own."""

    def __init__(
        self,
        dialect: Gateway,
        settings: Settings,
        terms: Terms,
        *,
        upstream: Upstream,
        submissions: list[Submission],
        faults: Faults,
    ) -> None:
        self._faults = faults
        self._dialect, self._scale = dialect, settings.time_scale
        self._own: EmbeddedServer | None = upstream.own
        self._channel = Channel(upstream, settings.time_scale)
        self._rows = Rows()
        self._clerk = self._engage(dialect, settings, terms, submissions)
        self._poller: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    def _engage(
        self, dialect: Gateway, settings: Settings, terms: Terms, submissions: list[Submission]
    ) -> Counter | Passthrough:
        if isinstance(dialect, Resale):
            return Counter(
                dialect,
                terms,
                channel=self._channel,
                rows=self._rows,
                submissions=submissions,
                faults=self._faults,
                time_scale=settings.time_scale,
                list_endpoint=settings.list_endpoint,
                seed=settings.seed,
            )
        return Passthrough(
            dialect,
            terms,
            channel=self._channel,
            rows=self._rows,
            submissions=submissions,
            list_endpoint=settings.list_endpoint,
        )

    # --- life -----------------------------------------------------------------------------------

    async def open(self, url: str) -> None:
        """Begin; requests come in at ``url``."""
        if self._own is not None:
            await self._own.start()
        await self._channel.open()
        self._clerk.base = url
        if isinstance(self._dialect, Resale) and self._scale:
            self._poller = asyncio.create_task(self._poll(self._dialect))

    async def close(self) -> None:
        """Rest; what it knows is there after another `open`."""
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.cancel()
            await asyncio.wait([poller])
        await self._channel.close()
        if self._own is not None:
            await self._own.stop()

    def route(self, method: str, path: str) -> Route:
        """The route of a request."""
        return self._clerk.route(method, path)

    async def answer(self, request: web.BaseRequest, route: Route, record: Request) -> Reply:
        """Answer a request. Where no time passes, rows are never stale."""
        if not self._scale and isinstance(self._dialect, Resale) and route.kind != "image":
            await self._catch_up()
        return await self._clerk.answer(request, route, record)

    # --- what can be read off it ----------------------------------------------------------------

    @property
    def faults(self) -> Faults:
        """The script of its own upstream."""
        if self._own is None:
            raise ValueError("a gateway has no tasks, hooks or links: script that at its upstream")
        return self._own.fault_script

    @property
    def tasks(self) -> Mapping[str, Row]:
        """What a fetch of each task shows."""
        return self._rows.firsts

    @property
    def in_flight(self) -> int:
        """How many tasks are accepted and not seen to be finished."""
        return self._rows.in_flight

    @property
    def max_in_flight(self) -> int:
        """The most there were at once."""
        return self._rows.max_in_flight

    @property
    def hooks(self) -> list[HookPost]:
        """Those that its own upstream has posted."""
        return self._own.hooks if self._own is not None else []

    def forget(self, task_id: str | None) -> None:
        """Lose rows; a gateway that has none loses its own upstream's tasks."""
        if isinstance(self._dialect, Resale):
            self._rows.forget(task_id)
            return
        if self._own is None:
            raise RuntimeError("this gateway keeps no tasks: let its upstream forget them")
        self._own.forget(task_id)
        with contextlib.suppress(KeyError):
            self._rows.forget(task_id)

    def expire_links(self) -> None:
        """Make every link handed out so far expire; rows keep the links they have."""
        if self._own is None:
            raise RuntimeError("the links are the upstream's: let them expire there")
        self._own.expire_links()

    # --- the upstream ---------------------------------------------------------------------------

    async def settled(self) -> None:
        """Wait until the upstream has settled and everything about it is known here."""
        if self._own is not None:
            await self._own.settled()
        while await self._look() or (self._own is None and self._rows.in_flight):
            if not self._channel.is_open:
                raise RuntimeError("a stopped simulator settles nothing: start() it again")
            await asyncio.sleep(_NAP if self._own is None else 0)

    async def refresh(self) -> None:
        """Look at the upstream once."""
        await self._look()

    async def _catch_up(self) -> None:
        while await self._look():
            pass

    async def _poll(self, dialect: Resale) -> None:
        """PROTOCOL §6.3."""
        while True:
            if dialect.wakes_up and not self._rows.has_unfinished:
                await self._rows.inserted.wait()
                await asyncio.sleep(_MOMENT * self._scale)
            else:
                await asyncio.sleep(dialect.refresh_every * self._scale)
            await self._look()

    async def _look(self) -> bool:
        """Ask for everything unfinished, once; whether that brought any news."""
        async with self._looking:
            self._rows.give_up_nameless()
            rows = self._rows.unfinished
            before = _news(rows)
            for seen in await self._seen([*rows]) if rows else ():
                if row := rows.get(seen.get("id", "")):
                    row.refresh(seen, self._longest_ms())
                    self._rows.noticed(row)
            return _news(rows) != before

    async def _seen(self, ids: list[str]) -> list[Mapping[str, Any]]:
        """What the upstream says; one field that does not fit spoils the whole list."""
        patience = self._dialect.refresh_patience if isinstance(self._dialect, Resale) else 15
        try:
            answer = await self._channel.call(
                "POST",
                _LIST,
                data=orjson.dumps({"ids": ids}),
                content_type="application/json",
                seconds=self._channel.deadline(patience),
            )
            items = decode(answer.body) if answer.status == 200 else []
            return [fill(item, _SEEN, "dto.MidjourneyDto") for item in _as_list(items)]
        except (Refusal, Unreadable):
            return []

    def _longest_ms(self) -> float | None:
        """How old a task may be; where no time passes, as old as it likes."""
        if not self._scale or not isinstance(self._dialect, Resale):
            return None
        return self._channel.deadline(self._dialect.longest, floor=_LONGEST_FLOOR) * 1000


def _as_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Unreadable("json: cannot unmarshal into Go value of type []dto.MidjourneyDto")
    return value


def _news(rows: Mapping[str, Row]) -> list[tuple[str, str]]:
    return [(row.status, row.progress) for row in rows.values()]
