"""The general parametric classifier of Ghobadzadeh & Lashkari, "Signal to Noise Ratio Loss Function", Sec. 3.

    python examples/parametric_classifier.py           # --tiny: fewer draws, to see that it runs

Each class is a set of parameters theta of a known family of densities. A sample belongs to the class with the
highest statistic g(theta estimated from it). The paper asks for the g with the highest signal-to-noise ratio,
of which Theorem 1 promises most true positives, and takes the squared distance to the class's boundary after
a change of parameters in which Fisher's information is the identity.

The example separates Poisson counts whose rates lie below and above (3, 5). It then gives the weights of the
toy of Sec. 3.1, found by integration, beside the closed form 4 arccos(sqrt(p))^2; with these
`examples/snr_toy_classifier.py` measures the classifier.
"""

from __future__ import annotations

import sys
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


def poisson_accuracy(*, samples: int, seed: int) -> float:
    """Share of pairs of counts that are assigned to the right class.

    The rates of the first class are (1, 3), those of the second one (8, 10); the boundary is (3, 5).

    Args:
        samples: of each class.
        seed: of the counts.
    """
    boundary = torch.tensor([3.0, 5.0], dtype=torch.float64)
    statistic = squared_distance(lambda theta: stabilise(lambda rate: 1 / rate, theta, start=boundary))
    labels = torch.arange(2 * samples) % 2
    rates = torch.where(labels[:, None] == 0, boundary - 2, boundary + 5)
    counts = torch.poisson(rates, generator=torch.Generator().manual_seed(seed))
    # The maximum likelihood estimate of a rate is the count, held within the class.
    estimates = [counts.clamp_min(1e-9).minimum(boundary), counts.maximum(boundary)]
    decided = ParametricClassifier([statistic, statistic], [0.0, 0.0]).decide(estimates)
    return (decided == labels).double().mean().item()


def toy_weights(chances: Tensor) -> Tensor:
    """What a binary variable that is 1 adds to the statistic, for each chance p of the boundary, (N,)."""
    information = lambda theta: 1 / (theta * (1 - theta))  # noqa: E731
    return stabilise(information, torch.ones(1, len(chances)), start=chances).square().squeeze(0)


def main() -> None:
    """Print the accuracy on counts, and the toy's weights beside their closed form."""
    samples = 200 if "--tiny" in sys.argv else 50_000
    print(
        f"Poisson counts, rates (1, 3) or (8, 10): accuracy {poisson_accuracy(samples=samples, seed=0):.4f}"
    )
    chances = torch.tensor([0.001, 0.1], dtype=torch.float64)
    for chance, weight in zip(chances.tolist(), toy_weights(chances).tolist(), strict=True):
        closed = 4 * np.arccos(np.sqrt(chance)) ** 2
        print(f"weight of a binary variable with p = {chance:g}: {weight:.6f}, closed form {closed:.6f}")


if __name__ == "__main__":
    main()
