"""The dialect of a server of the family: all quirks in which the servers differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from .button_sets import BUTTON_SETS, ButtonSet
from .http_rules import HttpRules
from .images.store import ImageStore
from .responses import SimResponse
from .sim_task import SimTask


class TaskSource(Protocol):
    """The sources of a Task JSON besides the task."""

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
    """The quirks of one server, each with its PROTOCOL section."""

    name: str
    endpoints: frozenset[str]
    """Served endpoints (§1.0), by the last segment of their path."""
    has_path_modes: bool
    """Whether ``/mj-turbo/mj`` and its like are routed (§6.1)."""
    has_path_hosts: bool
    """Whether ``/mj-turbo-proxy/mj``, with an image host, is routed as well. §6.1 has it for
    gateways only; ``plus`` serves it so that one server covers the whole contract."""
    auth_headers: tuple[str, ...]
    """Headers a token is read from; the first one that is present decides (§6.2)."""
    unauthorized: SimResponse
    """Response to a missing or a wrong token (§6.2)."""
    unrouted_response: Callable[[int, str], SimResponse]
    """Response to an unknown path, from status and path (§7.5)."""
    malformed_response: Callable[[int, str], SimResponse]
    """Response to bad JSON, a wrong JSON type or an unknown enum value (§7.1 C, H)."""
    http_rules: HttpRules
    """The rules of its framework (§7.1, §7.5)."""
    unknown_task_response: SimResponse
    """Response to a fetch of an unknown id (§1.15)."""
    unknown_parent_status: int
    """HTTP status of the code 3 for an unknown parent task (§1.6, §1.8)."""
    requires_data_urls: bool
    """Whether an image must be a data URL; otherwise base64 and links are accepted too (§1.1)."""
    task_keys: tuple[str, ...]
    """Keys of the Task JSON, always all present (§3)."""
    property_keys: tuple[str, ...]
    """Keys that its ``properties`` may have (§3)."""
    submit_properties: tuple[str, ...]
    """Properties of an accepting SubmitResult (§2)."""
    list_limit: int | None
    """The most tasks in ``/mj/task/list``; None: all (§1.15)."""
    missing_index_status: int
    """HTTP status of a change without an index; with 200 it has code 4 (§1.6)."""
    checks_index: bool
    """Whether a change with an index outside 1-4 is refused at once (§1.6)."""
    expired_link_status: int
    """HTTP status of an expired image link (§7.3)."""
    cancel_status: str
    """Final status of a cancelled task (§1.15, §3.6)."""
    always_modal_operations: frozenset[str] = frozenset()
    """Operations that always open a modal (§4.1)."""
    remix_modal_operations: frozenset[str] = frozenset()
    """Operations that open a modal if the account has remix on (§4.1)."""
    modal_description: str = ""
    """The ``description`` of a code 21 (§2)."""
    modal_linger_seconds: float = 0.0
    """Simulated seconds the status stays MODAL after the modal was accepted (§4.3)."""
    refused_operations: frozenset[str] = frozenset()
    """Operations whose buttons exist and are refused (§5.1)."""
    refused_operation_message: str = "不支持的操作"
    """The ``description`` of that refusal (§1.8)."""
    actions: Mapping[str, str] = attrs.field(factory=dict)
    """The ``action`` of operations where it is not the usual one (§3.3)."""
    reroll_keeps_action: bool = False
    """Whether a reroll has the action of its parent, IMAGINE for UPSCALE (§3.3)."""
    button_sets: Mapping[str, ButtonSet] = BUTTON_SETS
    """Its buttons (§5.1)."""

    # requests
    uses_jackson: bool = False
    """Whether bodies bind as with Jackson: only the first JSON value, blanks kept, ordinals for
    enum values, decimals for integers, numbers for strings, nulls in lists, any data URL (§7.2)."""
    ignores_key_case: bool = False
    """Whether keys match in any case (§1.0)."""
    max_text_lengths: Mapping[str, int] = attrs.field(factory=dict)
    """The longest ``state`` and ``notifyHook`` (§1.1)."""
    blank_prompt_endpoints: frozenset[str] = frozenset()
    """Endpoints that accept a blank prompt (§1.5)."""
    checks_words_late: bool = False
    """Whether a banned prompt is accepted and its task fails; otherwise code 24 (§2)."""
    has_bare_upload_errors: bool = False
    """Whether a failed upload has nothing but a code and a description (§1.12)."""
    edit_refusal: str = ""
    """The ``description`` of the code 9 for edits and retextures; empty: it serves them (§1.10)."""
    extend_refusal: str = ""
    """The same for extending a video without remix (§1.11)."""
    remix_refusal: str = ""
    """The ``description`` of the code 4 for ``enableRemix`` without remix; empty: none (§4.1)."""
    queue_full_error: tuple[int, str] = (23, "队列已满，请稍后尝试")
    """Code and ``description`` of a full queue (§2)."""
    has_unbounded_queue: frozenset[str] = frozenset()
    """Operations that a full queue does not refuse (§7.3)."""

    # modals
    has_unchecked_modals: bool = False
    """Whether a modal may be submitted for any task, and repeatedly (§1.9)."""
    modal_uses_parent_prompt: bool = False
    """Whether a modal without a prompt uses that of its parent; otherwise its default (§1.9)."""
    keeps_keycaps: bool = False
    """Whether the default prompt in the modal of a describe begins with its keycap (§1.9)."""

    # responses
    messages: Mapping[str, str] = attrs.field(factory=dict)
    """Its messages for failed ``uploads``, too few ``images``, no ``picture``, a bad ``link``."""
    describe_names_file: bool = True
    """Whether the ``description`` of a describe has a file name."""
    counts_before_check: bool = False
    """Whether queue positions count the tasks that waited before: the first has code 1."""
    null_properties: frozenset[str] = frozenset()
    """Properties that are present even if null."""
    progress_texts: Mapping[int, str] = attrs.field(factory=dict)
    """The ``progress`` of some percentages (§3.6)."""
    preview_from_percent: int = 31
    """The percentage from which a grid has a preview (§3.6)."""
    refreshes_links: bool = True
    """Whether fetching a task again renews an expired link (§7.3)."""
    field_overrides: Mapping[str, Callable[[TaskSource, SimTask], object]] = attrs.field(
        factory=dict
    )
    """Keys of the Task JSON with other values than usual (§3.3)."""
    property_overrides: Mapping[str, Callable[[SimTask], object]] = attrs.field(factory=dict)
    """The same for its ``properties``."""
    blank_success_keys: tuple[str, ...] = ()
    """Keys that are "" instead of null in a success (§3.3, §7.3)."""
    has_video_urls: bool = False
    """Whether a video has ``videoUrls`` even without the option ``image_urls`` (§3.3, §3.4)."""
    channel_id_is_account_id: bool = False
    """Whether the channel id of an account is the id of the account (§1.16, §2)."""
    operations_without_account: frozenset[str] = frozenset()
    """Operations whose results have no account (§1.13)."""
    blend_has_prompt: bool = False
    """Whether the ``prompt`` of a blend is its links and ``--ar`` (§1.3)."""
    translates_descriptions: bool = False
    """Whether a describe respects ``language`` (§1.4)."""
    notifies_twice: bool = False
    """Whether the end of a task is notified twice (§1.17)."""

    # times, in simulated seconds
    status_restarts: frozenset[str] = frozenset()
    """Operations whose progress returns to 0% once (§3.6)."""
    seed_delay_seconds: float = 0.0
    """Duration of the first request for a seed (§1.15)."""
    upstream_timeout: Mapping[str, tuple[float, str]] = attrs.field(factory=dict)
    """When a task with a fault ``stall`` or ``stuck`` fails, and its failReason (§3.6)."""

    # administration
    admin_only_endpoints: frozenset[str] = frozenset()
    """Endpoints for the administrator alone (§1.15)."""
    admin_token: str | None = None
    """The token of the administrator, which is valid everywhere."""
    not_admin_response: SimResponse = attrs.field(factory=SimResponse)
    """The response of those endpoints to all others."""
