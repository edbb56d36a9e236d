"""What a reply means: pure functions from (operation, status, headers, body) to value or error.

Every reply passes here, HTTP 200 included. The eleven shapes of PROTOCOL §7.1 are read into
`Words`, the tables below turn those into one error tree, and no other module looks at a code.
"""

from __future__ import annotations

import email.utils
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, TypeVar

import attrs

from .._models import SubmitReceipt
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
from . import decoding as codec

__all__ = ["Operation", "check_image", "is_ban", "parse_list", "parse_object", "parse_receipt"]

T = TypeVar("T")
_RETRY_AFTER_CAP: Final = 3600.0
_DESCRIBED_AT_MOST: Final = 20_000
"""Characters of a server's description that are kept."""
_DETAILS_AT_MOST: Final = 5
_PAGE_START: Final = 16_384
"""Bytes of a web page that are looked at."""
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
    is_app_page: bool = False
    """Whether it is the front page of a gateway, which stands for a missing endpoint."""
    is_empty: bool = False
    token_header: str | None = None
    """The header that carried the token of the request; "" for none, None if not told."""
    prefix: str = ""
    """What stood before `/mj` in the path of the request."""


# --- the tables --------------------------------------------------------------------------------

_BY_WORDS: Final[tuple[tuple[str, type[MJError]], ...]] = (
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
"""The server's own words, where its code does not tell enough (PROTOCOL §2, §7.1).

No pattern has an unbounded gap: on hostile text it would take quadratic time.
"""
_MATCHED_AT_MOST: Final = 2000
"""Characters of a server's text that patterns see."""

_HEARD_AT: Final[Mapping[int, frozenset[type[MJError]]]] = {
    401: frozenset({QuotaExhausted}),
    403: frozenset({QuotaExhausted, BannedPrompt}),
    429: frozenset({QuotaExhausted, QueueFull}),
    500: frozenset({QuotaExhausted, QueueFull, NoAccount, RateLimited}),
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
    425: ServerError,
    460: ServerError,
    499: ServerError,
    429: RateLimited,
    501: UnsupportedEndpoint,
}

_SAID_BEFORE_TAKING: Final = frozenset(
    {401, 402, 404, 405, 407, 411, 413, 414, 415, 417, 429, 431, 501}
)
"""Statuses that servers and front ends answer before they hand a request on, whatever the body.

Every other error is also what a front end answers for a job that the server behind it has taken
(PROTOCOL §7.1).
"""
_REFUSABLE: Final = frozenset({400, 403, 422})
"""At these a refusal in one of the servers' own shapes is believed, whatever its words are."""
_MOVED: Final = frozenset({301, 307, 308})
_SAME_ENDPOINT: Final = re.compile(r"/(submit|insight-face)/")
"""What a redirect holds that says only that the endpoint has another address."""
_REFUSING_CODES: Final = frozenset({3, 4, 23, 24, 30})
"""Codes that a server sends instead of taking a job, at any status."""
_PASSED_ON: Final = "upstream_error"
"""Type of an error in which a gateway tells what it was told; code 0 there: without any code."""
_NOT_SENT_ON: Final = re.compile(
    r"无法获取 ?provider|无可用的?渠道|渠道已被?禁用|无效的渠道"
    r"|(read|bind|marshal|copy|create)_(http_)?request(_body)?_failed"
)
"""Words of a gateway's code 5 for: nothing was sent upstream."""
_NO_ENTRY: Final = re.compile(
    r"账号(不可用|已禁用|无权限)|演示模式|HTTP request (was sent )?to (an )?HTTPS|requires TLS",
    re.IGNORECASE,
)
"""What servers say in plain text, or in a page, before they look at a job: open-plus to a token
that it does not let in, and those that speak TLS to a client that does not."""
_APP_PAGE: Final = re.compile(rb"<div[^>]{0,80}\bid=[\"']?(root|app)\b", re.IGNORECASE)
"""What a gateway's own front page has, which it shows where it has no endpoint (PROTOCOL §7.5)."""

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

_GATEWAY_LOST_IT: Final = re.compile(
    r"do_request_failed|(unmarshal|read|close|copy|empty)_resp|connection termination"
    r"|time(d )?[- ]?out|deadline exceeded|reset by peer|connection reset|broken pipe"
    r"|unexpected EOF|超时|操作失败",
    re.IGNORECASE,
)
"""Words for: it was begun or sent upstream, and how that ended is unknown."""
_SEEDS: Final = 1 << 32
"""Seeds there are; a larger number is something else, another task's id say."""
_SHOWN_OF_JSON: Final = 200
"""Characters of a reply without words that an error repeats."""


# --- from bytes to words -----------------------------------------------------------------------


def read(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    wall: float = 0.0,
    token_header: str | None = None,
    prefix: str = "",
) -> Words:
    """Read any of the eleven shapes. By content: gateways send JSON as text/plain.

    Args:
        status: The HTTP status.
        headers: The reply's.
        body: All of it.
        wall: The time, in seconds since the epoch, for a Retry-After that is a date.
        token_header: The header that carried the token, "" for none; None: not told.
        prefix: What stood before `/mj` in the path of the request, such as `/mj-turbo`.
    """
    words = _read_body(status, headers, body, wall)
    return attrs.evolve(words, token_header=token_header, prefix=prefix)


def _read_body(status: int, headers: Mapping[str, str], body: bytes, wall: float) -> Words:
    after = retry_after(headers.get("Retry-After"), wall)
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        return Words(status=status, is_empty=True, retry_after=after)
    try:
        value = codec.load_leniently(body)
    except ValueError:
        return _read_text(status, body, after)
    if not isinstance(value, dict):
        return Words(status=status, json=value, is_json=True, retry_after=after)
    return _read_object(status, value, after)


def _read_text(status: int, body: bytes, after: float | None) -> Words:
    plain = body[:_MATCHED_AT_MOST].decode("utf-8", "replace").strip()
    if re.match(r"<(!doctype\s+html|html|head|body|!--|\?xml)", plain, re.IGNORECASE):
        _, _, after_title = plain.partition("<title>")
        title, is_closed, _ = after_title.partition("</title>")
        return Words(
            status=status,
            is_html=True,
            is_app_page=_APP_PAGE.search(body[:_PAGE_START]) is not None,
            description=f"(a web page) {title.strip()}".strip() if is_closed else "(a web page)",
            retry_after=after,
        )
    return Words(status=status, description=plain[:500], retry_after=after)


def _read_object(status: int, value: dict[str, Any], after: float | None) -> Words:
    error = value.get("error")
    inner = error if isinstance(error, dict) else value
    said = [inner.get(name) for name in ("description", "message")]
    if isinstance(error, str):
        said.insert(0, error)
    said.extend(_details(value.get("detail")))
    waits = value.get("retryAfter")
    if after is None and isinstance(waits, int | float) and not isinstance(waits, bool):
        after = _capped(waits)
    return Words(
        status=status,
        code=codec.whole(value.get("code")),
        description=": ".join(
            dict.fromkeys(s.strip() for s in said if isinstance(s, str) and s.strip())
        )[:_DESCRIBED_AT_MOST],
        result=value.get("result"),
        properties=codec.mapping(value.get("properties")),
        retry_after=after,
        json=value,
        is_json=True,
    )


def _details(detail: object) -> list[str]:
    """What FastAPI says: text, or a list of objects that say where and what."""
    if isinstance(detail, str):
        return [detail]
    items = detail[:_DETAILS_AT_MOST] if isinstance(detail, list) else []
    found = []
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("msg"), str):
            place = item.get("loc")
            where = ".".join(map(str, place[1:])) if isinstance(place, list) else ""
            found.append(f"{where}: {item['msg']}" if where else item["msg"])
    return found


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


