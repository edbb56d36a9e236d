"""What needs no server: decoding one task."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from typing import Final

import attrs
import orjson

from mjasync import TaskInfo
from mjasync._json import parse_json
from mjasync._protocol import decoding

from . import payloads
from .harness import Rounds, Side, alternate, cpu_of, ratios, rounds_in
from .row import Row, row_of

__all__ = ["decode"]

_LOOPS: Final = 2000
_ID: Final = "1760000000123456"
_everything: Final = operator.attrgetter(*attrs.fields_dict(TaskInfo))


def _snapshot(body: bytes) -> object:
    """Decode a task and read all of it, so that nothing can be left for later."""
    return _everything(decoding.decode_task(parse_json(body)))


def _times(work: Callable[[bytes], object], body: bytes) -> Side:
    async def loop() -> None:
        for _ in range(_LOOPS):
            work(body)

    async def side() -> float:
        return await cpu_of(loop()) / _LOOPS

    return side


async def decode_rounds(seconds: str) -> Rounds:
    """Decoding, in one process."""
    finished, running = payloads.success(_ID), payloads.running(_ID, 46)
    sides = {
        "loads": _times(orjson.loads, finished),
        "full": _times(_snapshot, finished),
        "null": _times(orjson.loads, finished),
        "loads running": _times(orjson.loads, running),
        "running": _times(_snapshot, running),
    }
    return await alternate(sides, float(seconds))


def decode(processes: int = 3, seconds: float = 4.0) -> list[Row]:
    """A whole task from bytes to the public snapshot."""
    found = rounds_in("local:decode_rounds", processes, seconds)
    cost = statistics.median(costs["full"] for costs in found)
    return [
        row_of(
            "a finished task with 11 buttons decoded / orjson.loads",
            ratios(found, "full", "loads"),
            nulls=ratios(found, "null", "loads"),
            bar=4.0,
            note=f"{1e6 * cost:.1f} µs; "
            f"one under way {statistics.median(ratios(found, 'running', 'loads running')):.2f} ×",
        )
    ]
