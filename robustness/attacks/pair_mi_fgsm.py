"""MI-FGSM on the cosine of two embeddings."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.momentum import MomentumAscent
from robustness.attacks.pairs import Chase, PairAttack
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairGoal, PairMIFGSMConfig


class PairMIFGSM(PairAttack):
    """`MIFGSM` for pairs: raises or lowers the cosine.

    It begins at the image, where dodging the same photo has no gradient; a pair of two photos has one.

    Args:
        goal: what the attack is for.
        ascent: momentum, and what else is done to the gradient.
    """

    section = PairMIFGSMConfig
    traits = Traits(follows_gradients=True, many_steps=True)

    def __init__(self, goal: PairGoal, ascent: MomentumAscent) -> None:
        super().__init__(goal)
        self.ascent = ascent

    @classmethod
    def configured(cls, section: AttackSection, goal: PairGoal, known: Knowledge) -> Self:
        """With the ascent of its section."""
        return cls(goal, MomentumAscent(**section.own_settings()))

    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The last version."""
        return self.ascent(lambda pixels: chase.gain(chase.network(pixels)), probes, threat=threat)
