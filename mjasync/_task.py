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

from ._concurrency import gather_or_cancel, run_in_worker
from ._http.submission import SubmitRequest, build_submit_request
from ._media.files import read_all, write_stream
from ._media.grid import Picture, split_grid
from ._media.inputs import ImageInput, as_mask
from ._models import Button, LazyFields, Speed, SubmitReceipt, TaskInfo, TaskPhase, TaskStatus
from ._options import FollowUpOptions, url_for_options
from ._pending_submission import (
    BuildRequest,
    ClientContext,
    PendingSubmission,
    SubmissionCallbacks,
    SubmitLock,
)
from ._polling.watch import Waiter
from ._protocol import decoding, results
from ._protocol.buttons import Buttons, change_payload, is_grid_upscale
from ._protocol.parsing import Operation
from ._protocol.payloads import GENERATED_STATE_PREFIX, common_payload
from ._protocol.urls import ServerUrl
from ._submission_queue import HeldUp
from ._task_view import TaskView
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

__all__ = ["Task", "TaskUpdate", "suppress_unawaited_warning"]

T = TypeVar("T")
L = TypeVar("L")
ButtonChooser = Callable[[Buttons], Button]

_EMPTY_INFO: Final = TaskInfo(id="")
_NO_TIMEOUT: Final = float("inf")
_ZOOM_RANGE: Final = (1.0, 2.0)
"""What Midjourney's custom zoom takes (PROTOCOL §4.2)."""
_UPSCALE_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "subtle": ("subtle", "2x"),
    "2x": ("2x", "subtle"),
}
"""What one model version calls subtle, another calls 2x."""


_VERB_DETAILS: Final[Mapping[str, tuple[str, ...]]] = {
    "upscale": ("1", "2", "3", "4", "subtle", "creative", "2x", "4x"),
    "vary": ("1", "2", "3", "4", "subtle", "strong"),
    "pan": ("left", "right", "up", "down"),
    "animate": ("low", "high"),
    "extend": ("low", "high"),
    "imagine": ("1", "2", "3", "4", "5", "all"),
}
"""What a verb can be asked for, whatever the server: anything else would pay for the Tasks before
it in a chain first."""

_UNSENT_HINT: Final = "not submitted (await it; where a coroutine is wanted, pass its .wait())"
"""How a Task shows itself in asyncio's "a coroutine was expected, got …"."""


