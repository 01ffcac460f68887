"""What an attacker who knows the detector keeps of everything that he meets on his way."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_FOOLED: Final = 1
_FOOLED_UNDETECTED: Final = 2


class BestMet:
    """For each image the best version met so far.

    That is what reaches the goal undetected; failing that, what reaches the goal with the lowest score;
    failing that, what comes closest.

    Args:
        images: (batch, C, H, W), what stands where nothing is better.
        threshold: of the detector: a score above is rejected.
    """

    def __init__(self, images: Tensor, threshold: float) -> None:
        self.images, self._threshold = images, threshold
        self._rank = torch.full((len(images),), -1, device=images.device)
        self._tie = torch.full((len(images),), torch.inf, device=images.device)

    @torch.no_grad()
    def meet(self, pixels: Tensor, *, fooled: Tensor, scores: Tensor, distance: Tensor) -> None:
        """Keep what is better than before: a higher rank, or the same with a lower tie-breaker.

        Args:
            pixels: (batch, C, H, W) versions.
            fooled: (batch,) bool, whether the goal is reached.
            scores: (batch,) of the detector.
            distance: (batch,) how far the goal is, lower = closer.
        """
        rank = fooled * torch.where(scores <= self._threshold, _FOOLED_UNDETECTED, _FOOLED)
        tie = torch.where(fooled, scores.to(self._tie.dtype), distance.to(self._tie.dtype))
        better = (rank > self._rank) | ((rank == self._rank) & (tie < self._tie))
        self.images = torch.where(better[:, None, None, None], pixels.detach(), self.images)
        self._rank, self._tie = torch.where(better, rank, self._rank), torch.where(better, tie, self._tie)
