"""The error tree: what is raised says what happened, survives a pickle, and knows "again?"."""

from __future__ import annotations

import copy
import inspect
import pickle
import traceback
from typing import Any

import pytest

import mjasync
from mjasync import (
    BannedPrompt,
    ConnectionFailed,
    InvalidRequest,
    MalformedReply,
    MJError,
    QueueFull,
    SubmitUncertain,
    TaskBanned,
    TaskCancelled,
    TaskFailed,
    TaskInfo,
    TaskNotFound,
    TaskStalled,
    TaskStatus,
    TaskTimeout,
    UnsupportedEndpoint,
    errors,
)

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value)]
CLASSES = [value for value in CLASSES if issubclass(value, MJError)]

BASES = {
    "AuthenticationError": (),
    "BannedPrompt": (InvalidRequest,),
    "ButtonNotFound": (LookupError,),
    "ClientClosed": (RuntimeError,),
    "ConfigurationError": (ValueError,),
    "ConnectionFailed": (ConnectionError, OSError),
    "InvalidRequest": (ValueError,),
    "LinkExpired": (),
    "LinkRefused": (),
    "MJError": (Exception,),
    "MalformedReply": (),
    "ModalNotOpened": (),
    "ModalRequired": (),
    "NoAccount": (),
    "QueueFull": (),
    "QuotaExhausted": (),
    "RateLimited": (),
    "ReplyTooLarge": (MalformedReply,),
    "RequestTimeout": (TimeoutError,),
    "ServerError": (),
    "SubmitUncertain": (),
    "TaskBanned": (BannedPrompt, TaskFailed, ValueError),
    "TaskCancelled": (TaskFailed,),
    "TaskFailed": (),
    "TaskNotFound": (LookupError,),
    "TaskNotReady": (),
    "TaskShadowed": (LookupError, TaskNotFound),
    "TaskStalled": (TaskTimeout,),
    "TaskTimeout": (TimeoutError,),
    "TooManyOpenFiles": (ConnectionFailed,),
    "UnsupportedEndpoint": (),
}
RETRYABLE = {
    "ConnectionFailed",
    "MalformedReply",
    "NoAccount",
    "QueueFull",
    "RateLimited",
    "RequestTimeout",
    "ServerError",
    "TaskNotReady",
    "TaskStalled",
    "TaskTimeout",
    "TooManyOpenFiles",
}
SAYS_IT_IN_THE_MESSAGE = {"MJError", "ConfigurationError", "ButtonNotFound"}
SINGLE = {
    "description": "队列已满",
    "code": 23,
    "http_status": 200,
    "retry_after": 1.5,
    "task_id": "17",
    "info": TaskInfo(
        id="17",
        status=TaskStatus("SLEEPING"),
        properties={"finalPrompt": "a fox"},
        raw={"id": "17"},
    ),
}
OWN: dict[str, dict[str, Any]] = {
    "SubmitUncertain": {"endpoint": "imagine", "payload": {"prompt": "x"}, "state": "s"},
    "BannedPrompt": {"word": "blood", "prompt_en": "a blood moon"},
    "TaskFailed": {"reason": "执行超时"},
    "TaskCancelled": {"reason": "取消任务"},
    "TaskBanned": {"reason": "可能包含敏感词", "word": "blood", "prompt_en": "a blood moon"},
}


def made(cls: type[MJError], **facts: object) -> MJError:
    """Make an error with everything that can be said of it."""
    return cls("It happened.", **{**SINGLE, **OWN.get(cls.__name__, {}), **facts})


def pickled(error: MJError, protocol: int = pickle.HIGHEST_PROTOCOL) -> MJError:
    """Send an error to another process."""
    return pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own


class Handle:
    """What an error needs of a Task; it does not pickle."""

    id = "18"
    info = TaskInfo(id="18", status=TaskStatus.MODAL)

    def __reduce__(self) -> str:
        raise TypeError


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_hierarchy(cls: type[MJError]) -> None:
    """Every class is an MJError, and also what a caller without this package would catch."""
    assert issubclass(cls, (MJError, *BASES[cls.__name__]))
    for base in BASES[cls.__name__]:
        assert issubclass(cls, base)


