"""What a reply means: pure functions from (operation, status, headers, body) to value or error.

Every reply passes here, HTTP 200 included. The eleven shapes of PROTOCOL §7.1 are read into
`Words`, the tables below turn those into one error tree, and no other module looks at a code.
"""

from __future__ import annotations

import email.utils
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import attrs

from .._models import SubmitReceipt
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
from . import codec

__all__ = ["Operation", "check_image", "is_ban", "parse_list", "parse_object", "parse_receipt"]

_RETRY_AFTER_CAP: Final = 3600.0
_ACCEPTED: Final = frozenset({1, 21, 22})
_GONE: Final = frozenset({403, 404, 410})


class Operation(Enum):
    """What was asked; the same reply means different things to different questions."""

    SUBMIT = "submit"
    """A paid POST that starts something new."""
    FOLLOW_UP = "follow-up"
    """A paid POST about an existing task: action, modal, change."""
    FETCH = "fetch"
    """One task."""
    LIST = "list"
    """Many tasks."""
    IMAGE = "image"
    """The bytes of a picture."""
    OTHER = "other"
    """Any other call about a task: seed, cancel."""

    @property
    def is_paid(self) -> bool:
        """Whether sending it twice may cost twice."""
        return self in (Operation.SUBMIT, Operation.FOLLOW_UP)


@attrs.frozen(kw_only=True)
class Words:
    """What a reply says of itself, whatever its shape."""

    status: int
    code: int | None = None
    description: str = ""
    result: Any = attrs.field(default=None, repr=False)
    properties: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    retry_after: float | None = None
    json: Any = attrs.field(default=None, repr=False)
    is_json: bool = False
    is_html: bool = False
    is_empty: bool = False


# --- the tables --------------------------------------------------------------------------------

_BY_WORDS: Final[tuple[tuple[str, type[MJError]], ...]] = (
    (r"队列已满|任务数已满|队列数已达上限|并发数已达上限|queue (is )?full", QueueFull),
    (r"敏感词|banned.?(prompt|word)", BannedPrompt),
    (r"quota_|quota (is )?(not|ex|insuff)|insufficient.{0,6}(quota|balance)", QuotaExhausted),
    (r"额度|余额|次数已达上限", QuotaExhausted),
    (r"(每日|今日|当日|天).*(上限|限制)", QuotaExhausted),
    (r"账号不可用|无可用的?(账号|渠道)|no available (account|channel)", NoAccount),
    (r"账号已被?(临时)?(封锁|禁用)", AuthenticationError),
    (r"task_status_not_success|关联任务状态错误", TaskNotReady),
    (r"unknown_(relay_)?action|未知的 ?action|Invalid URL \(", UnsupportedEndpoint),
    (r"功能未启用|不支持|未开启 ?remix|未找到 ?seed", UnsupportedEndpoint),
    (r"task_no(t)?_found|任务不存在|(任务).*(失效|未找到)", TaskNotFound),
    (r"task (is |was )?(not |un)(found|known)", TaskNotFound),
    (r"暂不可用", ServerError),
)
"""The server's own words, where its code does not tell enough (PROTOCOL §2, §7.1)."""

_HEARD_AT: Final[Mapping[int, frozenset[type[MJError]]]] = {
    401: frozenset(),
    403: frozenset({QuotaExhausted, BannedPrompt}),
    429: frozenset({QuotaExhausted, QueueFull}),
    500: frozenset({QuotaExhausted, QueueFull, NoAccount}),
}
"""At these statuses only these words overrule the status; 500 stands for all above it too."""

_PLAIN_CODES: Final[Mapping[int | None, type[MJError]]] = {23: QueueFull, 24: BannedPrompt}
"""Codes that need no words to be understood."""

_BY_CODE: Final[Mapping[int | None, type[MJError]]] = {
    3: TaskNotFound,
    4: InvalidRequest,
    5: ServerError,
    9: ServerError,
    30: RateLimited,
    **_PLAIN_CODES,
}
_LOGIC_ERROR: Final = -1
"""The code of PROTOCOL §7.1-C: the request is at fault, or only its words tell what is."""
KNOWN_CODES: Final = frozenset({*_ACCEPTED, *_BY_CODE, _LOGIC_ERROR, None})
"""Every code the protocol knows; another one is still read by its words and its status."""

_BY_STATUS: Final[Mapping[int, type[MJError]]] = {
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
    429: RateLimited,
    501: UnsupportedEndpoint,
}

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

_GATEWAY_LOST_IT: Final = re.compile(
    r"do_request_failed|unmarshal_response|read_response|connection termination|copy_resp"
)
"""A gateway's words for: sent upstream, answer unknown."""


# --- from bytes to words -----------------------------------------------------------------------


