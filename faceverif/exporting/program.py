"""A network as a torch.export program: what an ONNX file is made from, and a file of its own."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.utils import parametrize

from data_prep.errors import InputError, first_line
from data_prep.system_errors import system_trouble
from faceverif.models.embedder import Embedder, PreprocessingSpec

SMALLEST_HALVED = 1024  # numbers; smaller tensors save nothing
_ABOUT = "faceverif.json"  # in the file, beside the program


def traced(network: nn.Module, *, input_px: int) -> ExportedProgram:
    """The operations of a network in evaluation mode, with an open batch and without gradients.

    Args:
        network: (n, 3, input_px, input_px) float32 in [0, 1] -> (n, dim).
        input_px: side of its input.

    Raises:
        InputError: it does something that torch.export cannot follow.
    """
    example = torch.rand(2, 3, input_px, input_px)  # a batch of 1 would count as fixed
    try:
        with torch.no_grad():
            return torch.export.export(
                _for_inference(network), (example,), dynamic_shapes=({0: Dim("batch", min=1)},)
            )
    except Exception as error:  # its exceptions have no common class
        raise cannot_export(error) from error


def _for_inference(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).cpu().eval().requires_grad_(False)


def cannot_export(error: Exception) -> Exception:
    """What to raise where a library cannot export a network: the system's own trouble stays as it is."""
    if system_trouble(error) is not None:
        return error
    return InputError(
        "--model",
        "must be a network whose operators can be exported, for any batch",
        got=first_line(error),
        fix="Use the model in PyTorch, or train or import another backbone.",
    )


def with_half_weights(network: nn.Module) -> nn.Module:
    """A copy that stores its large weights as float16 and computes in float32.

    Rounding is the only difference: no activation can overflow, and every machine runs it.
    """
    halved = _for_inference(network)
    for module in list(halved.modules()):
        for name, weight in list(module.named_parameters(recurse=False)):
            if can_be_halved(weight.numpy()):
                setattr(module, name, nn.Parameter(weight.half(), requires_grad=False))
                parametrize.register_parametrization(module, name, _Float(), unsafe=True)
    return halved


class _Float(nn.Module):
    def forward(self, stored: Tensor) -> Tensor:
        return stored.float()


def can_be_halved(weight: NDArray[Any]) -> bool:
    """Whether float16 saves space for a tensor and has room for its numbers."""
    return (
        weight.dtype == np.float32
        and weight.size >= SMALLEST_HALVED
        and bool(np.abs(weight).max() <= np.finfo(np.float16).max)
    )


def write_program(program: ExportedProgram, path: Path, about: Mapping[str, Any]) -> None:
    """Write a .pt2 file.

    Args:
        program: by `traced`.
        path: the file.
        about: what it takes and where it comes from; JSON-able. It can be read back with
            `torch.export.load(path, extra_files={"faceverif.json": ""})`.
    """
    torch.export.save(program, path, extra_files={_ABOUT: json.dumps(about, indent=2)})


class ProgramEmbedder(Embedder):
    """A .pt2 file as an embedder, for the checks.

    Args:
        path: a file that `write_program` wrote; never one from elsewhere.
        spec: the crops that it takes.
    """

    preprocessing = "RGB, x / 255; normalisation inside the model"

    def __init__(self, path: Path, spec: PreprocessingSpec) -> None:
        self.spec, self.name = spec, path.name
        self._module = torch.export.load(path).module()

    @property
    def sha256(self) -> str:
        """It is not asked for."""
        raise NotImplementedError

    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float().div_(255)
        with torch.inference_mode():
            return self._module(pixels).numpy()
