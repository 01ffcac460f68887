"""How fast does `faceverif serve` answer? p50, p99 and requests per second with 1, 8 and 32 clients.

    python benchmarks/serve.py                  # the package's model, drawn people, 127.0.0.1
    python benchmarks/serve.py --tiny           # does it still run

The service runs in a process of its own, as a user starts it. A client sends its next request when it has the
answer to the last one. The first requests, which load the face finder, are not counted.
"""

from __future__ import annotations

import argparse
import http.client
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data_prep.face_model import load_face_model
from data_prep.synthetic import synthesise_photos

CLIENTS = (1, 8, 32)
MARK = "a-mark-between-parts"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={MARK}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a calibrated model; default: the package's")
    parser.add_argument("--requests", type=int, default=160, help="per path and number of clients")
    parser.add_argument("--tiny", action="store_true", help="few requests, to see that it runs")
    arguments = parser.parse_args()
    clients, requests = ((2,), 4) if arguments.tiny else (CLIENTS, arguments.requests)
    with TemporaryDirectory() as folder, serving(arguments.model) as port:
        photos = drawn(Path(folder))
        bodies = {"/embed": body(photo=photos[0]), "/compare": body(first=photos[0], second=photos[1])}
        print("| path | clients | p50, ms | p99, ms | requests per s |\n| --- | --- | --- | --- | --- |")
        for path, sent in bodies.items():
            answers_s(port, path, sent, clients=2, requests=2)
            for count in clients:
                start = time.perf_counter()
                seconds = answers_s(port, path, sent, clients=count, requests=requests)
                rate = requests / (time.perf_counter() - start)
                p50, p99 = 1000 * np.quantile(seconds, [0.5, 0.99])
                print(f"| `{path}` | {count} | {p50:,.0f} | {p99:,.0f} | {rate:.1f} |", flush=True)


@contextmanager
def serving(model: Path | None) -> Iterator[int]:
    """The port of a service that is ready."""
    command = [sys.executable, "-m", "faceverif", "serve", "--port", "0", "--per-minute", "0"]
    command += [] if model is None else ["--model", str(model)]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process,
        ThreadPoolExecutor(1) as log,
    ):
        try:
            yield ready(process, log)
        finally:
            process.terminate()


def ready(process: subprocess.Popen[str], log: ThreadPoolExecutor) -> int:
    """Wait for the line with the address; what follows is read and forgotten, or the pipe would fill."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"serving on http://[\d.]+:(\d+)", line):
            log.submit(process.stderr.read)
            return int(found[1])
    raise SystemExit("the service did not start")


def drawn(folder: Path) -> list[bytes]:
    """Two photos of a drawn person."""
    synthesise_photos(load_face_model(), folder, identities=1, photos=2, seed=0)
    return [photo.read_bytes() for photo in sorted(folder.rglob("*.jpg"))]


def body(**photos: bytes) -> bytes:
    """A form with photos."""
    head = f'--{MARK}\r\nContent-Disposition: form-data; name="%s"; filename="x.jpg"\r\n\r\n'
    parts = [(head % name).encode() + content for name, content in photos.items()]
    return b"\r\n".join([*parts, f"--{MARK}--\r\n".encode()])


def answers_s(port: int, path: str, sent: bytes, *, clients: int, requests: int) -> list[float]:
    """Seconds that each request took; the clients share them evenly."""

    def client(number: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        mine = range(number, requests, clients)
        try:
            return [answer_s(connection, path, sent) for _ in mine]
        finally:
            connection.close()

    with ThreadPoolExecutor(clients) as pool:
        return [second for seconds in pool.map(client, range(clients)) for second in seconds]


def answer_s(connection: http.client.HTTPConnection, path: str, sent: bytes) -> float:
    start = time.perf_counter()
    connection.request("POST", path, body=sent, headers=HEADERS)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path} answered {answer.status}: {body.decode()}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
