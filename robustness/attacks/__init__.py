"""Attacks on classifiers, and on pairs of faces. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from robustness.attacks.adaptive import Adaptive
from robustness.attacks.adaptive_pairs import AdaptivePairAttack
from robustness.attacks.base import Attack, AttackResult
from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.attacks.deepfool import DeepFool
from robustness.attacks.feature_matching import FeatureMatching
from robustness.attacks.fgsm import FGSM
from robustness.attacks.pairs import PairAttack, PairAttackResult, PairGoal
from robustness.attacks.pgd import PGD
from robustness.attacks.square import Square
from robustness.attacks.targeted_fgsm import TargetedFGSM
from robustness.attacks.transfer import Transfer

# What each is built from beyond its settings: transfer an attack and a source, adaptive a fitted detector and
# its threshold, feature_matching guides.
ATTACKS: dict[str, Callable[..., Attack]] = {
    "fgsm": FGSM,
    "targeted_fgsm": TargetedFGSM,
    "pgd": PGD,
    "deepfool": DeepFool,
    "carlini_wagner": CarliniWagner,
    "square": Square,
    "transfer": Transfer,
    "adaptive": Adaptive,
    "feature_matching": FeatureMatching,
}

__all__ = [
    "ATTACKS",
    "AdaptivePairAttack",
    "Attack",
    "AttackResult",
    "PairAttack",
    "PairAttackResult",
    "PairGoal",
]
