"""From JSON to nouns: every dialect's task, and whatever else a server may send."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from random import Random
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import Button, TaskInfo, TaskStatus
from mjasync._json import dump_json, parse_json, split_task_list
from mjasync._protocol.decoding import (
    decode_running_task,
    decode_task,
    is_from_server,
    parse_int,
    parse_percent,
    parse_text,
    parse_timestamp,
    parse_urls,
)

HASH = "d5f3c8a1-8f3e-4d4c-9a51-0c5b9b1f6f11"
SUBMITTED = datetime(2025, 5, 23, 3, 54, 15, tzinfo=UTC)
MS = int(SUBMITTED.timestamp() * 1000)

ORIGINAL_RUNNING = {
    "id": "1747972455123001",
    "properties": {
        "notifyHook": None,
        "finalPrompt": "a red fox --v 6.0",
        "messageId": "1375300000000000001",
        "messageHash": HASH,
        "progressMessageId": "1375300000000000000",
        "flags": 0,
        "nonce": "1375299999999999999",
        "discordInstanceId": "1118138338562560102",
    },
    "action": "IMAGINE",
    "status": "IN_PROGRESS",
    "prompt": "一只红狐狸",
    "promptEn": "a red fox",
    "description": "/imagine 一只红狐狸",
    "state": "mine",
    "submitTime": MS,
    "startTime": MS + 1000,
    "finishTime": None,
    "imageUrl": "https://cdn.example.com/attachments/grid_0.webp?ex=1",
    "progress": "45%",
    "failReason": None,
}
ORIGINAL_EARLY = {
    **dict.fromkeys(ORIGINAL_RUNNING),
    "id": "1747972455123002",
    "properties": {},
    "status": "NOT_START",
}
ORIGINAL_FAILED = {
    **ORIGINAL_RUNNING,
    "status": "FAILURE",
    "progress": "",
    "failReason": "任务超时",
    "finishTime": MS + 300_000,
}
PLUS = {
    "id": "1747972455123003",
    "action": "UPSCALE",
    "status": "SUCCESS",
    "prompt": "a red fox",
    "promptEn": "a red fox",
    "description": "Submit success",
    "state": None,
    "submitTime": MS,
    "startTime": MS + 500,
    "finishTime": MS + 2000,
    "imageUrl": "https://cdn.example.com/fox.png",
    "imageHeight": 1024,
    "imageWidth": 1024,
    "progress": "100%",
    "failReason": None,
    "displays": {"status": "成功", "action": "Upscale", "submitTime": "2025-05-23 11:54:15"},
    "properties": {
        "botType": "MID_JOURNEY",
        "messageContent": "**a red fox**",
        "finalPrompt": "a red fox --v 7",
        "finalZhPrompt": "",
        "customId": f"MJ::JOB::upsample::1::{HASH}",
        "modalCustomId": None,
        "discordChannelId": "1118138338562560102",
    },
    "buttons": [
        {
            "customId": f"MJ::JOB::upsample_v7_2x_subtle::1::{HASH}::SOLO",
            "emoji": "upscale_1",
            "label": "Upscale (Subtle)",
            "type": 2,
            "style": 2,
        },
        {
            "customId": f"MJ::JOB::reroll::0::{HASH}::SOLO",
            "emoji": "🔄",
            "label": "",
            "type": 2,
            "style": 3,
        },
        {"customId": "", "emoji": "", "label": "Web", "type": 2, "style": 5},
        {"label": "Web"},
        None,
    ],
}
DOTNET_VIDEO = {
    "id": "1747972455123004",
    "parentId": "1747972455123003",
    "botType": "MID_JOURNEY",
    "realBotType": None,
    "isWhite": False,
    "nonce": "1925762000000000000",
    "instanceId": "1118138338562560102",
    "action": "VIDEO",
    "status": "SUCCESS",
    "prompt": "a red fox",
    "promptEn": "a red fox",
    "promptFull": "a red fox --motion low",
    "description": "提交成功",
    "state": "",
    "submitTime": MS,
    "startTime": MS + 500,
    "finishTime": MS + 60_000,
    "progress": "100%",
    "failReason": "",
    "imageUrl": "https://cdn.example.com/fox.webp",
    "mode": "FAST",
    "requestMode": "TURBO",
    "accountFilter": {"modes": ["FAST"]},
    "seed": "636646138",
    "seedError": None,
    "version": "v 7",
    "isCompleted": True,
    "useTime": "59.50 s",
    "imageUrls": [
        {"url": "https://cdn.example.com/0.mp4", "thumbnail": "https://cdn.example.com/0.webp"},
        {"url": "https://cdn.example.com/1.mp4", "thumbnail": None},
    ],
    "videoUrl": "https://cdn.example.com/0.mp4",
    "videoUrls": [
        {"url": "https://cdn.example.com/0.mp4", "thumbnail": None},
        {"url": "https://cdn.example.com/1.mp4", "thumbnail": None},
    ],
    "videoDuration": 5,
    "properties": {
        "custom_id": f"MJ::JOB::animate_low::1::{HASH}::SOLO",
        "action_index": "11",
        "remix": True,
        "finalPrompt": "",
    },
    "partnerTaskInfo": None,
    "officialTaskInfo": {"job_type": "video", "full_command": "a red fox"},
    "buttons": [],
}
GATEWAY_EARLY = {
    "id": "1747972455123005",
    "action": "IMAGINE",
    "customId": "",
    "botType": "",
    "prompt": "a red fox",
    "promptEn": "",
    "description": "提交成功",
    "state": "",
    "submitTime": MS,
    "startTime": 0,
    "finishTime": 0,
    "imageUrl": "",
    "status": "",
    "progress": "0%",
    "failReason": "",
    "buttons": None,
    "maskBase64": "",
    "properties": None,
}
GATEWAY_FAILED = {
    **GATEWAY_EARLY,
    "status": "FAILURE",
    "progress": "100%",
    "failReason": "上游任务超时（超过1小时）",
    "finishTime": MS + 3_600_000,
    "properties": {"finalPrompt": "a red fox --v 7", "finalZhPrompt": ""},
    "buttons": [
        {"customId": "MJ::JOB::upsample::1::x", "emoji": None, "label": "U1", "style": None},
    ],
}
GATEWAY_VIDEO = {**GATEWAY_EARLY, "status": "SUCCESS", "videoUrl": "https://cdn.example.com/v.mp4"}


def on_the_wire(task: dict[str, Any]) -> TaskInfo:
    """Structure a task after it went through JSON."""
    return decode_task(parse_json(dump_json(task)))


def test_original_running() -> None:
    """The original server's task, in the middle of it."""
    info = on_the_wire(ORIGINAL_RUNNING)
    assert attrs.asdict(info, filter=lambda field, _: not field.name.startswith("_")) == {
        "id": "1747972455123001",
        "status": TaskStatus.IN_PROGRESS,
        "action": "IMAGINE",
        "progress": 45,
        "prompt": "一只红狐狸",
        "prompt_en": "a red fox",
        "final_prompt": "a red fox --v 6.0",
        "description": "/imagine 一只红狐狸",
        "image_url": "https://cdn.example.com/attachments/grid_0.webp?ex=1",
        "image_urls": (),
        "video_urls": (),
        "buttons": (),
        "fail_reason": None,
        "seed": None,
        "state": "mine",
        "mode": None,
        "submitted_at": SUBMITTED,
        "started_at": SUBMITTED.replace(second=16),
        "finished_at": None,
    }
    assert info.properties == ORIGINAL_RUNNING["properties"]
    assert info.raw == ORIGINAL_RUNNING


