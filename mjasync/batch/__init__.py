"""Batches that never pay twice for a prompt, since a ledger records every submission.

Requires `mjasync[batch]`. Open a `Batch`, `add` prompts, and iterate over `run()`. The same code
continues an interrupted batch.
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
