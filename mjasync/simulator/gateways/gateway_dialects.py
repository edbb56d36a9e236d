"""How the gateways differ, as a table: one row for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs

from ..responses import SimResponse
from .gateway_responses import go_json_response
from .gateway_routes import GATEWAY_ENDPOINTS
from .messages import (
    NEW_API_2025_MESSAGES,
    NEW_API_MESSAGES,
    ONE_API_MESSAGES,
    ONE_HUB_MESSAGES,
    PATH_GATEWAY_MESSAGES,
    GatewayMessages,
    TokenMessages,
)


@attrs.frozen(kw_only=True)
class GatewayAuth:
    """How a gateway reads tokens (PROTOCOL §6.2)."""

    headers: tuple[str, ...]
    """Headers a token is read from; the first one that holds a token decides."""
    placeholder: str = ""
    """A value that counts as no token."""
    min_length: int = 0
    """The least number of characters of a token, without its ``sk-``."""
    channel_suffix: str = ""
    """The separator between a token and the channel that an administrator selects."""
    ignores_bearer_case: bool = False
    """Whether ``bearer`` is accepted in any case."""


@attrs.frozen(kw_only=True)
class ResellerDialect:
    """The quirks of a gateway with rows of its own, each with its PROTOCOL section."""

    name: str
    auth: GatewayAuth
    messages: GatewayMessages
    endpoints: frozenset[str]
    """Registered endpoints."""
    allowed_modes: frozenset[str] | None = None
    """First path segments it accepts before ``/mj``; None: any (§6.1)."""
    unknown_mode_response: SimResponse = attrs.field(factory=SimResponse)
    """Response to any other (§6.1)."""
    mode_prefix: str = ""
    """The prefix that a first segment needs to be routed at all."""
    request_id_header: str = "X-Oneapi-Request-Id"
    """The header that has the id of the request."""
    echoes_origin: bool = False
    """Whether CORS headers repeat the origin, headers and method of a browser; otherwise ``*``."""
    web_page_status: int = 200
    """HTTP status of the web page where nothing is registered."""
    has_public_notify: bool = False
    """Whether an inbound webhook needs no token (§1.18)."""
    shows_refusals: bool = False
    """Whether a refusal of the upstream gets the shape of the gateway's own, and no row."""
    forwards_notify_hook: bool = False
    """Whether ``notifyHook`` reaches the upstream (§1.1)."""
    extra_headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers of every response besides the id of the request."""
    error_path_prefixes: tuple[str, ...]
    """Prefixes of paths that get an error where nothing is registered."""
    error_keys: tuple[str, ...]
    """Keys of that error."""
    model_name: Callable[[str, str], str]
    """The model that is sold, by action and speed, both in lower case (§1.0 b)."""
    reads_body_first: bool
    """Whether a body is decoded, and a channel chosen, before anything else is checked."""
    enforces_speed: bool = False
    """Whether the speed of the path replaces ``accountFilter`` and all flags like ``--fast``, and a
    fast submission that finds no account is retried as a relaxed one; otherwise ``accountFilter``
    is deleted (§1.1, §6.1)."""
    proxies_images: bool
    """Whether ``imageUrl`` leads to the gateway's ``/mj/image/{id}`` (§3.4)."""
    hides_upstream_errors: bool = False
    """Whether an upstream's HTTP status of 400 or more becomes `do_request_failed` (§7.1)."""
    free_actions: frozenset[str]
    """Actions that cost nothing."""
    relays_seeds: bool = False
    """Whether a request for a seed is sent without the secret of the upstream, and gets HTTP 200
    whatever the upstream's status is (§1.15)."""
    has_videos: bool = False
    """Whether rows have ``videoUrl`` and ``videoUrls``."""
    checks_image_urls: bool = False
    """Whether the scheme of an image URL is checked before it is fetched."""
    polls_new_tasks_at_once: bool = False
    """Whether the first task of an idle gateway is polled without waiting for the interval."""
    poll_interval: float = 15.0
    """Simulated seconds between two polls of the upstream (§6.3)."""
    poll_timeout: float = 15.0
    """Simulated seconds that a poll may take (§6.3)."""


@attrs.frozen(kw_only=True)
class PassthroughDialect:
    """A gateway that forwards everything as it is, with speed and image host by path."""

    name: str
    auth: GatewayAuth
    messages: TokenMessages


GatewayDialect: TypeAlias = ResellerDialect | PassthroughDialect


def _new_api_model_name(action: str, _: str) -> str:
    return action if action == "swap_face" else f"mj_{action}"


def _one_hub_model_name(action: str, speed: str) -> str:
    return f"mj_{action}" if speed == "fast" else f"mj_{speed}_{action}"


_ENDPOINTS_2025: Final = GATEWAY_ENDPOINTS - {"edits", "video"}
_NEW_API_2025_AUTH: Final = GatewayAuth(
    headers=("Authorization", "mj-api-secret"), placeholder="midjourney-proxy", channel_suffix="-"
)
_NEW_API: Final = ResellerDialect(
    name="new-api",
    auth=attrs.evolve(_NEW_API_2025_AUTH, ignores_bearer_case=True),
    messages=NEW_API_MESSAGES,
    endpoints=GATEWAY_ENDPOINTS - {"notify"},
    extra_headers={"X-New-Api-Version": "v0.0.0"},
    error_path_prefixes=("/v1", "/api", "/assets"),
    model_name=_new_api_model_name,
    error_keys=("message", "type", "param", "code"),
    reads_body_first=True,
    proxies_images=True,
    free_actions=frozenset({"INPAINT", "CUSTOM_ZOOM"}),
    relays_seeds=True,
    has_videos=True,
    checks_image_urls=True,
)
_NEW_API_2025: Final = attrs.evolve(
    _NEW_API,
    name="new-api-2025",
    auth=_NEW_API_2025_AUTH,
    messages=NEW_API_2025_MESSAGES,
    endpoints=_ENDPOINTS_2025,
    extra_headers={},
    relays_seeds=False,
    has_videos=False,
    checks_image_urls=False,
)
_ONE_API: Final = attrs.evolve(
    _NEW_API_2025,
    name="one-api",
    messages=ONE_API_MESSAGES,
    endpoints=_ENDPOINTS_2025 - {"upload-discord-images"},
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
    endpoints=_ENDPOINTS_2025,
    allowed_modes=frozenset({"mj-fast", "mj-turbo", "mj-relax"}),
    unknown_mode_response=go_json_response(
        {"code": 4, "description": "无效的加速模式", "type": "one_hub_error"}, status=400
    ),
    error_path_prefixes=("/v1", "/api"),
    model_name=_one_hub_model_name,
    error_keys=("code", "message", "type"),
    reads_body_first=False,
    enforces_speed=True,
    proxies_images=False,
    hides_upstream_errors=True,
    free_actions=frozenset({"INPAINT", "CUSTOM_ZOOM", "UPLOAD"}),
    polls_new_tasks_at_once=True,
    poll_timeout=5.0,
)
_PATH_GATEWAY: Final = PassthroughDialect(
    name="path-gateway",
    auth=GatewayAuth(headers=("Authorization", "mj-api-secret")),
    messages=PATH_GATEWAY_MESSAGES,
)
GATEWAYS: Final[Mapping[str, GatewayDialect]] = {
    row.name: row for row in (_NEW_API, _NEW_API_2025, _ONE_HUB, _ONE_API, _PATH_GATEWAY)
}
"""Every gateway by name."""
