"""Submissions through a gateway with rows of its own: what is bought, sent on and written down."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from ..responses import SimResponse
from ..sim_task import RequestRecord, Submission
from .custom_ids import ACTIONS, UpstreamCrash, parse_custom_id
from .gateway_responses import PLAIN, local_error
from .go_json import GoJsonError, decode, decode_first
from .task_rows import TaskRow, TaskRows
from .upstream import UpstreamClient, UpstreamResponse, empty_submit_result, parse_submit_result
from .users import GatewayAccounts

if TYPE_CHECKING:
    from ..faults import FaultScript
    from .gateway_dialects import ResellerDialect
    from .gateway_request import GatewayRequest

__all__ = ["SubmissionForwarder", "repeat_upstream_result"]

_ACTION_BY_ENDPOINT: Final = {
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
_UNCHANGED_ACTIONS: Final = frozenset({"INPAINT", "CUSTOM_ZOOM"})
"""Actions whose 21 a client gets to see as it is (PROTOCOL §4.4)."""


@attrs.frozen(kw_only=True)
class ForwardedSubmission:
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
    record: RequestRecord
    parent_id: str | None


class SubmissionForwarder:
    """Sells what the upstream does."""

    def __init__(
        self,
        dialect: ResellerDialect,
        terms: GatewayAccounts,
        *,
        channel: UpstreamClient,
        rows: TaskRows,
        submissions: list[Submission],
        faults: FaultScript,
    ) -> None:
        self._dialect, self._terms = dialect, terms
        self._channel, self._rows, self._submissions = channel, rows, submissions
        self._faults = faults

    async def submit(self, request: GatewayRequest) -> SimResponse:
        """Sell a submission (PROTOCOL §1.2-§1.12, §4.3-§4.4, §5.3)."""
        sale = self._read_request(request)
        sale, answer, result = await self._forward(sale)
        self._insert(sale, result)
        body = _rewrite_result(answer.body, result["code"], sale.action)
        return SimResponse(status=answer.status, body=body, content_type=PLAIN)

    async def swap(self, request: GatewayRequest) -> SimResponse:
        """Sell a face swap (PROTOCOL §1.13)."""
        fields = self._fields(request) if self._dialect.routes_first else None
        self._check_channel("SWAP_FACE", request)
        try:
            faces = request.face_swap(strict=self._dialect.routes_first)
        except GoJsonError as error:
            raise local_error("bind_request_body_failed") from error
        if not (faces["sourceBase64"] and faces["targetBase64"]):
            raise local_error("sour_base64_and_target_base64_is_required")
        sale = _make_submission(request, fields or {}, action="SWAP_FACE", prompt="InsightFace")
        sale, answer, result = await self._forward(sale)
        self._insert(sale, result)
        return repeat_upstream_result(answer.status, result)

    def check_parents_channel(self) -> None:
        """Refuse what belongs to a channel that is disabled, or deleted."""
        fault = self._faults.next_fault("gateway", kind="parent_channel_off")
        if fault is not None:
            raise self._dialect.messages.parent_off(gone=bool(fault.options["gone"]))

    # --- what is bought -------------------------------------------------------------------------

    def _fields(self, request: GatewayRequest) -> dict[str, Any]:
        try:
            return request.submission(strict=self._dialect.routes_first)
        except GoJsonError as error:
            raise self._dialect.messages.unreadable(str(error), request.context) from error

    def _read_request(self, request: GatewayRequest) -> ForwardedSubmission:
        """What is being bought, or why not."""
        fields = self._fields(request)
        endpoint = request.route.endpoint or ""
        action, index = self._action(request, fields)
        self._check_channel("MODAL" if endpoint == "modal" else action, request)
        if endpoint in _ACTION_BY_ENDPOINT:
            if endpoint == "imagine" and not fields["prompt"]:
                raise local_error("prompt_is_required")
            return _make_submission(request, fields, action=action, prompt=fields["prompt"])
        if not fields["taskId"]:
            bought = "" if endpoint == "modal" else action
            return _make_submission(request, fields, action=bought, prompt=fields["prompt"])
        if endpoint not in {"modal", "video"} and not index:
            raise local_error("index_is_required")
        parent = self._parent(request, fields["taskId"])
        return _make_submission(request, fields, action=action, prompt=parent.prompt, parent=parent)

    def _action(self, request: GatewayRequest, fields: Mapping[str, Any]) -> tuple[str, int]:
        """Action and index."""
        endpoint = request.route.endpoint or ""
        if endpoint in {*_ACTION_BY_ENDPOINT, "modal", "video"}:
            return _ACTION_BY_ENDPOINT.get(endpoint, endpoint.upper()), 0
        if endpoint != "action":
            return fields["action"], fields["index"]
        try:
            press = parse_custom_id(fields["customId"])
        except GoJsonError as error:
            raise self._dialect.messages.unknown_press(str(error), request.context) from error
        return press.action, press.index

    def _check_channel(self, action: str, request: GatewayRequest) -> None:
        """Refuse what nobody sells; every case of letters is the same model."""
        missing = self._faults.next_fault("gateway", kind="no_channel") is not None
        if not missing and action.upper() in ACTIONS:
            return
        model = self._dialect.model_of(action.lower(), request.mode.lower())
        raise self._dialect.messages.no_channel(model, request.context)

    def _parent(self, request: GatewayRequest, task_id: str) -> TaskRow:
        row = self._rows.find(task_id, request.user)
        if row is None:
            raise local_error("task_not_found")
        if row.status != "SUCCESS" and request.route.endpoint != "modal":
            raise local_error("task_status_not_success")
        self.check_parents_channel()
        return row

    # --- the upstream ---------------------------------------------------------------------------

    async def _forward(
        self, submission: ForwardedSubmission
    ) -> tuple[ForwardedSubmission, UpstreamResponse, dict[str, Any]]:
        """Send a submission on; one that finds no account is relaxed once where that is done."""
        is_poor = self._terms.quota is not None and self._terms.quota <= 0
        if is_poor and submission.action not in self._dialect.is_free:
            raise self._dialect.messages.poor()
        answer, result = await self._send_upstream(submission)
        fast = submission.mode == "FAST" and not submission.fields.get("taskId")
        if result["code"] == _NO_ACCOUNT and fast and self._dialect.has_relax_mode:
            submission = attrs.evolve(submission, mode="RELAX")
            answer, result = await self._send_upstream(submission)
        self._record_charge(submission, answer, result)
        return submission, answer, result

    async def _send_upstream(
        self, submission: ForwardedSubmission
    ) -> tuple[UpstreamResponse, dict[str, Any]]:
        seconds = self._channel.deadline(self._dialect.submit_patience)
        answer = await self._channel.call(
            "POST",
            submission.path,
            data=self._body(submission),
            content_type="application/json",
            seconds=seconds,
        )
        if self._dialect.hides_failures and answer.status >= 400:
            raise local_error("do_request_failed", code=5)
        result = parse_submit_result(answer) if answer.body else empty_submit_result()
        if self._dialect.shows_refusals:
            _check_accepted(result)
        return answer, result

    def _body(self, submission: ForwardedSubmission) -> bytes:
        """What goes upstream."""
        try:
            body = (decode_first if self._dialect.routes_first else decode)(submission.raw)
        except GoJsonError as error:
            raise local_error("read_request_body_failed", code=5) from error
        if body is None and self._dialect.filters_accounts:
            raise UpstreamCrash("assignment to entry in nil map")
        if body is not None and not isinstance(body, dict):
            raise local_error("read_request_body_failed", code=5)
        changed = None if body is None else self._changed(body, submission)
        return json.dumps(changed, ensure_ascii=False, sort_keys=True).encode()

    def _changed(self, body: Mapping[str, Any], submission: ForwardedSubmission) -> dict[str, Any]:
        deleted = (
            {"accountFilter"} if self._dialect.passes_hooks else {"accountFilter", "notifyHook"}
        )
        changed = {key: value for key, value in body.items() if key not in deleted}
        if self._dialect.filters_accounts:
            changed["accountFilter"] = {"modes": [submission.mode]}
        if self._dialect.strips_flags and isinstance(prompt := changed.get("prompt"), str):
            changed["prompt"] = _FLAG.sub("", prompt)
        return changed

    # --- what is written down -------------------------------------------------------------------

    def _record_charge(
        self, submission: ForwardedSubmission, answer: UpstreamResponse, result: Mapping[str, Any]
    ) -> None:
        """Take the money, which is also taken for what waits for its modal."""
        wanted = {1} if submission.action == "SWAP_FACE" else {*_ACCEPTED, _MODAL}
        costs = answer.status == 200 and submission.action not in self._dialect.is_free
        if self._terms.quota is not None and costs and result["code"] in wanted:
            self._terms.quota -= 1

    def _insert(self, submission: ForwardedSubmission, result: Mapping[str, Any]) -> None:
        """Keep a row of whatever the upstream says, refusals and answers without an id too."""
        code = result["code"]
        task_id = result["result"] if isinstance(result["result"], str) else ""
        taken = code in _ACCEPTED
        row = TaskRow(
            id=task_id,
            user=submission.user,
            action=submission.action,
            prompt=submission.prompt,
            description=result["description"],
            submitted=int(submission.record.at * 1000),
            started=_now() if submission.action == "SWAP_FACE" else 0,
            mode=submission.mode,
            parent_id=submission.parent_id,
            paid=taken and bool(task_id),
        )
        if submission.action != "SWAP_FACE":
            _apply_result(row, code, result)
        self._rows.insert(row)
        if row.paid:
            self._record(submission, row)

    def _record(self, submission: ForwardedSubmission, row: TaskRow) -> None:
        fields = submission.fields
        body = submission.record.body if isinstance(submission.record.body, dict) else {}
        self._submissions.append(
            Submission(
                endpoint=submission.record.endpoint or "",
                task_id=row.id,
                body=body,
                state=fields.get("state") or None,
                prompt=fields.get("prompt") or row.prompt or None,
                action=row.action,
                parent_id=submission.parent_id,
                at=submission.record.at,
            )
        )


def _check_accepted(result: Mapping[str, Any]) -> None:
    """Tell a refusal in the gateway's own shape; a list is no result there."""
    task_id = result["result"]
    if isinstance(task_id, list):
        raise local_error("unmarshal_response_body_failed", code=5)
    if result["code"] not in {*_ACCEPTED, _MODAL}:
        raise local_error(result["description"], code=result["code"], result=task_id)


