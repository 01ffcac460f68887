"""Augmentation: each change does what it says, alone; draws depend on nothing but seed and step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from faceverif.config.run import AugmentationConfig
from faceverif.training.augmentation import AugmentationDraw, augment_crops, draw_augmentation
from faceverif.training.randomness import counted_generator, counted_seed

PHOTOS, SIDE = 400, 32


def draw(photos: int = PHOTOS, *, step: int = 0, **changes: float) -> AugmentationDraw:
    config = AugmentationConfig(**changes)
    return draw_augmentation(config, photos, generator=counted_generator(0, "augmentation", step))


def changed(crops: Tensor, *, input_px: int = SIDE, **changes: float) -> Tensor:
    config = AugmentationConfig(**changes)
    return augment_crops(crops, draw(len(crops), **changes), config=config, input_px=input_px)


@pytest.fixture
def crops() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (PHOTOS, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)


def plain(crops: Tensor) -> Tensor:
    return crops.permute(0, 3, 1, 2) / 255


def test_nothing_on_changes_nothing(crops: Tensor) -> None:
    assert torch.equal(changed(crops), plain(crops))
    assert torch.equal(changed(crops, input_px=24), plain(crops)[..., 4:28, 4:28])


def test_pixels_are_channels_last(crops: Tensor) -> None:
    for changes in ({}, {"flip": 0.5}, {"erase": 1.0}, {"saturation": 0.5}, {"low_resolution": 1.0}):
        pixels = changed(crops[:8], **changes)
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        assert (pixels.dtype, pixels.min() >= 0, pixels.max() <= 1) == (torch.float32, True, True)


def test_certain_flip_mirrors(crops: Tensor) -> None:
    torch.testing.assert_close(changed(crops, flip=1.0), plain(crops).flip(3), atol=1e-4, rtol=0)


def test_half_of_the_photos_are_flipped(crops: Tensor) -> None:
    pixels, upright = changed(crops, flip=0.5), plain(crops)
    mirrored = (pixels - upright.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-3
    kept = (pixels - upright).abs().amax(dim=(1, 2, 3)) < 1e-3
    assert torch.equal(mirrored, ~kept)
    assert 0.4 < mirrored.float().mean() < 0.6


def test_shift_is_a_random_crop_by_whole_pixels(crops: Tensor) -> None:
    """Each of the 3 x 3 windows of 30 pixels in 32 comes up about as often."""
    pixels = changed(crops, input_px=30, shift_px=1)
    counts = np.zeros((3, 3), dtype=int)
    for top in range(3):
        for left in range(3):
            window = plain(crops)[..., top : top + 30, left : left + 30]
            counts[top, left] = ((pixels - window).abs().amax(dim=(1, 2, 3)) < 1e-3).sum()
    assert counts.sum() == PHOTOS
    assert counts.min() > PHOTOS / 9 / 2


def test_shift_beyond_the_crop_brings_in_black(crops: Tensor) -> None:
    white = torch.full_like(crops, 255)
    black = (changed(white, shift_px=4) < 0.5).float().mean(dim=(1, 2, 3))
    assert black.max() == pytest.approx(1 - (28 / 32) ** 2, abs=1e-3)
    assert black.min() < 0.05


def test_zoom_and_rotation_keep_the_centre_and_their_bounds() -> None:
    drawn = draw(zoom=0.2, rotation_deg=10)
    linear = drawn.affine[:, :, :2]
    zoom = torch.linalg.det(linear).sqrt()
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert torch.equal(drawn.affine[:, :, 2], torch.zeros(PHOTOS, 2))
    assert 1 / 1.2 <= zoom.min() < 0.85
    assert 1.18 < zoom.max() <= 1.2
    assert -10 <= angle.min() < -9
    assert 9 < angle.max() <= 10


def test_rotation_turns_what_it_shows() -> None:
    """A quarter turn is a permutation of pixels."""
    crops = torch.randint(0, 256, (1, SIDE, SIDE, 3), dtype=torch.uint8)
    quarter = dataclasses.replace(draw(1), affine=torch.tensor([[[0.0, -1, 0], [1, 0, 0]]]))
    config = AugmentationConfig(rotation_deg=90)
    pixels = augment_crops(crops, quarter, config=config, input_px=SIDE)
    torch.testing.assert_close(pixels, plain(crops).rot90(1, dims=(2, 3)), atol=1e-4, rtol=0)


def luma(pixels: Tensor) -> Tensor:
    return (pixels * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def test_grey_photos_have_equal_channels_and_their_luma(crops: Tensor) -> None:
    torch.testing.assert_close(changed(crops, grey=1.0), luma(plain(crops)).expand(-1, 3, -1, -1))


def test_colours_change_in_brightness_then_contrast_then_saturation(crops: Tensor) -> None:
    dim = crops // 4 + 64  # far from the ends, so that nothing is cut off
    changes = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.4}
    drawn = draw(**changes)
    factors = {name: getattr(drawn, name).view(-1, 1, 1, 1) for name in changes}
    for name, most in changes.items():
        assert 1 - most <= factors[name].min() < 1 - 0.9 * most
        assert 1 + 0.9 * most < factors[name].max() <= 1 + most
    brighter = factors["brightness"] * plain(dim)
    mean = luma(brighter).mean(dim=(2, 3), keepdim=True)
    harder = mean + factors["contrast"] * (brighter - mean)
    grey = luma(harder)
    torch.testing.assert_close(changed(dim, **changes), grey + factors["saturation"] * (harder - grey))


def test_low_resolution_photos_lose_their_detail(crops: Tensor) -> None:
    divisors = draw(low_resolution=0.6).divisor
    assert {1, 2, 3, 4} == set(divisors.tolist())
    assert 0.5 < (divisors > 1).float().mean() < 0.7
    pixels, upright = changed(crops, low_resolution=0.6), plain(crops)
    assert torch.equal(pixels[divisors == 1], upright[divisors == 1])
    spread = pixels.std(dim=(2, 3)).mean(dim=1)
    assert spread[divisors == 4].max() < spread[divisors == 2].min() < upright.std(dim=(2, 3)).min()


def test_erased_rectangles_have_the_stated_area(crops: Tensor) -> None:
    white = torch.full((PHOTOS, 64, 64, 3), 255, dtype=torch.uint8)
    erased = changed(white, input_px=64, erase=0.5) == 0.5
    share = erased.float().mean(dim=(1, 2, 3))
    assert 0.4 < (share > 0).float().mean() < 0.6
    assert share[share > 0].min() > 0.01
    assert share.max() < 0.22
    left, top, right, bottom = draw(erase=1.0).erased.unbind(dim=1)
    aspect = (right - left) / (bottom - top)
    assert 0.5 - 1e-5 <= aspect.min() < 0.52
    assert 1.9 < aspect.max() <= 2 + 1e-5
    first = erased[share > 0][0, 0]
    rows, columns = first.any(dim=1), first.any(dim=0)
    assert torch.equal(first, rows[:, None] & columns)


def test_switching_one_change_on_leaves_the_others() -> None:
    alone, together = draw(flip=0.5, shift_px=3), draw(flip=0.5, shift_px=3, saturation=0.3, erase=0.5)
    assert torch.equal(alone.affine, together.affine)
    assert not torch.equal(alone.saturation, together.saturation)


def test_draws_depend_on_seed_and_step_alone() -> None:
    torch.rand(7)
    assert torch.equal(draw(shift_px=3).affine, draw(shift_px=3).affine)
    assert not torch.equal(draw(shift_px=3).affine, draw(shift_px=3, step=1).affine)


def test_a_share_of_a_draw_is_that_part_of_it(crops: Tensor) -> None:
    """What a process does to its share is what one process alone does to those photos."""
    changes = {"flip": 0.5, "rotation_deg": 9.0, "contrast": 0.3, "erase": 0.5, "low_resolution": 0.3}
    config = AugmentationConfig(**changes)
    share = augment_crops(crops[100:200], draw(**changes)[100:200], config=config, input_px=SIDE)
    torch.testing.assert_close(share, changed(crops, **changes)[100:200])


def test_counted_seeds_differ_by_purpose_and_place() -> None:
    places = [
        (seed, purpose, step) for seed in range(3) for purpose in ("order", "dropout") for step in range(9)
    ]
    assert len({counted_seed(*place) for place in places}) == len(places)
    assert counted_seed(7, "order", 3) == 7445702905072665387  # else runs could not be resumed
