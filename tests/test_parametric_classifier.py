"""The general parametric classifier against closed forms, finite differences and simulated samples."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from parametric import INFORMATION, STABILISED, signal_to_noise_oracle

from data_prep.errors import InputError
from examples.parametric_classifier import (
    ParametricClassifier,
    poisson_accuracy,
    signal_to_noise,
    squared_distance,
    stabilise,
)


def chances(theta: torch.Tensor) -> torch.Tensor:
    return 1 / (theta * (1 - theta))


@pytest.mark.parametrize("family", sorted(INFORMATION))
def test_eq_12_agrees_with_the_closed_forms(family: str) -> None:
    thetas, start = [0.003, 0.25, 0.5, 0.93], 0.3
    information = INFORMATION[family]
    found = stabilise(
        lambda theta: torch.tensor(
            [[information(value) for value in row] for row in theta.tolist()], dtype=torch.float64
        ),
        torch.tensor(thetas, dtype=torch.float64)[:, None],
        start=torch.tensor([start], dtype=torch.float64),
    )
    closed = STABILISED[family]
    expected = [closed(theta) - closed(start) for theta in thetas]
    assert found.squeeze(1).tolist() == pytest.approx(expected, abs=1e-9)


def test_eq_12_reaches_the_ends_where_the_information_is_infinite() -> None:
    whole = stabilise(chances, torch.ones(1, 1), start=torch.zeros(1))
    assert whole.item() == pytest.approx(math.pi, abs=1e-9)


def test_in_the_new_parameters_the_information_is_the_identity() -> None:
    theta = torch.tensor([[0.2, 0.7]], dtype=torch.float64)
    [slopes] = torch.autograd.functional.jacobian(
        lambda each: stabilise(chances, each, start=torch.tensor([0.1, 0.1])), theta
    )
    jacobian = slopes[:, 0]
    inverse = torch.diag(1 / chances(theta[0]))
    torch.testing.assert_close(jacobian @ inverse @ jacobian.T, torch.eye(2, dtype=torch.float64))


def test_eq_11_agrees_with_finite_differences() -> None:
    theta = torch.tensor([[0.3, 1.2], [0.8, -0.4]], dtype=torch.float64)
    inverse = torch.tensor([[2.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
    found = signal_to_noise(
        lambda each: (each[:, 0] * each[:, 1]).sin() + each[:, 0] ** 2,
        theta,
        torch.linalg.inv(inverse).expand(2, 2, 2),
        threshold=0.1,
    )
    expected = [
        signal_to_noise_oracle(
            lambda each: math.sin(each[0] * each[1]) + each[0] ** 2, row, inverse.tolist(), threshold=0.1
        )
        for row in theta.tolist()
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_eq_13_is_eq_11_in_the_new_parameters_and_depends_on_their_length_only() -> None:
    """g = |v|^2 has the SNR (r^2 - tau)^2 / (4 r^2), whatever the direction of v."""
    start = torch.tensor([0.1, 0.3, 0.2])
    theta = torch.tensor([[0.4, 0.35, 0.9], [0.11, 0.6, 0.3]], dtype=torch.float64)
    g = squared_distance(lambda each: stabilise(chances, each, start=start))
    found = signal_to_noise(g, theta, torch.diag_embed(chances(theta)), threshold=0.05)
    square = g(theta)
    torch.testing.assert_close(found, (square - 0.05).square() / (4 * square))


def test_the_ratio_alone_does_not_choose_the_power_of_the_length() -> None:
    """At tau = 0 the power r^q has the ratio r^2 / q^2: the paper's q = 2 is no maximum."""
    start, theta = torch.tensor([0.2]), torch.tensor([[0.5]], dtype=torch.float64)
    length = stabilise(chances, theta, start=start).abs().item()
    for power in (1.0, 2.0, 3.0):
        found = signal_to_noise(
            lambda each, power=power: stabilise(chances, each, start=start).abs().sum(dim=1) ** power,
            theta,
            chances(theta)[:, :, None],
            threshold=0.0,
        )
        assert found.item() == pytest.approx(length**2 / power**2)


def test_of_binary_variables_it_is_a_linear_classifier() -> None:
    """Sec. 3.1 with Eq. 12 solved: weights (2 arccos sqrt(p))^2; the estimate is 1 where x is, else p."""
    p = torch.tensor([0.001, 0.1, 0.4], dtype=torch.float64)
    statistic = squared_distance(lambda theta: stabilise(chances, theta, start=p))
    vectors = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    classifier = ParametricClassifier([statistic, statistic], [1.0, 4.0])
    estimates = torch.where(vectors == 1, 1.0, p)
    linear = vectors @ (2 * p.sqrt().arccos()).square()
    torch.testing.assert_close(classifier.scores([estimates, estimates])[:, 0], linear - 1.0)
    assert classifier.decide([estimates, estimates]).eq(0).all()  # the lower threshold


def test_it_separates_rates_of_poisson_counts() -> None:
    assert poisson_accuracy(samples=200, seed=0) > 0.95


def test_parameters_outside_their_range_are_refused() -> None:
    with pytest.raises(InputError, match="information: must be positive and finite between start and theta"):
        stabilise(chances, torch.tensor([[1.5]]), start=torch.tensor([0.5]))
