"""Counts the operations for which a GPU has to be waited for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Readings(TorchDispatchMode):
    """Notes every operation that needs values of the device: as numbers, or for the shape of a result."""

    NAMES = tuple(
        f"aten::{name}"
        for name in (
            "_local_scalar_dense",
            "_unique2",
            "bincount",
            "equal",
            "is_nonzero",
            "masked_select",
            "nonzero",
            "unique_consecutive",
        )
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().split(".")[0]
        if name in self.NAMES or (name == "aten::index" and any(map(_chooses, args[1]))):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def _chooses(index: Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)
