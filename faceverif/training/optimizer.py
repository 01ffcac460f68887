"""The optimizer of a run, and which parameters weight decay spares."""

from __future__ import annotations

import torch
from torch import nn

from faceverif.backbones.lengthening import LengtheningNorm
from faceverif.config.optimisation import AdamConfig, OptimizerConfig, SGDConfig
from faceverif.heads import Head


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or AdamW, in PyTorch's fused form: one pass over the parameters a step.

    Biases, norms and PReLU slopes, which are vectors, do not decay: they scale or shift, and pulling them to
    zero regularises nothing. The scale of embeddings is an exception: see `LengtheningNorm`. A head may spare
    more of its own, or have them learn slower. What does not require a gradient is left out.

    Args:
        config: the section of the run.
        model: a network with its `objective`.
    """
    groups = [
        {"params": parameters, "weight_decay": config.weight_decay * decays, "factor": factor}
        for (decays, factor), parameters in _grouped(model, backbone_rate=config.backbone_rate).items()
    ]
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(
            groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov, fused=True
        )
    kind = torch.optim.Adam if isinstance(config, AdamConfig) else torch.optim.AdamW
    return kind(groups, lr=config.learning_rate, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """For all parameters, apart from their factors."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]


def _grouped(model: nn.Module, *, backbone_rate: float) -> dict[tuple[bool, float], list[nn.Parameter]]:
    """Parameters by whether they decay and how fast they learn."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for path, module in model.named_modules():
        head = module if isinstance(module, Head) else None
        rate = 1.0 if path.startswith("objective") else backbone_rate
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            decays = _decays(module, name, parameter)
            factor = head.learning_rate_factors.get(name, 1.0) if head is not None else rate
            groups.setdefault((decays, factor), []).append(parameter)
    return groups


def _decays(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    if isinstance(module, LengtheningNorm):
        return True
    return parameter.ndim >= 2 and not (isinstance(module, Head) and name in module.undecayed)
