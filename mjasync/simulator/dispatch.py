"""The dispatch of a request: routing, authorization, and the handler of its endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .handlers.commands import COMMAND_HANDLERS
from .handlers.follow_ups import FOLLOW_UP_HANDLERS
from .handlers.queries import GET_HANDLERS, POST_HANDLERS
from .request_bodies import FORM_TYPE
from .responses import RequestRefused, SimResponse
from .routes import MatchedRoute, match_route
from .sim_task import SubmissionRequest

if TYPE_CHECKING:
    from aiohttp import web

    from .dialect import Dialect
    from .handlers.queries import Queries
    from .sim_task import RequestRecord
    from .submitting import SubmissionService

_LIST_ENDPOINTS: Final = frozenset({"list", "list-by-condition", "list-by-ids"})
_FORM_ENDPOINTS: Final = frozenset({"video-swap"})
_SUBMIT_HANDLERS: Final = {**COMMAND_HANDLERS, **FOLLOW_UP_HANDLERS}


@attrs.frozen(kw_only=True)
class Dispatcher:
    """Routes, authorizes and dispatches the requests to one server."""

    dialect: Dialect
    token: str | None
    has_list_endpoint: bool
    submissions: SubmissionService
    queries: Queries

    def dispatch(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SimResponse:
        """Answer a request.

        Raises:
            RequestRefused: The server refuses it; the exception has the response.
        """
        endpoint = route.endpoint
        if endpoint is None or not self._is_routed(route):
            return self._unrouted(request)
        if not self._is_authorized(request):
            return self.dialect.unauthorized
        if endpoint in self.dialect.admin_only_endpoints and not self._is_admin(request):
            return self.dialect.not_admin_response
        if path_handler := GET_HANDLERS.get(endpoint):
            return path_handler(self.queries, route.task_id, record.at)
        parsed = self._parse_body(request, route, record)
        if body_handler := POST_HANDLERS.get(endpoint):
            return body_handler(self.queries, parsed)
        return _SUBMIT_HANDLERS[endpoint](self.submissions, parsed)

    def _unrouted(self, request: web.BaseRequest) -> SimResponse:
        """Return the response where nothing is served, or not with this method."""
        path = self.dialect.http_rules.normalize_path(request.path)
        routes = {method: match_route(method, path) for method in ("GET", "POST")}
        allowed_methods = [
            method
            for method, route in routes.items()
            if route.endpoint is not None and self._is_routed(route)
        ]
        response = self.dialect.http_rules.unrouted(
            request, allowed_methods, is_authorized=self._is_authorized(request)
        )
        return response or self.dialect.unrouted_response(404, request.path)

    def _is_routed(self, route: MatchedRoute) -> bool:
        if route.mode is not None and not self.dialect.has_path_modes:
            return False
        if route.image_host and not self.dialect.has_path_hosts:
            return False
        is_listed = self.has_list_endpoint or route.endpoint not in _LIST_ENDPOINTS
        return is_listed and route.endpoint in self.dialect.endpoints

    def _is_authorized(self, request: web.BaseRequest) -> bool:
        """Return whether the token is the server's or the administrator's."""
        is_user = self.token is None or self._read_token(request) == self.token
        return is_user or self._is_admin(request)

    def _is_admin(self, request: web.BaseRequest) -> bool:
        admin_token = self.dialect.admin_token
        return admin_token is not None and self._read_token(request) == admin_token

    def _read_token(self, request: web.BaseRequest) -> str | None:
        """Return the token of a request, from the first header that has one (PROTOCOL §6.2)."""
        tokens = (request.headers.get(name) for name in self.dialect.auth_headers)
        return next(filter(None, tokens), None)

    def _parse_body(
        self, request: web.BaseRequest, route: MatchedRoute, record: RequestRecord
    ) -> SubmissionRequest:
        is_form, media_type = route.endpoint in _FORM_ENDPOINTS, request.content_type
        is_json = self.dialect.http_rules.is_json(media_type)
        if not (media_type == FORM_TYPE if is_form else is_json):
            raise RequestRefused(self.dialect.malformed_response(415, request.path))
        if not isinstance(record.body, dict):
            raise RequestRefused(self.dialect.malformed_response(400, request.path))
        return SubmissionRequest(
            endpoint=route.endpoint or "",
            path=request.path,
            body=record.body,
            speed=route.speed,
            image_host=route.image_host,
            ignores_key_case=is_form or self.dialect.ignores_key_case,
            received_at=record.at,
        )
