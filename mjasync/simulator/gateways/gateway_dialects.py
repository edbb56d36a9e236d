"""How the gateways differ, as a table: a row each, merged with the servers' own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs

from ..responses import SimResponse
from .gateway_responses import typed_response
from .messages import (
    NEW_API_2025_MESSAGES,
    NEW_API_MESSAGES,
    ONE_API_MESSAGES,
    ONE_HUB_MESSAGES,
    PATH_GATEWAY,
    GatewayMessages,
    TokenMessages,
)

__all__ = ["GATEWAYS", "GatewayAuth", "GatewayDialect", "PassthroughDialect", "ResellerDialect"]


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
    ignores_bearer_case: bool = False
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
    allowed_modes: frozenset[str] | None
    """First segments it lets through before ``/mj``; None: any (§6.1)."""
    unknown_mode_response: SimResponse = attrs.field(factory=SimResponse)
    """Answer to any other (§6.1)."""
    mode_prefix: str = ""
    """What a first segment must begin with to be routed at all."""
    request_id_header: str = "X-Oneapi-Request-Id"
    """The header that has the id of the request."""
    echoes_origin: bool = False
    """Whether a browser is told its own origin, headers and method; otherwise ``*``."""
    web_page_status: int = 200
    """The status of the web page where nothing is registered."""
    has_public_notify: bool = False
    """Whether an inbound webhook needs no token (§1.18)."""
    shows_refusals: bool = False
    """Whether an upstream's refusal is told in the gateway's own shape, and leaves no row."""
    forwards_notify_hook: bool = False
    """Whether ``notifyHook`` reaches the upstream (§1.1)."""
    extra_headers: Mapping[str, str] = attrs.field(factory=dict)
    """What every answer of its own carries besides the id of the request."""
    error_path_prefixes: tuple[str, ...]
    """Beginnings of paths that are answered with an error where nothing is registered."""
    model_name: Callable[[str, str], str]
    """The model that is sold, by action and speed, both in small letters (§1.0 b)."""
    error_keys: tuple[str, ...]
    """What such an error tells."""
    reads_body_first: bool
    """Whether a body is read, and a channel chosen, before anything else is looked at."""
    sets_account_filter: bool
    """Whether ``accountFilter`` is replaced by the path's mode; otherwise deleted (§1.1, §6.1)."""
    strips_speed_flags: bool
    """Whether ``--fast`` and its like are removed from prompts (§6.1)."""
    proxies_images: bool
    """Whether ``imageUrl`` leads to its own ``/mj/image/{id}`` (§3.4)."""
    hides_upstream_errors: bool
    """Whether an upstream's HTTP status of 400 or more becomes `do_request_failed` (§7.1)."""
    has_relax_mode: bool
    """Whether a fast submission that finds no account is tried once more as a relaxed one."""
    free_actions: frozenset[str]
    """Actions that cost nothing."""
    sends_secret_for_seed: bool = True
    """Whether the upstream is shown its secret when it is asked for a seed."""
    passes_seeds: bool = False
    """Whether a seed's answer is HTTP 200 whatever the upstream's was."""
    has_videos: bool = False
    """Whether rows have ``videoUrl`` and ``videoUrls``."""
    checks_image_urls: bool = False
    """Whether a picture's link is looked at before it is followed."""
    refreshes_on_request: bool = False
    """Whether it looks at the upstream at once when it had nothing to look for."""
    poll_interval: float = 15.0
    """Simulated seconds between two looks at the upstream (§6.3)."""
    poll_timeout: float = 15.0
    """Simulated seconds each look may take (§6.3)."""
    submit_timeout: float = 60.0
    """Simulated seconds the upstream has for a submission (§6.3)."""
    seed_timeout: float = 30.0
    """Simulated seconds it has for a seed (§1.15)."""
    max_task_seconds: float = 3600.0
    """Simulated seconds after which an unfinished task counts as failed (§3.6)."""

    def is_routed(self, path: str) -> bool:
        """Whether what stands before ``/mj`` is routed at all."""
        prefix = path.removeprefix("/").partition("/mj/")[0]
        is_unprefixed = path.startswith("/mj/") and not path.startswith("/mj/mj/")
        return is_unprefixed or prefix.startswith(self.mode_prefix)


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
    default_image_host: str = "origin"
    """Where neither token nor path ask."""
    timeout: float = 60.0
    """Simulated seconds the upstream has for any call."""


GatewayDialect: TypeAlias = ResellerDialect | PassthroughDialect


