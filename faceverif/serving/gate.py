"""What every request passes first: rate, number of requests, and the size and speed of its body."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_prep.counted import counted
from faceverif.serving.limits import Limits, RateLimit
from faceverif.serving.refusals import Refusal

# The body of a refused request is read and dropped this long, because most clients send before they read.
_DROPPED_S = 10.0


class _GoneError(Exception):
    """The client has hung up."""


class Gate:
    """An ASGI layer that holds a service to its limits.

    A body is in memory as a whole before the service sees the request. So a slow client occupies no worker,
    and what is too large is never parsed.

    Args:
        app: the service behind it.
        limits: its limits.

    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._rate = RateLimit(limits.requests_per_minute)
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        self._inside += 1
        upload = _Upload(receive)
        try:
            body = await self._admit(scope, upload)
            await self._app(scope, _replayed(body, receive), send)
        except Refusal as refusal:
            if refusal.code != "body_too_slow":
                await upload.drop()
            await refusal.response()(scope, receive, send)
        except _GoneError:
            return
        finally:
            self._inside -= 1

    async def _admit(self, scope: Scope, upload: _Upload) -> bytes:
        self._refuse_too_many(scope)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if int(announced) > self._limits.body_bytes:  # the server has refused what is no number
            raise self._too_large()
        return await self._body(upload)

    def _refuse_too_many(self, scope: Scope) -> None:
        client = scope["client"][0] if scope.get("client") else ""
        wait_s = self._rate.wait_s(client)
        if wait_s:
            most = counted(self._limits.requests_per_minute, "request")
            message = f"at most {most} a minute; send this one later"
            raise Refusal(429, "too_many_requests", message, retry_s=wait_s)
        if self._inside > self._limits.waiting:
            message = f"{counted(self._limits.waiting, 'request')} waiting already; send this one later"
            raise Refusal(503, "busy", message, retry_s=1)

    async def _body(self, upload: _Upload) -> bytes:
        parts, size = [], 0
        deadline = time.monotonic() + self._limits.upload_s
        while upload.more:
            try:
                parts.append(await upload.part(deadline))
            except TimeoutError:
                text = f"the body must arrive within {self._limits.upload_s:g} seconds"
                raise Refusal(408, "body_too_slow", text) from None
            size += len(parts[-1])
            if size > self._limits.body_bytes:
                raise self._too_large()
        return b"".join(parts)

    def _too_large(self) -> Refusal:
        message = f"a request may have at most {self._limits.body_mb:g} MB; send smaller photos"
        return Refusal(413, "body_too_large", message)


class _Upload:
    """The body of a request as it arrives.

    Attributes:
        more: whether some of it is still to come.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.more = True

    async def part(self, deadline: float) -> bytes:
        """The next bytes; TimeoutError at the deadline, in seconds of `time.monotonic`."""
        message = await asyncio.wait_for(self._receive(), deadline - time.monotonic())
        if message["type"] == "http.disconnect":
            raise _GoneError
        self.more = message.get("more_body", False)
        return bytes(message.get("body", b""))

    async def drop(self) -> None:
        """Read what is still to come and forget it."""
        deadline = time.monotonic() + _DROPPED_S
        with suppress(TimeoutError, _GoneError):
            while self.more:
                await self.part(deadline)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the whole body at once, then what the connection says."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
