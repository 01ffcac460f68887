"""An ONNX graph as onnx2torch reads it: one input and output, float32, constants computed, the batch open."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from faceverif.models.onnx_file import OnnxEmbedder

_BATCH = "batch"
# Names that no file has.
_INPUT, _OUTPUT, _BGR_ORDER, _BGR = (f"faceverif:{name}" for name in ("pixels", "embedding", "order", "bgr"))
# What merges layers would spoil fine-tuning: batch normalisations that the file has stay separate.
_KEEP_LAYERS = ["ConvAddFusion", "ConvBNFusion", "ConvMulFusion", "GemmActivationFusion", "MatMulAddFusion"]
_OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


def load_whole(path: Path) -> ModelProto:
    """A graph with its external data, which `read_graph` has checked."""
    return onnx.load_model(path, format="protobuf")


def holds_half(model: ModelProto) -> bool:
    """Whether a graph computes in half precision, so that its embeddings are rounded."""
    half = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return any(tensor.data_type in half for tensor in _stored(model.graph)) or any(
        value.type.tensor_type.elem_type in half for value in model.graph.input
    )


def cleaned(model: ModelProto, embedder: OnnxEmbedder, *, batch: int | None) -> ModelProto:
    """The part of a graph that makes the embedding, with what can be computed before computed.

    Args:
        model: with its weights inside; it is left as it is.
        embedder: the same file, checked.
        batch: how many photos the graph takes; None: it is open.

    Returns:
        a model that takes normalised RGB, (batch, 3, side, side) float32, and gives the embedding alone.
    """
    clean = onnx.inliner.inline_local_functions(model)
    _name_output(clean.graph, embedder.output_name)
    _in_float32(clean.graph)
    _take_rgb(clean, embedder)
    side = embedder.spec.input_px
    clean.graph.input[0].CopyFrom(_tensor_info(_INPUT, [batch or _BATCH, 3, side, side]))
    del clean.graph.input[1:]
    del clean.graph.value_info[:]
    _keep_what_the_output_needs(clean.graph)
    return _folded(clean)


def with_open_batch(model: ModelProto, *, batch: int) -> ModelProto:
    """The same graph for any number of photos, where shapes that hold the fixed number are what stops it.

    Photos stay along the first axis in what networks of this kind reshape. A graph that moves them elsewhere
    gives other embeddings afterwards; `differentiable` compares them and then keeps the batch fixed.

    Args:
        model: a clean graph with a fixed batch.
        batch: that number.
    """
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    graph = opened.graph
    reshaping = [node for node in graph.node if node.op_type in ("Reshape", "Expand")]
    shapes = _shapes(model, [node.output[0] for node in reshaping])
    for node in reshaping:
        first, *others = shapes[node.output[0]]
        if others and first % batch == 0:
            name = f"{node.output[0]}_open_shape"
            leading = -1 if node.op_type == "Reshape" else 1
            graph.initializer.append(
                numpy_helper.from_array(np.array([leading, *others], np.int64), name=name)
            )
            node.input[1] = name
    graph.input[0].CopyFrom(_tensor_info(_INPUT, [_BATCH, *_dims(graph.input[0])[1:]]))
    _keep_what_the_output_needs(graph)
    return opened


def _shapes(model: ModelProto, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of inner tensors when the graph runs on the batch that it fixes."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), _quiet(), providers=["CPUExecutionProvider"]
    )
    if not names:
        return {}
    black = np.zeros(_dims(model.graph.input[0]), np.float32)
    found = session.run(list(names), {_INPUT: black})
    return {name: value.shape for name, value in zip(names, found, strict=True)}


def _dims(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _tensor_info(name: str, shape: Sequence[int | str] | None) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _name_output(graph: Any, name: str) -> None:
    graph.node.append(helper.make_node("Identity", [name], [_OUTPUT]))
    del graph.output[:]
    graph.output.append(_tensor_info(_OUTPUT, None))


def _in_float32(graph: Any) -> None:
    """Numbers of other precisions as float32, in which gradients are computed."""
    for tensor in _stored(graph):
        if tensor.data_type in _OTHER_FLOATS:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, name=tensor.name))
    for node in _all_nodes(graph):
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in _OTHER_FLOATS:
                attribute.i = TensorProto.FLOAT


def _stored(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in _all_nodes(graph):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _all_nodes(graph: Any) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _all_nodes(inner)


def _take_rgb(model: ModelProto, embedder: OnnxEmbedder) -> None:
    """Nodes in front that turn normalised RGB, channels first, into what the graph takes.

    Whole numbers stay float32, as gradients need them; a graph's own cast changes nothing then.
    """
    graph = model.graph
    last, front = _INPUT, []
    if embedder.pixels.colour_order == "bgr":
        graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), name=_BGR_ORDER))
        front.append(helper.make_node("Gather", [last, _BGR_ORDER], [_BGR], axis=1))
        last = _BGR
    if embedder.input.channels_last:
        front.append(helper.make_node("Transpose", [last], [embedder.input.name], perm=[0, 2, 3, 1]))
    else:
        front.append(helper.make_node("Identity", [last], [embedder.input.name]))
    for node in reversed(front):
        graph.node.insert(0, node)


def _keep_what_the_output_needs(graph: Any) -> None:
    needed, kept = {_OUTPUT}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
            needed.update(name for inner in _inner_nodes(node) for name in inner.input)
    _replace(graph.node, kept[::-1])
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])


def _inner_nodes(node: NodeProto) -> Iterator[NodeProto]:
    for attribute in node.attribute:
        for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from _all_nodes(inner)


def _replace(field: Any, kept: Sequence[Any]) -> None:
    copies = []
    for each in kept:
        copy = type(each)()
        copy.CopyFrom(each)
        copies.append(copy)
    del field[:]
    field.extend(copies)


def _folded(model: ModelProto) -> ModelProto:
    """The graph after onnxruntime computed what does not depend on the photo."""
    options = _quiet()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_KEEP_LAYERS,
        )
        folded = onnx.load_model(path, format="protobuf")
    _constants_as_initializers(folded.graph)
    return folded


def _constants_as_initializers(graph: Any) -> None:
    kept = []
    for node in graph.node:
        value = {attribute.name: attribute for attribute in node.attribute}.get("value")
        if node.op_type == "Constant" and value is not None:
            value.t.name = node.output[0]
            graph.initializer.append(value.t)
        else:
            kept.append(node)
    _replace(graph.node, kept)


def _quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options
