"""The length of a gradient of which each process holds a part, and its limit."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from faceverif.sharding.collectives import total


def clip_spread_gradients(network: nn.Module, spread: Collection[str], *, longest: float) -> Tensor:
    """Shorten the gradient to a length, and return the one that it had.

    Args:
        network: what is trained.
        spread: names of the parameters of which this process holds a part; all have the others alike.
        longest: infinity for no limit.
    """
    alike: list[Tensor] = []
    parts: list[Tensor] = []
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            (parts if name in spread else alike).append(parameter.grad)
    norm = (_square(alike) + total(_square(parts))).sqrt()
    torch.nn.utils.clip_grads_with_norm_(network.parameters(), longest, norm)
    return norm


def _square(gradients: list[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(gradients).square()
