"""How the gateways differ, as a table: a row each, merged with the servers' own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs

from ..responses import SimResponse
from .gateway_responses import typed_response
from .messages import (
    NEW_API,
    NEW_API_2025,
    ONE_API,
    ONE_HUB,
    PATH_GATEWAY,
    GatewayMessages,
    TokenMessages,
)

__all__ = ["GATEWAYS", "Gateway", "GatewayAuth", "PassthroughDialect", "ResellerDialect"]


@attrs.frozen(kw_only=True)
class GatewayAuth:
    """How a gateway recognises its users (PROTOCOL §6.2)."""

    headers: tuple[str, ...]
    """Where a token is read from; the first header that holds one decides."""
    placeholder: str = ""
    """A word in the first header that counts as nothing."""
    min_length: int = 0
    """A token with fewer characters, ``sk-`` apart, is invalid."""
    channel_suffix: str = ""
    """What stands between a token and the channel that administrators pin with it."""
    any_bearer: bool = False
    """Whether ``bearer`` may be written small."""


@attrs.frozen(kw_only=True)
class ResellerDialect:
    """The quirks of a gateway with rows of its own, each with the PROTOCOL section."""

    name: str
    auth: GatewayAuth
    messages: GatewayMessages
    """What it says when it refuses."""
    endpoints: frozenset[str]
    """What it has registered."""
    modes: frozenset[str] | None
    """First segments it lets through before ``/mj``; None: any (§6.1)."""
    wrong_mode: SimResponse = attrs.field(factory=SimResponse)
    """Answer to any other (§6.1)."""
    mode_prefix: str = ""
    """What a first segment must begin with to be routed at all."""
    request_id: str = "X-Oneapi-Request-Id"
    """The header that has the id of the request."""
    echoes_origin: bool = False
    """Whether a browser is told its own origin, headers and method; otherwise ``*``."""
    page_status: int = 200
    """The status of the web page where nothing is registered."""
    open_notices: bool = False
    """Whether an inbound webhook needs no token (§1.18)."""
    shows_refusals: bool = False
    """Whether an upstream's refusal is told in the gateway's own shape, and leaves no row."""
    passes_hooks: bool = False
    """Whether ``notifyHook`` reaches the upstream (§1.1)."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """What every answer of its own carries besides the id of the request."""
    web_roots: tuple[str, ...]
    """Beginnings of paths that are answered with an error where nothing is registered."""
    model_of: Callable[[str, str], str]
    """The model that is sold, by action and speed, both in small letters (§1.0 b)."""
    error_keys: tuple[str, ...]
    """What such an error tells."""
    routes_first: bool
    """Whether a body is read, and a channel chosen, before anything else is looked at."""
    filters_accounts: bool
    """Whether ``accountFilter`` is replaced by the path's mode; otherwise deleted (§1.1, §6.1)."""
    strips_flags: bool
    """Whether ``--fast`` and its like are removed from prompts (§6.1)."""
    forwards_images: bool
    """Whether ``imageUrl`` leads to its own ``/mj/image/{id}`` (§3.4)."""
    hides_failures: bool
    """Whether an upstream's HTTP status of 400 or more becomes `do_request_failed` (§7.1)."""
    has_relax_mode: bool
    """Whether a fast submission that finds no account is tried once more as a relaxed one."""
    is_free: frozenset[str]
    """Actions that cost nothing."""
    seeds_with_secret: bool = True
    """Whether the upstream is shown its secret when it is asked for a seed."""
    passes_seeds: bool = False
    """Whether a seed's answer is HTTP 200 whatever the upstream's was."""
    has_videos: bool = False
    """Whether rows have ``videoUrl`` and ``videoUrls``."""
    checks_links: bool = False
    """Whether a picture's link is looked at before it is followed."""
    refreshes_on_request: bool = False
    """Whether it looks at the upstream at once when it had nothing to look for."""
    refresh_every: float = 15.0
    """Simulated seconds between two looks at the upstream (§6.3)."""
    refresh_patience: float = 15.0
    """Simulated seconds each look may take (§6.3)."""
    submit_patience: float = 60.0
    """Simulated seconds the upstream has for a submission (§6.3)."""
    seed_patience: float = 30.0
    """Simulated seconds it has for a seed (§1.15)."""
    max_task_seconds: float = 3600.0
    """Simulated seconds after which an unfinished task counts as failed (§3.6)."""

    def routes(self, path: str) -> bool:
        """Whether what stands before ``/mj`` is routed at all."""
        first = path.removeprefix("/").partition("/mj/")[0]
        plain = path.startswith("/mj/") and not path.startswith("/mj/mj/")
        return plain or first.startswith(self.mode_prefix)


