"""One photo under attack, for the Python interface: how little must change until a comparison goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from data_prep.counted import repeated
from data_prep.errors import InputError
from faceverif.option_names import names_arguments
from faceverif.perturbation.threat_model import ThreatModel
from faceverif.recogniser import Recogniser, as_recogniser
from faceverif.verification.photo_faces import find_face
from faceverif.verification.photo_pixels import Photo, ReadPhoto, photo_pixels
from robustness.chosen_attack import choose_attack
from robustness.config.attacks import PairGoal
from robustness.config.chosen import LEVELS, ROUNDING, AttackRequest, refuse_bad_seed
from robustness.face_regions import seen_landmarks
from robustness.joint_model import joint_network

_BISECTIONS = 30


@dataclass(frozen=True)
class ChangedPixels:
    """Pixels before and after an attack, of 8 bits both.

    Attributes:
        clean: (height, width, 3) uint8 RGB.
        attacked: the same, changed.
    """

    clean: NDArray[np.uint8]
    attacked: NDArray[np.uint8]

    @property
    def change(self) -> NDArray[np.int16]:
        """(height, width, 3) what was added, in grey levels."""
        return self.attacked.astype(np.int16) - self.clean

    @property
    def largest_change(self) -> int:
        """Of one pixel in one colour, in grey levels."""
        return int(np.abs(self.change).max())


@dataclass(frozen=True)
class AttackedPhoto(ChangedPixels):
    """A crop before and after an attack; both have 8 bits, as a file would.

    Attributes:
        clean: (crop_px, crop_px, 3) uint8 RGB.
        attacked: the same crop, changed by at most epsilon.
        reference: the crop that it is compared with.
        similarity_before: cosine of `clean` and `reference`, as `Recogniser.similarity` has it.
        similarity_after: of `attacked` and `reference`.
    """

    reference: NDArray[np.uint8]
    similarity_before: float
    similarity_after: float


@names_arguments
def attack(
    photo: Photo,
    reference: Photo | None = None,
    *,
    model: Recogniser | Path | str,
    name: str = "pgd",
    goal: PairGoal = "impersonation",
    epsilon: float | None = None,
    source: Recogniser | Path | str | Sequence[Recogniser | Path | str] | None = None,
    threshold: float | None = None,
    seed: int = 0,
    aligned: bool = False,
    **settings: Any,
) -> AttackedPhoto:
    """Change a crop so that a model takes it for another person, or no longer for the same one.

    White-box attacks follow the model's gradient, through the average with the mirrored crop. See
    `attack_photo` for an attack on the whole photo.

    Args:
        photo: the photo that is changed: a file, a PIL picture, or (height, width, 3) uint8 RGB.
        reference: the photo that it is compared with; None: the photo itself, for dodging.
        model: what is deceived: by `faceverif.load`, or its path.
        name: `fgsm`, `pgd`, `mi_fgsm`, `apgd`, `square`, `evolutionary` or `patch`.
        goal: `impersonation` raises the similarity, `dodging` lowers it.
        epsilon: largest change of a pixel, of pixels in [0, 1]; of `evolutionary` the l2 norm. None: 8 / 255,
            of `patch` 1, of `evolutionary` 4.
        source: one or several other models that are attacked instead: does the change deceive `model` too?
        threshold: `model` accepts a pair from this cosine on. `square` stops there, without a source;
            `evolutionary` needs it, and takes no source.
        seed: of what is random.
        aligned: the photos are crops by `faceverif.align` already.
        settings: of the attack, as `steps` or `region`; see its section in docs/reference/config.md.

    Raises:
        InputError: a photo is unreadable or shows no face, a crop does not fit the model, the model has no
            gradients, a source takes other crops, or an argument is unknown or out of range.
    """
    refuse_bad_seed(seed)
    request = AttackRequest(name, goal, epsilon, settings, threshold, reference, source)
    request.section()  # what is wrong with it is said before the model is loaded
    given: list[Photo | ReadPhoto] = [photo] if reference is None else [photo, reference]
    if not aligned:
        given = [photo_pixels(each) for each in given]
    model = as_recogniser(model)
    chosen = choose_attack(request, landmarks=seen_landmarks(model.embedder.spec))
    attacked_models = known_models(model, source)
    _refuse_other_crops(attacked_models, model)
    clean, *others = [_crop(each, model, aligned=aligned) for each in given]
    other = others[0] if others else clean
    seen = _middle(clean, model)
    network = joint_network([Compared(each) for each in attacked_models])
    found = chosen.method(
        network, pixels_of(clean[seen]), pixels_of(other[seen]), threat=chosen.threat, seed=seed
    )
    attacked = clean.copy()
    attacked[seen] = with_8_bits(clean[seen], found.images[0], chosen.threat)
    before, after, wanted = model.embed(np.stack([clean, attacked, other]))
    return AttackedPhoto(clean, attacked, other, float(before @ wanted), float(after @ wanted))


def impersonate(
    photo: NDArray[np.uint8], other: NDArray[np.uint8], model: Recogniser, name: str, epsilon: float
) -> AttackedPhoto:
    """A crop that is to pass for the other person's; see `attack`."""
    return attack(photo, other, model=model, name=name, epsilon=epsilon, aligned=True)


