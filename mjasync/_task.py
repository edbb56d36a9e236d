"""The awaitable handle: a lazy job, its snapshot, and the chain of what may follow it."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, TypeVar, Unpack

import attrs

from ._concurrency import at_once, in_turn
from ._http.submission import Submission, make_submission
from ._media.files import collect, write_stream
from ._media.grid import Picture, split_grid
from ._media.inputs import ImageInput, as_mask
from ._models import Button, Speed, SubmitReceipt, TaskInfo, TaskPhase, TaskStatus, Unread
from ._options import FollowUpOptions, route_for
from ._pending_submission import Launch, Prepare, Receiver, Runtime, Turn
from ._polling.watch import Waiter
from ._protocol import decoding, results
from ._protocol.buttons import Buttons, as_change, is_pick
from ._protocol.parsing import Operation
from ._protocol.payloads import MADE_UP, common_fields
from ._protocol.urls import Route
from ._submission_queue import HeldUp
from ._task_view import Snapshot
from ._text import printable
from ._validation import CLIENT_DEFAULT, ClientDefault, check_encodable
from .errors import (
    ButtonNotFound,
    InvalidRequest,
    LinkExpired,
    MJError,
    ModalNotOpened,
    ModalRequired,
    TaskShadowed,
    TaskTimeout,
    UnsupportedEndpoint,
)
from .prompt import with_flag, with_speed

if TYPE_CHECKING:
    import os

__all__ = ["Task", "TaskUpdate"]

T = TypeVar("T")
L = TypeVar("L")
Choose = Callable[[Buttons], Button]

_NEW: Final = TaskInfo(id="")
_FOREVER: Final = float("inf")
_ZOOM: Final = (1.0, 2.0)
"""What Midjourney's custom zoom takes (PROTOCOL §4.2)."""
_SAME_UPSCALE: Final[Mapping[str, tuple[str, ...]]] = {
    "subtle": ("subtle", "2x"),
    "2x": ("2x", "subtle"),
}
"""What one model version calls subtle, another calls 2x."""


_DETAILS: Final[Mapping[str, tuple[str, ...]]] = {
    "upscale": ("1", "2", "3", "4", "subtle", "creative", "2x", "4x"),
    "vary": ("1", "2", "3", "4", "subtle", "strong"),
    "pan": ("left", "right", "up", "down"),
    "animate": ("low", "high"),
    "extend": ("low", "high"),
    "imagine": ("1", "2", "3", "4", "5", "all"),
}
"""What a verb can be asked for, whatever the server: anything else would pay for the Tasks before
it in a chain first."""

_UNSENT: Final = "not submitted (await it; where a coroutine is wanted, pass its .wait())"
"""How a Task shows itself in asyncio's "a coroutine was expected, got …"."""


