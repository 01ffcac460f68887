"""An attack on a single pair, built from its section: for the Python interface and the command."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks import PAIR_ATTACKS, PairAttack
from robustness.attacks.knowledge import Knowledge
from robustness.config.chosen import AttackRequest


class ChosenAttack(NamedTuple):
    """An attack and what it may change."""

    method: PairAttack
    threat: ThreatModel


def choose_attack(request: AttackRequest, *, landmarks: NDArray[np.float64] | None) -> ChosenAttack:
    """The attack that was asked for.

    Args:
        request: its threshold is not told to an attack on sources: it is of the model that judges.
        landmarks: (5, 2) of the face in the picture that is changed; None: not known.

    Raises:
        InputError: as by `AttackRequest.section`, or a patch where the landmarks are not known.
    """
    section = request.section()
    known = Knowledge(accept_from=request.threshold if request.source is None else None, landmarks=landmarks)
    method = PAIR_ATTACKS[request.name].configured(section, request.goal, known)
    return ChosenAttack(method, ThreatModel(section.norm, section.epsilons[0]))
