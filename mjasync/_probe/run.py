"""What a server is and what works there, found out by reading: the report of `Client.probe`.

Every member of the family answers a few harmless questions in a way of its own (PROTOCOL §1.15,
§6.1, §7.5). The questions and the tables that read the answers are all here.
"""

from __future__ import annotations

import asyncio
import email.utils
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC
from enum import Enum
from typing import Any, Final, Literal, get_args

import attrs
from yarl import URL

from .._http.api import Calls, at_once
from .._http.retry import Retries
from .._models import Auth, ImageHost, Speed, SpeedVia, TaskInfo, TaskStatus
from .._protocol import decoding as codec
from .._protocol import replies
from .._protocol.replies import Operation, Words
from .._task import Task
from .._text import printable
from ..errors import (
    AuthenticationError,
    ConnectionFailed,
    InvalidRequest,
    LinkExpired,
    MJError,
    RequestTimeout,
    TaskNotFound,
    UnsupportedEndpoint,
)

__all__ = ["Probe", "Wishes", "examine"]

Style = Literal["secret", "bearer", "none", "unknown"]
Webhooks = Literal["kept", "dropped by default", "unknown"]

_OTHER: Final[Mapping[Auth, Auth]] = {"secret": "bearer", "bearer": "secret"}
_SPEEDS: Final[tuple[Speed, ...]] = get_args(Speed)
_HOSTS: Final[tuple[ImageHost, ...]] = get_args(ImageHost)
_NOTHING: Final = Words(status=0)
_AT_ONCE: Final = 4
"""Questions under way at a time: some servers count requests."""
_SKEW: Final = 300
"""Seconds of clock skew from which on a lost submission is not found by its time any more."""


@attrs.frozen(kw_only=True)
class Probe:
    """What `Client.probe` found out about a server. None stands for what could not be told."""

    url: str
    """Where its API is."""
    family: str
    """`original`, `plus`, `open-plus`, `new-api`, `one-hub`, `path-gateway` (passes everything on,
    speed and image host by path), `gateway` (some other one), `unknown`; there may be more."""
    is_gateway: bool
    """Whether it stands in front of the server that does the work."""
    auth: Style
    """How it takes the token; `none`: it wants none; `unknown`: it failed before it told."""
    speeds: tuple[Speed, ...]
    """The speeds it understands in the path."""
    image_hosts: tuple[ImageHost, ...]
    """The image hosts it understands in the path."""
    any_path: bool
    """Whether any word in that place will do, so that none of them means anything."""
    list_by_condition: bool | None
    """Whether many tasks can be asked for in one request."""
    task_list: bool | None
    """Whether `Client.tasks` works, which looking up lost submissions needs."""
    task_queue: bool | None
    """Whether `Client.queue` works."""
    image_by_id: bool | None
    """Whether `Client.image` works."""
    webhooks: Webhooks
    """What becomes of `notify_hook`, as far as the family tells."""
    clock_skew: int | None
    """Seconds its clock is ahead of the one here; give or take one."""
    links_reachable: bool | None
    """Whether the link of its newest picture answers; None: it has shown no picture."""
    round_trip: float
    """Seconds of its quickest answer."""
    drawn: bool | None = None
    """Whether the paid picture was finished; None: nothing was spent."""
    problems: tuple[str, ...] = ()
    """What will not work with the client as it is set up, and what to set instead."""
    notes: tuple[str, ...] = ()
    """What else will not work there, and what to use instead."""

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


@attrs.frozen(kw_only=True)
class Wishes:
    """What the client is set up to do."""

    auth: Auth
    has_token: bool
    speed: Speed | None
    speed_via: SpeedVia
    image_host: ImageHost | None


# --- the tables --------------------------------------------------------------------------------


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
_STRIPS_FLAGS: Final = frozenset({"one-hub"})

_REMARKS: Final[Mapping[str, tuple[str, ...]]] = {
    "original": (
        "It lists no buttons and has no modals: U1-U4, V1-V4 and reroll of a grid are all.",
        "It knows no shorten, no seed and no cancel.",
    ),
    "open-plus": ("Only its administrator can cancel a task.",),
    "one-hub": ('It takes --fast and the like out of prompts: leave speed_via at "path".',),
    "path-gateway": ("A speed or an image host bound to the token wins over the path.",),
}
_ACCOUNTS: Final = ("accounts", "accounts of plus")
"""The questions for accounts; few servers answer them, so nothing follows from silence."""
_LAG: Final = "Its states are up to 15 s late: looking more often gains nothing."
_HOOKS: Final = "It drops notify_hook by default: do not wait for webhooks."

