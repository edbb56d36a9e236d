"""What each gateway says when it refuses, in the language it was asked in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from ..responses import RequestRefused, SimResponse
from .gateway_responses import PLAIN, local_error, openai_error, panic_response

__all__ = [
    "NEW_API",
    "NEW_API_2025",
    "ONE_API",
    "ONE_HUB",
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
    def no_token(self, asked: RequestContext) -> RequestRefused:
        """The request has no token."""

    @abstractmethod
    def wrong_token(self, asked: RequestContext) -> RequestRefused:
        """The token is unknown."""

    @abstractmethod
    def spent_token(self, token: str, asked: RequestContext, *, again: bool) -> RequestRefused:
        """The token's money is used up, and that has been noticed before or not."""

    @abstractmethod
    def pinned(self, asked: RequestContext) -> RequestRefused:
        """The token names a channel, which only administrators may."""


class GatewayMessages(TokenMessages, Protocol):
    """The refusals of one gateway."""

    @abstractmethod
    def no_task(self) -> RequestRefused:
        """Nobody knows the task, or it is another user's."""

    @abstractmethod
    def bad_list(self) -> RequestRefused:
        """The ids of a list cannot be read."""

    @abstractmethod
    def bad_notice(self) -> RequestRefused:
        """An inbound webhook cannot be read."""

    @abstractmethod
    def unknown_notice(self) -> RequestRefused:
        """An inbound webhook is about no known task."""

    @abstractmethod
    def unreadable(self, problem: str, asked: RequestContext) -> RequestRefused:
        """The body of a submission cannot be read."""

    @abstractmethod
    def unknown_press(self, problem: str, asked: RequestContext) -> RequestRefused:
        """The custom id is none that is sold."""

    @abstractmethod
    def no_channel(self, model: str, asked: RequestContext) -> RequestRefused:
        """Nobody sells this model."""

    @abstractmethod
    def parent_off(self, *, gone: bool) -> RequestRefused:
        """The channel of the parent task is disabled, or deleted."""

    @abstractmethod
    def poor(self) -> RequestRefused:
        """The user's money is used up."""

    @abstractmethod
    def crashed(self, problem: str, *, goes_on: bool) -> RequestRefused | None:
        """What is left of a handler that panicked; None: the connection is closed.

        Args:
            problem: What Go says.
            goes_on: Whether the request has a task, about which more would have been said.
        """


def _code_4_error(description: str, kind: str = "upstream_error") -> RequestRefused:
    return local_error(description, kind=kind)


class CommonMessages:
    """What most of them say about tasks."""

    def no_task(self) -> RequestRefused:
        return _code_4_error("task_no_found")

    def bad_list(self) -> RequestRefused:
        return local_error("do_request_failed", content_type=PLAIN)

    def bad_notice(self) -> RequestRefused:
        return _code_4_error("bind_request_body_failed")

    def unknown_notice(self) -> RequestRefused:
        return _code_4_error("midjourney_task_not_found")


@attrs.frozen(kw_only=True)
class MessageTexts:
    """The texts of `new-api` in one language."""

    unknown: str
    request: str
    midjourney: str
    channel: str


_NEW_API_TEXTS: Final[Mapping[str, MessageTexts]] = {
    "en": MessageTexts(
        unknown="Invalid token",
        request="Invalid request: {}",
        midjourney="Invalid Midjourney request: {}",
        channel="No available channel for model {} under group default (distributor)",
    ),
    "zh-CN": MessageTexts(
        unknown="无效的令牌",
        request="无效的请求，{}",
        midjourney="无效的midjourney请求，{}",
        channel="分组 default 下模型 {} 无可用渠道（distributor）",
    ),
    "zh-TW": MessageTexts(
        unknown="無效的令牌",
        request="無效的請求，{}",
        midjourney="無效的midjourney請求，{}",
        channel="分組 default 下模型 {} 無可用管道（distributor）",
    ),
}


