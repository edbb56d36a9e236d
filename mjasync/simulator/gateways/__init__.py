"""The gateways that resell the API: they run in front of another server, over real HTTP.

`new-api`, its version of 2025, `one-hub` and `one-api` keep rows of their own, which they refresh
every 10 to 15 s. `path-gateway` forwards everything and chooses speed and image host by path.
"""

from __future__ import annotations

from .gateway_backend import GatewayBackend
from .gateway_context import GatewayContext
from .gateway_dialects import GATEWAYS, GatewayDialect
from .users import GatewayAccounts

__all__ = [
    "GATEWAYS",
    "GatewayAccounts",
    "GatewayBackend",
    "GatewayContext",
    "GatewayDialect",
]
