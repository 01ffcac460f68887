"""Runs the service until it is stopped; requests in flight are answered first."""

from __future__ import annotations

import socket
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from data_prep.progress import say
from faceverif.address import Address


def run(service: ASGIApp, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C. New connections are refused then, and open requests are answered."""
    url = Address(*listening.getsockname()[:2]).url
    say(f"serving on {url}, described at {url}/docs; Ctrl-C stops")
    # Behind a proxy, every request counts as the proxy's: a header that says otherwise could be invented.
    config = uvicorn.Config(
        service, proxy_headers=False, server_header=False, log_level="info", timeout_keep_alive=5
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again, after the last answer
        uvicorn.Server(config).run(sockets=[listening])
