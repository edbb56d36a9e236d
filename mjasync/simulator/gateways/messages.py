"""The refusals of each gateway, as a table: texts and shapes are those of the real programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeAlias

import attrs

from ..responses import RequestRefused, SimResponse
from .gateway_responses import GO_JSON_TYPE, PLAIN_TEXT_TYPE, go_json_response, local_error


@attrs.frozen(kw_only=True)
class RequestContext:
    """The parts of a request that its error messages depend on."""

    language: str = "en"
    """``en``, ``zh-CN`` or ``zh-TW``."""
    request_id: str


@attrs.frozen
class OpenAiError:
    """A refusal of shape E (PROTOCOL §7.1)."""

    error_type: str
    status: int
    text: str | Mapping[str, str]
    """A format string, or one for each language."""
    code: str | None = None
    """Mostly empty; None: an older gateway, which has no such field."""

    def refuse(self, context: RequestContext, **values: str) -> RequestRefused:
        """Return the refusal of one request; ``values`` complete the text."""
        text = self.text if isinstance(self.text, str) else self.text[context.language]
        message = f"{text.format(**values)} (request id: {context.request_id})"
        code_field = {} if self.code is None else {"code": self.code}
        error = {**code_field, "message": message, "type": self.error_type}
        return RequestRefused(go_json_response({"error": error}, self.status))


@attrs.frozen
class LocalError:
    """A refusal of shape D (PROTOCOL §7.1)."""

    text: str
    """A format string."""
    code: int = 4
    error_type: str = "upstream_error"
    result: str = ""
    content_type: str = GO_JSON_TYPE

    def refuse(self, _context: RequestContext, **values: str) -> RequestRefused:
        """Return the refusal of one request; ``values`` complete the text."""
        return local_error(
            self.text.format(**values),
            self.code,
            self.error_type,
            result=self.result,
            content_type=self.content_type,
        )


ErrorTemplate: TypeAlias = OpenAiError | LocalError
_SAME_AS_INVALID: Final[Any] = attrs.Factory(attrgetter("invalid_token"), takes_self=True)
_SAME_AS_SPENT: Final[Any] = attrs.Factory(attrgetter("spent_token"), takes_self=True)


@attrs.frozen(kw_only=True)
class TokenMessages:
    """The refusals of tokens."""

    invalid_token: ErrorTemplate
    missing_token: ErrorTemplate = _SAME_AS_INVALID
    spent_token: ErrorTemplate = _SAME_AS_INVALID
    """The first refusal of a token whose quota is used up; ``masked_token`` is its value."""
    repeated_spent_token: ErrorTemplate = _SAME_AS_SPENT
    """All later ones."""
    channel_forbidden: ErrorTemplate = _SAME_AS_INVALID
    """The token names a channel, which only administrators may."""


@attrs.frozen(kw_only=True)
class GatewayMessages(TokenMessages):
    """The refusals of a gateway with rows of its own."""

    unknown_task: ErrorTemplate = LocalError("task_no_found")
    """The task does not exist, or is another user's."""
    invalid_list: ErrorTemplate = LocalError("do_request_failed", content_type=PLAIN_TEXT_TYPE)
    """The ids of a list cannot be decoded."""
    invalid_notification: ErrorTemplate = LocalError("bind_request_body_failed")
    """An inbound webhook cannot be decoded."""
    notification_without_task: ErrorTemplate = LocalError("midjourney_task_not_found")
    """An inbound webhook is about an unknown task."""
    invalid_submission: ErrorTemplate
    """The body of a submission cannot be decoded; ``problem`` is Go's message."""
    unknown_custom_id: ErrorTemplate
    """The button of a custom id is not sold; ``problem`` is Go's message."""
    no_channel: ErrorTemplate
    """No channel sells the model ``model``."""
    disabled_channel: ErrorTemplate = LocalError("该任务所属渠道已被禁用")
    """The channel of the parent task is disabled."""
    deleted_channel: ErrorTemplate = LocalError("get_channel_info_failed")
    """The channel of the parent task is deleted."""
    quota_exhausted: ErrorTemplate = LocalError("quota_not_enough")
    """The user's quota is used up."""
    panic_response: Callable[[str, bool], SimResponse]
    """Response of a handler that panicked, from Go's message and whether the request is about a
    task."""


def _new_api_2025_panic(problem: str, has_task: bool) -> SimResponse:  # noqa: FBT001 - as every panic
    """Report the panic; the response of the next handler follows in the same body."""
    issue_hint = "Please submit a issue here: https://github.com/Calcium-Ion/new-api"
    message = f"Panic detected, error: {problem}. {issue_hint}"
    response = go_json_response({"error": {"message": message, "type": "new_api_panic"}}, 500)
    next_body = local_error("task_not_found").response.body if has_task else b""
    return attrs.evolve(response, body=response.body + next_body)


def _one_hub_panic(problem: str, _has_task: bool) -> SimResponse:  # noqa: FBT001 - as every panic
    issue_hint = "Please submit a issue here: https://github.com/MartialBE/one-hub."
    description = f"Panic detected, error: {problem}. {issue_hint}"
    error = {"code": 500, "description": description, "type": "one_hub_panic"}
    return go_json_response({"error": error}, 500)


