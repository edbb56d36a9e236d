"""The front desk: makes a task of each order, takes it on or says why not, keeps the books."""

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

__all__ = ["SubmissionService"]


@attrs.frozen(kw_only=True)
class SubmissionService:
    """Takes on the tasks of one engine, in one dialect."""

    dialect: Dialect
    engine: Engine
    images: ImageStore
    faults: FaultScript
    submissions: list[Submission]
    default_model: ModelVersion
    """The model of prompts that ask for none."""
    has_remix: bool
    banned_words: tuple[str, ...]

    def read_fields(self, request: SubmissionRequest) -> RequestFields:
        """The fields of an order as this dialect reads them."""
        return RequestFields(request, self.dialect)

    def read_prompt(self, fields: RequestFields) -> str:
        """The prompt of an order, which must not be blank nor banned."""
        prompt = fields.text("prompt").strip()
        if not prompt and fields.request.endpoint not in self.dialect.blank_prompt_endpoints:
            raise make_refusal(4, "prompt不能为空")
        self.check_banned_words(prompt)
        return prompt

    def check_banned_words(self, prompt: str) -> None:
        """Refuse a prompt with a banned word (PROTOCOL §2: 24), unless its task is to fail."""
        if self.dialect.checks_words_late:
            return
        if word := find_banned_word(prompt, self.banned_words):
            raise make_refusal(24, "可能包含敏感词", {"promptEn": prompt, "bannedWord": word})

    def store_images(self, images: Iterable[UploadedImage]) -> list[str]:
        """Where pictures that were sent can be seen."""
        add_upload, create_link = self.images.add_upload, self.images.create_link
        return [image.link or create_link(add_upload(image.data)) for image in images]

    def find_task(self, task_id: str) -> SimTask:
        """A task there is."""
        task = self.engine.tasks.get(task_id)
        if task is None:
            status = self.dialect.unknown_parent_status
            raise make_refusal(3, "关联任务不存在或已失效", status=status)
        return task

    def find_finished_task(self, task_id: str) -> SimTask:
        """A task that has succeeded."""
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
        """A task that nobody knows of yet."""
        fields = self.read_fields(request)
        bot = parent.bot if parent else fields.bot()
        default_model = parent.model if parent else self.default_model
        model = find_model(prompt or "", default_model, niji=not parent and bot == "NIJI_JOURNEY")
        requested_speed, max_lengths = (
            _requested_speed(fields, prompt),
            self.dialect.max_text_lengths,
        )
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
        """Take a task on, or say that there is no room (PROTOCOL §2: 1, 22, 23 or 9, 3)."""
        account = self.engine.choose_account(task.parent, task.requested_account)
        if account is None:
            raise make_refusal(3, "无可用的账号实例")
        properties = self._submit_properties(task, account)
        if (
            self.engine.is_full(account)
            and task.command.name not in self.dialect.has_unbounded_queue
        ):
            raise make_refusal(*self.dialect.queue_full_error, properties)
        queue_position = self._start_task(task, account, request, outcome)
        if self.dialect.counts_before_check and queue_position:
            queue_position -= 1
        if not queue_position:
            return submit_result(1, "提交成功", task.id, properties)
        description = f"排队中，前面还有{queue_position}个任务"
        return submit_result(
            22, description, task.id, {**properties, "numberOfQueues": queue_position}
        )

    def accept_existing(self, task: SimTask, request: SubmissionRequest) -> SimResponse:
        """Take the same modal twice: it is paid twice and made once (PROTOCOL §1.9)."""
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
        task.is_shown_in_queue = _QUEUED_DESCRIPTION.get(fault.kind) if fault else None
        outcome = self._cross_results(task, outcome)
        queue_position = self.engine.accept(task, account, outcome, request.received_at)
        self._record_submission(task, request)
        if fault and fault.kind == "lost":
            self.engine.forget(task, request.received_at)
        self.engine.advance(request.received_at)
        return queue_position

    def _outcome(self, task: SimTask, fault: Fault | None) -> TaskOutcome:
        """What a fault has in store for a task, or a banned word that was let in."""
        if fault is None:
            is_banned = self.dialect.checks_words_late and find_banned_word(
                task.prompt or "", self.banned_words
            )
            return _LATE_BAN_REASON if is_banned else TaskOutcome()
        outcome = _OUTCOMES_BY_FAULT[fault.kind](fault)
        if outcome.kind not in self.dialect.upstream_timeout or fault.options.get("for_ever", True):
            return outcome
        timeout_seconds, reason = self.dialect.upstream_timeout[outcome.kind]
        return attrs.evolve(outcome, timeout=timeout_seconds, fail_reason=reason)

    def _cross_results(self, task: SimTask, outcome: TaskOutcome) -> TaskOutcome:
        """Mix a reroll and a variation of one grid up, if a fault says so: one picture for both.

        The reroll is answered with the variation's picture, and the variation never ends.
        """
        if task.parent is None or task.command.name not in _CROSSED_DESCRIPTION:
            return outcome
        candidates = (other for other in self.engine.tasks.values() if _crossed_with(task, other))
        other = next(candidates, None)
        if other is None or self.faults.next_fault("pair", kind="crossed_pictures") is None:
            return outcome
        reroll, variation = (task, other) if task.command.name == "reroll" else (other, task)
        reroll.image = variation.image
        timeout_seconds, reason = self.dialect.upstream_timeout.get("stall", (None, ""))
        stalled = TaskOutcome(
            kind="stall", at_percent=93, timeout=timeout_seconds, fail_reason=reason
        )
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
    """The path decides, then the account filter, then a flag (PROTOCOL §6.1)."""
    speeds = (fields.request.speed, *fields.speeds(), find_speed(prompt or ""))
    return next((speed for speed in speeds if speed), None)


_LATE_BAN_REASON: Final = TaskOutcome(kind="refuse", fail_reason="可能包含敏感词")
"""PROTOCOL §2: 24."""


def _failure_outcome(fault: Fault) -> TaskOutcome:
    options = fault.options
    reason = str(options["reason"])
    if options["exception"]:
        return TaskOutcome(kind="refuse", fail_reason=f"[Internal Server Error] {reason}")
    return TaskOutcome(kind="fail", at_percent=_clamp_percent(options["at"]), fail_reason=reason)


def _crossed_with(task: SimTask, other: SimTask) -> bool:
    """Whether another task is under way that Midjourney's answer could be taken for."""
    operations = {task.command.name, other.command.name}
    return (
        other.parent is task.parent and operations == _CROSSED_DESCRIPTION and not other.is_terminal
    )


def _banned_outcome(fault: Fault) -> TaskOutcome:
    word = fault.options["word"]
    return TaskOutcome(
        kind="refuse", fail_reason=f"可能包含敏感词: {word}" if word else "可能包含敏感词"
    )


def _clamp_percent(value: object) -> int:
    return min(max(int(str(value)), 0), 100)


def _stall_outcome(fault: Fault) -> TaskOutcome:
    progress_text = fault.options.get("progress")
    percent = _clamp_percent(fault.options["at"])
    return TaskOutcome(
        kind="stall",
        at_percent=percent,
        message=None if progress_text is None else str(progress_text),
    )


_CROSSED_DESCRIPTION: Final = frozenset({"reroll", "variation"})
_QUEUED_DESCRIPTION: Final = {"account_disabled": False, "queue_ghost": True}
"""Whether the queue shows the tasks of some faults, whatever their status."""

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
