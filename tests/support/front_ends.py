"""Real reverse proxies in front of a server: nginx, Varnish, HAProxy and Envoy on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from support.ports import reserved_port

PATIENCE: Final = 30
"""Seconds a program may take to listen."""
GIVES_UP_AFTER: Final = 0.5
"""Seconds each waits for the server behind it."""
_FOLDERS: Final = os.pathsep.join(
    [str(Path(sys.executable).parent), "/usr/sbin", os.environ.get("PATH", os.defpath)]
)
"""Where programs are: Envoy comes as a wheel, Debian's daemons are in a folder of their own."""

NGINX: Final = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_read_timeout {ms}ms; }}
  }}
}}
"""
VARNISH: Final = """
vcl 4.1;
backend default {{
  .host = "127.0.0.1"; .port = "{behind}"; .first_byte_timeout = {ms}ms;
}}
sub vcl_recv {{ return (pass); }}
"""
HAPROXY: Final = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server {ms}ms
frontend front
  bind 127.0.0.1:{port}
  default_backend behind
backend behind
  server only 127.0.0.1:{behind}
"""
ENVOY_MANAGER: Final = (
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
ENVOY: Final = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/{manager}
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: behind, timeout: {seconds}s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: behind
    type: STATIC
    load_assignment:
      cluster_name: behind
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {behind}}}}}}}
"""


@attrs.frozen
class FrontEnd:
    """How one program is started."""

    program: str
    settings: str
    command: Callable[[Path, int], list[str]]

    @property
    def path(self) -> str | None:
        """Where it is; None where it is not installed."""
        return shutil.which(self.program, path=_FOLDERS)


FRONT_ENDS: Final[Mapping[str, FrontEnd]] = {
    "nginx": FrontEnd("nginx", NGINX, lambda folder, _: ["-c", f"{folder}/settings"]),
    "varnish": FrontEnd(
        "varnishd",
        VARNISH,
        lambda folder, port: [
            *("-F", "-j", "none", "-n", f"{folder}/work", "-f", f"{folder}/settings"),
            *("-a", f"127.0.0.1:{port}", "-s", "malloc,8m"),
        ],
    ),
    "haproxy": FrontEnd("haproxy", HAPROXY, lambda folder, _: ["-db", "-f", f"{folder}/settings"]),
    "envoy": FrontEnd(
        "envoy",
        ENVOY,
        lambda folder, _: [
            *("-c", f"{folder}/settings.yaml", "--disable-hot-restart"),
            *("--concurrency", "1", "--log-level", "error"),
        ],
    ),
}


@asynccontextmanager
async def in_front_of(url: str, name: str) -> AsyncIterator[str]:
    """Run one of `FRONT_ENDS` before a server; yield the address of the front end."""
    front_end = FRONT_ENDS[name]
    behind = int(url.rpartition(":")[2])
    folder = Path(tempfile.mkdtemp(prefix=f"mjasync-{name}-"))
    process = None
    try:
        with reserved_port() as port:
            process = await _start(front_end, folder, port, behind)
            if not await _listens(process, port):
                raise RuntimeError(f"{name} does not start: {(folder / 'log').read_text()}")
            yield f"http://127.0.0.1:{port}"
    finally:
        if process is not None:
            await _end(process)
        shutil.rmtree(folder, ignore_errors=True)


async def _start(
    front_end: FrontEnd, folder: Path, port: int, behind: int
) -> asyncio.subprocess.Process:
    text = front_end.settings.format(
        manager=ENVOY_MANAGER,
        folder=folder,
        port=port,
        behind=behind,
        seconds=GIVES_UP_AFTER,
        ms=int(GIVES_UP_AFTER * 1000),
    )
    for name in ("settings", "settings.yaml"):
        (folder / name).write_text(text)
    (folder / "work").mkdir(exist_ok=True)
    assert front_end.path is not None
    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            front_end.path,
            *front_end.command(folder, port),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def _listens(process: asyncio.subprocess.Process, port: int) -> bool:
    """Wait until it listens; return False if it ended instead."""
    async with asyncio.timeout(PATIENCE):
        while process.returncode is None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
                return True
            await asyncio.sleep(0.005)  # it needs the processor to come up
    return False


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()
