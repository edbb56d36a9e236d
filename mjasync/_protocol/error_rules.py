"""Which error a reply stands for: tables of codes, texts and statuses (PROTOCOL §2, §7.1)."""

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

__all__ = ["ACCEPTED_CODES", "SEED_LIMIT", "classify", "is_ban_text", "is_refusal", "make_error"]


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
"""Texts of servers, where the code is not specific enough (PROTOCOL §2, §7.1).

No pattern has an unbounded gap: on hostile text it would take quadratic time.
"""


_TEXT_ERRORS_BY_STATUS: Final[Mapping[int, frozenset[type[MJError]]]] = {
    401: frozenset({QuotaExhausted}),
    403: frozenset({QuotaExhausted, BannedPrompt}),
    429: frozenset({QuotaExhausted, QueueFull}),
    500: frozenset({QuotaExhausted, QueueFull, NoAccount, RateLimited}),
}
"""At these statuses only these words overrule the status; 500 stands for all above it too."""


_UNAMBIGUOUS_CODES: Final[Mapping[int | None, type[MJError]]] = {23: QueueFull, 24: BannedPrompt}
"""Codes that need no words to be understood."""


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
"""Every code the protocol knows; another one is still read by its words and its status."""


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
"""Statuses that servers and front ends answer before they hand a request on, whatever the body.

Every other error is also what a front end answers for a job that the server behind it has taken
(PROTOCOL §7.1).
"""


_REFUSAL_STATUSES: Final = frozenset({400, 403, 422})
"""At these a refusal in one of the servers' own shapes is believed, whatever its words are."""


_REDIRECT_STATUSES: Final = frozenset({301, 307, 308})


_SAME_ENDPOINT: Final = re.compile(r"/(submit|insight-face)/")
"""What a redirect holds that says only that the endpoint has another address."""


_REFUSAL_CODES: Final = frozenset({3, 4, 23, 24, 30})
"""Codes that a server sends instead of taking a job, at any status."""


_UPSTREAM_ERROR_TYPE: Final = "upstream_error"
"""Type of an error that a gateway passes on from its upstream; code 0: without a code."""


_NOT_FORWARDED_TEXT: Final = re.compile(
    r"无法获取 ?provider|无可用的?渠道|渠道已被?禁用|无效的渠道"
    r"|(read|bind|marshal|copy|create)_(http_)?request(_body)?_failed"
)
"""Words of a gateway's code 5 for: nothing was sent upstream."""


_ACCESS_DENIED_TEXT: Final = re.compile(
    r"账号(不可用|已禁用|无权限)|演示模式|HTTP request (was sent )?to (an )?HTTPS|requires TLS",
    re.IGNORECASE,
)
"""What servers say in plain text, or in a page, before they look at a job: open-plus to a token
that it does not let in, and those that speak TLS to a client that does not."""


_MESSAGES: Final[Mapping[type[MJError], str]] = {
    AuthenticationError: "The server refused the token.",
    BannedPrompt: "The prompt holds a banned word.",
    InvalidRequest: "The server refused the request as invalid.",
    LinkExpired: "The picture's link has expired.",
    MalformedReply: "The server's reply is not what the protocol promises.",
    NoAccount: "The server has no usable Midjourney account for this.",
    QueueFull: "The server's queue is full.",
    QuotaExhausted: "The balance or allowance is used up.",
    RateLimited: "The server wants fewer requests.",
    ServerError: "The server failed.",
    SubmitUncertain: "The server's reply does not tell whether it took the job.",
    TaskNotFound: "The server does not know this task.",
    TaskNotReady: "The server does not see the task as finished yet.",
    UnsupportedEndpoint: "This server does not offer that operation.",
}


_TOKEN_HINTS: Final[Mapping[str, str]] = {
    "": "No token is set: pass one to Client, or set MJASYNC_TOKEN.",
    "Authorization": 'Check the token; most servers want auth="secret" (mj-api-secret).',
    "mj-api-secret": 'Check the token; some gateways want auth="bearer".',
}
"""What to do about a refused token, by the header that carried it."""


