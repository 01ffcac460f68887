"""What one step of a training measured, of a face model or of a classifier."""

from __future__ import annotations

import math
from typing import NamedTuple

from data_prep.errors import InputError


class StepFigures(NamedTuple):
    """What one step measured, over all processes.

    Attributes:
        loss: mean over the batch, penalties included.
        accuracy: share of images whose margin-free logits are highest at their own class.
        all_negative: share of images whose margin-free logits are negative for every class. Where logits are
            products, their embedding is opposite to all class weights (W-Softmax's second minimum).
        gradient_norm: before clipping, of this process's model (all have the same gradient).
        stop: one of the processes was asked to stop after this step.
        save: the first process wants a checkpoint after this step.
    """

    loss: float
    accuracy: float
    all_negative: float
    gradient_norm: float
    stop: bool = False
    save: bool = False

    def refuse_not_finite(self) -> None:
        """Stop before the weights are spoilt.

        Raises:
            InputError: loss or gradient is not finite.
        """
        if not (math.isfinite(self.loss) and math.isfinite(self.gradient_norm)):
            raise InputError(
                "training",
                "loss and gradient must stay finite",
                got=f"loss {self.loss}, gradient norm {self.gradient_norm}",
                fix="Lower optimizer.learning_rate or training.clip_norm, or raise schedule.warmup_epochs.",
            )
