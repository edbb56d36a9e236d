"""Submissions: creating a task from a request, accepting or refusing it, and recording it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .button_sets import COMMAND_TABLE
from .images.lineage import image_spec_for
from .prompts import ModelVersion, find_banned_word, find_model, find_speed, with_model
from .request_fields import RequestFields
from .responses import SimResponse, make_refusal, submit_result
from .sim_task import SimTask, Submission, SubmissionRequest, TaskOutcome, UploadedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .dialect import Dialect
    from .engine import Engine, SimAccount
    from .faults import Fault, FaultScript
    from .images.store import ImageStore


@attrs.frozen(kw_only=True)
class SubmissionService:
    """Accepts submissions for one engine, in one dialect."""

    dialect: Dialect
    engine: Engine
    images: ImageStore
    faults: FaultScript
    submissions: list[Submission]
    default_model: ModelVersion
    """The model of prompts without one."""
    has_remix: bool
    banned_words: tuple[str, ...]

    def read_fields(self, request: SubmissionRequest) -> RequestFields:
        """Return the fields of a request as this dialect reads them."""
        return RequestFields(request, self.dialect)

    def read_prompt(self, fields: RequestFields) -> str:
        """Return the prompt of a request; refuse a blank or a banned one."""
        prompt = fields.text("prompt").strip()
        if not prompt and fields.request.endpoint not in self.dialect.blank_prompt_endpoints:
            raise make_refusal(4, "prompt不能为空")
        self.check_banned_words(prompt)
        return prompt

    def check_banned_words(self, prompt: str) -> None:
        """Refuse a prompt with a banned word (PROTOCOL §2: 24), unless its task fails later."""
        if self.dialect.checks_words_late:
            return
        if word := find_banned_word(prompt, self.banned_words):
            raise make_refusal(24, "可能包含敏感词", {"promptEn": prompt, "bannedWord": word})

    def store_images(self, images: Iterable[UploadedImage]) -> list[str]:
        """Store images and return their links."""
        add_upload, create_link = self.images.add_upload, self.images.create_link
        return [image.link or create_link(add_upload(image.data)) for image in images]

    def find_task(self, task_id: str) -> SimTask:
        """Return a task, or refuse an unknown id."""
        task = self.engine.tasks.get(task_id)
        if task is None:
            status = self.dialect.unknown_parent_status
            raise make_refusal(3, "关联任务不存在或已失效", status=status)
        return task

    def find_finished_task(self, task_id: str) -> SimTask:
        """Return a task that has succeeded, or refuse its id."""
        task = self.find_task(task_id)
        if task.status != "SUCCESS":
            raise make_refusal(4, "关联任务状态错误")
        return task

    def create_task(
        self,
        request: SubmissionRequest,
        operation: str,
        prompt: str | None = None,
        *,
        images: Iterable[UploadedImage] = (),
        parent: SimTask | None = None,
    ) -> SimTask:
        """Create a task that the engine does not have yet."""
        fields = self.read_fields(request)
        bot = parent.bot if parent else fields.bot()
        default_model = parent.model if parent else self.default_model
        model = find_model(prompt or "", default_model, niji=not parent and bot == "NIJI_JOURNEY")
        requested_speed = _requested_speed(fields, prompt)
        max_lengths = self.dialect.max_text_lengths
        return SimTask(
            id=self.engine.new_id(request.received_at),
            request=request,
            command=COMMAND_TABLE[operation],
            action=self.dialect.actions.get(operation, COMMAND_TABLE[operation].action),
            model=model,
            seed=self.engine.new_seed(),
            midjourney_job_id=self.engine.new_job_id(),
            mode=requested_speed or (parent.mode if parent else "FAST"),
            requested_speed=requested_speed,
            requested_account=fields.account_id(),
            submitted_ms=int(request.received_at * 1000),
            bot=bot,
            state=self._read_state(fields),
            notify_hook=fields.limited_text("notifyHook", max_lengths.get("notifyHook")) or None,
            prompt=prompt,
            prompt_en=prompt,
            final_prompt=with_model(prompt or "", model),
            parent=parent,
            image_sizes=tuple(len(image.data) for image in images),
            restarts_progress=operation in self.dialect.status_restarts,
            notify_twice=self.dialect.notifies_twice,
            button_sets=self.dialect.button_sets,
        )

    def _read_state(self, fields: RequestFields) -> str | None:
        if self.dialect.uses_jackson:
            return fields.strict_text("state")
        return fields.limited_text("state", self.dialect.max_text_lengths.get("state")) or None

    def accept(
        self, task: SimTask, request: SubmissionRequest, outcome: TaskOutcome | None = None
    ) -> SimResponse:
        """Start, queue or refuse a task (PROTOCOL §2: codes 1, 22, 23 or 9, 3)."""
        account = self.engine.choose_account(task.parent, task.requested_account)
        if account is None:
            raise make_refusal(3, "无可用的账号实例")
        properties = self._submit_properties(task, account)
        is_bounded = task.command.name not in self.dialect.has_unbounded_queue
        if is_bounded and self.engine.is_full(account):
            raise make_refusal(*self.dialect.queue_full_error, properties)
        queue_position = self._start_task(task, account, request, outcome)
        if self.dialect.counts_before_check and queue_position:
            queue_position -= 1
        if not queue_position:
            return submit_result(1, "提交成功", task.id, properties)
        properties["numberOfQueues"] = queue_position
        description = f"排队中，前面还有{queue_position}个任务"
        return submit_result(22, description, task.id, properties)

    def accept_existing(self, task: SimTask, request: SubmissionRequest) -> SimResponse:
        """Accept a modal again: it is paid twice and runs once (PROTOCOL §1.9)."""
        self._record_submission(task, request)
        return submit_result(1, "提交成功", task.id)

    def _start_task(
        self,
        task: SimTask,
        account: SimAccount,
        request: SubmissionRequest,
        outcome: TaskOutcome | None,
    ) -> int:
        task.image = image_spec_for(task, self.images.grid_size)
        fault = self.faults.next_fault("task", endpoint=request.endpoint)
        outcome = outcome or self._outcome(task, fault)
        if fault and fault.kind == "id_collision" and self.submissions:
            task.id = self.submissions[-1].task_id
        task.is_shown_in_queue = _SHOWN_IN_QUEUE.get(fault.kind) if fault else None
        outcome = self._cross_results(task, outcome)
        queue_position = self.engine.accept(task, account, outcome, request.received_at)
        self._record_submission(task, request)
        if fault and fault.kind == "lost":
            self.engine.forget(task, request.received_at)
        self.engine.advance(request.received_at)
        return queue_position

    def _outcome(self, task: SimTask, fault: Fault | None) -> TaskOutcome:
        """Return the outcome of a task with this fault, or with an accepted banned word."""
        if fault is None:
            banned_words = self.banned_words if self.dialect.checks_words_late else ()
            is_banned = find_banned_word(task.prompt or "", banned_words)
            return _LATE_BAN_OUTCOME if is_banned else TaskOutcome()
        outcome = _OUTCOMES_BY_FAULT[fault.kind](fault)
        if outcome.kind not in self.dialect.upstream_timeout or fault.options.get("for_ever", True):
            return outcome
        timeout_seconds, reason = self.dialect.upstream_timeout[outcome.kind]
        return attrs.evolve(outcome, timeout=timeout_seconds, fail_reason=reason)

    def _cross_results(self, task: SimTask, outcome: TaskOutcome) -> TaskOutcome:
        """Mix up a reroll and a variation of one grid, if there is a fault for it.

        The reroll gets the variation's picture, and the variation stalls.
        """
        if task.parent is None or task.command.name not in _CROSSED_OPERATIONS:
            return outcome
        candidates = (other for other in self.engine.tasks.values() if _crossed_with(task, other))
        other = next(candidates, None)
        if other is None or self.faults.next_fault("pair", kind="crossed_pictures") is None:
            return outcome
        reroll, variation = (task, other) if task.command.name == "reroll" else (other, task)
        reroll.image = variation.image
        timeout, reason = self.dialect.upstream_timeout.get("stall", (None, ""))
        stalled = TaskOutcome(kind="stall", at_percent=93, timeout=timeout, fail_reason=reason)
        if variation is task:
            return stalled
        self.engine.change_outcome(variation, stalled, task.request.received_at)
        return outcome

    def _submit_properties(self, task: SimTask, account: SimAccount) -> dict[str, object]:
        if task.command.name in self.dialect.operations_without_account:
            return {}
        channel_id = account.id if self.dialect.channel_id_is_account_id else account.channel_id
        account_ids = {"discordInstanceId": account.id, "discordChannelId": channel_id}
        return {key: account_ids[key] for key in self.dialect.submit_properties}

    def _record_submission(self, task: SimTask, request: SubmissionRequest) -> None:
        self.submissions.append(
            Submission(
                endpoint=request.endpoint,
                task_id=task.id,
                body=request.body,
                state=task.state,
                prompt=task.prompt,
                action=task.action,
                parent_id=task.parent.id if task.parent else None,
                at=request.received_at,
            )
        )


def _requested_speed(fields: RequestFields, prompt: str | None) -> str | None:
    """Return the speed of the path, else of the account filter, else of a flag (PROTOCOL §6.1)."""
    speeds = (fields.request.speed, *fields.speeds(), find_speed(prompt or ""))
    return next((speed for speed in speeds if speed), None)


_LATE_BAN_OUTCOME: Final = TaskOutcome(kind="refuse", fail_reason="可能包含敏感词")
"""PROTOCOL §2: 24."""


def _failure_outcome(fault: Fault) -> TaskOutcome:
    options = fault.options
    reason = str(options["reason"])
    if options["exception"]:
        return TaskOutcome(kind="refuse", fail_reason=f"[Internal Server Error] {reason}")
    return TaskOutcome(kind="fail", at_percent=_clamp_percent(options["at"]), fail_reason=reason)


def _crossed_with(task: SimTask, other: SimTask) -> bool:
    """Report whether Midjourney's result of one task could be mistaken for the other's."""
    operations = {task.command.name, other.command.name}
    is_pair = other.parent is task.parent and operations == _CROSSED_OPERATIONS
    return is_pair and not other.is_terminal


def _banned_outcome(fault: Fault) -> TaskOutcome:
    word = fault.options["word"]
    reason = f"可能包含敏感词: {word}" if word else "可能包含敏感词"
    return TaskOutcome(kind="refuse", fail_reason=reason)


def _clamp_percent(value: object) -> int:
    return min(max(int(str(value)), 0), 100)


def _stall_outcome(fault: Fault) -> TaskOutcome:
    progress = fault.options.get("progress")
    message = None if progress is None else str(progress)
    percent = _clamp_percent(fault.options["at"])
    return TaskOutcome(kind="stall", at_percent=percent, message=message)


_CROSSED_OPERATIONS: Final = frozenset({"reroll", "variation"})
_SHOWN_IN_QUEUE: Final = {"account_disabled": False, "queue_ghost": True}
"""Faults whose tasks the queue shows or hides, independent of their status."""
_OUTCOMES_BY_FAULT: Final[Mapping[str, Callable[[Fault], TaskOutcome]]] = {
    "fail": _failure_outcome,
    "stall": _stall_outcome,
    "account_disabled": _stall_outcome,
    "id_collision": lambda _: TaskOutcome(),
    "queue_ghost": lambda fault: TaskOutcome(kind="fail", fail_reason=str(fault.options["reason"])),
    "stuck": lambda _: TaskOutcome(kind="stuck"),
    "lost": lambda _: TaskOutcome(),
    "banned_late": _banned_outcome,
}
