"""The requests of a probe, and what each answer says of the server."""

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

__all__ = [
    "ALL_IMAGE_HOSTS",
    "ALL_SPEEDS",
    "ENDPOINT_EXISTS",
    "GATEWAY_FAMILIES",
    "UNKNOWN_KINDS",
    "UNKNOWN_TASK_KINDS",
    "WEBHOOKS_BY_FAMILY",
    "AnswerKind",
    "AuthStyle",
    "ProbeAnswer",
    "ProbeQuestion",
    "WebhookSupport",
    "ask",
    "ask_all",
    "detect_family",
    "probe_questions",
]


ALL_SPEEDS: Final[tuple[Speed, ...]] = get_args(Speed)


ALL_IMAGE_HOSTS: Final[tuple[ImageHost, ...]] = get_args(ImageHost)


_NO_REPLY: Final = ParsedReply(status=0)


_MAX_CONCURRENT_QUESTIONS: Final = 4
"""Questions under way at a time: some servers count requests."""


class AnswerKind(Enum):
    """What the answer to a question looks like; nearly all ask for a task that does not exist."""

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
"""What each sign says of the endpoint."""


def _any_answer(**signs: AnswerKind) -> dict[str, frozenset[AnswerKind]]:
    return {name: frozenset({sign}) for name, sign in signs.items()}


_ONE_API_TEXT: Final = re.compile(r"get mj id failed", re.IGNORECASE)


_FAMILY_RULES: Final[tuple[tuple[str, Mapping[str, frozenset[AnswerKind]]], ...]] = (
    ("gateway", _any_answer(fetch=AnswerKind.NO_MJ_ID)),
    ("path-gateway", {"elsewhere": frozenset({AnswerKind.PAGE}), "proxy": UNKNOWN_TASK_KINDS}),
    ("new-api", _any_answer(fetch=AnswerKind.UNKNOWN_TASK, elsewhere=AnswerKind.UNKNOWN_TASK)),
    ("one-hub", _any_answer(fetch=AnswerKind.UNKNOWN_TASK, elsewhere=AnswerKind.REFUSED)),
    ("gateway", _any_answer(fetch=AnswerKind.UNKNOWN_TASK)),
    ("gateway", {"fetch": UNKNOWN_TASK_KINDS, **_any_answer(unregistered=AnswerKind.PAGE)}),
    ("original", _any_answer(fetch=AnswerKind.VOID)),
    ("open-plus", {"queue": ENDPOINT_MISSING, **_any_answer(fetch=AnswerKind.NO_CONTENT)}),
    ("plus", _any_answer(fetch=AnswerKind.NO_CONTENT)),
)
"""Who answers which question how; the first row that fits in all (PROTOCOL §1.0, §6.1, §7.5)."""


GATEWAY_FAMILIES: Final = frozenset({"path-gateway", "new-api", "one-hub", "gateway"})


DELAYED_FAMILIES: Final = frozenset({"new-api", "one-hub", "gateway"})
"""They keep rows of their own and refresh them every 15 s (PROTOCOL §6.3)."""


WEBHOOKS_BY_FAMILY: Final[Mapping[str, WebhookSupport]] = {
    **dict.fromkeys(("original", "plus", "open-plus"), "kept"),
    **dict.fromkeys(DELAYED_FAMILIES, "dropped by default"),
}
"""What becomes of `notifyHook` (PROTOCOL §1.1, §1.17)."""


@attrs.frozen(kw_only=True)
class ProbeQuestion:
    """A read, and how its answer is to be taken."""

    method: str = "GET"
    url: URL
    body: bytes | None = None
    operation: Operation = Operation.FETCH


@attrs.frozen(kw_only=True)
class ProbeAnswer:
    """What was heard."""

    kind: AnswerKind
    reply: ParsedReply = _NO_REPLY
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    is_answered: float = 0.0
    """When it was heard, on our clock."""
    seconds: float | None = None
    """How long it took; None: there was no answer."""


def probe_questions(base: str) -> dict[str, ProbeQuestion]:
    """Return all questions by name, with random ids and words."""
    nowhere = f"mj-{secrets.token_hex(4)}"
    task_id = f"1{secrets.randbelow(10**15):015}"
    fetch = f"mj/task/{task_id}/fetch"
    ids = dump_json({"ids": [task_id]})

    def at(path: str, **more: Any) -> ProbeQuestion:  # noqa: ANN401 - the fields of a question
        return ProbeQuestion(url=URL(f"{base}/{path}", encoded=True), **more)

    return {
        "fetch": at(fetch),
        "elsewhere": at(f"{nowhere}/{fetch}"),
        "unregistered": at(f"mj/{nowhere}"),
        **{word: at(f"mj-{word}/{fetch}") for word in (*ALL_SPEEDS, *ALL_IMAGE_HOSTS)},
        "list-by-condition": at(
            "mj/task/list-by-condition", method="POST", body=ids, operation=Operation.LIST
        ),
        "list": at("mj/task/list", operation=Operation.LIST),
        "queue": at("mj/task/queue", operation=Operation.LIST),
        "accounts": at("mj/account/list", operation=Operation.LIST),
        "accounts of plus": at(
            "mj/account/query", method="POST", body=b"{}", operation=Operation.LIST
        ),
        "image": at(f"mj/image/{task_id}", operation=Operation.OTHER),
    }


async def ask(calls: ServerApi, question: ProbeQuestion) -> ProbeAnswer:
    """Ask one question.

    Raises:
        ConnectionFailed: There is no answer.
        RequestTimeout: There is none in time.
    """
    reply, seconds = await calls.request_raw(question.method, question.url, question.body)
    words = parse_reply(reply.status, reply.headers, reply.body, wall=calls.clock.wall())
    sign = _answer_kind(question.operation, words)
    heard = calls.clock.wall()
    return ProbeAnswer(
        kind=sign, reply=words, headers=reply.headers, is_answered=heard, seconds=seconds
    )


async def ask_all(
    calls: ServerApi, questions: Mapping[str, ProbeQuestion]
) -> dict[str, ProbeAnswer]:
    places = asyncio.Semaphore(_MAX_CONCURRENT_QUESTIONS)

    async def one(question: ProbeQuestion) -> ProbeAnswer:
        async with places:
            try:
                return await ask(calls, question)
            except (ConnectionFailed, RequestTimeout):
                return ProbeAnswer(kind=AnswerKind.SILENCE)

    answers = await gather_or_cancel(map(one, questions.values()))
    return dict(zip(questions, answers, strict=True))


def _answer_kind(operation: Operation, words: ParsedReply) -> AnswerKind:
    if words.status < 400 and (words.is_html or words.status >= 300):
        return AnswerKind.PAGE
    if operation is Operation.LIST and words.status == 200 and isinstance(words.json, list):
        return AnswerKind.LIST
    if words.status == 204:
        return AnswerKind.NO_CONTENT
    if 200 <= words.status < 300 and words.is_empty:
        return AnswerKind.VOID
    if _ONE_API_TEXT.search(words.description):
        return AnswerKind.NO_MJ_ID
    return _KIND_BY_ERROR.get(type(classify(operation, words)), AnswerKind.TROUBLE)


def detect_family(signs: Mapping[str, AnswerKind]) -> str:
    for family, pattern in _FAMILY_RULES:
        if all(signs.get(name) in wanted for name, wanted in pattern.items()):
            return family
    return "unknown"


AuthStyle = Literal["secret", "bearer", "none", "unknown"]


WebhookSupport = Literal["kept", "dropped by default", "unknown"]
