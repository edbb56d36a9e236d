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
from .middleware import cors, preflight
from .task_rows import TaskRow, TaskRows
from .upstream import UpstreamClient, UpstreamResponse
from .users import GatewayAccounts, UserRegistry

__all__ = ["Passthrough"]

_ACCEPTED: Final = frozenset({1, 22})


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
        terms: GatewayAccounts,
        *,
        channel: UpstreamClient,
        rows: TaskRows,
        submissions: list[Submission],
        list_endpoint: bool,
    ) -> None:
        self.base = ""
        """The address of the gateway, for links."""
        self._dialect, self._terms = dialect, terms
        self._users = UserRegistry(dialect.auth, dialect.messages, terms)
        self._channel, self._rows, self._submissions = channel, rows, submissions
        self._list_endpoint = list_endpoint
        speeds, hosts = "|".join(dialect.speeds), "|".join(dialect.image_hosts)
        self._api = re.compile(
            rf"(?:/mj(?:-(?P<speed>{speeds}))?(?:-(?P<host>{hosts}))?(?<!/mj))?(?P<plain>/mj/(?!mj/).+)"
        )
        self._picture = re.compile(rf"/(?P<host>{hosts})(?P<rest>/.+)")

    def route(self, method: str, path: str) -> MatchedRoute:
        """The route of a request; one that leads nowhere is of no kind that is passed on."""
        if method == "GET" and (picture := self._picture.fullmatch(path)):
            return MatchedRoute(kind="image", endpoint="image", task_id=picture["rest"])
        api = self._api.fullmatch(path)
        if api is None:
            return MatchedRoute(kind="other")
        plain = match_route(method, api["plain"])
        return attrs.evolve(plain, has_mode=True, speed=api["speed"], image_host=api["host"])

    async def answer(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request; every page may read it."""
        reply = preflight(request) or await self._answer_api(request, route, record)
        return attrs.evolve(reply, headers={**reply.headers, **cors(request)})

    async def _answer_api(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        try:
            if route.kind == "image":
                return _unchanged_response(
                    await self._call_upstream("GET", _with_query(route.task_id, request))
                )
            if not route.has_mode or not (self._list_endpoint or route.kind != "list"):
                return NOT_FOUND_PAGE
            return await self._forward(request, self._make_request(request, route, record))
        except RequestRefused as refusal:
            return refusal.response

    def _make_request(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> PassthroughRequest:
        """What the token is bound to goes before what the path asks for."""
        asked = RequestContext(request_id=f"{int(record.at * 1000)}")
        user = self._users.authenticate(request.headers, asked)
        speed, image_host = self._users.modes(user)
        return PassthroughRequest(
            user=user,
            route=route,
            record=record,
            speed=speed or route.speed or self._dialect.default_speed,
            image_host=image_host or route.image_host,
        )

    async def _forward(self, request: web.BaseRequest, passed: PassthroughRequest) -> SimResponse:
        submits = passed.route.kind == "submit"
        if submits and self._terms.quota is not None and self._terms.quota <= 0:
            raise local_error("quota_not_enough")
        found = self._api.fullmatch(request.path)
        path = found["plain"] if found else request.path
        if submits and passed.speed:
            path = f"/mj-{passed.speed}{path}"
        answer = await self._call_upstream(
            request.method,
            _with_query(path, request),
            data=await request.read(),
            content_type=request.headers.get("Content-Type"),
        )
        if submits:
            self._insert(passed, answer.json())
        return attrs.evolve(_unchanged_response(answer), body=self._rewrite_links(answer, passed))

    async def _call_upstream(
        self, method: str, path: str, data: bytes | None = None, content_type: str | None = None
    ) -> UpstreamResponse:
        """One call; a live gateway has only its own words for an upstream that is not there."""
        root = self._channel.origin if method == "GET" and not path.startswith("/mj") else ""
        seconds = self._channel.deadline(self._dialect.timeout)
        try:
            return await self._channel.call(
                method, root + path, data=data, content_type=content_type, seconds=seconds
            )
        except RequestRefused as error:
            kind = self._dialect.error_type
            raise openai_error(502, "upstream unreachable", kind, "none") from error

    # --- links ----------------------------------------------------------------------------------

    def _rewrite_links(self, answer: UpstreamResponse, passed: PassthroughRequest) -> bytes:
        """The body with every link leading here, through the image host that was asked for."""
        value = answer.json()
        if isinstance(value, list):
            return orjson.dumps([self._record_tasks(item, passed) for item in value])
        if isinstance(value, dict):
            return orjson.dumps(self._record_tasks(value, passed))
        return answer.body

    def _record_tasks(self, value: Any, visit: PassthroughRequest) -> Any:  # noqa: ANN401 - JSON holds anything
        """One task as it passes by, or whatever else it is."""
        is_task = isinstance(value, dict) and "id" in value
        row = self._rows.find(value["id"]) if is_task else None
        if row is not None:
            row.refresh(value, None)
            self._rows.update(row)
        host = visit.image_host or (row and row.image_host) or self._dialect.default_host
        text = orjson.dumps(value)
        here, there = f'"{self.base}/{host}/', f'"{self._channel.origin}/'
        return orjson.loads(text.replace(there.encode(), here.encode()))

    # --- books ----------------------------------------------------------------------------------

    def _insert(self, visit: PassthroughRequest, result: object) -> None:
        """Note a submission that was taken."""
        told = result if isinstance(result, dict) else {}
        code, ids = told.get("code"), told.get("result")
        if code not in {*_ACCEPTED, 21} or not isinstance(ids, str | int):
            return
        for task_id in str(ids).split(","):
            self._note(visit, task_id, paid=code in _ACCEPTED)

    def _note(self, visit: PassthroughRequest, task_id: str, *, paid: bool) -> None:
        body: Mapping[str, Any] = visit.record.body if isinstance(visit.record.body, dict) else {}
        row = self._rows.find(task_id) or self._row(visit, body, task_id)
        row.paid = paid
        self._rows.add(row)
        if not paid:
            return
        if self._terms.quota is not None:
            self._terms.quota -= 1
        self._submissions.append(
            Submission(
                endpoint=visit.record.endpoint or "",
                task_id=task_id,
                body=body,
                state=body.get("state") or None,
                prompt=body.get("prompt") or row.prompt or None,
                action=row.action,
                parent_id=row.parent_id,
                at=visit.record.at,
            )
        )

    def _row(self, visit: PassthroughRequest, body: Mapping[str, Any], task_id: str) -> TaskRow:
        endpoint = visit.record.endpoint or ""
        return TaskRow(
            id=task_id,
            user=visit.user,
            action=str(body.get("action") or endpoint.upper()),
            prompt=str(body.get("prompt") or ""),
            submitted=int(visit.record.at * 1000),
            mode=(visit.speed or "fast").upper(),
            image_host=visit.image_host,
            parent_id=body.get("taskId"),
        )


def _with_query(path: str, request: web.BaseRequest) -> str:
    return f"{path}?{request.query_string}" if request.query_string else path


def _unchanged_response(answer: UpstreamResponse) -> SimResponse:
    content_type = answer.content_type or "application/octet-stream"
    return SimResponse(status=answer.status, body=answer.body, content_type=content_type)
