"""What turns crops into embeddings: a model trained here, or an ONNX file from elsewhere."""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import InputError
from faceverif.models.embedder import Embedder, PreprocessingSpec
from faceverif.models.model_file import MODEL_NAME, TorchEmbedder, load_model, save_model
from faceverif.models.onnx_file import PREPROCESSINGS, OnnxEmbedder

__all__ = [
    "MODEL_NAME",
    "PREPROCESSINGS",
    "Embedder",
    "OnnxEmbedder",
    "PreprocessingSpec",
    "TorchEmbedder",
    "load_embedder",
    "load_model",
    "save_model",
]


def load_embedder(*, run: Path | None, onnx: Path | None, preprocess: str | None) -> Embedder:
    """The model of a run, or an ONNX file with the name of its preprocessing.

    Raises:
        InputError: both or neither are given, or `preprocess` does not belong to what is given.
    """
    if onnx is not None and run is None:
        return OnnxEmbedder(onnx, preprocess)
    if run is None or onnx is not None:
        raise InputError(
            "model",
            "must be either --run DIR or --onnx FILE",
            got="neither" if run is None else "both",
            fix="Give one of them.",
        )
    if preprocess is not None:
        raise InputError(
            "--preprocess",
            "belongs to --onnx: a model trained here carries its own normalisation",
            got=preprocess,
            fix="Leave it out.",
        )
    return load_model(run / MODEL_NAME)
