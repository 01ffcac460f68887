"""A trial: one attack or control of one size on one training of a model."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

from faceverif.perturbation.norm import Norm
from robustness.attacked_model import AttackedModel
from robustness.attacks import Attack, PairAttack
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairGoal
from robustness.features import Features
from robustness.fitted_model import FittedModel
from robustness.loaded_run import LoadedRun
from robustness.rejection.calibrated_model import CalibratedModel
from robustness.rejection.config import RejectionConfig
from robustness.rejection.outcome import Verdicts

# A change of this size in linf can turn any image into any other, so epsilon no longer limits the attack.
WHOLE_BOX = 1.0
# Keys of an attack's section on which the numbers of a trial do not depend, or which the trial has itself.
NO_SETTINGS = {"epsilons", "label", "trainings"}
# A training of a model: the model's name and the number of the training.
Key = tuple[str, int]
_Model = TypeVar("_Model", bound=CalibratedModel)


@dataclass(frozen=True)
class ChangedImages:
    """A portion of a trial's images before and after their change.

    Attributes:
        before, after: (N, C, H, W) images in [0, 1].
        clean, attacked: what the model makes of them.
        verdicts: on the attack.
        sizes: (N,) norm of each change.
        columns: more to be kept of every image, (N,) each.
        references: (N, C, H, W), what they are compared with; None for images of the classes.
    """

    before: Tensor
    after: Tensor
    clean: Features
    attacked: Features
    verdicts: Verdicts
    sizes: Tensor
    columns: dict[str, Tensor]
    references: Tensor | None = None


@dataclass(frozen=True)
class Trial(ABC, Generic[_Model]):
    """What is done to the evaluated images or pairs of a training.

    Attributes:
        model, training: whose images.
        label: of the attack or control.
        norm, epsilon: size of the change.
        attack: how; None for a control.
        images: only the first of them; None: all.
        goal: of an attack on pairs, or whose pairs a control changes; None for images of the classes.
        like: of a control, the attack whose changes it equals in l2 norm, image by image; None: a control of
            the size epsilon, or an attack.
        control: the name of the change; None for an attack.
        needs_classes: whether a transfer's source must know the classes of the attacked model.
    """

    needs_classes: ClassVar[bool]

    model: str
    training: int
    label: str
    norm: Norm
    epsilon: float
    attack: AttackSection | None
    images: int | None
    goal: PairGoal | None
    like: Trial[_Model] | None = None
    control: str | None = None

    @property
    def key(self) -> Key:
        """The training that is attacked."""
        return self.model, self.training

    @property
    def local(self) -> bool:
        """Whether it changes a region only, whose epsilon says little of the whole change."""
        return self.traits is not None and self.traits.local

    @property
    def limited(self) -> bool:
        """Whether there is a change, and it is limited by epsilon or to a region."""
        return is_limited(self.norm, self.epsilon, local=self.local)

    @property
    def path(self) -> str:
        """Below the experiment's folder, without a suffix."""
        folder = "/".join(filter(None, ("trials", self.model, f"training-{self.training}", self.goal)))
        return f"{folder}/{self.label}-{self.norm}-{self.epsilon:g}"

    @property
    def title(self) -> str:
        """For a progress line."""
        return f"{', '.join(filter(None, (self.goal, self.label)))} {self.norm} {self.epsilon:g}"

    def settings(self) -> dict[str, Any]:
        """What its numbers depend on, as plain values of JSON."""
        attack = None if self.attack is None else self.attack.model_dump(mode="json", exclude=NO_SETTINGS)
        described = {name: getattr(self, name) for name in ("goal", "label", "norm", "epsilon", "images")}
        like = {} if self.like is None else {"like": self.like.settings()}
        return json.loads(json.dumps(described | like | {"attack": attack}))

    @property
    @abstractmethod
    def traits(self) -> Traits | None:
        """What the attack declares about itself; None for a control."""

    @abstractmethod
    def depends_on(self, config: RejectionConfig) -> dict[str, Any]:
        """The settings of the experiment that the numbers depend on, as plain values."""

    @abstractmethod
    def calibrated(self, config: RejectionConfig, fitted: FittedModel, run: LoadedRun) -> _Model:
        """The model with the images or pairs that are attacked.

        Args:
            config: the experiment.
            fitted: the run's model.
            run: a finished one.

        Raises:
            InputError: the run does not have what the trial needs.
        """

    @abstractmethod
    def configured(self, model: _Model, source: AttackedModel | None) -> Attack | PairAttack | None:
        """The attack, ready to be made; None for a control.

        Args:
            model: from `calibrated`.
            source: the other model that the attack knows; None for other trials.

        Raises:
            InputError: the attack needs what the model does not have.
        """

    @abstractmethod
    def changes(
        self, model: _Model, source: AttackedModel | None, *, seed: int, wanted: Tensor | None
    ) -> Iterator[ChangedImages]:
        """Change the images portion by portion.

        The seed of a portion is `seed` plus the position of its first image; an attack counts on from there
        for its own, smaller portions. So no two share a seed.

        Args:
            model: from `calibrated`.
            source: the other model that the attack knows; None for other trials.
            seed: of the experiment.
            wanted: (N,) norms that a control `like` an attack gives its changes; None: epsilon for all.
        """


def is_limited(norm: str, epsilon: float, *, local: bool) -> bool:
    """Whether a change of that size is one, and is limited by epsilon or to a region."""
    return epsilon > 0 and (local or norm != "linf" or epsilon < WHOLE_BOX)
