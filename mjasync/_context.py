"""The settings of a client and the objects that do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import attrs

from ._client_settings import ClientConfig
from ._clock import Clock
from ._event_loop import EventLoopBinding
from ._http.api import ServerApi
from ._http.submitter import SubmitPolicy
from ._http.transport import Transport, auth_headers
from ._media.files import read_all
from ._models import Auth, TaskInfo
from ._polling.poller import Poller
from ._polling.watch import Waiter
from ._submission_queue import SubmissionQueue
from ._submission_tasks import SubmissionTasks
from ._uploads import UploadCache
from ._validation import CLIENT_DEFAULT, ClientDefault, check_seconds
from .errors import MJError


@attrs.frozen(kw_only=True)
class ClientContext:
    """The only owner of a client's settings and collaborators; its Tasks share it."""

    config: ClientConfig
    api: ServerApi
    poller: Poller
    queue: SubmissionQueue
    loop: EventLoopBinding
    submission_tasks: SubmissionTasks
    uploads: UploadCache
    submit_policy: SubmitPolicy

    @classmethod
    def from_config(cls, config: ClientConfig) -> Self:
        """Create the collaborators of a client. Nothing is sent, and no event loop is needed."""
        transport = Transport(auth_headers(config.token, config.auth), config.network)
        api = ServerApi(
            url=config.url,
            transport=transport,
            retries=config.retries,
            clock=config.clock,
            read_timeout=config.read_timeout,
            submit_timeout=config.submit_timeout,
            submit_limit=asyncio.Semaphore(max(1, transport.connection_limit // 2)),
        )
        loop = EventLoopBinding(getattr(config.network.session, "_loop", None))
        return cls(
            config=config,
            api=api,
            poller=Poller(
                api,
                schedule=config.schedule,
                clock=config.clock,
                grace=config.not_found_grace,
                speed=config.speed,
            ),
            queue=SubmissionQueue(config.limit, config.clock),
            loop=loop,
            submission_tasks=SubmissionTasks(loop),
            uploads=UploadCache(config.clock),
            submit_policy=SubmitPolicy(retries=config.retries, reconcile=config.reconcile),
        )

    @property
    def clock(self) -> Clock:
        """The source of time."""
        return self.config.clock

    def api_with_auth(self, auth: Auth | None) -> ServerApi:
        """Return an api with connections of its own and another header for the token.

        Args:
            auth: The header; None for no token.
        """
        network = attrs.evolve(self.config.network, session=None)
        headers = auth_headers(self.config.token, auth) if auth else {}
        return attrs.evolve(self.api, transport=Transport(headers, network))

    def deadline(self, timeout: float | ClientDefault | None = CLIENT_DEFAULT) -> float:
        """Return the time on the client's clock at which a wait that begins now must end.

        Raises:
            ConfigurationError: The timeout is not a duration.
        """
        if isinstance(timeout, ClientDefault):
            return self.clock.now() + self.config.timeout
        return self.clock.now() + check_seconds("timeout", timeout)

    def stall_timeout(self, stall_timeout: float | ClientDefault | None = CLIENT_DEFAULT) -> float:
        """Return the seconds that a wait may last without any change.

        Raises:
            ConfigurationError: The timeout is not a duration.
        """
        if isinstance(stall_timeout, ClientDefault):
            return self.config.stall_timeout
        return check_seconds("stall_timeout", stall_timeout)

    async def download_input(self, url: str) -> bytes:
        """Download an image that the caller passed as a URL."""
        return await self.api.download(url, read_all, is_input=True)

    def call_when_ended(
        self, info: TaskInfo, is_settled: Callable[[TaskInfo], bool], release: Callable[[], None]
    ) -> None:
        """Watch a task, and call `release` when it has ended.

        If its end cannot be seen, `release` is called when a wait for it would have timed out.
        """
        try:
            waiter = self.poller.watch(
                info,
                is_settled,
                is_known=True,
                deadline=self.deadline(),
                stall=self.config.stall_timeout,
            )
        except MJError:
            release()
            return

        def on_done(waiter: Waiter) -> None:
            self.poller.unwatch(waiter)
            if not waiter.cancelled():
                waiter.exception()  # retrieved, so that asyncio does not log it
            release()

        waiter.add_done_callback(on_done)

    async def close(self) -> None:
        """Wait for submissions in flight, release all waiters, and close the connections."""
        try:
            self.api.stop_retrying()
            await self.submission_tasks.close()
            await self.poller.close()
        finally:
            await self.api.transport.close()
