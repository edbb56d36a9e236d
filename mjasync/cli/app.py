"""The commands. Nothing of the SDK is imported before one of them runs."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)
from cyclopts.validators import Number

from .batch_options import BatchOptions
from .console import print_note
from .server_options import ServerOptions
from .unexpected_errors import SentenceHandler, without_debug

__all__ = ["app", "run"]

_HELP: Final = """Submit, watch and follow up Midjourney tasks on a Midjourney-Proxy server.

Name the server in MJASYNC_BASE_URL and its token in MJASYNC_TOKEN, or try any command without a \
server: --simulate.

After an unexpected error, --debug shows where it happened.

Exit codes: 0 done, 1 some failed, 2 usage, 130 after Ctrl-C."""
_SERVER: Final = ServerOptions()
_BATCH_GROUP: Final = BatchOptions()
_PROMPT_COMMANDS: Final = ("imagine", "shorten")
_TYPO_SIMILARITY: Final = 0.8
"""How alike two options are when one is meant for the other."""

ServerParameters = Annotated[ServerOptions, Parameter(name="*")]
BatchParameters = Annotated[BatchOptions, Parameter(name="*")]
Json = Annotated[bool, Parameter(name="--json")]


def _version() -> str:
    from importlib.metadata import version

    return version("mjasync")


app: Final = App(
    name="mjasync",
    help=_HELP,
    help_format="plaintext",
    version=_version,
    default_parameter=Parameter(negative=(), show_default=False),
)


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words, debug = without_debug(sys.argv[1:] if argv is None else argv)
    logging.lastResort = SentenceHandler(debug=debug)
    try:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _refuse(error, words)
    return command(*bound.args, **bound.kwargs) or 0


def _refuse(error: CycloptsError, arguments: Sequence[str]) -> int:
    """Say what is wrong with a command line; a value given to an option is not repeated."""
    error.verbose = False
    said = re.sub(r"(--?[\w-]+)=\S+", r"\1=…", str(error))
    said = re.sub(
        r'Unknown option: "?(--?[\w-]+)"?\. Did you mean "?\1"?\?', r"Misplaced: \1.", said
    )
    command = next((word for word in arguments if word in _names()), "")
    print_note(f"mjasync: {said.strip()}")
    for hint in _hints(error, said, command, arguments):
        print_note(hint)
    print_note(f"Try: {' '.join(filter(None, ('mjasync', command, '--help')))}")
    return 2


def _hints(
    error: CycloptsError, said: str, command: str, arguments: Sequence[str]
) -> Iterator[str]:
    """What may have been meant."""
    option, dashed = _dashed(arguments)
    if dashed and isinstance(error, MissingArgumentError):
        yield f"What begins with a dash is joined to its option: {option}={shlex.quote(dashed)}"
    elif command in _PROMPT_COMMANDS and _is_unquoted(error, said):
        if dashed:
            yield (
                "What begins with a dash is taken for an option. If it is the prompt, options come "
                f"first and -- before it: mjasync {command} -- {shlex.quote(dashed)}"
            )
        else:
            yield "A prompt of several words, or with --flags, needs quotes around it."
    if command == "batch" and "--retry-failed" in arguments:
        yield "FILE comes first: mjasync batch FILE --out DIR --retry-failed"


def _dashed(words: Sequence[str]) -> tuple[str, str]:
    """The text that was taken for an option, for it begins with a dash, and the word before it."""
    end = words.index("--") if "--" in words else len(words)
    for before, word in pairwise(("", *words[:end])):
        is_flag_like = word.startswith("--") and " " not in word
        if word.startswith("-") and len(word) > 2 and not is_flag_like:
            return before, word
    return "", ""


def _is_unquoted(error: CycloptsError, said: str) -> bool:
    """Whether what is wrong looks like the rest of a prompt, not like a slip of the fingers."""
    if not isinstance(error, UnknownOptionError):
        return isinstance(error, UnusedCliTokensError)
    options = re.findall(r"--[\w-]+", said)
    return len(options) < 2 or SequenceMatcher(None, *options[:2]).ratio() < _TYPO_SIMILARITY


def _names() -> set[str]:
    return {name for name in app if not name.startswith("-")}


@app.command
def imagine(
    prompt: str,
    /,
    *,
    image: Annotated[tuple[str, ...], Parameter(name="--image")] = (),
    save: str | None = None,
    json: Json = False,
    server: ServerParameters = _SERVER,
) -> int:
    """Draw a grid of four pictures.

    Args:
        prompt: What to draw, flags included, in quotes.
        image: A reference picture: a path or a link. May be repeated.
        save: Where to put the picture: a folder, a name, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    from ..prompt import normalise
    from .folders import check_image, check_target
    from .run_tasks import TaskCommand
    from .task_jobs import TaskRun

    server.check()
    check_target(save)
    for picture in image:
        check_image(picture)
    text = normalise(prompt)
    job = TaskRun(create_task=lambda mj: mj.imagine(text, images=image), prompt=text, save=save)
    return TaskCommand(server=server, runs=[job], as_json=json).run()


