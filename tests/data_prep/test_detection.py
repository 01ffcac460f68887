"""Our cascade against facenet-pytorch's where both must agree, and against itself where they must not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from numpy.typing import NDArray
from torch.nn import functional as F

from data_prep.detection import cascade as detection
from data_prep.detection.cascade import CascadeDetector
from data_prep.detection.faces import Faces, centred_largest
from data_prep.detection.networks import OutputNetwork, ProposalNetwork, RefinementNetwork
from data_prep.photos import read_photo

Photo = NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector() -> CascadeDetector:
    return CascadeDetector(20)


@pytest.fixture(scope="module")
def photos(people: Path) -> list[Photo]:
    return [read_photo(path) for path in sorted(people.rglob("*.jpg"))]


def bordered(photo: Photo, width: int) -> Photo:
    return np.pad(photo, ((width, width), (width, width), (0, 0)))


def chosen(photo: Photo, faces: Faces) -> int:
    index = centred_largest(faces, width=photo.shape[1], height=photo.shape[0])
    assert index is not None
    return index


def landmark_moves(
    detect: Callable[[Photo], Faces], photos: list[Photo], *, border: int
) -> NDArray[np.float64]:
    """How far a black border moves the chosen faces' landmarks: mean distance, as a share of the face."""
    moves = []
    for photo in photos:
        wide = bordered(photo, border)
        here, there = detect(photo), detect(wide)
        i, j = chosen(photo, here), chosen(wide, there)
        distance = np.linalg.norm(here.landmarks[i] - (there.landmarks[j] - border), axis=1).mean()
        moves.append(distance / np.ptp(here.boxes[i].reshape(2, 2), axis=0).max())
    return np.array(moves)


def by_facenet_pytorch(photo: Photo) -> Faces:
    boxes, scores, points = MTCNN(min_face_size=20, keep_all=True).detect(photo, landmarks=True)
    order = np.argsort(-scores.astype(float))
    return Faces(*(each[order].astype(np.float32) for each in (boxes, scores, points)))


def assert_same(here: Faces, there: Faces) -> None:
    np.testing.assert_allclose(here.scores, there.scores, atol=1e-4)
    np.testing.assert_allclose(here.boxes, there.boxes, atol=0.02)
    np.testing.assert_allclose(here.landmarks, there.landmarks, atol=0.02)


# --- the networks


