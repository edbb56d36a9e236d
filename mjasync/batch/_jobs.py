"""The nouns of a batch: a job, where it stands, the files that came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Self

import attrs

from .._text import printable
from ..errors import ConfigurationError, MJError
from ..prompt import without_flags

__all__ = [
    "FUNCTION_STEP",
    "BatchInUse",
    "File",
    "Job",
    "JobStatus",
    "LedgerError",
    "Totals",
    "folder_error",
    "with_unrecorded_ids",
]

FUNCTION_STEP: Final = "call:"
"""What a step that is a function begins with."""
_NO_VARIABLES: Final[Mapping[str, str]] = {}
_PERMANENT_ERRORS: Final = frozenset(
    {
        "BannedPrompt",
        "ButtonNotFound",
        "InvalidRequest",
        "ModalNotOpened",
        "ModalRequired",
        "TaskBanned",
    }
)
"""Errors that the very same submission meets with again."""


class BatchInUse(ConfigurationError):
    """Another process (or another `Batch` of this one) works on this folder."""

    hint = "Wait for it to end, or use another folder."


class LedgerError(MJError, OSError):
    """The ledger or the folder of a batch cannot be read or written: damaged, locked, full.

    Attributes:
        unrecorded: Ids of tasks that the server took and the ledger had no room for.
    """

    hint = "Nothing more is sent. Once that is mended, run the batch again: it goes on from there."

    def __init__(
        self,
        message: str,
        *,
        errno: int | None = None,
        unrecorded: Iterable[str] = (),
        **facts: Any,  # noqa: ANN401 - the base's keywords
    ) -> None:
        super().__init__(message, **facts)
        self.errno = errno
        self.unrecorded: tuple[str, ...] = tuple(unrecorded)


def folder_error(error: OSError) -> LedgerError:
    """Return the LedgerError for a folder that cannot be written."""
    message = f"The batch's folder cannot be written: {printable(error)}."
    return LedgerError(message, errno=error.errno)


def with_unrecorded_ids(error: Exception, unrecorded: Sequence[str]) -> Exception:
    """Return the error of a run, extended by the ids that are recorded nowhere else."""
    if isinstance(error, OSError) and not isinstance(error, MJError):
        ledger_error = folder_error(error)
        ledger_error.__cause__, error = error, ledger_error
    if not unrecorded:
        return error
    message = error.message if isinstance(error, MJError) else str(error)
    ids = " ".join(unrecorded)
    ledger_error = LedgerError(
        f"{message} The server accepted {len(unrecorded)} more that could not be recorded: {ids}. "
        f"`mjasync watch {ids} --save FOLDER/` downloads their pictures.",
        errno=error.errno if isinstance(error, OSError) else None,
        unrecorded=unrecorded,
    )
    ledger_error.__cause__ = error
    return ledger_error


class JobStatus(StrEnum):
    """Where a job stands."""

    PLANNED = "planned"
    """Nothing was sent, or what was sent was refused for now."""
    SUBMITTING = "submitting"
    """About to be sent, or sent and not answered."""
    UNCERTAIN = "uncertain"
    """Sent, and nobody can tell whether the server took it."""
    ACCEPTED = "accepted"
    """The server has it: `task_id`."""
    FINISHED = "finished"
    """The server is done; its files are not all here yet."""
    SAVED = "saved"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class File:
    """One file of a job."""

    path: str
    """Relative to the batch's folder, with `/`."""
    size: int
    """Bytes."""
    sha256: str


def _to_files(value: object) -> tuple[File, ...]:
    rows = value if isinstance(value, list | tuple) else ()
    return tuple(row if isinstance(row, File) else File(**row) for row in rows)


def _to_pairs(value: object) -> tuple[tuple[str, str], ...]:
    rows = value if isinstance(value, list | tuple) else ()
    return tuple((action, speed) for action, speed in rows)


