"""The search of attacks that know the detector: a sweep over its weight; the best versions are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

import torch
from torch import Tensor

from faceverif.perturbation.ascent import gradient_and_notes, step_lengths
from faceverif.perturbation.threat_model import ThreatModel

_REACHED: Final = 1
_REACHED_UNDETECTED: Final = 2


class Sight(NamedTuple):
    """What model and detector make of one version of a batch.

    Attributes:
        gain: (batch,) what the attack raises, the detector aside.
        reached: (batch,) bool, whether the attack's goal is reached.
        scores: (batch,) of the detector.
        distance: (batch,) from the goal, lower = closer.
    """

    gain: Tensor
    reached: Tensor
    scores: Tensor
    distance: Tensor

    @classmethod
    def mean(cls, sights: Sequence[Sight]) -> Sight:
        """Of several looks at the same versions; the goal is reached where most looks say so.

        A version that a random model or detector was wrong about once is no success.
        """
        if len(sights) == 1:
            return sights[0]
        gain, reached, scores, distance = (
            torch.stack([part.detach().float() for part in parts]).mean(dim=0)
            for parts in zip(*sights, strict=True)
        )
        return cls(gain, reached > 0.5, scores, distance)


class BestVersions:
    """The best version of each image so far.

    The best version reaches the goal undetected. If none does, it is the one that reaches the goal with the
    lowest score; if none reaches the goal, the one that comes closest.

    Args:
        images: (batch, C, H, W), the versions to begin with.
        threshold: of the detector: a score above is rejected.
    """

    def __init__(self, images: Tensor, threshold: float) -> None:
        self.images, self._threshold = images, threshold
        self._rank = torch.full((len(images),), -1, device=images.device)
        self._tie = torch.full((len(images),), torch.inf, device=images.device)

    @torch.no_grad()
    def keep(self, version: Tensor, sight: Sight) -> None:
        """Replace images for which a version has a higher rank, or the same rank and a lower tie-breaker.

        Args:
            version: (batch, C, H, W).
            sight: what model and detector make of it.
        """
        undetected = sight.scores <= self._threshold
        rank = sight.reached * torch.where(undetected, _REACHED_UNDETECTED, _REACHED)
        scores, distance = (each.to(self._tie.dtype) for each in (sight.scores, sight.distance))
        tie = torch.where(sight.reached, scores, distance)
        better = (rank > self._rank) | ((rank == self._rank) & (tie < self._tie))
        self.images = torch.where(better[:, None, None, None], version.detach(), self.images)
        self._rank, self._tie = torch.where(better, rank, self._rank), torch.where(better, tie, self._tie)


def best_of_sweep(
    look: Callable[[Tensor], Sight],
    clean: Tensor,
    *,
    starts: Iterable[Tensor],
    weights: Sequence[float],
    threshold: float,
    threat: ThreatModel,
    steps: int,
    samples: int = 1,
) -> Tensor:
    """Raise gain - c max(0, score - threshold), c growing, and return the best version of each image.

    Each c continues where the smaller one ended: a small c crosses the unlikely region between two classes, a
    large one then moves to where the other class is likely.

    Args:
        look: (batch, C, H, W) -> what model and detector make of it.
        clean: (batch, C, H, W).
        starts: versions to begin a sweep at, (batch, C, H, W) each; drawn one by one.
        weights: the values of c.
        threshold: of the detector: a score above is rejected.
        threat: what may be changed.
        steps: for each c.
        samples: looks that are averaged at each step (EOT), for a random model or detector.

    Returns:
        (batch, C, H, W), see `BestVersions`.
    """

    def penalised(weight: float, pixels: Tensor) -> tuple[Tensor, Sight]:
        sight = look(pixels)
        return sight.gain - weight * (sight.scores - threshold).clamp_min(0.0), sight

    best = BestVersions(clean, threshold)
    for version in starts:
        for weight in sorted(weights):
            for length in step_lengths(threat, steps):
                gradient, sights = gradient_and_notes(partial(penalised, weight), version, samples=samples)
                best.keep(version, Sight.mean(sights))
                version = threat.project(version + length * threat.step(gradient), clean)
        with torch.no_grad():
            best.keep(version, Sight.mean([look(version) for _ in range(samples)]))
    return best.images