def read(status: int, headers: Mapping[str, str], body: bytes, *, wall: float = 0.0) -> Words:
    """Read any of the eleven shapes. By content: gateways send JSON as text/plain."""
    after = retry_after(headers.get("Retry-After"), wall)
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        return Words(status=status, is_empty=True, retry_after=after)
    try:
        value = codec.load(body)
    except ValueError:
        return _read_text(status, body, after)
    if not isinstance(value, dict):
        return Words(status=status, json=value, is_json=True, retry_after=after)
    return _read_object(status, value, after)


def _read_text(status: int, body: bytes, after: float | None) -> Words:
    plain = body[:2000].decode("utf-8", "replace").strip()
    if re.match(r"<(!doctype\s+html|html|head|body|!--|\?xml)", plain, re.IGNORECASE):
        title = re.search(r"<title>(.*?)</title>", plain, re.IGNORECASE | re.DOTALL)
        said = f"(a web page) {title[1].strip()}" if title else "(a web page)"
        return Words(status=status, is_html=True, description=said, retry_after=after)
    return Words(status=status, description=plain[:500], retry_after=after)


def _read_object(status: int, value: dict[str, Any], after: float | None) -> Words:
    error = value.get("error")
    inner = error if isinstance(error, dict) else value
    said = [inner.get(name) for name in ("description", "message")]
    if isinstance(error, str):
        said.insert(0, error)
    waits = value.get("retryAfter")
    if after is None and isinstance(waits, int | float) and not isinstance(waits, bool):
        after = _capped(waits)
    return Words(
        status=status,
        code=codec.whole(value.get("code")),
        description=": ".join(
            dict.fromkeys(s.strip() for s in said if isinstance(s, str) and s.strip())
        ),
        result=value.get("result"),
        properties=codec.mapping(value.get("properties")),
        retry_after=after,
        json=value,
        is_json=True,
    )


def retry_after(value: str | None, wall: float) -> float | None:
    """Seconds to wait from a Retry-After header: a number or an HTTP date, capped at an hour."""
    if value is None:
        return None
    try:
        return _capped(float(value))
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return _capped((aware - datetime.fromtimestamp(wall, UTC)).total_seconds())


def _capped(seconds: float) -> float | None:
    return min(max(0.0, seconds), _RETRY_AFTER_CAP) if seconds == seconds else None  # noqa: PLR0124 - NaN


# --- from words to a value ---------------------------------------------------------------------


def plain_task(status: int, body: bytes) -> dict[str, Any] | None:
    """A task as promised, which most answers to a look are; None: `read` it and see."""
    try:
        value = codec.load(body) if status == 200 else None
    except ValueError:
        return None
    is_task = isinstance(value, dict) and "status" in value and codec.text(value.get("id"))
    return value if is_task else None


def parse_receipt(operation: Operation, words: Words) -> SubmitReceipt:
    """Read the answer to a submission.

    Raises:
        SubmitUncertain: Whether the server took it cannot be told.
        MJError: The server refused it, by the tables above.
    """
    refuses_whatever_it_says = words.status >= 500 and words.status not in (501, 503)
    if refuses_whatever_it_says:
        raise _error(SubmitUncertain, words)
    ids = _ids(words.result)
    if words.code in _ACCEPTED and ids:
        return SubmitReceipt(
            code=words.code or 1,
            ids=ids,
            description=words.description,
            properties=words.properties,
        )
    raise _refusal(operation, words, ids)


def _refusal(operation: Operation, words: Words, ids: tuple[str, ...]) -> MJError:
    if _is_uncertain(words, ids):
        return _error(SubmitUncertain, words)
    return error_for(operation, words)


def _is_uncertain(words: Words, ids: tuple[str, ...]) -> bool:
    """Whether the job may have been taken although this is no receipt: a refusal must be plain."""
    if words.code in _ACCEPTED or (ids and words.code not in _BY_CODE):
        return True
    if words.code == 5 or _GATEWAY_LOST_IT.search(words.description):
        return True
    if words.status == 408:
        return True
    if not 200 <= words.status < 300 or words.is_html:
        return False
    return not _says_no(words)


def _says_no(words: Words) -> bool:
    """Whether this is a refusal, rather than something unheard of."""
    value = words.json
    if not isinstance(value, dict) or words.code in _ACCEPTED:
        return False
    if words.code in _BY_CODE or value.get("error") or value.get("success") is False:
        return True
    return words.code is not None and _by_words(words) is not None


def _ids(result: object) -> tuple[str, ...]:
    """The ids in `result`: a string, a number, a list, or several joined by commas."""
    items = result if isinstance(result, list) else [result]
    words = (codec.text(item) for item in items)
    return tuple(
        part
        for word in words
        if word
        for part in map(str.strip, word.split(","))
        if part != "0" and part
    )


def parse_object(operation: Operation, words: Words) -> dict[str, Any]:
    """Read one task (FETCH) or a SubmitResult that starts nothing (OTHER).

    Raises:
        TaskNotFound: Empty body, 204, or one of the gateways' ways to say so.
        MJError: Anything else that is not that, by the tables above.
    """
    if 200 <= words.status < 300:
        is_nothing = words.is_empty or (words.is_json and words.json is None)
        if operation is Operation.FETCH and is_nothing:
            raise _error(TaskNotFound, words)
        if isinstance(words.json, dict) and _is_answer(operation, words):
            return words.json
    raise error_for(operation, words)


