"""Clients of a simulator that poll and retry without delay."""

from __future__ import annotations

from typing import Any

import attrs

from mjasync import Client, PollState, Retries, RetryPolicy, Schedule
from mjasync.simulator import Simulator
from support.waiting import PATIENCE

SMALL = 96  # pixels of a grid whose size is no matter


@attrs.frozen
class Every:
    """A schedule of constant intervals."""

    seconds: float
    coalesce: float = 0.5

    def next_delay(self, _: PollState) -> float:
        """Return the seconds until the next poll."""
        return self.seconds


QUICK = Schedule(min_interval=0.002, max_interval=0.02, coalesce=0.002)
AT_ONCE = RetryPolicy(max_attempts=8, initial_delay=0.001, max_delay=0.004)
EAGER = Retries(
    read=AT_ONCE,
    poll=AT_ONCE,
    connect=AT_ONCE,
    overloaded=RetryPolicy(max_attempts=1000, initial_delay=0.002, max_delay=0.01),
    no_account=AT_ONCE,
    not_ready=AT_ONCE,
)


def connect(sim: Simulator, **changes: Any) -> Client:  # noqa: ANN401 - what Client takes
    """Make a client of a simulator that polls and retries without delay.

    With a clock of its own it polls every five seconds of that clock. It does not reconcile lost
    submissions by default, so that a test can see them.
    """
    pace = QUICK if sim.time_scale else Every(0.001, coalesce=0.0005)
    quick = {"schedule": pace, "timeout": PATIENCE}
    usual = {"schedule": Every(5)} if "clock" in changes else quick
    options = {"retries": EAGER, "reconcile": False, **usual, **changes}
    return Client(options.pop("base_url", sim.url), options.pop("token", sim.token), **options)
