"""A model from elsewhere, as an ONNX file: what it expects is said by the name of its preprocessing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from data_prep.alignment import TEMPLATES, Template
from data_prep.errors import InputError, first_line
from faceverif.models.embedder import Embedder, PreprocessingSpec

_LARGEST_BATCH = 16  # crops a call where the file leaves the batch open: more does not pay on a CPU
_LONGEST_LINE = 200  # characters of what the runtime says


@dataclass(frozen=True)
class Preprocessing:
    """How a foreign model wants its pixels: `(x - mean) / std` on x in 0..255, per channel.

    Attributes:
        colour_order: rgb or bgr.
        mean: of the three channels in RGB order, on the scale 0..255.
        std: likewise.
        formula: for people.
    """

    colour_order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    formula: str

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, h, w, 3) uint8 RGB -> (n, 3, h, w) float32 as the model wants it."""
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


class OnnxEmbedder(Embedder):
    """An ONNX file with one image input (n, 3, side, side) and one embedding output (n, dim).

    Calls run side by side in one thread per core, so that a file whose batch is fixed at 1, as most exports
    are, uses all cores too.

    Args:
        path: the .onnx file; external data must lie beside it.
        preprocess: a name in `PREPROCESSINGS`.

    Raises:
        InputError: no such file or preprocessing, not an ONNX model, missing external data, or inputs and
            outputs other than these.
    """

    def __init__(self, path: Path, preprocess: str | None) -> None:
        self.path, self.name = path, path.name
        self._pixels = _find_preprocessing(preprocess)
        self.preprocessing = f"{preprocess}: {self._pixels.colour_order.upper()}, {self._pixels.formula}"
        self._session = _open(path)
        self._batch, side = _input_shape(path, self._session.get_inputs())
        self.spec = PreprocessingSpec.of(_template_for(path, side), input_px=side)
        self._input = self._session.get_inputs()[0].name
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1)
        _check_output(path, self._try(side))

    @cached_property
    def sha256(self) -> str:
        """Hash of the file, followed by its external data where it has any."""
        graph = self.path.read_bytes()
        digest = hashlib.sha256(graph)
        for beside in sorted(self.path.parent.glob(f"{self.path.stem}*")):
            if beside != self.path and beside.name.encode() in graph:
                digest.update(beside.read_bytes())
        return digest.hexdigest()

    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = self._batch or min(_LARGEST_BATCH, -(-len(crops) // self._threads._max_workers))
        parts = self._threads.map(self._call, [crops[at : at + size] for at in range(0, len(crops), size)])
        return np.concatenate(list(parts))

    def _call(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = self._pixels(crops)
        missing = (self._batch or len(pixels)) - len(pixels)
        padded = (
            np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.float32)])
            if missing
            else pixels
        )
        return self._session.run(None, {self._input: padded})[0][: len(crops)]

    def _try(self, side: int) -> NDArray[np.float32]:
        try:
            return self._call(np.zeros((self._batch or 2, side, side, 3), np.uint8))
        except Exception as error:  # onnxruntime has no common exception class
            raise _unusable(
                self.path, "must run on an image batch", first_line(error)[:_LONGEST_LINE]
            ) from error


def _find_preprocessing(name: str | None) -> Preprocessing:
    if name not in PREPROCESSINGS:
        raise InputError(
            "--preprocess",
            "must name the colour order and normalisation that the ONNX model was trained with",
            got=name,
            fix=f"Use one of: {', '.join(PREPROCESSINGS)}.",
        )
    return PREPROCESSINGS[name]


def _open(path: Path) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise InputError("--onnx", "must be an .onnx file", got=path, fix="Check the path.")
    options = onnxruntime.SessionOptions()
    # The calls themselves run in parallel; threads inside each would only fight for the same cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an exception
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common exception class
        text = first_line(error)[:_LONGEST_LINE]
        if "external" in text.lower() or "file_size" in text:
            rule, way_out = (
                "must have its external data file beside it",
                "Copy the .onnx.data file along with it.",
            )
        else:
            rule, way_out = "must be a model that onnxruntime can open", "Export or download it again."
        raise InputError("--onnx", rule, got=f"{path} ({text})", fix=way_out) from error


def _input_shape(path: Path, inputs: Sequence[Any]) -> tuple[int | None, int]:
    """Batch (None: left open) and side of the only input."""
    rule = "must have one float input (batch, 3, side, side) with a fixed side"
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise _unusable(path, rule, [f"{i.name} {i.shape}" for i in inputs])
    batch, channels, height, width = inputs[0].shape
    fixed = isinstance(height, int) and height == width and channels == 3
    if not fixed or inputs[0].type != "tensor(float)":
        raise _unusable(path, rule, f"{inputs[0].name} {inputs[0].type} {inputs[0].shape}")
    return (batch if isinstance(batch, int) and batch > 0 else None), height


def _template_for(path: Path, side: int) -> Template:
    """The smallest template whose crops hold the model's input."""
    fitting = [template for template in TEMPLATES.values() if template.crop_px >= side]
    if not fitting:
        largest = max(template.crop_px for template in TEMPLATES.values())
        raise _unusable(path, f"must take at most {largest} x {largest} pixels", f"{side} x {side}")
    return min(fitting, key=lambda template: template.crop_px)


def _check_output(path: Path, output: NDArray[np.float32]) -> None:
    if output.ndim != 2 or output.dtype != np.float32:
        raise _unusable(
            path, "its first output must be embeddings, float (batch, dim)", f"{output.dtype} {output.shape}"
        )


def _unusable(path: Path, rule: str, got: object) -> InputError:
    return InputError(
        "--onnx", f"{path.name} {rule}", got=got, fix="Export the embedding network alone, as such."
    )
