"""The HTTP sessions of a client, and their connections."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ..errors import ClientClosed
from .failures import PrivateAddress, open_file_limit
from .links import is_public
from .network import NetworkSettings

MAX_HEADER_SIZE: Final = 1 << 16
"""Maximum bytes of a response header; the gateways of companies send long ones."""
_MAX_CONNECTIONS: Final = 500
"""Maximum connections of a session; more of them slow one core down."""
_KEEPALIVE_SECONDS: Final = 30.0
"""Seconds that an idle connection is kept: longer than the default interval of polls."""
_SUBMIT_KEEPALIVE_SECONDS: Final = 0.25
"""The same for submissions: a server that closes an idle connection may have read a request."""
_MALLOC_THRESHOLD: Final = 1 << 20
"""Bytes allocated once, so that glibc keeps the blocks of 256 KiB into which asyncio receives.
Otherwise it maps and unmaps one for every response, at half the cost of a poll."""


class Sessions:
    """The sessions of a client: for its server, for submissions, and for other hosts.

    A session that the caller passed is used for the server and for submissions.
    """

    def __init__(self, network: NetworkSettings) -> None:
        self.is_owned: bool = network.session is None
        """Whether the session for the server is not the caller's."""
        self._network = network
        self._server_session: aiohttp.ClientSession | None = network.session
        self._submit_session: aiohttp.ClientSession | None = None
        self._public_session: aiohttp.ClientSession | None = None
        self._is_closed = False

    def for_server(self) -> aiohttp.ClientSession:
        """Return the session for the server.

        Raises:
            ClientClosed: The client or the caller's session is closed.
        """
        self._check_open()
        if self._server_session is None:
            bytes(_MALLOC_THRESHOLD)
            connector = _make_connector(_default_connection_limit(), _KEEPALIVE_SECONDS)
            self._server_session = _make_session(connector)
        elif self._server_session.closed:
            raise ClientClosed("The session given to this Client is closed.")
        return self._server_session

    def for_submissions(self) -> aiohttp.ClientSession:
        """Return the session for submissions.

        Raises:
            ClientClosed: The client or the caller's session is closed.
        """
        if not self.is_owned:
            return self.for_server()
        self._check_open()
        if self._submit_session is None:
            limit = max(1, _default_connection_limit() // 2)
            self._submit_session = _make_session(_make_connector(limit, _SUBMIT_KEEPALIVE_SECONDS))
        return self._submit_session

    def for_other_hosts(self) -> aiohttp.ClientSession:
        """Return the session for other hosts, which shares nothing with a caller's session.

        Unless host names have to be checked, it shares the connector, and so the certificates and
        the resolver.

        Raises:
            ClientClosed: The client or the caller's session is closed.
        """
        session = self.for_server()
        if self._public_session is None:
            connector = session.connector
            is_checked = self._network.image_links == "public"
            if is_checked or not isinstance(connector, aiohttp.TCPConnector):
                resolver = _PublicResolver(self._network) if is_checked else None
                limit = max(1, _default_connection_limit() // 4)
                connector = _make_connector(limit, _KEEPALIVE_SECONDS, resolver)
                self._public_session = _make_session(connector, traced_as=session)
            else:
                self._public_session = _make_session(connector, traced_as=session, owns=False)
        return self._public_session

    @property
    def connection_limit(self) -> int:
        """Maximum concurrent requests to the server."""
        connector = self._server_session.connector if self._server_session is not None else None
        limits = (connector.limit, connector.limit_per_host) if connector is not None else ()
        return min(filter(None, limits), default=_default_connection_limit())

    async def close(self) -> None:
        """Close all sessions but the caller's."""
        self._is_closed = True
        server_session = self._server_session if self.is_owned else None
        for session in (self._public_session, self._submit_session, server_session):
            if session is not None:
                await session.close()

    def _check_open(self) -> None:
        if self._is_closed:
            message = "This Client is closed."
            raise ClientClosed(message)


class _PublicResolver(AbstractResolver):
    """Resolves to public addresses only, so that no host name leads into a private network."""

    def __init__(self, network: NetworkSettings) -> None:
        self._resolver = aiohttp.DefaultResolver()
        self._network = network

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve a host; refuse private addresses, except those of a proxy.

        Raises:
            OSError: The host has no address, or one that is not public.
        """
        addresses = await self._resolver.resolve(host, port, family)
        is_proxy = self._network.is_proxy(host, port)
        if not is_proxy and not all(is_public(address["host"]) for address in addresses):
            message = f"{host} has an address that is not public"
            raise PrivateAddress(message)
        return addresses

    async def close(self) -> None:
        """Close the underlying resolver."""
        await self._resolver.close()


class _NoCookies(aiohttp.DummyCookieJar):
    """Ignores cookies, without reading them: aiohttp logs those that it cannot parse."""

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """Do nothing."""


def _make_connector(
    limit: int, keepalive: float, resolver: AbstractResolver | None = None
) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=limit, keepalive_timeout=keepalive, resolver=resolver)


def _make_session(
    connector: aiohttp.BaseConnector,
    *,
    traced_as: aiohttp.ClientSession | None = None,
    owns: bool = True,
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=owns,
        cookie_jar=_NoCookies(),
        trust_env=False,
        max_line_size=MAX_HEADER_SIZE,
        max_field_size=MAX_HEADER_SIZE,
        trace_configs=list(traced_as.trace_configs) if traced_as is not None else None,
        proxy=getattr(traced_as, "_default_proxy", None),
        proxy_auth=getattr(traced_as, "_default_proxy_auth", None),
    )


def _default_connection_limit() -> int:
    """Return the connection limit: at most half of the files that the process may open."""
    files = open_file_limit()
    return _MAX_CONNECTIONS if files is None else max(1, min(_MAX_CONNECTIONS, files // 2))
