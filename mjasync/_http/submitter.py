"""Submissions: one paid POST, repeated only if the server provably did not accept it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

import attrs

from .._models import SubmitReceipt
from .._protocol import decoding
from .._protocol.replies import parse_receipt
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
from .downloads import DownloadApi
from .failures import RequestInterrupted, strip_tracebacks
from .retry import SINGLE_ATTEMPT, Delay, Retries, RetryPolicy, retry_call
from .submission import SubmitRequest, attach_submission, check_body, payload_as_sent

_GENERATED_STATE: Final = re.compile(r"mjasync-[0-9a-f]{32}")
"""A state that a client generated."""
_CLOCK_TOLERANCE: Final = timedelta(minutes=2)
"""How much older than its submission a task may seem: dates have whole seconds, and the list and
the tasks may come from two machines."""
_RECONCILE_DELAYS: Final = (0.5, 2.0, 5.0)
"""Seconds before each search for a submission whose response was lost."""
_log: Final = logging.getLogger("mjasync")


@attrs.frozen(kw_only=True)
class SubmitPolicy:
    """What follows an attempt that did not succeed."""

    retries: Retries
    reconcile: bool | None = None
    """Whether to search the server's list for a submission whose response was lost; None: if the
    server has a list."""

    def retry_policy(self, error: MJError) -> RetryPolicy | None:
        """Return the policy for an error: None unless the server provably accepted nothing."""
        policies = {
            ConnectionFailed: self.retries.connect,
            TooManyOpenFiles: self.retries.connect,
            QueueFull: self.retries.overloaded,
            RateLimited: self.retries.overloaded,
            TaskNotReady: self.retries.not_ready,
            NoAccount: self.retries.no_account,
        }
        return policies.get(type(error))


class SubmitProgress(Protocol):
    """Follows a submission from attempt to attempt."""

    def set_in_flight(self, is_in_flight: bool, /) -> None:  # noqa: FBT001 - a plain switch
        """Note that an attempt begins, or that it has ended without being cancelled."""

    async def wait_for_retry(self, delay: Delay, /) -> None:
        """Wait until the next attempt."""


@attrs.define
class SubmitApi(DownloadApi):
    """The calls that submit."""

    _is_stopping: bool = attrs.field(default=False, init=False)

    def stop_retrying(self) -> None:
        """Let submissions in flight finish, but retry none: the client is closing."""
        self._is_stopping = True

    async def submit(
        self, request: SubmitRequest, policy: SubmitPolicy, progress: SubmitProgress
    ) -> SubmitReceipt:
        """Send a submission; retry it only if the server provably did not accept it.

        Raises:
            SubmitUncertain: The server may or may not have accepted it.
            MJError: The server refused it, or cannot be reached.
        """
        receipt = await retry_call(
            partial(self._attempt, request, policy, progress),
            lambda error: None if self._is_stopping else policy.retry_policy(error),
            self.clock,
            wait=progress.wait_for_retry,
            name=request.log_label,
        )
        _log.info("%s accepted as %s", request.log_label, printable(", ".join(receipt.ids)))
        return receipt

    async def _attempt(
        self, request: SubmitRequest, policy: SubmitPolicy, progress: SubmitProgress
    ) -> SubmitReceipt:
        async with self.submit_limit:
            await check_body(request.body)
            progress.set_in_flight(True)
            try:
                receipt = await self._post_or_reconcile(request, policy)
            except Exception:
                progress.set_in_flight(False)
                raise
            progress.set_in_flight(False)
            return receipt

    async def _post_or_reconcile(
        self, request: SubmitRequest, policy: SubmitPolicy
    ) -> SubmitReceipt:
        sent_at = self.clock.now()
        try:
            receipt = await self._post(request)
        except SubmitUncertain as error:
            attach_submission(request, error)
            error.payload = await payload_as_sent(request)
            reconciled = await self._reconcile(request, policy, sent_at)
            if reconciled is None:
                raise
            receipt = reconciled
        if not _GENERATED_STATE.fullmatch(request.state):
            self._claimed_ids.update(receipt.ids)
        return receipt

    async def _post(self, request: SubmitRequest) -> SubmitReceipt:
        route = request.url or self.url
        try:
            response = await self.transport.exchange(
                "POST",
                route.endpoint(request.path or f"submit/{request.endpoint}"),
                body=request.body,
                content_type=request.content_type,
                timeout=self.submit_timeout,
                is_paid=True,
            )
            return parse_receipt(request.operation, self._parse(response, route))
        except RequestInterrupted as error:
            message = (
                f"The {request.endpoint} request was sent, but its response was lost "
                f"({printable(error.reason)}): the server may have accepted it."
            )
            raise SubmitUncertain(message) from error.__cause__
        except MalformedReply as error:  # pragma: no cover - today it comes as RequestInterrupted
            message = (
                f"The response to the {request.endpoint} request is not readable: "
                f"{printable(error.message)} The server may have accepted it."
            )
            raise SubmitUncertain(message, http_status=error.http_status) from error
        except MJError:
            raise
        except Exception as error:  # noqa: BLE001 - raised by a hook of the caller, perhaps in flight
            message = (
                f"The {request.endpoint} request was interrupted by {type(error).__name__}: "
                f"{printable(error)}."
            )
            raise SubmitUncertain(message) from strip_tracebacks(error)

    async def _reconcile(
        self, request: SubmitRequest, policy: SubmitPolicy, sent_at: float
    ) -> SubmitReceipt | None:
        """Search the server's list, if it has one, for a submission by its `state`."""
        may_search = policy.reconcile or (
            policy.reconcile is None and self._has_full_list is not False
        )
        if request.endpoint == "modal" or not may_search:
            return None  # the task of a modal has the state of its action
        for seconds in _RECONCILE_DELAYS:
            await self.clock.sleep(seconds)
            try:
                tasks, date = await self.get_list_with_date(SINGLE_ATTEMPT)
            except Exception as error:  # noqa: BLE001 - the outcome is uncertain in any case
                _log.info("cannot look for %s: %s", printable(request.state), error)
                if isinstance(error, MJError) and error.retryable:
                    continue
                return None
            unclaimed = [
                task
                for task in tasks
                if decoding.parse_text(task.get("id")) not in self._claimed_ids
            ]
            elapsed = timedelta(seconds=self.clock.now() - sent_at)
            ids = _match_state(unclaimed, request.state, date - elapsed if date else None)
            if ids:
                return SubmitReceipt(code=1, ids=ids, description="found by its state")
            if self._is_stopping:
                break  # closing the client waits for this
        return None


def _match_state(
    tasks: Iterable[Mapping[str, Any]], state: str, sent_at: datetime | None
) -> tuple[str, ...]:
    """Return the id of the only task with this `state` that is not older than the submission.

    Args:
        tasks: The server's list.
        state: The state of the submission.
        sent_at: When it was sent, by the server's clock; None if unknown. The age of a task does
            not matter for a generated state, which is unique.
    """
    is_generated = _GENERATED_STATE.fullmatch(state) is not None
    ids = [
        task_id
        for task in tasks
        if state
        and task.get("state") == state
        and (task_id := decoding.parse_text(task.get("id")))
        and (is_generated or _is_new(task, sent_at))
    ]
    return tuple(ids) if len(ids) == 1 else ()


def _is_new(task: Mapping[str, Any], sent_at: datetime | None) -> bool:
    submitted = decoding.parse_timestamp(task.get("submitTime"))
    return sent_at is not None and submitted is not None and submitted >= sent_at - _CLOCK_TOLERANCE
