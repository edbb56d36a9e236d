"""Submissions through a gateway with rows of its own: what is bought, sent on and written down."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from ..responses import Reply
from ..sim_task import Request, Submission
from .custom_ids import ACTIONS, Crash, press_of
from .gateway_responses import PLAIN, local_error
from .go_json import Unreadable, decode, decode_first
from .task_rows import Row, Rows
from .upstream import Answer, Channel, empty, told
from .users import Terms

if TYPE_CHECKING:
    from ..faults import Faults
    from .gateway_dialects import Resale
    from .gateway_request import Visit

__all__ = ["Sales", "again"]

_COMMANDS: Final = {
    "imagine": "IMAGINE",
    "describe": "DESCRIBE",
    "blend": "BLEND",
    "shorten": "SHORTEN",
    "upload-discord-images": "UPLOAD",
    "edits": "EDITS",
}
"""The action of what follows no task."""
_FLAG: Final = re.compile(r"--(?:fast|turbo|relax)")
_ACCEPTED: Final = frozenset({1, 22})
_MODAL: Final = 21
_NO_ACCOUNT: Final = 3
_SHOWN_AS_THEY_ARE: Final = frozenset({"INPAINT", "CUSTOM_ZOOM"})
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
    raw: bytes
    """The body as it came."""
    action: str
    prompt: str
    record: Request
    parent_id: str | None


class Sales:
    """Sells what the upstream does."""

    def __init__(
        self,
        dialect: Resale,
        terms: Terms,
        *,
        channel: Channel,
        rows: Rows,
        submissions: list[Submission],
        faults: Faults,
    ) -> None:
        self._dialect, self._terms = dialect, terms
        self._channel, self._rows, self._submissions = channel, rows, submissions
        self._faults = faults

    async def submit(self, visit: Visit) -> Reply:
        """Sell a submission (PROTOCOL §1.2-§1.12, §4.3-§4.4, §5.3)."""
        sale = self._ordered(visit)
        sale, answer, result = await self._buy(sale)
        self._insert(sale, result)
        body = _rewritten(answer.body, result["code"], sale.action)
        return Reply(status=answer.status, body=body, content_type=PLAIN)

    async def swap(self, visit: Visit) -> Reply:
        """Sell a face swap (PROTOCOL §1.13)."""
        fields = self._fields(visit) if self._dialect.routes_first else None
        self._check_channel("SWAP_FACE", visit)
        try:
            faces = visit.faces(strict=self._dialect.routes_first)
        except Unreadable as error:
            raise local_error("bind_request_body_failed") from error
        if not (faces["sourceBase64"] and faces["targetBase64"]):
            raise local_error("sour_base64_and_target_base64_is_required")
        sale = _sale(visit, fields or {}, action="SWAP_FACE", prompt="InsightFace")
        sale, answer, result = await self._buy(sale)
        self._insert(sale, result)
        return again(answer.status, result)

    def check_parents_channel(self) -> None:
        """Refuse what belongs to a channel that is disabled, or deleted."""
        fault = self._faults.take("gateway", kind="parent_channel_off")
        if fault is not None:
            raise self._dialect.words.parent_off(gone=bool(fault.options["gone"]))

    # --- what is bought -------------------------------------------------------------------------

    def _fields(self, visit: Visit) -> dict[str, Any]:
        try:
            return visit.submission(strict=self._dialect.routes_first)
        except Unreadable as error:
            raise self._dialect.words.unreadable(str(error), visit.asked) from error

    def _ordered(self, visit: Visit) -> _Sale:
        """What is being bought, or why not."""
        fields = self._fields(visit)
        endpoint = visit.route.endpoint or ""
        action, index = self._action(visit, fields)
        self._check_channel("MODAL" if endpoint == "modal" else action, visit)
        if endpoint in _COMMANDS:
            if endpoint == "imagine" and not fields["prompt"]:
                raise local_error("prompt_is_required")
            return _sale(visit, fields, action=action, prompt=fields["prompt"])
        if not fields["taskId"]:
            bought = "" if endpoint == "modal" else action
            return _sale(visit, fields, action=bought, prompt=fields["prompt"])
        if endpoint not in {"modal", "video"} and not index:
            raise local_error("index_is_required")
        parent = self._parent(visit, fields["taskId"])
        return _sale(visit, fields, action=action, prompt=parent.prompt, parent=parent)

    def _action(self, visit: Visit, fields: Mapping[str, Any]) -> tuple[str, int]:
        """Action and index."""
        endpoint = visit.route.endpoint or ""
        if endpoint in {*_COMMANDS, "modal", "video"}:
            return _COMMANDS.get(endpoint, endpoint.upper()), 0
        if endpoint != "action":
            return fields["action"], fields["index"]
        try:
            press = press_of(fields["customId"])
        except Unreadable as error:
            raise self._dialect.words.unknown_press(str(error), visit.asked) from error
        return press.action, press.index

    def _check_channel(self, action: str, visit: Visit) -> None:
        """Refuse what nobody sells; every case of letters is the same model."""
        missing = self._faults.take("gateway", kind="no_channel") is not None
        if not missing and action.upper() in ACTIONS:
            return
        model = self._dialect.model_of(action.lower(), visit.mode.lower())
        raise self._dialect.words.no_channel(model, visit.asked)

    def _parent(self, visit: Visit, task_id: str) -> Row:
        row = self._rows.find(task_id, visit.user)
        if row is None:
            raise local_error("task_not_found")
        if row.status != "SUCCESS" and visit.route.endpoint != "modal":
            raise local_error("task_status_not_success")
        self.check_parents_channel()
        return row

    # --- the upstream ---------------------------------------------------------------------------

    async def _buy(self, sale: _Sale) -> tuple[_Sale, Answer, dict[str, Any]]:
        """Send a submission on; one that finds no account is relaxed once where that is done."""
        is_poor = self._terms.quota is not None and self._terms.quota <= 0
        if is_poor and sale.action not in self._dialect.free:
            raise self._dialect.words.poor()
        answer, result = await self._ask(sale)
        fast = sale.mode == "FAST" and not sale.fields.get("taskId")
        if result["code"] == _NO_ACCOUNT and fast and self._dialect.relaxes:
            sale = attrs.evolve(sale, mode="RELAX")
            answer, result = await self._ask(sale)
        self._charge(sale, answer, result)
        return sale, answer, result

    async def _ask(self, sale: _Sale) -> tuple[Answer, dict[str, Any]]:
        seconds = self._channel.deadline(self._dialect.submit_patience)
        answer = await self._channel.call(
            "POST",
            sale.path,
            data=self._body(sale),
            content_type="application/json",
            seconds=seconds,
        )
        if self._dialect.hides_failures and answer.status >= 400:
            raise local_error("do_request_failed", code=5)
        result = told(answer) if answer.body else empty()
        if self._dialect.tells_refusals:
            _check_taken(result)
        return answer, result

    def _body(self, sale: _Sale) -> bytes:
        """What goes upstream."""
        try:
            body = (decode_first if self._dialect.routes_first else decode)(sale.raw)
        except Unreadable as error:
            raise local_error("read_request_body_failed", code=5) from error
        if body is None and self._dialect.filters_accounts:
            raise Crash("assignment to entry in nil map")
        if body is not None and not isinstance(body, dict):
            raise local_error("read_request_body_failed", code=5)
        changed = None if body is None else self._changed(body, sale)
        return json.dumps(changed, ensure_ascii=False, sort_keys=True).encode()

    def _changed(self, body: Mapping[str, Any], sale: _Sale) -> dict[str, Any]:
        deleted = (
            {"accountFilter"} if self._dialect.passes_hooks else {"accountFilter", "notifyHook"}
        )
        changed = {key: value for key, value in body.items() if key not in deleted}
        if self._dialect.filters_accounts:
            changed["accountFilter"] = {"modes": [sale.mode]}
        if self._dialect.strips_flags and isinstance(prompt := changed.get("prompt"), str):
            changed["prompt"] = _FLAG.sub("", prompt)
        return changed

    # --- what is written down -------------------------------------------------------------------

    def _charge(self, sale: _Sale, answer: Answer, result: Mapping[str, Any]) -> None:
        """Take the money, which is also taken for what waits for its modal."""
        wanted = {1} if sale.action == "SWAP_FACE" else {*_ACCEPTED, _MODAL}
        costs = answer.status == 200 and sale.action not in self._dialect.free
        if self._terms.quota is not None and costs and result["code"] in wanted:
            self._terms.quota -= 1

    def _insert(self, sale: _Sale, result: Mapping[str, Any]) -> None:
        """Keep a row of whatever the upstream says, refusals and answers without an id too."""
        code = result["code"]
        task_id = result["result"] if isinstance(result["result"], str) else ""
        taken = code in _ACCEPTED
        row = Row(
            id=task_id,
            user=sale.user,
            action=sale.action,
            prompt=sale.prompt,
            description=result["description"],
            submitted=int(sale.record.at * 1000),
            started=_now() if sale.action == "SWAP_FACE" else 0,
            mode=sale.mode,
            parent_id=sale.parent_id,
            paid=taken and bool(task_id),
        )
        if sale.action != "SWAP_FACE":
            _take_result(row, code, result)
        self._rows.insert(row)
        if row.paid:
            self._record(sale, row)

    def _record(self, sale: _Sale, row: Row) -> None:
        fields = sale.fields
        body = sale.record.body if isinstance(sale.record.body, dict) else {}
        self._submissions.append(
            Submission(
                endpoint=sale.record.endpoint or "",
                task_id=row.id,
                body=body,
                state=fields.get("state") or None,
                prompt=fields.get("prompt") or row.prompt or None,
                action=row.action,
                parent_id=sale.parent_id,
                at=sale.record.at,
            )
        )


def _check_taken(result: Mapping[str, Any]) -> None:
    """Tell a refusal in the gateway's own shape; a list is no result there."""
    task_id = result["result"]
    if isinstance(task_id, list):
        raise local_error("unmarshal_response_body_failed", code=5)
    if result["code"] not in {*_ACCEPTED, _MODAL}:
        raise local_error(result["description"], code=result["code"], result=task_id)


