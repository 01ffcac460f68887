"""Attacks on classifiers, and on pairs of faces. A new one is a file, its line here, and a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustness.attacks.adaptive import Adaptive
from robustness.attacks.base import Attack, AttackResult
from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.attacks.deepfool import DeepFool
from robustness.attacks.feature_matching import FeatureMatching
from robustness.attacks.fgsm import FGSM
from robustness.attacks.pair_adaptive import PairAdaptive
from robustness.attacks.pair_pgd import PairFGSM, PairPGD
from robustness.attacks.pair_transfer import PairTransfer
from robustness.attacks.pairs import PairAttack, PairAttackResult, PairGoal
from robustness.attacks.pgd import PGD
from robustness.attacks.registry import registry, union_of
from robustness.attacks.section import AttackSection
from robustness.attacks.square import Square
from robustness.attacks.targeted_fgsm import TargetedFGSM
from robustness.attacks.transfer import Transfer

ATTACKS: dict[str, type[Attack]] = registry(
    FGSM,
    TargetedFGSM,
    PGD,
    DeepFool,
    CarliniWagner,
    Square,
    Transfer,
    FeatureMatching,
    Adaptive,
)

PAIR_ATTACKS: dict[str, type[PairAttack]] = registry(PairFGSM, PairPGD, PairTransfer, PairAdaptive)

if TYPE_CHECKING:
    AttackConfig = AttackSection
    PairAttackConfig = AttackSection
else:
    AttackConfig = union_of(ATTACKS)
    PairAttackConfig = union_of(PAIR_ATTACKS)

__all__ = [
    "ATTACKS",
    "PAIR_ATTACKS",
    "Attack",
    "AttackConfig",
    "AttackResult",
    "AttackSection",
    "PairAttack",
    "PairAttackConfig",
    "PairAttackResult",
    "PairGoal",
]
