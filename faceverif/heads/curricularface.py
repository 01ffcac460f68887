"""CurricularFace: hard negative classes count little at first, and more as training goes on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from faceverif.heads.angular import AngularHead, replace_true_class
from faceverif.heads.arcface import require_margin_rad, turned_cosine
from faceverif.heads.base import HeadOutput
from faceverif.sharding.collectives import sum_over_processes
from faceverif.sharding.own_class import OwnClass

# alpha of the running mean. The paper prints 0.99; the authors say that their code is right (their issue 8).
_SHARE_OF_NEWEST = 0.01


def modulated(logits: Tensor, own: Tensor, stage: Tensor, *, scale: float) -> Tensor:
    """N(t, cos(theta_j)) of logits with the margin: s cos(theta_j) (t + cos(theta_j)) for the hard classes.

    Huang et al., "CurricularFace" (2020), Sec. 3.2: a class j is hard for a sample where cos(theta_j) exceeds
    the true class's cosine with its margin. With t = 0 a hard class counts less than in ArcFace, from
    t + cos(theta_j) = 1 on it counts more.

    Args:
        logits: (batch, classes), scaled cosines, with the margin at the true class.
        own: (batch,), those of the true classes, wherever they are held; without a gradient.
        stage: t, a single number.
        scale: s.

    Returns:
        (batch, classes): z (t + z / s) for logits z above those of the own class, the others as they are.
    """
    changed: Tensor = _Modulated.apply(logits, own, stage, scale)
    return changed


class _Modulated(torch.autograd.Function):
    """By hand, since autograd would keep two matrices of (batch, classes) more."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, own: Tensor, stage: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(logits, own, stage)
        ctx.scale = scale
        changed = (logits / scale).add_(stage).mul_(logits)
        return torch.where(logits > own[:, None], changed, logits)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        logits, own, stage = ctx.saved_tensors
        slope = (logits * (2.0 / ctx.scale)).add_(stage)
        return torch.where(logits > own[:, None], slope.mul_(gradient), gradient), None, None, None


class CurricularFaceHead(AngularHead):
    """s cos(theta_y + m) at the true class, s N(t, cos(theta_j)) elsewhere; see `modulated` for N.

    Huang et al., "CurricularFace" (2020), Sec. 3.2. Where no class is hard, these are ArcFace's logits. The
    margin beyond theta + m > pi is that of `turned_cosine` here, also for what is hard; the authors' code
    compares with cos(theta + m) there.

    t begins at 0. Each batch moves it by a hundredth towards the mean cosine with the own classes, before it
    is compared, as in the authors' code. The mean is of the batch of all processes; DDP alone would take one
    process's share. With training.accumulate above 1 each part of a batch moves it. Margin warm-up lets the
    margin grow; the curriculum is there from the first step.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s.
        margin_rad: m in [0, pi / 2], in radians; it may grow in training.

    Attributes:
        stage: t.
    """

    stage: Tensor

    def __init__(self, *, classes: int, embedding_dim: int, scale: float, margin_rad: float) -> None:
        require_margin_rad(margin_rad)
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=margin_rad)
        self.register_buffer("stage", torch.zeros(()))

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """cos(theta_y + m)."""
        return turned_cosine(cosine, margin_rad=self.margin_now)

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Scaled cosines without and with margin and curriculum."""
        lowered, own = self.with_margin(embeddings, labels)
        at = OwnClass.among(labels, lowered.shape[1])
        if self.training:
            self._advance(own / self.scale, at)
        # A class that another process holds has a logit of zero here.
        own_lowered = self.over_processes(at.of(lowered.detach()))
        logits = modulated(lowered, own_lowered, self.stage, scale=self.scale)
        return HeadOutput(logits, lambda: replace_true_class(lowered, labels, own))

    def _advance(self, own_cosines: Tensor, at: OwnClass) -> None:
        """Move t; where classes are spread, each process adds the samples of its own."""
        total, count = sum_over_processes(torch.stack((own_cosines.sum(), at.here.sum().to(own_cosines))))
        share = _SHARE_OF_NEWEST * (count > 0).to(self.stage)
        # A new tensor: the old one may be part of a graph still to be differentiated.
        self.stage = self.stage.lerp(total / count.clamp_min(1.0), share)
