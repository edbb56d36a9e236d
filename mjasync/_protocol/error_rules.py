"""Replies to errors: tables of codes, texts and statuses (PROTOCOL §2, §7.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .._json import dump_or_empty
from .._text import printable
from ..errors import (
    AuthenticationError,
    BannedPrompt,
    InvalidRequest,
    LinkExpired,
    MalformedReply,
    MJError,
    NoAccount,
    QueueFull,
    QuotaExhausted,
    RateLimited,
    ServerError,
    SubmitUncertain,
    TaskNotFound,
    TaskNotReady,
    UnsupportedEndpoint,
)
from . import decoding
from .parsing import MAX_MATCHED_TEXT, Operation, ParsedReply

ACCEPTED_CODES: Final = frozenset({1, 21, 22})
_EXPIRED_LINK_STATUSES: Final = frozenset({403, 404, 410})
_TEXT_PATTERNS: Final[tuple[tuple[str, type[MJError]], ...]] = (
    (r"队列已满|任务数已满|队列数已达上限|并发数已达上限|queue (is )?full", QueueFull),
    (r"敏感词|banned.?(prompt|word)", BannedPrompt),
    (
        r"quota_|quota (is |has been )?(not|ex|insuff)|insufficient.{0,6}(quota|balance)",
        QuotaExhausted,
    ),
    (r"额度|余额|次数已达上限", QuotaExhausted),
    (r"(每日|今日|当日|天).{0,40}(上限|限制)", QuotaExhausted),
    (r"账号不可用|无可用的?(账号|渠道)|(no available|no) (account|channel)s? available", NoAccount),
    (r"no available (account|channel)|渠道已被禁用|无效的渠道|get_channel_info_failed", NoAccount),
    (r"账号已被?(临时)?(封锁|禁用)|账号无权限", AuthenticationError),
    (r"system (cpu|memory|disk) overloaded", RateLimited),
    (r"task_status_not_success|关联任务状态错误", TaskNotReady),
    (r"unknown_(relay_)?action|未知的 ?action|Invalid URL \(", UnsupportedEndpoint),
    (r"功能未启用|不支持|未开启 ?remix|未找到 ?seed", UnsupportedEndpoint),
    (r"task_no(t)?_found|get mj id failed|任务不存在|任务.{0,40}(失效|未找到)", TaskNotFound),
    (r"task (is |was )?(not |un)(found|known)", TaskNotFound),
    (r"暂不可用", ServerError),
)
"""Texts of servers, for codes that are not specific enough (PROTOCOL §2, §7.1).

No pattern has an unbounded gap, which would take quadratic time on hostile text.
"""
_TEXT_ERRORS_BY_STATUS: Final[Mapping[int, frozenset[type[MJError]]]] = {
    401: frozenset({QuotaExhausted}),
    403: frozenset({QuotaExhausted, BannedPrompt}),
    429: frozenset({QuotaExhausted, QueueFull}),
    500: frozenset({QuotaExhausted, QueueFull, NoAccount, RateLimited}),
}
"""The texts that override these statuses; 500 includes all statuses above it."""
_UNAMBIGUOUS_CODES: Final[Mapping[int | None, type[MJError]]] = {23: QueueFull, 24: BannedPrompt}
"""Codes whose meaning does not depend on the text."""
_ERROR_BY_CODE: Final[Mapping[int | None, type[MJError]]] = {
    3: TaskNotFound,
    4: InvalidRequest,
    5: ServerError,
    9: ServerError,
    30: RateLimited,
    **_UNAMBIGUOUS_CODES,
}
_LOGIC_ERROR_CODE: Final = -1
"""The code of PROTOCOL §7.1-C: an invalid request, or an error that only its text describes."""
KNOWN_CODES: Final = frozenset({*ACCEPTED_CODES, *_ERROR_BY_CODE, _LOGIC_ERROR_CODE, None})
"""All codes of the protocol. Other codes are classified by their text and status."""
_ERROR_BY_STATUS: Final[Mapping[int, type[MJError]]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    402: QuotaExhausted,
    403: AuthenticationError,
    404: UnsupportedEndpoint,
    405: UnsupportedEndpoint,
    408: ServerError,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    425: ServerError,
    460: ServerError,
    499: ServerError,
    429: RateLimited,
    501: UnsupportedEndpoint,
}
_PRE_HANDLER_STATUSES: Final = frozenset(
    {401, 402, 404, 405, 407, 411, 413, 414, 415, 417, 429, 431, 501}
)
"""Statuses that servers and front ends return before they forward a request.

