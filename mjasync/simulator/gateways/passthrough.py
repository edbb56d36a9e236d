"""A gateway that forwards everything as it is, with speed and image host by path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson
from aiohttp import web

from ..responses import RequestRefused, SimResponse
from ..routes import MatchedRoute, match_route
from ..sim_task import RequestRecord
from .gateway_responses import WEB_PAGE, local_error
from .messages import OpenAiError, RequestContext
from .middleware import answer_preflight, cors_headers
from .task_rows import TaskRow
from .upstream import ACCEPTED_CODES, MODAL_CODE, UpstreamResponse
from .users import UserRegistry

if TYPE_CHECKING:
    from .gateway_context import GatewayContext
    from .gateway_dialects import PassthroughDialect

_IMAGE_HOSTS: Final = "relay|origin|proxy"
_DEFAULT_IMAGE_HOST: Final = "origin"
_API_PATH: Final = re.compile(
    rf"(?:/mj(?:-(?P<speed>fast|turbo|relax))?(?:-(?P<host>{_IMAGE_HOSTS}))?(?<!/mj))?"
    r"(?P<plain>/mj/(?!mj/).+)"
)
_IMAGE_PATH: Final = re.compile(rf"/(?:{_IMAGE_HOSTS})(?P<plain>/.+)")
_UNREACHABLE: Final = OpenAiError("gateway_error", 502, "upstream unreachable")
_TIMEOUT: Final = 60.0
"""Simulated seconds the upstream has for any request."""


@attrs.frozen(kw_only=True)
class PassthroughRequest:
    """An authenticated request."""

    user: str
    record: RequestRecord
    speed: str | None
    """The speed of the token or of the path; None: the upstream decides."""
    image_host: str | None
    """The image host of the token or of the path."""


class Passthrough:
    """Forwards requests, and rewrites the links in the responses."""

    def __init__(self, dialect: PassthroughDialect, context: GatewayContext) -> None:
        self._context = context
        self._users = UserRegistry(dialect.auth, dialect.messages, context.accounts)

    def route(self, method: str, path: str) -> MatchedRoute:
        """Return the route of a request; any below ``/mj`` is forwarded."""
        if method == "GET" and (image_match := _IMAGE_PATH.fullmatch(path)):
            return MatchedRoute(endpoint="image", task_id=image_match["plain"])
        api_match = _API_PATH.fullmatch(path)
        if api_match is None:
            return MatchedRoute()
        plain_route = match_route(method, api_match["plain"])
        return attrs.evolve(plain_route, speed=api_match["speed"], image_host=api_match["host"])

    async def answer(
        self, web_request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request; every web page may read the response."""
        response = answer_preflight(web_request)
        if response is None:
            try:
                response = await self._answer_api(web_request, route, record)
            except RequestRefused as refusal:
                response = refusal.response
        headers = {**response.headers, **cors_headers(web_request)}
        return attrs.evolve(response, headers=headers)

    async def _answer_api(
        self, web_request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        context = self._context
        if route.kind == "image":
            url = context.upstream.origin + _with_query(route.task_id, web_request)
            return _unchanged_response(await self._send_upstream("GET", url))
        api_match = _API_PATH.fullmatch(web_request.path)
        if api_match is None or (route.kind == "list" and not context.settings.list_endpoint):
            return WEB_PAGE
        request = self._authenticate(web_request, route, record)
        path, is_submission = api_match["plain"], route.kind == "submit"
        if is_submission and context.accounts.is_quota_exhausted:
            raise local_error("quota_not_enough")
        if is_submission and request.speed:
            path = f"/mj-{request.speed}{path}"
        response = await self._send_upstream(
            web_request.method,
            _with_query(path, web_request),
            body=await web_request.read(),
            content_type=web_request.headers.get("Content-Type"),
        )
        if is_submission:
            self._record_result(request, response.json())
        return attrs.evolve(
            _unchanged_response(response), body=self._rewrite_links(response, request)
        )

    def _authenticate(
        self, web_request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> PassthroughRequest:
        """Authenticate a request; the modes of the token have precedence over the path's."""
        context = RequestContext(request_id=f"{int(record.at * 1000)}")
        user = self._users.authenticate(web_request.headers, context)
        speed, image_host = self._users.get_modes(user)
        return PassthroughRequest(
            user=user,
            record=record,
            speed=speed or route.speed,
            image_host=image_host or route.image_host,
        )

    async def _send_upstream(
        self, method: str, url: str, body: bytes | None = None, content_type: str | None = None
    ) -> UpstreamResponse:
        """Send one request; an unreachable upstream is an error of the gateway."""
        timeout = self._context.scale_timeout(_TIMEOUT)
        try:
            return await self._context.upstream.request(
                method, url, body=body, content_type=content_type, timeout=timeout
            )
        except RequestRefused as error:
            raise _UNREACHABLE.refuse(RequestContext(request_id="none")) from error

    def _rewrite_links(self, response: UpstreamResponse, request: PassthroughRequest) -> bytes:
        """Return the body with all links leading to the gateway, by the requested image host."""
        value = response.json()
        if isinstance(value, list):
            return orjson.dumps([self._rewrite_task(item, request) for item in value])
        if isinstance(value, dict):
            return orjson.dumps(self._rewrite_task(value, request))
        return response.body

    def _rewrite_task(self, value: Any, request: PassthroughRequest) -> Any:  # noqa: ANN401 - JSON holds anything
        """Rewrite the links of one value, and refresh its row if it is a task."""
        rows = self._context.rows
        row = rows.find(value["id"]) if isinstance(value, dict) and "id" in value else None
        if row is not None:
            row.refresh(value, None)
            rows.update(row)
        image_host = request.image_host or (row and row.image_host) or _DEFAULT_IMAGE_HOST
        gateway_prefix = f'"{self._context.base_url}/{image_host}/'.encode()
        upstream_prefix = f'"{self._context.upstream.origin}/'.encode()
        return orjson.loads(orjson.dumps(value).replace(upstream_prefix, gateway_prefix))

    def _record_result(self, request: PassthroughRequest, result: object) -> None:
        """Record the tasks of an accepted submission, or of an opened modal."""
        fields = result if isinstance(result, dict) else {}
        code, ids = fields.get("code"), fields.get("result")
        if code not in {*ACCEPTED_CODES, MODAL_CODE} or not isinstance(ids, str | int):
            return
        context, record = self._context, request.record
        body = record.body if isinstance(record.body, dict) else {}
        for task_id in str(ids).split(","):
            row = context.rows.find(task_id) or TaskRow(
                id=task_id,
                user=request.user,
                action=str(body.get("action") or (record.endpoint or "").upper()),
                prompt=str(body.get("prompt") or ""),
                submitted_at=int(record.at * 1000),
                mode=(request.speed or "fast").upper(),
                image_host=request.image_host,
                parent_id=body.get("taskId"),
            )
            row.is_accepted = code in ACCEPTED_CODES
            context.rows.insert_or_track(row)
            if row.is_accepted:
                context.accounts.charge()
                context.record_submission(
                    record, row, state=body.get("state"), prompt=body.get("prompt")
                )


def _with_query(path: str, request: web.BaseRequest) -> str:
    return f"{path}?{request.query_string}" if request.query_string else path


def _unchanged_response(response: UpstreamResponse) -> SimResponse:
    content_type = response.content_type or "application/octet-stream"
    return SimResponse(status=response.status, body=response.body, content_type=content_type)
