"""Two drawn people under the model of the package, and what attacks make of the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.atomic import written_whole
from data_prep.dataset.manifest import AlignedDataset
from faceverif.models.location import SHIPPED
from faceverif.recogniser import Recogniser, load
from faceverif.report.run_page import picture_uri
from faceverif.verification.calibration import load_calibration

FAR = 0.01
CANDIDATES = 20  # people among whom the second one is found
# Name, epsilon in grey levels: one step, and many.
ATTACKS = (("fgsm", 8), ("pgd", 2), ("pgd", 8))

Crop = NDArray[np.uint8]


class Attacked(Protocol):
    """What an attack leaves: a crop of 8 bits and its similarity to the other person's."""

    @property
    def attacked(self) -> Crop:
        """The changed crop."""

    @property
    def similarity_after(self) -> float:
        """Of the changed crop and the other person's."""


# (photo, other, model, name of the attack, epsilon): the photo, changed to pass for the other person.
Impersonator = Callable[[Crop, Crop, Recogniser, str, float], Attacked]


@dataclass(frozen=True)
class ShownFace:
    """A crop that is compared with the second person's.

    Attributes:
        label: what was done to it.
        picture: a data URI.
        similarity: to the second person.
        same: whether it passes for that person.
    """

    label: str
    picture: str
    similarity: float
    same: bool


@dataclass(frozen=True)
class DrawnPair:
    """Two people and the comparisons of their photos.

    Attributes:
        other: the second person, a data URI.
        faces: the first person's photo, as it is and attacked.
        threshold: from which two photos count as one person.
        far: its false accept rate on real photos.
    """

    other: str
    faces: tuple[ShownFace, ...]
    threshold: float
    far: float


def compare_drawn(dataset: AlignedDataset, folder: Path, *, impersonate: Impersonator) -> DrawnPair:
    """Compare two people whom the model tells apart, and attack the first to pass for the second.

    The second is the first whose similarity lies below the threshold; where there is none, the least alike.

    Args:
        dataset: drawn people, aligned for the package's model.
        folder: where the pictures are kept.
        impersonate: the attack; this package knows none.
    """
    model = load()
    point = load_calibration(SHIPPED, model_sha256=model.embedder.sha256).point(FAR)
    people = dataset.column("identity").astype(str)
    rows = [int(np.flatnonzero(people == name)[0]) for name in np.unique(people)[:CANDIDATES]]
    photo, *others = dataset.crops.read(np.array(rows))
    similarities = model.embed(np.stack(others)) @ model.embed(photo)
    told_apart = np.flatnonzero(similarities < point.threshold)
    second = int(told_apart[0]) if len(told_apart) else int(similarities.argmin())
    other = others[second]
    shown = [("as drawn", photo, float(similarities[second]))]
    for name, levels in ATTACKS:
        found = impersonate(photo, other, model, name, levels / 255)
        shown.append((f"{name.upper()}, {levels}/255", found.attacked, found.similarity_after))
    faces = tuple(
        ShownFace(label, _kept(crop, folder / f"{number}.png"), similarity, similarity >= point.threshold)
        for number, (label, crop, similarity) in enumerate(shown)
    )
    return DrawnPair(_kept(other, folder / "other.png"), faces, point.threshold, point.far)


def _kept(crop: Crop, path: Path) -> str:
    with written_whole(path) as unfinished:
        Image.fromarray(crop).save(unfinished, format="PNG")
    return picture_uri(path)
