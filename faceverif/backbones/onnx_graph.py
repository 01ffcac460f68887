"""An imported ONNX graph as a backbone: PyTorch layers with gradients, built by onnx2torch.

The graph that a model file holds is a plan without weights: operators, settings and small constants. Building
it runs no code from the file: onnx2torch maps each operator to a layer, and the names, which PyTorch writes
into the source of its forward pass, are numbered again first.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from data_prep.errors import InputError
from faceverif.backbones.base import Backbone

if TYPE_CHECKING:
    from onnx import ModelProto

GRAPH_KEY = "_extra_state"  # PyTorch's name, in a state_dict, for what is no parameter and no buffer
_LAST_OPSET = 40  # beyond those that exist
_SMALL = 16  # numbers in a constant: up to here the plan keeps them, above they are weights


class OnnxBackbone(Backbone):
    """An ONNX graph with its weights as parameters; its batch normalisations are as the file has them.

    Args:
        model: a clean graph (see `faceverif.models.importing.onnx_cleaning`): one input, normalised RGB
            pixels, (batch, 3, side, side); one output. Where its batch is fixed, it only runs on that many.
        embedding_dim: length of an embedding.

    Raises:
        InputError: onnx2torch has no layer for an operator.
    """

    def __init__(self, model: ModelProto, *, embedding_dim: int) -> None:
        batch, side = _batch_and_side(model)
        numbered = _numbered(model)
        self._plan = _without_weights(numbered)
        layers = _converted(numbered)
        trunk = layers if batch is None else _InPortions(layers, batch)
        super().__init__(trunk, nn.Flatten(), embedding_dim=embedding_dim, input_px=side)

    @classmethod
    def of_plan(cls, plan: Tensor, *, embedding_dim: int) -> OnnxBackbone:
        """The same backbone before its weights are loaded.

        Args:
            plan: what `state_dict` holds under `GRAPH_KEY`.
            embedding_dim: length of an embedding.
        """
        import onnx

        model = onnx.load_model_from_string(plan.numpy().tobytes())
        return cls(_with_zeros(model), embedding_dim=embedding_dim)

    @property
    def portion(self) -> int | None:
        """How many photos the graph takes at a time; None: any number."""
        return self.trunk.size if isinstance(self.trunk, _InPortions) else None

    def get_extra_state(self) -> Tensor:
        """The plan, (bytes,) uint8: a tensor, so that it fits into safetensors."""
        return torch.frombuffer(bytearray(self._plan), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Check that weights which are loaded belong to this graph."""
        if state.cpu().numpy().tobytes() != self._plan:
            raise RuntimeError("the weights belong to another ONNX graph")


def onnx_backbone(*, model: Path | None, embedding_dim: int, input_px: int) -> OnnxBackbone:
    """The graph of an imported model, with zeros for weights, which are loaded afterwards.

    Args:
        model: folder by `faceverif import`.
        embedding_dim: length of an embedding, as that model has it.
        input_px: side of the input, likewise.

    Raises:
        InputError: no folder is named, it holds no imported graph, or one of other sizes.
    """
    from faceverif.models.model_file import MODEL_NAME, stored_tensors

    if model is None:
        raise InputError(
            "backbone.model",
            "must name the imported model whose graph is trained",
            got="nothing",
            fix="Set backbone.model to the folder that `faceverif import` made.",
        )
    plan = stored_tensors(model / MODEL_NAME, field="backbone.model").get(GRAPH_KEY)
    if plan is None:
        raise InputError(
            "backbone.model",
            "must be imported from an ONNX file",
            got=model,
            fix="Copy the backbone section that `faceverif import` printed for this model.",
        )
    backbone = OnnxBackbone.of_plan(plan, embedding_dim=embedding_dim)
    if backbone.input_px != input_px:
        raise InputError(
            "backbone.input_px",
            f"must be that of {model}, {backbone.input_px}",
            got=input_px,
            fix=f"Set backbone.input_px={backbone.input_px}.",
        )
    return backbone


