"""Trials on images of the classes: the closed set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel
from robustness.attacks import ATTACKS, Attack, AttackResult
from robustness.attacks.traits import Traits
from robustness.features import extract_features
from robustness.fitted_model import FittedModel
from robustness.loaded_run import LoadedRun
from robustness.rejection.closed_set import ClosedSet, load_closed_set
from robustness.rejection.config import RejectionConfig
from robustness.rejection.controls import controlled
from robustness.rejection.outcome import Verdicts
from robustness.rejection.trial import ChangedImages, Trial


@dataclass(frozen=True)
class ImageTrial(Trial[ClosedSet]):
    """An attack on the classes of a model, or a control on their images."""

    needs_classes = True

    goal: None = None

    @property
    def traits(self) -> Traits | None:
        """Of the attack's class."""
        return None if self.attack is None else ATTACKS[self.attack.name].traits

    def depends_on(self, config: RejectionConfig) -> dict[str, Any]:
        """How images are divided; earlier versions divided them in class turns."""
        settings = {"seed", "fit", "rates", "calibration", "evaluation"}
        return config.model_dump(mode="json", include=settings) | {"split": "random"}

    def calibrated(self, config: RejectionConfig, fitted: FittedModel, run: LoadedRun) -> ClosedSet:
        """With images of its classes."""
        return load_closed_set(config, fitted, run)

    def configured(self, model: ClosedSet, source: AttackedModel | None) -> Attack | None:
        """From its section."""
        if self.attack is None:
            return None
        return ATTACKS[self.attack.name].configured(self.attack, model.knowledge(source))

    def changes(
        self, model: ClosedSet, source: AttackedModel | None, *, seed: int, wanted: Tensor | None
    ) -> Iterator[ChangedImages]:
        """Attack or control the images."""
        count = len(model.evaluation) if self.images is None else self.images
        if self.attack is not None:
            attack = self._attack(model, source)
            for first, clean, labels in model.portions(count):
                yield _changed(clean, attack(clean, labels, seed + first))
            return
        norms = torch.full((count,), self.epsilon) if wanted is None else wanted[:count]
        for first, clean, labels in model.portions(len(norms)):
            yield _changed(clean, self._controlled(model, clean, labels, norms[first:], seed=seed + first))

    def _attack(
        self, model: ClosedSet, source: AttackedModel | None
    ) -> Callable[[Tensor, Tensor, int], AttackResult]:
        attack = self.configured(model, source)
        assert attack is not None  # else it is a control
        threat = ThreatModel(self.norm, self.epsilon, targeted="untargeted" not in attack.goals)
        return lambda clean, labels, seed: attack(model.model, clean, labels, threat=threat, seed=seed)

    def _controlled(
        self, model: ClosedSet, clean: Tensor, labels: Tensor, norms: Tensor, *, seed: int
    ) -> AttackResult:
        """A control reports as an attack does: it has no goal, but predictions may have changed."""
        assert self.control is not None  # else it is an attack
        changed = controlled(self.control, clean, norms[: len(clean)], norm=self.norm, seed=seed)
        return AttackResult(
            images=changed,
            clean=extract_features(model.model, clean, labels),
            attacked=extract_features(model.model, changed, labels),
            targets=None,
            sizes=ThreatModel(self.norm, self.epsilon).sizes(clean, changed),
            zero_gradient=None,
        )


def _changed(clean: Tensor, result: AttackResult) -> ChangedImages:
    columns = {
        "label": result.clean.labels,
        "clean_predicted": result.clean.predicted,
        "predicted": result.attacked.predicted,
    }
    optional = {"target": result.targets, "queries": result.queries}
    columns |= {name: values for name, values in optional.items() if values is not None}
    return ChangedImages(
        before=clean,
        after=result.images,
        clean=result.clean,
        attacked=result.attacked,
        verdicts=Verdicts.of(result),
        sizes=result.sizes,
        columns=columns,
    )
