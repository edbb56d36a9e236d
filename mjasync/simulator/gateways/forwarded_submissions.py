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
from .custom_ids import SOLD_ACTIONS, UpstreamCrash, parse_custom_id
from .gateway_responses import PLAIN_TEXT_TYPE, local_error
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
_SPEED_FLAG: Final = re.compile(r"--(?:fast|turbo|relax)")
_ACCEPTED_CODES: Final = frozenset({1, 22})
_MODAL_CODE: Final = 21
_NO_ACCOUNT_CODE: Final = 3
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
    raw_body: bytes
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
        accounts: GatewayAccounts,
        *,
        upstream: UpstreamClient,
        rows: TaskRows,
        submissions: list[Submission],
        faults: FaultScript,
    ) -> None:
        self._dialect, self._accounts = dialect, accounts
        self._upstream, self._rows, self._submissions = upstream, rows, submissions
        self._faults = faults

    async def submit(self, request: GatewayRequest) -> SimResponse:
        """Sell a submission (PROTOCOL §1.2-§1.12, §4.3-§4.4, §5.3)."""
        submission = self._read_request(request)
        submission, response, result = await self._forward(submission)
        self._insert_row(submission, result)
        body = _rewrite_result(response.body, result["code"], submission.action)
        return SimResponse(status=response.status, body=body, content_type=PLAIN_TEXT_TYPE)

    async def swap(self, request: GatewayRequest) -> SimResponse:
        """Sell a face swap (PROTOCOL §1.13)."""
        fields = self._parse_fields(request) if self._dialect.reads_body_first else None
        self._check_channel("SWAP_FACE", request)
        try:
            face_fields = request.face_swap(strict=self._dialect.reads_body_first)
        except GoJsonError as error:
            raise local_error("bind_request_body_failed") from error
        if not (face_fields["sourceBase64"] and face_fields["targetBase64"]):
            raise local_error("sour_base64_and_target_base64_is_required")
        submission = _make_submission(
            request, fields or {}, action="SWAP_FACE", prompt="InsightFace"
        )
        submission, response, result = await self._forward(submission)
        self._insert_row(submission, result)
        return repeat_upstream_result(response.status, result)

    def check_parent_channel(self) -> None:
        """Refuse what belongs to a channel that is disabled, or deleted."""
        fault = self._faults.next_fault("gateway", kind="parent_channel_off")
        if fault is not None:
            raise self._dialect.messages.parent_channel_unavailable(
                is_deleted=bool(fault.options["gone"])
            )

    # --- what is bought -------------------------------------------------------------------------

    def _parse_fields(self, request: GatewayRequest) -> dict[str, Any]:
        try:
            return request.parse_submission(strict=self._dialect.reads_body_first)
        except GoJsonError as error:
            raise self._dialect.messages.invalid_submission(str(error), request.context) from error

    def _read_request(self, request: GatewayRequest) -> ForwardedSubmission:
        """What is being bought, or why not."""
        fields = self._parse_fields(request)
        endpoint = request.route.endpoint or ""
        action, index = self._parse_action(request, fields)
        self._check_channel("MODAL" if endpoint == "modal" else action, request)
        if endpoint in _ACTION_BY_ENDPOINT:
            if endpoint == "imagine" and not fields["prompt"]:
                raise local_error("prompt_is_required")
            return _make_submission(request, fields, action=action, prompt=fields["prompt"])
        if not fields["taskId"]:
            submission_action = "" if endpoint == "modal" else action
            return _make_submission(
                request, fields, action=submission_action, prompt=fields["prompt"]
            )
        if endpoint not in {"modal", "video"} and not index:
            raise local_error("index_is_required")
        parent = self._find_parent(request, fields["taskId"])
        return _make_submission(request, fields, action=action, prompt=parent.prompt, parent=parent)

    def _parse_action(self, request: GatewayRequest, fields: Mapping[str, Any]) -> tuple[str, int]:
        """Action and index."""
        endpoint = request.route.endpoint or ""
        if endpoint in {*_ACTION_BY_ENDPOINT, "modal", "video"}:
            return _ACTION_BY_ENDPOINT.get(endpoint, endpoint.upper()), 0
        if endpoint != "action":
            return fields["action"], fields["index"]
        try:
            custom_id_action = parse_custom_id(fields["customId"])
        except GoJsonError as error:
            raise self._dialect.messages.unknown_custom_id(str(error), request.context) from error
        return custom_id_action.action, custom_id_action.index

    def _check_channel(self, action: str, request: GatewayRequest) -> None:
        """Refuse what nobody sells; every case of letters is the same model."""
        is_unavailable = self._faults.next_fault("gateway", kind="no_channel") is not None
        if not is_unavailable and action.upper() in SOLD_ACTIONS:
            return
        model = self._dialect.model_name(action.lower(), request.mode.lower())
        raise self._dialect.messages.no_channel(model, request.context)

    def _find_parent(self, request: GatewayRequest, task_id: str) -> TaskRow:
        row = self._rows.find(task_id, request.user)
        if row is None:
            raise local_error("task_not_found")
        if row.status != "SUCCESS" and request.route.endpoint != "modal":
            raise local_error("task_status_not_success")
        self.check_parent_channel()
        return row

    # --- the upstream ---------------------------------------------------------------------------

    async def _forward(
        self, submission: ForwardedSubmission
    ) -> tuple[ForwardedSubmission, UpstreamResponse, dict[str, Any]]:
        """Send a submission on; one that finds no account is relaxed once where that is done."""
        is_quota_exhausted = self._accounts.quota is not None and self._accounts.quota <= 0
        if is_quota_exhausted and submission.action not in self._dialect.free_actions:
            raise self._dialect.messages.quota_exhausted()
        response, result = await self._send_upstream(submission)
        can_relax = submission.mode == "FAST" and not submission.fields.get("taskId")
        if result["code"] == _NO_ACCOUNT_CODE and can_relax and self._dialect.has_relax_mode:
            submission = attrs.evolve(submission, mode="RELAX")
            response, result = await self._send_upstream(submission)
        self._record_charge(submission, response, result)
        return submission, response, result

    async def _send_upstream(
        self, submission: ForwardedSubmission
    ) -> tuple[UpstreamResponse, dict[str, Any]]:
        timeout = self._upstream.scale_timeout(self._dialect.submit_timeout)
        response = await self._upstream.request(
            "POST",
            submission.path,
            body=self._encode_body(submission),
            content_type="application/json",
            timeout=timeout,
        )
        if self._dialect.hides_upstream_errors and response.status >= 400:
            raise local_error("do_request_failed", code=5)
        result = parse_submit_result(response) if response.body else empty_submit_result()
        if self._dialect.shows_refusals:
            _check_accepted(result)
        return response, result

    def _encode_body(self, submission: ForwardedSubmission) -> bytes:
        """What goes upstream."""
        try:
            body = (decode_first if self._dialect.reads_body_first else decode)(submission.raw_body)
        except GoJsonError as error:
            raise local_error("read_request_body_failed", code=5) from error
        if body is None and self._dialect.sets_account_filter:
            raise UpstreamCrash("assignment to entry in nil map")
        if body is not None and not isinstance(body, dict):
            raise local_error("read_request_body_failed", code=5)
        rewritten = None if body is None else self._rewrite_body(body, submission)
        return json.dumps(rewritten, ensure_ascii=False, sort_keys=True).encode()

    def _rewrite_body(
        self, body: Mapping[str, Any], submission: ForwardedSubmission
    ) -> dict[str, Any]:
        deleted_keys = (
            {"accountFilter"}
            if self._dialect.forwards_notify_hook
            else {"accountFilter", "notifyHook"}
        )
        rewritten = {key: value for key, value in body.items() if key not in deleted_keys}
        if self._dialect.sets_account_filter:
            rewritten["accountFilter"] = {"modes": [submission.mode]}
        if self._dialect.strips_speed_flags and isinstance(prompt := rewritten.get("prompt"), str):
            rewritten["prompt"] = _SPEED_FLAG.sub("", prompt)
        return rewritten

    # --- what is written down -------------------------------------------------------------------

    def _record_charge(
        self, submission: ForwardedSubmission, response: UpstreamResponse, result: Mapping[str, Any]
    ) -> None:
        """Take the money, which is also taken for what waits for its modal."""
        charged_codes = {1} if submission.action == "SWAP_FACE" else {*_ACCEPTED_CODES, _MODAL_CODE}
        is_charged = response.status == 200 and submission.action not in self._dialect.free_actions
        if self._accounts.quota is not None and is_charged and result["code"] in charged_codes:
            self._accounts.quota -= 1

    def _insert_row(self, submission: ForwardedSubmission, result: Mapping[str, Any]) -> None:
        """Keep a row of whatever the upstream says, refusals and answers without an id too."""
        code = result["code"]
        task_id = result["result"] if isinstance(result["result"], str) else ""
        is_accepted = code in _ACCEPTED_CODES
        row = TaskRow(
            id=task_id,
            user=submission.user,
            action=submission.action,
            prompt=submission.prompt,
            description=result["description"],
            submitted_at=int(submission.record.at * 1000),
            started_at=_now_ms() if submission.action == "SWAP_FACE" else 0,
            mode=submission.mode,
            parent_id=submission.parent_id,
            is_accepted=is_accepted and bool(task_id),
        )
        if submission.action != "SWAP_FACE":
            _apply_result(row, code, result)
        self._rows.insert(row)
        if row.is_accepted:
            self._record_submission(submission, row)

    def _record_submission(self, submission: ForwardedSubmission, row: TaskRow) -> None:
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
    if result["code"] not in {*_ACCEPTED_CODES, _MODAL_CODE}:
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
    return SimResponse(status=status, body=orjson.dumps(body), content_type=PLAIN_TEXT_TYPE)


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
        raw_body=request.raw_body,
        action=action,
        prompt=prompt,
        record=request.record,
        parent_id=_resolve_parent_id(request, parent),
    )