def plain_task(task_id: str, status: int, body: bytes) -> dict[str, Any] | None:
    """A task as promised, which most answers to a look are; None: `read` it and see."""
    try:
        value = codec.load(body) if status == 200 else None
    except ValueError:
        return None
    if isinstance(value, dict) and "status" in value and codec.text(value.get("id")) == task_id:
        return value
    return None


def parse_receipt(operation: Operation, words: Words) -> SubmitReceipt:
    """Read the answer to a submission.

    Raises:
        SubmitUncertain: Whether the server took it cannot be told.
        MJError: The server refused it, by the tables above.
    """
    ids = _ids(words.result)
    may_accept = words.status < 500 or words.status == 503
    if words.code in _ACCEPTED and ids and may_accept:
        return SubmitReceipt(
            code=words.code or 1,
            ids=ids,
            description=words.description,
            properties=words.properties,
        )
    if not _is_refusal(words, ids):
        raise _error(SubmitUncertain, words)
    raise error_for(operation, words)


def _is_refusal(words: Words, ids: tuple[str, ...]) -> bool:
    """Whether it is certain that the server took nothing.

    The server has to say so in its own JSON, or the status has to be one that is answered before
    a request is handed on. Whatever stands in front of a server answers 400, 403, 499, 502, 503,
    52x or nothing at all for a job that was taken (PROTOCOL §7.1).
    """
    said = words.description[:_MATCHED_AT_MOST]
    is_odd = bool(ids) and words.code not in _BY_CODE
    is_failure = words.status >= 500 and words.status not in {501, 503}
    if words.code in _ACCEPTED or is_odd or is_failure or _GATEWAY_LOST_IT.search(said):
        return False
    if words.code == 5:
        return _NOT_SENT_ON.search(said) is not None
    if words.status in _SAID_BEFORE_TAKING:
        return True
    if isinstance(words.json, dict):
        return _refuses(words)
    return _refuses_in_text(words, said)


def _refuses_in_text(words: Words, said: str) -> bool:
    if 400 <= words.status < 500:
        return _NO_ENTRY.search(said) is not None
    if words.status in _MOVED:
        return _SAME_ENDPOINT.search(said) is not None
    return words.is_app_page and 200 <= words.status < 300


