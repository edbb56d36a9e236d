"""The ledger: one row for each job, on disk before anything else happens."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

try:
    from sqlalchemy import (
        JSON,
        BigInteger,
        Column,
        Connection,
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
        inspect,
        select,
        text,
        update,
    )
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
    from sqlalchemy.pool import NullPool
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        'mjasync.batch needs SQLAlchemy: python -m pip install "mjasync[batch]".'
    ) from error

from ..errors import ConfigurationError
from ._jobs import Job, JobState, Totals

__all__ = ["JOBS", "Ledger", "Reader", "job_of", "jobs_in", "said", "whole"]

T = TypeVar("T")
_AT_ONCE: Final = 500
"""Rows in one statement."""
_VERSION: Final = 3
"""Of the tables below: 1 had neither a version nor `modal`, 2 no `taken` and no `earlier`."""
_TABLES: Final = MetaData()
_ABOUT: Final = Table("ledger_version", _TABLES, Column("version", Integer, nullable=False))
JOBS: Final = Table(
    "jobs",
    _TABLES,
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
    Column("modal", String(16), nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False),
    Column("taken", Integer, nullable=False, server_default="0"),
    Column("action", Text, nullable=False),
    Column("speed", Text, nullable=False),
    Column("earlier", JSON, nullable=False, server_default="[]"),
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
            with suppress(asyncio.CancelledError):  # whoever is impatient, too
                await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # nobody is left to read it
        raise


def said(error: Exception) -> str:
    """What a database has to say, without the statement."""
    words = str(getattr(error, "orig", None) or error)
    return words.rpartition(">: ")[2]


@contextmanager
def _told() -> Iterator[None]:
    """Have a ledger that cannot be written be what any other file is."""
    try:
        yield
    except OperationalError as error:
        is_full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        message = f"The batch's ledger cannot be used: {said(error)}"
        raise OSError(errno.ENOSPC if is_full else errno.EIO, message) from error


class Ledger:
    """What is known of every job, in SQLite: a note is on disk when `note` returns.

    It has one connection, from `open` to `close`.
    """

    is_shared = False
    """Whether other processes may do some of the jobs."""
    tables: tuple[MetaData, ...] = (_TABLES,)

    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(url, poolclass=NullPool)
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._listen()

    def _listen(self) -> None:
        event.listen(self._engine.sync_engine, "connect", _set_up)

    # --- life ---

    async def open(self) -> None:
        """Connect, and make the tables where there are none.

        Raises:
            ConfigurationError: It was made by a later version of this package.
        """
        await whole(self._open())

    async def _open(self) -> None:
        with _told():
            self._connection = await self._engine.connect()
        async with self._transaction() as connection:
            await self._alone(connection)
            await connection.run_sync(_prepare, *self.tables)

    async def close(self) -> None:
        """Close the connection."""
        await whole(self._close())

    async def _close(self) -> None:
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """The connection, for one at a time.

        Raises:
            ConnectionError: It has broken. It is not made again: what was held by it is lost.
            OSError: The disk is full, or the like.
        """
        async with self._turn:
            if self._connection is None or self._connection.invalidated:
                raise ConnectionError("The connection to the batch's ledger has broken.")
            with _told():
                async with self._connection.begin():
                    yield self._connection

    # --- writing ---

    async def add(self, jobs: Collection[Job]) -> int:
        """Number those that are not there yet and add them; return how many they are."""
        return await whole(self._add({job.key: job for job in jobs}))

    async def _add(self, jobs: dict[str, Job]) -> int:
        async with self._transaction() as connection:
            await self._alone(connection)
            asked = jobs.keys() | {job.root for job in jobs.values()}
            numbers = await _numbers(connection, asked)
            last = (await connection.execute(select(func.max(JOBS.c.n)))).scalar() or 0
            rows = []
            for job in jobs.values():
                if job.key in numbers:
                    continue
                if job.root not in numbers:
                    last += 1
                    numbers[job.root] = last
                rows.append(_row(attrs.evolve(job, n=numbers[job.root])))
            for chunk in _chunks(rows):
                await connection.execute(insert(JOBS), chunk)
            return len(rows)

    async def _alone(self, connection: AsyncConnection) -> None:
        """Let nobody else make tables or number jobs meanwhile: here there is nobody else."""

    async def note(self, job: Job, **changes: Any) -> Job:  # noqa: ANN401 - fields of a Job
        """Change a job, on disk; return it as it is now."""
        changed = attrs.evolve(job, **changes)
        row = _row(changed, *changes)
        await whole(self._note(job.key, row))
        return changed

    async def _note(self, key: str, row: dict[str, Any]) -> None:
        async with self._transaction() as connection:
            await connection.execute(update(JOBS).where(JOBS.c.key == key).values(**row))

    # --- sharing ---

    async def claim(self, job: Job) -> bool:
        """Whether a job, as it is known here, is this process's to do."""
        return bool(job)

    async def release(self, job: Job) -> None:
        """Let others have a job."""

    async def release_all(self) -> None:
        """Let others have every job."""

    async def unclaimed(self, *states: JobState) -> tuple[list[Job], bool]:
        """Jobs in some states that no living process has claimed; and whether any has one."""
        return await self.jobs(*states), False

    @asynccontextmanager
    async def listing(self) -> AsyncIterator[None]:
        """Keep others from writing what is written of all jobs meanwhile."""
        yield

    # --- reading ---

    async def jobs(self, *states: JobState) -> list[Job]:
        """All jobs, or those in some states, in the order they were planned."""
        return await whole(self._jobs(states))

    async def _jobs(self, states: Collection[JobState]) -> list[Job]:
        async with self._transaction() as connection:
            return await jobs_in(await connection.execute(_asked(states)))

    async def find(self, keys: Iterable[str]) -> dict[str, Job]:
        """Those of some jobs that are there, by key."""
        found: dict[str, Job] = {}
        for chunk in _chunks(keys):
            rows = await self._rows(select(JOBS).where(JOBS.c.key.in_(chunk)))
            found |= {row.key: job_of(row) for row in rows}
        return found

    async def known(self, keys: Iterable[str]) -> set[str]:
        """The keys of those of some jobs that are there."""
        found: set[str] = set()
        for chunk in _chunks(keys):
            rows = await self._rows(select(JOBS.c.key).where(JOBS.c.key.in_(chunk)))
            found.update(row.key for row in rows)
        return found

    async def marked(self) -> dict[str, tuple[str, float]]:
        """Of every task that was accepted: its mark, and when that was noted."""
        c = JOBS.c
        asked = select(c.task_id, c.mark, c.accepted_at).where(c.accepted_at.is_not(None))
        rows = await self._rows(asked.where(c.mark.is_not(None)))
        return {task_id: (mark, noted) for task_id, mark, noted in rows}

    async def totals(self) -> Totals:
        """Where the batch stands."""
        c, count = JOBS.c, func.count()
        states = await self._rows(select(c.state, count).group_by(c.state))
        taken = await self._rows(select(func.coalesce(func.sum(c.taken), 0)))
        paid = select(c.action, c.speed, count).where(c.action != "").group_by(c.action, c.speed)
        known = Counter({(a, speed): many for a, speed, many in await self._rows(paid)})
        for (earlier,) in await self._rows(select(c.earlier).where(c.attempts > 1)):
            known.update(map(tuple, earlier))
        return Totals(
            states={JobState(state): many for state, many in states},
            submits=taken[0][0],
            paid=known,
        )

    async def _rows(self, asked: Executable) -> list[Any]:
        return await whole(self._read(asked))

    async def _read(self, asked: Executable) -> list[Any]:
        async with self._transaction() as connection:
            return list((await connection.execute(asked)).all())


