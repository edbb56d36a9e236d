"""The counter of a gateway with rows of its own: paths, rewriting, selling (`new-api`, `one-hub`).

Rows are refreshed elsewhere; here they are made, and read as they are.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson
from aiohttp import web

from ..replies import Refusal, Reply, json_reply
from ..routes import Route
from ..tasks import Request, Submission
from .channel import Answer, Channel, empty, told
from .dialects import Resale
from .passport import Passport, Terms
from .paths import mode_of, route_of, speed_of, upstream_path
from .presses import ACTIONS, CONDITION, NOTICE, Crash, Unreadable, bind, press_of
from .rows import Row, Rows
from .shapes import NOTHING_HERE, PLAIN, fault, local_error

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["Counter"]

_COMMANDS: Final = {
    "imagine": "IMAGINE",
    "describe": "DESCRIBE",
    "blend": "BLEND",
    "shorten": "SHORTEN",
}
_FLAG: Final = re.compile(r"--(?:fast|turbo|relax)\b")
_ACCEPTED: Final = frozenset({1, 22})
_MODAL: Final = 21
_FREE: Final = frozenset({"INPAINT", "CUSTOM_ZOOM"})
"""Actions whose 21 a client gets to see as it is (PROTOCOL §4.4)."""


@attrs.frozen(kw_only=True)
class _Sale:
    """A submission on its way."""

    user: str
    path: str
    """Where it goes at the upstream."""
    mode: str
    """The speed the path asks for, or the parent's."""
    fields: Mapping[str, Any]
    """The body as the gateway reads it."""
    body: Mapping[str, Any]
    """The body as it came."""
    action: str
    prompt: str
    record: Request
    parent_id: str | None


