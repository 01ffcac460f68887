"""What stands before Gradio's routes: it answers only what the page asks, with headers of its own."""

from __future__ import annotations

import asyncio
from mimetypes import guess_type
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceverif.address import LOOPBACK
from faceverif.app.uploads import Uploads

# The browser is told to fetch nothing from elsewhere. Gradio's page needs inline scripts and styles.
_PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "connect-src 'self' data: blob:",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'self'",
    )
)
# An upload is a picture; one that is opened as a page of its own runs no script.
_UPLOAD_POLICY = "sandbox; default-src 'none'"
_REFERRERS = "no-referrer"

_INTERFACE = "gradio_api"
_FILE = "file="
# Of Gradio's interface, what the page asks for. Other parts fetch addresses from elsewhere and keep files.
_ASKED = (
    "app_id",
    "cancel",
    "heartbeat",
    "info",
    "queue/data",
    "queue/join",
    "reset",
    "startup-events",
    "upload",
    "upload_progress",
)


class Gate:
    """Answers what the page asks. If only this machine is served, it must be called by this machine's names.

    A page elsewhere could give its own name the address 127.0.0.1, and so read what is served here.

    Args:
        app: what answers.
        uploads: the files that a browser may ask for.
        own_machine: whether only this machine reaches the page.
    """

    def __init__(self, app: ASGIApp, *, uploads: Uploads, own_machine: bool) -> None:
        self._app, self._uploads, self._own_machine = app, uploads, own_machine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = await self._own_answer(scope)
        if answer is not None:
            await answer(scope, receive, send)
            return

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
                headers.setdefault("Referrer-Policy", _REFERRERS)
            await send(message)

        await self._app(scope, receive, send_more)

    async def _own_answer(self, scope: Scope) -> Response | None:
        """A refusal or an upload; None where the app is to answer."""
        if self._own_machine and _host_name(Headers(scope=scope).get("host", "")) not in LOOPBACK:
            return PlainTextResponse("Open the page at the address that faceverif printed.", 403)
        first, _, asked = scope["path"].lstrip("/").partition("/")
        if first != _INTERFACE or any(f"{asked}/".startswith(f"{known}/") for known in _ASKED):
            return None
        # An upload is deleted once its faces are known, and Gradio's answer would fail after it began.
        name = asked.removeprefix(_FILE)
        content = None if name == asked else await asyncio.to_thread(self._uploads.read, name)
        if content is None:
            return PlainTextResponse("The page does not use this address.", 404)
        headers = {
            "Content-Security-Policy": _UPLOAD_POLICY,
            "Referrer-Policy": _REFERRERS,
            "Content-Disposition": "attachment",
        }
        return Response(content, media_type=guess_type(name)[0], headers=headers)


def _host_name(header: str) -> str | None:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None
