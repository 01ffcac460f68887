"""Runs the service until it is stopped; requests in flight are answered first."""

from __future__ import annotations

import socket
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from data_prep.errors import InputError
from data_prep.progress import say

LOOPBACK = "127.0.0.1"


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Args:
        host: a name or address of this machine.
        port: 0 takes a free one.

    Raises:
        InputError: the port is taken or not allowed, or the address is not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            "--host and --port",
            "must be a free port of this machine",
            got=f"{host}:{port} ({error.strerror or error})",
            fix="Choose another one, or --port 0 for any that is free.",
        ) from error


def run(service: ASGIApp, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C. New connections are refused then, and open requests are answered."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    say(f"serving on http://{shown}:{port}, described at http://{shown}:{port}/docs; Ctrl-C stops")
    # Behind a proxy, every request counts as the proxy's: a header that says otherwise could be invented.
    config = uvicorn.Config(
        service, proxy_headers=False, server_header=False, log_level="info", timeout_keep_alive=5
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again, after the last answer
        uvicorn.Server(config).run(sockets=[listening])
