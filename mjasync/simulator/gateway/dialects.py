"""How the gateways differ, as a table: a row each, merged with the servers' own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs

from ..replies import Refusal, Reply, json_reply
from .shapes import local_error, openai_error, panic

__all__ = ["GATEWAYS", "Gateway", "Passage", "Resale"]


@attrs.frozen(kw_only=True)
class Auth:
    """How a gateway recognises its users (PROTOCOL §6.2)."""

    headers: tuple[str, ...]
    """Where a token is read from; the first header that holds one decides."""
    placeholder: str = ""
    """A word in the first header that counts as nothing."""
    shortest: int = 0
    """A token with fewer characters, ``sk-`` apart, is invalid."""
    pin: str = ""
    """What stands between a token and the channel that administrators pin with it."""
    error_type: str
    """The ``type`` of its errors."""


@attrs.frozen(kw_only=True)
class Resale:
    """The quirks of a gateway with rows of its own, each with the PROTOCOL section."""

    name: str
    auth: Auth
    modes: frozenset[str] | None
    """First segments it lets through before ``/mj``; None: any (§6.1)."""
    wrong_mode: Reply
    """Answer to any other (§6.1)."""
    filters_accounts: bool
    """Whether ``accountFilter`` is replaced by the path's mode; otherwise deleted (§1.1, §6.1)."""
    strips_flags: bool
    """Whether ``--fast`` and its like are removed from prompts (§6.1)."""
    forwards_images: bool
    """Whether ``imageUrl`` leads to its own ``/mj/image/{id}`` (§3.4)."""
    hides_failures: bool
    """Whether an upstream's HTTP status of 400 or more becomes `do_request_failed` (§7.1)."""
    upload_action: str
    """The action of the row an upload leaves (§1.12)."""
    needs_json_type: bool
    """Whether a body of another Content-Type is taken for an empty one (§7.2)."""
    refused_early: Callable[[str, str], Refusal]
    """Error of a body or a customId that the routing cannot read, with the request id (§5.3)."""
    no_channel: Callable[[str, str], Refusal]
    """Error of a model that nobody sells, with the request id (§1.0 b)."""
    panicked: Callable[[str], Refusal]
    """What a crash looks like (§5.3, §7.1-G)."""
    refresh_every: float = 15.0
    """Simulated seconds between two looks at the upstream (§6.3)."""
    refresh_patience: float = 15.0
    """Simulated seconds each look may take (§6.3)."""
    submit_patience: float = 60.0
    """Simulated seconds the upstream has for a submission (§6.3)."""
    seed_patience: float = 30.0
    """Simulated seconds it has for a seed (§1.15)."""
    longest: float = 3600.0
    """Simulated seconds after which an unfinished task counts as failed (§3.6)."""


@attrs.frozen(kw_only=True)
class Passage:
    """A gateway that passes everything on as it comes, speed and image host by path."""

    name: str
    auth: Auth
    speeds: tuple[str, ...] = ("fast", "turbo", "relax")
    """What ``/mj-{speed}…/mj`` may ask for."""
    image_hosts: tuple[str, ...] = ("relay", "origin", "proxy")
    """What ``/mj…-{image_host}/mj`` may ask for."""
    default_speed: str | None = None
    """Where neither token nor path ask; None: the upstream decides."""
    default_host: str = "origin"
    """Where neither token nor path ask."""
    patience: float = 60.0
    """Simulated seconds the upstream has for any call."""


Gateway: TypeAlias = Resale | Passage


def _new_api_error(message: str, request_id: str) -> Refusal:
    return openai_error(400, f"Invalid request, {message}", "new_api_error", request_id)


def _new_api_no_channel(model: str, request_id: str) -> Refusal:
    message = f"当前分组 default 下对于模型 {model} 无可用渠道"
    return openai_error(503, message, "new_api_error", request_id)


def _new_api_panic(problem: str) -> Refusal:
    message = f"Panic detected, error: {problem}."
    return panic({"message": message, "type": "new_api_panic"})


def _one_hub_error(message: str, request_id: str) -> Refusal:  # noqa: ARG001 - as every row's
    return local_error(message, kind="internal_error")


def _one_hub_no_channel(model: str, request_id: str) -> Refusal:  # noqa: ARG001 - as every row's
    message = f"当前分组 default 下对于模型 {model} 无可用渠道"
    return local_error(message, code=5, kind="internal_error")


def _one_hub_panic(problem: str) -> Refusal:
    description = f"Panic detected, error: {problem}."
    return panic({"description": description, "type": "one_hub_panic", "code": 500})


_NEW_API: Final = Resale(
    name="new-api",
    auth=Auth(
        headers=("Authorization", "mj-api-secret"),
        placeholder="midjourney-proxy",
        pin="-",
        error_type="new_api_error",
    ),
    modes=None,
    wrong_mode=Reply(),
    filters_accounts=False,
    strips_flags=False,
    forwards_images=True,
    hides_failures=False,
    upload_action="UPLOAD",
    needs_json_type=True,
    refused_early=_new_api_error,
    no_channel=_new_api_no_channel,
    panicked=_new_api_panic,
)

_ONE_HUB: Final = Resale(
    name="one-hub",
    auth=Auth(
        headers=("mj-api-secret",), shortest=48, pin="#", error_type="one_hub_error"
    ),  # inferred
    modes=frozenset({"mj-fast", "mj-turbo", "mj-relax"}),
    wrong_mode=json_reply(
        {"description": "无效的加速模式", "type": "one_hub_error", "code": 4}, status=400
    ),
    filters_accounts=True,
    strips_flags=True,
    forwards_images=False,
    hides_failures=True,
    upload_action="",
    needs_json_type=True,
    refused_early=_one_hub_error,
    no_channel=_one_hub_no_channel,
    panicked=_one_hub_panic,
    refresh_patience=5.0,
)

_SEED_GATEWAY: Final = Passage(
    name="seed-gateway",
    auth=Auth(headers=("Authorization", "mj-api-secret"), error_type="gateway_error"),
)

_ROWS: Final[tuple[Gateway, ...]] = (_NEW_API, _ONE_HUB, _SEED_GATEWAY)

GATEWAYS: Final[Mapping[str, Gateway]] = {row.name: row for row in _ROWS}
"""Every gateway by name."""
