"""The tables of a ledger, and what their rows mean: checked, for anything may be in a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeVar

import attrs

try:
    from sqlalchemy import (
        JSON,
        BigInteger,
        Column,
        Connection,
        Float,
        Integer,
        MetaData,
        String,
        Table,
        Text,
        func,
        insert,
        inspect,
        select,
        text,
        update,
    )
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        'mjasync.batch needs SQLAlchemy: python -m pip install "mjasync[batch]".'
    ) from error

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..._text import printable
from ...errors import ConfigurationError
from .._jobs import Job, JobStatus, LedgerError

__all__ = [
    "EVENTS",
    "JOBS",
    "OWNER",
    "TABLES",
    "chunks",
    "create_or_migrate",
    "decode_job",
    "decode_jobs",
    "decode_status",
    "encode_job",
    "jobs_query",
    "numbers_of",
    "parse_json",
    "table_columns",
]

T = TypeVar("T")
_CHUNK_SIZE: Final = 500
"""Rows in one statement."""
_MAX_ERROR_LENGTH: Final = 4000
"""Characters of an error that a row keeps."""
_SCHEMA_VERSION: Final = 4
"""Of the tables below: 1 had neither a version nor `modal`, 2 no `taken` and no `earlier`, 3 none
of the columns that tell the order and the uptime of submissions."""
TABLES: Final = MetaData()
_VERSION_TABLE: Final = Table("ledger_version", TABLES, Column("version", Integer, nullable=False))
EVENTS: Final = Table("ledger_events", TABLES, Column("n", Integer, nullable=False))
"""One row: how many submissions and acceptances were noted. Clocks jump, and this does not."""
OWNER: Final = Table("ledger_owner", MetaData(), Column("token", String(32), nullable=False))
"""One row: which opening of a ledger that is not shared may pay."""
JOBS: Final = Table(
    "jobs",
    TABLES,
    Column("key", String(32), primary_key=True),
    Column("n", Integer, key="number", nullable=False),
    Column("prompt", Text, nullable=False),
    Column("parent", String(32), index=True),
    Column("root", String(32), nullable=False),
    Column("step", Text, nullable=False),
    Column("seed", BigInteger),
    Column("variables", JSON, nullable=False),
    Column("state", String(16), key="status", nullable=False, index=True),
    Column("mark", String(64), key="state_token", unique=True),
    Column("noted_at", Float, key="submitting_at"),
    Column("sent_boot", Text, key="submitting_boot", nullable=False, server_default=""),
    Column("sent_uptime", Float, key="submitting_uptime"),
    Column("sent_n", Integer, key="submitting_sequence"),
    Column("accepted_at", Float),
    Column("accepted_n", Integer, key="accepted_sequence"),
    Column("task_id", Text),
    Column("modal", String(16), nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False),
    Column("taken", Integer, key="times_accepted", nullable=False, server_default="0"),
    Column("action", Text, nullable=False),
    Column("speed", Text, nullable=False),
    Column("earlier", JSON, key="previous_charges", nullable=False, server_default="[]"),
    Column("files", JSON, nullable=False),
    Column("error_class", Text, nullable=False),
    Column("error", Text, nullable=False),
)
_FIELD_BY_COLUMN: Final = {column.name: column.key for column in JOBS.c}
"""The field of a `Job` that a column holds: a file keeps the names that it began with."""
_LIST_COLUMNS: Final = frozenset({"previous_charges", "files"})


# --- rows --------------------------------------------------------------------------------------


@attrs.frozen
class _BadJson:
    """What a column of JSON holds instead."""

    text: str


def parse_json(text: str) -> Any:  # noqa: ANN401 - whatever it is
    """Read a column of JSON; what cannot be read is told when the row is made a job."""
    try:
        return json.loads(text)
    except ValueError:
        return _BadJson(str(text))


def decode_job(row: Any) -> Job:  # noqa: ANN401 - a row of JOBS
    """Make a job of its row.

    Raises:
        LedgerError: The row is damaged; the message names it.
    """
    columns = row._mapping.items()  # noqa: SLF001 - public by its documentation
    values = {_FIELD_BY_COLUMN[name]: value for name, value in columns}
    try:
        for name, value in values.items():
            _check_value(name, value)
        return Job(**values)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        row_name = f"key {values.get('key')!r}, number {values.get('number')!r}"
        reason = str(error)
    raise _damaged_row(row_name, reason)


def decode_status(value: object) -> JobStatus:
    """Read a state.

    Raises:
        LedgerError: There is no such state.
    """
    try:
        return JobStatus(value)  # type: ignore[arg-type]  # that is what is tried
    except ValueError as error:
        reason = str(error)
    raise _damaged_row(f"state {value!r}", reason)


def _damaged_row(row_name: str, reason: str) -> LedgerError:
    return LedgerError(
        f"A row of the batch's ledger is damaged ({printable(row_name, 200)}): "
        f"{printable(reason, 200)}. Restore the ledger from a backup, or mend that row of the "
        "table `jobs`."
    )


def _check_value(name: str, value: object) -> None:
    """See that a value is of the kind that its column holds.

    Raises:
        ValueError: It is not.
    """
    column = JOBS.c[name]
    if value is None and column.nullable:
        return
    if isinstance(value, _BadJson):
        message = f"`{name}` is not JSON: {value.text[:100]!r}"
        raise ValueError(message)  # noqa: TRY004 - of the content
    expected_type = list if name in _LIST_COLUMNS else column.type.python_type
    if not isinstance(value, (int, float) if expected_type is float else expected_type):
        message = f"`{name}` is {value!r}"[:200]
        raise ValueError(message)  # noqa: TRY004 - of the content


async def decode_jobs(rows: Iterable[Any]) -> list[Job]:
    """Make jobs of their rows, beside the loop: there may be thousands."""
    return await asyncio.to_thread(lambda: [*map(decode_job, rows)])


def encode_job(job: Job, *names: str) -> dict[str, Any]:
    """Make a row of a job: all of it, or some columns."""
    row = {name: getattr(job, name) for name in names or JOBS.c.keys()}
    if "files" in row:
        row["files"] = [attrs.asdict(file) for file in job.files]
    if "variables" in row:
        row["variables"] = dict(job.variables)
    if "error" in row:  # whatever a server says must fit in every database
        row["error"] = printable(job.error, _MAX_ERROR_LENGTH, lines=True)
    return row


def jobs_query(states: Collection[JobStatus], columns: Collection[str] | None = None) -> Any:  # noqa: ANN401 - a select of whatever there is
    """Select jobs in the order they were planned: all, or those in some states."""
    selected = JOBS.c if columns is None else [c for c in JOBS.c if c.name in columns]
    query = select(*selected).order_by(JOBS.c.number, JOBS.c.step)
    return query.where(JOBS.c.status.in_(states)) if states else query


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Cut up what is too much for one statement."""
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK_SIZE)):
        yield chunk


