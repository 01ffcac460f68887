"""Energy: all logits together."""

from __future__ import annotations

from pytorch_ood.detector import EnergyBased
from torch import Tensor

from robustness.detectors.base import Detector
from robustness.features import Features


class Energy(Detector):
    """-log sum_k exp(logit_k), Liu et al., "Energy-based Out-of-distribution Detection" (2020), Eq. 4, T = 1.

    Through pytorch-ood.
    """

    def judge(self, features: Features) -> Tensor:
        """The energy."""
        return EnergyBased.score(features.logits)
