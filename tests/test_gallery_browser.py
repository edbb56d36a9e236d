"""The gallery of a batch in a browser: Debian's Chromium, from `file://`, without any network."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mjasync.batch import Job
from mjasync.batch._gallery.page import GalleryPage
from support.gallery_jobs import (
    ANSWERED,
    FAMILY,
    HOSTILE,
    a_job,
    hostile,
    many,
    one_of_each,
    png_header,
    told,
)
from support.leaks import nothing_left

CHROMIUM = shutil.which("chromium")
# Of cards the text content is read: a card that was not drawn yet has no inner text.
REASON = "needs Debian's chromium and the dependency group `browser`: `nox -s gallery` has both"
playwright = pytest.importorskip("playwright.async_api", reason=REASON)
axe = pytest.importorskip("axe_playwright_python.async_playwright", reason=REASON)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=REASON),
    pytest.mark.asyncio(loop_scope="module"),
]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 60_000  # milliseconds
FIRST_CARDS = """async () => {
    const seen = [...document.querySelectorAll(".open img")].slice(0, 8);
    await Promise.all(seen.map((image) => image.decode()));
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return performance.now();
}"""
OPENED = "#viewer[open]"
FOCUSED = "document.activeElement.closest('.card')?.querySelector('.number').textContent"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    """A browser for all tests here: to start it takes longer than most of them."""
    asyncio.get_running_loop().set_debug(False)
    async with playwright.async_playwright() as tools:
        started = await tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield started
        finally:
            await started.close()


@pytest_asyncio.fixture(loop_scope="module")
async def no_leaks(browser: Any) -> AsyncIterator[None]:  # noqa: ANN401
    """Fail a test that leaves something behind, in the loop of the browser."""
    async with nothing_left():
        yield


Open = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def opened(browser: Any) -> Open:  # noqa: ANN401
    """Write a gallery and open it; at the end, see that it asked for nothing and did no harm."""
    return partial(opened_in, browser)


@asynccontextmanager
async def opened_in(
    browser: Any,  # noqa: ANN401
    folder: Path,
    jobs: list[Job],
    script: str = "",
    *,
    running: bool = False,
    **options: Any,  # noqa: ANN401 - of a browser's context
) -> AsyncIterator[Any]:
    """Write a gallery and open it; at the end, see that it asked for nothing and did no harm."""
    await GalleryPage(folder).write(jobs, running=running)
    complaints: list[str] = []
    here = folder.resolve().as_uri()

    def look(request: Any) -> None:  # noqa: ANN401
        if not request.url.startswith((f"{here}/", "data:image/svg+xml,")):
            complaints.append(f"asked for {request.url[:200]}")

    def note(message: Any) -> None:  # noqa: ANN401
        if message.type in {"error", "warning"} and "lost.png" not in str(message.location):
            complaints.append(message.text)

    async def dismiss(dialog: Any) -> None:  # noqa: ANN401
        complaints.append(f"said {dialog.message}")
        await dialog.dismiss()

    usual = {"viewport": {"width": 1280, "height": 900}, "offline": True}
    async with await browser.new_context(**{**usual, **options}) as context:
        context.set_default_timeout(PATIENCE)
        context.on("request", look)
        if running:  # it looks again when a test moves its clock on, not while one is slow
            await context.clock.install(time=time.time() - 3600)
            await context.clock.pause_at(time.time())
        page = await context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", dismiss)
        if script:
            await page.add_init_script(script)
        await page.goto(f"{here}/index.html")
        yield page
        assert await page.evaluate("window.hacked") is None
        assert complaints == []


async def holds(page: Any, what: str) -> None:  # noqa: ANN401
    """Wait until something is true in the page."""
    await page.wait_for_function(f"() => {what}")


async def visit(page: Any, at: int) -> None:  # noqa: ANN401
    """Open a picture by its place in the list."""
    card = page.locator(".card").nth(at)
    await card.scroll_into_view_if_needed()
    await card.locator(".open").click()


# --- many --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1000, 10_000])
async def test_many_images_open(opened: Open, tmp_path: Path, count: int) -> None:
    """A large batch opens, its last card can be reached, and what took how long is printed."""
    async with opened(tmp_path, many(tmp_path, count)) as page:
        first = await page.evaluate(FIRST_CARDS)
        loaded = await page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        assert f"{count:,}" in await page.locator("#summary").inner_text()
        await holds(page, f"document.querySelectorAll('.card').length === {count}")
        assert await page.locator(".card:not(:empty)").count() < 200
        ended = await page.evaluate(
            """() => { const start = performance.now(); inList.End();
            document.body.offsetHeight; return performance.now() - start; }"""
        )
        assert await page.evaluate(FOCUSED) == f"#{count // 5}"
        filtered = await page.evaluate(
            """() => { const field = document.getElementById("filter"), start = performance.now();
            field.value = "number #7 U3"; field.dispatchEvent(new Event("input"));
            document.body.offsetHeight; return performance.now() - start; }"""
        )
        print(  # noqa: T201 - the one thing no assertion can tell
            f"\n{count} images: loaded after {loaded:.0f} ms, first cards painted after "
            f"{first:.0f} ms, at the end in {ended:.0f} ms, filtered in {filtered:.0f} ms"
        )


async def test_nothing_jumps(opened: Open, tmp_path: Path) -> None:
    """Pictures that come late move nothing: without them every card is where it is with them."""
    async with opened(tmp_path, many(tmp_path, 60)) as page:
        await page.evaluate(FIRST_CARDS)
        places = """() => [...document.querySelectorAll(".card")].map((card) => {
            const place = card.getBoundingClientRect();
            return [place.x, place.y, place.width, place.height];
        })"""
        loaded = await page.evaluate(places)
        assert len(loaded) == 60
        await page.evaluate("for (const image of document.images) image.removeAttribute('src')")
        assert await page.evaluate(places) == loaded


@pytest.mark.parametrize("width", [360, 760, 1280, 2200])
async def test_every_width(opened: Open, tmp_path: Path, width: int) -> None:
    """Nothing is wider than the window, be it a phone's or a large one, in list and picture."""
    size = {"width": width, "height": 800}
    async with opened(
        tmp_path, [*one_of_each(tmp_path), *hostile(tmp_path)], viewport=size
    ) as page:
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for at in (2, 5, 20, 40):
            await visit(page, at)
            assert await page.evaluate(
                "[...document.querySelectorAll('#viewer, .side')].every("
                "(box) => box.scrollWidth <= box.clientWidth)"
            )
            await page.keyboard.press("Escape")


