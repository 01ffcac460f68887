"""The image input of an ONNX file: which batch, side, order of axes and type it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError
from faceverif.models.location import MODEL_OPTION

# Types of numbers that a graph may take, by onnxruntime's names.
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
# What helps where a network sees more pixels than any template has.
EXPORT_FOR_SMALLER = (
    "Take a network for 112 pixels, the usual input for faces; one whose weights fit any size can be built "
    "for it and exported (timm: img_size=112)."
)


@dataclass(frozen=True)
class OnnxInput:
    """What a graph is given.

    Attributes:
        name: of the input.
        batch: how many images a call takes; None: any number.
        side: of an image; None: the file leaves it open.
        channels_last: whether it takes (batch, side, side, 3).
        dtype: of the numbers.
    """

    name: str
    batch: int | None
    side: int | None
    channels_last: bool
    dtype: type[np.generic]

    @classmethod
    def of(cls, path: Path, inputs: Sequence[Any]) -> OnnxInput:
        """The only input of a graph.

        Args:
            path: the file, for the message.
            inputs: as onnxruntime lists them: name, type and shape.

        Raises:
            InputError: there are several, or it takes no square RGB images.
        """
        if len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].type in _TYPES:
            batch, *image = (size if isinstance(size, int) and size > 0 else None for size in inputs[0].shape)
            channels_last = image[0] != 3 and image[2] == 3
            height, width, channels = image if channels_last else (image[1], image[2], image[0])
            if channels in (3, None) and (height == width or None in (height, width)):
                dtype = _TYPES[inputs[0].type]
                return cls(inputs[0].name, batch, height or width, channels_last, dtype)
        got = ", ".join(f"{given.name} {given.type} {given.shape}" for given in inputs)
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must have one input of square RGB images: [batch, 3, side, side] or "
            "[batch, side, side, 3], in float32, float16, float64 or uint8",
            got=got or "none",
            fix="Export the embedding network alone, for crops of one size.",
        )

    def feed(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        """What the graph is given for (n, 3, side, side), normalised; whole numbers where it takes bytes."""
        ordered = pixels.transpose(0, 2, 3, 1) if self.channels_last else pixels
        if self.dtype is np.uint8:  # of augmented pixels a cast alone would cut the fraction off
            ordered = np.rint(ordered)
        return np.ascontiguousarray(ordered, self.dtype)


def filled_up(fed: NDArray[Any], *, batch: int | None) -> NDArray[Any]:
    """As many images as a call takes, with zeros behind those that there are.

    Args:
        fed: (n, ...), as `OnnxInput.feed` gives it.
        batch: at least n; None: a call takes any number.
    """
    missing = 0 if batch is None else batch - len(fed)
    return np.concatenate([fed, np.zeros((missing, *fed.shape[1:]), fed.dtype)]) if missing else fed