Front ends return every other error status for requests that the server behind them has accepted,
too (PROTOCOL §7.1).
"""
_REFUSAL_STATUSES: Final = frozenset({400, 403, 422})
"""Statuses at which a reply in the servers' own shape is a refusal, whatever its text."""
_REDIRECT_STATUSES: Final = frozenset({301, 307, 308})
_SAME_ENDPOINT: Final = re.compile(r"/(submit|insight-face)/")
"""Found in a redirect to the same endpoint at another address."""
_REFUSAL_CODES: Final = frozenset({3, 4, 23, 24, 30})
"""Codes of refusals, at any status."""
_UPSTREAM_ERROR_TYPE: Final = "upstream_error"
"""The type of an error that a gateway forwards from its upstream."""
_NOT_FORWARDED_TEXT: Final = re.compile(
    r"无法获取 ?provider|无可用的?渠道|渠道已被?禁用|无效的渠道"
    r"|(read|bind|marshal|copy|create)_(http_)?request(_body)?_failed"
)
"""Texts of a gateway with code 5 that has sent nothing upstream."""
_ACCESS_DENIED_TEXT: Final = re.compile(
    r"账号(不可用|已禁用|无权限)|演示模式|HTTP request (was sent )?to (an )?HTTPS|requires TLS",
    re.IGNORECASE,
)
"""Plain texts and pages of servers that have not looked at the submission: of open-plus for a token
without access, and of TLS servers for a client without TLS."""
_MESSAGES: Final[Mapping[type[MJError], str]] = {
    AuthenticationError: "The server refused the token.",
    BannedPrompt: "The prompt contains a banned word.",
    InvalidRequest: "The server refused the request as invalid.",
    LinkExpired: "The link of the image has expired.",
    MalformedReply: "The server's reply does not follow the protocol.",
    NoAccount: "The server has no usable Midjourney account for this.",
    QueueFull: "The server's queue is full.",
    QuotaExhausted: "The balance or the quota is used up.",
    RateLimited: "The server received too many requests.",
    ServerError: "The server failed.",
    SubmitUncertain: "The server's reply leaves open whether it accepted the submission.",
    TaskNotFound: "The server does not know this task.",
    TaskNotReady: "The server does not see the task as finished yet.",
    UnsupportedEndpoint: "This server does not have this operation.",
}
_TOKEN_HINTS: Final[Mapping[str, str]] = {
    "": "No token is set: pass one to Client, or set MJASYNC_TOKEN.",
    "Authorization": 'Check the token; most servers require auth="secret" (mj-api-secret).',
    "mj-api-secret": 'Check the token; some gateways require auth="bearer".',
}
"""What to do about a refused token, by the header that contained it."""
_LOST_BEHIND_GATEWAY: Final = re.compile(
    r"do_request_failed|(unmarshal|read|close|copy|empty)_resp|connection termination"
    r"|time(d )?[- ]?out|deadline exceeded|reset by peer|connection reset|broken pipe"
    r"|unexpected EOF|超时|操作失败",
    re.IGNORECASE,
)
"""Texts of a gateway that has forwarded the request, or begun to, with an unknown outcome."""
SEED_LIMIT: Final = 1 << 32
"""The number of seeds. A larger number is something else, such as a task id."""
_MAX_SHOWN_JSON: Final = 200
"""Characters of a reply without a description that an error quotes."""


