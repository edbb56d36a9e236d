"""Handlers of what follows a finished task: buttons, changes and modals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..button_sets import SimButton
from ..prompts import (
    GeneratedText,
    describe_result,
    find_model,
    shorten_result,
    split_zoom,
    with_model,
)
from ..responses import RequestRefused, SimResponse, make_refusal, submit_result
from ..sim_task import SimTask, SubmissionRequest, TaskOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..request_fields import RequestFields
    from ..submitting import SubmissionService

_CHANGEABLE_ACTIONS: Final = frozenset({"IMAGINE", "VARIATION", "REROLL", "BLEND"})
_OPERATION_BY_ACTION: Final = {"UPSCALE": "upsample", "VARIATION": "variation", "REROLL": "reroll"}
_ACTION_BY_LETTER: Final = {"U": "UPSCALE", "V": "VARIATION", "R": "REROLL"}
_ACTIONS_BY_ORDINAL: Final = ("IMAGINE", "UPSCALE", "VARIATION", "REROLL", "DESCRIBE", "BLEND")
"""In the order of their ordinals."""
_VALID_INDEXES: Final = range(1, 5)
_CONTENT_PARTS: Final = 2
_INDEX_DIGITS: Final = frozenset("1234")
_MAX_CUSTOM_ZOOM: Final = 2.0
_UNKNOWN_CHANGE: Final = TaskOutcome(
    kind="refuse", fail_reason="[50035]: Invalid Form Body", has_start_time=True
)


def _submit_action(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Press a button, which may open a modal (PROTOCOL §1.8, §4.1)."""
    fields = service.read_fields(request)
    task_id, custom_id = fields.text("taskId"), fields.text("customId")
    if not (task_id and custom_id):
        raise make_refusal(4, "参数错误")
    parent = service.find_finished_task(task_id)
    button = parent.offered_buttons.get(custom_id)
    if button is None:
        raise make_refusal(4, "未知的 Action 类型")
    if button.command in service.dialect.refused_operations:
        raise make_refusal(4, service.dialect.refused_operation_message)
    if button.command == "picture_prompt_all":
        return _press_all_buttons(service, request, parent)
    task = _press_button(service, request, parent, button)
    task.is_strong = fields.boolean("strong")
    if _opens_modal(service, fields, button):
        return _open_modal(service, task, parent, button)
    return service.accept(task, request)


def _press_all_buttons(
    service: SubmissionService, request: SubmissionRequest, parent: SimTask
) -> SimResponse:
    """Create a task for every described prompt, without a modal (PROTOCOL §2: 1).

    If the queue has no room for all, create as many as it has room for.
    """
    buttons = [*parent.offered_buttons.values()]
    ids: list[str] = []
    for button in (button for button in buttons if button.command == "picture_prompt"):
        single_button = attrs.evolve(button, command="picture_prompt_all")
        task = _press_button(service, request, parent, single_button)
        try:
            service.accept(task, request)
        except RequestRefused:
            if not ids:
                raise
            break
        ids.append(task.id)
    return submit_result(1, "提交成功", ",".join(ids))


def _opens_modal(service: SubmissionService, fields: RequestFields, button: SimButton) -> bool:
    if button.command in service.dialect.always_modal_operations:
        return True
    requests_remix = fields.boolean("enableRemix")
    if button.command not in service.dialect.remix_modal_operations:
        return False
    if requests_remix and not service.has_remix and service.dialect.remix_refusal:
        raise make_refusal(4, service.dialect.remix_refusal)
    return service.has_remix or requests_remix


def _open_modal(
    service: SubmissionService, task: SimTask, parent: SimTask, button: SimButton
) -> SimResponse:
    """Store a task that waits for its answer; it takes no place in the queue (PROTOCOL §4.2)."""
    task.status, task.account_id, task.channel_id = "MODAL", parent.account_id, parent.channel_id
    task.modal_prompt = _modal_prompt(service, task, parent, button)
    service.engine.add(task)
    properties = {"finalPrompt": task.modal_prompt, "remix": True}
    return submit_result(21, service.dialect.modal_description, task.id, properties)


