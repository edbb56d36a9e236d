"""The asyncio SDK for the Midjourney-Proxy HTTP API and its whole family.

Open a `Client`, `await mj.imagine(…)`, press the buttons of the `Task` it returns. Everything that
can go wrong is in `mjasync.errors`; `mjasync.simulator` is a server to try it all on.
"""

from ._buttons import Buttons, Meaning
from ._client import Client
from ._clock import Clock
from ._images import ImageInput, Picture
from ._models import Account, Button, SubmitReceipt, TaskInfo, TaskStatus
from ._options import AccountFilter, FollowUpOptions, SubmitOptions
from ._probe import Probe
from ._schedule import Look, NextLook, Schedule
from ._task import Task
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
    MalformedReply,
    MJError,
    ModalNotOpened,
    ModalRequired,
    NoAccount,
    QueueFull,
    QuotaExhausted,
    RateLimited,
    RequestTimeout,
    ServerError,
    SubmitUncertain,
    TaskBanned,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TaskNotReady,
    TaskStalled,
    TaskTimeout,
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
    "ImageInput",
    "InvalidRequest",
    "LinkExpired",
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
    "TaskStalled",
    "TaskStatus",
    "TaskTimeout",
    "UnsupportedEndpoint",
]
