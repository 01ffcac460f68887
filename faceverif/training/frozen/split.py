"""A backbone cut in two at a layer: what lies before it, and what lies behind."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, fx, nn

from data_prep.errors import InputError
from faceverif.training.layers import refuse_unknown_layers

_FIELD = "training.stored_features.layer"


class Split(NamedTuple):
    """Both parts share their layers with the backbone, so that training one trains the backbone.

    Attributes:
        before: (batch, 3, input_px, input_px) pixels in [0, 1] -> output of the layer.
        behind: output of the layer -> (batch, embedding_dim) raw embeddings.
    """

    before: fx.GraphModule
    behind: fx.GraphModule


def split_at(backbone: nn.Module, layer: str) -> Split:
    """Cut a backbone behind a layer.

    The parts hold copies of the backbone's buffers, so cut it where it is: after it has moved to its device.

    Args:
        backbone: any network whose forward pass is the same for every batch.
        layer: its name, as `named_modules` gives it.

    Raises:
        InputError: no such layer, or one that part of the photo's way leads around.
    """
    refuse_unknown_layers(backbone, [layer], field=_FIELD)
    try:
        graph = _Tracer(layer).trace(backbone)
    except Exception as error:  # whatever a forward pass does with a value that is only known in a step
        raise _unfit("a network whose way depends on the photos") from error
    found = [node for node in graph.nodes if node.op == "call_module" and node.target == layer]
    if len(found) != 1:
        raise _unfit(f"{layer}, which is run {len(found)} times")
    (cut,) = found
    return Split(fx.GraphModule(backbone, _before(graph, cut)), fx.GraphModule(backbone, _behind(graph, cut)))


class _Tracer(fx.Tracer):
    """Looks into the modules that contain the layer, and takes all others as they are."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self._layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """See `fx.Tracer`."""
        return not self._layer.startswith(f"{module_qualified_name}.")


def _before(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    """Pixels to the layer's output, and nothing that this does not need."""
    needed, waiting = {cut}, [cut]
    while waiting:
        new = set(waiting.pop().all_input_nodes) - needed
        needed |= new
        waiting.extend(new)
    part, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        if node in needed:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(copies[cut])
    return part


def _behind(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    """The layer's output to the embedding."""
    part = fx.Graph()
    copies = {cut: part.placeholder("features", type_expr=Tensor)}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            if node.op == "placeholder":
                raise _unfit(f"{cut.target}, which part of the network goes around")
            copies[node] = part.node_copy(node, copied)
        return copies[node]

    (end,) = (node for node in graph.nodes if node.op == "output")
    part.output(fx.node.map_arg(end.args[0], copied))
    return part


def _unfit(got: str) -> InputError:
    return InputError(
        _FIELD,
        "must name a layer through which the whole network goes, once",
        got=got,
        fix="Name the last layer of a block, such as the output of a residual sum.",
    )
