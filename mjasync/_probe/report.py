"""The report of `Client.probe`: what the answers mean for this client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from .._client_settings import ClientConfig
from .._models import ImageHost, Speed
from .._protocol import decoding
from .._protocol.error_rules import classify
from .._protocol.parsing import Operation, ParsedReply
from .._protocol.replies import parse_list
from .._text import printable
from ..errors import MJError
from .questions import (
    DELAYED_FAMILIES,
    UNKNOWN_KINDS,
    AnswerKind,
    AuthStyle,
    ProbeAnswer,
    WebhookSupport,
)

_MAX_CLOCK_SKEW: Final = 300
"""Seconds of clock skew above which a lost submission is not found by its time."""


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
    auth: AuthStyle
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
    webhooks: WebhookSupport
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


_STRIPS_FLAGS: Final = frozenset({"one-hub"})
_FAMILY_NOTES: Final[Mapping[str, tuple[str, ...]]] = {
    "original": (
        "It lists no buttons and has no modals: U1-U4, V1-V4 and reroll of a grid are all.",
        "It knows no shorten, no seed and no cancel.",
    ),
    "open-plus": ("Only its administrator can cancel a task.",),
    "one-hub": ('It takes --fast and the like out of prompts: leave speed_via at "path".',),
    "path-gateway": ("A speed or an image host bound to the token wins over the path.",),
}
_DELAY_NOTE: Final = "Its states are up to 15 s late: looking more often gains nothing."
_WEBHOOK_NOTE: Final = "It drops notify_hook by default: do not wait for webhooks."
_RATE_LIMIT_NOTE: Final = (
    "That is the web limit of gateways like new-api, which counts requests for paths that they do "
    "not know: it is over in three minutes."
)
_OVERLOAD_NOTE: Final = (
    "That is new-api's guard of its machine: while CPU, memory or disk are used beyond its limit, "
    "it refuses everything."
)
_GUARD_RULES: Final[tuple[tuple[int, re.Pattern[str], str], ...]] = (
    (503, re.compile(r"system (cpu|memory|disk) overloaded", re.IGNORECASE), _OVERLOAD_NOTE),
    (429, re.compile(r"\A\Z"), _RATE_LIMIT_NOTE),
)
"""Guards by which gateways refuse requests: status, text and explanation."""
NOTHING_CONFIGURED_HINT: Final = "No token is set: pass one to Client, or set MJASYNC_TOKEN."
V1_URL_HINT: Final = "The base URL ends in /v1, as OpenAI's does: leave that out."
_SPEED_BY_PROMPT_HINT: Final = 'set speed_via="prompt", or write the flag into the prompt.'
_WITHOUT_ENDPOINT: Final[Mapping[str, str]] = {
    "list_by_condition": "It has no task/list-by-condition: tasks are asked for one by one.",
    "task_list": "It has no task list: mj.tasks() fails, and no lost job can be looked up.",
    "task_queue": "It has no task queue: mj.queue() fails.",
}


def find_problems(
    report: Probe, config: ClientConfig, answers: Mapping[str, ProbeAnswer]
) -> Iterable[str]:
    """Return the problems, or only the most serious one."""
    if report.auth == "unknown":
        reply = answers["fetch"].reply
        error = classify(Operation.FETCH, reply)
        yield " ".join(
            filter(None, ("It cannot be probed now.", str(error), _guard_problem(reply)))
        )
        return
    if report.auth not in {"none", config.auth}:
        yield (
            f'It refuses auth="{config.auth}": set auth="{report.auth}" '
            f"(MJASYNC_AUTH={report.auth})."
        )
    if report.family == "unknown":
        yield _other_server_problem(report, answers["fetch"])
        return
    yield from _misroutings(report, config)
    unanswered = [
        name
        for name, answer in answers.items()
        if answer.kind in UNKNOWN_KINDS and name not in _ACCOUNT_QUESTIONS
    ]
    if unanswered:
        guards = dict.fromkeys(_guard_problem(answers[name].reply) for name in unanswered)
        names = ", ".join(unanswered)
        problem = f"It left some questions unanswered ({names}): probe it again later."
        yield " ".join(filter(None, (problem, *guards)))
    if (count := _count_disabled_accounts(answers)) is not None:
        state = (
            f"All its Midjourney accounts ({count}) are disabled" if count else "It has no account"
        )
        yield f"{state}: submissions fail with NoAccount until its operator enables one."


def _other_server_problem(report: Probe, answer: ProbeAnswer) -> str:
    """Return the problem of a server of another kind."""
    headers = answer.headers
    product = next((name for key, name in _PRODUCT_BY_HEADER.items() if key in headers), None)
    reason = "This does not answer like a server of the family"
    if product is not None:
        reason = f"This is {product}, but it has no Midjourney API at this path"
    problem = f"{reason}: check the base URL."
    return f"{problem} {V1_URL_HINT}" if is_v1_url(report.url) else problem


def is_v1_url(url: str) -> bool:
    """Return whether a base URL ends in `/v1`."""
    return url.rstrip("/").removesuffix("/mj").endswith("/v1")


def _guard_problem(reply: ParsedReply) -> str:
    """Return a sentence about the guard of a gateway that refused; "" if none did."""
    for status, pattern, note in _GUARD_RULES:
        is_readable = bool(reply.description) or reply.is_empty
        if reply.status == status and is_readable and pattern.search(reply.description):
            return note
    return ""


def _count_disabled_accounts(answers: Mapping[str, ProbeAnswer]) -> int | None:
    """Return the number of accounts if all are disabled; None if one is enabled.

    An empty list counts only for the original server, which lists all accounts.
    """
    for name in _ACCOUNT_QUESTIONS:
        answer = answers.get(name)
        if answer is None or answer.kind is not AnswerKind.LIST:
            continue
        accounts = [decoding.decode_account(raw) for raw in parse_list(answer.reply)]
        if all(account.enabled is False for account in accounts):
            is_original = answers["fetch"].kind is AnswerKind.VOID
            return len(accounts) if accounts or is_original else None
    return None


def _has_clock_skew(report: Probe) -> bool:
    return report.clock_skew is not None and abs(report.clock_skew) > _MAX_CLOCK_SKEW


def _misroutings(report: Probe, config: ClientConfig) -> Iterable[str]:
    """Yield the problems of the requested speed and image host."""
    by_path = config.speed is not None and config.speed_via == "path"
    if by_path and config.speed not in report.speeds:
        yield f'It does not heed speed="{config.speed}" in the path: {_SPEED_BY_PROMPT_HINT}'
    if config.speed and config.speed_via == "prompt" and report.family in _STRIPS_FLAGS:
        yield 'It takes speed flags out of prompts: set speed_via="path".'
    if config.image_host and config.image_host not in report.image_hosts:
        yield f'It does not heed image_host="{config.image_host}": leave it out.'


def find_notes(
    report: Probe, config: ClientConfig, answers: Mapping[str, ProbeAnswer]
) -> Iterable[str]:
    if report.family == "unknown":
        return
    yield from _FAMILY_NOTES.get(report.family, ())
    if answers["fetch"].kind is AnswerKind.NO_MJ_ID:
        yield _ONE_API_NOTE
    if report.auth == "none" and config.has_token:
        yield "It asks for no token: whoever finds it can use it."
    if not report.speeds and not config.speed:
        lack = "takes any word for a speed and may lose it" if report.any_path else "has no speeds"
        yield f"In the path it {lack}: {_SPEED_BY_PROMPT_HINT}"
    if not report.image_hosts and not config.image_host:
        yield "It offers no choice of image hosts: leave image_host out."
    yield from (note for name, note in _WITHOUT_ENDPOINT.items() if getattr(report, name) is False)
    if report.family in DELAYED_FAMILIES:
        yield from (_DELAY_NOTE, _WEBHOOK_NOTE)
    if _has_clock_skew(report):
        yield "Its clock and yours disagree: the times of its tasks are its own."


def unreadable_problem(task_id: str, error: MJError) -> str:
    """Return the problem of a link that cannot be read."""
    return f"The link of task {printable(task_id)} cannot be read. {error}"


def add_problem(report: Probe, problem: str) -> Probe:
    """Return a report with one more problem."""
    return attrs.evolve(report, problems=(*report.problems, problem))


_ACCOUNT_QUESTIONS: Final = ("accounts", "accounts of plus")
"""The questions for accounts; few servers answer them, so nothing follows from silence."""
_ONE_API_NOTE: Final = (
    "It answers as ye4293's one-api does, of which little is known: have one picture drawn, and "
    "see (probe(spend=…), doctor --spend)."
)
_PRODUCT_BY_HEADER: Final[Mapping[str, str]] = {
    "X-New-Api-Version": "new-api",
    "X-Oneapi-Request-Id": "a gateway made from one-api",
}
"""Headers that identify gateways, the most specific first."""
