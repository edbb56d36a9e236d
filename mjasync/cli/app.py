"""The commands and their options. Each imports what it needs when it runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from .. import ConfigurationError
from ..prompt import normalise
from .batch_options import BatchOptions
from .folders import check_image, check_target
from .server_options import ServerOptions, check_extra
from .task_jobs import TaskRun
from .unexpected_errors import SentenceHandler, without_debug
from .usage_errors import report_usage_error

_HELP: Final = """Submit, watch and follow up Midjourney tasks on a Midjourney-Proxy server.

Name the server in MJASYNC_BASE_URL and its token in MJASYNC_TOKEN, or try any command without a \
server: --simulate.

After an unexpected error, --debug shows where it happened.

Exit codes: 0 done, 1 some failed, 2 usage, 130 after Ctrl-C."""
_SERVER: Final = ServerOptions()
_BATCH_OPTIONS: Final = BatchOptions()
Json = Annotated[bool, Parameter(name="--json")]
TaskId = Annotated[str, Parameter(name="ID")]
BatchFolder = Annotated[Path, Parameter(name="DIR")]
app: Final = App(
    name="mjasync",
    help=_HELP,
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=False),
)


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    arguments, debug = without_debug(sys.argv[1:] if argv is None else argv)
    logging.lastResort = SentenceHandler(debug=debug)
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return report_usage_error(error, arguments, [name for name in app if name.isalpha()])
    return command(*bound.args, **bound.kwargs) or 0


def _run_tasks(
    *runs: TaskRun,
    server: ServerOptions,
    as_json: bool,
    images: Iterable[str] = (),
    resume: Sequence[str] = ("watch",),
) -> int:
    """Check the server and all paths, run the tasks, and return the exit code."""
    from .run_tasks import TaskCommand

    server.check()
    check_target(runs[0].save, several=len(runs) > 1)
    for image in images:
        check_image(image)
    return TaskCommand(server=server, runs=runs, as_json=as_json, resume=resume).run()


@app.command
def imagine(
    prompt: str,
    /,
    *,
    image: Annotated[tuple[str, ...], Parameter(name="--image")] = (),
    save: str | None = None,
    json: Json = False,
    server: ServerOptions = _SERVER,
) -> int:
    """Draw a grid of four pictures.

    Args:
        prompt: What to draw, flags included, in quotes.
        image: A reference picture: a path or a link. May be repeated.
        save: Where to put the picture: a folder, a name, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    text = normalise(prompt)
    task_run = TaskRun(
        create_task=lambda mj: mj.imagine(text, images=image), prompt=text, save=save
    )
    return _run_tasks(task_run, server=server, as_json=json, images=image)


@app.command
def blend(
    *images: str,
    dimensions: Literal["PORTRAIT", "SQUARE", "LANDSCAPE"] = "SQUARE",
    save: str | None = None,
    json: Json = False,
    server: ServerOptions = _SERVER,
) -> int:
    """Blend two to five pictures into a grid of four.

    Args:
        images: The pictures: paths or links.
        dimensions: The shape of the result: PORTRAIT (2:3), SQUARE or LANDSCAPE (3:2).
        save: Where to put the picture: a folder, a name, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    task_run = TaskRun(
        create_task=lambda mj: mj.blend(images, dimensions=dimensions),
        prompt=f"blend of {', '.join(Path(image).name for image in images)}",
        save=save,
    )
    return _run_tasks(task_run, server=server, as_json=json, images=images)


@app.command
def describe(image: str, /, *, json: Json = False, server: ServerOptions = _SERVER) -> int:
    """Describe a picture in four prompts.

    Args:
        image: The picture: a path or a link.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    task_run = TaskRun(
        create_task=lambda mj: mj.describe(image), prompt=f"describe {Path(image).name}"
    )
    return _run_tasks(task_run, server=server, as_json=json, images=[image])