def _resolve_parent_id(request: GatewayRequest, parent: TaskRow | None) -> str | None:
    """A modal's parent is the task whose button opened it."""
    if parent is None or request.route.endpoint != "modal":
        return parent.id if parent else None
    return parent.parent_id


def _rewrite_result(body: bytes, code: int, action: str) -> bytes:
    """PROTOCOL §4.4: textually, and for nearly every action."""
    if code == _MODAL_CODE and action not in _UNCHANGED_ACTIONS:
        return body.replace(b'"code":21', b'"code":1')
    return body.replace(b'"code":22', b'"code":1') if code == 22 else body


def _apply_result(row: TaskRow, code: int, result: Mapping[str, Any]) -> None:
    """What the answer to a submission says about its task."""
    if code not in {*_ACCEPTED_CODES, _MODAL_CODE}:
        row.fail_reason = result["description"]
    if code == _MODAL_CODE:
        _apply_existing(row, result["properties"])
    if code == 1 and row.action == "UPLOAD":
        row.status, row.progress = "SUCCESS", "100%"


def _apply_existing(row: TaskRow, properties: object) -> None:
    """A 21 that means: there is such a task already (PROTOCOL §2)."""
    existing = properties if isinstance(properties, dict) else {}
    status, image_url = existing.get("status"), existing.get("imageUrl")
    if isinstance(status, str) and isinstance(image_url, str):
        row.status, row.image_url = status, image_url
        if status == "SUCCESS":
            row.progress, row.started_at, row.finished_at = "100%", _now_ms(), _now_ms()


def _now_ms() -> int:
    return int(time.time() * 1000)