class NewApiMessages(CommonMessages):
    """The current `new-api`: English unless asked otherwise, and a ``code`` in every error."""

    def no_token(self, asked: RequestContext) -> RequestRefused:
        return self.wrong_token(asked)

    def wrong_token(self, asked: RequestContext) -> RequestRefused:
        return self._error(401, _NEW_API_TEXTS[asked.language].unknown, asked)

    def spent_token(self, token: str, asked: RequestContext, *, again: bool) -> RequestRefused:  # noqa: ARG002
        return self.wrong_token(asked)

    def pinned(self, asked: RequestContext) -> RequestRefused:
        return self._error(403, "普通用户不支持指定渠道", asked)

    def unreadable(self, problem: str, asked: RequestContext) -> RequestRefused:
        return self.unknown_press(_NEW_API_TEXTS[asked.language].midjourney.format(problem), asked)

    def unknown_press(self, problem: str, asked: RequestContext) -> RequestRefused:
        return self._error(400, _NEW_API_TEXTS[asked.language].request.format(problem), asked)

    def no_channel(self, model: str, asked: RequestContext) -> RequestRefused:
        message = _NEW_API_TEXTS[asked.language].channel.format(model)
        return self._error(503, message, asked, code="model_not_found")

    def parent_off(self, *, gone: bool) -> RequestRefused:
        return _code_4_error("get_channel_info_failed" if gone else "该任务所属渠道已被禁用")

    def poor(self) -> RequestRefused:
        return _code_4_error("quota_not_enough")

    def crashed(self, problem: str, *, goes_on: bool) -> RequestRefused | None:  # noqa: ARG002
        return None

    @staticmethod
    def _error(status: int, message: str, asked: RequestContext, code: str = "") -> RequestRefused:
        return openai_error(status, message, "new_api_error", asked.request_id, code=code)


class NewApi2025Messages(CommonMessages):
    """`new-api` of April 2025: Chinese, and no ``code``."""

    def no_token(self, asked: RequestContext) -> RequestRefused:
        return self._error(401, "未提供令牌", asked)

    def wrong_token(self, asked: RequestContext) -> RequestRefused:
        return self._error(401, "无效的令牌", asked)

    def spent_token(self, token: str, asked: RequestContext, *, again: bool) -> RequestRefused:
        shown = f"[sk-{token[:3]}***{token[-3:]}]"
        first = f"{shown} 该令牌额度已用尽 !token.UnlimitedQuota && token.RemainQuota = 0"
        later = f"该令牌额度已用尽 TokenStatusExhausted{shown}"
        return self._error(401, later if again else first, asked)

    def pinned(self, asked: RequestContext) -> RequestRefused:
        return self._error(403, "普通用户不支持指定渠道", asked)

    def unreadable(self, problem: str, asked: RequestContext) -> RequestRefused:
        return self._error(400, f"Invalid request, {problem}", asked)

    def unknown_press(self, problem: str, asked: RequestContext) -> RequestRefused:
        return self.unreadable(problem, asked)

    def no_channel(self, model: str, asked: RequestContext) -> RequestRefused:
        message = f"当前分组 default 下对于模型 {model} 无可用渠道"
        return self._error(503, message, asked)

    def parent_off(self, *, gone: bool) -> RequestRefused:
        return _code_4_error("get_channel_info_failed" if gone else "该任务所属渠道已被禁用")

    def poor(self) -> RequestRefused:
        return _code_4_error("quota_not_enough")

    def crashed(self, problem: str, *, goes_on: bool) -> RequestRefused | None:
        """The panic is told of, and what the next handler says follows it in the same body."""
        where = "Please submit a issue here: https://github.com/Calcium-Ion/new-api"
        message = f"Panic detected, error: {problem}. {where}"
        refusal = panic_response({"message": message, "type": "new_api_panic"})
        if not goes_on:
            return refusal
        more = local_error("task_not_found").response.body
        return RequestRefused(attrs.evolve(refusal.response, body=refusal.response.body + more))

    @staticmethod
    def _error(status: int, message: str, asked: RequestContext) -> RequestRefused:
        return openai_error(status, message, "new_api_error", asked.request_id)