class _InPortions(nn.Module):
    """Layers that run on one size of batch only; a shorter batch is filled up with its last photo."""

    def __init__(self, layers: nn.Module, size: int) -> None:
        super().__init__()
        self.layers, self.size = layers, size

    def forward(self, pixels: Tensor) -> Tensor:
        missing = -len(pixels) % self.size
        padded = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
        found = torch.cat([self.layers(part) for part in padded.split(self.size)])
        return found[: len(pixels)]


class _Constants(nn.Module):
    """Integers of the graph. They are no buffers: a moving average over buffers would round them."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = tuple(values)
        for name, value in values.items():
            setattr(self, name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Constants:
        for name in self._names:
            setattr(self, name, fn(getattr(self, name)))
        return super()._apply(fn, recurse)


def _batch_and_side(model: ModelProto) -> tuple[int | None, int]:
    (given,) = model.graph.input
    batch, _, _, side = given.type.tensor_type.shape.dim
    return (batch.dim_value or None), side.dim_value


def _numbered(model: ModelProto) -> ModelProto:
    """A copy in which nodes and tensors have numbers for names."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    given = [value.name for value in (*graph.input, *graph.initializer)]
    made = [name for node in graph.node for name in node.output if name]
    names = {"": ""} | {name: f"t{number}" for number, name in enumerate(dict.fromkeys([*given, *made]))}
    graph.name = "graph"
    del graph.value_info[:]
    for number, node in enumerate(graph.node):
        node.name, node.doc_string = f"n{number}", ""
        for edges in (node.input, node.output):
            edges[:] = [names[name] for name in edges]
    for value in (*graph.input, *graph.initializer, *graph.output):
        value.name = names[value.name]
    return copy


def _is_weight(tensor: Any) -> bool:
    import onnx

    return tensor.data_type == onnx.TensorProto.FLOAT and math.prod(tensor.dims) > _SMALL


def _without_weights(model: ModelProto) -> bytes:
    import onnx

    plan = onnx.ModelProto()
    plan.CopyFrom(model)
    for tensor in filter(_is_weight, plan.graph.initializer):
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
    return plan.SerializeToString(deterministic=True)


def _with_zeros(plan: ModelProto) -> ModelProto:
    """The same plan with weights to be loaded; one that names other files is refused, they would be read."""
    attributes = [attribute for node in plan.graph.node for attribute in node.attribute]
    kept = [*plan.graph.initializer, *(attribute.t for attribute in attributes)]
    if any(tensor.external_data for tensor in [*kept, *(t for a in attributes for t in a.tensors)]):
        raise ValueError("its graph names files outside of it")
    for tensor in filter(_is_weight, plan.graph.initializer):
        tensor.raw_data = bytes(4 * math.prod(tensor.dims))
    return plan


def _converted(model: ModelProto) -> fx.GraphModule:
    import onnx2torch

    opsets = {opset.domain: opset.version for opset in model.opset_import}
    for node in model.graph.node:
        has_layer(node, opsets)
    layers = onnx2torch.convert(_axes_as_attributes(model))
    _fold_shapes(layers)
    _fold_slices(layers)
    _sort_constants(layers)
    layers.recompile()
    return layers


def has_layer(node: Any, opsets: Mapping[str, int]) -> bool:
    """Whether onnx2torch has a layer for a node, in whatever version of its operator.

    onnx2torch lists versions one by one. Most new ones only add types of numbers, so the nearest version
    stands in. Whether it does the same is seen when the embeddings are compared.
    """
    import onnx
    from onnx2torch.node_converters import get_converter
    from onnx2torch.node_converters.registry import add_converter

    try:
        since = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 0), node.domain).since_version
    except onnx.defs.SchemaError:
        return False
    for version in (since, *range(since - 1, 0, -1), *range(since + 1, _LAST_OPSET)):
        try:
            found = get_converter(node.op_type, version, node.domain)
        except NotImplementedError:
            continue
        if version != since:
            add_converter(node.op_type, since, node.domain)(found)
        return True
    return False


def _axes_as_attributes(model: ModelProto) -> ModelProto:
    """A copy in which reductions say their axes as they did before opset 18."""
    from onnx import ModelProto, helper, numpy_helper

    copy = ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and len(node.input) == 2:
            axes = constants.get(node.input[1])
            if axes is not None:
                node.attribute.append(helper.make_attribute("axes", numpy_helper.to_array(axes).tolist()))
                del node.input[1]
    return copy


