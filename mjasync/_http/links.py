"""Links of images: their URLs, and whether they may be followed. No I/O."""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final, Literal
from urllib.parse import quote, urljoin

from yarl import URL

from .._text import printable
from ..errors import ConfigurationError, InvalidRequest, LinkRefused

ImageLinks = Literal["any", "public"] | Callable[[str], bool]
"""The image links that may be followed: any, public addresses, or those that a function allows."""
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_ORIGIN: Final = re.compile(r"https?://[!-~]*?(?=[/?#]|$)", re.IGNORECASE)
_UNSAFE_CHARACTERS: Final = re.compile(r"[^!-~]|[\"<>\\^`{|}]")
"""Characters to quote. All others stay as they are, since the link may be signed."""
_IMAGE_BY_ID: Final = re.compile(r"/mj/image/[^/]+$")
"""The path under which gateways serve images by task id (PROTOCOL §1.18)."""


def parse_link(link: str) -> URL:
    """Parse the URL of an image without changing a byte.

    Raises:
        InvalidRequest: It is not an http(s) URL.
    """
    url = URL()
    try:
        if _ORIGIN.match(link):
            quoted = _UNSAFE_CHARACTERS.sub(lambda m: quote(m[0], errors="surrogateescape"), link)
            url = URL(quoted, encoded=True)
        else:
            url = URL(link)  # the host is in another script
        is_usable = url.scheme in {"http", "https"} and url.port is not None
        is_usable = is_usable and bool(url.host) and " " not in str(url.origin())
    except ValueError:
        is_usable = False
    if not is_usable:
        message = f"{printable(link)!r} is not the http(s) address of an image."
        raise InvalidRequest(message)
    return url


def candidate_urls(link: str, base: str) -> tuple[URL, ...]:
    """Return the URLs of an image, the most likely one first.

    A gateway that does not know its own address returns relative links, or links to `localhost` or
    to the name of its container. The image is at the base URL then.

    Args:
        link: The link from the server.
        base: The origin and the mount path of the server.

    Raises:
        InvalidRequest: It is not an http(s) URL.
    """
    link, server = link.strip(), URL(base, encoded=True)
    if not link or not (_SCHEME.match(link) or link.startswith("//")):
        return (parse_link(_at_base(link, base, server)),)
    url = parse_link(f"{server.scheme}:{link}" if link.startswith("//") else link)
    by_id = _IMAGE_BY_ID.search(url.raw_path)
    at_base = URL(f"{base}{by_id[0]}{_query(url)}", encoded=True) if by_id else None
    if _is_loopback(url) and url.host != server.host:
        if at_base is not None:
            return (at_base,)
        if not _is_loopback(server):
            return (parse_link(f"{server.origin()}{url.raw_path}{_query(url)}"),)
    return (url,) if at_base is None or at_base == url else (url, at_base)


def _at_base(link: str, base: str, server: URL) -> str:
    path = link.partition("?")[0]
    if link.startswith("/") and not _IMAGE_BY_ID.match(path):
        return f"{server.origin()}{link}"
    return f"{base}/{link.lstrip('/')}"


def _query(url: URL) -> str:
    return f"?{url.raw_query_string}" if url.raw_query_string else ""


def redirect_url(url: URL, location: str) -> URL:
    """Return the target of a redirect.

    Raises:
        InvalidRequest: It is not an http(s) URL.
    """
    return parse_link(urljoin(str(url), location.strip()))


def check_allowed(url: URL, server: URL, policy: ImageLinks) -> None:
    """Check that an image may be downloaded; the server itself is always allowed.

    Raises:
        LinkRefused: The policy excludes the URL.
    """
    if policy == "any" or url.origin() == server.origin():
        return
    if callable(policy):
        if not policy(str(url)):
            message = f"image_links refuses the link {printable(str(url))!r} of the image."
            raise LinkRefused(message)
    elif _is_loopback(url) or not is_public(url.host or "", allow_names=True):
        raise private_link_error(url)


def private_link_error(url: URL) -> LinkRefused:
    """Return the error for a link that `image_links="public"` excludes."""
    return LinkRefused(
        f"The link of the image leads to a private address ({printable(url.host or '')}), which "
        'image_links="public" refuses.'
    )


def check_policy(policy: Any) -> ImageLinks:  # noqa: ANN401 - to be checked
    """Check the setting `image_links`, and return it.

    Raises:
        ConfigurationError: It is not one of the choices.
    """
    if policy in ("any", "public"):
        return policy  # type: ignore[no-any-return]
    if not callable(policy) or inspect.iscoroutinefunction(policy) or inspect.isclass(policy):
        message = (
            'image_links must be "any", "public" or a function from a link to a boolean, '
            f"not {policy!r}."
        )
        raise ConfigurationError(message)
    return policy  # type: ignore[no-any-return]


def is_public(host: str, *, allow_names: bool = False) -> bool:
    """Return whether a host is on the public internet."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0].strip("[]"))
    except ValueError:
        return allow_names
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and (address in _NAT64 or address in _IPV4_COMPATIBLE):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return address.is_global and not address.is_multicast


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
"""IPv4 addresses in the deprecated form `::127.0.0.1`."""


def _is_loopback(url: URL) -> bool:
    host = (url.host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
