"""The attacker on verification who knows the detector: to pass, or to hide, and stay likely."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from faceverif.heads import Head
from robustness.attacks.ascent import ascend
from robustness.attacks.best_met import BestMet
from robustness.attacks.pairs import Chase, PairAttack, PairGoal, as_wanted
from robustness.detectors.base import Detector
from robustness.features import Features
from robustness.threat_model import ThreatModel


class AdaptivePairAttack(PairAttack):
    """Raises +-cosine - c max(0, score - threshold), with a growing c, from several random starts.

    `Adaptive` for pairs, after Carlini & Wagner, "Adversarial Examples Are Not Easily Detected" (2017): each
    c goes on where the smaller one ended, and of everything met on the way the best is kept, see `BestMet`.

    Args:
        goal: what the attacker wants.
        head: gives the logits that the detector looks at.
        detector: fitted; its scores must have gradients.
        threshold: of the detector: a score above is rejected.
        accept_from: of the verification: a pair is accepted from this cosine on.
        weights: the values of c, in cosine by units of the score.
        steps: for each c.
        restarts: of the whole sweep.

    Raises:
        InputError: the detector is not fitted or has no gradients.
    """

    def __init__(
        self,
        goal: PairGoal,
        head: Head,
        detector: Detector,
        threshold: float,
        *,
        accept_from: float,
        weights: tuple[float, ...] = (0.0, 0.001, 0.01, 0.1, 1.0),
        steps: int = 20,
        restarts: int = 1,
    ) -> None:
        super().__init__(goal, steps=steps, restarts=restarts)
        detector.refuse_unattackable()
        self.head, self.detector, self.threshold = head, detector, threshold
        self.accept_from, self.weights = accept_from, sorted(weights)

    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The best of everything met."""
        best = BestMet(probes, self.threshold)
        for _ in range(self.restarts):
            version = threat.random_start(probes)
            for weight in self.weights:
                value = partial(self._value, chase, best, weight)
                version = ascend(value, version, probes, threat=threat, steps=self.steps)
            with torch.no_grad():
                self._value(chase, best, 0.0, version)
        return best.images

    def _value(self, chase: Chase, best: BestMet, weight: float, pixels: Tensor) -> Tensor:
        embeddings = chase.network(pixels)
        gain, logits = chase.gain(embeddings), self.head.logits(embeddings)
        scores = self.detector.score(Features(embeddings, logits, logits.argmax(dim=1)))
        wanted = as_wanted(chase.sign * gain, self.goal, threshold=self.accept_from)
        best.meet(pixels, fooled=wanted, scores=scores, distance=-gain)
        return gain - weight * (scores - self.threshold).clamp_min(0.0)