def is_refusal(reply: ParsedReply, ids: tuple[str, ...]) -> bool:
    """Return whether the server certainly accepted nothing.

    Either the server reports it in its own JSON, or the status is one that is returned before a
    request is forwarded. Front ends return 400, 403, 499, 502, 503, 52x or nothing at all for
    submissions that the server has accepted (PROTOCOL §7.1).
    """
    text = reply.description[:MAX_MATCHED_TEXT]
    is_odd = bool(ids) and reply.code not in _ERROR_BY_CODE
    is_failure = reply.status >= 500 and reply.status not in {501, 503}
    if reply.code in ACCEPTED_CODES or is_odd or is_failure or _LOST_BEHIND_GATEWAY.search(text):
        return False
    if reply.code == 5:
        return _NOT_FORWARDED_TEXT.search(text) is not None
    if reply.status in _PRE_HANDLER_STATUSES:
        return True
    if isinstance(reply.json, dict):
        return _is_refused_by_code(reply)
    return _is_refused_by_text(reply, text)


def _is_refused_by_text(reply: ParsedReply, text: str) -> bool:
    if 400 <= reply.status < 500:
        return _ACCESS_DENIED_TEXT.search(text) is not None
    if reply.status in _REDIRECT_STATUSES:
        return _SAME_ENDPOINT.search(text) is not None
    return reply.is_app_page and 200 <= reply.status < 300


def _is_refused_by_code(reply: ParsedReply) -> bool:
    """Return whether a JSON object is a refusal by a code of the tables."""
    if reply.code in _REFUSAL_CODES:
        return True
    value = reply.json
    is_known = _by_text(reply) is not None
    if 200 <= reply.status < 300:
        if reply.code == _LOGIC_ERROR_CODE:
            return value.get("success") is False
        return reply.code in _ERROR_BY_CODE or (_is_explicit_refusal(reply) and is_known)
    if reply.status < 400 or is_known:
        return is_known
    return reply.status in _REFUSAL_STATUSES and _has_protocol_shape(reply)


def _has_protocol_shape(reply: ParsedReply) -> bool:
    """Return whether a reply has the shape of a refusal (PROTOCOL §7.1), or FastAPI's."""
    value = reply.json
    if reply.code in _ERROR_BY_CODE:
        return True
    if reply.code not in {None, _LOGIC_ERROR_CODE, reply.status}:
        return False
    error = value.get("error")
    if isinstance(error, dict):  # a forwarded error may be about an accepted submission
        return error.get("type") != "upstream_error"
    if isinstance(error, str) and error:
        return reply.status != 403 or "path" in value
    if value.get("success") is False or reply.code == reply.status:
        return True
    is_problem = "title" in value or "type" in value  # RFC 9457, which front ends use
    return "detail" in value and not is_problem and bool(reply.description)


def _is_explicit_refusal(reply: ParsedReply) -> bool:
    """Return whether a reply is a refusal and not something unknown."""
    value = reply.json
    if not isinstance(value, dict) or reply.code in ACCEPTED_CODES:
        return False
    if reply.code in _ERROR_BY_CODE or value.get("error") or value.get("success") is False:
        return True
    return reply.code is not None and _by_text(reply) is not None


def classify(operation: Operation, reply: ParsedReply) -> MJError:
    """Return the error for a reply, by context, unambiguous code, text, code and status."""
    cls = (
        _by_context(operation, reply)
        or _UNAMBIGUOUS_CODES.get(reply.code)
        or _by_text(reply)
        or _by_code(operation, reply)
        or _by_status(operation, reply)
    )
    return make_error(cls, reply)