def test_tree_is_complete() -> None:
    """Every class is exported, documented, and in the tables of this file."""
    names = {cls.__name__ for cls in CLASSES}
    assert names == set(errors.__all__) == set(BASES)
    assert names <= set(mjasync.__all__)
    assert all(cls.__doc__ and cls.__doc__ != cls.__mro__[1].__doc__ for cls in CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_retryable(cls: type[MJError]) -> None:
    """Only what cannot cost twice says that it may be tried again."""
    assert cls.retryable is (cls.__name__ in RETRYABLE)
    assert made(cls).retryable is cls.retryable


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_pickles(cls: type[MJError], protocol: int) -> None:
    """Every class comes out of a pickle with every attribute, its text and its notes."""
    error = made(cls)
    error.add_note("one of three")
    twin = pickled(error, protocol)
    assert type(twin) is cls
    assert twin.__dict__ == error.__dict__
    assert twin.args == error.args
    assert (str(twin), repr(twin)) == (str(error), repr(error))
    for name, value in {**SINGLE, **OWN.get(cls.__name__, {})}.items():
        assert getattr(twin, name) == value


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_pickles_without_facts(cls: type[MJError]) -> None:
    """An error of which nothing is known but its message pickles too."""
    error = cls("It happened.")
    assert pickled(error).__dict__ == error.__dict__


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_live_tasks_stay_behind(cls: type[MJError]) -> None:
    """The Tasks of a running client do not travel; the id and the snapshot do."""
    error = cls("It happened.", task=Handle())  # type: ignore[arg-type]
    error.gathered = (error.task, error.task)  # type: ignore[assignment]
    twin = pickled(error)
    assert (twin.task, twin.gathered) == (None, ())
    assert (twin.task_id, twin.info) == ("18", Handle.info)
    assert copy.copy(error).task is None


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_messages(cls: type[MJError]) -> None:
    """A message says what happened, the server's own words, and what to do next."""
    text = str(made(cls))
    assert text.startswith("It happened. (task 17) The server said: '")
    assert "队列已满" in text
    assert "(code 23, HTTP 200)" in text
    assert text.endswith(made(cls).next_step)
    assert bool(cls.hint) is (cls.__name__ not in SAYS_IT_IN_THE_MESSAGE)
    assert repr(made(cls)) == f"<{cls.__name__}: {text}>"


@pytest.mark.parametrize(
    "facts, said",
    [
        ({}, "It happened. X"),
        ({"code": 9}, "It happened. The server gave no reason (code 9). X"),
        ({"http_status": 502}, "It happened. The server gave no reason (HTTP 502). X"),
        ({"description": "why"}, "It happened. The server said: 'why'. X"),
        ({"description": "why", "code": 4}, "It happened. The server said: 'why' (code 4). X"),
        ({"task_id": "7"}, "It happened. (task 7) X"),
    ],
)
def test_messages_leave_out_what_is_unknown(facts: dict[str, Any], said: str) -> None:
    """A message has no empty parts."""
    assert str(QueueFull("It happened.", **facts)) == said.replace("X", QueueFull.hint)


def test_what_is_too_large_is_not_to_be_changed_blindly() -> None:
    """A body that is too large for a front end calls for a smaller one, or for another limit."""
    said = str(InvalidRequest("It was refused.", http_status=413))
    assert "Send smaller images" in said
    assert InvalidRequest.hint not in said


def test_a_server_of_the_family_has_the_right_address() -> None:
    """The base URL is only in doubt where what answered may be something else."""
    page = UnsupportedEndpoint("It was refused.", http_status=404)
    assert str(page).endswith(UnsupportedEndpoint.hint)
    own = UnsupportedEndpoint("It was refused.", code=4, http_status=200)
    known = UnsupportedEndpoint("This server's variations keep their prompt.")
    for error in (own, known):
        assert str(error).endswith("Do without it, or use another server or account.")


def test_an_id_in_the_message_is_not_repeated() -> None:
    """A message that names its task names it once."""
    error = TaskTimeout("Task 17 took too long.", task_id="17")
    assert str(error).count("17") == 1


def test_reason_is_the_servers_words() -> None:
    """A failed task's reason stands in for the description, unless there is one."""
    assert TaskFailed("It failed.", reason="超时").description == "超时"
    assert TaskFailed("It failed.", reason="超时", description="words").description == "words"
    assert "超时" in str(TaskBanned("It failed.", reason="超时"))
    assert "取消任务" in str(TaskCancelled("It was cancelled.", reason="取消任务"))


def test_uncertain_has_a_payload() -> None:
    """The payload is a mapping even where there was none."""
    assert SubmitUncertain("Who knows?").payload == {}


def test_caught_as_builtin_errors() -> None:
    """Code that knows nothing of this package catches timeouts and connection errors."""
    with pytest.raises(TimeoutError):
        raise TaskStalled("It stands still.")
    with pytest.raises(OSError, match="No connection"):
        raise ConnectionFailed("No connection.")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_again(cls: type[MJError]) -> None:
    """Every waiter gets a twin: the same facts, Task and cause, and a traceback of its own."""
    error = made(cls, task=Handle())
    try:
        raise error from KeyError("why")
    except MJError:
        pass
    twin = error._copy()
    assert twin is not error
    assert type(twin) is cls
    assert twin.__dict__ == error.__dict__
    assert twin.task is error.task
    assert twin.__cause__ is error.__cause__
    assert (error.__traceback__ is None, twin.__traceback__) == (False, None)
    assert str(twin) == str(error)


def test_again_grows_no_tracebacks() -> None:
    """Raising twins over and over does not pile up frames on the first error."""
    error = QueueFull("It is full.")
    for _ in range(3):
        with pytest.raises(QueueFull) as caught:
            raise error._copy()
        assert len(traceback.extract_tb(caught.value.__traceback__)) == 1
    assert error.__traceback__ is None
