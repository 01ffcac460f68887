"""The attack that knows the detector: to fool the model and stay likely."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal, margin_gain
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.sweep import Sight, Sweep
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import AdaptiveConfig
from robustness.detectors.base import Detector
from robustness.features import looked_at


class Adaptive(Attack):
    """Raises classification loss - c max(0, score - threshold), with a growing c, from several places.

    After Carlini & Wagner, "Adversarial Examples Are Not Easily Detected" (2017), and Tramer et al. (2020).
    With score = -log-likelihood and threshold = -tau the second term is c max(0, tau - log-likelihood). See
    `Sweep` for the search, which begins at the image. The loss is the margin: it does not saturate, so its
    gradients do not vanish. Where the detector compares views of the picture, it is the mean over picture and
    views, as in expectation over transformation (Athalye et al., 2018): an attack that fools them alike
    leaves nothing to disagree about.

    Args:
        detector: fitted; its scores must have gradients.
        sweep: the search, with the threshold of the detector; c in units of logits by units of the score.

    Raises:
        InputError: the detector is not fitted or has no gradients.
    """

    section = AdaptiveConfig
    traits = Traits(follows_gradients=True, many_steps=True, knows_detector=True)

    def __init__(self, detector: Detector, sweep: Sweep) -> None:
        detector.refuse_unattackable()
        self.detector, self.sweep = detector, sweep

    @classmethod
    def configured(cls, section: AttackSection, known: Knowledge) -> Self:
        """With the model's own detector."""
        assert known.detector is not None  # the experiment has fitted it
        return cls(known.detector, Sweep.configured(section, known))

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The best version that the sweep has found."""

        def look(pixels: Tensor) -> Sight:
            features = looked_at(model.embed, model.head, pixels, goal.labels, self.detector.views)
            seen = (features, *features.views.values())
            return Sight(
                gain=torch.stack([margin_gain(each.logits, goal) for each in seen]).mean(dim=0),
                reached=goal.reached(features.logits),
                scores=self.detector.score(features),
                distance=goal.margin(features.logits),
            )

        return self.sweep.best(look, images, threat=threat, from_clean=True)
