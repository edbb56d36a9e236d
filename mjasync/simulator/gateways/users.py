"""Who comes in: tokens as gateways read them, and what each user may (PROTOCOL §6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .gateway_dialects import GatewayAuth
    from .messages import RequestContext, TokenMessages

__all__ = ["GatewayAccounts", "UserRegistry"]


@attrs.define(kw_only=True)
class GatewayAccounts:
    """What the users of a gateway are told and sold."""

    token: str | None
    tokens: tuple[str, ...] = ()
    """More tokens; each is a user."""
    spent_tokens: tuple[str, ...] = ()
    """Tokens whose money is used up."""
    token_modes: Mapping[str, tuple[str | None, str | None]] = attrs.field(factory=dict)
    """The speed and the image host a token is bound to."""
    quota: int | None = None
    """How many submissions can still be paid for; None: any number."""
    public_url: str | None = None
    """The address its links begin with; None: where it listens."""

    @property
    def has_gateway_options(self) -> bool:
        """Whether anything is said here that other servers know nothing of."""
        return (
            bool(self.tokens or self.spent_tokens or self.token_modes)
            or self.quota is not None
            or self.public_url is not None
        )


class UserRegistry:
    """Recognises users by their tokens; without a token of its own, everybody is welcome."""

    def __init__(
        self, auth: GatewayAuth, messages: TokenMessages, accounts: GatewayAccounts
    ) -> None:
        self._auth, self._messages = auth, messages
        own_token = [accounts.token] if accounts.token is not None else []
        valid_tokens = [*own_token, *accounts.tokens, *accounts.token_modes]
        spent_tokens = [self._strip_prefix(token) for token in accounts.spent_tokens]
        if too_short := [
            token for token in valid_tokens if len(self._strip_prefix(token)) < auth.min_length
        ]:
            least = auth.min_length
            message = (
                f"{len(too_short)} of the tokens: fewer than {least} characters are never valid"
            )
            raise ValueError(message)
        self._users = (
            None if accounts.token is None else frozenset(map(self._strip_prefix, valid_tokens))
        )
        self._spent_tokens = dict.fromkeys(spent_tokens, False)
        self._modes_by_token = {
            self._strip_prefix(token): modes for token, modes in accounts.token_modes.items()
        }

    def authenticate(self, headers: Mapping[str, str], context: RequestContext) -> str:
        """Who sent a request: the bare token.

        Raises:
            Refusal: A token is missing, wrong or spent.
        """
        token = self._read_token(headers)
        if token in self._spent_tokens:
            was_reported, self._spent_tokens[token] = self._spent_tokens[token], True
            raise self._messages.spent_token(token, context, is_repeated=was_reported)
        if self._users is None or token in self._users:
            return token
        separator = self._auth.channel_suffix
        if (
            separator
            and {token.partition(separator)[0], token.rpartition(separator)[0]} & self._users
        ):
            raise self._messages.channel_forbidden(context)
        raise (
            self._messages.invalid_token(context)
            if token
            else self._messages.missing_token(context)
        )

    def get_modes(self, user: str) -> tuple[str | None, str | None]:
        """The speed and the image host a user is bound to."""
        return self._modes_by_token.get(user, (None, None))

    def _read_token(self, headers: Mapping[str, str]) -> str:
        candidates = (self._strip_prefix(headers.get(name, "")) for name in self._auth.headers)
        return next(
            (token for token in candidates if token not in {"", self._auth.placeholder}), ""
        )

    def _strip_prefix(self, token: str) -> str:
        scheme = token[:7].capitalize() if self._auth.ignores_bearer_case else token[:7]
        return (token[7:].strip() if scheme == "Bearer " else token).removeprefix("sk-")
