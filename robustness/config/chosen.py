"""The section of an attack that is chosen by its name, for a single pair; read without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
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


def chosen_section(
    name: str,
    goal: str,
    *,
    epsilon: float | None,
    settings: Mapping[str, Any],
    threshold: float | None,
    reference: object,
    source: object,
) -> AttackSection:
    """The section of the attack of that name, with one epsilon.

    Args:
        name: one of `CHOICES`.
        goal: impersonation or dodging.
        epsilon: of the attack's norm; None: the section's own, or 8 / 255 (linf) or 4 (l2).
        settings: over the defaults of the section; None stands for the default.
        threshold: the verification accepts a pair from this cosine on; None: not known.
        reference: the other photo; None: there is none.
        source: the models that are attacked in place of the one that judges; None: there are none.

    Raises:
        InputError: an unknown name or goal, a setting that the attack does not have or that is out of range,
            nobody to impersonate, or a source that would have to decide.
    """
    if goal not in get_args(PairGoal):
        raise InputError("goal", "must be a known one", got=goal, fix="Use impersonation or dodging.")
    if name not in CHOICES:
        raise InputError("name", "must be a known attack", got=name, fix=f"Use one of {', '.join(CHOICES)}.")
    if reference is None and goal == "impersonation":
        raise InputError(
            "reference", "must be a photo of the other person", got="nothing", fix="Give it, or dodge."
        )
    kind, settings = CHOICES[name], {key: value for key, value in settings.items() if value is not None}
    if source is not None and kind is EvolutionaryConfig:
        raise InputError(
            "source",
            f"must be left out with {name}, which asks for decisions: the threshold is not a source's",
            got="a source",
            fix="Leave it out, or take square, which asks for similarities.",
        )
    if threshold is None and kind is EvolutionaryConfig:
        raise InputError(
            "threshold",
            "must be given: this attack is told decisions only",
            got="nothing",
            fix="Give the cosine from which the verification accepts a pair, or take square.",
        )
    for key in _OF_EXPERIMENTS & set(settings):
        raise InputError(key, "belongs to experiments", got=settings[key], fix="Leave it out here.")
    norm = settings.get("norm", kind.model_fields["norm"].default)
    _refuse_unfit_size(epsilon, norm)
    sizes: dict[str, Any] = {} if epsilon is None else {"epsilons": [epsilon]}
    if epsilon is None and kind.model_fields["epsilons"].is_required():
        sizes = {"epsilons": [_EPSILONS.get(norm, 0)]}
    return validate_config(kind, {**settings, "name": name, **sizes}, source=f"the settings of {name}")


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
