"""Base URLs in any form, and the URLs of all calls (PROTOCOL §6.1)."""

from __future__ import annotations

import re
from typing import Final, Self, get_args
from urllib.parse import quote

import attrs
from yarl import URL

from .._models import ImageHost, Speed
from ..errors import ConfigurationError

_SPEED_SEGMENT: Final = re.compile(
    rf"mj(?:-(?P<speed>{'|'.join(get_args(Speed))}))?(?:-(?P<host>{'|'.join(get_args(ImageHost))}))?"
)
_LOCAL_HOST: Final = re.compile(
    r"(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])(?::\d+)?(?:/|$)", re.IGNORECASE
)
_IMAGE_HOST_SUFFIX: Final = re.compile(
    r"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?(?:/[\w./-]*)?$", re.IGNORECASE
)


@attrs.frozen(kw_only=True)
class ServerUrl:
    """The URL of a server: an origin with its mount path, a speed and an image host."""

    base: str
    """Scheme, host, port and mount path, without a trailing slash."""
    speed: Speed | None = None
    image_host: ImageHost | None = None
    root: str = attrs.field(init=False)
    """Everything before `/submit/…`: `base`, the mode segment, `/mj`."""

    def __attrs_post_init__(self) -> None:
        words = [word for word in ("mj", self.speed, self.image_host) if word]
        mode = "/" + "-".join(words) if len(words) > 1 else ""
        object.__setattr__(self, "root", f"{self.base}{mode}/mj")

    @property
    def prefix(self) -> str:
        """What the speed and the image host put before `/mj`: `/mj-turbo`, or ""."""
        return self.root.removeprefix(self.base).removesuffix("/mj")

    @classmethod
    def parse(
        cls, text: str, speed: Speed | None = None, image_host: ImageHost | None = None
    ) -> Self:
        """Parse a base URL.

        Args:
            text: The URL, with or without a mode and `/mj` at the end (`…/mj-turbo-proxy/mj`).
            speed: The speed; None for the speed in the URL.
            image_host: The image host; None for the image host in the URL.

        Raises:
            ConfigurationError: It is not an http(s) URL, or has a login or a query.
        """
        url = _validate(text)
        mount, mode = _split(url.raw_path.split("/"))
        base = str(url.origin()) + "".join(f"/{segment}" for segment in mount)
        parts = mode.groupdict() if mode else {}
        return cls(
            base=base,
            speed=speed or parts.get("speed"),  # type: ignore[arg-type]  # by the pattern
            image_host=image_host or parts.get("host"),  # type: ignore[arg-type]
        )

    def endpoint(self, path: str) -> URL:
        """Return the URL of a path such as "submit/imagine", percent-encoded."""
        return URL(f"{self.root}/{path}", encoded=True)

    def task_endpoint(self, task_id: str, verb: str) -> URL:
        """Return the URL of `task/<id>/<verb>`, whatever characters the id has."""
        quoted = task_id if task_id.isalnum() and task_id.isascii() else quote(task_id, safe="")
        return self.endpoint(f"task/{quoted}/{verb}")


def _validate(pasted: str) -> URL:
    text, url = _with_scheme(pasted.strip()), URL()
    try:
        url = URL(text)
        has_host = bool(url.host) and not re.search(r"\s", url.host or "")
        is_usable = url.scheme in {"http", "https"} and has_host and url.port is not None
        has_login = url.user is not None or url.password is not None
    except ValueError:
        is_usable = has_login = False
    if has_login:
        message = (
            "The base URL must not contain a user name or password: pass the server's token as "
            "token=, and the login of a proxy in front of the server as headers=, as in "
            "Client(url, token, headers={'Authorization': 'Basic …'})."
        )
        raise ConfigurationError(message)
    if not is_usable:
        raise ConfigurationError(_hint(pasted.strip()))
    if url.raw_query_string:
        message = (
            "The base URL must not contain a query (the part after the question mark). "
            "If that is a key, pass it as headers=, as in Client(url, token, "
            "headers={'Ocp-Apim-Subscription-Key': '…'}), or as token=."
        )
        raise ConfigurationError(message)
    return url


def _with_scheme(pasted: str) -> str:
    """Return a URL with `http://` for local hosts and addresses, which rarely use TLS."""
    return f"http://{pasted}" if _LOCAL_HOST.match(pasted) else pasted


def _hint(pasted: str) -> str:
    if _IMAGE_HOST_SUFFIX.match(pasted):
        return (
            f"{_without_secrets(pasted)} is not a base URL, since http:// or https:// is missing: "
            f"write 'https://{pasted}'."
        )
    return (
        f"{_without_secrets(pasted)} is not a base URL: it should look like "
        "'https://api.example.com', with http:// or https:// in front."
    )


def _without_secrets(pasted: str) -> str:
    """Return a URL without its login, for a message; "This" if it may be a token."""
    host = pasted.rpartition("@")[2]
    return repr(host) if re.search(r"[.:/]", host) else "This"


def _split(segments: list[str]) -> tuple[list[str], re.Match[str] | None]:
    """Return the mount path, which ends before the mode or the last `/mj`, and the mode."""
    mount = [segment for segment in segments if segment]
    if "mj" in mount:
        mount = mount[: len(mount) - 1 - mount[::-1].index("mj")]
    mode = _SPEED_SEGMENT.fullmatch(mount[-1]) if mount else None
    return (mount[:-1] if mode else mount), mode
