"""The sections of the criteria."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from faceverif.config.section import NotNegative, Section, Share


class CrossEntropyConfig(Section):
    """Cross entropy."""

    name: Literal["cross_entropy"] = "cross_entropy"


class FocalConfig(Section):
    """Cross entropy with less weight on what is already right.

    Attributes:
        gamma: how fast that weight falls.
    """

    name: Literal["focal"]
    gamma: NotNegative = 2.0


class LabelSmoothingConfig(Section):
    """A share of every label is spread over all classes.

    Attributes:
        smoothing: that share.
    """

    name: Literal["label_smoothing"]
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1


class OnlineLabelSmoothingConfig(Section):
    """Soft labels from the last epoch's right predictions.

    Attributes:
        hard: share of the one-hot label.
    """

    name: Literal["online_label_smoothing"]
    hard: Share = 0.5


class ImprovedConfig(Section):
    """Cross entropy weighted by a second softmax.

    Attributes:
        beta: how sharply easy samples lose their weight.
        gamma: the loss is scaled with exp(gamma), which float32 holds up to 50 with room to spare. It acts
            under SGD, and under Adam with L2 decay and without training.clip_norm; AdamW ignores it.
    """

    name: Literal["improved"]
    beta: NotNegative = 4.0
    gamma: Annotated[float, Field(le=50)] = 5.0


class UnifiedCrossEntropyConfig(Section):
    """UniFace: one learned threshold between the logits of true classes and all others."""

    name: Literal["unified_cross_entropy"]


CriterionConfig = Annotated[
    CrossEntropyConfig
    | FocalConfig
    | LabelSmoothingConfig
    | OnlineLabelSmoothingConfig
    | ImprovedConfig
    | UnifiedCrossEntropyConfig,
    Field(discriminator="name"),
]
