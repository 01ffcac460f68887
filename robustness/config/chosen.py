"""An attack on a single pair that is asked for by its name, and its section; read without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from data_prep.errors import InputError
from faceverif.config.reading import validate_config
from robustness.config.attack_section import AdaptiveSection, AttackSection
from robustness.config.attacks import EvolutionaryConfig, PairAttackConfig, PairGoal, TransferConfig

LEVELS = 255  # of a pixel with 8 bits
ROUNDING = 1e-6
# Where no epsilon is given: 8 of 255 grey levels, and in l2 a change that is as visible on a face.
_EPSILONS = {"linf": 8 / LEVELS, "l2": 4.0}

# Keys that say what of an experiment is attacked, and those that are arguments here.
_OF_EXPERIMENTS = {"name", "label", "epsilons", "images", "trainings"}

# Attacks that need no more than a model and two photos.
CHOICES: dict[str, type[AttackSection]] = {
    name: section
    for section in get_args(get_args(PairAttackConfig)[0])
    for name in get_args(section.model_fields["name"].annotation)
    if not issubclass(section, AdaptiveSection | TransferConfig)
}


@dataclass(frozen=True)
class AttackRequest:
    """An attack on a single pair, as it was asked for.

    Attributes:
        name: one of `CHOICES`.
        goal: impersonation or dodging.
        epsilon: of the attack's norm; None: the section's own, or 8 / 255 (linf) or 4 (l2).
        settings: over the defaults of the section; None stands for the default.
        threshold: the verification accepts a pair from this cosine on; None: not known.
        reference: the other photo; None: there is none.
        source: the models that are attacked in place of the one that judges; None: there are none.
    """

    name: str
    goal: PairGoal
    epsilon: float | None
    settings: Mapping[str, Any]
    threshold: float | None
    reference: object
    source: object

    def section(self) -> AttackSection:
        """The attack's section, with one epsilon.

        Raises:
            InputError: an unknown name or goal, a setting that the attack does not have or that is out of
                range, nobody to impersonate, or a source that would have to decide.
        """
        if self.goal not in get_args(PairGoal):
            fix = "Use impersonation or dodging."
            raise InputError("goal", "must be a known one", got=self.goal, fix=fix)
        if self.name not in CHOICES:
            fix = f"Use one of {', '.join(CHOICES)}."
            raise InputError("name", "must be a known attack", got=self.name, fix=fix)
        for field, value in (("epsilon", self.epsilon), ("threshold", self.threshold)):
            _refuse_no_number(field, value)
        if self.reference is None and self.goal == "impersonation":
            rule = "must be a photo of the other person"
            raise InputError("reference", rule, got="nothing", fix="Give it, or dodge.")
        kind = CHOICES[self.name]
        if kind is EvolutionaryConfig:
            self._refuse_without_decisions()
        settings = {key: as_plain(value) for key, value in self.settings.items() if value is not None}
        for key in _OF_EXPERIMENTS & set(settings):
            raise InputError(key, "belongs to experiments", got=settings[key], fix="Leave it out here.")
        norm = settings.get("norm", kind.model_fields["norm"].default)
        _refuse_unfit_size(self.epsilon, norm)
        sizes: dict[str, Any] = {} if self.epsilon is None else {"epsilons": [as_plain(self.epsilon)]}
        if self.epsilon is None and kind.model_fields["epsilons"].is_required():
            sizes = {"epsilons": [_EPSILONS.get(norm, 0)]}
        source = f"the settings of {self.name}"
        return validate_config(kind, {**settings, "name": self.name, **sizes}, source=source)

    def _refuse_without_decisions(self) -> None:
        """Stop an attack that is told decisions only, where nobody tells it those of the model."""
        if self.source is not None:
            raise InputError(
                "source",
                f"must be left out with {self.name}, which asks for decisions: the threshold is not a "
                "source's",
                got="a source",
                fix="Leave it out, or take square, which asks for similarities.",
            )
        if self.threshold is None:
            raise InputError(
                "threshold",
                "must be given: this attack is told decisions only",
                got="nothing",
                fix="Give the cosine from which the verification accepts a pair, or take square.",
            )


def as_plain(value: Any) -> Any:
    """A number of NumPy or PyTorch as one of Python, which sections take; anything else as it is."""
    return value.item() if getattr(value, "shape", None) == () else value


def refuse_bad_seed(seed: object) -> None:
    """Stop on what no generator can begin with.

    Raises:
        InputError: it is no whole number from 0 to 2 ** 32 - 1.
    """
    plain = as_plain(seed)
    if isinstance(plain, bool) or not isinstance(plain, int) or not 0 <= plain < 2**32:
        rule = "must be a whole number from 0 to 2 ** 32 - 1"
        raise InputError("seed", rule, got=repr(seed), fix="Use 0.")


def _refuse_no_number(field: str, value: object) -> None:
    plain = as_plain(value)
    is_number = isinstance(plain, int | float) and not isinstance(plain, bool) and math.isfinite(plain)
    if value is not None and not is_number:
        raise InputError(field, "must be a finite number", got=repr(value), fix="Write it without quotes.")


def _refuse_unfit_size(epsilon: float | None, norm: str) -> None:
    if epsilon is None:
        return
    if 0 < epsilon < 1 / LEVELS - ROUNDING:
        raise InputError(
            "epsilon",
            "must be at least 1 / 255, one grey level of a picture with 8 bits",
            got=f"{epsilon:g}",
            fix="Use 2 / 255.",
        )
    if norm == "linf" and epsilon > 1:
        raise InputError(
            "epsilon",
            "must be at most 1 with linf: pixels lie in [0, 1]",
            got=epsilon,
            fix="Divide steps of 8-bit pixels by 255: 8 / 255 = 0.031.",
        )
