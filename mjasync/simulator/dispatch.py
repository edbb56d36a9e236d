"""The door: is there such an endpoint here, may this client come in, and who serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .handlers.commands import COMMANDS
from .handlers.follow_ups import PRESSES
from .handlers.queries import ASKS, LOOKS
from .request_bodies import FORM
from .responses import Refusal, Reply
from .routes import Route, route_of
from .sim_task import Order

if TYPE_CHECKING:
    from aiohttp import web

    from .dialect import Dialect
    from .handlers.queries import Reads
    from .sim_task import Request
    from .submitting import Desk

__all__ = ["Door"]

_LISTS: Final = frozenset({"list", "list-by-condition", "list-by-ids"})
_FORMS: Final = frozenset({"video-swap"})
_SUBMITS: Final = {**COMMANDS, **PRESSES}


@attrs.frozen(kw_only=True)
class Door:
    """Lets requests in, in one dialect."""

    dialect: Dialect
    token: str | None
    list_endpoint: bool
    desk: Desk
    reads: Reads

    def enter(self, request: web.BaseRequest, route: Route, record: Request) -> Reply:
        """Answer a request.

        Raises:
            Refusal: It is refused; the answer is in the exception.
        """
        endpoint = route.endpoint
        if endpoint is None or not self._leads_somewhere(route):
            return self._astray(request)
        if not self._knows(request):
            return self.dialect.unauthorised
        if endpoint in self.dialect.admin_only and not self._is_admin(request):
            return self.dialect.not_admin
        if look := LOOKS.get(endpoint):
            return look(self.reads, route.task_id, record.at)
        order = self._order(request, route, record)
        if ask := ASKS.get(endpoint):
            return ask(self.reads, order)
        return _SUBMITS[endpoint](self.desk, order)

    def _astray(self, request: web.BaseRequest) -> Reply:
        """The answer where nothing is served, or not with this method."""
        path = self.dialect.http.path(request.path)
        routes = {method: route_of(method, path) for method in ("GET", "POST")}
        allowed = [
            method
            for method, route in routes.items()
            if route.endpoint is not None and self._leads_somewhere(route)
        ]
        reply = self.dialect.http.astray(request, allowed, self._knows(request))
        return reply or self.dialect.unrouted(404, request.path)

    def _leads_somewhere(self, route: Route) -> bool:
        if route.mode and not self.dialect.path_modes:
            return False
        if route.image_host and not self.dialect.path_hosts:
            return False
        listed = self.list_endpoint or route.endpoint not in _LISTS
        return listed and route.endpoint in self.dialect.endpoints

    def _knows(self, request: web.BaseRequest) -> bool:
        """Whether the token is right, or the administrator's."""
        return self.token is None or self._shown(request) == self.token or self._is_admin(request)

    def _is_admin(self, request: web.BaseRequest) -> bool:
        admin = self.dialect.admin_token
        return admin is not None and self._shown(request) == admin

    def _shown(self, request: web.BaseRequest) -> str | None:
        """The token a request shows; the first header that is there decides (PROTOCOL §6.2)."""
        present = (request.headers.get(name) for name in self.dialect.auth_headers)
        return next(filter(None, present), None)

    def _order(self, request: web.BaseRequest, route: Route, record: Request) -> Order:
        form = route.endpoint in _FORMS
        kind = request.content_type
        if not (kind == FORM if form else self.dialect.http.is_json(kind)):
            raise Refusal(self.dialect.malformed(415, request.path))
        if not isinstance(record.body, dict):
            raise Refusal(self.dialect.malformed(400, request.path))
        return Order(
            endpoint=route.endpoint or "",
            path=request.path,
            body=record.body,
            speed=route.speed,
            image_host=route.image_host,
            any_case=form or self.dialect.any_case,
            at=record.at,
        )
