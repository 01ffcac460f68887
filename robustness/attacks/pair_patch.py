"""A patch on the face: any colour within a region, and nothing outside of it. A digital simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.perturbation.ascent import ascend, step_lengths
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.pairs import Chase, PairAttack
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairGoal, PatchConfig, Region
from robustness.face_regions import region_mask

# A printer's black is not black and its white not white: where the palette of `colours` begins and ends.
_DARKEST, _BRIGHTEST = 0.1, 0.9


@dataclass(frozen=True, kw_only=True)
class Wearing:
    """How differently a patch may be worn; each range is drawn from evenly, around 0.

    Attributes:
        shift: at most, in distances of the eyes.
        scale: at most, as a share.
        rotation_deg: at most.
        brightness: at most, as a share.
    """

    shift: float
    scale: float
    rotation_deg: float
    brightness: float

    def grid(self, mask: Tensor, *, pairs: int, eyes_px: float) -> Tensor:
        """Where each pixel of a worn patch lies in the patch, (pairs, H, W, 2), for `grid_sample`.

        Drawn on the CPU, so that the numbers do not depend on the device.

        Args:
            mask: (H, W) of the patch, which turns and grows around its centre.
            pairs: how many.
            eyes_px: distance of the eyes.
        """
        height, width = mask.shape
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([columns, rows], dim=-1).float()
        centre = places[mask.cpu()].mean(dim=0)
        angle = torch.deg2rad(_between(self.rotation_deg, pairs))
        grown = 1 + _between(self.scale, pairs)
        moved = torch.stack([_between(self.shift * eyes_px, pairs) for _ in range(2)], dim=1)
        turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], dim=1).unflatten(1, (2, 2))
        from_centre = places[None] - centre - moved[:, None, None]
        there = torch.einsum("nij,nhwj->nhwi", turn / grown[:, None, None], from_centre) + centre
        return (2 * there + 1) / torch.tensor([width, height]) - 1

    def light(self, pairs: int) -> Tensor:
        """(pairs, 1, 1, 1) factors of the patch's brightness."""
        return 1 + _between(self.brightness, pairs)[:, None, None, None]


def _between(most: float, pairs: int) -> Tensor:
    return most * (2 * torch.rand(pairs) - 1)


class PairPatch(PairAttack):
    """Glasses and other patches, after Sharif et al., "Accessorize to a Crime" (2016).

    At each step the patch is worn a little differently: shifted, scaled, turned, brighter or darker, and
    the gradients are averaged (EOT, Athalye et al., 2018). The result shows it where the landmarks put it.
    Nothing is printed or worn: no light, lens, paper or skin is simulated.

    Args:
        goal: what the attack is for.
        landmarks: (5, 2) of the faces in what the network sees, in pixels, (x, y); None: not known.
        region: where it is.
        steps: >= 1.
        samples: ways of wearing whose gradients are averaged at each step.
        shift, scale, rotation_deg, brightness: see `Wearing`.
        colours: levels of each colour that a print can have; None: any.

    Raises:
        InputError: the landmarks are not known.
    """

    section = PatchConfig
    traits = Traits(follows_gradients=True, many_steps=True, local=True)
    norms = PatchConfig.norms()

    def __init__(
        self,
        goal: PairGoal,
        landmarks: NDArray[np.floating] | None,
        *,
        region: Region,
        steps: int,
        samples: int,
        shift: float,
        scale: float,
        rotation_deg: float,
        brightness: float,
        colours: int | None,
    ) -> None:
        super().__init__(goal)
        if landmarks is None:
            raise InputError(
                "patch.region",
                "needs faces whose landmarks lie in known places",
                got="a model whose crops are cut by the box of the face",
                fix="Attack a model with an arcface template, or leave the patch out.",
            )
        self.landmarks, self.region = landmarks, region
        self.steps, self.samples, self.colours = steps, samples, colours
        self.wearing = Wearing(shift=shift, scale=scale, rotation_deg=rotation_deg, brightness=brightness)

    @classmethod
    def configured(cls, section: AttackSection, goal: PairGoal, known: Knowledge) -> Self:
        """With the landmarks of the crops."""
        return cls(goal, known.landmarks, **section.own_settings())

    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The probes with the patch in its place.

        Raises:
            InputError: the region lies outside of the picture, or `colours` are set and epsilon is below 1.
        """
        height, width = probes.shape[2:]
        mask = torch.from_numpy(region_mask(self.region, self.landmarks, height=height, width=width))
        self._refuse_unfit(mask, threat)
        mask = mask.to(probes.device)

        def gain(paint: Tensor) -> Tensor:
            return chase.gain(chase.network(self._worn(self._printed(paint), mask, probes)))

        start, lengths = threat.random_start(probes), step_lengths(threat, self.steps)
        paint = ascend(gain, start, probes, threat=threat, lengths=lengths, samples=self.samples)
        return torch.where(mask, self._printed(paint), probes)

    def _refuse_unfit(self, mask: Tensor, threat: ThreatModel) -> None:
        if not mask.any():
            raise InputError(
                "patch.region",
                "must lie in the picture",
                got=f"{self.region}, which lies outside of it",
                fix="Choose another region.",
            )
        if self.colours is not None and threat.epsilon < 1:
            raise InputError(
                "patch.colours",
                "need an epsilon of 1, since a palette does not stay near a photo's colours",
                got=threat.epsilon,
                fix="Set epsilon to 1, or leave colours out.",
            )

    def _printed(self, paint: Tensor) -> Tensor:
        """The nearest colours of the palette; the gradient passes as if they were the paint's own."""
        if self.colours is None:
            return paint
        steps, span = self.colours - 1, _BRIGHTEST - _DARKEST
        shares = ((paint.detach() - _DARKEST) / span).clamp(0, 1)
        return paint + (_DARKEST + span * (shares * steps).round() / steps - paint).detach()

    def _worn(self, paint: Tensor, mask: Tensor, probes: Tensor) -> Tensor:
        """The probes with the patch as it may be worn."""
        eyes_px = float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))
        grid = self.wearing.grid(mask, pairs=len(probes), eyes_px=eyes_px).to(probes)
        cut = mask.to(probes).expand(len(probes), 1, -1, -1)
        layers = F.grid_sample(torch.cat([paint * cut, cut], dim=1), grid, align_corners=False)
        colours, covered = layers[:, :-1], layers[:, -1:]
        return ((1 - covered) * probes + self.wearing.light(len(probes)).to(probes) * colours).clamp(0, 1)
