"""The attack that knows the detector: to fool the model and stay likely."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import GAINS, Goal
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.sweep import Sight, best_of_sweep
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection, Loss
from robustness.config.attacks import AdaptiveConfig
from robustness.detectors.base import Detector
from robustness.features import looked_at


class Adaptive(Attack):
    """Raises classification loss - c max(0, score - threshold), with a growing c, from several places.

    After Carlini & Wagner, "Adversarial Examples Are Not Easily Detected" (2017), and Tramer et al. (2020).
    With score = -log-likelihood and threshold = -tau the second term is c max(0, tau - log-likelihood). See
    `best_of_sweep` for the search. Where the detector compares views of the picture, the classification loss
    is the mean over picture and views, as in expectation over transformation (Athalye et al., 2018): an
    attack that fools them alike leaves nothing to disagree about.

    Args:
        detector: fitted; its scores must have gradients.
        threshold: of the detector: a score above is rejected.
        weights: the values of c, in units of logits by units of the score.
        steps: for each c.
        restarts: of the whole sweep; the first begins at the image, the others anywhere in the ball.
        samples: gradients that are averaged at each step (EOT), for a random model or detector.
        loss: the classification loss. The margin does not saturate, so its gradients do not vanish.

    Raises:
        InputError: the detector is not fitted or has no gradients.
    """

    section = AdaptiveConfig
    traits = Traits(follows_gradients=True, many_steps=True, knows_detector=True)

    def __init__(
        self,
        detector: Detector,
        threshold: float,
        *,
        weights: tuple[float, ...],
        steps: int,
        restarts: int,
        samples: int = 1,
        loss: Loss = "margin",
    ) -> None:
        detector.refuse_unattackable()
        self.detector, self.threshold, self.weights = detector, threshold, weights
        self.steps, self.restarts, self.samples, self.loss = steps, restarts, samples, loss

    @classmethod
    def configured(cls, section: AttackSection, known: Knowledge) -> Self:
        """With the model's own detector and its threshold at the section's rate."""
        own = section.own_settings()
        assert known.detector is not None  # the experiment has fitted it
        assert known.thresholds is not None
        return cls(known.detector, known.thresholds[own.pop("rate")], **own)

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The best version that the sweep has found."""

        def look(pixels: Tensor) -> Sight:
            features = looked_at(model.embed, model.head, pixels, goal.labels, self.detector.views)
            seen = (features, *features.views.values())
            return Sight(
                gain=torch.stack([GAINS[self.loss](each.logits, goal) for each in seen]).mean(dim=0),
                reached=goal.reached(features.logits),
                scores=self.detector.score(features),
                distance=goal.margin(features.logits),
            )

        return best_of_sweep(
            look,
            images,
            starts=(threat.random_start(images) if restart else images for restart in range(self.restarts)),
            weights=self.weights,
            threshold=self.threshold,
            threat=threat,
            steps=self.steps,
            samples=self.samples,
        )
