"""Submitting a Task, waiting for it, and its state: what `Task` is built on."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Generator,
    Iterator,
)
from contextlib import contextmanager
from typing import Any, Final, Self

from ._http.submission import SubmitRequest
from ._models import Speed, SubmitReceipt, TaskInfo, TaskPhase, TaskStatus
from ._pending_submission import (
    BuildRequest,
    ClientContext,
    PendingSubmission,
    SubmissionCallbacks,
    SubmitLock,
)
from ._polling.watch import Waiter
from ._protocol import decoding, results
from ._protocol.parsing import Operation
from ._protocol.payloads import GENERATED_STATE_PREFIX
from ._protocol.urls import ServerUrl
from ._submission_queue import HeldUp
from ._task_view import TaskView
from ._text import printable
from ._validation import CLIENT_DEFAULT, ClientDefault
from .errors import (
    InvalidRequest,
    MJError,
    ModalRequired,
    TaskShadowed,
    TaskTimeout,
)

__all__ = ["EMPTY_INFO", "NO_TIMEOUT", "TaskLifecycle"]

EMPTY_INFO: Final = TaskInfo(id="")
NO_TIMEOUT: Final = float("inf")


class TaskLifecycle(TaskView):
    """A task from its submission to its end."""

    __slots__ = (
        "_context",
        "_error",
        "_has_own_links",
        "_is_awaited",
        "_label",
        "_listeners",
        "_modal_answered",
        "_modal_lock",
        "_parent",
        "_pending",
        "_route",
        "_seed",
        "_seen_by_server",
        "_sent_state_and_prompt",
        "_siblings",
        "_speed",
    )

    def __init__(
        self,
        context: ClientContext,
        label: str,
        build_request: BuildRequest | None = None,
        *,
        parent: Self | None = None,
        info: TaskInfo = EMPTY_INFO,
        modal_answered: bool = False,
        seen_by_server: bool = False,
        modal_lock: SubmitLock | None = None,
        route: ServerUrl | None = None,
        speed: Speed | None = None,
        sent_state_and_prompt: tuple[str, str | None] | None = None,
    ) -> None:
        """Made by a Client or by another Task, not by hand."""
        super().__init__(info)
        self._context = context
        self._label = label
        self._parent = parent
        self._modal_answered = modal_answered
        self._seen_by_server = seen_by_server
        self._route: ServerUrl = route or context.api.url
        inherited = context.speed if parent is None else parent._speed  # noqa: SLF001 - one of us
        self._speed: Speed | None = speed or inherited
        self._has_own_links = self._route.image_host == context.api.url.image_host
        self._is_awaited = build_request is None
        self._pending = build_request and PendingSubmission(context, build_request, modal_lock)
        self._modal_lock: SubmitLock | None = None
        self._error: BaseException | None = None
        self._listeners: tuple[Callable[[Self], None], ...] = ()
        self._siblings: tuple[Self, ...] = ()
        self._sent_state_and_prompt: tuple[str, str | None] | None = (
            sent_state_and_prompt  # state and prompt, where they are known
        )
        self._seed: int | None = None
        if parent is not None:
            parent._is_awaited = True  # noqa: SLF001 - its outcome is asked for by this one

    @property
    def parent(self) -> Self | None:
        """The Task that this one follows, or None."""
        return self._parent

    @property
    def siblings(self) -> tuple[Self, ...]:
        """The other Tasks of a button that started several."""
        return self._siblings

    @property
    def error(self) -> BaseException | None:
        """The error of the last wait, or of the submission if there was no wait.

        None after success, and while the outcome is not known.
        """
        if self._error is None and self._pending is not None and self._pending.refusal is not None:
            self._error = self._attach_to(self._pending.refusal._copy())  # noqa: SLF001
        return self._error

    @property
    def phase(self) -> TaskPhase:
        """The phase of the Task, on the client and on the server: see `TaskPhase`."""
        if self._pending is not None and not self._pending.is_accepted:
            phase = self._pending.phase
            if phase is TaskPhase.NEW and self._is_orphaned:
                return TaskPhase.FAILED
            is_chained = self._parent is not None and not self._parent.done
            is_waiting = phase is TaskPhase.PREPARING and is_chained and not self._modal_answered
            return TaskPhase.WAITING if is_waiting else phase
        return _phase_of(self._info, answered=self._modal_answered)

    @property
    def _is_orphaned(self) -> bool:
        """Whether a wait failed because the parent Task will never finish."""
        lost = {TaskPhase.FAILED, TaskPhase.CLOSED}
        return self._error is not None and self._parent is not None and self._parent.phase in lost

    @property
    def held_up(self) -> HeldUp | None:
        """The retries of the submission, while the server refuses it for now; else None."""
        return None if self._pending is None else self._pending.held_up

    def __await__(self) -> Generator[Any, None, Self]:
        return self.wait().__await__()

    async def wait(
        self,
        *,
        timeout: float | ClientDefault | None = CLIENT_DEFAULT,
        stall_timeout: float | ClientDefault | None = CLIENT_DEFAULT,
    ) -> Self:
        """Submit if necessary, and wait until the task has finished.

        Args:
            timeout: Seconds for the whole wait, earlier Tasks of the chain included. Defaults to
                the client's; None for no limit.
            stall_timeout: Seconds without any change. Defaults to the client's; None for no limit.

        Raises:
            TaskFailed: The task ended in FAILURE (also TaskBanned, TaskCancelled).
            ModalRequired: The server waits for the answer to a modal.
            TaskTimeout: The wait took too long (TaskStalled: no change). Await again to continue.
            SubmitUncertain: The server may or may not have accepted the submission.
            MJError: The submission was refused, or the server cannot be read.
        """
        self._is_awaited = True
        self._context.loop.check()
        deadline = self._context.deadline(timeout)
        stall = self._context.stall(stall_timeout)
        try:
            await self._wait_until_accepted(deadline, stall)
            while not self._is_settled(self._info):
                waiter = self._register_waiter(self._on_update_until_settled, deadline, stall)
                try:
                    self._check_not_shadowed(await waiter)
                finally:
                    self._context.poller.unwatch(waiter)
            await self._raise_outcome()
        except Exception as error:
            self._error = self._attach_to(error)
            raise
        self._error = None
        return self

    async def submit(self) -> Self:
        """Submit the task and return once the server has accepted it.

        Raises:
            SubmitUncertain: The server may or may not have accepted the submission.
            MJError: The submission was refused, or an earlier Task of the chain failed.
        """
        self._is_awaited = True
        self._context.loop.check()
        try:
            runtime = self._context
            await self._wait_until_accepted(runtime.deadline(), runtime.stall_timeout)
        except Exception as error:
            self._error = self._attach_to(error)
            raise
        return self

    async def refresh(self) -> Self:
        """Fetch the current state of the task.

        Raises:
            InvalidRequest: The Task was not submitted yet.
            TaskNotFound: The server does not know the task, or not any more.
            MJError: The read failed.
        """
        self._context.loop.check()
        with self._attaching_errors():
            info = await self._context.api.fetch(self._require_id(), self._route)
            self._check_not_shadowed(info)
            self._set_info(info)
        return self

    async def _wait_until_accepted(self, deadline: float, stall: float) -> None:
        """Return once the server has accepted the job; raise what became of it otherwise."""
        if self._pending is not None:
            receiver = SubmissionCallbacks(
                on_accepted=self._on_accepted,
                on_already_running=self._set_info,
                is_settled=self._is_settled,
                on_change=self._notify,
            )
            await self._pending.wait_until_accepted(deadline, stall, receiver)
            self._pending = None

    def _on_accepted(self: Self, receipt: SubmitReceipt, submission: SubmitRequest) -> TaskInfo:
        """Keep the id at once: from here on the job is paid."""
        self._seen_by_server = True
        if self._modal_answered and self._parent is not None:
            self._parent._modal_answered = True  # noqa: SLF001 - it asked, this answers
        sent = submission.payload
        proposed = decoding.parse_text(receipt.properties.get("finalPrompt"))
        is_modal = receipt.is_modal and not self._modal_answered
        first, *others = (
            TaskInfo(
                id=task_id,
                status=TaskStatus.MODAL if is_modal else TaskStatus.NOT_START,
                action=submission.expected_action,
                prompt=sent.get("prompt"),
                final_prompt=proposed,
                state=sent.get("state"),
                properties=receipt.properties,
            )
            for task_id in receipt.ids
        )
        self._siblings = tuple(self._make_sibling(info) for info in others)
        is_new = submission.operation is Operation.SUBMIT or submission.exclusive_key
        if is_new and sent.get("state"):  # other presses may be answered with an older task
            self._sent_state_and_prompt = sent["state"], sent.get("prompt")
        for made in (first, *others):
            self._context.poller.expect(made.id)
        self._set_info(first)
        asked = self._parent if self._modal_answered else None
        if asked is not None and asked.id != first.id:
            asked._set_info(first)  # noqa: SLF001 - its job goes on under another id
        return first

    def _make_sibling(self, info: TaskInfo) -> Self:
        return type(self)(
            self._context,
            self._label,
            parent=self._parent,
            info=info,
            seen_by_server=True,
            route=self._route,
        )

    async def _raise_outcome(self) -> None:
        """Raise what became of a job that has ended or wants an answer, unless it is well."""
        if self._info.status is TaskStatus.MODAL:
            message = "The server waits for the answer to a modal."
            raise ModalRequired(message, task=self)
        if not self._has_own_links:  # watched by the client's route, whose image host is another
            await self.refresh()
            self._has_own_links = True
        results.raise_for_status(self._info)

    def _register_waiter(
        self, on_update: Callable[[TaskInfo], bool], deadline: float, stall: float
    ) -> Waiter:
        return self._context.poller.watch(
            self._info,
            on_update,
            is_known=self._is_seen,
            deadline=deadline,
            stall=stall,
            modal_answered=self._modal_answered,
        )

    def _is_shadowed(self, info: TaskInfo) -> bool:
        """Return whether the server returns another task under this id, by its `state`.

        Checked when the task is first seen and when it has ended. A server that repeats no state
        shows nothing; one that has a state of its own for everything shows the prompt at least.
        """
        is_first = not decoding.is_from_server(self._info)
        if self._sent_state_and_prompt is None or not (is_first or info.status.is_final):
            return False
        state, prompt = self._sent_state_and_prompt
        told = decoding.raw_of(info)
        echoed = decoding.parse_text(told.get("state"))
        if echoed is None:
            return False
        if echoed == state:
            self._context.echoes_state = True
            return False
        shown = decoding.parse_text(told.get("prompt"))
        differs = prompt is not None and shown is not None and shown != prompt
        return differs or self._context.echoes_state or echoed.startswith(GENERATED_STATE_PREFIX)

    def _check_not_shadowed(self, info: TaskInfo) -> None:
        if self._is_shadowed(info):
            message = (
                f"The server shows another task under the id {self.id}: its state is "
                f"{printable(info.state)!r}."
            )
            raise TaskShadowed(message, task=self)

    def _on_update_until_settled(self, info: TaskInfo) -> bool:
        if self._is_shadowed(info):
            return True
        self._set_info(info)
        return self._is_settled(info)

    def _on_update_until_started(self, info: TaskInfo) -> bool:
        if self._is_shadowed(info):
            return True
        self._set_info(info)
        return info.status is not TaskStatus.NOT_START

    @property
    def _is_seen(self) -> bool:
        """Whether the server has ever spoken of this job."""
        return self._seen_by_server or decoding.is_from_server(self._info)

    def _is_settled(self, info: TaskInfo) -> bool:
        return info.status.is_final or (
            info.status is TaskStatus.MODAL and not self._modal_answered
        )

    def _set_info(self, info: TaskInfo) -> None:
        """Swap the snapshot; what has ended never comes alive again."""
        before = self._info
        if info is before or (before.status.is_final and not info.status.is_final):
            return
        self._info = info
        if info.status.is_final:
            self._context.submissions.on_task_ended()
        if self._listeners and (info.progress != before.progress or info != before):
            self._notify()

    def _notify(self: Self) -> None:
        for listener in self._listeners:
            listener(self)

    def _require_id(self) -> str:
        if not self._info.id:
            message = "This Task has not been submitted: await it, or call submit(), first."
            raise InvalidRequest(message)
        return self._info.id

    def _attach_to(self, error: Exception) -> Exception:
        """Say on an error that it is about this Task, unless it is about one before it."""
        if isinstance(error, MJError) and (error.task is None or isinstance(error, TaskTimeout)):
            waited_for = error.task_id
            error._attach(self)  # noqa: SLF001
            error.task_id = error.task_id or waited_for
        return error

    @contextmanager
    def _attaching_errors(self) -> Iterator[None]:
        """Say on whatever is raised meanwhile that it is about this Task."""
        try:
            yield
        except MJError as error:
            self._attach_to(error)
            raise


def _phase_of(info: TaskInfo, *, answered: bool) -> TaskPhase:
    """Return the phase for a status of the server."""
    if info.status.is_final:
        is_well = info.status is TaskStatus.SUCCESS
        return TaskPhase.FINISHED if is_well else TaskPhase.FAILED
    if info.status is TaskStatus.MODAL:
        return TaskPhase.SUBMITTED if answered else TaskPhase.MODAL
    waits = info.status in {TaskStatus.NOT_START, TaskStatus.SUBMITTED}
    return TaskPhase.SUBMITTED if waits else TaskPhase.RUNNING