@pytest.mark.parametrize("size", [(14, 30), (32, 32)])
def test_proposal_network_computes_what_pnet_does(size: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *size) * 255
    shifts, scores = PNet()((pixels - 127.5) / 128)
    face, moves = ProposalNetwork()(pixels)
    torch.testing.assert_close(face, scores[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(moves.permute(0, 3, 1, 2), shifts, atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_refinement_network_computes_what_rnet_does(batch: int) -> None:
    pixels = torch.rand(5, 3, 24, 24) * 255
    shifts, scores = RNet()((pixels - 127.5) / 128)
    face, moves = RefinementNetwork()(pixels[:batch])
    torch.testing.assert_close(face, scores[:batch, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(moves, shifts[:batch], atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_output_network_computes_what_onet_does(batch: int) -> None:
    pixels = torch.rand(5, 3, 48, 48) * 255
    shifts, points, scores = ONet()((pixels - 127.5) / 128)
    face, moves, landmarks = OutputNetwork()(pixels[:batch])
    torch.testing.assert_close(face, scores[:batch, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(moves, shifts[:batch], atol=1e-5, rtol=0)
    torch.testing.assert_close(landmarks[..., 0], points[:batch, :5], atol=1e-5, rtol=0)
    torch.testing.assert_close(landmarks[..., 1], points[:batch, 5:], atol=1e-5, rtol=0)


# --- the cascade


def test_agrees_with_facenet_pytorch_away_from_the_border(
    detector: CascadeDetector, photos: list[Photo]
) -> None:
    wide = [bordered(photo, 60) for photo in photos]
    for photo, faces in zip(wide, detector.detect(wide), strict=True):
        assert_same(faces, by_facenet_pytorch(photo))


def test_every_synthetic_face_is_found(detector: CascadeDetector, photos: list[Photo]) -> None:
    assert [len(faces) for faces in detector.detect(photos)] == [1] * len(photos)


def test_company_changes_nothing(detector: CascadeDetector, photos: list[Photo]) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((20, 200), (91, 57), (13, 13))]
    mixed = [photo[: 100 + 7 * i, 3 * i :] for i, photo in enumerate(photos)] + noise
    alone = [detector.detect([photo])[0] for photo in mixed]
    order = rng.permutation(len(mixed))
    together = detector.detect([mixed[i] for i in order])
    for i, faces in zip(order, together, strict=True):
        assert_same(faces, alone[i])


def test_cutting_levels_into_tiles_changes_nothing(
    detector: CascadeDetector, photos: list[Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = detector.detect(photos)
    monkeypatch.setattr(detection, "_TILE_PX", 34)
    for here, there in zip(detector.detect(photos), whole, strict=True):
        assert_same(here, there)


@pytest.mark.parametrize("shape", [(20, 20, 3), (20, 500, 3), (300, 12, 3), (64, 64, 3)])
@pytest.mark.parametrize("min_face_px", [12, 20, 80])
def test_nothing_to_see(shape: tuple[int, int, int], min_face_px: int) -> None:
    faces = CascadeDetector(min_face_px).detect([np.full(shape, 90, np.uint8)] * 2)
    assert [len(each) for each in faces] == [0, 0]
    assert faces[0].boxes.shape == (0, 4)
    assert faces[0].landmarks.shape == (0, 5, 2)
    assert CascadeDetector(min_face_px).detect([]) == []


def test_a_black_border_does_not_move_landmarks(detector: CascadeDetector, photos: list[Photo]) -> None:
    moves = landmark_moves(lambda photo: detector.detect([photo])[0], photos, border=40)
    assert moves.mean() < 0.02


# --- which face


def faces_at(*boxes: tuple[float, float, float, float]) -> Faces:
    count = len(boxes)
    return Faces(
        np.array(boxes, np.float32).reshape(count, 4),
        np.ones(count, np.float32),
        np.zeros((count, 5, 2), np.float32),
    )


def test_the_centred_face_wins_over_a_somewhat_larger_one_at_the_edge() -> None:
    faces = faces_at((0, 0, 55, 55), (75, 75, 125, 125))
    assert centred_largest(faces, width=200, height=200) == 1


def test_a_much_larger_face_wins_over_a_centred_speck() -> None:
    faces = faces_at((95, 95, 105, 105), (20, 20, 150, 150))
    assert centred_largest(faces, width=200, height=200) == 1


def test_no_face_to_choose() -> None:
    assert centred_largest(faces_at(), width=200, height=200) is None


# --- real photos


@pytest.mark.real_data
def test_lfw_agrees_with_facenet_pytorch(detector: CascadeDetector, shared: Path) -> None:
    paths = sorted((shared / "data/lfw/lfw-deepfunneled").rglob("*.jpg"))
    sample = [read_photo(path) for path in random.Random(0).sample(paths, 24)]
    distances = []
    for photo, faces in zip(sample, detector.detect(sample), strict=True):
        theirs = by_facenet_pytorch(photo)
        i, j = chosen(photo, faces), chosen(photo, theirs)
        np.testing.assert_allclose(faces.boxes[i], theirs.boxes[j], atol=4)
        distances.append(np.linalg.norm(faces.landmarks[i] - theirs.landmarks[j], axis=1).mean())
    assert np.mean(distances) < 0.2


@pytest.mark.real_data
def test_tight_crops_keep_their_landmarks(detector: CascadeDetector, shared: Path) -> None:
    """The photos' borders cut the head; with facenet-pytorch such landmarks move several times as far."""
    paths = sorted((shared / "data/lfw/lfw-deepfunneled").rglob("*.jpg"))
    sample = [read_photo(path) for path in random.Random(1).sample(paths, 16)]
    tight = [photo[60:190, 70:180] for photo in sample]
    ours = landmark_moves(lambda photo: detector.detect([photo])[0], tight, border=50)
    theirs = landmark_moves(by_facenet_pytorch, tight, border=50)
    assert ours.mean() < 0.02
    assert theirs.mean() > 2 * ours.mean()


@pytest.mark.real_data
def test_cfp_keeps_its_landmarks(detector: CascadeDetector, shared: Path) -> None:
    paths = [path for path in sorted((shared / "data/cfp").rglob("*.jpg")) if "frontal" in path.parts]
    sample = [read_photo(path) for path in random.Random(2).sample(paths, 12)]
    moves = landmark_moves(lambda photo: detector.detect([photo])[0], sample, border=50)
    assert np.median(moves) < 0.02


@pytest.mark.parametrize("size", [(33, 47), (33, 48), (34, 47), (13, 12)])
def test_odd_extents_are_pooled_as_by_facenet_pytorch(size: tuple[int, int]) -> None:
    height, width = size
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        shifts, face = PNet().eval()((picture - 127.5) / 128)
        filled = F.pad(picture, (0, width % 2, 0, height % 2))
        rows, columns = height + height % 2, width + width % 2
        filler = [
            (slice(height, rows), slice(0, columns)),
            (slice(0, rows), slice(width, columns)),
        ]  # an empty slice where the extent is even
        our_face, our_shifts = ProposalNetwork()(filled, filler=filler)
    torch.testing.assert_close(our_face, face[:, 1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(our_shifts, shifts.permute(0, 2, 3, 1), atol=1e-5, rtol=1e-4)
