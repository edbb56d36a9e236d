"""The users of a gateway: their tokens, modes and quota (PROTOCOL §6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .gateway_dialects import GatewayAuth
    from .messages import RequestContext, TokenMessages


@attrs.define(kw_only=True)
class GatewayAccounts:
    """The options of a gateway that other servers do not have, and its token."""

    token: str | None
    tokens: tuple[str, ...] = ()
    """More tokens; each is a user."""
    spent_tokens: tuple[str, ...] = ()
    """Tokens whose quota is used up."""
    token_modes: Mapping[str, tuple[str | None, str | None]] = attrs.field(factory=dict)
    """The speed and the image host that a token is bound to."""
    quota: int | None = None
    """The number of submissions that can still be paid; None: unlimited."""
    public_url: str | None = None
    """The start of image links; None: the address the gateway listens at."""

    @property
    def has_gateway_options(self) -> bool:
        """Whether any option besides the token is set."""
        return self != GatewayAccounts(token=self.token)

    @property
    def is_quota_exhausted(self) -> bool:
        """Whether no more submissions can be paid."""
        return self.quota is not None and self.quota <= 0

    def charge(self) -> None:
        """Take one submission off the quota."""
        if self.quota is not None:
            self.quota -= 1


class UserRegistry:
    """Authenticates requests; a gateway without a token of its own accepts everybody.

    Args:
        auth: Where tokens are read from.
        messages: The refusals.
        accounts: The tokens.

    Raises:
        ValueError: A token is too short to be accepted.
    """

    def __init__(
        self, auth: GatewayAuth, messages: TokenMessages, accounts: GatewayAccounts
    ) -> None:
        self._auth, self._messages = auth, messages
        own_tokens = () if accounts.token is None else (accounts.token,)
        valid_tokens = (*own_tokens, *accounts.tokens, *accounts.token_modes)
        users = [self._strip_prefix(token) for token in valid_tokens]
        if too_short := [user for user in users if len(user) < auth.min_length]:
            raise ValueError(
                f"{len(too_short)} of the tokens: fewer than {auth.min_length} characters are "
                "never valid"
            )
        self._users = None if accounts.token is None else frozenset(users)
        self._spent_tokens = {self._strip_prefix(token) for token in accounts.spent_tokens}
        self._refused_spent_tokens: set[str] = set()
        self._modes_by_user = {
            self._strip_prefix(token): modes for token, modes in accounts.token_modes.items()
        }

    def authenticate(self, headers: Mapping[str, str], context: RequestContext) -> str:
        """Return the user of a request: the token without its prefix.

        Raises:
            RequestRefused: The token is missing, unknown or spent.
        """
        token = self._read_token(headers)
        if token in self._spent_tokens:
            is_repeated = token in self._refused_spent_tokens
            self._refused_spent_tokens.add(token)
            messages = self._messages
            message = messages.repeated_spent_token if is_repeated else messages.spent_token
            raise message.refuse(context, masked_token=f"sk-{token[:3]}***{token[-3:]}")
        if self._users is None or token in self._users:
            return token
        separator = self._auth.channel_suffix
        if separator and not self._users.isdisjoint(
            {token.partition(separator)[0], token.rpartition(separator)[0]}
        ):
            raise self._messages.channel_forbidden.refuse(context)
        message = self._messages.invalid_token if token else self._messages.missing_token
        raise message.refuse(context)

    def get_modes(self, user: str) -> tuple[str | None, str | None]:
        """Return the speed and the image host that a user is bound to."""
        return self._modes_by_user.get(user, (None, None))

    def _read_token(self, headers: Mapping[str, str]) -> str:
        values = (headers.get(name, "").strip() for name in self._auth.headers)
        candidates = map(self._strip_prefix, values)
        return next(
            (token for token in candidates if token not in {"", self._auth.placeholder}), ""
        )

    def _strip_prefix(self, token: str) -> str:
        scheme = token[:7].capitalize() if self._auth.ignores_bearer_case else token[:7]
        return (token[7:].strip() if scheme == "Bearer " else token).removeprefix("sk-")
