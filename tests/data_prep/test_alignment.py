"""The similarity transform against brute force and its invariances; crops land where the template says."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from facenet_pytorch.models.utils.detect_face import extract_face
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from data_prep.alignment import TEMPLATES, find_template, refuse_unfit_input
from data_prep.alignment.base import centre_crop
from data_prep.alignment.box import BoxTemplate
from data_prep.alignment.landmarks import LandmarkTemplate, align_face, similarity_transform
from data_prep.errors import InputError

WARPS = {name: each for name, each in TEMPLATES.items() if isinstance(each, LandmarkTemplate)}
_TEMPLATE = np.array(WARPS["arcface-112"].landmarks)
_RNG_SEEDS = st.integers(0, 2**32 - 1)


def similarity(angle_rad: float, scale: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    cos, sin = scale * math.cos(angle_rad), scale * math.sin(angle_rad)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def applied(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:, :2].T + matrix[:, 2]


def least_squares_oracle(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """A similarity is linear in (a, b, tx, ty): x' = a x - b y + tx, y' = b x + a y + ty."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return np.array([[a, -b, tx], [b, a, ty]])


@given(_RNG_SEEDS, st.floats(0, 30))
def test_matches_linear_least_squares(seed: int, noise_px: float) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 40, (5, 2))
    target = _TEMPLATE + rng.normal(0, noise_px, (5, 2))
    # The oracle's best fit can never be a reflection: a similarity in this form has none.
    np.testing.assert_allclose(
        similarity_transform(source, target), least_squares_oracle(source, target), atol=1e-6
    )


@given(
    st.floats(-math.pi, math.pi), st.floats(0.05, 20), st.tuples(st.floats(-500, 500), st.floats(-500, 500))
)
def test_recovers_a_known_similarity(angle_rad: float, scale: float, shift: tuple[float, float]) -> None:
    matrix = similarity(angle_rad, scale, shift)
    found = similarity_transform(_TEMPLATE, applied(matrix, _TEMPLATE))
    np.testing.assert_allclose(found, matrix, atol=1e-8 * (1 + scale * 100))


@given(_RNG_SEEDS)
def test_order_of_points_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, order = rng.normal(0, 40, (5, 2)), rng.permutation(5)
    np.testing.assert_allclose(
        similarity_transform(source[order], _TEMPLATE[order]),
        similarity_transform(source, _TEMPLATE),
        atol=1e-9,
    )


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = _TEMPLATE * [-1, 1]
    assert np.linalg.det(similarity_transform(mirrored, _TEMPLATE)[:, :2]) > 0


def test_coinciding_points_have_no_scale() -> None:
    with pytest.raises(ValueError, match="coincide"):
        similarity_transform(np.ones((5, 2)), _TEMPLATE)


