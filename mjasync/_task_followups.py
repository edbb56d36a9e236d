"""Follow-ups of a Task: its buttons, its modal, and a method for each kind of button."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Literal, Self, Unpack

from ._followup_arguments import (
    ZOOM_RANGE,
    check_button,
    check_details,
    check_mask,
    check_prompt,
    grid_number,
)
from ._followup_requests import (
    ButtonByKey,
    ButtonByMeaning,
    ButtonRequest,
    ButtonSelector,
    ModalRequest,
)
from ._media.inputs import ImageInput
from ._options import FollowUpOptions, url_for_options
from ._protocol.payloads import common_payload
from ._task_files import TaskFiles
from .errors import InvalidRequest

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
        check_button(button)
        return self._press_button(ButtonByKey(button), repr(button), options)

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
        return self._answer_modal(ModalRequest(task=self, prompt=prompt, mask=mask))

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
        """Make variations of an image of a grid, or of a single image.

        Args:
            number: The image of the grid, 1 to 4; or the kind of variation of a single image.
            prompt: A new prompt (remix): the modal is requested, and answered with it.
            options: See `FollowUpOptions`.
        """
        detail = grid_number(number) if isinstance(number, int) else number
        return self._press_with_prompt(prompt, options, "vary", detail)

    def reroll(self, prompt: str | None = None, **options: Unpack[FollowUpOptions]) -> Self:
        """Run the task again; also a describe.

        Args:
            prompt: A new prompt, as in `vary`.
            options: See `FollowUpOptions`.
        """
        return self._press_with_prompt(prompt, options, "reroll")

    def zoom(
        self, factor: float = 2.0, prompt: str | None = None, **options: Unpack[FollowUpOptions]
    ) -> Self:
        """Zoom out.

        Args:
            factor: The factor, 1 to 2. Without a prompt, 1.5 and 2 have buttons of their own; all
                other zooms answer a modal.
            prompt: A new prompt. Defaults to the prompt of the image.
            options: See `FollowUpOptions`.

        Raises:
            InvalidRequest: The factor is out of range.
        """
        if not ZOOM_RANGE[0] <= factor <= ZOOM_RANGE[1]:
            low, high = ZOOM_RANGE
            message = f"Midjourney zooms out {low:g} to {high:g} times, not {factor:g}."
            raise InvalidRequest(message)
        check_prompt(prompt)
        if prompt is None and factor in {1.5, 2.0}:
            return self._press_meaning(options, "zoom", f"{factor:g}")
        pressed = self._press_meaning(options, "zoom", "custom", opens_modal=True)
        answer = ModalRequest(task=pressed, prompt=prompt or None, zoom=f"{factor:g}")
        return pressed._answer_modal(answer)  # noqa: SLF001 - a Task, too

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
        check_mask(mask)
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
        answer = ModalRequest(task=pressed, prompt=prompt or None, is_optional=prompt is None)
        return pressed._answer_modal(answer)  # noqa: SLF001 - a Task, too

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
        label = f"{verb} {details[0]}" if details else verb
        selector = ButtonByMeaning(verb, details)
        return self._press_button(selector, label, options, opens_modal=opens_modal)

    def _press_with_prompt(
        self, prompt: str | None, options: FollowUpOptions, verb: str, *details: str
    ) -> Self:
        """Press a button; with a prompt, request its modal and answer it."""
        check_prompt(prompt)
        if prompt is None:
            return self._press_meaning(options, verb, *details)
        with_modal: FollowUpOptions = {"enable_remix": True, **options}
        return self._press_meaning(with_modal, verb, *details, opens_modal=True).modal(prompt)

    def _press_button(
        self,
        selector: ButtonSelector,
        label: str,
        options: FollowUpOptions,
        *,
        opens_modal: bool = False,
    ) -> Self:
        """Press a button; `opens_modal` means that its modal will be answered."""
        config = self._context.config
        speed = options.get("speed")
        common = common_payload(options, FollowUpOptions.__optional_keys__)
        url = url_for_options(self._route, options, by_path=config.speed_by_path)
        if speed and not (config.speed_by_path or opens_modal):
            message = (
                "A button pressed without a prompt cannot ask for a speed by prompt "
                '(speed_via="prompt").'
            )
            raise InvalidRequest(message)
        request = ButtonRequest(
            task=self,
            selector=selector,
            common=common,
            asks_for_modal=bool(options.get("enable_remix")),
            url=url,
        )
        return type(self)(self._context, label, request, parent=self, route=url, speed=speed)

    def _answer_modal(self, request: ModalRequest) -> Self:
        # of several answers to one modal, the first one is sent
        self._modal_lock = self._modal_lock or asyncio.Lock()
        return type(self)(
            self._context,
            "modal",
            request,
            parent=self,
            modal_answered=True,
            modal_lock=self._modal_lock,
            route=self._route,
        )