_ONE_API: Final = (
    "It answers as ye4293's one-api does, of which little is known: have one picture drawn, and "
    "see (probe(spend=…), doctor --spend)."
)
_MADE_BY: Final[Mapping[str, str]] = {
    "X-New-Api-Version": "new-api",
    "X-Oneapi-Request-Id": "a gateway made from one-api",
}
"""Headers by which gateways are known, the more telling one first."""
_BUSY: Final = (
    "That is new-api's guard of its machine: while CPU, memory or disk are used beyond its limit, "
    "it refuses everything."
)
_COUNTED: Final = (
    "That is the web limit of gateways like new-api, which counts requests for paths that they do "
    "not know: it is over in three minutes."
)
_GUARDS: Final[tuple[tuple[int, re.Pattern[str], str], ...]] = (
    (503, re.compile(r"system (cpu|memory|disk) overloaded", re.IGNORECASE), _BUSY),
    (429, re.compile(r"\A\Z"), _COUNTED),
)
"""What gateways refuse by, apart from the API itself: status, words, and what it is."""
_NOTHING_SET: Final = "No token is set: pass one to Client, or set MJASYNC_TOKEN."
_NOT_V1: Final = "The base URL ends in /v1, as OpenAI's does: leave that out."

_BY_PROMPT: Final = 'set speed_via="prompt", or write the flag into the prompt.'
_WITHOUT: Final[Mapping[str, str]] = {
    "list_by_condition": "It has no task/list-by-condition: tasks are asked for one by one.",
    "task_list": "It has no task list: mj.tasks() fails, and no lost job can be looked up.",
    "task_queue": "It has no task queue: mj.queue() fails.",
}


# --- asking ------------------------------------------------------------------------------------


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
    ids = codec.dump({"ids": [task_id]})

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
    words = replies.read(reply.status, reply.headers, reply.body, wall=calls.clock.wall())
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
    return _SIGNS.get(type(replies.error_for(operation, words)), Sign.TROUBLE)


# --- the probe ---------------------------------------------------------------------------------


async def examine(
    calls: Calls, wishes: Wishes, known_by: Callable[[Auth | None], Calls], spend: Task | None
) -> Probe:
    """Ask a server what it is; `spend` is the one task that may be submitted.

    `known_by` makes calls that show the token in another way, or not at all.

    Raises:
        ConnectionFailed: Nothing answers.
        AuthenticationError: The token is refused, however it is shown.
    """
    if spend is not None:
        spend.adopt()
    questions = _questions(calls.route.base)
    knock = questions.pop("fetch")
    style, answer = await _let_in(await _first(calls, knock), knock, wishes, known_by)
    answers = {"fetch": answer}
    if style in {"none", wishes.auth}:
        answers |= await _ask_all(calls, questions)
    elif style != "unknown":
        answers |= await _as_guest(known_by(_OTHER[wishes.auth]), questions)
    report = _report(calls, wishes, style, answers)
    if spend is not None:
        return await _spend(calls, wishes, report, spend)
    return await _look_at_link(calls, report, _newest(answers.get("list")))


async def _first(calls: Calls, question: _Question) -> _Answer:
    try:
        return await _ask(calls, question)
    except RequestTimeout as error:
        message = f"{question.url.origin()} does not answer in time."
        raise ConnectionFailed(message) from error


async def _let_in(
    heard: _Answer,
    knock: _Question,
    wishes: Wishes,
    known_by: Callable[[Auth | None], Calls],
) -> tuple[Style, _Answer]:
    """How the token is taken, and the answer it gets.

    Raises:
        AuthenticationError: It is not.
    """
    locked = heard.sign is Sign.LOCKED
    if heard.sign is Sign.TROUBLE:
        return "unknown", heard
    if not wishes.has_token:
        if locked:
            message = "The server wants a token, and there is none to show."
            raise _refused(heard, knock, message, _NOTHING_SET)
        return "none", heard
    if not locked:
        stranger = await _as_guest(known_by(None), {"": knock})
        return ("none" if stranger[""].sign is heard.sign else wishes.auth), heard
    other = _OTHER[wishes.auth]
    answer = (await _as_guest(known_by(other), {"": knock}))[""]
    if answer.sign is Sign.LOCKED or answer.sign in _UNTOLD:
        message = "The server refused the token, as mj-api-secret and as Authorization: Bearer."
        raise _refused(heard, knock, message, "Check the token, and that it is for this server.")
    return other, answer


def _refused(answer: _Answer, knock: _Question, message: str, hint: str) -> AuthenticationError:
    words = answer.words
    if _is_v1(str(knock.url).partition("/mj/")[0]):
        message = f"{message} {_NOT_V1}"
    error = AuthenticationError(
        message, description=words.description, code=words.code, http_status=words.status
    )
    error.hint = hint
    return error


async def _as_guest(calls: Calls, questions: Mapping[str, _Question]) -> dict[str, _Answer]:
    """Ask with calls that nobody else needs."""
    try:
        return await _ask_all(calls, questions)
    finally:
        await calls.transport.close()


