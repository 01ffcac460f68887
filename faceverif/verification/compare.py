"""Two photos: the same person or not, at a threshold calibrated for a stated false accept rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.detection.faces import POLICY
from data_prep.errors import printable_lines
from faceverif.models import Embedder, load_embedder
from faceverif.report.numbers import percent
from faceverif.verification.calibration import CalibratedPoint, Calibration, load_calibration
from faceverif.verification.photo_faces import FoundFace, embed_faces, find_face

# Below this true accept rate a model misses most pairs of the same person, and "different" says little.
WEAK_TAR = 0.5


@dataclass(frozen=True)
class Comparison:
    """How two photos compare.

    Attributes:
        faces: of the first and of the second photo.
        similarity: cosine of their embeddings.
        point: the threshold used.
        calibration: where the threshold comes from.
        model: its name.
    """

    faces: list[FoundFace]
    similarity: float
    point: CalibratedPoint
    calibration: Calibration
    model: str = "model in memory"

    @property
    def crops(self) -> NDArray[np.uint8]:
        """(2, crop_px, crop_px, 3) uint8 RGB."""
        return np.stack([face.crop for face in self.faces])

    @property
    def same(self) -> bool:
        """The decision."""
        return self.similarity >= self.point.threshold

    def text(self) -> str:
        """The decision and what it rests on, for a terminal."""
        point, sign = self.point, ">=" if self.same else "<"
        tar_low, tar_high = self.calibration.tar_interval(point)
        lines = [
            f"{'same person' if self.same else 'different people'}: "
            f"similarity {self.similarity:.4f} {sign} {point.threshold:.4f}",
            f"threshold for FAR {point.far:g}, from {self.calibration.impostor_pairs:,} impostor pairs of "
            f"{self.calibration.protocol}: measured {percent(point.measured_far)} %, "
            f"95 % interval {percent(point.far_low)} to {percent(point.far_high)} %",
            f"TAR at this threshold, from {counted(self.calibration.genuine_pairs, 'genuine pair')}: "
            f"measured {percent(point.tar)} %, 95 % interval {percent(tar_low)} to {percent(tar_high)} %",
        ]
        return printable_lines([*lines, f"model: {self.model}", *self.notes()])

    def notes(self) -> list[str]:
        """What the user should know beside the decision."""
        return [
            *doubts(self.calibration, self.point),
            *(
                f"{face.photo} shows {face.faces} faces: the {POLICY} was taken"
                for face in self.faces
                if face.faces > 1
            ),
        ]

    def as_json(self) -> dict[str, Any]:
        """The decision and what it rests on; rates are fractions."""
        first, second = self.faces
        return {
            "first": first.photo,
            "second": second.photo,
            "similarity": self.similarity,
            "same": self.same,
            "faces": [first.faces, second.faces],
            "model": self.model,
            **grounds(self.point, self.calibration),
        }


def grounds(point: CalibratedPoint, calibration: Calibration) -> dict[str, Any]:
    """What decisions at a threshold rest on, JSON-able; intervals are 95 %."""
    return {
        "threshold": point.threshold,
        "far": point.far,
        "measured_far": point.measured_far,
        "far_interval": [point.far_low, point.far_high],
        "tar": point.tar,
        "tar_interval": list(calibration.tar_interval(point)),
        "calibration": {
            "protocol": calibration.protocol,
            "impostor_pairs": calibration.impostor_pairs,
            "genuine_pairs": calibration.genuine_pairs,
            "model_sha256": calibration.model_sha256,
        },
    }


def doubts(calibration: Calibration, point: CalibratedPoint) -> list[str]:
    """Warnings: the model misses most pairs of the same person, or something spoke against its thresholds."""
    weak = (
        f"warning: the model is too weak to decide: at FAR {point.far:g} it accepts less than "
        f"{percent(WEAK_TAR, digits=0)} % of the pairs that show the same person"
    )
    grounds = [f"warning: when the thresholds were set: {warning}" for warning in calibration.warnings]
    return [*([weak] if point.tar < WEAK_TAR else []), *grounds]


@dataclass(frozen=True)
class Comparer:
    """A model that decides whether two photos show the same person.

    Attributes:
        embedder: the model.
        calibration: where its thresholds come from.
        point: the threshold that decides.
    """

    embedder: Embedder
    calibration: Calibration
    point: CalibratedPoint

    @classmethod
    def load(
        cls,
        model: Path,
        *,
        far: float,
        preprocess: str | None = None,
        output: str | None = None,
        thresholds: Path | None = None,
    ) -> Comparer:
        """A calibrated model.

        Args:
            model, preprocess, output: as for `load_embedder`.
            far: the false accept rate whose threshold decides.
            thresholds: a file by `faceverif calibrate --out`; None: the one with the model.

        Raises:
            InputError: no such model, or no thresholds of exactly this one for `far`.
        """
        embedder = load_embedder(model, preprocess=preprocess, output=output)
        calibration = load_calibration(
            model, model_sha256=embedder.sha256, file=thresholds, preprocess=preprocess, output=output
        )
        embedder.spec.checked_template()
        return cls(embedder, calibration, calibration.point(far))

    def find(self, photo: Path) -> FoundFace:
        """The face of a photo; raises as `find_face` does."""
        return find_face(photo, self.embedder.spec.checked_template())

    def embed(self, faces: Sequence[FoundFace]) -> NDArray[np.float64]:
        """(faces, dim) embeddings of length 1."""
        return embed_faces(self.embedder, faces, flip=self.calibration.flip)

    def compare(self, first: Path, second: Path) -> Comparison:
        """Two photos; raises as `find_face` does."""
        # One by one: in a batch the rounding, and so the crop, would depend on the other photo.
        faces = [self.find(photo) for photo in (first, second)]
        one, other = self.embed(faces)
        return Comparison(faces, float(one @ other), self.point, self.calibration, self.embedder.name)
