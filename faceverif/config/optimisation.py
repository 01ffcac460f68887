"""The sections of a config that say how parameters are updated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceverif.config.section import NotNegative, Positive, Section


class _OptimizerSection(Section):
    """What all optimizers share.

    Attributes:
        learning_rate: at its highest; the schedule lowers it.
        backbone_rate: times that, for all but head and penalties. Fine-tuning takes 0.1 or less: a trained
            backbone must not run after a head that is new.
    """

    learning_rate: Positive
    backbone_rate: Positive = 1.0


class SGDConfig(_OptimizerSection):
    """Stochastic gradient descent; weight decay spares biases, norms and PReLU slopes.

    Attributes:
        momentum: share of the last update that is kept.
        nesterov: look ahead along the momentum.
        weight_decay: share of the weights that is subtracted, times the learning rate.
    """

    name: Literal["sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 5e-4

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGDConfig:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class AdamConfig(_OptimizerSection):
    """Adam with weight decay as L2 in the gradient; it spares biases, norms and PReLU slopes.

    Adam divides by the gradient's size, and so the decay of a weight depends on how large its gradient is: a
    loss that is scaled up decays less. Gradient clipping sets the size before the decay is added, so with it
    the scale of the loss changes nothing.

    Attributes:
        weight_decay: what is added to the gradient, as a share of the weights.
    """

    name: Literal["adam"]
    weight_decay: NotNegative = 5e-4


class AdamWConfig(_OptimizerSection):
    """AdamW: weights decay by themselves, whatever the gradient; biases, norms and PReLU slopes do not.

    Attributes:
        weight_decay: share of the weights that is subtracted, times the learning rate.
    """

    name: Literal["adamw"]
    weight_decay: NotNegative = 0.05


OptimizerConfig = Annotated[SGDConfig | AdamConfig | AdamWConfig, Field(discriminator="name")]


class _ScheduleSection(Section):
    """What all schedules share.

    Attributes:
        warmup_epochs: over which the learning rate grows from nothing; fractions too.
        margin_warmup_epochs: over which the margin grows from nothing; fractions too.
    """

    warmup_epochs: NotNegative = 0.0
    margin_warmup_epochs: NotNegative = 0.0


class StepConfig(_ScheduleSection):
    """The learning rate is multiplied by `factor` at each of the epochs.

    Attributes:
        at_epochs: where it changes; fractions too.
        factor: what it is multiplied by.
    """

    name: Literal["step"]
    at_epochs: tuple[Positive, ...]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1


class PolynomialConfig(_ScheduleSection):
    """The learning rate falls to zero as (1 - progress) ^ power.

    Attributes:
        power: the exponent; 1 is a straight line.
    """

    name: Literal["polynomial"]
    power: Positive = 2.0


class CosineConfig(_ScheduleSection):
    """The learning rate falls to zero along half a cosine."""

    name: Literal["cosine"]


ScheduleConfig = Annotated[StepConfig | PolynomialConfig | CosineConfig, Field(discriminator="name")]
