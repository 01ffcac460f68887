"""`faceverif app` as visitors meet it: a real server, a real browser without a window.

With FACEVERIF_PICTURE=docs/app.png it also writes the picture that README shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from app_photos import Photos, write_photos
from PIL import Image

pytest.importorskip("gradio", reason="Gradio is not installed: pip install 'faceverif[app]'")
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
# Python runs this first in every process: it notes each host that is not this machine.
WATCH = """
import os, socket
def _watched(plain):
    def ask(*given, **more):
        host = next((part for part in given if not isinstance(part, socket.socket)), None)
        host = host[0] if isinstance(host, tuple) else host
        if host not in (None, "", "127.0.0.1", "localhost", "::1", b"127.0.0.1"):
            with open(os.environ["ASKED"], "a") as file: file.write(f"{host}\\n")
        return plain(*given, **more)
    return ask
socket.getaddrinfo = _watched(socket.getaddrinfo)
class _Socket(socket.socket):
    connect = _watched(socket.socket.connect)
    connect_ex = _watched(socket.socket.connect_ex)
socket.socket = _Socket
"""
SECOND_MS = 1000
PATIENCE_MS = 60 * SECOND_MS  # other processes may keep the cores busy


@dataclass(frozen=True)
class Server:
    """The running command.

    Attributes:
        process: of it.
        url: of the page.
        uploads: where its temporary files lie.
        asked: a file with the hosts that it asked.
    """

    process: subprocess.Popen[str]
    url: str
    uploads: Path
    asked: Path

    def files(self) -> list[Path]:
        """Uploads that are there now."""
        return [path for path in self.uploads.rglob("*") if path.is_file()]


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    for name in ("watch", "uploads", "runs/first"):
        (folder / name).mkdir(parents=True)
    (folder / "watch/sitecustomize.py").write_text(WATCH)
    (folder / "runs/first/report.html").write_text("<title>A first run</title><h1>Accuracy</h1>")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder / "watch"), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "TMPDIR": str(folder / "uploads"),
        "ASKED": str(folder / "asked.txt"),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "faceverif", "app", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "http://127.0.0.1:" in said, said + process.stdout.read()
        url = next(word for word in said.split() if word.startswith("http"))
        try:
            yield Server(process, url, folder / "uploads", folder / "asked.txt")
        finally:
            process.kill()


@contextmanager
def running_browser(photos: Photos) -> Iterator[Any]:
    video = photos.people.parent / "webcam.y4m"
    write_video(video, photos.first)
    with sync_api.sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={video}"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Any, server: Server) -> Iterator[Any]:
    """A visitor's page; it asks no host but the server, and reports no error of its own."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page, asked, wrong = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("#compared")
    yield page
    context.close()
    outside = [url for url in asked if not url.startswith((server.url, "data:", "blob:"))]
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


def text(page: Any, selector: str) -> str:
    return " ".join(page.inner_text(selector).split())


def refuse_overflow(page: Any) -> None:
    for width in (1200, 420):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1200, "height": 900})


@pytest.mark.slow
def test_visitors_in_a_browser(tmp_path: Path) -> None:
    """One visit with all that it holds: a server and a browser take seconds to start."""
    photos = write_photos(tmp_path)
    with (
        running_server(tmp_path / "server") as server,
        running_browser(photos) as browser,
        visit(browser, server) as page,
    ):
        compare_two_photos(page, server, photos)
        refuse_what_shows_no_face(page, server, photos)
        choose_a_face_by_keyboard(page, photos)
        fool_the_model(page, photos)
        assert not server.asked.exists(), server.asked.read_text()


def compare_two_photos(page: Any, server: Server, photos: Photos) -> None:
    give(page, "first", photos.first)
    give(page, "second", photos.same)
    page.wait_for_selector("#compared h2")
    assert text(page, "#compared h2") == "Same person"
    assert page.locator("#compared figure img").count() == 2
    assert "has no guard" in text(page, "#compared")
    assert server.files() == []
    refuse_overflow(page)
    if picture := os.environ.get("FACEVERIF_PICTURE"):
        page.screenshot(path=ROOT / picture, full_page=True)
    page.locator("#far input[type=range]").press("ArrowRight")
    page.wait_for_selector("#compared h2:has-text('Different people')")
    assert "False accept rate: 0.1 %" in text(page, "#far")
    assert "rate of 0.1 %" in text(page, "#compared")


def refuse_what_shows_no_face(page: Any, server: Server, photos: Photos) -> None:
    for photo, said in (
        (photos.text, "notes.jpg is not a picture."),
        (photos.empty, "No face was found in empty.png."),
        (photos.huge, "huge.png has more than 50 megapixels."),
    ):
        give(page, "first", photo)
        page.wait_for_selector(f"#first-shown :text('{said}')")
        assert server.files() == []
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


def fool_the_model(page: Any, photos: Photos) -> None:
    give(page, "second", photos.second)
    # In place of the photo with two faces.
    page.wait_for_selector(f"#second-shown :text('{photos.second.name}')")
    page.get_by_label("FGSM").check()
    page.locator("#attack").press("Space")
    page.wait_for_selector("#fooled h2")
    assert text(page, "#fooled h2").startswith("The attack ")
    assert page.locator("#fooled figure img").count() == 4
    assert "8 of 255 grey levels" in text(page, "#fooled")
    refuse_overflow(page)