class Task(TaskView):
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
        "_context",
        "_error",
        "_has_own_links",
        "_is_awaited",
        "_label",
        "_listeners",
        "_modal_answered",
        "_modal_lock",
        "_parent",
        "_pending",
        "_route",
        "_seed",
        "_seen_by_server",
        "_sent_state_and_prompt",
        "_siblings",
        "_speed",
    )

    def __init__(
        self,
        context: ClientContext,
        label: str,
        build_request: BuildRequest | None = None,
        *,
        parent: Task | None = None,
        info: TaskInfo = _EMPTY_INFO,
        modal_answered: bool = False,
        seen_by_server: bool = False,
        modal_lock: SubmitLock | None = None,
        route: ServerUrl | None = None,
        speed: Speed | None = None,
        sent_state_and_prompt: tuple[str, str | None] | None = None,
    ) -> None:
        """Made by a Client or by another Task, not by hand."""
        super().__init__(info)
        self._context = context
        self._label = label
        self._parent = parent
        self._modal_answered = modal_answered
        self._seen_by_server = seen_by_server
        self._route: ServerUrl = route or context.api.url
        inherited = context.speed if parent is None else parent._speed  # noqa: SLF001 - one of us
        self._speed: Speed | None = speed or inherited
        self._has_own_links = self._route.image_host == context.api.url.image_host
        self._is_awaited = build_request is None
        self._pending = build_request and PendingSubmission(context, build_request, modal_lock)
        self._modal_lock: SubmitLock | None = None
        self._error: BaseException | None = None
        self._listeners: tuple[Callable[[Task], None], ...] = ()
        self._siblings: tuple[Task, ...] = ()
        self._sent_state_and_prompt: tuple[str, str | None] | None = (
            sent_state_and_prompt  # state and prompt, where they are known
        )
        self._seed: int | None = None
        if parent is not None:
            suppress_unawaited_warning(parent)

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
        if self._error is None and self._pending is not None and self._pending.refusal is not None:
            self._error = self._attach_to(self._pending.refusal._copy())  # noqa: SLF001
        return self._error

    @property
    def phase(self) -> TaskPhase:
        """What happens to it, on this side as well: see `TaskPhase`."""
        if self._pending is not None and not self._pending.is_accepted:
            phase = self._pending.phase
            if phase is TaskPhase.NEW and self._is_orphaned:
                return TaskPhase.FAILED
            is_chained = self._parent is not None and not self._parent.done
            is_waiting = phase is TaskPhase.PREPARING and is_chained and not self._modal_answered
            return TaskPhase.WAITING if is_waiting else phase
        return _phase_of(self._info, answered=self._modal_answered)

    @property
    def _is_orphaned(self) -> bool:
        """Whether a wait for it failed because the Task before it never will be finished."""
        lost = {TaskPhase.FAILED, TaskPhase.CLOSED}
        return self._error is not None and self._parent is not None and self._parent.phase in lost

    @property
    def held_up(self) -> HeldUp | None:
        """Since when and for how long it is tried, where the server refused it for now."""
        return None if self._pending is None else self._pending.held_up

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
        self._is_awaited = True
        self._context.loop.check()
        deadline = self._context.deadline(timeout)
        stall = self._context.stall(stall_timeout)
        try:
            await self._wait_until_accepted(deadline, stall)
            while not self._is_settled(self._info):
                waiter = self._register_waiter(self._on_update_until_settled, deadline, stall)
                try:
                    self._check_not_shadowed(await waiter)
                finally:
                    self._context.poller.unwatch(waiter)
            await self._raise_outcome()
        except Exception as error:
            self._error = self._attach_to(error)
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
        self._is_awaited = True
        loop = self._context.loop.check()
        news = deque([TaskUpdate.from_task(self)] if self._is_seen else [])
        bell = loop.create_future()

        def ring(_: object) -> None:
            if not bell.done():
                bell.set_result(None)

        def listener(task: Task) -> None:
            news.append(TaskUpdate.from_task(task))
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
        self._is_awaited = True
        self._context.loop.check()
        try:
            runtime = self._context
            await self._wait_until_accepted(runtime.deadline(), runtime.stall_timeout)
        except Exception as error:
            self._error = self._attach_to(error)
            raise
        return self

    async def refresh(self) -> Self:
        """Fetch the latest snapshot now, finished or not.

        Raises:
            InvalidRequest: It was not submitted yet.
            TaskNotFound: The server does not know it (any more).
            MJError: The read failed.
        """
        self._context.loop.check()
        with self._attaching_errors():
            info = await self._context.api.fetch(self._require_id(), self._route)
            self._check_not_shadowed(info)
            self._set_info(info)
        return self

    def close(self) -> None:
        """Give up a Task that is not sent yet: it never will be, and it does not warn.

        Awaiting it raises `TaskCancelled`. One that was sent is left as it is: see `cancel`.
        """
        self._is_awaited = True
        if self._pending is not None:
            self._pending.close()

    async def cancel(self) -> Self:
        """Ask the server to give the job up, where it can, and fetch what became of it.

        A Task that is not sent yet is closed instead.

        Raises:
            UnsupportedEndpoint: The server has no way to.
            MJError: It refused.
        """
        self._is_awaited = True
        runtime = self._context
        runtime.loop.check()
        if self._pending is not None:
            if self._pending.close():
                return self
            await self._wait_until_accepted(runtime.deadline(), runtime.stall_timeout)
        with self._attaching_errors():
            await self._context.api.cancel(self._require_id())
        return await self.refresh()

    async def seed(self) -> int:
        """The seed the pictures were made with; asked once, which may take the server a minute.

        Raises:
            TaskNotReady: It is not finished, or the server lacks what it needs to find out.
            UnsupportedEndpoint: The server cannot tell.
            MJError: The read failed.
        """
        self._context.loop.check()
        if self._seed is None:
            self._seed = self._info.seed
        if self._seed is None:
            with self._attaching_errors():
                self._seed = await self._context.api.seed(self._require_id())
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
        return self._press_button(
            lambda buttons: _button_at(buttons, button), repr(button), options
        )

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
        return self._answer_modal(lambda proposed: proposed if prompt is None else prompt, mask)

    def upscale(
        self,
        number: int | Literal["subtle", "creative", "2x", "4x"],
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Take picture 1-4 out of a grid, or enlarge a single picture."""
        detail = _grid_number(number) if isinstance(number, int) else number
        _check_details("upscale", [detail])
        return self._press_meaning(options, "upscale", *_UPSCALE_SYNONYMS.get(detail, (detail,)))

    def vary(
        self,
        number: int | Literal["subtle", "strong"],
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Four variations of picture 1-4 of a grid, or of a single picture.

        With a `prompt` (remix) the modal is asked for, and answered with it.
        """
        detail = _grid_number(number) if isinstance(number, int) else number
        return self._press_with_prompt(prompt, options, "vary", detail)

    def reroll(self, prompt: str | None = None, **options: Unpack[FollowUpOptions]) -> Task:
        """The same once more (a describe, too); a `prompt` changes it, as in `vary`."""
        return self._press_with_prompt(prompt, options, "reroll")

    def zoom(
        self, factor: float = 2.0, prompt: str | None = None, **options: Unpack[FollowUpOptions]
    ) -> Task:
        """Zoom out, 1-2 times. 2 and 1.5 without a prompt have buttons of their own.

        Raises:
            InvalidRequest: The factor is out of range.
        """
        if not _ZOOM_RANGE[0] <= factor <= _ZOOM_RANGE[1]:
            least, most = _ZOOM_RANGE
            message = f"Midjourney zooms out {least:g} to {most:g} times, not {factor:g}."
            raise InvalidRequest(message)
        _check_prompt(prompt)
        if prompt is None and factor in {1.5, 2.0}:
            return self._press_meaning(options, "zoom", f"{factor:g}")
        pressed = self._press_meaning(options, "zoom", "custom", opens_modal=True)
        return pressed._answer_modal(  # noqa: SLF001 - a Task of ours
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
        return self._press_with_prompt(prompt, options, "pan", direction)

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
        return self._press_meaning(options, "inpaint", opens_modal=True).modal(prompt, mask=mask)

    def animate(
        self,
        motion: Literal["low", "high"] = "low",
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Make videos of a single picture; a `prompt` changes it, as in `vary`."""
        return self._press_with_prompt(prompt, options, "animate", motion)

    def extend(
        self,
        motion: Literal["low", "high"] = "low",
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Make a picked video longer; a `prompt` changes it, as in `vary`."""
        return self._press_with_prompt(prompt, options, "extend", motion)

    def imagine(
        self,
        number: int | Literal["all"],
        prompt: str | None = None,
        **options: Unpack[FollowUpOptions],
    ) -> Task:
        """Imagine one of the prompts that describe or shorten came up with, or all of them.

        Where "all" makes several jobs, the others are `siblings` of the one returned.
        """
        _check_prompt(prompt)
        pressed = self._press_meaning(options, "imagine", str(number), opens_modal=number != "all")
        if number == "all":
            return pressed
        return pressed._answer_modal(  # noqa: SLF001 - a Task of ours
            lambda proposed: prompt or proposed, optional=prompt is None
        )

    def details(self, **options: Unpack[FollowUpOptions]) -> Task:
        """Show the details of a shorten."""
        return self._press_meaning(options, "details")

    def bookmark(self, **options: Unpack[FollowUpOptions]) -> Task:
        """Bookmark a single picture, on servers that can."""
        return self._press_meaning(options, "bookmark")

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
            return await self._context.api.download(
                url, lambda chunks: write_stream(chunks, path, fields)
            )

        return await self._with_fresh_link(results.result_url, write)

    async def read(self) -> bytes:
        """The bytes of the picture (or video).

        Raises:
            InvalidRequest: It has no picture, or is not finished.
            LinkExpired: The link is dead, and so is the fresh one.
            MalformedReply: What came is no picture, or not all of one.
        """
        return await self._with_fresh_link(results.result_url, self._download)

    async def images(self) -> tuple[Picture, ...]:
        """The four pictures of a grid, 1 to 4; of anything else, the one picture.

        The server's own single pictures where it lists them, else the grid cut in four (Pillow).

        Raises:
            ConfigurationError: The grid must be cut, and Pillow is not installed.
            MJError: As `read` does.
        """
        if len(self._info.image_urls) > 1:
            parts = await self._with_fresh_link(
                lambda info: info.image_urls,
                lambda urls: gather_or_cancel(map(self._download, urls)),
            )
        elif results.is_grid(self._info):
            parts = await split_grid(await self.read())
        else:
            return (Picture(await self.read(), self.id),)
        return tuple(Picture(part, f"{self.id}-{n}") for n, part in enumerate(parts, 1))

    async def _download(self, url: str) -> bytes:
        return await self._context.api.download(url, read_all)

    async def _download_input(self, url: str) -> bytes:
        return await self._context.api.download(url, read_all, is_input=True)

    async def _with_fresh_link(
        self, link_of: Callable[[TaskInfo], L], use: Callable[[L], Awaitable[T]]
    ) -> T:
        """Use a link, or some; when one has expired, refetch the task once for fresh ones."""
        self._context.loop.check()
        with self._attaching_errors():
            try:
                return await use(link_of(self._info))
            except LinkExpired:
                await self.refresh()
            return await use(link_of(self._info))

    # --- submitting ---

    async def _wait_until_accepted(self, deadline: float, stall: float) -> None:
        """Return once the server has accepted the job; raise what became of it otherwise."""
        if self._pending is not None:
            receiver = SubmissionCallbacks(
                on_accepted=self._on_accepted,
                on_already_running=self._set_info,
                is_settled=self._is_settled,
                on_change=self._notify,
            )
            await self._pending.wait_until_accepted(deadline, stall, receiver)
            self._pending = None

    def _on_accepted(self, receipt: SubmitReceipt, submission: SubmitRequest) -> TaskInfo:
        """Keep the id at once: from here on the job is paid."""
        self._seen_by_server = True
        if self._modal_answered and self._parent is not None:
            self._parent._modal_answered = True  # noqa: SLF001 - it asked, this answers
        sent = submission.payload
        proposed = decoding.parse_text(receipt.properties.get("finalPrompt"))
        is_modal = receipt.is_modal and not self._modal_answered
        first, *others = (
            TaskInfo(
                id=task_id,
                status=TaskStatus.MODAL if is_modal else TaskStatus.NOT_START,
                action=submission.expected_action,
                prompt=sent.get("prompt"),
                final_prompt=proposed,
                state=sent.get("state"),
                properties=receipt.properties,
            )
            for task_id in receipt.ids
        )
        self._siblings = tuple(
            Task(
                self._context,
                self._label,
                parent=self._parent,
                info=info,
                seen_by_server=True,
                route=self._route,
            )
            for info in others
        )
        is_new = submission.operation is Operation.SUBMIT or submission.exclusive_key
        if is_new and sent.get("state"):  # other presses may be answered with an older task
            self._sent_state_and_prompt = sent["state"], sent.get("prompt")
        for made in (first, *others):
            self._context.poller.expect(made.id)
        self._set_info(first)
        asked = self._parent if self._modal_answered else None
        if asked is not None and asked.id != first.id:
            asked._set_info(first)  # noqa: SLF001 - its job goes on under another id
        return first

    async def _raise_outcome(self) -> None:
        """Raise what became of a job that has ended or wants an answer, unless it is well."""
        if self._info.status is TaskStatus.MODAL:
            message = "The server waits for the answer to a modal."
            raise ModalRequired(message, task=self)
        if not self._has_own_links:  # watched by the client's route, whose image host is another
            await self.refresh()
            self._has_own_links = True
        results.raise_for_status(self._info)

    def _register_waiter(
        self, on_update: Callable[[TaskInfo], bool], deadline: float, stall: float
    ) -> Waiter:
        return self._context.poller.watch(
            self._info,
            on_update,
            is_known=self._is_seen,
            deadline=deadline,
            stall=stall,
            modal_answered=self._modal_answered,
        )

    def _is_shadowed(self, info: TaskInfo) -> bool:
        """Whether the server shows another task under this one's id: its state is not as sent.

        Checked when the task is first seen and when it has ended. A server that repeats no state
        shows nothing; one that has a state of its own for everything shows the prompt at least.
        """
        is_first = not decoding.is_from_server(self._info)
        if self._sent_state_and_prompt is None or not (is_first or info.status.is_final):
            return False
        state, prompt = self._sent_state_and_prompt
        told = decoding.raw_of(info)
        echoed = decoding.parse_text(told.get("state"))
        if echoed is None:
            return False
        if echoed == state:
            self._context.echoes_state = True
            return False
        shown = decoding.parse_text(told.get("prompt"))
        differs = prompt is not None and shown is not None and shown != prompt
        return differs or self._context.echoes_state or echoed.startswith(GENERATED_STATE_PREFIX)

    def _check_not_shadowed(self, info: TaskInfo) -> None:
        if self._is_shadowed(info):
            message = (
                f"The server shows another task under the id {self.id}: its state is "
                f"{printable(info.state)!r}."
            )
            raise TaskShadowed(message, task=self)

    def _on_update_until_settled(self, info: TaskInfo) -> bool:
        if self._is_shadowed(info):
            return True
        self._set_info(info)
        return self._is_settled(info)

    def _on_update_until_started(self, info: TaskInfo) -> bool:
        if self._is_shadowed(info):
            return True
        self._set_info(info)
        return info.status is not TaskStatus.NOT_START

    @property
    def _is_seen(self) -> bool:
        """Whether the server has ever spoken of this job."""
        return self._seen_by_server or decoding.is_from_server(self._info)

    def _is_settled(self, info: TaskInfo) -> bool:
        return info.status.is_final or (
            info.status is TaskStatus.MODAL and not self._modal_answered
        )

    def _set_info(self, info: TaskInfo) -> None:
        """Swap the snapshot; what has ended never comes alive again."""
        before = self._info
        if info is before or (before.status.is_final and not info.status.is_final):
            return
        self._info = info
        if info.status.is_final:
            self._context.submissions.on_task_ended()
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

    def _require_id(self) -> str:
        if not self._info.id:
            message = "This Task has not been submitted: await it, or call submit(), first."
            raise InvalidRequest(message)
        return self._info.id

    def _attach_to(self, error: Exception) -> Exception:
        """Say on an error that it is about this Task, unless it is about one before it."""
        if isinstance(error, MJError) and (error.task is None or isinstance(error, TaskTimeout)):
            waited_for = error.task_id
            error._attach(self)  # noqa: SLF001
            error.task_id = error.task_id or waited_for
        return error

    @contextmanager
    def _attaching_errors(self) -> Iterator[None]:
        """Say on whatever is raised meanwhile that it is about this Task."""
        try:
            yield
        except MJError as error:
            self._attach_to(error)
            raise

    # --- following up ---

    def _press_meaning(
        self, options: FollowUpOptions, verb: str, *details: str, opens_modal: bool = False
    ) -> Task:
        _check_details(verb, details)
        what = f"{verb} {details[0]}" if details else verb
        return self._press_button(
            lambda buttons: buttons.meaning(verb, *details), what, options, opens_modal=opens_modal
        )

    def _press_with_prompt(
        self, prompt: str | None, options: FollowUpOptions, verb: str, *details: str
    ) -> Task:
        """Press; with a prompt, ask for the modal and answer it."""
        _check_prompt(prompt)
        if prompt is None:
            return self._press_meaning(options, verb, *details)
        asking: FollowUpOptions = {"enable_remix": True, **options}
        return self._press_meaning(asking, verb, *details, opens_modal=True).modal(prompt)

    def _press_button(
        self,
        choose: ButtonChooser,
        label: str,
        options: FollowUpOptions,
        *,
        opens_modal: bool = False,
    ) -> Task:
        """Press a button; `opens_modal` where the modal it opens will be answered."""
        common = common_payload(options, FollowUpOptions.__optional_keys__)
        route = url_for_options(self._route, options, by_path=self._context.speed_by_path)

        async def prepare(stall: float) -> SubmitRequest:
            await self.wait(timeout=_NO_TIMEOUT, stall_timeout=stall)
            with self._attaching_errors():
                button = choose(self.buttons)
                if options.get("enable_remix") and not button.custom_id:
                    message = "This server's variations keep their prompt."
                    raise UnsupportedEndpoint(message)
            by_id = {"customId": button.custom_id} if button.custom_id else change_payload(button)
            return build_submit_request(
                "action" if button.custom_id else "change",
                {"taskId": self.id, **by_id, **common},
                Operation.FOLLOW_UP,
                expected_action="UPSCALE" if is_grid_upscale(button) else "",
                url=route,
                exclusive_key=_exclusive_key(self.id, by_id),
            )

        speed = options.get("speed")
        if speed and not (self._context.speed_by_path or opens_modal):
            message = (
                "A button pressed without a prompt cannot ask for a speed by prompt "
                '(speed_via="prompt").'
            )
            raise InvalidRequest(message)
        return Task(self._context, label, prepare, parent=self, route=route, speed=speed)

    def _answer_modal(
        self,
        compose_prompt: Callable[[str], str],
        mask: ImageInput | None = None,
        *,
        optional: bool = False,
    ) -> Task:
        async def prepare(stall: float) -> SubmitRequest | TaskInfo:
            masked = {}
            if mask is not None:  # first: a bad mask must not leave a modal open
                masked["maskBase64"] = await as_mask(mask, self._download_input)
            with self._attaching_errors():
                has_opened = await self._wait_for_modal(stall)
            if not has_opened:
                if optional:
                    return self._info
                message = "The server went ahead without asking for a modal."
                raise ModalNotOpened(message, task=self)
            payload: dict[str, Any] = {"taskId": self.id, **masked}
            text = compose_prompt(self.final_prompt or "")
            if text and self._speed and self._context.speed_by_prompt:
                text = with_speed(text, self._speed)
            if text:
                payload["prompt"] = text
            make = partial(
                build_submit_request, "modal", payload, Operation.FOLLOW_UP, url=self._route
            )
            return await run_in_worker(make) if masked else make()

        self._modal_lock = (
            self._modal_lock or asyncio.Lock()
        )  # of several answers one is taken: the first
        return Task(
            self._context,
            "modal",
            prepare,
            parent=self,
            modal_answered=True,
            modal_lock=self._modal_lock,
            route=self._route,
        )

    async def _wait_for_modal(self, stall: float) -> bool:
        """Whether the server asks for a modal; found out by watching where it did not say so."""
        await self._wait_until_accepted(_NO_TIMEOUT, stall)
        if self._modal_answered:
            message = "This modal has been answered already."
            raise InvalidRequest(message, task=self)
        if self.status is TaskStatus.NOT_START:
            waiter = self._register_waiter(self._on_update_until_started, _NO_TIMEOUT, stall)
            try:
                self._check_not_shadowed(await waiter)
            finally:
                self._context.poller.unwatch(waiter)
        if self.done:
            await self._raise_outcome()
        return self.status is TaskStatus.MODAL

    # --- manners ---

    def __repr__(self) -> str:
        progress = "" if self.progress is None else f" {self.progress}%"
        stands = f"{self.status}{progress}" if self.id else self._describe_unsent()
        return printable(f"<Task {self.id or '-'} {self._label}: {stands}>", None)

    def _describe_unsent(self) -> str:
        """What became of it so far, while it has no id."""
        if self.phase is TaskPhase.CLOSED:
            return "closed"
        refusal = None if self._pending is None else self._pending.refusal
        error = self._error if self._is_orphaned else refusal
        return _UNSENT_HINT if error is None else f"failed ({type(error).__name__})"

    def __reduce__(self) -> NoReturn:
        message = (
            "A Task belongs to a running Client and cannot be pickled or copied: pickle task.id, "
            "and attach to it with mj.task(id)."
        )
        raise TypeError(message)

    def __del__(self) -> None:
        if getattr(self, "_seen_by_server", False):
            self._context.poller.expect_no_more(self._info.id)
        if not getattr(self, "_is_awaited", True):
            warnings.warn(
                f"<Task - {self._label}: not submitted> was never awaited: nothing was sent",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )


def suppress_unawaited_warning(task: Task) -> Task:
    """Keep a Task from warning when it is dropped unsent; return it."""
    task._is_awaited = True  # noqa: SLF001 - it has no public name
    return task


def _phase_of(info: TaskInfo, *, answered: bool) -> TaskPhase:
    """Return what a server's status means for whoever waits."""
    if info.status.is_final:
        is_well = info.status is TaskStatus.SUCCESS
        return TaskPhase.FINISHED if is_well else TaskPhase.FAILED
    if info.status is TaskStatus.MODAL:
        return TaskPhase.SUBMITTED if answered else TaskPhase.MODAL
    waits = info.status in {TaskStatus.NOT_START, TaskStatus.SUBMITTED}
    return TaskPhase.SUBMITTED if waits else TaskPhase.RUNNING


def _exclusive_key(task_id: str, fields: Mapping[str, Any]) -> str:
    """Return what must not be under way twice: variations and rerolls of a grid without buttons.

    Such a server tells their results apart by the prompt alone, which they share.
    """
    changes = fields.get("action") in {"VARIATION", "REROLL"}
    return f"changes of {task_id}" if changes else ""


def _button_at(buttons: Buttons, key: str | int) -> Button:
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
    words = _VERB_DETAILS.get(verb)
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


def _grid_number(number: int) -> str:
    if number not in range(1, 5):
        message = f"A grid has pictures 1 to 4, not {number}."
        raise InvalidRequest(message)
    return str(number)


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
    def from_task(cls, task: Task) -> Self:
        """Return the update that a Task's state is worth now; what was left unread stays so."""
        update = cls.__new__(cls)
        for slot in _INFO_SLOTS:
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
        return partial(TaskInfo, **{name: getattr(self, name) for name in _INFO_FIELDS}), ()


_INFO_FIELDS: Final = tuple(attrs.fields_dict(TaskInfo))
_INFO_SLOTS: Final[tuple[Any, ...]] = (
    *(vars(TaskInfo)[name] for name in _INFO_FIELDS),
    vars(LazyFields)["_body"],
)
