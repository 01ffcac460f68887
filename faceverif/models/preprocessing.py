"""Named preprocessings of models from elsewhere: colour order and normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError


@dataclass(frozen=True)
class Preprocessing:
    """Colour order and normalisation, `(x - mean) / std` per channel with x in 0..255.

    Attributes:
        colour_order: rgb or bgr.
        mean: of the three channels in RGB order, in 0..255.
        std: of the three channels, likewise.
        formula: in words, for reports.
    """

    colour_order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    formula: str

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


def _same_for_all(value: float) -> tuple[float, float, float]:
    return (value, value, value)


PREPROCESSINGS: dict[str, Preprocessing] = {
    "rgb-imagenet": Preprocessing(  # torchvision, face.evoLVe's descendants
        "rgb",
        (0.485 * 255, 0.456 * 255, 0.406 * 255),
        (0.229 * 255, 0.224 * 255, 0.225 * 255),
        "(x / 255 - (.485, .456, .406)) / (.229, .224, .225)",
    ),
    "rgb-127.5": Preprocessing(  # InsightFace: values in -1..1
        "rgb", _same_for_all(127.5), _same_for_all(127.5), "(x - 127.5) / 127.5"
    ),
    "bgr-127.5": Preprocessing(  # AdaFace, CVLface
        "bgr", _same_for_all(127.5), _same_for_all(127.5), "(x - 127.5) / 127.5"
    ),
    "rgb-255": Preprocessing("rgb", _same_for_all(0.0), _same_for_all(255.0), "x / 255"),  # values in 0..1
    "bgr-255": Preprocessing("bgr", _same_for_all(0.0), _same_for_all(255.0), "x / 255"),
}


def find_preprocessing(name: str | None) -> Preprocessing:
    """The preprocessing of that name.

    Raises:
        InputError: there is none, or no name was given.
    """
    if name not in PREPROCESSINGS:
        raise InputError(
            "--preprocess",
            "must name the colour order and normalisation that the ONNX model was trained with",
            got=name,
            fix=f"Use one of: {', '.join(PREPROCESSINGS)}.",
        )
    return PREPROCESSINGS[name]
