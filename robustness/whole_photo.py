"""From photo to decision: attack a photo through its alignment, save it, and look at it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F

from data_prep.alignment.landmarks import LandmarkTemplate, similarity_transform
from data_prep.atomic import refuse_folder, refuse_other_ending, written_whole
from data_prep.dataset.crops import centre_square
from data_prep.errors import InputError
from faceverif.option_names import names_arguments
from faceverif.recogniser import Recogniser, as_recogniser
from faceverif.report.numbers import percent
from faceverif.verification.photo_faces import NoFaceError, PhotoFaces, find_faces
from faceverif.verification.photo_pixels import Photo, photo_pixels
from robustness.attacked_model import device_of
from robustness.attacks.pairs import PairAttackResult
from robustness.chosen_attack import ChosenAttack, choose_attack
from robustness.config.attacks import PairGoal
from robustness.config.chosen import LEVELS, AttackRequest, refuse_bad_seed
from robustness.joint_model import joint_network
from robustness.photo_attack import ChangedPixels, Compared, known_models, pixels_of, with_8_bits
from robustness.photo_view import AlignedView


@dataclass(frozen=True)
class AttackedWholePhoto(ChangedPixels):
    """A photo before and after an attack, and what was left of the attack when the saved file was looked at.

    Attributes:
        clean: (height, width, 3) uint8 RGB.
        attacked: the same photo as the file holds it.
        path: the file.
        similarity_before: of the clean photo and the reference, as `Recogniser.similarity` has it.
        similarity_aimed: what the attack reached in its own view, before 8 bits, detection and alignment; of
            the sources, where there are some.
        similarity_after: of the file and the reference, detected and aligned again; None where the file shows
            no face.
        landmarks_moved_px: of the five, the furthest that one moved, in photo pixels; None without a face.
        queries: that a black-box attack made; None for others.
        sources: how many other models were attacked in place of the model; 0: none.
    """

    path: Path
    similarity_before: float
    similarity_aimed: float
    similarity_after: float | None
    landmarks_moved_px: float | None
    queries: int | None
    sources: int

    @property
    def l2_change(self) -> float:
        """Root of the summed squares of the change, for pixels in [0, 1]."""
        return float(np.linalg.norm(self.change / LEVELS))

    @property
    def changed_share(self) -> float:
        """Share of the photo's pixels that differ."""
        return float(self.change.any(axis=2).mean())

    def text(self, threshold: float | None = None) -> str:
        """What was changed and what survives, for a terminal.

        Args:
            threshold: the model accepts a pair from this cosine on; None: no decisions are named. None is
                named of what sources see, whose thresholds are others.
        """

        def described(similarity: float) -> str:
            if threshold is None:
                return f"{similarity:.4f}"
            return f"{similarity:.4f}, {'same person' if similarity >= threshold else 'different people'}"

        aimed = (
            f"{self.similarity_aimed:.4f}, as the source sees it"
            if self.sources
            else described(self.similarity_aimed)
        )
        after = "no face is found" if self.similarity_after is None else described(self.similarity_after)
        lines = [
            f"before the attack:  {described(self.similarity_before)}",
            f"in the attack:      {aimed}",
            f"in the saved photo: {after}",
            f"changed: {percent(self.changed_share, 1)} % of the pixels, by at most {self.largest_change} "
            f"of 255 grey levels (l2 {self.l2_change:.2f})",
        ]
        if self.landmarks_moved_px is not None:
            lines.append(f"the landmarks found again moved by at most {self.landmarks_moved_px:.2f} px")
        if self.queries is not None:
            lines.append(f"queries: {self.queries:,}")
        if threshold is not None:
            lines.append(f"threshold: {threshold:.4f}")
        return "\n".join([*lines, f"photo: {self.path}"])


@names_arguments
def attack_photo(
    photo: Photo,
    reference: Photo | None = None,
    *,
    out: Path | str,
    model: Recogniser | Path | str,
    name: str = "pgd",
    goal: PairGoal = "impersonation",
    epsilon: float | None = None,
    source: Recogniser | Path | str | Sequence[Recogniser | Path | str] | None = None,
    threshold: float | None = None,
    seed: int = 0,
    **settings: Any,
) -> AttackedWholePhoto:
    """Change a photo so that a model decides wrongly after detection and alignment, and test that it does.

    The attack sees the photo through the alignment that the clean photo gets, so its gradients reach the
    photo's own pixels. The result is saved as a PNG of 8 bits. That file is read, its face is detected and
    aligned anew, and compared.

    Args:
        out: where the attacked photo goes, a .png file.
        photo, reference, model, name, goal, epsilon, source, threshold, seed, settings: see `attack`. epsilon
            is in pixels of the photo, and sources may take other crops than the model.

    Raises:
        InputError: as `attack`; a model's crops are cut by the box of the face; `out` is no .png file, or
            one of the photos.
    """
    path = Path(out)
    refuse_folder(path, option="out")
    refuse_other_ending(path, ".png", option="out")
    _refuse_overwriting(path, photo, reference)
    refuse_bad_seed(seed)
    request = AttackRequest(name, goal, epsilon, settings, threshold, reference, source)
    request.section()  # what is wrong with it is said before the photos are looked at
    read = [photo_pixels(each) for each in (photo, reference) if each is not None]
    model = as_recogniser(model)
    models = known_models(model, source)
    templates = [landmark_template(each) for each in [model, *models]]
    face, *others = [find_faces(each) for each in read]
    their_face = others[0] if others else face
    views = [
        AlignedView(_landmarks(face), template, input_px=each.embedder.spec.input_px)
        for each, template in zip(models, templates[1:], strict=True)
    ]
    part = _seen_part(views, face.pixels)
    landmarks = _landmarks(face) - [part[1].start, part[0].start]
    chosen = choose_attack(request, landmarks=landmarks)
    found = _attacked_part(chosen, models, templates[1:], face.pixels[part], landmarks, their_face, seed=seed)
    attacked = face.pixels.copy()
    attacked[part] = with_8_bits(face.pixels[part], found.images[0], chosen.threat)
    with written_whole(path) as unfinished:
        Image.fromarray(attacked).save(unfinished, format="PNG")
    return _judged(path, face, their_face, model, found, sources=0 if source is None else len(models))