@attrs.frozen(kw_only=True)
class _Visit:
    """A request of somebody who was let in."""

    user: str
    route: Route
    record: Request
    raw: bytes
    path: str
    """Where it would go at the upstream, query included."""
    mode: str
    request_id: str


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
        list_endpoint: bool,
        seed: int,
    ) -> None:
        self.base = ""
        """The address of the gateway, for links."""
        self._dialect, self._terms = dialect, terms
        self._passport = Passport(dialect.auth, terms)
        self._channel, self._rows, self._submissions = channel, rows, submissions
        self._list_endpoint = list_endpoint
        self._random = random.Random(seed)

    # --- the way in -----------------------------------------------------------------------------

    def route(self, method: str, path: str) -> Route:
        """The route of a request; one that leads nowhere has no endpoint."""
        return route_of(method, path)

    async def answer(self, request: web.BaseRequest, route: Route, record: Request) -> Reply:
        """Answer a request."""
        if route.endpoint is None or not self._is_registered(route):
            return NOTHING_HERE
        try:
            if route.kind == "image":
                return await self._image(route.task_id)
            return await self._serve(await self._visit(request, route, record))
        except Refusal as refusal:
            return refusal.reply
        except Crash as crash:
            return self._dialect.panicked(str(crash)).reply

    def _is_registered(self, route: Route) -> bool:
        return self._list_endpoint or route.endpoint != "list-by-condition"

    async def _visit(self, request: web.BaseRequest, route: Route, record: Request) -> _Visit:
        """Let somebody in; the mode is looked at before the token (PROTOCOL §6.1)."""
        mode = mode_of(request.path)
        if mode and self._dialect.modes is not None and mode not in self._dialect.modes:
            raise Refusal(self._dialect.wrong_mode)
        request_id = f"{time.time_ns() // 1000}{self._random.randrange(10**8):08}"
        user = self._passport.user(request.headers, request_id)
        is_json = request.content_type == "application/json" or not self._dialect.needs_json_type
        return _Visit(
            user=user,
            route=route,
            record=record,
            raw=await request.read() if is_json else b"null",
            path=upstream_path(request.path_qs),
            mode=speed_of(mode),
            request_id=request_id,
        )

    async def _serve(self, visit: _Visit) -> Reply:
        return await _SERVICES.get(visit.route.endpoint or "", Counter._submit)(self, visit)

    # --- reading rows ---------------------------------------------------------------------------

    async def _fetch(self, visit: _Visit) -> Reply:
        return json_reply(self._json(self._own(visit)))

    async def _list(self, visit: _Visit) -> Reply:
        """PROTOCOL §1.15: the ids must be strings."""
        try:
            ids = bind(visit.raw, CONDITION)[0]["ids"]
        except Unreadable as error:
            raise local_error("do_request_failed") from error
        return json_reply([self._json(row) for row in self._rows.of(ids, visit.user)])

    def _own(self, visit: _Visit) -> Row:
        row = self._rows.find(visit.route.task_id, visit.user)
        if row is None:
            raise local_error("task_no_found")
        return row

    def _json(self, row: Row) -> dict[str, Any]:
        return row.as_json(self._link(row) if row.image_url else "")

    def _link(self, row: Row) -> str:
        """PROTOCOL §3.4."""
        if not self._dialect.forwards_images:
            return row.image_url
        link = f"{self.base}/mj/image/{row.id}"
        return link if row.status == "SUCCESS" else f"{link}?rand={time.time_ns()}"

    # --- the rest of the desk -------------------------------------------------------------------

    async def _image(self, task_id: str) -> Reply:
        """PROTOCOL §1.18: for anybody, and as the upstream's link has it."""
        row = self._rows.find(task_id)
        if row is None:
            return fault(400, "midjourney_task_not_found")
        try:
            picture = await self._channel.call("GET", row.image_url or "http://")
        except Refusal:
            return fault(500, "http_get_image_failed")
        if picture.status != 200:
            return fault(picture.status, picture.body.decode(errors="replace"))
        return Reply(body=picture.body, content_type=picture.content_type or "image/jpeg")

    async def _notify(self, visit: _Visit) -> Reply:
        """PROTOCOL §1.18: whoever has a token may tell anything about any task."""
        try:
            seen = bind(visit.raw, NOTICE)[0]
        except Unreadable as error:
            raise local_error("bind_request_body_failed") from error
        row = self._rows.find(seen["id"])
        if row is None:
            raise local_error("midjourney_task_not_found")
        row.update(seen)
        self._rows.noticed(row)
        return Reply()

    async def _seed(self, visit: _Visit) -> Reply:
        """PROTOCOL §1.15: marshalled again, and with less patience than servers have."""
        self._own(visit)
        seconds = self._channel.deadline(self._dialect.seed_patience, floor=_SEED_FLOOR)
        answer = await self._send("GET", visit.path, seconds=seconds)
        return _again(answer, told(answer) if answer.body else empty())

    async def _swap(self, visit: _Visit) -> Reply:
        """PROTOCOL §1.13."""
        fields, body = self._read(visit)
        if not (fields["sourceBase64"] and fields["targetBase64"]):
            raise local_error("sour_base64_and_target_base64_is_required")
        sale = _sale(visit, fields, body, action="SWAP_FACE", prompt="InsightFace")
        self._check_quota()
        answer = await self._forward(sale)
        if not answer.body:
            return _again(answer, empty())
        result = told(answer)
        self._insert(sale, result)
        return _again(answer, result)

    # --- selling --------------------------------------------------------------------------------

    async def _submit(self, visit: _Visit) -> Reply:
        """PROTOCOL §1.2-§1.12, §4.3-§4.4, §5.3."""
        sale = self._ordered(visit)
        self._check_quota()
        answer = await self._forward(sale)
        if answer.body:
            self._insert(sale, told(answer))
        body = _rewritten(answer.body, sale.action)
        return Reply(status=answer.status, body=body, content_type=PLAIN)

    def _read(self, visit: _Visit) -> tuple[dict[str, Any], Mapping[str, Any]]:
        try:
            fields, body = bind(visit.raw)
        except Unreadable as error:
            raise self._dialect.refused_early(str(error), visit.request_id) from error
        return fields, body or {}

    def _ordered(self, visit: _Visit) -> _Sale:
        """What is being bought, or why not."""
        fields, body = self._read(visit)
        endpoint = visit.route.endpoint or ""
        if action := _COMMANDS.get(endpoint):
            if endpoint == "imagine" and not fields["prompt"]:
                raise local_error("prompt_is_required")
            return _sale(visit, fields, body, action=action, prompt=fields["prompt"])
        if endpoint == "upload-discord-images":
            return _sale(visit, fields, body, action=self._dialect.upload_action, prompt="")
        action, index = self._followed(visit, fields)
        if not fields["taskId"]:
            return _sale(visit, fields, body, action=action, prompt=fields["prompt"])
        if endpoint != "modal" and not index:
            raise local_error("index_is_required")
        parent = self._parent(visit, fields["taskId"])
        return _sale(visit, fields, body, action=action, prompt=parent.prompt, parent=parent)

    def _followed(self, visit: _Visit, fields: Mapping[str, Any]) -> tuple[str, int]:
        """Action and index of what follows a task."""
        endpoint = visit.route.endpoint
        if endpoint == "modal":
            return "MODAL", 0
        if endpoint == "action":
            try:
                press = press_of(fields["customId"])
            except Unreadable as error:
                raise self._dialect.refused_early(str(error), visit.request_id) from error
            return press.action, press.index
        action: str = fields["action"]
        if action not in ACTIONS:
            raise self._dialect.no_channel(f"mj_{action.lower()}", visit.request_id)
        return action, fields["index"]

    def _parent(self, visit: _Visit, task_id: str) -> Row:
        row = self._rows.find(task_id, visit.user)
        if row is None:
            raise local_error("task_not_found")
        if row.status != "SUCCESS" and visit.route.endpoint != "modal":
            raise local_error("task_status_not_success")
        return row

    def _check_quota(self) -> None:
        if self._terms.quota is not None and self._terms.quota <= 0:
            raise local_error("quota_not_enough")

    # --- the upstream ---------------------------------------------------------------------------

    async def _forward(self, sale: _Sale) -> Answer:
        body = {key: value for key, value in sale.body.items() if key not in _DELETED}
        if self._dialect.filters_accounts:
            body["accountFilter"] = {"modes": [sale.mode]}
        if self._dialect.strips_flags and sale.fields["prompt"]:
            body["prompt"] = _FLAG.sub("", sale.fields["prompt"])
        seconds = self._channel.deadline(self._dialect.submit_patience)
        return await self._send("POST", sale.path, json=body, seconds=seconds)

    async def _send(self, method: str, path: str, *, json: object = None, seconds: float) -> Answer:
        """One call; an upstream that reports failure is hidden by some (PROTOCOL §7.1)."""
        answer = await self._channel.call(method, path, json=json, seconds=seconds)
        if self._dialect.hides_failures and answer.status >= 400:
            raise local_error("do_request_failed", code=5)
        return answer

    def _insert(self, sale: _Sale, result: Mapping[str, Any]) -> None:
        """Keep a row; one without an id is nothing that anybody could ask for."""
        code, task_id = result["code"], result["result"]
        if not isinstance(task_id, str) or not task_id or code not in {*_ACCEPTED, _MODAL}:
            return
        paid = code in _ACCEPTED
        row = Row(
            id=task_id,
            user=sale.user,
            action=sale.action,
            prompt=sale.prompt,
            description=result["description"],
            submitted=int(sale.record.at * 1000),
            mode=sale.mode,
            parent_id=sale.parent_id,
            paid=paid,
        )
        if code == _MODAL:
            _take_existing(row, result["properties"])
        self._rows.insert(row)
        if paid:
            self._record(sale, row)

    def _record(self, sale: _Sale, row: Row) -> None:
        if self._terms.quota is not None:
            self._terms.quota -= 1
        self._submissions.append(
            Submission(
                endpoint=sale.record.endpoint or "",
                task_id=row.id,
                body=sale.body,
                state=sale.fields["state"] or None,
                prompt=sale.fields["prompt"] or row.prompt or None,
                action=row.action,
                parent_id=sale.parent_id,
                at=sale.record.at,
            )
        )


