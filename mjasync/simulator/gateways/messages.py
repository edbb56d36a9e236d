"""What each gateway says when it refuses, in the language it was asked in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from ..responses import RequestRefused, SimResponse
from .gateway_responses import PLAIN_TEXT_TYPE, local_error, openai_error, panic_response

__all__ = [
    "NEW_API_2025_MESSAGES",
    "NEW_API_MESSAGES",
    "ONE_API_MESSAGES",
    "ONE_HUB_MESSAGES",
    "PATH_GATEWAY",
    "GatewayMessages",
    "RequestContext",
    "TokenMessages",
]


@attrs.frozen(kw_only=True)
class RequestContext:
    """What an answer depends on besides the request."""

    language: str = "en"
    """``en``, ``zh-CN`` or ``zh-TW``."""
    request_id: str


class TokenMessages(Protocol):
    """What one gateway says about tokens."""

    @abstractmethod
    def missing_token(self, context: RequestContext) -> RequestRefused:
        """The request has no token."""

    @abstractmethod
    def invalid_token(self, context: RequestContext) -> RequestRefused:
        """The token is unknown."""

    @abstractmethod
    def spent_token(
        self, token: str, context: RequestContext, *, is_repeated: bool
    ) -> RequestRefused:
        """The token's money is used up, and that has been noticed before or not."""

    @abstractmethod
    def channel_forbidden(self, context: RequestContext) -> RequestRefused:
        """The token names a channel, which only administrators may."""


class GatewayMessages(TokenMessages, Protocol):
    """The refusals of one gateway."""

    @abstractmethod
    def unknown_task(self) -> RequestRefused:
        """Nobody knows the task, or it is another user's."""

    @abstractmethod
    def invalid_list(self) -> RequestRefused:
        """The ids of a list cannot be read."""

    @abstractmethod
    def invalid_notification(self) -> RequestRefused:
        """An inbound webhook cannot be read."""

    @abstractmethod
    def notification_without_task(self) -> RequestRefused:
        """An inbound webhook is about no known task."""

    @abstractmethod
    def invalid_submission(self, problem: str, context: RequestContext) -> RequestRefused:
        """The body of a submission cannot be read."""

    @abstractmethod
    def unknown_custom_id(self, problem: str, context: RequestContext) -> RequestRefused:
        """The custom id is none that is sold."""

    @abstractmethod
    def no_channel(self, model: str, context: RequestContext) -> RequestRefused:
        """Nobody sells this model."""

    @abstractmethod
    def parent_channel_unavailable(self, *, is_deleted: bool) -> RequestRefused:
        """The channel of the parent task is disabled, or deleted."""

    @abstractmethod
    def quota_exhausted(self) -> RequestRefused:
        """The user's money is used up."""

    @abstractmethod
    def handler_panicked(self, problem: str, *, has_task: bool) -> RequestRefused | None:
        """What is left of a handler that panicked; None: the connection is closed.

        Args:
            problem: What Go says.
            has_task: Whether the request is about a task, which adds to the response.
        """


def _code_4_error(description: str, error_type: str = "upstream_error") -> RequestRefused:
    return local_error(description, error_type=error_type)


class CommonMessages:
    """What most of them say about tasks."""

    def unknown_task(self) -> RequestRefused:
        return _code_4_error("task_no_found")

    def invalid_list(self) -> RequestRefused:
        return local_error("do_request_failed", content_type=PLAIN_TEXT_TYPE)

    def invalid_notification(self) -> RequestRefused:
        return _code_4_error("bind_request_body_failed")

    def notification_without_task(self) -> RequestRefused:
        return _code_4_error("midjourney_task_not_found")


@attrs.frozen(kw_only=True)
class MessageTexts:
    """The texts of `new-api` in one language."""

    unauthorized: str
    invalid_request: str
    invalid_midjourney_request: str
    no_channel: str


_NEW_API_TEXTS: Final[Mapping[str, MessageTexts]] = {
    "en": MessageTexts(
        unauthorized="Invalid token",
        invalid_request="Invalid request: {}",
        invalid_midjourney_request="Invalid Midjourney request: {}",
        no_channel="No available channel for model {} under group default (distributor)",
    ),
    "zh-CN": MessageTexts(
        unauthorized="无效的令牌",
        invalid_request="无效的请求，{}",
        invalid_midjourney_request="无效的midjourney请求，{}",
        no_channel="分组 default 下模型 {} 无可用渠道（distributor）",
    ),
    "zh-TW": MessageTexts(
        unauthorized="無效的令牌",
        invalid_request="無效的請求，{}",
        invalid_midjourney_request="無效的midjourney請求，{}",
        no_channel="分組 default 下模型 {} 無可用管道（distributor）",
    ),
}


