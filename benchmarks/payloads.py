"""What the server of the benchmarks answers: a task as a real server tells of it, made up here."""

from __future__ import annotations

from typing import Any, Final

import orjson

__all__ = ["IN_PROGRESS_BYTES", "SUCCESS_BYTES", "running", "success"]

IN_PROGRESS_BYTES: Final = 985
SUCCESS_BYTES: Final = 2310
_JOB: Final = "0f4c3b52-6d1e-4a57-9b83-2f6f1d7c9e10"
_PROMPT: Final = (
    "a lighthouse in a storm, waves breaking over the rocks, gulls, oil on canvas, "
    "dramatic light --ar 16:9 --v 7"
)
_BUTTONS: Final = (
    *((f"U{n}", "", f"MJ::JOB::upsample::{n}::{_JOB}") for n in range(1, 5)),
    ("", "🔄", f"MJ::JOB::reroll::0::{_JOB}::SOLO"),
    *((f"V{n}", "", f"MJ::JOB::variation::{n}::{_JOB}") for n in range(1, 5)),
    ("", "❤️", f"MJ::BOOKMARK::{_JOB}"),
    ("Animate (High motion)", "", f"MJ::JOB::animate_high::1::{_JOB}::SOLO"),
)
STATE: Final = "mjasync-5d2f0c0e6d5b4f0f9a3c1b7e8a9d6c42"
"""The `state` of every task; one with another would be the task of another."""


def _task(task_id: str, **fields: object) -> dict[str, Any]:
    return {
        "id": task_id,
        "action": "IMAGINE",
        "botType": "MID_JOURNEY",
        "prompt": _PROMPT,
        "promptEn": _PROMPT,
        "description": "Submit success",
        "state": STATE,
        "submitTime": 1760000000123,
        "startTime": 1760000004456,
        "finishTime": None,
        "imageUrl": None,
        "imageHeight": None,
        "imageWidth": None,
        "status": "IN_PROGRESS",
        "progress": "0%",
        "failReason": None,
        "mode": "FAST",
        "instanceId": "1182900000000000000",
        "buttons": [],
        "maskBase64": None,
        "properties": {"notifyHook": "", "finalPrompt": _PROMPT},
        **fields,
    }


def _padded(task: dict[str, Any], size: int) -> bytes:
    """As JSON of exactly `size` bytes: the bag of further facts takes up the slack."""
    bag = {**task["properties"], "messageHash": ""}
    slack = size - len(orjson.dumps({**task, "properties": bag}))
    if slack < 0:
        raise ValueError(f"the task is {-slack} bytes too long")
    return orjson.dumps({**task, "properties": {**bag, "messageHash": (_JOB * 40)[:slack]}})


def running(task_id: str, percent: int) -> bytes:
    """A task under way, 985 bytes with an id of 16 characters."""
    fields = {"progress": f"{percent}%"}
    return _padded(_task(task_id, **fields), IN_PROGRESS_BYTES)


def success(task_id: str, origin: str = "https://cdn.example.com") -> bytes:
    """A finished grid with eleven buttons, 2310 bytes with an id of 16 characters."""
    buttons = [
        {"customId": custom_id, "emoji": emoji, "label": label, "type": 2, "style": 2}
        for label, emoji, custom_id in _BUTTONS
    ]
    fields = {
        "status": "SUCCESS",
        "progress": "100%",
        "finishTime": 1760000056789,
        "imageUrl": f"{origin}/8mb/{task_id}.png",
        "imageHeight": 1536,
        "imageWidth": 2752,
        "buttons": buttons,
    }
    return _padded(_task(task_id, **fields), SUCCESS_BYTES)
