"""AdaFace: a margin whose form follows the length of the embedding among those of recent batches."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.checked_tensors import require_not_negative
from faceverif.heads.angular import AngularHead
from faceverif.heads.arcface import require_margin_rad, sine_of, turned_cosine
from faceverif.sharding.collectives import sum_over_processes

# What the authors add to the standard deviation before they divide by it.
_SMALLEST_DEVIATION = 1e-3
# Where the running statistics of the lengths begin in the authors' code.
_FIRST_MEAN, _FIRST_DEVIATION = 20.0, 100.0


def image_quality(norms: Tensor, *, mean: Tensor | float, deviation: Tensor | float, h: float) -> Tensor:
    """clip(h (|z| - mean) / deviation, -1, 1), AdaFace's indicator of an image's quality, without a gradient.

    Kim et al., "AdaFace" (2022), Sec. 3.3. With h = 1/3 the bounds are three deviations from the mean.

    Args:
        norms: |z|, the lengths of the raw embeddings, (batch,).
        mean: of the lengths.
        deviation: their standard deviation, >= 0; 1e-3 is added to it.
        h: concentration, >= 0.

    Returns:
        (batch,), in [-1, 1].
    """
    return (h * (norms.detach() - mean) / (deviation + _SMALLEST_DEVIATION)).clamp(-1.0, 1.0)


def adapted_cosine(cosine: Tensor, quality: Tensor, *, margin: float) -> Tensor:
    """cos(theta + g_angle) - g_add, with g_angle = -m q and g_add = m q + m.

    Kim et al., "AdaFace" (2022), Sec. 3.3: ArcFace for the worst quality -1, CosFace for 0. The authors' code
    clips theta + g_angle to [1e-3, pi - 1e-3], and the cosines of all classes to 1 - 1e-3 before, where they
    lose their gradient. Here an angle below 0 counts as 0, as there; beyond pi see `turned_cosine`.

    Args:
        cosine: cos(theta), (batch,).
        quality: q in [-1, 1], (batch,).
        margin: m in [0, pi / 2].
    """
    angle = -margin * quality
    turned_away = turned_cosine(cosine, margin_rad=angle.clamp_min(0.0))
    turned_towards = cosine * angle.cos() - sine_of(cosine) * angle.sin()
    turned_towards = torch.where(cosine < angle.cos(), turned_towards, 1.0)
    return torch.where(angle < 0, turned_towards, turned_away) - margin * (1.0 + quality)


class AdaFaceHead(AngularHead):
    """s (cos(theta_y + g_angle) - g_add) at the true class, s cos(theta_j) elsewhere.

    Kim et al., "AdaFace" (2022), Sec. 3.3: see `adapted_cosine`, and `image_quality` by the running mean and
    standard deviation of the embeddings' lengths. These begin at 20 and 100, as in the authors' code, so
    every sample counts as of middle quality at first. The standard deviation is that of a sample (n - 1); a
    batch of one photo has 0 there, where the authors' code would give NaN from then on. The lengths are not
    clipped to [1e-3, 100] as in their code: a backbone with longer embeddings would have one quality for all.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s.
        margin: m, in [0, pi / 2]; it may grow in training.
        h: concentration of the quality, >= 0; 0 is CosFace.
        step: share of the newest batch in the running statistics, in (0, 1]. The authors' command line has
            0.01, their head alone 1, and the paper prints 0.99 (their issue 155). With training.accumulate
            above 1 each part of a batch is one.

    Attributes:
        mean, deviation: of the lengths, running.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, *, classes: int, embedding_dim: int, scale: float, margin: float, h: float, step: float
    ) -> None:
        require_margin_rad(margin, name="margin")
        require_not_negative("h", h)
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=margin)
        self.h, self.step = h, step
        self.register_buffer("mean", torch.tensor(_FIRST_MEAN))
        self.register_buffer("deviation", torch.tensor(_FIRST_DEVIATION))

    def observe(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the statistics towards those of the batch of all processes, before it is compared."""
        norms = torch.linalg.vector_norm(embeddings, dim=1)
        # From the running mean, or sums of squares would cancel; not every device has float64.
        norms = norms.to(torch.promote_types(norms.dtype, torch.float32)) - self.mean
        sums = torch.stack((torch.ones_like(norms), norms, norms.square())).sum(dim=1)
        count, total, squares = sum_over_processes(sums)
        offset = total / count.clamp_min(1.0)
        variance = (squares - total * offset).clamp_min(0.0) / (count - 1.0).clamp_min(1.0)
        step = self.step * (count > 0).to(self.mean)
        self.mean = self.mean + step * offset.to(self.mean)
        self.deviation = self.deviation.lerp(variance.sqrt().to(self.mean), step)

    def quality(self, norms: Tensor) -> Tensor:
        """(batch,) `image_quality` of lengths, (batch,), by the running statistics."""
        return image_quality(norms, mean=self.mean, deviation=self.deviation, h=self.h)

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """cos(theta_y + g_angle) - g_add, both of the image's quality."""
        return adapted_cosine(cosine, self.quality(norms), margin=self.margin_now)
