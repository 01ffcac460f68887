"""The contract of an attack, and the promises that hold for every method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.checked_tensors import refuse_bad_labels, require_two_classes
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import (
    AttackedModel,
    Watched,
    device_of,
    frozen,
    joined_marks,
    refuse_bad_pixels,
    refuse_unfit_model,
    seeded,
)
from robustness.attacks.goal import Goal
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.traits import Traits, refuse_unknown_norm
from robustness.config.attack_section import AttackSection
from robustness.features import Features


@dataclass(frozen=True)
class AttackResult:
    """Attacked images, and what the model makes of them; all on the CPU.

    Attributes:
        images: (N, C, H, W) float32, in the ball and in the box.
        clean: features before the attack, with the true classes.
        attacked: features after it, with the same labels.
        targets: (N,) int64, the classes wanted; None for untargeted attacks.
        sizes: (N,) norm of each change, as the threat model measures it.
        zero_gradient: (N,) bool, images whose first gradient was zero everywhere; None where the attack asked
            this model for none.
        queries: (N,) int64, how often the model was asked about each; None where the attack does not count.
    """

    images: Tensor
    clean: Features
    attacked: Features
    targets: Tensor | None
    sizes: Tensor
    zero_gradient: Tensor | None
    queries: Tensor | None = None

    @property
    def clean_correct(self) -> Tensor:
        """(N,) bool: correct before the attack. Only these can be attacked successfully."""
        return self.clean.correct

    @property
    def success(self) -> Tensor:
        """(N,) bool: initially correct, and the attack reaches its goal."""
        return Goal(self.clean.labels, self.targets).reached(self.attacked.logits) & self.clean_correct


class Attack(ABC):
    """Changes images within a threat model so that a model errs.

    The base class goes through the images in portions, keeps every change in the ball and in the box and
    checks it, keeps gradients out of the model's parameters, and counts the images without a gradient. A new
    attack is a file with its config section and a subclass that says how it perturbs, a line in the registry
    of `robustness.attacks`, and a test.

    Attributes:
        section: its config.
        traits: what the checks for masked gradients have to know; see `Traits`.
        norms: those that it knows.
        goals: untargeted, targeted or both.
    """

    section: ClassVar[type[AttackSection]]
    traits: ClassVar[Traits]
    norms: ClassVar[frozenset[Norm]] = AttackSection.norms()
    goals: ClassVar[frozenset[str]] = frozenset({"untargeted", "targeted"})

    @classmethod
    def configured(cls, section: AttackSection, known: Knowledge) -> Self:
        """The attack with the settings of its section.

        Args:
            section: of this attack.
            known: what else it may be built from.
        """
        return cls(**section.own_settings())

    @abstractmethod
    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The method's own idea. What it returns is projected afterwards.

        Args:
            model: its parameters are frozen; zero gradients are counted.
            images: (batch, C, H, W) in [0, 1], on the model's device.
            goal: of this batch.
            threat: what it may change; epsilon > 0.

        Returns:
            (batch, C, H, W).
        """

    def __call__(
        self,
        model: AttackedModel,
        images: Tensor,
        labels: Tensor,
        *,
        threat: ThreatModel,
        seed: int,
        targets: Tensor | None = None,
        portion: int = 250,
    ) -> AttackResult:
        """Attack images.

        Args:
            model: in evaluation mode and float32.
            images: (N, C, H, W) float32 in [0, 1].
            labels: (N,) int64, the true classes.
            threat: what the attack may change.
            seed: of random starts and searches; with the portion it fixes the result.
            targets: (N,) int64, the classes wanted by a targeted attack; None: the second most likely one.
            portion: images at once; apart from the result, memory does not depend on N.

        Raises:
            InputError: the model is in training mode, knows a single class or gives gradients that are not
                finite; pixels are not float32 in [0, 1]; labels or targets do not name a class for each
                image; a target is the true class; or the attack does not know the norm or the goal.
        """
        self._refuse_unknown(threat, targets)
        require_two_classes(model.head.classes)
        refuse_unfit_model(model)
        refuse_bad_pixels(images)
        for classes in (labels,) if targets is None else (labels, targets):
            refuse_bad_labels(classes, batch=len(images), classes=model.head.classes)
        if targets is not None:
            _refuse_own_class(labels, targets)
        which = torch.arange(len(images)).split(portion)
        parts = [
            self._attack_portion(
                model,
                images[some],
                labels[some],
                threat=threat,
                seed=seed + index,
                targets=None if targets is None else targets[some],
            )
            for index, some in enumerate(which)
        ]
        return _joined(parts)

    def _attack_portion(
        self,
        model: AttackedModel,
        images: Tensor,
        labels: Tensor,
        *,
        threat: ThreatModel,
        seed: int,
        targets: Tensor | None,
    ) -> AttackResult:
        device = device_of(model)
        clean, labels = images.to(device), labels.to(device)
        watched = Watched(model, clean)
        with frozen(model), seeded(seed, device):
            if threat.targeted and targets is None:
                before = _features(model, watched.clean_embeddings(), labels)
                targets = before.logits.topk(2, dim=1).indices[:, 1]
            goal = Goal(labels, None if targets is None else targets.to(device))
            changed = clean
            if threat.epsilon > 0:
                changed = self.perturb(watched, clean, goal, threat=threat).detach()
            changed = threat.project(changed, clean)
            if not threat.kept_by(changed, clean):
                raise RuntimeError(f"{type(self).__name__} left the ball or the box, or made a NaN")
            before = _features(model, watched.clean_embeddings(), labels)
            with torch.no_grad():
                after = _features(model, model.embed(changed), labels)
        return AttackResult(
            images=changed.cpu().contiguous(),
            clean=before.cpu(),
            attacked=after.cpu(),
            targets=None if goal.targets is None else goal.targets.cpu(),
            sizes=threat.sizes(clean, changed).cpu(),
            zero_gradient=watched.gradients.zero,
            queries=watched.queries.used,
        )

    def _refuse_unknown(self, threat: ThreatModel, targets: Tensor | None) -> None:
        refuse_unknown_norm(self, threat)
        name = type(self).__name__
        goal = "targeted" if threat.targeted else "untargeted"
        if goal not in self.goals:
            raise InputError(
                "targeted",
                f"{name} is {' or '.join(self.goals)} only",
                got=goal,
                fix="Set targeted the other way.",
            )
        if targets is not None and not threat.targeted:
            raise InputError(
                "targets",
                "are for targeted threat models",
                got="untargeted",
                fix="Set targeted, or leave out.",
            )


