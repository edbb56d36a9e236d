"""How callers see the types of the public API: read by type checkers, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

import aiohttp
from PIL import Image

import mjasync
from mjasync import (
    Account,
    AccountFilter,
    BannedPrompt,
    Button,
    Buttons,
    Client,
    Clock,
    HeldUp,
    Limits,
    PollState,
    MJError,
    ModalRequired,
    Picture,
    Probe,
    Retries,
    RetryPolicy,
    Schedule,
    SubmitReceipt,
    SubmitUncertain,
    Task,
    TaskInfo,
    TaskPhase,
    TaskStatus,
    TaskUpdate,
)
from mjasync.prompt import with_flag
from mjasync.batch import Batch, Job, LedgerError, is_running, plan_jobs, read_rows
from mjasync.simulator import Simulator


class Hourly:
    """A schedule of one's own needs no base class."""

    coalesce = 1.0

    def next_delay(self, look: PollState) -> float:
        assert_type(look.info, TaskInfo)
        assert_type(look.waited, float)
        assert_type(look.since_change, float)
        assert_type(look.speed, str | None)
        return 3600.0


class Fast(Clock):
    async def sleep(self, seconds: float) -> None:
        assert_type(seconds, float)


async def set_up(session: aiohttp.ClientSession) -> None:
    Client()
    Client("https://api.example.com", "sk-...", speed="turbo", image_host="proxy")
    Client(None, None, speed=None, image_host=None, auth="bearer", speed_via="both")
    Client(session=session, timeout=60, stall_timeout=30.5, schedule=Hourly(), clock=Fast())
    Client(
        schedule=Schedule(min_interval=2, max_interval=10), retries=Retries.none(), reconcile=True
    )
    Client(limit=3, timeout=None, stall_timeout=None)
    Client(retries=Retries(read=RetryPolicy(max_attempts=3)), not_found_grace=5, read_timeout=3)
    Client(headers={"X-Key": "k"}, proxy="http://127.0.0.1:8080", trust_env=False)
    Client(image_links="public", limits=Limits(reply=1, picture=2, video=3))
    Client(image_links=lambda link: link.startswith("https://"))
    Client(image_links="private")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client(speed="warp")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client(image_host="cdn")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client(auth="basic")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with Client() as mj:
        assert_type(mj, Client)
        await mj.close()


