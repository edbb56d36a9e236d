"""How the servers of the family differ, as a table: a dialect is a row, not a subclass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .replies import Reply, spring_error, success_false

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DIALECTS", "Dialect"]

_SUBMITS_ORIGINAL: Final = frozenset({"imagine", "blend", "describe", "change", "simple-change"})
_READS_ORIGINAL: Final = frozenset({"fetch", "list", "queue", "list-by-condition"})
_SUBMITS_PLUS: Final = _SUBMITS_ORIGINAL | {
    "action",
    "modal",
    "shorten",
    "upload-discord-images",
    "swap",
}
_READS_PLUS: Final = _READS_ORIGINAL | {"list-by-ids", "image-seed", "cancel"}

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
    auth_headers: tuple[str, ...]
    """Headers a token is read from; the first one that is present decides (§6.2)."""
    unauthorised: Reply
    """Answer to a missing or a wrong token (§6.2)."""
    unrouted: Callable[[int, str], Reply]
    """Answer to a path it does not know, from status and path (§7.5)."""
    malformed: Callable[[int, str], Reply]
    """Answer to bad JSON, a wrong JSON type or an unknown enum value (§7.1 C, H)."""
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
    actions: Mapping[str, str] = attrs.field(factory=dict)
    """Where its ``action`` for a verb is not the usual one (§3.3)."""


_PLUS: Final = Dialect(
    name="plus",
    endpoints=_SUBMITS_PLUS | _READS_PLUS,
    path_modes=True,
    auth_headers=("Authorization", "mj-api-secret"),
    unauthorised=Reply(
        status=401, body=b"Authorization header missing.", content_type="text/plain"
    ),
    unrouted=lambda _status, _path: Reply(status=404),
    malformed=success_false,
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
)

_ORIGINAL: Final = Dialect(
    name="original",
    endpoints=_SUBMITS_ORIGINAL | _READS_ORIGINAL,
    path_modes=False,
    auth_headers=("mj-api-secret",),
    unauthorised=Reply(status=401),
    unrouted=spring_error,
    malformed=spring_error,
    strict_strings=False,
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
)

DIALECTS: Final[Mapping[str, Dialect]] = {row.name: row for row in (_PLUS, _ORIGINAL)}
"""Every dialect by name."""