_LOST_BEHIND_GATEWAY: Final = re.compile(
    r"do_request_failed|(unmarshal|read|close|copy|empty)_resp|connection termination"
    r"|time(d )?[- ]?out|deadline exceeded|reset by peer|connection reset|broken pipe"
    r"|unexpected EOF|超时|操作失败",
    re.IGNORECASE,
)
"""Words for: it was begun or sent upstream, and how that ended is unknown."""


SEED_LIMIT: Final = 1 << 32
"""Seeds there are; a larger number is something else, another task's id say."""


_MAX_SHOWN_JSON: Final = 200
"""Characters of a reply without words that an error repeats."""


def is_refusal(words: ParsedReply, ids: tuple[str, ...]) -> bool:
    """Return whether the server certainly accepted nothing.

    The server has to say so in its own JSON, or the status has to be one that is answered before
    a request is handed on. Whatever stands in front of a server answers 400, 403, 499, 502, 503,
    52x or nothing at all for a job that was taken (PROTOCOL §7.1).
    """
    said = words.description[:MAX_MATCHED_TEXT]
    is_odd = bool(ids) and words.code not in _ERROR_BY_CODE
    is_failure = words.status >= 500 and words.status not in {501, 503}
    if words.code in ACCEPTED_CODES or is_odd or is_failure or _LOST_BEHIND_GATEWAY.search(said):
        return False
    if words.code == 5:
        return _NOT_FORWARDED_TEXT.search(said) is not None
    if words.status in _PRE_HANDLER_STATUSES:
        return True
    if isinstance(words.json, dict):
        return _is_refused_by_code(words)
    return _is_refused_by_text(words, said)


def _is_refused_by_text(words: ParsedReply, said: str) -> bool:
    if 400 <= words.status < 500:
        return _ACCESS_DENIED_TEXT.search(said) is not None
    if words.status in _REDIRECT_STATUSES:
        return _SAME_ENDPOINT.search(said) is not None
    return words.is_app_page and 200 <= words.status < 300


def _is_refused_by_code(words: ParsedReply) -> bool:
    """Return whether a JSON object is a refusal by a code of the tables."""
    if words.code in _REFUSAL_CODES:
        return True
    value = words.json
    is_known = _by_text(words) is not None
    if 200 <= words.status < 300:
        if words.code == _LOGIC_ERROR_CODE:
            return value.get("success") is False
        return words.code in _ERROR_BY_CODE or (_is_explicit_refusal(words) and is_known)
    if words.status < 400 or is_known:
        return is_known
    return words.status in _REFUSAL_STATUSES and _has_protocol_shape(words)


def _has_protocol_shape(words: ParsedReply) -> bool:
    """Return whether a reply has a refusal's shape (PROTOCOL §7.1), or FastAPI's."""
    value = words.json
    if words.code in _ERROR_BY_CODE:
        return True
    if words.code not in {None, _LOGIC_ERROR_CODE, words.status}:
        return False
    error = value.get("error")
    if isinstance(error, dict):  # what it relays may be about a job that was sent on
        return error.get("type") != "upstream_error"
    if isinstance(error, str) and error:
        return words.status != 403 or "path" in value
    if value.get("success") is False or words.code == words.status:
        return True
    is_problem = "title" in value or "type" in value  # RFC 9457, in which front ends speak
    return "detail" in value and not is_problem and bool(words.description)


def _is_explicit_refusal(words: ParsedReply) -> bool:
    """Return whether a reply is a refusal and not something unknown."""
    value = words.json
    if not isinstance(value, dict) or words.code in ACCEPTED_CODES:
        return False
    if words.code in _ERROR_BY_CODE or value.get("error") or value.get("success") is False:
        return True
    return words.code is not None and _by_text(words) is not None


def classify(operation: Operation, words: ParsedReply) -> MJError:
    """Return the error for a reply, by context, unambiguous code, text, code and status."""
    cls = (
        _by_context(operation, words)
        or _UNAMBIGUOUS_CODES.get(words.code)
        or _by_text(words)
        or _by_code(operation, words)
        or _by_status(operation, words)
    )
    return make_error(cls, words)