def again(status: int, fields: Mapping[str, Any]) -> Reply:
    """An answer marshalled again, in the order of the struct."""
    result = fields["result"]
    body = {
        "code": fields["code"],
        "description": fields["description"],
        "properties": fields["properties"],
        "result": result if isinstance(result, str) else "",
    }
    return Reply(status=status, body=orjson.dumps(body), content_type=PLAIN)


def _sale(
    visit: Visit,
    fields: Mapping[str, Any],
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
        raw=visit.raw,
        action=action,
        prompt=prompt,
        record=visit.record,
        parent_id=_parent_id(visit, parent),
    )


def _parent_id(visit: Visit, parent: Row | None) -> str | None:
    """A modal's parent is the task whose button opened it."""
    if parent is None or visit.route.endpoint != "modal":
        return parent.id if parent else None
    return parent.parent_id


def _rewritten(body: bytes, code: int, action: str) -> bytes:
    """PROTOCOL §4.4: textually, and for nearly every action."""
    if code == _MODAL and action not in _SHOWN_AS_THEY_ARE:
        return body.replace(b'"code":21', b'"code":1')
    return body.replace(b'"code":22', b'"code":1') if code == 22 else body


def _take_result(row: Row, code: int, result: Mapping[str, Any]) -> None:
    """What the answer to a submission says about its task."""
    if code not in {*_ACCEPTED, _MODAL}:
        row.fail_reason = result["description"]
    if code == _MODAL:
        _take_existing(row, result["properties"])
    if code == 1 and row.action == "UPLOAD":
        row.status, row.progress = "SUCCESS", "100%"


def _take_existing(row: Row, properties: object) -> None:
    """A 21 that means: there is such a task already (PROTOCOL §2)."""
    known = properties if isinstance(properties, dict) else {}
    status, image_url = known.get("status"), known.get("imageUrl")
    if isinstance(status, str) and isinstance(image_url, str):
        row.status, row.image_url = status, image_url
        if status == "SUCCESS":
            row.progress, row.started, row.finished = "100%", _now(), _now()


def _now() -> int:
    return int(time.time() * 1000)
