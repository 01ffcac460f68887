"""The attacker who knows the detector: to fool the model and stay likely."""

from __future__ import annotations

from functools import partial
from typing import Final

import torch
from torch import Tensor

from data_prep.errors import InputError
from robustness.attacked_model import Watched
from robustness.attacks.ascent import ascend
from robustness.attacks.base import Attack
from robustness.attacks.goal import GAINS, Goal, Loss
from robustness.detectors.base import Detector
from robustness.features import Features
from robustness.threat_model import ThreatModel

_FOOLED: Final = 1
_FOOLED_UNDETECTED: Final = 2


class Adaptive(Attack):
    """Raises classification loss - c max(0, score - threshold), with a growing c, from several places.

    After Carlini & Wagner, "Adversarial Examples Are Not Easily Detected" (2017), and Tramer et al. (2020).
    With score = -log-likelihood and threshold = -tau the second term is c max(0, tau - log-likelihood). Each
    c goes on where the smaller one ended: a small c crosses the unlikely land between two classes, a large
    one then goes where the other class is likely. Of everything that it meets on the way the attack keeps,
    for each image, what reaches the goal undetected; failing that, what reaches the goal with the lowest
    score; failing that, what comes closest.

    Args:
        detector: fitted; its scores must have gradients.
        threshold: of the detector: a score above is rejected.
        weights: the values of c, in units of logits by units of the score.
        steps: for each c.
        restarts: of the whole sweep; the first begins at the image, the others anywhere in the ball.
        loss: the classification loss. The margin does not saturate: the attacker knows better than to follow
            gradients that are zero.

    Raises:
        InputError: the detector is not fitted or has no gradients.
    """

    def __init__(
        self,
        detector: Detector,
        threshold: float,
        *,
        weights: tuple[float, ...] = (0.0, 0.1, 1.0, 10.0, 100.0),
        steps: int = 40,
        restarts: int = 2,
        loss: Loss = "margin",
    ) -> None:
        detector.refuse_unfitted()
        if not detector.differentiable:
            raise InputError(
                "detector",
                "must give its scores gradients to be attacked adaptively",
                got=type(detector).__name__,
                fix="Attack it by transfer from another detector.",
            )
        self.detector, self.threshold, self.weights = detector, threshold, sorted(weights)
        self.steps, self.restarts, self.loss = steps, restarts, loss

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The best of everything met."""
        best = _Best(images, self.threshold)
        for restart in range(self.restarts):
            version = threat.random_start(images) if restart else images
            for weight in self.weights:
                value = partial(self._value, model, goal, best, weight)
                version = ascend(value, version, images, threat=threat, steps=self.steps)
            best.meet(version, goal, *self._ask(model, version, goal))
        return best.images

    def _value(self, model: Watched, goal: Goal, best: _Best, weight: float, pixels: Tensor) -> Tensor:
        logits, scores = self._ask(model, pixels, goal)
        best.meet(pixels, goal, logits, scores)
        return GAINS[self.loss](logits, goal) - weight * (scores - self.threshold).clamp_min(0.0)

    def _ask(self, model: Watched, pixels: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        embeddings = model.embed(pixels)
        features = Features(embeddings, model.head.logits(embeddings), goal.labels)
        return features.logits, self.detector.score(features)


class _Best:
    """For each image the best version met so far.

    Args:
        images: (batch, C, H, W), what stands where nothing is better.
        threshold: of the detector.
    """

    def __init__(self, images: Tensor, threshold: float) -> None:
        self.images, self._threshold = images, threshold
        self._rank = torch.full((len(images),), -1, device=images.device)
        self._tie = torch.full((len(images),), torch.inf, device=images.device)

    @torch.no_grad()
    def meet(self, pixels: Tensor, goal: Goal, logits: Tensor, scores: Tensor) -> None:
        """Keep what is better than before: a higher rank, or the same with a lower tie-breaker."""
        fooled = goal.reached(logits)
        rank = fooled * torch.where(scores <= self._threshold, _FOOLED_UNDETECTED, _FOOLED)
        tie = torch.where(fooled, scores, goal.margin(logits)).to(self._tie.dtype)
        better = (rank > self._rank) | ((rank == self._rank) & (tie < self._tie))
        self.images = torch.where(better[:, None, None, None], pixels.detach(), self.images)
        self._rank, self._tie = torch.where(better, rank, self._rank), torch.where(better, tie, self._tie)