def _by_context(operation: Operation, reply: ParsedReply) -> type[MJError] | None:
    if operation is Operation.IMAGE and reply.status in _EXPIRED_LINK_STATUSES:
        return LinkExpired
    if reply.is_empty and reply.status == 403:
        return RateLimited
    if reply.is_html:  # PROTOCOL §7.1-K: a front page where there is no such endpoint
        if reply.status < 300 and operation is not Operation.IMAGE:
            return UnsupportedEndpoint
        # the page of a firewall: no server refuses tokens in HTML; a POST is refused all the same
        is_blocked = reply.status == 403 or (reply.status == 401 and not operation.is_paid)
        return ServerError if is_blocked else _by_status(operation, reply)
    return None


def _by_text(reply: ParsedReply) -> type[MJError] | None:
    allowed = _TEXT_ERRORS_BY_STATUS.get(
        reply.status, _TEXT_ERRORS_BY_STATUS[500] if reply.status > 500 else None
    )
    if reply.status == 403 and reply.is_json:  # plain text is about the caller's account
        allowed = _TEXT_ERRORS_BY_STATUS[403] | {NoAccount}
    text = reply.description[:MAX_MATCHED_TEXT]
    for pattern, cls in _TEXT_PATTERNS:
        if (allowed is None or cls in allowed) and re.search(pattern, text, re.IGNORECASE):
            return cls
    return None


def _by_code(operation: Operation, reply: ParsedReply) -> type[MJError] | None:
    if reply.code is None or reply.code in ACCEPTED_CODES:
        return None
    if reply.status in _TEXT_ERRORS_BY_STATUS or reply.status > 500:
        return None
    if reply.code == 3 and operation is Operation.SUBMIT and reply.status != 404:
        return NoAccount  # the code of an unknown task, which a new one cannot be
    if reply.code in _ERROR_BY_CODE:
        return _ERROR_BY_CODE[reply.code]
    if reply.status >= 300:
        return None
    is_logic_error = reply.code == _LOGIC_ERROR_CODE and operation.is_paid
    return InvalidRequest if is_logic_error else ServerError


def _by_status(operation: Operation, reply: ParsedReply) -> type[MJError]:
    if reply.status in _ERROR_BY_STATUS:
        return _ERROR_BY_STATUS[reply.status]
    if 300 <= reply.status < 400:
        return UnsupportedEndpoint
    if reply.status >= 500:
        return ServerError
    if reply.status >= 400:
        return InvalidRequest
    if _is_explicit_refusal(reply):
        return InvalidRequest if operation.is_paid else ServerError
    return MalformedReply


def make_error(cls: type[MJError], reply: ParsedReply) -> MJError:
    facts: dict[str, Any] = {
        "description": reply.description,
        "code": reply.code,
        "http_status": reply.status,
        "retry_after": reply.retry_after,
    }
    if cls is SubmitUncertain and not reply.description and reply.is_json:
        facts["description"] = dump_or_empty(reply.json).decode()[:_MAX_SHOWN_JSON]
    if cls is BannedPrompt:
        facts["word"] = decoding.parse_text(reply.properties.get("bannedWord")) or ""
        facts["prompt_en"] = decoding.parse_text(reply.properties.get("promptEn")) or ""
        if facts["word"]:
            return cls(f"The prompt contains a banned word: '{printable(facts['word'])}'.", **facts)
    error = cls(_MESSAGES[cls], **facts)
    if hint := _hint(cls, reply):
        error.hint = hint
    return error


def _hint(cls: type[MJError], reply: ParsedReply) -> str:
    """Return advice that depends on the request, beyond the class of the error."""
    if cls is AuthenticationError and reply.token_header is not None:
        return _TOKEN_HINTS.get(reply.token_header, "")
    if cls is UnsupportedEndpoint and reply.prefix:
        return (
            f"Check the base URL. The path began with {reply.prefix}: for a server without such "
            'paths, set speed_via="prompt", and no image host.'
        )
    return ""


def is_ban_text(reason: str) -> bool:
    """Return whether a failReason is about a banned word (PROTOCOL §2, code 24)."""
    patterns = (pattern for pattern, cls in _TEXT_PATTERNS if cls is BannedPrompt)
    text = reason[:MAX_MATCHED_TEXT]
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)
