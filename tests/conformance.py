"""Play every story on every server, and write docs/conformance.md: `nox -s conformance`."""

from __future__ import annotations

import asyncio
import sys

from support.conformance_page import PAGE, page, play_all

if __name__ == "__main__":
    PAGE.write_text(page(asyncio.run(play_all())), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