def test_original_early() -> None:
    """A task that has just been taken is nothing but an id."""
    info = on_the_wire(ORIGINAL_EARLY)
    assert info == TaskInfo(id="1747972455123002", raw=ORIGINAL_EARLY)
    assert not info.status.is_final


@pytest.mark.parametrize("task", [ORIGINAL_FAILED, GATEWAY_FAILED])
def test_failures(task: dict[str, Any]) -> None:
    """A failure is one whatever its progress says, and has its reason."""
    info = on_the_wire(task)
    assert info.status is TaskStatus.FAILURE
    assert info.status.is_final
    assert info.fail_reason == task["failReason"]
    assert info.finished_at is not None


def test_plus() -> None:
    """A Plus task has buttons; those that cannot be pressed are left out."""
    info = on_the_wire(PLUS)
    assert info.buttons == (
        Button(
            custom_id=f"MJ::JOB::upsample_v7_2x_subtle::1::{HASH}::SOLO",
            label="Upscale (Subtle)",
            emoji="upscale_1",
            style=2,
            type=2,
        ),
        Button(custom_id=f"MJ::JOB::reroll::0::{HASH}::SOLO", emoji="🔄", style=3, type=2),
    )
    assert info.final_prompt == "a red fox --v 7"
    assert info.raw["displays"]["action"] == "Upscale"


