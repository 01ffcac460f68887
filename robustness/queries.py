"""What a black-box attack may ask: counted image by image, and never more often than its budget."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Changed versions of some images, and which images of the batch they are -> the answer about each.
Answer = Callable[[Tensor, Tensor], Tensor]


class QueryCount:
    """How often a model was asked about each image of a batch.

    Attributes:
        used: (batch,) int64; None where no attack counted.
    """

    def __init__(self) -> None:
        self.used: Tensor | None = None

    def limited(self, answer: Answer, *, images: int, budget: int) -> Answer:
        """The same answers, each counted; the count starts anew.

        Args:
            answer: (n, C, H, W) versions and (n,) positions in the batch, no position twice -> (n,).
            images: in the batch.
            budget: answers to each image, at most.

        Returns:
            what raises a RuntimeError instead of an answer beyond the budget.
        """
        used = torch.zeros(images, dtype=torch.int64)
        self.used = used

        def ask(versions: Tensor, which: Tensor) -> Tensor:
            there = which.cpu()
            if (used[there] >= budget).any():
                raise RuntimeError(f"an attack asked more often than its budget of {budget}")
            used[there] += 1
            with torch.no_grad():
                return answer(versions, which)

        return ask
