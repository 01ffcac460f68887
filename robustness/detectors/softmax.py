"""Scores of a softmax: its largest logit, or its largest probability."""

from __future__ import annotations

from pytorch_ood.detector import MaxSoftmax
from torch import Tensor

from robustness.detectors.base import Detector
from robustness.features import Features


class Affinity(Detector):
    """-(w_zhat x + b_zhat), minus the logit of the predicted class: L-GM (Wan et al., 2018), Sec. 4.3."""

    def judge(self, features: Features) -> Tensor:
        """Minus the largest logit."""
        return -features.logits.amax(dim=1)


class MaxProbability(Detector):
    """-max_k p(k | x), Hendrycks & Gimpel, "A Baseline for Detecting" (2017). Through pytorch-ood."""

    def judge(self, features: Features) -> Tensor:
        """Minus the largest probability."""
        return MaxSoftmax.score(features.logits)
