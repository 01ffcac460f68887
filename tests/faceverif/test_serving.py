"""`faceverif serve` answers as `compare` does, refuses the rest in one JSON form, and loses nothing."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import served
import torch
from drawn_photos import drawn_photos
from PIL import Image
from served import ask, form, send, serving, wait_until

from data_prep.alignment import find_template
from data_prep.errors import InputError
from faceverif import extras
from faceverif.backbones import build_backbone
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.models import PreprocessingSpec, TorchEmbedder
from faceverif.serving.batching import Batcher
from faceverif.serving.limits import Limits, RateLimit
from faceverif.serving.recognition import Recognition
from faceverif.verification.calibration import INTERVAL_RULE, CalibratedPoint, Calibration
from faceverif.verification.compare import Comparer
from faceverif.verification.roc import TAR_RULE

Port = int


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return drawn_photos(tmp_path_factory.mktemp("photos"), identities=1, photos=2)


@pytest.fixture(scope="module")
def comparer() -> Comparer:
    torch.manual_seed(0)
    network = build_backbone(MobileFaceNetConfig(name="mobilefacenet", embedding_dim=16, input_px=64))
    spec = PreprocessingSpec.of(find_template("arcface-64"), input_px=64)
    embedder = TorchEmbedder(network.eval(), spec)
    points = tuple(
        CalibratedPoint(
            far=far,
            threshold=threshold,
            measured_far=far,
            false_accepts=int(far * 100),
            far_low=0,
            far_high=1,
            tar=0.9,
        )
        for far, threshold in ((0.1, -1.0), (0.01, 1.0))
    )
    calibration = Calibration(
        protocol="p",
        protocol_sha256="0",
        data_sha256="0",
        model_sha256=embedder.sha256,
        template_sha256=spec.template_sha256,
        flip=True,
        genuine_pairs=100,
        impostor_pairs=100,
        threshold_rule=TAR_RULE,
        interval_rule=INTERVAL_RULE,
        points=points,
    )
    return Comparer(embedder, calibration, calibration.point(0.1))


@pytest.fixture(scope="module")
def port(comparer: Comparer) -> Iterator[Port]:
    with serving(Recognition(comparer), Limits(body_mb=3, requests_per_minute=0)) as (port, _):
        yield port


def test_two_photos_get_the_answer_of_compare(port: Port, comparer: Comparer, photos: list[Path]) -> None:
    first, second = (photo.read_bytes() for photo in photos)
    status, answer, _ = ask(port, "/compare", first=first, second=second)
    wanted = comparer.compare(*photos).as_json()
    assert status == 200
    assert answer.pop("similarity") == pytest.approx(wanted.pop("similarity"), abs=1e-5)
    paths = {"first", "second", "model"}
    assert {key: answer[key] for key in wanted.keys() - paths} == {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in wanted.items()
        if key not in paths
    }
    assert answer["same"] is True
    assert answer["rejected"] is None
    status, answer, _ = ask(port, "/compare?far=0.01", first=first, second=second)
    assert (answer["same"], answer["threshold"]) == (False, 1.0)


def test_one_photo_gets_its_embedding(
    port: Port, comparer: Comparer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hashed(_: object) -> str:
        raise AssertionError("a request waits until all weights are hashed")

    sha256 = comparer.embedder.sha256
    monkeypatch.setattr(TorchEmbedder, "sha256", property(hashed))
    status, answer, _ = ask(port, "/embed", photo=photos[0].read_bytes())
    assert (status, answer["model_sha256"]) == (200, sha256)
    assert ask(port, "/health", "GET")[1]["model_sha256"] == sha256
    np.testing.assert_allclose(answer["embedding"], comparer.embed([comparer.find(photos[0])])[0], atol=1e-5)
    assert (answer["dim"], answer["faces"], answer["template"]) == (16, 1, "arcface-64")


def picture(width: int, height: int, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, format=form)
    return file.getvalue()


def group(photos: list[Path]) -> bytes:
    """A photo of two faces beside each other."""
    file = io.BytesIO()
    both = [np.asarray(Image.open(photo)) for photo in photos]
    height = min(map(len, both))
    Image.fromarray(np.concatenate([pixels[:height] for pixels in both], axis=1)).save(file, format="PNG")
    return file.getvalue()


REFUSED = [
    (picture(200, 200), 422, "no_face", "no face was found. Give a photo with a face"),
    (b"Dear Sir or Madam", 415, "not_a_photo", "is not a picture. Send a photo that can be read"),
    (b"", 415, "not_a_photo", "is an empty file"),
    (picture(10_000, 6_000), 413, "photo_too_large", "at most 50 megapixels"),
    (picture(200, 200, "JPEG")[:400], 415, "not_a_photo", "ends too early: only a part of it was copied"),
    (b"\0" * 4_000_000, 413, "body_too_large", "at most 3 MB"),
]


@pytest.mark.parametrize(("content", "status", "code", "says"), REFUSED, ids=[row[2] for row in REFUSED])
@pytest.mark.parametrize("path", ["/embed", "/compare"])
def test_what_is_no_photo_of_a_face_gets_a_clear_error(
    port: Port, photos: list[Path], path: str, content: bytes, status: int, code: str, says: str
) -> None:
    sent = {"photo": content} if path == "/embed" else {"first": photos[0].read_bytes(), "second": content}
    got, answer, _ = ask(port, path, **sent)
    assert (got, answer["error"]["code"]) == (status, code)
    assert says in answer["error"]["message"]
    if code != "body_too_large":
        assert answer["error"]["field"] == list(sent)[-1]


def test_several_faces_are_refused_unless_asked_for(port: Port, photos: list[Path]) -> None:
    both = group(photos)
    status, answer, _ = ask(port, "/embed", photo=both)
    assert (status, answer["error"]["code"]) == (422, "several_faces")
    assert "shows 2 faces" in answer["error"]["message"]
    status, answer, _ = ask(port, "/embed?several_faces=centred-largest", photo=both)
    assert (status, answer["faces"]) == (200, 2)


@pytest.mark.parametrize(
    ("path", "method", "photos", "status", "says"),
    [
        ("/compare", "POST", {"first": b"x"}, 422, "second: must be sent as a part of a multipart form"),
        ("/compare", "POST", {}, 422, "must be sent"),
        (
            "/compare?far=0.5",
            "POST",
            {"first": b"x", "second": b"x"},
            422,
            "calibrated false accept rate: 0.1",
        ),
        ("/compare?far=x", "POST", {"first": b"x", "second": b"x"}, 422, "far: "),
        (
            "/compare?fra=0.1",
            "POST",
            {"first": b"x", "second": b"x"},
            422,
            "fra: is not read from the address, which takes far, several_faces",
        ),
        ("/embed?far=0.1", "POST", {"photo": b"x"}, 422, "far: is not read from the address"),
        (
            "/compare",
            "POST",
            {"first": b"x", "second": b"x", "far": b"0.1"},
            422,
            "far: is not read from the form, which takes first, second",
        ),
        ("/compare?far=0.1&far=0.01", "POST", {"first": b"x", "second": b"x"}, 422, "far: must be sent once"),
        ("/embed?several_faces=all", "POST", {"photo": b"x"}, 422, "several_faces: "),
        ("/nowhere", "GET", {}, 404, "GET /docs"),
        ("/nowhere", "POST", {}, 404, "GET /docs"),
        ("/embed", "GET", {}, 405, "GET /docs"),
    ],
)
def test_a_wrong_request_gets_one_json_error(
    port: Port, path: str, method: str, photos: dict[str, bytes], status: int, says: str
) -> None:
    got, answer, _ = ask(port, path, method, **photos)
    assert got == status
    assert says in answer["error"]["message"]


def test_a_photo_that_is_sent_twice_is_refused(port: Port) -> None:
    body, headers = form(photo=b"x", another=b"y")
    body = body.replace(b'name="another"', b'name="photo"')
    status, answer, _ = send(port, "/embed", "POST", body=body, headers=headers)
    assert (status, answer["error"]["code"], answer["error"]["field"]) == (422, "invalid_request", "photo")
    assert "must be sent once" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"first=a&second=b", "application/x-www-form-urlencoded"),
        (b'{"first": 1}', "application/json"),
        (b"no parts", "multipart/form-data; boundary=x"),
        (b"no parts", "multipart/form-data"),
        (
            b'--x\r\nContent-Disposition: form-data; name="first"\r\n\r\nabc\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_another_form_of_body_is_refused_in_json(port: Port, body: bytes, kind: str) -> None:
    status, answer, _ = send(port, "/compare", "POST", body=body, headers={"Content-Type": kind})
    assert status in (400, 422)
    assert answer["error"]["code"] == "invalid_request"
    assert not re.search(r"\.\.|Value error|<class", answer["error"]["message"])


def test_a_body_of_unknown_length_is_counted_while_it_arrives(port: Port) -> None:
    pieces = (b"\0" * 500_000 for _ in range(9))
    status, answer, _ = send(port, "/embed", "POST", body=pieces, headers={})  # in chunks
    assert (status, answer["error"]["code"]) == (413, "body_too_large")


def test_a_bug_is_told_to_the_log_and_not_to_the_client(
    comparer: Comparer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret place /home/x")

    monkeypatch.setattr(Comparer, "embed", broken)
    with serving(Recognition(comparer)) as (port, _):
        status, answer, _ = ask(port, "/embed", photo=photos[0].read_bytes())
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert "secret" not in json.dumps(answer)


@pytest.mark.parametrize("value", [np.nan, 0])
def test_a_face_without_an_embedding_is_an_error_of_its_photo(
    comparer: Comparer,
    photos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    value: float,
) -> None:
    first, second = (photo.read_bytes() for photo in photos[:2])
    embedder, recognition = comparer.embedder, Recognition(comparer)
    run, bad = embedder._run, recognition._found(second, "second").crop

    def broken(crops: np.ndarray) -> np.ndarray:
        hit = [(crop == bad).all() or (crop == bad[:, ::-1]).all() for crop in crops]
        return np.where(np.array(hit)[:, None], np.float32(value), run(crops))

    monkeypatch.setattr(embedder, "_run", broken)
    with serving(recognition) as (port, _):
        status, answer, _ = ask(port, "/compare", first=first, second=second)
        assert ask(port, "/embed", photo=first)[0] == 200
    assert (status, answer["error"]["code"], answer["error"]["field"]) == (422, "no_embedding", "second")
    assert "warning: model: must give" in capfd.readouterr().err


def test_no_answer_tells_where_the_model_lies(
    port: Port, comparer: Comparer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (photo.read_bytes() for photo in photos)
    for path, name in (("/secret/first/model.safetensors", "first"), ("/secret/net.onnx", "net.onnx")):
        monkeypatch.setattr(comparer.embedder, "name", path)
        answers = (
            ask(port, "/health", "GET"),
            ask(port, "/embed", photo=first),
            ask(port, "/compare", first=first, second=second),
        )
        assert [answer["model"] for _, answer, _ in answers] == 3 * [name]
        assert "secret" not in json.dumps(answers, default=str)


def test_the_pages_load_nothing_from_elsewhere(port: Port) -> None:
    assert ask(port, "/health", "GET")[1]["status"] == "ok"
    schema = ask(port, "/openapi.json", "GET")[1]
    assert schema["paths"].keys() == {"/compare", "/embed", "/health"}
    assert {"413", "415", "422", "429", "503"} <= schema["paths"]["/embed"]["post"]["responses"].keys()
    page = read(port, "/docs")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    assert all(address.startswith("/") for address in loaded)
    assert "http" not in page.replace("http-equiv", "")
    assert all(read(port, address) for address in loaded)


def read(port: Port, path: str) -> str:
    connection = served.http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, path
    return content.decode("utf-8", "replace")


class StrictGuard:
    """Rejects what scores above 0.5: each second photo."""

    def scores(self, crops: np.ndarray) -> np.ndarray:
        return np.arange(len(crops)) % 2.0

    def verdict(self, scores: list[float]) -> dict[str, Any]:
        rejected = [score > 0.5 for score in scores]
        return {"rejected": rejected, "rejection_scores": scores, "rejection_threshold": 0.5}


def test_a_rejected_photo_gets_no_decision(comparer: Comparer, photos: list[Path]) -> None:
    first, second = (photo.read_bytes() for photo in photos)
    with serving(Recognition(comparer, guard=StrictGuard())) as (port, _):
        answer = ask(port, "/compare", first=first, second=second)[1]
        assert (answer["rejected"], answer["rejection_scores"], answer["same"]) == (
            [False, True],
            [0, 1],
            None,
        )
        answer = ask(port, "/embed", photo=first)[1]
        assert (answer["rejected"], answer["rejection_score"]) == (False, 0)
        assert ask(port, "/health", "GET")[1]["rejects"] is True


# --- limits


def test_a_client_has_its_minute_of_requests_and_a_refill() -> None:
    limit = RateLimit(per_minute=2)
    assert [limit.wait_s("a", now_s=0) for _ in range(3)] == [0, 0, 30]
    assert limit.wait_s("b", now_s=0) == 0
    assert limit.wait_s("a", now_s=29) == pytest.approx(1)
    assert limit.wait_s("a", now_s=31) == 0
    assert limit.wait_s("a", now_s=31) == pytest.approx(29)
    assert RateLimit(per_minute=0).wait_s("a") == 0


def test_too_many_requests_are_told_when_to_come_again(comparer: Comparer) -> None:
    with serving(Recognition(comparer), Limits(requests_per_minute=1)) as (port, _):
        assert ask(port, "/embed", photo=b"x")[0] == 415
        status, answer, headers = ask(port, "/embed", photo=b"x")
        assert (status, answer["error"]["code"]) == (429, "too_many_requests")
        assert int(headers["retry-after"]) in (59, 60)
        assert ask(port, "/health", "GET")[0] == 200  # only photos count


def test_a_body_that_arrives_too_slowly_is_refused(comparer: Comparer) -> None:
    with (
        serving(Recognition(comparer), Limits(upload_s=0.1)) as (port, _),
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        client.sendall(b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        assert b"408" in client.recv(1000)


class SlowModel:
    """Holds every batch until it is told to go on."""

    def __init__(self, comparer: Comparer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.sizes = threading.Event(), []
        embed = Comparer.embed

        def slow(asked: Comparer, faces: Any) -> Any:
            self.sizes.append(len(faces))
            assert self.go.wait(30)
            return embed(asked, faces)

        monkeypatch.setattr(Comparer, "embed", slow)


def test_requests_of_the_same_time_share_a_batch(
    comparer: Comparer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, recognition = SlowModel(comparer, monkeypatch), Recognition(comparer)
    with serving(recognition) as (port, _), ThreadPoolExecutor(4) as clients:
        content = photos[0].read_bytes()
        answers = [clients.submit(ask, port, "/embed", photo=content) for _ in range(4)]
        wait_until(lambda: recognition.batcher.asked == 4)
        model.go.set()
        results = [answer.result() for answer in answers]
    assert [status for status, *_ in results] == [200] * 4
    assert model.sizes[0] < 4
    assert sum(model.sizes) == 4
    assert len(model.sizes) == 2


def test_beyond_the_waiting_requests_the_service_is_busy(
    comparer: Comparer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, recognition = SlowModel(comparer, monkeypatch), Recognition(comparer)
    with serving(recognition, Limits(waiting=1)) as (port, _), ThreadPoolExecutor(1) as client:
        held = client.submit(ask, port, "/embed", photo=photos[0].read_bytes())
        wait_until(lambda: model.sizes)
        status, answer, headers = ask(port, "/embed", photo=b"x")
        assert (status, answer["error"]["code"], headers["retry-after"]) == (503, "busy", "1")
        model.go.set()
        assert held.result()[0] == 200


def test_requests_in_flight_are_answered_before_the_service_ends(
    comparer: Comparer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, recognition = SlowModel(comparer, monkeypatch), Recognition(comparer)
    with ThreadPoolExecutor(3) as clients, serving(recognition) as (port, server):
        content = photos[0].read_bytes()
        answers = [clients.submit(ask, port, "/embed", photo=content) for _ in range(3)]
        wait_until(lambda: recognition.batcher.asked == 3)
        server.should_exit = True
        wait_until(lambda: refused(port))
        assert not any(answer.done() for answer in answers)
        model.go.set()
        assert [answer.result()[0] for answer in answers] == [200] * 3
    with pytest.raises(RuntimeError, match="closed"):
        recognition.batcher.submit(np.zeros((1, 64, 64, 3), np.uint8))


def refused(port: Port) -> bool:
    """Whether nobody takes connections any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_a_crop_that_fails_fails_alone() -> None:
    hold = threading.Event()

    def compute(crops: np.ndarray) -> list[int]:
        assert hold.wait(30)
        if (crops == 9).any():
            raise ValueError("nine")
        return [int(crop.max()) for crop in crops]

    batcher: Batcher[int] = Batcher(compute, largest=3)
    futures = [
        batcher.submit(np.full((size, 2, 2, 3), value, np.uint8))
        for size, value in ((1, 1), (1, 9), (2, 5), (4, 7))
    ]
    hold.set()
    assert futures[0].result(30) == [1]
    with pytest.raises(ValueError, match="nine"):
        futures[1].result(30)
    assert [future.result(30) for future in futures[2:]] == [[5, 5], [7] * 4]
    batcher.close()


# --- the command


def test_without_the_extra_the_fix_is_its_installation() -> None:
    with pytest.raises(InputError, match=r"serve: needs .* got no nosuchmodule\. .*faceverif\[serve\]"):
        extras.require_extra("serve", "json", "nosuchmodule", field="serve")


@pytest.mark.slow
def test_the_command_answers_with_the_packages_model_and_ends_cleanly(photos: list[Path]) -> None:
    command = [sys.executable, "-m", "faceverif", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        line = next(text for text in process.stderr if "serving on" in text)
        found = re.search(r"http://127\.0\.0\.1:(\d+),", line)
        assert found is not None
        status, *_ = ask(
            int(found[1]), "/compare", first=photos[0].read_bytes(), second=photos[1].read_bytes()
        )
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert (status, process.returncode) == (200, 0), errors
    assert "Traceback" not in errors
