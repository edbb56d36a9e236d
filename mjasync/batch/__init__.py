"""Batches that never pay twice: prompts in, pictures out, a ledger of what was paid.

Needs `mjasync[batch]`. Open a `Batch`, `add` prompts, iterate over `run()`; the same again goes on
where it stopped, however it stopped.
"""

from ._batch import Batch
from ._gallery.page import write_gallery
from ._jobs import BatchInUse, File, Job, JobStatus, LedgerError, Totals
from ._ledger.open import is_running, read_batch
from ._planning import plan_jobs
from ._readers import InputRows, read_rows
from ._rows import InputRow

__all__ = [
    "Batch",
    "BatchInUse",
    "File",
    "InputRow",
    "InputRows",
    "Job",
    "JobStatus",
    "LedgerError",
    "Totals",
    "is_running",
    "plan_jobs",
    "read_batch",
    "read_rows",
    "write_gallery",
]