def _by_context(operation: Operation, words: ParsedReply) -> type[MJError] | None:
    if operation is Operation.IMAGE and words.status in _EXPIRED_LINK_STATUSES:
        return LinkExpired
    if words.is_empty and words.status == 403:
        return RateLimited
    if words.is_html:  # PROTOCOL §7.1-K: a front page where there is no such endpoint
        if words.status < 300 and operation is not Operation.IMAGE:
            return UnsupportedEndpoint
        # a firewall's page: no server refuses tokens so; to a POST it is a refusal all the same
        barred = words.status == 403 or (words.status == 401 and not operation.is_paid)
        return ServerError if barred else _by_status(operation, words)
    return None


def _by_text(words: ParsedReply) -> type[MJError] | None:
    heard = _TEXT_ERRORS_BY_STATUS.get(
        words.status, _TEXT_ERRORS_BY_STATUS[500] if words.status > 500 else None
    )
    if words.status == 403 and words.is_json:  # as plain text it is about the caller's account
        heard = _TEXT_ERRORS_BY_STATUS[403] | {NoAccount}
    said = words.description[:MAX_MATCHED_TEXT]
    for pattern, cls in _TEXT_PATTERNS:
        if (heard is None or cls in heard) and re.search(pattern, said, re.IGNORECASE):
            return cls
    return None


def _by_code(operation: Operation, words: ParsedReply) -> type[MJError] | None:
    if words.code is None or words.code in ACCEPTED_CODES:
        return None
    if words.status in _TEXT_ERRORS_BY_STATUS or words.status > 500:
        return None
    if words.code == 3 and not _is_about_a_task(operation, words):
        return NoAccount
    if words.code in _ERROR_BY_CODE:
        return _ERROR_BY_CODE[words.code]
    return None if words.status >= 300 else _unknown_code(operation, words)


def _is_about_a_task(operation: Operation, words: ParsedReply) -> bool:
    if operation is Operation.SUBMIT:
        return words.status == 404
    return True


def _unknown_code(operation: Operation, words: ParsedReply) -> type[MJError]:
    is_logic_error = words.code == _LOGIC_ERROR_CODE and operation.is_paid
    return InvalidRequest if is_logic_error else ServerError


def _by_status(operation: Operation, words: ParsedReply) -> type[MJError]:
    if words.status in _ERROR_BY_STATUS:
        return _ERROR_BY_STATUS[words.status]
    if 300 <= words.status < 400:
        return UnsupportedEndpoint
    if words.status >= 500:
        return ServerError
    if words.status >= 400:
        return InvalidRequest
    if _is_explicit_refusal(words):
        return InvalidRequest if operation.is_paid else ServerError
    return MalformedReply


def make_error(cls: type[MJError], words: ParsedReply) -> MJError:
    facts: dict[str, Any] = {
        "description": words.description,
        "code": words.code,
        "http_status": words.status,
        "retry_after": words.retry_after,
    }
    if cls is SubmitUncertain and not words.description and words.is_json:
        facts["description"] = dump_or_empty(words.json).decode()[:_MAX_SHOWN_JSON]
    if cls is BannedPrompt:
        facts["word"] = decoding.parse_text(words.properties.get("bannedWord")) or ""
        facts["prompt_en"] = decoding.parse_text(words.properties.get("promptEn")) or ""
        if facts["word"]:
            return cls(f"The prompt holds a banned word: '{printable(facts['word'])}'.", **facts)
    error = cls(_MESSAGES[cls], **facts)
    if hint := _hint(cls, words):
        error.hint = hint
    return error


def _hint(cls: type[MJError], words: ParsedReply) -> str:
    """Return advice that depends on the request, beyond the class of the error."""
    if cls is AuthenticationError and words.token_header is not None:
        return _TOKEN_HINTS.get(words.token_header, "")
    if cls is UnsupportedEndpoint and words.prefix:
        return (
            f"Check the base URL. The path began with {words.prefix}: a server without such paths "
            'takes the speed by speed_via="prompt", and no image host.'
        )
    return ""


def is_ban_text(reason: str) -> bool:
    """Return whether a failReason is about a banned word (PROTOCOL §2, code 24)."""
    patterns = (pattern for pattern, cls in _TEXT_PATTERNS if cls is BannedPrompt)
    said = reason[:MAX_MATCHED_TEXT]
    return any(re.search(pattern, said, re.IGNORECASE) for pattern in patterns)
