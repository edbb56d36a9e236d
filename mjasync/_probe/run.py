"""Running a probe: the questions of `Client.probe` and the report on their answers.

Each family answers a few harmless questions in its own way (PROTOCOL §1.15, §6.1, §7.5).
"""

from __future__ import annotations

import email.utils
from collections.abc import AsyncIterator, Mapping
from datetime import UTC
from typing import Final

import attrs

from .._client_settings import ClientConfig
from .._context import ClientContext
from .._http.api import ServerApi
from .._http.retry import Retries
from .._models import Auth, TaskInfo, TaskStatus
from .._protocol import decoding
from .._protocol.replies import parse_list
from .._task import Task, suppress_unawaited_warning
from ..errors import (
    AuthenticationError,
    ConnectionFailed,
    LinkExpired,
    MJError,
    RequestTimeout,
)
from .questions import (
    ALL_IMAGE_HOSTS,
    ALL_SPEEDS,
    ENDPOINT_EXISTS,
    GATEWAY_FAMILIES,
    UNKNOWN_KINDS,
    UNKNOWN_TASK_KINDS,
    WEBHOOKS_BY_FAMILY,
    AnswerKind,
    AuthStyle,
    ProbeAnswer,
    ProbeQuestion,
    ask,
    ask_all,
    detect_family,
    probe_questions,
)
from .report import (
    NOTHING_CONFIGURED_HINT,
    V1_URL_HINT,
    Probe,
    add_problem,
    find_notes,
    find_problems,
    is_v1_url,
    unreadable_problem,
)

_OTHER_AUTH: Final[Mapping[Auth, Auth]] = {"secret": "bearer", "bearer": "secret"}


async def run_probe(
    context: ClientContext,
    spend: Task | None,
) -> Probe:
    """Probe a server.

    Args:
        context: The context of the client.
        spend: The only task that may be submitted; None to spend nothing.

    Raises:
        ConnectionFailed: The server does not respond.
        AuthenticationError: The server refuses the token, in whatever way it is sent.
    """
    if spend is not None:
        suppress_unawaited_warning(spend)
    api, config = context.api, context.config
    questions = probe_questions(api.url.base)
    fetch = questions.pop("fetch")
    style, answer = await _detect_auth(context, await _ask_first(api, fetch), fetch)
    answers = {"fetch": answer}
    if style in {"none", config.auth}:
        answers |= await ask_all(api, questions)
    elif style != "unknown":
        other_api = context.api_with_auth(_OTHER_AUTH[config.auth])
        answers |= await _ask_with_other_auth(other_api, questions)
    report = _report(api, config, style, answers)
    if spend is not None:
        return await _draw_one(api, config, report, spend)
    return await _check_link(api, report, _newest_task(answers.get("list")))


async def _ask_first(calls: ServerApi, question: ProbeQuestion) -> ProbeAnswer:
    try:
        return await ask(calls, question)
    except RequestTimeout as error:
        message = f"{question.url.origin()} does not answer in time."
        raise ConnectionFailed(message) from error


async def _detect_auth(
    context: ClientContext, answer: ProbeAnswer, auth_question: ProbeQuestion
) -> tuple[AuthStyle, ProbeAnswer]:
    """Return how the server accepts the token, and its answer.

    Raises:
        AuthenticationError: The server refuses the token.
    """
    is_locked = answer.kind is AnswerKind.LOCKED
    if answer.kind is AnswerKind.TROUBLE:
        return "unknown", answer
    if not context.config.has_token:
        if is_locked:
            message = "The server wants a token, and there is none to show."
            raise _auth_refused(answer, auth_question, message, NOTHING_CONFIGURED_HINT)
        return "none", answer
    if not is_locked:
        without_token = await _ask_with_other_auth(context.api_with_auth(None), {"": auth_question})
        return ("none" if without_token[""].kind is answer.kind else context.config.auth), answer
    other = _OTHER_AUTH[context.config.auth]
    answer = (await _ask_with_other_auth(context.api_with_auth(other), {"": auth_question}))[""]
    if answer.kind is AnswerKind.LOCKED or answer.kind in UNKNOWN_KINDS:
        message = "The server refused the token, as mj-api-secret and as Authorization: Bearer."
        raise _auth_refused(
            answer, auth_question, message, "Check the token, and that it is for this server."
        )
    return other, answer


def _auth_refused(
    answer: ProbeAnswer, auth_question: ProbeQuestion, message: str, hint: str
) -> AuthenticationError:
    reply = answer.reply
    if is_v1_url(str(auth_question.url).partition("/mj/")[0]):
        message = f"{message} {V1_URL_HINT}"
    error = AuthenticationError(
        message, description=reply.description, code=reply.code, http_status=reply.status
    )
    error.hint = hint
    return error


