"""The state of a Task and its phase, by the status that the server returns."""

from __future__ import annotations

import pytest

from mjasync import TaskInfo, TaskPhase, TaskStatus
from mjasync._task_state import TaskState, phase_of, state_of


@pytest.mark.parametrize(
    "status, is_answered, state, phase",
    [
        ("NOT_START", False, TaskState.WAITING, TaskPhase.SUBMITTED),
        ("SUBMITTED", False, TaskState.WAITING, TaskPhase.SUBMITTED),
        ("IN_PROGRESS", False, TaskState.WAITING, TaskPhase.RUNNING),
        ("A_NEW_STATUS", False, TaskState.WAITING, TaskPhase.RUNNING),
        ("MODAL", False, TaskState.MODAL, TaskPhase.MODAL),
        ("MODAL", True, TaskState.WAITING, TaskPhase.SUBMITTED),
        ("SUCCESS", False, TaskState.ENDED, TaskPhase.FINISHED),
        ("SUCCESS", True, TaskState.ENDED, TaskPhase.FINISHED),
        ("FAILURE", False, TaskState.ENDED, TaskPhase.FAILED),
        ("CANCEL", False, TaskState.ENDED, TaskPhase.FAILED),
    ],
)
def test_states_and_phases(
    status: str, is_answered: bool, state: TaskState, phase: TaskPhase
) -> None:
    """An answered modal is work in progress; an unknown status is, too."""
    info = TaskInfo(id="1", status=TaskStatus(status))
    assert state_of(info, is_modal_answered=is_answered) is state
    assert phase_of(info, state) is phase
