"""The benchmarks run and report rows; no test depends on a measured time."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest

from benchmarks import __main__ as program
from benchmarks import payloads, polls, report, server, stall
from benchmarks.row import Row, row_of
from support.waiting import turns

ROOT = Path(__file__).parent.parent


@pytest.fixture
def rows() -> list[Row]:
    """Three rows: one met, one missed, one without a bar."""
    lines = {
        "mjasync, lists": [(100.0, 10.0), (1000.0, 9.0)],
        "by hand": [(100.0, 140.0), (1000.0, 150.0)],
    }
    return [
        Row(name="good", ratio=0.5, low=0.4, high=0.6, null=1.0, bar=1.0, series=lines),
        Row(name="bad", ratio=3.0, bar=50.0, unit="MB", at_least=True, note="so what"),
        Row(name="told", ratio=1.0, series={"schedule": [(9.0, 1.0), (20.0, 0.5)]}),
    ]


def test_the_payloads_have_the_sizes_told() -> None:
    """A task under way is 985 bytes, a finished one 2,310 bytes with eleven buttons."""
    finished = payloads.success("1760000000123456", "http://127.0.0.1:12345")
    assert len(payloads.running("1760000000123456", 46)) == 985
    assert len(finished) == 2310
    assert len(json.loads(finished)["buttons"]) == 11


def test_tasks_of_a_list_do_not_change_in_step() -> None:
    """Of a hundred neighbours seven or eight change at a look; all end at the 40th."""
    site = server.Site()
    asked = orjson.dumps({"ids": [str(1760000000123000 + n) for n in range(100)]})
    looks = []
    for _ in range(40):
        told = site.respond(b"/13-40-list/mj/task/list-by-condition", asked)
        looks.append(json.loads(told.partition(b"\r\n\r\n")[2]))
    changed = [sum(map(dict.__ne__, *pair)) for pair in itertools.pairwise(looks)]
    assert set(changed[:-1]) == {7, 8}
    assert {task["status"] for task in looks[38]} == {"IN_PROGRESS"}
    assert {task["status"] for task in looks[39]} == {"SUCCESS"}
    assert 0.85 < 1 - (100 + sum(changed)) / 4000 < 0.95


def test_single_fetches_see_what_a_list_would_show() -> None:
    """A task that is fetched alone changes at the same looks as it does in a list."""
    alone, together = server.Site(), server.Site()
    for _ in range(30):
        one = alone.respond(b"/13-40/mj/task/1760000000123456/fetch", b"")
        many = together.respond(
            b"/13-40-list/mj/task/list-by-condition", b'{"ids":["1760000000123456"]}'
        )
        body, of_list = (told.partition(b"\r\n\r\n")[2] for told in (one, many))
        assert [json.loads(body)] == json.loads(of_list)


@pytest.mark.parametrize(
    "ready,threads,forgiven", [(0.3, 0.0, 0.3), (0.3, 0.25, 0.05), (0.1, 0.2, 0.0), (0.0, 0.0, 0.0)]
)
def test_a_stall_by_our_own_threads_is_not_forgiven(
    ready: float, threads: float, forgiven: float
) -> None:
    """The loop is forgiven what it waited for other programs, and never what its process took."""
    assert stall.taken_by_others(ready, threads) == pytest.approx(forgiven)


@pytest.mark.slow
def test_a_benchmark_runs() -> None:
    """Growth measures the SDK and the loop by hand in fresh processes, against a real server."""
    (row,) = polls.growth(seconds=0, most=1200, least=100)
    assert row.ratio > 0
    assert [x for x, _ in row.series["mjasync, lists"]] == [100.0, 1000.0, 1200.0]


async def test_a_turn_has_its_looks_and_then_nobody_looks() -> None:
    """Each task is looked at once to begin with; then so many looks a turn, and none in between."""
    looks = Counter[str]()
    taken = polls.Turns(2, 3)

    async def look(name: str) -> None:
        while True:
            looks[name] += 1
            await asyncio.sleep(0)
            await taken.pause()

    waiting = [asyncio.ensure_future(look(name)) for name in "ab"]
    await taken.wait_until_over()
    assert looks == {"a": 1, "b": 1}
    for turn in (1, 2):
        await taken.take()
        await turns(10)
        assert looks.total() == 2 + 6 * turn
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def test_a_bar_is_met_or_missed(rows: list[Row]) -> None:
    """A row says whether its bar is met, where it has one, whichever way the bar points."""
    assert [row.verdict for row in rows] == ["met", "MISSED", ""]


def test_the_table_shows_every_row(rows: list[Row]) -> None:
    """The table has a line for each row, with its verdict, and one for each note."""
    shown = "\n".join(report.table(rows))
    assert "met     good" in shown
    assert "MISSED  bad" in shown
    assert "so what" in shown


@pytest.mark.parametrize(
    "null,shown", [(0.969, "0.97 "), (1.03, "1.03 "), (0.964, "0.96*"), (1.04, "1.04*")]
)
def test_a_null_that_is_off_is_marked(null: float, shown: str) -> None:
    """A baseline that differs from itself by more than 3 % has an asterisk, which is explained."""
    (_, line, explanation) = report.table([Row(name="busy", ratio=1.0, null=null)])
    assert f" {shown}" in line
    assert "the machine was busy" in explanation


@pytest.mark.parametrize("null,shown", [(10.0, "10 "), (10.4, "10.4* "), (144.0, "144* ")])
def test_the_null_of_a_difference_is_judged_against_nothing(null: float, shown: str) -> None:
    """A difference is off by more than a fifth of its bar; where it has none, nothing is said."""
    judged = Row(name="late", ratio=9.0, null=null, bar=50.0, unit="ms")
    assert f" {shown}" in "\n".join(report.table([judged]))
    assert not Row(name="told", ratio=9.0, null=null, unit="ms").is_noisy


@pytest.mark.parametrize(
    "ratio,null,verdict",
    [(0.9, 1.0, "met"), (0.9, 1.1, "unsure"), (1.2, 1.0, "MISSED"), (1.2, 1.1, "MISSED")],
)
def test_a_busy_machine_meets_no_bar(ratio: float, null: float, verdict: str) -> None:
    """What would be met is unsure where the null is off; what is missed stays missed."""
    (line, *_) = list(report.table([Row(name="row", ratio=ratio, null=null, bar=1.0)]))[1:]
    assert f" {verdict} " in line


def test_a_single_round_has_no_spread() -> None:
    """The least and the most are told of several rounds, not of one."""
    assert row_of("once", [2.0], bar=1.0).low is None
    twice = row_of("twice", [1.0, 2.0], bar=1.0)
    assert (twice.low, twice.high) == (1.0, 2.0)


def test_the_page_is_written_from_the_rows(rows: list[Row], tmp_path: Path) -> None:
    """The figures replace those on the page, twice over the same; the plots are proper XML."""
    shutil.copy(ROOT / "docs" / "performance.md", tmp_path)
    (tmp_path / "_static").mkdir()
    report.write_docs(rows, tmp_path)
    written = (tmp_path / "performance.md").read_text("utf-8")
    report.write_docs(rows, tmp_path)
    assert (tmp_path / "performance.md").read_text("utf-8") == written
    assert "| good | 0.5 | 0.4 to 0.6 | 1.00 | ≤ 1 | met |" in written
    for name in ("cost.svg", "delay.svg"):
        ET.parse(tmp_path / "_static" / name)  # noqa: S314 - ours


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A benchmark that does not exist is named, before anything runs."""
    with pytest.raises(SystemExit):
        program.main(["nonsense"])
    assert "nonsense" in capsys.readouterr().err