def _refuse_own_class(labels: Tensor, targets: Tensor) -> None:
    """Stop where a target is the true class: an image that stays right would count as a success."""
    own = int((targets.cpu() == labels.cpu()).sum())
    if own:
        raise InputError(
            "targets",
            "must be other classes than the true ones",
            got=f"the true class for {own:,} of {len(labels):,} images",
            fix="Name another class for these.",
        )


@torch.no_grad()
def _features(model: AttackedModel, embeddings: Tensor, labels: Tensor) -> Features:
    return Features(embeddings, model.head.logits(embeddings), labels)


def _joined(parts: list[AttackResult]) -> AttackResult:
    def join(tensors: Iterable[Tensor | None]) -> Tensor | None:
        there = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(there) if there else None

    return AttackResult(
        images=torch.cat([part.images for part in parts]),
        clean=Features.joined([part.clean for part in parts]),
        attacked=Features.joined([part.attacked for part in parts]),
        targets=join(part.targets for part in parts),
        sizes=torch.cat([part.sizes for part in parts]),
        zero_gradient=joined_marks([part.zero_gradient for part in parts], [part.images for part in parts]),
        queries=join(part.queries for part in parts),
    )


def worst_of(candidates: Iterator[Tensor], model: AttackedModel, goal: Goal) -> Tensor:
    """Of several changed versions of each image, the one with the smallest margin in logits.

    Args:
        candidates: (batch, C, H, W) each, in the ball and in the box.
        model: what is attacked.
        goal: of this batch.
    """
    best, lowest = next(candidates), None
    for candidate in candidates:
        lowest = _margin(model, best, goal) if lowest is None else lowest
        margin = _margin(model, candidate, goal)
        best = torch.where((margin < lowest)[:, None, None, None], candidate, best)
        lowest = torch.minimum(margin, lowest)
    return best


@torch.no_grad()
def _margin(model: AttackedModel, images: Tensor, goal: Goal) -> Tensor:
    return goal.margin(model(images))
