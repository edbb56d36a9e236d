"""The asyncio SDK for the Midjourney-Proxy HTTP API and its whole family.

Open a `Client`, `await mj.imagine(…)`, press the buttons of the `Task` it returns. Everything that
can go wrong is in `mjasync.errors`; `mjasync.simulator` is a server to try it all on.

Each name is loaded when it is first asked for: `from mjasync import Client` loads aiohttp, `import
mjasync` alone loads nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import errors as errors
    from . import prompt as prompt
    from ._buttons import Buttons, Meaning
    from ._client import Client
    from ._clock import Clock
    from ._images import ImageInput, Picture
    from ._limits import Limits
    from ._models import Account, Button, SubmitReceipt, TaskInfo, TaskPhase, TaskStatus
    from ._options import AccountFilter, FollowUpOptions, SubmitOptions
    from ._probe import Probe
    from ._schedule import Look, NextLook, Schedule
    from ._submission_queue import HeldUp
    from ._task import Task, TaskUpdate
    from ._wire.retry import Retries, RetryPolicy
    from .errors import (
        AuthenticationError,
        BannedPrompt,
        ButtonNotFound,
        ClientClosed,
        ConfigurationError,
        ConnectionFailed,
        InvalidRequest,
        LinkExpired,
        LinkRefused,
        MalformedReply,
        MJError,
        ModalNotOpened,
        ModalRequired,
        NoAccount,
        QueueFull,
        QuotaExhausted,
        RateLimited,
        ReplyTooLarge,
        RequestTimeout,
        ServerError,
        SubmitUncertain,
        TaskBanned,
        TaskCancelled,
        TaskFailed,
        TaskNotFound,
        TaskNotReady,
        TaskShadowed,
        TaskStalled,
        TaskTimeout,
        TooManyOpenFiles,
        UnsupportedEndpoint,
    )

__all__ = [
    "Account",
    "AccountFilter",
    "AuthenticationError",
    "BannedPrompt",
    "Button",
    "ButtonNotFound",
    "Buttons",
    "Client",
    "ClientClosed",
    "Clock",
    "ConfigurationError",
    "ConnectionFailed",
    "FollowUpOptions",
    "HeldUp",
    "ImageInput",
    "InvalidRequest",
    "Limits",
    "LinkExpired",
    "LinkRefused",
    "Look",
    "MJError",
    "MalformedReply",
    "Meaning",
    "ModalNotOpened",
    "ModalRequired",
    "NextLook",
    "NoAccount",
    "Picture",
    "Probe",
    "QueueFull",
    "QuotaExhausted",
    "RateLimited",
    "ReplyTooLarge",
    "RequestTimeout",
    "Retries",
    "RetryPolicy",
    "Schedule",
    "ServerError",
    "SubmitOptions",
    "SubmitReceipt",
    "SubmitUncertain",
    "Task",
    "TaskBanned",
    "TaskCancelled",
    "TaskFailed",
    "TaskInfo",
    "TaskNotFound",
    "TaskNotReady",
    "TaskPhase",
    "TaskShadowed",
    "TaskStalled",
    "TaskStatus",
    "TaskTimeout",
    "TaskUpdate",
    "TooManyOpenFiles",
    "UnsupportedEndpoint",
]

_ROOMS = {
    "_buttons": ("Buttons", "Meaning"),
    "_client": ("Client",),
    "_clock": ("Clock",),
    "_images": ("ImageInput", "Picture"),
    "_limits": ("Limits",),
    "_models": ("Account", "Button", "SubmitReceipt", "TaskInfo", "TaskPhase", "TaskStatus"),
    "_options": ("AccountFilter", "FollowUpOptions", "SubmitOptions"),
    "_probe": ("Probe",),
    "_schedule": ("Look", "NextLook", "Schedule"),
    "_submission_queue": ("HeldUp",),
    "_task": ("Task", "TaskUpdate"),
    "_wire.retry": ("Retries", "RetryPolicy"),
}
"""Where names live that are not errors."""
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

if not TYPE_CHECKING:  # type checkers read the imports above, and would believe any name of this

    def __getattr__(name: str) -> object:
        """Load a public name, or a public module, the first time it is asked for."""
        from importlib import import_module

        if name in {"errors", "prompt"}:
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_ROOM_OF.get(name, 'errors')}")
        found = globals()[name] = getattr(module, name)
        return found

    def __dir__() -> list[str]:
        """What can be asked for, loaded or not."""
        return sorted({*globals(), *__all__, "errors", "prompt"})
