"""Features inside a network: read at named layers, and replaced where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from data_prep.errors import InputError


@contextmanager
def tapped(
    network: nn.Module, layers: Iterable[str], *, handing_on: Mapping[str, Tensor] | None = None
) -> Iterator[dict[str, Tensor]]:
    """A mapping that a forward pass within the block fills with the outputs of some layers.

    Args:
        network: with layers of these names; see `refuse_unknown_layers`.
        layers: their names.
        handing_on: layer -> what the layers behind it see in place of its output.
    """
    found: dict[str, Tensor] = {}
    replaced = handing_on or {}
    handles = [
        network.get_submodule(layer).register_forward_hook(
            partial(_record, found=found, layer=layer, instead=replaced.get(layer))
        )
        for layer in layers
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _record(
    module: nn.Module,
    inputs: Any,
    output: Tensor,
    *,
    found: dict[str, Tensor],
    layer: str,
    instead: Tensor | None,
) -> Tensor | None:
    found[layer] = output
    return instead


def refuse_unknown_layers(network: nn.Module, layers: Iterable[str], *, field: str) -> None:
    """Stop at a name that no layer of the network has.

    Args:
        network: any.
        layers: names as `named_modules` gives them.
        field: the key of the config that holds them.

    Raises:
        InputError: with the names that there are.
    """
    known = [name for name, _ in network.named_modules() if name]
    for layer in layers:
        if layer not in known:
            top = [name for name in known if name.count(".") <= 1]
            raise InputError(
                field,
                "must name layers of the network",
                got=layer,
                fix=f"It has {', '.join(top[:40])}{', ...' if len(top) > 40 else ''}.",
            )
