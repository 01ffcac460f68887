"""What an attack may change: norm, size and box of a perturbation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.perturbation.norm import Norm

# Rounding of float32: pixels are at most 1, so a difference is off by no more than a few times 2^-24.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ThreatModel:
    """A ball around each image, cut by the box of valid pixels.

    Attributes:
        norm: linf, the largest change of a pixel; or l2, the root of the summed squares.
        epsilon: radius of the ball, >= 0, for pixels in [0, 1]; with linf at most 1.
        targeted: the goal is a certain class; else any class but the true one.

    Raises:
        InputError: an unknown norm, or an epsilon out of range.
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    norm: Norm
    epsilon: float
    targeted: bool = False

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise InputError(
                "norm", "must be a known one", got=self.norm, fix=f"Use {' or '.join(get_args(Norm))}."
            )
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise InputError(
                "epsilon",
                "must be a finite number >= 0",
                got=self.epsilon,
                fix="Use 0 to leave images as they are.",
            )
        if self.norm == "linf" and self.epsilon > 1:
            raise InputError(
                "epsilon",
                "must be at most 1 with linf: pixels lie in [0, 1]",
                got=self.epsilon,
                fix="Divide steps of 8-bit pixels by 255: 8 / 255 = 0.031.",
            )

    def sizes(self, clean: Tensor, changed: Tensor) -> Tensor:
        """Norm of each image's change, (N,)."""
        return sizes(changed - clean, self.norm)

    def project(self, changed: Tensor, clean: Tensor) -> Tensor:
        """The images brought into the ball around the clean ones and into the box.

        Clipping to the box moves every pixel towards its clean value, so it never leads out of the ball.

        Args:
            changed: (N, C, H, W).
            clean: (N, C, H, W), in the box.
        """
        change = changed - clean
        if self.norm == "linf":
            change = change.clamp(-self.epsilon, self.epsilon)
        else:
            size = sizes(change, self.norm).clamp_min(1e-12)
            change = change * expand(self.epsilon / size, change).clamp_max(1.0)
        return (clean + change).clamp(*self.bounds)

    def step(self, gradient: Tensor) -> Tensor:
        """The change of norm 1 that goes furthest along a gradient, zero where that is zero; (N, C, H, W)."""
        if self.norm == "linf":
            return gradient.sign()
        # The largest entry first: squares of a small gradient would be zero.
        peak = expand(sizes(gradient, "linf"), gradient)
        scaled = gradient / torch.where(peak > 0, peak, 1.0)
        return scaled / expand(sizes(scaled, "l2"), scaled).clamp_min(1.0)

    def random_start(self, clean: Tensor) -> Tensor:
        """Images, (N, C, H, W), drawn evenly from the ball and clipped to the box; by torch's own generator.

        Drawn on the CPU, so that the numbers do not depend on the device.
        """
        if self.norm == "linf":
            change = torch.empty_like(clean, device="cpu").uniform_(-self.epsilon, self.epsilon)
        else:
            direction = torch.randn_like(clean, device="cpu")
            dimension = clean[0].numel()
            radius = self.epsilon * torch.rand(len(clean)) ** (1.0 / dimension)
            change = direction * expand(radius / sizes(direction, "l2"), direction)
        return (clean + change.to(clean.device)).clamp(*self.bounds)

    def kept_by(self, changed: Tensor, clean: Tensor) -> bool:
        """Whether every image lies in its ball and in the box; not where one holds a NaN."""
        low, high = self.bounds
        in_ball = self.sizes(clean, changed) <= self.epsilon * (1.0 + _ROUNDING) + _ROUNDING
        return bool(in_ball.all() and ((changed >= low) & (changed <= high)).all())


def sizes(change: Tensor, norm: Norm) -> Tensor:
    """Norm of each image's change.

    Args:
        change: (N, C, H, W).
        norm: which one.

    Returns:
        (N,).
    """
    return torch.linalg.vector_norm(change.flatten(1), ord=math.inf if norm == "linf" else 2, dim=1)


def normal_like(images: Tensor) -> Tensor:
    """As many standard normal numbers, from torch's global generator.

    Drawn on the CPU, so that the numbers do not depend on the device.
    """
    return torch.randn_like(images, device="cpu").to(images.device)


def expand(numbers: Tensor, images: Tensor) -> Tensor:
    """One number per image, (N,), shaped to be multiplied with images: (N, 1, 1, 1)."""
    return numbers.reshape(-1, *[1] * (images.ndim - 1))
