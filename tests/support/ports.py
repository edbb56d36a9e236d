"""Ports of loopback that are reserved for one test."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that refuses connections until the test itself starts a server on it.

    A socket stays bound to it and does not listen. The kernel then gives the port to nobody who
    asks for any free one, such as the servers of tests that run at the same time; a server that is
    started on this very port with SO_REUSEADDR, as all usual ones are, may still have it.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
