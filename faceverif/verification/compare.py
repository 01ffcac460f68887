"""Two photos: the same person or not, at a threshold calibrated for a stated false accept rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.atomic import refuse_other_ending, written_whole
from data_prep.dataset.crops import side_by_side
from data_prep.detection.cascade import POLICY
from data_prep.errors import printable_lines
from faceverif.models import load_embedder
from faceverif.models.embedder import naming
from faceverif.report.numbers import percent
from faceverif.verification.calibration import CalibratedPoint, Calibration, load_calibration
from faceverif.verification.embeddings import embed_crops
from faceverif.verification.photo_faces import FoundFace, find_face
from faceverif.verification.scoring import normalised

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
    """

    faces: list[FoundFace]
    similarity: float
    point: CalibratedPoint
    calibration: Calibration

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
            f"TAR at this threshold, from {self.calibration.genuine_pairs:,} genuine pairs: measured "
            f"{percent(point.tar)} %, 95 % interval {percent(tar_low)} to {percent(tar_high)} %",
        ]
        if point.tar < WEAK_TAR:
            lines.append(
                f"warning: the model is too weak to decide: at FAR {point.far:g} it accepts less than "
                f"{percent(WEAK_TAR, digits=0)} % of the pairs that show the same person"
            )
        lines += [
            f"{face.photo} shows {face.faces} faces: the {POLICY} was taken"
            for face in self.faces
            if face.faces > 1
        ]
        return printable_lines(lines)


def compare_photos(
    first: Path,
    second: Path,
    *,
    model: Path,
    far: float,
    picture: Path | None = None,
    preprocess: str | None = None,
    output: str | None = None,
) -> Comparison:
    """Find a face in each of two photos and compare them with a calibrated model.

    Args:
        first: a photo.
        second: another one.
        model: a run, an imported model or an .onnx file, as for `load_embedder`.
        far: the false accept rate whose threshold decides.
        picture: where to save both crops side by side, a .png; None: nowhere.
        preprocess, output: of an .onnx file, as for `load_embedder`.

    Raises:
        InputError: a photo is unreadable or shows no face, or the model has no threshold for `far`.
    """
    if picture is not None:
        refuse_other_ending(picture, ".png")
    embedder = load_embedder(model, preprocess=preprocess, output=output)
    calibration = load_calibration(model, model_sha256=embedder.sha256)
    point = calibration.point(far)
    template = embedder.spec.checked_template()
    # One by one: in a batch the rounding, and so the crop, would depend on the other photo.
    faces = [find_face(photo, template) for photo in (first, second)]
    crops = np.stack([face.crop for face in faces])
    with naming([str(first), str(second)]):
        one, other = normalised(embed_crops(embedder, crops, flip=calibration.flip))
    if picture is not None:
        _save_side_by_side(crops, picture)
    return Comparison(faces, similarity=float(one @ other), point=point, calibration=calibration)


def _save_side_by_side(crops: NDArray[np.uint8], path: Path) -> None:
    with written_whole(path) as unfinished:
        Image.fromarray(side_by_side(crops)).save(unfinished, format="PNG")
