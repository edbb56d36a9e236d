"""Scripted faults: their kinds, how often they occur, and where."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import attrs

from .routes import ENDPOINT_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

FAULT_TARGETS: Final = frozenset({"submit", "fetch", "list", "image", "other", "any"})
"""The kinds of requests that an HTTP fault may affect."""


@attrs.frozen(kw_only=True)
class FaultKind:
    """One kind of fault: the level that it affects, and its options with their defaults."""

    level: str
    """``http``, ``task``, ``pair``, ``hook``, ``link`` or ``gateway``."""
    options: Mapping[str, object] = attrs.field(factory=dict)


_REPLY_OPTIONS: Final = {"status": 500, "body": b"", "content_type": None, "headers": None}
_FAIL_OPTIONS: Final = {"reason": "Internal Server Error", "at": 0, "exception": False}
FAULT_KINDS: Final[Mapping[str, FaultKind]] = {
    "reply": FaultKind(level="http", options=_REPLY_OPTIONS),
    "html": FaultKind(level="http", options={"status": 200}),
    "truncated": FaultKind(level="http"),
    "reset_before": FaultKind(level="http"),
    "reset_after": FaultKind(level="http"),
    "silent_after": FaultKind(level="http"),
    "slow_body": FaultKind(level="http", options={"gap": 0.001}),
    "numeric_result": FaultKind(level="http"),
    "fail": FaultKind(level="task", options=_FAIL_OPTIONS),
    "stall": FaultKind(level="task", options={"at": 0, "for_ever": False, "progress": None}),
    "stuck": FaultKind(level="task", options={"for_ever": False}),
    "lost": FaultKind(level="task"),
    "banned_late": FaultKind(level="task", options={"word": ""}),
    "id_collision": FaultKind(level="task"),
    "account_disabled": FaultKind(level="task", options={"at": 31}),
    "queue_ghost": FaultKind(level="task", options={"reason": "Internal Server Error"}),
    "crossed_pictures": FaultKind(level="pair"),
    "duplicate_hooks": FaultKind(level="hook"),
    "reorder_hooks": FaultKind(level="hook"),
    "expired_link": FaultKind(level="link"),
    "cpu_guard": FaultKind(level="gateway", options={"load": 97.3, "threshold": 90}),
    "ssrf_guard": FaultKind(level="gateway"),
    "web_limit": FaultKind(level="gateway", options={"allowed": 60}),
    "no_channel": FaultKind(level="gateway"),
    "parent_channel_off": FaultKind(level="gateway", options={"gone": False}),
}
"""Every kind of fault by name."""


@attrs.define(kw_only=True, eq=False)
class Fault:
    """One scripted fault, which occurs ``remaining`` more times."""

    kind: str
    on: str
    """The requests that an HTTP fault affects: a kind of request, or ``any``."""
    endpoint: str | None
    """The only endpoint affected (``imagine``, ``fetch``…); None: every one."""
    chance: float
    options: Mapping[str, object]
    remaining: int | None
    """The number of further occurrences; None: no limit; 0: used up or removed."""
    hits: int = 0
    """The number of occurrences so far."""

    @property
    def level(self) -> str:
        """The level that its kind affects."""
        return FAULT_KINDS[self.kind].level

    def remove(self) -> None:
        """Stop the fault from occurring again."""
        self.remaining = 0

    def matches(self, level: str, on: str, endpoint: str | None) -> bool:
        """Report whether the fault may occur at this level, kind of request and endpoint."""
        return (
            self.level == level
            and (level != "http" or self.on in {"any", on})
            and self.endpoint in {None, endpoint}
        )

    def use(self) -> None:
        """Count one occurrence."""
        self.hits += 1
        if self.remaining is not None:
            self.remaining -= 1


class FaultScript:
    """Every scripted fault, in the order in which they were added."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._faults: list[Fault] = []

    def add(
        self,
        kind: str,
        *,
        on: str = "submit",
        times: int | None = 1,
        chance: float = 1.0,
        endpoint: str | None = None,
        **options: object,
    ) -> Fault:
        """Add a fault; see `Simulator.fault`.

        Raises:
            ValueError: The kind or `on` does not exist, or no such request has the endpoint.
            TypeError: The kind does not have one of the options.
        """
        fault = Fault(
            kind=kind,
            on=on,
            endpoint=endpoint,
            chance=chance,
            options=_check_options(kind, options),
            remaining=times,
        )
        if on not in FAULT_TARGETS:
            raise ValueError(
                f"unknown kind of request {on!r}; available are {_join(FAULT_TARGETS)}"
            )
        request_kind = ENDPOINT_KINDS.get(endpoint or "", on)
        if fault.level == "http" and on not in {"any", request_kind}:
            raise ValueError(f"no {on} request goes to {endpoint!r}: pass on={request_kind!r}")
        self._faults.append(fault)
        return fault

    def next_fault(
        self, level: str, *, on: str = "any", endpoint: str | None = None, kind: str | None = None
    ) -> Fault | None:
        """Return the fault that occurs here, if any (of this kind), and count it."""
        fault = self.find(level, on=on, endpoint=endpoint, kind=kind)
        if fault is not None:
            fault.use()
        return fault

    def find(
        self, level: str, *, on: str = "any", endpoint: str | None = None, kind: str | None = None
    ) -> Fault | None:
        """Return the fault that would occur here, if any (of this kind)."""
        if not self._faults:
            return None
        self._faults = [fault for fault in self._faults if fault.remaining != 0]
        for fault in self._faults:
            is_match = kind in {None, fault.kind} and fault.matches(level, on, endpoint)
            if is_match and (fault.chance >= 1 or self._random.random() < fault.chance):
                return fault
        return None


def _check_options(kind: str, options: Mapping[str, object]) -> dict[str, object]:
    if kind not in FAULT_KINDS:
        raise ValueError(f"unknown fault {kind!r}; available are {_join(FAULT_KINDS)}")
    defaults = FAULT_KINDS[kind].options
    if unknown := options.keys() - defaults.keys():
        raise TypeError(f"fault {kind!r} has no option {_join(unknown)}")
    return {**defaults, **options}


def _join(names: object) -> str:
    return ", ".join(sorted(names))  # type: ignore[call-overload]