_new_api_error: Final = partial(OpenAiError, "new_api_error", code="")
_new_api_2025_error: Final = partial(OpenAiError, "new_api_error")
_one_hub_error: Final = partial(OpenAiError, "one_hub_error")
_one_hub_no_provider: Final = partial(LocalError, code=5, error_type="internal_error")
_one_api_error: Final = partial(OpenAiError, "api_error")
NEW_API_MESSAGES: Final = GatewayMessages(
    invalid_token=_new_api_error(
        401, {"en": "Invalid token", "zh-CN": "无效的令牌", "zh-TW": "無效的令牌"}
    ),
    channel_forbidden=_new_api_error(403, "普通用户不支持指定渠道"),
    invalid_submission=_new_api_error(
        400,
        {
            "en": "Invalid request: Invalid Midjourney request: {problem}",
            "zh-CN": "无效的请求，无效的midjourney请求，{problem}",
            "zh-TW": "無效的請求，無效的midjourney請求，{problem}",
        },
    ),
    unknown_custom_id=_new_api_error(
        400,
        {
            "en": "Invalid request: {problem}",
            "zh-CN": "无效的请求，{problem}",
            "zh-TW": "無效的請求，{problem}",
        },
    ),
    no_channel=_new_api_error(
        503,
        {
            "en": "No available channel for model {model} under group default (distributor)",
            "zh-CN": "分组 default 下模型 {model} 无可用渠道（distributor）",
            "zh-TW": "分組 default 下模型 {model} 無可用管道（distributor）",
        },
        code="model_not_found",
    ),
    panic_response=lambda _problem, _has_task: SimResponse(closes_connection=True),
)
"""The current `new-api`: English unless requested otherwise, and a ``code`` in every error."""
NEW_API_2025_MESSAGES: Final = GatewayMessages(
    missing_token=_new_api_2025_error(401, "未提供令牌"),
    invalid_token=_new_api_2025_error(401, "无效的令牌"),
    spent_token=_new_api_2025_error(
        401, "[{masked_token}] 该令牌额度已用尽 !token.UnlimitedQuota && token.RemainQuota = 0"
    ),
    repeated_spent_token=_new_api_2025_error(
        401, "该令牌额度已用尽 TokenStatusExhausted[{masked_token}]"
    ),
    channel_forbidden=_new_api_2025_error(403, "普通用户不支持指定渠道"),
    invalid_submission=_new_api_2025_error(400, "Invalid request, {problem}"),
    unknown_custom_id=_new_api_2025_error(400, "Invalid request, {problem}"),
    no_channel=_new_api_2025_error(503, "当前分组 default 下对于模型 {model} 无可用渠道"),
    panic_response=_new_api_2025_panic,
)
"""`new-api` of April 2025: Chinese, and no ``code``."""
ONE_HUB_MESSAGES: Final = GatewayMessages(
    invalid_token=_one_hub_error(401, "无效的令牌"),
    spent_token=_one_hub_error(401, "令牌额度已用尽"),
    channel_forbidden=_one_hub_error(403, "普通用户不支持指定渠道"),
    invalid_submission=LocalError("bind_request_body_failed"),
    unknown_custom_id=LocalError("{problem}", error_type="internal_error"),
    no_channel=_one_hub_no_provider(
        "无法获取provider:当前分组 default 下对于模型 {model} 无可用渠道"
    ),
    disabled_channel=_one_hub_no_provider("无法获取provider:该渠道已被禁用"),
    deleted_channel=_one_hub_no_provider("无法获取provider:无效的渠道 Id"),
    quota_exhausted=LocalError("user quota is not enough"),
    panic_response=_one_hub_panic,
)
"""`one-hub`: most of its refusals have the shape of Midjourney-Proxy."""
ONE_API_MESSAGES: Final = GatewayMessages(
    invalid_token=_one_api_error(401, "Token not provided"),
    spent_token=_one_api_error(401, "The token quota has been exhausted"),
    channel_forbidden=_one_api_error(403, "Ordinary users do not support designated channels"),
    unknown_task=LocalError("Get mj id failed", result="Error"),
    invalid_list=LocalError("Bind json failed", result="Error", content_type=PLAIN_TEXT_TYPE),
    invalid_notification=LocalError("Unmarshal BodyReusable failed"),
    notification_without_task=LocalError("Get Mj id failed"),
    invalid_submission=_one_api_error(400, "Model name is required"),
    unknown_custom_id=LocalError("{problem}"),
    no_channel=_one_api_error(
        503, "There are no channels available for model {model} under the current group default"
    ),
    quota_exhausted=LocalError("User quota is not enough", result="Error"),
    panic_response=lambda _problem, _has_task: SimResponse(status=500),
)
"""A fork of one-api, in English."""
PATH_GATEWAY_MESSAGES: Final = TokenMessages(
    invalid_token=OpenAiError("gateway_error", 401, "无效的令牌")
)
"""The live gateway; its texts are invented."""
