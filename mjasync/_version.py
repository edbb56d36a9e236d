"""What this version is called."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
"""As pyproject.toml has it: to look it up in the metadata takes longer than a request."""
USER_AGENT: Final = f"mjasync/{VERSION}"
