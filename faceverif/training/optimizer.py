"""The optimizer of a run, and which parameters weight decay spares."""

from __future__ import annotations

import torch
from torch import nn

from faceverif.config import OptimizerConfig, SGDConfig


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, in PyTorch's fused form: one pass over the parameters a step.

    Biases, norms and PReLU slopes, which are vectors, do not decay: they scale or shift, and pulling them to
    zero regularises nothing.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """The same for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
