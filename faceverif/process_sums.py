"""What the processes of one training share beyond their gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum over all processes of a training; the tensor itself where there is one. Without a gradient."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    total = tensor.detach().clone()
    torch.distributed.all_reduce(total)
    return total