@app.command
def shorten(prompt: str, /, *, json: Json = False, server: ServerOptions = _SERVER) -> int:
    """Find out which words of a prompt matter.

    Args:
        prompt: The prompt, in quotes.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    task_run = TaskRun(create_task=lambda mj: mj.shorten(prompt), prompt=prompt)
    return _run_tasks(task_run, server=server, as_json=json)


@app.command
def action(
    task_id: TaskId,
    button: str,
    /,
    *,
    save: str | None = None,
    json: Json = False,
    server: ServerOptions = _SERVER,
) -> int:
    """Press a button of a finished task.

    Args:
        task_id: The id of the task.
        button: Its label (U2), emoji, meaning (pan left) or custom id.
        save: Where to put the picture: a folder, a name, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout when the new task has ended.
        server: The server.
    """
    task_run = TaskRun(
        create_task=lambda mj: mj.task(task_id).action(button),
        prompt=f"{button} of {task_id}",
        save=save,
    )
    return _run_tasks(task_run, server=server, as_json=json)


@app.command
def modal(
    task_id: TaskId,
    /,
    *,
    prompt: str | None = None,
    mask: str | None = None,
    save: str | None = None,
    json: Json = False,
    server: ServerOptions = _SERVER,
) -> int:
    """Answer the modal that a button opened.

    Args:
        task_id: The id that `mjasync action` printed.
        prompt: The text; by default the one the server proposes.
        mask: For Vary (Region): a PNG, white where to repaint, on black.
        save: Where to put the picture: a folder, a name, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout when the task has ended.
        server: The server.
    """
    task_run = TaskRun(
        create_task=lambda mj: mj.task(task_id).modal(prompt, mask=mask),
        prompt=prompt or f"modal of {task_id}",
        save=save,
    )
    images = () if mask is None else (mask,)
    resume = ("watch", "--answered")
    return _run_tasks(task_run, server=server, as_json=json, images=images, resume=resume)


@app.command
def watch(
    *task_ids: TaskId,
    answered: bool = False,
    save: str | None = None,
    json: Json = False,
    server: ServerOptions = _SERVER,
) -> int:
    """Wait for tasks that are on the server; nothing is submitted.

    Args:
        task_ids: Their ids.
        answered: Their modals have been answered already, so MODAL means pending.
        save: Where to put the pictures: a folder/, or a template like out/{id}.{ext}.
        json: Print one JSON object on stdout for each task that has ended.
        server: The server.
    """

    def attach(task_id: str) -> TaskRun:
        return TaskRun(
            create_task=lambda mj: mj.task(task_id, answered=answered), save=save, attached=True
        )

    if not task_ids:
        message = "Name at least one task id."
        raise ConfigurationError(message)
    resume = ("watch", "--answered") if answered else ("watch",)
    runs = map(attach, dict.fromkeys(task_ids))
    return _run_tasks(*runs, server=server, as_json=json, resume=resume)


_batch: Final = App(name="batch", help_format="plaintext")
app.command(_batch)


@_batch.default
def batch(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    options: BatchOptions = _BATCH_OPTIONS,
    json: Json = False,
    server: ServerOptions = _SERVER,
) -> int:
    """Draw every prompt of a file. Run it again to continue where it stopped.

    A ledger in the folder records what was sent, so nothing is paid twice.
    Exit code 1 means that something failed or is not finished.

    Args:
        file: A prompt a line (.txt; - reads stdin), or .csv, .tsv, .json, .jsonl, .yaml.
        options: The options of the batch.
        json: Print one JSON object on stdout for each job that has ended.
        server: The server.
    """
    check_extra("batch")
    from .run_batch import run_batch

    return run_batch(file, options=options, server=server, as_json=json)


@_batch.command
def status(
    folder: BatchFolder,
    /,
    *,
    ledger: str | None = None,
    json: Json = False,
) -> int:
    """Show the state of a batch, running or not. Nothing is sent.

    Exit code 0 means that everything is saved.

    Args:
        folder: The folder of the batch.
        ledger: The database URL of its ledger; by default ledger.db in the folder.
        json: Print one JSON object on stdout.
    """
    check_extra("batch")
    from .batch_status import print_status

    return print_status(folder, ledger=ledger, as_json=json)


@app.command
def gallery(
    folder: BatchFolder,
    /,
    *,
    ledger: str | None = None,
    open: bool = False,  # noqa: A002 - the option
) -> int:
    """Write the gallery of a batch again, and print its path.

    Args:
        folder: The folder of the batch.
        ledger: The database URL of its ledger; by default ledger.db in the folder.
        open: Open it in a browser.
    """
    check_extra("batch")
    from .batch_status import write_and_open_gallery

    return write_and_open_gallery(folder, ledger=ledger, in_browser=open)


@app.command
def doctor(*, spend: bool = False, json: Json = False, server: ServerOptions = _SERVER) -> int:
    """Find out which server this is, and what will not work with it.

    Without --spend, it only reads. Exit code 1 means that there are problems.

    Args:
        spend: Draw one picture, which is paid for, and test its link.
        json: Print one JSON object on stdout.
        server: The server.
    """
    from .doctor import run_doctor

    server.check()
    return run_doctor(server=server, spend=spend, as_json=json)


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
    """Run a simulated server to try the other commands with.

    It listens until Ctrl-C.

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        dialect: The server of the family to simulate: plus, original, open-plus, new-api,
            new-api-2025, one-hub, one-api or path-gateway.
        time_scale: Real seconds per simulated second; a grid takes about 40 simulated ones.
        token: The token that clients must send; none by default.
        version: The model of prompts without --v: 7, 6.1, niji 6…
        accounts: The number of Midjourney accounts.
        concurrency: The number of tasks that each account runs at once.
        queue_size: The number of tasks that each account keeps waiting.
        remix: Turn remix on, so that more buttons open a modal.
        seed: The seed of ids, durations and pictures.
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