def repeat_upstream_result(status: int, fields: Mapping[str, Any]) -> SimResponse:
    """An answer marshalled again, in the order of the struct."""
    result = fields["result"]
    body = {
        "code": fields["code"],
        "description": fields["description"],
        "properties": fields["properties"],
        "result": result if isinstance(result, str) else "",
    }
    return SimResponse(status=status, body=orjson.dumps(body), content_type=PLAIN)


def _make_submission(
    request: GatewayRequest,
    fields: Mapping[str, Any],
    *,
    action: str,
    prompt: str,
    parent: TaskRow | None = None,
) -> ForwardedSubmission:
    return ForwardedSubmission(
        user=request.user,
        path=request.path,
        mode=parent.mode if parent else request.mode,
        fields=fields,
        raw=request.raw,
        action=action,
        prompt=prompt,
        record=request.record,
        parent_id=_parent_id(request, parent),
    )


def _parent_id(request: GatewayRequest, parent: TaskRow | None) -> str | None:
    """A modal's parent is the task whose button opened it."""
    if parent is None or request.route.endpoint != "modal":
        return parent.id if parent else None
    return parent.parent_id


def _rewrite_result(body: bytes, code: int, action: str) -> bytes:
    """PROTOCOL §4.4: textually, and for nearly every action."""
    if code == _MODAL and action not in _UNCHANGED_ACTIONS:
        return body.replace(b'"code":21', b'"code":1')
    return body.replace(b'"code":22', b'"code":1') if code == 22 else body


def _apply_result(row: TaskRow, code: int, result: Mapping[str, Any]) -> None:
    """What the answer to a submission says about its task."""
    if code not in {*_ACCEPTED, _MODAL}:
        row.fail_reason = result["description"]
    if code == _MODAL:
        _apply_existing(row, result["properties"])
    if code == 1 and row.action == "UPLOAD":
        row.status, row.progress = "SUCCESS", "100%"


def _apply_existing(row: TaskRow, properties: object) -> None:
    """A 21 that means: there is such a task already (PROTOCOL §2)."""
    known = properties if isinstance(properties, dict) else {}
    status, image_url = known.get("status"), known.get("imageUrl")
    if isinstance(status, str) and isinstance(image_url, str):
        row.status, row.image_url = status, image_url
        if status == "SUCCESS":
            row.progress, row.started, row.finished = "100%", _now(), _now()


def _now() -> int:
    return int(time.time() * 1000)
