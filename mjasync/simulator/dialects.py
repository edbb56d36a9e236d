"""How the servers of the family differ, as a table: a dialect is a row, not a subclass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from . import task_json_open_plus, task_json_original
from .button_sets import OFFERS_SYNTHETIC
from .dialect import Dialect
from .http_rules import ASP_NET, OPEN_TO_BROWSERS, SPRING
from .responses import Reply, spring_error, success_false

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["DIALECTS"]

_SUBMITS_ORIGINAL: Final = frozenset({"imagine", "blend", "describe", "change", "simple-change"})
_SUBMITS_OPEN: Final = frozenset(
    {
        *("imagine", "blend", "describe", "shorten", "action", "modal", "upload-discord-images"),
        *("edits", "retexture", "video", "swap", "video-swap"),
    }
)
_SUBMITS_PLUS: Final = _SUBMITS_ORIGINAL | _SUBMITS_OPEN | {"show"}
_ABOUT_TASKS: Final = frozenset({"fetch", "list", "list-by-condition"})
_READS_ORIGINAL: Final = _ABOUT_TASKS | {"queue", "account-list", "account-fetch"}
_READS_OPEN: Final = _ABOUT_TASKS | {"list-by-ids", "image-seed", "cancel"}
_READS_PLUS: Final = _READS_OPEN | {"queue", "account-query"}

_KEYS_ORIGINAL: Final = (
    *("id", "properties", "action", "status", "prompt", "promptEn", "description", "state"),
    *("submitTime", "startTime", "finishTime", "imageUrl", "progress", "failReason"),
)
_KEYS_PLUS: Final = (*_KEYS_ORIGINAL, "buttons", "imageHeight", "imageWidth")

_PROPERTIES_ORIGINAL: Final = (
    *("notifyHook", "finalPrompt", "messageId", "messageHash", "progressMessageId", "flags"),
    *("nonce", "discordInstanceId", "referencedMessageId"),
)
_PROPERTIES_PLUS: Final = (
    *_PROPERTIES_ORIGINAL,
    *("botType", "messageContent", "finalZhPrompt", "customId", "modalCustomId"),
    "discordChannelId",
)


_PLUS: Final = Dialect(
    name="plus",
    endpoints=_SUBMITS_PLUS | _READS_PLUS,
    path_modes=True,
    path_hosts=True,
    # what §6.2 and §1.15 tell of the open re-implementation stands for the closed Plus, too
    auth_headers=("Authorization", "mj-api-secret"),
    unauthorised=Reply(
        status=401, body=b"Authorization header missing.", content_type="text/plain"
    ),
    unrouted=lambda _status, _path: Reply(status=404),
    malformed=success_false,
    http=OPEN_TO_BROWSERS,
    strict_strings=True,
    unknown_task=Reply(status=204),
    unknown_parent_status=404,
    data_urls_only=False,
    task_keys=_KEYS_PLUS,
    property_keys=_PROPERTIES_PLUS,
    submit_properties=("discordInstanceId", "discordChannelId"),
    list_limit=100,
    missing_index_status=200,
    checks_index=True,
    expired_link_status=403,
    cancel_status="CANCEL",
    failure_progress="",
    modal_always=frozenset({"custom_zoom", "inpaint", "picture_prompt", "short_prompt"}),
    modal_on_remix=frozenset({"variation", "vary", "pan", "reroll"}),
    modal_description="窗口等待",
    modal_linger=2.0,
    refused_verbs=frozenset({"bookmark", "picture_prompt_all"}),
    video_urls=True,
)

_ORIGINAL: Final = Dialect(
    name="original",
    endpoints=_SUBMITS_ORIGINAL | _READS_ORIGINAL,
    path_modes=False,
    path_hosts=False,
    auth_headers=("mj-api-secret",),
    unauthorised=Reply(status=401),
    unrouted=spring_error,
    malformed=spring_error,
    http=SPRING,
    jackson=True,
    strict_strings=False,
    fields=task_json_original.FIELDS,
    properties=task_json_original.PROPERTIES,
    null_properties=frozenset({"notifyHook"}),
    progress_texts=task_json_original.PROGRESS,
    preview_from=1,
    renews_links=False,
    counts_before=True,
    unknown_task=Reply(status=200),
    unknown_parent_status=200,
    data_urls_only=True,
    task_keys=_KEYS_ORIGINAL,
    property_keys=_PROPERTIES_ORIGINAL,
    submit_properties=("discordInstanceId",),
    list_limit=None,
    missing_index_status=500,
    checks_index=False,
    expired_link_status=404,
    cancel_status="FAILURE",
    failure_progress="",
    one_id=True,
    gives_up={"stall": (300, "任务超时")},
)

_OPEN_PLUS: Final = attrs.evolve(
    _PLUS,
    name="open-plus",
    http=ASP_NET,
    says={
        "uploads": "base64 参数错误",
        "images": "图片参数错误，2~5张图片",
        "picture": "base64或link不能为空",
        "link": "链接格式错误",
    },
    names_described=False,
    path_hosts=False,
    endpoints=_SUBMITS_OPEN | _READS_OPEN,
    task_keys=task_json_open_plus.KEYS,
    property_keys=task_json_open_plus.PROPERTY_KEYS,
    fields=task_json_open_plus.FIELDS,
    properties=task_json_open_plus.PROPERTIES,
    blank_on_success=("failReason", "state"),
    video_urls=False,
    one_id=True,
    without_account=frozenset({"swap", "swap_video"}),
    blend_has_prompt=True,
    translates=True,
    told_twice=True,
    cancel_status="FAILURE",
    admin_only=frozenset({"cancel"}),
    admin_token="sim-admin",  # noqa: S106 - nobody's secret
    not_admin=Reply(status=400, body="演示模式，禁止操作".encode(), content_type="text/plain"),
    any_case=True,
    text_limits={"state": 255, "notifyHook": 2000},
    blank_prompts=frozenset({"shorten"}),
    bans_late=True,
    bare_upload_failure=True,
    edit_refusal="当前账号不支持编辑/重绘任务",
    extend_refusal="未开启 REMIX，无法使用视频扩展功能",
    remix_refusal="当前账号不支持 remix 模式",
    queue_full=(9, "提交失败，队列已满，请稍后重试"),
    never_full=frozenset({"upsample", "pick_video"}),
    refused_verbs=frozenset({"bookmark", "short_prompt", "details"}),
    refusal="未知的 Action 类型",
    actions={"hd": "UPSCALE_HD"},
    reroll_keeps_action=True,
    offers=OFFERS_SYNTHETIC,
    modal_always=frozenset({"custom_zoom", "inpaint", "picture_prompt"}),
    modal_on_remix=frozenset({"variation", "vary", "pan", "reroll", "animate", "extend"}),
    modal_description="Waiting for window confirm",
    modal_linger=20.0,
    modal_unchecked=True,
    modal_from_parent=True,
    keycaps_kept=True,
    restarts=frozenset({"extend"}),
    seed_seconds=20.0,
    gives_up={"stall": (300, "执行超时 5 分钟"), "stuck": (3600, "任务提交超时")},
)

DIALECTS: Final[Mapping[str, Dialect]] = {row.name: row for row in (_PLUS, _ORIGINAL, _OPEN_PLUS)}
"""Every dialect by name."""
