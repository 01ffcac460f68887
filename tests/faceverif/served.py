"""A service in this process, on a port of its own, and a client without a library."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from faceverif.address import Address, listen
from faceverif.serving.limits import Limits
from faceverif.serving.recognition import Recognition
from faceverif.serving.service import build_service


@contextmanager
def serving(recognition: Recognition, limits: Limits | None = None) -> Iterator[tuple[int, uvicorn.Server]]:
    """The port, and the server; it has ended afterwards."""
    with listen(Address("127.0.0.1", 0)) as listening:
        service = build_service(recognition, limits or Limits())
        server = uvicorn.Server(uvicorn.Config(service, log_level="critical", proxy_headers=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1], server
        finally:
            server.should_exit = True
            thread.join()


def form(**photos: bytes) -> tuple[bytes, dict[str, str]]:
    """A multipart body, and its headers."""
    mark = uuid.uuid4().hex
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'.encode() + content
        for name, content in photos.items()
    ]
    body = b"\r\n".join([*parts, f"--{mark}--\r\n".encode()])
    return body, {"Content-Type": f"multipart/form-data; boundary={mark}"}


def ask(port: int, path: str, method: str = "POST", **photos: bytes) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON and headers of an answer."""
    body, headers = form(**photos) if photos else (b"", {})
    return send(port, path, method, body=body, headers=headers)


def send(port: int, path: str, method: str, *, body: Any, headers: dict[str, str]) -> tuple[int, Any, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content), dict(answer.getheaders())
    finally:
        connection.close()


def wait_until(happened: Any, *, within_s: float = 20) -> None:
    """Wait for another thread."""
    end = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
