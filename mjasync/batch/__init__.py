"""Batches that never pay twice: prompts in, pictures out, a ledger of what was paid.

Needs `mjasync[batch]`. Open a `Batch`, `add` prompts, iterate over `run()`; the same again goes on
where it stopped, however it stopped.
"""

from ._batch import Batch
from ._gallery.page import write_gallery
from ._jobs import BatchInUse, File, Job, JobStatus, LedgerError, Totals
from ._ledger.open import read_batch

__all__ = [
    "Batch",
    "BatchInUse",
    "File",
    "Job",
    "JobStatus",
    "LedgerError",
    "Totals",
    "read_batch",
    "write_gallery",
]
