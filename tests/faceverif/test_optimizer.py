"""Optimizers: Adam with L2 in the gradient, literally, and what that means for a loss's scale."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from faceverif.backbones.iresnet import iresnet
from faceverif.config.optimisation import OptimizerConfig
from faceverif.criteria.improved import improved_loss
from faceverif.training.optimizer import build_optimizer

RATE, DECAY, STEPS = 0.01, 0.3, 4


def optimizer(model: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    config = TypeAdapter(OptimizerConfig).validate_python(settings)
    return build_optimizer(config, model)


def adam_oracle(weight: float, gradients: list[float], *, decay: float) -> float:
    """Kingma & Ba (2015), Algorithm 1, on the gradient of loss + decay / 2 |w|^2, for one number."""
    first = second = 0.0
    for step, gradient in enumerate(gradients, start=1):
        gradient += decay * weight
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9**step), second / (1 - 0.999**step)
        weight -= RATE * unbiased[0] / (math.sqrt(unbiased[1]) + 1e-8)
    return weight


def test_adam_adds_the_decay_to_the_gradient() -> None:
    layer = nn.Linear(1, 1).double()
    nn.init.constant_(layer.weight, 0.7)
    nn.init.constant_(layer.bias, -0.4)
    adam = optimizer(layer, name="adam", learning_rate=RATE, weight_decay=DECAY)
    gradients = [0.5, -0.2, 0.1, 0.4]
    for gradient in gradients:
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        adam.step()
    assert layer.weight.item() == pytest.approx(adam_oracle(0.7, gradients, decay=DECAY), rel=1e-9)
    assert layer.bias.item() == pytest.approx(adam_oracle(-0.4, gradients, decay=0.0), rel=1e-9)


def test_vectors_are_spared_but_for_the_length_of_embeddings() -> None:
    arguments = {"depth": 18, "width": 8, "stem_stride": 2, "shortcut": "subsampling", "dropout": 0.0}
    net = iresnet(**arguments, embedding_dim=16, input_px=32, last_norm="affine")
    built = optimizer(net, name="sgd", learning_rate=RATE, weight_decay=DECAY)
    named = {parameter: name for name, parameter in net.named_parameters()}
    decays = {named[each]: group["weight_decay"] for group in built.param_groups for each in group["params"]}
    vectors = {name for name, parameter in net.named_parameters() if parameter.ndim == 1}
    assert {name for name in vectors if decays[name]} == {"embed.3.weight", "embed.3.bias"}
    assert all(decays[name] == DECAY for name in decays.keys() - vectors)


def trained(gamma: float, *, name: str, clip_norm: float = math.inf) -> Tensor:
    """How far a layer's weights move under the improved loss in a few steps."""
    torch.manual_seed(0)
    layer, start = nn.Linear(6, 4), torch.empty(0)
    start = layer.weight.detach().clone()
    inputs, labels = torch.randn(32, 6), torch.randint(4, (32,))
    steps = optimizer(layer, name=name, learning_rate=RATE, weight_decay=0.5)
    for _ in range(STEPS):
        steps.zero_grad()
        improved_loss(layer(inputs), labels, beta=4.0, gamma=gamma).mean().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), clip_norm)
        steps.step()
    return layer.weight.detach() - start


@pytest.mark.parametrize(
    ("name", "clip_norm", "acts"),
    [("adamw", math.inf, False), ("adam", math.inf, True), ("adam", 1e-3, False)],
)
def test_gamma_acts_only_against_l2_decay(name: str, clip_norm: float, acts: bool) -> None:
    """Adam forgets a loss's scale; it counts beside L2 in the gradient, unless clipping removes it first."""
    low, high = (trained(gamma, name=name, clip_norm=clip_norm) for gamma in (3.0, 8.0))
    difference = ((high - low).norm() / low.norm()).item()
    assert (difference > 0.02) if acts else (difference < 1e-4)
