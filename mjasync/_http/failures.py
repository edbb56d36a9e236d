"""The meaning of network errors: how far a request got, without secrets."""

from __future__ import annotations

import errno
from typing import Final

import aiohttp
from yarl import URL

from .._text import printable
from ..errors import (
    ConnectionFailed,
    InvalidRequest,
    MJError,
    ReplyTooLarge,
    RequestTimeout,
    TooManyOpenFiles,
)
from .links import private_link_error
from .redaction import Redactor

_FILE_LIMIT_ERRNOS: Final = frozenset({errno.EMFILE, errno.ENFILE})


class RequestInterrupted(Exception):
    """The request was sent, but its response is incomplete: the outcome is unknown."""

    def __init__(self, reason: str, *, timed_out: bool = False, too_large: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out
        self.too_large = too_large

    def as_read(self) -> MJError:
        """Return the error for a read, which may be repeated."""
        if self.too_large:
            return ReplyTooLarge(f"The answer was not taken in: {self.reason}.")
        if self.timed_out:
            return RequestTimeout(f"No whole answer in time: {self.reason}.")
        return ConnectionFailed(f"The answer was cut off: {self.reason}.")


class PrivateAddress(OSError):
    """A host name has an address that is not public."""


def translate_error(error: BaseException, url: URL, redactor: Redactor) -> BaseException:
    """Return the error for a failed exchange: before or after the connection was made.

    The frames of aiohttp hold the raw request and response, and its messages may quote them: they
    are removed from the error.
    """
    translated = _classify(error, url, redactor)
    strip_tracebacks(error)
    has_secrets = isinstance(error, aiohttp.ClientResponseError)  # it holds all headers
    if translated is not error and not has_secrets:
        is_clean = redactor.clean_text(str(error)) == str(error)
        translated.__cause__ = error if is_clean else None
    return translated


def _classify(error: BaseException, url: URL, redactor: Redactor) -> BaseException:
    reason = printable(redactor.clean_text(_reason(error)))
    match error:
        case aiohttp.InvalidURL() | UnicodeError():
            link = printable(redactor.clean_text(str(url)))
            return InvalidRequest(f"{link!r} is no address that can be asked: {reason}.")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return _connection_failed(error, url, reason)
        case aiohttp.ClientHttpProxyError():
            message = f"The proxy refused the connection to {url.origin()} (HTTP {error.status})."
            return ConnectionFailed(message)
        case aiohttp.ClientResponseError():
            reason = printable(redactor.clean_text(error.message), 200)
            return RequestInterrupted(f"unreadable HTTP ({error.status}): {reason}".rstrip(": "))
        case TimeoutError() | aiohttp.ClientError() if not isinstance(error, MJError):
            return RequestInterrupted(reason, timed_out=isinstance(error, TimeoutError))
    return error


def _connection_failed(error: BaseException, url: URL, reason: str) -> MJError:
    if _find_cause(error, PrivateAddress):
        return private_link_error(url)
    if any(
        cause.errno in _FILE_LIMIT_ERRNOS for cause in _causes(error) if isinstance(cause, OSError)
    ):
        return _too_many_files(url)
    return ConnectionFailed(f"No connection to {url.origin()}: {reason}.")


def _find_cause(error: BaseException, cls: type[BaseException]) -> bool:
    return any(isinstance(cause, cls) for cause in _causes(error))


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _too_many_files(url: URL) -> TooManyOpenFiles:
    limit = open_file_limit()
    owner = "the machine" if limit is None else f"this process ({limit})"
    return TooManyOpenFiles(
        f"No connection to {url.origin()}: all the files and sockets that {owner} may have open "
        "are open."
    )


def open_file_limit() -> int | None:
    """Return how many files and sockets this process may have open; None without a limit."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def strip_tracebacks(error: BaseException) -> BaseException:
    """Return an error without the frames of its causes."""
    for link in _causes(error):
        link.__traceback__ = None
    return error


def _reason(error: BaseException) -> str:
    if isinstance(
        error.__cause__, MJError
    ):  # a file could not be read: aiohttp reports its connection
        return error.__cause__.message.rstrip(".")
    return f"{type(error).__name__}: {error}".rstrip(": .")
