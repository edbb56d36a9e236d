"""Follow-ups of a Task: its buttons, its modal, and a method for each kind of button."""

from __future__ import annotations

import asyncio
from collections.abc import (
    Callable,
    Mapping,
)
from functools import partial
from typing import Any, Final, Literal, Self, Unpack

from ._concurrency import run_in_worker
from ._followup_arguments import ZOOM_RANGE, check_details, check_prompt, grid_number
from ._http.submission import SubmitRequest, build_submit_request
from ._media.inputs import ImageInput, as_mask
from ._models import Button, TaskInfo, TaskStatus
from ._options import FollowUpOptions, url_for_options
from ._protocol.buttons import Buttons, change_payload, is_grid_upscale
from ._protocol.parsing import Operation
from ._protocol.payloads import common_payload
from ._task_files import TaskFiles
from ._task_lifecycle import NO_TIMEOUT
from .errors import (
    ButtonNotFound,
    InvalidRequest,
    ModalNotOpened,
    UnsupportedEndpoint,
)
from .prompt import with_flag, with_speed

__all__ = ["TaskFollowUps"]

ButtonChooser = Callable[[Buttons], Button]
_UPSCALE_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "subtle": ("subtle", "2x"),
    "2x": ("2x", "subtle"),
}
"""What one model version calls subtle, another calls 2x."""


