"""Criteria: margin logits and labels -> a loss per sample. A new one is a file, a line here and a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from faceverif.criteria.cross_entropy import cross_entropy

if TYPE_CHECKING:
    from faceverif.config import CriterionConfig

Criterion = Callable[[Tensor, Tensor], Tensor]

CRITERIA: dict[str, Criterion] = {"cross_entropy": cross_entropy}


def build_criterion(config: CriterionConfig) -> Criterion:
    """The criterion that a config describes: (batch, classes), (batch,) -> (batch,)."""
    return CRITERIA[config.name]


__all__ = ["CRITERIA", "Criterion", "build_criterion"]
