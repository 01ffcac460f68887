"""APGD on the cosine of two embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks.apgd import ascend_adaptively
from robustness.attacks.pair_pgd import PairPGD
from robustness.attacks.traits import Traits
from robustness.config.attacks import PairAPGDConfig


class PairAPGD(PairPGD):
    """PGD on the cosine that chooses the length of its steps, with momentum.

    Croce & Hein, "Reliable Evaluation of Adversarial Robustness" (2020), Algorithm 1, with the cosine as
    the loss. It knows no threshold, so it takes every step.
    """

    section = PairAPGDConfig
    traits = Traits(follows_gradients=True, many_steps=True, no_weaker_than=frozenset({"fgsm"}))

    def ascended(self, gain: Callable[[Tensor], Tensor], probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The version with the highest gain on the way."""

        def look(pixels: Tensor) -> tuple[Tensor, Tensor]:
            value = gain(pixels)
            return value, torch.zeros_like(value, dtype=torch.bool)

        start = threat.random_start(probes)
        return ascend_adaptively(look, start, probes, threat=threat, steps=self.steps, samples=self.samples)