def _new_api_model_name(action: str, _: str) -> str:
    return action if action == "swap_face" else f"mj_{action}"


def _one_hub_model_name(action: str, speed: str) -> str:
    return f"mj_{action}" if speed == "fast" else f"mj_{speed}_{action}"


_READ_ENDPOINTS: Final = frozenset({"fetch", "list-by-condition", "image-seed", "image"})
_SUBMIT_ENDPOINTS: Final = frozenset(
    {
        *("imagine", "blend", "describe", "change", "simple-change", "action", "modal", "shorten"),
        *("upload-discord-images", "swap"),
    }
)
_NEW_API_2025_AUTH: Final = GatewayAuth(
    headers=("Authorization", "mj-api-secret"), placeholder="midjourney-proxy", channel_suffix="-"
)

_NEW_API: Final = ResellerDialect(
    name="new-api",
    auth=attrs.evolve(_NEW_API_2025_AUTH, ignores_bearer_case=True),
    messages=NEW_API_MESSAGES,
    endpoints=_READ_ENDPOINTS | _SUBMIT_ENDPOINTS | {"edits", "video"},
    allowed_modes=None,
    extra_headers={"X-New-Api-Version": "v0.0.0"},
    error_path_prefixes=("/v1", "/api", "/assets"),
    model_name=_new_api_model_name,
    error_keys=("message", "type", "param", "code"),
    reads_body_first=True,
    sets_account_filter=False,
    strips_speed_flags=False,
    proxies_images=True,
    hides_upstream_errors=False,
    has_relax_mode=False,
    free_actions=frozenset({"INPAINT", "CUSTOM_ZOOM"}),
    sends_secret_for_seed=False,
    passes_seeds=True,
    has_videos=True,
    checks_image_urls=True,
)

_NEW_API_2025: Final = attrs.evolve(
    _NEW_API,
    name="new-api-2025",
    auth=_NEW_API_2025_AUTH,
    messages=NEW_API_2025_MESSAGES,
    endpoints=_READ_ENDPOINTS | _SUBMIT_ENDPOINTS | {"notify"},
    extra_headers={},
    sends_secret_for_seed=True,
    passes_seeds=False,
    has_videos=False,
    checks_image_urls=False,
)

_ONE_API: Final = attrs.evolve(
    _NEW_API_2025,
    name="one-api",
    messages=ONE_API_MESSAGES,
    endpoints=(_READ_ENDPOINTS | _SUBMIT_ENDPOINTS | {"notify"}) - {"upload-discord-images"},
    mode_prefix="mj-",
    request_id_header="X-Request-Id",
    echoes_origin=True,
    web_page_status=404,
    error_path_prefixes=("/v1", "/api"),
    has_public_notify=True,
    shows_refusals=True,
    forwards_notify_hook=True,
    poll_interval=10.0,
    poll_timeout=30.0,
)

_ONE_HUB: Final = ResellerDialect(
    name="one-hub",
    auth=GatewayAuth(headers=("mj-api-secret",), min_length=48, channel_suffix="#"),
    messages=ONE_HUB_MESSAGES,
    endpoints=_READ_ENDPOINTS | _SUBMIT_ENDPOINTS | {"notify"},
    allowed_modes=frozenset({"mj-fast", "mj-turbo", "mj-relax"}),
    unknown_mode_response=typed_response(
        {"code": 4, "description": "无效的加速模式", "type": "one_hub_error"}, status=400
    ),
    error_path_prefixes=("/v1", "/api"),
    model_name=_one_hub_model_name,
    error_keys=("code", "message", "type"),
    reads_body_first=False,
    sets_account_filter=True,
    strips_speed_flags=True,
    proxies_images=False,
    hides_upstream_errors=True,
    has_relax_mode=True,
    free_actions=frozenset({"INPAINT", "CUSTOM_ZOOM", "UPLOAD"}),
    refreshes_on_request=True,
    poll_timeout=5.0,
)

_PATH_GATEWAY: Final = PassthroughDialect(
    name="path-gateway",
    auth=GatewayAuth(headers=("Authorization", "mj-api-secret")),
    messages=PATH_GATEWAY,
    error_type="gateway_error",
)

_ALL_GATEWAYS: Final[tuple[GatewayDialect, ...]] = (
    *(_NEW_API, _NEW_API_2025, _ONE_HUB, _ONE_API),
    _PATH_GATEWAY,
)

GATEWAYS: Final[Mapping[str, GatewayDialect]] = {row.name: row for row in _ALL_GATEWAYS}
"""Every gateway by name."""
