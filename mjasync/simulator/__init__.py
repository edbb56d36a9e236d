"""A Midjourney proxy for tests: the whole protocol on loopback, without Midjourney.

It imports nothing from the client, so that an error in the understanding of the protocol cannot
hide by being on both sides.
"""

from __future__ import annotations

from .faults import Fault
from .server import DIALECTS, Simulator
from .sim_task import RequestRecord, Submission

__all__ = ["DIALECTS", "Fault", "RequestRecord", "Simulator", "Submission"]
