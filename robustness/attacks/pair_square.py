"""Square on pairs: the attacker is told the similarity and nothing else."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.pairs import Chase, PairAttack
from robustness.attacks.square import search_with_squares
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairGoal, SquareConfig


class PairSquare(PairAttack):
    """`Square` on the cosine of a pair, Andriushchenko et al. (2020).

    Args:
        goal: what the attack is for.
        queries: similarities that the attacker may ask about each pair, at most.
        accept_from: the verification accepts a pair from this cosine on. The attack stops where the decision
            is as wanted; None: it uses all queries.
    """

    section = SquareConfig
    traits = Traits(follows_gradients=False, many_steps=True)
    norms = SquareConfig.norms()

    def __init__(self, goal: PairGoal, *, queries: int, accept_from: float | None = None) -> None:
        super().__init__(goal)
        self.queries, self.accept_from = queries, accept_from

    @classmethod
    def configured(cls, section: AttackSection, goal: PairGoal, known: Knowledge) -> Self:
        """With the verification's threshold."""
        return cls(goal, accept_from=known.accept_from, **section.own_settings())

    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The best found."""
        # No gain is above 1, so none is enough without a threshold.
        enough = 2.0 if self.accept_from is None else chase.sign * self.accept_from

        def margin(versions: Tensor, which: Tensor) -> Tensor:
            return enough - chase.take(which).gain(chase.network(versions))

        ask = chase.queries.limited(margin, images=len(probes), budget=self.queries)
        return search_with_squares(ask, probes, threat=threat, queries=self.queries)
