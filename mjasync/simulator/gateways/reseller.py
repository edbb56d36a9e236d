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
from .gateway_routes import match_gateway_route, parse_mode, speed_from_mode, upstream_path
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
        accounts: GatewayAccounts,
        *,
        upstream: UpstreamClient,
        rows: TaskRows,
        submissions: list[Submission],
        faults: FaultScript,
        time_scale: float,
        has_list_endpoint: bool,
        seed: int,
    ) -> None:
        self.base_url = ""
        """The address of the gateway, for links."""
        self._dialect, self._accounts = dialect, accounts
        self._users = UserRegistry(dialect.auth, dialect.messages, accounts)
        self._middleware = GatewayMiddleware(dialect, faults, time_scale)
        self._upstream, self._rows = upstream, rows
        self._forwarder = SubmissionForwarder(
            dialect, accounts, upstream=upstream, rows=rows, submissions=submissions, faults=faults
        )
        self._has_list_endpoint = has_list_endpoint
        self._random = random.Random(seed)

    # --- the way in -----------------------------------------------------------------------------

    def route(self, method: str, path: str) -> MatchedRoute:
        """The route of a request; one that leads nowhere has no endpoint."""
        route = match_gateway_route(method, path)
        is_routed = self._dialect.is_routed(path) and self._is_registered(route)
        return route if is_routed else MatchedRoute(kind="other")

    async def answer(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request."""
        if redirect := self._middleware.redirect(request):
            return redirect
        request_id = f"{time.time_ns() // 1000}{self._random.randrange(10**8):08}"
        reply = self._middleware.answer_preflight(request) or await self._answer_api(
            request, route, record, request_id
        )
        return self._middleware.add_headers(reply, request, request_id)

    async def _answer_api(
        self,
        web_request: web.BaseRequest,
        route: MatchedRoute,
        record: RequestRecord,
        request_id: str,
    ) -> SimResponse:
        if route.endpoint is None:
            return self._middleware.not_found(web_request)
        if overload_reply := self._middleware.overload_response():
            return overload_reply
        try:
            if route.kind == "image":
                return await self._image(route.task_id)
            request = await self._make_request(web_request, route, record, request_id)
            return await self._dispatch(request)
        except RequestRefused as refusal:
            return refusal.response
        except UpstreamCrash as panic:
            has_task = isinstance(record.body, dict) and bool(record.body.get("taskId"))
            panic_refusal = self._dialect.messages.handler_panicked(str(panic), has_task=has_task)
            return panic_refusal.response if panic_refusal else CLOSED_CONNECTION

    def _is_registered(self, route: MatchedRoute) -> bool:
        is_enabled = self._has_list_endpoint or route.endpoint != "list-by-condition"
        return is_enabled and route.endpoint in self._dialect.endpoints

    async def _make_request(
        self,
        web_request: web.BaseRequest,
        route: MatchedRoute,
        record: RequestRecord,
        request_id: str,
    ) -> GatewayRequest:
        """Let somebody in; the mode is looked at before the token (PROTOCOL §6.1)."""
        mode = parse_mode(web_request.path)
        if (
            mode
            and self._dialect.allowed_modes is not None
            and mode not in self._dialect.allowed_modes
        ):
            raise RequestRefused(self._dialect.unknown_mode_response)
        language = _parse_language(web_request.headers.get("Accept-Language", ""))
        context = RequestContext(language=language, request_id=request_id)
        is_public = route.endpoint == "notify" and self._dialect.has_public_notify
        return GatewayRequest(
            user="" if is_public else self._users.authenticate(web_request.headers, context),
            route=route,
            record=record,
            raw_body=await web_request.read(),
            content_type=web_request.headers.get("Content-Type", ""),
            path=upstream_path(web_request.path_qs),
            mode=speed_from_mode(mode),
            context=context,
        )

    async def _dispatch(self, request: GatewayRequest) -> SimResponse:
        handler = _HANDLERS.get(request.route.endpoint or "")
        return await (handler(self, request) if handler else self._forwarder.submit(request))

    # --- reading rows ---------------------------------------------------------------------------

    async def _fetch(self, request: GatewayRequest) -> SimResponse:
        return json_response(
            self._serialize(self._require_row(request, self._dialect.messages.unknown_task))
        )

    async def _list(self, request: GatewayRequest) -> SimResponse:
        """PROTOCOL §1.15: the ids must be strings."""
        try:
            ids = decode_struct(decode_first(request.raw_body), LIST_FIELDS, "struct")["ids"]
        except GoJsonError as error:
            raise self._dialect.messages.invalid_list() from error
        return json_response(
            [self._serialize(row) for row in self._rows.select(ids or (), request.user)]
        )

    def _require_row(
        self, request: GatewayRequest, make_error: Callable[[], RequestRefused]
    ) -> TaskRow:
        row = self._rows.find(request.route.task_id, request.user)
        if row is None:
            raise make_error()
        return row

    def _serialize(self, row: TaskRow) -> dict[str, Any]:
        image_url = self._image_url(row) if row.image_url else ""
        return row.as_json(image_url, has_videos=self._dialect.has_videos)

    def _image_url(self, row: TaskRow) -> str:
        """PROTOCOL §3.4."""
        if not self._dialect.proxies_images:
            return row.image_url
        base_url = self.base_url if self._accounts.public_url is None else self._accounts.public_url
        image_url = f"{base_url}/mj/image/{row.id}"
        return image_url if row.status == "SUCCESS" else f"{image_url}?rand={time.time_ns()}"

    # --- the rest of the desk -------------------------------------------------------------------

    async def _image(self, task_id: str) -> SimResponse:
        """PROTOCOL §1.18: for anybody, and as the upstream's link has it."""
        row = self._rows.find(task_id)
        if row is None:
            return string_error(400, "midjourney_task_not_found")
        if blocked_reply := self._middleware.blocked_link_response(row.image_url):
            return blocked_reply
        try:
            response = await self._upstream.fetch_image(row.image_url)
        except RequestRefused:
            return string_error(500, "http_get_image_failed")
        if response.status != 200:
            return string_error(response.status, response.body.decode(errors="replace"))
        return SimResponse(body=response.body, content_type=response.content_type or "image/jpeg")

    async def _notify(self, request: GatewayRequest) -> SimResponse:
        """PROTOCOL §1.18: whoever has a token may tell anything about any task."""
        try:
            fields = request.notification(strict=self._dialect.reads_body_first)
        except GoJsonError as error:
            raise self._dialect.messages.invalid_notification() from error
        row = self._rows.find(fields["id"])
        if row is None:
            raise self._dialect.messages.notification_without_task()
        row.update(fields)
        self._rows.update(row)
        return SimResponse()

    async def _seed(self, request: GatewayRequest) -> SimResponse:
        """PROTOCOL §1.15: marshalled again, and with less patience than servers have."""
        self._require_row(request, lambda: local_error("task_no_found"))
        self._forwarder.check_parent_channel()
        response = await self._upstream.request(
            "GET",
            request.path,
            timeout=self._upstream.scale_timeout(
                self._dialect.seed_timeout, min_seconds=_MIN_SEED_SECONDS
            ),
            authenticated=self._dialect.sends_secret_for_seed,
        )
        if self._dialect.hides_upstream_errors and response.status >= 400:
            raise local_error("do_request_failed", code=5)
        status = 200 if self._dialect.passes_seeds else response.status
        return repeat_upstream_result(
            status, parse_submit_result(response) if response.body else empty_submit_result()
        )

    async def _swap(self, request: GatewayRequest) -> SimResponse:
        return await self._forwarder.swap(request)


_HANDLERS: Final[Mapping[str, Callable[[Reseller, GatewayRequest], Awaitable[SimResponse]]]] = {
    "fetch": Reseller._fetch,  # noqa: SLF001 - a table of its own methods
    "list-by-condition": Reseller._list,  # noqa: SLF001
    "image-seed": Reseller._seed,  # noqa: SLF001
    "notify": Reseller._notify,  # noqa: SLF001
    "swap": Reseller._swap,  # noqa: SLF001
}


def _parse_language(header: str) -> str:
    """The language of an ``Accept-Language``: its first, if there are texts in it."""
    language_tag = header.partition(",")[0].partition(";")[0].strip().lower()
    if language_tag.startswith("zh"):
        return "zh-TW" if language_tag.startswith("zh-tw") else "zh-CN"
    return "en"
