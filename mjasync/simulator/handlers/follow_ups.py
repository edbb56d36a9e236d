"""What follows a finished task: buttons pressed, changes asked for, modals answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..button_sets import Button
from ..prompts import Words, analysis, descriptions, model_of, with_model, zoom_of
from ..responses import Refusal, Reply, refuse, submit_result
from ..sim_task import Fate, Order, SimTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..request_fields import Intake
    from ..submitting import Desk

__all__ = ["PRESSES"]

_CHANGEABLE: Final = frozenset({"IMAGINE", "VARIATION", "REROLL", "BLEND"})
_CHANGES: Final = {"UPSCALE": "upsample", "VARIATION": "variation", "REROLL": "reroll"}
_OPERATIONS: Final = {"U": "UPSCALE", "V": "VARIATION", "R": "REROLL"}
_ACTIONS: Final = ("IMAGINE", "UPSCALE", "VARIATION", "REROLL", "DESCRIBE", "BLEND")
"""In the order of their ordinals."""
_INDEXES: Final = range(1, 5)
_ID_AND_OPERATION: Final = 2
_DIGITS: Final = frozenset("1234")
_WIDEST: Final = 2.0
_ASTRAY: Final = Fate(ending="refuse", reason="[50035]: Invalid Form Body", started=True)


def _action(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.8, §4.1."""
    read = desk.intake(order)
    task_id, custom_id = read.text("taskId"), read.text("customId")
    if not (task_id and custom_id):
        raise refuse(4, "参数错误")
    parent = desk.finished(task_id)
    button = parent.offers.get(custom_id)
    if button is None:
        raise refuse(4, "未知的 Action 类型")
    if button.verb in desk.dialect.refused_verbs:
        raise refuse(4, desk.dialect.refusal)
    if button.verb == "picture_prompt_all":
        return _press_all(desk, order, parent)
    task = _press(desk, order, parent, button)
    task.strong = read.truth("strong")
    if _opens_modal(desk, read, button):
        return _open_modal(desk, task, parent, button)
    return desk.accept(task, order)


def _press_all(desk: Desk, order: Order, parent: SimTask) -> Reply:
    """Every described prompt at once, in a task each, without a modal (PROTOCOL §2: 1).

    Where there is no room for all, it makes as many as there is room for.
    """
    buttons = [button for button in parent.offers.values() if button.verb == "picture_prompt"]
    ids: list[str] = []
    for button in buttons:
        task = _press(desk, order, parent, attrs.evolve(button, verb="picture_prompt_all"))
        try:
            desk.accept(task, order)
        except Refusal:
            if not ids:
                raise
            break
        ids.append(task.id)
    return submit_result(1, "提交成功", ",".join(ids))


def _opens_modal(desk: Desk, read: Intake, button: Button) -> bool:
    if button.verb in desk.dialect.modal_always:
        return True
    asked = read.truth("enableRemix")
    if button.verb not in desk.dialect.modal_on_remix:
        return False
    if asked and not desk.remix and desk.dialect.remix_refusal:
        raise refuse(4, desk.dialect.remix_refusal)
    return desk.remix or asked


def _open_modal(desk: Desk, task: SimTask, parent: SimTask, button: Button) -> Reply:
    """A task that waits: not queued, and it uses no concurrency (PROTOCOL §4.2)."""
    task.status, task.account, task.channel = "MODAL", parent.account, parent.channel
    task.modal_prompt = _offered(desk, task, parent, button)
    desk.engine.keep(task)
    properties = {"finalPrompt": task.modal_prompt, "remix": True}
    return submit_result(21, desk.dialect.modal_description, task.id, properties)


def _offered(desk: Desk, task: SimTask, parent: SimTask, button: Button) -> str:
    """The ``finalPrompt`` a modal offers to edit (PROTOCOL §4.2)."""
    if button.verb == "inpaint":
        return ""
    if parent.words:
        kept = desk.dialect.keycaps_kept and button.verb == "picture_prompt"
        return f"{button.emoji} {task.prompt}" if kept else task.prompt or ""
    return parent.final_prompt + (" --zoom 2" if button.verb == "custom_zoom" else "")


