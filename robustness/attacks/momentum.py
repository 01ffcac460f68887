"""Gradient ascent with momentum, whose changes deceive other models too: MI, NI, SI, DI and TI in one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.perturbation.ascent import gradient_of
from faceverif.perturbation.threat_model import ThreatModel, expand

# An image shrinks by a tenth at most, as the paper's 330 pixels shrink to 299.
_SMALLEST = 0.9


@dataclass(frozen=True, kw_only=True)
class MomentumAscent:
    """x <- project(x + epsilon / steps * sign(g)), from the image itself; each option is one paper's.

    Attributes:
        steps: T, >= 1.
        momentum: mu of MI-FGSM: g <- mu g + gradient / |gradient|_1. Dong et al., "Boosting Adversarial
            Attacks with Momentum" (2018), Algorithm 1. With 0 this is I-FGSM.
        diversity: p of DI: the chance that the images of a batch are shrunk and padded with black before a
            gradient, grad J(T(x; p)). One draw is for the whole batch, as in the authors' program. Xie et
            al., "Improving Transferability of Adversarial Examples with Input Diversity" (2019).
        smoothing_px: k of TI: the gradient becomes W * gradient, with a Gaussian W of 2 k + 1 pixels and
            standard deviation k / sqrt(3). Dong et al., "Evading Defenses to Transferable Adversarial
            Examples by Translation-Invariant Attacks" (2019). 0: not.
        nesterov: NI: the gradient is taken where the momentum leads, at x + alpha mu g. Lin et al., "Nesterov
            Accelerated Gradient and Scale Invariance for Adversarial Attacks" (2020).
        scales: m of SI, in the same paper: 1 / m sum_i grad J(x / 2^i), i = 0, ..., m - 1. 1: not.
        samples: gradients that are averaged at each step (EOT), for DI or a random model.
    """

    steps: int
    momentum: float
    diversity: float
    smoothing_px: int
    nesterov: bool
    scales: int
    samples: int

    def __call__(self, value: Callable[[Tensor], Tensor], images: Tensor, *, threat: ThreatModel) -> Tensor:
        """The last version.

        Args:
            value: (batch, C, H, W) -> (batch,), to be raised.
            images: (batch, C, H, W) in [0, 1].
            threat: ball, box and norm of a step.
        """
        length, gathered, version = threat.epsilon / self.steps, torch.zeros_like(images), images
        for _ in range(self.steps):
            ahead = length * self.momentum * gathered if self.nesterov else 0.0
            gradient = smoothed(self._gradient(value, version + ahead), self.smoothing_px)
            gathered = self.momentum * gathered + _of_mean_size_1(gradient)
            version = threat.project(version + length * threat.step(gathered), images)
        return version

    def _gradient(self, value: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        def at_scale(divisor: int, pixels: Tensor) -> Tensor:
            return value(diverse(pixels / divisor, chance=self.diversity))

        gradients = (
            gradient_of(partial(at_scale, 2**halvings), images, samples=self.samples)
            for halvings in range(self.scales)
        )
        return torch.stack([*gradients]).mean(dim=0)


def _of_mean_size_1(gradient: Tensor) -> Tensor:
    """Divided by the mean of its absolute values, not by their sum.

    As the papers' programs do it: the signs are the same, and Nesterov's step then has the length of a step.
    """
    size = gradient.abs().mean(dim=(1, 2, 3)).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient / expand(size, gradient)


def diverse(images: Tensor, *, chance: float) -> Tensor:
    """Images that are shrunk by up to a tenth, at random, and padded with black to their size.

    Drawn on the CPU, so that the numbers do not depend on the device.

    Args:
        images: (batch, C, H, W).
        chance: that it happens, to all of them alike; else they stay as they are.
    """
    if torch.rand(()) >= chance:
        return images
    share = _SMALLEST + (1 - _SMALLEST) * float(torch.rand(()))
    height, width = images.shape[2:]
    rows, columns = max(1, round(share * height)), max(1, round(share * width))
    small = F.interpolate(images, size=(rows, columns), mode="bilinear", align_corners=False)
    top, left = (int(torch.randint(room + 1, ())) for room in (height - rows, width - columns))
    return F.pad(small, (left, width - columns - left, top, height - rows - top))


def smoothed(gradient: Tensor, radius_px: int) -> Tensor:
    """A gradient convolved with a Gaussian kernel, each channel alone; see `MomentumAscent.smoothing_px`.

    Args:
        gradient: (batch, C, H, W).
        radius_px: of the kernel; 0: the gradient stays as it is.
    """
    if radius_px == 0:
        return gradient
    places = torch.arange(-radius_px, radius_px + 1, dtype=gradient.dtype, device=gradient.device)
    row = torch.exp(-(places**2) / (2 * (radius_px / math.sqrt(3)) ** 2))
    row = row / row.sum()
    channels = gradient.shape[1]
    across, down = (
        row.reshape(shape).expand(channels, -1, -1, -1) for shape in ((1, 1, 1, -1), (1, 1, -1, 1))
    )
    along = F.conv2d(gradient, across, padding=(0, radius_px), groups=channels)
    return F.conv2d(along, down, padding=(radius_px, 0), groups=channels)