def test_dotnet_video() -> None:
    """The .NET server's task: links as objects, the seed as text, "" for nothing."""
    info = on_the_wire(DOTNET_VIDEO)
    assert info.video_urls == ("https://cdn.example.com/0.mp4", "https://cdn.example.com/1.mp4")
    assert info.image_urls == info.video_urls
    assert info.seed == 636646138
    assert info.mode == "FAST"
    assert (info.state, info.fail_reason, info.final_prompt) == (None, None, None)
    assert info.properties["action_index"] == "11"


def test_gateway_early() -> None:
    """A gateway's task before the first poll: "", 0 and null all mean nothing."""
    info = on_the_wire(GATEWAY_EARLY)
    assert info == TaskInfo(
        id="1747972455123005",
        action="IMAGINE",
        progress=0,
        prompt="a red fox",
        description="提交成功",
        submitted_at=SUBMITTED,
        raw=GATEWAY_EARLY,
    )


def test_a_style_in_words() -> None:
    """A number that came as a text is one all the same, though the rest is as promised."""
    sent = {"customId": "MJ::x", "emoji": "", "label": "U1", "style": "3", "type": 2}
    (button,) = on_the_wire({"id": "1", "buttons": [sent]}).buttons
    assert (button.style, button.type) == (3, 2)


def test_gateway_buttons_of_nulls() -> None:
    """A gateway's buttons may hold null where a text belongs."""
    (button,) = on_the_wire(GATEWAY_FAILED).buttons
    assert button == Button(custom_id="MJ::JOB::upsample::1::x", label="U1")


def test_single_video_link() -> None:
    """A server that names one video only in `videoUrl` has it all the same."""
    assert on_the_wire(GATEWAY_VIDEO).video_urls == ("https://cdn.example.com/v.mp4",)
    assert on_the_wire({**GATEWAY_VIDEO, "videoUrls": []}).video_urls == (
        "https://cdn.example.com/v.mp4",
    )
    assert on_the_wire({**GATEWAY_VIDEO, "videoUrl": ""}).video_urls == ()


def test_raw_is_parsed_once() -> None:
    """A running task keeps its body until `raw` is read."""
    info = decode_running_task({"id": "1", "progress": "5%"}, b'{"id": "1", "progress": "5%"}')
    assert info.raw is info.raw
    assert info.raw == {"id": "1", "progress": "5%"}


def test_a_reply_without_a_body_keeps_its_values() -> None:
    """A row of a list that is nested too deeply to be written again has no body."""
    info = decode_running_task({"id": "1", "properties": {"a": 1}}, b"")
    assert is_from_server(info)
    assert (info.raw, info.properties) == ({"id": "1", "properties": {"a": 1}}, {"a": 1})


@pytest.mark.parametrize("task_id", [1747972455123001, "1747972455123001"])
def test_numeric_ids(task_id: object) -> None:
    """An id sent as a number is the same id."""
    assert on_the_wire({"id": task_id}).id == "1747972455123001"


@pytest.mark.parametrize("task", [{}, {"id": None}, {"id": ""}, {"id": []}, {"id": True}])
def test_no_id(task: dict[str, Any]) -> None:
    """What has no id is no task."""
    with pytest.raises(ValueError, match="without an id"):
        decode_task(task)


def test_snapshots_pickle() -> None:
    """A snapshot goes to another process and back, an unknown status included."""
    for task in (PLUS, ORIGINAL_EARLY, GATEWAY_EARLY, {"id": "1", "status": "DREAMING"}):
        info = on_the_wire(task)
        assert pickle.loads(pickle.dumps(info)) == info  # noqa: S301 - our own


# --- the status --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status, final",
    [
        ("NOT_START", False),
        ("SUBMITTED", False),
        ("MODAL", False),
        ("IN_PROGRESS", False),
        ("SUCCESS", True),
        ("FAILURE", True),
        ("CANCEL", True),
        ("CANCELLED", False),
        ("success", False),
        ("QUEUED", False),
    ],
)
def test_what_is_final(status: str, final: bool) -> None:
    """SUCCESS, FAILURE and CANCEL are final, and nothing else."""
    assert on_the_wire({"id": "1", "status": status}).status.is_final is final