def _modal(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.9, §4.2."""
    read = desk.intake(order)
    task_id = read.text("taskId")
    if not task_id and desk.dialect.modal_unchecked:
        raise refuse(4, "参数错误")
    task = desk.known(task_id)
    if task.status != "MODAL" or task.accepted:
        if desk.dialect.modal_unchecked:
            return desk.accept_again(task, order)
        raise refuse(4, "关联任务状态错误")
    prompt = read.text("prompt") or _unsaid(desk, task)
    if not prompt:
        raise refuse(4, "prompt不能为空")
    desk.check_words(prompt)
    mask = read.mask()
    if task.verb.name == "custom_zoom":
        task.zoom, prompt = _zoomed(prompt)
    task.mask, task.prompt, task.prompt_en = mask, prompt, prompt
    task.model = model_of(prompt, task.model)
    task.final_prompt = with_model(prompt, task.model)
    return desk.accept(task, order)


def _unsaid(desk: Desk, task: SimTask) -> str:
    """The prompt of a modal that is answered without one (PROTOCOL §1.9)."""
    if desk.dialect.modal_from_parent and (parent := task.parent):
        return parent.prompt or (parent.words.text if parent.words else parent.final_prompt)
    return task.modal_prompt or task.final_prompt


def _zoomed(prompt: str) -> tuple[float, str]:
    """The zoom of a custom zoom's prompt, and the prompt without it."""
    factor, rest = zoom_of(prompt)
    if factor is None or not 1 <= factor <= _WIDEST:
        raise refuse(4, "prompt参数错误: --zoom 1~2")
    return factor, rest


def _change(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.6."""
    read = desk.intake(order)
    jackson = desk.dialect.jackson
    action = read.choice("action", _ACTIONS if jackson else tuple(_CHANGES))
    task_id, index = read.text("taskId"), read.whole("index")
    if not task_id:
        raise refuse(4, "taskId不能为空")
    if action is None:
        raise read.malformed(500) if jackson else refuse(4, "action不能为空")
    if action not in _CHANGES:
        raise refuse(4, "action参数错误")
    return _apply(desk, order, task_id, (action, index))


def _simple_change(desk: Desk, order: Order) -> Reply:
    """PROTOCOL §1.7. Only the first digit is read."""
    read = desk.intake(order)
    words = (read.exact("content") or "").split(" ")
    if len(words) != _ID_AND_OPERATION:
        raise refuse(4, "content参数错误")
    task_id, operation = words
    if not operation:  # its first letter is looked at
        raise read.malformed(500) if desk.dialect.jackson else refuse(4, "content参数错误")
    action = _OPERATIONS.get(operation[:1].upper())
    rerolls, digit = operation.upper() == "R", operation[1:2]
    if action is None or not (rerolls or (action != "REROLL" and digit in _DIGITS)):
        raise refuse(4, "content参数错误")
    if not task_id:
        raise refuse(4, "taskId不能为空")
    return _apply(desk, order, task_id, (action, 0 if rerolls else int(digit)))


def _apply(desk: Desk, order: Order, task_id: str, change: tuple[str, int | None]) -> Reply:
    action, index = change
    missing = index is None and action != "REROLL"
    if missing and not desk.dialect.jackson:
        raise _missing_index(desk, order)
    index = 0 if index is None or action == "REROLL" else index
    astray = action != "REROLL" and index not in _INDEXES
    if astray and desk.dialect.checks_index:
        raise refuse(4, "index错误")
    parent = desk.finished(task_id)
    if parent.action not in _CHANGEABLE:
        raise refuse(4, "关联任务不允许执行变化")
    if missing:  # it is unboxed last of all
        raise _missing_index(desk, order)
    label = "R" if action == "REROLL" else f"{action[0]}{index}"
    button = Button("", "", label, _CHANGES[action], 1 if astray else index)
    task = _press(desk, order, parent, button)
    return desk.accept(task, order, _ASTRAY if astray else None)


def _missing_index(desk: Desk, order: Order) -> Refusal:
    status = desk.dialect.missing_index_status
    if status == 200:
        return refuse(4, "index错误")
    return Refusal(desk.dialect.malformed(status, order.path))


def _press(desk: Desk, order: Order, parent: SimTask, button: Button) -> SimTask:
    prompt, words = _starts_with(parent, button)
    task = desk.draft(order, button.verb, prompt, parent=parent)
    task.button, task.words = button, words
    if desk.dialect.jackson:  # the prompt with the links of its pictures
        task.prompt = task.prompt_en = parent.prompt_en or parent.final_prompt
        task.final_prompt = parent.final_prompt
    task.zoom = float(button.detail) if button.verb == "zoom" else None
    if button.verb == "reroll":
        _reroll_of(parent, task, keeps_action=desk.dialect.reroll_keeps_action)
    if task.verb.makes == "description":
        task.source, task.source_link, task.upload = (
            parent.source,
            parent.source_link,
            parent.upload,
        )
    task.description = f"/up {parent.id} {button.label or button.verb}"
    return task


def _reroll_of(parent: SimTask, task: SimTask, *, keeps_action: bool) -> None:
    """The same again: of a picture that was picked, the grid it was picked from."""
    makes = "video" if parent.verb.makes == "video" else "grid"
    task.verb, task.batch = attrs.evolve(task.verb, makes=makes), parent.batch
    if keeps_action:
        picked = parent.action.startswith("UPSCALE")
        task.action = "IMAGINE" if picked else parent.action


def _starts_with(parent: SimTask, button: Button) -> tuple[str | None, Words | None]:
    """The prompt a press starts with, and the words it is going to answer."""
    if parent.words is None:
        return parent.prompt or parent.final_prompt, None
    if button.verb == "describe_again":
        return None, descriptions(parent.source + parent.id.encode())
    if button.verb == "details":
        return parent.prompt, analysis(parent.prompt or "", details=True)
    return parent.words.prompts[button.index - 1], None


PRESSES: Final[Mapping[str, Callable[[Desk, Order], Reply]]] = {
    "action": _action,
    "modal": _modal,
    "change": _change,
    "simple-change": _simple_change,
}
"""What each endpoint that follows a finished task does."""
