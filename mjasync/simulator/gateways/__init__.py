"""The gateways that resell the API: they run in front of another server, over real HTTP.

Some keep rows of their own, which they refresh every 15 s or so: `new-api`, today's and that of
2025, `one-hub` and `one-api`. One passes everything through live and chooses speed and image host
by path: `seed-gateway`.
"""

from __future__ import annotations

from .gateway_backend import GatewayHouse
from .gateway_dialects import GATEWAYS, Gateway, Passage, Resale
from .upstream import Upstream
from .users import Terms

__all__ = ["GATEWAYS", "Gateway", "GatewayHouse", "Passage", "Resale", "Terms", "Upstream"]
