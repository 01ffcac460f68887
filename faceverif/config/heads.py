"""The sections of the heads."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from faceverif.config.section import Count, NotNegative, Positive, Section, broken_rule

_MarginRad = Annotated[float, Field(ge=0, le=math.pi / 2)]


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
    margin_rad: _MarginRad = 0.5


class AdaFaceConfig(Section):
    """A margin on angle and cosine, shared out by how long an embedding is among those of recent batches.

    Attributes:
        scale: factor of the cosines.
        margin: m of the paper.
        h: how fast the margin's form changes with the length; 0 is CosFace.
        step: share of the newest batch in the running mean and deviation of the lengths.
    """

    name: Literal["adaface"]
    scale: Positive = 64.0
    margin: _MarginRad = 0.4
    h: NotNegative = 0.333
    step: Annotated[float, Field(gt=0, le=1)] = 0.01


class MagFaceConfig(Section):
    """A margin on the angle that grows with the embedding's length; the penalty magnitude belongs to it.

    Attributes:
        scale: factor of the cosines.
        lower_norm: length of an embedding from which the margin grows; choose it below the shortest that the
            backbone gives.
        upper_norm: length up to which the margin grows; choose it above the longest that the backbone gives.
        lower_margin_rad: the margin at `lower_norm` and below it, in radians.
        upper_margin_rad: the margin at `upper_norm` and above it, in radians.
    """

    name: Literal["magface"]
    scale: Positive = 64.0
    lower_norm: Positive = 10.0
    upper_norm: Positive = 110.0
    lower_margin_rad: _MarginRad = 0.45
    upper_margin_rad: _MarginRad = 0.8

    @model_validator(mode="after")
    def _grows(self) -> MagFaceConfig:
        if not self.upper_norm > self.lower_norm:
            rule = f"must be above lower_norm, {self.lower_norm:g}"
            raise broken_rule("upper_norm", rule, got=self.upper_norm)
        if self.upper_margin_rad < self.lower_margin_rad:
            rule = f"must be at least lower_margin_rad, {self.lower_margin_rad:g}"
            raise broken_rule("upper_margin_rad", rule, got=self.upper_margin_rad)
        return self


class CurricularFaceConfig(Section):
    """ArcFace's margin; hard negative classes count little at first, and more as training goes on.

    Attributes:
        scale: factor of the cosines.
        margin_rad: what the true class's angle is widened by, in radians.
    """

    name: Literal["curricularface"]
    scale: Positive = 64.0
    margin_rad: _MarginRad = 0.5


class _ElasticSection(Section):
    """Heads that draw a margin for every sample.

    Attributes:
        scale: factor of the cosines.
        spread: standard deviation of the margins.
        assign: to the samples at random, or by_angle: the larger margins of a batch to the samples that are
            farther from their class (ElasticFace+).
    """

    scale: Positive = 64.0
    spread: NotNegative = 0.05
    assign: Literal["random", "by_angle"] = "random"


class ElasticArcFaceConfig(_ElasticSection):
    """ElasticFace-Arc: ArcFace with a margin drawn for every sample.

    Attributes:
        margin_rad: mean of the margins, in radians.
    """

    name: Literal["elastic_arcface"]
    margin_rad: _MarginRad = 0.5


class ElasticCosFaceConfig(_ElasticSection):
    """ElasticFace-Cos: CosFace with a margin drawn for every sample.

    Attributes:
        margin: mean of the margins.
    """

    name: Literal["elastic_cosface"]
    margin: Annotated[float, Field(ge=0, le=2)] = 0.35


class SubcenterArcFaceConfig(Section):
    """ArcFace with several centres for a class, of which the nearest one counts.

    Attributes:
        scale: factor of the cosines.
        margin_rad: what the angle with the true class's nearest centre is widened by, in radians.
        centres_per_class: how many; time and memory of the head grow with it.
    """

    name: Literal["subcenter_arcface"]
    scale: Positive = 64.0
    margin_rad: _MarginRad = 0.5
    centres_per_class: Count = 3


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
            matrix for all classes (shared). Training holds variances per class between e^-4 and e^4.
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
    | AdaFaceConfig
    | MagFaceConfig
    | CurricularFaceConfig
    | ElasticArcFaceConfig
    | ElasticCosFaceConfig
    | SubcenterArcFaceConfig
    | SphereFaceConfig
    | LSoftmaxConfig
    | WSoftmaxConfig
    | LGMConfig,
    Field(discriminator="name"),
]