@attrs.frozen(kw_only=True)
class PassthroughDialect:
    """A gateway that passes everything on as it comes, speed and image host by path."""

    name: str
    auth: GatewayAuth
    messages: TokenMessages
    """What it says when it refuses."""
    error_type: str
    """The ``type`` of its errors."""
    speeds: tuple[str, ...] = ("fast", "turbo", "relax")
    """What ``/mj-{speed}…/mj`` may ask for."""
    image_hosts: tuple[str, ...] = ("relay", "origin", "proxy")
    """What ``/mj…-{image_host}/mj`` may ask for."""
    default_speed: str | None = None
    """Where neither token nor path ask; None: the upstream decides."""
    default_host: str = "origin"
    """Where neither token nor path ask."""
    timeout: float = 60.0
    """Simulated seconds the upstream has for any call."""


Gateway: TypeAlias = ResellerDialect | PassthroughDialect


def _new_api_model(action: str, _: str) -> str:
    return action if action == "swap_face" else f"mj_{action}"


def _one_hub_model(action: str, speed: str) -> str:
    return f"mj_{action}" if speed == "fast" else f"mj_{speed}_{action}"


_READS: Final = frozenset({"fetch", "list-by-condition", "image-seed", "image"})
_SUBMITS: Final = frozenset(
    {
        *("imagine", "blend", "describe", "change", "simple-change", "action", "modal", "shorten"),
        *("upload-discord-images", "swap"),
    }
)
_ANY_HEADER: Final = GatewayAuth(
    headers=("Authorization", "mj-api-secret"), placeholder="midjourney-proxy", channel_suffix="-"
)

_NEW_API: Final = ResellerDialect(
    name="new-api",
    auth=attrs.evolve(_ANY_HEADER, any_bearer=True),
    messages=NEW_API,
    endpoints=_READS | _SUBMITS | {"edits", "video"},
    modes=None,
    headers={"X-New-Api-Version": "v0.0.0"},
    web_roots=("/v1", "/api", "/assets"),
    model_of=_new_api_model,
    error_keys=("message", "type", "param", "code"),
    routes_first=True,
    filters_accounts=False,
    strips_flags=False,
    forwards_images=True,
    hides_failures=False,
    has_relax_mode=False,
    is_free=frozenset({"INPAINT", "CUSTOM_ZOOM"}),
    seeds_with_secret=False,
    passes_seeds=True,
    has_videos=True,
    checks_links=True,
)

_NEW_API_2025: Final = attrs.evolve(
    _NEW_API,
    name="new-api-2025",
    auth=_ANY_HEADER,
    messages=NEW_API_2025,
    endpoints=_READS | _SUBMITS | {"notify"},
    headers={},
    seeds_with_secret=True,
    passes_seeds=False,
    has_videos=False,
    checks_links=False,
)

_ONE_API: Final = attrs.evolve(
    _NEW_API_2025,
    name="one-api",
    messages=ONE_API,
    endpoints=(_READS | _SUBMITS | {"notify"}) - {"upload-discord-images"},
    mode_prefix="mj-",
    request_id="X-Request-Id",
    echoes_origin=True,
    page_status=404,
    web_roots=("/v1", "/api"),
    open_notices=True,
    shows_refusals=True,
    passes_hooks=True,
    refresh_every=10.0,
    refresh_patience=30.0,
)

_ONE_HUB: Final = ResellerDialect(
    name="one-hub",
    auth=GatewayAuth(headers=("mj-api-secret",), min_length=48, channel_suffix="#"),
    messages=ONE_HUB,
    endpoints=_READS | _SUBMITS | {"notify"},
    modes=frozenset({"mj-fast", "mj-turbo", "mj-relax"}),
    wrong_mode=typed_response(
        {"code": 4, "description": "无效的加速模式", "type": "one_hub_error"}, status=400
    ),
    web_roots=("/v1", "/api"),
    model_of=_one_hub_model,
    error_keys=("code", "message", "type"),
    routes_first=False,
    filters_accounts=True,
    strips_flags=True,
    forwards_images=False,
    hides_failures=True,
    has_relax_mode=True,
    is_free=frozenset({"INPAINT", "CUSTOM_ZOOM", "UPLOAD"}),
    refreshes_on_request=True,
    refresh_patience=5.0,
)

_PATH_GATEWAY: Final = PassthroughDialect(
    name="path-gateway",
    auth=GatewayAuth(headers=("Authorization", "mj-api-secret")),
    messages=PATH_GATEWAY,
    error_type="gateway_error",
)

_ROWS: Final[tuple[Gateway, ...]] = (
    *(_NEW_API, _NEW_API_2025, _ONE_HUB, _ONE_API),
    _PATH_GATEWAY,
)

GATEWAYS: Final[Mapping[str, Gateway]] = {row.name: row for row in _ROWS}
"""Every gateway by name."""