async def _ask_with_other_auth(
    calls: ServerApi, questions: Mapping[str, ProbeQuestion]
) -> dict[str, ProbeAnswer]:
    """Ask without the token, on a session of its own."""
    try:
        return await ask_all(calls, questions)
    finally:
        await calls.transport.close()


def _report(
    calls: ServerApi, config: ClientConfig, style: AuthStyle, answers: Mapping[str, ProbeAnswer]
) -> Probe:
    kinds = {name: answer.kind for name, answer in answers.items()}
    family = _product(answers["fetch"], detect_family(kinds))
    any_path = kinds.get("elsewhere") in UNKNOWN_TASK_KINDS
    working = [name for name, kind in kinds.items() if kind in UNKNOWN_TASK_KINDS and not any_path]
    exists = {name: ENDPOINT_EXISTS.get(kind) for name, kind in kinds.items()}
    report = Probe(
        url=f"{calls.url.base}/mj",
        family=family,
        is_gateway=family in GATEWAY_FAMILIES,
        auth=style,
        speeds=tuple(speed for speed in ALL_SPEEDS if speed in working),
        image_hosts=tuple(host for host in ALL_IMAGE_HOSTS if host in working),
        any_path=any_path,
        list_by_condition=exists.get("list-by-condition"),
        task_list=exists.get("list"),
        task_queue=exists.get("queue"),
        image_by_id=exists.get("image"),
        webhooks=WEBHOOKS_BY_FAMILY.get(family, "unknown"),
        clock_skew=_clock_skew(answers["fetch"]),
        links_reachable=None,
        round_trip=min(a.seconds for a in answers.values() if a.seconds is not None),
    )
    problems = find_problems(report, config, answers)
    return attrs.evolve(
        report, problems=(*problems,), notes=(*find_notes(report, config, answers),)
    )


def _product(answer: ProbeAnswer, family: str) -> str:
    """Return the family, corrected by headers that gateways add."""
    if answer.kind not in UNKNOWN_TASK_KINDS or family == "path-gateway":
        return family
    if "X-New-Api-Version" in answer.headers:
        return "new-api"
    is_gateway = family in GATEWAY_FAMILIES or "X-Oneapi-Request-Id" not in answer.headers
    return family if is_gateway else "gateway"


def _clock_skew(answer: ProbeAnswer) -> int | None:
    """Return the seconds the server's clock is ahead, by its Date header."""
    try:
        when = email.utils.parsedate_to_datetime(answer.headers.get("Date", ""))
    except (ValueError, OverflowError):
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return round(aware.timestamp() + 0.5 - answer.answered_at)


def _newest_task(answer: ProbeAnswer | None) -> TaskInfo | None:
    """Return the newest finished image of the task list."""
    if answer is None or answer.kind is not AnswerKind.LIST:
        return None
    listed = parse_list(answer.reply)
    tasks = (decoding.decode_task(task) for task in listed if decoding.parse_text(task.get("id")))
    finished = [task for task in tasks if task.status is TaskStatus.SUCCESS and task.image_url]
    return max(finished, key=_finish_time, default=None)


def _finish_time(task: TaskInfo) -> float:
    return task.finished_at.timestamp() if task.finished_at else 0.0


async def _check_link(calls: ServerApi, report: Probe, task: TaskInfo | None) -> Probe:
    if task is None or task.image_url is None:
        return report
    error = await _link_error(calls, task.image_url)
    report = attrs.evolve(report, links_reachable=error is None)
    if isinstance(error, LinkExpired):
        note = f"The link of its newest picture (task {task.id}) has expired: save pictures soon."
        return attrs.evolve(report, notes=(*report.notes, note))
    return add_problem(report, unreadable_problem(task.id, error)) if error else report


async def _link_error(calls: ServerApi, url: str) -> MJError | None:
    """Return the error of an image that cannot be downloaded; its first bytes are enough."""

    async def ignore(_: AsyncIterator[bytes]) -> None:
        """Do nothing: the first bytes have been checked already."""

    api = attrs.evolve(calls, retries=Retries.none())
    try:
        await api.download(url, ignore)
    except MJError as error:
        return error
    return None


async def _draw_one(calls: ServerApi, config: ClientConfig, report: Probe, task: Task) -> Probe:
    """Generate an image, unless this cannot work."""
    if report.family == "unknown" or report.auth not in {"none", config.auth}:
        return add_problem(report, "Nothing was spent: see to the above first.")
    try:
        await task
    except MJError as error:
        return add_problem(attrs.evolve(report, drawn=False), f"The paid picture: {error}")
    report = attrs.evolve(report, drawn=True)
    if task.image_url is None:
        return add_problem(report, f"Task {task.id} was finished without a link to its picture.")
    link_error = await _link_error(calls, task.image_url)
    report = attrs.evolve(report, links_reachable=link_error is None)
    return add_problem(report, unreadable_problem(task.id, link_error)) if link_error else report
