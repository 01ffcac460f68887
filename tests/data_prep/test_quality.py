"""Measures of a photo: a turned head gives back its angles, blur lowers sharpness, older data are filled."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_faces import manifest_row, write_faces

from data_prep.check import check
from data_prep.dataset.manifest import MANIFEST_NAME, AlignedDataset, Status, write_manifest
from data_prep.quality.columns import photo_quality, quality_of_face
from data_prep.quality.names import MEASURES, QUALITY_COLUMNS
from data_prep.quality.pose import MEAN_FACE, eye_distance, frontal, head_pose
from data_prep.quality.sharpness import sharpness

angle = st.floats(-80, 80)


def turned(yaw: float, pitch: float, roll: float, *, scale: float = 40, at: float = 7) -> NDArray[np.float64]:
    """The model head, lowered, then turned, then tilted, seen from afar: (5, 2)."""
    points = []
    for right, down, ahead in MEAN_FACE.tolist():
        p, y, r = (math.radians(each) for each in (pitch, yaw, roll))
        down, ahead = down * math.cos(p) + ahead * math.sin(p), ahead * math.cos(p) - down * math.sin(p)
        right, ahead = right * math.cos(y) + ahead * math.sin(y), ahead * math.cos(y) - right * math.sin(y)
        right, down = right * math.cos(r) - down * math.sin(r), right * math.sin(r) + down * math.cos(r)
        points.append((at + scale * right, at + scale * down))
    return np.array(points)


@settings(max_examples=40)
@given(yaw=angle, pitch=angle, roll=st.floats(-179, 179), scale=st.floats(0.5, 900))
def test_a_turned_model_head_gives_back_its_angles(
    yaw: float, pitch: float, roll: float, scale: float
) -> None:
    found = head_pose(turned(yaw, pitch, roll, scale=scale)[None])[0]
    np.testing.assert_allclose(found, [yaw, pitch, roll], atol=1e-6)


def test_signs_are_those_of_the_picture() -> None:
    eyes, nose = slice(2), 2
    right, straight, down = turned(30, 0, 0), turned(0, 0, 0), turned(0, 30, 0)
    assert right[nose, 0] > right[eyes, 0].mean(), "the nose points to the right"
    lowered, level = (face[nose, 1] - face[eyes, 1].mean() for face in (down, straight))
    assert lowered > level, "the nose points down"
    eyes = turned(0, 0, 30)[:2]
    assert eyes[1, 1] > eyes[0, 1], "clockwise: the right eye of the picture is lower"


def test_a_rotated_photo_has_another_roll_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    faces = np.stack([turned(y, p, 0) for y, p in rng.uniform(-40, 40, (9, 2))]) + rng.normal(0, 1, (9, 5, 2))
    c, s = math.cos(0.4), math.sin(0.4)
    before, after = head_pose(faces), head_pose(faces @ np.array([[c, s], [-s, c]]))
    np.testing.assert_allclose(after - before, [[0, 0, math.degrees(0.4)]] * 9, atol=1e-8)
    mirrored = faces[:, [1, 0, 2, 4, 3]] * [-1, 1]
    np.testing.assert_allclose(head_pose(mirrored), before * [-1, 1, -1], atol=1e-8)


def test_landmarks_in_one_point_have_no_pose() -> None:
    assert np.isnan(head_pose(np.ones((1, 5, 2)))).all()
    crop = np.zeros((60, 60, 3), np.uint8)
    assert quality_of_face(np.ones((5, 2)), crop) == {"eye_distance_px": 0.0, "sharpness": 0.0}


def test_distance_of_the_eyes_and_frontal_cosine() -> None:
    assert eye_distance(turned(0, 0, 20, scale=33)[None]) == pytest.approx([33])
    assert frontal(np.array([0.0, 60, 60]), np.array([0.0, 0, 60])) == pytest.approx([1, 0.5, 0.25])


def test_sharpness_is_the_variance_of_the_literal_laplacian() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (60, 60), dtype=np.uint8)
    inner = grey[10:50, 10:50].astype(int)
    around = np.pad(inner, 1, mode="edge")
    values = [
        around[y - 1, x] + around[y + 1, x] + around[y, x - 1] + around[y, x + 1] - 4 * around[y, x]
        for y in range(1, 41)
        for x in range(1, 41)
    ]
    assert sharpness(np.repeat(grey[..., None], 3, axis=2)) == pytest.approx(np.var(values))


def test_blur_lowers_sharpness_and_a_black_border_does_not_raise_it() -> None:
    crop = cv2.resize(np.random.default_rng(2).integers(0, 256, (14, 14, 3), dtype=np.uint8), (112, 112))
    blurred = [sharpness(cv2.GaussianBlur(crop, (0, 0), sigma)) for sigma in (1, 2, 4)]
    assert sharpness(crop) > blurred[0] > blurred[1] > blurred[2]
    bordered = crop.copy()
    bordered[:, :18] = 0
    assert sharpness(bordered) == sharpness(crop)


def known_rows() -> list[dict[str, object]]:
    rows = [manifest_row(f"P00/P00_000{number}") for number in (1, 2, 3)]
    rows[0] |= {"landmarks": turned(20, -10, 5).ravel().tolist(), "score": 0.5}
    rows[1] |= {
        "landmarks": turned(20, -10, 5).ravel().tolist(),
        "yaw_deg": 3.0,
        "pitch_deg": 0.0,
        "sharpness": 9.0,
    }
    rows[2] |= {"status": Status.NO_FACE.value, "reason": "no_face", "sharpness": 8.0}
    return rows


def test_what_an_earlier_version_did_not_write_is_found_again(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path, people=1, photos=3)
    write_manifest(tmp_path, dataset.header, known_rows())
    dataset = AlignedDataset.load(tmp_path)
    names = [*MEASURES, "roll_deg"]
    found = photo_quality(dataset, np.arange(3), names, read_crops=False)
    nan = math.nan
    np.testing.assert_allclose(found["score"], [0.5, nan, nan])
    np.testing.assert_allclose(
        found["frontal"][:2], frontal(np.array([20.0, 3]), np.array([-10.0, 0])), rtol=1e-5
    )
    np.testing.assert_allclose(found["roll_deg"], [5, 5, nan], rtol=1e-5)
    np.testing.assert_allclose(found["sharpness"], [nan, 9, nan])
    read = photo_quality(dataset, np.array([2, 1, 0]), ["sharpness"], read_crops=True)["sharpness"]
    np.testing.assert_allclose(read, [nan, 9, sharpness(dataset.crops.read(np.array([0]))[0])])


def test_a_check_tells_how_quality_is_spread(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path, people=1, photos=3)
    write_manifest(tmp_path, dataset.header, known_rows())
    text = check(tmp_path).text()
    assert "score 0.5, 0.5, 0.5; eye_distance_px " in text
    assert "sharpness 9, 9, 9" in text
    table = pq.read_table(tmp_path / MANIFEST_NAME)
    pq.write_table(table.drop_columns([*QUALITY_COLUMNS, "detection_pass"]), tmp_path / MANIFEST_NAME)
    text = check(tmp_path).text()
    assert "sharpness not known" in text
    assert text.endswith("\nwhole")
