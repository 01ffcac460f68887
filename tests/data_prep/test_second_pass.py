"""Faces as large as their photo are found by a second search, which photos with a face never see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_prep.detection import second_pass
from data_prep.detection.cascade import CascadeDetector
from data_prep.detection.faces import Faces, centred_largest
from data_prep.detection.second_pass import TwoPassDetector, _confirmed
from data_prep.photos import read_photo

Photo = NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector() -> TwoPassDetector:
    return TwoPassDetector(40)


@pytest.fixture(scope="module")
def tight(people: Path) -> tuple[Photo, NDArray[np.float32]]:
    """A photo cut to a little less than its face, in which the first pass finds none, and its landmarks."""
    first = CascadeDetector(40)
    for path in sorted(people.rglob("*.jpg")):
        photo = read_photo(path)
        faces = first.detect([photo])[0]
        chosen = centred_largest(faces, width=photo.shape[1], height=photo.shape[0])
        if chosen is None:
            continue
        box = faces.boxes[chosen].reshape(2, 2)
        (x1, y1), (x2, y2) = (0.9 * box + 0.1 * box.mean(axis=0)).round().astype(int)
        cut = np.ascontiguousarray(photo[y1:y2, x1:x2])
        if not len(first.detect([cut])[0]):
            return cut, faces.landmarks[chosen] - (x1, y1)
    pytest.fail("the first pass finds all faces that fill their photo")


@pytest.mark.parametrize("largest_px", [1024, 64])
def test_a_face_as_large_as_its_photo_is_found(
    detector: TwoPassDetector,
    tight: tuple[Photo, NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
    largest_px: int,
) -> None:
    monkeypatch.setattr(second_pass, "_LARGEST_PX", largest_px)
    photo, landmarks = tight
    (seen,) = detector.detect([photo])
    assert (len(seen.faces), seen.detection_pass) == (1, 2)
    distance_px = np.linalg.norm(seen.faces.landmarks[0] - landmarks, axis=1).mean()
    assert distance_px < 0.08 * len(photo)


def test_company_changes_no_pass(
    detector: TwoPassDetector, tight: tuple[Photo, NDArray[np.float32]], people: Path
) -> None:
    photo = read_photo(min(people.rglob("*.jpg")))
    nothing = np.full((90, 70, 3), 128, np.uint8)
    seen = detector.detect([nothing, photo, tight[0], photo])
    assert [each.detection_pass for each in seen] == [None, 1, 2, 1]
    assert len(seen[0].faces) == 0


def test_photos_with_a_face_are_searched_once(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = TwoPassDetector(40)
    photos = [read_photo(path) for path in sorted(people.rglob("*.jpg"))[:3]]
    searched: list[Photo] = []

    def search(some: list[Photo]) -> list[Faces]:
        searched.extend(some)
        return []

    monkeypatch.setattr(detector._second, "detect", search)
    seen = detector.detect(photos)
    assert not searched
    for each, faces in zip(seen, CascadeDetector(40).detect(photos), strict=True):
        np.testing.assert_array_equal(each.faces.landmarks, faces.landmarks)


def test_a_face_counts_only_where_the_mirrored_photo_shows_it() -> None:
    boxes = np.array([[10, 10, 50, 50], [60, 10, 100, 50]], np.float32)
    eyes_to_mouth = np.array([[20, 20], [40, 20], [30, 30], [22, 40], [38, 40]], np.float32)
    landmarks = np.stack([eyes_to_mouth, np.add(eyes_to_mouth, (50, 0))])
    faces = Faces(boxes, np.array([0.9, 0.8], np.float32), landmarks)
    mirrored = (119 - eyes_to_mouth[[1, 0, 2, 4, 3], 0], eyes_to_mouth[[1, 0, 2, 4, 3], 1])
    reflection = Faces(boxes[:1], faces.scores[:1], np.stack(mirrored, axis=1)[None])
    kept = _confirmed(faces, reflection, width=120)
    np.testing.assert_array_equal(kept.boxes, boxes[:1])
    assert len(_confirmed(faces, Faces(boxes[:0], faces.scores[:0], landmarks[:0]), width=120)) == 0