class OneHubMessages(CommonMessages):
    """`one-hub`: most of what it refuses looks like an answer of Midjourney-Proxy."""

    def no_token(self, asked: RequestContext) -> RequestRefused:
        return self.wrong_token(asked)

    def wrong_token(self, asked: RequestContext) -> RequestRefused:
        return self._error(401, "无效的令牌", asked)

    def spent_token(self, token: str, asked: RequestContext, *, again: bool) -> RequestRefused:  # noqa: ARG002
        return self._error(401, "令牌额度已用尽", asked)

    def pinned(self, asked: RequestContext) -> RequestRefused:
        return self._error(403, "普通用户不支持指定渠道", asked)

    def unreadable(self, problem: str, asked: RequestContext) -> RequestRefused:  # noqa: ARG002
        return _code_4_error("bind_request_body_failed")

    def unknown_press(self, problem: str, asked: RequestContext) -> RequestRefused:  # noqa: ARG002
        return _code_4_error(problem, kind="internal_error")

    def no_channel(self, model: str, asked: RequestContext) -> RequestRefused:  # noqa: ARG002
        return self._no_provider(f"当前分组 default 下对于模型 {model} 无可用渠道")

    def parent_off(self, *, gone: bool) -> RequestRefused:
        return self._no_provider("无效的渠道 Id" if gone else "该渠道已被禁用")

    def poor(self) -> RequestRefused:
        return _code_4_error("user quota is not enough")

    def crashed(self, problem: str, *, goes_on: bool) -> RequestRefused | None:  # noqa: ARG002
        where = "Please submit a issue here: https://github.com/MartialBE/one-hub."
        description = f"Panic detected, error: {problem}. {where}"
        return panic_response({"code": 500, "description": description, "type": "one_hub_panic"})

    @staticmethod
    def _no_provider(reason: str) -> RequestRefused:
        return local_error(f"无法获取provider:{reason}", code=5, kind="internal_error")

    @staticmethod
    def _error(status: int, message: str, asked: RequestContext) -> RequestRefused:
        return openai_error(status, message, "one_hub_error", asked.request_id)


class OneApiMessages:
    """A fork of one-api, in English."""

    def no_token(self, asked: RequestContext) -> RequestRefused:
        return self.wrong_token(asked)

    def wrong_token(self, asked: RequestContext) -> RequestRefused:
        return self._error(401, "Token not provided", asked)

    def spent_token(self, token: str, asked: RequestContext, *, again: bool) -> RequestRefused:  # noqa: ARG002
        return self._error(401, "The token quota has been exhausted", asked)

    def pinned(self, asked: RequestContext) -> RequestRefused:
        return self._error(403, "Ordinary users do not support designated channels", asked)

    def no_task(self) -> RequestRefused:
        return local_error("Get mj id failed", result="Error")

    def bad_list(self) -> RequestRefused:
        return local_error("Bind json failed", result="Error", content_type=PLAIN)

    def bad_notice(self) -> RequestRefused:
        return _code_4_error("Unmarshal BodyReusable failed")

    def unknown_notice(self) -> RequestRefused:
        return _code_4_error("Get Mj id failed")

    def unreadable(self, problem: str, asked: RequestContext) -> RequestRefused:  # noqa: ARG002
        return self._error(400, "Model name is required", asked)

    def unknown_press(self, problem: str, asked: RequestContext) -> RequestRefused:  # noqa: ARG002
        return _code_4_error(problem)

    def no_channel(self, model: str, asked: RequestContext) -> RequestRefused:
        message = f"There are no channels available for model {model} under the current group"
        return self._error(503, f"{message} default", asked)

    def parent_off(self, *, gone: bool) -> RequestRefused:
        return _code_4_error("get_channel_info_failed" if gone else "该任务所属渠道已被禁用")

    def poor(self) -> RequestRefused:
        return local_error("User quota is not enough", result="Error")

    def crashed(self, problem: str, *, goes_on: bool) -> RequestRefused | None:  # noqa: ARG002
        return RequestRefused(SimResponse(status=500))

    @staticmethod
    def _error(status: int, message: str, asked: RequestContext) -> RequestRefused:
        return openai_error(status, message, "api_error", asked.request_id)


class PathGatewayMessages:
    """The live gateway, whose words are made up."""

    def no_token(self, asked: RequestContext) -> RequestRefused:
        return self.wrong_token(asked)

    def wrong_token(self, asked: RequestContext) -> RequestRefused:
        return openai_error(401, "无效的令牌", "gateway_error", asked.request_id)

    def spent_token(self, token: str, asked: RequestContext, *, again: bool) -> RequestRefused:  # noqa: ARG002
        return self.wrong_token(asked)

    def pinned(self, asked: RequestContext) -> RequestRefused:
        return self.wrong_token(asked)


PATH_GATEWAY: Final[TokenMessages] = PathGatewayMessages()
NEW_API: Final[GatewayMessages] = NewApiMessages()
NEW_API_2025: Final[GatewayMessages] = NewApi2025Messages()
ONE_API: Final[GatewayMessages] = OneApiMessages()
ONE_HUB: Final[GatewayMessages] = OneHubMessages()
