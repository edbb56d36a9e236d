"""The runner of a batch with its collaborators."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from .._circuit_breaker import CircuitBreaker
from .._client import Client
from .._http.retry import RetryPolicy
from ._adaptive_limit import AdaptiveLimit
from ._client_adapter import BatchClient
from ._job_executor import JobExecutor
from ._job_submitter import JobSubmitter
from ._ledger.ledger import Ledger
from ._output import OutputFolder
from ._planning import StepFunction
from ._recovery import Recovery
from ._runner import RunLimits, Runner

__all__ = ["make_runner"]

_INITIAL_PROBE_FACTOR: Final = 5
_MAX_PROBE_FACTOR: Final = 15
"""Delays of probes, compared with `retries.overloaded` of the client: by default 5 s to 5 min."""
_MIN_PROBE_DELAY: Final = 0.001


def make_runner(
    client: Client,
    ledger: Ledger,
    output: OutputFolder,
    *,
    functions: Mapping[str, StepFunction],
    limits: RunLimits,
    resubmit_uncertain: bool,
    reconcile_after: float,
) -> Runner:
    """Create the runner of one run."""
    batch_client = BatchClient(client)
    recovery = Recovery(
        client=batch_client,
        ledger=ledger,
        resubmit_uncertain=resubmit_uncertain,
        reconcile_after=reconcile_after,
    )
    submitter = JobSubmitter(
        client=client,
        client_adapter=batch_client,
        ledger=ledger,
        functions=functions,
        recovery=recovery,
        breaker=_make_circuit_breaker(batch_client.overloaded),
    )
    executor = JobExecutor(
        client_adapter=batch_client,
        ledger=ledger,
        output=output,
        recovery=recovery,
        submitter=submitter,
        save_slots=asyncio.Semaphore(limits.limit),
    )
    adaptive_limit = AdaptiveLimit(limits.limit, batch_client.overloaded, batch_client.clock.now())
    return Runner(executor=executor, adaptive_limit=adaptive_limit, limits=limits)


def _make_circuit_breaker(policy: RetryPolicy) -> CircuitBreaker:
    """Create a breaker that is slower than retries of refusals: a probe may be paid in vain."""
    first_delay = max(_INITIAL_PROBE_FACTOR * policy.initial_delay, _MIN_PROBE_DELAY)
    longest_delay = max(first_delay, _MAX_PROBE_FACTOR * policy.max_delay)
    return CircuitBreaker(first_delay=first_delay, longest_delay=longest_delay)
