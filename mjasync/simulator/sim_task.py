"""Data of the simulator: requests, tasks, and the records of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from .button_sets import BUTTON_SETS, ButtonSet, Command, SimButton
from .images.image_spec import ImageSpec
from .prompts import GeneratedText, ModelVersion

TERMINAL_STATUSES: Final = frozenset({"SUCCESS", "FAILURE", "CANCEL"})
"""Statuses that nothing follows (PROTOCOL §3.6)."""


@attrs.frozen(kw_only=True)
class SubmissionRequest:
    """A parsed POST with its path and body."""

    endpoint: str
    path: str
    body: Mapping[str, Any]
    speed: str | None = None
    """``FAST``, ``TURBO`` or ``RELAX`` if the path includes it (PROTOCOL §6.1)."""
    image_host: str | None = None
    """``relay``, ``origin`` or ``proxy`` if the path includes it."""
    ignores_key_case: bool = False
    """Whether the keys of the body are matched in any case."""
    received_at: float
    """Epoch seconds."""


@attrs.frozen
class StatusStep:
    """One scheduled change of a task."""

    offset_seconds: float
    """Seconds of simulated time after the start."""
    status: str
    percent: int = 0


@attrs.frozen(kw_only=True)
class TaskOutcome:
    """The way in which a task ends."""

    kind: str = "well"
    """``well``, ``fail``, ``stall``, ``refuse`` (it fails before it starts), ``stuck`` (it never
    starts)."""
    at_percent: int = 0
    """The last percentage before it fails or halts."""
    fail_reason: str = ""
    """The ``failReason``, if it fails."""
    timeout: float | None = None
    """Simulated seconds until the server's timeout for a halted task; None: no timeout."""
    has_start_time: bool = False
    """Whether a task that fails before it starts still has a ``startTime``."""
    message: str | None = None
    """The ``progress`` shown instead of the percentage where it halts."""


@attrs.define(kw_only=True, eq=False)
class SimTask:
    """One task of the simulated server, with everything that was requested."""

    id: str
    request: SubmissionRequest
    """The request that created it; ``speed`` and ``image_host`` are those of the path."""
    command: Command
    action: str
    model: ModelVersion
    seed: int
    midjourney_job_id: str
    """Midjourney's own id: a UUID in the custom id of every button."""
    mode: str
    """``FAST``, ``TURBO`` or ``RELAX``: the speed it runs at."""
    submitted_ms: int
    bot: str = "MID_JOURNEY"
    state: str | None = None
    notify_hook: str | None = None
    prompt: str | None = None
    prompt_en: str | None = None
    final_prompt: str = ""
    """The prompt that Midjourney echoes, with links of images and the model's flag."""
    description: str | None = None
    parent: SimTask | None = None
    pressed_button: SimButton | None = None
    """The button that created it."""
    image_sizes: tuple[int, ...] = ()
    """Decoded sizes in bytes of the images that were sent."""
    dimensions: str | None = None
    mask: bytes | None = None
    described_bytes: bytes = b""
    """The image to describe."""
    described_link: str | None = None
    """The link that was sent instead of an image."""
    upload_name: str | None = None
    """The name of the stored image."""
    zoom_factor: float | None = None
    generated_text: GeneratedText | None = None
    """The result of a describe or a shorten."""
    image: ImageSpec | None = None
    """The picture behind its link; None: none, or not a rendered one."""
    modal_prompt: str | None = None
    """The ``finalPrompt`` of its modal; None: it never had one."""
    requested_speed: str | None = None
    """The requested speed, which may differ from the one it runs at."""
    requested_account: str | None = None
    """The requested account."""
    is_strong: bool = False
    """Whether a strong variation was requested (PROTOCOL §1.8)."""
    language: str | None = None
    batch_size: int = 4
    """The number of videos to make."""
    video_type: str | None = None
    source_image: ImageSpec | None = None
    """The picture that it starts from, unless that is the parent's."""
    first_frame_link: str | None = None
    """The link of the first frame of a video."""
    restarts_progress: bool = False
    """Whether its progress goes back to 0% midway (PROTOCOL §3.6)."""
    notify_twice: bool = False
    """Whether its end is notified twice (PROTOCOL §1.17)."""
    is_seed_known: bool = False
    """Whether its seed has been fetched."""
    button_sets: Mapping[str, ButtonSet] = BUTTON_SETS
    """The buttons that the server offers, by the kind of result."""

    status: str = "NOT_START"
    percent: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    fail_reason: str | None = None
    account_id: str = ""
    channel_id: str = ""
    outcome: TaskOutcome = attrs.field(factory=TaskOutcome)
    pending_steps: list[StatusStep] = attrs.field(factory=list)
    """The remaining changes, the next one last."""
    accepted: bool = False
    """Whether it was paid for: False while its modal waits for an answer."""
    running: bool = False
    has_started: bool = False
    """Whether it was ever IN_PROGRESS."""
    is_shown_in_queue: bool | None = None
    """Whether the queue shows it; None: while it has not ended."""
    forgotten: bool = False
    """Whether the server has lost it."""

    link: str | None = None
    """The last link of its picture."""
    link_serial: int = 0
    link_expires_at: float | None = None
    cached_json: bytes | None = None
    """Its last serialised Task JSON."""
    _offered_buttons: dict[str, SimButton] | None = attrs.field(default=None, init=False)

    @property
    def is_terminal(self) -> bool:
        """Whether its status is final."""
        return self.status in TERMINAL_STATUSES

    @property
    def offered_buttons(self) -> Mapping[str, SimButton]:
        """Its buttons by custom id; none before it has succeeded."""
        if self.status != "SUCCESS":
            return {}
        if self._offered_buttons is None:
            candidates = self.button_sets[self.command.result](self.model, self.midjourney_job_id)
            self._offered_buttons = {
                button.custom_id: button
                for button in candidates
                if button.command != "pick_video" or button.index <= self.batch_size
            }
        return self._offered_buttons


@attrs.frozen(kw_only=True)
class Submission:
    """One accepted, and therefore paid, submission."""

    endpoint: str
    task_id: str
    body: Mapping[str, Any]
    """As received."""
    state: str | None
    prompt: str | None
    action: str
    parent_id: str | None
    at: float
    """Epoch seconds."""


@attrs.define(kw_only=True, eq=False)
class RequestRecord:
    """One received HTTP request."""

    method: str
    path: str
    kind: str
    """``submit``, ``fetch``, ``list``, ``image`` or ``other``."""
    endpoint: str | None
    headers: Mapping[str, str]
    body: Any
    """The JSON that was sent; None if there was none or it is invalid."""
    status: int | None = None
    """The status of the response; None before it, and if the connection was cut."""
    at: float
    """Epoch seconds."""


@attrs.frozen
class UploadedImage:
    """One image as it was sent."""

    data: bytes
    link: str | None = None
    """The link that was sent instead of the bytes."""
    mime: str = "image/png"
    """The media type of its data URL."""
