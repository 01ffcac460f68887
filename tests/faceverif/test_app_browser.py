"""`faceverif app` as visitors meet it: a real server, a real browser without a window.

With FACEVERIF_PICTURE=docs/app.png it also writes the picture that README shows.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from app_photos import Photos, write_photos
from PIL import Image
from served import wait_until

from faceverif.app.uploads import Uploads
from faceverif.app.visits import Visits
from faceverif.cli import browser as command

pytest.importorskip("gradio", reason="Gradio is not installed: pip install 'faceverif[app]'")
from faceverif.app import server  # brings Gradio

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed: it drives the browser"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium is installed", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream"),
    "--use-fake-device-for-media-stream",
]
DROP = """([place, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector(place).dispatchEvent(new DragEvent(kind, { bubbles: true, dataTransfer }));
}"""
LINES = """(cell) => {
  const text = document.createRange();
  text.selectNodeContents(cell);
  return new Set(Array.from(text.getClientRects(), (box) => Math.round(box.top))).size;
}"""
SECOND_MS = 1000
PATIENCE_MS = 60 * SECOND_MS  # other processes may keep the cores busy


@dataclass(frozen=True)
class Served:
    """The running command.

    Attributes:
        url: of the page.
        visits: what it remembers of its visitors.
        uploads: where its temporary files lie.
        asked: hosts other than this machine that this process asked for.
    """

    url: str
    visits: Visits
    uploads: Path
    asked: list[str]

    def files(self) -> list[Path]:
        """Uploads that are there now."""
        return [path for path in self.uploads.rglob("*") if path.is_file()]


@contextmanager
def running_server(folder: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """`faceverif app` in a thread of this process, so that its memory can be looked at."""
    for name in ("uploads", "runs/first"):
        (folder / name).mkdir(parents=True)
    (folder / "runs/first/report.html").write_text("<title>A first run</title><h1>Accuracy</h1>")
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "uploads"))
    started: Queue[tuple[Visits, str, Callable[[], None]]] = Queue()
    plain = server.serve

    def serve(visits: Visits, listening: socket.socket, *, uploads: Uploads, ready: server.Ready) -> None:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"

        def tell(stop: Callable[[], None]) -> None:
            ready(stop)
            started.put((visits, url, stop))

        plain(visits, listening, uploads=uploads, ready=tell)

    monkeypatch.setattr(server, "serve", serve)
    asked = watched_hosts(monkeypatch)
    thread = Thread(target=partial(command.app, port=0, gallery=gallery, runs=folder / "runs", device="cpu"))
    thread.start()
    visits, url, stop = started.get(timeout=PATIENCE_MS / SECOND_MS)
    try:
        yield Served(url, visits, folder / "uploads", asked)
    finally:
        stop()
        thread.join(PATIENCE_MS / SECOND_MS)
    assert not thread.is_alive()


def watched_hosts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts other than this machine that are asked for from now on."""
    asked: list[str] = []

    def watch(place: Any, name: str) -> None:
        plain = getattr(place, name)

        def ask(*given: Any, **more: Any) -> Any:
            host = next((part for part in given if not isinstance(part, socket.socket)), None)
            host = host[0] if isinstance(host, tuple) else host
            if host not in (None, "", "127.0.0.1", "localhost", "::1", b"127.0.0.1"):
                asked.append(str(host))
            return plain(*given, **more)

        monkeypatch.setattr(place, name, ask)

    watch(socket, "getaddrinfo")
    watch(socket.socket, "connect")
    watch(socket.socket, "connect_ex")
    return asked


@contextmanager
def running_browser(photos: Photos) -> Iterator[Any]:
    video = photos.people.parent / "webcam.y4m"
    write_video(video, photos.second)
    with sync_api.sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={video}"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@contextmanager
def visits_of_two(browser: Any, served: Served) -> Iterator[tuple[Any, Any]]:
    """Two visitors' pages; they ask no host but the server, and report no error of their own."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, permissions=["camera"])
    context.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    wrong: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    pages = context.new_page(), context.new_page()
    for page in pages:
        page.goto(served.url, wait_until="commit")
    for page in pages:
        page.wait_for_selector("#compared")
    yield pages
    context.close()
    outside = [url for url in asked if not url.startswith((served.url, "data:", "blob:"))]
    assert (outside, wrong) == ([], [])


def write_video(path: Path, photo: Path) -> None:
    """A webcam's picture that does not move, as Chromium reads it: YUV4MPEG2 in 4:2:0."""
    pixels = np.asarray(Image.open(photo).resize((320, 240)))
    planes = cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420).tobytes()
    path.write_bytes(b"YUV4MPEG2 W320 H240 F10:1 Ip A1:1 C420jpeg\n" + 2 * (b"FRAME\n" + planes))


def give(page: Any, place: str, photo: Path) -> None:
    """Upload a photo, and wait for what is said of it."""
    page.set_input_files(f"#{place}-photo input[type=file]", str(photo))
    page.wait_for_selector(f"#{place}-shown :is(img, .fv-refusal)")


def drop(page: Any, place: str, photo: Path) -> None:
    """Drag a photo onto its place; the browser itself cannot be made to drag a file from outside."""
    content = base64.b64encode(photo.read_bytes()).decode()
    page.evaluate(DROP, [f"#{place}-photo button", photo.name, content])
    page.wait_for_selector(f"#{place}-shown :is(img, .fv-refusal)")


def photograph(page: Any, place: str) -> None:
    """Take a photo with the webcam, in place of the one that is there."""
    page.locator(f"#{place}-photo").get_by_label("Capture from camera").click()
    page.locator(f"#{place}-photo").get_by_text("Click to Access Webcam").click()
    page.locator(f"#{place}-photo").get_by_label("capture photo").click()
    page.wait_for_selector(f"#{place}-shown :text('image.png: one face')")


def text(page: Any, selector: str) -> str:
    return " ".join(page.inner_text(selector).split())


def refuse_overflow(page: Any) -> None:
    for width in (1200, 420):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1200, "height": 900})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::gradio")  # its own, which are no fault of the page
def test_visitors_in_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One visit with all that it holds: a server and a browser take seconds to start."""
    photos = write_photos(tmp_path)
    with (
        running_server(tmp_path / "server", photos.people, monkeypatch) as served,
        running_browser(photos) as browser,
        visits_of_two(browser, served) as (page, other),
    ):
        compare_two_photos(page, served, photos)
        look_somebody_up(page)
        photos_return_after_the_reports(page)
        refuse_what_shows_no_face(page, served, photos)
        choose_a_face_by_keyboard(page, photos)
        fool_the_model(page, served)
        neither_sees_the_other(other, photos)
        forget_a_page_that_is_closed(page, other, served)
        assert served.asked == []
    assert served.files() == []


def compare_two_photos(page: Any, served: Served, photos: Photos) -> None:
    drop(page, "first", photos.first)
    give(page, "second", photos.same)
    page.wait_for_selector("#compared h2")
    assert text(page, "#compared h2") == "Same person"
    assert page.locator("#compared figure img").count() == 2
    assert "has no guard" in text(page, "#compared")
    assert served.files() == []
    refuse_overflow(page)
    if picture := os.environ.get("FACEVERIF_PICTURE"):
        page.screenshot(path=ROOT / picture, full_page=True)
    page.locator("#far input[type=range]").press("ArrowRight")
    page.wait_for_selector("#compared h2:has-text('Different people')")
    assert "False accept rate: 0.1 %" in text(page, "#far")
    assert "rate of 0.1 %" in text(page, "#compared")


def refuse_what_shows_no_face(page: Any, served: Served, photos: Photos) -> None:
    for photo, said in (
        (photos.text, "notes.jpg is not a picture."),
        (photos.empty, "No face was found in empty.png."),
        (photos.huge, "huge.png has more than 50 megapixels."),
    ):
        give(page, "first", photo)
        page.wait_for_selector(f"#first-shown :text('{said}')")
        assert served.files() == []
    assert "Give two photos" in text(page, "#compared")


def choose_a_face_by_keyboard(page: Any, photos: Photos) -> None:
    give(page, "first", photos.first)
    page.wait_for_selector("#compared h2")
    page.set_input_files("#second-photo input[type=file]", str(photos.both))
    page.wait_for_selector("#second-shown :text('2 faces; face 1 is compared')")
    before = page.inner_text("#compared")
    page.locator("#second-face input").nth(1).focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#second-shown :text('face 2 is compared')")
    page.wait_for_function("before => document.querySelector('#compared').innerText !== before", arg=before)
    page.get_by_role("tab", name="Fool it").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#attack", state="visible")


def fool_the_model(page: Any, served: Served) -> None:
    photograph(page, "second")
    page.get_by_label("FGSM").check()
    page.locator("#attack").press("Space")
    page.wait_for_selector("#fooled h2")
    assert text(page, "#fooled h2").startswith("The attack ")
    assert page.locator("#fooled figure img").count() == 4
    assert "8 of 255 grey levels" in text(page, "#fooled")
    assert served.files() == []
    refuse_overflow(page)


def look_somebody_up(page: Any) -> None:
    page.get_by_role("tab", name="Who is it").click()
    page.locator("#open-gallery").click()
    page.wait_for_selector("#about-gallery :text('photos of 3 people')")
    page.locator("#search").click()
    page.wait_for_selector("#found h2")
    refuse_overflow(page)
    page.set_viewport_size({"width": 420, "height": 900})
    for place in ("th", "td:nth-child(3)"):
        for cell in page.locator(f"#found {place}").all():
            assert cell.evaluate(LINES) == 1, f"{cell.inner_text()!r} is broken within the word"
    page.set_viewport_size({"width": 1200, "height": 900})


def photos_return_after_the_reports(page: Any) -> None:
    """Whatever the server does: its answers could come in another order than the visitor's clicks."""
    page.route("**/queue/join*", lambda route: route.abort())
    page.get_by_role("tab", name="Reports").click()
    page.wait_for_selector("#first-photo", state="hidden")
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_selector("#first-photo", state="visible")
    page.unroute("**/queue/join*")


def neither_sees_the_other(other: Any, photos: Photos) -> None:
    assert "Give two photos" in text(other, "#compared")
    give(other, "second", photos.second)
    assert other.locator("#first-shown img").count() == 0


def forget_a_page_that_is_closed(page: Any, other: Any, served: Served) -> None:
    assert len(served.visits.sessions) == 2
    page.close()
    wait_until(lambda: len(served.visits.sessions) == 1)
    assert "one face" in text(other, "#second-shown")
