"""A small S3 server for tests: what a reader needs of it, and nothing that writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class S3Server(ThreadingHTTPServer):
    """Serves the folders of a folder as buckets.

    Attributes:
        root: the folder.
        longest: bytes of the longest answer with content so far.
        refuses: a code that every request gets, such as 403; 0: none does.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.longest, self.refuses = root, 0, 0


class _Handler(BaseHTTPRequestHandler):
    server: S3Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """No lines between those of the tests."""

    def _answer(self, *, body: bool) -> None:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        place = self.server.root / bucket
        if self.server.refuses:
            self._error(self.server.refuses, "AccessDenied", body=body)
        elif not place.is_dir():
            self._error(404, "NoSuchBucket", body=body)
        elif key:
            self._object(place / key, body=body)
        else:
            self._send(
                200, _listing(place, query.get("prefix", "")), {"Content-Type": "application/xml"}, body
            )

    def _object(self, path: Path, *, body: bool) -> None:
        if not path.is_file():
            self._error(404, "NoSuchKey", body=body)
            return
        content, status, headers = (
            path.read_bytes(),
            200,
            {"Last-Modified": self.date_time_string(path.stat().st_mtime)},
        )
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[int(first) : int(last) + 1], 206
        self.server.longest = max(self.server.longest, len(content) if body else 0)
        self._send(status, content, headers, body)

    def _error(self, status: int, code: str, *, body: bool) -> None:
        text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._send(status, text.encode(), {"Content-Type": "application/xml"}, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _listing(bucket: Path, prefix: str) -> bytes:
    """The objects right in a folder of a bucket, as ListObjectsV2 has them."""
    files = sorted(path for path in bucket.rglob("*") if path.is_file())
    keys = {path.relative_to(bucket).as_posix(): path for path in files}
    entries = [
        f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size>"
        f"<LastModified>2026-01-0{1 + path.stat().st_mtime_ns % 9}T00:00:00.000Z</LastModified></Contents>"
        for key, path in keys.items()
        if key.startswith(prefix) and "/" not in key[len(prefix) :]
    ]
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        f"<KeyCount>{len(entries)}</KeyCount>{''.join(entries)}</ListBucketResult>"
    ).encode()


@contextmanager
def served(root: Path) -> Iterator[S3Server]:
    """A server in a thread of its own."""
    with S3Server(root) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
