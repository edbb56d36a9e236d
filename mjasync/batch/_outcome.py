"""What became of a job for now: what those who do jobs tell those who hand them out."""

from __future__ import annotations

import errno
from typing import Final

import attrs

from ..errors import MJError
from ._jobs import Job, JobState

__all__ = ["DOUBTFUL", "Outcome", "is_of_the_disk"]

DOUBTFUL: Final = frozenset({JobState.SUBMITTING, JobState.UNCERTAIN})
"""States in which the server may have a job whose id is not known."""
_OF_THE_DISK: Final = frozenset(
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
class Outcome:
    """What became of a job for now."""

    job: Job
    again: bool = False
    """It is to be begun again in this run."""
    later: bool = False
    """It may be cleared up once the server has accepted others."""
    elsewhere: bool = False
    """Another process has it, or has had it."""
    refusal: MJError | None = None
    """Why the server refused it for now."""
    stop: Exception | None = None
    """Why no other job may be begun."""


def is_of_the_disk(error: Exception) -> bool:
    """Whether an error would meet every other job, too: Pillow's, say, concern one picture."""
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK
