"""A visitor of `faceverif app` can make it read, delete and fetch nothing but uploads."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from app_photos import Photos, write_photos
from served import form

from faceverif.address import Address, listen
from faceverif.app.fooling import GOALS, METHODS
from faceverif.app.matcher import Matcher
from faceverif.app.uploads import Uploads, temporary_uploads
from faceverif.app.visits import Visits
from faceverif.models.location import SHIPPED

pytest.importorskip("gradio", reason="Gradio is not installed: pip install 'faceverif[app]'")
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from faceverif.app import server  # brings Gradio
from faceverif.app.gate import Gate

pytestmark = pytest.mark.filterwarnings("ignore:::gradio")  # its own, which are no fault of the page

PATIENCE_S = 60
ELSEWHERE = "http://photos.example/face.jpg"
META = {"_type": "gradio.FileData"}


@dataclass
class Visitor:
    """A program that speaks to the page as a browser does.

    Attributes:
        port: of the page.
        uploads: its folder.
        hosts: what this process looked up the address of.
    """

    port: int
    uploads: Path
    hosts: list[str]

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Status, content and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def upload(self, photo: Path) -> str:
        """The path at which the server keeps an upload."""
        body, headers = form(files=photo.read_bytes())
        status, said, _ = self.ask("POST", "/gradio_api/upload", body, headers)
        assert status == 200
        return str(json.loads(said)[0])

    def event(self, widget: str) -> tuple[int, int]:
        """The event that a widget starts, and how many inputs it has."""
        page = json.loads(self.ask("GET", "/config")[1])
        known = {part["props"].get("elem_id"): part["id"] for part in page["components"]}
        for event in page["dependencies"]:
            if any(target[0] == known[widget] for target in event["targets"]):
                return event["id"], len(event["inputs"])
        raise AssertionError(f"{widget} starts no event")

    def send(self, widget: str, *inputs: Any) -> tuple[bool, str]:
        """Whether an event was carried out, and what was said."""
        number, _ = self.event(widget)
        asked = {"data": inputs, "fn_index": number, "session_hash": "visitor", "trigger_id": None}
        headers = {"Content-Type": "application/json"}
        assert self.ask("POST", "/gradio_api/queue/join", json.dumps(asked), headers)[0] == 200
        _, events, _ = self.ask("GET", "/gradio_api/queue/data?session_hash=visitor")
        for line in events.decode().splitlines():
            if "process_completed" in line:
                answer = json.loads(line.removeprefix("data:"))
                return answer["success"], str(answer["output"])
        raise AssertionError(f"{widget} was not answered")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def visitor() -> Iterator[Visitor]:
    started: Queue[Callable[[], None]] = Queue()
    hosts: list[str] = []
    lookup = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch, temporary_uploads() as uploads:

        def note(host: Any, *more: Any, **named: Any) -> Any:
            if host != "photos.example":
                return lookup(host, *more, **named)
            hosts.append(host)
            raise socket.gaierror("this host is of the test")

        patch.setattr(socket, "getaddrinfo", note)
        with listen(Address("127.0.0.1", 0)) as listening:
            visits = Visits(Matcher.load(SHIPPED), own_machine=False)
            page = Thread(
                target=server.serve,
                args=(visits, listening),
                kwargs={"uploads": uploads, "ready": started.put},
            )
            page.start()
            stop = started.get(timeout=PATIENCE_S)
            yield Visitor(listening.getsockname()[1], uploads.folder, hosts)
            stop()
            page.join(PATIENCE_S)
    assert not page.is_alive()


def test_an_upload_is_taken_and_deleted(visitor: Visitor, photos: Photos) -> None:
    path = visitor.upload(photos.first)
    done, said = visitor.send("first-photo", {"path": path, "orig_name": "me.jpg", "meta": META}, 1)
    assert done
    assert "me.jpg: one face" in " ".join(said.split())
    assert not Path(path).exists()


@pytest.mark.parametrize(
    "kind", [{"meta": META}, {}, {"meta": META, "is_stream": True}, {"meta": META, "url": ELSEWHERE}]
)
def test_another_file_is_neither_read_nor_deleted(
    kind: dict[str, Any], visitor: Visitor, photos: Photos
) -> None:
    for named in (str(photos.first), f"{visitor.uploads}/../{photos.first}", "/etc/hostname", "no such file"):
        done, said = visitor.send("first-photo", {"path": named, "orig_name": "me.jpg", **kind}, 1)
        assert (done, "This is no uploaded photo" in said) == (False, True)
    assert photos.first.exists()


@pytest.mark.parametrize("widget", ["first-photo", "far", "attack", "open-gallery"])
def test_no_input_of_any_event_names_a_file_or_an_address(
    widget: str, visitor: Visitor, photos: Photos
) -> None:
    _, inputs = visitor.event(widget)
    for named in (str(photos.first), ELSEWHERE):
        sent = {"path": named, "meta": META}
        for hidden in (sent, [sent], {"value": {"deep": [sent]}}):
            done, said = visitor.send(widget, *[hidden] * inputs)
            assert (done, "This is no uploaded photo" in said) == (False, True)
    assert visitor.hosts == []
    assert not any(path.is_file() for path in visitor.uploads.rglob("*"))


@pytest.mark.parametrize("levels", [200, "many"])
def test_a_choice_that_the_page_does_not_offer_is_a_sentence_without_a_trace(
    levels: object, visitor: Visitor, capsys: pytest.CaptureFixture[str]
) -> None:
    done, said = visitor.send("attack", *(next(iter(each)) for each in (GOALS, METHODS)), levels, 1)
    assert (done, "The page does not offer this choice. Load it again." in said) == (False, True)
    assert capsys.readouterr().err == ""


def test_uploads_are_the_only_files_and_run_no_script(visitor: Visitor, photos: Photos) -> None:
    own = Path(visitor.upload(photos.first))
    status, content, headers = visitor.ask("GET", f"/gradio_api/file={own}")
    assert (status, content) == (200, photos.first.read_bytes())
    assert headers["Content-Security-Policy"].startswith("sandbox;")
    assert headers["Referrer-Policy"] == "no-referrer"
    own.unlink()
    for path in (
        photos.first,
        f"{visitor.uploads}/../{photos.first}",
        own,
        visitor.uploads,
        ELSEWHERE,
        "%00",
    ):
        assert visitor.ask("GET", f"/gradio_api/file={path}")[0] == 404
    assert visitor.hosts == []


def test_an_upload_that_is_deleted_while_it_is_asked_for_is_an_answer(tmp_path: Path) -> None:
    """Gradio looks whether it is there before its answer begins, and not again."""
    upload = tmp_path.resolve() / "a.jpg"
    upload.write_bytes(b"photo")

    async def gradio(scope: Scope, receive: Receive, send: Send) -> None:
        found = FileResponse(upload)
        upload.unlink()
        await found(scope, receive, send)

    def asked() -> list[Message]:
        messages: list[Message] = []
        scope = {"type": "http", "method": "GET", "path": f"/gradio_api/file={upload}", "headers": []}

        async def send(message: Message) -> None:
            messages.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        gate = Gate(gradio, uploads=Uploads(upload.parent), own_machine=False)
        asyncio.run(gate(scope, receive, send))
        return messages

    begin, body = asked()
    assert (begin["status"], body["body"]) == (200, b"photo")
    upload.unlink()
    assert asked()[0]["status"] == 404


def test_what_the_page_does_not_ask_for_is_closed(visitor: Visitor) -> None:
    for path in (f"proxy={ELSEWHERE}", "deep_link?session_hash=visitor", "runs", "openapi.json", "informal"):
        assert visitor.ask("GET", f"/gradio_api/{path}")[1] == b"The page does not use this address."
    body, headers = form(video=b"film")
    assert visitor.ask("POST", "/gradio_api/process_recording", body, headers)[0] == 404
