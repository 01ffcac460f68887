"""A model trained here: as an embedder, and as a safetensors file that describes itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from faceverif.backbones import build_backbone
from faceverif.config.backbones import BackboneConfig
from faceverif.models.embedder import Embedder, PreprocessingSpec
from faceverif.models.location import FACE_MODEL, MODEL_NAME, MODEL_OPTION, spoken
from faceverif.models.sealed_tensors import UNSEALED, ModelFormat, tensors_sha256

_FILES = ModelFormat(FACE_MODEL, command="faceverif train", run="training run")
_SPECS = TypeAdapter(PreprocessingSpec)
# Crops that are embedded at a time. On a CPU their features stay in its cache, which is 1.7 times as fast as
# 128; elsewhere they fit the memory, however many crops a call brings.
_CPU_PORTION, _PORTION = 16, 256
_BACKBONES: TypeAdapter[BackboneConfig] = TypeAdapter(BackboneConfig)


class TorchEmbedder(Embedder):
    """A backbone as an embedder, in evaluation mode, on the device of its parameters.

    Args:
        backbone: (n, 3, input_px, input_px) float in [0, 1] -> (n, dim).
        spec: the crops that it takes.
        name: for people.
        provenance: where the weights come from, for the results.
    """

    preprocessing = "RGB, x / 255; normalisation inside the model"

    def __init__(
        self,
        backbone: nn.Module,
        spec: PreprocessingSpec,
        *,
        name: str = "model in memory",
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.backbone, self.spec, self.name = backbone, spec, name
        self.provenance = dict(provenance or {})

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding, as the backbone states it."""
        return int(self.backbone.embedding_dim)  # type: ignore[arg-type]

    @property
    def device(self) -> str:
        """Where the backbone's tensors are; the CPU where it has none."""
        tensors = chain(self.backbone.parameters(), self.backbone.buffers())
        return next((str(tensor.device) for tensor in tensors), "cpu")

    @property
    def sha256(self) -> str:
        """Hash of the weights, computed at each call, since training changes them."""
        return weights_sha256(self.backbone)

    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        # uint8 travels to the device, a quarter of the bytes; the permuted view is channels-last already.
        # Crops that may not be written, as `np.asarray(picture)` gives them, are copied: torch warns of them.
        pixels = torch.from_numpy(np.require(crops, requirements=["C", "W"])).permute(0, 3, 1, 2)
        device = torch.device(self.device)
        portions = pixels.split(_CPU_PORTION if device.type == "cpu" else _PORTION)
        with torch.inference_mode(), evaluating(self.backbone):
            parts = [self.backbone(part.to(device).float().div_(255)).float() for part in portions]
            return torch.cat(parts).cpu().numpy()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every part has its former mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def weights_sha256(module: nn.Module) -> str:
    """Hash over names, types, shapes and values of parameters and buffers."""
    return tensors_sha256(
        {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    )


def save_model(
    path: Path,
    backbone: nn.Module,
    *,
    backbone_config: Mapping[str, Any],
    spec: PreprocessingSpec,
    provenance: Mapping[str, Any],
    stored_as: torch.dtype | None = None,
) -> None:
    """Write a model whole or not at all: tensors, and as JSON how to build and feed it and where it is from.

    Args:
        path: a .safetensors file.
        backbone: the trained backbone.
        backbone_config: JSON-able; `build_backbone` builds the same network from it.
        spec: the crops that it takes.
        provenance: JSON-able.
        stored_as: torch.float16 halves the file, and rounds; a loaded model computes in float32 again.
    """
    tensors = backbone.state_dict()
    if stored_as is not None:
        tensors = {
            name: tensor.to(stored_as) if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
    about = {"backbone": dict(backbone_config), "preprocessing": asdict(spec), "provenance": dict(provenance)}
    _FILES.write(path, tensors, about)


def load_model(path: Path, *, field: str = MODEL_OPTION) -> TorchEmbedder:
    """Read a model; see `load_stored_model`."""
    return load_stored_model(path, field=field).embedder


class StoredModel(NamedTuple):
    """A model as its file has it.

    Attributes:
        embedder: the model.
        config: the section of its network.
        sha256: of the weights, as the embedder gives it; not computed again after reading the file.
    """

    embedder: TorchEmbedder
    config: BackboneConfig
    sha256: str


def load_stored_model(path: Path, *, field: str = MODEL_OPTION) -> StoredModel:
    """Read a model by `save_model`, with what its file says of it.

    The file holds tensors and JSON, so loading runs no code from it.

    Args:
        path: the file, in a run's folder.
        field: the option that names the folder, for the message.

    Raises:
        InputError: no such file, not one of ours, a damaged one, or weights that do not fit the network it
            names.
    """
    with _FILES.reading(path, field=field) as file:
        spec = _SPECS.validate_python(file.about["preprocessing"])
        config = _BACKBONES.validate_python(file.about["backbone"])
        if config.input_px != spec.input_px:
            raise ValueError(f"its crops have {spec.input_px} px, its backbone takes {config.input_px}")
        backbone = build_backbone(config, state=file.tensors)
        backbone.load_state_dict(file.tensors)
        provenance = dict(file.about.get("provenance", {}))
    spec.checked_template()
    if not file.sealed:
        provenance["integrity"] = UNSEALED
    weights = backbone.state_dict()
    as_stored = all(weights[name].dtype == tensor.dtype for name, tensor in file.tensors.items())
    sha256 = file.sha256 if as_stored else weights_sha256(backbone)  # stored in half, computed in float32
    embedder = TorchEmbedder(backbone, spec, name=spoken(path), provenance=provenance)
    return StoredModel(embedder, config, sha256)


def stored_sha256(path: Path, *, field: str = MODEL_OPTION) -> str:
    """`StoredModel.sha256` of a file; the network is built only where it computes in other types than stored.

    Raises:
        InputError: as for `load_stored_model`, short of weights that do not fit the network.
    """
    with _FILES.reading(path, field=field) as file:
        if not any(
            each.is_floating_point() and each.dtype != torch.float32 for each in file.tensors.values()
        ):
            return file.sha256
    return load_stored_model(path, field=field).sha256


def wrote(path: Path) -> bool:
    """Whether a file is one by `save_model`, whatever its name."""
    return _FILES.wrote(path)


def stored_tensors(path: Path, *, field: str) -> Mapping[str, Tensor]:
    """The tensors of a model file by their names, without building its network.

    Args:
        path: the file, in a model's folder.
        field: the option that names the folder, for the message.

    Raises:
        InputError: no such file, not one of ours, or a damaged one.
    """
    with _FILES.reading(path, field=field) as file:
        return file.tensors


def holds_face_model(run: Path) -> bool:
    """Whether a folder holds a model by `save_model`, not another kind of run."""
    return _FILES.wrote(run / MODEL_NAME)
