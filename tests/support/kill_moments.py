"""Moments at which a process of a test is killed."""

from __future__ import annotations

import random
from typing import Final

import attrs


@attrs.frozen
class Moment:
    """When a process is killed."""

    kind: str = ""
    """`call`: the batch's n-th call, return or call into C; `before` or `after`: what the server
    does about its n-th request; `seconds`; "": never."""
    n: float = 0
    who: str = "batch"
    """`batch` or `server`."""
    of: str = "any"
    """Which requests are counted: `submit`, `fetch`, `list`, `image` or any."""
    signal: int = 9
    """What is sent: SIGKILL, unless it is only to stop for a while."""


NEVER: Final = Moment()


def any_moment(chance: random.Random, calls: int, requests: int) -> Moment:
    """Choose a moment within the first `calls` calls or `requests` requests of a batch."""
    kind = chance.choice(("call", "call", "before", "after"))
    of = chance.choice(("any", "submit"))
    within = calls if kind == "call" else max(requests // (4 if of == "submit" else 1), 1)
    return Moment(kind, chance.randint(1, within), of=of)
