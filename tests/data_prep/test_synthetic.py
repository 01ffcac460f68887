"""The statistical face model against brute force, and the photos drawn from it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import drawn_photos
from numpy.typing import NDArray
from PIL import Image

from data_prep.alignment import find_template
from data_prep.dataset.manifest import AlignedDataset, Status, header_for, write_manifest
from data_prep.detection.cascade import CascadeDetector
from data_prep.detection.faces import centred_largest
from data_prep.errors import InputError
from data_prep.face_model import SHIPPED_MODEL, FaceModel, fit_face_model, load_face_model, within_covariance
from data_prep.own_names import SYNTHETIC_MARK
from data_prep.photos import read_photo
from data_prep.sources import list_source
from data_prep.synthetic import synthesise_photos

PEOPLE, PHOTOS, DIRECTIONS = 40, 4, 5


def write_crops(
    root: Path, crops: NDArray[np.uint8], identities: list[str], statuses: list[Status]
) -> AlignedDataset:
    rows = []
    for number, (crop, identity, status) in enumerate(zip(crops, identities, statuses, strict=True)):
        name = f"{number:04d}.png"
        Image.fromarray(crop).save(root / name)
        known = {"photo": f"{identity}/{name}", "identity": identity, "crop": name, "status": status.value}
        rows.append(known | {"width": 64, "height": 64, "faces": 1})
    write_manifest(root, header_for(find_template("arcface-64"), policy="test", min_face_px=20), rows)
    return AlignedDataset.load(root)


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    """Crops of 40 people x 4 photos along five directions, each with another share of spread within."""
    rng = np.random.default_rng(3)
    waves = np.sin(np.linspace(0, np.pi, 64)[None, :] * np.arange(1, DIRECTIONS + 1)[:, None])
    directions = (
        waves[:, :, None, None] * waves[::-1, None, :, None] * rng.uniform(0.3, 1, (DIRECTIONS, 1, 1, 3))
    )
    within = np.array([0.9, 0.7, 0.5, 0.3, 0.1])
    person = np.repeat(np.arange(PEOPLE), PHOTOS)
    coefficients = rng.normal(size=(PEOPLE, DIRECTIONS))[person] * np.sqrt(1 - within)
    coefficients += rng.normal(size=(len(person), DIRECTIONS)) * np.sqrt(within)
    faces = (
        128 + 18 * np.tensordot(coefficients, directions, axes=1) + rng.normal(0, 1, (len(person), 64, 64, 3))
    )
    return np.clip(np.rint(faces), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def dataset(crops: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> AlignedDataset:
    identities = [f"p{person:02d}" for person in range(PEOPLE) for _ in range(PHOTOS)]
    root = tmp_path_factory.mktemp("aligned")
    return write_crops(root, crops, identities, [Status.ALIGNED] * len(crops))


@pytest.fixture(scope="module")
def fitted(dataset: AlignedDataset) -> FaceModel:
    return fit_face_model(dataset, components=DIRECTIONS)


@pytest.fixture
def small() -> FaceModel:
    rng = np.random.default_rng(0)
    within = np.array([0.2, 0.5, 0.9], np.float32)
    return FaceModel(
        mean=np.full((64, 64, 3), 128, np.float32),
        components=rng.normal(0, 10, (3, 64, 64, 3)).astype(np.float32),
        between=np.sqrt(1 - within**2),
        within=within,
    )


def test_components_span_what_a_full_svd_finds(fitted: FaceModel, crops: NDArray[np.uint8]) -> None:
    pixels = crops.reshape(len(crops), -1).astype(np.float64)
    centred = pixels - pixels.mean(axis=0)
    _, singular, vt = np.linalg.svd(centred, full_matrices=False)
    expected = vt[:DIRECTIONS].T * (singular[:DIRECTIONS] ** 2 / len(crops))
    components = fitted.components.reshape(DIRECTIONS, -1).astype(np.float64)
    # The model's basis is another one; its covariance, applied to the same vectors, is not.
    found = components.T @ (components @ vt[:DIRECTIONS].T)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_allclose(fitted.mean.ravel(), pixels.mean(axis=0), atol=1e-3)


def test_spread_is_split_as_it_was_made(fitted: FaceModel) -> None:
    made = np.sqrt([0.1, 0.3, 0.5, 0.7, 0.9])
    # Trimming takes most where there is most; with five directions that shows, with two hundred hardly.
    np.testing.assert_allclose(fitted.within, made, atol=0.15)
    np.testing.assert_allclose(fitted.between**2 + fitted.within**2, 1, atol=1e-6)


def test_within_covariance_is_that_of_the_photos_about_their_mean() -> None:
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(2000), 3)
    photos = rng.normal(size=(2000, 4))[person] * 3 + rng.normal(size=(6000, 4)) * [0.5, 1, 1, 2]
    found = np.diag(within_covariance(photos, person))
    # The tenth that is left out lies far off, so a little is missing; never more than the whole tail.
    assert (found / [0.25, 1, 1, 4] > 0.6).all()
    assert (found / [0.25, 1, 1, 4] < 1.02).all()


def test_wrong_labels_hardly_widen_the_within_spread() -> None:
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(500), 4)
    photos = rng.normal(size=(500, 10))[person] * 3 + rng.normal(size=(2000, 10))
    clean = np.trace(within_covariance(photos, person))
    strangers = rng.choice(2000, 40, replace=False)
    photos[strangers] = rng.normal(size=(40, 10)) * 3
    count = np.bincount(person)[:, None]
    means = np.stack([np.bincount(person, photos[:, k]) for k in range(10)], axis=1) / count
    untrimmed = ((photos - means[person]) ** 2).sum() / 2000 * 4 / 3
    assert np.trace(within_covariance(photos, person)) < 1.1 * clean
    assert untrimmed > 1.15 * 10


def test_a_person_with_one_photo_says_nothing_about_the_spread_within() -> None:
    rng = np.random.default_rng(1)
    photos, person = rng.normal(size=(60, 3)), np.repeat(np.arange(20), 3)
    alone = np.concatenate([photos, [[100.0, 0, 0]]]), np.append(person, 20)
    np.testing.assert_array_equal(within_covariance(photos, person), within_covariance(*alone))


def test_photos_without_a_face_do_not_count(
    crops: NDArray[np.uint8], fitted: FaceModel, tmp_path: Path
) -> None:
    identities = [f"p{person:02d}" for person in range(PEOPLE) for _ in range(PHOTOS)]
    with_misses = write_crops(
        tmp_path,
        np.concatenate([crops, np.zeros((9, 64, 64, 3), np.uint8)]),
        [*identities, *identities[:9]],
        [Status.ALIGNED] * len(crops) + [Status.NO_FACE] * 9,
    )
    model = fit_face_model(with_misses, components=DIRECTIONS)
    np.testing.assert_array_equal(model.components, fitted.components)
    assert model.provenance["photos"] == len(crops)


@pytest.mark.parametrize("components", [0, 241])
def test_file_size_bounds_the_components(dataset: AlignedDataset, components: int) -> None:
    with pytest.raises(InputError, match=r"components: .*3 MB"):
        fit_face_model(dataset, components=components)


def test_too_few_repeated_photos_are_refused(dataset: AlignedDataset) -> None:
    with pytest.raises(
        InputError, match=r"at least 130 photos beyond the first .* got 120.*--components 120"
    ):
        fit_face_model(dataset, components=130)


def test_one_person_is_refused(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    alone = write_crops(tmp_path, crops[:4], ["p"] * 4, [Status.ALIGNED] * 4)
    with pytest.raises(InputError, match="at least two people"):
        fit_face_model(alone, components=2)


def test_a_lost_crop_is_named(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    damaged = write_crops(tmp_path, crops[:8], ["p"] * 4 + ["q"] * 4, [Status.ALIGNED] * 8)
    (tmp_path / "0003.png").unlink()
    with pytest.raises(InputError, match=r"readable 64 x 64 picture; got .*0003\.png"):
        fit_face_model(damaged, components=2)


def test_saved_model_comes_back(small: FaceModel, tmp_path: Path) -> None:
    model = replace(small, provenance={"photos": 7})
    model.save(tmp_path / "deep" / "model.npz")
    back = load_face_model(tmp_path / "deep" / "model.npz")
    half_a_step = np.abs(model.components).max(axis=(1, 2, 3)) / 127 / 2
    error = np.abs(back.components - model.components).max(axis=(1, 2, 3))
    assert (error <= half_a_step * 1.001).all()
    np.testing.assert_array_equal(back.within, model.within)
    np.testing.assert_array_equal(back.mean, model.mean)
    assert back.provenance == {"photos": 7}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model.npz"]


def test_same_model_is_the_same_file(small: FaceModel, tmp_path: Path) -> None:
    small.save(tmp_path / "one.npz")
    small.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def arrays_of(model: FaceModel, path: Path) -> dict[str, NDArray]:
    model.save(path)
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays: arrays.pop("scale"),
        lambda arrays: arrays.update(format=np.array(99)),
        lambda arrays: arrays.update(within=arrays["within"][:2]),
        lambda arrays: arrays.update(mean=arrays["mean"][:32]),
        lambda arrays: arrays.update(between=arrays["between"] * np.nan),
        lambda arrays: arrays.update(mean=np.array([object()])),
        lambda arrays: arrays.update(provenance=np.array("{")),
    ],
    ids=["no scale", "format", "few spreads", "mean", "nan", "pickle", "provenance"],
)
def test_a_wrong_model_file_is_refused(small: FaceModel, tmp_path: Path, spoil) -> None:
    path = tmp_path / "model.npz"
    arrays = arrays_of(small, path)
    spoil(arrays)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="face model of this version"):
        load_face_model(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_what_is_no_model_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="face model of this version"):
        load_face_model(path)


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.npz.*faceverif fit-faces"):
        load_face_model(tmp_path / "nowhere.npz")


def test_shipped_model_is_small_and_says_where_it_is_from() -> None:
    model = load_face_model()
    assert SHIPPED_MODEL.stat().st_size <= 3_000_000
    assert len(model.components) == 200
    assert model.provenance["photos"] > 10_000
    assert set(model.provenance) == {"identities", "manifest_sha256", "photos", "template"}


def test_people_differ_more_than_photos_of_one() -> None:
    model = load_face_model()
    rng = np.random.default_rng(0)
    people = [model.sample_identity(rng) for _ in range(20)]
    faces = np.array([[model.sample_face(person, rng).ravel() for _ in range(2)] for person in people])
    within = np.linalg.norm(faces[:, 0] - faces[:, 1], axis=1).mean()
    between = np.linalg.norm(faces[:, 0] - np.roll(faces[:, 0], 1, axis=0), axis=1).mean()
    assert between > 1.2 * within


def test_every_shipped_face_is_found_near_the_middle(tmp_path: Path) -> None:
    photos = [read_photo(path) for path in drawn_photos(tmp_path, identities=16, photos=2, seed=5)]
    for photo, faces in zip(photos, CascadeDetector(30).detect(photos), strict=True):
        height, width = photo.shape[:2]
        chosen = centred_largest(faces, width=width, height=height)
        assert chosen is not None
        centre = faces.boxes[chosen].reshape(2, 2).mean(axis=0) / [width, height]
        np.testing.assert_allclose(centre, 0.5, atol=0.15)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.jpg"))}


def test_same_seed_same_photos_whatever_the_number_of_threads(
    small: FaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for threads in (1, 4):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        synthesise_photos(small, tmp_path / f"{threads}", identities=3, photos=2, seed=7)
    one, other = contents(tmp_path / "1"), contents(tmp_path / "4")
    assert list(one) == [f"person-000{person}/0{photo}.jpg" for person in (1, 2, 3) for photo in (1, 2)]
    assert one == other
    assert len(set(one.values())) == 6


def test_photos_do_not_depend_on_how_many_others_are_asked_for(small: FaceModel, tmp_path: Path) -> None:
    synthesise_photos(small, tmp_path / "few", identities=1, photos=2, seed=7)
    synthesise_photos(small, tmp_path / "many", identities=3, photos=3, seed=7)
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert few == {name: many[name] for name in few}


def test_another_seed_gives_other_photos(small: FaceModel, tmp_path: Path) -> None:
    for seed in (0, 1):
        synthesise_photos(small, tmp_path / f"{seed}", identities=2, photos=2, seed=seed)
    assert not set(contents(tmp_path / "0").values()) & set(contents(tmp_path / "1").values())


def test_what_a_killed_call_left_out_is_drawn_by_the_next(small: FaceModel, tmp_path: Path) -> None:
    out = tmp_path / "photos"
    synthesise_photos(small, out, identities=2, photos=2, seed=7)
    whole = contents(out)
    (out / "person-0002" / "01.jpg").unlink()
    untouched = (out / "person-0001" / "01.jpg").stat().st_mtime_ns
    synthesise_photos(small, out, identities=2, photos=2, seed=7)
    assert contents(out) == whole
    assert (out / "person-0001" / "01.jpg").stat().st_mtime_ns == untouched


def test_a_call_that_was_killed_before_its_first_photo_is_made_again(
    small: FaceModel, tmp_path: Path
) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".unfinished-1-.synthetic.json").write_text("{")
    synthesise_photos(small, tmp_path, identities=1, photos=1, seed=0)
    assert list(contents(tmp_path)) == ["person-0001/01.jpg"]


def test_a_file_as_folder_is_refused(small: FaceModel, tmp_path: Path) -> None:
    (tmp_path / "photos").touch()
    with pytest.raises(InputError, match="must be a folder"):
        synthesise_photos(small, tmp_path / "photos", identities=1, photos=1, seed=0)


def test_anothers_folder_is_left_alone(small: FaceModel, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="OUT: must be a new or empty folder"):
        synthesise_photos(small, tmp_path, identities=1, photos=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("other", [{"seed": 8}, {"identities": 3}, {"photos": 1}])
def test_other_people_do_not_mix_into_a_folder(
    small: FaceModel, tmp_path: Path, other: dict[str, int]
) -> None:
    asked = {"seed": 7, "identities": 2, "photos": 2}
    synthesise_photos(small, tmp_path / "photos", **asked)
    with pytest.raises(InputError, match="the same people, photos and seed"):
        synthesise_photos(small, tmp_path / "photos", **(asked | other))


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"identities": 0}, {"photos": -3}])
def test_counts_and_seed_are_checked_before_anything_is_written(
    small: FaceModel, tmp_path: Path, wrong: dict[str, int]
) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(InputError, match=f"{name}: .*got {value}"):
        synthesise_photos(small, tmp_path / "photos", **({"seed": 0, "identities": 1, "photos": 1} | wrong))
    assert not (tmp_path / "photos").exists()


def test_what_synthesise_leaves_beside_the_photos_is_not_counted_as_skipped(people: Path) -> None:
    assert (people / SYNTHETIC_MARK).is_file()
    assert list_source(people).skipped.text() == ""
    (people / ".hidden").touch()
    assert list_source(people).skipped.text() == "skipped 1: system_file 1 (.hidden)"
    (people / ".hidden").unlink()