# --- filter ------------------------------------------------------------------------------------


async def test_filter_by_words(opened: Open, tmp_path: Path) -> None:
    """Every word must occur, in whatever is known of a job; the address keeps them."""
    async with opened(tmp_path, many(tmp_path, 50)) as page:
        await page.keyboard.press("/")
        await page.keyboard.type("NUMBER #7 subtle")
        assert await page.locator(".card").count() == 1
        assert await page.locator(".card .step").text_content() == "U1 › Upscale (Subtle)"
        await page.reload()
        assert await page.locator(".card").count() == 1
        await page.locator("#filter").fill("nothing like it")
        assert await page.locator(".card").count() == 0
        await page.get_by_role("button", name="Show everything").click()
        assert await page.locator("#filter").input_value() == ""
        assert await page.get_by_role("button", name="All 50").is_visible()


async def test_filter_by_state(opened: Open, tmp_path: Path) -> None:
    """Each state there is can be shown alone, with its number; again shows all."""
    async with opened(tmp_path, one_of_each(tmp_path)) as page:
        states = page.locator("#states")
        texts = [text.split() for text in await states.get_by_role("button").all_inner_texts()]
        assert [" ".join(words) for words in texts] == [
            "All 14", "Saved 8", "Under way 3", "Waiting 1", "Failed 1", "Uncertain 1",
        ]  # fmt: skip
        await states.get_by_role("button", name="Failed").click()
        assert "It holds a banned word." in (await page.locator(".card").text_content() or "")
        pressed = states.locator("[aria-pressed=true]")
        assert (await pressed.inner_text()).split() == ["Failed", "1"]
        await pressed.click()
        assert await page.locator(".card").count() == 14


# --- lineage -----------------------------------------------------------------------------------


async def test_lineage(opened: Open, tmp_path: Path) -> None:
    """A picture shows its path and its children, and each leads there."""
    async with opened(tmp_path, many(tmp_path, 10)) as page:
        assert await page.locator(".card").first.locator(".family .tile").count() == len(FAMILY)
        await page.locator(".open").first.click()
        viewer = page.locator(OPENED)
        children = viewer.locator(".children li")
        assert await children.all_inner_texts() == ["U1", "U3"]
        await children.first.get_by_role("button").click()
        assert await children.all_inner_texts() == ["Upscale (Subtle)", "Zoom Out 2x", "U3"]
        await viewer.get_by_role("button", name="Open Zoom Out 2x").click()
        path = viewer.get_by_role("navigation", name="Lineage")
        assert await path.get_by_role("listitem").all_inner_texts() == ["Grid", "U1", "Zoom Out 2x"]
        assert "task-1-U1>Zoom Out 2x" in await viewer.inner_text()
        await path.get_by_role("button", name="Open Grid").click()
        assert await viewer.get_by_role("heading", level=2).inner_text() == "Grid #1"
        await page.keyboard.press("Escape")
        await page.locator(".card").nth(8).locator(".family .tile").nth(1).click()
        assert await viewer.get_by_role("heading", level=2).inner_text() == "U1 #2"