@pytest.mark.parametrize("status", ["", None, 0, 3, [], {}])
def test_no_status_is_not_start(status: object) -> None:
    """A task without a status has not begun."""
    assert on_the_wire({"id": "1", "status": status}).status is TaskStatus.NOT_START


@given(st.text(min_size=1, max_size=20))
def test_unknown_status_passes_through(word: str) -> None:
    """An unknown status is itself: it compares, hashes and shows as the server's word."""
    status = decode_task({"id": "1", "status": word}).status
    assert status == word
    assert str(status) == word
    assert {status: 1}[TaskStatus(word)] == 1
    assert status.is_final is (word in {"SUCCESS", "FAILURE", "CANCEL"})


def test_status_is_a_word() -> None:
    """Nothing but a word makes a status."""
    with pytest.raises(ValueError, match="5"):
        TaskStatus(5)


# --- the readers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, number",
    [
        ("0%", 0),
        ("45%", 45),
        (" 45 % ", 45),
        ("100%", 100),
        ("45", 45),
        (45, 45),
        (45.9, 45),
        ("250%", 100),
        (250, 100),
        (-1, 0),
        ("9" * 5000, 100),
        ("-5%", None),
        ("", None),
        ("%", None),
        (None, None),
        ("paused", None),
        ("Waiting to start", None),
        ("٤٥%", None),
        ("²%", None),
        (True, None),
        ([], None),
    ],
)
def test_progress(value: object, number: int | None) -> None:
    """Progress is a whole percentage or nothing."""
    assert parse_percent(value) == number


@pytest.mark.parametrize(
    "value, when",
    [
        (MS, SUBMITTED),
        (str(MS), SUBMITTED),
        (0, None),
        (-1, None),
        (None, None),
        ("", None),
        ("2025-05-23", None),
        (True, None),
        (2**63, None),
        (10**400, None),
    ],
)
def test_moments(value: object, when: datetime | None) -> None:
    """Milliseconds since the epoch are an aware moment; 0 and nonsense are none."""
    assert parse_timestamp(value) == when


@pytest.mark.parametrize(
    "value, number",
    [
        (7, 7),
        (-7, -7),
        (0, 0),
        ("636646138", 636646138),
        (" 7 ", 7),
        (" " * 30 + "7", 7),
        ("", None),
        (" ", None),
        ("-7", None),
        ("7.0", None),
        ("٧", None),
        (7.0, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_whole_numbers(value: object, number: int | None) -> None:
    """A whole number may be spelled out; everything else is none."""
    assert parse_int(value) == number


@pytest.mark.parametrize(
    "value, urls",
    [
        (["a", "b"], ("a", "b")),
        ([{"url": "a", "thumbnail": "t"}, {"url": ""}, {"url": None}, {}], ("a",)),
        ([None, 1, "", ["a"]], ()),
        (None, ()),
        ("a", ()),
        ({"url": "a"}, ()),
    ],
)
def test_links(value: object, urls: tuple[str, ...]) -> None:
    """Links are texts, or objects that hold one."""
    assert parse_urls(value) == urls


def test_texts_and_objects() -> None:
    """Nothing is spelled null, "" or {}; a number is spelled out, where a text belongs."""
    assert [parse_text(value) for value in ("a", "", None, 5, True, 1.5, [])] == [
        "a",
        None,
        None,
        "5",
        None,
        None,
        None,
    ]
    assert decode_task({"id": "1", "properties": {"a": 1}}).properties == {"a": 1}
    for value in (None, "", [], {}):
        assert decode_task({"id": "1", "properties": value}).properties == {}


# --- for anything at all -----------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["url", "customId", "label", "style", "finalPrompt"]), inner
        )
    ),
    max_leaves=12,
)
TASKS = st.dictionaries(st.sampled_from([*DOTNET_VIDEO, "raw", "promptEn"]), JSON)