@attrs.frozen(kw_only=True)
class Job:
    """One thing to be paid for, as the ledger has it."""

    key: str
    """A hash of what is asked."""
    number: int
    """Number of the prompt, from 1; its steps share it."""
    prompt: str
    parent: str | None = None
    """Key of the job this one is a step of."""
    step: str = ""
    """Path of buttons from the grid ("U1>Upscale (Subtle)"); "" for the grid."""
    root: str = ""
    """Key of the grid it comes from; its own for a grid."""
    seed: int | None = None
    """The seed asked for."""
    variables: Mapping[str, str] = _NO_VARIABLES
    """The columns of its row."""
    status: JobStatus = attrs.field(default=JobStatus.PLANNED, converter=JobStatus)
    state_token: str | None = None
    """What was sent along to find it by."""
    submitting_at: float | None = None
    """When it was last about to be sent, in seconds since the epoch, as the machine had it."""
    submitting_boot: str = ""
    """The start of the machine during which that was; "" in an older ledger."""
    submitting_uptime: float | None = None
    """How many seconds after that start it was."""
    submitting_sequence: int | None = None
    """Its place in the order in which submissions and acceptances were noted."""
    accepted_at: float | None = None
    """When the server's acceptance was noted, in seconds since the epoch, as the machine had it."""
    accepted_sequence: int | None = None
    """Its place in the same order."""
    task_id: str | None = None
    modal: str = ""
    """Where its modal stands: "open", "answered" (its answer went out), "" for none."""
    attempts: int = 0
    """How often it was sent."""
    times_accepted: int = 0
    """How often the server took it, as far as is known: again after a failure is paid again."""
    action: str = ""
    """The server's word for it, once it has finished."""
    speed: str = ""
    """RELAX, FAST or TURBO, where the server tells."""
    previous_charges: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_to_pairs)
    """Action and speed of what had finished and was lost before it was sent again."""
    files: tuple[File, ...] = attrs.field(default=(), converter=_to_files)
    error_class: str = ""
    """What was last raised on its behalf ("TaskFailed"); "" for nothing."""
    error: str = ""
    """The same in words."""

    @property
    def charges(self) -> tuple[tuple[str, str], ...]:
        """Action and speed of all that has finished."""
        return (
            (*self.previous_charges, (self.action, self.speed))
            if self.action
            else self.previous_charges
        )

    @property
    def retry_can_help(self) -> bool:
        """Whether a failed job may succeed when the same is begun anew (`retry_failed`)."""
        return self.error_class not in _PERMANENT_ERRORS and not self.is_orphan

    @property
    def is_orphan(self) -> bool:
        """Whether it failed because the server has forgotten its task, or the one it follows."""
        return self.is_step and self.error_class == "TaskNotFound"

    @property
    def is_step(self) -> bool:
        """Whether it follows another job."""
        return self.parent is not None

    @property
    def is_function(self) -> bool:
        """Whether it is a function of yours."""
        return self.step.startswith(FUNCTION_STEP)

    @property
    def conflict_key(self) -> str:
        """What no two jobs in flight may share: servers tell results apart by their prompt."""
        return self.key if self.is_step else without_flags(self.prompt, "seed").casefold()


@attrs.frozen(kw_only=True)
class Totals:
    """Where a batch stands, in numbers."""

    by_status: Mapping[JobStatus, int]
    """Jobs by where they stand; states without any are missing."""
    submits: int
    """Submissions the server has taken, as far as is known."""
    charges: Mapping[tuple[str, str], int]
    """Finished jobs by action and speed, as the server calls them."""

    @classmethod
    def from_jobs(cls, jobs: Iterable[Job]) -> Self:
        """Those of some jobs."""
        job_list = list(jobs)
        return cls(
            by_status=Counter(job.status for job in job_list),
            submits=sum(max(job.times_accepted, job.accepted_at is not None) for job in job_list),
            charges=Counter(charge for job in job_list for charge in job.charges),
        )
