"""Replies to values: a receipt, a task, a list or a seed, or else an error.

Every reply passes through here, HTTP 200 included: `parsing` reads its shape (PROTOCOL §7.1), and
`error_rules` selects the error. No other module looks at a code.
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

T = TypeVar("T")


def parse_receipt(operation: Operation, reply: ParsedReply) -> SubmitReceipt:
    """Return the receipt of a submission.

    Raises:
        SubmitUncertain: The server may or may not have accepted it.
        MJError: The server refused it, by the rules of `error_rules`.
    """
    ids = _ids(reply.result)
    may_accept = reply.status < 500 or reply.status == 503
    if reply.code in ACCEPTED_CODES and ids and may_accept:
        return SubmitReceipt(
            code=reply.code or 1,
            ids=ids,
            description=reply.description,
            properties=reply.properties,
        )
    if not is_refusal(reply, ids):
        raise make_error(SubmitUncertain, reply)
    raise classify(operation, reply)


def _ids(result: object) -> tuple[str, ...]:
    """Return the ids in `result`: a string, a number, a list, or several joined by commas."""
    items = result if isinstance(result, list) else [result]
    texts = (decoding.parse_text(item) for item in items)
    return tuple(
        part
        for text in texts
        if text
        for part in map(str.strip, text.split(","))
        if part != "0" and part and "://" not in part
    )


def parse_object(
    operation: Operation, reply: ParsedReply, task_id: str | None = None
) -> dict[str, Any]:
    """Return a task (FETCH), or the result of a call that starts nothing (OTHER).

    Args:
        operation: The operation that was requested.
        reply: The reply.
        task_id: The id of the requested task, if there was one.

    Raises:
        TaskNotFound: The body is empty, or a gateway reports an unknown task.
        MalformedReply: It is another task than the requested one.
        MJError: It is something else, by the rules of `error_rules`.
    """
    if 200 <= reply.status < 300:
        is_nothing = reply.is_empty or (reply.is_json and reply.json is None)
        if operation is Operation.FETCH and is_nothing:
            raise make_error(TaskNotFound, reply)
        if isinstance(reply.json, dict):
            returned_id = decoding.parse_text(reply.json.get("id"))
            is_task = returned_id is not None and "status" in reply.json
            if is_task if operation is Operation.FETCH else reply.code in ACCEPTED_CODES:
                if task_id not in {None, returned_id}:
                    message = f"The server returned task {printable(returned_id)}, not {task_id}."
                    raise MalformedReply(message)
                return reply.json
    raise classify(operation, reply)


def parse_list(reply: ParsedReply) -> list[dict[str, Any]]:
    """Return a list of objects; null is an empty list, since Go encodes it so.

    Raises:
        MJError: It is not a list, by the rules of `error_rules`.
    """
    if 200 <= reply.status < 300 and reply.is_json:
        if reply.json is None:
            return []
        if isinstance(reply.json, list):
            return [item for item in reply.json if isinstance(item, dict)]
    raise classify(Operation.LIST, reply)


def filter_requested(tasks: list[T], ids: Collection[str], id_of: Callable[[T], str]) -> list[T]:
    """Return the tasks that were requested.

    Raises:
        MalformedReply: There are only other tasks.
    """
    kept = [task for task in tasks if id_of(task) in ids]
    if tasks and not kept:
        other = printable(id_of(tasks[0]))
        raise MalformedReply(f"The server returned task {other}, which was not requested.")
    return kept


def parse_seed(reply: ParsedReply) -> int:
    """Return the seed of a task.

    Raises:
        UnsupportedEndpoint: The server does not have the seed.
        MalformedReply: The result is not a seed.
        MJError: The server refused, by the rules of `error_rules`.
    """
    result = parse_object(Operation.OTHER, reply).get("result")
    number = decoding.parse_int(result)
    if number is not None and 0 <= number < SEED_LIMIT:
        return number
    if result is None or result == "":
        message = "The server has no seed for this task."
        raise UnsupportedEndpoint(message, description=reply.description)
    message = f"The server returned '{printable(result, 60)}', which is not a seed."
    raise MalformedReply(message)


def check_image(
    status: int,
    headers: Mapping[str, str],
    start: bytes,
    *,
    wall: float = 0.0,
    operation: Operation = Operation.IMAGE,
) -> None:
    """Check that a response contains an image.

    Args:
        status: The HTTP status.
        headers: The headers of the response.
        start: The first bytes of the body, or the whole body of an error.
        wall: The time in seconds since the epoch.
        operation: OTHER if the endpoint itself may be missing.

    Raises:
        LinkExpired: The status is 403, 404 or 410.
        MJError: It is another error, by the rules of `error_rules`.
    """
    looks_like_text = start.lstrip()[:1] in (b"", b"{", b"[", b"<")
    if 200 <= status < 300 and not looks_like_text:
        return
    raise classify(operation, parse_reply(status, headers, start, wall=wall))
