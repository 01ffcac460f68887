"""A model as an ONNX file. The file says what it expects if it was exported here; else the user names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from data_prep.alignment import TEMPLATES
from data_prep.alignment.base import Template
from data_prep.counted import counted
from data_prep.device import computing_device, cores
from data_prep.errors import InputError, first_line
from data_prep.progress import say
from faceverif.models.embedder import Embedder, PreprocessingSpec
from faceverif.models.location import MODEL_OPTION
from faceverif.models.onnx_graph import model_sha256, read_graph, unusable_file
from faceverif.models.onnx_input import EXPORT_FOR_SMALLER, OnnxInput, filled_up
from faceverif.models.onnx_label import OnnxLabel, read_label
from faceverif.models.preprocessing import Preprocessing, find_preprocessing

_LARGEST_BATCH = 16  # crops per call where the file leaves the batch open: more does not pay on a CPU
_LARGEST_BATCH_ON_GPU = 128
_USUAL_SIDES = (112, 160, 128, 96)
_LONGEST_LINE = 200  # characters of what the runtime says
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_EXPORT = "Export the embedding network alone."


class OnnxEmbedder(Embedder):
    """An ONNX file with one image input and an embedding among its outputs.

    It runs on a GPU where that is this process's device and onnxruntime has its CUDA provider. On a CPU
    calls run side by side in one thread per core, so that a file whose batch is fixed at 1, as most exports
    are, uses all cores too.

    Args:
        path: the .onnx file; external data must lie in its folder.
        preprocess: as for `find_preprocessing`; None: as the file says, if `faceverif export` wrote it.
        output: the name of the embedding; None: the only output that has the shape of one.

    Attributes:
        preprocess: the name of the preprocessing.
        pixels: the preprocessing.
        input: what the graph is given.
        batch: how many crops a call takes; None: any number. A file may leave it open and take one only.
        output_name: of the embedding in the graph.

    Raises:
        InputError: no such file, preprocessing or output, not an ONNX model, external data that are missing,
            a graph with loops, or inputs and outputs other than these.
    """

    alike_cause = "--preprocess is probably not what the model was trained with"
    unusable_fix = (
        "Check --preprocess and the photo; a float16 export may overflow where float32 does not. Otherwise "
        "leave the photo out of the data."
    )

    def __init__(self, path: Path, preprocess: str | None, *, output: str | None = None) -> None:
        self.path, self.name = path, path.name
        if preprocess is not None:
            find_preprocessing(preprocess)
        if not path.is_file():
            raise InputError(MODEL_OPTION, "must be an .onnx file", got=path, fix="Check the path.")
        # Now, not when it is first asked for: by then the files may hold other weights than the session.
        self._sha256 = model_sha256(path, read_graph(path))
        self._session, self._device = _open(path, computing_device())
        label = read_label(path, self._session.get_modelmeta().custom_metadata_map)
        self.preprocess = preprocess = _agreed(path, preprocess, label)
        self.pixels = find_preprocessing(preprocess)
        self.input = OnnxInput.of(path, self._session.get_inputs())
        _refuse_fractions_for_integers(path, self.input, self.pixels, preprocess)
        self.batch = self.input.batch
        self.provenance = {} if label is None else label.provenance
        if label is not None:  # then the file says itself what the pixels are
            self.alike_cause = Embedder.alike_cause
        on_cpu = self._device == "cpu"
        self._threads = ThreadPoolExecutor(cores() if on_cpu else 1)
        self._largest_batch = _LARGEST_BATCH if on_cpu else _LARGEST_BATCH_ON_GPU
        self.spec, self.output_name = self._fitting(label, output)
        self.preprocessing = f"{preprocess}: {self.pixels.colour_order.upper()}, {self.pixels.formula}"
        if len(self._session.get_outputs()) > 1:
            self.preprocessing += f"; output {self.output_name}"
        if self.input.side is None:
            self.preprocessing += f"; {self.spec.input_px} px, as the file leaves the size open"

    @property
    def device(self) -> str:
        """The CPU, unless onnxruntime's CUDA provider took the model."""
        return self._device

    @property
    def sha256(self) -> str:
        """Hash of the file and of its external data: see `model_sha256`."""
        return self._sha256

    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = self.batch or min(self._largest_batch, -(-len(crops) // self._threads._max_workers))
        parts = self._threads.map(self._call, [crops[at : at + size] for at in range(0, len(crops), size)])
        return np.concatenate(list(parts))

    def _call(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        padded = filled_up(self.input.feed(self.pixels(crops)), batch=self.batch)
        (found,) = self._session.run([self.output_name], {self.input.name: padded})
        if len(found) != len(padded):  # a constant, or a size that the export wrote into the graph
            raise _unusable(
                self.path,
                "must give one embedding per crop, whatever the batch",
                f"{_described({self.output_name: found})} for {counted(len(padded), 'crop')}",
                fix="Export it with a dynamic batch, or with a batch of 1.",
            )
        return found.reshape(len(padded), -1)[: len(crops)].astype(np.float32, copy=False)

    def _fitting(self, label: OnnxLabel | None, output: str | None) -> tuple[PreprocessingSpec, str]:
        """The crops, and the name of the embedding.

        What the file leaves open is found out by running it: the side, and whether several images will do.

        Raises:
            InputError: of the first try, where none succeeds.
        """
        names = [each.name for each in self._session.get_outputs()]
        if output is not None and output not in names:
            raise InputError(
                "--output", f"must be an output of {self.path.name}", got=output, fix=_use_one_of(names)
            )
        sides = [self.input.side] if self.input.side else _open_sides(label)
        batches = [self.batch] if self.batch else [2, 1]
        first: InputError | None = None
        for side, batch in product(sides, batches):
            try:
                spec = _spec(self.path, side, label)
                name = self._find_output(output, batch=batch, side=side)
            except InputError as error:
                first = first or error
                continue
            if batch == 1:
                self.batch = 1
            return spec, name
        assert first is not None
        raise first

    def _find_output(self, wanted: str | None, *, batch: int, side: int) -> str:
        """The name of the embedding; where several outputs could be it, the user must choose."""
        names = [output.name for output in self._session.get_outputs()]
        outputs = self._try([wanted] if wanted is not None else names, batch=batch, side=side)
        fitting = [name for name, found in outputs.items() if _is_embedding(found, batch=batch)]
        if wanted is None:
            fitting = self._without_classes(fitting, outputs, batch=batch, side=side)
        if not fitting:
            raise _unusable(
                self.path,
                f"must give embeddings, float (batch, dim), of a batch of {batch}",
                _described(outputs),
                fix=_EXPORT
                if wanted is None
                else f"Leave out --output, or name another: {', '.join(names)}.",
            )
        if len(fitting) > 1:
            raise InputError(
                "--output",
                f"must say which output of {self.path.name} is the embedding: several have the shape of one",
                got=_described({name: outputs[name] for name in fitting}),
                fix=_use_one_of(fitting),
            )
        return fitting[0]

    def _without_classes(
        self, names: Sequence[str], outputs: Mapping[str, Any], *, batch: int, side: int
    ) -> list[str]:
        """The outputs that are not the probabilities of a classifier's classes.

        Raises:
            InputError: none is left.
        """
        classes = [name for name in names if _are_probabilities(outputs[name])]
        if classes:  # black may give this by chance
            noise = self._try(classes, batch=batch, side=side, black=False)
            classes = [name for name in classes if _are_probabilities(noise[name])]
        left = [name for name in names if name not in classes]
        if classes and not left:
            raise _unusable(
                self.path,
                "must give embeddings, not the probabilities of classes",
                f"{_described({name: outputs[name] for name in classes})}: none negative, and their sum is 1",
                fix="Export the network without its last layers, the class weights and the softmax. If this "
                f"is the embedding all the same, add --output {classes[0]}.",
            )
        return left

    def _try(self, names: Sequence[str], *, batch: int, side: int, black: bool = True) -> Mapping[str, Any]:
        """These outputs for a batch of black images, or of noise."""
        brightest = 1 if black else 256
        images = np.random.default_rng(0).integers(0, brightest, (batch, side, side, 3), dtype=np.uint8)
        pixels = self.input.feed(self.pixels(images))
        try:
            return dict(zip(names, self._session.run(list(names), {self.input.name: pixels}), strict=True))
        except Exception as error:  # onnxruntime has no common exception class
            raise _unusable(
                self.path,
                f"must run on a batch of {batch} images of {side} x {side} pixels",
                first_line(error)[:_LONGEST_LINE],
            ) from error


def _is_embedding(found: Any, *, batch: int) -> bool:
    """Whether an output is floats of shape (batch, dim), dim >= 2; further axes of length 1 are allowed."""
    return (
        isinstance(found, np.ndarray)
        and np.issubdtype(found.dtype, np.floating)
        and found.ndim > 1
        and found.shape[0] == batch
        and [length for length in found.shape[1:] if length != 1] == [found.size // batch]
    )


def _are_probabilities(found: NDArray[Any]) -> bool:
    """Whether every row is one of probabilities; sums in half precision miss 1 by up to 1e-2."""
    rows = found.reshape(len(found), -1).astype(np.float64)
    return bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-2))


def _described(outputs: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {found.dtype} {found.shape}" if isinstance(found, np.ndarray) else f"{name}, no tensor"
        for name, found in outputs.items()
    )


def _use_one_of(names: Sequence[str]) -> str:
    return f"Add --output with one of: {', '.join(names)}."


def _open(path: Path, device: torch.device) -> tuple[onnxruntime.InferenceSession, str]:
    """A session, and the device that it runs on."""
    options = onnxruntime.SessionOptions()
    # The calls themselves run in parallel; threads inside each would only fight for the same cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an exception
    try:
        session = onnxruntime.InferenceSession(path, options, providers=_providers(device))
    except Exception as error:  # onnxruntime has no common exception class
        raise unusable_file(path, first_line(error)) from error
    if _CUDA in session.get_providers():
        return session, str(device)
    if device.type == "cuda":
        say(f"{path.name} runs on the CPU: onnxruntime has no CUDA here (install onnxruntime-gpu)")
    return session, "cpu"


def _providers(device: torch.device) -> list[Any]:
    if device.type != "cuda" or _CUDA not in onnxruntime.get_available_providers():
        return [_CPU]
    # As in `find_device`: float32 is float32 on every device.
    return [(_CUDA, {"device_id": device.index or 0, "use_tf32": 0}), _CPU]


def _refuse_fractions_for_integers(
    path: Path, given: OnnxInput, pixels: Preprocessing, preprocess: str | None
) -> None:
    """A graph that takes uint8 normalises by itself."""
    if given.dtype is np.uint8 and (pixels.mean, pixels.std) != ((0, 0, 0), (1, 1, 1)):
        raise InputError(
            "--preprocess",
            f"must be rgb-raw or bgr-raw for {path.name}, which takes pixels as integers in 0..255",
            got=preprocess,
            fix="Use --preprocess rgb-raw, or bgr-raw if it was trained on BGR.",
        )


def _open_sides(label: OnnxLabel | None) -> Sequence[int]:
    """Sides to try where the file leaves them open, the most common first."""
    return (label.spec.input_px,) if label is not None else _USUAL_SIDES


def _agreed(path: Path, preprocess: str | None, label: OnnxLabel | None) -> str | None:
    """The name of the preprocessing: the user's where the file says nothing, else the file's."""
    if label is None or preprocess is None:
        return preprocess if label is None else label.preprocess
    if preprocess != label.preprocess:
        raise InputError(
            "--preprocess",
            f"must be what {path.name} says of itself: {label.preprocess}",
            got=preprocess,
            fix="Leave it out.",
        )
    return preprocess


def _spec(path: Path, side: int, label: OnnxLabel | None) -> PreprocessingSpec:
    """The crops: as the file says, or by the side of its input."""
    if label is None:
        return PreprocessingSpec.of(_template_for(path, side), input_px=side)
    label.spec.checked_template()
    if label.spec.input_px != side:
        raise _unusable(
            path, f"must take the {label.spec.input_px} pixels that it speaks of", f"{side} pixels"
        )
    return label.spec


def _template_for(path: Path, side: int) -> Template:
    """The smallest template whose crops hold the model's input."""
    fitting = [template for template in TEMPLATES.values() if template.crop_px >= side]
    if not fitting:
        largest = max(template.crop_px for template in TEMPLATES.values())
        raise _unusable(
            path,
            f"must take at most {largest} x {largest} pixels, the largest crops that `align` cuts",
            f"{side} x {side}",
            fix=EXPORT_FOR_SMALLER,
        )
    return min(fitting, key=lambda template: template.crop_px)


def _unusable(path: Path, rule: str, got: object, *, fix: str = _EXPORT) -> InputError:
    return InputError(MODEL_OPTION, f"{path.name} {rule}", got=got, fix=fix)
