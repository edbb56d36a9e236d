"""Use an installed mjasync from outside the source tree, as somebody who just installed it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

import mjasync
from mjasync.simulator import Simulator

PROMPTS = Path(__file__).parent.parent / "examples" / "prompts.txt"


async def press_a_button(target: Path) -> None:
    """Draw a grid and save one of its pictures."""
    async with Simulator(token=None) as sim, mjasync.Client(sim.url, "sk-smoke") as mj:
        grid = await mj.imagine("a lighthouse in a storm --ar 16:9")
        big = await grid.action("U2")
        await big.save(target)
    with Image.open(target) as picture:
        assert picture.width > picture.height


def run_the_batch(out: Path) -> None:
    """Draw every prompt of the example file; all grids can be decoded, and all differ."""
    command = shutil.which("mjasync")
    assert command is not None
    subprocess.run([command, "batch", PROMPTS, "--simulate", "--out", out], check=True)
    pictures = set()
    for path in out.iterdir():
        if path.suffix == ".png":
            with Image.open(path) as picture:
                pictures.add((picture.size, picture.tobytes()))
    assert len(pictures) == len(PROMPTS.read_text("utf-8").splitlines()) == 20


def main() -> None:
    """Check that what runs is the wheel, then use it."""
    home = Path(mjasync.__file__).parent
    assert "site-packages" in home.parts, f"this is not the wheel: {home}"
    assert (home / "py.typed").is_file()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(press_a_button(Path(folder) / "lighthouse.png"))
        run_the_batch(Path(folder) / "renders")
    print(f"mjasync {importlib.metadata.version('mjasync')} works as installed")  # noqa: T201


if __name__ == "__main__":
    main()
