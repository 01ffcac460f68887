"""The SNR paper's bounds: true on random distributions, met by extremal ones; where one is not true."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from probability_bounds import (
    cantelli_upper,
    cdf_bounds,
    interval_lower,
    interval_upper,
    selberg_upper,
    two_sided_upper,
)

Floats = NDArray[np.float64]
_ROUNDING = 1e-9


@pytest.fixture(scope="module")
def drawn() -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """10,000 distributions on 2 to 6 points: points, chances, mean, variance, two thresholds."""
    random = np.random.default_rng(0)
    points = random.normal(size=(10_000, 6)) * random.choice([0.1, 1, 10], size=(10_000, 1))
    chances = random.exponential(size=(10_000, 6)) ** 2
    chances[np.arange(6) >= random.integers(2, 7, size=(10_000, 1))] = 0.0
    chances /= chances.sum(axis=1, keepdims=True)
    mean = (points * chances).sum(axis=1)
    variance = ((points - mean[:, None]) ** 2 * chances).sum(axis=1)
    thresholds = mean[:, None] + np.sqrt(variance)[:, None] * random.normal(size=(10_000, 2)) * 2
    # Half of the thresholds lie on a point of the distribution, where bounds are tight.
    rows = np.arange(0, 10_000, 2)
    thresholds[rows, 0] = points[rows, 0]
    lower, upper = np.sort(thresholds, axis=1).T
    return points, chances, mean, variance, lower, upper


def chance(chances: Floats, inside: NDArray[np.bool_]) -> Floats:
    return np.where(inside, chances, 0.0).sum(axis=1)


def test_one_sided_bounds_hold(drawn: tuple[Floats, ...]) -> None:
    points, chances, mean, variance, lower, _ = drawn
    above = chance(chances, points >= lower[:, None])
    assert (above <= cantelli_upper(*map(torch.tensor, (mean, variance, lower))).numpy() + _ROUNDING).all()
    below = chance(chances, points <= lower[:, None])
    smallest, largest = (bound.numpy() for bound in cdf_bounds(*map(torch.tensor, (mean, variance, lower))))
    assert (smallest - _ROUNDING <= below).all()
    assert (below <= largest + _ROUNDING).all()


def test_interval_bounds_hold(drawn: tuple[Floats, ...]) -> None:
    points, chances, *moments = drawn
    _, _, lower, upper = moments
    inside = (points >= lower[:, None]) & (points <= upper[:, None])
    bound = interval_upper(*map(torch.tensor, moments)).numpy()
    assert (chance(chances, inside) <= bound + _ROUNDING).all()


def test_two_sided_bounds_hold(drawn: tuple[Floats, ...]) -> None:
    points, chances, *moments = drawn
    _, _, lower, upper = moments
    outside = chance(chances, (points <= lower[:, None]) | (points >= upper[:, None]))
    true = selberg_upper(*map(torch.tensor, moments)).numpy()
    printed = two_sided_upper(*map(torch.tensor, moments)).numpy()
    assert (outside <= true + _ROUNDING).all()
    assert (printed <= true + _ROUNDING).all()
    # Theorem 2 as printed falls short where it differs from the true bound, and there only.
    holds = outside <= printed + _ROUNDING
    assert holds[printed > true - _ROUNDING].all()
    assert 0.5 < holds.mean() < 1.0
    lower_bound = interval_lower(*map(torch.tensor, moments)).numpy()
    assert ((1 - outside >= lower_bound - _ROUNDING) == holds).all()


@pytest.mark.parametrize("eta", [0.3, 1.0, 4.0])
def test_bounds_of_the_cdf_are_met_by_two_points(eta: float) -> None:
    """Eq. 5 by -eta with chance 1 / (1 + eta^2), Eq. 6 in the limit by eta with that chance."""
    rare = 1 / (1 + eta**2)
    smallest, largest = cdf_bounds(0.0, 1.0, -eta)
    assert (smallest.item(), largest.item()) == pytest.approx((0.0, rare))
    smallest, largest = cdf_bounds(0.0, 1.0, eta)
    assert (smallest.item(), largest.item()) == pytest.approx((1 - rare, 1.0))


@pytest.mark.parametrize("eta", [0.3, 1.0, 4.0])
def test_cantelli_is_met_by_two_points(eta: float) -> None:
    """eta with chance 1 / (1 + eta^2), -1 / eta else: mean 0, variance 1."""
    assert cantelli_upper(0.0, 1.0, eta).item() == pytest.approx(1 / (1 + eta**2))
    assert interval_upper(0.0, 1.0, eta, eta + 1).item() == pytest.approx(1 / (1 + eta**2))
    assert interval_upper(0.0, 1.0, -eta - 1, -eta).item() == pytest.approx(1 / (1 + eta**2))


@pytest.mark.parametrize("eta", [-2.0, 0.0])
def test_bounds_are_one_where_they_say_nothing(eta: float) -> None:
    assert cantelli_upper(0.0, 1.0, eta).item() == 1.0
    assert interval_upper(0.0, 1.0, eta - 1, 0.5).item() == 1.0
    assert two_sided_upper(0.0, 1.0, 0.5, 2.0).item() == 1.0
    assert two_sided_upper(0.0, 1.0, -0.5, 1.5).item() == 1.0
    assert interval_lower(0.0, 1.0, 0.5, 2.0).item() == 0.0


@pytest.mark.parametrize(("lower", "upper"), [(-2.0, 2.0), (-1.2, 1.2), (-1.5, 2.0)])
def test_two_sided_bound_is_met_by_three_points(lower: float, upper: float) -> None:
    """The paper's case 1: mass on both thresholds and on the mean; |eta_1| <= (1 + eta_2^2) / eta_2."""
    a, b = -lower, upper
    at_lower, at_upper = 1 / (a * (a + b)), 1 / (b * (a + b))
    assert at_lower * a**2 + at_upper * b**2 == pytest.approx(1.0)
    assert two_sided_upper(0.0, 1.0, lower, upper).item() == pytest.approx(at_lower + at_upper)


