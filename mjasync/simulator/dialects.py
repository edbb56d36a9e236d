"""How the servers of the family differ, as a table: a dialect is a row, not a subclass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from . import task_json_open_plus as v11
from . import task_json_original as original
from .button_sets import OFFERS, OFFERS_SYNTHETIC, Offer
from .http_rules import ASP_NET, OPEN_TO_BROWSERS, SPRING, HttpRules
from .responses import Reply, spring_error, success_false

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .sim_task import SimTask
    from .task_json import View

__all__ = ["DIALECTS", "Dialect"]

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


@attrs.frozen(kw_only=True)
class Dialect:
    """The quirks of one server, each with the PROTOCOL section that states it."""

    name: str
    endpoints: frozenset[str]
    """Endpoints it serves (§1.0), by the last word of their path."""
    path_modes: bool
    """Whether ``/mj-turbo/mj`` and its like are routed (§6.1)."""
    path_hosts: bool
    """Whether an image host may stand there too, ``/mj-turbo-proxy/mj``. §6.1 knows of no server
    but gateways that take it; ``plus`` does, so that one server can play the whole contract."""
    auth_headers: tuple[str, ...]
    """Headers a token is read from; the first one that is present decides (§6.2)."""
    unauthorised: Reply
    """Answer to a missing or a wrong token (§6.2)."""
    unrouted: Callable[[int, str], Reply]
    """Answer to a path it does not know, from status and path (§7.5)."""
    malformed: Callable[[int, str], Reply]
    """Answer to bad JSON, a wrong JSON type or an unknown enum value (§7.1 C, H)."""
    http: HttpRules
    """What its framework does around the endpoints (§7.1, §7.5)."""
    strict_strings: bool
    """Whether a number in place of a string is malformed (§7.2)."""
    unknown_task: Reply
    """Answer to a fetch of an unknown id (§1.15)."""
    unknown_parent_status: int
    """HTTP status of the code 3 for an unknown parent task (§1.6, §1.8)."""
    data_urls_only: bool
    """Whether an image must be a data URL; otherwise bare base64 and links do too (§1.1)."""
    task_keys: tuple[str, ...]
    """Keys of the Task JSON, always all present (§3)."""
    property_keys: tuple[str, ...]
    """Keys its ``properties`` may hold (§3)."""
    submit_properties: tuple[str, ...]
    """Properties of an accepting SubmitResult (§2)."""
    list_limit: int | None
    """The most tasks ``/mj/task/list`` shows (§1.15)."""
    missing_index_status: int
    """HTTP status for a change without an index: 200 is a code 4 (§1.6)."""
    checks_index: bool
    """Whether a change with an index outside 1-4 is refused at once (§1.6)."""
    expired_link_status: int
    """HTTP status of an image link that has run out (§7.3)."""
    cancel_status: str
    """Status a cancelled task ends in (§1.15, §3.6)."""
    failure_progress: str
    """The ``progress`` of a failed task (§3.6)."""
    modal_always: frozenset[str] = frozenset()
    """Verbs that always open a modal (§4.1)."""
    modal_on_remix: frozenset[str] = frozenset()
    """Verbs that open one when the account has remix on (§4.1)."""
    modal_description: str = ""
    """The ``description`` of a code 21 (§2)."""
    modal_linger: float = 0.0
    """Simulated seconds the status stays MODAL after the modal was accepted (§4.3)."""
    refused_verbs: frozenset[str] = frozenset()
    """Buttons it shows and yet refuses (§5.1)."""
    refusal: str = "不支持的操作"
    """The ``description`` of that (§1.8)."""
    actions: Mapping[str, str] = attrs.field(factory=dict)
    """Where its ``action`` for a verb is not the usual one (§3.3)."""
    reroll_keeps_action: bool = False
    """Whether a reroll takes the action of what it rerolls, IMAGINE for UPSCALE (§3.3)."""
    offers: Mapping[str, Offer] = OFFERS
    """The buttons it writes (§5.1)."""

    # What it takes.
    jackson: bool = False
    """Whether bodies bind as Jackson binds them: the first JSON value alone, blanks kept, ordinals
    for words, decimals for integers, nulls in lists, any data URL (§7.2)."""
    any_case: bool = False
    """Whether keys may be written in any case (§1.0)."""
    text_limits: Mapping[str, int] = attrs.field(factory=dict)
    """The longest ``state`` and ``notifyHook`` (§1.1)."""
    blank_prompts: frozenset[str] = frozenset()
    """Endpoints that take a blank prompt (§1.5)."""
    bans_late: bool = False
    """Whether a banned prompt is let in and its task fails; otherwise code 24 (§2)."""
    bare_upload_failure: bool = False
    """Whether a failed upload is a code and a description alone (§1.12)."""
    edit_refusal: str = ""
    """The ``description`` of the code 9 for edits and retextures, if it cannot (§1.10)."""
    extend_refusal: str = ""
    """The same for extending a video without remix (§1.11)."""
    remix_refusal: str = ""
    """The ``description`` of the code 4 for ``enableRemix`` without remix, if that (§4.1)."""
    queue_full: tuple[int, str] = (23, "队列已满，请稍后尝试")
    """Code and ``description`` of a full queue (§2)."""
    never_full: frozenset[str] = frozenset()
    """Verbs there is always room for (§7.3)."""

    # Modals.
    modal_unchecked: bool = False
    """Whether a modal may be answered for any task, and again (§1.9)."""
    modal_from_parent: bool = False
    """Whether a modal without a prompt takes its parent's and not the one it offers (§1.9)."""
    keycaps_kept: bool = False
    """Whether the prompt a described picture's modal offers begins with its keycap (§1.9)."""

    # What it tells.
    says: Mapping[str, str] = attrs.field(factory=dict)
    """Its own words for a blend of too few ``images``, no ``picture``, and a bad ``link``."""
    names_described: bool = True
    """Whether the ``description`` of a describe names a file."""
    counts_before: bool = False
    """Whether a place in the queue is how many waited before: the first to wait gets code 1."""
    null_properties: frozenset[str] = frozenset()
    """Properties that are there even if null."""
    progress_texts: Mapping[int, str] = attrs.field(factory=dict)
    """What it says for some percentages (§3.6)."""
    preview_from: int = 31
    """The percentage from which on a grid has a preview (§3.6)."""
    renews_links: bool = True
    """Whether fetching a task again gives a fresh link for one that has run out (§7.3)."""
    fields: Mapping[str, Callable[[View, SimTask], object]] = attrs.field(factory=dict)
    """Keys of the Task JSON that say something else than usual (§3.3)."""
    properties: Mapping[str, Callable[[SimTask], object]] = attrs.field(factory=dict)
    """The same for its ``properties``."""
    blank_on_success: tuple[str, ...] = ()
    """Keys that are "" and not null in a success (§3.3, §7.3)."""
    video_urls: bool = False
    """Whether a video has ``videoUrls`` without being asked for ``image_urls`` (§3.3, §3.4)."""
    one_id: bool = False
    """Whether an account's channel id is its own id again (§1.16, §2)."""
    without_account: frozenset[str] = frozenset()
    """Verbs that tell of no account (§1.13)."""
    blend_has_prompt: bool = False
    """Whether a blend's ``prompt`` is its links and ``--ar`` (§1.3)."""
    translates: bool = False
    """Whether a describe heeds ``language`` (§1.4)."""
    told_twice: bool = False
    """Whether the end of a task is notified twice (§1.17)."""

    # Time, in simulated seconds.
    restarts: frozenset[str] = frozenset()
    """Verbs whose progress goes back to 0% midway (§3.6)."""
    seed_seconds: float = 0.0
    """How long the first question for a seed takes (§1.15)."""
    gives_up: Mapping[str, tuple[float, str]] = attrs.field(factory=dict)
    """When a task that a fault ``stall`` or ``stuck`` holds fails, and its failReason (§3.6)."""

    # Administration.
    admin_only: frozenset[str] = frozenset()
    """Endpoints that are refused to all but the administrator (§1.15)."""
    admin_token: str | None = None
    """The administrator's token, which is good for everything else too."""
    not_admin: Reply = attrs.field(factory=Reply)
    """The answer to all others."""


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
    fields=original.FIELDS,
    properties=original.PROPERTIES,
    null_properties=frozenset({"notifyHook"}),
    progress_texts=original.PROGRESS,
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
    task_keys=v11.KEYS,
    property_keys=v11.PROPERTY_KEYS,
    fields=v11.FIELDS,
    properties=v11.PROPERTIES,
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
