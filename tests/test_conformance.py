"""Every story on every server: the same visible result, or the documented error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mjasync import Client, Task, TaskStatus
from mjasync.simulator import DIALECTS as PLAYED
from support.conformance_page import PAGE, page
from support.pictures import png
from support.stories import DIALECTS, STORIES, Story, is_grid, serving

LAGGING = 0.0005


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_story_ends_as_documented(story: Story) -> None:
    """What comes of a story on each server is what the table in the docs says of it."""
    asyncio.get_running_loop().set_debug(False)  # for speed: every path has tests that keep it on
    outcomes = {dialect: await story.played(dialect) for dialect in DIALECTS}
    assert outcomes == {dialect: story.outcome(dialect) for dialect in DIALECTS}


def test_the_page_says_what_the_stories_say() -> None:
    """The committed page is the one that `nox -s conformance` writes; no cell is empty."""
    outcomes = {(one.name, name): one.outcome(name) for one in STORIES for name in DIALECTS}
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(outcomes), "run `nox -s conformance`"
    rows = [line for line in written.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [len(row) for row in cells] == [len(DIALECTS) + 1] * len(STORIES)
    assert all(all(row) for row in cells)


def test_no_dialect_is_left_out() -> None:
    """Every server that the simulator plays has a column."""
    assert set(DIALECTS) == set(PLAYED)


def test_every_story_has_a_name_of_its_own() -> None:
    """A difference is documented: whatever has one says why."""
    assert len({story.name for story in STORIES}) == len(STORIES)
    assert all(story.note for story in STORIES if story.elsewhere)


# --- where time passes -------------------------------------------------------------------------


async def zoomed(mj: Client) -> Task:
    """A chain with a modal in it."""
    return await mj.imagine("a lighthouse").upscale(1).zoom(1.8, "a tower")


async def remixed(mj: Client) -> Task:
    """A modal that the gateways hide."""
    return await mj.imagine("a lighthouse").vary(2, "a red lighthouse")


async def inpainted(mj: Client) -> Task:
    """A modal with a mask."""
    return await mj.imagine("a lighthouse").upscale(1).inpaint(png("L", 255), "a red door")


async def many(mj: Client) -> Task:
    """Several at once, followed up."""
    foxes = (mj.imagine(f"fox {n}").upscale(1).zoom(2) for n in range(3))
    return (await mj.gather(*foxes))[-1]


@pytest.mark.parametrize("tell", [zoomed, remixed, inpainted, many])
@pytest.mark.parametrize("dialect", ["open-plus", "new-api", "one-hub", "path-gateway"])
async def test_nothing_changes_where_the_status_lags(
    dialect: str, tell: Callable[[Client], Awaitable[Task]]
) -> None:
    """With rows up to 15 s stale and modals that linger, the same chains end as well."""
    async with (
        asyncio.timeout(20),
        serving(dialect, time_scale=LAGGING, remix=True) as (sim, mj),
    ):
        last = await tell(mj)
        assert last.status is TaskStatus.SUCCESS
        assert is_grid(last)
        assert len({paid.task_id for paid in sim.submissions}) == len(sim.submissions)
