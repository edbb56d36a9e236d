"""The requests of a probe, and the meaning of each answer."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, get_args

import attrs
from yarl import URL

from .._concurrency import gather_or_cancel
from .._http.api import ServerApi
from .._json import dump_json
from .._models import ImageHost, Speed
from .._protocol.error_rules import classify
from .._protocol.parsing import Operation, ParsedReply, parse_reply
from ..errors import (
    AuthenticationError,
    ConnectionFailed,
    InvalidRequest,
    MJError,
    RequestTimeout,
    TaskNotFound,
    UnsupportedEndpoint,
)

ALL_SPEEDS: Final[tuple[Speed, ...]] = get_args(Speed)
ALL_IMAGE_HOSTS: Final[tuple[ImageHost, ...]] = get_args(ImageHost)
_NO_REPLY: Final = ParsedReply(status=0)
_MAX_CONCURRENT_QUESTIONS: Final = 4
"""Maximum concurrent requests; some servers limit them."""


class AnswerKind(Enum):
    """The kinds of answers; nearly all questions are about a task that does not exist."""

    LIST = "a list"
    VOID = "200 without a body"
    NO_CONTENT = "204"
    UNKNOWN_TASK = "an error that says so"
    NO_MJ_ID = "one-api's own words for it"
    PAGE = "a web page, or the way to one"
    MISSING = "no such endpoint"
    REFUSED = "a refusal"
    LOCKED = "401 or 403"
    TROUBLE = "a failure, or something unheard of"
    SILENCE = "no answer"


_KIND_BY_ERROR: Final[Mapping[type[MJError], AnswerKind]] = {
    TaskNotFound: AnswerKind.UNKNOWN_TASK,
    UnsupportedEndpoint: AnswerKind.MISSING,
    InvalidRequest: AnswerKind.REFUSED,
    AuthenticationError: AnswerKind.LOCKED,
}
UNKNOWN_TASK_KINDS: Final = frozenset(
    {AnswerKind.VOID, AnswerKind.NO_CONTENT, AnswerKind.UNKNOWN_TASK, AnswerKind.NO_MJ_ID}
)
"""The answers for an unknown task, from a server that has the endpoint."""
ENDPOINT_MISSING: Final = frozenset({AnswerKind.MISSING, AnswerKind.PAGE})
UNKNOWN_KINDS: Final = frozenset({AnswerKind.TROUBLE, AnswerKind.SILENCE})
ENDPOINT_EXISTS: Final[Mapping[AnswerKind, bool]] = {
    AnswerKind.LIST: True,
    AnswerKind.UNKNOWN_TASK: True,
    AnswerKind.NO_MJ_ID: True,
    **dict.fromkeys(ENDPOINT_MISSING, False),
}
"""Whether the endpoint exists, by the kind of answer."""


def _expect(**kinds: AnswerKind) -> dict[str, frozenset[AnswerKind]]:
    return {name: frozenset({kind}) for name, kind in kinds.items()}


_ONE_API_TEXT: Final = re.compile(r"get mj id failed", re.IGNORECASE)
_FAMILY_RULES: Final[tuple[tuple[str, Mapping[str, frozenset[AnswerKind]]], ...]] = (
    ("gateway", _expect(fetch=AnswerKind.NO_MJ_ID)),
    ("path-gateway", {"elsewhere": frozenset({AnswerKind.PAGE}), "proxy": UNKNOWN_TASK_KINDS}),
    ("new-api", _expect(fetch=AnswerKind.UNKNOWN_TASK, elsewhere=AnswerKind.UNKNOWN_TASK)),
    ("one-hub", _expect(fetch=AnswerKind.UNKNOWN_TASK, elsewhere=AnswerKind.REFUSED)),
    ("gateway", _expect(fetch=AnswerKind.UNKNOWN_TASK)),
    ("gateway", {"fetch": UNKNOWN_TASK_KINDS, **_expect(unregistered=AnswerKind.PAGE)}),
    ("original", _expect(fetch=AnswerKind.VOID)),
    ("open-plus", {"queue": ENDPOINT_MISSING, **_expect(fetch=AnswerKind.NO_CONTENT)}),
    ("plus", _expect(fetch=AnswerKind.NO_CONTENT)),
)
"""Families by their answers; the first row that fits applies (PROTOCOL §1.0, §6.1, §7.5)."""
GATEWAY_FAMILIES: Final = frozenset({"path-gateway", "new-api", "one-hub", "gateway"})
DELAYED_FAMILIES: Final = frozenset({"new-api", "one-hub", "gateway"})
"""Families that keep copies of tasks, refreshed every 15 s (PROTOCOL §6.3)."""
WEBHOOKS_BY_FAMILY: Final[Mapping[str, WebhookSupport]] = {
    **dict.fromkeys(("original", "plus", "open-plus"), "kept"),
    **dict.fromkeys(DELAYED_FAMILIES, "dropped by default"),
}
"""Whether `notifyHook` is kept (PROTOCOL §1.1, §1.17)."""


@attrs.frozen(kw_only=True)
class ProbeQuestion:
    """A read request, and the operation by which its answer is parsed."""

    method: str = "GET"
    url: URL
    body: bytes | None = None
    operation: Operation = Operation.FETCH


@attrs.frozen(kw_only=True)
class ProbeAnswer:
    """The answer to a question."""

    kind: AnswerKind
    reply: ParsedReply = _NO_REPLY
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    answered_at: float = 0.0
    """Time of the answer, by the client's clock."""
    seconds: float | None = None
    """Seconds until the answer; None without one."""


