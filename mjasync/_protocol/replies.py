"""What a reply means: pure functions from (operation, status, headers, body) to value or error.

Every reply passes here, HTTP 200 included. The eleven shapes of PROTOCOL §7.1 are read into
`Words`, the tables below turn those into one error tree, and no other module looks at a code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from .._models import SubmitReceipt
from .._text import printable
from ..errors import (
    MalformedReply,
    SubmitUncertain,
    TaskNotFound,
    UnsupportedEndpoint,
)
from . import decoding
from .error_rules import ACCEPTED_CODES, SEED_LIMIT, classify, is_refusal, make_error
from .parsing import Operation, ParsedReply, parse_reply

__all__ = ["check_image", "parse_list", "parse_object", "parse_receipt"]

T = TypeVar("T")


# --- the tables --------------------------------------------------------------------------------


# --- from bytes to words -----------------------------------------------------------------------


# --- from words to a value ---------------------------------------------------------------------


def parse_receipt(operation: Operation, words: ParsedReply) -> SubmitReceipt:
    """Read the answer to a submission.

    Raises:
        SubmitUncertain: Whether the server took it cannot be told.
        MJError: The server refused it, by the tables above.
    """
    ids = _ids(words.result)
    may_accept = words.status < 500 or words.status == 503
    if words.code in ACCEPTED_CODES and ids and may_accept:
        return SubmitReceipt(
            code=words.code or 1,
            ids=ids,
            description=words.description,
            properties=words.properties,
        )
    if not is_refusal(words, ids):
        raise make_error(SubmitUncertain, words)
    raise classify(operation, words)


def _ids(result: object) -> tuple[str, ...]:
    """Return the ids in `result`: a string, a number, a list, or several joined by commas."""
    items = result if isinstance(result, list) else [result]
    words = (decoding.parse_text(item) for item in items)
    return tuple(
        part
        for word in words
        if word
        for part in map(str.strip, word.split(","))
        if part != "0" and part and "://" not in part
    )


def parse_object(
    operation: Operation, words: ParsedReply, task_id: str | None = None
) -> dict[str, Any]:
    """Read one task (FETCH) or a SubmitResult that starts nothing (OTHER).

    Args:
        operation: What was asked.
        words: The reply.
        task_id: The task that was asked for, where it was one.

    Raises:
        TaskNotFound: Empty body, 204, or one of the gateways' ways to say so.
        MalformedReply: It is another task than the one asked for.
        MJError: Anything else that is not that, by the tables above.
    """
    if 200 <= words.status < 300:
        is_nothing = words.is_empty or (words.is_json and words.json is None)
        if operation is Operation.FETCH and is_nothing:
            raise make_error(TaskNotFound, words)
        if isinstance(words.json, dict) and _is_own_reply(operation, words):
            _check_id(words.json, task_id)
            return words.json
    raise classify(operation, words)


def _check_id(task: Mapping[str, Any], task_id: str | None) -> None:
    if task_id is not None and decoding.parse_text(task.get("id")) != task_id:
        other = printable(decoding.parse_text(task.get("id")))
        raise MalformedReply(f"The server answered with task {other} instead of {task_id}.")


def _is_own_reply(operation: Operation, words: ParsedReply) -> bool:
    if operation is Operation.FETCH:
        return decoding.parse_text(words.json.get("id")) is not None and "status" in words.json
    return words.code in ACCEPTED_CODES


def parse_list(words: ParsedReply) -> list[dict[str, Any]]:
    """Read a list of tasks; null is an empty one (Go's way of saying so).

    Raises:
        MJError: By the tables above.
    """
    if 200 <= words.status < 300 and words.is_json:
        if words.json is None:
            return []
        if isinstance(words.json, list):
            return [item for item in words.json if isinstance(item, dict)]
    raise classify(Operation.LIST, words)


def filter_requested(tasks: list[T], ids: Collection[str], id_of: Callable[[T], str]) -> list[T]:
    """Remove from a list what was not requested.

    Raises:
        MalformedReply: Nothing in it was asked for.
    """
    kept = [task for task in tasks if id_of(task) in ids]
    if tasks and not kept:
        other = printable(id_of(tasks[0]))
        raise MalformedReply(f"The server answered with task {other}, which was not asked for.")
    return kept


def parse_seed(words: ParsedReply) -> int:
    """Read the seed of a task.

    Raises:
        UnsupportedEndpoint: The server has none of it.
        MalformedReply: What it told is no seed.
        MJError: By the tables above.
    """
    told = parse_object(Operation.OTHER, words).get("result")
    number = decoding.parse_int(told)
    if number is not None and 0 <= number < SEED_LIMIT:
        return number
    if told is None or told == "":
        message = "The server knows no seed of this task."
        raise UnsupportedEndpoint(message, description=words.description)
    message = f"The server answered with '{printable(told, 60)}' when it was asked for a seed."
    raise MalformedReply(message)


def check_image(
    status: int,
    headers: Mapping[str, str],
    start: bytes,
    *,
    wall: float = 0.0,
    operation: Operation = Operation.IMAGE,
) -> None:
    """Let a picture pass; `start` is the beginning of the body, or all of an error.

    `operation` is OTHER where the endpoint itself may be missing.

    Raises:
        LinkExpired: 403, 404 or 410.
        MJError: By the tables above.
    """
    looks_like_text = start.lstrip()[:1] in (b"", b"{", b"[", b"<")
    if 200 <= status < 300 and not looks_like_text:
        return
    raise classify(operation, parse_reply(status, headers, start, wall=wall))


# --- from words to an error --------------------------------------------------------------------
