"""A gateway that passes everything on live, and says by path how fast and from where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson
from aiohttp import web

from ..responses import RequestRefused, SimResponse
from ..routes import MatchedRoute, match_route
from ..sim_task import RequestRecord, Submission
from .gateway_dialects import PassthroughDialect
from .gateway_responses import NOT_FOUND_PAGE, local_error, openai_error
from .messages import RequestContext
from .middleware import answer_preflight, cors_headers
from .task_rows import TaskRow, TaskRows
from .upstream import UpstreamClient, UpstreamResponse
from .users import GatewayAccounts, UserRegistry

__all__ = ["Passthrough"]

_ACCEPTED_CODES: Final = frozenset({1, 22})


@attrs.frozen(kw_only=True)
class PassthroughRequest:
    """A call of somebody who was let in."""

    user: str
    route: MatchedRoute
    record: RequestRecord
    speed: str | None
    image_host: str | None


class Passthrough:
    """Answers what comes in with what the upstream says, its links apart."""

    def __init__(
        self,
        dialect: PassthroughDialect,
        accounts: GatewayAccounts,
        *,
        upstream: UpstreamClient,
        rows: TaskRows,
        submissions: list[Submission],
        has_list_endpoint: bool,
    ) -> None:
        self.base_url = ""
        """The address of the gateway, for links."""
        self._dialect, self._accounts = dialect, accounts
        self._users = UserRegistry(dialect.auth, dialect.messages, accounts)
        self._upstream, self._rows, self._submissions = upstream, rows, submissions
        self._has_list_endpoint = has_list_endpoint
        speeds, image_hosts = "|".join(dialect.speeds), "|".join(dialect.image_hosts)
        self._api_path = re.compile(
            rf"(?:/mj(?:-(?P<speed>{speeds}))?(?:-(?P<host>{image_hosts}))?(?<!/mj))?(?P<plain>/mj/(?!mj/).+)"
        )
        self._image_path = re.compile(rf"/(?P<host>{image_hosts})(?P<rest>/.+)")

    def route(self, method: str, path: str) -> MatchedRoute:
        """The route of a request; one that leads nowhere is of no kind that is passed on."""
        if method == "GET" and (image_match := self._image_path.fullmatch(path)):
            return MatchedRoute(kind="image", endpoint="image", task_id=image_match["rest"])
        api_match = self._api_path.fullmatch(path)
        if api_match is None:
            return MatchedRoute(kind="other")
        plain_route = match_route(method, api_match["plain"])
        return attrs.evolve(
            plain_route, has_mode=True, speed=api_match["speed"], image_host=api_match["host"]
        )

    async def answer(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request; every page may read it."""
        reply = answer_preflight(request) or await self._answer_api(request, route, record)
        return attrs.evolve(reply, headers={**reply.headers, **cors_headers(request)})

    async def _answer_api(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        try:
            if route.kind == "image":
                return _unchanged_response(
                    await self._call_upstream("GET", _with_query(route.task_id, request))
                )
            if not route.has_mode or not (self._has_list_endpoint or route.kind != "list"):
                return NOT_FOUND_PAGE
            return await self._forward(request, self._make_request(request, route, record))
        except RequestRefused as refusal:
            return refusal.response

    def _make_request(
        self, web_request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> PassthroughRequest:
        """What the token is bound to goes before what the path asks for."""
        context = RequestContext(request_id=f"{int(record.at * 1000)}")
        user = self._users.authenticate(web_request.headers, context)
        speed, image_host = self._users.get_modes(user)
        return PassthroughRequest(
            user=user,
            route=route,
            record=record,
            speed=speed or route.speed or self._dialect.default_speed,
            image_host=image_host or route.image_host,
        )

    async def _forward(
        self, web_request: web.BaseRequest, passed: PassthroughRequest
    ) -> SimResponse:
        is_submission = passed.route.kind == "submit"
        if is_submission and self._accounts.quota is not None and self._accounts.quota <= 0:
            raise local_error("quota_not_enough")
        match = self._api_path.fullmatch(web_request.path)
        path = match["plain"] if match else web_request.path
        if is_submission and passed.speed:
            path = f"/mj-{passed.speed}{path}"
        response = await self._call_upstream(
            web_request.method,
            _with_query(path, web_request),
            body=await web_request.read(),
            content_type=web_request.headers.get("Content-Type"),
        )
        if is_submission:
            self._record_result(passed, response.json())
        return attrs.evolve(
            _unchanged_response(response), body=self._rewrite_links(response, passed)
        )

    async def _call_upstream(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> UpstreamResponse:
        """One call; a live gateway has only its own words for an upstream that is not there."""
        origin = self._upstream.origin if method == "GET" and not path.startswith("/mj") else ""
        timeout = self._upstream.scale_timeout(self._dialect.timeout)
        try:
            return await self._upstream.request(
                method, origin + path, body=body, content_type=content_type, timeout=timeout
            )
        except RequestRefused as error:
            error_type = self._dialect.error_type
            raise openai_error(502, "upstream unreachable", error_type, "none") from error

    # --- links ----------------------------------------------------------------------------------

    def _rewrite_links(self, response: UpstreamResponse, passed: PassthroughRequest) -> bytes:
        """The body with every link leading here, through the image host that was asked for."""
        value = response.json()
        if isinstance(value, list):
            return orjson.dumps([self._record_tasks(item, passed) for item in value])
        if isinstance(value, dict):
            return orjson.dumps(self._record_tasks(value, passed))
        return response.body

    def _record_tasks(self, value: Any, request: PassthroughRequest) -> Any:  # noqa: ANN401 - JSON holds anything
        """One task as it passes by, or whatever else it is."""
        is_task = isinstance(value, dict) and "id" in value
        row = self._rows.find(value["id"]) if is_task else None
        if row is not None:
            row.refresh(value, None)
            self._rows.update(row)
        image_host = (
            request.image_host or (row and row.image_host) or self._dialect.default_image_host
        )
        encoded = orjson.dumps(value)
        gateway_prefix, upstream_prefix = (
            f'"{self.base_url}/{image_host}/',
            f'"{self._upstream.origin}/',
        )
        return orjson.loads(encoded.replace(upstream_prefix.encode(), gateway_prefix.encode()))

    # --- books ----------------------------------------------------------------------------------

    def _record_result(self, request: PassthroughRequest, result: object) -> None:
        """Note a submission that was taken."""
        fields = result if isinstance(result, dict) else {}
        code, ids = fields.get("code"), fields.get("result")
        if code not in {*_ACCEPTED_CODES, 21} or not isinstance(ids, str | int):
            return
        for task_id in str(ids).split(","):
            self._record_task(request, task_id, is_accepted=code in _ACCEPTED_CODES)

    def _record_task(self, request: PassthroughRequest, task_id: str, *, is_accepted: bool) -> None:
        body: Mapping[str, Any] = (
            request.record.body if isinstance(request.record.body, dict) else {}
        )
        row = self._rows.find(task_id) or self._make_row(request, body, task_id)
        row.is_accepted = is_accepted
        self._rows.add(row)
        if not is_accepted:
            return
        if self._accounts.quota is not None:
            self._accounts.quota -= 1
        self._submissions.append(
            Submission(
                endpoint=request.record.endpoint or "",
                task_id=task_id,
                body=body,
                state=body.get("state") or None,
                prompt=body.get("prompt") or row.prompt or None,
                action=row.action,
                parent_id=row.parent_id,
                at=request.record.at,
            )
        )

    def _make_row(
        self, request: PassthroughRequest, body: Mapping[str, Any], task_id: str
    ) -> TaskRow:
        endpoint = request.record.endpoint or ""
        return TaskRow(
            id=task_id,
            user=request.user,
            action=str(body.get("action") or endpoint.upper()),
            prompt=str(body.get("prompt") or ""),
            submitted_at=int(request.record.at * 1000),
            mode=(request.speed or "fast").upper(),
            image_host=request.image_host,
            parent_id=body.get("taskId"),
        )


def _with_query(path: str, request: web.BaseRequest) -> str:
    return f"{path}?{request.query_string}" if request.query_string else path


def _unchanged_response(response: UpstreamResponse) -> SimResponse:
    content_type = response.content_type or "application/octet-stream"
    return SimResponse(status=response.status, body=response.body, content_type=content_type)