class Reader:
    """Looks into a ledger that others may be writing, and changes nothing."""

    def __init__(self, url: URL) -> None:
        if url.drivername.startswith("sqlite"):
            path = Path(url.database or "").absolute().as_uri()
            url = url.set(database=f"{path}?mode=ro", query={"uri": "true"})
        self._engine = create_async_engine(url, poolclass=NullPool)

    async def jobs(self) -> list[Job]:
        """All jobs in the order they were planned."""
        return await whole(self._jobs())

    async def _jobs(self) -> list[Job]:
        async with self._engine.connect() as connection:
            columns = await connection.run_sync(_columns)
            return await jobs_in(await connection.execute(_asked((), columns)))

    async def close(self) -> None:
        """Close what is open."""
        await whole(self._engine.dispose())


# --- rows --------------------------------------------------------------------------------------


def job_of(row: Any) -> Job:  # noqa: ANN401 - a row of JOBS
    """A job as it stands in its row."""
    return Job(**row._mapping)  # noqa: SLF001 - public by its documentation


async def jobs_in(rows: Iterable[Any]) -> list[Job]:
    """Jobs as they stand in their rows, made beside the loop: there may be thousands."""
    return await asyncio.to_thread(lambda: [*map(job_of, rows)])


def _row(job: Job, *names: str) -> dict[str, Any]:
    """What is written of a job: all, or some."""
    row = {name: getattr(job, name) for name in names or JOBS.c.keys()}
    if "files" in row:
        row["files"] = [attrs.asdict(file) for file in job.files]
    if "variables" in row:
        row["variables"] = dict(job.variables)
    if "error" in row:  # whatever a server says must fit in every database
        row["error"] = job.error.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return row


