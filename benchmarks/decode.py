"""CPU of decoding one task, from bytes to the public snapshot with all its fields."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Final

import attrs
import orjson

from mjasync import TaskInfo
from mjasync._json import parse_json
from mjasync._protocol.decoding import decode_task

from . import payloads
from .harness import Rounds, Side, alternate, cpu_of, median, ratios, rounds_in
from .row import Row, row_of

__all__ = ["decode"]

_LOOPS: Final = 2000
_read_all_fields: Final = operator.attrgetter(*attrs.fields_dict(TaskInfo))


def _decode(body: bytes) -> object:
    return _read_all_fields(decode_task(parse_json(body)))


def _side(work: Callable[[bytes], object], body: bytes) -> Side:
    async def loop() -> None:
        for _ in range(_LOOPS):
            work(body)

    async def side() -> float:
        return await cpu_of(loop()) / _LOOPS

    return side


async def decode_rounds(seconds: str) -> Rounds:
    """Measure decoding in one process."""
    finished = payloads.success("1760000000123456")
    sides = {
        "loads": _side(orjson.loads, finished),
        "decode": _side(_decode, finished),
        "null": _side(orjson.loads, finished),
    }
    return await alternate(sides, float(seconds))


def decode(processes: int = 3, seconds: float = 4.0) -> list[Row]:
    """Compare the decoding of a finished task with `orjson.loads`."""
    rounds = rounds_in("decode:decode_rounds", processes, seconds)
    return [
        row_of(
            "a finished task with 11 buttons decoded / orjson.loads",
            ratios(rounds, "decode", "loads"),
            nulls=ratios(rounds, "null", "loads"),
            bar=4.0,
            note=f"{1e6 * median(rounds, 'decode'):.1f} µs",
        )
    ]
