"""Ledgers: damaged, empty, locked, shared by mistake, unwritable; one poisoned job of many."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from mjasync import Client, Task
from mjasync.batch import Batch, BatchInUse, Job, JobStatus, LedgerError, read_batch
from mjasync.batch._ledger import lock as _lock
from mjasync.batch._ledger import sqlite as _ledger
from mjasync.batch._ledger.ledger import Ledger
from mjasync.batch._ledger.lock import LedgerLock
from mjasync.batch._ledger.open import is_running
from mjasync.errors import ConfigurationError, MJError
from mjasync.simulator import Simulator
from support.batches import finish
from support.disks import mounted

PROMPTS = [f"fox {n}" for n in range(4)]
MORE_THAN_AT_ONCE = [f"owl {n}" for n in range(8)]
"""With a limit of 1, four jobs may be under way: one is submitted, the others are being saved."""
SECRET = "pass-word"
posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such modes and links")


def change(folder: Path, statement: str) -> None:
    """Do something to a ledger behind its back."""
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger, ledger:
        ledger.execute(statement)


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "state = 'drawn'",
        "variables = '{'",
        "files = '{\"a\": 1}'",
        "files = '[{\"odd\": 1}]'",
        "earlier = '[1]'",
        "n = 'many'",
        "prompt = x'ff'",
        "attempts = 'x'",
    ],
)
async def test_a_damaged_row_is_named(
    plain: Simulator, mj_plain: Client, tmp_path: Path, damage: str
) -> None:
    """What a row cannot be is told with its key, by every way in, and nothing is sent."""
    jobs = await finish(tmp_path, mj_plain, *PROMPTS)
    change(tmp_path, f"UPDATE jobs SET {damage} WHERE key = '{jobs[1].key}'")  # noqa: S608
    before = len(plain.requests)
    with pytest.raises(LedgerError, match=jobs[1].key):
        await finish(tmp_path, mj_plain, "an owl")
    with pytest.raises(ConfigurationError, match=jobs[1].key):
        await read_batch(tmp_path)
    async with Batch(tmp_path, client=mj_plain) as batch:
        with suppress(MJError):
            await batch.totals()
    assert len(plain.requests) == before


async def test_a_ledger_of_noise(mj_plain: Client, tmp_path: Path) -> None:
    """A file that is no ledger, or is cut short, is an error of ours that says what to do."""
    (tmp_path / "ledger.db").write_bytes(b"not a database at all, but long enough" * 99)
    with pytest.raises(LedgerError, match=r"not a database.*backup"):
        await finish(tmp_path, mj_plain, "a fox")
    with pytest.raises(ConfigurationError, match="not a database"):
        await read_batch(tmp_path)


@pytest.mark.parametrize("is_there", [True, False], ids=["empty", "gone"])
async def test_an_empty_ledger_beside_a_full_manifest(
    plain: Simulator, mj_plain: Client, tmp_path: Path, is_there: bool
) -> None:
    """What was paid for once is not paid for again because the ledger was lost."""
    await finish(tmp_path, mj_plain, *PROMPTS)
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    if is_there:
        (tmp_path / "ledger.db").touch()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"manifest.jsonl lists 4.*backup"):
            await finish(tmp_path, mj_plain, *PROMPTS)
    assert len(plain.submissions) == 4
    (tmp_path / "manifest.jsonl").unlink()
    assert len(await finish(tmp_path, mj_plain, *PROMPTS)) == 4


async def test_a_ledger_just_being_made(tmp_path: Path) -> None:
    """A ledger without its tables is told in a sentence."""
    (tmp_path / "ledger.db").touch()
    with pytest.raises(ConfigurationError, match=r"is being created.*moment"):
        await read_batch(tmp_path)


async def test_a_locked_ledger_is_waited_for(
    plain: Simulator, mj_plain: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program that lets go in time does no harm; one that does not is named."""
    await finish(tmp_path, mj_plain, "an owl")
    code = f"""
import sqlite3, sys
ledger = sqlite3.connect({str(tmp_path / "ledger.db")!r}, isolation_level=None)
ledger.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
ledger.execute("COMMIT")
ledger.close()
print("free", flush=True)
sys.stdin.readline()
"""
    with subprocess.Popen(  # noqa: ASYNC220 - it begins at once
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        await asyncio.to_thread(other.stdout.readline)
        with monkeypatch.context() as patch:
            patch.setattr(_ledger, "_BUSY_TIMEOUT", 0.01)
            with pytest.raises(LedgerError, match=rf"locked by another program.*{other.pid}"):
                await finish(tmp_path, mj_plain, "a fox")
        running = asyncio.ensure_future(finish(tmp_path, mj_plain, "a fox"))
        await asyncio.sleep(0)
        other.stdin.write(b"\n")
        other.stdin.flush()
        (job,) = await running
        assert job.status is JobStatus.SAVED
        other.stdin.close()


# --- two at once -------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_symbolic_link_to_a_ledger(mj_plain: Client, tmp_path: Path, what: str) -> None:
    """Whoever comes by another name of the same ledger gets BatchInUse."""
    real, other = tmp_path / "real", tmp_path / "other"
    real.mkdir()
    if what == "folder":
        other.symlink_to(real, target_is_directory=True)
    else:
        other.mkdir()
        (other / "ledger.db").symlink_to(real / "ledger.db")
    async with Batch(real, client=mj_plain):
        with pytest.raises(BatchInUse):
            async with Batch(other, client=mj_plain):
                pass


@posix
async def test_a_hard_link_to_a_ledger(mj_plain: Client, tmp_path: Path) -> None:
    """By two names SQLite would keep two ledgers in one file: that is refused."""
    one, other = tmp_path / "one", tmp_path / "other"
    other.mkdir()
    async with Batch(one, client=mj_plain):
        (other / "ledger.db").hardlink_to(one / "ledger.db")
        with pytest.raises(LedgerError, match="2 names"):
            async with Batch(other, client=mj_plain):
                pass


@posix
@pytest.mark.parametrize("is_slow", [True, False], ids=["taken", "free"])
async def test_a_lock_that_is_deleted(
    plain: Simulator, mj_plain: Client, tmp_path: Path, is_slow: bool
) -> None:
    """Whoever is first to see it has the batch, the other stops; nothing is paid twice."""
    prompts, lock = [f"fox {n:02}" for n in range(20)], tmp_path / "ledger.lock"
    async with Batch(
        tmp_path, client=mj_plain, limit=1, gallery=False, reconcile_after=0.0
    ) as first:
        first.add(prompts)
        running = first.run()
        await anext(running)
        lock.unlink()
        if is_slow:  # the second one comes before the next payment
            await finish(tmp_path, mj_plain)
            with pytest.raises(BatchInUse):
                [job async for job in running]
        else:
            while not lock.exists():
                await anext(running)
            with pytest.raises(BatchInUse):
                await finish(tmp_path, mj_plain)
            assert [job async for job in running]
    assert sorted(sent.prompt for sent in plain.submissions) == prompts
    assert {job.status for job in await read_batch(tmp_path)} == {JobStatus.SAVED}


async def test_a_ledger_that_is_replaced(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """A ledger that was deleted while a batch ran ends it before the next payment.

    With a limit of 1, one submission at most was noted, and perhaps sent, before that.
    """
    async with Batch(tmp_path, client=mj_plain, limit=1, gallery=False) as batch:
        batch.add(MORE_THAN_AT_ONCE)
        running = batch.run()
        await anext(running)
        (tmp_path / "ledger.db").unlink()
        before = len(plain.submissions)
        with pytest.raises(LedgerError, match="deleted or replaced"):
            [job async for job in running]
        assert len(plain.submissions) <= before + 1 < len(MORE_THAN_AT_ONCE)


@posix
async def test_a_ledger_that_is_moved(plain: Simulator, mj_plain: Client, tmp_path: Path) -> None:
    """With a link in its place it is the same file, but its journal is another by that name."""
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    async with Batch(here, client=mj_plain, limit=1, gallery=False) as batch:
        batch.add(MORE_THAN_AT_ONCE)
        running = batch.run()
        await anext(running)
        (here / "ledger.db").rename(there / "ledger.db")
        (here / "ledger.db").symlink_to(there / "ledger.db")
        before = len(plain.submissions)
        with pytest.raises(LedgerError, match="deleted or replaced"):
            [job async for job in running]
        assert len(plain.submissions) <= before + 1 < len(MORE_THAN_AT_ONCE)


def test_looking_at_a_lock_takes_nothing(tmp_path: Path) -> None:
    """Whether a lock is held is told, without being in the way of whoever takes it."""
    path = tmp_path / "ledger.lock"
    one, other = LedgerLock(path), LedgerLock(path)
    assert not other.is_held()
    assert not path.exists()
    one.acquire()
    assert other.is_held()
    with pytest.raises(BatchInUse):
        other.acquire()
    one.release()
    assert not one.is_held()
    other.acquire()
    other.release()


# --- access ------------------------------------------------------------------------------------


@posix
async def test_only_the_user_may_read_them(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """Ledger, lock and manifest are for one user, also where others could read them before."""
    for _ in range(2):
        await finish(tmp_path, mj_plain, *PROMPTS)
        for name in ("ledger.db", "ledger.lock", "manifest.jsonl"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
            (tmp_path / name).chmod(0o644)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that even root cannot write to, once it is asked to be."""
    with mounted(tmp_path / "disk", "4m") as path:
        yield path


async def test_a_folder_that_cannot_be_written(
    plain: Simulator, mj_plain: Client, read_only: Path
) -> None:
    """Where a batch stands can be read there, too."""
    await finish(read_only, mj_plain, *PROMPTS)
    remount = ["mount", "-o", "remount,ro", str(read_only)]
    await asyncio.to_thread(subprocess.run, remount, check=True)
    assert len(await read_batch(read_only)) == 4
    assert is_running(read_only) is False
    with pytest.raises(MJError):
        await finish(read_only, mj_plain, "an owl")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@host:port/db",
        f"postgresql://u:{SECRET}@host:99999/db",
        f"postgresql://u:{SECRET}@[::1/db",
        f"postgresql://u:{SECRET}@127.0.0.1:9/db?sslmode=require",
        f"postgresql://u:{SECRET}@127.0.0.1:9/db?ssl=perhaps",
        f"postgresql://u:{SECRET}@127.0.0.1:9/db?odd=1",
        f"postgresql://u:{SECRET}@127.0.0.1:9/db?timeout=soon",
        f"postgresql://127.0.0.1:9/db?user=u&password={SECRET}",
    ],
)
async def test_urls_that_are_wrong(mj_plain: Client, tmp_path: Path, url: str) -> None:
    """Each is a sentence, with the password neither in it nor anywhere in the traceback."""
    pytest.importorskip("asyncpg")

    async def opened(ledger: list[str]) -> None:
        async with Batch(tmp_path, client=mj_plain, ledger=ledger.pop()):
            pass

    async def read(ledger: list[str]) -> None:
        await read_batch(tmp_path, ledger=ledger.pop())

    for attempt in (opened, read):
        with pytest.raises(ConfigurationError) as caught:
            await attempt([url])
        error: BaseException | None = caught.value
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert error is not None
        assert error.__cause__ is None
        assert error.__context__ is None
        frames = list(traceback.walk_tb(error.__traceback__))
        for frame, _ in frames:
            if "mjasync" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
                assert SECRET not in repr(frame.f_locals)


@pytest.mark.parametrize("name", ["ledger.lock", "ledger.reserve", "a.LOCK"])
async def test_names_of_files_beside_a_ledger(mj_plain: Client, tmp_path: Path, name: str) -> None:
    """A ledger that is called as its own lock, or as the room kept free, is refused untouched."""
    (tmp_path / name).write_text("whatever it is")
    with pytest.raises(ConfigurationError, match="cannot end in"):
        async with Batch(tmp_path, client=mj_plain, ledger=f"sqlite:///{tmp_path / name}"):
            pass
    assert (tmp_path / name).read_text() == "whatever it is"


# --- one poisoned job --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Port out of range 0-65535"),
        RuntimeError("a picture is a bomb"),
        OSError("image file is truncated"),
        OSError(36, "File name too long"),
        MemoryError(),
        KeyError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_one_job_does_not_stop_the_others(
    plain: Simulator,
    mj_plain: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """Whatever comes out of saving one picture concerns that job alone, on every run."""
    read = Task.read

    async def poisoned(task: Task, *args: Any, **options: Any) -> bytes:  # noqa: ANN401
        if "fox 1" in (task.prompt or ""):
            raise error
        return await read(task, *args, **options)

    monkeypatch.setattr(Task, "read", poisoned)
    jobs = await finish(tmp_path, mj_plain, *PROMPTS)
    bad = [job for job in jobs if job.status is not JobStatus.SAVED]
    assert [(job.prompt, job.status) for job in bad] == [("fox 1", JobStatus.FINISHED)]
    assert bad[0].error_class == type(error).__name__
    (job,) = await finish(tmp_path, mj_plain)
    assert job.status is JobStatus.FINISHED
    monkeypatch.undo()
    (job,) = await finish(tmp_path, mj_plain)
    assert (job.status, len(plain.submissions)) == (JobStatus.SAVED, 4)


async def test_an_id_that_a_broken_ledger_cannot_take(
    plain: Simulator, mj_plain: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever keeps an acceptance from being noted ends the run with the ids, and pays no more."""
    note = Ledger._update

    async def broken(ledger: Any, job: Job, event: str, changes: dict[str, Any]) -> Job:  # noqa: ANN401
        if event == "accepted":
            raise ConnectionResetError(104, "Connection reset by peer")
        return await note(ledger, job, event, changes)

    monkeypatch.setattr(Ledger, "_update", broken)
    with pytest.raises(LedgerError, match="reset by peer") as caught:
        await finish(tmp_path, mj_plain, *PROMPTS, limit=2)
    assert {*caught.value.unrecorded} == {*plain.tasks}
    assert 1 <= len(plain.submissions) <= 2
    monkeypatch.undo()
    assert len(await finish(tmp_path, mj_plain)) == len(plain.submissions) == 4


# --- what left the file ------------------------------------------------------------------------


async def test_prompts_that_left_the_file(
    plain: Simulator, mj_plain: Client, tmp_path: Path
) -> None:
    """What is planned and no longer asked for is told, and can be dropped with its steps."""
    async with Batch(tmp_path, client=mj_plain, steps="U1", gallery=False) as batch:
        batch.add(PROMPTS)
        await batch.plan()
        assert await batch.not_requested() == []
    async with Batch(tmp_path, client=mj_plain, steps="U1", gallery=False) as batch:
        assert await batch.not_requested() == []  # nothing was added, so nothing is missing
        batch.add(PROMPTS[:3])
        for _ in range(2):
            assert [(job.prompt, job.step) for job in await batch.not_requested()] == [
                (PROMPTS[3], ""),
                (PROMPTS[3], "U1"),
            ]
            await batch.plan()
        grid, _ = await batch.not_requested()
        assert await batch.drop([grid]) == 2
        assert len([job async for job in batch.run()]) == 6
        assert await batch.drop(await batch.jobs()) == 0  # what was sent stays
    assert PROMPTS[3] not in {sent.prompt for sent in plain.submissions}


def test_failures_that_a_retry_cannot_mend() -> None:
    """A job says whether beginning it anew may help."""
    grid = Job(key="a", number=1, prompt="a fox", status=JobStatus.FAILED, error_class="TaskFailed")
    assert grid.retry_can_help
    for name in ("BannedPrompt", "ButtonNotFound", "InvalidRequest", "ModalNotOpened"):
        assert not Job(key="a", number=1, prompt="a", error_class=name).retry_can_help
    lost = Job(key="b", number=1, prompt="a", parent="a", task_id="1", error_class="TaskNotFound")
    assert lost.is_orphan
    assert not lost.retry_can_help


async def test_space_that_cannot_be_reserved(
    mj_plain: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk without room for the server's responses is reported, and nothing is left on it."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with Batch(tmp_path, client=mj_plain) as batch:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(LedgerError, match=r"no disk space.*No space left") as caught:
                await batch._ledger.reserve_space(1)
        assert caught.value.errno == errno.ENOSPC
        assert not (tmp_path / "ledger.reserve").exists()
        assert await batch._ledger.unclaimed() == ([], False)


def test_locks_that_cannot_be_made_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each error of the system is a sentence; a lock that cannot be asked counts as free."""
    path = tmp_path / "ledger.lock"

    def no_locks(_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    path.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be created"):
        LedgerLock(path).acquire()
    path.rmdir()
    with monkeypatch.context() as patch:
        patch.setattr(_lock, "_lock", no_locks)
        with pytest.raises(ConfigurationError, match="cannot be locked: No locks available"):
            LedgerLock(path).acquire()
        patch.setattr(_lock, "_is_locked", no_locks)
        assert not LedgerLock(path).is_held()


def test_a_lock_file_that_is_deleted_while_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is taken again, on the file that has its name."""
    path, lock_file = tmp_path / "ledger.lock", _lock._lock
    files = iter([True, False])

    def deleted_once(fd: int) -> None:
        lock_file(fd)
        if next(files):
            path.unlink()

    monkeypatch.setattr(_lock, "_lock", deleted_once)
    lock = LedgerLock(path)
    lock.acquire()
    assert next(files, None) is None
    assert LedgerLock(path).is_held()
    lock.release()


def test_whether_a_batch_runs_is_asked_of_its_url(tmp_path: Path) -> None:
    """A shared ledger does not tell, and a URL of none is an error."""
    assert is_running(tmp_path, ledger="postgresql+asyncpg://host/name") is None
    with pytest.raises(ConfigurationError, match="SQLite or PostgreSQL"):
        is_running(tmp_path, ledger="mysql://host/name")
    with pytest.raises(ConfigurationError, match="has no query"):
        is_running(tmp_path, ledger="sqlite:///ledger.db?mode=ro")


async def test_what_a_killed_process_left(mj_plain: Client, tmp_path: Path) -> None:
    """Partial files go when the batch is opened; a file of prompts is read when it is added."""
    partial = tmp_path / ".mjasync-0123456789abcdef.part"
    partial.write_bytes(b"half")
    (tmp_path / "prompts.txt").write_text("a fox\nan owl\n", "utf-8")
    async with Batch(tmp_path, client=mj_plain) as batch:
        assert not partial.exists()
        assert batch.add_file(tmp_path / "prompts.txt") == 2
        assert await batch.dry_run() == 2