# --- tables ------------------------------------------------------------------------------------


def table_columns(connection: Connection) -> set[str]:
    """The columns that the table of jobs has; none where there is no such table yet.

    Raises:
        ConfigurationError: A later version made it.
    """
    _check_version(connection)
    if not inspect(connection).has_table(JOBS.name):
        return set()
    return {column["name"] for column in inspect(connection).get_columns(JOBS.name)}


def _check_version(connection: Connection) -> None:
    if not inspect(connection).has_table(_VERSION_TABLE.name):
        return
    version = connection.execute(select(func.max(_VERSION_TABLE.c.version))).scalar() or 0
    if version > _SCHEMA_VERSION:
        message = (
            f"This ledger is of version {version}, and this mjasync knows them up to "
            f"{_SCHEMA_VERSION}: python -m pip install --upgrade mjasync."
        )
        raise ConfigurationError(message)


_MIGRATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "modal": ("ALTER TABLE jobs ADD COLUMN modal VARCHAR(16) NOT NULL DEFAULT ''",),
    "taken": (
        "ALTER TABLE jobs ADD COLUMN taken INTEGER NOT NULL DEFAULT 0",
        "UPDATE jobs SET taken = 1 WHERE accepted_at IS NOT NULL",
    ),
    "earlier": ("ALTER TABLE jobs ADD COLUMN earlier JSON NOT NULL DEFAULT '[]'",),
    "sent_boot": ("ALTER TABLE jobs ADD COLUMN sent_boot TEXT NOT NULL DEFAULT ''",),
    "sent_uptime": ("ALTER TABLE jobs ADD COLUMN sent_uptime FLOAT",),
    "sent_n": ("ALTER TABLE jobs ADD COLUMN sent_n INTEGER",),
    "accepted_n": ("ALTER TABLE jobs ADD COLUMN accepted_n INTEGER",),
}
"""What brings a table of an earlier version up to date, by the column it lacks."""


def create_or_migrate(connection: Connection, *tables: MetaData) -> None:
    """Make the tables, or bring those of an earlier version up to date."""
    existing_columns = table_columns(connection)
    for column, statements in _MIGRATIONS.items() if existing_columns else ():
        for statement in statements if column not in existing_columns else ():
            connection.execute(text(statement))
    for metadata in tables:
        metadata.create_all(connection)
    if connection.execute(select(EVENTS.c.n)).first() is None:
        count = _number_events(connection) if "accepted_n" not in existing_columns else 0
        connection.execute(insert(EVENTS).values(n=count))
    if connection.execute(select(_VERSION_TABLE.c.version)).first() is None:
        connection.execute(insert(_VERSION_TABLE).values(version=_SCHEMA_VERSION))
    else:
        connection.execute(update(_VERSION_TABLE).values(version=_SCHEMA_VERSION))


def _number_events(connection: Connection) -> int:
    """Number what an earlier version noted, in the order of the clock it went by."""
    c = JOBS.c
    rows = connection.execute(select(c.key, c.submitting_at, c.accepted_at)).all()
    events = [(at, key, "submitting_sequence") for key, at, _ in rows if at is not None]
    events += [(at, key, "accepted_sequence") for key, _, at in rows if at is not None]
    for number, (_, key, column) in enumerate(sorted(events), 1):
        connection.execute(update(JOBS).where(c.key == key).values({column: number}))
    return len(events)


async def numbers_of(connection: AsyncConnection, keys: Iterable[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for chunk in chunks(keys):
        query = select(JOBS.c.key, JOBS.c.number).where(JOBS.c.key.in_(chunk))
        numbers.update((row.key, row.number) for row in await connection.execute(query))
    return numbers
