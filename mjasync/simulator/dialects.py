"""How the servers of the family differ, as a table: one row for each dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from . import task_json_open_plus, task_json_original
from .button_sets import BUTTON_SETS_SYNTHETIC
from .dialect import Dialect
from .http_rules import MISSING_AUTHORIZATION, AspNetRules, ClosedPlusRules, SpringRules
from .responses import SimResponse, asp_net_binding_error, spring_error

if TYPE_CHECKING:
    from collections.abc import Mapping


_SUBMITS_ORIGINAL: Final = frozenset({"imagine", "blend", "describe", "change", "simple-change"})
_SUBMITS_OPEN: Final = frozenset(
    {
        *("imagine", "blend", "describe", "shorten", "action", "modal", "upload-discord-images"),
        *("edits", "retexture", "video", "swap", "video-swap"),
    }
)
_SUBMITS_PLUS: Final = _SUBMITS_ORIGINAL | _SUBMITS_OPEN | {"show"}
_TASK_READS: Final = frozenset({"fetch", "list", "list-by-condition"})
_READS_ORIGINAL: Final = _TASK_READS | {"queue", "account-list", "account-fetch"}
_READS_OPEN: Final = _TASK_READS | {"list-by-ids", "image-seed", "cancel"}
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
    has_path_modes=True,
    has_path_hosts=True,
    # §6.2 and §1.15 describe the open re-implementation; the closed Plus is taken to be the same
    auth_headers=("Authorization", "mj-api-secret"),
    unauthorized=MISSING_AUTHORIZATION,
    unrouted_response=lambda _status, _path: SimResponse(status=404),
    malformed_response=asp_net_binding_error,
    http_rules=ClosedPlusRules(),
    unknown_task_response=SimResponse(status=204),
    unknown_parent_status=404,
    requires_data_urls=False,
    task_keys=_KEYS_PLUS,
    property_keys=_PROPERTIES_PLUS,
    submit_properties=("discordInstanceId", "discordChannelId"),
    list_limit=100,
    missing_index_status=200,
    checks_index=True,
    expired_link_status=403,
    cancel_status="CANCEL",
    always_modal_operations=frozenset({"custom_zoom", "inpaint", "picture_prompt", "short_prompt"}),
    remix_modal_operations=frozenset({"variation", "vary", "pan", "reroll"}),
    modal_description="窗口等待",
    modal_linger_seconds=2.0,
    refused_operations=frozenset({"bookmark", "picture_prompt_all"}),
    has_video_urls=True,
)
_ORIGINAL: Final = Dialect(
    name="original",
    endpoints=_SUBMITS_ORIGINAL | _READS_ORIGINAL,
    has_path_modes=False,
    has_path_hosts=False,
    auth_headers=("mj-api-secret",),
    unauthorized=SimResponse(status=401),
    unrouted_response=spring_error,
    malformed_response=spring_error,
    http_rules=SpringRules(),
    uses_jackson=True,
    field_overrides=task_json_original.FIELDS,
    property_overrides=task_json_original.PROPERTIES,
    null_properties=frozenset({"notifyHook"}),
    progress_texts=task_json_original.PROGRESS_TEXTS,
    preview_from_percent=1,
    refreshes_links=False,
    counts_before_check=True,
    unknown_task_response=SimResponse(status=200),
    unknown_parent_status=200,
    requires_data_urls=True,
    task_keys=_KEYS_ORIGINAL,
    property_keys=_PROPERTIES_ORIGINAL,
    submit_properties=("discordInstanceId",),
    list_limit=None,
    missing_index_status=500,
    checks_index=False,
    expired_link_status=404,
    cancel_status="FAILURE",
    channel_id_is_account_id=True,
    upstream_timeout={"stall": (300, "任务超时")},
)
_OPEN_PLUS: Final = attrs.evolve(
    _PLUS,
    name="open-plus",
    http_rules=AspNetRules(),
    messages={
        "uploads": "base64 参数错误",
        "images": "图片参数错误，2~5张图片",
        "picture": "base64或link不能为空",
        "link": "链接格式错误",
    },
    describe_names_file=False,
    has_path_hosts=False,
    endpoints=_SUBMITS_OPEN | _READS_OPEN,
    task_keys=task_json_open_plus.TASK_KEYS,
    property_keys=task_json_open_plus.PROPERTY_KEYS,
    field_overrides=task_json_open_plus.FIELDS,
    property_overrides=task_json_open_plus.PROPERTIES,
    blank_success_keys=("failReason", "state"),
    has_video_urls=False,
    channel_id_is_account_id=True,
    operations_without_account=frozenset({"swap", "swap_video"}),
    blend_has_prompt=True,
    translates_descriptions=True,
    notifies_twice=True,
    cancel_status="FAILURE",
    admin_only_endpoints=frozenset({"cancel"}),
    admin_token="sim-admin",  # noqa: S106 - of a simulator
    not_admin_response=SimResponse(
        status=400, body="演示模式，禁止操作".encode(), content_type="text/plain"
    ),
    ignores_key_case=True,
    max_text_lengths={"state": 255, "notifyHook": 2000},
    blank_prompt_endpoints=frozenset({"shorten"}),
    checks_words_late=True,
    has_bare_upload_errors=True,
    edit_refusal="当前账号不支持编辑/重绘任务",
    extend_refusal="未开启 REMIX，无法使用视频扩展功能",
    remix_refusal="当前账号不支持 remix 模式",
    queue_full_error=(9, "提交失败，队列已满，请稍后重试"),
    has_unbounded_queue=frozenset({"upsample", "pick_video"}),
    refused_operations=frozenset({"bookmark", "short_prompt", "details"}),
    refused_operation_message="未知的 Action 类型",
    actions={"hd": "UPSCALE_HD"},
    reroll_keeps_action=True,
    button_sets=BUTTON_SETS_SYNTHETIC,
    always_modal_operations=frozenset({"custom_zoom", "inpaint", "picture_prompt"}),
    remix_modal_operations=frozenset({"variation", "vary", "pan", "reroll", "animate", "extend"}),
    modal_description="Waiting for window confirm",
    modal_linger_seconds=20.0,
    has_unchecked_modals=True,
    modal_uses_parent_prompt=True,
    keeps_keycaps=True,
    status_restarts=frozenset({"extend"}),
    seed_delay_seconds=20.0,
    upstream_timeout={"stall": (300, "执行超时 5 分钟"), "stuck": (3600, "任务提交超时")},
)
DIALECTS: Final[Mapping[str, Dialect]] = {row.name: row for row in (_PLUS, _ORIGINAL, _OPEN_PLUS)}
"""Every dialect by name."""
