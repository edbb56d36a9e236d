"""The calls that read: tasks, lists, accounts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import attrs
from multidict import CIMultiDict
from yarl import URL

from .._clock import Clock
from .._concurrency import T
from .._json import dump_json, dump_or_empty, split_task_list
from .._models import TaskInfo
from .._protocol import decoding
from .._protocol.error_rules import KNOWN_CODES, classify
from .._protocol.parsing import Operation, ParsedReply, parse_reply, parse_task_fast
from .._protocol.replies import (
    filter_requested,
    parse_list,
    parse_object,
)
from .._protocol.urls import ServerUrl
from .._text import printable
from ..errors import (
    ConnectionFailed,
    InvalidRequest,
    MalformedReply,
    MJError,
    RateLimited,
    ServerError,
    UnsupportedEndpoint,
)
from .bodies import RequestBody
from .failures import RequestInterrupted
from .retry import Retries, RetryPolicy, retry_call
from .transport import HttpResponse, Transport

MAX_LIST_SIZE: Final = 100
"""Maximum ids in a list request; more would stall the event loop."""
_LIST_COOLDOWN: Final = 60.0
"""Seconds without list requests after several have failed."""
_MAX_LIST_FAILURES: Final = 3
"""Consecutive failures of list requests before that."""
_OVERLOAD_ERRORS: Final = frozenset({408, 429, 502, 503, 504})
_log: Final = logging.getLogger("mjasync")


@attrs.define
class ReadApi:
    """The calls of the protocol that start nothing new."""

    url: ServerUrl
    transport: Transport
    retries: Retries
    clock: Clock
    read_timeout: float
    submit_timeout: float
    submit_limit: asyncio.Semaphore
    """Limits the submissions in flight below the number of connections, so that none waits."""
    echoes_state: bool = attrs.field(default=False, init=False)
    """Whether the server was seen to return the state of a submission."""
    _list_disabled_until: float = attrs.field(default=float("-inf"), init=False)
    _list_failures: int = attrs.field(default=0, init=False)
    _list_has_worked: bool = attrs.field(default=False, init=False)
    _has_full_list: bool | None = attrs.field(default=None, init=False)
    """Whether the server lists its tasks; None before the first request."""
    _claimed_ids: set[str] = attrs.field(factory=set, init=False)
    _list_seen_ids: set[str] = attrs.field(factory=set, init=False)
    """Lists that the server was seen to have."""
    _logged_codes: set[int | None] = attrs.field(factory=set, init=False)

    async def fetch(self, task_id: str, route: ServerUrl | None = None) -> TaskInfo:
        """Fetch a task; by another URL if its links are to point to another image host.

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
        """Fetch a task's body and its JSON; no JSON if the body equals `known`.

        Without a `policy`, there are no retries.

        Raises:
            TaskNotFound: The server does not know it.
            MJError: The read failed.
        """
        url = (route or self.url).task_endpoint(task_id, "fetch")

        if policy is None:
            try:
                response = await self.transport.get_within(url, timeout=self.read_timeout)
            except RequestInterrupted as error:
                raise error.as_read() from error.__cause__
            return self._parse_task(task_id, response, known)

        async def once() -> tuple[bytes, dict[str, Any] | None]:
            return self._parse_task(task_id, await self._exchange("GET", url), known)

        return await self._with_read_retries(once, policy)

    def _parse_task(
        self, task_id: str, response: HttpResponse, known: bytes | None
    ) -> tuple[bytes, dict[str, Any] | None]:
        if response.body == known and response.status == 200:
            return response.body, None
        task = parse_task_fast(task_id, response.status, response.body)
        if task is None:
            task = parse_object(Operation.FETCH, self._parse(response), task_id)
        return response.body, task

    async def fetch_many(
        self, task_ids: Sequence[str], policy: RetryPolicy
    ) -> list[dict[str, Any]]:
        """Fetch up to `MAX_LIST_SIZE` tasks, in any order and without unknown ones.

        Raises:
            UnsupportedEndpoint: The server has no list endpoint.
            MJError: The read failed.
        """
        _, tasks = await self.fetch_many_once(task_ids, (), policy)
        return [task for _, task in tasks]

    async def fetch_many_once(
        self, task_ids: Sequence[str], known: Collection[bytes], policy: RetryPolicy | None = None
    ) -> tuple[set[bytes], list[tuple[bytes, dict[str, Any]]]]:
        """Fetch tasks with their bodies; return those that equal `known` separately.

        Without a `policy`, there are no retries. `can_list` remembers servers without this list.

        Raises:
            UnsupportedEndpoint: The server has no list endpoint.
            MJError: The read failed.
        """
        url = self.url.endpoint("task/list-by-condition")
        requested = frozenset(task_ids)
        body = dump_json({"ids": list(task_ids)})

        async def once() -> tuple[set[bytes], list[tuple[bytes, dict[str, Any]]]]:
            response = await self._exchange("POST", url, body=body)
            parts = split_task_list(response.body, known) if response.status == 200 else None
            if parts is None:
                tasks = parse_list(self._parse(response))
                parts = (
                    set(),
                    [(text, task) for task in tasks if (text := dump_or_empty(task))],
                )
            unchanged, changed = parts
            return unchanged, filter_requested(changed, requested, _id_of)

        try:
            result = await (self._with_read_retries(once, policy) if policy else once())
        except (UnsupportedEndpoint, InvalidRequest, ServerError, MalformedReply) as error:
            self._count_list_failure(error)
            raise
        self._list_failures, self._list_has_worked = 0, True
        return result

    def can_list(self) -> bool:
        """Return whether list requests are worth trying now."""
        return self.clock.now() >= self._list_disabled_until

    def _count_list_failure(self, error: MJError) -> None:
        """Disable lists: for good if the server never had one, for a while if it fails.

        An overloaded server keeps its list: single fetches would be more requests.
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
        """Fetch a list of the server: its newest tasks, its queue or its accounts.

        Raises:
            UnsupportedEndpoint: The server has no such list.
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
                return None  # new-api limits unknown routes, for minutes
            return (policy or self.retries.read) if error.retryable else None

        return await retry_call(once, policy_for, self.clock)

    async def get_list_with_date(
        self, policy: RetryPolicy | None = None
    ) -> tuple[list[dict[str, Any]], datetime | None]:
        """Fetch the server's task list and its date, by which ages are judged.

        The date is None if it is missing or from a cache, or if a row of the list is unreadable:
        the server may have tasks that are not in such a list.

        Raises:
            UnsupportedEndpoint: The server has no such list.
            MJError: The read failed.
        """
        url = self.url.endpoint("task/list")

        async def once() -> tuple[list[dict[str, Any]], datetime | None]:
            response = await self._exchange("GET", url)
            tasks = parse_list(self._parse(response))
            is_whole = all(tasks)
            return tasks, _date_of(response) if is_whole else None

        try:
            result = await self._with_read_retries(once, policy or self.retries.read)
        except UnsupportedEndpoint:
            self._has_full_list = False
            raise
        self._has_full_list = True
        return result

    async def server_date(self, unknown_id: str) -> datetime | None:
        """Return the server's date, from a request that no cache can answer; None without one."""
        try:
            return _date_of(
                await self._exchange("GET", self.url.task_endpoint(unknown_id, "fetch"))
            )
        except MJError:
            return None

    async def account(self, account_id: str) -> Mapping[str, Any] | None:
        """Fetch an account; None if the server does not know it.

        Raises:
            UnsupportedEndpoint: The server has no such endpoint.
            MJError: The read failed.
        """
        url = self.url.endpoint(f"account/{quote(account_id, safe='')}/fetch")

        async def once() -> Mapping[str, Any] | None:
            reply = self._parse(await self._exchange("GET", url))
            if reply.status in {200, 204} and (reply.is_empty or isinstance(reply.json, dict)):
                return reply.json if reply.json and "id" in reply.json else None
            raise classify(Operation.OTHER, reply)

        return await self._with_read_retries(once, self.retries.read)

    async def request_raw(
        self, method: str, url: URL, body: bytes | None = None
    ) -> tuple[HttpResponse, float]:
        """Send any read; return the raw response and the seconds it took.

        It is retried only if no connection could be made.

        Raises:
            ConnectionFailed: The server did not respond.
            RequestTimeout: The server did not respond in time.
        """

        async def once() -> tuple[HttpResponse, float]:
            sent_at = self.clock.now()
            response = await self._exchange(method, url, body=body)
            return response, self.clock.now() - sent_at

        def policy_for(error: MJError) -> RetryPolicy | None:
            return self.retries.connect if isinstance(error, ConnectionFailed) else None

        return await retry_call(once, policy_for, self.clock)

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
        return await retry_call(once, lambda error: policy if error.retryable else None, self.clock)

    def _parse(self, response: HttpResponse, route: ServerUrl | None = None) -> ParsedReply:
        reply = parse_reply(
            response.status,
            response.headers,
            response.body,
            wall=self.clock.wall(),
            token_header=self.transport.token_header,
            prefix=(route or self.url).prefix,
        )
        if reply.code not in KNOWN_CODES and reply.code not in self._logged_codes:
            self._logged_codes.add(reply.code)
            _log.warning("unknown code %s (HTTP %d), read by its words", reply.code, reply.status)
        location = response.headers.get("Location")
        if location and 300 <= response.status < 400:
            described = f"(a redirect to {printable(location)}) {reply.description}".strip()
            return attrs.evolve(reply, description=described)
        return reply


def is_overload(error: MJError) -> bool:
    """Return whether the server or a proxy in front of it is overloaded."""
    status = error.http_status or 0
    is_busy = status in _OVERLOAD_ERRORS or 520 <= status <= 530
    return isinstance(error, RateLimited) or (isinstance(error, ServerError) and is_busy)


def _date_of(response: HttpResponse) -> datetime | None:
    """Return the date of a response by the server's clock; None for a cached response."""
    headers = CIMultiDict(response.headers)
    if headers.get("Age", "0").strip() not in {"", "0"}:
        return None
    try:
        date = parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _id_of(task: tuple[bytes, dict[str, Any]]) -> str:
    return decoding.parse_text(task[1].get("id")) or ""
