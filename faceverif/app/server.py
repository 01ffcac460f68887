"""The page behind HTTP: Gradio's routes and the reports, behind the gate."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from faceverif.app.gate import Gate
from faceverif.app.page import build_page
from faceverif.app.rendering import style
from faceverif.app.uploads import Uploads
from faceverif.app.visits import Visits

_LARGEST_UPLOAD = 200 * 2**20  # bytes
# A report may run its own scripts, but sees neither the page nor the network.
_REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; img-src data:; font-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


# Called once the page can be opened, with what ends the server.
Ready = Callable[[Callable[[], None]], None]


def serve(visits: Visits, listening: socket.socket, *, uploads: Uploads, ready: Ready) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        visits: what the page asks.
        listening: on the address.
        uploads: where Gradio puts the photos that are given.
        ready: called once the page can be opened, with what ends the server from another thread.
    """
    asyncio.run(_serve(visits, listening, uploads, ready))


async def _serve(visits: Visits, listening: socket.socket, uploads: Uploads, ready: Ready) -> None:
    app = FastAPI(openapi_url=None)
    _add_reports(app, visits)
    gr.mount_gradio_app(
        app,
        build_page(visits, uploads),
        path="/",
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=style(),
        footer_links=[],
        run_history=False,  # it would keep photos in the browser
        show_error=False,
        max_file_size=_LARGEST_UPLOAD,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
    )
    gate = Gate(app, uploads=uploads, own_machine=visits.own_machine)
    await _Server(gate, app, ready).serve([listening])


def _add_reports(app: FastAPI, visits: Visits) -> None:
    @app.get("/reports/{word}/{place:path}")
    def report(word: str, place: str) -> Response:
        path = visits.shelf.page(word, place)
        if path is None:
            return PlainTextResponse("There is no such report. List the reports again.", 404)
        return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY})


class _Server(uvicorn.Server):
    """Ends cleanly: a signal closes the pages' open connections, and is not raised again."""

    def __init__(self, gate: ASGIApp, app: FastAPI, ready: Ready) -> None:
        super().__init__(
            uvicorn.Config(
                gate, log_level="error", access_log=False, timeout_graceful_shutdown=3, lifespan="on"
            )
        )
        self._ready = ready
        mounted: Any = app.routes[-1]
        self._pages = mounted.app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that the page is there."""
        await super().startup(sockets)
        self._ready(self._end)

    def _end(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go of the connections by which pages are known to be open."""
        self._pages.stop_event.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, without raising the signal again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