def _is_answer(operation: Operation, words: Words) -> bool:
    if operation is Operation.FETCH:
        return codec.text(words.json.get("id")) is not None and "status" in words.json
    return words.code in _ACCEPTED


def parse_list(words: Words) -> list[dict[str, Any]]:
    """Read a list of tasks; null is an empty one (Go's way of saying so).

    Raises:
        MJError: By the tables above.
    """
    if 200 <= words.status < 300 and words.is_json:
        if words.json is None:
            return []
        if isinstance(words.json, list):
            return [item for item in words.json if isinstance(item, dict)]
    raise error_for(Operation.LIST, words)


def check_image(
    status: int,
    headers: Mapping[str, str],
    start: bytes,
    *,
    wall: float = 0.0,
    operation: Operation = Operation.IMAGE,
) -> None:
    """Let a picture pass; `start` is the beginning of the body, or all of an error.

    `operation` is OTHER where the endpoint itself may be missing.

    Raises:
        LinkExpired: 403, 404 or 410.
        MJError: By the tables above.
    """
    looks_like_text = start.lstrip()[:1] in (b"", b"{", b"[", b"<")
    if 200 <= status < 300 and not looks_like_text:
        return
    raise error_for(operation, read(status, headers, start, wall=wall))


# --- from words to an error --------------------------------------------------------------------


def error_for(operation: Operation, words: Words) -> MJError:
    """The error a reply stands for: its place decides, then a plain code, words, code, status."""
    cls = (
        _by_place(operation, words)
        or _PLAIN_CODES.get(words.code)
        or _by_words(words)
        or _by_code(operation, words)
        or _by_status(operation, words)
    )
    return _error(cls, words)


def _by_place(operation: Operation, words: Words) -> type[MJError] | None:
    if operation is Operation.IMAGE and words.status in _GONE:
        return LinkExpired
    if words.is_empty and words.status == 403:
        return RateLimited
    if words.is_html:  # PROTOCOL §7.1-K: a front page where there is no such endpoint
        if words.status < 300 and operation is not Operation.IMAGE:
            return UnsupportedEndpoint
        barred = words.status in {401, 403}  # a firewall's page: no server refuses tokens so
        return ServerError if barred else _by_status(operation, words)
    return None


def _by_words(words: Words) -> type[MJError] | None:
    heard = _HEARD_AT.get(words.status, _HEARD_AT[500] if words.status > 500 else None)
    for pattern, cls in _BY_WORDS:
        if (heard is None or cls in heard) and re.search(pattern, words.description, re.IGNORECASE):
            return cls
    return None


def _by_code(operation: Operation, words: Words) -> type[MJError] | None:
    if words.code is None or words.code in _ACCEPTED:
        return None
    if words.status in _HEARD_AT or words.status > 500:
        return None
    if words.code == 3 and not _is_about_a_task(operation, words):
        return NoAccount
    if words.code in _BY_CODE:
        return _BY_CODE[words.code]
    return None if words.status >= 300 else _unknown_code(operation, words)


def _is_about_a_task(operation: Operation, words: Words) -> bool:
    if operation is Operation.SUBMIT:
        return words.status == 404
    return True


def _unknown_code(operation: Operation, words: Words) -> type[MJError]:
    is_logic_error = words.code == _LOGIC_ERROR and operation.is_paid
    return InvalidRequest if is_logic_error else ServerError


def _by_status(operation: Operation, words: Words) -> type[MJError]:
    if words.status in _BY_STATUS:
        return _BY_STATUS[words.status]
    if 300 <= words.status < 400:
        return UnsupportedEndpoint
    if words.status >= 500:
        return ServerError
    if words.status >= 400:
        return InvalidRequest
    if _says_no(words):
        return InvalidRequest if operation.is_paid else ServerError
    return MalformedReply


def _error(cls: type[MJError], words: Words) -> MJError:
    facts: dict[str, Any] = {
        "description": words.description,
        "code": words.code,
        "http_status": words.status,
        "retry_after": words.retry_after,
    }
    if cls is BannedPrompt:
        facts["word"] = codec.text(words.properties.get("bannedWord")) or ""
        facts["prompt_en"] = codec.text(words.properties.get("promptEn")) or ""
        if facts["word"]:
            return cls(f"The prompt holds a banned word: {facts['word']!r}.", **facts)
    return cls(_MESSAGES[cls], **facts)


def is_ban(reason: str) -> bool:
    """Whether a task's failReason speaks of a banned word (PROTOCOL §2, code 24)."""
    patterns = (pattern for pattern, cls in _BY_WORDS if cls is BannedPrompt)
    return any(re.search(pattern, reason, re.IGNORECASE) for pattern in patterns)
