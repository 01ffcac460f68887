"""The evolutionary attack on pairs: the attacker is told the decision and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.perturbation.threat_model import ThreatModel, expand, sizes
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.pairs import Chase, PairAttack, as_wanted
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import EvolutionaryConfig, PairGoal
from robustness.queries import Answer

# As in the paper: side of the small image whose pixels are searched, share of them that a step changes, rates
# at which path and variances learn.
_SIDE, _CHANGED, _PATH_RATE, _VARIANCE_RATE = 45, 1 / 20, 0.01, 0.001
# Ours: how far a first step goes back to the clean image, and how long its random part is, both as shares of
# the distance from it.
_BACK, _NOISE = 0.01, 0.04
# Answers over which the share of successes is taken; and how much longer the way back becomes after a step
# that came no closer, which is not asked about.
_RECENT, _LONGER = 20, 1.1


class PairEvolutionary(PairAttack):
    """The evolutionary attack of Dong et al. (2019), Algorithm 1.

    "Efficient Decision-based Black-box Adversarial Attacks on Face Recognition". The lengths of a step are
    ours. It begins at a picture that is decided as wanted and comes closer to the clean one. A dodge begins
    at noise or at the negative, an impersonation at the reference. It ends where the change is within
    epsilon.

    Args:
        goal: what the attack is for.
        accept_from: the verification accepts a pair from this cosine on.
        queries: decisions that the attacker may ask about each pair, at most.
    """

    section = EvolutionaryConfig
    traits = Traits(follows_gradients=False, many_steps=True)
    norms = EvolutionaryConfig.norms()

    def __init__(self, goal: PairGoal, accept_from: float, *, queries: int) -> None:
        super().__init__(goal)
        self.accept_from, self.queries = accept_from, queries

    @classmethod
    def configured(cls, section: AttackSection, goal: PairGoal, known: Knowledge) -> Self:
        """With the decisions of the verification."""
        assert known.accept_from is not None  # the model verifies
        return cls(goal, known.accept_from, **section.own_settings())

    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The closest version that is decided as wanted, cut to the ball; the probe where none was found."""

        def decided(versions: Tensor, which: Tensor) -> Tensor:
            cosines = chase.sign * chase.take(which).gain(chase.network(versions))
            return as_wanted(cosines, self.goal, threshold=self.accept_from)

        ask = chase.queries.limited(decided, images=len(probes), budget=self.queries)
        versions, found = self._beginnings(ask, chase, probes)
        search = _Search(versions[found], probes[found])
        places = found.nonzero().squeeze(1)
        assert chase.queries.used is not None
        while True:
            open_ = search.distances > threat.epsilon
            open_ &= (chase.queries.used[places.cpu()] < self.queries).to(open_.device)
            left = open_.nonzero().squeeze(1)
            if not len(left):
                break
            search.step(ask, left, places)
        versions[found] = search.best
        return threat.project(torch.where(expand(found, probes), versions, probes), probes)

    def _beginnings(self, ask: Answer, chase: Chase, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures that are decided as wanted, and (batch,) where one was found."""
        versions, found = probes.clone(), torch.zeros(len(probes), dtype=torch.bool, device=probes.device)
        for tried, _ in zip(self._candidates(chase, probes), range(self.queries), strict=False):
            left = (~found).nonzero().squeeze(1)
            if not len(left):
                break
            hit = ask(tried[left], left)
            versions[left[hit]] = tried[left[hit]]
            found[left] = hit
        return versions, found

    def _candidates(self, chase: Chase, probes: Tensor) -> Iterator[Tensor]:
        if self.goal == "impersonation":
            yield chase.references
            return
        yield torch.rand(probes.shape).to(probes)
        yield 1 - probes


class _Search:
    """The evolution of a batch: (1 + 1)-CMA-ES with a diagonal covariance.

    Args:
        best: (batch, C, H, W), decided as wanted.
        clean: (batch, C, H, W), what it comes closer to.
    """

    def __init__(self, best: Tensor, clean: Tensor) -> None:
        self.best, self._clean = best, clean
        self.distances = sizes(best - clean, "l2")
        batch, channels, height, width = clean.shape
        self._small = (channels, min(_SIDE, height), min(_SIDE, width))
        # Kept on the CPU, where everything random is drawn.
        entries = channels * self._small[1] * self._small[2]
        self._variances, self._paths = torch.ones(batch, entries), torch.zeros(batch, entries)
        self._back = torch.full((batch,), _BACK)
        self._recent = torch.full((batch, _RECENT), 0.2)

    def step(self, ask: Answer, left: Tensor, places: Tensor) -> None:
        """One step of those in `left`; what comes no closer is not asked about.

        Args:
            ask: whether versions are decided as wanted.
            left: positions in this search.
            places: of this search's images, in the attacked batch.
        """
        there = left.cpu()
        drawn = self._draw(there)
        noise = F.interpolate(
            drawn.unflatten(1, self._small), size=self._clean.shape[2:], mode="bilinear", align_corners=False
        ).to(self._clean)
        best, clean, distances = self.best[left], self._clean[left], self.distances[left]
        length = _NOISE * distances / sizes(noise, "l2").clamp_min(1e-12)
        back = self._back[there].to(clean)
        tried = (best + expand(length, best) * noise + expand(back, best) * (clean - best)).clamp(0, 1)
        closer = sizes(tried - clean, "l2") < distances
        self._back[there] *= torch.where(closer.cpu(), 1.0, _LONGER)
        if closer.any():
            hit = ask(tried[closer], places[left[closer]])
            self._learn(there[closer.cpu()], hit.cpu(), drawn[closer.cpu()])
            kept = left[closer][hit]
            self.best[kept] = tried[closer][hit]
            self.distances[kept] = sizes(self.best[kept] - self._clean[kept], "l2")

    def _draw(self, there: Tensor) -> Tensor:
        """(n, entries): a share of the entries, likelier where the variance is large, from the Gaussian."""
        variances = self._variances[there]
        chosen = torch.multinomial(variances, max(1, round(_CHANGED * variances.shape[1])))
        drawn = torch.zeros_like(variances)
        values = torch.randn(chosen.shape) * variances.gather(1, chosen).sqrt()
        return drawn.scatter(1, chosen, values)

    def _learn(self, asked: Tensor, hit: Tensor, drawn: Tensor) -> None:
        """Path and variances from successes; the way back by the 1/5 rule from all answers."""
        self._recent[asked] = torch.cat([self._recent[asked, 1:], hit[:, None].float()], dim=1)
        self._back[asked] *= torch.exp(self._recent[asked].mean(dim=1) - 0.2)
        self._back.clamp_(max=1.0)
        better = asked[hit]
        push = (_PATH_RATE * (2 - _PATH_RATE)) ** 0.5
        self._paths[better] = (1 - _PATH_RATE) * self._paths[better] + push * drawn[hit]
        self._variances[better] = (1 - _VARIANCE_RATE) * self._variances[better] + (
            _VARIANCE_RATE * self._paths[better] ** 2
        )
