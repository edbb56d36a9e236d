"""The requests of follow-ups: pressed buttons and answered modals, built once the task is ready."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import attrs

from ._concurrency import run_in_worker
from ._http.submission import SubmitRequest, build_submit_request
from ._media.inputs import ImageInput, as_mask
from ._models import Button, TaskInfo
from ._protocol import payloads
from ._protocol.buttons import Buttons, is_grid_upscale
from ._protocol.parsing import Operation
from ._protocol.urls import ServerUrl
from ._task_lifecycle import NO_TIMEOUT, TaskLifecycle
from .errors import ButtonNotFound, ModalNotOpened, UnsupportedEndpoint
from .prompt import with_flag, with_speed


class ButtonSelector(Protocol):
    """Selects a button of a task when it has finished."""

    def select(self, buttons: Buttons) -> Button:
        """Return the button.

        Raises:
            ButtonNotFound: The task has no such button.
        """
        ...


@attrs.frozen
class ButtonByKey:
    """Selects a button by its label, emoji, custom id or position."""

    key: str | int

    def select(self, buttons: Buttons) -> Button:
        """Return the button; fail if the task has none with this key."""
        try:
            return buttons[self.key]
        except IndexError:
            offered = ", ".join(buttons.names) or "no buttons"
            message = f"There is no button at position {self.key!r}. This task has: {offered}."
            raise ButtonNotFound(message) from None


@attrs.frozen
class ButtonByMeaning:
    """Selects a button by what it does."""

    verb: str
    details: tuple[str, ...]
    """The details that are acceptable, the best one first."""

    def select(self, buttons: Buttons) -> Button:
        """Return the button; fail if the task has none with this meaning."""
        return buttons.meaning(self.verb, *self.details)


@attrs.frozen(kw_only=True)
class ButtonRequest:
    """The request that presses a button."""

    task: TaskLifecycle
    """The task that has the button."""
    selector: ButtonSelector
    common: Mapping[str, Any]
    """The fields of the options."""
    asks_for_modal: bool
    """Whether the option `enable_remix` is set."""
    url: ServerUrl

    async def build(self, stall_timeout: float, /) -> SubmitRequest:
        """Wait for the task, and return the request.

        Raises:
            ButtonNotFound: The task has no such button.
            UnsupportedEndpoint: The server has no buttons that open modals.
            MJError: The task failed.
        """
        task = self.task
        await task.wait(timeout=NO_TIMEOUT, stall_timeout=stall_timeout)
        with task._attaching_errors():  # noqa: SLF001 - a part of Task
            button = self.selector.select(task.buttons)
            if self.asks_for_modal and not button.custom_id:
                message = "This server's variations keep their prompt."
                raise UnsupportedEndpoint(message)
        draft = payloads.action(task.id, button)
        return build_submit_request(
            draft.endpoint,
            draft.payload(self.common, {}),
            Operation.FOLLOW_UP,
            expected_action="UPSCALE" if is_grid_upscale(button) else "",
            url=self.url,
            exclusive_key=_exclusive_key(task.id, draft.fields),
        )


@attrs.frozen(kw_only=True)
class ModalRequest:
    """The request that answers a modal."""

    task: TaskLifecycle
    """The task whose button opens the modal."""
    prompt: str | None
    """The text; None for the text that the server proposes."""
    zoom: str | None = None
    """The factor of a custom zoom, which is a flag in the text."""
    mask: ImageInput | None = None
    is_optional: bool = False
    """Whether it is fine if the server starts the task without a modal."""

    async def build(self, stall_timeout: float, /) -> SubmitRequest | TaskInfo:
        """Wait for the modal, and return the request, or the task if no modal is necessary.

        Raises:
            ModalNotOpened: The server started the task without a modal.
            InvalidRequest: The mask cannot be used, or the modal was answered before.
            MJError: The button was refused, or the task failed.
        """
        task, mask = self.task, None
        if self.mask is not None:  # first, so that a bad mask does not leave a modal open
            download = task._context.download_input  # noqa: SLF001 - a part of Task
            mask = await as_mask(self.mask, download)
        with task._attaching_errors():  # noqa: SLF001 - as above
            has_opened = await task._wait_for_modal(stall_timeout)  # noqa: SLF001 - as above
        if not has_opened:
            if self.is_optional:
                return task.info
            message = "The server went ahead without asking for a modal."
            raise ModalNotOpened(message, task=task)
        draft = payloads.modal(task.id, self._compose_prompt(), mask)
        build = partial(
            build_submit_request,
            draft.endpoint,
            draft.payload({}, draft.images),
            Operation.FOLLOW_UP,
            url=task._route,  # noqa: SLF001 - as above
        )
        return await run_in_worker(build) if mask else build()

    def _compose_prompt(self) -> str:
        """Return the text to send, with the flags of the zoom and of the speed."""
        task = self.task
        proposed = task.final_prompt or ""
        text = proposed if self.prompt is None else self.prompt
        if self.zoom is not None:
            original = task.parent
            if not text and original is not None:
                text = original.final_prompt or original.prompt or ""
            text = with_flag(text, "zoom", self.zoom)
        speed = task._speed  # noqa: SLF001 - a part of Task
        if text and speed and task._context.config.speed_by_prompt:  # noqa: SLF001 - as above
            text = with_speed(text, speed)
        return text


def _exclusive_key(task_id: str, fields: Mapping[str, Any]) -> str:
    """Return a key for requests that must not run at the same time; "" for all others.

    Servers without button ids distinguish the variations and rerolls of a grid only by their
    prompt, which is the same.
    """
    is_ambiguous = fields.get("action") in {"VARIATION", "REROLL"}
    return f"changes of {task_id}" if is_ambiguous else ""
