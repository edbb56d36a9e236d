"""What a finished task means: its verdict, its texts, its links, its buttons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import (
    Button,
    InvalidRequest,
    MJError,
    TaskBanned,
    TaskCancelled,
    TaskFailed,
    TaskInfo,
    TaskStatus,
)
from mjasync._models import prompts_of, text_of
from mjasync._protocol.decoding import decode_task
from mjasync._protocol.results import buttons_of, is_grid, raise_for_status, result_url

KEYCAPS = (
    "1️⃣ a red fox in the snow --ar 3:2\n\n2️⃣ a fox, watercolor --ar 3:2\n\n"
    "3️⃣ an orange animal --ar 3:2\n\n4️⃣ winter --ar 3:2"
)
FOUR = (
    "a red fox in the snow --ar 3:2",
    "a fox, watercolor --ar 3:2",
    "an orange animal --ar 3:2",
    "winter --ar 3:2",
)


def task(**fields: object) -> TaskInfo:
    """A task as a server sends it, finished unless told otherwise."""
    return decode_task({"id": "17", "status": "SUCCESS", "action": "IMAGINE", **fields})


# --- the verdict -------------------------------------------------------------------------------


def test_success_is_no_error() -> None:
    """A finished task raises nothing, whatever else it says."""
    raise_for_status(task(failReason="可能包含敏感词", progress="3%"))


@pytest.mark.parametrize(
    "status, reason, error",
    [
        ("FAILURE", "任务超时", TaskFailed),
        ("FAILURE", "", TaskFailed),
        ("FAILURE", None, TaskFailed),
        ("FAILURE", "可能包含敏感词", TaskBanned),
        ("FAILURE", "Banned prompt detected: blood", TaskBanned),
        ("FAILURE", "取消任务", TaskCancelled),
        ("CANCEL", None, TaskCancelled),
        ("CANCEL", "可能包含敏感词", TaskCancelled),
    ],
)
def test_verdicts(status: str, reason: str | None, error: type[TaskFailed]) -> None:
    """An ended task raises what its status and reason mean, with the server's words."""
    info = task(status=status, failReason=reason, progress="100%")
    with pytest.raises(TaskFailed) as caught:
        raise_for_status(info)
    assert type(caught.value) is error
    assert caught.value.reason == (reason or "")
    assert (reason or "task 17") in str(caught.value)
    assert (caught.value.task_id, caught.value.info) == ("17", info)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "reason, word",
    [
        ("可能包含敏感词", ""),
        ("可能包含敏感词: blood ", "blood"),
        ("可能包含敏感词：鲜血", "鲜血"),
        ("Banned prompt detected: blood moon", "blood moon"),
    ],
)
def test_banned_word_in_the_reason(reason: str, word: str) -> None:
    """A reason that names the banned word has it told apart."""
    with pytest.raises(TaskBanned) as caught:
        raise_for_status(task(status="FAILURE", failReason=reason))
    assert caught.value.word == word


# --- the buttons -------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["IMAGINE", "VARIATION", "REROLL", "BLEND"])
@pytest.mark.parametrize("fields", [{}, {"buttons": None}])
def test_a_grid_has_buttons_where_the_server_lists_none(
    action: str, fields: dict[str, object]
) -> None:
    """A grid on a server without buttons has those every grid has, without ids."""
    info = task(action=action, **fields)
    assert buttons_of(info).names == (
        "U1",
        "U2",
        "U3",
        "U4",
        "🔄 (reroll)",
        "V1",
        "V2",
        "V3",
        "V4",
    )
    assert {button.custom_id for button in buttons_of(info)} == {""}
    assert is_grid(info)


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "UPSCALE"},
        {"action": "DESCRIBE"},
        {"action": ""},
        {"status": "IN_PROGRESS"},
        {"status": "FAILURE"},
        {"buttons": []},
    ],
)
def test_no_buttons_out_of_nothing(fields: dict[str, object]) -> None:
    """No other task has buttons but those its server lists."""
    info = task(**fields)
    assert len(buttons_of(info)) == 0
    assert not is_grid(info)


def test_the_servers_buttons() -> None:
    """Where a server lists buttons, those are the task's, and nothing is added."""
    listed = [{"customId": "MJ::JOB::upsample::1::h", "label": "U1"}]
    info = task(buttons=listed)
    assert list(buttons_of(info)) == [Button(custom_id="MJ::JOB::upsample::1::h", label="U1")]
    assert is_grid(info)


@pytest.mark.parametrize(
    "fields",
    [
        {"buttons": [{"customId": "MJ::JOB::upsample_v7_2x_subtle::1::h::SOLO"}]},
        {"buttons": [{"customId": "MJ::JOB::variation::1::h"}]},
        {
            "buttons": [{"customId": "MJ::JOB::video_virtual_upscale::1::h"}],
            "action": "VIDEO",
        },
        {
            "buttons": [{"customId": "MJ::JOB::video_virtual_upscale::1::h"}],
            "videoUrls": [{"url": "https://example.com/0.mp4"}],
        },
    ],
)
def test_what_is_no_grid(fields: dict[str, object]) -> None:
    """Single pictures and videos are not cut in four."""
    assert not is_grid(task(**fields))