async def test_an_answer_is_part_of_its_step(opened: Open, tmp_path: Path) -> None:
    """An answer to a modal that holds what parts steps is shown whole, with its button."""
    zoom = "Custom Zoom[day > night]"
    async with opened(tmp_path, [a_job(1, step) for step in ANSWERED]) as page:
        steps = page.locator(".card .step")
        assert await steps.all_inner_texts() == ["Grid", "U1", f"U1 › {zoom}", f"U1 › {zoom} › U2"]
        assert await steps.last.get_attribute("title") == f"U1 › {zoom} › U2"
        await visit(page, 3)
        path = page.locator(OPENED).get_by_role("navigation", name="Lineage")
        assert await path.get_by_role("listitem").all_inner_texts() == ["Grid", "U1", zoom, "U2"]


async def test_a_relative_that_is_filtered_away(opened: Open, tmp_path: Path) -> None:
    """A relative that the filter hides can be opened all the same."""
    async with opened(tmp_path, many(tmp_path, 10)) as page:
        await page.locator("#filter").fill("zoom")
        await page.locator(".card").first.locator(".family .tile").first.click()
        heading = page.locator(OPENED).get_by_role("heading", level=2)
        assert await heading.inner_text() == "Grid #1"


async def test_pictures_and_what_cannot_be_shown(opened: Open, tmp_path: Path) -> None:
    """Pictures, four at once, videos, lost files and jobs without any are all shown as such."""
    jobs = one_of_each(tmp_path)
    async with opened(tmp_path, jobs) as page:
        stage = page.locator(f"{OPENED} .stage")
        await page.locator(".open").first.click()
        await holds(page, "document.querySelector('.stage img').naturalWidth === 96")
        for seen, selector in enumerate(["img >> nth=3", "video", ".blank"]):
            await page.keyboard.press("Escape")
            await visit(page, len(FAMILY) + seen)
            await stage.locator(selector).wait_for()
        assert "cannot be shown" in await stage.inner_text()
        await page.keyboard.press("ArrowRight")
        text = await page.locator(f"{OPENED} .side").inner_text()
        assert "BannedPrompt" in text
        assert "It holds a banned word." in text
        await page.keyboard.press("Escape")
        await page.locator(".card.uncertain .open").click()
        assert "nobody can tell" in await stage.inner_text()


async def test_a_picture_too_large_is_a_link(opened: Open, tmp_path: Path) -> None:
    """A picture that has no preview for its size is a link, and the reason stands there."""
    (tmp_path / "large.png").write_bytes(png_header(60_000, 60_000))
    async with opened(tmp_path, [a_job(1, files=[told(tmp_path, "large.png")])]) as page:
        assert "too large for a preview" in (await page.locator(".card .why").text_content() or "")
        await page.locator(".open").first.click()
        link = page.locator(f"{OPENED} .stage a.blank")
        assert await link.get_attribute("href") == "./large.png"
        assert "60000 × 60000" in await link.inner_text()
        assert await page.locator(f"{OPENED} .stage img").count() == 0


# --- keys --------------------------------------------------------------------------------------


async def test_keys(opened: Open, tmp_path: Path) -> None:
    """All of it can be done without a mouse."""
    async with opened(tmp_path, many(tmp_path, 200, steps=("",))) as page:
        press = page.keyboard.press
        columns = await page.evaluate("columns()")
        assert columns > 2

        async def at() -> int:
            return int((await page.evaluate(FOCUSED))[1:])

        for key, there in (
            ("ArrowDown", 1),
            ("ArrowRight", 2),
            ("ArrowDown", 2 + columns),
            ("ArrowUp", 2),
            ("ArrowLeft", 1),
            ("ArrowUp", 1),
            ("End", 200),
            ("ArrowRight", 200),
            ("Home", 1),
            ("ArrowRight", 2),
        ):
            await press(key)
            assert await at() == there, key
        await press("Enter")
        heading = page.locator(OPENED).get_by_role("heading", level=2)
        assert await heading.inner_text() == "Grid #2"
        await press("ArrowRight")
        await press("ArrowRight")
        await press("ArrowLeft")
        assert await heading.inner_text() == "Grid #3"
        await press("Escape")
        assert await page.locator(OPENED).count() == 0
        await holds(page, f"{FOCUSED} === '#3'")
        await press("/")
        await page.keyboard.type("number 150")
        await press("Enter")
        assert await at() == 150
        await press("Escape")
        assert await page.locator(".card").count() > 1
        await press("?")
        assert await page.locator("#keys").is_visible()
        await press("Escape")
        assert not await page.locator("#keys").is_visible()


