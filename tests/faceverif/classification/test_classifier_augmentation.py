"""Flips and crops against the literal way, image by image."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from faceverif.classification.augmentation import augment_images
from faceverif.classification.config import ImageAugmentationConfig

IMAGES = torch.randint(256, (40, 3, 6, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def augmented(seed: int = 1, **settings: float) -> torch.Tensor:
    config = ImageAugmentationConfig.model_validate(settings)
    return augment_images(IMAGES, config, generator=torch.Generator().manual_seed(seed))


def test_nothing_happens_unless_written() -> None:
    assert torch.equal(augmented(), IMAGES)


def test_a_sure_flip_mirrors_all() -> None:
    assert torch.equal(augmented(flip=1.0), IMAGES.flip(3))


def test_every_image_is_a_crop_of_its_padded_self_maybe_mirrored() -> None:
    found, padded = augmented(flip=0.5, crop_padding_px=2), F.pad(IMAGES, (2, 2, 2, 2))
    places = set()
    for image, source in zip(found, padded, strict=True):
        fitting = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(image.flip(2) if mirrored else image, source[:, top : top + 6, left : left + 5])
        ]
        assert len(fitting) == 1
        places.update(fitting)
    assert {top for top, _, _ in places} == {left for _, left, _ in places} == set(range(5))
    assert {mirrored for _, _, mirrored in places} == {False, True}


def test_one_change_leaves_the_others_draw_as_it_was() -> None:
    both, only_crop = augmented(flip=1.0, crop_padding_px=2), augmented(crop_padding_px=2)
    assert torch.equal(both, only_crop.flip(3))
    assert not torch.equal(augmented(seed=2, crop_padding_px=2), only_crop)


def test_parts_are_scaled_up_and_stay_inside() -> None:
    """A part of a ramp is a ramp between two of its values, the flatter the narrower the part."""
    ramp = torch.arange(0, 240, 6, dtype=torch.uint8).expand(60, 1, 40, 40).clone()
    config = ImageAugmentationConfig(smallest_crop=0.08)
    parts = augment_images(ramp, config, generator=torch.Generator().manual_seed(0)).float()
    assert (parts.diff(dim=3) >= 0).all()
    assert (parts.diff(dim=2) == 0).all()
    widths = (parts[:, 0, 0, -1] - parts[:, 0, 0, 0]) / 234
    assert widths.min() < 0.45 < 0.9 < widths.max()
    assert parts.min() >= 0
    assert parts.max() <= 234


def test_cutout_erases_a_square_to_the_mean() -> None:
    images = torch.zeros(50, 1, 9, 9, dtype=torch.uint8)
    images[:, :, ::2] = 90
    config = ImageAugmentationConfig(cutout_px=4)
    found = augment_images(images, config, generator=torch.Generator().manual_seed(0))
    mean = round(images[0].float().mean().item())
    sizes = set()
    for image, source in zip(found[:, 0], images[:, 0], strict=True):
        erased = image == mean
        assert torch.equal(image[~erased], source[~erased])
        rows, columns = erased.any(dim=1), erased.any(dim=0)
        assert torch.equal(erased, rows[:, None] & columns)
        sizes.add((int(rows.sum()), int(columns.sum())))
    assert max(sizes) == (4, 4)
    assert min(min(size) for size in sizes) < 4  # a part of it may lie outside


def test_what_is_switched_on_leaves_other_draws_as_they_were() -> None:
    plain, erased = (augmented(flip=0.5, crop_padding_px=2, cutout_px=side) for side in (0, 1))
    assert 0 < plain.ne(erased).any(dim=1).sum() <= len(IMAGES)  # one pixel of each image


def test_shares_of_a_batch_are_augmented_as_the_whole_is() -> None:
    config = ImageAugmentationConfig(flip=0.5, crop_padding_px=2, smallest_crop=0.5, cutout_px=3)
    images = torch.randint(256, (6, 3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    whole, *shares = (
        augment_images(part, config, generator=torch.Generator().manual_seed(0), share=share)
        for part, share in ((images, (0, 1)), (images[:3], (0, 2)), (images[3:], (1, 2)))
    )
    assert torch.equal(torch.cat(shares), whole)