def known_models(
    model: Recogniser, source: Recogniser | Path | str | Sequence[Recogniser | Path | str] | None
) -> Sequence[Recogniser]:
    """The models that the attacker knows: the sources if they are given, else the model itself.

    Raises:
        InputError: an empty list of sources, or one that holds a model twice, which would weigh more.
    """
    if source is None:
        return [model]
    if isinstance(source, Recogniser | Path | str) or not isinstance(source, Iterable):
        return [as_recogniser(source, argument="source")]
    sources = [as_recogniser(each, argument="source") for each in source]
    if not sources:
        raise InputError("source", "must hold a model", got="none", fix="Leave it out to attack the model.")
    _refuse_twice(sources)
    return sources


def _refuse_twice(sources: Sequence[Recogniser]) -> None:
    models = [(each.embedder.sha256, each.embedder.preprocessing, each.flip) for each in sources]
    if again := repeated(models):
        name = sources[models.index(again[0])].embedder.name
        raise InputError("source", "must hold different models", got=f"{name} twice", fix="Name each once.")


def _refuse_other_crops(sources: Sequence[Recogniser], model: Recogniser) -> None:
    spec = model.embedder.spec
    for source in sources:
        if source.embedder.spec != spec:
            theirs = source.embedder.spec
            raise InputError(
                "source",
                f"must take the crops of the model: {spec.template}, {spec.input_px} px",
                got=f"{theirs.template}, {theirs.input_px} px",
                fix="Use faceverif.attack_photo, which aligns the photo for each model.",
            )


def _crop(photo: Photo | ReadPhoto, model: Recogniser, *, aligned: bool) -> NDArray[np.uint8]:
    template = model.embedder.spec.checked_template()
    if not aligned:
        return find_face(photo, template).crop
    side = template.crop_px
    if isinstance(photo, Image.Image):
        photo = np.array(photo.convert("RGB"))
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.shape != (side, side, 3):
        got = f"{photo.dtype} {photo.shape}" if isinstance(photo, np.ndarray) else repr(photo)
        raise InputError(
            "photo",
            f"as an aligned crop it must be ({side}, {side}, 3), uint8, RGB",
            got=got,
            fix=f'Use faceverif.align(photo, template="{template.name}"), or leave out aligned=True.',
        )
    return photo


def _middle(crop: NDArray[np.uint8], model: Recogniser) -> tuple[slice, slice]:
    """Where the model looks: what lies around it stays as it is."""
    side = model.embedder.spec.input_px
    margin = (len(crop) - side) // 2
    return slice(margin, margin + side), slice(margin, margin + side)


class Compared(nn.Module):
    """What a recogniser does to the middle of a crop: embed it, and average with its mirror image.

    Args:
        model: the recogniser.
    """

    def __init__(self, model: Recogniser) -> None:
        super().__init__()
        self.network, self._flip = model.network(), model.flip
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, input_px, input_px) in [0, 1] -> (n, dim)."""
        embeddings = self.network(pixels)
        return embeddings + self.network(pixels.flip(3)) if self._flip else embeddings


def pixels_of(crop: NDArray[np.uint8]) -> Tensor:
    """(height, width, 3) uint8 -> (1, 3, height, width) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float() / LEVELS


def with_8_bits(clean: NDArray[np.uint8], image: Tensor, threat: ThreatModel) -> NDArray[np.uint8]:
    """An attacked image, (3, height, width) in [0, 1], rounded to grey levels and within epsilon.

    Rounding can lengthen a change. With linf it is cut; with l2 it is shrunk before it is rounded.
    """
    levels, most = image.permute(1, 2, 0).numpy() * LEVELS, (threat.epsilon + ROUNDING) * LEVELS
    if threat.norm == "linf":
        change = (np.rint(levels) - clean).clip(-int(most), int(most))
    else:
        change = _rounded_within(levels.astype(np.float64) - clean, most)
    return (clean + change).astype(np.uint8)


def _rounded_within(change: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """The largest share of a change whose rounded grey levels have an l2 norm of at most `most`."""
    whole = np.rint(change)
    if np.linalg.norm(whole) <= most:
        return whole
    fits, too_much = 0.0, 1.0  # a larger share never rounds to a shorter change
    for _ in range(_BISECTIONS):
        share = (fits + too_much) / 2
        short = np.linalg.norm(np.rint(share * change)) <= most
        fits, too_much = (share, too_much) if short else (fits, share)
    return np.rint(fits * change)
