"""What a server is and what works there, found out by reading: the report of `Client.probe`.

Every member of the family answers a few harmless questions in a way of its own (PROTOCOL §1.15,
§6.1, §7.5). The questions and the tables that read the answers are all here.
"""

from __future__ import annotations

import email.utils
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC
from typing import Final

import attrs

from .._http.api import Calls
from .._http.retry import Retries
from .._models import Auth, TaskInfo, TaskStatus
from .._protocol import decoding
from .._protocol.replies import parse_list
from .._task import Task
from ..errors import (
    AuthenticationError,
    ConnectionFailed,
    LinkExpired,
    MJError,
    RequestTimeout,
)
from .questions import (
    _GATEWAYS,
    _HOSTS,
    _IS_THERE,
    _SPEEDS,
    _UNKNOWN_TASK,
    _UNTOLD,
    _WEBHOOKS,
    Sign,
    Style,
    _Answer,
    _ask,
    _ask_all,
    _family,
    _Question,
    _questions,
)
from .report import (
    _NOT_V1,
    _NOTHING_SET,
    Probe,
    Wishes,
    _is_v1,
    _notes,
    _problems,
    _unreadable,
    _with_problem,
)

__all__ = ["examine"]


_OTHER: Final[Mapping[Auth, Auth]] = {"secret": "bearer", "bearer": "secret"}


# --- the tables --------------------------------------------------------------------------------


# --- asking ------------------------------------------------------------------------------------


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


# --- pictures ----------------------------------------------------------------------------------


def _newest(answer: _Answer | None) -> TaskInfo | None:
    """The newest finished picture of the task list."""
    if answer is None or answer.sign is not Sign.LIST:
        return None
    listed = parse_list(answer.words)
    tasks = (decoding.structure_task(task) for task in listed if decoding.text(task.get("id")))
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
