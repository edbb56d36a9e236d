"""The benchmarks run and tell what they found; how fast anything is, no test asks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import __main__ as program
from benchmarks import payloads, polls, report
from benchmarks.row import Row

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


def test_a_benchmark_runs() -> None:
    """Growth measures the SDK and the loop by hand in fresh processes, against a real server."""
    (row,) = polls.growth(processes=1, times=1, most=300, least=100)
    assert row.ratio > 0
    assert [x for x, _ in row.series["mjasync, lists"]] == [100.0, 300.0]


def test_a_bar_is_met_or_missed(rows: list[Row]) -> None:
    """A row says whether its bar is met, where it has one, whichever way the bar points."""
    assert [row.met for row in rows] == [True, False, None]


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
    told = "\n".join(report.table([Row(name="busy", ratio=1.0, null=null)]))
    assert f" {shown}" in told
    assert ("the machine was busy" in told) == ("*" in shown)


def test_the_page_is_written_from_the_rows(rows: list[Row], tmp_path: Path) -> None:
    """The figures replace those on the page, twice over the same; the plots are proper XML."""
    shutil.copy(ROOT / "docs" / "performance.md", tmp_path)
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
