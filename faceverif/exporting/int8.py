"""Static quantisation to 8 bits, by ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from faceverif.exporting.onnx_model import INPUT
from faceverif.exporting.program import cannot_export

_BATCH = 16


def quantised(model: ModelProto, pixels: NDArray[np.float32]) -> ModelProto:
    """Weights and activations in 8 bits.

    Each channel of a weight has its own scale. Weights use 7 of the 8 bits: on x86 without VNNI, products of
    8 bits overflow their 16-bit sums, and a file that was checked on one machine would be wrong on another.

    Args:
        model: in float32.
        pixels: (n, 3, side, side) as the model takes them; they tell the ranges of the activations.

    Raises:
        InputError: ONNX Runtime cannot quantise it.
    """
    try:
        with TemporaryDirectory() as folder, _without_advice():
            given, plain, small = (Path(folder) / f"{name}.onnx" for name in ("given", "plain", "int8"))
            onnx.save(model, given)
            quant_pre_process(given, plain, skip_symbolic_shape=True)
            quantize_static(
                plain,
                small,
                _Batches(pixels),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            return onnx.load(small)
    except Exception as error:  # its exceptions have no common class
        raise cannot_export(error) from error


class _Batches(CalibrationDataReader):
    def __init__(self, pixels: NDArray[np.float32]) -> None:
        self._left: Iterator[NDArray[np.float32]] = iter(np.split(pixels, range(_BATCH, len(pixels), _BATCH)))

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or None at the end."""
        batch = next(self._left, None)
        return None if batch is None else {INPUT: batch}


@contextmanager
def _without_advice() -> Iterator[None]:
    """ONNX Runtime logs advice on quantisation, and a traceback beside each exception."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
