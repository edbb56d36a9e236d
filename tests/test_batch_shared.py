"""Batches that several processes share, on a PostgreSQL that the tests start themselves."""

from __future__ import annotations

import asyncio
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mjasync import Client, ConfigurationError
from mjasync.batch import Batch, BatchInUse, Job, JobStatus, Totals, read_batch
from mjasync.simulator import Simulator
from support import batches
from support.clients import connect
from support.postgres import binary, server
from support.waiting import eventually, leave

asyncpg = pytest.importorskip("asyncpg")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        binary("initdb") is None,
        reason="there is no PostgreSQL server here (on Debian: apt-get install postgresql)",
    ),
]
PROMPTS = [f"fox {n}" for n in range(6)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """A server, by the folder of its socket."""
    with server() as folder:
        yield folder


@pytest.fixture
async def database(postgres: Path) -> str:
    """A new database, by its URL."""
    name = f"batch_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(host=str(postgres), user="postgres", database="postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"postgresql+asyncpg://postgres:pass-word@/{name}?host={postgres}"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A server with room for several, whose jobs take milliseconds."""
    async with Simulator(time_scale=0.003, draw=False, concurrency=20) as simulator:
        yield simulator


@pytest.fixture
async def mj(sim: Simulator) -> AsyncIterator[Client]:
    """A quick client of `sim`."""
    async with connect(sim) as client:
        yield client


async def finish(folder: Path, mj: Client, database: str, **options: Any) -> list[Job]:  # noqa: ANN401
    """Run the batch of the prompts and a step to its end, with whoever else does."""
    settings = {"limit": 3, "steps": "U1", "gallery": True, **options}
    return await batches.finish(folder, mj, PROMPTS, ledger=database, **settings)


def paid(sim: Simulator) -> Counter[tuple[str, str | None]]:
    """Count what was paid for, by what it is."""
    return Counter((s.endpoint, s.parent_id or s.prompt) for s in sim.submissions)


async def execute(database: str, statement: str) -> list[Any]:
    """Say something to the database."""
    connection = await asyncpg.connect(database.replace("+asyncpg", ""))
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def test_a_batch_in_postgres(
    sim: Simulator, mj: Client, database: str, tmp_path: Path
) -> None:
    """One process works as on SQLite, asks for nothing the second time, and is read meanwhile."""
    jobs = await finish(tmp_path, mj, database)
    assert Counter(job.status for job in jobs) == {JobStatus.SAVED: 12}
    before = len(sim.requests)
    assert await finish(tmp_path, mj, database) == []
    assert len(sim.requests) == before
    read = await read_batch(tmp_path, ledger=database)
    assert {job.key: job for job in read} == {job.key: job for job in jobs}
    assert Totals.from_jobs(read).submits == 12
    assert await execute(database, "SELECT * FROM claims") == []


async def test_a_ledger_of_an_earlier_version(
    sim: Simulator, mj: Client, database: str, tmp_path: Path
) -> None:
    """It is read as it is, brought up to date when it is opened, and what it counted stays."""
    await finish(tmp_path, mj, database, steps=())
    await execute(database, "ALTER TABLE jobs DROP COLUMN taken, DROP COLUMN earlier")
    await execute(database, "UPDATE ledger_version SET version = 2")
    assert Totals.from_jobs(await read_batch(tmp_path, ledger=database)).submits == 6
    jobs = await finish(tmp_path, mj, database)
    assert (len(jobs), len(sim.submissions)) == (6, 12)
    read = Totals.from_jobs(await read_batch(tmp_path, ledger=database))
    async with Batch(tmp_path, client=mj, ledger=database) as batch:
        assert await batch.totals() == read
    assert (read.submits, sum(read.charges.values())) == (12, 12)


async def test_two_do_each_job_once(
    sim: Simulator, mj: Client, database: str, tmp_path: Path
) -> None:
    """Two at once number the jobs alike, share them, and both end when all is done."""
    both = await asyncio.gather(*(finish(tmp_path, mj, database) for _ in range(2)))
    assert {*paid(sim).values()} == {1}
    assert sum(map(len, both)) == len(sim.submissions) == 12
    jobs = await read_batch(tmp_path, ledger=database)
    assert Counter(job.status for job in jobs) == {JobStatus.SAVED: 12}
    assert Counter(job.number for job in jobs) == dict.fromkeys(range(1, 7), 2)
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == 12


async def test_failures_with_one_prompt_are_all_retried(
    sim: Simulator, mj: Client, database: str, tmp_path: Path
) -> None:
    """Those held back, since they must not be under way together, are not forgotten."""
    fault = sim.fault("fail", reason="Internal error", times=None)
    async with Batch(tmp_path, client=mj, ledger=database) as batch:
        batch.add("a fox", repeat=3)
        assert {job.status async for job in batch.run()} == {JobStatus.FAILED}
    fault.remove()
    async with Batch(tmp_path, client=mj, ledger=database, retry_failed=True) as batch:
        jobs = [job async for job in batch.run()]
    assert Counter(job.status for job in jobs) == {JobStatus.SAVED: 3}


async def test_equal_prompts_are_never_in_flight_together(
    mj: Client, database: str, tmp_path: Path, sim: Simulator
) -> None:
    """What differs in nothing but its seed is done one after the other, whoever does it."""

    async def run() -> None:
        async with Batch(tmp_path, client=mj, ledger=database) as batch:
            batch.add("a fox", repeat=5)
            assert all([job.status is JobStatus.SAVED async for job in batch.run()])

    await asyncio.gather(run(), run())
    assert (sim.max_in_flight, len(sim.submissions)) == (1, 5)


async def test_a_job_that_ends_during_a_look_leaves_no_step_behind(
    sim: Simulator, mj: Client, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on to the steps of its last grid, though that ends while it looks for work."""
    sim.fault("fail", reason="Internal error")
    async with Batch(tmp_path, client=mj, ledger=database, steps="U1") as batch:
        batch.add("a fox")
        (fox,) = [job async for job in batch.run()]
    async with Batch(tmp_path, client=mj, ledger=database, steps="U1") as batch:
        ledger, looking = batch._ledger, asyncio.Event()
        find, release = ledger.by_keys, ledger.release

        async def slow_find(keys: Iterable[str]) -> dict[str, Job]:
            keys = set(keys)
            if keys == {fox.key} and batch.active:  # a look, while the owl is under way
                looking.set()
                await eventually(lambda: not batch.active)
            return await find(keys)

        async def slow_release(job: Job) -> None:
            await looking.wait()
            await release(job)

        monkeypatch.setattr(ledger, "by_keys", slow_find)
        monkeypatch.setattr(ledger, "release", slow_release)
        batch.add("an owl")
        assert [job.step async for job in batch.run()] == ["", "U1"]
    assert looking.is_set()


SCRIPT = """
import asyncio, sys
from mjasync import Client, Schedule
from mjasync.batch import Batch

async def main(url, folder, ledger):
    pace = Schedule(initial_delay=0.01, min_interval=0.01, max_interval=0.02)
    mj = Client(url, "", schedule=pace)
    async with mj:
        batch = Batch(folder, client=mj, limit=3, steps="U1", reconcile_after=0.0, ledger=ledger)
        async with batch:
            batch.add(f"fox {n}" for n in range(6))
            await batch.plan()
            print("planned", flush=True)
            sys.stdin.readline()
            print(len([job async for job in batch.run()]), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def start(*args: object) -> asyncio.subprocess.Process:
    """Start a process that has planned the batch and waits to be told to run it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT, *map(str, args)), stdin=pipe, stdout=pipe
    )
    assert await said(process) == "planned"
    return process


