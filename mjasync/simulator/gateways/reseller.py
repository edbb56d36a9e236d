"""A gateway with rows of its own: routes, users and reads (`new-api`, `one-hub`, `one-api`).

The backend refreshes the rows; here they are read as they are.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from ..responses import RequestRefused, SimResponse, json_response
from ..routes import MatchedRoute
from ..sim_task import RequestRecord
from .custom_ids import GatewayPanic
from .forwarded_submissions import SubmissionForwarder
from .gateway_request import NOTIFICATION, GatewayRequest
from .gateway_responses import string_error
from .gateway_routes import match_gateway_route, speed_from_mode, upstream_path
from .go_json import GoJsonError, GoStruct, decode
from .messages import ErrorTemplate, LocalError, RequestContext
from .middleware import GatewayMiddleware, answer_preflight
from .task_rows import TaskRow
from .users import UserRegistry

if TYPE_CHECKING:
    from .gateway_context import GatewayContext
    from .gateway_dialects import ResellerDialect

_ID_LIST: Final = GoStruct("struct", {"ids": list})


class Reseller:
    """Answers requests from rows, or by forwarding them to the upstream."""

    def __init__(self, dialect: ResellerDialect, context: GatewayContext) -> None:
        self._dialect, self._context = dialect, context
        self._users = UserRegistry(dialect.auth, dialect.messages, context.accounts)
        self._middleware = GatewayMiddleware(dialect, context)
        self._forwarder = SubmissionForwarder(dialect, context)
        self._random = random.Random(context.settings.seed)

    def route(self, method: str, path: str) -> MatchedRoute:
        """Return the route of a request; without an endpoint where nothing is registered."""
        route = match_gateway_route(method, path)
        is_enabled = self._context.settings.list_endpoint or route.kind != "list"
        is_registered = route.endpoint in self._dialect.endpoints
        is_routed = route.mode is None or route.mode.startswith(self._dialect.mode_prefix)
        return route if is_enabled and is_registered and is_routed else MatchedRoute()

    async def answer(
        self, web_request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request: middleware first, then the API."""
        if redirect := self._middleware.redirect(web_request):
            return redirect
        request_id = f"{time.time_ns() // 1000}{self._random.randrange(10**8):08}"
        response = answer_preflight(web_request, echoes_origin=self._dialect.echoes_origin)
        if response is None and route.endpoint is None:
            response = self._middleware.not_found(web_request)
        if response is None:
            response = self._middleware.check_overload()
        if response is None:
            response = await self._answer_api(web_request, route, record, request_id)
        return self._middleware.add_headers(response, web_request, request_id)

    async def _answer_api(
        self,
        web_request: web.BaseRequest,
        route: MatchedRoute,
        record: RequestRecord,
        request_id: str,
    ) -> SimResponse:
        try:
            if route.kind == "image":
                return await self._image(route.task_id)
            request = await self._make_request(web_request, route, record, request_id)
            return await self._dispatch(request)
        except RequestRefused as refusal:
            return refusal.response
        except GatewayPanic as panic:
            has_task = isinstance(record.body, dict) and bool(record.body.get("taskId"))
            return self._dialect.messages.panic_response(str(panic), has_task)

    async def _make_request(
        self,
        web_request: web.BaseRequest,
        route: MatchedRoute,
        record: RequestRecord,
        request_id: str,
    ) -> GatewayRequest:
        """Authenticate a request; the mode is checked before the token (PROTOCOL §6.1)."""
        allowed_modes = self._dialect.allowed_modes
        if route.mode and allowed_modes is not None and route.mode not in allowed_modes:
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
            is_strict=self._dialect.reads_body_first,
            path=upstream_path(web_request.path_qs),
            speed=speed_from_mode(route.mode),
            context=context,
        )

    async def _dispatch(self, request: GatewayRequest) -> SimResponse:
        match request.route.endpoint:
            case "fetch":
                row = self._require_row(request, self._dialect.messages.unknown_task)
                return json_response(self._serialize(row))
            case "list-by-condition":
                return self._list(request)
            case "image-seed":
                self._require_row(request, LocalError("task_no_found"))
                return await self._forwarder.seed(request)
            case "notify":
                return self._notify(request)
            case "swap":
                return await self._forwarder.swap(request)
            case _:
                return await self._forwarder.submit(request)

    def _list(self, request: GatewayRequest) -> SimResponse:
        """Return rows by ids, which must be strings (PROTOCOL §1.15)."""
        try:
            ids = _ID_LIST.decode(decode(request.raw_body, first_value_only=True))["ids"]
        except GoJsonError as error:
            raise self._dialect.messages.invalid_list.refuse(request.context) from error
        rows = self._context.rows.select(ids or (), request.user)
        return json_response([self._serialize(row) for row in rows])

    def _notify(self, request: GatewayRequest) -> SimResponse:
        """Apply an inbound webhook; any user may change any task (PROTOCOL §1.18)."""
        messages, rows = self._dialect.messages, self._context.rows
        try:
            fields = request.parse(NOTIFICATION)
        except GoJsonError as error:
            raise messages.invalid_notification.refuse(request.context) from error
        row = rows.find(fields["id"])
        if row is None:
            raise messages.notification_without_task.refuse(request.context)
        row.update(fields)
        rows.update(row)
        return SimResponse()

    async def _image(self, task_id: str) -> SimResponse:
        """Return the image of a task to anybody, from the upstream's link (PROTOCOL §1.18)."""
        row = self._context.rows.find(task_id)
        if row is None:
            return string_error(400, "midjourney_task_not_found")
        if refusal := self._middleware.check_image_url(row.image_url):
            return refusal
        if not row.image_url.startswith("http"):
            return string_error(500, "http_get_image_failed")
        try:
            response = await self._context.upstream.request(
                "GET", row.image_url, authenticated=False, allows_truncated=True
            )
        except RequestRefused:
            return string_error(500, "http_get_image_failed")
        if response.status != 200:
            return string_error(response.status, response.body.decode(errors="replace"))
        return SimResponse(body=response.body, content_type=response.content_type or "image/jpeg")

    def _require_row(self, request: GatewayRequest, message: ErrorTemplate) -> TaskRow:
        row = self._context.rows.find(request.route.task_id, request.user)
        if row is None:
            raise message.refuse(request.context)
        return row

    def _serialize(self, row: TaskRow) -> dict[str, Any]:
        """Return the JSON of a row, with the link of its image (PROTOCOL §3.4)."""
        image_url = row.image_url
        if image_url and self._dialect.proxies_images:
            public_url = self._context.accounts.public_url
            base_url = self._context.base_url if public_url is None else public_url
            image_url = f"{base_url}/mj/image/{row.id}"
            if row.status != "SUCCESS":
                image_url += f"?rand={time.time_ns()}"
        return row.as_json(image_url, has_videos=self._dialect.has_videos)


def _parse_language(header: str) -> str:
    """Return the first language of an ``Accept-Language``; English if it has no texts."""
    language_tag = header.partition(",")[0].partition(";")[0].strip().lower()
    if language_tag.startswith("zh"):
        return "zh-TW" if language_tag.startswith("zh-tw") else "zh-CN"
    return "en"
