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

from .._concurrency import at_once
from .._http.api import Calls
from .._models import ImageHost, Speed
from .._protocol import decoding
from .._protocol.error_rules import error_for
from .._protocol.parsing import Operation, Words, read
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
    "_GATEWAYS",
    "_HOSTS",
    "_IS_THERE",
    "_SPEEDS",
    "_UNKNOWN_TASK",
    "_UNTOLD",
    "_WEBHOOKS",
    "Sign",
    "Style",
    "Webhooks",
    "_Answer",
    "_Question",
    "_ask",
    "_ask_all",
    "_family",
    "_questions",
]


_SPEEDS: Final[tuple[Speed, ...]] = get_args(Speed)


_HOSTS: Final[tuple[ImageHost, ...]] = get_args(ImageHost)


_NOTHING: Final = Words(status=0)


_AT_ONCE: Final = 4
"""Questions under way at a time: some servers count requests."""


class Sign(Enum):
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


_SIGNS: Final[Mapping[type[MJError], Sign]] = {
    TaskNotFound: Sign.UNKNOWN_TASK,
    UnsupportedEndpoint: Sign.MISSING,
    InvalidRequest: Sign.REFUSED,
    AuthenticationError: Sign.LOCKED,
}


_UNKNOWN_TASK: Final = frozenset({Sign.VOID, Sign.NO_CONTENT, Sign.UNKNOWN_TASK, Sign.NO_MJ_ID})
"""The ways to say that a task is unknown: somebody who knows tasks has answered."""


_ABSENT: Final = frozenset({Sign.MISSING, Sign.PAGE})


_UNTOLD: Final = frozenset({Sign.TROUBLE, Sign.SILENCE})


_IS_THERE: Final[Mapping[Sign, bool]] = {
    Sign.LIST: True,
    Sign.UNKNOWN_TASK: True,
    Sign.NO_MJ_ID: True,
    **dict.fromkeys(_ABSENT, False),
}
"""What each sign says of the endpoint."""


def _answering(**signs: Sign) -> dict[str, frozenset[Sign]]:
    return {name: frozenset({sign}) for name, sign in signs.items()}


_NO_MJ_ID: Final = re.compile(r"get mj id failed", re.IGNORECASE)


_FAMILIES: Final[tuple[tuple[str, Mapping[str, frozenset[Sign]]], ...]] = (
    ("gateway", _answering(fetch=Sign.NO_MJ_ID)),
    ("path-gateway", {"elsewhere": frozenset({Sign.PAGE}), "proxy": _UNKNOWN_TASK}),
    ("new-api", _answering(fetch=Sign.UNKNOWN_TASK, elsewhere=Sign.UNKNOWN_TASK)),
    ("one-hub", _answering(fetch=Sign.UNKNOWN_TASK, elsewhere=Sign.REFUSED)),
    ("gateway", _answering(fetch=Sign.UNKNOWN_TASK)),
    ("gateway", {"fetch": _UNKNOWN_TASK, **_answering(unregistered=Sign.PAGE)}),
    ("original", _answering(fetch=Sign.VOID)),
    ("open-plus", {"queue": _ABSENT, **_answering(fetch=Sign.NO_CONTENT)}),
    ("plus", _answering(fetch=Sign.NO_CONTENT)),
)
"""Who answers which question how; the first row that fits in all (PROTOCOL §1.0, §6.1, §7.5)."""


_GATEWAYS: Final = frozenset({"path-gateway", "new-api", "one-hub", "gateway"})


_LATE: Final = frozenset({"new-api", "one-hub", "gateway"})
"""They keep rows of their own and refresh them every 15 s (PROTOCOL §6.3)."""


_WEBHOOKS: Final[Mapping[str, Webhooks]] = {
    **dict.fromkeys(("original", "plus", "open-plus"), "kept"),
    **dict.fromkeys(_LATE, "dropped by default"),
}
"""What becomes of `notifyHook` (PROTOCOL §1.1, §1.17)."""


@attrs.frozen(kw_only=True)
class _Question:
    """A read, and how its answer is to be taken."""

    method: str = "GET"
    url: URL
    body: bytes | None = None
    operation: Operation = Operation.FETCH


@attrs.frozen(kw_only=True)
class _Answer:
    """What was heard."""

    sign: Sign
    words: Words = _NOTHING
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    heard: float = 0.0
    """When it was heard, on our clock."""
    seconds: float | None = None
    """How long it took; None: there was no answer."""


def _questions(base: str) -> dict[str, _Question]:
    """All there is to ask, by name; ids and words nobody can know are made up for each probe."""
    nowhere = f"mj-{secrets.token_hex(4)}"
    task_id = f"1{secrets.randbelow(10**15):015}"
    fetch = f"mj/task/{task_id}/fetch"
    ids = decoding.dump({"ids": [task_id]})

    def at(path: str, **more: Any) -> _Question:  # noqa: ANN401 - the fields of a question
        return _Question(url=URL(f"{base}/{path}", encoded=True), **more)

    return {
        "fetch": at(fetch),
        "elsewhere": at(f"{nowhere}/{fetch}"),
        "unregistered": at(f"mj/{nowhere}"),
        **{word: at(f"mj-{word}/{fetch}") for word in (*_SPEEDS, *_HOSTS)},
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


async def _ask(calls: Calls, question: _Question) -> _Answer:
    """Ask one question.

    Raises:
        ConnectionFailed: There is no answer.
        RequestTimeout: There is none in time.
    """
    reply, seconds = await calls.ask(question.method, question.url, question.body)
    words = read(reply.status, reply.headers, reply.body, wall=calls.clock.wall())
    sign = _sign(question.operation, words)
    heard = calls.clock.wall()
    return _Answer(sign=sign, words=words, headers=reply.headers, heard=heard, seconds=seconds)


async def _ask_all(calls: Calls, questions: Mapping[str, _Question]) -> dict[str, _Answer]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(question: _Question) -> _Answer:
        async with places:
            try:
                return await _ask(calls, question)
            except (ConnectionFailed, RequestTimeout):
                return _Answer(sign=Sign.SILENCE)

    answers = await at_once(map(one, questions.values()))
    return dict(zip(questions, answers, strict=True))


def _sign(operation: Operation, words: Words) -> Sign:
    if words.status < 400 and (words.is_html or words.status >= 300):
        return Sign.PAGE
    if operation is Operation.LIST and words.status == 200 and isinstance(words.json, list):
        return Sign.LIST
    if words.status == 204:
        return Sign.NO_CONTENT
    if 200 <= words.status < 300 and words.is_empty:
        return Sign.VOID
    if _NO_MJ_ID.search(words.description):
        return Sign.NO_MJ_ID
    return _SIGNS.get(type(error_for(operation, words)), Sign.TROUBLE)


def _family(signs: Mapping[str, Sign]) -> str:
    for family, pattern in _FAMILIES:
        if all(signs.get(name) in wanted for name, wanted in pattern.items()):
            return family
    return "unknown"


Style = Literal["secret", "bearer", "none", "unknown"]


Webhooks = Literal["kept", "dropped by default", "unknown"]
