"""Every Python block of the documentation runs, as it stands, against the simulator.

The blocks of one page run in order in one namespace on one event loop, with `await` allowed at the
top level; a block that calls `asyncio.run` runs as a script. `MJASYNC_BASE_URL` and
`MJASYNC_TOKEN` point at the simulator, and so does the address used in examples. The working
directory is empty: a page makes what it reads, and a block whose paragraph names a file of Python
is written there, too. There is no mark to skip a block.
"""

from __future__ import annotations

import ast
import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import CodeType

import pytest

from mjasync.simulator import Simulator

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")])
EXAMPLE_URL = "https://api.example.com"
FENCE = re.compile(
    r"^(?P<fence>```+|~~~+)(?P<language>[^\n]*)\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each Python block of a page."""
    for match in FENCE.finditer(page):
        if match["language"].strip() == "python":
            yield page.count("\n", 0, match.start("body")), match["body"]


def written_down(page: str, line: int, source: str) -> None:
    """Write a block to the file that the paragraph before it names, if it names one."""
    paragraph = "\n".join(page.splitlines()[: line - 1]).rstrip().rpartition("\n\n")[2]
    name = re.search(r"`(\w+\.py)`", paragraph)
    if name and paragraph.endswith(("`:", ":")):
        Path(name[1]).write_text(source, "utf-8")


def compiled(source: str, line: int, name: str) -> CodeType:
    """Compile a block so that a traceback shows its line on the page."""
    return compile("\n" * line + source, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def evaluate(code: CodeType, namespace: dict[str, object]) -> None:
    """Run one block inside the event loop of its page."""
    outcome = eval(code, namespace)  # noqa: S307  # the blocks are our own
    if asyncio.iscoroutine(outcome):
        await outcome


def run_page(page: Path, url: str, *, debug: bool = True) -> None:
    """Run all blocks of a page and check that they leave nothing pending."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with asyncio.Runner(debug=debug) as runner:
        text = page.read_text("utf-8")
        for line, source in blocks(text):
            written_down(text, line, source)
            code = compiled(source.replace(EXAMPLE_URL, url), line, page.name)
            if "asyncio.run(" in source:
                exec(code, namespace)  # noqa: S102  # the blocks are our own
            else:
                runner.run(evaluate(code, namespace))
        assert not asyncio.all_tasks(runner.get_loop())


@contextmanager
def simulator_in_a_thread() -> Iterator[str]:
    """Yield the address of a simulator with a loop of its own: scripts start theirs here."""
    loop, done = asyncio.new_event_loop(), asyncio.Event()
    address: Future[str] = Future()

    async def serve() -> None:
        async with Simulator(dialect="plus", token=None, time_scale=0.01) as sim:
            address.set_result(sim.url)
            await done.wait()

    def serve_until_done() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except Exception as error:  # noqa: BLE001  # it is raised where the address is awaited
            address.set_exception(error)

    thread = threading.Thread(target=serve_until_done)
    thread.start()
    url = address.result()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty directory, and work there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_runs(
    page: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every Python block of the page runs as it stands, in order, and leaves nothing pending.

    What the page says that it prints, it prints.
    """
    text = page.read_text("utf-8")
    if not any(blocks(text)):
        return
    with simulator_in_a_thread() as url:
        monkeypatch.setenv("MJASYNC_BASE_URL", url)
        monkeypatch.setenv("MJASYNC_TOKEN", "sk-from-the-documentation")
        run_page(page, url, debug=pytestconfig.getini("asyncio_debug"))
    printed = capsys.readouterr().out
    for promised in re.findall(
        r"^It prints:\n\n```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        assert promised in printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_python_escapes(page: Path) -> None:
    """Python is only ever fenced as a bare `python` block at the margin, so that all of it runs."""
    text = page.read_text("utf-8")
    fences = re.findall(
        r"^[ \t>]*(?:```+|~~~+)[ \t]*(\{?[^\n`]*(?:py|Py)[^\n]*)$", text, re.MULTILINE
    )
    assert set(fences) <= {"python"}
    assert fences.count("python") == len(list(blocks(text)))


def slug(heading: str) -> str:
    """The anchor that a forge, and the built pages, give a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", lambda match: match[1] or "", heading)
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_work_on_a_forge(page: Path) -> None:
    """Every link has a text of its own, and leads to a file and a heading that are there."""
    text = FENCE.sub("", page.read_text("utf-8"))
    for words, link in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        if link.startswith(("http", "mailto:")):
            continue
        assert words, link
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            body = FENCE.sub("", target.read_text("utf-8"))
            assert anchor in map(slug, re.findall(r"^#+ (.*)$", body, re.MULTILINE)), link


def test_blocks_share_a_namespace_and_a_loop(tmp_path: Path) -> None:
    """A later block of a page sees the names and the event loop of an earlier one."""
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nimport asyncio\nloop = asyncio.get_running_loop()\nawait asyncio.sleep(0)\n"
        "```\n\n```python\nasync def main(): return 1\nassert asyncio.run(main()) == 1\n```\n"
        "```python\nassert loop is asyncio.get_running_loop()\n```\n"
        "```text\nnot Python\n```\n"
    )
    run_page(page, EXAMPLE_URL)


def test_a_failing_block_names_its_line(tmp_path: Path) -> None:
    """A block that fails is reported with the page and the line it stands on."""
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nx = 1\nawait missing\n```\n")
    with pytest.raises(NameError) as caught:
        run_page(page, EXAMPLE_URL)
    last = caught.traceback[-1]
    assert (Path(str(last.path)).name, last.lineno + 1) == ("page.md", 5)


def test_every_section_of_the_protocol_exists() -> None:
    """What a docstring or a page calls "PROTOCOL §4.2" is a heading of docs/protocol.md."""
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    sections = set(re.findall(r"^#+ (\d+(?:\.\d+)?) ", page, re.MULTILINE))
    files = [*ROOT.glob("mjasync/**/*.py"), *ROOT.glob("tests/*.py"), *ROOT.glob("docs/**/*.md")]
    cited = {
        section
        for file in files
        for section in re.findall(r"PROTOCOL §(\d+(?:\.\d+)?)", file.read_text("utf-8"))
    }
    assert cited
    assert cited <= sections


def test_the_contributing_guide_names_files_that_exist() -> None:
    """Every path in CONTRIBUTING.md leads to a file or a folder of the repository."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = re.findall(r"`((?:mjasync|tests|benchmarks|docs)/[\w/.]*)`", text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