class TaskFollowUps(TaskFiles):
    """The methods that create the next Task of a chain."""

    __slots__ = ()

    def action(self, button: str | int, **options: Unpack[FollowUpOptions]) -> Self:
        """Press a button of the finished task.

        Args:
            button: A label ("U2"), an emoji ("🔄"), a custom id or a position.
            options: See `FollowUpOptions`. All methods below accept them.

        Raises (when awaited):
            ButtonNotFound: The task has no such button.
            ModalRequired: The button opens a modal: chain `.modal(…)`.
        """
        given: object = button
        if not isinstance(given, str | int) or isinstance(given, bool):
            message = f"A button is a text or a position, not {type(given).__name__} ({given!r})."
            raise InvalidRequest(message)
        return self._press_button(
            lambda buttons: _button_at(buttons, button), repr(button), options
        )

    def modal(
        self,
        prompt: str | None = None,
        *,
        mask: ImageInput | None = None,
    ) -> Self:
        """Answer the modal that the button of this Task opens.

        Args:
            prompt: The text. Defaults to the text that the server proposes.
            mask: For Vary (Region), a PNG: white where to repaint, black elsewhere.

        Raises (when awaited):
            ModalNotOpened: The server started the task without a modal; see `error.task`.
        """
        check_prompt(prompt)
        return self._answer_modal(lambda proposed: proposed if prompt is None else prompt, mask)

    def upscale(
        self,
        number: int | Literal["subtle", "creative", "2x", "4x"],
        **options: Unpack[FollowUpOptions],
    ) -> Self:
        """Select an image of a grid, or upscale a single image.

        Args:
            number: The image of the grid, 1 to 4; or the kind of upscale of a single image.
            options: See `FollowUpOptions`.
        """
        detail = grid_number(number) if isinstance(number, int) else number
        check_details("upscale", [detail])
        return self._press_meaning(options, "upscale", *_UPSCALE_SYNONYMS.get(detail, (detail,)))

    def vary(
        self,
        number: int | Literal["subtle", "strong"],
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Self:
        """Four variations of picture 1-4 of a grid, or of a single picture.

        With a `prompt` (remix) the modal is asked for, and answered with it.
        """
        detail = grid_number(number) if isinstance(number, int) else number
        return self._press_with_prompt(prompt, options, "vary", detail)

    def reroll(self, prompt: str | None = None, **options: Unpack[FollowUpOptions]) -> Self:
        """Run the task again; also a describe."""
        return self._press_with_prompt(prompt, options, "reroll")

    def zoom(
        self, factor: float = 2.0, prompt: str | None = None, **options: Unpack[FollowUpOptions]
    ) -> Self:
        """Zoom out, 1-2 times. 2 and 1.5 without a prompt have buttons of their own.

        Raises:
            InvalidRequest: The factor is out of range.
        """
        if not ZOOM_RANGE[0] <= factor <= ZOOM_RANGE[1]:
            least, most = ZOOM_RANGE
            message = f"Midjourney zooms out {least:g} to {most:g} times, not {factor:g}."
            raise InvalidRequest(message)
        check_prompt(prompt)
        if prompt is None and factor in {1.5, 2.0}:
            return self._press_meaning(options, "zoom", f"{factor:g}")
        pressed = self._press_meaning(options, "zoom", "custom", opens_modal=True)
        return pressed._answer_modal(  # noqa: SLF001 - a Task of ours
            lambda proposed: with_flag(
                prompt or proposed or self.final_prompt or self.prompt or "", "zoom", f"{factor:g}"
            )
        )

    def pan(
        self,
        direction: Literal["left", "right", "up", "down"],
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Self:
        """Extend the image to one side.

        Args:
            direction: The side: "left", "right", "up" or "down".
            prompt: A new prompt, as in `vary`.
            options: See `FollowUpOptions`.
        """
        return self._press_with_prompt(prompt, options, "pan", direction)

    def inpaint(
        self,
        mask: ImageInput,
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Self:
        """Repaint a region of the image (Vary Region).

        Args:
            mask: A PNG: white where to repaint, black elsewhere.
            prompt: A new prompt. Defaults to the prompt of the image.
            options: See `FollowUpOptions`.
        """
        given: object = mask
        if given is None:
            message = "This needs a mask, not None: a PNG, white where to repaint, on black."
            raise InvalidRequest(message)
        return self._press_meaning(options, "inpaint", opens_modal=True).modal(prompt, mask=mask)

    def animate(
        self,
        motion: Literal["low", "high"] = "low",
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Self:
        """Make videos of a single image.

        Args:
            motion: The amount of motion.
            prompt: A new prompt, as in `vary`.
            options: See `FollowUpOptions`.
        """
        return self._press_with_prompt(prompt, options, "animate", motion)

    def extend(
        self,
        motion: Literal["low", "high"] = "low",
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Self:
        """Extend a selected video.

        Args:
            motion: The amount of motion.
            prompt: A new prompt, as in `vary`.
            options: See `FollowUpOptions`.
        """
        return self._press_with_prompt(prompt, options, "extend", motion)

    def imagine(
        self,
        number: int | Literal["all"],
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Self:
        """Imagine one of the prompts that describe or shorten returned, or all of them.

        If "all" starts several tasks, the others are the `siblings` of the returned Task.

        Args:
            number: The number of the prompt, from 1; or "all".
            prompt: A changed prompt. Defaults to the prompt with this number.
            options: See `FollowUpOptions`.
        """
        check_prompt(prompt)
        pressed = self._press_meaning(options, "imagine", str(number), opens_modal=number != "all")
        if number == "all":
            return pressed
        return pressed._answer_modal(  # noqa: SLF001 - a Task of ours
            lambda proposed: prompt or proposed, optional=prompt is None
        )

    def details(self, **options: Unpack[FollowUpOptions]) -> Self:
        """Show the details of a shorten.

        Args:
            options: See `FollowUpOptions`.
        """
        return self._press_meaning(options, "details")

    def bookmark(self, **options: Unpack[FollowUpOptions]) -> Self:
        """Bookmark a single image, on servers that support it.

        Args:
            options: See `FollowUpOptions`.
        """
        return self._press_meaning(options, "bookmark")

    def _press_meaning(
        self, options: FollowUpOptions, verb: str, *details: str, opens_modal: bool = False
    ) -> Self:
        check_details(verb, details)
        what = f"{verb} {details[0]}" if details else verb
        return self._press_button(
            lambda buttons: buttons.meaning(verb, *details), what, options, opens_modal=opens_modal
        )

    def _press_with_prompt(
        self, prompt: str | None, options: FollowUpOptions, verb: str, *details: str
    ) -> Self:
        """Press; with a prompt, ask for the modal and answer it."""
        check_prompt(prompt)
        if prompt is None:
            return self._press_meaning(options, verb, *details)
        asking: FollowUpOptions = {"enable_remix": True, **options}
        return self._press_meaning(asking, verb, *details, opens_modal=True).modal(prompt)

    def _press_button(
        self,
        choose: ButtonChooser,
        label: str,
        options: FollowUpOptions,
        *,
        opens_modal: bool = False,
    ) -> Self:
        """Press a button; `opens_modal` where the modal it opens will be answered."""
        common = common_payload(options, FollowUpOptions.__optional_keys__)
        route = url_for_options(self._route, options, by_path=self._context.speed_by_path)

        async def prepare(stall: float) -> SubmitRequest:
            await self.wait(timeout=NO_TIMEOUT, stall_timeout=stall)
            with self._attaching_errors():
                button = choose(self.buttons)
                if options.get("enable_remix") and not button.custom_id:
                    message = "This server's variations keep their prompt."
                    raise UnsupportedEndpoint(message)
            by_id = {"customId": button.custom_id} if button.custom_id else change_payload(button)
            return build_submit_request(
                "action" if button.custom_id else "change",
                {"taskId": self.id, **by_id, **common},
                Operation.FOLLOW_UP,
                expected_action="UPSCALE" if is_grid_upscale(button) else "",
                url=route,
                exclusive_key=_exclusive_key(self.id, by_id),
            )

        speed = options.get("speed")
        if speed and not (self._context.speed_by_path or opens_modal):
            message = (
                "A button pressed without a prompt cannot ask for a speed by prompt "
                '(speed_via="prompt").'
            )
            raise InvalidRequest(message)
        return type(self)(self._context, label, prepare, parent=self, route=route, speed=speed)

    def _answer_modal(
        self,
        compose_prompt: Callable[[str], str],
        mask: ImageInput | None = None,
        *,
        optional: bool = False,
    ) -> Self:
        async def prepare(stall: float) -> SubmitRequest | TaskInfo:
            masked = {}
            if mask is not None:  # first: a bad mask must not leave a modal open
                masked["maskBase64"] = await as_mask(mask, self._download_input)
            with self._attaching_errors():
                has_opened = await self._wait_for_modal(stall)
            if not has_opened:
                if optional:
                    return self._info
                message = "The server went ahead without asking for a modal."
                raise ModalNotOpened(message, task=self)
            payload: dict[str, Any] = {"taskId": self.id, **masked}
            text = compose_prompt(self.final_prompt or "")
            if text and self._speed and self._context.speed_by_prompt:
                text = with_speed(text, self._speed)
            if text:
                payload["prompt"] = text
            make = partial(
                build_submit_request, "modal", payload, Operation.FOLLOW_UP, url=self._route
            )
            return await run_in_worker(make) if masked else make()

        self._modal_lock = (
            self._modal_lock or asyncio.Lock()
        )  # of several answers one is taken: the first
        return type(self)(
            self._context,
            "modal",
            prepare,
            parent=self,
            modal_answered=True,
            modal_lock=self._modal_lock,
            route=self._route,
        )

    async def _wait_for_modal(self, stall: float) -> bool:
        """Wait until the server asks for a modal; return False if it starts without one."""
        await self._wait_until_accepted(NO_TIMEOUT, stall)
        if self._modal_answered:
            message = "This modal has been answered already."
            raise InvalidRequest(message, task=self)
        if self.status is TaskStatus.NOT_START:
            waiter = self._register_waiter(self._on_update_until_started, NO_TIMEOUT, stall)
            try:
                self._check_not_shadowed(await waiter)
            finally:
                self._context.poller.unwatch(waiter)
        if self.done:
            await self._raise_outcome()
        return self.status is TaskStatus.MODAL


def _exclusive_key(task_id: str, fields: Mapping[str, Any]) -> str:
    """Return what must not be under way twice: variations and rerolls of a grid without buttons.

    Such a server distinguishes their results by the prompt only, which is the same.
    """
    changes = fields.get("action") in {"VARIATION", "REROLL"}
    return f"changes of {task_id}" if changes else ""


def _button_at(buttons: Buttons, key: str | int) -> Button:
    try:
        return buttons[key]
    except IndexError:
        offered = ", ".join(buttons.names) or "no buttons"
        message = f"There is no button at position {key!r}. This task has: {offered}."
        raise ButtonNotFound(message) from None
