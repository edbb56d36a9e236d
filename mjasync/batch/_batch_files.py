"""The manifest and the gallery of a batch, written from its ledger."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import attrs

from .._clock import Clock
from .._concurrency import finish_despite_cancellation
from .._text import printable
from ..errors import ConfigurationError
from ._filenames import Filenames
from ._gallery.page import GalleryPage
from ._jobs import Job, JobStatus, folder_error
from ._ledger.ledger import Ledger
from ._output import OutputFolder

_log: Final = logging.getLogger("mjasync")
_GALLERY_INTERVAL: Final = 3.0
"""Seconds between two versions of the gallery during a run."""


@attrs.define(kw_only=True)
class BatchFiles:
    """Writes the manifest, and the gallery if there is one."""

    ledger: Ledger
    filenames: Filenames
    output: OutputFolder
    gallery: GalleryPage | None
    _gallery_task: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    async def check_manifest(self, *, is_local_ledger: bool) -> None:
        """Check that the ledger is not an empty or an old one, which would pay everything again.

        Raises:
            ConfigurationError: The manifest lists jobs that the ledger has not sent.
        """
        keys = await asyncio.to_thread(self.output.manifest_keys)
        missing_keys = keys - await self.ledger.submitted(keys)
        if missing_keys and (is_local_ledger or missing_keys == keys):
            noun = "job" if len(missing_keys) == 1 else "jobs"
            message = (
                f"manifest.jsonl lists {len(missing_keys)} {noun} that were never sent according "
                "to the ledger: it is empty, or an old copy, and would pay for them again. Restore "
                "the ledger from a backup; to draw everything anew, remove manifest.jsonl."
            )
            raise ConfigurationError(message)

    async def write_manifest(self) -> list[Job]:
        """Write the manifest; return all jobs.

        Raises:
            LedgerError: The folder cannot be written.
        """
        async with self.ledger.manifest_lock():
            jobs = await self.ledger.jobs()
            for job in jobs:
                self.filenames.reserve(job)
            try:
                await self.output.write_manifest(jobs)
            except OSError as error:
                raise folder_error(error) from error
        return jobs

    async def incomplete(self, jobs: list[Job]) -> list[Job]:
        """Return the saved jobs whose files are missing, as jobs that are to be saved again."""
        if self.ledger.is_shared:  # the files may be on another machine
            return []
        jobs = await asyncio.to_thread(self.output.missing_files, jobs)
        return [attrs.evolve(job, status=JobStatus.FINISHED) for job in jobs]

    def start_gallery_updates(self, clock: Clock) -> None:
        """Update the gallery during a run."""
        if self.gallery is not None:
            self._gallery_task = asyncio.create_task(self._update_gallery(clock))

    async def stop_gallery_updates(self) -> None:
        """Stop updating the gallery."""
        if self._gallery_task is not None:
            self._gallery_task.cancel()
            await asyncio.gather(self._gallery_task, return_exceptions=True)
            self._gallery_task = None

    async def _update_gallery(self, clock: Clock) -> None:
        while True:
            started_at = clock.now()
            await self.write_gallery(running=True)
            # at most a tenth of the time
            await clock.sleep(max(_GALLERY_INTERVAL, 9 * (clock.now() - started_at)))

    async def write_gallery(self, *, running: bool) -> None:
        """Write the gallery; a run does not fail with it, since it can be written again later."""
        if self.gallery is not None:
            try:
                await finish_despite_cancellation(
                    self.gallery.write(await self.ledger.jobs(), running=running)
                )
            except Exception as error:  # noqa: BLE001 - an unusual picture, for example
                _log.warning("the gallery was not written: %s", printable(error))
