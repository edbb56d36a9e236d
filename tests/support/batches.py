"""Batches run to their end, and checks of their ledger, their files and what was paid."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image

from mjasync import Client
from mjasync.batch import Batch, Job, JobStatus

BOUND: Final = {"reconcile_after": 0.0, "gallery": False}
"""Options of a batch in which a test waits for nothing that it does not examine."""


async def finish(folder: Path, mj: Client, *prompts: Any, **options: Any) -> list[Job]:  # noqa: ANN401
    """Run a batch to its end; return the jobs that ended."""
    async with Batch(folder, client=mj, **{**BOUND, **options}) as batch:
        for prompt in prompts:
            batch.add(prompt)
        return [job async for job in batch.run()]


async def ledger(folder: Path) -> list[Job]:
    """Return the jobs that are in the ledger of a folder."""
    async with Client("http://127.0.0.1:9", "") as nobody, Batch(folder, client=nobody) as batch:
        return await batch.jobs()


def states(jobs: Iterable[Job]) -> Counter[str]:
    """Count jobs by their states."""
    return Counter(job.status for job in jobs)


def check_paid_once(facts: Mapping[str, Any]) -> None:
    """Check that nothing was paid twice."""
    paid = [tuple(one[:3]) for one in facts["paid"]]
    twice = [one for one, count in Counter(paid).items() if count > 1]
    if twice:
        raise AssertionError(f"paid more than once: {twice}")
    if facts["marks"] != len(paid):
        raise AssertionError("two submissions have one mark")


def check_files(folder: Path, jobs: Iterable[Job]) -> int:
    """Check the files of all saved jobs against ledger and manifest; return their number."""
    lines = (folder / "manifest.jsonl").read_text("utf-8").splitlines()
    manifest = {line["key"]: line for line in map(json.loads, lines)}
    saved = {job.key: job for job in jobs if job.status is JobStatus.SAVED}
    if manifest.keys() != saved.keys() or len(lines) != len(saved):
        raise AssertionError("the manifest does not list the saved jobs, each once")
    paths = set()
    for job in saved.values():
        told = [(file.path, file.size, file.sha256) for file in job.files]
        if told != [tuple(file.values()) for file in manifest[job.key]["files"]]:
            raise AssertionError(f"ledger and manifest differ about {job}")
        paths |= {check_file(folder, *file) for file in told}
    thumbnails = folder / "thumbnails"
    there = {path for path in folder.rglob("*") if path.is_file() and path.parent != thumbnails}
    ours = {folder / name for name in ("manifest.jsonl", "ledger.lock", "index.html")}
    strange = {path for path in there - paths - ours if not path.name.startswith("ledger.db")}
    if strange:
        raise AssertionError(f"files of nobody: {strange}")
    return len(paths)


def check_file(folder: Path, path: str, size: int, sha256: str) -> Path:
    """Check that a file is the recorded one, and a picture."""
    data = (folder / path).read_bytes()
    if (len(data), hashlib.sha256(data).hexdigest()) != (size, sha256):
        raise AssertionError(f"{path} is not what was noted")
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
    return folder / path


def check_all(folder: Path, jobs: list[Job], facts: Mapping[str, Any], count: int) -> None:
    """Check that `count` jobs are saved, and paid exactly once each."""
    check_paid_once(facts)
    found = (states(jobs), len(facts["paid"]), check_files(folder, jobs))
    if found != ({JobStatus.SAVED: count}, count, count):
        raise AssertionError(f"not {count} jobs, each saved and paid once: {found}")


def check_reported(jobs: list[Job], facts: Mapping[str, Any]) -> None:
    """Check that nothing was paid twice, and that all that was paid is saved or reported."""
    check_paid_once(facts)
    known = {job.task_id: job.status for job in jobs if job.task_id}
    stray = [one for one in facts["paid"] if one[3] not in known]
    told = {JobStatus.SAVED, JobStatus.FAILED}
    lost = [one for one in facts["paid"] if known.get(one[3], JobStatus.SAVED) not in told]
    doubtful = states(jobs)[JobStatus.UNCERTAIN]
    if lost or len(stray) > doubtful:
        raise AssertionError(f"paid and not reported: {stray}, {lost}; uncertain are {doubtful}")
