"""Whole tensors from what processes hold, and back: checkpoints do not depend on their number.

Classes may be spread over the processes, and sums of an epoch are each process's own until it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn

from faceverif.criteria import Criterion
from faceverif.heads.sharding import sharded_names
from faceverif.penalties import Penalty
from faceverif.sharding.collectives import own_rank, sum_over_processes
from faceverif.sharding.shard import ClassShard


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's state with all classes and all sums, in the first process; all must call it together.

    Other processes get their own rows.
    """
    state, shards, sums = module.state_dict(), _shards(module), _sums(module)
    if not shards and not sums:
        return state
    return {
        name: sum_over_processes(tensor) if name in sums else _whole(tensor, shards.get(name))
        for name, tensor in state.items()
    }


def whole_optimizer_state(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Any]:
    """The state of a module's optimizer likewise."""
    state = optimizer.state_dict()
    shards = dict(_numbered_shards(optimizer, module))
    moments = {
        number: {key: _whole(value, shards.get(number)) for key, value in of_parameter.items()}
        for number, of_parameter in state["state"].items()
    }
    return state | {"state": moments}


def own_state(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of a module's state with all classes, what this process holds; a part of the same memory or file.

    The first process takes the sums, and the others begin theirs anew.
    """
    shards = _shards(module)
    begun_anew = _sums(module) if own_rank() else set()
    return {
        name: torch.zeros_like(tensor) if name in begun_anew else _own(tensor, shards.get(name))
        for name, tensor in state.items()
    }


def own_optimizer_state(
    optimizer: torch.optim.Optimizer, module: nn.Module, state: dict[str, Any]
) -> dict[str, Any]:
    """Of the state of a module's optimizer, what this process holds."""
    shards = dict(_numbered_shards(optimizer, module))
    moments = {
        number: {key: _own(value, shards.get(number)) for key, value in of_parameter.items()}
        for number, of_parameter in state["state"].items()
    }
    return state | {"state": moments}


def _shards(module: nn.Module) -> dict[str, ClassShard]:
    return {name: sharding.shard for name, sharding in sharded_names(module)}


def _sums(module: nn.Module) -> set[str]:
    """Names of the buffers that are sums of what this process has seen."""
    return {
        f"{prefix}.{name}".removeprefix(".")
        for prefix, part in module.named_modules()
        if isinstance(part, Criterion | Penalty)
        for name in part.own_sums
    }


def _numbered_shards(optimizer: torch.optim.Optimizer, module: nn.Module) -> Iterator[tuple[int, ClassShard]]:
    """Spread parameters by their number in the optimizer's state."""
    shards = _shards(module)
    by_identity = {id(tensor): shards[name] for name, tensor in module.named_parameters() if name in shards}
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    for number, parameter in enumerate(parameters):
        if id(parameter) in by_identity:
            yield number, by_identity[id(parameter)]


def _own(value: Any, shard: ClassShard | None) -> Any:
    """A step count, or what has no rows of classes, stays as it is."""
    if shard is None or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    if len(value) != shard.classes:
        raise ValueError("other classes")
    return value[shard.rows]


def _whole(value: Any, shard: ClassShard | None) -> Any:
    """The rows of all processes, one after the other, so that no device holds them all."""
    if shard is None or not isinstance(value, Tensor) or value.ndim == 0 or shard.processes == 1:
        return value
    if shard.rank:
        distributed.send(value.contiguous(), dst=0)
        return value
    whole = torch.empty(shard.classes, *value.shape[1:], dtype=value.dtype)
    whole[shard.rows] = value.cpu()
    for rank in range(1, shard.processes):
        theirs = shard.of_rank(rank)
        rows = value.new_empty(theirs.size, *value.shape[1:])
        distributed.recv(rows, src=rank)
        whole[theirs.rows] = rows.cpu()
    return whole