@pytest.mark.slow
@given(task=TASKS, task_id=st.text(min_size=1, max_size=20) | st.integers(0, 2**63))
def test_any_object_with_an_id_is_a_task(task: dict[str, Any], task_id: str | int) -> None:
    """Fields of a wrong type read as missing; they never lose the task."""
    sent = {**task, "id": task_id}
    info = decode_task(sent)
    assert info.id == str(task_id)
    assert info.raw == sent
    assert info.progress is None or 0 <= info.progress <= 100
    for moment_ in (info.submitted_at, info.started_at, info.finished_at):
        assert moment_ is None or moment_.tzinfo is not None
    for words in (info.prompt, info.image_url, info.fail_reason, info.state, info.final_prompt):
        assert words is None or (isinstance(words, str) and words)
    assert all(isinstance(button.label, str) for button in info.buttons)
    assert hash(info.status) == hash(str(info.status))


@given(TASKS)
def test_json_survives(task: dict[str, Any]) -> None:
    """What is dumped is what is loaded."""
    assert parse_json(dump_json(task)) == task
    assert orjson.loads(dump_json(task)) == task


WORDS = st.text('{}[],:"\\\né', max_size=40)
OBJECTS = st.dictionaries(
    WORDS,
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | WORDS
    | st.lists(st.dictionaries(WORDS, WORDS, max_size=2), max_size=2),
    max_size=3,
)
"""Objects full of what could be taken for the end of one."""


@given(st.lists(st.tuples(OBJECTS, st.booleans()), max_size=12), st.lists(OBJECTS, max_size=3))
def test_cutting_a_list_up_loses_nothing(
    tasks: list[tuple[dict[str, Any], bool]], gone: list[dict[str, Any]]
) -> None:
    """What is cut out as known was known, and with it the rest is the whole list."""
    known = [orjson.dumps(task) for task, is_known in tasks if is_known]
    body = orjson.dumps([task for task, _ in tasks])
    parts = split_task_list(body, [*map(orjson.dumps, gone), *known])
    if parts is not None:
        same, others = parts
        assert all(orjson.loads(one) == task for one, task in others)
        assert same <= {*known, *map(orjson.dumps, gone)}
        assert {*same, *(one for one, _ in others)} == {orjson.dumps(task) for task, _ in tasks}


@given(st.lists(OBJECTS, min_size=1, max_size=9), st.randoms())
def test_what_is_known_is_found_in_any_order(tasks: list[dict[str, Any]], random: Random) -> None:
    """A list of tasks that are told apart by their ids is known whatever its order."""
    prompt = {"prompt": "a red fox " * 9}
    bodies = [orjson.dumps({"id": f"{at:016}", **prompt, **task}) for at, task in enumerate(tasks)]
    shuffled = random.sample(bodies, len(bodies))
    assert split_task_list(b"[%b]" % b",".join(shuffled), bodies) == ({*bodies}, [])


def test_news_in_a_list_is_found_among_what_is_known() -> None:
    """What has changed, or is new, is read, and comes with its bytes; objects within it or not."""
    nested = {"id": "1747972455123009", "siblings": [{"id": "1"}, {"id": "2"}]}
    known, changed = (orjson.dumps({**ORIGINAL_RUNNING, "progress": at}) for at in ("1%", "2%"))
    body = b"[%b,%b]" % (changed, known)
    assert split_task_list(body, [known]) == ({known}, [(changed, orjson.loads(changed))])
    spaced = split_task_list(b"[%b, %b]" % (known, changed), [known])
    assert spaced == ({known}, [(b" " + changed, orjson.loads(changed))])
    assert split_task_list(body + b"\n", [known]) == split_task_list(body, [known])
    assert split_task_list(orjson.dumps([nested, nested]), []) is None  # halves: read as a whole


@pytest.mark.parametrize("body", [
    b"", b"[", b"]", b"[]", b"null", b"{}", b"[K", b"[K,]", b"[K}", b"[KK]", b"[K,K", b"[K:K]",
    b"[K,5]", b"[K]]", b"[K,[]]",
])  # fmt: skip
def test_what_is_no_plain_list_is_not_cut_up(body: bytes) -> None:
    """What is not exactly a list of objects, side by side, is left to whoever reads all of it."""
    known = orjson.dumps(ORIGINAL_RUNNING)
    assert split_task_list(b"[K,K]".replace(b"K", known), [known]) == ({known}, [])
    assert split_task_list(body.replace(b"K", known), [known]) is None
