"""An attack on one of the visitor's photos: what changed, what the model says now, who noticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import faceverif
from faceverif.app.matcher import Matcher
from faceverif.app.photos import TakenPhoto
from faceverif.app.pictures import magnified, picture_uri
from faceverif.app.refusal import Refusal
from robustness.photo_attack import AttackedPhoto

Goal = Literal["impersonation", "dodging"]
Method = Literal["fgsm", "pgd", "patch"]

GOALS: dict[str, Goal] = {"Pass for the second person": "impersonation", "Not be recognised": "dodging"}
METHODS: dict[str, Method] = {
    "PGD, 40 steps": "pgd",
    "FGSM, one step": "fgsm",
    "Patch: painted glasses": "patch",
}
LARGEST_LEVELS = 32  # of 255
_ANY_COLOUR = 255  # of a patch


@dataclass(frozen=True)
class Fooled:
    """A face before and after an attack.

    Attributes:
        attacked: the crops and their similarities to the reference.
        goal: what the attack was for.
        method: its name.
        levels: epsilon, in grey levels.
        compared_with: what the reference is, for the page.
        noticed: whether the guard rejects the crop before and after; None without a guard.
    """

    attacked: AttackedPhoto
    goal: Goal
    method: Method
    levels: int
    compared_with: str
    noticed: tuple[bool, bool] | None

    @property
    def pictures(self) -> dict[str, str]:
        """Title and data URI of the crop before, the magnified change and the crop after."""
        change, times = magnified(self.attacked.change)
        magnification = f", {times} times magnified" if times > 1 else ""
        return {
            "Before": picture_uri(self.attacked.clean),
            f"Change{magnification}": picture_uri(change),
            "After": picture_uri(self.attacked.attacked),
            f"Compared with {self.compared_with}": picture_uri(self.attacked.reference),
        }

    def reached(self, threshold: float) -> bool:
        """Whether the decision after the attack is the one that it wanted."""
        accepted = self.attacked.similarity_after >= threshold
        return accepted == (self.goal == "impersonation")

    def needless(self, threshold: float) -> bool:
        """Whether the decision was that before the attack."""
        accepted = self.attacked.similarity_before >= threshold
        return accepted == (self.goal == "impersonation")


def fool(
    matcher: Matcher,
    first: TakenPhoto | None,
    second: TakenPhoto | None,
    *,
    goal: Goal,
    method: Method,
    levels: int,
) -> Fooled:
    """Attack the chosen face of the first photo.

    Args:
        matcher: the model; the attacker knows it, and not its guard.
        first: the photo that is changed.
        second: the other one; without it, dodging moves away from the first photo itself.
        goal: `impersonation` raises the similarity, `dodging` lowers it.
        method: `fgsm`, `pgd` or `patch`, which changes nothing outside of its region.
        levels: largest change of a pixel, in grey levels, 1 to `LARGEST_LEVELS`; a patch takes any colour.

    Raises:
        Refusal: a photo is missing, or the change is out of range.
        InputError: the model has no gradients.
    """
    if first is None:
        raise Refusal("Give a first photo: it is the one that is changed.")
    if second is None and goal == "impersonation":
        raise Refusal("Give a second photo: the first is to pass for the person on it.")
    if not 1 <= levels <= LARGEST_LEVELS:
        raise Refusal(f"Choose a change of 1 to {LARGEST_LEVELS} grey levels.")
    allowed = _ANY_COLOUR if method == "patch" else levels
    attacked = faceverif.attack(
        first.face.crop,
        None if second is None else second.face.crop,
        model=matcher.model,
        name=method,
        goal=goal,
        epsilon=allowed / 255,
        aligned=True,
    )
    before, after = (matcher.rejected(crop) for crop in (attacked.clean, attacked.attacked))
    noticed = None if before is None or after is None else (before, after)
    compared_with = "itself, unchanged" if second is None else "the second photo"
    return Fooled(attacked, goal, method, allowed, compared_with, noticed)
