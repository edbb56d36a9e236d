"""The gallery of a batch: one page that needs only the folder it is in."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import threading
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from ..._text import printable
from .._atomic_write import write_atomically
from .._jobs import Job
from .._ledger.open import read_batch
from .._steps import split_steps
from .thumbnails import Thumbnails

_PAGE_NAME: Final = "index.html"
_MAX_TEXT_LENGTH: Final = 2_000
"""Characters of a server's text on the page."""
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; img-src 'self' file: data:; media-src 'self' file:; "
    "style-src '{style}'; script-src '{script}'; base-uri 'none'; form-action 'none'"
)
_HTML_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}
"""Characters that could end the block of the data."""


async def write_gallery(folder: str | os.PathLike[str], *, ledger: str | None = None) -> Path:
    """Write the gallery of a batch, even while it is running; return the path of its page.

    Args:
        folder: The folder of the batch.
        ledger: The URL of its ledger, if that is not in the folder.

    Raises:
        ConfigurationError: There is no batch.
        OSError: The page or a thumbnail cannot be written.
    """
    jobs = await read_batch(folder, ledger=ledger)
    await GalleryPage(Path(folder)).write(jobs, running=False)
    return Path(folder) / _PAGE_NAME


class GalleryPage:
    """The page `index.html` of a folder, and its thumbnails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thumbnails = Thumbnails(folder)
        self._lock = threading.Lock()

    async def write(self, jobs: Sequence[Job], *, running: bool) -> None:
        """Replace the page atomically. A picture that cannot be read has a placeholder.

        Args:
            jobs: All jobs of the batch.
            running: Whether an open page reloads itself.

        Raises:
            OSError: The page or a thumbnail cannot be written.
        """
        await asyncio.to_thread(self._write, jobs, running=running)

    def _write(self, jobs: Sequence[Job], *, running: bool) -> None:
        with self._lock:
            self._thumbnails.make(file for job in jobs for file in job.files)
            ordered = sorted(jobs, key=lambda job: (job.number, job.root, _button_path(job)))
            facts = {
                "name": self._folder.resolve().name,
                "running": running,
                "written": time.time(),
                "jobs": [*self._job_rows(ordered)],
            }
            write_atomically(self._folder / _PAGE_NAME, _render(facts))

    def _job_rows(self, jobs: Iterable[Job]) -> Iterator[dict[str, Any]]:
        """Yield the data of jobs without empty values; a step comes after its parent."""
        prompts: dict[str | None, str] = {}
        for job in jobs:
            prompts[job.key] = job.prompt
            row = {
                "key": job.key,
                "n": job.number,
                "parent": job.parent,
                "prompt": "" if prompts.get(job.parent) == job.prompt else job.prompt,
                "step": job.step,
                "path": _button_path(job),
                "state": job.status,
                "task": _shorten(job.task_id),
                "action": _shorten(job.action),
                "speed": _shorten(job.speed),
                "seed": job.seed,
                "variables": dict(job.variables),
                "attempts": job.attempts,
                "files": [self._thumbnails.facts(file) for file in job.files],
                "error_class": job.error_class,
                "error": _shorten(job.error),
            }
            yield {name: value for name, value in row.items() if value not in ("", None, [], {})}


def _shorten(text: str | None) -> str | None:
    """Return a server's text without characters that affect the text around it."""
    return None if text is None else printable(text, _MAX_TEXT_LENGTH, lines=True)


def _button_path(job: Job) -> list[str]:
    """Return the buttons from the grid to a job; none for the grid."""
    return split_steps(job.step) if job.step else []


def _render(facts: Mapping[str, Any]) -> bytes:
    """Return the page with the data in a block that no data can end."""
    text = json.dumps(facts, separators=(",", ":")).translate(_HTML_ESCAPES)
    before, after = _load_template()
    return f"{before}{text}{after}".encode()


@cache
def _load_template() -> tuple[str, str]:
    """Return the page before and after the data."""
    resources = files("mjasync.batch._gallery")
    page, style, script = (
        resources.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    policy = _CONTENT_SECURITY_POLICY.format(style=_csp_hash(style), script=_csp_hash(script))
    parts = {"policy": policy, "style": style, "script": script}
    html = re.sub(r"\{\{(policy|style|script)\}\}", lambda match: parts[match[1]], page)
    before, _, after = html.partition("{{facts}}")
    return before, after


def _csp_hash(text: str) -> str:
    """Return the hash that allows an inline block in a policy."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