@app.command
def blend(
    *images: str,
    dimensions: Literal["PORTRAIT", "SQUARE", "LANDSCAPE"] = "SQUARE",
    save: str | None = None,
    json: Json = False,
    server: ServerParameters = _SERVER,
) -> int:
    """Blend two to five pictures into a grid of four.

    Args:
        images: The pictures: paths or links.
        dimensions: The shape of the result: PORTRAIT (2:3), SQUARE or LANDSCAPE (3:2).
        save: Where to put the picture: a folder, a name, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    from .folders import check_image, check_target
    from .run_tasks import TaskCommand
    from .task_jobs import TaskRun

    server.check()
    check_target(save)
    for picture in images:
        check_image(picture)
    job = TaskRun(
        create_task=lambda mj: mj.blend(images, dimensions=dimensions),
        prompt=f"blend of {', '.join(Path(image).name for image in images)}",
        save=save,
    )
    return TaskCommand(server=server, runs=[job], as_json=json).run()


@app.command
def describe(image: str, /, *, json: Json = False, server: ServerParameters = _SERVER) -> int:
    """Put a picture into words: four prompts.

    Args:
        image: The picture: a path or a link.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    from .folders import check_image
    from .run_tasks import TaskCommand
    from .task_jobs import TaskRun

    server.check()
    check_image(image)
    job = TaskRun(create_task=lambda mj: mj.describe(image), prompt=f"describe {Path(image).name}")
    return TaskCommand(server=server, runs=[job], as_json=json).run()


@app.command
def shorten(prompt: str, /, *, json: Json = False, server: ServerParameters = _SERVER) -> int:
    """Find out which words of a prompt matter.

    Args:
        prompt: The prompt, in quotes.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    from .run_tasks import TaskCommand
    from .task_jobs import TaskRun

    server.check()
    job = TaskRun(create_task=lambda mj: mj.shorten(prompt), prompt=prompt)
    return TaskCommand(server=server, runs=[job], as_json=json).run()


@app.command
def action(
    task_id: Annotated[str, Parameter(name="ID")],
    button: str,
    /,
    *,
    save: str | None = None,
    json: Json = False,
    server: ServerParameters = _SERVER,
) -> int:
    """Press a button of a finished task.

    Args:
        task_id: The id of the task.
        button: Its label (U2), emoji, meaning (pan left) or custom id.
        save: Where to put the picture: a folder, a name, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout when the new task has ended.
        server: The server.
    """
    from .folders import check_target
    from .run_tasks import TaskCommand
    from .task_jobs import TaskRun

    server.check()
    check_target(save)
    job = TaskRun(
        create_task=lambda mj: mj.task(task_id).action(button),
        prompt=f"{button} of {task_id}",
        save=save,
    )
    return TaskCommand(server=server, runs=[job], as_json=json).run()


@app.command
def modal(
    task_id: Annotated[str, Parameter(name="ID")],
    /,
    *,
    prompt: str | None = None,
    mask: str | None = None,
    save: str | None = None,
    json: Json = False,
    server: ServerParameters = _SERVER,
) -> int:
    """Answer the modal that a button opened.

    Args:
        task_id: The id that `mjasync action` gave.
        prompt: The text; by default the one the server proposes.
        mask: For Vary (Region): a PNG, white where to repaint, on black.
        save: Where to put the picture: a folder, a name, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    from .folders import check_image, check_target
    from .run_tasks import TaskCommand
    from .task_jobs import TaskRun

    server.check()
    check_target(save)
    check_image(mask)
    job = TaskRun(
        create_task=lambda mj: mj.task(task_id).modal(prompt, mask=mask),
        prompt=prompt or f"modal of {task_id}",
        save=save,
    )
    work = TaskCommand(server=server, runs=[job], as_json=json, resume=("watch", "--answered"))
    return work.run()