async def submissions(mj: Client, image: Image.Image) -> None:
    assert_type(mj.imagine("a fox"), Task)
    mj.imagine("a fox", images=["fox.png", Path("fox.png"), b"...", image], bot="niji")
    mj.imagine("a fox", images=None)
    mj.imagine("a fox", images="fox.png", state="mine", notify_hook="https://example.com")
    mj.imagine("a fox", account_filter={"modes": ["FAST"]}, speed="relax")
    mj.imagine("a fox", account_filter=AccountFilter(modes=("fast",)))
    mj.imagine("a fox", bot="dalle")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mj.imagine("a fox", colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(mj.blend([b"...", image], dimensions="PORTRAIT"), Task)
    assert_type(mj.describe(Path("fox.png")), Task)
    with Path("fox.png").open("rb") as file:
        mj.describe(file)
    assert_type(mj.shorten("a long prompt"), Task)
    assert_type(await mj.video("it runs", image=b"...", batch_size=1), Task)
    assert_type(await mj.swap_face(b"...", Path("fox.png")), Task)
    assert_type(await mj.upload(Path("fox.png")), list[str])
    assert_type(mj.task("42"), Task)
    assert_type(mj.task("42", answered=True), Task)
    assert_type(await mj.fetch(["1", "2"]), dict[str, TaskInfo])
    assert_type(mj.handle_webhook(b'{"id": "1"}'), bool)
    assert_type(await mj.tasks(), list[TaskInfo])
    assert_type(await mj.accounts(), list[Account])
    report = await mj.probe(spend=mj.imagine("a fox"))
    assert_type(report, Probe)
    assert_type(await mj.probe(), Probe)
    assert_type(report.ok, bool)
    assert_type(report.family, str)
    assert_type(report.list_by_condition, bool | None)
    assert_type(report.clock_skew, int | None)
    assert_type(report.problems, tuple[str, ...])


async def waiting(task: Task) -> None:
    assert_type(await task, Task)
    assert_type(await task.wait(timeout=10, stall_timeout=None), Task)
    assert_type(await task.submit(), Task)
    assert_type(await task.refresh(), Task)
    assert_type(await task.cancel(), Task)
    assert_type(await task.seed(), int)
    async for update in task:
        assert_type(update, TaskUpdate)
        assert_type(update.task, Task)
        assert_type(update.phase, TaskPhase)
        assert_type(update.held_up, HeldUp | None)
    assert_type(task.updates(), AsyncIterator[TaskUpdate])
    assert_type(task.phase, TaskPhase)
    assert_type(task.held_up, HeldUp | None)
    assert_type(task.close(), None)
    await task.wait(timeout=None)


def snapshot(task: Task) -> None:
    assert_type(task.id, str)
    assert_type(task.status, TaskStatus)
    assert_type(task.status.is_final, bool)
    assert_type(task.progress, int | None)
    assert_type(task.prompt, str | None)
    assert_type(task.final_prompt, str | None)
    assert_type(task.text, str)
    assert_type(task.prompts, tuple[str, ...])
    assert_type(task.image_url, str | None)
    assert_type(task.image_urls, tuple[str, ...])
    assert_type(task.video_urls, tuple[str, ...])
    assert_type(task.fail_reason, str | None)
    assert_type(task.state, str | None)
    assert_type(task.submitted_at, datetime | None)
    assert_type(task.started_at, datetime | None)
    assert_type(task.finished_at, datetime | None)
    assert_type(task.properties, Mapping[str, Any])
    assert_type(task.raw, Mapping[str, Any])
    assert_type(task.parent, Task | None)
    assert_type(task.siblings, tuple[Task, ...])
    assert_type(task.done, bool)
    assert_type(task.error, BaseException | None)
    assert_type(task.info, TaskInfo)
    assert_type(task.info.action, str)
    assert_type(task.info.seed, int | None)
    assert_type(task.info.to_dict(), dict[str, Any])
    assert_type(task.info.to_json(), str)
    task.id = "42"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def buttons(task: Task) -> None:
    assert_type(task.buttons, Buttons)
    assert_type(task.buttons["U1"], Button)
    assert_type(task.buttons[0], Button)
    assert_type(task.buttons[1:3], Buttons)
    assert_type([button.custom_id for button in task.buttons], list[str])
    assert_type(task.buttons.names, tuple[str, ...])
    assert_type(task.buttons.meaning("pan", "left"), Button)
    sequence: Sequence[Button] = task.buttons
    assert_type(len(sequence), int)


def following_up(task: Task, image: Image.Image) -> None:
    assert_type(task.action("U1"), Task)
    assert_type(task.action(0, state="mine", notify_hook=None), Task)
    assert_type(task.modal(), Task)
    assert_type(task.modal("a red door", mask="mask.png"), Task)
    assert_type(task.upscale(1), Task)
    assert_type(task.upscale("creative"), Task)
    assert_type(task.vary(3), Task)
    assert_type(task.vary("subtle", "a red door"), Task)
    assert_type(task.vary("subtle", strong=True), Task)
    assert_type(task.action("U1").action("Custom Zoom").modal("a fox --zoom 1.8"), Task)
    assert_type(task.reroll("a red door"), Task)
    assert_type(task.zoom(1.8, "a lighthouse"), Task)
    assert_type(task.pan("left"), Task)
    assert_type(task.inpaint(image, "a red door"), Task)
    assert_type(task.animate("low"), Task)
    assert_type(task.extend("high"), Task)
    assert_type(task.imagine(1), Task)
    assert_type(task.details(), Task)
    assert_type(task.bookmark(), Task)
    task.upscale("large")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    task.pan("north")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def pictures(task: Task) -> None:
    assert_type(await task.save("renders"), Path)
    assert_type(await task.save(Path("renders") / "{id}.{ext}"), Path)
    assert_type(await task.read(), bytes)
    parts = await task.images()
    assert_type(parts, tuple[Picture, ...])
    assert_type(parts[0].data, bytes)
    assert_type(parts[0].extension, str)
    assert_type(await parts[0].save("renders"), Path)


async def many(mj: Client, prompts: AsyncIterator[str]) -> None:
    assert_type(await mj.gather(mj.imagine("a"), mj.imagine("b"), limit=8), list[Task])
    assert_type(await mj.gather(return_exceptions=True), list[Task])
    assert_type(await mj.gather([mj.imagine("a")], mj.imagine("b")), list[Task])
    assert_type(mj.as_completed([mj.imagine("a")], limit=8), AsyncGenerator[Task, None])
    async for done in mj.as_completed(mj.imagine(prompt) async for prompt in prompts):
        assert_type(done, Task)


async def errors(mj: Client) -> None:
    try:
        await mj.imagine("a fox")
    except ModalRequired as error:
        assert_type(error.task, Any)
    except SubmitUncertain as error:
        assert_type(error.state, str)
        assert_type(error.payload, Mapping[str, Any])
        assert_type(error.endpoint, str)
    except mjasync.TaskTimeout as error:
        assert_type(error.is_unsent, bool)
    except mjasync.TaskFailed as error:
        assert_type(error.reason, str)
    except BannedPrompt as error:
        assert_type(error.word, str)
    except MJError as error:
        assert_type(error.code, int | None)
        assert_type(error.description, str)
        assert_type(error.retry_after, float | None)
        assert_type(error.retryable, bool)
        assert_type(error.info, TaskInfo | None)
        assert_type(error.gathered, tuple[Any, ...])


def user_interfaces(mj: Client, button: mjasync.Button) -> None:
    assert_type(mj.blocked_by, tuple[MJError, float] | None)
    assert_type(mj.proxy_url(), str | None)
    assert_type(mjasync.classify_button(button), mjasync.ButtonMeaning | None)
    assert_type(mjasync.printable("text"), str)
    assert_type(mjasync.redact("text", ["secret"]), str)
    mjasync.cancel_in_flight_submissions()


def receipt(one: SubmitReceipt) -> None:
    assert_type(one.ids, tuple[str, ...])
    assert_type(one.is_modal, bool)


async def simulator() -> None:
    async with Simulator(dialect="plus", time_scale=0.01, token=None) as sim:
        assert_type(sim.url, str)
        assert_type(sim.max_in_flight, int)
        sim.fault("reset_after", on="submit", times=None)
        await sim.wait_idle()
    async with Simulator("original", hooks="any", record_limit=None, close_after=100) as java:
        java.fault("crossed_pictures")
        assert_type(java.requests.dropped, int)
        assert_type(java.submissions[0].task_id, str)
    async with Simulator("new-api", spent_tokens=["sk-1"], public_url="") as gateway:
        gateway.fault("cpu_guard", times=None, load=99.0)
        await gateway.refresh()


def prompts() -> None:
    assert_type(with_flag("a fox", "ar", "16:9"), str)


async def batches(mj: Client) -> None:
    async with Batch("renders", client=mj, max_uncertain=3) as batch:
        assert_type(await batch.not_requested(), list[Job])
        assert_type(await batch.drop(await batch.not_requested()), int)
        assert_type(await batch.jobs(), list[Job])
        await batch.plan_again(await batch.jobs())
        batch.add(read_rows("prompts.txt"))
        assert_type(read_rows("prompts.txt").comments, int)
        assert_type([*plan_jobs(read_rows("prompts.txt")[0])], list[Job])
        assert_type(is_running("renders"), bool | None)
        assert_type(batch.uncertainty, str)
        assert_type(batch.blocked_by, tuple[MJError, float] | None)
        async for job in batch.run():
            assert_type(job.retry_can_help, bool)
            assert_type(job.is_orphan, bool)


def ledger_errors(error: LedgerError) -> None:
    assert_type(error.unrecorded, tuple[str, ...])
    assert_type(error.errno, int | None)
