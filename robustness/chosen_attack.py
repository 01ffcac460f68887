"""An attack on a single pair, built from its section: for the Python interface and the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks import PAIR_ATTACKS, PairAttack
from robustness.attacks.knowledge import Knowledge
from robustness.config.attacks import PairGoal
from robustness.config.chosen import chosen_section


class ChosenAttack(NamedTuple):
    """An attack and what it may change."""

    method: PairAttack
    threat: ThreatModel


def choose_attack(
    name: str,
    goal: PairGoal,
    *,
    epsilon: float | None,
    settings: Mapping[str, Any],
    landmarks: NDArray[np.float64] | None,
    threshold: float | None,
    reference: object,
    source: object,
) -> ChosenAttack:
    """The attack of that name.

    Args:
        name, goal, epsilon, settings, threshold, reference, source: as for `chosen_section`. The threshold is
            not told to an attack on sources: it is of the model that judges.
        landmarks: (5, 2) of the face in the picture that is changed; None: not known.

    Raises:
        InputError: as by `chosen_section`, or a patch where the landmarks are not known.
    """
    section = chosen_section(
        name,
        goal,
        epsilon=epsilon,
        settings=settings,
        threshold=threshold,
        reference=reference,
        source=source,
    )
    known = Knowledge(accept_from=threshold if source is None else None, landmarks=landmarks)
    method = PAIR_ATTACKS[name].configured(section, goal, known)
    return ChosenAttack(method, ThreatModel(section.norm, section.epsilons[0]))
