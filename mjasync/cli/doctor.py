"""`mjasync doctor`: which server this is, and what will not work with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from .. import Client, Probe
from ..errors import MJError, RequestTimeout
from .console import print_note, print_result
from .server_options import ServerOptions
from .signals import GracefulShutdown
from .task_jobs import TaskRun, resolve_in_flight
from .task_text import command, explain, is_usage, json_line, one_line

_PROMPT: Final = "a lighthouse in a storm"
_AUTH: Final[Mapping[str, str]] = {
    "secret": "the token is taken as mj-api-secret",
    "bearer": "the token is taken as Authorization: Bearer",
    "none": "no token is needed",
    "unknown": "unknown",
}
_MARKS: Final[Mapping[bool | None, str]] = {True: "yes", False: "no", None: "unknown"}


def run_doctor(*, server: ServerOptions, spend: bool, as_json: bool) -> int:
    """Probe a server, print the report, and return the exit code."""
    return asyncio.run(_doctor(server, spend=spend, as_json=as_json))


async def _doctor(server: ServerOptions, *, spend: bool, as_json: bool) -> int:
    job = TaskRun(create_task=lambda mj: mj.imagine(_PROMPT), prompt=_PROMPT)
    report: Probe | None = None
    error: Exception | None = None
    proxy: str | None = None
    with GracefulShutdown() as stop:
        try:
            async with server.open(1) as mj:
                proxy = mj.proxy_url()
                report = await _run_probe(mj, job if spend else None, server.timeout)
        except (MJError, OSError) as caught:
            error = caught
    if stop.exit_code is not None or report is None:
        await _report_open_job(job, server)
        if stop.exit_code is not None:
            return stop.exit_code
        if proxy:
            print_note(_describe_proxy(proxy))
        return _give_up(error or OSError(), as_json=as_json)
    if as_json:
        record = {"ok": report.ok, **attrs.asdict(report), "task": job.id or None, "error": None}
        print_result(json_line(record))
    else:
        print_result("\n".join(_lines(report, job, proxy)))
    return 0 if report.ok else 1


async def _run_probe(mj: Client, job: TaskRun | None, timeout: float | None) -> Probe:
    """Probe a server within `timeout` seconds.

    Raises:
        RequestTimeout: The probe took longer.
        MJError: As `Client.probe` does.
    """
    if job is not None:
        job.task = job.create_task(mj)
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await mj.probe(spend=job.task if job else None)
    except TimeoutError:
        if not limit.expired():
            raise
        message = (
            f"The server was not examined within {timeout:g} s. Check the base URL and that the "
            "server is up, or allow more time with --timeout."
        )
        raise RequestTimeout(message) from None


async def _report_open_job(job: TaskRun, server: ServerOptions) -> None:
    """Print the paid task that is still on the server."""
    await resolve_in_flight([job])
    if job.is_open and not server.simulate:
        resume = command("watch", *server.flags(), job.id)
        print_note(f"Its picture is on the server; nothing is lost. Go on with:\n  {resume}")
    if job.uncertain is not None:
        print_note(explain(job.uncertain))


def _give_up(error: Exception, *, as_json: bool) -> int:
    """Print why there is no report; return the exit code."""
    print_note(f"mjasync: {explain(error)}")
    if is_usage(error):
        return 2
    if as_json:
        no_report = dict.fromkeys(field.name for field in attrs.fields(Probe))
        failure = {"type": type(error).__name__, "message": explain(error)}
        print_result(json_line({"ok": False, **no_report, "task": None, "error": failure}))
    return 1


def _describe_proxy(proxy: str) -> str:
    return (
        f"Requests go through the proxy {one_line(proxy)}. --proxy selects another one; "
        "NO_PROXY names hosts that need none."
    )


def _lines(report: Probe, job: TaskRun, proxy: str | None) -> Iterable[str]:
    yield one_line(report.url)
    for name, value in _rows(report, job):
        yield f"  {name:<12} {value}"
    for problem in report.problems:
        yield f"problem: {one_line(problem)}"
    if proxy:
        yield f"note: {_describe_proxy(proxy)}"
    for note in report.notes:
        yield f"note: {one_line(note)}"
    if report.ok:
        yield "No problems."


def _rows(report: Probe, job: TaskRun) -> Iterable[tuple[str, str]]:
    kind = ", a gateway in front of others" if report.is_gateway else ""
    yield "family", f"{report.family}{kind}"
    yield "auth", _AUTH[report.auth]
    yield "speeds", ", ".join(report.speeds) or "none by path"
    yield "image hosts", ", ".join(report.image_hosts) or "none by path"
    lists = {
        "list-by-condition": report.list_by_condition,
        "task/list": report.task_list,
        "task/queue": report.task_queue,
    }
    yield "lists", ", ".join(f"{name}: {_MARKS[exists]}" for name, exists in lists.items())
    yield "webhooks", report.webhooks
    yield "clock", _clock(report.clock_skew)
    yield "links", f"reachable: {_MARKS[report.links_reachable]}"
    yield "round trip", f"{report.round_trip * 1000:.0f} ms"
    if report.drawn is not None:
        yield (
            "picture",
            f"drawn: {_MARKS[report.drawn]}{f' (task {one_line(job.id)})' if job.id else ''}",
        )


def _clock(skew: int | None) -> str:
    if skew is None:
        return "unknown"
    if abs(skew) <= 1:
        return "the same"
    return f"{abs(skew)} s {'ahead' if skew > 0 else 'behind'}"