async def test_keys_follow_the_lineage(opened: Open, tmp_path: Path) -> None:
    """In a picture, down is its first child and up its parent."""
    async with opened(tmp_path, many(tmp_path, 5)) as page:
        heading = page.locator(OPENED).get_by_role("heading", level=2)
        await page.keyboard.press("Enter")
        for key, name in (
            ("ArrowDown", "U1 #1"),
            ("ArrowDown", "Upscale (Subtle) #1"),
            ("ArrowDown", "Upscale (Subtle) #1"),
            ("ArrowUp", "U1 #1"),
            ("ArrowUp", "Grid #1"),
            ("ArrowUp", "Grid #1"),
        ):
            await page.keyboard.press(key)
            assert await heading.inner_text() == name


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "script",
    ["", "Object.defineProperty(navigator, 'clipboard', { value: undefined })"],
    ids=["clipboard", "by hand"],
)
async def test_copy(opened: Open, tmp_path: Path, script: str, *, inside: bool) -> None:
    """The prompt is copied as it was asked, from the list and from a picture, from `file://`."""
    prompt = f"a fox 🦊 <b> مرحبا --ar 3:2 --no {tmp_path}"  # the clipboard is the browser's
    async with opened(tmp_path, [a_job(1, prompt=prompt)], script) as page:
        if inside:
            await page.keyboard.press("Enter")
            await page.get_by_role("button", name="Copy prompt").click()
            await page.get_by_role("status").filter(has_text="Prompt copied").wait_for()
            await page.keyboard.press("Escape")
        else:
            await page.keyboard.press("c")
            await page.get_by_role("status").filter(has_text="Prompt copied").wait_for()
        await page.locator("#filter").focus()
        await page.keyboard.press("Control+V")
        await playwright.expect(page.locator("#filter")).to_have_value(prompt, timeout=PATIENCE)


# --- colours -----------------------------------------------------------------------------------


async def becomes(page: Any, expression: str, value: str) -> None:  # noqa: ANN401
    """Wait until the page has something: a busy browser paints after it has answered."""
    async with asyncio.timeout(PATIENCE / 1000):
        while await page.evaluate(expression) != value:
            pass


async def test_light_and_dark(opened: Open, tmp_path: Path) -> None:
    """The page is as the system is, until told otherwise; it remembers."""
    colour = "getComputedStyle(document.body).backgroundColor"
    async with opened(tmp_path, many(tmp_path, 5), color_scheme="dark") as page:
        dark = await page.evaluate(colour)
        await page.emulate_media(color_scheme="light")
        light = await page.evaluate(colour)
        assert light != dark
        await page.get_by_role("button", name="Colours: as the system is").click()
        await page.keyboard.press("t")
        await page.get_by_role("button", name="Colours: dark").wait_for()
        await becomes(page, colour, dark)
        async with asyncio.timeout(PATIENCE / 1000):  # the browser stores it in its own time
            await page.reload()
            while await page.evaluate(colour) != dark:
                await page.reload()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
async def test_anybody_can_use_it(opened: Open, tmp_path: Path, colours: str, width: int) -> None:
    """An accessibility scan finds nothing serious, in the list, in pictures, in help."""
    size = {"width": width, "height": 900}
    jobs = one_of_each(tmp_path)
    async with opened(tmp_path, jobs, color_scheme=colours, viewport=size) as page:

        async def scan() -> list[str]:
            found = await axe.Axe().run(page)
            return [
                f"{one['impact']} {one['id']}: {[node['html'][:200] for node in one['nodes']]}"
                for one in found.response["violations"]
                if one["impact"] in {"serious", "critical"}
            ]

        assert await scan() == []
        for at in (1, 5, 6, 7, 8, 12):
            await visit(page, at)
            assert await scan() == [], at
            await page.keyboard.press("Escape")
        await page.keyboard.press("?")
        assert await scan() == []