_DELETED: Final = frozenset({"accountFilter", "notifyHook"})
"""Fields that are not passed on (PROTOCOL §1.1)."""
_SEED_FLOOR: Final = 0.2

_SERVICES: Final[Mapping[str, Callable[[Counter, _Visit], Awaitable[Reply]]]] = {
    "fetch": Counter._fetch,  # noqa: SLF001 - a table of its own methods
    "list-by-condition": Counter._list,  # noqa: SLF001
    "image-seed": Counter._seed,  # noqa: SLF001
    "notify": Counter._notify,  # noqa: SLF001
    "swap": Counter._swap,  # noqa: SLF001
}


def _sale(
    visit: _Visit,
    fields: Mapping[str, Any],
    body: Mapping[str, Any],
    *,
    action: str,
    prompt: str,
    parent: Row | None = None,
) -> _Sale:
    return _Sale(
        user=visit.user,
        path=visit.path,
        mode=parent.mode if parent else visit.mode,
        fields=fields,
        body=body,
        action=action,
        prompt=prompt,
        record=visit.record,
        parent_id=_parent_id(visit, parent),
    )


def _parent_id(visit: _Visit, parent: Row | None) -> str | None:
    """A modal's parent is the task whose button opened it."""
    if parent is None or visit.route.endpoint != "modal":
        return parent.id if parent else None
    return parent.parent_id


def _rewritten(body: bytes, action: str) -> bytes:
    """PROTOCOL §4.4: textually, and for nearly every action."""
    if action not in _FREE:
        body = body.replace(b'"code":21', b'"code":1')
    return body.replace(b'"code":22', b'"code":1')


def _take_existing(row: Row, properties: object) -> None:
    """A 21 that means: there is such a task already (PROTOCOL §2)."""
    known = properties if isinstance(properties, dict) else {}
    status, image_url = known.get("status"), known.get("imageUrl")
    if isinstance(status, str) and isinstance(image_url, str):
        row.status, row.image_url = status, image_url
        row.progress = "100%" if status == "SUCCESS" else row.progress


def _again(answer: Answer, fields: Mapping[str, Any]) -> Reply:
    """Marshalled again, in the order of the struct."""
    order = ("code", "description", "properties", "result")
    body = orjson.dumps({key: fields[key] for key in order})
    return Reply(status=answer.status, body=body, content_type=PLAIN)