async def said(process: asyncio.subprocess.Process) -> str:
    """Return what a process says next."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def go(*processes: asyncio.subprocess.Process) -> None:
    """Have processes run the batch."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")


async def test_two_processes(sim: Simulator, database: str, tmp_path: Path) -> None:
    """Two processes, one batch: each job is paid once, and comes out once."""
    both = await asyncio.gather(*(start(sim.url, tmp_path, database) for _ in range(2)))
    go(*both)
    counts = [int(await said(process)) for process in both]
    assert [await process.wait() for process in both] == [0, 0]
    assert sum(counts) == len(sim.submissions) == 12
    assert {*paid(sim).values()} == {1}


@pytest.mark.parametrize("count", [1, 4, 8])
async def test_one_of_two_is_killed(
    sim: Simulator, mj: Client, database: str, tmp_path: Path, count: int
) -> None:
    """What a killed process had begun is taken over by the other, and paid once."""
    sim.fault("slow_body", on="submit", times=None, gap=0.001)
    process = await start(sim.url, tmp_path, database)
    go(process)
    await eventually(lambda: len(sim.submissions) >= count)
    survivor = asyncio.ensure_future(finish(tmp_path, mj, database))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await survivor
    jobs = await read_batch(tmp_path, ledger=database)
    assert Counter(job.status for job in jobs) == {JobStatus.SAVED: 12}
    assert {*paid(sim).values()} == {1}


