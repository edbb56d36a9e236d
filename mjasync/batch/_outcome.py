"""What became of a job for now: what those who do jobs tell those who hand them out."""

from __future__ import annotations

import errno
from typing import Final

import attrs

from ..errors import MJError
from ._jobs import Job, JobStatus

__all__ = ["UNCERTAIN_STATUSES", "JobOutcome", "is_disk_error"]

UNCERTAIN_STATUSES: Final = frozenset({JobStatus.SUBMITTING, JobStatus.UNCERTAIN})
"""States in which the server may have a job whose id is not known."""
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


@attrs.frozen(kw_only=True)
class JobOutcome:
    """What became of a job for now."""

    job: Job
    requeue: bool = False
    """It is to be begun again in this run."""
    is_recheckable: bool = False
    """It may be cleared up once the server has accepted others."""
    claimed_elsewhere: bool = False
    """Another process has it, or has had it."""
    refusal: MJError | None = None
    """Why the server refused it for now."""
    abort: Exception | None = None
    """Why no other job may be begun."""


def is_disk_error(error: Exception) -> bool:
    """Whether an error would meet every other job, too: Pillow's, say, concern one picture."""
    return isinstance(error, OSError) and error.errno in _DISK_ERRNOS
