"""The gateways that resell the API: they run in front of another server, over real HTTP.

Some keep rows of their own, which they refresh every 15 s or so: `new-api`, today's and that of
2025, `one-hub` and `one-api`. One passes everything through live and chooses speed and image host
by path: `path-gateway`.
"""

from __future__ import annotations

from .gateway_backend import GatewayBackend
from .gateway_dialects import GATEWAYS, GatewayDialect, PassthroughDialect, ResellerDialect
from .upstream import UpstreamSettings
from .users import GatewayAccounts

__all__ = [
    "GATEWAYS",
    "GatewayAccounts",
    "GatewayBackend",
    "GatewayDialect",
    "PassthroughDialect",
    "ResellerDialect",
    "UpstreamSettings",
]
