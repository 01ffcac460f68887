"""`faceverif export`: make the file, compare it with the model, and only then keep it, with its card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from data_prep.atomic import write_text, written_whole
from data_prep.dataset.crops import centre_square
from data_prep.dataset.packed import load_aligned
from data_prep.errors import printable_lines
from data_prep.file_hash import file_hash
from data_prep.protocols import protocol_on
from faceverif.exporting.card import model_card
from faceverif.exporting.check_crops import CheckCrops, check_crops
from faceverif.exporting.checks import AccuracyCheck, CosineCheck, compare_accuracy, compare_embeddings
from faceverif.exporting.int8 import quantised
from faceverif.exporting.onnx_model import OPSET, PREPROCESS, as_onnx, halve_weights, label
from faceverif.exporting.program import ProgramEmbedder, traced, with_half_weights, write_program
from faceverif.exporting.request import ExportRequest
from faceverif.models import Embedder, TorchEmbedder, load_differentiable
from faceverif.models.onnx_file import OnnxEmbedder
from faceverif.models.onnx_label import OnnxLabel
from faceverif.models.preprocessing import PREPROCESSINGS

_PATHS = ("path", "run", "model", "teacher")  # keys of a provenance that name a place


@dataclass(frozen=True)
class Exported:
    """A file that was checked and kept.

    Attributes:
        request: what was asked for.
        model: what was exported.
        embedding_dim: length of an embedding.
        file_bytes: size of the file.
        file_sha256: of the file.
        cosines: of its embeddings with the model's.
        accuracy: of both, where a protocol was given.
    """

    request: ExportRequest
    model: TorchEmbedder
    embedding_dim: int
    file_bytes: int
    file_sha256: str
    cosines: CosineCheck
    accuracy: AccuracyCheck | None

    @property
    def form(self) -> str:
        """What the file is, in words."""
        kind = f"ONNX, opset {OPSET}" if self.request.target == "onnx" else "torch.export program"
        return f"{kind}, {self.request.precision}"

    def text(self) -> str:
        """A few lines for the user."""
        spec = self.model.spec
        side, crops = spec.input_px, f"{spec.template} crops"
        lines = [
            f"export:   {self.request.out} ({self.form}, {self.file_bytes / 1e6:.1f} MB)",
            f"input:    (batch, 3, {side}, {side}) float32, RGB in [0, 1], from the middle of {crops}",
            f"output:   (batch, {self.embedding_dim}) float32",
            f"cosine:   {self.cosines.text()}",
        ]
        if self.accuracy is not None:
            lines.append(f"accuracy: {self.accuracy.text()}")
        return printable_lines([*lines, f"card:     {self.request.card}"])


def export_model(request: ExportRequest) -> Exported:
    """Write a model as another file, if that gives the same embeddings.

    Args:
        request: which model, and what is to be made of it.

    Raises:
        InputError: no model there, an operator that cannot be exported, data that do not fit the model, or an
            export that differs too much from the model; nothing is written then.
    """
    model = load_differentiable(request.model)
    model.backbone.cpu()  # the example that is traced lies there
    dataset = None if request.data is None else load_aligned(request.data)
    pairs = None
    if dataset is not None:
        model.spec.refuse_other(dataset.header)
        if request.protocol is not None:
            pairs = protocol_on(request.protocol, dataset, allow_partial=False)
    crops = check_crops(dataset, model.spec.checked_template(), without=pairs)
    with TemporaryDirectory() as folder:
        file = Path(folder) / request.out.name
        _write(file, model, request, crops)
        export = _reopened(file, model, request)
        precision = request.precision
        cosines = compare_embeddings(model, export, crops.compared, origin=crops.origin, precision=precision)
        accuracy = None
        if dataset is not None and pairs is not None:
            accuracy = compare_accuracy(model, export, dataset, pairs, precision=precision)
        dim = export.embed(crops.compared[:1]).shape[1]
        exported = Exported(request, model, dim, file.stat().st_size, file_hash(file), cosines, accuracy)
        _keep(file, exported)
    return exported


def _write(file: Path, model: TorchEmbedder, request: ExportRequest, crops: CheckCrops) -> None:
    side, halved = model.spec.input_px, request.precision == "half"
    about = OnnxLabel(PREPROCESS, model.spec, _provenance(model))
    if request.target == "torch-export":
        network = with_half_weights(model.backbone) if halved else model.backbone
        write_program(traced(network, input_px=side), file, about.as_metadata())
        return
    graph = as_onnx(traced(model.backbone, input_px=side), input_px=side)
    if halved:
        halve_weights(graph)
    if request.precision == "int8":
        graph = quantised(graph, PREPROCESSINGS[PREPROCESS](centre_square(crops.calibration, side)))
    label(graph, about)
    onnx.save(graph, file)


def _provenance(model: TorchEmbedder) -> dict[str, Any]:
    """What the model says of itself, without the machine that it was trained on and its folders."""
    return _without_folders(model.provenance) | {"exported_from": model.sha256}


def _without_folders(facts: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in facts.items():
        if isinstance(value, Mapping):
            kept |= {} if key == "machine" else {key: _without_folders(value)}
        elif key != "command":
            kept[key] = Path(value).name if key in _PATHS and isinstance(value, str) else value
    return kept


def _reopened(file: Path, model: TorchEmbedder, request: ExportRequest) -> Embedder:
    if request.target == "onnx":
        return OnnxEmbedder(file, None)
    return ProgramEmbedder(file, model.spec)


def _keep(file: Path, exported: Exported) -> None:
    request = exported.request
    with written_whole(request.out) as unfinished:
        shutil.copyfile(file, unfinished)
        write_text(request.card, model_card(exported))
