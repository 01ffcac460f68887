"""A teacher that sees what the student sees: function matching, Beyer et al. (2022)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.config.teacher import TeacherConfig
from faceverif.models import Embedder, TorchEmbedder
from faceverif.models.onnx_file import OnnxEmbedder
from faceverif.models.onnx_input import filled_up
from faceverif.training.layers import refuse_unknown_layers, tapped
from faceverif.training.teachers.base import Teacher, TeacherOutput

_LAYERS = "teacher.layers"


def live_teacher(embedder: Embedder, config: TeacherConfig, *, input_px: int) -> Teacher:
    """The teacher for live views.

    Args:
        embedder: the model.
        config: its section.
        input_px: what the student sees.

    Raises:
        InputError: the teacher takes pictures of another size, or has no such layers.
    """
    if embedder.spec.input_px != input_px:
        raise InputError(
            "teacher.views",
            "live: the teacher sees the student's pixels, and must take as many",
            got=f"{embedder.spec.input_px} px, and backbone.input_px {input_px}",
            fix=f"Set backbone.input_px={embedder.spec.input_px}, or teacher.views=stored.",
        )
    if isinstance(embedder, OnnxEmbedder):
        return OnnxTeacher(embedder, layers=config.layers)
    if isinstance(embedder, TorchEmbedder):
        return TorchTeacher(embedder, layers=config.layers)
    raise TypeError(f"no live teacher of {type(embedder).__name__}")


class TorchTeacher(Teacher):
    """A run or an imported model.

    Args:
        embedder: the model.
        layers: student layer -> teacher layer.

    Raises:
        InputError: it has no such layer.
    """

    def __init__(self, embedder: TorchEmbedder, *, layers: Mapping[str, str]) -> None:
        self.embedder, self._layers = embedder, dict(layers)
        self._network: nn.Module = embedder.backbone.eval().requires_grad_(False)
        refuse_unknown_layers(self._network, self._layers.values(), field=_LAYERS)

    def output(self, pixels: Tensor, photos: Tensor, mirrored: Tensor) -> TeacherOutput:
        """Computed on the device of the pixels."""
        network = self._network.to(pixels.device)
        with torch.no_grad(), tapped(network, set(self._layers.values())) as found:
            embeddings = network(pixels)
        features = {ours: found[theirs].float() for ours, theirs in self._layers.items()}
        return TeacherOutput(embeddings.float(), features)


class OnnxTeacher(Teacher):
    """An .onnx file; a layer is one of the named values in its graph.

    Args:
        embedder: the model.
        layers: student layer -> name of a value in the graph.

    Raises:
        InputError: the graph has no such value.
    """

    def __init__(self, embedder: OnnxEmbedder, *, layers: Mapping[str, str]) -> None:
        self.embedder = self._own = embedder
        self._layers = dict(layers)
        self._session = _session_with(embedder.path, list(self._layers.values()))
        self._names = [embedder.output_name, *self._layers.values()]

    def output(self, pixels: Tensor, photos: Tensor, mirrored: Tensor) -> TeacherOutput:
        """Computed by ONNX Runtime, in portions where the file's batch is fixed."""
        normalised = self._normalised(pixels)
        size = self._own.batch or len(normalised)
        parts = [self._run(normalised[start : start + size]) for start in range(0, len(normalised), size)]
        embeddings, *features = (
            torch.from_numpy(np.concatenate(each)).float().to(pixels.device)
            for each in zip(*parts, strict=True)
        )
        by_layer = dict(zip(self._layers, map(_channels_last, features), strict=True))
        return TeacherOutput(embeddings.flatten(1), by_layer)

    def _run(self, normalised: np.ndarray) -> list[np.ndarray]:
        """Embeddings and layers of at most as many pictures as the file takes in a call."""
        given = self._own.input
        feed = filled_up(given.feed(normalised), batch=self._own.batch)
        return [found[: len(normalised)] for found in self._session.run(self._names, {given.name: feed})]

    def _normalised(self, pixels: Tensor) -> np.ndarray:
        mean, std = (
            torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) / 255
            for values in (self._own.pixels.mean, self._own.pixels.std)
        )
        seen = (pixels - mean) / std
        if self._own.pixels.colour_order == "bgr":
            seen = seen.flip(1)
        return seen.contiguous(memory_format=torch.contiguous_format).cpu().numpy()


def _session_with(path: Path, layers: list[str]) -> onnxruntime.InferenceSession:
    """The file's graph with further outputs."""
    model = onnx.load_model(path)
    known = [name for node in model.graph.node for name in node.output]
    for layer in dict.fromkeys(layers):
        if layer not in known:
            ends = [name for name in known if name.endswith(layer.rsplit("/", 1)[-1])]
            raise InputError(
                _LAYERS,
                f"must name values in the graph of {path.name}",
                got=layer,
                fix=f"It has {', '.join((ends or known)[-10:])}; a graph viewer such as Netron shows all.",
            )
        if layer not in {output.name for output in model.graph.output}:
            model.graph.output.append(onnx.helper.make_tensor_value_info(layer, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _channels_last(features: Tensor) -> Tensor:
    """As the student's own features lie in memory, which convolutions on a CPU need to be quick."""
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features
