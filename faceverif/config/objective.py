"""How a loss is put together in YAML: any head x any criterion x any set of penalties.

What makes no sense together is refused here, with the reason.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from faceverif.config.section import Count, NotNegative, Positive, Section, Share, broken_rule


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


CriterionConfig = Annotated[
    CrossEntropyConfig | FocalConfig | LabelSmoothingConfig | OnlineLabelSmoothingConfig | ImprovedConfig,
    Field(discriminator="name"),
]


class _PenaltySection(Section):
    """What all penalties share.

    Attributes:
        weight: what the penalty is multiplied with.
    """

    weight: Positive


class GSCConfig(_PenaltySection):
    """Gaussian score calibrating.

    Attributes:
        top_c: how many of the largest scores are looked at; 2 to 7 in the paper.
    """

    name: Literal["gsc"]
    top_c: Count = 2


class EntropyConfig(_PenaltySection):
    """Entropy of the scores."""

    name: Literal["entropy"]


class CenterConfig(_PenaltySection):
    """Center loss.

    Attributes:
        step: how fast the centers follow the embeddings.
    """

    name: Literal["center"]
    step: Annotated[float, Field(gt=0, le=1)] = 0.5


class SNRConfig(_PenaltySection):
    """Signal to noise ratio of the logits.

    Attributes:
        update: thresholds from the batch before, or from the epoch before.
        spread: standard deviations between a class's mean and its threshold.
        constraint_weight: lambda of the hinges.
        margin: of the hinges, in logits.
        smallest_snr: means on the wrong side of their threshold, or nearer to it, count as this SNR and are
            left to the hinges; 0 is the loss as printed, which few networks survive (docs/results/snr.md).
        detach: statistics of the batch that no gradient passes.
        memory: with update batch, share of the earlier batches' sums that thresholds keep; 0 in the paper.
        start_after_epochs: epochs of the criterion alone before the penalty is added.
    """

    name: Literal["snr"]
    update: Literal["batch", "epoch"]
    spread: NotNegative = 4.0
    constraint_weight: NotNegative = 0.1
    margin: NotNegative = 0.0
    smallest_snr: NotNegative = 0.1
    detach: Literal["nothing", "means", "variances"] = "nothing"
    memory: Annotated[float, Field(ge=0, lt=1)] = 0.0
    start_after_epochs: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _epochs_have_no_memory(self) -> SNRConfig:
        if self.memory and self.update == "epoch":
            raise broken_rule(
                "memory", "must be 0 with update epoch, which sums over all of it", got=self.memory
            )
        return self


class LikelihoodConfig(_PenaltySection):
    """L-GM's likelihood term; its weight is the paper's lambda."""

    name: Literal["likelihood"]


class MHEConfig(_PenaltySection):
    """Class weights pushed apart."""

    name: Literal["mhe"]


class TripletConfig(_PenaltySection):
    """Triplet loss.

    Attributes:
        margin: between distances of unit embeddings.
    """

    name: Literal["triplet"]
    margin: Positive = 0.2


class MarginConfig(_PenaltySection):
    """Margin loss with distance-weighted sampling.

    Attributes:
        margin: alpha of the paper.
        boundary: beta of the paper.
    """

    name: Literal["margin"]
    margin: Positive = 0.2
    boundary: Positive = 1.2


class NPairConfig(_PenaltySection):
    """N-pair loss."""

    name: Literal["n_pair"]


class ProxyNCAConfig(_PenaltySection):
    """ProxyNCA.

    Attributes:
        scale: of the squared distances.
    """

    name: Literal["proxy_nca"]
    scale: Positive = 3.0


class ContrastiveConfig(_PenaltySection):
    """Contrastive loss.

    Attributes:
        margin: distance up to which classes repel each other.
    """

    name: Literal["contrastive"]
    margin: Positive = 1.0


class DistillConfig(_PenaltySection):
    """Distance from the config's `teacher`: cosine, similarities and, where it names layers, hints.

    Attributes:
        pairwise: weight of the similarities within a batch, beside the cosine to the teacher's embedding.
        hints: weight of the mean over the layers with a hint.
    """

    name: Literal["distill"]
    pairwise: NotNegative = 1.0
    hints: NotNegative = 1.0


PenaltyConfig = Annotated[
    GSCConfig
    | EntropyConfig
    | CenterConfig
    | SNRConfig
    | LikelihoodConfig
    | MHEConfig
    | TripletConfig
    | MarginConfig
    | NPairConfig
    | ProxyNCAConfig
    | ContrastiveConfig
    | DistillConfig,
    Field(discriminator="name"),
]

# What reaches the backbone without the head.
_OF_EMBEDDINGS = {"triplet", "margin", "n_pair", "proxy_nca", "contrastive", "distill"}


class ObjectiveConfig(Section):
    """Head, criterion and penalties: what is minimised.

    Attributes:
        head: the class centres and the logits that they give.
        criterion: the loss of each sample, from its logits and label.
        penalties: terms that are added to the loss.
    """

    head: HeadConfig
    criterion: CriterionConfig = CrossEntropyConfig()
    penalties: tuple[PenaltyConfig, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> ObjectiveConfig:
        names = [penalty.name for penalty in self.penalties]
        if len(set(names)) != len(names):
            repeated = next(place for place, name in enumerate(names) if name in names[:place])
            rule = "must not stand twice among the penalties; add the weights"
            raise broken_rule(f"penalties.{repeated}.name", rule, got=names[repeated])
        for place, name in enumerate(names):
            reason = self._refusal(name)
            if reason:
                raise broken_rule(f"penalties.{place}.name", reason, got=f"{name} beside {self.head.name}")
        if self._probe and not names:
            rule = "leaves the backbone nothing to learn from but pair losses or distill: add one"
            raise broken_rule("head.probe", rule, got="true without penalties")
        return self

    @property
    def starts_from_data(self) -> bool:
        """Whether the head starts from the embeddings of a trained backbone."""
        return isinstance(self.head, LGMConfig) and self.head.means == "from_data"

    @property
    def _probe(self) -> bool:
        return isinstance(self.head, SoftmaxConfig) and self.head.probe

    def _refusal(self, penalty: str) -> str:
        """Why that penalty makes no sense beside the head; empty where it does."""
        lgm = self.head.name == "lgm"
        if penalty == "likelihood" and not lgm:
            return "likelihood needs the lgm head, since no other models densities; try center"
        if penalty == "center" and lgm:
            return "center doubles the likelihood of the lgm head; use likelihood"
        if penalty == "mhe" and lgm:
            return "mhe spreads directions of class weights, and the means of lgm are places"
        if penalty not in _OF_EMBEDDINGS and self._probe:
            return "only pair losses and distill reach the backbone with head.probe; leave the others out"
        return ""
