"""People who do not exist: a statistical face model, and photos drawn from it.

The model is principal components of aligned faces with two spreads in each direction: between people and
within one person (Ioffe, "Probabilistic Linear Discriminant Analysis", ECCV 2006: one basis in which both
covariances are diagonal). A person is a draw from the first spread; each photo adds a draw from the second,
and then pose, light, background, blur and JPEG. The model keeps a mean and directions, no picture of anyone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.atomic import UNFINISHED, write_text, written_whole
from data_prep.errors import InputError
from data_prep.face_model import SIDE_PX, FaceModel
from data_prep.lock import filled
from data_prep.own_names import LOCK_NAME, SYNTHETIC_MARK
from data_prep.progress import progress


def synthesise_photos(model: FaceModel, out: Path, *, identities: int, photos: int, seed: int) -> None:
    """Draw photos of people who do not exist: out/person-0001/01.jpg and so on.

    A photo only depends on the model, the seed and its two numbers, not on how many others are asked for or
    on the number of threads. A call that was stopped draws what is missing when it is made again.

    Args:
        model: the faces.
        out: a new or empty folder, or one that the same call has begun.
        identities: how many people.
        photos: of each.
        seed: >= 0.

    Raises:
        InputError: a negative seed or count, or a folder with anything else in it.
    """
    _check_positive(identities=identities, photos=photos)
    if seed < 0:
        raise InputError("seed", "must not be negative", got=seed, fix="Use --seed 0.")
    settings = {"model": _fingerprint(model), "identities": identities, "photos": photos, "seed": seed}
    with (
        _claimed(out, settings),
        ThreadPoolExecutor(os.cpu_count()) as threads,
        progress("synthesise", total=identities * photos) as advance,
    ):
        people = [
            threads.submit(_draw_person, model, out, person=person, photos=photos, seed=seed)
            for person in range(1, identities + 1)
        ]
        try:
            for finished in as_completed(people):
                finished.result()
                advance(photos, "")
        finally:
            threads.shutdown(cancel_futures=True)  # when interrupted, stop drawing


def draw_crops(model: FaceModel, count: int, *, crop_px: int, seed: int) -> NDArray[np.uint8]:
    """Aligned crops of people who do not exist, one of each: no photo and no detector in between.

    Args:
        model: the faces; they fill a crop as the template places them.
        count: how many people.
        crop_px: side of a crop.
        seed: >= 0.

    Returns:
        (count, crop_px, crop_px, 3) RGB.
    """
    crops = np.empty((count, crop_px, crop_px, 3), np.uint8)
    for person in range(count):
        rng = np.random.default_rng([seed, person])
        face = model.sample_face(model.sample_identity(rng), rng)
        large = cv2.resize(face, (crop_px, crop_px), interpolation=cv2.INTER_CUBIC)
        crops[person] = _camera(_light(np.asarray(large), rng), rng)
    return crops


def _check_positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(name, "must be at least 1", got=count, fix=f"Use --{name} 10.")


def _fingerprint(model: FaceModel) -> str:
    parts = (model.mean, model.components, model.between, model.within)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@contextmanager
def _claimed(out: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Make `out` this call's folder, or find that it already is; and hold it."""
    _refuse_other_folder(out, settings)
    with filled(out, command="faceverif synthesise", option="OUT"):
        write_text(out / SYNTHETIC_MARK, json.dumps(settings))
        yield


def _refuse_other_folder(out: Path, settings: dict[str, Any]) -> None:
    # The mark is hidden, because readers of the folder count every other file as a photo.
    mark = out / SYNTHETIC_MARK
    if mark.is_file() and mark.read_bytes() == json.dumps(settings).encode():
        return
    if out.is_dir() and any(not _is_leftover(entry.name) for entry in out.iterdir()):
        raise InputError(
            "OUT",
            "must be a new or empty folder, or one begun with the same people, photos and seed",
            got=out,
            fix="Give another folder.",
        )


def _is_leftover(name: str) -> bool:
    """Whether a call that was killed before its first photo may have left this."""
    return name == LOCK_NAME or name.startswith(UNFINISHED)


