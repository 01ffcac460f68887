"""The best class weights of W-Softmax, by construction."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def simplex_weights(classes: int) -> Tensor:
    """The optimal class weights in the fewest dimensions: unit vectors, every angle the same.

    Li & Wang (2020), Eq. 3; their dot products are -1 / (C - 1), Eq. 4. No fewer than C - 1 dimensions hold
    C such vectors, which is the paper's smallest useful number of fully connected units.
    """
    columns = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    for count in range(3, classes + 1):
        shrunk = columns * math.sqrt(1.0 - 1.0 / (count - 1) ** 2)
        top = torch.cat([shrunk, torch.zeros(count - 2, 1, dtype=torch.float64)], dim=1)
        bottom = torch.full((1, count), -1.0 / (count - 1), dtype=torch.float64)
        bottom[0, -1] = 1.0
        columns = torch.cat([top, bottom])
    return columns.T.contiguous()