def dots(shape: tuple[int, int], points: NDArray[np.float64], radius: float) -> NDArray[np.uint8]:
    """White discs at sub-pixel positions on black."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1]).min(axis=2)
    picture = np.clip(radius + 0.5 - distance, 0, 1) * 255
    return np.repeat(picture[:, :, None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", WARPS)
@pytest.mark.parametrize("scale", [0.7, 1.0, 2.5, 5.0])
def test_landmarks_land_on_the_template(name: str, scale: float) -> None:
    template = WARPS[name]
    points = np.array(template.landmarks)
    matrix = similarity(0.3, scale, (60 * scale, 15 * scale))
    side = math.ceil(template.crop_px * scale * 1.8)
    photo = dots((side, side), applied(matrix, points), radius=3 * scale)
    crop = align_face(photo, applied(matrix, points), template)
    assert crop.shape == (template.crop_px, template.crop_px, 3)
    for x, y in points:
        patch = crop[round(y) - 7 : round(y) + 8, round(x) - 7 : round(x) + 8, 0].astype(float)
        rows, columns = np.mgrid[-7:8, -7:8]
        centre = np.array([(patch * columns).sum(), (patch * rows).sum()]) / patch.sum()
        np.testing.assert_allclose(centre, [x - round(x), y - round(y)], atol=0.15)


def test_a_large_face_is_averaged_not_sampled() -> None:
    # Single-pixel checks shrunk tenfold are grey; sampled without averaging they stay black and white.
    checks = (np.indices((1120, 1120)).sum(axis=0) % 2 * 255).astype(np.uint8)
    photo = np.repeat(checks[:, :, None], 3, axis=2)
    crop = align_face(photo, (_TEMPLATE + 0.5) * 10 - 0.5, WARPS["arcface-112"])
    assert crop.std() < 10
    assert abs(crop.mean() - 127.5) < 2


def test_what_lies_beyond_the_photo_is_black() -> None:
    photo = np.full((112, 112, 3), 255, np.uint8)
    crop = align_face(photo, _TEMPLATE + np.array([56, 0]), WARPS["arcface-112"])
    assert crop[:, :50].min() == 255
    assert crop[:, 62:].max() == 0


warp_affine = cv2.warpAffine


def warp_before_version_5(photo: NDArray[np.uint8], *others: Any, **settings: Any) -> Any:
    """OpenCV's warp, with the limit that it had."""
    assert max(photo.shape[:2]) < 2**15 - 1
    return warp_affine(photo, *others, **settings)


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize(("place", "enlarged"), [(-60, 1.0), (700, 2.1), (34_400, 1.0), (34_400, 2.1)])
def test_a_face_in_a_panorama_is_that_of_the_part_around_it(
    place: int, enlarged: float, upright: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (9, 34_600), np.uint8).repeat(16, axis=0)
    photo = grey[..., None].repeat(3, axis=2)
    begin = max(place - 400, 0)  # even, so that halving takes the same pixels together
    part, turn = photo[:, begin : begin + 1000], (1, 0, 2) if upright else (0, 1, 2)
    shift, before = ((20, place), (0, begin)) if upright else ((place, 20), (begin, 0))
    landmarks = applied(similarity(0.2, enlarged, shift), _TEMPLATE)
    photo, part = (np.ascontiguousarray(each.transpose(turn)) for each in (photo, part))
    expected = align_face(part, landmarks - before, WARPS["arcface-112"])
    assert expected.any()
    monkeypatch.setattr(cv2, "warpAffine", warp_before_version_5)
    crop = align_face(photo, landmarks, WARPS["arcface-112"])
    assert np.abs(crop.astype(int) - expected).max() <= 1


def test_a_face_beyond_a_panorama_is_black(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "warpAffine", warp_before_version_5)
    photo = np.full((20, 33_000, 3), 255, np.uint8)
    for place in ([-500, 0], [33_200, 0], [0, 300], [0, -300]):
        assert not align_face(photo, _TEMPLATE + place, WARPS["arcface-112"]).any()


def test_a_photo_lower_than_its_face_is_halved_in_width_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "warpAffine", warp_before_version_5)
    photo = np.full((20, 500_000, 3), 255, np.uint8)
    crop = align_face(photo, _TEMPLATE * 2000, WARPS["arcface-112"])
    assert crop.shape == (112, 112, 3)


