"""The ledger: one row for each job, on disk before anything else happens."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

try:
    from sqlalchemy import (
        JSON,
        BigInteger,
        Column,
        Executable,
        Float,
        Integer,
        MetaData,
        String,
        Table,
        Text,
        event,
        func,
        insert,
        select,
        update,
    )
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        'mjasync.batch needs SQLAlchemy: python -m pip install "mjasync[batch]".'
    ) from error

from ._jobs import Job, JobState, Totals

__all__ = ["Ledger", "whole"]

T = TypeVar("T")
_AT_ONCE: Final = 500
"""Rows in one statement."""
_PATIENCE: Final = 600.0
"""Seconds to wait for the one connection."""
_JOBS: Final = Table(
    "jobs",
    MetaData(),
    Column("key", String(32), primary_key=True),
    Column("n", Integer, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("parent", String(32), index=True),
    Column("root", String(32), nullable=False),
    Column("step", Text, nullable=False),
    Column("seed", BigInteger),
    Column("variables", JSON, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("mark", String(64), unique=True),
    Column("noted_at", Float),
    Column("accepted_at", Float),
    Column("task_id", Text),
    Column("attempts", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("speed", Text, nullable=False),
    Column("files", JSON, nullable=False),
    Column("error_class", Text, nullable=False),
    Column("error", Text, nullable=False),
)


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Do something to its end, even when whoever waits is cancelled meanwhile."""
    job = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        while not job.done():
            await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # nobody is left to read it
        raise


class Ledger:
    """What is known of every job, in SQLite: a note is on disk when `note` returns."""

    def __init__(self, path: Path) -> None:
        url = URL.create("sqlite+aiosqlite", database=str(path))
        self._engine: AsyncEngine = create_async_engine(
            url, pool_size=1, max_overflow=0, pool_timeout=_PATIENCE
        )
        event.listen(self._engine.sync_engine, "connect", _set_up)

    async def open(self) -> None:
        """Make the table where there is none."""
        await whole(self._open())

    async def _open(self) -> None:
        async with self._engine.begin() as connection:
            await connection.run_sync(_JOBS.metadata.create_all)

    async def close(self) -> None:
        """Close the connection."""
        await whole(self._engine.dispose())

    async def add(self, jobs: Iterable[Job]) -> None:
        """Add those that are not there yet; the others stay as they are."""
        for chunk in _chunks(jobs):
            await whole(self._add({job.key: job for job in chunk}))

    async def _add(self, jobs: dict[str, Job]) -> None:
        async with self._engine.begin() as connection:
            known = select(_JOBS.c.key).where(_JOBS.c.key.in_(jobs))
            there = set((await connection.execute(known)).scalars())
            rows = [attrs.asdict(job) for key, job in jobs.items() if key not in there]
            if rows:
                await connection.execute(insert(_JOBS), rows)

    async def note(self, job: Job, **changes: Any) -> Job:  # noqa: ANN401 - fields of a Job
        """Change a job, on disk; return it as it is now."""
        changed = attrs.evolve(job, **changes)
        row = {name: attrs.asdict(changed)[name] for name in changes}
        await whole(self._note(job.key, row))
        return changed

    async def _note(self, key: str, row: dict[str, Any]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(update(_JOBS).where(_JOBS.c.key == key).values(**row))

    async def jobs(self, *states: JobState) -> list[Job]:
        """All jobs, or those in some states, in the order they were planned."""
        asked = select(_JOBS).order_by(_JOBS.c.n, _JOBS.c.step)
        if states:
            asked = asked.where(_JOBS.c.state.in_(states))
        return await whole(self._jobs(asked))

    async def _jobs(self, asked: Executable) -> list[Job]:
        async with self._engine.connect() as connection:
            return [Job(**row) for row in (await connection.execute(asked)).mappings()]

    async def find(self, keys: Collection[str]) -> dict[str, Job]:
        """Those of some jobs that are there, by key."""
        found: dict[str, Job] = {}
        for chunk in _chunks(keys):
            asked = select(_JOBS).where(_JOBS.c.key.in_(chunk))
            found |= {job.key: job for job in await whole(self._jobs(asked))}
        return found

    async def last_number(self) -> int:
        """The highest number of a prompt so far; 0 without any."""
        return await whole(self._last_number())

    async def _last_number(self) -> int:
        async with self._engine.connect() as connection:
            return (await connection.execute(select(func.max(_JOBS.c.n)))).scalar() or 0

    async def marked(self) -> dict[str, tuple[str, float]]:
        """Of every task that was accepted: its mark, and when that was noted."""
        c = _JOBS.c
        asked = select(c.task_id, c.mark, c.accepted_at).where(c.accepted_at.is_not(None))
        rows = await whole(self._rows(asked.where(c.mark.is_not(None))))
        return {task_id: (mark, noted) for task_id, mark, noted in rows}

    async def totals(self) -> Totals:
        """Where the batch stands."""
        c, count = _JOBS.c, func.count()
        states = await whole(self._rows(select(c.state, count).group_by(c.state)))
        taken = await whole(self._rows(select(count).where(c.accepted_at.is_not(None))))
        paid = select(c.action, c.speed, count).where(c.action != "").group_by(c.action, c.speed)
        return Totals(
            states={JobState(state): many for state, many in states},
            submits=taken[0][0],
            paid={(action, speed): many for action, speed, many in await whole(self._rows(paid))},
        )

    async def _rows(self, asked: Executable) -> list[Any]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(asked)).all())


def _set_up(connection: Any, _: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Have a commit be on disk when it returns."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, _AT_ONCE)):
        yield chunk
