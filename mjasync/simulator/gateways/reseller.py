"""The counter of a gateway with rows of its own: paths, tokens, reading (`new-api`, `one-hub`).

Rows are refreshed elsewhere; here they are read as they are.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from ..responses import Refusal, Reply, json_reply
from ..routes import Route
from ..sim_task import Request, Submission
from .custom_ids import CONDITION, Crash
from .forwarded_submissions import Sales, again
from .gateway_dialects import Resale
from .gateway_request import Visit
from .gateway_responses import DROPPED, fault, local_error
from .gateway_routes import mode_of, route_of, speed_of, upstream_path
from .go_json import Unreadable, decode_first, fill
from .messages import Asked
from .middleware import Front
from .task_rows import Row, Rows
from .upstream import Channel, empty, told
from .users import Passport, Terms

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..faults import Faults

__all__ = ["Counter"]

_SEED_FLOOR: Final = 0.2


class Counter:
    """Answers what comes in, from rows or by asking the upstream."""

    def __init__(
        self,
        dialect: Resale,
        terms: Terms,
        *,
        channel: Channel,
        rows: Rows,
        submissions: list[Submission],
        faults: Faults,
        time_scale: float,
        list_endpoint: bool,
        seed: int,
    ) -> None:
        self.base = ""
        """The address of the gateway, for links."""
        self._dialect, self._terms = dialect, terms
        self._passport = Passport(dialect.auth, dialect.words, terms)
        self._front = Front(dialect, faults, time_scale)
        self._channel, self._rows = channel, rows
        self._sales = Sales(
            dialect, terms, channel=channel, rows=rows, submissions=submissions, faults=faults
        )
        self._list_endpoint = list_endpoint
        self._random = random.Random(seed)

    # --- the way in -----------------------------------------------------------------------------

    def route(self, method: str, path: str) -> Route:
        """The route of a request; one that leads nowhere has no endpoint."""
        route = route_of(method, path)
        leads = self._dialect.routes(path) and self._is_registered(route)
        return route if leads else Route(kind="other")

    async def answer(self, request: web.BaseRequest, route: Route, record: Request) -> Reply:
        """Answer a request."""
        if moved := self._front.redirect(request):
            return moved
        request_id = f"{time.time_ns() // 1000}{self._random.randrange(10**8):08}"
        reply = self._front.preflight(request) or await self._inside(
            request, route, record, request_id
        )
        return self._front.dressed(reply, request, request_id)

    async def _inside(
        self, request: web.BaseRequest, route: Route, record: Request, request_id: str
    ) -> Reply:
        if route.endpoint is None:
            return self._front.nothing(request)
        if overloaded := self._front.overloaded():
            return overloaded
        try:
            if route.kind == "image":
                return await self._image(route.task_id)
            visit = await self._visit(request, route, record, request_id)
            return await self._serve(visit)
        except Refusal as refusal:
            return refusal.reply
        except Crash as crash:
            has_task = isinstance(record.body, dict) and bool(record.body.get("taskId"))
            left = self._dialect.words.crashed(str(crash), goes_on=has_task)
            return left.reply if left else DROPPED

    def _is_registered(self, route: Route) -> bool:
        listed = self._list_endpoint or route.endpoint != "list-by-condition"
        return listed and route.endpoint in self._dialect.endpoints

    async def _visit(
        self, request: web.BaseRequest, route: Route, record: Request, request_id: str
    ) -> Visit:
        """Let somebody in; the mode is looked at before the token (PROTOCOL §6.1)."""
        mode = mode_of(request.path)
        if mode and self._dialect.modes is not None and mode not in self._dialect.modes:
            raise Refusal(self._dialect.wrong_mode)
        language = _language(request.headers.get("Accept-Language", ""))
        asked = Asked(language=language, request_id=request_id)
        is_open = route.endpoint == "notify" and self._dialect.open_notices
        return Visit(
            user="" if is_open else self._passport.user(request.headers, asked),
            route=route,
            record=record,
            raw=await request.read(),
            content_type=request.headers.get("Content-Type", ""),
            path=upstream_path(request.path_qs),
            mode=speed_of(mode),
            asked=asked,
        )

    async def _serve(self, visit: Visit) -> Reply:
        serve = _SERVICES.get(visit.route.endpoint or "")
        return await (serve(self, visit) if serve else self._sales.submit(visit))

    # --- reading rows ---------------------------------------------------------------------------

    async def _fetch(self, visit: Visit) -> Reply:
        return json_reply(self._json(self._own(visit, self._dialect.words.no_task)))

    async def _list(self, visit: Visit) -> Reply:
        """PROTOCOL §1.15: the ids must be strings."""
        try:
            ids = fill(decode_first(visit.raw), CONDITION, "struct")["ids"]
        except Unreadable as error:
            raise self._dialect.words.bad_list() from error
        return json_reply([self._json(row) for row in self._rows.of(ids or (), visit.user)])

    def _own(self, visit: Visit, refused: Callable[[], Refusal]) -> Row:
        row = self._rows.find(visit.route.task_id, visit.user)
        if row is None:
            raise refused()
        return row

    def _json(self, row: Row) -> dict[str, Any]:
        link = self._link(row) if row.image_url else ""
        return row.as_json(link, videos=self._dialect.has_videos)

    def _link(self, row: Row) -> str:
        """PROTOCOL §3.4."""
        if not self._dialect.forwards_images:
            return row.image_url
        base = self.base if self._terms.public_url is None else self._terms.public_url
        link = f"{base}/mj/image/{row.id}"
        return link if row.status == "SUCCESS" else f"{link}?rand={time.time_ns()}"

    # --- the rest of the desk -------------------------------------------------------------------

    async def _image(self, task_id: str) -> Reply:
        """PROTOCOL §1.18: for anybody, and as the upstream's link has it."""
        row = self._rows.find(task_id)
        if row is None:
            return fault(400, "midjourney_task_not_found")
        if blocked := self._front.blocked(row.image_url):
            return blocked
        try:
            picture = await self._channel.picture(row.image_url)
        except Refusal:
            return fault(500, "http_get_image_failed")
        if picture.status != 200:
            return fault(picture.status, picture.body.decode(errors="replace"))
        return Reply(body=picture.body, content_type=picture.content_type or "image/jpeg")

    async def _notify(self, visit: Visit) -> Reply:
        """PROTOCOL §1.18: whoever has a token may tell anything about any task."""
        try:
            seen = visit.notice(strict=self._dialect.routes_first)
        except Unreadable as error:
            raise self._dialect.words.bad_notice() from error
        row = self._rows.find(seen["id"])
        if row is None:
            raise self._dialect.words.unknown_notice()
        row.update(seen)
        self._rows.noticed(row)
        return Reply()

    async def _seed(self, visit: Visit) -> Reply:
        """PROTOCOL §1.15: marshalled again, and with less patience than servers have."""
        self._own(visit, lambda: local_error("task_no_found"))
        self._sales.check_parents_channel()
        answer = await self._channel.call(
            "GET",
            visit.path,
            seconds=self._channel.deadline(self._dialect.seed_patience, floor=_SEED_FLOOR),
            secret=self._dialect.seeds_with_secret,
        )
        if self._dialect.hides_failures and answer.status >= 400:
            raise local_error("do_request_failed", code=5)
        status = 200 if self._dialect.seeds_are_fine else answer.status
        return again(status, told(answer) if answer.body else empty())

    async def _swap(self, visit: Visit) -> Reply:
        return await self._sales.swap(visit)


_SERVICES: Final[Mapping[str, Callable[[Counter, Visit], Awaitable[Reply]]]] = {
    "fetch": Counter._fetch,  # noqa: SLF001 - a table of its own methods
    "list-by-condition": Counter._list,  # noqa: SLF001
    "image-seed": Counter._seed,  # noqa: SLF001
    "notify": Counter._notify,  # noqa: SLF001
    "swap": Counter._swap,  # noqa: SLF001
}


def _language(header: str) -> str:
    """The language of an ``Accept-Language``: its first, if there are texts in it."""
    first = header.partition(",")[0].partition(";")[0].strip().lower()
    if first.startswith("zh"):
        return "zh-TW" if first.startswith("zh-tw") else "zh-CN"
    return "en"
