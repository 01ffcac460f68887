"""Changes within epsilon that are no attacks: noise, blur, JPEG. A detector should accept them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur as torchvision_blur

from data_prep.errors import InputError
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import expand, sizes
from robustness.attacked_model import refuse_bad_pixels
from robustness.detectors.views import through_jpeg

SIZE_RULE = (
    "Each control is scaled to the attack's epsilon, and, named CONTROL-like-ATTACK, to the l2 norm of that "
    "attack's change of each image. JPEG uses the lowest quality within it; where a control cannot reach its "
    "size, the measured size is shown"
)

# The blur that is mixed in has a standard deviation of this share of the image's side.
_BLUR = 0.15
_BISECTIONS = 40
_WORST_QUALITY, _BEST_QUALITY = 1, 95


def gaussian_noise(images: Tensor, wanted: Tensor, *, norm: Norm, seed: int) -> Tensor:
    """Images plus independent Gaussian noise; the change has the wanted norm after clipping to the box.

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        wanted: (N,) norm that each change is to have.
        norm: in which it is measured.
        seed: of the noise.
    """
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return _scaled(images, noise, wanted, norm=norm)


def gaussian_blur(images: Tensor, wanted: Tensor, *, norm: Norm, seed: int) -> Tensor:
    """Images mixed with their Gaussian blur in the share that gives the change the wanted norm.

    Arguments as for `gaussian_noise`; the result is not random.
    """
    sigma = _BLUR * max(images.shape[2:])
    reach = min(int(2 * sigma), (min(images.shape[2:]) - 1))
    blurred = torchvision_blur(images, [2 * reach + 1, 2 * reach + 1], [sigma, sigma])
    return _mixed_in(images, blurred, wanted, norm=norm)


def jpeg(images: Tensor, wanted: Tensor, *, norm: Norm, seed: int) -> Tensor:
    """Images compressed as JPEG, at the worst quality whose change is within the wanted norm.

    The quality is found by bisection, which assumes that the change grows with compression.
    Arguments as for `gaussian_noise`; the result is not random.
    """
    compressed = torch.stack([_compressed(*pair, norm=norm) for pair in zip(images, wanted, strict=True)])
    return _mixed_in(images, compressed, wanted, norm=norm)


Control = Callable[..., Tensor]

CONTROLS: dict[str, Control] = {"noise": gaussian_noise, "blur": gaussian_blur, "jpeg": jpeg}


def controlled(name: str, images: Tensor, wanted: Tensor, *, norm: Norm, seed: int) -> Tensor:
    """The images under a control; see `SIZE_RULE`.

    Args:
        name: noise, blur or jpeg.
        images: (N, C, H, W) float32 in [0, 1].
        wanted: (N,) norm that each change is to have.
        norm: in which it is measured.
        seed: of the noise.

    Raises:
        InputError: an unknown control, or pixels out of range.
    """
    if name not in CONTROLS:
        raise InputError(
            "control", "must be a known one", got=name, fix=f"Use one of: {', '.join(CONTROLS)}."
        )
    refuse_bad_pixels(images)
    return CONTROLS[name](images, wanted, norm=norm, seed=seed)


def _scaled(images: Tensor, direction: Tensor, wanted: Tensor, *, norm: Norm) -> Tensor:
    """Images moved along a direction until the clipped change has the wanted norm, found by bisection."""
    low, high = torch.zeros(len(images)), torch.full((len(images),), 1e4)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        moved = (images + direction * expand(middle, images)).clamp(0.0, 1.0)
        too_far = sizes(moved - images, norm) > wanted
        low, high = torch.where(too_far, low, middle), torch.where(too_far, middle, high)
    return (images + direction * expand(low, images)).clamp(0.0, 1.0)


def _mixed_in(images: Tensor, changed: Tensor, wanted: Tensor, *, norm: Norm) -> Tensor:
    """Images moved towards changed ones until the change has the wanted norm, or all the way."""
    change = changed - images
    share = (wanted / sizes(change, norm).clamp_min(1e-12)).clamp_max(1.0)
    return (images + change * expand(share, images)).clamp(0.0, 1.0)


def _compressed(image: Tensor, wanted: Tensor, *, norm: Norm) -> Tensor:
    low, high = _WORST_QUALITY, _BEST_QUALITY
    while low < high:
        middle = (low + high) // 2
        within = sizes((_through_jpeg(image, middle) - image)[None], norm) <= wanted
        low, high = (low, middle) if within else (middle + 1, high)
    return _through_jpeg(image, low)


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    return through_jpeg(image[None], quality=quality)[0]