# --- the report --------------------------------------------------------------------------------


def _report(calls: Calls, wishes: Wishes, style: Style, answers: Mapping[str, _Answer]) -> Probe:
    signs = {name: answer.sign for name, answer in answers.items()}
    family = _made_by(answers["fetch"], _family(signs))
    any_path = signs.get("elsewhere") in _UNKNOWN_TASK
    heeded = frozenset() if any_path else {w for w in signs if signs[w] in _UNKNOWN_TASK}
    there = {name: _IS_THERE.get(sign) for name, sign in signs.items()}
    report = Probe(
        url=f"{calls.route.base}/mj",
        family=family,
        is_gateway=family in _GATEWAYS,
        auth=style,
        speeds=tuple(word for word in _SPEEDS if word in heeded),
        image_hosts=tuple(word for word in _HOSTS if word in heeded),
        any_path=any_path,
        list_by_condition=there.get("list-by-condition"),
        task_list=there.get("list"),
        task_queue=there.get("queue"),
        image_by_id=there.get("image"),
        webhooks=_WEBHOOKS.get(family, "unknown"),
        clock_skew=_skew(answers["fetch"]),
        links_reachable=None,
        round_trip=min(a.seconds for a in answers.values() if a.seconds is not None),
    )
    problems = _problems(report, wishes, answers)
    return attrs.evolve(report, problems=(*problems,), notes=(*_notes(report, wishes, answers),))


def _family(signs: Mapping[str, Sign]) -> str:
    for family, pattern in _FAMILIES:
        if all(signs.get(name) in wanted for name, wanted in pattern.items()):
            return family
    return "unknown"


def _made_by(answer: _Answer, family: str) -> str:
    """The family, corrected by the headers that gateways sign their answers with."""
    if answer.sign not in _UNKNOWN_TASK or family == "path-gateway":
        return family
    if "X-New-Api-Version" in answer.headers:
        return "new-api"
    is_gateway = family in _GATEWAYS or "X-Oneapi-Request-Id" not in answer.headers
    return family if is_gateway else "gateway"


def _skew(answer: _Answer) -> int | None:
    """Seconds a server is ahead, by its Date header, which is cut to whole seconds."""
    try:
        when = email.utils.parsedate_to_datetime(answer.headers.get("Date", ""))
    except (ValueError, OverflowError):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return round(aware.timestamp() + 0.5 - answer.heard)


# --- what to say -------------------------------------------------------------------------------


def _problems(report: Probe, wishes: Wishes, answers: Mapping[str, _Answer]) -> Iterable[str]:
    """What is wrong, the worst alone."""
    if report.auth == "unknown":
        words = answers["fetch"].words
        error = replies.error_for(Operation.FETCH, words)
        yield " ".join(filter(None, ("It cannot be probed now.", str(error), _guard(words))))
        return
    if report.auth not in {"none", wishes.auth}:
        yield (
            f'It refuses auth="{wishes.auth}": set auth="{report.auth}" '
            f"(MJASYNC_AUTH={report.auth})."
        )
    if report.family == "unknown":
        yield _stranger(report, answers["fetch"])
        return
    yield from _misroutings(report, wishes)
    untold = [name for name, answer in answers.items() if answer.sign in _UNTOLD]
    if untold := [name for name in untold if name not in _ACCOUNTS]:
        guards = dict.fromkeys(_guard(answers[name].words) for name in untold)
        said = f"It left some questions unanswered ({', '.join(untold)}): probe it again later."
        yield " ".join(filter(None, (said, *guards)))
    if (many := _disabled(answers)) is not None:
        whose = (
            f"All its Midjourney accounts ({many}) are disabled" if many else "It has no account"
        )
        yield f"{whose}: submissions fail with NoAccount until whoever runs it enables one."


def _stranger(report: Probe, answer: _Answer) -> str:
    """What to say of a server that does not answer as one."""
    maker = next((name for head, name in _MADE_BY.items() if head in answer.headers), "")
    known = f"This is {maker}, but it has no Midjourney API at this path" if maker else ""
    said = f"{known or 'This does not answer like a server of the family'}: check the base URL."
    return f"{said} {_NOT_V1}" if _is_v1(report.url) else said


def _is_v1(url: str) -> bool:
    return url.rstrip("/").removesuffix("/mj").endswith("/v1")


def _guard(words: Words) -> str:
    """Which guard of a gateway refused, in a sentence; "" where none did."""
    for status, pattern, said in _GUARDS:
        is_told = bool(words.description) or words.is_empty
        if words.status == status and is_told and pattern.search(words.description):
            return said
    return ""


