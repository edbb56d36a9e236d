"""Submitting a Task, waiting for it, and its state: what `Task` is built on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from ._context import ClientContext
from ._http.submission import SubmitRequest
from ._models import Speed, SubmitReceipt, TaskInfo, TaskPhase, TaskStatus
from ._pending_submission import (
    PendingSubmission,
    RequestBuilder,
    SubmissionCallbacks,
    SubmitLock,
)
from ._polling.watch import Waiter
from ._protocol import decoding, results
from ._protocol.parsing import Operation
from ._protocol.payloads import GENERATED_STATE_PREFIX
from ._protocol.urls import ServerUrl
from ._submission_queue import HeldUp
from ._task_state import TaskState, phase_of, state_of
from ._task_view import TaskView
from ._text import printable
from ._validation import CLIENT_DEFAULT, ClientDefault
from .errors import InvalidRequest, MJError, ModalRequired, TaskShadowed, TaskTimeout

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
        request: RequestBuilder | None = None,
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
        """Create a Task; only a Client or another Task does so."""
        super().__init__(info)
        self._context = context
        self._label = label
        self._parent = parent
        self._modal_answered = modal_answered
        self._seen_by_server = seen_by_server
        self._route: ServerUrl = route or context.config.url
        default_speed = context.config.speed if parent is None else parent._speed  # noqa: SLF001
        self._speed: Speed | None = speed or default_speed
        self._has_own_links = self._route.image_host == context.config.url.image_host
        self._is_awaited = request is None
        self._pending = None if request is None else PendingSubmission(context, request, modal_lock)
        self._modal_lock: SubmitLock | None = None
        self._error: BaseException | None = None
        self._listeners: tuple[Callable[[Self], None], ...] = ()
        self._siblings: tuple[Self, ...] = ()
        self._sent_state_and_prompt = sent_state_and_prompt
        self._seed: int | None = None
        if parent is not None:
            parent._is_awaited = True  # noqa: SLF001 - this Task waits for it

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
        state = self._state
        return self._unsent_phase() if state is TaskState.UNSENT else phase_of(self._info, state)

    def _unsent_phase(self) -> TaskPhase:
        phase = TaskPhase.NEW if self._pending is None else self._pending.phase
        if phase is TaskPhase.NEW and self._is_orphaned:
            return TaskPhase.FAILED
        has_unfinished_parent = self._parent is not None and not self._parent.done
        if phase is TaskPhase.PREPARING and has_unfinished_parent and not self._modal_answered:
            return TaskPhase.WAITING
        return phase

    @property
    def _state(self) -> TaskState:
        if self._pending is not None and not self._pending.is_accepted:
            return TaskState.UNSENT
        return state_of(self._info, is_modal_answered=self._modal_answered)

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
        stall = self._context.stall_timeout(stall_timeout)
        try:
            await self._wait_until_accepted(deadline, stall)
            while self._state is TaskState.WAITING:
                waiter = self._watch(self._on_update_until_settled, deadline, stall)
                try:  # here, since thousands of waits need no coroutine more than this one
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
            await self._wait_until_accepted(self._context.deadline(), self._context.stall_timeout())
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

    async def _wait_until_accepted(self, deadline: float, stall_timeout: float) -> None:
        """Return once the server has accepted the task; raise the refusal otherwise."""
        if self._pending is not None:
            callbacks = SubmissionCallbacks(
                on_accepted=self._on_accepted,
                on_already_running=self._set_info,
                is_settled=self._is_settled,
                on_held_up=self._notify,
            )
            await self._pending.wait_until_accepted(deadline, stall_timeout, callbacks)
            self._pending = None

    def _on_accepted(self: Self, receipt: SubmitReceipt, request: SubmitRequest) -> TaskInfo:
        """Store the id at once: from here on the task is paid."""
        self._seen_by_server = True
        if self._modal_answered and self._parent is not None:
            self._parent._modal_answered = True  # noqa: SLF001 - this Task has answered it
        payload = request.payload
        is_modal = receipt.is_modal and not self._modal_answered
        infos = [
            TaskInfo(
                id=task_id,
                status=TaskStatus.MODAL if is_modal else TaskStatus.NOT_START,
                action=request.expected_action,
                prompt=payload.get("prompt"),
                final_prompt=decoding.parse_text(receipt.properties.get("finalPrompt")),
                state=payload.get("state"),
                properties=receipt.properties,
            )
            for task_id in receipt.ids
        ]
        first = infos[0]
        self._siblings = tuple(self._make_sibling(info) for info in infos[1:])
        is_new = request.operation is Operation.SUBMIT or request.exclusive_key
        if is_new and payload.get("state"):  # other buttons may return an older task
            self._sent_state_and_prompt = payload["state"], payload.get("prompt")
        for info in infos:
            self._context.poller.expect(info.id)
        self._set_info(first)
        parent = self._parent if self._modal_answered else None
        if parent is not None and parent.id != first.id:
            parent._set_info(first)  # noqa: SLF001 - its job continues under another id
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
        """Raise the error of a task that has failed or waits for the answer to a modal."""
        if self._info.status is TaskStatus.MODAL:
            message = "The server waits for the answer to a modal."
            raise ModalRequired(message, task=self)
        if not self._has_own_links:  # the polls used the client's URL, with another image host
            await self.refresh()
            self._has_own_links = True
        results.raise_for_status(self._info)

    async def _wait_for_modal(self, stall_timeout: float) -> bool:
        """Wait until the server asks for a modal; return False if it starts without one."""
        await self._wait_until_accepted(NO_TIMEOUT, stall_timeout)
        if self._modal_answered:
            message = "This modal has been answered already."
            raise InvalidRequest(message, task=self)
        if self.status is TaskStatus.NOT_START:
            waiter = self._watch(self._on_update_until_started, NO_TIMEOUT, stall_timeout)
            try:
                self._check_not_shadowed(await waiter)
            finally:
                self._context.poller.unwatch(waiter)
        if self.done:
            await self._raise_outcome()
        return self.status is TaskStatus.MODAL

    def _watch(
        self, on_update: Callable[[TaskInfo], bool], deadline: float, stall_timeout: float
    ) -> Waiter:
        return self._context.poller.watch(
            self._info,
            on_update,
            is_known=self._is_seen,
            deadline=deadline,
            stall=stall_timeout,
            modal_answered=self._modal_answered,
        )

    def _on_update_until_settled(self, info: TaskInfo) -> bool:
        if self._is_shadowed(info):
            return True
        self._set_info(info)
        return self._is_settled(info)

    def _on_update_until_started(self, info: TaskInfo) -> bool:
        return self._on_update_until_settled(info) or self.status is not TaskStatus.NOT_START

    def _is_shadowed(self, info: TaskInfo) -> bool:
        """Return whether the server returns another task under this id, judged by its `state`.

        The state is checked when the task is first seen and when it has ended. A server that
        returns no state shows nothing. One that replaces all states shows the prompt at least.
        """
        is_first = not decoding.is_from_server(self._info)
        if self._sent_state_and_prompt is None or not (is_first or info.status.is_final):
            return False
        state, prompt = self._sent_state_and_prompt
        if info.state is None:
            return False
        if info.state == state:
            self._context.api.echoes_state = True
            return False
        is_known = prompt is not None and info.prompt is not None
        differs = is_known and info.prompt != prompt
        is_generated = info.state.startswith(GENERATED_STATE_PREFIX)
        return differs or self._context.api.echoes_state or is_generated

    def _check_not_shadowed(self, info: TaskInfo) -> None:
        if self._is_shadowed(info):
            message = (
                f"The server shows another task under the id {self.id}: its state is "
                f"{printable(info.state)!r}."
            )
            raise TaskShadowed(message, task=self)

    @property
    def _is_seen(self) -> bool:
        """Whether the server has ever returned this task."""
        return self._seen_by_server or decoding.is_from_server(self._info)

    def _is_settled(self, info: TaskInfo) -> bool:
        return state_of(info, is_modal_answered=self._modal_answered) is not TaskState.WAITING

    def _set_info(self, info: TaskInfo) -> None:
        """Replace the state of the task; a task that has ended never changes."""
        previous = self._info
        if info is previous or (previous.status.is_final and not info.status.is_final):
            return
        self._info = info
        if info.status.is_final:
            self._context.queue.on_task_ended()
        if self._listeners and (info.progress != previous.progress or info != previous):
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
        """Attach this Task to an error, unless the error is about an earlier Task."""
        if isinstance(error, MJError) and (error.task is None or isinstance(error, TaskTimeout)):
            awaited_id = error.task_id
            error._attach(self)  # noqa: SLF001 - a part of the package
            error.task_id = error.task_id or awaited_id
        return error

    @contextmanager
    def _attaching_errors(self) -> Iterator[None]:
        """Attach this Task to the errors that are raised in a block."""
        try:
            yield
        except MJError as error:
            self._attach_to(error)
            raise
