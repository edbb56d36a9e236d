"""Scripted misbehaviour: what may go wrong, how often, and where."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "Fault", "Faults", "Kind"]

PLACES: Final = frozenset({"submit", "fetch", "list", "image", "other", "any"})
"""Where an HTTP fault may strike."""

_PLACE_OF: Final[Mapping[str, str]] = {
    "fetch": "fetch",
    **dict.fromkeys(("list", "queue", "list-by-condition", "list-by-ids"), "list"),
    "image": "image",
    **dict.fromkeys(("image-seed", "cancel", "account-list", "account-query"), "other"),
    **dict.fromkeys(("account-fetch", "notify"), "other"),
}
"""Where the requests to an endpoint belong, if not to the submissions."""


@attrs.frozen(kw_only=True)
class Kind:
    """One kind of fault: the level it strikes at, and its options with their defaults."""

    level: str
    """``http``, ``task``, ``pair``, ``hook``, ``link`` or ``gateway``."""
    options: Mapping[str, object] = attrs.field(factory=dict)


_REPLY: Final = {"status": 500, "body": b"", "content_type": None, "headers": None}
_FAIL: Final = {"reason": "Internal Server Error", "at": 0, "exception": False}

KINDS: Final[Mapping[str, Kind]] = {
    "reply": Kind(level="http", options=_REPLY),
    "html": Kind(level="http", options={"status": 200}),
    "truncated": Kind(level="http"),
    "reset_before": Kind(level="http"),
    "reset_after": Kind(level="http"),
    "silent_after": Kind(level="http"),
    "slow_body": Kind(level="http", options={"gap": 0.001}),
    "numeric_result": Kind(level="http"),
    "fail": Kind(level="task", options=_FAIL),
    "stall": Kind(level="task", options={"at": 0, "for_ever": False, "progress": None}),
    "stuck": Kind(level="task", options={"for_ever": False}),
    "lost": Kind(level="task"),
    "banned_late": Kind(level="task", options={"word": ""}),
    "id_collision": Kind(level="task"),
    "account_disabled": Kind(level="task", options={"at": 31}),
    "queue_ghost": Kind(level="task", options={"reason": "Internal Server Error"}),
    "crossed_pictures": Kind(level="pair"),
    "duplicate_hooks": Kind(level="hook"),
    "reorder_hooks": Kind(level="hook"),
    "expired_link": Kind(level="link"),
    "cpu_guard": Kind(level="gateway", options={"load": 97.3, "threshold": 90}),
    "ssrf_guard": Kind(level="gateway"),
    "web_limit": Kind(level="gateway", options={"allowed": 60}),
    "no_channel": Kind(level="gateway"),
    "parent_channel_off": Kind(level="gateway", options={"gone": False}),
}
"""Every kind of fault by name."""


@attrs.define(kw_only=True, eq=False)
class Fault:
    """One scripted fault; it strikes ``remaining`` more times."""

    kind: str
    on: str
    """Which requests an HTTP fault strikes: a kind of request, or ``any``."""
    endpoint: str | None
    """Only this endpoint (``imagine``, ``fetch``…); None: every one."""
    chance: float
    options: Mapping[str, object]
    remaining: int | None
    """How many more times; None: for ever; 0: spent or removed."""
    hits: int = 0
    """How many times it struck."""

    @property
    def level(self) -> str:
        """The level its kind strikes at."""
        return KINDS[self.kind].level

    def remove(self) -> None:
        """Strike no more."""
        self.remaining = 0

    def meets(self, level: str, on: str, endpoint: str | None) -> bool:
        """Whether this place is one it may strike."""
        return (
            self.level == level
            and (level != "http" or self.on in {"any", on})
            and self.endpoint in {None, endpoint}
        )

    def strike(self) -> None:
        """Count one hit."""
        self.hits += 1
        if self.remaining is not None:
            self.remaining -= 1


class Faults:
    """Every fault that is scripted, in the order it was."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._scripted: list[Fault] = []

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
        """Script a fault.

        Raises:
            ValueError: The kind or the place does not exist, or the endpoint is not there.
            TypeError: The kind has no such option.
        """
        fault = Fault(
            kind=kind,
            on=on,
            endpoint=endpoint,
            chance=chance,
            options=_options_of(kind, options),
            remaining=times,
        )
        if on not in PLACES:
            raise ValueError(f"no requests are called {on!r}; there are {_listed(PLACES)}")
        place = _PLACE_OF.get(endpoint or "", on)
        if fault.level == "http" and on not in {"any", place}:
            raise ValueError(f"no {on} request goes to {endpoint!r}: pass on={place!r}")
        self._scripted.append(fault)
        return fault

    def take(
        self, level: str, *, on: str = "any", endpoint: str | None = None, kind: str | None = None
    ) -> Fault | None:
        """The fault that strikes here now, if any (of this kind); that counts as one hit."""
        fault = self.find(level, on=on, endpoint=endpoint, kind=kind)
        if fault is not None:
            fault.strike()
        return fault

    def find(
        self, level: str, *, on: str = "any", endpoint: str | None = None, kind: str | None = None
    ) -> Fault | None:
        """The fault that would strike here now, if any (of this kind)."""
        if not self._scripted:
            return None
        self._scripted = [fault for fault in self._scripted if fault.remaining != 0]
        for fault in self._scripted:
            wanted = kind in {None, fault.kind} and fault.meets(level, on, endpoint)
            if wanted and self._falls(fault.chance):
                return fault
        return None

    def _falls(self, chance: float) -> bool:
        return chance >= 1 or self._random.random() < chance


def _options_of(kind: str, given: Mapping[str, object]) -> dict[str, object]:
    if kind not in KINDS:
        raise ValueError(f"no fault is called {kind!r}; there are {_listed(KINDS)}")
    known = KINDS[kind].options
    if unknown := given.keys() - known.keys():
        raise TypeError(f"fault {kind!r} has no option {_listed(unknown)}")
    return {**known, **given}


def _listed(names: object) -> str:
    return ", ".join(sorted(names))  # type: ignore[call-overload]