def _disabled(answers: Mapping[str, _Answer]) -> int | None:
    """How many accounts the server shows, none of them enabled; None where it shows one that is.

    Only the original, which hides nothing, is believed when it shows none at all.
    """
    for name in _ACCOUNTS:
        answer = answers.get(name)
        if answer is None or answer.sign is not Sign.LIST:
            continue
        accounts = [codec.structure_account(raw) for raw in replies.parse_list(answer.words)]
        if all(account.enabled is False for account in accounts):
            is_original = answers["fetch"].sign is Sign.VOID
            return len(accounts) if accounts or is_original else None
    return None


def _is_far_off(report: Probe) -> bool:
    return report.clock_skew is not None and abs(report.clock_skew) > _SKEW


def _misroutings(report: Probe, wishes: Wishes) -> Iterable[str]:
    """What the paths that are asked for will not do."""
    by_path = wishes.speed is not None and wishes.speed_via == "path"
    if by_path and wishes.speed not in report.speeds:
        yield f'It does not heed speed="{wishes.speed}" in the path: {_BY_PROMPT}'
    if wishes.speed and wishes.speed_via == "prompt" and report.family in _STRIPS_FLAGS:
        yield 'It takes speed flags out of prompts: set speed_via="path".'
    if wishes.image_host and wishes.image_host not in report.image_hosts:
        yield f'It does not heed image_host="{wishes.image_host}": leave it out.'


def _notes(report: Probe, wishes: Wishes, answers: Mapping[str, _Answer]) -> Iterable[str]:
    if report.family == "unknown":
        return
    yield from _REMARKS.get(report.family, ())
    if answers["fetch"].sign is Sign.NO_MJ_ID:
        yield _ONE_API
    if report.auth == "none" and wishes.has_token:
        yield "It asks for no token: whoever finds it can use it."
    if not report.speeds and not wishes.speed:
        lost = "takes any word for a speed and may lose it" if report.any_path else "has no speeds"
        yield f"In the path it {lost}: {_BY_PROMPT}"
    if not report.image_hosts and not wishes.image_host:
        yield "It offers no choice of image hosts: leave image_host out."
    yield from (said for name, said in _WITHOUT.items() if getattr(report, name) is False)
    if report.family in _LATE:
        yield from (_LAG, _HOOKS)
    if _is_far_off(report):
        yield "Its clock and yours disagree: the times of its tasks are its own."


# --- pictures ----------------------------------------------------------------------------------


def _newest(answer: _Answer | None) -> TaskInfo | None:
    """The newest finished picture of the task list."""
    if answer is None or answer.sign is not Sign.LIST:
        return None
    listed = replies.parse_list(answer.words)
    tasks = (codec.structure_task(task) for task in listed if codec.text(task.get("id")))
    shown = [task for task in tasks if task.status is TaskStatus.SUCCESS and task.image_url]
    return max(shown, key=_finished, default=None)


def _finished(task: TaskInfo) -> float:
    return task.finished_at.timestamp() if task.finished_at else 0.0


async def _look_at_link(calls: Calls, report: Probe, task: TaskInfo | None) -> Probe:
    if task is None or task.image_url is None:
        return report
    trouble = await _trouble_with(calls, task.image_url)
    report = attrs.evolve(report, links_reachable=trouble is None)
    if isinstance(trouble, LinkExpired):
        said = f"The link of its newest picture (task {task.id}) has expired: save pictures soon."
        return attrs.evolve(report, notes=(*report.notes, said))
    return _with_problem(report, _unreadable(task.id, trouble)) if trouble else report


async def _trouble_with(calls: Calls, url: str) -> MJError | None:
    """Why a picture cannot be had; its beginning is enough."""

    async def enough(_: AsyncIterator[bytes]) -> None:
        """The first bytes have been looked at before this is called."""

    once = attrs.evolve(calls, retries=Retries.none())
    try:
        await once.download(url, enough)
    except MJError as error:
        return error
    return None


async def _spend(calls: Calls, wishes: Wishes, report: Probe, task: Task) -> Probe:
    """Have one picture drawn, unless it is plain that this cannot work."""
    if report.family == "unknown" or report.auth not in {"none", wishes.auth}:
        return _with_problem(report, "Nothing was spent: see to the above first.")
    try:
        await task
    except MJError as error:
        return _with_problem(attrs.evolve(report, drawn=False), f"The paid picture: {error}")
    report = attrs.evolve(report, drawn=True)
    if task.image_url is None:
        return _with_problem(report, f"Task {task.id} was finished without a link to its picture.")
    trouble = await _trouble_with(calls, task.image_url)
    report = attrs.evolve(report, links_reachable=trouble is None)
    return _with_problem(report, _unreadable(task.id, trouble)) if trouble else report


def _unreadable(task_id: str, trouble: MJError) -> str:
    return f"The link of task {printable(task_id)} cannot be read. {trouble}"


def _with_problem(report: Probe, said: str) -> Probe:
    return attrs.evolve(report, problems=(*report.problems, said))
