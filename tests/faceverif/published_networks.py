"""Forward passes of other people's networks, as published, on tensors under the names of their files.

They are written from the architectures, layer by layer, and share nothing with our backbones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}
WIDTHS = (64, 128, 256, 512)


def as_fed(
    crops: np.ndarray[Any, Any], *, bgr: bool = False, mean: float = 127.5, std: float = 127.5
) -> Tensor:
    """Crops, (N, side, side, 3) RGB, as such a network takes them."""
    pixels = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - mean) / std
    return pixels.flip(1) if bgr else pixels


class Weights:
    """Draws the tensors of a network while its layers are named."""

    def __init__(self, seed: int) -> None:
        self.state: dict[str, Tensor] = {}
        self._generator = torch.Generator().manual_seed(seed)

    def _uniform(self, *shape: int, low: float = 0.5, high: float = 1.5) -> Tensor:
        return torch.rand(*shape, generator=self._generator) * (high - low) + low

    def convolution(self, key: str, channels: int, width: int, kernel: int = 3, groups: int = 1) -> None:
        shape = (width, channels // groups, kernel, kernel)
        scale = (channels // groups * kernel**2) ** -0.5
        self.state[f"{key}.weight"] = scale * torch.randn(shape, generator=self._generator)

    def norm(self, key: str, channels: int, *, affine: bool = True, unit: bool = False) -> None:
        if affine:
            self.state[f"{key}.weight"] = torch.ones(channels) if unit else self._uniform(channels)
            self.state[f"{key}.bias"] = self._uniform(channels, low=-0.3, high=0.3)
        self.state[f"{key}.running_mean"] = self._uniform(channels, low=-0.3, high=0.3)
        self.state[f"{key}.running_var"] = self._uniform(channels)
        self.state[f"{key}.num_batches_tracked"] = torch.tensor(7)

    def prelu(self, key: str, channels: int) -> None:
        self.state[f"{key}.weight"] = self._uniform(channels, low=0.0, high=0.5)

    def linear(self, key: str, features: int, dim: int, *, bias: bool = True) -> None:
        scale = features**-0.5
        self.state[f"{key}.weight"] = scale * torch.randn(dim, features, generator=self._generator)
        if bias:
            self.state[f"{key}.bias"] = self._uniform(dim, low=-0.3, high=0.3)


def _convolve(
    state: State, key: str, x: Tensor, stride: int = 1, padding: int = 1, groups: int = 1
) -> Tensor:
    return F.conv2d(x, state[f"{key}.weight"], stride=stride, padding=padding, groups=groups)


def _normalise(state: State, key: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    centred = x - state[f"{key}.running_mean"].view(shape)
    x = centred / (state[f"{key}.running_var"] + eps).sqrt().view(shape)
    if f"{key}.weight" in state:
        x = x * state[f"{key}.weight"].view(shape) + state[f"{key}.bias"].view(shape)
    return x


def _prelu(state: State, key: str, x: Tensor) -> Tensor:
    slopes = state[f"{key}.weight"].view(1, -1, 1, 1)
    return torch.where(x > 0, x, slopes * x)


def insightface_weights(
    depth: int, *, side: int, dim: int, unit_scale: bool, seed: int = 0
) -> dict[str, Tensor]:
    """InsightFace's iResNet (and MagFace's, with a scale in the last normalisation) for 16 * side pixels."""
    draw = Weights(seed)
    draw.convolution("conv1", 3, 64)
    draw.norm("bn1", 64)
    draw.prelu("prelu", 64)
    channels = 64
    for stage, (count, width) in enumerate(zip(STAGES[depth], WIDTHS, strict=True), 1):
        for block in range(count):
            key = f"layer{stage}.{block}"
            draw.norm(f"{key}.bn1", channels)
            draw.convolution(f"{key}.conv1", channels, width)
            draw.norm(f"{key}.bn2", width)
            draw.prelu(f"{key}.prelu", width)
            draw.convolution(f"{key}.conv2", width, width)
            draw.norm(f"{key}.bn3", width)
            if block == 0:
                draw.convolution(f"{key}.downsample.0", channels, width, kernel=1)
                draw.norm(f"{key}.downsample.1", width)
            channels = width
    draw.norm("bn2", 512)
    draw.linear("fc", 512 * side**2, dim)
    draw.norm("features", dim, unit=unit_scale)
    return draw.state


def insightface_forward(state: State, x: Tensor, *, depth: int, eps: float = 1e-5) -> Tensor:
    """(n, 3, px, px), normalised -> (n, dim)."""
    x = _prelu(state, "prelu", _normalise(state, "bn1", _convolve(state, "conv1", x), eps))
    for stage, count in enumerate(STAGES[depth], 1):
        for block in range(count):
            key, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            shortcut = x
            if block == 0:
                small = _convolve(state, f"{key}.downsample.0", x, stride, padding=0)
                shortcut = _normalise(state, f"{key}.downsample.1", small, eps)
            y = _convolve(state, f"{key}.conv1", _normalise(state, f"{key}.bn1", x, eps))
            y = _prelu(state, f"{key}.prelu", _normalise(state, f"{key}.bn2", y, eps))
            y = _normalise(state, f"{key}.bn3", _convolve(state, f"{key}.conv2", y, stride), eps)
            x = y + shortcut
    x = _normalise(state, "bn2", x, eps).flatten(1)
    return _normalise(state, "features", F.linear(x, state["fc.weight"], state["fc.bias"]), eps)


def adaface_weights(depth: int, *, side: int, dim: int, seed: int = 0) -> dict[str, Tensor]:
    """The IR net of AdaFace and CVLface for 16 * side pixels."""
    draw = Weights(seed)
    draw.convolution("input_layer.0", 3, 64)
    draw.norm("input_layer.1", 64)
    draw.prelu("input_layer.2", 64)
    channels, number = 64, 0
    for count, width in zip(STAGES[depth], WIDTHS, strict=True):
        for _ in range(count):
            key = f"body.{number}"
            draw.norm(f"{key}.res_layer.0", channels)
            draw.convolution(f"{key}.res_layer.1", channels, width)
            draw.norm(f"{key}.res_layer.2", width)
            draw.prelu(f"{key}.res_layer.3", width)
            draw.convolution(f"{key}.res_layer.4", width, width)
            draw.norm(f"{key}.res_layer.5", width)
            if channels != width:
                draw.convolution(f"{key}.shortcut_layer.0", channels, width, kernel=1)
                draw.norm(f"{key}.shortcut_layer.1", width)
            channels, number = width, number + 1
    draw.norm("output_layer.0", 512)
    draw.linear("output_layer.3", 512 * side**2, dim)
    draw.norm("output_layer.4", dim, affine=False)
    return draw.state


def adaface_forward(state: State, x: Tensor, *, depth: int) -> Tensor:
    """(n, 3, px, px) BGR in [-1, 1] -> (n, dim), before it is divided by its norm."""
    x = _prelu(
        state, "input_layer.2", _normalise(state, "input_layer.1", _convolve(state, "input_layer.0", x))
    )
    number = 0
    for count in STAGES[depth]:
        for block in range(count):
            key, stride = f"body.{number}", 2 if block == 0 else 1
            shortcut = x[:, :, ::stride, ::stride]
            if f"{key}.shortcut_layer.0.weight" in state:
                shortcut = _convolve(state, f"{key}.shortcut_layer.0", x, stride, padding=0)
                shortcut = _normalise(state, f"{key}.shortcut_layer.1", shortcut)
            y = _convolve(state, f"{key}.res_layer.1", _normalise(state, f"{key}.res_layer.0", x))
            y = _prelu(state, f"{key}.res_layer.3", _normalise(state, f"{key}.res_layer.2", y))
            y = _normalise(state, f"{key}.res_layer.5", _convolve(state, f"{key}.res_layer.4", y, stride))
            x, number = y + shortcut, number + 1
    x = _normalise(state, "output_layer.0", x).flatten(1)
    x = F.linear(x, state["output_layer.3.weight"], state["output_layer.3.bias"])
    return _normalise(state, "output_layer.4", x)


# InsightFace's MobileFaceNet: (kind, channels in, channels out, channels within, blocks).
_MOBILE = (
    ("down", 128, 128, 128, 1),
    ("residual", 128, 128, 128, 4),
    ("down", 128, 256, 256, 1),
    ("residual", 256, 256, 256, 6),
    ("down", 256, 256, 512, 1),
    ("residual", 256, 256, 256, 2),
)


def _mobile_keys(stage: int, kind: str, blocks: int) -> list[str]:
    key = f"layers.{stage}"
    return [key] if kind == "down" else [f"{key}.layers.{block}" for block in range(blocks)]


def mobile_weights(*, side: int, dim: int, seed: int = 0) -> dict[str, Tensor]:
    """InsightFace's MobileFaceNet for 16 * side pixels."""
    draw = Weights(seed)

    def block(
        key: str, channels: int, width: int, kernel: int, groups: int = 1, *, prelu: bool = True
    ) -> None:
        draw.convolution(f"{key}.layers.0", channels, width, kernel, groups)
        draw.norm(f"{key}.layers.1", width)
        if prelu:
            draw.prelu(f"{key}.layers.2", width)

    block("layers.0", 3, 128, 3)
    block("layers.1", 128, 128, 3, groups=64)
    for stage, (kind, channels, width, wide, blocks) in enumerate(_MOBILE, 2):
        for key in _mobile_keys(stage, kind, blocks):
            block(f"{key}.layers.0", channels, wide, 1)
            block(f"{key}.layers.1", wide, wide, 3, groups=wide)
            block(f"{key}.layers.2", wide, width, 1, prelu=False)
    block("conv_sep", 256, 512, 1)
    block("features.layers.0", 512, 512, side, groups=512, prelu=False)
    draw.linear("features.layers.2", 512, dim, bias=False)
    draw.norm("features.layers.3", dim)
    return draw.state


def mobile_forward(state: State, x: Tensor) -> Tensor:
    """(n, 3, px, px) RGB in [-1, 1] -> (n, dim)."""

    def block(key: str, x: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        x = _convolve(state, f"{key}.layers.0", x, stride, padding, groups)
        x = _normalise(state, f"{key}.layers.1", x)
        return _prelu(state, f"{key}.layers.2", x) if f"{key}.layers.2.weight" in state else x

    x = block("layers.1", block("layers.0", x, 2, 1), 1, 1, groups=64)
    for stage, (kind, _, _, wide, blocks) in enumerate(_MOBILE, 2):
        for key in _mobile_keys(stage, kind, blocks):
            y = block(f"{key}.layers.0", x)
            y = block(f"{key}.layers.1", y, 2 if kind == "down" else 1, 1, groups=wide)
            y = block(f"{key}.layers.2", y)
            x = x + y if kind == "residual" else y
    x = block("features.layers.0", block("conv_sep", x), groups=512).flatten(1)
    return _normalise(state, "features.layers.3", F.linear(x, state["features.layers.2.weight"]))
