"""The state of a Task, and the phase that it shows."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from ._models import TaskInfo, TaskPhase, TaskStatus


class TaskState(Enum):
    """The state of a Task, as far as waiting for it is concerned."""

    UNSENT = auto()
    """The server has not accepted it."""
    WAITING = auto()
    """The server works on it."""
    MODAL = auto()
    """The server waits for the answer to its modal."""
    ENDED = auto()
    """The task has ended, well or not."""


_QUEUED_STATUSES: Final = frozenset({TaskStatus.NOT_START, TaskStatus.SUBMITTED, TaskStatus.MODAL})
"""Statuses of a task that does not run yet; MODAL once its modal is answered."""


def state_of(info: TaskInfo, *, is_modal_answered: bool) -> TaskState:
    """Return the state of a task that the server has accepted.

    Args:
        info: The last state from the server.
        is_modal_answered: Whether the modal of the task was answered, so that MODAL means queued.
    """
    if info.status.is_final:
        return TaskState.ENDED
    is_open = info.status is TaskStatus.MODAL and not is_modal_answered
    return TaskState.MODAL if is_open else TaskState.WAITING


def phase_of(info: TaskInfo, state: TaskState) -> TaskPhase:
    """Return the phase of a task that the server has accepted."""
    if state is TaskState.ENDED:
        is_success = info.status is TaskStatus.SUCCESS
        return TaskPhase.FINISHED if is_success else TaskPhase.FAILED
    if state is TaskState.MODAL:
        return TaskPhase.MODAL
    is_queued = info.status in _QUEUED_STATUSES
    return TaskPhase.SUBMITTED if is_queued else TaskPhase.RUNNING
