"""A Midjourney proxy to test against: the whole protocol on loopback, without Midjourney.

It is an independent witness: it imports nothing of the client, so that a misreading of the
protocol cannot cancel itself out.
"""

from __future__ import annotations

from .faults import Fault
from .server import DIALECTS, Simulator
from .sim_task import RequestRecord, Submission

__all__ = ["DIALECTS", "Fault", "RequestRecord", "Simulator", "Submission"]
