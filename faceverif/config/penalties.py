"""The sections of the penalties."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceverif.config.section import Count, NotNegative, Positive, Section, broken_rule


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


class MagnitudeConfig(_PenaltySection):
    """MagFace's regulariser of the embeddings' lengths; its weight is the paper's lambda_g."""

    name: Literal["magnitude"]


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
    | MagnitudeConfig
    | MHEConfig
    | TripletConfig
    | MarginConfig
    | NPairConfig
    | ProxyNCAConfig
    | ContrastiveConfig
    | DistillConfig,
    Field(discriminator="name"),
]