def probe_questions(base: str) -> dict[str, ProbeQuestion]:
    """Return all questions by name, with random ids."""
    nowhere = f"mj-{secrets.token_hex(4)}"
    task_id = f"1{secrets.randbelow(10**15):015}"
    fetch = f"mj/task/{task_id}/fetch"
    ids = dump_json({"ids": [task_id]})

    def question(path: str, **fields: Any) -> ProbeQuestion:  # noqa: ANN401 - of ProbeQuestion
        return ProbeQuestion(url=URL(f"{base}/{path}", encoded=True), **fields)

    return {
        "fetch": question(fetch),
        "elsewhere": question(f"{nowhere}/{fetch}"),
        "unregistered": question(f"mj/{nowhere}"),
        **{word: question(f"mj-{word}/{fetch}") for word in (*ALL_SPEEDS, *ALL_IMAGE_HOSTS)},
        "list-by-condition": question(
            "mj/task/list-by-condition", method="POST", body=ids, operation=Operation.LIST
        ),
        "list": question("mj/task/list", operation=Operation.LIST),
        "queue": question("mj/task/queue", operation=Operation.LIST),
        "accounts": question("mj/account/list", operation=Operation.LIST),
        "accounts of plus": question(
            "mj/account/query", method="POST", body=b"{}", operation=Operation.LIST
        ),
        "image": question(f"mj/image/{task_id}", operation=Operation.OTHER),
    }


async def ask(calls: ServerApi, question: ProbeQuestion) -> ProbeAnswer:
    """Ask a question.

    Raises:
        ConnectionFailed: The server did not respond.
        RequestTimeout: The server did not respond in time.
    """
    response, seconds = await calls.request_raw(question.method, question.url, question.body)
    answered_at = calls.clock.wall()
    reply = parse_reply(response.status, response.headers, response.body, wall=answered_at)
    return ProbeAnswer(
        kind=_answer_kind(question.operation, reply),
        reply=reply,
        headers=response.headers,
        answered_at=answered_at,
        seconds=seconds,
    )


async def ask_all(
    calls: ServerApi, questions: Mapping[str, ProbeQuestion]
) -> dict[str, ProbeAnswer]:
    """Ask questions concurrently; a lost one is answered by silence."""
    semaphore = asyncio.Semaphore(_MAX_CONCURRENT_QUESTIONS)

    async def ask_one(question: ProbeQuestion) -> ProbeAnswer:
        async with semaphore:
            try:
                return await ask(calls, question)
            except (ConnectionFailed, RequestTimeout):
                return ProbeAnswer(kind=AnswerKind.SILENCE)

    answers = await gather_or_cancel(map(ask_one, questions.values()))
    return dict(zip(questions, answers, strict=True))


def _answer_kind(operation: Operation, reply: ParsedReply) -> AnswerKind:
    if reply.status < 400 and (reply.is_html or reply.status >= 300):
        return AnswerKind.PAGE
    if operation is Operation.LIST and reply.status == 200 and isinstance(reply.json, list):
        return AnswerKind.LIST
    if reply.status == 204:
        return AnswerKind.NO_CONTENT
    if 200 <= reply.status < 300 and reply.is_empty:
        return AnswerKind.VOID
    if _ONE_API_TEXT.search(reply.description):
        return AnswerKind.NO_MJ_ID
    return _KIND_BY_ERROR.get(type(classify(operation, reply)), AnswerKind.TROUBLE)


def detect_family(kinds: Mapping[str, AnswerKind]) -> str:
    """Return the family of a server by its kinds of answers; "unknown" if none fits."""
    for family, pattern in _FAMILY_RULES:
        if all(kinds.get(name) in expected for name, expected in pattern.items()):
            return family
    return "unknown"


AuthStyle = Literal["secret", "bearer", "none", "unknown"]
WebhookSupport = Literal["kept", "dropped by default", "unknown"]
