"""Attacks on verification: a photo that passes for another person, or no longer for the same one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import (
    GradientCount,
    device_of,
    embeddings_of,
    frozen,
    joined_marks,
    refuse_bad_pixels,
    refuse_unfit_model,
    seeded,
)
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.traits import Traits, refuse_unknown_norm
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairGoal
from robustness.queries import QueryCount


@dataclass(frozen=True)
class PairAttackResult:
    """Attacked probes, and how similar they are to their references; all on the CPU.

    Attributes:
        goal: what the attack is for.
        images: (N, C, H, W) float32, the attacked probes.
        clean_similarity: (N,) cosine of probe and reference before the attack.
        similarity: (N,) after it.
        sizes: (N,) norm of each change.
        zero_gradient: (N,) bool, pairs whose first gradient was zero everywhere; None at epsilon 0.
        queries: (N,) int64, how often the network was asked about each; None where the attack does not count.
    """

    goal: PairGoal
    images: Tensor
    clean_similarity: Tensor
    similarity: Tensor
    sizes: Tensor
    zero_gradient: Tensor | None
    queries: Tensor | None = None

    def attackable(self, threshold: float) -> Tensor:
        """(N,) bool: decided against the goal before the attack.

        Args:
            threshold: the verification accepts a pair from this cosine on.
        """
        return ~as_wanted(self.clean_similarity, self.goal, threshold=threshold)

    def success(self, threshold: float) -> Tensor:
        """(N,) bool: attackable, and decided for the goal after the attack."""
        return self.attackable(threshold) & as_wanted(self.similarity, self.goal, threshold=threshold)


def as_wanted(similarity: Tensor, goal: PairGoal, *, threshold: float) -> Tensor:
    """(N,) bool: whether pairs with these cosines, (N,), are decided for the goal."""
    accepted = similarity >= threshold
    return accepted if goal == "impersonation" else ~accepted


@dataclass(frozen=True)
class Chase:
    """What an attack on a portion of pairs may ask.

    Attributes:
        network: pixels in [0, 1] -> raw embeddings; its first gradients are looked at.
        wanted: (batch, dim) unit embeddings of the references.
        references: (batch, C, H, W), their pictures.
        sign: 1 where a higher cosine is wanted, -1 where a lower one is.
        queries: where a black-box attack counts what it asks.
    """

    network: Callable[[Tensor], Tensor]
    wanted: Tensor
    references: Tensor
    sign: float
    queries: QueryCount

    def take(self, which: Tensor) -> Chase:
        """The same for some pairs of the portion: indices or a mask."""
        return replace(self, wanted=self.wanted[which], references=self.references[which])

    def gain(self, embeddings: Tensor) -> Tensor:
        """(batch,) the cosine with the reference, negative where a lower one is wanted."""
        return self.sign * torch.linalg.vecdot(F.normalize(embeddings), self.wanted)


class PairAttack(ABC):
    """Changes a photo so that a verification decides a pair wrongly.

    Impersonation raises the cosine: the probe is to pass for the reference's person. Dodging lowers it. The
    base class does for pairs what `robustness.attacks.base.Attack` does for images of the classes.

    Args:
        goal: what the attack is for.

    Attributes:
        section: its config.
        traits: what the checks for masked gradients have to know; see `Traits`.
        norms: those that it knows.
    """

    section: ClassVar[type[AttackSection]]
    traits: ClassVar[Traits]
    norms: ClassVar[frozenset[Norm]] = AttackSection.norms()

    def __init__(self, goal: PairGoal) -> None:
        self.goal = goal

    @classmethod
    def configured(cls, section: AttackSection, goal: PairGoal, known: Knowledge) -> Self:
        """The attack with the settings of its section.

        Args:
            section: of this attack.
            goal: what the attack is for.
            known: what else it may be built from.
        """
        return cls(goal, **section.own_settings())

    @abstractmethod
    def perturb(self, chase: Chase, probes: Tensor, *, threat: ThreatModel) -> Tensor:
        """The method's own idea.

        Args:
            chase: what may be asked.
            probes: (batch, C, H, W) in [0, 1].
            threat: what may be changed; epsilon > 0.

        Returns:
            (batch, C, H, W), in the ball and in the box.
        """

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
        """Attack probes.

        Args:
            network: pixels in [0, 1] -> raw embeddings, in evaluation mode and float32.
            probes: (N, C, H, W) float32 in [0, 1], the photos that are changed.
            references: (N, C, H, W) float32 in [0, 1], the photos that they are compared with.
            threat: what the attack may change. It is not targeted: the goal gives the direction.
            seed: of random starts; with the portion it fixes the result.
            portion: pairs at once; apart from the result, memory does not depend on N.

        Raises:
            InputError: the network is in training mode, or gives embeddings or gradients that are not finite;
                photos are not float32 in [0, 1]; there is not one reference of the same size per probe; or
                the attack does not know the norm.
        """
        refuse_unknown_norm(self, threat)
        refuse_unfit_model(network)
        refuse_bad_pixels(probes, field="probes")
        refuse_bad_pixels(references, field="references")
        if probes.shape != references.shape:
            raise InputError(
                "references",
                f"must have the number and size of the probes, {tuple(probes.shape)}",
                got=tuple(references.shape),
                fix="Give one reference per probe.",
            )
        parts = [
            self._attack_portion(network, *pair, threat=threat, seed=seed + index)
            for index, pair in enumerate(zip(probes.split(portion), references.split(portion), strict=True))
        ]
        return _joined(parts)

    def _attack_portion(
        self, network: nn.Module, probes: Tensor, references: Tensor, *, threat: ThreatModel, seed: int
    ) -> PairAttackResult:
        device = device_of(network)
        with torch.no_grad(), seeded(seed, device):
            wanted = F.normalize(network(references.to(device)))
        return self.towards(wanted, network, probes, references, threat=threat, seed=seed)

    def towards(
        self,
        wanted: Tensor,
        network: nn.Module,
        probes: Tensor,
        references: Tensor,
        *,
        threat: ThreatModel,
        seed: int,
    ) -> PairAttackResult:
        """Attack a single portion, whose references are known by their embeddings.

        Args:
            wanted: (N, dim) of length 1, on the network's device.
            network, probes, references, threat, seed: as in a call; here they are not checked.

        Raises:
            InputError: the network gives embeddings or gradients that are not finite.
        """
        device = device_of(network)
        clean, others = probes.to(device), references.to(device)
        count, queries = GradientCount(len(clean)), QueryCount()
        sign = 1.0 if self.goal == "impersonation" else -1.0
        with frozen(network), seeded(seed, device):
            chase = Chase(lambda pixels: network(count.watched(pixels)), wanted, others, sign, queries)
            changed = self.perturb(chase, clean, threat=threat) if threat.epsilon > 0 else clean
            with torch.no_grad():
                before, after = (sign * chase.gain(network(pixels)) for pixels in (clean, changed))
        _refuse_no_decision(before, after)
        if not threat.kept_by(changed, clean):
            raise RuntimeError("the attack left the ball or the box, or made a NaN")
        return PairAttackResult(
            goal=self.goal,
            images=changed.cpu().contiguous(),
            clean_similarity=before.cpu(),
            similarity=after.cpu(),
            sizes=threat.sizes(clean, changed).cpu(),
            zero_gradient=count.zero,
            queries=queries.used,
        )


def unasked_result(
    goal: PairGoal,
    network: nn.Module,
    probes: Tensor,
    changed: Tensor,
    references: Tensor,
    *,
    threat: ThreatModel,
) -> PairAttackResult:
    """What a network makes of probes that were changed without asking it.

    Args:
        goal: which decision is wanted.
        network: pixels in [0, 1] -> raw embeddings, in evaluation mode.
        probes: (N, C, H, W) before the change.
        changed: (N, C, H, W) after it.
        references: (N, C, H, W), what both are compared with.
        threat: measures the change.

    Raises:
        InputError: the network gives embeddings that are not finite.
    """
    before, after, reference = (
        F.normalize(embeddings_of(network, images)) for images in (probes, changed, references)
    )
    similarities = [torch.linalg.vecdot(each, reference) for each in (before, after)]
    _refuse_no_decision(*similarities)
    return PairAttackResult(
        goal=goal,
        images=changed,
        clean_similarity=similarities[0],
        similarity=similarities[1],
        sizes=threat.sizes(probes, changed),
        zero_gradient=None,
    )


def _refuse_no_decision(*similarities: Tensor) -> None:
    """Stop on cosines, (N,), that are NaN: they are below every threshold, and would count as decisions."""
    undecided = torch.stack([cosines.isnan() for cosines in similarities]).any(dim=0)
    if undecided.any():
        raise InputError(
            "network",
            "must give finite embeddings",
            got=f"NaN or infinity for {int(undecided.sum()):,} of {len(undecided):,} pairs",
            fix="Check its weights.",
        )


def _joined(parts: list[PairAttackResult]) -> PairAttackResult:
    queries = [part.queries for part in parts if part.queries is not None]
    return PairAttackResult(
        goal=parts[0].goal,
        images=torch.cat([part.images for part in parts]),
        clean_similarity=torch.cat([part.clean_similarity for part in parts]),
        similarity=torch.cat([part.similarity for part in parts]),
        sizes=torch.cat([part.sizes for part in parts]),
        zero_gradient=joined_marks([part.zero_gradient for part in parts], [part.images for part in parts]),
        queries=torch.cat(queries) if queries else None,
    )