class Task(Snapshot):
    """One job: nothing is sent until it is awaited, and then exactly once.

    `await task` submits it if need be, waits until it is finished and returns the same Task, or
    raises. `async for update in task` does the same and yields a `TaskInfo` whenever something
    changed. `task.action(…)`, `task.modal(…)` and the verbs make the Task that follows this one.
    A finished Task answers at once; a failed one raises its error again.

    The outcome of a submission is remembered: awaiting a Task whose submission was refused raises
    that error again and sends nothing. To ask again, make a new Task.
    """

    __slots__ = (
        "__weakref__",
        "_adopted",
        "_answered",
        "_error",
        "_launch",
        "_listeners",
        "_parent",
        "_relinked",
        "_route",
        "_runtime",
        "_seed",
        "_sent",
        "_siblings",
        "_speed",
        "_turn",
        "_was_known",
        "_what",
    )

    def __init__(
        self,
        runtime: Runtime,
        what: str,
        prepare: Prepare | None = None,
        *,
        parent: Task | None = None,
        info: TaskInfo = _NEW,
        answered: bool = False,
        was_known: bool = False,
        turn: Turn | None = None,
        route: Route | None = None,
        speed: Speed | None = None,
        sent: tuple[str, str | None] | None = None,
    ) -> None:
        """Made by a Client or by another Task, not by hand."""
        super().__init__(info)
        self._runtime = runtime
        self._what = what
        self._parent = parent
        self._answered = answered
        self._was_known = was_known
        self._route: Route = route or runtime.calls.route
        inherited = runtime.speed if parent is None else parent._speed  # noqa: SLF001 - one of us
        self._speed: Speed | None = speed or inherited
        self._relinked = self._route.image_host == runtime.calls.route.image_host
        self._adopted = prepare is None
        self._launch = prepare and Launch(runtime, prepare, turn)
        self._turn: Turn | None = None
        self._error: BaseException | None = None
        self._listeners: tuple[Callable[[Task], None], ...] = ()
        self._siblings: tuple[Task, ...] = ()
        self._sent: tuple[str, str | None] | None = sent  # state and prompt, where they are known
        self._seed: int | None = None
        if parent is not None:
            parent.adopt()

    # --- what is known beside the snapshot ---

    @property
    def parent(self) -> Task | None:
        """The Task this one follows."""
        return self._parent

    @property
    def siblings(self) -> tuple[Task, ...]:
        """The other Tasks the same press made, where it made several."""
        return self._siblings

    @property
    def error(self) -> BaseException | None:
        """What the last wait raised, or what became of the submission if nobody waited for it.

        None while it is unknown and after success.
        """
        if self._error is None and self._launch is not None and self._launch.refusal is not None:
            self._error = self._concerning_me(self._launch.refusal._again())  # noqa: SLF001
        return self._error

    @property
    def phase(self) -> TaskPhase:
        """What happens to it, on this side as well: see `TaskPhase`."""
        if self._launch is not None and not self._launch.is_accepted:
            phase = self._launch.phase
            if phase is TaskPhase.NEW and self._is_orphaned:
                return TaskPhase.FAILED
            is_chained = self._parent is not None and not self._parent.done
            is_waiting = phase is TaskPhase.PREPARING and is_chained and not self._answered
            return TaskPhase.WAITING if is_waiting else phase
        return _phase_of(self._info, answered=self._answered)

    @property
    def _is_orphaned(self) -> bool:
        """Whether a wait for it failed because the Task before it never will be finished."""
        lost = {TaskPhase.FAILED, TaskPhase.CLOSED}
        return self._error is not None and self._parent is not None and self._parent.phase in lost

    @property
    def held_up(self) -> HeldUp | None:
        """Since when and for how long it is tried, where the server refused it for now."""
        return None if self._launch is None else self._launch.held_up

    # --- waiting ---

    def __await__(self) -> Generator[Any, None, Self]:
        return self.wait().__await__()

    def __aiter__(self) -> AsyncIterator[TaskUpdate]:
        return self.updates()

    async def wait(
        self,
        *,
        timeout: float | ClientDefault | None = CLIENT_DEFAULT,
        stall_timeout: float | ClientDefault | None = CLIENT_DEFAULT,
    ) -> Self:
        """Submit if need be, and wait until the job is finished.

        Args:
            timeout: Seconds for the whole wait, those of the Tasks before it included; the
                client's by default, None for no limit.
            stall_timeout: Seconds without any change; the client's by default, None for no limit.

        Raises:
            TaskFailed: It ended in FAILURE (TaskBanned, TaskCancelled).
            ModalRequired: The server asks for a modal first.
            TaskTimeout: It took too long (TaskStalled: nothing changed). Await again to go on.
            SubmitUncertain: Whether the submission was taken is unknown.
            MJError: The submission was refused, or the server cannot be read.
        """
        self._adopted = True
        self._runtime.loop.check()
        deadline = self._runtime.deadline(timeout)
        stall = self._runtime.stall(stall_timeout)
        try:
            await self._accepted(deadline, stall)
            while not self._is_settled(self._info):
                waiter = self._watch(self._settles, deadline, stall)
                try:
                    self._check_mine(await waiter)
                finally:
                    self._runtime.watcher.leave(waiter)
            await self._judge()
        except Exception as error:
            self._error = self._concerning_me(error)
            raise
        self._error = None
        return self

    async def updates(self) -> AsyncIterator[TaskUpdate]:
        """Submit if need be; yield each snapshot that differs, the final one last.

        Those of unfinished Tasks before it in a chain come along: `update.task` is the one that an
        update is about. A submission that is held up makes an update, too.

        Raises:
            MJError: As `wait` does, after the last snapshot.
        """
        self._adopted = True
        loop = self._runtime.loop.check()
        news = deque([TaskUpdate.of(self)] if self._is_known else [])
        bell = loop.create_future()

        def ring(_: object) -> None:
            if not bell.done():
                bell.set_result(None)

        def listener(task: Task) -> None:
            news.append(TaskUpdate.of(task))
            ring(task)

        with self._listening(listener):
            waiting = asyncio.ensure_future(self.wait())
            waiting.add_done_callback(ring)
            try:
                while news or not waiting.done():
                    if not news:
                        await bell
                        bell = loop.create_future()
                    while news:
                        yield news.popleft()
                await waiting
            finally:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)

    @contextmanager
    def _listening(self, listener: Callable[[Task], None]) -> Iterator[None]:
        """Call `listener` meanwhile whenever this Task, or an unfinished one before it, changes."""
        chain = [self, *self._unfinished_parents()]
        for task in chain:
            task._listeners += (listener,)  # noqa: SLF001 - one of us
        try:
            yield
        finally:
            for task in chain:
                others = tuple(one for one in task._listeners if one is not listener)  # noqa: SLF001
                task._listeners = others  # noqa: SLF001 - one of us

    async def submit(self) -> Self:
        """Have the server accept the job; do not wait for its end.

        Raises:
            SubmitUncertain: Whether it was taken is unknown.
            MJError: It was refused, or a Task before it failed.
        """
        self._adopted = True
        self._runtime.loop.check()
        try:
            runtime = self._runtime
            await self._accepted(runtime.deadline(), runtime.stall_timeout)
        except Exception as error:
            self._error = self._concerning_me(error)
            raise
        return self

    async def refresh(self) -> Self:
        """Fetch the latest snapshot now, finished or not.

        Raises:
            InvalidRequest: It was not submitted yet.
            TaskNotFound: The server does not know it (any more).
            MJError: The read failed.
        """
        self._runtime.loop.check()
        with self._about_me():
            info = await self._runtime.calls.fetch(self._known_id(), self._route)
            self._check_mine(info)
            self._store(info)
        return self

    def close(self) -> None:
        """Give up a Task that is not sent yet: it never will be, and it does not warn.

        Awaiting it raises `TaskCancelled`. One that was sent is left as it is: see `cancel`.
        """
        self._adopted = True
        if self._launch is not None:
            self._launch.close()

    async def cancel(self) -> Self:
        """Ask the server to give the job up, where it can, and fetch what became of it.

        A Task that is not sent yet is closed instead.

        Raises:
            UnsupportedEndpoint: The server has no way to.
            MJError: It refused.
        """
        self._adopted = True
        runtime = self._runtime
        runtime.loop.check()
        if self._launch is not None:
            if self._launch.close():
                return self
            await self._accepted(runtime.deadline(), runtime.stall_timeout)
        with self._about_me():
            await self._runtime.calls.cancel(self._known_id())
        return await self.refresh()

    async def seed(self) -> int:
        """The seed the pictures were made with; asked once, which may take the server a minute.

        Raises:
            TaskNotReady: It is not finished, or the server lacks what it needs to find out.
            UnsupportedEndpoint: The server cannot tell.
            MJError: The read failed.
        """
        self._runtime.loop.check()
        if self._seed is None:
            self._seed = self._info.seed
        if self._seed is None:
            with self._about_me():
                self._seed = await self._runtime.calls.seed(self._known_id())
        return self._seed

    # --- what may follow ---

    def action(self, button: str | int, **options: Unpack[FollowUpOptions]) -> Task:
        """Press one of its buttons, once it is finished.

        Args:
            button: Label ("U2"), emoji ("🔄"), custom id or position.
            options: See `FollowUpOptions`; every verb below takes them, too.

        Raises (when awaited):
            ButtonNotFound: There is no such button.
            ModalRequired: It opens a modal: chain `.modal(…)`.
        """
        given: object = button
        if not isinstance(given, str | int) or isinstance(given, bool):
            message = f"A button is a text or a position, not {type(given).__name__} ({given!r})."
            raise InvalidRequest(message)
        return self._press(lambda buttons: _pick(buttons, button), repr(button), options)

    def modal(
        self,
        prompt: str | None = None,
        *,
        mask: ImageInput | None = None,
    ) -> Task:
        """Answer the modal that pressing this button opens.

        Args:
            prompt: The text; by default the one the server proposes.
            mask: For Vary (Region): a PNG, white where to repaint, on black.

        Raises (when awaited):
            ModalNotOpened: The server went ahead without one; `error.task` is that job.
        """
        _check_prompt(prompt)
        return self._answer(lambda proposed: proposed if prompt is None else prompt, mask)

    def upscale(
        self,
        which: int | Literal["subtle", "creative", "2x", "4x"],
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Take picture 1-4 out of a grid, or enlarge a single picture."""
        detail = _number(which) if isinstance(which, int) else which
        _check_details("upscale", [detail])
        return self._mean(options, "upscale", *_SAME_UPSCALE.get(detail, (detail,)))

    def vary(
        self,
        which: int | Literal["subtle", "strong"],
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Four variations of picture 1-4 of a grid, or of a single picture.

        With a `prompt` (remix) the modal is asked for, and answered with it.
        """
        detail = _number(which) if isinstance(which, int) else which
        return self._remix(prompt, options, "vary", detail)

    def reroll(self, prompt: str | None = None, **options: Unpack[FollowUpOptions]) -> Task:
        """The same once more (a describe, too); a `prompt` changes it, as in `vary`."""
        return self._remix(prompt, options, "reroll")

    def zoom(
        self, factor: float = 2.0, prompt: str | None = None, **options: Unpack[FollowUpOptions]
    ) -> Task:
        """Zoom out, 1-2 times. 2 and 1.5 without a prompt have buttons of their own.

        Raises:
            InvalidRequest: The factor is out of range.
        """
        if not _ZOOM[0] <= factor <= _ZOOM[1]:
            message = f"Midjourney zooms out {_ZOOM[0]:g} to {_ZOOM[1]:g} times, not {factor:g}."
            raise InvalidRequest(message)
        _check_prompt(prompt)
        if prompt is None and factor in {1.5, 2.0}:
            return self._mean(options, "zoom", f"{factor:g}")
        pressed = self._mean(options, "zoom", "custom", asks=True)
        return pressed._answer(  # noqa: SLF001 - a Task of ours
            lambda proposed: with_flag(
                prompt or proposed or self.final_prompt or self.prompt or "", "zoom", f"{factor:g}"
            )
        )

    def pan(
        self,
        direction: Literal["left", "right", "up", "down"],
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Extend the picture to one side; a `prompt` changes it, as in `vary`."""
        return self._remix(prompt, options, "pan", direction)

    def inpaint(
        self,
        mask: ImageInput,
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Vary (Region): repaint what is white in the mask, a PNG on black."""
        given: object = mask
        if given is None:
            message = "This needs a mask, not None: a PNG, white where to repaint, on black."
            raise InvalidRequest(message)
        return self._mean(options, "inpaint", asks=True).modal(prompt, mask=mask)

    def animate(
        self,
        motion: Literal["low", "high"] = "low",
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Make videos of a single picture; a `prompt` changes it, as in `vary`."""
        return self._remix(prompt, options, "animate", motion)

    def extend(
        self,
        motion: Literal["low", "high"] = "low",
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Make a picked video longer; a `prompt` changes it, as in `vary`."""
        return self._remix(prompt, options, "extend", motion)

    def imagine(
        self,
        which: int | Literal["all"],
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Imagine one of the prompts that describe or shorten came up with, or all of them.

        Where "all" makes several jobs, the others are `siblings` of the one returned.
        """
        _check_prompt(prompt)
        pressed = self._mean(options, "imagine", str(which), asks=which != "all")
        if which == "all":
            return pressed
        return pressed._answer(  # noqa: SLF001 - a Task of ours
            lambda proposed: prompt or proposed, optional=prompt is None
        )

    def details(self, **options: Unpack[FollowUpOptions]) -> Task:
        """Show the details of a shorten."""
        return self._mean(options, "details")

    def bookmark(self, **options: Unpack[FollowUpOptions]) -> Task:
        """Bookmark a single picture, on servers that can."""
        return self._mean(options, "bookmark")

    # --- pictures ---

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Download the picture (or video) to a file and return where it went.

        Args:
            path: A directory; a template such as `"out/{id}-{action}.{ext}"`; or a file name. In a
                directory the name is the id with the ending of its bytes, whatever the link says.

        Raises:
            InvalidRequest: It has no picture, or is not finished.
            LinkExpired: The link is dead, and so is the fresh one.
            MalformedReply: What came is no picture, or not all of one; nothing is left behind.
            ConfigurationError: The template does not work.
            OSError: The place cannot be written to; nothing is left behind.
        """
        info = self._info
        fields = {name: getattr(info, name) for name in ("id", "state", "prompt")}
        fields["action"] = info.action.lower()

        async def write(url: str) -> Path:
            return await self._runtime.calls.download(
                url, lambda chunks: write_stream(chunks, path, fields)
            )

        return await self._with_fresh_link(results.link_of, write)

    async def read(self) -> bytes:
        """The bytes of the picture (or video).

        Raises:
            InvalidRequest: It has no picture, or is not finished.
            LinkExpired: The link is dead, and so is the fresh one.
            MalformedReply: What came is no picture, or not all of one.
        """
        return await self._with_fresh_link(results.link_of, self._download)

    async def images(self) -> tuple[Picture, ...]:
        """The four pictures of a grid, 1 to 4; of anything else, the one picture.

        The server's own single pictures where it lists them, else the grid cut in four (Pillow).

        Raises:
            ConfigurationError: The grid must be cut, and Pillow is not installed.
            MJError: As `read` does.
        """
        if len(self._info.image_urls) > 1:
            parts = await self._with_fresh_link(
                lambda info: info.image_urls, lambda urls: at_once(map(self._download, urls))
            )
        elif results.is_grid(self._info):
            parts = await split_grid(await self.read())
        else:
            return (Picture(await self.read(), self.id),)
        return tuple(Picture(part, f"{self.id}-{n}") for n, part in enumerate(parts, 1))

    async def _download(self, url: str) -> bytes:
        return await self._runtime.calls.download(url, collect)

    async def _download_input(self, url: str) -> bytes:
        return await self._runtime.calls.download(url, collect, is_input=True)

    async def _with_fresh_link(
        self, link_of: Callable[[TaskInfo], L], use: Callable[[L], Awaitable[T]]
    ) -> T:
        """Use a link, or some; when one has expired, refetch the task once for fresh ones."""
        self._runtime.loop.check()
        with self._about_me():
            try:
                return await use(link_of(self._info))
            except LinkExpired:
                await self.refresh()
            return await use(link_of(self._info))

    # --- submitting ---

    async def _accepted(self, deadline: float, stall: float) -> None:
        """Return once the server has accepted the job; raise what became of it otherwise."""
        if self._launch is not None:
            receiver = Receiver(
                take=self._take,
                adopt=self._store,
                settles=self._is_settled,
                notify=self._notify,
            )
            await self._launch.accepted(deadline, stall, receiver)
            self._launch = None

    def _take(self, receipt: SubmitReceipt, submission: Submission) -> TaskInfo:
        """Keep the id at once: from here on the job is paid."""
        self._was_known = True
        if self._answered and self._parent is not None:
            self._parent._answered = True  # noqa: SLF001 - it asked, this answers
        sent = submission.payload
        proposed = decoding.text(receipt.properties.get("finalPrompt"))
        is_modal = receipt.is_modal and not self._answered
        first, *others = (
            TaskInfo(
                id=task_id,
                status=TaskStatus.MODAL if is_modal else TaskStatus.NOT_START,
                action=submission.expects,
                prompt=sent.get("prompt"),
                final_prompt=proposed,
                state=sent.get("state"),
                properties=receipt.properties,
            )
            for task_id in receipt.ids
        )
        self._siblings = tuple(
            Task(
                self._runtime,
                self._what,
                parent=self._parent,
                info=info,
                was_known=True,
                route=self._route,
            )
            for info in others
        )
        is_new = submission.operation is Operation.SUBMIT or submission.exclusive
        if is_new and sent.get("state"):  # other presses may be answered with an older task
            self._sent = sent["state"], sent.get("prompt")
        for made in (first, *others):
            self._runtime.watcher.expect(made.id)
        self._store(first)
        asked = self._parent if self._answered else None
        if asked is not None and asked.id != first.id:
            asked._store(first)  # noqa: SLF001 - its job goes on under another id
        return first

    async def _judge(self) -> None:
        """Raise what became of a job that has ended or wants an answer, unless it is well."""
        if self._info.status is TaskStatus.MODAL:
            message = "The server waits for the answer to a modal."
            raise ModalRequired(message, task=self)
        if not self._relinked:  # watched by the client's route, whose image host is another
            await self.refresh()
            self._relinked = True
        results.judge(self._info)

    def _watch(self, tell: Callable[[TaskInfo], bool], deadline: float, stall: float) -> Waiter:
        return self._runtime.watcher.until(
            self._info,
            tell,
            known=self._is_known,
            deadline=deadline,
            stall=stall,
            answered=self._answered,
        )

    def _is_anothers(self, info: TaskInfo) -> bool:
        """Whether the server shows another task under this one's id: its state is not as sent.

        Checked when the task is first seen and when it has ended. A server that repeats no state
        shows nothing; one that has a state of its own for everything shows the prompt at least.
        """
        is_first = not decoding.is_told(self._info)
        if self._sent is None or not (is_first or info.status.is_final):
            return False
        state, prompt = self._sent
        told = decoding.told(info)
        echoed = decoding.text(told.get("state"))
        if echoed is None:
            return False
        if echoed == state:
            self._runtime.echoes_state = True
            return False
        shown = decoding.text(told.get("prompt"))
        differs = prompt is not None and shown is not None and shown != prompt
        return differs or self._runtime.echoes_state or echoed.startswith(MADE_UP)

    def _check_mine(self, info: TaskInfo) -> None:
        if self._is_anothers(info):
            message = (
                f"The server shows another task under the id {self.id}: its state is "
                f"{printable(info.state)!r}."
            )
            raise TaskShadowed(message, task=self)

    def _settles(self, info: TaskInfo) -> bool:
        if self._is_anothers(info):
            return True
        self._store(info)
        return self._is_settled(info)

    def _begins(self, info: TaskInfo) -> bool:
        if self._is_anothers(info):
            return True
        self._store(info)
        return info.status is not TaskStatus.NOT_START

    @property
    def _is_known(self) -> bool:
        """Whether the server has ever spoken of this job."""
        return self._was_known or decoding.is_told(self._info)

    def _is_settled(self, info: TaskInfo) -> bool:
        return info.status.is_final or (info.status is TaskStatus.MODAL and not self._answered)

    def _store(self, info: TaskInfo) -> None:
        """Swap the snapshot; what has ended never comes alive again."""
        before = self._info
        if info is before or (before.status.is_final and not info.status.is_final):
            return
        self._info = info
        if info.status.is_final:
            self._runtime.submissions.job_ended()
        if self._listeners and (info.progress != before.progress or info != before):
            self._notify()

    def _notify(self) -> None:
        for tell in self._listeners:
            tell(self)

    def _unfinished_parents(self) -> Iterator[Task]:
        parent = self._parent
        while parent is not None and not parent.done:
            yield parent
            parent = parent._parent  # noqa: SLF001 - one of us

    def _known_id(self) -> str:
        if not self._info.id:
            message = "This Task has not been submitted: await it, or call submit(), first."
            raise InvalidRequest(message)
        return self._info.id

    def _concerning_me(self, error: Exception) -> Exception:
        """Say on an error that it is about this Task, unless it is about one before it."""
        if isinstance(error, MJError) and (error.task is None or isinstance(error, TaskTimeout)):
            waited_for = error.task_id
            error._attach(self)  # noqa: SLF001
            error.task_id = error.task_id or waited_for
        return error

    @contextmanager
    def _about_me(self) -> Iterator[None]:
        """Say on whatever is raised meanwhile that it is about this Task."""
        try:
            yield
        except MJError as error:
            self._concerning_me(error)
            raise

    # --- following up ---

    def _mean(self, options: FollowUpOptions, verb: str, *details: str, asks: bool = False) -> Task:
        _check_details(verb, details)
        what = f"{verb} {details[0]}" if details else verb
        return self._press(
            lambda buttons: buttons.meaning(verb, *details), what, options, asks=asks
        )

    def _remix(
        self, prompt: str | None, options: FollowUpOptions, verb: str, *details: str
    ) -> Task:
        """Press; with a prompt, ask for the modal and answer it."""
        _check_prompt(prompt)
        if prompt is None:
            return self._mean(options, verb, *details)
        asking: FollowUpOptions = {"enable_remix": True, **options}
        return self._mean(asking, verb, *details, asks=True).modal(prompt)

    def _press(
        self, choose: Choose, what: str, options: FollowUpOptions, *, asks: bool = False
    ) -> Task:
        """Press a button; `asks` where the modal it opens will be answered."""
        common = common_fields(options, FollowUpOptions.__optional_keys__)
        route = route_for(self._route, options, by_path=self._runtime.speed_by_path)

        async def prepare(stall: float) -> Submission:
            await self.wait(timeout=_FOREVER, stall_timeout=stall)
            with self._about_me():
                button = choose(self.buttons)
                if options.get("enable_remix") and not button.custom_id:
                    message = "This server's variations keep their prompt."
                    raise UnsupportedEndpoint(message)
            by_id = {"customId": button.custom_id} if button.custom_id else as_change(button)
            return make_submission(
                "action" if button.custom_id else "change",
                {"taskId": self.id, **by_id, **common},
                Operation.FOLLOW_UP,
                expects="UPSCALE" if is_pick(button) else "",
                route=route,
                exclusive=_exclusive(self.id, by_id),
            )

        speed = options.get("speed")
        if speed and not (self._runtime.speed_by_path or asks):
            message = (
                "A button pressed without a prompt cannot ask for a speed by prompt "
                '(speed_via="prompt").'
            )
            raise InvalidRequest(message)
        return Task(self._runtime, what, prepare, parent=self, route=route, speed=speed)

    def _answer(
        self,
        compose: Callable[[str], str],
        mask: ImageInput | None = None,
        *,
        optional: bool = False,
    ) -> Task:
        async def prepare(stall: float) -> Submission | TaskInfo:
            masked = {}
            if mask is not None:  # first: a bad mask must not leave a modal open
                masked["maskBase64"] = await as_mask(mask, self._download_input)
            with self._about_me():
                has_opened = await self._modal_opened(stall)
            if not has_opened:
                if optional:
                    return self._info
                message = "The server went ahead without asking for a modal."
                raise ModalNotOpened(message, task=self)
            payload: dict[str, Any] = {"taskId": self.id, **masked}
            text = compose(self.final_prompt or "")
            if text and self._speed and self._runtime.speed_by_prompt:
                text = with_speed(text, self._speed)
            if text:
                payload["prompt"] = text
            make = partial(
                make_submission, "modal", payload, Operation.FOLLOW_UP, route=self._route
            )
            return await in_turn(make) if masked else make()

        self._turn = self._turn or asyncio.Lock()  # of several answers one is taken: the first
        return Task(
            self._runtime,
            "modal",
            prepare,
            parent=self,
            answered=True,
            turn=self._turn,
            route=self._route,
        )

    async def _modal_opened(self, stall: float) -> bool:
        """Whether the server asks for a modal; found out by watching where it did not say so."""
        await self._accepted(_FOREVER, stall)
        if self._answered:
            message = "This modal has been answered already."
            raise InvalidRequest(message, task=self)
        if self.status is TaskStatus.NOT_START:
            waiter = self._watch(self._begins, _FOREVER, stall)
            try:
                self._check_mine(await waiter)
            finally:
                self._runtime.watcher.leave(waiter)
        if self.done:
            await self._judge()
        return self.status is TaskStatus.MODAL

    # --- manners ---

    def adopt(self) -> Self:
        """Say that somebody will wait for it, so that it does not warn when dropped."""
        self._adopted = True
        return self

    def __repr__(self) -> str:
        progress = "" if self.progress is None else f" {self.progress}%"
        stands = f"{self.status}{progress}" if self.id else self._stands_unsent()
        return printable(f"<Task {self.id or '-'} {self._what}: {stands}>", None)

    def _stands_unsent(self) -> str:
        """What became of it so far, while it has no id."""
        if self.phase is TaskPhase.CLOSED:
            return "closed"
        refusal = None if self._launch is None else self._launch.refusal
        error = self._error if self._is_orphaned else refusal
        return _UNSENT if error is None else f"failed ({type(error).__name__})"

    def __reduce__(self) -> NoReturn:
        message = (
            "A Task belongs to a running Client and cannot be pickled or copied: pickle task.id, "
            "and attach to it with mj.task(id)."
        )
        raise TypeError(message)

    def __del__(self) -> None:
        if getattr(self, "_was_known", False):
            self._runtime.watcher.expect_no_more(self._info.id)
        if not getattr(self, "_adopted", True):
            warnings.warn(
                f"<Task - {self._what}: not submitted> was never awaited: nothing was sent",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )


def _phase_of(info: TaskInfo, *, answered: bool) -> TaskPhase:
    """Return what a server's status means for whoever waits."""
    if info.status.is_final:
        is_well = info.status is TaskStatus.SUCCESS
        return TaskPhase.FINISHED if is_well else TaskPhase.FAILED
    if info.status is TaskStatus.MODAL:
        return TaskPhase.SUBMITTED if answered else TaskPhase.MODAL
    waits = info.status in {TaskStatus.NOT_START, TaskStatus.SUBMITTED}
    return TaskPhase.SUBMITTED if waits else TaskPhase.RUNNING


def _exclusive(task_id: str, fields: Mapping[str, Any]) -> str:
    """Return what must not be under way twice: variations and rerolls of a grid without buttons.

    Such a server tells their results apart by the prompt alone, which they share.
    """
    changes = fields.get("action") in {"VARIATION", "REROLL"}
    return f"changes of {task_id}" if changes else ""


def _pick(buttons: Buttons, key: str | int) -> Button:
    try:
        return buttons[key]
    except IndexError:
        offered = ", ".join(buttons.names) or "no buttons"
        message = f"There is no button at position {key!r}. This task has: {offered}."
        raise ButtonNotFound(message) from None


def _check_details(verb: str, details: Iterable[object]) -> None:
    """Refuse what no server has a button for.

    Raises:
        InvalidRequest: There is no such kind of that verb.
    """
    words = _DETAILS.get(verb)
    for detail in details:
        if words is not None and detail not in words:
            message = f"{verb} takes {', '.join(words[:-1])} or {words[-1]}, not {detail!r}."
            raise InvalidRequest(message)


def _check_prompt(prompt: object) -> None:
    if prompt is None:
        return
    if not isinstance(prompt, str):
        message = f"A prompt is text, not {type(prompt).__name__} ({prompt!r})."
        raise InvalidRequest(message)
    check_encodable(prompt, "The prompt")


def _number(which: int) -> str:
    if which not in range(1, 5):
        message = f"A grid has pictures 1 to 4, not {which}."
        raise InvalidRequest(message)
    return str(which)


@attrs.frozen(kw_only=True, eq=False)
class TaskUpdate(TaskInfo):
    """A snapshot that `async for` over a Task yields, and which Task it is about."""

    task: Task = attrs.field(repr=False)
    """The Task: the one iterated over, or one before it in its chain."""
    phase: TaskPhase = TaskPhase.NEW
    """What happens to it."""
    held_up: HeldUp | None = None
    """Since when and for how long it is tried, while the server refuses it for now."""

    @classmethod
    def of(cls, task: Task) -> Self:
        """Return the update that a Task's state is worth now; what was left unread stays so."""
        update = cls.__new__(cls)
        for slot in _SLOTS:
            try:  # a third of the time of `suppress`
                slot.__set__(update, slot.__get__(task.info))
            except AttributeError:
                continue
        more = {"task": task, "phase": task.phase, "held_up": task.held_up}
        for name, value in more.items():
            object.__setattr__(update, name, value)
        return update

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the plain snapshot: a Task does not pickle."""
        return partial(TaskInfo, **{name: getattr(self, name) for name in _FIELDS}), ()


_FIELDS: Final = tuple(attrs.fields_dict(TaskInfo))
_SLOTS: Final[tuple[Any, ...]] = (
    *(vars(TaskInfo)[name] for name in _FIELDS),
    vars(Unread)["_body"],
)
