"""The search of attacks that know the detector: a sweep over its weight; the best versions are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Self

import torch
from torch import Tensor

from faceverif.perturbation.ascent import gradient_and_notes, step_lengths
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks.knowledge import Knowledge
from robustness.config.attack_section import AttackSection

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


@dataclass(frozen=True)
class Sweep:
    """Raises gain - c max(0, score - threshold), c growing, from several places.

    Each c continues where the smaller one ended: a small c crosses the unlikely region between two classes, a
    large one then moves to where the other class is likely.

    Attributes:
        threshold: of the detector: a score above is rejected.
        weights: the values of c, in units of the gain by units of the score.
        steps: for each c.
        restarts: of the whole sweep.
        samples: looks that are averaged at each step (EOT), for a random model or detector.
    """

    threshold: float
    weights: tuple[float, ...]
    steps: int
    restarts: int
    samples: int = 1

    @classmethod
    def configured(cls, section: AttackSection, known: Knowledge) -> Self:
        """With the threshold of the model's own detector at the section's rate."""
        own = section.own_settings()
        assert known.thresholds is not None  # the experiment has fitted the detector
        return cls(known.thresholds[own.pop("rate")], **own)

    def best(
        self, look: Callable[[Tensor], Sight], clean: Tensor, *, threat: ThreatModel, from_clean: bool
    ) -> Tensor:
        """The best version of each image.

        Args:
            look: (batch, C, H, W) -> what model and detector make of it.
            clean: (batch, C, H, W).
            threat: what may be changed.
            from_clean: whether the first sweep begins at the image, and not anywhere in the ball.

        Returns:
            (batch, C, H, W), see `BestVersions`.
        """

        def penalised(weight: float, pixels: Tensor) -> tuple[Tensor, Sight]:
            sight = look(pixels)
            return sight.gain - weight * (sight.scores - self.threshold).clamp_min(0.0), sight

        best = BestVersions(clean, self.threshold)
        for restart in range(self.restarts):
            version = clean if from_clean and not restart else threat.random_start(clean)
            for weight in sorted(self.weights):
                for length in step_lengths(threat, self.steps):
                    gradient, sights = gradient_and_notes(
                        partial(penalised, weight), version, samples=self.samples
                    )
                    best.keep(version, Sight.mean(sights))
                    version = threat.project(version + length * threat.step(gradient), clean)
            with torch.no_grad():
                best.keep(version, Sight.mean([look(version) for _ in range(self.samples)]))
        return best.images
