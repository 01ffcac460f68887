"""Sums, maxima and gathered rows over the processes of a training; with one process, the tensor itself.

`torch.distributed.nn.functional` has them with gradients, but is deprecated, and what should replace it is
private.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed

# PyTorch renamed both in 2.14, and warns of the names that earlier versions have.
_NAMED = {
    "all_gather": getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor,
    "reduce_scatter": getattr(distributed, "reduce_scatter_single", None)
    or distributed.reduce_scatter_tensor,
}


def processes() -> int:
    """How many train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def own_rank() -> int:
    """Which of them this process is, from 0."""
    return distributed.get_rank() if processes() > 1 else 0


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes; its gradient is the sum of their gradients."""
    return tensor if processes() == 1 else cast(Tensor, _Total.apply(tensor))


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum over all processes, without a gradient."""
    return tensor if processes() == 1 else _summed(tensor)


def largest(tensor: Tensor) -> Tensor:
    """The elementwise maximum over all processes, without a gradient."""
    tensor = tensor.detach()
    if processes() > 1:
        tensor = tensor.clone()
        distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return tensor


def gathered(share: Tensor) -> Tensor:
    """The rows of all processes, by rank; the gradient of a row is the sum over all processes.

    Args:
        share: (n, ...), as many rows in every process.

    Returns:
        (processes * n, ...).
    """
    if processes() == 1:
        return share
    return cast(Tensor, _Gathered.apply(share)) if share.is_floating_point() else _all_rows(share)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _summed(tensor)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        return _all_rows(share)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = gradient.new_empty(len(gradient) // processes(), *gradient.shape[1:])
        _NAMED["reduce_scatter"](own, gradient.contiguous())
        return own


def _summed(tensor: Tensor) -> Tensor:
    result = tensor.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(result)
    return result


def _all_rows(share: Tensor) -> Tensor:
    rows = share.new_empty(processes() * len(share), *share.shape[1:])
    _NAMED["all_gather"](rows, share.detach().contiguous())
    return rows
