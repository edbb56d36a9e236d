"""What one server of the family does differently: the fields of a dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from .button_sets import BUTTON_SETS, ButtonSet
from .http_rules import HttpRules
from .images.store import ImageStore
from .responses import SimResponse
from .sim_task import SimTask

__all__ = ["Dialect", "TaskSource"]


class TaskSource(Protocol):
    """What the fields of a Task JSON are made from, besides the task."""

    @property
    def images(self) -> ImageStore:
        """The images, and their links."""
        ...

    def build_properties(self, task: SimTask) -> dict[str, object]:
        """Return the `properties` of a task."""
        ...

    def format_progress(self, task: SimTask) -> str | None:
        """Return the `progress` of a task."""
        ...


@attrs.frozen(kw_only=True)
class Dialect:
    """The quirks of one server, each with the PROTOCOL section that states it."""

    name: str
    endpoints: frozenset[str]
    """Endpoints it serves (§1.0), by the last word of their path."""
    has_path_modes: bool
    """Whether ``/mj-turbo/mj`` and its like are routed (§6.1)."""
    has_path_hosts: bool
    """Whether an image host may stand there too, ``/mj-turbo-proxy/mj``. §6.1 knows of no server
    but gateways that take it; ``plus`` does, so that one server can play the whole contract."""
    auth_headers: tuple[str, ...]
    """Headers a token is read from; the first one that is present decides (§6.2)."""
    unauthorized: SimResponse
    """Answer to a missing or a wrong token (§6.2)."""
    unrouted_response: Callable[[int, str], SimResponse]
    """Answer to a path it does not know, from status and path (§7.5)."""
    malformed_response: Callable[[int, str], SimResponse]
    """Answer to bad JSON, a wrong JSON type or an unknown enum value (§7.1 C, H)."""
    http_rules: HttpRules
    """What its framework does around the endpoints (§7.1, §7.5)."""
    has_strict_strings: bool
    """Whether a number in place of a string is malformed (§7.2)."""
    unknown_task_response: SimResponse
    """Answer to a fetch of an unknown id (§1.15)."""
    unknown_parent_status: int
    """HTTP status of the code 3 for an unknown parent task (§1.6, §1.8)."""
    requires_data_urls: bool
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
    always_modal_operations: frozenset[str] = frozenset()
    """Verbs that always open a modal (§4.1)."""
    remix_modal_operations: frozenset[str] = frozenset()
    """Verbs that open one when the account has remix on (§4.1)."""
    modal_description: str = ""
    """The ``description`` of a code 21 (§2)."""
    modal_linger_seconds: float = 0.0
    """Simulated seconds the status stays MODAL after the modal was accepted (§4.3)."""
    refused_operations: frozenset[str] = frozenset()
    """Buttons it shows and yet refuses (§5.1)."""
    refused_operation_message: str = "不支持的操作"
    """The ``description`` of that (§1.8)."""
    actions: Mapping[str, str] = attrs.field(factory=dict)
    """Where its ``action`` for a verb is not the usual one (§3.3)."""
    reroll_keeps_action: bool = False
    """Whether a reroll takes the action of what it rerolls, IMAGINE for UPSCALE (§3.3)."""
    button_sets: Mapping[str, ButtonSet] = BUTTON_SETS
    """The buttons it writes (§5.1)."""

    # What it takes.
    uses_jackson: bool = False
    """Whether bodies bind as Jackson binds them: the first JSON value alone, blanks kept, ordinals
    for words, decimals for integers, nulls in lists, any data URL (§7.2)."""
    ignores_key_case: bool = False
    """Whether keys may be written in any case (§1.0)."""
    max_text_lengths: Mapping[str, int] = attrs.field(factory=dict)
    """The longest ``state`` and ``notifyHook`` (§1.1)."""
    blank_prompt_endpoints: frozenset[str] = frozenset()
    """Endpoints that take a blank prompt (§1.5)."""
    checks_words_late: bool = False
    """Whether a banned prompt is let in and its task fails; otherwise code 24 (§2)."""
    has_bare_upload_errors: bool = False
    """Whether a failed upload is a code and a description alone (§1.12)."""
    edit_refusal: str = ""
    """The ``description`` of the code 9 for edits and retextures, if it cannot (§1.10)."""
    extend_refusal: str = ""
    """The same for extending a video without remix (§1.11)."""
    remix_refusal: str = ""
    """The ``description`` of the code 4 for ``enableRemix`` without remix, if that (§4.1)."""
    queue_full_error: tuple[int, str] = (23, "队列已满，请稍后尝试")
    """Code and ``description`` of a full queue (§2)."""
    has_unbounded_queue: frozenset[str] = frozenset()
    """Verbs there is always room for (§7.3)."""

    # Modals.
    has_unchecked_modals: bool = False
    """Whether a modal may be answered for any task, and again (§1.9)."""
    modal_uses_parent_prompt: bool = False
    """Whether a modal without a prompt takes its parent's and not the one it offers (§1.9)."""
    keeps_keycaps: bool = False
    """Whether the prompt a described picture's modal offers begins with its keycap (§1.9)."""

    # What it tells.
    messages: Mapping[str, str] = attrs.field(factory=dict)
    """Its own words for a blend of too few ``images``, no ``picture``, and a bad ``link``."""
    describe_names_file: bool = True
    """Whether the ``description`` of a describe names a file."""
    counts_before_check: bool = False
    """Whether a place in the queue is how many waited before: the first to wait gets code 1."""
    null_properties: frozenset[str] = frozenset()
    """Properties that are there even if null."""
    progress_texts: Mapping[int, str] = attrs.field(factory=dict)
    """What it says for some percentages (§3.6)."""
    preview_from_percent: int = 31
    """The percentage from which on a grid has a preview (§3.6)."""
    refreshes_links: bool = True
    """Whether fetching a task again gives a fresh link for one that has run out (§7.3)."""
    field_overrides: Mapping[str, Callable[[TaskSource, SimTask], object]] = attrs.field(
        factory=dict
    )
    """Keys of the Task JSON that say something else than usual (§3.3)."""
    property_overrides: Mapping[str, Callable[[SimTask], object]] = attrs.field(factory=dict)
    """The same for its ``properties``."""
    blank_success_keys: tuple[str, ...] = ()
    """Keys that are "" and not null in a success (§3.3, §7.3)."""
    has_video_urls: bool = False
    """Whether a video has ``videoUrls`` without being asked for ``image_urls`` (§3.3, §3.4)."""
    channel_id_is_account_id: bool = False
    """Whether an account's channel id is its own id again (§1.16, §2)."""
    operations_without_account: frozenset[str] = frozenset()
    """Verbs that tell of no account (§1.13)."""
    blend_has_prompt: bool = False
    """Whether a blend's ``prompt`` is its links and ``--ar`` (§1.3)."""
    translates_descriptions: bool = False
    """Whether a describe heeds ``language`` (§1.4)."""
    notifies_twice: bool = False
    """Whether the end of a task is notified twice (§1.17)."""

    # Time, in simulated seconds.
    status_restarts: frozenset[str] = frozenset()
    """Verbs whose progress goes back to 0% midway (§3.6)."""
    seed_delay_seconds: float = 0.0
    """How long the first question for a seed takes (§1.15)."""
    upstream_timeout: Mapping[str, tuple[float, str]] = attrs.field(factory=dict)
    """When a task that a fault ``stall`` or ``stuck`` holds fails, and its failReason (§3.6)."""

    # Administration.
    admin_only_endpoints: frozenset[str] = frozenset()
    """Endpoints that are refused to all but the administrator (§1.15)."""
    admin_token: str | None = None
    """The administrator's token, which is good for everything else too."""
    not_admin_response: SimResponse = attrs.field(factory=SimResponse)
    """The answer to all others."""
