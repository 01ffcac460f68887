"""Gradient steps on the cosine of two embeddings: many (PGD) or one (FGSM)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor

from faceverif.perturbation.ascent import ascend, step_lengths
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.pairs import Chase, PairAttack
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairFGSMConfig, PairGoal, PairPGDConfig


class PairPGD(PairAttack):
    """Moves the cosine of two embeddings by projected gradient steps, always from a random start.

    At the image itself the gradient of its own cosine is zero; a random start leaves that place.

    Args:
        goal: what the attack is for.
        steps: for each restart.
        restarts: of each probe the best version is kept.
        samples: gradients that are averaged at each step (EOT), for networks whose output is random.
    """

    section: ClassVar[type[AttackSection]] = PairPGDConfig
    traits = Traits(follows_gradients=True, many_steps=True, no_weaker_than=frozenset({"fgsm"}))

    def __init__(self, goal: PairGoal, *, steps: int, restarts: int, samples: int = 1) -> None:
        super().__init__(goal)
        self.steps, self.restarts, self.samples = steps, restarts, samples

    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The best version of every restart."""

        def gain(pixels: Tensor) -> Tensor:
            return chase.gain(chase.network(pixels))

        best = probes
        with torch.no_grad():
            reached = gain(probes)
        for _ in range(self.restarts):
            tried = self.ascended(gain, probes, threat=threat)
            with torch.no_grad():
                found = gain(tried)
            best = torch.where((found > reached)[:, None, None, None], tried, best)
            reached = torch.maximum(found, reached)
        return best

    def ascended(self, gain: Callable[[Tensor], Tensor], probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """One restart.

        Args:
            gain: (batch, C, H, W) -> (batch,), to be raised.
            probes: (batch, C, H, W) in [0, 1].
            threat: what may be changed.
        """
        start, lengths = threat.random_start(probes), step_lengths(threat, self.steps)
        return ascend(gain, start, probes, threat=threat, lengths=lengths, samples=self.samples)


class PairFGSM(PairPGD):
    """PGD of a single step."""

    section = PairFGSMConfig
    traits = Traits(follows_gradients=True, many_steps=False)

    def __init__(self, goal: PairGoal) -> None:
        super().__init__(goal, steps=1, restarts=1)

    @classmethod
    def configured(cls, section: AttackSection, goal: PairGoal, known: Knowledge) -> Self:
        """It has no settings."""
        return cls(goal)
