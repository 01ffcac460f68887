"""From which similarity on somebody is named, and what that promises about strangers.

The false positive identification rate (FPIR) is the share of searches for strangers that name somebody. It is
measured by searching photos of strangers in this gallery. Without such photos it is bounded: a search names a
stranger only if at least one comparison with a gallery photo is a false accept, so the FPIR is at most the
number of photos times the false accept rate (FAR) of a comparison.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError, few
from faceverif.audit.people import plain_name
from faceverif.identification.enrolment import Enrolled, Match
from faceverif.identification.listed import units_of
from faceverif.identification.metrics import IdentificationPoint, open_set_curve
from faceverif.identification.search import search
from faceverif.models import Embedder
from faceverif.report.numbers import percent
from faceverif.verification.calibration import CalibratedPoint, Calibration
from faceverif.verification.compare import doubts, grounds
from faceverif.verification.embeddings import EmbeddedPhotos

_STRANGERS = "--strangers"
_SLACK = 1 + 1e-9  # for 5 photos x 0.0002 = 0.001


@dataclass(frozen=True)
class NamingThreshold(ABC):
    """A threshold with the FPIR that was asked for.

    Attributes:
        fpir: the rate that was asked for.
    """

    fpir: float

    @property
    @abstractmethod
    def threshold(self) -> float:
        """Somebody is named from this similarity on."""

    @abstractmethod
    def text(self) -> str:
        """What the threshold rests on, for a terminal."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """The same, JSON-able; rates are fractions, intervals 95 %."""

    def notes(self) -> list[str]:
        """What the user should know beside it."""
        return []


@dataclass(frozen=True)
class MeasuredThreshold(NamingThreshold):
    """Of strangers who were searched in this gallery.

    Attributes:
        point: the threshold and what it does to the strangers.
        people: how many strangers there are; 0 where it is unknown.
        dataset: their photos.
        same_numbers: identities that are mere numbers, of which the gallery has the same.
        closest_photo, closest: the photo that is most similar to somebody, and to whom.
    """

    point: IdentificationPoint
    people: int
    dataset: AlignedDataset
    same_numbers: tuple[str, ...]
    closest_photo: str
    closest: Match

    @property
    def threshold(self) -> float:
        """Somebody is named from this similarity on."""
        return self.point.threshold

    def text(self) -> str:
        """What the threshold rests on, for a terminal."""
        low, high = self.point.fpir_interval
        among = f" of {self.people:,} strangers" if self.people else " of strangers"
        return (
            f"threshold for FPIR {self.fpir:g}, from {self.point.non_mated:,} photos{among} searched in this "
            f"gallery: measured {percent(self.point.fpir)} %, 95 % interval {percent(low)} to "
            f"{percent(high)} %; most similar of them is {self.closest_photo}, "
            f"{self.closest.similarity:.4f} to {self.closest.person}"
        )

    def as_json(self) -> dict[str, Any]:
        """The same, JSON-able."""
        return {
            "threshold": self.threshold,
            "fpir": self.fpir,
            "rests_on": "strangers",
            "measured_fpir": self.point.fpir,
            "fpir_interval": list(self.point.fpir_interval),
            "strangers": {
                "photos": self.point.non_mated,
                "people": self.people or None,
                "data": str(self.dataset.root),
                "data_sha256": self.dataset.sha256,
                "closest_photo": self.closest_photo,
                "closest": self.closest._asdict(),
            },
        }

    def notes(self) -> list[str]:
        """That strangers may be people of the gallery, where both are called by the same numbers."""
        if not self.same_numbers:
            return []
        return [
            f"{counted(len(self.same_numbers), 'stranger')} with the number of somebody in the gallery "
            f"({few(self.same_numbers, most=3)}): if both sets come from one data set, these are the same "
            "people and the threshold is too high"
        ]


@dataclass(frozen=True)
class BoundedThreshold(NamingThreshold):
    """Of a model's calibration, by the union bound.

    Attributes:
        point: the calibrated FAR of one comparison.
        calibration: where it comes from.
        photos: in the gallery.
    """

    point: CalibratedPoint
    calibration: Calibration
    photos: int

    @property
    def threshold(self) -> float:
        """Somebody is named from this similarity on."""
        return self.point.threshold

    @property
    def bound(self) -> float:
        """See `fpir_bound`."""
        return fpir_bound(self.photos, self.point.far)

    def text(self) -> str:
        """What the threshold rests on, for a terminal."""
        return (
            f"threshold for FPIR {self.fpir:g}: at most {counted(self.photos, 'photo')} x FAR "
            f"{self.point.far:g} = {self.bound:g}; the FAR is from "
            f"{counted(self.calibration.impostor_pairs, 'impostor pair')} of {self.calibration.protocol}, "
            f"95 % interval {percent(self.point.far_low, 4)} to {percent(self.point.far_high, 4)} %"
        )

    def as_json(self) -> dict[str, Any]:
        """The same, JSON-able."""
        basis = grounds(self.point, self.calibration)
        return {"fpir": self.fpir, "rests_on": "calibration", "fpir_at_most": self.bound, **basis}

    def notes(self) -> list[str]:
        """Why the threshold may mean nothing, in words."""
        return doubts(self.calibration, self.point)


def fpir_bound(photos: int, far: float) -> float:
    """The largest FPIR that the FAR of a comparison allows: every false accept in a search of its own."""
    return min(1.0, photos * far)


def bounded_threshold(calibration: Calibration, photos: int, *, fpir: float) -> BoundedThreshold:
    """The lowest calibrated threshold whose FAR keeps the FPIR, by the union bound.

    Args:
        calibration: of the model.
        photos: in the gallery.
        fpir: the rate, above 0.

    Raises:
        InputError: the gallery is so large that no calibrated FAR is small enough.
    """
    fitting = [point for point in calibration.points if photos * point.far <= fpir * _SLACK]
    if fitting:
        return BoundedThreshold(fpir, max(fitting, key=lambda point: point.far), calibration, photos)
    smallest = min(point.far for point in calibration.points)
    raise InputError(
        "--fpir",
        f"{fpir:g} allows at most {counted(int(fpir / smallest * _SLACK), 'gallery photo')}, because the "
        f"smallest calibrated FAR of this model is {smallest:g}",
        got=f"{photos:,} or more",
        fix=f"Measure the FPIR: add --strangers ALIGNED with {fewest_strangers(fpir):,} or more photos of "
        "people who are not in the gallery. Or ask for a larger --fpir.",
    )


def fewest_strangers(fpir: float) -> int:
    """How many searches of strangers a rate needs: one of them is a rate of that size."""
    return math.ceil(1 / fpir - 1e-9)


def load_strangers(path: Path, *, fpir: float) -> AlignedDataset:
    """An aligned set of people who are not in the gallery.

    Raises:
        InputError: it is none, or holds too few photos with a face for the rate.
    """
    dataset = load_aligned(path, field=_STRANGERS)
    photos = len(dataset.with_status(Status.ALIGNED))
    if photos < fewest_strangers(fpir):
        raise InputError(
            _STRANGERS,
            f"must hold at least {counted(fewest_strangers(fpir), 'photo')} with a face for --fpir {fpir:g}",
            got=f"{photos:,}",
            fix="Align more photos of people who are not in the gallery, or ask for a larger --fpir.",
        )
    return dataset


def measured_threshold(
    strangers: AlignedDataset, enrolled: Enrolled, embedder: Embedder, *, flip: bool, fpir: float
) -> MeasuredThreshold:
    """The lowest threshold that takes at most that share of the strangers for somebody.

    Args:
        strangers: by `load_strangers`; photos without a face, or whose embedding is zero or not finite, do
            not count.
        enrolled: the gallery.
        embedder: the model.
        flip: average each embedding with that of the mirrored crop.
        fpir: the rate, above 0.

    Raises:
        InputError: a set for another model, or people of the gallery among the strangers.
    """
    rows = strangers.with_status(Status.ALIGNED)
    _refuse_copies(strangers, rows, enrolled)
    identities = {str(name) for name in strangers.column("identity")[rows] if name is not None}
    _refuse_known(identities, enrolled)
    numbers = tuple(sorted(identities.intersection(enrolled.people)))
    unit, there = units_of(EmbeddedPhotos(embedder.or_nan(), strangers, flip=flip), rows)
    rows = rows[there]
    found = search(unit, enrolled.gallery, count=1)
    nearest = found.similarity[:, 0]
    point = open_set_curve(np.empty(0), nearest).at_fpir(fpir)
    most = int(nearest.argmax())
    person, entry = enrolled.people[found.person[most, 0]], enrolled.photos[found.entry[most, 0]]
    closest = Match(person, entry, float(nearest[most]))
    photo = strangers.photos(rows[[most]])[0]
    return MeasuredThreshold(fpir, point, len(identities), strangers, numbers, photo, closest)


def _refuse_copies(dataset: AlignedDataset, rows: NDArray[np.int64], enrolled: Enrolled) -> None:
    """Stop where a photo of a stranger is one of the gallery: it would find itself."""
    content = dataset.column("sha256")[rows]
    copies = rows[[sha256 is not None and sha256 in enrolled.hashes for sha256 in content]]
    if len(copies):
        raise _known(f"{few(dataset.photos(copies))}, with the bytes of gallery photos")


def _refuse_known(identities: Collection[str], enrolled: Enrolled) -> None:
    """Stop where a stranger has the name of somebody in the gallery."""
    known = {plain for name in enrolled.people if (plain := plain_name(name))}
    shared = sorted(name for name in identities if plain_name(name) in known)
    if shared:
        raise _known(f"{few(shared)}, of the gallery too")


def _known(got: str) -> InputError:
    return InputError(
        _STRANGERS, "must show people who are not in the gallery", got=got, fix="Align a set without them."
    )