def _modal_prompt(
    service: SubmissionService, task: SimTask, parent: SimTask, button: SimButton
) -> str:
    """Return the ``finalPrompt`` that a modal offers to edit (PROTOCOL §4.2)."""
    if button.command == "inpaint":
        return ""
    if parent.generated_text:
        keeps_keycap = service.dialect.keeps_keycaps and button.command == "picture_prompt"
        return f"{button.emoji} {task.prompt}" if keeps_keycap else task.prompt or ""
    return parent.final_prompt + (" --zoom 2" if button.command == "custom_zoom" else "")


def _submit_modal(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Answer a modal (PROTOCOL §1.9, §4.2)."""
    fields = service.read_fields(request)
    task_id = fields.text("taskId")
    if not task_id and service.dialect.has_unchecked_modals:
        raise make_refusal(4, "参数错误")
    task = service.find_task(task_id)
    if task.status != "MODAL" or task.accepted:
        if service.dialect.has_unchecked_modals:
            return service.accept_existing(task, request)
        raise make_refusal(4, "关联任务状态错误")
    prompt = fields.text("prompt") or _default_answer(service, task)
    if not prompt:
        raise make_refusal(4, "prompt不能为空")
    service.check_banned_words(prompt)
    mask = fields.mask()
    if task.command.name == "custom_zoom":
        task.zoom_factor, prompt = _without_zoom(prompt)
    task.mask, task.prompt, task.prompt_en = mask, prompt, prompt
    task.model = find_model(prompt, task.model)
    task.final_prompt = with_model(prompt, task.model)
    return service.accept(task, request)


def _default_answer(service: SubmissionService, task: SimTask) -> str:
    """Return the prompt of a modal that is answered without one (PROTOCOL §1.9)."""
    if service.dialect.modal_uses_parent_prompt and (parent := task.parent):
        text = parent.generated_text.text if parent.generated_text else parent.final_prompt
        return parent.prompt or text
    return task.modal_prompt or task.final_prompt


def _without_zoom(prompt: str) -> tuple[float, str]:
    """Split the prompt of a custom zoom into the factor and the remaining prompt."""
    factor, remaining_prompt = split_zoom(prompt)
    if factor is None or not 1 <= factor <= _MAX_CUSTOM_ZOOM:
        raise make_refusal(4, "prompt参数错误: --zoom 1~2")
    return factor, remaining_prompt


def _submit_change(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Apply a change by its action and index (PROTOCOL §1.6)."""
    fields = service.read_fields(request)
    uses_jackson = service.dialect.uses_jackson
    action = fields.choice(
        "action", _ACTIONS_BY_ORDINAL if uses_jackson else tuple(_OPERATION_BY_ACTION)
    )
    task_id, index = fields.text("taskId"), fields.integer("index")
    if not task_id:
        raise make_refusal(4, "taskId不能为空")
    if action is None:
        raise fields.malformed_refusal(500) if uses_jackson else make_refusal(4, "action不能为空")
    if action not in _OPERATION_BY_ACTION:
        raise make_refusal(4, "action参数错误")
    return _apply_change(service, request, task_id, (action, index))


def _submit_simple_change(service: SubmissionService, request: SubmissionRequest) -> SimResponse:
    """Apply a change by a text such as ``ID U1``, of which one digit counts (PROTOCOL §1.7)."""
    fields = service.read_fields(request)
    parts = (fields.strict_text("content") or "").split(" ")
    if len(parts) != _CONTENT_PARTS:
        raise make_refusal(4, "content参数错误")
    task_id, operation = parts
    if not operation and service.dialect.uses_jackson:  # reads the first letter unguarded
        raise fields.malformed_refusal(500)
    action = _ACTION_BY_LETTER.get(operation[:1].upper())
    is_reroll, digit = operation.upper() == "R", operation[1:2]
    if action is None or not (is_reroll or (action != "REROLL" and digit in _INDEX_DIGITS)):
        raise make_refusal(4, "content参数错误")
    if not task_id:
        raise make_refusal(4, "taskId不能为空")
    return _apply_change(service, request, task_id, (action, 0 if is_reroll else int(digit)))


def _apply_change(
    service: SubmissionService,
    request: SubmissionRequest,
    task_id: str,
    change: tuple[str, int | None],
) -> SimResponse:
    action, index = change
    is_index_missing = index is None and action != "REROLL"
    if is_index_missing and not service.dialect.uses_jackson:
        raise _missing_index_refusal(service, request)
    index = 0 if index is None or action == "REROLL" else index
    is_index_invalid = action != "REROLL" and index not in _VALID_INDEXES
    if is_index_invalid and service.dialect.checks_index:
        raise make_refusal(4, "index错误")
    parent = service.find_finished_task(task_id)
    if parent.action not in _CHANGEABLE_ACTIONS:
        raise make_refusal(4, "关联任务不允许执行变化")
    if is_index_missing:  # a Java server unboxes it last
        raise _missing_index_refusal(service, request)
    label = "R" if action == "REROLL" else f"{action[0]}{index}"
    quadrant = 1 if is_index_invalid else index
    button = SimButton("", "", label, _OPERATION_BY_ACTION[action], quadrant)
    task = _press_button(service, request, parent, button)
    return service.accept(task, request, _UNKNOWN_CHANGE if is_index_invalid else None)


def _missing_index_refusal(
    service: SubmissionService, request: SubmissionRequest
) -> RequestRefused:
    status = service.dialect.missing_index_status
    if status == 200:
        return make_refusal(4, "index错误")
    return RequestRefused(service.dialect.malformed_response(status, request.path))


def _press_button(
    service: SubmissionService, request: SubmissionRequest, parent: SimTask, button: SimButton
) -> SimTask:
    prompt, generated_text = _initial_prompt(parent, button)
    task = service.create_task(request, button.command, prompt, parent=parent)
    task.pressed_button, task.generated_text = button, generated_text
    if service.dialect.uses_jackson:  # includes the links of the images
        task.prompt = task.prompt_en = parent.prompt_en or parent.final_prompt
        task.final_prompt = parent.final_prompt
    task.zoom_factor = float(button.detail) if button.command == "zoom" else None
    if button.command == "reroll":
        _configure_reroll(parent, task, keeps_action=service.dialect.reroll_keeps_action)
    if task.command.result == "description":
        task.described_bytes = parent.described_bytes
        task.described_link, task.upload_name = parent.described_link, parent.upload_name
    task.description = f"/up {parent.id} {button.label or button.command}"
    return task


def _configure_reroll(parent: SimTask, task: SimTask, *, keeps_action: bool) -> None:
    """Repeat the parent; for one picture of a grid, repeat the grid."""
    result_kind = "video" if parent.command.result == "video" else "grid"
    task.command = attrs.evolve(task.command, result=result_kind)
    task.batch_size = parent.batch_size
    if keeps_action:
        is_upscale = parent.action.startswith("UPSCALE")
        task.action = "IMAGINE" if is_upscale else parent.action


def _initial_prompt(parent: SimTask, button: SimButton) -> tuple[str | None, GeneratedText | None]:
    """Return the prompt that a button starts with, and the text of its result."""
    if parent.generated_text is None:
        return parent.prompt or parent.final_prompt, None
    if button.command == "describe_again":
        return None, describe_result(parent.described_bytes + parent.id.encode())
    if button.command == "details":
        return parent.prompt, shorten_result(parent.prompt or "", details=True)
    return parent.generated_text.prompts[button.index - 1], None


FOLLOW_UP_HANDLERS: Final[
    Mapping[str, Callable[[SubmissionService, SubmissionRequest], SimResponse]]
] = {
    "action": _submit_action,
    "modal": _submit_modal,
    "change": _submit_change,
    "simple-change": _submit_simple_change,
}
"""Handlers of the endpoints that follow a finished task, by endpoint."""
