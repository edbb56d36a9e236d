"""What tests read or change behind the public API: each of these attributes is named once, here."""

from __future__ import annotations

from mjasync import Client
from mjasync._task import suppress_unawaited_warning
from mjasync.simulator import Simulator

__all__ = ["is_polling", "is_watching", "set_time_scale", "suppress_unawaited_warning"]


def is_polling(mj: Client) -> bool:
    """Return whether a poll of this client is under way."""
    return bool(mj._context.poller._fetcher.asyncio_tasks)


def is_watching(mj: Client) -> bool:
    """Return whether a task of this client is still watched, or scheduled for a poll."""
    return bool(mj._context.poller._watches or mj._context.poller._polls._heap)


def set_time_scale(sim: Simulator, scale: float) -> None:
    """Change the time scale of a server that runs already."""
    sim._engine.time_scale = scale
