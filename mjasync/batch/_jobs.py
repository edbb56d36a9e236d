"""The model of a batch: jobs, their statuses, files and errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Self

import attrs

from .._text import printable
from ..errors import ConfigurationError, MJError
from ..prompt import without_flags

FUNCTION_STEP: Final = "call:"
"""The prefix of steps that are functions."""
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
"""Errors that the same submission would meet again."""


class BatchInUse(ConfigurationError):
    """Another process, or another `Batch`, uses this folder."""

    hint = "Wait for it to end, or use another folder."


class LedgerError(MJError, OSError):
    """The ledger or the folder of a batch cannot be read or written: damaged, locked, full.

    Attributes:
        unrecorded: Ids of tasks that the server accepted, but the ledger had no room for.
    """

    hint = "Nothing more is sent. Fix the problem and run the batch again: it continues from there."

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
    """The status of a job."""

    PLANNED = "planned"
    """It was not sent, or it was refused for now."""
    SUBMITTING = "submitting"
    """It is being sent, and there is no response yet."""
    UNCERTAIN = "uncertain"
    """It was sent, and the server may or may not have accepted it."""
    ACCEPTED = "accepted"
    """The server accepted it; `task_id` is set."""
    FINISHED = "finished"
    """The server finished it; its files are not all saved yet."""
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
    """One paid submission, as the ledger records it."""

    key: str
    """A hash of the prompt or step."""
    number: int
    """The number of the prompt, from 1; its steps have the same number."""
    prompt: str
    parent: str | None = None
    """The key of the job that this one is a step of."""
    step: str = ""
    """The path of buttons from the grid ("U1>Upscale (Subtle)"); "" for the grid."""
    root: str = ""
    """The key of its grid; its own key for a grid."""
    seed: int | None = None
    """The requested seed."""
    variables: Mapping[str, str] = _NO_VARIABLES
    """The columns of its row."""
    status: JobStatus = attrs.field(default=JobStatus.PLANNED, converter=JobStatus)
    state_token: str | None = None
    """The `state` that was sent with it, to find it in the server's list."""
    submitting_at: float | None = None
    """When it was last sent, in seconds since the epoch by the clock of the machine."""
    submitting_boot: str = ""
    """The boot id of the machine at that time; "" in an older ledger."""
    submitting_uptime: float | None = None
    """The seconds from that boot until it was sent."""
    submitting_sequence: int | None = None
    """The number of the submission in the sequence of submissions and acceptances."""
    accepted_at: float | None = None
    """When it was accepted, in seconds since the epoch by the clock of the machine."""
    accepted_sequence: int | None = None
    """The number of the acceptance in the same sequence."""
    task_id: str | None = None
    modal: str = ""
    """The state of its modal: "open", "answered" (the answer was sent), "" for none."""
    attempts: int = 0
    """How many times it was sent."""
    times_accepted: int = 0
    """How many times the server is known to have accepted it; each of them is paid for."""
    action: str = ""
    """The action that the server reports, once it has finished."""
    speed: str = ""
    """RELAX, FAST or TURBO, if the server reports it."""
    previous_charges: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_to_pairs)
    """Action and speed of finished results that were lost before it was sent again."""
    files: tuple[File, ...] = attrs.field(default=(), converter=_to_files)
    error_class: str = ""
    """The class of its last error ("TaskFailed"); "" for none."""
    error: str = ""
    """The message of its last error."""

    @property
    def charges(self) -> tuple[tuple[str, str], ...]:
        """Action and speed of everything that has finished."""
        last_charge = [(self.action, self.speed)] if self.action else []
        return (*self.previous_charges, *last_charge)

    @property
    def retry_can_help(self) -> bool:
        """Whether a failed job may succeed if it is retried (`retry_failed`)."""
        return self.error_class not in _PERMANENT_ERRORS and not self.is_orphan

    @property
    def is_orphan(self) -> bool:
        """Whether it failed because the server has lost its task, or that of its parent."""
        return self.is_step and self.error_class == "TaskNotFound"

    @property
    def is_step(self) -> bool:
        """Whether it is a step of another job."""
        return self.parent is not None

    @property
    def is_function(self) -> bool:
        """Whether it runs a function."""
        return self.step.startswith(FUNCTION_STEP)

    @property
    def conflict_key(self) -> str:
        """A key that no two running jobs may have: servers match results by the prompt."""
        return self.key if self.is_step else without_flags(self.prompt, "seed").casefold()


@attrs.frozen(kw_only=True)
class Totals:
    """The totals of a batch."""

    by_status: Mapping[JobStatus, int]
    """The number of jobs by status; a status without jobs is missing."""
    submits: int
    """The number of submissions that the server is known to have accepted."""
    charges: Mapping[tuple[str, str], int]
    """The number of finished jobs by the action and speed that the server reports."""

    @classmethod
    def from_jobs(cls, jobs: Iterable[Job]) -> Self:
        """Return the totals of some jobs.

        Args:
            jobs: The jobs of a batch, or some of them.
        """
        job_list = list(jobs)
        return cls(
            by_status=Counter(job.status for job in job_list),
            submits=sum(max(job.times_accepted, job.accepted_at is not None) for job in job_list),
            charges=Counter(charge for job in job_list for charge in job.charges),
        )