@app.command
def watch(
    *task_ids: Annotated[str, Parameter(name="ID")],
    answered: bool = False,
    save: str | None = None,
    json: Json = False,
    server: ServerParameters = _SERVER,
) -> int:
    """Wait for tasks the server has; nothing is submitted.

    Args:
        task_ids: Their ids.
        answered: Their modals have been answered already, so MODAL means pending.
        save: Where to put the pictures: a folder/, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout for each task that has ended.
        server: The server.
    """
    from ..errors import ConfigurationError
    from .folders import check_target
    from .run_tasks import TaskCommand
    from .task_jobs import TaskRun

    server.check()
    ids = list(dict.fromkeys(task_ids))
    if not ids:
        message = "Name at least one task id."
        raise ConfigurationError(message)
    check_target(save, several=len(ids) > 1)

    def job(task_id: str) -> TaskRun:
        return TaskRun(
            create_task=lambda mj: mj.task(task_id, answered=answered), save=save, attached=True
        )

    resume = ("watch", "--answered") if answered else ("watch",)
    work = TaskCommand(server=server, runs=[*map(job, ids)], as_json=json, resume=resume)
    return work.run()


_batch: Final = App(name="batch", help_format="plaintext")
app.command(_batch)


@_batch.default
def batch(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    options: BatchParameters = _BATCH_GROUP,
    json: Json = False,
    server: ServerParameters = _SERVER,
) -> int:
    """Draw every prompt of a file, many at once. Again: go on where it stopped.

    A ledger in the folder knows what was sent, so nothing is paid twice.
    Exit code 1 means that something failed or is left.

    Args:
        file: A prompt a line (.txt; - reads stdin), or .csv, .tsv, .json, .jsonl, .yaml.
        options: What.
        json: Print one JSON object on stdout for each job that has ended.
        server: The server.
    """
    from .server_options import check_ledger_support

    check_ledger_support()
    from .run_batch import run_batch

    return run_batch(file, options=options, server=server, as_json=json)


@_batch.command
def status(
    folder: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    ledger: str | None = None,
    json: Json = False,
) -> int:
    """Tell where a batch stands, while it runs or not. Nothing is sent.

    Exit code 0 means that everything is saved.

    Args:
        folder: The folder of the batch.
        ledger: Where its ledger is, as a database URL; ledger.db in the folder.
        json: Print one JSON object on stdout.
    """
    from .server_options import check_ledger_support

    check_ledger_support()
    from .batch_status import print_status

    return print_status(folder, ledger=ledger, as_json=json)


@app.command
def gallery(
    folder: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    ledger: str | None = None,
    open: bool = False,  # noqa: A002 - the option
) -> int:
    """Make the gallery of a batch again, and print where it is.

    Args:
        folder: The folder of the batch.
        ledger: Where its ledger is, as a database URL; ledger.db in the folder.
        open: Show it in a browser.
    """
    from .server_options import check_ledger_support

    check_ledger_support()
    from .batch_status import write_and_open_gallery

    return write_and_open_gallery(folder, ledger=ledger, in_browser=open)


@app.command
def doctor(*, spend: bool = False, json: Json = False, server: ServerParameters = _SERVER) -> int:
    """Find out which server this is, and what will not work there.

    It only reads, unless told to spend. Exit code 1 means that something is wrong.

    Args:
        spend: Have one picture drawn, which is paid, and see that its link answers.
        json: Print one JSON object on stdout.
        server: The server.
    """
    from .doctor import doctor as examine

    server.check()
    return examine(server=server, spend=spend, as_json=json)


@app.command(default_parameter=Parameter(negative=(), show_default=True))
def simulate(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8080,
    dialect: str = "plus",
    time_scale: Annotated[float, Parameter(validator=Number(gte=0))] = 0.2,
    token: Annotated[str | None, Parameter(show_default=False)] = None,
    version: str = "7",
    accounts: Annotated[int, Parameter(validator=Number(gte=0))] = 1,
    concurrency: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    queue_size: Annotated[int, Parameter(validator=Number(gte=0))] = 10,
    remix: Annotated[bool, Parameter(show_default=False)] = False,
    seed: int = 0,
) -> int:
    """Run a simulated server to try the other commands on.

    It listens until Ctrl-C.

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        dialect: Which server of the family it plays: plus, original, open-plus, new-api,
            new-api-2025, one-hub, one-api or path-gateway.
        time_scale: Real seconds per simulated second; a grid takes about 40 simulated ones.
        token: What clients must send; none by default.
        version: The model of prompts that ask for none: 7, 6.1, niji 6…
        accounts: How many Midjourney accounts it has.
        concurrency: How many tasks each account runs at once.
        queue_size: How many more each account keeps waiting.
        remix: Its accounts have remix on, so that more buttons open a modal.
        seed: Makes ids, durations and pictures repeatable.
    """
    from .simulate import serve

    return serve(
        host=host,
        port=port,
        dialect=dialect,
        time_scale=time_scale,
        token=token,
        version=version,
        accounts=accounts,
        concurrency=concurrency,
        queue_size=queue_size,
        remix=remix,
        seed=seed,
    )
