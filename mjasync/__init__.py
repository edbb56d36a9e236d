"""The asyncio SDK for the Midjourney-Proxy HTTP API and its whole family.

Open a `Client`, `await mj.imagine(…)`, press the buttons of the `Task` it returns. Every error is
in `mjasync.errors`; `mjasync.simulator` is a server to test against.
"""

from __future__ import annotations

from . import errors as errors
from . import prompt as prompt
from ._client import Client
from ._clock import Clock
from ._http.retry import Retries, RetryPolicy
from ._limits import Limits
from ._media.grid import Picture
from ._media.inputs import ImageInput
from ._models import Account, AccountFilter, Button, SubmitReceipt, TaskInfo, TaskPhase, TaskStatus
from ._options import FollowUpOptions, SubmitOptions
from ._polling.schedule import PollSchedule, PollState, Schedule
from ._probe.report import Probe
from ._protocol.buttons import ButtonMeaning, Buttons, classify_button
from ._submission_queue import HeldUp
from ._submission_tasks import cancel_in_flight_submissions
from ._task import Task, TaskUpdate
from ._text import printable, redact
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
    "ButtonMeaning",
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
    "MJError",
    "MalformedReply",
    "ModalNotOpened",
    "ModalRequired",
    "NoAccount",
    "Picture",
    "PollSchedule",
    "PollState",
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
    "cancel_in_flight_submissions",
    "classify_button",
    "printable",
    "redact",
]
