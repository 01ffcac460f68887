"""Trials on pairs of faces: the open set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from faceverif.images.faces import STRANGER
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel
from robustness.attacks import PAIR_ATTACKS, PairAttack, PairAttackResult
from robustness.attacks.pairs import as_wanted, unasked_result
from robustness.attacks.traits import Traits
from robustness.config.attacks import PairGoal
from robustness.features import Features, extract_features
from robustness.fitted_model import FittedModel
from robustness.loaded_run import LoadedRun
from robustness.rejection.config import RejectionConfig
from robustness.rejection.controls import controlled
from robustness.rejection.open_set import OpenSet, load_open_set
from robustness.rejection.outcome import Verdicts
from robustness.rejection.trial import ChangedImages, Trial


@dataclass(frozen=True)
class PairTrial(Trial[OpenSet]):
    """An attack on the verification by a model, or a control on the probes of its pairs."""

    needs_classes = False

    goal: PairGoal

    @property
    def traits(self) -> Traits | None:
        """Of the attack's class."""
        return None if self.attack is None else PAIR_ATTACKS[self.attack.name].traits

    def depends_on(self, config: RejectionConfig) -> dict[str, Any]:
        """Which pairs are attacked, and which calibrate."""
        kept = {"seed", "fit", "rates", "pairs"}
        return config.model_dump(mode="json", include=kept, exclude={"pairs": {"attacks"}})

    def calibrated(self, config: RejectionConfig, fitted: FittedModel, run: LoadedRun) -> OpenSet:
        """With pairs of people whom it does not know."""
        return load_open_set(config, fitted, run)

    def configured(self, model: OpenSet, source: AttackedModel | None) -> PairAttack | None:
        """From its section."""
        if self.attack is None:
            return None
        return PAIR_ATTACKS[self.attack.name].configured(self.attack, self.goal, model.knowledge(source))

    def changes(
        self, model: OpenSet, source: AttackedModel | None, *, seed: int, wanted: Tensor | None
    ) -> Iterator[ChangedImages]:
        """Attack or control the probes."""
        pairs = model.pairs[self.goal]
        count = len(pairs) if self.images is None else self.images
        if self.attack is not None:
            attack = self._attack(model, source)
            for first, probes, references in pairs.portions(count):
                yield _changed(model, probes, references, attack(probes, references, seed + first))
            return
        norms = torch.full((count,), self.epsilon) if wanted is None else wanted[:count]
        for first, probes, references in pairs.portions(len(norms)):
            result = self._controlled(model, probes, references, norms[first:], seed=seed + first)
            yield _changed(model, probes, references, result)

    def _attack(
        self, model: OpenSet, source: AttackedModel | None
    ) -> Callable[[Tensor, Tensor, int], PairAttackResult]:
        attack = self.configured(model, source)
        assert attack is not None  # else it is a control
        network, threat = model.model.network, ThreatModel(self.norm, self.epsilon)
        return lambda probes, references, seed: attack(network, probes, references, threat=threat, seed=seed)

    def _controlled(
        self, model: OpenSet, probes: Tensor, references: Tensor, norms: Tensor, *, seed: int
    ) -> PairAttackResult:
        assert self.control is not None  # else it is an attack
        changed = controlled(self.control, probes, norms[: len(probes)], norm=self.norm, seed=seed)
        threat = ThreatModel(self.norm, self.epsilon)
        return unasked_result(self.goal, model.model.network, probes, changed, references, threat=threat)


def verdicts_of(result: PairAttackResult, *, accept_from: float) -> Verdicts:
    """The decisions on pairs as verdicts: right means decided as the attack does not want it."""
    zero = result.zero_gradient
    return Verdicts(
        result.attackable(accept_from).numpy(),
        (~as_wanted(result.similarity, result.goal, threshold=accept_from)).numpy(),
        result.success(accept_from).numpy(),
        None if zero is None else zero.numpy(),
    )


def _changed(model: OpenSet, probes: Tensor, references: Tensor, result: PairAttackResult) -> ChangedImages:
    columns = {"clean_similarity": result.clean_similarity, "similarity": result.similarity}
    if result.queries is not None:
        columns["queries"] = result.queries
    return ChangedImages(
        before=probes,
        after=result.images,
        clean=_features(model, probes),
        attacked=_features(model, result.images),
        verdicts=verdicts_of(result, accept_from=model.accept_from),
        sizes=result.sizes,
        columns=columns,
        references=references,
    )


def _features(model: OpenSet, images: Tensor) -> Features:
    return extract_features(model.model, images, torch.full((len(images),), STRANGER))
