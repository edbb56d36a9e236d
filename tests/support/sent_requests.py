"""The requests that a simulator has received."""

from __future__ import annotations

from typing import Any

from mjasync.simulator import Simulator


def sent(sim: Simulator, endpoint: str) -> list[Any]:
    """Return the bodies of all requests to an endpoint."""
    return [request.body for request in sim.requests if request.endpoint == endpoint]


def count_sent(sim: Simulator, kind: str) -> int:
    """Count the requests of a kind: `submit`, `fetch`, `list`, `image` and so on."""
    return sum(request.kind == kind for request in sim.requests)


def submits(sim: Simulator) -> int:
    """Count the submissions, accepted or not."""
    return count_sent(sim, "submit")
