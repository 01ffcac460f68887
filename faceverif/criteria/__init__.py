"""Criteria: margin logits and labels -> a loss per sample. A new one is a file, a line here and a config."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING

from faceverif.criteria.base import Criterion
from faceverif.criteria.cross_entropy import CrossEntropy
from faceverif.criteria.focal import FocalLoss
from faceverif.criteria.improved import ImprovedLoss
from faceverif.criteria.label_smoothing import LabelSmoothing
from faceverif.criteria.online_label_smoothing import OnlineLabelSmoothing
from faceverif.criteria.unified_cross_entropy import UnifiedCrossEntropy

if TYPE_CHECKING:
    from faceverif.config.criteria import CriterionConfig

CRITERIA: dict[str, Callable[..., Criterion]] = {
    "cross_entropy": CrossEntropy,
    "focal": FocalLoss,
    "label_smoothing": LabelSmoothing,
    "online_label_smoothing": OnlineLabelSmoothing,
    "improved": ImprovedLoss,
    "unified_cross_entropy": UnifiedCrossEntropy,
}


def build_criterion(config: CriterionConfig, *, classes: int) -> Criterion:
    """The criterion that a config describes."""
    build = CRITERIA[config.name]
    sizes = {"classes": classes} if "classes" in signature(build).parameters else {}
    return build(**sizes, **config.model_dump(exclude={"name"}))


__all__ = ["CRITERIA", "Criterion", "build_criterion"]
