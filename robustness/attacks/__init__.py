"""Attacks on classifiers, and on pairs of faces. A new one is a file here, its section, and a test."""

from __future__ import annotations

from robustness.attacks.base import Attack, AttackResult
from robustness.attacks.pairs import PairAttack, PairAttackResult
from robustness.attacks.registry import import_all, registry
from robustness.config.attacks import AttackConfig, PairAttackConfig

import_all()

ATTACKS: dict[str, type[Attack]] = registry(Attack, AttackConfig)
PAIR_ATTACKS: dict[str, type[PairAttack]] = registry(PairAttack, PairAttackConfig)

__all__ = ["ATTACKS", "PAIR_ATTACKS", "Attack", "AttackResult", "PairAttack", "PairAttackResult"]
