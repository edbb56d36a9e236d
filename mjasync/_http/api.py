"""The protocol's calls: route, transport, replies and retry put together, one method a call."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn
from urllib.parse import quote

import attrs
from multidict import CIMultiDict
from yarl import URL

from .._clock import Clock
from .._concurrency import T
from .._media.formats import sniff
from .._models import SubmitReceipt, TaskInfo
from .._protocol import decoding
from .._protocol.error_rules import KNOWN_CODES, classify
from .._protocol.parsing import Operation, ParsedReply, parse_reply, parse_task_fast
from .._protocol.replies import (
    check_image,
    filter_requested,
    parse_list,
    parse_object,
    parse_receipt,
    parse_seed,
)
from .._protocol.urls import ServerUrl
from .._text import printable
from ..errors import (
    ConnectionFailed,
    InvalidRequest,
    LinkRefused,
    MalformedReply,
    MJError,
    NoAccount,
    QueueFull,
    RateLimited,
    ServerError,
    SubmitUncertain,
    TaskNotReady,
    TooManyOpenFiles,
    UnsupportedEndpoint,
)
from .bodies import DataUrl, RequestBody, encode_body
from .links import candidate_urls, parse_link
from .retry import Retries, RetryPolicy, WaitForRetry, retry_call
from .submission import SubmitRequest, attach_submission, check_body, payload_as_sent
from .transport import HttpResponse, RequestInterrupted, Transport, strip_tracebacks

__all__ = ["MAX_LIST_SIZE", "ServerApi", "is_overload"]

MAX_LIST_SIZE: Final = 100
"""Ids in one list request; more stalls the loop for no gain."""
_LIST_COOLDOWN: Final = 60.0
"""Seconds without list requests after some the server could not answer."""
_MAX_LIST_FAILURES: Final = 3
"""List requests in a row that must fail before that."""
_BLOCKED_STATUSES: Final = re.compile(r"request (is )?blocked", re.IGNORECASE)
"""new-api's words for an address that it does not ask."""
_OVERLOAD_ERRORS: Final = frozenset({408, 429, 502, 503, 504})
_SINGLE_ATTEMPT: Final = RetryPolicy(max_attempts=1)
_SEED_TIMEOUT: Final = 75.0
"""The server itself may block for a minute (PROTOCOL §1.15)."""
_GENERATED_STATE: Final = re.compile(r"mjasync-[0-9a-f]{32}")
"""A mark that the client made up."""
_CLOCK_TOLERANCE: Final = timedelta(minutes=2)
"""How much older than the request a task has to be to be another: dates have whole seconds, and
the list and the tasks may come from two machines."""
_RECONCILE_DELAYS: Final = (0.5, 2.0, 5.0)
"""Seconds before each look for a submission whose answer was lost."""

_log: Final = logging.getLogger("mjasync")


def is_overload(error: MJError) -> bool:
    """Whether the server, or what stands before it, has too much to do for now."""
    status = error.http_status or 0
    is_busy = status in _OVERLOAD_ERRORS or 520 <= status <= 530
    return isinstance(error, RateLimited) or (isinstance(error, ServerError) and is_busy)


