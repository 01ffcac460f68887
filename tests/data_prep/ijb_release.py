"""A release in IJB's form, small: lists, landmarks, and loose crops of people who are patterns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data_prep.alignment import find_template

PEOPLE, TEMPLATES, MEDIA, FRAMES = (
    5,
    3,
    2,
    2,
)  # templates of a person, media of a template, photos of a medium
PHOTOS = PEOPLE * TEMPLATES * MEDIA * FRAMES
PAIRS = PEOPLE * PEOPLE * (TEMPLATES - 1)
FIRST = 1001  # the number of the first IJB template

Draw = Callable[[int, int], np.ndarray]


def person_of(template: int) -> int:
    return (template - FIRST) // TEMPLATES


def photos() -> list[tuple[str, int, int]]:
    """Name, IJB template and medium of each photo; as in IJB, a number is a medium's within its template."""
    listed = []
    for template in range(FIRST, FIRST + PEOPLE * TEMPLATES):
        for medium in range(MEDIA):
            for _ in range(FRAMES):
                listed.append((f"{len(listed) + 1}.jpg", template, 7 + medium))
    return listed


def pairs() -> list[tuple[int, int, int]]:
    """Each person's first IJB template with everybody's others."""
    templates = range(FIRST, FIRST + PEOPLE * TEMPLATES)
    first = [each for each in templates if (each - FIRST) % TEMPLATES == 0]
    return [
        (one, other, int(person_of(one) == person_of(other)))
        for one in first
        for other in templates
        if other not in first
    ]


def write_lists(
    release: Path, *, prefix: str = "small", scores: Callable[[int], float] | None = None
) -> Path:
    """`meta` with the three lists; the landmarks are those of `loose_crop`."""
    meta = release / "meta"
    meta.mkdir(parents=True, exist_ok=True)
    points = [" ".join(f"{value:.3f}" for value in _landmarks(place).ravel()) for place in range(PHOTOS)]
    score = scores or (lambda place: 0.5 + 0.5 * place / PHOTOS)
    _write(meta / f"{prefix}_face_tid_mid.txt", [f"{name} {t} {m}" for name, t, m in photos()])
    _write(meta / f"{prefix}_template_pair_label.txt", [f"{one} {two} {same}" for one, two, same in pairs()])
    _write(
        meta / f"{prefix}_name_5pts_score.txt",
        [f"{name} {points[place]} {score(place):.3f}" for place, (name, _, _) in enumerate(photos())],
    )
    return meta


def searches() -> dict[str, list[tuple[int, int]]]:
    """IJB template and person of each list: of each person the first is enrolled, in G1 or G2."""
    templates = range(FIRST, FIRST + PEOPLE * TEMPLATES)
    rows = {"gallery_G1": [], "gallery_G2": [], "probe_mixed": []}
    for template in templates:
        first, person = (template - FIRST) % TEMPLATES == 0, person_of(template)
        rows[f"gallery_G{1 + person % 2}" if first else "probe_mixed"].append((template, 50 + person))
    return rows


def write_galleries(meta: Path, *, prefix: str = "small") -> None:
    """The lists of both galleries and of the probes, a row per photo, with the columns of IJB-C."""
    for name, rows in searches().items():
        header = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X"
        lines = [
            f"{template},{subject},img/{photo},{place},"
            for template, subject in rows
            for place, (photo, its, _) in enumerate(photos())
            if its == template
        ]
        _write(meta / f"{prefix}_1N_{name}.csv", [header, *lines])


def write_pictures(release: Path, draw: Draw) -> None:
    """`loose_crop` with a turned and enlarged face in each picture; `draw` makes its crop of 112 px."""
    folder = release / "loose_crop"
    folder.mkdir(parents=True, exist_ok=True)
    for place, (name, template, _) in enumerate(photos()):
        crop = np.ascontiguousarray(draw(person_of(template), place))
        size = (170, 180)
        picture = cv2.warpAffine(crop, _placed(place), size, flags=cv2.INTER_LINEAR, borderValue=(90, 90, 90))
        Image.fromarray(picture).save(folder / name, quality=95)


def _placed(place: int) -> np.ndarray:
    """(2, 3) from the crop to the picture: turned by up to 15 degrees, 1.2 to 1.4 times as large."""
    angle, scale = np.deg2rad(place * 37 % 31 - 15), 1.2 + 0.2 * (place % 5) / 5
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.hstack([linear, np.array([[85.0], [90.0]]) - linear @ np.array([[56.0], [56.0]])])


def _landmarks(place: int) -> np.ndarray:
    matrix = _placed(place)
    return np.array(find_template("arcface-112").landmarks) @ matrix[:, :2].T + matrix[:, 2]


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n")
