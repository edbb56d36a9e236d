"""Draw the picture of the gallery that the documentation shows, from a batch on the simulator."""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import async_playwright

from mjasync import Client, Schedule
from mjasync.batch import Batch, write_gallery
from mjasync.simulator import Simulator

TARGET = Path(__file__).parent.parent / "docs" / "_static" / "gallery.webp"
PROMPTS = (
    "a lighthouse in a storm, the last boat coming home --ar 3:2 --stylize 250",
    "a red fox asleep in fresh snow, 35mm --ar 3:2 --chaos 12",
    "a castle above the clouds at first light --ar 3:2 --style raw",
    "قارب صغير تحت القمر --ar 3:2",
    "a mountain hut, paper cut, quiet colours --ar 3:2 --seed 7",
    "an owl that keeps a bookshop 🦉 --ar 3:2",
)
SIZE = {"width": 1280, "height": 860}


async def drawn(folder: Path) -> Path:
    """Run a small batch, and return the page of its gallery."""
    quick = Schedule(initial_delay=0.01, min_interval=0.02, max_interval=0.1)
    async with (
        Simulator(time_scale=0.001, token=None) as sim,
        Client(sim.url, "sk-screenshot", schedule=quick) as mj,
        Batch(folder, client=mj, steps=["U2", "U2>Zoom Out 2x"]) as batch,
    ):
        batch.add(PROMPTS)
        async for _ in batch.run():
            pass
    return await write_gallery(folder)


async def main() -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as work:
        page_path = await drawn(Path(work, "renders"))
        async with async_playwright() as tools:
            browser = await tools.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = await browser.new_page(viewport=SIZE, color_scheme="light")
            await page.goto(page_path.as_uri())
            await page.evaluate(
                "Promise.all([...document.images].slice(0, 60).map((image) => image.decode()))"
            )
            shot = await page.screenshot()
            await browser.close()
    TARGET.parent.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(shot)) as picture:
        picture.convert("RGB").save(TARGET, quality=88, method=6)


if __name__ == "__main__":
    asyncio.run(main())
