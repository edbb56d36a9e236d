"""The simulator's nouns: what was asked, the task that came of it, and the record of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from .button_sets import OFFERS, Button, Offer, Verb
from .images.image_spec import Picture
from .prompts import Model, Words

__all__ = ["TERMINAL", "Fate", "Image", "Order", "Request", "SimTask", "Step", "Submission"]

TERMINAL: Final = frozenset({"SUCCESS", "FAILURE", "CANCEL"})
"""Statuses that nothing follows (PROTOCOL §3.6)."""


@attrs.frozen(kw_only=True)
class Order:
    """A POST that has been read: where it came in and what it says."""

    endpoint: str
    path: str
    body: Mapping[str, Any]
    speed: str | None = None
    """``FAST``, ``TURBO`` or ``RELAX`` when the path says so (PROTOCOL §6.1)."""
    image_host: str | None = None
    """``relay``, ``origin`` or ``proxy`` when the path says so."""
    any_case: bool = False
    """Whether the keys of its body may be written in any case."""
    at: float
    """Epoch seconds."""


@attrs.frozen
class Step:
    """One change a task goes through."""

    at: float
    """Seconds of simulated time after the start."""
    status: str
    percent: int = 0


@attrs.frozen(kw_only=True)
class Fate:
    """How a task is going to end, when it is not simply well."""

    ending: str = "well"
    """``well``, ``fail``, ``stall``, ``refuse`` (it fails before it starts), ``stuck`` (it never
    starts)."""
    at: int = 0
    """The percentage it gets to."""
    reason: str = ""
    """The ``failReason``, should it fail."""
    patience: float | None = None
    """Simulated seconds until the server gives a halted task up; None: it never does."""
    started: bool = False
    """Whether a task that fails before it starts has a ``startTime`` all the same."""
    says: str | None = None
    """The ``progress`` it shows where it halts, in place of its percentage."""


@attrs.define(kw_only=True, eq=False)
class SimTask:
    """One task of the simulated server, with all that was asked of it."""

    id: str
    order: Order
    """The request that made it; its ``speed`` and ``image_host`` are what the path said."""
    verb: Verb
    action: str
    model: Model
    seed: int
    job: str
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
    button: Button | None = None
    """The button that was pressed to make it."""
    image_sizes: tuple[int, ...] = ()
    """Decoded sizes in bytes of the images that were sent."""
    dimensions: str | None = None
    mask: bytes | None = None
    source: bytes = b""
    """What a describe looks at."""
    source_link: str | None = None
    """The link that was sent in place of a picture."""
    upload: str | None = None
    """The name the picture that was sent is kept under."""
    zoom: float | None = None
    words: Words | None = None
    """What a describe or a shorten is going to answer."""
    picture: Picture | None = None
    """What its link shows; None: no picture, or not one of ours."""
    modal_prompt: str | None = None
    """The ``finalPrompt`` its modal offers; None: it never had one."""
    wish: str | None = None
    """The speed that was asked for, which may be another than it runs at."""
    instance: str | None = None
    """The account that was asked for."""
    strong: bool = False
    """Whether a strong variation was asked for (PROTOCOL §1.8)."""
    language: str | None = None
    batch: int = 4
    """How many videos it makes."""
    video_type: str | None = None
    begins: Picture | None = None
    """The picture it starts from, when that is no other task's."""
    first_frame: str | None = None
    """The link of the picture a video begins with."""
    restarts: bool = False
    """Whether its progress goes back to 0% midway (PROTOCOL §3.6)."""
    told_twice: bool = False
    """Whether its end is notified twice (PROTOCOL §1.17)."""
    seed_known: bool = False
    """Whether somebody has asked for its seed."""
    catalogue: Mapping[str, Offer] = OFFERS
    """What the server offers buttons by."""

    status: str = "NOT_START"
    percent: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    fail_reason: str | None = None
    account: str = ""
    channel: str = ""
    fate: Fate = attrs.field(factory=Fate)
    steps: list[Step] = attrs.field(factory=list)
    """What is still to come, the next one last."""
    accepted: bool = False
    """Whether it was paid for: False while its modal waits for an answer."""
    running: bool = False
    begun: bool = False
    """Whether it was ever IN_PROGRESS."""
    queued: bool | None = None
    """Whether the queue shows it; None: while it has not ended."""
    gone: bool = False
    """Whether the server has lost it."""

    link: str | None = None
    """The link last handed out."""
    link_serial: int = 0
    link_expires: float | None = None
    cache: bytes | None = None
    """Its Task JSON as last serialised."""
    _offers: dict[str, Button] | None = attrs.field(default=None, init=False)

    @property
    def terminal(self) -> bool:
        """Whether nothing can change any more."""
        return self.status in TERMINAL

    @property
    def offers(self) -> Mapping[str, Button]:
        """Its buttons by custom id; none until it has succeeded."""
        if self.status != "SUCCESS":
            return {}
        if self._offers is None:
            buttons = self.catalogue[self.verb.makes](self.model, self.job)
            self._offers = {b.custom_id: b for b in buttons if self._has(b)}
        return self._offers

    def _has(self, button: Button) -> bool:
        return button.verb != "pick_video" or button.index <= self.batch


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
class Request:
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
class Image:
    """One picture as it was sent."""

    data: bytes
    link: str | None = None
    """Where it is to be fetched, when a link was sent in place of the bytes."""
    mime: str = "image/png"
    """What its data URL says it is."""
