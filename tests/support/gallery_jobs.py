"""Folders full of made-up jobs, for the tests of the gallery."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mjasync.batch import File, Job, JobStatus
from mjasync.batch._steps import parent_path

FAMILY = ("", "U1", "U1>Upscale (Subtle)", "U1>Zoom Out 2x", "U3")
"""The steps that each prompt has."""
ANSWERED = ("", "U1", "U1>Custom Zoom[day > night]", "U1>Custom Zoom[day > night]>U2")
"""Steps of which one answers a modal with what else parts them."""
HOSTILE = (
    "</script><script>window.hacked=1;alert(1)</script>",
    "</ScRiPt ><img src=x onerror='window.hacked=1'>",
    "<svg/onload=window.hacked=1> --ar <svg/onload=window.hacked=1>",
    '" onmouseover="window.hacked=1" autofocus onfocus="window.hacked=1" x="',
    "'><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "javascript:window.hacked=1",
    "<!-- <script> <![CDATA[ ]]> &lt;b&gt; &amp;",
    "{{facts}} {{script}} \\u003cb\\u003e ${window.hacked=1} `window.hacked=1`",
    "__proto__ --__proto__ constructor --constructor",
    "line\u2028paragraph\u2029nul\x00bell\x07",
    "\u202egnp.exe\u2066 \u200f<b>",
    "half a pair \ud800",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 مرحبا",
    "word " * 2000,
    "w" * 10_000,
)


def a_file(folder: Path, path: str, size: tuple[int, int] = (96, 64), seed: int = 0) -> File:
    """Draw a small picture in a colour of its own; return it as the ledger has it."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(40 + (seed * step) % 200 for step in (37, 91, 143))
    Image.new("RGB", size, colour).save(target, "PNG")
    return told(folder, path)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG with the header of a large picture and almost no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + crc

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def told(folder: Path, path: str) -> File:
    """Return a file as the ledger has it."""
    data = (folder / path).read_bytes()
    return File(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def a_job(n: int = 1, step: str = "", **facts: Any) -> Job:  # noqa: ANN401 - fields of a Job
    """Make a job of the `n`-th prompt; a step knows its parent."""
    root = key_of(n, "")
    usual = {
        "key": key_of(n, step),
        "root": root,
        "parent": key_of(n, parent_path(step)) if step else None,
        "prompt": f"lighthouse number {n} --ar 3:2 --stylize {n}",
        "status": JobStatus.SAVED,
        "task_id": f"task-{n}-{step}",
        "attempts": 1,
        "action": "UPSCALE" if step else "IMAGINE",
    }
    return Job(number=n, step=step, **{**usual, **facts})


def key_of(n: int, step: str) -> str:
    """Make the key of a job."""
    return hashlib.sha256(f"{n} {step}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def many(folder: Path, count: int, steps: Sequence[str] = FAMILY, distinct: int = 20) -> list[Job]:
    """Make `count` jobs with a picture each, of which `distinct` are different."""
    drawn = [a_file(folder, f"{seed}.png", seed=seed) for seed in range(min(count, distinct))]
    return [
        a_job(
            number // len(steps) + 1,
            steps[number % len(steps)],
            files=[drawn[number % len(drawn)]],
        )
        for number in range(count)
    ]


def one_of_each(folder: Path) -> list[Job]:
    """Make a batch with jobs in every state, a family, a split grid, a video and a lost file."""
    family = [a_job(1, step, files=[a_file(folder, f"1{step}.png")]) for step in FAMILY]
    split = a_job(2, files=[a_file(folder, f"2-{part}.png", seed=part) for part in range(4)])
    (folder / "3.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    lost = File(path="lost.png", size=1, sha256="0" * 64)
    return [
        *family,
        split,
        a_job(3, files=[told(folder, "3.mp4")]),
        a_job(4, files=[lost]),
        a_job(5, status="failed", error_class="BannedPrompt", error="It holds a banned word."),
        *(a_job(6 + at, status=status) for at, status in enumerate(list(JobStatus)[:5])),
    ]


def hostile(folder: Path) -> list[Job]:
    """Make jobs whose texts are attacks on the page."""
    jobs = []
    for n, words in enumerate(HOSTILE, 1):
        name = re.sub(r"[/\0\ud800-\udfff]", "", words)[:40] + f"#{n}?%20&.png"
        facts = {
            "prompt": words,
            "task_id": words,
            "action": words,
            "speed": words,
            "error": words,
            "error_class": words,
            "variables": {words: words},
        }
        jobs.append(a_job(n, **facts, files=[a_file(folder, name, seed=n)]))
        jobs.append(a_job(n, words.replace(">", "") or "x", **{**facts, "status": "failed"}))
    return jobs


def facts_of(page: Path) -> dict[str, Any]:
    """Return the data that a page contains."""
    found = re.search(
        r'<script id="facts" type="application/json">(.*?)</script>', page.read_text("utf-8")
    )
    assert found is not None
    facts: dict[str, Any] = json.loads(found[1])
    return facts
