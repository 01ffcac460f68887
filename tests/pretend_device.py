"""A second device without hardware: tensors that say `meta`, hold real numbers, and refuse to meet the CPU's.

Its rules are CUDA's: no operation takes tensors of both devices, except numbers without dimensions, CPU
indices, and copies; NumPy sees none of its tensors, and a generator of the CPU draws none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

PRETENDED = torch.device("meta")
_aten = torch.ops.aten
_MAY_MEET = {_aten.copy_.default, _aten._to_copy.default, _aten.index_put_.default, _aten.index_put.default}


class Elsewhere(Tensor):
    """A tensor of the pretended device."""

    held: Tensor
    __module__ = "torch"  # by which eagerpy, and so foolbox, tells whose tensor it is

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=PRETENDED,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert a tensor of the pretended device to numpy: call .cpu() first")


class PretendedDevice(TorchDispatchMode):
    """Inside this context tensors can be made on, and moved to, `PRETENDED`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    asked = kwargs.get("device")
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = [tensor for tensor in given if not isinstance(tensor, Elsewhere)]
    there = len(here) < len(given)
    if func is _aten.index.Tensor and isinstance(args[0], Elsewhere):
        here = []
    if there and func not in _MAY_MEET and any(tensor.ndim for tensor in here):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")
    on_it = there if asked is None else torch.device(asked) == PRETENDED
    if on_it and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: expected a generator of the pretended device")
    if asked is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    plain = tree_map(lambda leaf: leaf.held if isinstance(leaf, Elsewhere) else leaf, (args, kwargs))
    found = func(*plain[0], **plain[1])
    if func._schema.is_mutable and given and not isinstance(found, tuple | list):
        written = plain[1].get("out", plain[0][0] if plain[0] else None)
        if found is written:
            return kwargs.get("out", args[0] if args else None)
    if func is _aten.copy_.default:
        return args[0]
    if not on_it:
        return found
    return tree_map(lambda leaf: Elsewhere(leaf) if isinstance(leaf, Tensor) else leaf, found)
