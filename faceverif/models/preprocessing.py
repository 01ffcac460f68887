"""What models from elsewhere were fed: colour order and normalisation, by name or by number."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError

# mean and std each as one number, or as three: of red, green and blue, whatever the colour order.
_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
_NUMBERS = rf"({_NUMBER}(?:,{_NUMBER},{_NUMBER})?)"
_BY_NUMBER = re.compile(rf"(rgb|bgr):mean={_NUMBERS},std={_NUMBERS}")
BY_NUMBER = "rgb:mean=127.5,std=128 (bgr too; mean and std may be three numbers, of red, green and blue)"


@dataclass(frozen=True)
class Preprocessing:
    """Colour order and normalisation, `(x - mean) / std` per channel with x in 0..255.

    Attributes:
        colour_order: rgb or bgr.
        mean: of the three channels in RGB order, in 0..255.
        std: of the three channels, likewise.
        published: how its publishers write it, where not in these numbers.
    """

    colour_order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    published: str = ""

    @property
    def formula(self) -> str:
        """In words, for reports."""
        if self.published:
            return self.published
        if self.mean == (0, 0, 0):
            return "x" if self.std == (1, 1, 1) else f"x / {_short(self.std)}"
        return f"(x - {_short(self.mean)}) / {_short(self.std)}"

    @property
    def unit_mean(self) -> tuple[float, float, float]:
        """The mean for pixels in [0, 1]."""
        red, green, blue = self.mean
        return red / 255, green / 255, blue / 255

    @property
    def unit_std(self) -> tuple[float, float, float]:
        """The std for pixels in [0, 1]."""
        red, green, blue = self.std
        return red / 255, green / 255, blue / 255

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, h, w, 3) uint8 RGB -> (n, 3, h, w) float32 as the model expects it."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        pixels = (crops.astype(np.float32) - mean) / std
        if self.colour_order == "bgr":
            pixels = pixels[..., ::-1]
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _short(values: tuple[float, ...]) -> str:
    alike = len(set(values)) == 1
    return f"{values[0]:g}" if alike else f"({', '.join(f'{value:g}' for value in values)})"


def _grey(colours: str, mean: float, std: float) -> Preprocessing:
    return Preprocessing(colours, (mean, mean, mean), (std, std, std))


PREPROCESSINGS: dict[str, Preprocessing] = {
    "rgb-imagenet": Preprocessing(  # torchvision, face.evoLVe's descendants
        "rgb",
        (0.485 * 255, 0.456 * 255, 0.406 * 255),
        (0.229 * 255, 0.224 * 255, 0.225 * 255),
        "(x / 255 - (.485, .456, .406)) / (.229, .224, .225)",
    ),
    "rgb-127.5": _grey("rgb", 127.5, 127.5),  # InsightFace: values in -1..1
    "bgr-127.5": _grey("bgr", 127.5, 127.5),  # AdaFace, CVLface
    "rgb-128": _grey("rgb", 127.5, 128),  # facenet-pytorch, SphereFace, older InsightFace
    "bgr-128": _grey("bgr", 127.5, 128),
    "rgb-255": _grey("rgb", 0, 255),  # values in 0..1
    "bgr-255": _grey("bgr", 0, 255),
    "rgb-raw": _grey("rgb", 0, 1),  # values in 0..255: normalisation is part of the model
    "bgr-raw": _grey("bgr", 0, 1),
}


def find_preprocessing(name: str | None) -> Preprocessing:
    """The preprocessing that a name or numbers describe.

    Args:
        name: one of `PREPROCESSINGS`, or numbers as in `BY_NUMBER`, for pixels in 0..255.

    Raises:
        InputError: it is neither, none was given, or the numbers are for pixels in [0, 1].
    """
    if name in PREPROCESSINGS:
        return PREPROCESSINGS[name]
    numbers = _BY_NUMBER.fullmatch(name or "")
    if numbers is None:
        raise InputError(
            "--preprocess",
            "must say which colour order and normalisation the model was trained with",
            got=name or "nothing",
            fix=f"Use one of {', '.join(PREPROCESSINGS)}; or numbers for pixels in 0..255: {BY_NUMBER}.",
        )
    colours, mean, std = numbers.groups()
    return _checked(name or "", Preprocessing(colours, _three(mean), _three(std)))


def _three(numbers: str) -> tuple[float, float, float]:
    values = [float(number) for number in numbers.split(",")]
    red, green, blue = values * 3 if len(values) == 1 else values
    return red, green, blue


def _checked(name: str, found: Preprocessing) -> Preprocessing:
    """Refuse numbers that no pixels in 0..255 are normalised with."""
    if not all(map(math.isfinite, (*found.mean, *found.std))) or min(found.std) <= 0:
        raise InputError("--preprocess", "std must be above 0", got=name, fix=f"As in {BY_NUMBER}.")
    if min(found.std) < 1 or any(0 < abs(value) <= 1 for value in found.mean):
        mean, std = (tuple(value * 255 for value in each) for each in (found.mean, found.std))
        raise InputError(
            "--preprocess",
            "mean and std must be for pixels in 0..255",
            got=f"{name}, which looks like numbers for pixels in [0, 1]",
            fix=f"Multiply by 255: {found.colour_order}:mean={_list(mean)},std={_list(std)}.",
        )
    return found


def _list(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))