def _draw_person(model: FaceModel, out: Path, *, person: int, photos: int, seed: int) -> None:
    identity = model.sample_identity(np.random.default_rng([seed, person, 0]))
    folder = out / f"person-{person:04d}"
    folder.mkdir(exist_ok=True)
    for number in range(1, photos + 1):
        path = folder / f"{number:02d}.jpg"
        if path.exists():
            continue
        rng = np.random.default_rng([seed, person, number])
        photo = _draw_photo(model.sample_face(identity, rng), rng)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        _, jpeg = cv2.imencode(".jpg", photo[..., ::-1], quality)
        with written_whole(path) as unfinished:
            unfinished.write_bytes(jpeg.tobytes())


def _draw_photo(face: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Put a face into a picture: background, pose, light, blur, noise; (height, width, 3) RGB."""
    height, width = (int(side) for side in rng.integers(140, 201, 2))
    pose = _pose(rng, side=len(face), width=width, height=height)
    photo = _blend(_background(rng, width=width, height=height), face, pose)
    return _camera(_light(photo, rng), rng)


def _pose(rng: np.random.Generator, *, side: int, width: int, height: int) -> NDArray[np.float64]:
    """A 3 x 3 homography from face to photo pixels: shift, turn, scale, shear and a little perspective."""
    scale = rng.uniform(0.48, 0.66) * min(width, height) / side
    turn = np.deg2rad(rng.normal(0, 7))
    shear_x, shear_y = rng.normal(0, 0.05, 2)
    centre_x, centre_y = np.array([width, height]) * (0.5 + rng.uniform(-0.07, 0.07, 2))
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    to_photo = np.array([[cos, -sin, centre_x], [sin, cos, centre_y], [0, 0, 1]])
    tilt_x, tilt_y = rng.normal(0, 0.06, 2) / side
    tilt = np.array([[1, shear_x, 0], [shear_y, 1, 0], [tilt_x, tilt_y, 1]])
    to_centre = np.array([[1, 0, (1 - side) / 2], [0, 1, (1 - side) / 2], [0, 0, 1]])
    return to_photo @ tilt @ to_centre


def _soft_head() -> NDArray[np.float32]:
    """Opacity of a head on twice the crop's side: 1 over the face, falling to 0 a little beyond the crop."""
    axis = np.linspace(-2, 2, 2 * SIDE_PX, dtype=np.float32)
    radius = np.hypot(axis[None, :] / 1.1, axis[:, None] / 1.3)
    ramp = np.clip((1 - radius) / 0.35, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


_HEAD = _soft_head()
_HEAD_TO_FACE = np.array([[1.0, 0, -SIDE_PX / 2], [0, 1.0, -SIDE_PX / 2], [0, 0, 1]])


def _background(rng: np.random.Generator, *, width: int, height: int) -> NDArray[np.float32]:
    """A gradient between muted colours, with clouds."""
    corners = rng.uniform(30, 220) + rng.uniform(-25, 25, 3) + rng.uniform(-50, 50, (2, 2, 1))
    clouds = rng.normal(0, rng.uniform(0, 20), (6, 6, 1)) + rng.normal(0, rng.uniform(0, 12), (6, 6, 3))
    # A detour over 32 x 32 keeps the clouds round and the large resize cheap.
    gradient = cv2.resize(corners.astype(np.float32), (32, 32), interpolation=cv2.INTER_LINEAR)
    ground = gradient + cv2.resize(clouds.astype(np.float32), (32, 32), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.resize(ground, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _blend(
    background: NDArray[np.float32], face: NDArray[np.float32], pose: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The face over the background; its mirrored border continues as hair and neck and fades out."""
    size = background.shape[1::-1]
    warped = cv2.warpPerspective(face, pose, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    weight = cv2.warpPerspective(_HEAD, pose @ _HEAD_TO_FACE, size, flags=cv2.INTER_LINEAR)[..., None]
    return background + weight * (warped - background)


def _light(photo: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Exposure, gamma, colour cast, and light from one side."""
    height, width = photo.shape[:2]
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    side_light = 1 + strength * (np.cos(angle) * x[None, :] + np.sin(angle) * y[:, None])
    gain = rng.uniform(0.75, 1.2) * rng.normal(1, 0.05, 3)
    lit = np.clip(photo / 255, 0, 1) ** np.float32(rng.uniform(0.75, 1.35))
    return lit * side_light.astype(np.float32)[..., None] * gain.astype(np.float32)


def _camera(light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, sensor noise and rounding to bytes."""
    blurred = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.3, 1.6))
    noise = rng.standard_normal(blurred.shape, dtype=np.float32) * np.float32(rng.uniform(0.0, 0.025))
    return np.clip(np.rint((blurred + noise) * 255), 0, 255).astype(np.uint8)
