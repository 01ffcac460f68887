"""Balls, boxes and steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import InputError
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel, normal_like, sizes

norms = st.sampled_from(["linf", "l2"])


def images(seed: int, *, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    return torch.empty(4, 1, 3, 6).uniform_(low, high, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, derandomize=True)
@given(norm=norms, epsilon=st.floats(0, 1), seed=st.integers(0, 1000))
def test_what_is_projected_stays_in_ball_and_box(norm: Norm, epsilon: float, seed: int) -> None:
    threat, clean = ThreatModel(norm, epsilon), images(seed)
    projected = threat.project(images(seed + 1, low=-2, high=3), clean)
    assert threat.kept_by(projected, clean)
    assert (threat.sizes(clean, projected) <= epsilon + 1e-6).all()
    assert projected.min() >= 0
    assert projected.max() <= 1


@settings(max_examples=40, derandomize=True)
@given(norm=norms, epsilon=st.floats(0, 1), seed=st.integers(0, 1000))
def test_what_is_inside_is_left_alone(norm: Norm, epsilon: float, seed: int) -> None:
    threat, clean = ThreatModel(norm, epsilon), images(seed)
    start = threat.random_start(clean)
    torch.testing.assert_close(threat.project(start, clean), start, atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_fill_the_ball(norm: Norm) -> None:
    torch.manual_seed(0)
    clean = torch.full((500, 1, 1, 2), 0.5)
    reached = ThreatModel(norm, 0.4).sizes(clean, ThreatModel(norm, 0.4).random_start(clean))
    # In a plane the share of an even distribution within half the radius is a quarter, in both norms.
    assert (reached < 0.2).double().mean().item() == pytest.approx(0.25, abs=0.06)
    assert reached.max() == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(
    "draw",
    [normal_like, ThreatModel("linf", 0.1).random_start, ThreatModel("l2", 0.1).random_start],
    ids=["normal", "linf", "l2"],
)
def test_numbers_are_drawn_by_the_processor_wherever_the_images_are(
    draw: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    following = []
    for device in ("cpu", "meta"):
        torch.manual_seed(0)
        assert draw(torch.empty(2, 1, 3, 3, device=device)).device.type == device
        following.append(torch.rand(1))
    assert torch.equal(*following)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-42])
def test_a_step_has_norm_one_however_small_the_gradient(scale: float) -> None:
    gradient = scale * images(0, low=-1)
    for norm in ("linf", "l2"):
        step = ThreatModel(norm, 0.1).step(gradient)  # type: ignore[arg-type]
        torch.testing.assert_close(sizes(step, norm), torch.ones(4))  # type: ignore[arg-type]
        assert (step * gradient >= 0).all()
        assert not ThreatModel(norm, 0.1).step(torch.zeros_like(gradient)).any()  # type: ignore[arg-type]


def test_a_change_beyond_the_ball_or_a_nan_is_noticed() -> None:
    threat, clean = ThreatModel("linf", 0.1), torch.full((1, 1, 2, 2), 0.5)
    assert threat.kept_by(clean + 0.1, clean)
    assert not threat.kept_by(clean + 0.101, clean)
    assert not threat.kept_by(clean * math.nan, clean)
    assert not ThreatModel("linf", 1.0).kept_by(clean + 0.6, clean)


@pytest.mark.parametrize(
    ("norm", "epsilon", "message"),
    [
        ("linf", -0.1, "epsilon: must be a finite number >= 0; got -0.1"),
        ("l2", math.nan, "epsilon: must be a finite"),
        ("linf", 8.0, r"Divide steps of 8-bit pixels by 255"),
        ("l1", 0.1, "norm: must be a known one; got l1"),
    ],
)
def test_what_makes_no_sense_is_refused(norm: Norm, epsilon: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ThreatModel(norm, epsilon)
