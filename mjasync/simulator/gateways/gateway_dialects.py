"""How the gateways differ, as a table: a row each, merged with the servers' own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs

from ..responses import Reply
from .gateway_responses import typed
from .messages import NEW_API, NEW_API_2025, ONE_API, ONE_HUB, SEED_GATEWAY, TokenWords, Words

__all__ = ["GATEWAYS", "Auth", "Gateway", "Passage", "Resale"]


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
    any_bearer: bool = False
    """Whether ``bearer`` may be written small."""


@attrs.frozen(kw_only=True)
class Resale:
    """The quirks of a gateway with rows of its own, each with the PROTOCOL section."""

    name: str
    auth: Auth
    words: Words
    """What it says when it refuses."""
    endpoints: frozenset[str]
    """What it has registered."""
    modes: frozenset[str] | None
    """First segments it lets through before ``/mj``; None: any (§6.1)."""
    wrong_mode: Reply = attrs.field(factory=Reply)
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
    tells_refusals: bool = False
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
    relaxes: bool
    """Whether a fast submission that finds no account is tried once more as a relaxed one."""
    free: frozenset[str]
    """Actions that cost nothing."""
    seeds_with_secret: bool = True
    """Whether the upstream is shown its secret when it is asked for a seed."""
    seeds_are_fine: bool = False
    """Whether a seed's answer is HTTP 200 whatever the upstream's was."""
    has_videos: bool = False
    """Whether rows have ``videoUrl`` and ``videoUrls``."""
    checks_links: bool = False
    """Whether a picture's link is looked at before it is followed."""
    wakes_up: bool = False
    """Whether it looks at the upstream at once when it had nothing to look for."""
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

    def routes(self, path: str) -> bool:
        """Whether what stands before ``/mj`` is routed at all."""
        first = path.removeprefix("/").partition("/mj/")[0]
        plain = path.startswith("/mj/") and not path.startswith("/mj/mj/")
        return plain or first.startswith(self.mode_prefix)


@attrs.frozen(kw_only=True)
class Passage:
    """A gateway that passes everything on as it comes, speed and image host by path."""

    name: str
    auth: Auth
    words: TokenWords
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
    patience: float = 60.0
    """Simulated seconds the upstream has for any call."""


Gateway: TypeAlias = Resale | Passage


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
_ANY_HEADER: Final = Auth(
    headers=("Authorization", "mj-api-secret"), placeholder="midjourney-proxy", pin="-"
)

_NEW_API: Final = Resale(
    name="new-api",
    auth=attrs.evolve(_ANY_HEADER, any_bearer=True),
    words=NEW_API,
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
    relaxes=False,
    free=frozenset({"INPAINT", "CUSTOM_ZOOM"}),
    seeds_with_secret=False,
    seeds_are_fine=True,
    has_videos=True,
    checks_links=True,
)

_NEW_API_2025: Final = attrs.evolve(
    _NEW_API,
    name="new-api-2025",
    auth=_ANY_HEADER,
    words=NEW_API_2025,
    endpoints=_READS | _SUBMITS | {"notify"},
    headers={},
    seeds_with_secret=True,
    seeds_are_fine=False,
    has_videos=False,
    checks_links=False,
)

_ONE_API: Final = attrs.evolve(
    _NEW_API_2025,
    name="one-api",
    words=ONE_API,
    endpoints=(_READS | _SUBMITS | {"notify"}) - {"upload-discord-images"},
    mode_prefix="mj-",
    request_id="X-Request-Id",
    echoes_origin=True,
    page_status=404,
    web_roots=("/v1", "/api"),
    open_notices=True,
    tells_refusals=True,
    passes_hooks=True,
    refresh_every=10.0,
    refresh_patience=30.0,
)

_ONE_HUB: Final = Resale(
    name="one-hub",
    auth=Auth(headers=("mj-api-secret",), shortest=48, pin="#"),
    words=ONE_HUB,
    endpoints=_READS | _SUBMITS | {"notify"},
    modes=frozenset({"mj-fast", "mj-turbo", "mj-relax"}),
    wrong_mode=typed(
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
    relaxes=True,
    free=frozenset({"INPAINT", "CUSTOM_ZOOM", "UPLOAD"}),
    wakes_up=True,
    refresh_patience=5.0,
)

_SEED_GATEWAY: Final = Passage(
    name="seed-gateway",
    auth=Auth(headers=("Authorization", "mj-api-secret")),
    words=SEED_GATEWAY,
    error_type="gateway_error",
)

_ROWS: Final[tuple[Gateway, ...]] = (
    *(_NEW_API, _NEW_API_2025, _ONE_HUB, _ONE_API),
    _SEED_GATEWAY,
)

GATEWAYS: Final[Mapping[str, Gateway]] = {row.name: row for row in _ROWS}
"""Every gateway by name."""