class NewApiMessages(CommonMessages):
    """The current `new-api`: English unless asked otherwise, and a ``code`` in every error."""

    def missing_token(self, context: RequestContext) -> RequestRefused:
        return self.invalid_token(context)

    def invalid_token(self, context: RequestContext) -> RequestRefused:
        return self._error(401, _NEW_API_TEXTS[context.language].unauthorized, context)

    def spent_token(
        self,
        token: str,  # noqa: ARG002 - the interface
        context: RequestContext,
        *,
        is_repeated: bool,  # noqa: ARG002
    ) -> RequestRefused:
        return self.invalid_token(context)

    def channel_forbidden(self, context: RequestContext) -> RequestRefused:
        return self._error(403, "普通用户不支持指定渠道", context)

    def invalid_submission(self, problem: str, context: RequestContext) -> RequestRefused:
        return self.unknown_custom_id(
            _NEW_API_TEXTS[context.language].invalid_midjourney_request.format(problem), context
        )

    def unknown_custom_id(self, problem: str, context: RequestContext) -> RequestRefused:
        return self._error(
            400, _NEW_API_TEXTS[context.language].invalid_request.format(problem), context
        )

    def no_channel(self, model: str, context: RequestContext) -> RequestRefused:
        message = _NEW_API_TEXTS[context.language].no_channel.format(model)
        return self._error(503, message, context, code="model_not_found")

    def parent_channel_unavailable(self, *, is_deleted: bool) -> RequestRefused:
        return _code_4_error("get_channel_info_failed" if is_deleted else "该任务所属渠道已被禁用")

    def quota_exhausted(self) -> RequestRefused:
        return _code_4_error("quota_not_enough")

    def handler_panicked(self, problem: str, *, has_task: bool) -> RequestRefused | None:  # noqa: ARG002
        return None

    @staticmethod
    def _error(
        status: int, message: str, context: RequestContext, code: str = ""
    ) -> RequestRefused:
        return openai_error(status, message, "new_api_error", context.request_id, code=code)


class NewApi2025Messages(CommonMessages):
    """`new-api` of April 2025: Chinese, and no ``code``."""

    def missing_token(self, context: RequestContext) -> RequestRefused:
        return self._error(401, "未提供令牌", context)

    def invalid_token(self, context: RequestContext) -> RequestRefused:
        return self._error(401, "无效的令牌", context)

    def spent_token(
        self, token: str, context: RequestContext, *, is_repeated: bool
    ) -> RequestRefused:
        masked_token = f"[sk-{token[:3]}***{token[-3:]}]"
        first_message = (
            f"{masked_token} 该令牌额度已用尽 !token.UnlimitedQuota && token.RemainQuota = 0"
        )
        repeated_message = f"该令牌额度已用尽 TokenStatusExhausted{masked_token}"
        return self._error(401, repeated_message if is_repeated else first_message, context)

    def channel_forbidden(self, context: RequestContext) -> RequestRefused:
        return self._error(403, "普通用户不支持指定渠道", context)

    def invalid_submission(self, problem: str, context: RequestContext) -> RequestRefused:
        return self._error(400, f"Invalid request, {problem}", context)

    def unknown_custom_id(self, problem: str, context: RequestContext) -> RequestRefused:
        return self.invalid_submission(problem, context)

    def no_channel(self, model: str, context: RequestContext) -> RequestRefused:
        message = f"当前分组 default 下对于模型 {model} 无可用渠道"
        return self._error(503, message, context)

    def parent_channel_unavailable(self, *, is_deleted: bool) -> RequestRefused:
        return _code_4_error("get_channel_info_failed" if is_deleted else "该任务所属渠道已被禁用")

    def quota_exhausted(self) -> RequestRefused:
        return _code_4_error("quota_not_enough")

    def handler_panicked(self, problem: str, *, has_task: bool) -> RequestRefused | None:
        """The panic is told of, and what the next handler says follows it in the same body."""
        issue_hint = "Please submit a issue here: https://github.com/Calcium-Ion/new-api"
        message = f"Panic detected, error: {problem}. {issue_hint}"
        refusal = panic_response({"message": message, "type": "new_api_panic"})
        if not has_task:
            return refusal
        second_body = local_error("task_not_found").response.body
        return RequestRefused(
            attrs.evolve(refusal.response, body=refusal.response.body + second_body)
        )

    @staticmethod
    def _error(status: int, message: str, context: RequestContext) -> RequestRefused:
        return openai_error(status, message, "new_api_error", context.request_id)


