"""Any ONNX file as a PyTorch network with gradients, compared with the file before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto

from data_prep.errors import InputError, first_line
from faceverif.backbones.onnx_graph import OnnxBackbone, has_layer
from faceverif.models.importing.onnx_cleaning import cleaned, holds_half, load_whole, with_open_batch
from faceverif.models.location import MODEL_OPTION
from faceverif.models.model_file import TorchEmbedder
from faceverif.models.onnx_file import OnnxEmbedder

# As a share of the largest number in an embedding. Conversions that are right differ by 1e-6. Those of a file
# in half precision are computed in float32, and differ by what the file itself rounds.
TOLERANCE, HALF_TOLERANCE = 1e-4, 3e-2
_BATCHES = (1, 7)
_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
_LONGEST_LINE = 200
# Today's exporter writes newer operators than onnx2torch knows, as Gelu of opset 20.
_EXPORT_AGAIN = "export it with torch.onnx.export(..., dynamo=False, opset_version=17)"


@dataclass(frozen=True)
class Differentiable:
    """A converted file.

    Attributes:
        embedder: the network, in evaluation mode.
        source: the file as onnxruntime runs it.
        difference: largest one between the two, as a share of the largest number in an embedding.
    """

    embedder: TorchEmbedder
    source: OnnxEmbedder
    difference: float

    @property
    def backbone(self) -> OnnxBackbone:
        """RGB pixels in [0, 1] -> raw embeddings."""
        backbone = self.embedder.backbone
        assert isinstance(backbone, OnnxBackbone)
        return backbone


def differentiable(path: Path, preprocess: str | None, *, output: str | None = None) -> Differentiable:
    """Convert a file and compare the embeddings of random crops, one and seven at a time.

    Args:
        path: the .onnx file.
        preprocess: what it expects, as for `find_preprocessing`.
        output: the name of its embedding; None: the only output that has the shape of one.

    Raises:
        InputError: see `OnnxEmbedder`; onnx2torch lacks an operator; or the network does not give the file's
            embeddings.
    """
    source = OnnxEmbedder(path, preprocess, output=output)
    whole = load_whole(path)
    tolerance = HALF_TOLERANCE if holds_half(whole) else TOLERANCE
    tried: list[str] = []
    for attempt in _attempts(whole, source):
        try:
            model = attempt()
            _refuse_missing_operators(path, model)
            converted = _converted(model, source)
            difference = _largest_difference(converted, source)
        except InputError:
            raise
        except Exception as error:  # whatever a layer raises on a batch that it was not exported for
            tried.append(first_line(error)[:_LONGEST_LINE])
            continue
        if difference <= tolerance:
            _refuse_without_gradient(path, converted)
            return Differentiable(converted, source, difference)
        tried.append(f"embeddings that differ by {difference:.2g} of their largest number")
    raise InputError(
        MODEL_OPTION,
        f"{path.name} must give the same embeddings as PyTorch layers, to {tolerance:g} of their largest",
        got="; ".join(dict.fromkeys(tried)),
        fix=f"verify, embed and audit take it as it is; for gradients, {_EXPORT_AGAIN}, in float32 and with "
        "a dynamic batch.",
    )


def _attempts(whole: ModelProto, source: OnnxEmbedder) -> Iterator[Callable[[], ModelProto]]:
    """Graphs for any batch, as it is and with its shapes opened; then one for a fixed batch."""
    batch = source.batch or 1
    if source.batch is None:
        yield lambda: cleaned(whole, source, batch=None)
    yield lambda: with_open_batch(cleaned(whole, source, batch=batch), batch=batch)
    yield lambda: cleaned(whole, source, batch=batch)


def _converted(model: ModelProto, source: OnnxEmbedder) -> TorchEmbedder:
    dim = len(source.embed(_crops(1, source))[0])
    backbone = OnnxBackbone(model, embedding_dim=dim)
    backbone.normalise_pixels(mean=source.pixels.unit_mean, std=source.pixels.unit_std)
    provenance = {"imported": {"file": source.path.name, "sha256": source.sha256}}
    return TorchEmbedder(backbone.eval(), source.spec, name=source.path.name, provenance=provenance)


def _refuse_missing_operators(path: Path, model: ModelProto) -> None:
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    missing = sorted({node.op_type for node in model.graph.node if not has_layer(node, opsets)})
    if any(operator in _QUANTISED or operator.startswith("QLinear") for operator in missing):
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must be in floating point: quantised operators have no gradients",
            got=", ".join(missing),
            fix="Import the file that was quantised; verify, embed and audit take this one as it is.",
        )
    if missing:
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must be made of operators that onnx2torch turns into layers with gradients",
            got=", ".join(missing),
            fix=f"verify, embed and audit take it as it is; for gradients, {_EXPORT_AGAIN}.",
        )


def _largest_difference(converted: TorchEmbedder, source: OnnxEmbedder) -> float:
    differences = []
    for count in _BATCHES:
        crops = _crops(count, source)
        wanted, got = source.embed(crops), converted.embed(crops)
        differences.append(float(np.abs(got - wanted).max() / np.abs(wanted).max()))
    return max(differences)


def _refuse_without_gradient(path: Path, converted: TorchEmbedder) -> None:
    side = converted.spec.input_px
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    embeddings = converted.backbone(pixels)
    gradient = (
        torch.autograd.grad(embeddings.square().sum(), pixels)[0] if embeddings.requires_grad else pixels * 0
    )
    if not gradient.isfinite().all() or not gradient.flatten(1).any(dim=1).all():
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must pass gradients on to its pixels",
            got="none, or some that are not finite",
            fix="verify, embed and audit take it as it is; for gradients, export it without rounding or "
            "quantisation.",
        )


def _crops(count: int, source: OnnxEmbedder) -> np.ndarray:
    side = source.spec.input_px
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