def test_two_sided_bound_is_met_by_two_points_where_one_threshold_is_far() -> None:
    """The paper's case 3: 2 with chance 1 / 5."""
    assert two_sided_upper(0.0, 1.0, -3.0, 2.0).item() == pytest.approx(0.2)
    assert selberg_upper(0.0, 1.0, -3.0, 2.0).item() == pytest.approx(0.2)


def test_theorem_2_is_not_true_everywhere_and_selberg_is() -> None:
    """The third mass on (b - a) / 2 instead of the mean: mean 0, variance 1, and more mass outside."""
    lower, upper = -2.0, 2.5
    points = torch.tensor([lower, 0.25, upper], dtype=torch.float64)
    system = torch.stack([torch.ones_like(points), points, points**2])
    chances = torch.linalg.solve(system, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    assert (chances > 0).all()
    outside = (chances[0] + chances[2]).item()
    assert outside > two_sided_upper(0.0, 1.0, lower, upper).item() + 0.009
    assert outside == pytest.approx(selberg_upper(0.0, 1.0, lower, upper).item())


def test_selberg_agrees_with_theorem_2_elsewhere() -> None:
    for lower, upper in ((-2.0, 2.0), (-1.0, 1.0), (-2.0, 3.0), (-1.5, 9.0), (-0.5, 1.0), (1.0, 2.0)):
        printed, true = (bound(0.0, 1.0, lower, upper).item() for bound in (two_sided_upper, selberg_upper))
        assert printed == pytest.approx(true)


def test_a_point_mass() -> None:
    assert cantelli_upper(1.0, 0.0, 1.0).item() == 1.0
    assert cantelli_upper(1.0, 0.0, 2.0).item() == 0.0
    assert two_sided_upper(1.0, 0.0, 0.0, 2.0).item() == 0.0
