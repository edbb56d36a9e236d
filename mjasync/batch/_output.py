"""The output of a batch: pictures with metadata, and a manifest that lists them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from .._media.grid import Picture
from .._task import Task
from ._atomic_write import PART_SUFFIX, write_atomically
from ._filenames import Filenames
from ._jobs import File, Job, JobStatus
from ._png_metadata import embed_metadata, metadata_json

Images = Literal["grid", "split", "upscale-all"]
STEPS_OF_IMAGES: Final[Mapping[Images, tuple[str, ...]]] = {
    "grid": (),
    "split": (),
    "upscale-all": ("U1", "U2", "U3", "U4"),
}
"""The steps that each choice adds to a prompt."""
_MAX_PROMPT_LENGTH: Final = 20_000
"""Characters of a server's text in a picture: readers refuse a megabyte of metadata."""


class OutputFolder:
    """The folder of a batch."""

    def __init__(self, folder: Path, filenames: Filenames, images: Images) -> None:
        self._folder = folder
        self._filenames = filenames
        self._images = images
        self._manifest = folder / "manifest.jsonl"

    def remove_partial(self) -> None:
        """Remove partial files that a killed process left."""
        for path in self._folder.rglob(PART_SUFFIX):
            path.unlink(missing_ok=True)

    async def save(self, job: Job, task: Task) -> tuple[File, ...]:
        """Write the pictures of a finished job; repeating it changes nothing.

        Raises:
            MJError: The pictures cannot be downloaded.
            OSError: They cannot be written.
        """
        if not (task.image_url or task.video_urls or task.image_urls):
            return ()
        if self._images == "split" and not job.is_step:
            pictures: Sequence[Picture] = await task.images()
        else:
            pictures = [Picture(await task.read())]
        return await asyncio.to_thread(self._write_all, job, pictures, _image_metadata(job, task))

    def _write_all(
        self, job: Job, pictures: Sequence[Picture], metadata: Mapping[str, Any]
    ) -> tuple[File, ...]:
        return tuple(
            self._write(job, part if len(pictures) > 1 else None, picture, metadata)
            for part, picture in enumerate(pictures, 1)
        )

    def _write(
        self, job: Job, part: int | None, picture: Picture, metadata: Mapping[str, Any]
    ) -> File:
        data = embed_metadata(picture.data, {**metadata, "part": part})
        path = self._filenames.for_job(job, part, picture.extension)
        if _belongs_to_other_job(self._folder / path, job, data):
            path = self._filenames.for_job(job, part, picture.extension, force_unique=True)
        write_atomically(self._folder / path, data)
        return File(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def missing_files(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the saved jobs with a missing file."""
        return [
            job
            for job in jobs
            if job.status is JobStatus.SAVED
            and job.task_id
            and not all((self._folder / file.path).exists() for file in job.files)
        ]

    async def write_manifest(self, jobs: Iterable[Job]) -> None:
        """Write the manifest anew: one line for each saved job."""
        await asyncio.to_thread(self._write_manifest, jobs)

    def _write_manifest(self, jobs: Iterable[Job]) -> None:
        lines = [_manifest_line(job) for job in jobs if job.status is JobStatus.SAVED]
        write_atomically(self._manifest, "".join(lines).encode(), is_private=True)

    def manifest_keys(self) -> set[str]:
        """Return the keys of the jobs in the manifest; invalid lines are ignored."""
        keys: set[str] = set()
        with suppress(OSError), self._manifest.open("rb") as file:
            for line in file:
                with suppress(ValueError, TypeError, KeyError):
                    keys.add(str(json.loads(line)["key"]))
        return keys

    async def append_manifest(self, job: Job) -> None:
        """Add a saved job to the manifest."""
        await asyncio.to_thread(self._append_manifest, job)

    def _append_manifest(self, job: Job) -> None:
        fd = os.open(self._manifest, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(fd, "a", encoding="utf-8", newline="") as file:
            file.write(_manifest_line(job))


def _image_metadata(job: Job, task: Task) -> dict[str, Any]:
    return {
        "prompt": job.prompt,
        "final_prompt": (task.final_prompt or "")[:_MAX_PROMPT_LENGTH],
        "task_id": job.task_id,
        "action": (task.info.action or "")[:_MAX_PROMPT_LENGTH],
        "step": job.step,
        "seed": job.seed,
        "key": job.key,
        "n": job.number,
        "variables": dict(job.variables),
    }


def _manifest_line(job: Job) -> str:
    facts = {
        "key": job.key,
        "n": job.number,
        "prompt": job.prompt,
        "step": job.step,
        "parent": job.parent,
        "seed": job.seed,
        "variables": dict(job.variables),
        "task_id": job.task_id,
        "action": job.action,
        "speed": job.speed,
        "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in job.files],
    }
    return metadata_json(facts) + "\n"


def _belongs_to_other_job(path: Path, job: Job, data: bytes) -> bool:
    """Return whether a file exists that is not from this job in a run that was killed."""
    try:
        existing = path.read_bytes()
    except FileNotFoundError:
        return False
    return existing != data and job.key.encode() not in existing
