"""The network settings of a client, checked when they are created."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
import attrs
from yarl import URL

from .._limits import Limits
from .._version import USER_AGENT
from ..errors import ConfigurationError
from .links import ImageLinks, check_policy
from .redaction import secrets_in

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_NAME: Final = re.compile(r"auth|cookie|key|secret|token", re.IGNORECASE)
_RESERVED_HEADERS: Final = frozenset(
    {"content-length", "content-type", "host", "transfer-encoding"}
)


class SecretHeader(str):
    """A header value that no repr, log or traceback shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _check_limits(_: object, __: object, limits: object) -> None:
    if not isinstance(limits, Limits):
        message = f"limits must be a Limits(…), as in Limits(reply=1 << 20), not {limits!r}."
        raise ConfigurationError(message)


@attrs.frozen(kw_only=True)
class NetworkSettings:
    """The settings for connections to the server and to the hosts of its images."""

    origin: URL
    """The origin of the server, the only one that receives the headers of the caller."""
    session: Any = None
    """The `ClientSession` of the caller; None for one of the client's own."""
    connect_timeout: float = 15.0
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    proxy: URL | None = attrs.field(default=None, repr=False)
    trust_env: bool = False
    image_links: ImageLinks = attrs.field(default="any", converter=check_policy)
    limits: Limits = attrs.field(factory=Limits, validator=_check_limits)

    def __attrs_post_init__(self) -> None:
        if self.session is None:
            return
        if not isinstance(self.session, aiohttp.ClientSession):
            message = f"session must be an aiohttp.ClientSession, not {self.session!r}."
            raise ConfigurationError(message)
        if self.proxy is not None or self.trust_env:
            message = (
                "proxy and trust_env are for the Client's own session: set them on the session "
                "that you pass instead."
            )
            raise ConfigurationError(message)

    @property
    def secrets(self) -> list[str]:
        """The secrets in these settings."""
        headers = self.session.headers if self.session is not None else {}
        secret_headers = {
            name: value for name, value in headers.items() if _SECRET_NAME.search(name)
        }
        login = getattr(self.session, "auth", None)
        passwords = [getattr(self.proxy, "password", None), getattr(login, "password", None)]
        return [*secrets_in(self.headers), *secrets_in(secret_headers), *filter(None, passwords)]

    @property
    def uses_environment(self) -> bool:
        """Whether the environment's proxies are used."""
        return self.trust_env or bool(getattr(self.session, "trust_env", False))

    def proxy_for(self, url: URL) -> URL | None:
        """Return the proxy for a URL, in a session of the client's own."""
        if self.proxy is not None or not self.uses_environment:
            return self.proxy
        host = url.host or ""
        return None if _is_local(host) else _environment_proxy(url.scheme, host)

    def is_proxy(self, host: str, port: int) -> bool:
        """Return whether a host and port are those of a proxy in use."""
        proxies = [self.proxy, getattr(self.session, "_default_proxy", None)]
        if self.uses_environment:
            proxies += [_environment_proxy(scheme, "") for scheme in ("http", "https")]
        urls = [URL(proxy) for proxy in proxies if proxy is not None]
        return any((url.host, url.port) == (host, port) for url in urls)

    @property
    def user_agent(self) -> dict[str, str]:
        """The `User-Agent` header of every request."""
        headers = self.session.headers if self.session is not None else {}
        return {"User-Agent": headers.get("User-Agent", USER_AGENT)}

    def default_headers(self) -> dict[str, str]:
        """Return the headers of every request to the server, without the token."""
        return {
            **self.user_agent,
            **{name: SecretHeader(value) for name, value in self.headers.items()},
        }


def _is_local(host: str) -> bool:
    """Return whether a host is this machine, to which proxies of the environment do not apply."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@cache
def _environment_proxy(scheme: str, host: str) -> URL | None:
    """Return the proxy that the environment sets for a host; a .netrc is not used."""
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    try:
        return parse_proxy(proxy if "://" in proxy else f"http://{proxy}")
    except ConfigurationError:
        message = (
            "The proxy of the environment is not an HTTP proxy: pass another one as proxy= "
            f"(--proxy), or use none with NO_PROXY={host or '*'}."
        )
        raise ConfigurationError(message) from None


def parse_proxy(proxy: Any, name: str = "proxy") -> URL:  # noqa: ANN401 - to be checked
    """Parse the URL of an HTTP proxy.

    Raises:
        ConfigurationError: It is not the URL of an HTTP proxy.
    """
    url = URL()
    try:
        url = URL(proxy.strip() if isinstance(proxy, str) else proxy)
        is_usable = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except (ValueError, TypeError):
        is_usable = False
    if url.scheme.startswith("socks"):
        message = (
            f"{name} cannot be a SOCKS proxy: pass "
            "session=ClientSession(connector=aiohttp_socks.ProxyConnector.from_url(…)) instead."
        )
        raise ConfigurationError(message)
    if not is_usable:
        message = f"{name} must be the address of an HTTP proxy, as in 'http://127.0.0.1:8080'."
        raise ConfigurationError(message)
    return url


def check_headers(headers: Any) -> dict[str, str]:  # noqa: ANN401 - to be checked
    """Check the extra headers of a client, and return them.

    Raises:
        ConfigurationError: A header cannot be sent, or is set by the client itself.
    """
    if not isinstance(headers, Mapping):
        message = f"headers must be a mapping of names to texts, not {type(headers).__name__}."
        raise ConfigurationError(message)
    for name, value in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            message = f"{name!r} is not the name of an HTTP header."
            raise ConfigurationError(message)
        if not (isinstance(value, str) and value.isprintable()):
            message = f"The header {name!r} has a value that cannot be sent: it must be text."
            raise ConfigurationError(message)
        if name.lower() in _RESERVED_HEADERS:
            message = f"The header {name!r} is set by the Client itself: leave it out."
            raise ConfigurationError(message)
    return dict(headers)