async def test_the_living_are_left_alone(
    sim: Simulator, mj: Client, database: str, tmp_path: Path
) -> None:
    """A process without work waits for another's, which may still die; `stop` ends the wait."""
    async with Batch(tmp_path, client=mj, ledger=database) as one:
        one.add("a fox")
        fault = sim.fault("stall", times=1)
        first = one.run()
        running = asyncio.ensure_future(anext(first))
        await eventually(lambda: fault.hits == 1)
        async with Batch(tmp_path, client=mj, ledger=database) as other:
            waiting = asyncio.ensure_future(anext(other.run(), None))
            reads = len(sim.requests)
            await eventually(lambda: len(sim.requests) > reads + 3)
            assert not waiting.done()
            other.stop()
            assert await waiting is None
        await leave(running)
        await first.aclose()
    assert len(sim.submissions) == 1


async def test_whoever_is_cut_off_stops(
    sim: Simulator, mj: Client, database: str, tmp_path: Path
) -> None:
    """A process that has lost its connection sends nothing more; the next pays nothing twice."""
    async with Batch(tmp_path, client=mj, ledger=database, limit=1) as batch:
        batch.add(PROMPTS)
        with pytest.raises(Exception, match=r"clos|terminat|lost"):  # noqa: PT012
            async for _ in batch.run():
                await execute(
                    database,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
        assert batch.stopped
        count = len(sim.submissions)
        assert count <= 2
    await finish(tmp_path, mj, database, steps=())
    assert {*paid(sim).values()} == {1}
    assert len(sim.submissions) == 6


async def test_only_the_owner_writes(
    sim: Simulator, mj: Client, database: str, tmp_path: Path
) -> None:
    """A note about a job that another has claimed is refused."""
    async with (
        Batch(tmp_path, client=mj, ledger=database) as one,
        Batch(tmp_path, client=mj, ledger=database) as other,
    ):
        one.add("a fox")
        await one.plan()
        (job,) = await one.jobs()
        assert await other._ledger.claim(job)
        assert not await one._ledger.claim(job)
        with pytest.raises(BatchInUse, match="taken this job over"):
            await one._ledger.update(job, attempts=1)
        await other._ledger.update(job, attempts=1)
        await other._ledger.release(job)
        assert not await one._ledger.claim(job)
        (job,) = await one.jobs()
        assert await one._ledger.claim(job)


async def test_a_database_that_is_none(mj: Client, database: str, tmp_path: Path) -> None:
    """An empty database, or one that is not there, holds no batch; no password is told."""
    for url in (database, database.replace("/batch", "/none")):
        with pytest.raises(ConfigurationError, match="cannot be read") as caught:
            await read_batch(tmp_path, ledger=url)
        assert "pass-word" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="does not exist") as gone:
        await finish(tmp_path, mj, database.replace("/batch", "/none"))
    assert "pass-word" not in repr(gone.value.__cause__)
    nowhere = "postgresql://postgres:pass-word@127.0.0.1:9/batch"
    with pytest.raises(ConfigurationError, match="cannot be opened") as gone:
        await finish(tmp_path, mj, nowhere)
    assert "pass-word" not in repr(gone.value)
    with pytest.raises(ConfigurationError, match=r"needs \{key\}"):
        Batch(tmp_path, client=mj, ledger=database, name="{n}.{ext}")
