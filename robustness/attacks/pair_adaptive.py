"""The attack on verification that knows the detector: to pass, or to hide, and stay likely."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from faceverif.heads import Head
from faceverif.images.faces import STRANGER
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.pairs import Chase, PairAttack, as_wanted
from robustness.attacks.sweep import Sight, Sweep
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairAdaptiveConfig, PairGoal
from robustness.detectors.base import Detector
from robustness.features import looked_at


class PairAdaptive(PairAttack):
    """Raises +-cosine - c max(0, score - threshold), with a growing c, from several random starts.

    `Adaptive` for pairs, after Carlini & Wagner, "Adversarial Examples Are Not Easily Detected" (2017). As
    there, the cosine is the mean over the photo and the detector's views.

    Args:
        goal: what the attack is for.
        head: gives the logits that the detector looks at.
        detector: fitted; its scores must have gradients.
        sweep: the search, with the threshold of the detector; c in units of the cosine by units of the score.
        accept_from: the verification accepts a pair from this cosine on.

    Raises:
        InputError: the detector is not fitted or has no gradients.
    """

    section = PairAdaptiveConfig
    traits = Traits(follows_gradients=True, many_steps=True, knows_detector=True)

    def __init__(
        self, goal: PairGoal, head: Head, detector: Detector, sweep: Sweep, *, accept_from: float
    ) -> None:
        super().__init__(goal)
        detector.refuse_unattackable()
        self.head, self.detector, self.sweep, self.accept_from = head, detector, sweep, accept_from

    @classmethod
    def configured(cls, section: AttackSection, goal: PairGoal, known: Knowledge) -> Self:
        """With the model's own detector, and the threshold of the verification."""
        assert known.detector is not None  # the experiment has fitted it
        assert known.head is not None
        assert known.accept_from is not None  # the model verifies
        sweep = Sweep.configured(section, known)
        return cls(goal, known.head, known.detector, sweep, accept_from=known.accept_from)

    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The best version that the sweep has found."""

        def look(pixels: Tensor) -> Sight:
            nobody = torch.full((len(pixels),), STRANGER, device=pixels.device)
            features = looked_at(chase.network, self.head, pixels, nobody, self.detector.views)
            gain = chase.gain(features.embeddings)
            of_views = [chase.gain(each.embeddings) for each in features.views.values()]
            return Sight(
                gain=torch.stack([gain, *of_views]).mean(dim=0),
                reached=as_wanted(chase.sign * gain, self.goal, threshold=self.accept_from),
                scores=self.detector.score(features),
                distance=-gain,
            )

        return self.sweep.best(look, probes, threat=threat, from_clean=False)
