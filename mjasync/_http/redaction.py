r"""Redaction: secrets in responses are replaced by `***` before any other code reads them.

Some servers repeat the token in refusals, links, ids or headers, plain or escaped: `\/` and
`\u002b` in JSON, `%2B` in links, `&#43;` in web pages.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from multidict import CIMultiDict, CIMultiDictProxy

MASK: Final = "***"
_ESCAPED_IN_JSON: Final = frozenset('"\\/')
"""Characters that a backslash may escape, and the backslash."""
_PERCENT_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_MIN_SECRET_LENGTH: Final = 6
"""The length from which a token is replaced: a shorter one may be in a response by chance."""
_MIN_UNAMBIGUOUS_LENGTH: Final = 16
"""The length from which a secret is replaced inside other words, too."""
_MAX_UNQUOTED_SIZE: Final = 1 << 18
"""The maximum size of a body that is unquoted as a whole."""


class Redactor:
    """Replaces secrets in responses, in all forms of escaping."""

    def __init__(self, secrets: Iterable[str]) -> None:
        distinct = dict.fromkeys(secret for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH)
        self._token = next(iter(distinct), "")
        longest_first = sorted(distinct, key=len, reverse=True)
        self._secrets = tuple(longest_first)
        self._raw = tuple(secret.encode("utf-8", "surrogatepass") for secret in longest_first)
        self._escape = _escape_of("".join(distinct))

    def clean(self, data: bytes) -> bytes:
        """Return a body without secrets; the same object if it has none."""
        return self._pattern.sub(MASK.encode(), data) if self._may_contain(data) else data

    def _may_contain(self, data: bytes) -> bool:
        """Return whether a body may contain a secret, by cheap searches for single bytes."""
        for raw in self._raw:
            if raw in data:
                return True
        if not self._raw:
            return False
        is_escaped = b"\\" in data and self._escape in data
        is_page = b"&" in data and (b"<" in data or b"#" in data)
        is_quoted = b"%" in data and self._is_quoted_in(data)
        return (is_escaped or is_page or is_quoted) and self._pattern.search(data) is not None

    def _is_quoted_in(self, data: bytes) -> bool:
        """Return whether a percent-encoded secret may be in a body."""
        if _PERCENT_ESCAPE.search(data) is None:
            return False
        if len(data) > _MAX_UNQUOTED_SIZE:  # unquoting needs 70 times the size
            return True
        plain = unquote_to_bytes(data)
        return b"%25" in data or any(raw in plain for raw in self._raw)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(map(_pattern_of, self._secrets)))

    def clean_text(self, text: str) -> str:
        """Return a text without secrets."""
        data = text.encode("utf-8", "surrogatepass")
        clean = self.clean(data)
        return text if clean is data else clean.decode("utf-8", "surrogatepass")

    def clean_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return headers without secrets."""
        if not self._raw:
            return headers
        pairs = ((self.clean_text(name), self.clean_text(value)) for name, value in headers.items())
        return CIMultiDictProxy(CIMultiDict(pairs))

    def restore(self, link: str) -> str:
        """Return a link as the server sent it, with a token for its own origin."""
        return link.replace(MASK, quote(self._token, safe="")) if self._token else link


def secrets_in(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets in request headers: the values and their parts."""
    for value in headers.values():
        scheme, _, credentials = value.rpartition(" ")
        yield credentials
        if scheme:
            yield value
        if scheme.lower() == "basic":
            yield from _login_in(credentials)


def _login_in(credentials: str) -> Iterator[str]:
    try:
        login = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    yield login
    yield login.partition(":")[2]


def _pattern_of(secret: str) -> bytes:
    pattern = b"".join(map(_encodings_of, secret))
    if len(secret) >= _MIN_UNAMBIGUOUS_LENGTH:
        return pattern
    # a password such as "123456" or "midjourney" is also a part of ids and host names
    return rb"(?<![\w.-])" + pattern + rb"(?![\w-]|\.\w)"


def _escape_of(chars: str) -> bytes:
    """Return a pattern for the start of any of these characters when escaped in JSON."""
    if not _ESCAPED_IN_JSON.isdisjoint(chars):
        return b"\\"
    return b"\\u00" if chars.isascii() else b"\\u"


def _encodings_of(char: str) -> bytes:
    r"""Return a pattern for one character: raw, `%2B`, `\u002b`, `\+`, `&#43;`, `&#x2b;`, `&amp;`.

    The number of backslashes has a limit: JSON may be nested in JSON, and a long run of backslashes
    must not take quadratic time.
    """
    raw = char.encode("utf-8", "surrogatepass")
    utf_16 = char.encode("utf-16-be", "surrogatepass")
    units = [utf_16[start : start + 2].hex() for start in range(0, len(utf_16), 2)]
    forms = [
        re.escape(raw),
        b"".join(b"%%(?:25)?%s" % _case_insensitive(f"{byte:02x}") for byte in raw),
        b"".join(rb"\\{1,4}u%s" % _case_insensitive(unit) for unit in units),
        b"&#%d;" % ord(char),
        b"&#[xX]0*%s;" % _case_insensitive(f"{ord(char):x}"),
    ]
    if char in _ESCAPED_IN_JSON:
        forms.append(rb"\\{1,4}" + re.escape(raw))
    named = html.escape(char)
    if named != char:
        forms.append(named.encode())
    return b"(?:" + b"|".join(forms) + b")"


def _case_insensitive(digits: str) -> bytes:
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits).encode()
