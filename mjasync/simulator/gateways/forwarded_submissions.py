"""Submissions through a gateway with rows of its own: check, forward, charge and record."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from ..responses import SimResponse
from .custom_ids import SOLD_ACTIONS, GatewayPanic, parse_custom_id
from .gateway_request import FACE_SWAP, SUBMISSION
from .gateway_responses import PLAIN_TEXT_TYPE, local_error
from .go_json import GoJsonError, decode
from .task_rows import TaskRow
from .upstream import ACCEPTED_CODES, MODAL_CODE, UpstreamResponse, parse_submit_result

if TYPE_CHECKING:
    from .gateway_context import GatewayContext
    from .gateway_dialects import ResellerDialect
    from .gateway_request import GatewayRequest

_ACTION_BY_ENDPOINT: Final = {
    "imagine": "IMAGINE",
    "describe": "DESCRIBE",
    "blend": "BLEND",
    "shorten": "SHORTEN",
    "upload-discord-images": "UPLOAD",
    "edits": "EDITS",
}
"""Actions of the submissions that have no parent task."""
_SPEED_FLAG: Final = re.compile(r"--(?:fast|turbo|relax)")
_NO_ACCOUNT_CODE: Final = 3
_UNCHANGED_ACTIONS: Final = frozenset({"INPAINT", "CUSTOM_ZOOM"})
"""Actions whose code 21 reaches the client (PROTOCOL §4.4)."""
_SUBMIT_TIMEOUT: Final = 60.0
"""Simulated seconds the upstream has for a submission (PROTOCOL §6.3)."""
_SEED_TIMEOUT: Final = 30.0
"""Simulated seconds the upstream has for a seed (PROTOCOL §1.15)."""
_MIN_SEED_SECONDS: Final = 0.2


@attrs.frozen(kw_only=True)
class ForwardedSubmission:
    """A submission that passed the checks of the gateway."""

    request: GatewayRequest
    fields: Mapping[str, Any]
    """The body as the gateway decodes it."""
    action: str
    prompt: str
    speed: str
    """The speed of the path, or of the parent."""
    parent_id: str | None = None


class SubmissionForwarder:
    """Forwards submissions to the upstream."""

    def __init__(self, dialect: ResellerDialect, context: GatewayContext) -> None:
        self._dialect, self._context = dialect, context

    async def submit(self, request: GatewayRequest) -> SimResponse:
        """Forward a submission (PROTOCOL §1.2-§1.12, §4.3-§4.4, §5.3)."""
        submission = self._check(request)
        response, result = await self._forward(submission)
        body, code = response.body, result["code"]
        if code == 22 or (code == MODAL_CODE and submission.action not in _UNCHANGED_ACTIONS):
            body = body.replace(f'"code":{code}'.encode(), b'"code":1')
        return SimResponse(status=response.status, body=body, content_type=PLAIN_TEXT_TYPE)

    async def swap(self, request: GatewayRequest) -> SimResponse:
        """Forward a face swap (PROTOCOL §1.13)."""
        fields = self._parse_fields(request) if self._dialect.reads_body_first else {}
        self._check_channel("SWAP_FACE", request)
        try:
            faces = request.parse(FACE_SWAP)
        except GoJsonError as error:
            raise local_error("bind_request_body_failed") from error
        if not (faces["sourceBase64"] and faces["targetBase64"]):
            raise local_error("sour_base64_and_target_base64_is_required")
        response, result = await self._forward(
            ForwardedSubmission(
                request=request,
                fields=fields,
                action="SWAP_FACE",
                prompt="InsightFace",
                speed=request.speed,
            )
        )
        return _encode_result(response.status, result)

    async def seed(self, request: GatewayRequest) -> SimResponse:
        """Forward a request for a seed, with a short timeout (PROTOCOL §1.15)."""
        self._check_parent_channel(request)
        response, result = await self._send_upstream(
            request,
            "GET",
            timeout=self._context.scale_timeout(_SEED_TIMEOUT, _MIN_SEED_SECONDS),
            authenticated=not self._dialect.relays_seeds,
        )
        return _encode_result(200 if self._dialect.relays_seeds else response.status, result)

    def _check_parent_channel(self, request: GatewayRequest) -> None:
        """Refuse a request about a task whose channel is disabled or deleted."""
        fault = self._context.faults.next_fault("gateway", kind="parent_channel_off")
        if fault is not None:
            messages = self._dialect.messages
            message = (
                messages.deleted_channel if fault.options["gone"] else messages.disabled_channel
            )
            raise message.refuse(request.context)

    def _check(self, request: GatewayRequest) -> ForwardedSubmission:
        """Check a request in the order of the gateway, and find its action and parent."""
        fields = self._parse_fields(request)
        endpoint = request.route.endpoint or ""
        action, index = self._parse_action(request, fields)
        self._check_channel("MODAL" if endpoint == "modal" else action, request)
        if endpoint == "imagine" and not fields["prompt"]:
            raise local_error("prompt_is_required")
        submission = ForwardedSubmission(
            request=request,
            fields=fields,
            action=action,
            prompt=fields["prompt"],
            speed=request.speed,
        )
        if endpoint in _ACTION_BY_ENDPOINT:
            return submission
        if not fields["taskId"]:
            return attrs.evolve(submission, action="") if endpoint == "modal" else submission
        if endpoint not in {"modal", "video"} and not index:
            raise local_error("index_is_required")
        parent = self._context.rows.find(fields["taskId"], request.user)
        if parent is None:
            raise local_error("task_not_found")
        if parent.status != "SUCCESS" and endpoint != "modal":
            raise local_error("task_status_not_success")
        self._check_parent_channel(request)
        return attrs.evolve(
            submission,
            prompt=parent.prompt,
            speed=parent.mode,
            # a modal belongs to the task whose button opened it
            parent_id=parent.parent_id if endpoint == "modal" else parent.id,
        )

    def _parse_fields(self, request: GatewayRequest) -> dict[str, Any]:
        try:
            return request.parse(SUBMISSION)
        except GoJsonError as error:
            message = self._dialect.messages.invalid_submission
            raise message.refuse(request.context, problem=str(error)) from error

    def _parse_action(self, request: GatewayRequest, fields: Mapping[str, Any]) -> tuple[str, int]:
        """Return action and index."""
        endpoint = request.route.endpoint or ""
        if endpoint in {*_ACTION_BY_ENDPOINT, "modal", "video"}:
            return _ACTION_BY_ENDPOINT.get(endpoint, endpoint.upper()), 0
        if endpoint != "action":
            return fields["action"], fields["index"]
        try:
            custom_id_action = parse_custom_id(fields["customId"])
        except GoJsonError as error:
            message = self._dialect.messages.unknown_custom_id
            raise message.refuse(request.context, problem=str(error)) from error
        return custom_id_action.action, custom_id_action.index

    def _check_channel(self, action: str, request: GatewayRequest) -> None:
        """Refuse an action that no channel sells; its case does not matter."""
        fault = self._context.faults.next_fault("gateway", kind="no_channel")
        if fault is None and action.upper() in SOLD_ACTIONS:
            return
        model = self._dialect.model_name(action.lower(), request.speed.lower())
        raise self._dialect.messages.no_channel.refuse(request.context, model=model)

    async def _forward(
        self, submission: ForwardedSubmission
    ) -> tuple[UpstreamResponse, dict[str, Any]]:
        """Forward, charge and record a submission; retry it relaxed where the dialect does."""
        accounts, dialect = self._context.accounts, self._dialect
        is_free = submission.action in dialect.free_actions
        if accounts.is_quota_exhausted and not is_free:
            raise dialect.messages.quota_exhausted.refuse(submission.request.context)
        response, result = await self._send_submission(submission)
        can_relax = submission.speed == "FAST" and not submission.fields.get("taskId")
        if result["code"] == _NO_ACCOUNT_CODE and can_relax and dialect.enforces_speed:
            submission = attrs.evolve(submission, speed="RELAX")
            response, result = await self._send_submission(submission)
        is_swap = submission.action == "SWAP_FACE"
        charged_codes = {1} if is_swap else {*ACCEPTED_CODES, MODAL_CODE}
        if response.status == 200 and not is_free and result["code"] in charged_codes:
            accounts.charge()
        self._record(submission, result)
        return response, result

    async def _send_submission(
        self, submission: ForwardedSubmission
    ) -> tuple[UpstreamResponse, dict[str, Any]]:
        response, result = await self._send_upstream(
            submission.request,
            "POST",
            body=self._encode_body(submission),
            timeout=self._context.scale_timeout(_SUBMIT_TIMEOUT),
        )
        if self._dialect.shows_refusals:
            if isinstance(result["result"], list):
                raise local_error("unmarshal_response_body_failed", code=5)
            if result["code"] not in {*ACCEPTED_CODES, MODAL_CODE}:
                code, task_id = result["code"], result["result"]
                raise local_error(result["description"], code=code, result=task_id)
        return response, result

    async def _send_upstream(
        self,
        request: GatewayRequest,
        method: str,
        *,
        timeout: float,
        body: bytes | None = None,
        authenticated: bool = True,
    ) -> tuple[UpstreamResponse, dict[str, Any]]:
        """Send a request to the upstream; return its response and the SubmitResult in it."""
        response = await self._context.upstream.request(
            method,
            request.path,
            body=body,
            content_type="application/json" if body else None,
            timeout=timeout,
            authenticated=authenticated,
        )
        if self._dialect.hides_upstream_errors and response.status >= 400:
            raise local_error("do_request_failed", code=5)
        return response, parse_submit_result(response)

    def _encode_body(self, submission: ForwardedSubmission) -> bytes:
        """Return the body for the upstream: the original with some keys replaced or deleted."""
        dialect = self._dialect
        try:
            body = decode(submission.request.raw_body, first_value_only=dialect.reads_body_first)
        except GoJsonError as error:
            raise local_error("read_request_body_failed", code=5) from error
        if body is None and dialect.enforces_speed:
            raise GatewayPanic("assignment to entry in nil map")
        if body is None:
            return b"null"
        if not isinstance(body, dict):
            raise local_error("read_request_body_failed", code=5)
        body.pop("accountFilter", None)
        if not dialect.forwards_notify_hook:
            body.pop("notifyHook", None)
        if dialect.enforces_speed:
            body["accountFilter"] = {"modes": [submission.speed]}
            if isinstance(prompt := body.get("prompt"), str):
                body["prompt"] = _SPEED_FLAG.sub("", prompt)
        return json.dumps(body, ensure_ascii=False, sort_keys=True).encode()

    def _record(self, submission: ForwardedSubmission, result: Mapping[str, Any]) -> None:
        """Insert a row for any result, refusals and results without an id included."""
        record, fields = submission.request.record, submission.fields
        task_id = result["result"] if isinstance(result["result"], str) else ""
        row = TaskRow(
            id=task_id,
            user=submission.request.user,
            action=submission.action,
            prompt=submission.prompt,
            description=result["description"],
            submitted_at=int(record.at * 1000),
            mode=submission.speed,
            parent_id=submission.parent_id,
            is_accepted=result["code"] in ACCEPTED_CODES and bool(task_id),
        )
        if submission.action == "SWAP_FACE":
            row.started_at = _now_ms()
        else:
            _apply_result(row, result)
        self._context.rows.insert(row)
        if row.is_accepted:
            self._context.record_submission(
                record, row, state=fields.get("state"), prompt=fields.get("prompt")
            )


def _encode_result(status: int, fields: Mapping[str, Any]) -> SimResponse:
    """Return a SubmitResult encoded again, in the order of Go's struct."""
    body = {
        "code": fields["code"],
        "description": fields["description"],
        "properties": fields["properties"],
        "result": fields["result"] if isinstance(fields["result"], str) else "",
    }
    return SimResponse(status=status, body=orjson.dumps(body), content_type=PLAIN_TEXT_TYPE)


def _apply_result(row: TaskRow, result: Mapping[str, Any]) -> None:
    """Set the fields of a row that the result of its submission determines."""
    code = result["code"]
    if code not in {*ACCEPTED_CODES, MODAL_CODE}:
        row.fail_reason = result["description"]
    if code == 1 and row.action == "UPLOAD":
        row.status, row.progress = "SUCCESS", "100%"
    if code != MODAL_CODE or not isinstance(existing := result["properties"], dict):
        return
    # a 21 with these properties means that the task exists already (PROTOCOL §2)
    status, image_url = existing.get("status"), existing.get("imageUrl")
    if isinstance(status, str) and isinstance(image_url, str):
        row.status, row.image_url = status, image_url
        if status == "SUCCESS":
            row.progress, row.started_at, row.finished_at = "100%", _now_ms(), _now_ms()


def _now_ms() -> int:
    return int(time.time() * 1000)