@attrs.define
class ServerApi:
    """Every call of the protocol, as one server at one route understands it."""

    url: ServerUrl
    transport: Transport
    retries: Retries
    clock: Clock
    read_timeout: float
    submit_timeout: float
    reconcile: bool | None
    """Whether a lost submission is looked for in the server's list; None: unless it has none."""
    submit_limit: asyncio.Semaphore
    """Submissions on the wire at once: fewer than connections, so that none waits for one."""
    _stopping: bool = attrs.field(default=False, init=False)
    _list_disabled_until: float = attrs.field(default=float("-inf"), init=False)
    _list_failures: int = attrs.field(default=0, init=False)
    _list_has_worked: bool = attrs.field(default=False, init=False)
    _has_full_list: bool | None = attrs.field(default=None, init=False)
    """Whether the server lists its tasks; None while nobody has asked."""
    _claimed_ids: set[str] = attrs.field(factory=set, init=False)
    _list_seen_ids: set[str] = attrs.field(factory=set, init=False)
    """Lists that the server was seen to keep."""
    _logged_codes: set[int | None] = attrs.field(factory=set, init=False)

    def stop_retrying(self) -> None:
        """Let submissions on the wire end, and try none again: the client is closing."""
        self._stopping = True

    # --- paid ---

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
            return None  # a modal's task keeps the state of the action: nothing tells them apart
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
                break  # whoever closes the client waits for this
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

    # --- free ---

    async def fetch(self, task_id: str, route: ServerUrl | None = None) -> TaskInfo:
        """One task now; by another route where its links are to lead to another image host.

        Raises:
            TaskNotFound: The server does not know it.
            MJError: The read failed.
        """
        _, raw = await self.fetch_once(task_id, self.retries.read, route=route)
        return decoding.decode_task(raw or {})

    async def fetch_once(
        self,
        task_id: str,
        policy: RetryPolicy | None = None,
        *,
        known: bytes | None = None,
        route: ServerUrl | None = None,
    ) -> tuple[bytes, dict[str, Any] | None]:
        """One task's body with its JSON; no JSON when the body is the `known` one, byte for byte.

        Asked once without a `policy`.

        Raises:
            TaskNotFound: The server does not know it.
            MJError: The read failed.
        """
        url = (route or self.url).task_endpoint(task_id, "fetch")

        if policy is None:
            try:
                reply = await self.transport.get_within(url, timeout=self.read_timeout)
            except RequestInterrupted as error:
                raise error.as_read() from error.__cause__
            return self._parse_task(task_id, reply, known)

        async def once() -> tuple[bytes, dict[str, Any] | None]:
            return self._parse_task(task_id, await self._exchange("GET", url), known)

        return await self._with_read_retries(once, policy)

    def _parse_task(
        self, task_id: str, reply: HttpResponse, known: bytes | None
    ) -> tuple[bytes, dict[str, Any] | None]:
        if reply.body == known and reply.status == 200:
            return reply.body, None
        task = parse_task_fast(task_id, reply.status, reply.body)
        if task is None:
            task = parse_object(Operation.FETCH, self._parse(reply), task_id)
        return reply.body, task

    async def fetch_many(
        self, task_ids: Sequence[str], policy: RetryPolicy
    ) -> list[dict[str, Any]]:
        """Up to `MAX_LIST_SIZE` tasks as they came; unknown ones are missing, in any order.

        Raises:
            UnsupportedEndpoint: The server has no list endpoint.
            MJError: The read failed.
        """
        _, tasks = await self.fetch_many_once(task_ids, (), policy)
        return [task for _, task in tasks]

    async def fetch_many_once(
        self, task_ids: Sequence[str], known: Collection[bytes], policy: RetryPolicy | None = None
    ) -> tuple[set[bytes], list[tuple[bytes, dict[str, Any]]]]:
        """As `fetch_many`, each task with its body; those still as `known`, byte for byte, apart.

        Asked once without a `policy`. A server that has no such list is remembered: `can_list`.

        Raises:
            UnsupportedEndpoint: The server has no list endpoint.
            MJError: The read failed.
        """
        url = self.url.endpoint("task/list-by-condition")
        asked = frozenset(task_ids)
        body = decoding.dump_json({"ids": list(task_ids)})

        async def once() -> tuple[set[bytes], list[tuple[bytes, dict[str, Any]]]]:
            reply = await self._exchange("POST", url, body=body)
            parts = decoding.split_task_list(reply.body, known) if reply.status == 200 else None
            if parts is None:
                tasks = parse_list(self._parse(reply))
                parts = (
                    set(),
                    [(text, task) for task in tasks if (text := decoding.dump_text(task))],
                )
            same, others = parts
            return same, filter_requested(others, asked, _id_of)

        try:
            found = await (self._with_read_retries(once, policy) if policy else once())
        except (UnsupportedEndpoint, InvalidRequest, ServerError, MalformedReply) as error:
            self._count_list_failure(error)
            raise
        self._list_failures, self._list_has_worked = 0, True
        return found

    def can_list(self) -> bool:
        """Whether it is worth asking for many tasks at once."""
        return self.clock.now() >= self._list_disabled_until

    def _count_list_failure(self, error: MJError) -> None:
        """Set lists aside: for ever where there never was one, for a while where it broke down.

        Where the server has too much to do they are not: to ask for each task would be more.
        """
        if is_overload(error):
            return
        self._list_failures += 1
        never = (
            isinstance(error, UnsupportedEndpoint | InvalidRequest) and not self._list_has_worked
        )
        if never or self._list_failures >= _MAX_LIST_FAILURES:
            seconds = float("inf") if never else _LIST_COOLDOWN
            _log.info("no usable list endpoint, asking singly for %g s: %s", seconds, error)
            self._list_disabled_until = max(self._list_disabled_until, self.clock.now() + seconds)

    async def get_list(
        self, which: str = "task/list", method: str = "GET", policy: RetryPolicy | None = None
    ) -> list[dict[str, Any]]:
        """A list the server keeps, as it came: its (newest) tasks, its queue, its accounts.

        Raises:
            UnsupportedEndpoint: It keeps no such list.
            MJError: The read failed.
        """
        url = self.url.endpoint(which)
        body = None if method == "GET" else b"{}"

        async def once() -> list[dict[str, Any]]:
            listed = parse_list(self._parse(await self._exchange(method, url, body=body)))
            self._list_seen_ids.add(which)
            return listed

        def policy_for(error: MJError) -> RetryPolicy | None:
            is_bare = not error.description and error.retry_after is None
            if isinstance(error, RateLimited) and is_bare and which not in self._list_seen_ids:
                return None  # new-api's limit on what it has no route for: it stays so for minutes
            return (policy or self.retries.read) if error.retryable else None

        return await retry_call(once, policy_for, self.clock.now)

    async def get_list_with_date(
        self, policy: RetryPolicy | None = None
    ) -> tuple[list[dict[str, Any]], datetime | None]:
        """The server's list of tasks, and its date, by which the age of what is in it is judged.

        None where the date is missing or a cache's, or where a row of the list cannot be read: what
        is not in such a list may be on the server all the same.

        Raises:
            UnsupportedEndpoint: It keeps no such list.
            MJError: The read failed.
        """
        url = self.url.endpoint("task/list")

        async def once() -> tuple[list[dict[str, Any]], datetime | None]:
            reply = await self._exchange("GET", url)
            tasks = parse_list(self._parse(reply))
            is_whole = all(tasks)
            return tasks, _date_of(reply) if is_whole else None

        try:
            found = await self._with_read_retries(once, policy or self.retries.read)
        except UnsupportedEndpoint:
            self._has_full_list = False
            raise
        self._has_full_list = True
        return found

    async def server_date(self, unknown_id: str) -> datetime | None:
        """The server's clock as it stands: asked about a task that no cache can have an answer for.

        None where the server does not tell.
        """
        try:
            return _date_of(
                await self._exchange("GET", self.url.task_endpoint(unknown_id, "fetch"))
            )
        except MJError:
            return None

    async def account(self, account_id: str) -> Mapping[str, Any] | None:
        """One account as it came; None when the server does not know it.

        Raises:
            UnsupportedEndpoint: The server does not tell.
            MJError: The read failed.
        """
        url = self.url.endpoint(f"account/{quote(account_id, safe='')}/fetch")

        async def once() -> Mapping[str, Any] | None:
            words = self._parse(await self._exchange("GET", url))
            if words.status in {200, 204} and (words.is_empty or isinstance(words.json, dict)):
                return words.json if words.json and "id" in words.json else None
            raise classify(Operation.OTHER, words)

        return await self._with_read_retries(once, self.retries.read)

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
        """The seed of a finished task; the server may take a minute to find it.

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

    async def download(
        self,
        url: str,
        consume: Callable[[AsyncIterator[bytes]], Awaitable[T]],
        operation: Operation = Operation.IMAGE,
        *,
        is_input: bool = False,
    ) -> T:
        """Stream a picture into `consume`, which is called afresh for every attempt.

        Args:
            url: Its link, as the server gave it, or the caller did.
            consume: Takes in the pieces.
            operation: What is asked for.
            is_input: The caller gave the link, and knows best where it leads.

        Raises:
            LinkExpired: The link does not answer any more.
            MJError: The read failed.
        """
        addresses = candidate_urls(url, self.url.base)
        if is_input:
            addresses = tuple(dict.fromkeys((parse_link(url.strip()), *addresses)))

        async def once() -> T:
            for address in addresses[:-1]:
                with suppress(ConnectionFailed):
                    return await self._download_once(address, consume, operation)
            return await self._download_once(addresses[-1], consume, operation)

        return await self._with_read_retries(once, self.retries.read)

    async def _download_once(
        self,
        url: URL,
        consume: Callable[[AsyncIterator[bytes]], Awaitable[T]],
        operation: Operation,
    ) -> T:
        try:
            async with self.transport.stream(url, self.read_timeout) as (reply, pieces):
                is_picture = sniff(await pieces.read_head()) is not None
                if not (is_picture and 200 <= reply.status < 300):
                    body = self.transport.redactor.clean(await pieces.error())
                    self._check_image_reply(attrs.evolve(reply, body=body), operation)
                return await consume(pieces)
        except RequestInterrupted as error:
            raise error.as_read() from error.__cause__

    def _check_image_reply(self, reply: HttpResponse, operation: Operation) -> NoReturn:
        """Raise what came instead of a picture."""
        words = self._parse(reply)
        if reply.status == 403 and _BLOCKED_STATUSES.search(words.description):
            message = (
                "The gateway refuses to fetch this picture from its upstream: its guard against "
                "private addresses and unusual ports (SSRF) blocks it."
            )
            raise LinkRefused(message, description=words.description, http_status=reply.status)
        if isinstance(words.json, dict) and set(words.json) == {"error"}:
            operation = Operation.IMAGE  # the gateway serves it, and passes on what it was told
        wall = self.clock.wall()
        check_image(reply.status, reply.headers, reply.body, wall=wall, operation=operation)
        message = f"The link led to {len(reply.body)} bytes that are no picture."
        raise MalformedReply(message)

    async def download_by_id(
        self, task_id: str, consume: Callable[[AsyncIterator[bytes]], Awaitable[T]]
    ) -> T:
        """Stream the picture a gateway serves by task id (PROTOCOL §1.18)."""
        url = self.url.endpoint(f"image/{quote(task_id, safe='')}")
        return await self.download(str(url), consume, Operation.OTHER)

    async def request_raw(
        self, method: str, url: URL, body: bytes | None = None
    ) -> tuple[HttpResponse, float]:
        """Any read as it is answered, and the seconds that took; nothing is made of the answer.

        Only for want of a connection is it tried again.

        Raises:
            ConnectionFailed: There is no answer.
            RequestTimeout: There is none in time.
        """

        async def once() -> tuple[HttpResponse, float]:
            begun = self.clock.now()
            reply = await self._exchange(method, url, body=body)
            return reply, self.clock.now() - begun

        def policy_for(error: MJError) -> RetryPolicy | None:
            return self.retries.connect if isinstance(error, ConnectionFailed) else None

        return await retry_call(once, policy_for, self.clock.now)

    # --- shared ---

    async def _exchange(
        self,
        method: str,
        url: URL,
        *,
        body: bytes | RequestBody | None = None,
        timeout: float | None = None,
    ) -> HttpResponse:
        try:
            return await self.transport.exchange(
                method, url, body=body, timeout=timeout or self.read_timeout
            )
        except RequestInterrupted as error:
            raise error.as_read() from error.__cause__

    async def _with_read_retries(self, once: Callable[[], Awaitable[T]], policy: RetryPolicy) -> T:
        return await retry_call(
            once, lambda error: policy if error.retryable else None, self.clock.now
        )

    def _parse(self, reply: HttpResponse, route: ServerUrl | None = None) -> ParsedReply:
        words = parse_reply(
            reply.status,
            reply.headers,
            reply.body,
            wall=self.clock.wall(),
            token_header=self.transport.token_header,
            prefix=(route or self.url).prefix,
        )
        if words.code not in KNOWN_CODES and words.code not in self._logged_codes:
            self._logged_codes.add(words.code)
            _log.warning("unknown code %s (HTTP %d), read by its words", words.code, words.status)
        location = reply.headers.get("Location")
        if location and 300 <= reply.status < 400:
            described = f"(a redirect to {printable(location)}) {words.description}".strip()
            return attrs.evolve(words, description=described)
        return words


def _date_of(reply: HttpResponse) -> datetime | None:
    """When a reply was made, by the clock of whoever made it; None for one out of a cache."""
    headers = CIMultiDict(reply.headers)
    if headers.get("Age", "0").strip() not in {"", "0"}:
        return None
    try:
        date = parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _id_of(task: tuple[bytes, dict[str, Any]]) -> str:
    return decoding.parse_text(task[1].get("id")) or ""


def _match_state(
    tasks: Iterable[Mapping[str, Any]], state: str, sent: datetime | None
) -> tuple[str, ...]:
    """The id of the one task that carries `state` and is not older than the request.

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
