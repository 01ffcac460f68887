"""The attacker who knows the detector: to fool the model and stay likely."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from robustness.attacked_model import Watched
from robustness.attacks.ascent import ascend
from robustness.attacks.base import Attack
from robustness.attacks.best_met import BestMet
from robustness.attacks.goal import GAINS, Goal, Loss
from robustness.detectors.base import Detector
from robustness.features import Features
from robustness.threat_model import ThreatModel


class Adaptive(Attack):
    """Raises classification loss - c max(0, score - threshold), with a growing c, from several places.

    After Carlini & Wagner, "Adversarial Examples Are Not Easily Detected" (2017), and Tramer et al. (2020).
    With score = -log-likelihood and threshold = -tau the second term is c max(0, tau - log-likelihood). Each
    c goes on where the smaller one ended: a small c crosses the unlikely land between two classes, a large
    one then goes where the other class is likely. Of everything that it meets on the way the attack keeps
    the best: see `BestMet`.

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
        detector.refuse_unattackable()
        self.detector, self.threshold, self.weights = detector, threshold, sorted(weights)
        self.steps, self.restarts, self.loss = steps, restarts, loss

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The best of everything met."""
        best = BestMet(images, self.threshold)
        for restart in range(self.restarts):
            version = threat.random_start(images) if restart else images
            for weight in self.weights:
                value = partial(self._value, model, goal, best, weight)
                version = ascend(value, version, images, threat=threat, steps=self.steps)
            with torch.no_grad():
                self._value(model, goal, best, 0.0, version)
        return best.images

    def _value(self, model: Watched, goal: Goal, best: BestMet, weight: float, pixels: Tensor) -> Tensor:
        embeddings = model.embed(pixels)
        features = Features(embeddings, model.head.logits(embeddings), goal.labels)
        logits, scores = features.logits, self.detector.score(features)
        best.meet(pixels, fooled=goal.reached(logits), scores=scores, distance=goal.margin(logits))
        return GAINS[self.loss](logits, goal) - weight * (scores - self.threshold).clamp_min(0.0)
