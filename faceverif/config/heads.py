"""The sections of the heads."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from faceverif.config.section import NotNegative, Positive, Section


class SoftmaxConfig(Section):
    """A linear classifier.

    Attributes:
        probe: the head learns, but the backbone does not learn from it: a classifier beside pair
            losses or a teacher.
    """

    name: Literal["softmax"]
    probe: bool = False


class NormalisedSoftmaxConfig(Section):
    """Scaled cosines.

    Attributes:
        scale: factor of the cosines.
    """

    name: Literal["normalised_softmax"]
    scale: Positive = 30.0


class CosFaceConfig(Section):
    """Scaled cosines, a margin on the true class's cosine.

    Attributes:
        scale: factor of the cosines.
        margin: what the true class's cosine is lowered by.
    """

    name: Literal["cosface"]
    scale: Positive = 30.0
    margin: Annotated[float, Field(ge=0, le=2)] = 0.35


class ArcFaceConfig(Section):
    """Scaled cosines, a margin on the true class's angle.

    Attributes:
        scale: factor of the cosines.
        margin_rad: what the true class's angle is widened by, in radians.
    """

    name: Literal["arcface"]
    scale: Positive = 30.0
    margin_rad: Annotated[float, Field(ge=0, le=math.pi / 2)] = 0.5


class _MultipliedAngleSection(Section):
    """Heads that multiply the angle.

    Attributes:
        margin: factor of the angle.
        smallest_lambda: weight of the plain cosine at the end.
    """

    margin: Annotated[int, Field(ge=1, le=4)] = 4
    smallest_lambda: NotNegative = 5.0


class SphereFaceConfig(_MultipliedAngleSection):
    """A-Softmax: the true class's angle multiplied, unit class weights."""

    name: Literal["sphereface"]


class LSoftmaxConfig(_MultipliedAngleSection):
    """L-Softmax: the true class's angle multiplied, class weights of any length."""

    name: Literal["lsoftmax"]


class WSoftmaxConfig(Section):
    """Negative class weights pulled towards the true one.

    Attributes:
        alpha: the pull; 0.5, 1 and 1.5 in the paper.
    """

    name: Literal["wsoftmax"]
    alpha: NotNegative = 1.0

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, settings: Any) -> Any:
        """Runs of earlier versions hold a switch that the right networks made needless; it was off."""
        if isinstance(settings, dict) and settings.get("only_raises") is False:
            return {key: value for key, value in settings.items() if key != "only_raises"}
        return settings


class LGMConfig(Section):
    """A Gaussian for every class.

    Attributes:
        alpha: margin, in shares of the distance to the own mean; 1 for MNIST, 0.01 for faces in the paper.
        covariance: identity, or learned per class (isotropic), or per class and dimension (diagonal), or one
            matrix for all classes (shared).
        means: random, or from_data: they start at the class means, and the covariance at that within the
            classes, of the embeddings of training.start_from.
        spread: standard deviation from which random means are drawn; for faces 1 / sqrt(embedding_dim).
        means_rate: how many times faster than the rest the means learn; more where classes are many.
    """

    name: Literal["lgm"]
    alpha: NotNegative
    covariance: Literal["identity", "isotropic", "diagonal", "shared"] = "identity"
    means: Literal["random", "from_data"] = "random"
    spread: Positive = 1.0
    means_rate: Positive = 1.0


HeadConfig = Annotated[
    SoftmaxConfig
    | NormalisedSoftmaxConfig
    | CosFaceConfig
    | ArcFaceConfig
    | SphereFaceConfig
    | LSoftmaxConfig
    | WSoftmaxConfig
    | LGMConfig,
    Field(discriminator="name"),
]
