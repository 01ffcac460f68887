"""Transfer on pairs: attack the verification of a known model, and show the photo to another one."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.momentum import MomentumAscent
from robustness.attacks.pair_mi_fgsm import PairMIFGSM
from robustness.attacks.pair_pgd import PairPGD
from robustness.attacks.pairs import Chase, PairAttack, PairAttackResult, unasked_result
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairGoal, TransferConfig


class PairTransfer(PairAttack):
    """What another attack finds on another model; the attacked model is not asked.

    Args:
        attack: what is done to the source.
        source: a face model of the same crops; several are joined first, see `robustness.joint_model`.
    """

    section = TransferConfig
    traits = Traits(follows_gradients=False, many_steps=True)

    def __init__(self, attack: PairAttack, source: AttackedModel) -> None:
        super().__init__(attack.goal)
        self.attack, self.source = attack, source

    @classmethod
    def configured(cls, section: AttackSection, goal: PairGoal, known: Knowledge) -> Self:
        """PGD or MI-FGSM on the source."""
        assert isinstance(section, TransferConfig)
        assert known.source is not None  # the section names one
        if section.by is None:
            return cls(PairPGD(goal, steps=section.steps, restarts=1), known.source)
        ascent = MomentumAscent(steps=section.steps, **section.by.model_dump())
        return cls(PairMIFGSM(goal, ascent), known.source)

    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The attack's; what it may ask is then the source's."""
        return self.attack.perturb(chase, probes, threat=threat)

    def __call__(
        self,
        network: nn.Module,
        probes: Tensor,
        references: Tensor,
        *,
        threat: ThreatModel,
        seed: int,
        portion: int = 64,
    ) -> PairAttackResult:
        """Attack the source, then compare the photos by the network; see `PairAttack`."""
        found = super().__call__(
            self.source.network, probes, references, threat=threat, seed=seed, portion=portion
        )
        return unasked_result(self.goal, network, probes, found.images, references, threat=threat)
