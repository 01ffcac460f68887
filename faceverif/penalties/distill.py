"""Distillation: embeddings, their similarities and inner features that equal a teacher's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.penalties.base import EmbeddedBatch, Penalty


def cosine_gap(embeddings: Tensor, teacher: Tensor) -> Tensor:
    """1 - cos of each embedding and the teacher's, (batch,), of (batch, dim) of any norm."""
    return 1.0 - F.cosine_similarity(embeddings, teacher, dim=1)


def similarity_gap(embeddings: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of each photo's cosines to the others and the teacher's cosines.

    Park et al., "Relational Knowledge Distillation" (2019), with cosines as the relation: what a verification
    compares are similarities, which survive a common rotation of all embeddings.

    Args:
        embeddings: (batch, dim), any norm.
        teacher: (batch, dim of the teacher), likewise.

    Returns:
        (batch,); zeros for a batch of one.
    """
    ours, theirs = (F.normalize(each, dim=1) for each in (embeddings, teacher))
    gap = (ours @ ours.T - theirs @ theirs.T).square()
    return (gap.sum(dim=1) - gap.diagonal()) / max(1, len(gap) - 1)


def feature_gap(features: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of each photo's features and the teacher's, in shares of their variance.

    Romero et al., "FitNets" (2015), Eq. 3, without a regressor, since the shapes agree. The variance over
    the batch makes layers of different scales count alike: 1 is what the mean feature would give.

    Args:
        features: (batch, ...).
        teacher: of the same shape.

    Returns:
        (batch,).
    """
    teacher = teacher.float()
    gap = (features.float() - teacher).square().flatten(1).mean(dim=1)
    return gap / teacher.var().clamp_min(torch.finfo(torch.float32).tiny)


class Distill(Penalty):
    """Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), for embeddings.

    Args:
        pairwise: weight of `similarity_gap` beside `cosine_gap`.
        hints: weight of the mean `feature_gap` over the layers with a hint.
    """

    sees_classes = False

    def __init__(self, *, pairwise: float, hints: float) -> None:
        super().__init__()
        self.pairwise, self.hints = pairwise, hints

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """(batch,).

        Raises:
            InputError: no teacher saw the batch.
        """
        lesson = batch.lesson
        if lesson is None:
            raise InputError(
                "penalties.distill",
                "needs a teacher",
                got="none",
                fix="Name one in the config's section `teacher`.",
            )
        # Mixed precision has rounded the teacher's embeddings; their similarities need more digits.
        teacher = lesson.embeddings.to(batch.embeddings.dtype)
        gap = cosine_gap(batch.embeddings, teacher)
        if self.pairwise:
            gap = gap + self.pairwise * similarity_gap(batch.embeddings, teacher)
        if lesson.features:
            gap = gap + self.hints * torch.stack([feature_gap(*pair) for pair in lesson.features]).mean(dim=0)
        return gap
