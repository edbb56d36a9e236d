"""The outcome of a job for now, which the executor returns and the runner acts on."""

from __future__ import annotations

import errno
from enum import Enum, auto
from typing import Final, Protocol

import attrs

from ..errors import MJError
from ._jobs import Job, JobStatus

UNCERTAIN_STATUSES: Final = frozenset({JobStatus.SUBMITTING, JobStatus.UNCERTAIN})
"""Statuses in which the server may have a job whose id is not known."""
_DISK_ERRNOS: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENODEV,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
    }
)


class NextStep(Enum):
    """What happens to a job in the rest of the run."""

    NONE = auto()
    REQUEUE = auto()
    """The job is started again."""
    RECHECK = auto()
    """The job is looked up again once the server has accepted others."""
    CLAIMED_ELSEWHERE = auto()
    """Another process has the job, or has had it."""


@attrs.frozen
class JobOutcome:
    """The state of a job, and what follows from it."""

    job: Job
    next_step: NextStep = attrs.field(default=NextStep.NONE, kw_only=True)
    refusal: MJError | None = attrs.field(default=None, kw_only=True)
    """Why the server refused the job for now."""
    abort: Exception | None = attrs.field(default=None, kw_only=True)
    """Why no other job may be started."""


class JobListener(Protocol):
    """What an executor notifies while a job is running."""

    def on_submitted(self, job: Job) -> None:
        """Handle a job that the server may have accepted."""

    def on_finished(self, job: Job) -> None:
        """Handle a job that has ended on the server."""


def is_disk_error(error: Exception) -> bool:
    """Return whether other jobs would fail with the same error, unlike with an error of Pillow."""
    return isinstance(error, OSError) and error.errno in _DISK_ERRNOS
