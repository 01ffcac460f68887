"""From photo to decision: the alignment as a layer, and what survives in the saved photo."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from drawn_photos import drawn_photos
from numpy.typing import NDArray
from onnx_nets import weights, write_net
from PIL import Image
from small_faces import pattern_embedder

import faceverif
from data_prep.alignment import find_template
from data_prep.alignment.landmarks import LandmarkTemplate, align_face
from data_prep.errors import InputError
from data_prep.photos import read_photo
from faceverif.cli import rejection as command
from faceverif.verification.compare import Comparer
from faceverif.verification.photo_faces import NoFaceError, PhotoFaces, find_faces
from faceverif.verification.photo_pixels import ReadPhoto
from robustness.face_regions import region_mask
from robustness.photo_view import AlignedView
from robustness.whole_photo import AttackedWholePhoto

MODEL = faceverif.Recogniser(pattern_embedder(input_px=96))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return drawn_photos(tmp_path_factory.mktemp("drawn"), identities=2, photos=1)


def attacked(photos: list[Path], folder: Path, **more: Any) -> AttackedWholePhoto:
    settings = {"model": MODEL, "out": folder / "x.png", "steps": 4} | more
    return faceverif.attack_photo(*photos, **settings)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """A picture whose neighbours differ little."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 20 + k) + np.cos(y / 25 - k) for k in range(3)]
    return (127.5 + 60 * np.stack(waves, axis=2)).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.7, 1.6, 2.5, 3.3, 5.0])
def test_the_view_is_what_align_face_makes(scale: float) -> None:
    """Upright and turned; small faces, and large ones, whose photo of odd sides is halved first."""
    template = find_template("arcface-112")
    assert isinstance(template, LandmarkTemplate)
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    landmarks = scale * (np.array(template.landmarks) - 56) @ turn + [201, 187]
    photo = smooth(413, 437)
    expected = align_face(photo, landmarks, template)
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    found = AlignedView(landmarks, template, input_px=112)(pixels)[0].permute(1, 2, 0).numpy() * 255
    inside = (expected > 0).all(axis=2) & (found > 20).all(axis=2)
    assert inside.mean() > 0.3
    assert np.abs(found - expected)[inside].max() < 1.6  # rounding; half a pixel to the side is 2.4 and more
    middle = AlignedView(landmarks, template, input_px=96)(pixels)[0].permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(middle, found[8:104, 8:104], atol=1e-3)
    rows, columns = AlignedView(landmarks, template, input_px=112).seen_part(height=413, width=437)
    part = pixels[:, :, rows, columns]
    moved = landmarks - [columns.start, rows.start]
    again = AlignedView(moved, template, input_px=112)(part)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(again - found).max() < 1.5


@pytest.mark.parametrize(("goal", "sign"), [("impersonation", 1), ("dodging", -1)])
def test_the_saved_photo_deceives_after_detection_and_alignment(
    photos: list[Path], tmp_path: Path, goal: str, sign: int
) -> None:
    found = attacked(photos, tmp_path, goal=goal, epsilon=8 / 255)
    assert 0 < found.largest_change <= 8
    np.testing.assert_array_equal(read_photo(found.path), found.attacked)
    assert found.attacked.shape == read_photo(photos[0]).shape
    assert found.similarity_after is not None
    assert sign * (found.similarity_after - found.similarity_before) > 0.01
    assert found.similarity_before == pytest.approx(MODEL.similarity(*photos), abs=1e-6)
    assert found.similarity_after == pytest.approx(MODEL.similarity(found.path, photos[1]), abs=1e-6)
    assert found.landmarks_moved_px is not None
    assert found.landmarks_moved_px < 5
    text = found.text(threshold=0.5)
    assert f"by at most {found.largest_change} of 255" in text
    assert "in the saved photo" in text


def test_a_patch_stays_on_the_face_of_the_photo(photos: list[Path], tmp_path: Path) -> None:
    found = attacked(photos, tmp_path, name="patch", region="mouth_nose")
    face = find_faces(photos[0])
    landmarks = face.faces.landmarks[face.main]
    mask = region_mask("mouth_nose", landmarks, height=found.clean.shape[0], width=found.clean.shape[1])
    assert not found.change[~mask].any()
    assert found.changed_share > 0.9 * mask.mean() > 0


