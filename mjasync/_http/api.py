"""The calls of the protocol, as one server at one URL understands them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import (
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from .._models import SubmitReceipt
from .._protocol import decoding
from .._protocol.parsing import Operation
from .._protocol.replies import (
    parse_object,
    parse_receipt,
    parse_seed,
)
from .._text import printable
from ..errors import (
    ConnectionFailed,
    MalformedReply,
    MJError,
    NoAccount,
    QueueFull,
    RateLimited,
    SubmitUncertain,
    TaskNotReady,
    TooManyOpenFiles,
)
from .bodies import DataUrl, encode_body
from .downloads import DownloadApi
from .retry import RetryPolicy, WaitForRetry, retry_call
from .submission import SubmitRequest, attach_submission, check_body, payload_as_sent
from .transport import RequestInterrupted, strip_tracebacks

__all__ = ["ServerApi"]

_SEED_TIMEOUT: Final = 75.0
"""The server itself may block for a minute (PROTOCOL §1.15)."""

_SINGLE_ATTEMPT: Final = RetryPolicy(max_attempts=1)
_GENERATED_STATE: Final = re.compile(r"mjasync-[0-9a-f]{32}")
"""A mark that the client made up."""
_CLOCK_TOLERANCE: Final = timedelta(minutes=2)
"""How much older than the request a task has to be to be another: dates have whole seconds, and
the list and the tasks may come from two machines."""
_RECONCILE_DELAYS: Final = (0.5, 2.0, 5.0)
"""Seconds before each look for a submission whose answer was lost."""
_log: Final = logging.getLogger("mjasync")


@attrs.define
class ServerApi(DownloadApi):
    """Every call of the protocol: what reads, what downloads, and what submits."""

    def stop_retrying(self) -> None:
        """Let submissions on the wire end, and try none again: the client is closing."""
        self._stopping = True

    async def submit(
        self,
        submission: SubmitRequest,
        set_in_flight: Callable[[bool], None],
        wait: WaitForRetry | None = None,
    ) -> SubmitReceipt:
        """Send a submission; again only when the server provably did not take it.

        `set_in_flight` is called with True before each attempt and with False after it, unless the
        attempt was cancelled. `wait` lets the time between two attempts pass.

        Raises:
            SubmitUncertain: It may have been taken.
            MJError: It was refused.
        """

        async def once() -> SubmitReceipt:
            async with self.submit_limit:
                await check_body(submission.body)
                set_in_flight(True)
                try:
                    receipt = await self._submit_once(submission)
                except Exception:
                    set_in_flight(False)
                    raise
                set_in_flight(False)
                return receipt

        receipt = await retry_call(
            once, self._policy_for_submit, self.clock.now, wait=wait, name=submission.log_label
        )
        _log.info("%s accepted as %s", submission.log_label, printable(", ".join(receipt.ids)))
        return receipt

    async def _submit_once(self, submission: SubmitRequest) -> SubmitReceipt:
        sent_at = self.clock.now()
        try:
            receipt = await self._post_submission(submission)
        except SubmitUncertain as error:
            attach_submission(submission, error)
            error.payload = await payload_as_sent(submission)
            found = await self._reconcile(submission, sent_at)
            if found is None:
                raise
            receipt = found
        if not _GENERATED_STATE.fullmatch(submission.state):
            self._claimed_ids.update(receipt.ids)
        return receipt

    async def _post_submission(self, submission: SubmitRequest) -> SubmitReceipt:
        route = submission.url or self.url
        url = route.endpoint(submission.path or f"submit/{submission.endpoint}")
        try:
            reply = await self.transport.exchange(
                "POST",
                url,
                body=submission.body,
                content_type=submission.content_type,
                timeout=self.submit_timeout,
                is_paid=True,
            )
            return parse_receipt(submission.operation, self._parse(reply, route))
        except RequestInterrupted as error:
            message = (
                f"The {submission.endpoint} request went out, but its answer was lost "
                f"({printable(error.reason)}): the server may have taken the job."
            )
            raise SubmitUncertain(message) from error.__cause__
        except MalformedReply as error:  # an answer that cannot be read, or is too long
            message = (
                f"The {submission.endpoint} request was answered, but not readably: "
                f"{printable(error.message)} The server may have taken the job."
            )
            raise SubmitUncertain(message, http_status=error.http_status) from error
        except MJError:
            raise
        except Exception as error:  # noqa: BLE001 - a hook of the caller's, say: it may be out
            said = f"{type(error).__name__}: {printable(error)}"
            message = f"The {submission.endpoint} request met with {said}."
            raise SubmitUncertain(message) from strip_tracebacks(error)

    async def _reconcile(self, submission: SubmitRequest, sent_at: float) -> SubmitReceipt | None:
        """Look for a submission by its `state` in the server's own list, where it has one."""
        may_look = self.reconcile or (self.reconcile is None and self._has_full_list is not False)
        if submission.endpoint == "modal" or not may_look:
            return None  # the task of a modal has the state of its action
        for seconds in _RECONCILE_DELAYS:
            await self.clock.sleep(seconds)
            try:
                tasks, date = await self.get_list_with_date(_SINGLE_ATTEMPT)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is uncertain still
                _log.info("cannot look for %s: %s", printable(submission.state), error)
                if isinstance(error, MJError) and error.retryable:
                    continue
                return None
            strangers = [
                task
                for task in tasks
                if decoding.parse_text(task.get("id")) not in self._claimed_ids
            ]
            elapsed = timedelta(seconds=self.clock.now() - sent_at)
            ids = _match_state(strangers, submission.state, date - elapsed if date else None)
            if ids:
                return SubmitReceipt(code=1, ids=ids, description="found by its state")
            if self._stopping:
                break  # closing the client waits for this
        return None

    def _policy_for_submit(self, error: MJError) -> RetryPolicy | None:
        """Only where the server provably took nothing; never once the client is closing."""
        if self._stopping:
            return None
        policies = {
            ConnectionFailed: self.retries.connect,
            TooManyOpenFiles: self.retries.connect,
            QueueFull: self.retries.overloaded,
            RateLimited: self.retries.overloaded,
            TaskNotReady: self.retries.not_ready,
            NoAccount: self.retries.no_account,
        }
        return policies.get(type(error))

    async def upload(self, images: Sequence[DataUrl | str]) -> list[str]:
        """Hand pictures to the server; it answers with their links, in the same order.

        Raises:
            MJError: It cannot, refused, or the exchange failed.
        """
        url = self.url.endpoint("submit/upload-discord-images")
        body = await asyncio.to_thread(encode_body, {"base64Array": images})

        async def once() -> list[str]:
            await check_body(body)
            reply = await self._exchange("POST", url, body=body, timeout=self.submit_timeout)
            answer = parse_object(Operation.OTHER, self._parse(reply))
            result = answer.get("result")
            links = decoding.parse_urls(result if isinstance(result, list) else [result])
            if len(links) != len(images):
                message = f"The server answered {len(links)} links to {len(images)} pictures."
                raise MalformedReply(message)
            return list(links)

        return await self._with_read_retries(once, self.retries.read)

    async def seed(self, task_id: str) -> int:
        """Return the seed of a finished task; the server may take a minute to find it.

        Raises:
            MJError: It has none, or the read failed.
        """
        url = self.url.task_endpoint(task_id, "image-seed")

        async def once() -> int:
            reply = await self._exchange("GET", url, timeout=_SEED_TIMEOUT)
            return parse_seed(self._parse(reply))

        return await self._with_read_retries(once, self.retries.read)

    async def cancel(self, task_id: str) -> None:
        """Ask the server to give a task up (PROTOCOL §1.15).

        Raises:
            UnsupportedEndpoint: It cannot.
            MJError: It will not.
        """
        reply = await self._exchange("POST", self.url.task_endpoint(task_id, "cancel"), body=b"{}")
        words = self._parse(reply)
        if not (reply.status in {200, 204} and words.is_empty):
            parse_object(Operation.OTHER, words)


def _match_state(
    tasks: Iterable[Mapping[str, Any]], state: str, sent: datetime | None
) -> tuple[str, ...]:
    """Return the id of the only task with this `state` that is not older than the request.

    Args:
        tasks: The server's list.
        state: The mark that was sent along.
        sent: When it was sent, by the server's own clock; None where that cannot be told. A mark
            of the client's own making is unique, so that its age does not matter.
    """
    is_own = _GENERATED_STATE.fullmatch(state) is not None
    ids = [
        task_id
        for task in tasks
        if state
        and task.get("state") == state
        and (task_id := decoding.parse_text(task.get("id")))
        and (is_own or _is_new(task, sent))
    ]
    return tuple(ids) if len(ids) == 1 else ()


def _is_new(task: Mapping[str, Any], sent: datetime | None) -> bool:
    submitted = decoding.parse_timestamp(task.get("submitTime"))
    return sent is not None and submitted is not None and submitted >= sent - _CLOCK_TOLERANCE
