"""The tables of a ledger, and the conversion of rows to jobs, which checks every value."""

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

from sqlalchemy.ext.asyncio import AsyncConnection

from ..._text import printable
from ...errors import ConfigurationError
from .._jobs import Job, JobStatus, LedgerError

T = TypeVar("T")
_MAX_ROWS_PER_STATEMENT: Final = 500
_MAX_ERROR_LENGTH: Final = 4000
_SCHEMA_VERSION: Final = 4
"""Version 1 had neither a version table nor `modal`; 2 lacked `taken` and `earlier`; 3 lacked the
columns with the sequence and the uptime of submissions."""
TABLES: Final = MetaData()
_VERSION_TABLE: Final = Table("ledger_version", TABLES, Column("version", Integer, nullable=False))
EVENTS: Final = Table("ledger_events", TABLES, Column("n", Integer, nullable=False))
"""One row with the number of recorded submissions and acceptances: clocks jump, this does not."""
OWNER: Final = Table("ledger_owner", MetaData(), Column("token", String(32), nullable=False))
"""One row with the token of the process that may submit, if the ledger is not shared."""
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
"""The fields of a `Job` by column: the columns keep their first names."""
_LIST_COLUMNS: Final = frozenset({"previous_charges", "files"})


@attrs.frozen
class _InvalidJson:
    text: str


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse a JSON column; `decode_job` reports invalid JSON together with its row."""
    try:
        return json.loads(text)
    except ValueError:
        return _InvalidJson(str(text))


def decode_job(row: Any) -> Job:  # noqa: ANN401 - a row of JOBS
    """Convert a row to a job.

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
    """Convert a column to a status.

    Raises:
        LedgerError: There is no such status.
    """
    try:
        return JobStatus(value)  # type: ignore[arg-type]  # which raises a ValueError
    except ValueError as error:
        reason = str(error)
    raise _damaged_row(f"state {value!r}", reason)


def _damaged_row(row_name: str, reason: str) -> LedgerError:
    return LedgerError(
        f"A row of the batch's ledger is damaged ({printable(row_name, 200)}): "
        f"{printable(reason, 200)}. Restore the ledger from a backup, or repair that row of the "
        "table `jobs`."
    )


def _check_value(name: str, value: object) -> None:
    """Check that a value has the type of its column.

    Raises:
        ValueError: It does not.
    """
    column = JOBS.c[name]
    if value is None and column.nullable:
        return
    if isinstance(value, _InvalidJson):
        message = f"`{name}` is not JSON: {value.text[:100]!r}"
        raise ValueError(message)  # noqa: TRY004 - the content is wrong
    expected_type = list if name in _LIST_COLUMNS else column.type.python_type
    if not isinstance(value, (int, float) if expected_type is float else expected_type):
        message = f"`{name}` is {value!r}"[:200]
        raise ValueError(message)  # noqa: TRY004 - the content is wrong


async def decode_jobs(rows: Iterable[Any]) -> list[Job]:
    """Convert rows to jobs in a thread: there may be thousands."""
    return await asyncio.to_thread(lambda: [*map(decode_job, rows)])


def encode_job(job: Job, *names: str) -> dict[str, Any]:
    """Convert a job, or some of its fields, to a row."""
    row = {name: getattr(job, name) for name in names or JOBS.c.keys()}
    if "files" in row:
        row["files"] = [attrs.asdict(file) for file in job.files]
    if "variables" in row:
        row["variables"] = dict(job.variables)
    if "error" in row:  # databases refuse some characters of a server's text
        row["error"] = printable(job.error, _MAX_ERROR_LENGTH, lines=True)
    return row


def jobs_query(statuses: Collection[JobStatus], columns: Collection[str] | None = None) -> Any:  # noqa: ANN401 - a select of variable columns
    """Select all jobs, or those with one of `statuses`, in planning order."""
    selected = JOBS.c if columns is None else [c for c in JOBS.c if c.name in columns]
    query = select(*selected).order_by(JOBS.c.number, JOBS.c.step)
    return query.where(JOBS.c.status.in_(statuses)) if statuses else query


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Split items into as many as fit in one statement."""
    iterator = iter(items)
    while chunk := list(islice(iterator, _MAX_ROWS_PER_STATEMENT)):
        yield chunk


async def fetch_by_key(connection: AsyncConnection, query: Any, keys: Iterable[str]) -> list[Any]:  # noqa: ANN401 - a select of variable columns
    """Return the rows of a query on JOBS with one of `keys`."""
    rows: list[Any] = []
    for chunk in chunks(keys):
        rows += await connection.execute(query.where(JOBS.c.key.in_(chunk)))
    return rows


def table_columns(connection: Connection) -> set[str]:
    """Return the existing columns of the table of jobs; none if there is no such table yet.

    Raises:
        ConfigurationError: A later version of this package created the ledger.
    """
    tables = inspect(connection)
    if tables.has_table(_VERSION_TABLE.name):
        version = connection.execute(select(func.max(_VERSION_TABLE.c.version))).scalar() or 0
        if version > _SCHEMA_VERSION:
            message = (
                f"This ledger has version {version}, and this mjasync supports versions up to "
                f"{_SCHEMA_VERSION}: python -m pip install --upgrade mjasync."
            )
            raise ConfigurationError(message)
    has_jobs = tables.has_table(JOBS.name)
    return {column["name"] for column in tables.get_columns(JOBS.name)} if has_jobs else set()


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
"""The statements that migrate an earlier version, by the column that it lacks."""


def create_or_migrate(connection: Connection, *tables: MetaData) -> None:
    """Create the tables, or migrate those of an earlier version."""
    existing_columns = table_columns(connection)
    for column, statements in _MIGRATIONS.items() if existing_columns else ():
        for statement in statements if column not in existing_columns else ():
            connection.execute(text(statement))
    for metadata in tables:
        metadata.create_all(connection)
    if connection.execute(select(EVENTS.c.n)).first() is None:
        count = _number_events(connection) if "accepted_n" not in existing_columns else 0
        connection.execute(insert(EVENTS).values(n=count))
    if not connection.execute(update(_VERSION_TABLE).values(version=_SCHEMA_VERSION)).rowcount:
        connection.execute(insert(_VERSION_TABLE).values(version=_SCHEMA_VERSION))


def _number_events(connection: Connection) -> int:
    """Number the events that an earlier version recorded, in the order of its timestamps."""
    c = JOBS.c
    rows = connection.execute(select(c.key, c.submitting_at, c.accepted_at)).all()
    events = [(time, key, "submitting_sequence") for key, time, _ in rows if time is not None]
    events += [(time, key, "accepted_sequence") for key, _, time in rows if time is not None]
    for number, (_, key, column) in enumerate(sorted(events), 1):
        connection.execute(update(JOBS).where(c.key == key).values({column: number}))
    return len(events)