def test_black_box_and_sources(photos: list[Path], tmp_path: Path) -> None:
    photo = faceverif.attack_photo(*photos, model=MODEL, out=tmp_path / "x.png", name="square", queries=5)
    assert photo.queries == 5
    other = faceverif.Recogniser(pattern_embedder(input_px=112), flip=False)
    found = attacked(photos, tmp_path, source=[MODEL, other])
    assert found.similarity_after is not None
    assert found.similarity_after > found.similarity_before
    _, in_the_attack, saved, *_ = found.text(threshold=0.5).splitlines()
    assert in_the_attack == f"in the attack:      {found.similarity_aimed:.4f}, as the source sees it"
    assert saved.endswith(("same person", "different people"))
    # The threshold is of the model that judges, so an attack on another one cannot stop there.
    found = attacked(photos, tmp_path, name="square", source=other, threshold=-1.0, queries=7, steps=None)
    assert found.queries == 7


def test_each_photo_is_decoded_once(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def counted(path: Path) -> NDArray[np.uint8]:
        decoded.append(path)
        return read_photo(path)

    monkeypatch.setattr("faceverif.verification.photo_pixels.read_photo", counted)
    found = attacked(photos, tmp_path)
    assert decoded == [*photos, found.path]
    decoded.clear()
    faceverif.attack(*photos, model=MODEL, steps=1)
    assert decoded == photos


def test_a_photo_without_a_face_left_is_reported(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(photo: ReadPhoto) -> PhotoFaces:
        if photo.name.endswith(".png"):
            raise NoFaceError("photo", "must show a face", got="none", fix="Give another one.")
        return find_faces(photo)

    monkeypatch.setattr("robustness.whole_photo.find_faces", search)
    found = attacked(photos, tmp_path)
    assert found.similarity_after is None
    assert "in the saved photo: no face is found" in found.text()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"out": "x.jpg"}, r"out: must be a \.png file"),
        ({"name": "patch", "region": "ear"}, "region: must be one of"),
        ({"name": "evolutionary"}, "threshold: must be given"),
        ({"model": faceverif.Recogniser(pattern_embedder(template="facenet-160"))}, "warped to landmarks"),
        ({"model": "gone", "photos": ["b.jpg"]}, "readable picture; got b.jpg, which does not exist"),
    ],
)
def test_wrong_arguments_leave_no_file(
    photos: list[Path], tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        attacked([photos[0], *changes.pop("photos", photos[1:])], tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_a_photo_is_not_overwritten(photos: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "photo.png"
    Image.open(photos[0]).save(copy)
    before = copy.read_bytes()
    with pytest.raises(InputError, match="out: must not be one of the photos"):
        faceverif.attack_photo(copy, photos[1], out=tmp_path / "." / "photo.png", model=MODEL)
    assert copy.read_bytes() == before
    with pytest.raises(InputError, match="source: must hold a model"):
        attacked(photos, tmp_path, source=[])


@pytest.mark.real_data
def test_the_model_of_the_package_is_deceived_by_a_photo_of_lfw(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/lfw/lfw-deepfunneled"
    pair = [folder / f"{name}/{name}_0001.jpg" for name in ("Aaron_Eckhart", "Aaron_Guiel")]
    model = faceverif.load()
    found = faceverif.attack_photo(*pair, model=model, out=tmp_path / "x.png", steps=10)
    assert found.similarity_after is not None
    assert found.similarity_after > found.similarity_before + 0.3


def test_the_command_tells_how_an_onnx_file_is_attacked(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def loaded(path: Path, **options: Any) -> Comparer:
        asked.update(options)
        return Comparer(MODEL.embedder, SimpleNamespace(flip=True), SimpleNamespace(threshold=0.3))  # type: ignore[arg-type]

    monkeypatch.setattr(Comparer, "load", loaded)
    monkeypatch.setattr("faceverif.verification.calibration.refuse_uncalibrated", lambda *_, **__: None)
    write_net(tmp_path / "net.onnx", weights())
    options = {"out": tmp_path / "x.png", "reference": photos[1], "model": [tmp_path / "net.onnx"]}
    given = {"preprocess": "bgr-127.5", "output": "e", "settings": ["steps=1"]}
    command.attack(photos[0], **options, **given)
    assert (asked["preprocess"], asked["output"]) == ("bgr-127.5", "e")
    with pytest.raises(
        InputError, match=r"--source: must be a model that says itself .*faceverif import \S+net\.onnx"
    ):
        command.attack(photos[0], **options, source=[tmp_path / "net.onnx"])
