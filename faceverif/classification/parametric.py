"""The general parametric classifier of Ghobadzadeh & Lashkari, "Signal to Noise Ratio Loss Function", Sec. 3.

Each class is a set of parameters theta of a known family of densities. A sample belongs to the class with the
highest statistic g(theta estimated from it). The paper asks for the g with the highest signal-to-noise ratio,
of which Theorem 1 promises most true positives, and takes the squared distance to the class's boundary after
a change of parameters in which Fisher's information is the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_prep.errors import InputError

# theta, (N, k) float64 -> (N, k) another set of parameters, or (N,) a number of each.
Transform = Callable[[Tensor], Tensor]
Statistic = Callable[[Tensor], Tensor]
# theta, (N, k) -> (N, k): Fisher's information of each of k independent parameters.
Information = Callable[[Tensor], Tensor]

_NODES = 64


def signal_to_noise(statistic: Statistic, theta: Tensor, information: Tensor, *, threshold: float) -> Tensor:
    """(g(theta) - tau)^2 / (dg^T I^-1 dg), Eq. 11: the SNR of an unbiased, efficient estimate of g(theta).

    With parameters in which the information is the identity this is Eq. 13.

    Args:
        statistic: g, differentiable.
        theta: (N, k).
        information: (N, k, k), Fisher's, at theta.
        threshold: tau.

    Returns:
        (N,) float64; s / (1 + s) bounds the chance of a true positive from below.
    """
    theta = theta.detach().double().requires_grad_()
    values = statistic(theta)
    [slope] = torch.autograd.grad(values.sum(), theta)
    variance = (slope * torch.linalg.solve(information.double(), slope)).sum(dim=1)
    return (values.detach() - threshold).square() / variance


def stabilise(information: Information, theta: Tensor, *, start: Tensor) -> Tensor:
    """Independent parameters, changed so that the information is the identity (Eq. 12), and zero at `start`.

    Each is the integral of the square root of its own information from `start` to theta. Dependent parameters
    have such a transform only where Fisher's metric is flat, and then it is to be found by hand. The paper's
    own example takes arcsin(theta) for a chance theta; Eq. 12 gives 2 arcsin(sqrt(theta)).

    Args:
        information: of each parameter, positive inside its range; it may be infinite at the ends.
        theta: (N, k).
        start: (k,) where the transform is zero.

    Returns:
        (N, k) float64.

    Raises:
        InputError: the information is not positive and finite between `start` and theta.
    """
    theta, start = theta.double(), start.double()
    points, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(_NODES))
    # A sine squared slows down at both ends, where the information may be infinite.
    turn = torch.pi / 4 * (points + 1)
    places, paces = turn.sin().square(), torch.pi / 4 * (2 * turn).sin() * weights
    total = torch.zeros_like(theta)
    for place, pace in zip(places, paces, strict=True):
        total += pace * _root(information(start + place * (theta - start)))
    return total * (theta - start)


def squared_distance(transform: Transform) -> Statistic:
    """g(theta) = |transform(theta)|^2, which the paper gives as the solution of Eq. 14.

    Only the length r of the transformed parameters can matter, since Eq. 14 does not change when they are
    rotated. That it is squared does not follow: with tau = 0, r^q has the signal-to-noise ratio r^2 / q^2, so
    Eq. 11 has no maximum. All q > 0 give the same decisions where one threshold is adapted.
    """
    return lambda theta: transform(theta).square().sum(dim=-1)


@dataclass(frozen=True)
class ParametricClassifier:
    """The class whose statistic exceeds its threshold by most.

    Attributes:
        statistics: of each class; see `squared_distance`.
        thresholds: tau of each class.
    """

    statistics: Sequence[Statistic]
    thresholds: Sequence[float]

    def scores(self, estimates: Sequence[Tensor]) -> Tensor:
        """g_n - tau_n, (N, classes) float64: above 0 where class n accepts the sample.

        Args:
            estimates: for each class, theta as estimated from the samples among the parameters of the class,
                (N, k).
        """
        columns = zip(self.statistics, estimates, self.thresholds, strict=True)
        return torch.stack([statistic(theta) - threshold for statistic, theta, threshold in columns], dim=1)

    def decide(self, estimates: Sequence[Tensor]) -> Tensor:
        """(N,) int64: the class of each sample."""
        return self.scores(estimates).argmax(dim=1)


def _root(information: Tensor) -> Tensor:
    if not (information.isfinite() & (information > 0)).all():
        raise InputError(
            "information",
            "must be positive and finite between start and theta",
            got=f"{information.min().item():g} to {information.max().item():g}",
            fix="Choose start and estimates inside the range of the parameter.",
        )
    return information.sqrt()