def _asked(states: Collection[JobState], columns: Collection[str] | None = None) -> Any:  # noqa: ANN401 - a select of whatever there is
    wanted = JOBS.c if columns is None else [c for c in JOBS.c if c.name in columns]
    asked = select(*wanted).order_by(JOBS.c.n, JOBS.c.step)
    return asked.where(JOBS.c.state.in_(states)) if states else asked


async def _numbers(connection: AsyncConnection, keys: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chunk in _chunks(keys):
        asked = select(JOBS.c.key, JOBS.c.n).where(JOBS.c.key.in_(chunk))
        found.update((row.key, row.n) for row in await connection.execute(asked))
    return found


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, _AT_ONCE)):
        yield chunk


# --- tables ------------------------------------------------------------------------------------


def _set_up(connection: Any, _: object) -> None:  # noqa: ANN401 - a DBAPI connection
    """Have a commit be on disk when it returns."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _columns(connection: Connection) -> set[str]:
    _check_version(connection)
    return {column["name"] for column in inspect(connection).get_columns(JOBS.name)}


def _check_version(connection: Connection) -> None:
    if not inspect(connection).has_table(_ABOUT.name):
        return
    version = connection.execute(select(func.max(_ABOUT.c.version))).scalar() or 0
    if version > _VERSION:
        message = (
            f"This ledger is of version {version}, and this mjasync knows them up to {_VERSION}: "
            "python -m pip install --upgrade mjasync."
        )
        raise ConfigurationError(message)


_CHANGES: Final[Mapping[str, tuple[str, ...]]] = {
    "modal": ("ALTER TABLE jobs ADD COLUMN modal VARCHAR(16) NOT NULL DEFAULT ''",),
    "taken": (
        "ALTER TABLE jobs ADD COLUMN taken INTEGER NOT NULL DEFAULT 0",
        "UPDATE jobs SET taken = 1 WHERE accepted_at IS NOT NULL",
    ),
    "earlier": ("ALTER TABLE jobs ADD COLUMN earlier JSON NOT NULL DEFAULT '[]'",),
}
"""What brings a table of an earlier version up to date, by the column it lacks."""


def _prepare(connection: Connection, *tables: MetaData) -> None:
    """Make the tables, or bring those of an earlier version up to date."""
    _check_version(connection)
    if inspect(connection).has_table(JOBS.name):
        there = _columns(connection)
        for column, changes in _CHANGES.items():
            for change in changes if column not in there else ():
                connection.execute(text(change))
    for some in tables:
        some.create_all(connection)
    if connection.execute(select(_ABOUT.c.version)).first() is None:
        connection.execute(insert(_ABOUT).values(version=_VERSION))
    else:
        connection.execute(update(_ABOUT).values(version=_VERSION))
