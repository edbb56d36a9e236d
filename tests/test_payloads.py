"""The payload of each submission, by value."""

from __future__ import annotations

from typing import Any

import pytest

from mjasync import AccountFilter, Button, InvalidRequest
from mjasync._options import FollowUpOptions, SubmitOptions
from mjasync._protocol import payloads
from mjasync._protocol.payloads import SubmissionDraft

IMAGE = object()


@pytest.mark.parametrize(
    "draft, endpoint, fields, images",
    [
        (payloads.imagine("a fox --ar 1:2"), "imagine", {"prompt": "a fox --ar 1:2"}, {}),
        (
            payloads.imagine("a fox", (IMAGE,)),
            "imagine",
            {"prompt": "a fox"},
            {"base64Array": (IMAGE,)},
        ),
        (
            payloads.blend((IMAGE, IMAGE), "PORTRAIT"),
            "blend",
            {"dimensions": "PORTRAIT"},
            {"base64Array": (IMAGE, IMAGE)},
        ),
        (payloads.describe(IMAGE), "describe", {}, {"base64": IMAGE}),
        (payloads.describe(IMAGE, "zh"), "describe", {"language": "zh"}, {"base64": IMAGE}),
        (payloads.shorten("狐狸"), "shorten", {"prompt": "狐狸"}, {}),
        (payloads.edit(IMAGE, "a hat"), "edits", {"prompt": "a hat"}, {"image": IMAGE}),
        (payloads.retexture(IMAGE, "glass"), "retexture", {"prompt": "glass"}, {"image": IMAGE}),
        (payloads.video("run"), "video", {"prompt": "run", "motion": "low"}, {}),
        (
            payloads.video(
                "run",
                image=IMAGE,
                end_image=IMAGE,
                motion="high",
                loop=True,
                video_type="vid_1.1_i2v_720",
                batch_size=2,
            ),
            "video",
            {
                "prompt": "run",
                "motion": "high",
                "loop": True,
                "videoType": "vid_1.1_i2v_720",
                "batchSize": 2,
            },
            {"image": IMAGE, "endImage": IMAGE},
        ),
        (
            payloads.video("run", extend="17", index=4),
            "video",
            {"prompt": "run", "motion": "low", "action": "extend", "taskId": "17", "index": 3},
            {},
        ),
        (
            payloads.swap_face(IMAGE, IMAGE),
            "swap",
            {},
            {"sourceBase64": IMAGE, "targetBase64": IMAGE},
        ),
        (
            payloads.swap_video_face(IMAGE, "https://example.com/a.mp4"),
            "video-swap",
            {"TargetUrl": "https://example.com/a.mp4"},
            {"SourceBase64": IMAGE},
        ),
        (payloads.swap_video_face(IMAGE, None), "video-swap", {}, {"SourceBase64": IMAGE}),
        (payloads.show("a-job"), "show", {"jobId": "a-job"}, {}),
        (
            payloads.action("17", Button(custom_id="MJ::JOB::upsample::2::abc", label="U2")),
            "action",
            {"taskId": "17", "customId": "MJ::JOB::upsample::2::abc"},
            {},
        ),
        (
            payloads.action("17", Button(custom_id="", label="V3")),
            "change",
            {"taskId": "17", "action": "VARIATION", "index": 3},
            {},
        ),
        (payloads.modal("17", "a hat"), "modal", {"taskId": "17", "prompt": "a hat"}, {}),
        (payloads.modal("17", "", IMAGE), "modal", {"taskId": "17"}, {"maskBase64": IMAGE}),
    ],
)
def test_drafts(
    draft: SubmissionDraft, endpoint: str, fields: dict[str, Any], images: dict[str, Any]
) -> None:
    """Each submission has its endpoint, its fields, and its images by the field for them."""
    assert draft.endpoint == endpoint
    assert draft.fields == fields
    assert draft.images == images


def test_paths() -> None:
    """Face swaps are the only submissions outside `/submit`."""
    assert payloads.swap_face(IMAGE, IMAGE).path == "insight-face/swap"
    assert payloads.swap_video_face(IMAGE, None).path == "insight-face/video-swap"
    assert payloads.imagine("a fox").path is None


def test_a_speed_is_a_flag_of_prompts_that_may_contain_flags() -> None:
    """The prompt of a shorten is plain text."""
    assert payloads.imagine("a fox").with_speed("turbo").fields == {"prompt": "a fox --turbo"}
    assert payloads.shorten("a fox").with_speed("turbo").fields == {"prompt": "a fox"}


def test_options() -> None:
    """Options become fields; `extra` adds to them and wins."""
    options = {
        "state": "mine",
        "notify_hook": "https://example.com/hook",
        "account_filter": AccountFilter(instance_id="7", modes=("fast",)),
        "bot": "niji",
        "extra": {"noStorage": True},
        "speed": "fast",
    }
    assert payloads.common_payload(options, SubmitOptions.__optional_keys__) == {
        "state": "mine",
        "notifyHook": "https://example.com/hook",
        "accountFilter": {"instanceId": "7", "modes": ["FAST"]},
        "botType": "NIJI_JOURNEY",
        "noStorage": True,
    }
    remix = payloads.common_payload({"enable_remix": True}, FollowUpOptions.__optional_keys__)
    assert remix.pop("state").startswith(payloads.GENERATED_STATE_PREFIX)
    assert remix == {"enableRemix": True}


def test_a_payload_is_fields_options_and_images() -> None:
    """The options of the caller win over the fields."""
    draft = payloads.imagine("a fox", (IMAGE,))
    assert draft.payload({"state": "mine"}, {"base64Array": ["data:…"]}) == {
        "prompt": "a fox",
        "state": "mine",
        "base64Array": ["data:…"],
    }


@pytest.mark.parametrize("prompt", ["", " \n", None, 7, "half an emoji \ud83e"])
def test_prompts_that_cannot_be_sent(prompt: object) -> None:
    """They are refused before a Task exists."""
    with pytest.raises(InvalidRequest, match="prompt"):
        payloads.imagine(prompt)