# --- the texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"properties": {"finalPrompt": KEYCAPS}},
        {"properties": {"finalPrompt": ""}, "prompt": KEYCAPS},
        {"properties": None, "prompt": "", "description": KEYCAPS},
        {"properties": {"finalPrompt": KEYCAPS.replace("\ufe0f", "")}},
        {"properties": {"finalPrompt": KEYCAPS.replace("\n\n", "\r\n")}},
        {"properties": {"finalPrompt": "\r\n".join(FOUR)}},
        {"properties": {"finalPrompt": "\n".join(f"{n}. {p}" for n, p in enumerate(FOUR, 1))}},
        {"properties": {"finalPrompt": "\n".join(f"{n}) {p}" for n, p in enumerate(FOUR, 1))}},
        {"properties": {"finalPrompt": "\n".join(f"{n}、{p}" for n, p in enumerate(FOUR, 1))}},
    ],
)
@pytest.mark.parametrize("action", ["DESCRIBE", "SHORTEN"])
def test_prompts(action: str, fields: dict[str, object]) -> None:
    """The four prompts are found wherever a dialect puts them, however it numbers them."""
    info = task(action=action, **fields)
    assert prompts_of(info) == FOUR
    assert text_of(info)


def test_only_the_numbered_lines() -> None:
    """Where lines are numbered, the words around them are none of the prompts."""
    text = "**Important tokens**\nred **fox**\n\n**Shortened prompts**\n1️⃣ red fox\n\n2️⃣ fox"
    info = task(action="SHORTEN", properties={"finalPrompt": text})
    assert prompts_of(info) == ("red fox", "fox")
    assert text_of(info) == text


def test_a_number_is_no_numbering() -> None:
    """A prompt that begins with a decimal number is not taken for a numbered one."""
    lines = "3.5mm film, a fox\na red fox\n1.5 metres of snow\n3D render"
    info = task(action="DESCRIBE", properties={"finalPrompt": lines})
    assert prompts_of(info) == tuple(lines.splitlines())


@pytest.mark.parametrize(
    "fields",
    [{"action": "IMAGINE"}, {"action": "DESCRIBE", "status": "IN_PROGRESS"}, {"action": ""}],
)
def test_pictures_have_no_text(fields: dict[str, object]) -> None:
    """Only finished descriptions and shortenings have a text."""
    info = task(prompt="a fox", **fields)
    assert text_of(info) == ""
    assert prompts_of(info) == ()


def test_no_text_at_all() -> None:
    """A description without any text has no prompts."""
    assert prompts_of(task(action="DESCRIBE")) == ()


@given(st.text(max_size=100))
def test_prompts_are_never_blank(text: str) -> None:
    """Whatever the text, each prompt is a line of it that says something."""
    for prompt in prompts_of(task(action="DESCRIBE", prompt=text)):
        assert prompt.strip() == prompt != ""
        assert prompt in text


# --- the links ---------------------------------------------------------------------------------


def test_links() -> None:
    """The link is that of the video where there is one, else that of the picture."""
    picture, video = "https://example.com/fox.png", "https://example.com/fox.mp4"
    assert result_url(task(imageUrl=picture)) == picture
    assert result_url(task(imageUrl=picture, videoUrls=[{"url": video}])) == video
    assert result_url(task(imageUrl="", videoUrl=video)) == video


@pytest.mark.parametrize("action", ["SHORTEN", ""])
def test_no_link(action: str) -> None:
    """A task without a picture says where its result may be."""
    with pytest.raises(InvalidRequest, match="has no image; its result may be in") as caught:
        result_url(task(action=action, imageUrl=""))
    assert caught.value.task_id == "17"


@pytest.mark.parametrize("status", ["", "IN_PROGRESS", "FAILURE", "MODAL", "DREAMING"])
def test_previews_are_no_pictures(status: str) -> None:
    """The link of a task that is not finished leads to a preview, if anywhere."""
    info = task(status=status, imageUrl="https://example.com/grid_0.webp")
    with pytest.raises(InvalidRequest, match="await the Task first"):
        result_url(info)


@given(st.sampled_from([*TaskStatus, TaskStatus("DREAMING")]), st.text(max_size=20))
def test_only_success_is_a_success(status: TaskStatus, reason: str) -> None:
    """Everything but SUCCESS raises when judged."""
    info = TaskInfo(id="17", status=status, fail_reason=reason)
    if status is TaskStatus.SUCCESS:
        raise_for_status(info)
        return
    with pytest.raises(MJError):
        raise_for_status(info)