def _refuses(words: Words) -> bool:
    """Whether a JSON object is a refusal that the tables know."""
    if words.code in _REFUSING_CODES:
        return True
    value = words.json
    is_known = _by_words(words) is not None
    if 200 <= words.status < 300:
        if words.code == _LOGIC_ERROR:
            return value.get("success") is False
        return words.code in _BY_CODE or (_says_no(words) and is_known)
    if words.status < 400 or is_known:
        return is_known
    return words.status in _REFUSABLE and _is_own_shape(words)


def _is_own_shape(words: Words) -> bool:
    """Whether servers of the family refuse in this shape (PROTOCOL §7.1), or FastAPI does."""
    value = words.json
    if words.code in _BY_CODE:
        return True
    if words.code not in {None, _LOGIC_ERROR, words.status}:
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
        if part != "0" and part and "://" not in part
    )


def parse_object(operation: Operation, words: Words, task_id: str | None = None) -> dict[str, Any]:
    """Read one task (FETCH) or a SubmitResult that starts nothing (OTHER).

    Args:
        operation: What was asked.
        words: The reply.
        task_id: The task that was asked for, where it was one.

    Raises:
        TaskNotFound: Empty body, 204, or one of the gateways' ways to say so.
        MalformedReply: It is another task than the one asked for.
        MJError: Anything else that is not that, by the tables above.
    """
    if 200 <= words.status < 300:
        is_nothing = words.is_empty or (words.is_json and words.json is None)
        if operation is Operation.FETCH and is_nothing:
            raise _error(TaskNotFound, words)
        if isinstance(words.json, dict) and _is_answer(operation, words):
            _check_id(words.json, task_id)
            return words.json
    raise error_for(operation, words)


def _check_id(task: Mapping[str, Any], task_id: str | None) -> None:
    if task_id is not None and codec.text(task.get("id")) != task_id:
        other = printable(codec.text(task.get("id")))
        raise MalformedReply(f"The server answered with task {other} instead of {task_id}.")


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


def only_asked_for(tasks: list[T], ids: Collection[str], id_of: Callable[[T], str]) -> list[T]:
    """Leave out of a list what nobody asked for.

    Raises:
        MalformedReply: Nothing in it was asked for.
    """
    kept = [task for task in tasks if id_of(task) in ids]
    if tasks and not kept:
        other = printable(id_of(tasks[0]))
        raise MalformedReply(f"The server answered with task {other}, which was not asked for.")
    return kept


def parse_seed(words: Words) -> int:
    """Read the seed of a task.

    Raises:
        UnsupportedEndpoint: The server has none of it.
        MalformedReply: What it told is no seed.
        MJError: By the tables above.
    """
    told = parse_object(Operation.OTHER, words).get("result")
    number = codec.whole(told)
    if number is not None and 0 <= number < _SEEDS:
        return number
    if told is None or told == "":
        message = "The server knows no seed of this task."
        raise UnsupportedEndpoint(message, description=words.description)
    message = f"The server answered with '{printable(told, 60)}' when it was asked for a seed."
    raise MalformedReply(message)


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
        # a firewall's page: no server refuses tokens so; to a POST it is a refusal all the same
        barred = words.status == 403 or (words.status == 401 and not operation.is_paid)
        return ServerError if barred else _by_status(operation, words)
    return None


def _by_words(words: Words) -> type[MJError] | None:
    heard = _HEARD_AT.get(words.status, _HEARD_AT[500] if words.status > 500 else None)
    if words.status == 403 and words.is_json:  # as plain text it is about the caller's account
        heard = _HEARD_AT[403] | {NoAccount}
    said = words.description[:_MATCHED_AT_MOST]
    for pattern, cls in _BY_WORDS:
        if (heard is None or cls in heard) and re.search(pattern, said, re.IGNORECASE):
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
    if cls is SubmitUncertain and not words.description and words.is_json:
        facts["description"] = codec.dumped(words.json).decode()[:_SHOWN_OF_JSON]
    if cls is BannedPrompt:
        facts["word"] = codec.text(words.properties.get("bannedWord")) or ""
        facts["prompt_en"] = codec.text(words.properties.get("promptEn")) or ""
        if facts["word"]:
            return cls(f"The prompt holds a banned word: '{printable(facts['word'])}'.", **facts)
    error = cls(_MESSAGES[cls], **facts)
    if hint := _hint(cls, words):
        error.hint = hint
    return error


def _hint(cls: type[MJError], words: Words) -> str:
    """What to do next, where the request tells more than the class of the error."""
    if cls is AuthenticationError and words.token_header is not None:
        return _TOKEN_HINTS.get(words.token_header, "")
    if cls is UnsupportedEndpoint and words.prefix:
        return (
            f"Check the base URL. The path began with {words.prefix}: a server without such paths "
            'takes the speed by speed_via="prompt", and no image host.'
        )
    return ""


def is_ban(reason: str) -> bool:
    """Whether a task's failReason speaks of a banned word (PROTOCOL §2, code 24)."""
    patterns = (pattern for pattern, cls in _BY_WORDS if cls is BannedPrompt)
    said = reason[:_MATCHED_AT_MOST]
    return any(re.search(pattern, said, re.IGNORECASE) for pattern in patterns)
