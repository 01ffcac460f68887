"""Crops that were aligned before: recognised by their size and by where their landmarks lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_prep.alignment import TEMPLATES
from data_prep.alignment.landmarks import LandmarkTemplate
from data_prep.detection.faces import Faces, centred_largest
from data_prep.photos import PhotoError, decode_photo
from data_prep.progress import say
from data_prep.sources import SourcePhoto

POLICY = "already aligned"
MIN_FACE_PX = 30  # in a crop of 112 px

SAMPLED = 32  # photos
_OTHERS = 0.1  # the share of other sizes that a set of crops may hold: strays, which fail one by one
# In crops of 112 px the median distance is 3 px to 4 px on InsightFace's own crops, 12 px and more on faces
# that were cropped by a box.
_FARTHEST_PX = 8.0


@dataclass(frozen=True)
class CropForm:
    """A form in which aligned crops are published.

    Attributes:
        template: that the crops are in, once they are as wide as it is.
        width_px: of the published crops; black columns on both sides make up for what they lack.
    """

    template: LandmarkTemplate
    width_px: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the published crops."""
        return self.template.crop_px, self.width_px

    @property
    def is_whole(self) -> bool:
        """Whether nothing must be added to the crops."""
        return self.width_px == self.template.crop_px

    @property
    def policy(self) -> str:
        """What a data set's header says of it."""
        return POLICY if self.is_whole else f"{POLICY}, {self} with black columns added"

    def widened(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A crop as wide as the template's: (crop_px, crop_px, 3)."""
        missing = self.template.crop_px - self.width_px
        return np.pad(pixels, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)))

    def __str__(self) -> str:
        return f"{self.width_px} x {self.template.crop_px}"


# CASIA-WebFace and others are published in 96 x 112 too: arcface-112 without 8 columns on each side.
# Crops by box have no landmarks in fixed places, so they are not known by looking at them.
_WARPED = {name: each for name, each in TEMPLATES.items() if isinstance(each, LandmarkTemplate)}
FORMS: tuple[CropForm, ...] = (
    *(CropForm(template, template.crop_px) for template in _WARPED.values()),
    CropForm(_WARPED["arcface-112"], 96),
)


def form_of(template: str, policy: str) -> CropForm | None:
    """The form that a data set's template and policy name; None where its photos were no crops."""
    return next((form for form in FORMS if (form.template.name, form.policy) == (template, policy)), None)


class Sample:
    """Up to 32 photos of a source, evenly spread.

    Args:
        photos: of a source, in its order.
    """

    def __init__(self, photos: Sequence[SourcePhoto]) -> None:
        places = sorted({round(share * (len(photos) - 1)) for share in np.linspace(0, 1, SAMPLED)})
        self._photos = [photos[place] for place in places if photos]
        self._decoded: dict[int, NDArray[np.uint8] | None] = {}

    @cached_property
    def sha256(self) -> str:
        """Hash of the photos that can be read."""
        hashes = (hashlib.sha256(content).digest() for content in _readable(self._photos))
        return hashlib.sha256(b"".join(hashes)).hexdigest()

    def form(self) -> CropForm | None:
        """The form of aligned crops that the photos are in; None: they are other photos.

        Nine in ten must have the size of a form, and the landmarks that the detector finds in half of them
        or more must lie near the template's.
        """
        for form in FORMS:
            crops = self._of_size(form)
            if crops:
                return form if _lie_at_template(crops, form) else None
        return None

    def _of_size(self, form: CropForm) -> list[NDArray[np.uint8]]:
        """The crops of that form; none as soon as too many have another size."""
        crops: list[NDArray[np.uint8]] = []
        others = 0
        for place in range(len(self._photos)):
            pixels = self._pixels(place)
            if pixels is None:
                continue
            if pixels.shape[:2] == form.size:
                crops.append(pixels)
                continue
            others += 1
            if others > _OTHERS * len(self._photos):
                return []
        return crops

    def _pixels(self, place: int) -> NDArray[np.uint8] | None:
        if place not in self._decoded:
            try:
                self._decoded[place] = decode_photo(self._photos[place].read())
            except PhotoError:
                self._decoded[place] = None
        return self._decoded[place]


def _readable(photos: Sequence[SourcePhoto]) -> Iterator[bytes]:
    for photo in photos:
        try:
            yield photo.read()
        except PhotoError:
            continue


def _lie_at_template(crops: list[NDArray[np.uint8]], form: CropForm) -> bool:
    name = f"{form.template.name} crops" + ("" if form.is_whole else f", cut to {form}")
    distance_px = _distance_px([form.widened(crop) for crop in crops], form.template)
    if distance_px is None or distance_px > _FARTHEST_PX * form.template.crop_px / 112:
        found = "no faces are found" if distance_px is None else f"landmarks lie {distance_px:.1f} px away"
        say(f"photos have the size of {name}, but {found}: not aligned yet")
        return False
    say(f"photos are {name} (landmarks within {distance_px:.1f} px): taken over without a new alignment")
    return True


def _distance_px(crops: list[NDArray[np.uint8]], template: LandmarkTemplate) -> float | None:
    """Median over the crops of the mean distance from the template; None where most show no face."""
    from data_prep.detection.cascade import CascadeDetector  # brings torch, which crops do not need

    found = CascadeDetector(max(12, MIN_FACE_PX * template.crop_px // 112)).detect(crops)
    distances = [distance for faces in found if (distance := _crop_distance_px(faces, template)) is not None]
    return float(np.median(distances)) if 2 * len(distances) >= len(crops) else None


def _crop_distance_px(faces: Faces, template: LandmarkTemplate) -> float | None:
    chosen = centred_largest(faces, width=template.crop_px, height=template.crop_px)
    if chosen is None:
        return None
    offsets = faces.landmarks[chosen] - np.array(template.landmarks)
    return float(np.linalg.norm(offsets, axis=1).mean())
