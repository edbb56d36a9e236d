"""The simulator's nouns: what was asked, the task that came of it, and the record of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from .button_sets import BUTTON_SETS, ButtonSet, Command, SimButton
from .images.image_spec import ImageSpec
from .prompts import GeneratedText, ModelVersion

__all__ = [
    "TERMINAL_STATUSES",
    "RequestRecord",
    "SimTask",
    "StatusStep",
    "Submission",
    "SubmissionRequest",
    "TaskOutcome",
    "UploadedImage",
]

TERMINAL_STATUSES: Final = frozenset({"SUCCESS", "FAILURE", "CANCEL"})
"""Statuses that nothing follows (PROTOCOL §3.6)."""


@attrs.frozen(kw_only=True)
class SubmissionRequest:
    """A POST that has been read: where it came in and what it says."""

    endpoint: str
    path: str
    body: Mapping[str, Any]
    speed: str | None = None
    """``FAST``, ``TURBO`` or ``RELAX`` when the path says so (PROTOCOL §6.1)."""
    image_host: str | None = None
    """``relay``, ``origin`` or ``proxy`` when the path says so."""
    ignores_key_case: bool = False
    """Whether the keys of its body may be written in any case."""
    received_at: float
    """Epoch seconds."""


@attrs.frozen
class StatusStep:
    """One change a task goes through."""

    offset_seconds: float
    """Seconds of simulated time after the start."""
    status: str
    percent: int = 0


@attrs.frozen(kw_only=True)
class TaskOutcome:
    """How a task is going to end, when it is not simply well."""

    kind: str = "well"
    """``well``, ``fail``, ``stall``, ``refuse`` (it fails before it starts), ``stuck`` (it never
    starts)."""
    at_percent: int = 0
    """The percentage it gets to."""
    fail_reason: str = ""
    """The ``failReason``, should it fail."""
    timeout: float | None = None
    """Simulated seconds until the server gives a halted task up; None: it never does."""
    has_start_time: bool = False
    """Whether a task that fails before it starts has a ``startTime`` all the same."""
    message: str | None = None
    """The ``progress`` it shows where it halts, in place of its percentage."""


@attrs.define(kw_only=True, eq=False)
class SimTask:
    """One task of the simulated server, with all that was asked of it."""

    id: str
    request: SubmissionRequest
    """The request that made it; its ``speed`` and ``image_host`` are what the path said."""
    command: Command
    action: str
    model: ModelVersion
    seed: int
    midjourney_job_id: str
    """Midjourney's own id: a UUID in every custom id of its buttons."""
    mode: str
    """``FAST``, ``TURBO`` or ``RELAX``: the speed it runs at."""
    submitted_ms: int
    bot: str = "MID_JOURNEY"
    state: str | None = None
    notify_hook: str | None = None
    prompt: str | None = None
    prompt_en: str | None = None
    final_prompt: str = ""
    """What Midjourney echoes: with links of images and the model's flag."""
    description: str | None = None
    parent: SimTask | None = None
    pressed_button: SimButton | None = None
    """The button that was pressed to make it."""
    image_sizes: tuple[int, ...] = ()
    """Decoded sizes in bytes of the images that were sent."""
    dimensions: str | None = None
    mask: bytes | None = None
    described_bytes: bytes = b""
    """What a describe looks at."""
    described_link: str | None = None
    """The link that was sent in place of a picture."""
    upload_name: str | None = None
    """The name the picture that was sent is kept under."""
    zoom_factor: float | None = None
    generated_text: GeneratedText | None = None
    """What a describe or a shorten is going to answer."""
    image: ImageSpec | None = None
    """What its link shows; None: no picture, or not one of ours."""
    modal_prompt: str | None = None
    """The ``finalPrompt`` its modal offers; None: it never had one."""
    requested_speed: str | None = None
    """The speed that was asked for, which may be another than it runs at."""
    requested_account: str | None = None
    """The account that was asked for."""
    is_strong: bool = False
    """Whether a strong variation was asked for (PROTOCOL §1.8)."""
    language: str | None = None
    batch_size: int = 4
    """How many videos it makes."""
    video_type: str | None = None
    source_image: ImageSpec | None = None
    """The picture it starts from, when that is no other task's."""
    first_frame_link: str | None = None
    """The link of the picture a video begins with."""
    restarts_progress: bool = False
    """Whether its progress goes back to 0% midway (PROTOCOL §3.6)."""
    notify_twice: bool = False
    """Whether its end is notified twice (PROTOCOL §1.17)."""
    is_seed_known: bool = False
    """Whether somebody has asked for its seed."""
    button_sets: Mapping[str, ButtonSet] = BUTTON_SETS
    """What the server offers buttons by."""

    status: str = "NOT_START"
    percent: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    fail_reason: str | None = None
    account_id: str = ""
    channel_id: str = ""
    outcome: TaskOutcome = attrs.field(factory=TaskOutcome)
    pending_steps: list[StatusStep] = attrs.field(factory=list)
    """What is still to come, the next one last."""
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
    """The link last handed out."""
    link_serial: int = 0
    link_expires_at: float | None = None
    cached_json: bytes | None = None
    """Its Task JSON as last serialised."""
    _offered_buttons: dict[str, SimButton] | None = attrs.field(default=None, init=False)

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can change any more."""
        return self.status in TERMINAL_STATUSES

    @property
    def offered_buttons(self) -> Mapping[str, SimButton]:
        """Its buttons by custom id; none until it has succeeded."""
        if self.status != "SUCCESS":
            return {}
        if self._offered_buttons is None:
            candidates = self.button_sets[self.command.result](self.model, self.midjourney_job_id)
            self._offered_buttons = {b.custom_id: b for b in candidates if self._is_offered(b)}
        return self._offered_buttons

    def _is_offered(self, button: SimButton) -> bool:
        return button.command != "pick_video" or button.index <= self.batch_size


@attrs.frozen(kw_only=True)
class Submission:
    """One accepted, that is paid, submission."""

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
    """One HTTP request that came in."""

    method: str
    path: str
    kind: str
    """``submit``, ``fetch``, ``list``, ``image`` or ``other``."""
    endpoint: str | None
    headers: Mapping[str, str]
    body: Any
    """The JSON that was sent; None when there was none or it does not parse."""
    status: int | None = None
    """What was answered; None while it is being, and for ever when the connection was cut."""
    at: float
    """Epoch seconds."""


@attrs.frozen
class UploadedImage:
    """One picture as it was sent."""

    data: bytes
    link: str | None = None
    """Where it is to be fetched, when a link was sent in place of the bytes."""
    mime: str = "image/png"
    """What its data URL says it is."""
