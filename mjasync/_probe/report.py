"""The report of `Client.probe`: what the answers mean for this client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from .._models import Auth, ImageHost, Speed, SpeedVia
from .._protocol import decoding
from .._protocol.error_rules import error_for
from .._protocol.parsing import Operation, Words
from .._protocol.replies import parse_list
from .._text import printable
from ..errors import MJError
from .questions import _LATE, _UNTOLD, Sign, Style, Webhooks, _Answer

__all__ = [
    "_NOTHING_SET",
    "_NOT_V1",
    "Probe",
    "Wishes",
    "_is_v1",
    "_notes",
    "_problems",
    "_unreadable",
    "_with_problem",
]


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


_LAG: Final = "Its states are up to 15 s late: looking more often gains nothing."


_HOOKS: Final = "It drops notify_hook by default: do not wait for webhooks."


_COUNTED: Final = (
    "That is the web limit of gateways like new-api, which counts requests for paths that they do "
    "not know: it is over in three minutes."
)


_BUSY: Final = (
    "That is new-api's guard of its machine: while CPU, memory or disk are used beyond its limit, "
    "it refuses everything."
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


def _problems(report: Probe, wishes: Wishes, answers: Mapping[str, _Answer]) -> Iterable[str]:
    """What is wrong, the worst alone."""
    if report.auth == "unknown":
        words = answers["fetch"].words
        error = error_for(Operation.FETCH, words)
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
        accounts = [decoding.structure_account(raw) for raw in parse_list(answer.words)]
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


def _unreadable(task_id: str, trouble: MJError) -> str:
    return f"The link of task {printable(task_id)} cannot be read. {trouble}"


def _with_problem(report: Probe, said: str) -> Probe:
    return attrs.evolve(report, problems=(*report.problems, said))


_ACCOUNTS: Final = ("accounts", "accounts of plus")
"""The questions for accounts; few servers answer them, so nothing follows from silence."""


_ONE_API: Final = (
    "It answers as ye4293's one-api does, of which little is known: have one picture drawn, and "
    "see (probe(spend=…), doctor --spend)."
)


_MADE_BY: Final[Mapping[str, str]] = {
    "X-New-Api-Version": "new-api",
    "X-Oneapi-Request-Id": "a gateway made from one-api",
}
"""Headers by which gateways are known, the more telling one first."""
