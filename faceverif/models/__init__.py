"""Models that turn crops into embeddings: trained here, or an ONNX file from elsewhere."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.device import choose_device, computing_device
from data_prep.errors import InputError
from faceverif.models.embedder import Embedder, PreprocessingSpec
from faceverif.models.location import MODEL_NAME, MODEL_OPTION, is_onnx, model_file_of, model_or_shipped
from faceverif.models.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from faceverif.models.model_file import TorchEmbedder, load_model, save_model

__all__ = [
    "MODEL_NAME",
    "Embedder",
    "PreprocessingSpec",
    "TorchEmbedder",
    "load_differentiable",
    "load_embedder",
    "load_model",
    "model_or_shipped",
    "refuse_options_of_onnx",
    "save_model",
]


_OF_MODEL_FILE = ("TorchEmbedder", "load_model", "save_model")


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is first used, so that wrong options are reported before."""
    if name not in _OF_MODEL_FILE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module("faceverif.models.model_file"), name)


def load_embedder(
    model: Path, *, preprocess: str | None = None, output: str | None = None, device: str | None = None
) -> Embedder:
    """Any model: trained here, imported, or an ONNX file.

    Args:
        model: the folder of a run or of an imported model, its model file, or an .onnx file.
        preprocess: what an ONNX file expects, as for `find_preprocessing`.
        output: the name of an ONNX file's embedding, where its shape does not tell.
        device: auto, cpu, cuda, cuda:N or mps, which becomes the device of this process; None: as it is.

    Raises:
        InputError: no model or device is there, a damaged model, or an option does not belong to it.
    """
    embedder = _loaded(model, preprocess, output, device)
    embedder.recipe = Recipe(model, preprocess, output)
    return embedder


def refuse_options_of_onnx(model: Path, *, preprocess: str | None, output: str | None) -> None:
    """Stop where options of an .onnx file are given for another model; imports nothing heavy.

    Args:
        model, preprocess, output: as for `load_embedder`.

    Raises:
        InputError: no model is there, or an option does not belong to it.
    """
    if is_onnx(model_file_of(model)):
        return
    for option, value in (("--preprocess", preprocess), ("--output", output)):
        if value is not None:
            raise InputError(
                option,
                "belongs to an .onnx file: other models say themselves what they take and give",
                got=f"{value} for {model}",
                fix="Leave it out.",
            )


def _loaded(model: Path, preprocess: str | None, output: str | None, device: str | None) -> Embedder:
    file = model_file_of(model)
    if is_onnx(file):
        from faceverif.models.onnx_file import OnnxEmbedder  # brings onnx and onnxruntime

        _choose(device)
        return OnnxEmbedder(file, preprocess, output=output)
    refuse_options_of_onnx(model, preprocess=preprocess, output=output)
    where = _choose(device)
    from faceverif.models.model_file import load_model  # brings torch

    embedder = load_model(file, field=MODEL_OPTION)
    embedder.backbone.to(where)
    return embedder


def _choose(device: str | None) -> torch.device:
    return computing_device() if device is None else choose_device(device)


def load_differentiable(
    model: Path, *, preprocess: str | None = None, output: str | None = None
) -> TorchEmbedder:
    """The same as a PyTorch network in evaluation mode, through which gradients flow: for attacks, teachers.

    An ONNX file is converted in memory, and compared with what onnxruntime computes. To train such a network
    further, import it.

    Args:
        model, preprocess, output: as for `load_embedder`.

    Raises:
        InputError: as `load_embedder`; or the ONNX file has an operator without gradients.
    """
    file = model_file_of(model)
    if is_onnx(file):
        from faceverif.models.importing.onnx_layers import differentiable

        converted = differentiable(file, preprocess, output=output).embedder
        converted.backbone.to(computing_device())
        return converted
    from faceverif.models.model_file import TorchEmbedder

    embedder = load_embedder(model, preprocess=preprocess, output=output)
    assert isinstance(embedder, TorchEmbedder)
    embedder.backbone.eval()
    return embedder
