"""The counter of a gateway with rows of its own: paths, tokens, reading (`new-api`, `one-hub`).

Rows are refreshed elsewhere; here they are read as they are.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from ..responses import RequestRefused, SimResponse, json_response
from ..routes import MatchedRoute
from ..sim_task import RequestRecord, Submission
from .custom_ids import LIST_FIELDS, UpstreamCrash
from .forwarded_submissions import SubmissionForwarder, repeat_upstream_result
from .gateway_dialects import ResellerDialect
from .gateway_request import GatewayRequest
from .gateway_responses import CLOSED_CONNECTION, local_error, string_error
from .gateway_routes import match_gateway_route, mode_of, speed_of, upstream_path
from .go_json import GoJsonError, decode_first, decode_struct
from .messages import RequestContext
from .middleware import GatewayMiddleware
from .task_rows import TaskRow, TaskRows
from .upstream import UpstreamClient, empty_submit_result, parse_submit_result
from .users import GatewayAccounts, UserRegistry

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..faults import FaultScript

__all__ = ["Reseller"]

_MIN_SEED_SECONDS: Final = 0.2


class Reseller:
    """Answers what comes in, from rows or by asking the upstream."""

    def __init__(
        self,
        dialect: ResellerDialect,
        terms: GatewayAccounts,
        *,
        channel: UpstreamClient,
        rows: TaskRows,
        submissions: list[Submission],
        faults: FaultScript,
        time_scale: float,
        list_endpoint: bool,
        seed: int,
    ) -> None:
        self.base = ""
        """The address of the gateway, for links."""
        self._dialect, self._terms = dialect, terms
        self._users = UserRegistry(dialect.auth, dialect.messages, terms)
        self._middleware = GatewayMiddleware(dialect, faults, time_scale)
        self._channel, self._rows = channel, rows
        self._forwarder = SubmissionForwarder(
            dialect, terms, channel=channel, rows=rows, submissions=submissions, faults=faults
        )
        self._list_endpoint = list_endpoint
        self._random = random.Random(seed)

    # --- the way in -----------------------------------------------------------------------------

    def route(self, method: str, path: str) -> MatchedRoute:
        """The route of a request; one that leads nowhere has no endpoint."""
        route = match_gateway_route(method, path)
        leads = self._dialect.routes(path) and self._is_registered(route)
        return route if leads else MatchedRoute(kind="other")

    async def answer(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request."""
        if moved := self._middleware.redirect(request):
            return moved
        request_id = f"{time.time_ns() // 1000}{self._random.randrange(10**8):08}"
        reply = self._middleware.preflight(request) or await self._answer_api(
            request, route, record, request_id
        )
        return self._middleware.add_headers(reply, request, request_id)

    async def _answer_api(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord, request_id: str
    ) -> SimResponse:
        if route.endpoint is None:
            return self._middleware.not_found(request)
        if overloaded := self._middleware.overload_response():
            return overloaded
        try:
            if route.kind == "image":
                return await self._image(route.task_id)
            visit = await self._make_request(request, route, record, request_id)
            return await self._dispatch(visit)
        except RequestRefused as refusal:
            return refusal.response
        except UpstreamCrash as crash:
            has_task = isinstance(record.body, dict) and bool(record.body.get("taskId"))
            left = self._dialect.messages.crashed(str(crash), goes_on=has_task)
            return left.response if left else CLOSED_CONNECTION

    def _is_registered(self, route: MatchedRoute) -> bool:
        listed = self._list_endpoint or route.endpoint != "list-by-condition"
        return listed and route.endpoint in self._dialect.endpoints

    async def _make_request(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord, request_id: str
    ) -> GatewayRequest:
        """Let somebody in; the mode is looked at before the token (PROTOCOL §6.1)."""
        mode = mode_of(request.path)
        if mode and self._dialect.modes is not None and mode not in self._dialect.modes:
            raise RequestRefused(self._dialect.wrong_mode)
        language = _language(request.headers.get("Accept-Language", ""))
        asked = RequestContext(language=language, request_id=request_id)
        is_open = route.endpoint == "notify" and self._dialect.open_notices
        return GatewayRequest(
            user="" if is_open else self._users.authenticate(request.headers, asked),
            route=route,
            record=record,
            raw=await request.read(),
            content_type=request.headers.get("Content-Type", ""),
            path=upstream_path(request.path_qs),
            mode=speed_of(mode),
            context=asked,
        )

    async def _dispatch(self, visit: GatewayRequest) -> SimResponse:
        serve = _HANDLERS.get(visit.route.endpoint or "")
        return await (serve(self, visit) if serve else self._forwarder.submit(visit))

    # --- reading rows ---------------------------------------------------------------------------

    async def _fetch(self, visit: GatewayRequest) -> SimResponse:
        return json_response(self._json(self._require_row(visit, self._dialect.messages.no_task)))

    async def _list(self, visit: GatewayRequest) -> SimResponse:
        """PROTOCOL §1.15: the ids must be strings."""
        try:
            ids = decode_struct(decode_first(visit.raw), LIST_FIELDS, "struct")["ids"]
        except GoJsonError as error:
            raise self._dialect.messages.bad_list() from error
        return json_response([self._json(row) for row in self._rows.select(ids or (), visit.user)])

    def _require_row(self, visit: GatewayRequest, refused: Callable[[], RequestRefused]) -> TaskRow:
        row = self._rows.find(visit.route.task_id, visit.user)
        if row is None:
            raise refused()
        return row

    def _json(self, row: TaskRow) -> dict[str, Any]:
        link = self._link(row) if row.image_url else ""
        return row.as_json(link, videos=self._dialect.has_videos)

    def _link(self, row: TaskRow) -> str:
        """PROTOCOL §3.4."""
        if not self._dialect.forwards_images:
            return row.image_url
        base = self.base if self._terms.public_url is None else self._terms.public_url
        link = f"{base}/mj/image/{row.id}"
        return link if row.status == "SUCCESS" else f"{link}?rand={time.time_ns()}"

    # --- the rest of the desk -------------------------------------------------------------------

    async def _image(self, task_id: str) -> SimResponse:
        """PROTOCOL §1.18: for anybody, and as the upstream's link has it."""
        row = self._rows.find(task_id)
        if row is None:
            return string_error(400, "midjourney_task_not_found")
        if blocked := self._middleware.is_link_blocked(row.image_url):
            return blocked
        try:
            picture = await self._channel.fetch_image(row.image_url)
        except RequestRefused:
            return string_error(500, "http_get_image_failed")
        if picture.status != 200:
            return string_error(picture.status, picture.body.decode(errors="replace"))
        return SimResponse(body=picture.body, content_type=picture.content_type or "image/jpeg")

    async def _notify(self, visit: GatewayRequest) -> SimResponse:
        """PROTOCOL §1.18: whoever has a token may tell anything about any task."""
        try:
            seen = visit.notification(strict=self._dialect.routes_first)
        except GoJsonError as error:
            raise self._dialect.messages.bad_notice() from error
        row = self._rows.find(seen["id"])
        if row is None:
            raise self._dialect.messages.unknown_notice()
        row.update(seen)
        self._rows.update(row)
        return SimResponse()

    async def _seed(self, visit: GatewayRequest) -> SimResponse:
        """PROTOCOL §1.15: marshalled again, and with less patience than servers have."""
        self._require_row(visit, lambda: local_error("task_no_found"))
        self._forwarder.check_parents_channel()
        answer = await self._channel.call(
            "GET",
            visit.path,
            seconds=self._channel.deadline(self._dialect.seed_patience, floor=_MIN_SEED_SECONDS),
            secret=self._dialect.seeds_with_secret,
        )
        if self._dialect.hides_failures and answer.status >= 400:
            raise local_error("do_request_failed", code=5)
        status = 200 if self._dialect.passes_seeds else answer.status
        return repeat_upstream_result(
            status, parse_submit_result(answer) if answer.body else empty_submit_result()
        )

    async def _swap(self, visit: GatewayRequest) -> SimResponse:
        return await self._forwarder.swap(visit)


_HANDLERS: Final[Mapping[str, Callable[[Reseller, GatewayRequest], Awaitable[SimResponse]]]] = {
    "fetch": Reseller._fetch,  # noqa: SLF001 - a table of its own methods
    "list-by-condition": Reseller._list,  # noqa: SLF001
    "image-seed": Reseller._seed,  # noqa: SLF001
    "notify": Reseller._notify,  # noqa: SLF001
    "swap": Reseller._swap,  # noqa: SLF001
}


def _language(header: str) -> str:
    """The language of an ``Accept-Language``: its first, if there are texts in it."""
    first = header.partition(",")[0].partition(";")[0].strip().lower()
    if first.startswith("zh"):
        return "zh-TW" if first.startswith("zh-tw") else "zh-CN"
    return "en"