class OneHubMessages(CommonMessages):
    """`one-hub`: most of what it refuses looks like an answer of Midjourney-Proxy."""

    def missing_token(self, context: RequestContext) -> RequestRefused:
        return self.invalid_token(context)

    def invalid_token(self, context: RequestContext) -> RequestRefused:
        return self._error(401, "无效的令牌", context)

    def spent_token(
        self,
        token: str,  # noqa: ARG002 - the interface
        context: RequestContext,
        *,
        is_repeated: bool,  # noqa: ARG002
    ) -> RequestRefused:
        return self._error(401, "令牌额度已用尽", context)

    def channel_forbidden(self, context: RequestContext) -> RequestRefused:
        return self._error(403, "普通用户不支持指定渠道", context)

    def invalid_submission(self, problem: str, context: RequestContext) -> RequestRefused:  # noqa: ARG002
        return _code_4_error("bind_request_body_failed")

    def unknown_custom_id(self, problem: str, context: RequestContext) -> RequestRefused:  # noqa: ARG002
        return _code_4_error(problem, error_type="internal_error")

    def no_channel(self, model: str, context: RequestContext) -> RequestRefused:  # noqa: ARG002
        return self._no_provider(f"当前分组 default 下对于模型 {model} 无可用渠道")

    def parent_channel_unavailable(self, *, is_deleted: bool) -> RequestRefused:
        return self._no_provider("无效的渠道 Id" if is_deleted else "该渠道已被禁用")

    def quota_exhausted(self) -> RequestRefused:
        return _code_4_error("user quota is not enough")

    def handler_panicked(self, problem: str, *, has_task: bool) -> RequestRefused | None:  # noqa: ARG002
        issue_hint = "Please submit a issue here: https://github.com/MartialBE/one-hub."
        description = f"Panic detected, error: {problem}. {issue_hint}"
        return panic_response({"code": 500, "description": description, "type": "one_hub_panic"})

    @staticmethod
    def _no_provider(reason: str) -> RequestRefused:
        return local_error(f"无法获取provider:{reason}", code=5, error_type="internal_error")

    @staticmethod
    def _error(status: int, message: str, context: RequestContext) -> RequestRefused:
        return openai_error(status, message, "one_hub_error", context.request_id)


class OneApiMessages:
    """A fork of one-api, in English."""

    def missing_token(self, context: RequestContext) -> RequestRefused:
        return self.invalid_token(context)

    def invalid_token(self, context: RequestContext) -> RequestRefused:
        return self._error(401, "Token not provided", context)

    def spent_token(
        self,
        token: str,  # noqa: ARG002 - the interface
        context: RequestContext,
        *,
        is_repeated: bool,  # noqa: ARG002
    ) -> RequestRefused:
        return self._error(401, "The token quota has been exhausted", context)

    def channel_forbidden(self, context: RequestContext) -> RequestRefused:
        return self._error(403, "Ordinary users do not support designated channels", context)

    def unknown_task(self) -> RequestRefused:
        return local_error("Get mj id failed", result="Error")

    def invalid_list(self) -> RequestRefused:
        return local_error("Bind json failed", result="Error", content_type=PLAIN_TEXT_TYPE)

    def invalid_notification(self) -> RequestRefused:
        return _code_4_error("Unmarshal BodyReusable failed")

    def notification_without_task(self) -> RequestRefused:
        return _code_4_error("Get Mj id failed")

    def invalid_submission(self, problem: str, context: RequestContext) -> RequestRefused:  # noqa: ARG002
        return self._error(400, "Model name is required", context)

    def unknown_custom_id(self, problem: str, context: RequestContext) -> RequestRefused:  # noqa: ARG002
        return _code_4_error(problem)

    def no_channel(self, model: str, context: RequestContext) -> RequestRefused:
        message = f"There are no channels available for model {model} under the current group"
        return self._error(503, f"{message} default", context)

    def parent_channel_unavailable(self, *, is_deleted: bool) -> RequestRefused:
        return _code_4_error("get_channel_info_failed" if is_deleted else "该任务所属渠道已被禁用")

    def quota_exhausted(self) -> RequestRefused:
        return local_error("User quota is not enough", result="Error")

    def handler_panicked(self, problem: str, *, has_task: bool) -> RequestRefused | None:  # noqa: ARG002
        return RequestRefused(SimResponse(status=500))

    @staticmethod
    def _error(status: int, message: str, context: RequestContext) -> RequestRefused:
        return openai_error(status, message, "api_error", context.request_id)


class PathGatewayMessages:
    """The live gateway, whose words are made up."""

    def missing_token(self, context: RequestContext) -> RequestRefused:
        return self.invalid_token(context)

    def invalid_token(self, context: RequestContext) -> RequestRefused:
        return openai_error(401, "无效的令牌", "gateway_error", context.request_id)

    def spent_token(
        self,
        token: str,  # noqa: ARG002 - the interface
        context: RequestContext,
        *,
        is_repeated: bool,  # noqa: ARG002
    ) -> RequestRefused:
        return self.invalid_token(context)

    def channel_forbidden(self, context: RequestContext) -> RequestRefused:
        return self.invalid_token(context)


PATH_GATEWAY: Final[TokenMessages] = PathGatewayMessages()
NEW_API_MESSAGES: Final[GatewayMessages] = NewApiMessages()
NEW_API_2025_MESSAGES: Final[GatewayMessages] = NewApi2025Messages()
ONE_API_MESSAGES: Final[GatewayMessages] = OneApiMessages()
ONE_HUB_MESSAGES: Final[GatewayMessages] = OneHubMessages()