def _refuse_overwriting(out: Path, *photos: Photo | None) -> None:
    files = [Path(photo) for photo in photos if isinstance(photo, Path | str)]
    if any(file.resolve() == out.resolve() for file in files):
        raise InputError(
            "out", "must not be one of the photos", got=out, fix="Name another file: the photo is kept."
        )


def _landmarks(face: PhotoFaces) -> NDArray[np.float64]:
    """(5, 2) of the face that is taken, in photo pixels, (x, y)."""
    return face.faces.landmarks[face.main].astype(np.float64)


def _judged(
    path: Path,
    face: PhotoFaces,
    their_face: PhotoFaces,
    model: Recogniser,
    found: PairAttackResult,
    *,
    sources: int,
) -> AttackedWholePhoto:
    """What the model makes of the saved photo."""
    template = model.embedder.spec.checked_template()
    saved = photo_pixels(path)
    try:
        again = find_faces(saved)
    except NoFaceError:
        again = None
    looked_at = [face, their_face, *([] if again is None else [again])]
    before, wanted, *after = model.embed(np.stack([each.crop(each.main, template) for each in looked_at]))
    return AttackedWholePhoto(
        clean=face.pixels,
        attacked=saved.pixels,
        path=path,
        similarity_before=float(before @ wanted),
        similarity_aimed=float(found.similarity[0]),
        similarity_after=float(after[0] @ wanted) if after else None,
        landmarks_moved_px=None if again is None else _furthest(_landmarks(face), _landmarks(again)),
        queries=None if found.queries is None else int(found.queries[0]),
        sources=sources,
    )


def _furthest(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """How far the landmark moved that moved most."""
    return float(np.linalg.norm(after - before, axis=1).max())


def landmark_template(model: Recogniser) -> LandmarkTemplate:
    """The template of a model whose alignment has gradients.

    Raises:
        InputError: its crops are cut by the box of the face.
    """
    template = model.embedder.spec.checked_template()
    if not isinstance(template, LandmarkTemplate):
        raise InputError(
            "model",
            "must take crops that are warped to landmarks: the attack goes through the warp",
            got=f"the template {template.name}, which cuts the box of the face",
            fix="Attack the aligned crop with faceverif.attack.",
        )
    return template


def _seen_part(views: Sequence[AlignedView], photo: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The rows and columns that any of the models sees."""
    height, width = photo.shape[:2]
    parts = [view.seen_part(height=height, width=width) for view in views]
    rows, columns = zip(*parts, strict=True)
    return _hull(rows), _hull(columns)


def _hull(slices: Sequence[slice]) -> slice:
    return slice(min(each.start for each in slices), max(each.stop for each in slices))


def _attacked_part(
    chosen: ChosenAttack,
    models: Sequence[Recogniser],
    templates: Sequence[LandmarkTemplate],
    part: NDArray[np.uint8],
    landmarks: NDArray[np.float64],
    their_face: PhotoFaces,
    *,
    seed: int,
) -> PairAttackResult:
    """The part of the photo under attack, as each of the models sees it through its own alignment."""
    networks, wanted = [], []
    for model, template in zip(models, templates, strict=True):
        network, px = Compared(model), model.embedder.spec.input_px
        networks.append(nn.Sequential(AlignedView(landmarks, template, input_px=px), network).eval())
        (seen,) = centre_square(their_face.crop(their_face.main, template)[None], px)
        with torch.no_grad():
            wanted.append(F.normalize(network(pixels_of(seen).to(device_of(network)))))
    return chosen.method.towards(
        F.normalize(torch.cat(wanted, dim=1)),
        joint_network(networks),
        pixels_of(part),
        pixels_of(_pasted(their_face.crop(their_face.main, templates[0]), templates[0], part, landmarks)),
        threat=chosen.threat,
        seed=seed,
    )


def _pasted(
    crop: NDArray[np.uint8],
    template: LandmarkTemplate,
    photo: NDArray[np.uint8],
    landmarks: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """A photo with another crop in the place of its face: where attacks that are told decisions begin."""
    height, width = photo.shape[:2]
    matrix = similarity_transform(landmarks, np.array(template.landmarks))
    pasted = cv2.warpAffine(
        crop,
        matrix,
        (width, height),
        dst=photo.copy(),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    return np.asarray(pasted, dtype=np.uint8)
