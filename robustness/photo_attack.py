"""One photo under attack, for the Python interface: how little must change until a comparison goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.perturbation.threat_model import ThreatModel
from faceverif.recogniser import Recogniser
from faceverif.verification.photo_faces import Photo, find_face
from robustness.attacks.pair_pgd import PairFGSM, PairPGD
from robustness.attacks.pairs import PairAttack
from robustness.config.attacks import PairGoal

_STEPS = 40
_LEVELS = 255  # of a pixel with 8 bits
_ROUNDING = 1e-6


@dataclass(frozen=True)
class AttackedPhoto:
    """A crop before and after an attack; both have 8 bits, as a file would.

    Attributes:
        clean: (crop_px, crop_px, 3) uint8 RGB.
        attacked: the same crop, changed by at most epsilon.
        reference: the crop that it is compared with.
        similarity_before: cosine of `clean` and `reference`, as `Recogniser.similarity` has it.
        similarity_after: of `attacked` and `reference`.
    """

    clean: NDArray[np.uint8]
    attacked: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    similarity_before: float
    similarity_after: float

    @property
    def change(self) -> NDArray[np.int16]:
        """(crop_px, crop_px, 3) what was added, in grey levels."""
        return self.attacked.astype(np.int16) - self.clean

    @property
    def largest_change(self) -> int:
        """Of one pixel in one colour, in grey levels."""
        return int(np.abs(self.change).max())


def attack(
    photo: Photo,
    reference: Photo | None = None,
    *,
    model: Recogniser,
    name: Literal["fgsm", "pgd"] = "pgd",
    goal: PairGoal = "impersonation",
    epsilon: float = 8 / 255,
    steps: int | None = None,
    seed: int = 0,
    aligned: bool = False,
) -> AttackedPhoto:
    """Change a face so that a model takes it for another person, or no longer for the same one.

    The attacker knows the model and follows its gradient, through the average with the mirrored crop.

    Args:
        photo: the photo that is changed: a file, or (height, width, 3) uint8 RGB.
        reference: the photo that it is compared with; None: the photo itself, for dodging.
        model: what is deceived.
        name: `fgsm`, one step, or `pgd`, many.
        goal: `impersonation` raises the similarity, `dodging` lowers it.
        epsilon: largest change of a pixel, of pixels in [0, 1].
        steps: of `pgd`; None: 40.
        seed: of the random start.
        aligned: the photos are crops by `faceverif.align` already.

    Raises:
        InputError: a photo is unreadable or shows no face, a crop does not fit the model, the model has no
            gradients, or an argument is out of range.
    """
    threat = ThreatModel("linf", epsilon)
    method = _method(name, goal, steps=steps)
    _refuse_unfit(reference, goal, epsilon=epsilon)
    clean = _crop(photo, model, aligned=aligned)
    other = clean if reference is None else _crop(reference, model, aligned=aligned)
    seen = _middle(clean, model)
    found = method(_Compared(model), _pixels(clean[seen]), _pixels(other[seen]), threat=threat, seed=seed)
    attacked = clean.copy()
    attacked[seen] = _with_8_bits(clean[seen], found.images[0], epsilon=epsilon)
    before, after, wanted = model.embed(np.stack([clean, attacked, other]))
    return AttackedPhoto(clean, attacked, other, float(before @ wanted), float(after @ wanted))


def impersonate(
    photo: NDArray[np.uint8], other: NDArray[np.uint8], model: Recogniser, name: str, epsilon: float
) -> AttackedPhoto:
    """A crop that is to pass for the other person's; see `attack`."""
    if name not in ("fgsm", "pgd"):
        raise InputError("name", "must be a known attack", got=name, fix="Use fgsm or pgd.")
    method: Literal["fgsm", "pgd"] = "fgsm" if name == "fgsm" else "pgd"
    return attack(photo, other, model=model, name=method, epsilon=epsilon, aligned=True)


def _method(name: str, goal: PairGoal, *, steps: int | None) -> PairAttack:
    if goal not in ("impersonation", "dodging"):
        raise InputError("goal", "must be a known one", got=goal, fix="Use impersonation or dodging.")
    if name == "fgsm" and steps is not None:
        raise InputError(
            "steps", "belong to pgd: fgsm makes one", got=steps, fix='Leave it out, or name="pgd".'
        )
    if name == "fgsm":
        return PairFGSM(goal)
    if name != "pgd":
        raise InputError("name", "must be a known attack", got=name, fix="Use fgsm or pgd.")
    if steps is not None and steps < 1:
        raise InputError("steps", "must be at least 1", got=steps, fix=f"Leave it out for {_STEPS}.")
    return PairPGD(goal, steps=_STEPS if steps is None else steps, restarts=1)


def _refuse_unfit(reference: Photo | None, goal: PairGoal, *, epsilon: float) -> None:
    if 0 < epsilon < 1 / _LEVELS - _ROUNDING:
        raise InputError(
            "epsilon",
            "must be at least 1 / 255, one grey level of a picture with 8 bits",
            got=f"{epsilon:g}",
            fix="Use 2 / 255.",
        )
    if reference is None and goal == "impersonation":
        raise InputError(
            "reference", "must be a photo of the other person", got="nothing", fix="Give it, or dodge."
        )


def _crop(photo: Photo, model: Recogniser, *, aligned: bool) -> NDArray[np.uint8]:
    template = model.embedder.spec.checked_template()
    if not aligned:
        return find_face(photo, template).crop
    side = template.crop_px
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


class _Compared(nn.Module):
    """What a recogniser does to the middle of a crop: embed it, and average with its mirror image."""

    def __init__(self, model: Recogniser) -> None:
        super().__init__()
        self.network, self._flip = model.network(), model.flip
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        embeddings = self.network(pixels)
        return embeddings + self.network(pixels.flip(3)) if self._flip else embeddings


def _pixels(crop: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float() / _LEVELS


def _with_8_bits(clean: NDArray[np.uint8], image: Tensor, *, epsilon: float) -> NDArray[np.uint8]:
    """The attacked image, (3, height, width) in [0, 1], rounded within epsilon."""
    most = int(epsilon * _LEVELS + _ROUNDING * _LEVELS)
    change = np.rint(image.permute(1, 2, 0).numpy() * _LEVELS) - clean
    return (clean + change.clip(-most, most)).astype(np.uint8)