def _fold_shapes(layers: fx.GraphModule) -> None:
    """Reshape by numbers: onnx2torch reads them from a tensor, at each step and from any device."""
    for node in list(layers.graph.nodes):
        if node.op != "call_module" or type(layers.get_submodule(node.target)).__name__ != "OnnxReshape":
            continue
        pixels, shape = node.args
        if shape.op != "get_attr":
            continue
        numbers = tuple(layers.get_buffer(shape.target).tolist())
        if 0 in numbers:
            continue
        with layers.graph.inserting_after(node):
            folded = layers.graph.call_function(torch.reshape, (pixels, numbers))
        node.replace_all_uses_with(folded)
        layers.graph.erase_node(node)
        if not shape.users:
            layers.graph.erase_node(shape)
    layers.delete_all_unused_submodules()


def _fold_slices(layers: fx.GraphModule) -> None:
    """Slice by numbers, as onnx2torch's own layer does; that one indexes by lists, of which torch warns."""
    for node in list(layers.graph.nodes):
        if node.op != "call_module" or type(layers.get_submodule(node.target)).__name__ != "OnnxSlice":
            continue
        pixels, *given = node.args
        if any(getattr(each, "op", None) != "get_attr" for each in given):
            continue
        index = _index(*(layers.get_buffer(each.target).tolist() for each in given))
        if index is None:
            continue
        with layers.graph.inserting_after(node):
            folded = layers.graph.call_function(operator.getitem, (pixels, index))
        node.replace_all_uses_with(folded)
        layers.graph.erase_node(node)
        for each in given:
            if not each.users:
                layers.graph.erase_node(each)
    layers.delete_all_unused_submodules()


def _index(
    starts: list[int], ends: list[int], axes: list[int] | None = None, steps: list[int] | None = None
) -> tuple[Any, ...] | None:
    """ONNX's Slice as an index of a tensor; None where torch has none: steps back, axes from both ends."""
    axes, steps = axes or list(range(len(starts))), steps or [1] * len(starts)
    if min(steps) < 0 or min(axes) < 0 <= max(axes):
        return None
    slices = {axis: slice(*part) for axis, *part in zip(axes, starts, ends, steps, strict=True)}
    if min(axes) < 0:
        return (..., *(slices.get(axis, slice(None)) for axis in range(min(axes), 0)))
    return tuple(slices.get(axis, slice(None)) for axis in range(max(axes) + 1))


def _sort_constants(layers: fx.GraphModule) -> None:
    """What onnx2torch keeps as buffers: weights become parameters, integers plain constants."""
    store = getattr(layers, "initializers", None)
    if store is None:
        return
    used = [node for node in layers.graph.nodes if node.op == "get_attr"]
    names = {node.target.removeprefix("initializers.") for node in used}
    values = {name: buffer for name, buffer in store.named_buffers() if name in names}
    learnt = _behind_the_first_layer(layers)
    layers.initializers = _Constants(
        {name: value for name, value in values.items() if not value.is_floating_point()}
    )
    for name, value in values.items():
        if not value.is_floating_point():
            continue
        if f"initializers.{name}" in learnt and value.numel() > 1:
            layers.initializers.register_parameter(name, nn.Parameter(value))
        else:
            layers.initializers.register_buffer(name, value)


def _behind_the_first_layer(layers: fx.GraphModule) -> set[str]:
    """Constants that a convolution or a matrix product takes, or what follows one.

    What stands before, such as mean and standard deviation of pixels, is normalisation and stays as it is.
    """
    learnt: set[str] = set()
    behind: set[fx.Node] = set()
    for node in layers.graph.nodes:
        if node.op in ("placeholder", "get_attr"):
            continue
        constants = [each for each in node.all_input_nodes if each.op == "get_attr"]
        kind = type(layers.get_submodule(node.target)).__name__ if node.op == "call_module" else ""
        starts = kind.startswith(("Conv", "OnnxConv", "Linear", "OnnxMatMul", "OnnxGemm"))
        if starts or behind & set(node.all_input_nodes):
            behind.add(node)
            learnt |= {each.target for each in constants}
    return learnt