# --- harm --------------------------------------------------------------------------------------


async def test_hostile_words_do_nothing(opened: Open, tmp_path: Path) -> None:
    """Whatever prompts, errors, names and columns hold is shown, and nothing of it is done."""
    jobs = hostile(tmp_path)
    async with opened(tmp_path, jobs) as page:
        texts = await page.locator(".card .prompt").all_text_contents()
        assert texts[0] == HOSTILE[0]
        assert len(texts) == len(jobs)
        for _ in jobs:
            await page.keyboard.press(
                "Enter" if not await page.locator(OPENED).count() else "ArrowRight"
            )
        await page.keyboard.press("Escape")
        for card in await page.locator(".card").all():
            await card.hover()
        await page.keyboard.press("Home")
        await page.keyboard.press("Enter")
        for _ in HOSTILE:
            await holds(page, "document.querySelector('.stage img, .stage .blank') !== null")
            await holds(
                page, "[...document.querySelectorAll('.stage img')].every((i) => i.naturalWidth)"
            )
            await page.keyboard.press("ArrowRight")
            await page.keyboard.press("ArrowRight")


async def test_the_policy_holds(tmp_path: Path, browser: Any) -> None:  # noqa: ANN401
    """What would get into the page in spite of all has no effect."""
    await GalleryPage(tmp_path).write([a_job(1)], running=False)
    page_path = tmp_path / "index.html"
    hole = (
        "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
        "<img src='http://127.0.0.1:9/x.png'><script src='./x.js'></script>"
        "<iframe src='./x.html'></iframe></main>"
    )
    text = page_path.read_text("utf-8")
    async with await browser.new_context() as context:
        page_path.write_text(text.replace("</main>", hole), "utf-8")
        (tmp_path / "x.js").write_text("window.hacked=1")
        (tmp_path / "x.html").write_text("<script>parent.hacked=1</script>")
        page = await context.new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text))
        await page.goto(page_path.as_uri())
        await page.locator(".card").wait_for()
        assert await page.evaluate("window.hacked") is None
        assert sum("Content Security Policy" in text for text in refused) >= 4


async def test_right_to_left(opened: Open, tmp_path: Path) -> None:
    """A prompt is set in its own direction, whatever that of the page."""
    jobs = [a_job(1, prompt="منارة في عاصفة --ar 3:2"), a_job(2)]
    async with opened(tmp_path, jobs) as page:
        prompts = await page.locator(".card .prompt").all()
        directions = [await p.evaluate("(p) => getComputedStyle(p).direction") for p in prompts]
        assert directions == ["rtl", "ltr"]


# --- following ---------------------------------------------------------------------------------


async def test_a_page_follows_its_batch(opened: Open, tmp_path: Path) -> None:
    """While a batch runs, an open page looks again by itself and stays as it is; then it rests."""
    jobs = many(tmp_path, 300)
    waiting = [*jobs[:200], *(a_job(job.number, job.step, status="planned") for job in jobs[200:])]
    async with opened(tmp_path, waiting, running=True) as page:
        assert await page.locator("#progress").is_visible()
        await page.get_by_role("button", name="Saved 200").click()
        for _ in range(150):
            await page.keyboard.press("ArrowRight")
        before = await page.evaluate("[scrollY, asked.state, current.key]")
        assert before[0] > 0
        await GalleryPage(tmp_path).write(jobs, running=False)
        async with page.expect_event("load"):
            await page.clock.fast_forward(61_000)
        await page.get_by_role("button", name="Saved 300").wait_for()
        assert await page.evaluate("[scrollY, asked.state, current.key]") == before
        assert not await page.locator("#progress").is_visible()
        await page.evaluate("window.same = true")
        await page.clock.fast_forward(600_000)
        assert await page.evaluate("window.same") is True


@pytest.mark.parametrize("busy", ["Enter", "/"])
async def test_a_page_does_not_interrupt(opened: Open, tmp_path: Path, busy: str) -> None:
    """Nobody who looks at a picture or writes is disturbed by what is new."""
    async with opened(tmp_path, [a_job(1), a_job(2)], running=True) as page:
        await page.keyboard.press(busy)
        await page.evaluate("window.same = true")
        await page.clock.fast_forward(120_000)
        assert await page.evaluate("window.same") is True
        async with page.expect_event("load"):
            await page.keyboard.press("Escape")
            await page.clock.fast_forward(2_000)
