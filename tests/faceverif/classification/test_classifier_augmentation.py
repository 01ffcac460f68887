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