@pytest.mark.parametrize("margin_px", [0, 14, 44])
@pytest.mark.parametrize(
    "box",
    [(40.3, 30.7, 90.2, 101.9), (-7.5, -3.0, 60.0, 80.4), (100.0, 90.0, 171.3, 140.2), (10, 10, 11, 12)],
)
def test_box_crops_are_those_of_facenet_pytorch(box: tuple[float, ...], margin_px: int) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (120, 150, 3), dtype=np.uint8)
    crop = BoxTemplate("facenet", 160, margin_px).cut(photo, box=np.array(box), landmarks=_TEMPLATE)
    theirs = extract_face(Image.fromarray(photo), np.array(box), image_size=160, margin=margin_px)
    np.testing.assert_array_equal(crop, theirs.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_landmark_is_found_again_in_the_crop(name: str) -> None:
    template = TEMPLATES[name]
    photo = np.zeros((300, 240, 3), np.uint8)
    photo[148:153, 108:113] = 255  # a spot around the middle of pixel (110, 150)
    box = np.array([60.0, 80.0, 170.0, 210.0])
    landmarks = np.array([[90.0, 130], [140, 126], [110, 150], [97, 182], [137, 180]])
    crop = template.cut(photo, box=box, landmarks=landmarks)
    _, _, nose, _, _ = template.landmarks_in_crop(landmarks, box=box, photo_size=(300, 240))
    rows, columns = np.nonzero(crop[..., 0] > 127)
    np.testing.assert_allclose(nose, [columns.mean(), rows.mean()], atol=0.6)


def test_a_box_beyond_the_photo_gives_its_edge() -> None:
    photo = np.full((50, 60, 3), 9, np.uint8)
    for box in ((70.0, 10.0, 90.0, 30.0), (-30.0, -30.0, -20.0, -20.0)):
        assert (TEMPLATES["facenet-160"].cut(photo, box=np.array(box), landmarks=_TEMPLATE) == 9).all()


def test_templates_scale_about_pixel_centres() -> None:
    picture = dots((112, 112), _TEMPLATE, radius=3)
    large = cv2.resize(picture, (160, 160), interpolation=cv2.INTER_LINEAR)
    scaled = dots((160, 160), np.array(WARPS["arcface-160"].landmarks), radius=3 * 160 / 112)
    assert np.abs(large.astype(int) - scaled).mean() < 1


def test_template_hashes_differ_and_stay() -> None:
    assert len({template.sha256 for template in TEMPLATES.values()}) == len(TEMPLATES)
    # Manifests and checkpoints carry this: a change would refuse every one of them.
    assert TEMPLATES["arcface-112"].sha256.startswith("942c05c1ce43446e")


def test_unknown_template() -> None:
    with pytest.raises(InputError, match="arcface-64, arcface-112, arcface-128, arcface-160"):
        find_template("arcface-96")


@pytest.mark.parametrize("shape", [(20, 300, 3), (300, 20, 3), (400, 500, 3), (113, 112, 3)])
def test_centre_crop_takes_the_central_square(shape: tuple[int, int, int]) -> None:
    photo = np.zeros(shape, np.uint8)
    half, (y, x) = min(shape[:2]) // 5, (shape[0] // 2, shape[1] // 2)
    photo[y - half : y + half, x - half : x + half] = 255
    crop = centre_crop(photo, TEMPLATES["arcface-112"])
    assert crop.shape == (112, 112, 3)
    assert crop[54:58, 54:58].min() > 200
    assert crop[:5, :5].max() == 0


@pytest.mark.parametrize(
    ("name", "input_px"),
    [
        ("arcface-64", 64),
        ("arcface-112", 112),
        ("arcface-112", 96),
        ("arcface-128", 120),
        ("arcface-128", 112),
        ("arcface-160", 160),
    ],
)
def test_inputs_of_the_same_scale_fit(name: str, input_px: int) -> None:
    refuse_unfit_input(TEMPLATES[name], input_px=input_px)


@pytest.mark.parametrize(
    ("name", "input_px", "said"),
    [
        ("arcface-112", 64, r"at least 94 for arcface-112 crops.*got 64\. .*--template arcface-64, or set"),
        ("arcface-160", 112, r"at least 134 .*--template arcface-112"),
        ("arcface-128", 64, r"at least 107 .*--template arcface-64"),
        ("arcface-112", 80, r"at least 94 .*Set backbone\.input_px=112"),
        ("arcface-64", 112, "at most the side of the crops, 64; got 112"),
    ],
)
def test_inputs_of_another_scale_are_refused(name: str, input_px: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        refuse_unfit_input(TEMPLATES[name], input_px=input_px)
