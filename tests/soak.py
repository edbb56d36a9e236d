"""Batches under fire, at length: `nox -s soak`, or `python tests/soak.py [--seed N] [PART…]`.

Prints what it did, and what it measured; ends with an error where anything was lost or paid twice.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mjasync.batch import Job
from support.batches import check_all, check_files, check_reported, ledger
from support.kill_moments import NEVER, Moment, any_moment
from support.killed_batches import Labour, Server, opened

PROMPTS: Final = 60
KILLS: Final = 100
DEATHS: Final = 30
MANY: Final = 10_000
SERVER: Final[Mapping[str, Any]] = {"time_scale": 0.001, "picture_size": 64, "concurrency": 20}


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def told(jobs: Iterable[Job]) -> str:
    """How many jobs there are in each state."""
    found = Counter(" ".join(filter(None, (job.status, job.error_class))) for job in jobs)
    return ", ".join(f"{count} {what}" for what, count in found.most_common())


class Drum:
    """Chooses the moments so that the deaths are spread over the whole batch."""

    def __init__(self, seed: int, kills: int, jobs: int) -> None:
        self._chance = random.Random(seed)
        self._kills, self._jobs = kills, jobs
        self._calls = 4000.0

    def next(self, kills: int, paid: int) -> Moment:
        """The next moment: sooner while the batch is ahead of the deaths, later while behind."""
        is_behind = paid / self._jobs <= kills / self._kills
        self._calls = min(max(self._calls * (1.2 if is_behind else 0.8), 1000), 60_000)
        if self._chance.random() < 0.2:
            return Moment("seconds", self._chance.uniform(0, self._calls / 30_000))
        return any_moment(self._chance, int(self._calls), max(int(self._calls / 1000), 2))


async def _killed(
    root: Path,
    seed: int,
    then: str = "U1",
    **options: Any,  # noqa: ANN401 - of the Simulator
) -> dict[str, Any]:
    """Kill a batch a hundred times and let it end; return what its server says."""
    server = Server(root / "book", **SERVER, **options)
    prompts = [f"a fox and {n} owls" for n in range(PROMPTS)]
    labour = Labour(server, root / "batch", prompts, steps=then, reconcile_after=0.5)
    drum = Drum(seed, KILLS, PROMPTS * (2 + then.count(">")))
    async with opened(server, labour):
        runs = 0
        while labour.kills < KILLS and runs < 4 * KILLS:
            moment = drum.next(labour.kills, len((await server.facts())["paid"]))
            said = await labour.run(moment)
            runs += 1
            if said and said["error"]:
                raise AssertionError(said["error"])
        last = await labour.run()
        if last is None or last["error"]:
            raise AssertionError(f"the last run did not end well: {last}")
        facts = await server.facts()
    say(f"  {runs} runs, {labour.kills} of them killed; {facts['all']} requests {facts['asked']}")
    if labour.kills < KILLS:
        raise AssertionError(f"it died only {labour.kills} times")
    return facts


async def kill(root: Path, seed: int) -> None:
    """Where the server lists: 120 jobs, 100 deaths, 120 submissions, 120 pictures."""
    facts = await _killed(root, seed)
    jobs = await ledger(root / "batch")
    check_all(root / "batch", jobs, facts, 2 * PROMPTS)
    say(f"  {len(facts['paid'])} submissions, {len(jobs)} saved, each picture whole")


async def kill_modal(root: Path, seed: int) -> None:
    """With an answered modal: 180 jobs; nothing twice, and whatever is in doubt reported."""
    facts = await _killed(root, seed, "U1>Custom Zoom[{prompt} --zoom 2]")
    jobs = await ledger(root / "batch")
    check_reported(jobs, facts)
    check_files(root / "batch", jobs)
    say(f"  {len(facts['paid'])} submissions, none twice; {told(jobs)}")


async def kill_unlisted(root: Path, seed: int) -> None:
    """Where it does not: nothing twice, and whatever is in doubt reported."""
    for dialect, options in (("plus", {"list_endpoint": False}), ("new-api", {}), ("one-hub", {})):
        folder = root / dialect
        folder.mkdir()
        facts = await _killed(folder, seed, dialect=dialect, **options)
        jobs = await ledger(folder / "batch")
        check_reported(jobs, facts)
        check_files(folder / "batch", jobs)
        say(f"  {dialect}: {len(facts['paid'])} submissions, none twice; {told(jobs)}")


async def _restarted(root: Path, seed: int, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """Run a batch while its server dies thirty times, then until nothing changes."""
    server = Server(root / "book", **SERVER, **options)
    prompts = [f"a fox and {n} owls" for n in range(PROMPTS)]
    labour = Labour(server, root / "batch", prompts, steps="U1", reconcile_after=0.5)
    chance = random.Random(seed)
    moments = [
        # no server that forgets can be told from one that was never asked before it has accepted
        Moment("after", 30),
        *(
            Moment(chance.choice(("before", "after")), chance.randint(1, 8), of=of)
            for of in chance.choices(("any", "submit", "fetch"), k=DEATHS - 1)
        ),
    ]
    async with opened(server, labour):
        deaths = asyncio.ensure_future(server.die_and_live(moments))
        runs = 0
        while not deaths.done() and runs < DEATHS:
            await labour.run(watch=False)
            runs += 1
        deaths.cancel()
        await asyncio.wait([deaths])
        await server.arm(0, NEVER)
        last = await labour.run(watch=False)
        if last is None or last["error"]:
            raise AssertionError(f"the last run did not end well: {last}")
        facts = await server.facts()
    say(f"  {runs + 1} runs, {server.deaths} deaths of the server")
    if not server.deaths:
        raise AssertionError("the server never died")
    return facts


async def restart(root: Path, seed: int) -> None:
    """The server dies and keeps its tasks: 120 submissions, 120 pictures."""
    facts = await _restarted(root, seed)
    check_all(root / "batch", await ledger(root / "batch"), facts, 2 * PROMPTS)


async def restart_forgetful(root: Path, seed: int) -> None:
    """The server dies and forgets its tasks: nothing twice, what is lost is reported."""
    facts = await _restarted(root, seed, keeps=False)
    jobs = await ledger(root / "batch")
    check_files(root / "batch", jobs)
    check_reported(jobs, facts)
    say(f"  {len(facts['paid'])} submissions, none twice; {told(jobs)}")


async def many(root: Path, _: int) -> None:
    """Ten thousand prompts: flat memory, a small ledger, and a resume that asks for nothing."""
    options = {**SERVER, "draw": False, "concurrency": 100}
    server = Server(root / "book", **options)
    prompts = [f"a fox and {n} owls" for n in range(MANY)]
    labour = Labour(server, root / "batch", prompts, limit=50)
    async with opened(server, labour):
        first = await labour.run(watch=False) or {}
        before = (await server.facts())["all"]
        again = await labour.run(watch=False) or {}
        facts = await server.facts()
    if first.get("error") or again.get("error") or again.get("ended") != []:
        raise AssertionError((first.get("error"), again.get("error")))
    size = sum(path.stat().st_size for path in (root / "batch").glob("ledger.db*"))
    figures = {
        "MB at most": (max(first["peak"], again["peak"]) / 1024, 300),
        "MB of ledger": (size / 2**20, 20),
        "s of work to resume": (again["work"], 3),  # whatever else this machine does
        "requests to resume": (facts["all"] - before, 0),
    }
    say(
        f"  {first['seconds']:.0f} s ({first['work']:.0f} s of work), then {again['seconds']:.1f} s"
    )
    say(f"  {facts['all'] / MANY:.2f} requests a job")
    for what, (figure, most) in figures.items():
        say(f"  {what}: {figure:.1f} (at most {most})")
    if any(figure > most for figure, most in figures.values()):
        raise AssertionError("more than there may be")
    check_all(root / "batch", await ledger(root / "batch"), facts, MANY)


PARTS: Final[Mapping[str, Callable[[Path, int], Awaitable[None]]]] = {
    "kill": kill,
    "kill-modal": kill_modal,
    "kill-unlisted": kill_unlisted,
    "restart": restart,
    "restart-forgetful": restart_forgetful,
    "many": many,
}


def main() -> None:
    """Run the parts that were asked for, or all."""
    parser = argparse.ArgumentParser(description="Batches under fire, at length.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=[])
    given = parser.parse_args()
    say(f"seed {given.seed}")
    for name in given.part or PARTS:
        part, begun = PARTS[name], time.perf_counter()
        say(f"{name}: {part.__doc__}")
        with tempfile.TemporaryDirectory() as root:
            asyncio.run(part(Path(root), given.seed))
        say(f"  {time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
