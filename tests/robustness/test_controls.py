"""Controls have the size that was asked for, as far as they can."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import sizes
from robustness.rejection.controls import CONTROLS, controlled


@pytest.fixture(params=[1, 3])
def images(request: pytest.FixtureRequest) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(5, request.param, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(16, 16), mode="nearest")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["noise", "blur"])
def test_noise_and_blur_are_scaled_exactly(images: Tensor, name: str, norm: Norm) -> None:
    wanted = torch.linspace(0.0, 0.3 if norm == "linf" else 1.0, 5)
    changed = controlled(name, images, wanted, norm=norm, seed=0)
    torch.testing.assert_close(sizes(changed - images, norm), wanted, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_no_control_is_larger_than_asked_or_leaves_the_box(images: Tensor, name: str, norm: Norm) -> None:
    for size in (0.0, 0.01, 0.2, 1.0):
        changed = controlled(name, images, torch.full((5,), size), norm=norm, seed=0)
        assert (sizes(changed - images, norm) <= size + 1e-5).all()
        assert changed.min() >= 0
        assert changed.max() <= 1


def test_jpeg_grows_with_what_is_allowed(images: Tensor) -> None:
    small, large = (
        controlled("jpeg", images, torch.full((5,), size), norm="l2", seed=0) for size in (0.3, 3.0)
    )
    assert (sizes(large - images, "l2") >= sizes(small - images, "l2")).all()
    assert sizes(large - images, "l2").min() > 0.3


def test_blur_smooths(images: Tensor) -> None:
    blurred = controlled("blur", images, torch.full((5,), 1.0), norm="l2", seed=0)
    assert blurred.diff(dim=3).abs().sum() < images.diff(dim=3).abs().sum()


def test_the_seed_is_that_of_the_noise(images: Tensor) -> None:
    first, again, other = (
        controlled("noise", images, torch.full((5,), 0.1), norm="l2", seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_makes_no_sense_is_refused(images: Tensor) -> None:
    with pytest.raises(InputError, match="control: must be a known one; got rain"):
        controlled("rain", images, torch.ones(5), norm="l2", seed=0)
    with pytest.raises(InputError, match=r"pixels must lie in \[0, 1\]"):
        controlled("noise", images * 255, torch.ones(5), norm="l2", seed=0)
