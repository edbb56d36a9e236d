"""Who comes in: tokens as gateways read them, and what each user may (PROTOCOL §6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from .shapes import openai_error

if TYPE_CHECKING:
    from .dialects import Auth

__all__ = ["Passport", "Terms"]


@attrs.define(kw_only=True)
class Terms:
    """What the users of a gateway are told and sold."""

    token: str | None
    tokens: tuple[str, ...] = ()
    """More tokens; each is a user."""
    token_modes: Mapping[str, tuple[str | None, str | None]] = attrs.field(factory=dict)
    """The speed and the image host a token is bound to."""
    quota: int | None = None
    """How many submissions can still be paid for; None: any number."""

    @property
    def only_for_gateways(self) -> bool:
        """Whether anything is said here that other servers know nothing of."""
        return bool(self.tokens or self.token_modes) or self.quota is not None


def _bare(token: str) -> str:
    return token.removeprefix("Bearer ").removeprefix("sk-")


class Passport:
    """Recognises users by their tokens; without a token of its own, everybody is welcome."""

    def __init__(self, auth: Auth, terms: Terms) -> None:
        given = [terms.token] if terms.token is not None else []
        known = [*given, *terms.tokens, *terms.token_modes]
        if short := [token for token in known if len(_bare(token)) < auth.shortest]:
            raise ValueError(
                f"{len(short)} of the tokens: fewer than {auth.shortest} characters are never valid"
            )
        self._auth = auth
        self._known = None if terms.token is None else frozenset(map(_bare, known))
        self._modes = {_bare(token): modes for token, modes in terms.token_modes.items()}

    def user(self, headers: Mapping[str, str], request_id: str) -> str:
        """Who sent a request: the bare token.

        Raises:
            Refusal: A token is missing or wrong.
        """
        token = self._token(headers)
        if self._known is None or token in self._known:
            return token
        if self._auth.pin and token.rpartition(self._auth.pin)[0] in self._known:
            raise openai_error(403, "普通用户不支持指定渠道", self._auth.error_type, request_id)
        raise openai_error(401, "无效的令牌", self._auth.error_type, request_id)

    def modes(self, user: str) -> tuple[str | None, str | None]:
        """The speed and the image host a user is bound to."""
        return self._modes.get(user, (None, None))

    def _token(self, headers: Mapping[str, str]) -> str:
        read = (_bare(headers.get(name, "")) for name in self._auth.headers)
        return next((token for token in read if token not in {"", self._auth.placeholder}), "")
