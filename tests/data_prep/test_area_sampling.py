"""Averages by summed-area tables against adaptive average pooling and against literal zero padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from data_prep.detection.area_sampling import AreaSampler

_RNG = np.random.default_rng(0)
_PHOTOS = [_RNG.integers(0, 256, (*size, 3), np.uint8) for size in ((50, 40), (31, 77), (64, 64))]


def pooled(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    planes = torch.from_numpy(photo).permute(2, 0, 1)[None].double()
    return adaptive_avg_pool2d(planes, size)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(1, 1), (12, 17), (30, 24), (31, 77), (45, 90)])
def test_shrinking_is_adaptive_average_pooling(size: tuple[int, int]) -> None:
    whole = AreaSampler(_PHOTOS).shrink(1, size, rows=slice(0, size[0]), columns=slice(0, size[1]))
    np.testing.assert_allclose(whole[..., :3], pooled(_PHOTOS[1], size), atol=1e-4)


def test_a_part_is_a_part_of_the_whole() -> None:
    sampler = AreaSampler(_PHOTOS)
    whole = sampler.shrink(0, (30, 20), rows=slice(0, 30), columns=slice(0, 20))
    part = sampler.shrink(0, (30, 20), rows=slice(7, 19), columns=slice(3, 20))
    np.testing.assert_array_equal(part, whole[7:19, 3:20])


@pytest.mark.parametrize("side", [24, 48])
def test_crops_are_pooled_crops_of_the_padded_photo(side: int) -> None:
    of = _RNG.integers(0, 3, 200)
    first = _RNG.integers(-60, 70, (200, 2))
    boxes = np.hstack([first, first + _RNG.integers(1, 80, (200, 2))])
    crops = AreaSampler(_PHOTOS).crop(of, boxes, side=side)
    for photo, (x1, y1, x2, y2), crop in zip(of, boxes, crops, strict=True):
        padded = np.pad(_PHOTOS[photo], ((100, 200), (100, 200), (0, 0)))
        expected = pooled(padded[y1 + 100 : y2 + 100, x1 + 100 : x2 + 100], (side, side))
        np.testing.assert_allclose(crop[..., :3], expected, atol=1e-4)


def test_sums_beyond_32_bits_wrap_without_harm() -> None:
    white = np.full((3000, 3000, 3), 255, np.uint8)  # sums up to 2.3e9
    shrunk = AreaSampler([white]).shrink(0, (7, 7), rows=slice(0, 7), columns=slice(0, 7))
    np.testing.assert_allclose(shrunk[..., :3], 255, rtol=1e-6)
