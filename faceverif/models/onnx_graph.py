"""An ONNX graph, read before it runs: which files hold its weights, which operators may never end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import onnx

from data_prep.errors import InputError, first_line
from data_prep.file_hash import file_hash
from faceverif.models.first_bytes import refuse_no_model
from faceverif.models.location import MODEL_OPTION

_LONGEST_LINE = 200  # characters of what another library says
# A condition that never turns false makes Loop endless, and its body can hide in any of the others.
_REPEATING = frozenset({"Loop", "Scan", "SequenceMap"})


def read_graph(path: Path) -> list[Path]:
    """Check a model's graph without running it.

    Returns:
        The files with its external data, sorted; none for a model that is one file.

    Raises:
        InputError: the file holds no graph, a repeating operator, or external data that are missing, cut
            short or outside the model's folder.
    """
    model = _parsed(path)
    graphs = [model.graph, *model.functions]
    repeating = sorted({node.op_type for graph in graphs for node in _nodes(graph)} & _REPEATING)
    if repeating:
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must have a graph without loops, which may never end",
            got=", ".join(repeating),
            fix="Export the embedding network alone, with a fixed number of steps written out.",
        )
    _refuse_training_mode(path, model)
    wanted: dict[Path, int] = {}
    for tensor in _external_tensors(model):
        file, bytes_needed = _external_file(path, tensor)
        wanted[file] = max(wanted.get(file, 0), bytes_needed)
    for file, bytes_needed in sorted(wanted.items()):
        _refuse_short(path, file, bytes_needed)
    return sorted(wanted)


def external_names(path: Path) -> set[str]:
    """The names of the files that hold a model's external data, as its graph has them: not checked.

    Raises:
        InputError: the file holds no graph.
    """
    return {
        entry.value
        for tensor in _external_tensors(_parsed(path))
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _parsed(path: Path) -> Any:
    try:
        return onnx.load_model(path, format="protobuf", load_external_data=False)
    except OSError:  # no rights: the command line says so
        raise
    except Exception as error:  # protobuf's exceptions differ between its versions
        raise unusable_file(path, first_line(error)) from error


def _external_tensors(model: Any) -> Iterator[Any]:
    for graph in (model.graph, *model.functions):
        for tensor in _tensors(graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                yield tensor


def _refuse_training_mode(path: Path, model: Any) -> None:
    """Refuse a graph whose embeddings depend on the other photos of a batch, or on chance."""
    graphs = [model.graph, *model.functions]
    true = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.BOOL and any([*tensor.int32_data, *tensor.raw_data])
    }
    for node in (node for graph in graphs for node in _nodes(graph)):
        settings = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in settings:
            tensor = settings["value"].t
            if tensor.data_type == onnx.TensorProto.BOOL and any([*tensor.int32_data, *tensor.raw_data]):
                true.add(node.output[0])
        trains = "training_mode" in settings and settings["training_mode"].i == 1
        batch_statistics = node.op_type == "BatchNormalization" and (trains or len(node.output) > 1)
        drops = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in true
        if batch_statistics or drops:
            raise InputError(
                MODEL_OPTION,
                f"{path.name} must be exported for evaluation",
                got=f"a {node.op_type} in training mode",
                fix="Call model.eval() before the export.",
            )


def model_sha256(path: Path, external: list[Path]) -> str:
    """Hash over the graph file and every file with its external data.

    Of a model that is one file it is that file's SHA-256. Otherwise it is the SHA-256 of a list: the graph's
    hash, then the hash of each external file in the order of their paths. The graph holds their names; that
    of the graph file does not count.
    """
    digests = [file_hash(file) for file in (path, *external)]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if external else digests[0]


def unusable_file(path: Path, why: str) -> InputError:
    """The error for a file that is no ONNX model, or a damaged one."""
    refuse_no_model(path, field=MODEL_OPTION)
    return InputError(
        MODEL_OPTION,
        "must be a model that onnxruntime can open",
        got=f"{path} ({why[:_LONGEST_LINE]})",
        fix="Export or download it again.",
    )


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph or function, and those of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """The stored tensors of a graph or function, and those of the graphs inside it."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _external_file(path: Path, tensor: Any) -> tuple[Path, int]:
    """Where a tensor's values lie, and how many bytes that file must have."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        bytes_needed = int(entries.get("offset") or 0) + int(entries.get("length") or 0)
        file = path.parent / location
        regular = file.is_file()
        # As onnxruntime has it: a model that is a link may have its data beside the link or the target.
        folders = (path.parent.resolve(), path.resolve().parent)
        inside = any(file.resolve().is_relative_to(folder) for folder in folders)
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, no number, no name of a file
        raise unusable_file(path, f"external data {location[:99]!r}: {first_line(error)}") from error
    if not location or not inside or os.path.isabs(location) or PureWindowsPath(location).drive:
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must have its external data in its own folder",
            got=f"{location[:_LONGEST_LINE]!r} for tensor {tensor.name[:_LONGEST_LINE]!r}",
            fix="Put the data file itself beside the model, and export with its name alone as the location. "
            "Do not trust a download that names other places.",
        )
    if not regular:
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must have its external data file beside it",
            got=f"no file {file}",
            fix=f"Copy {location} along with it, to {file.parent}.",
        )
    return file, bytes_needed


def _refuse_short(path: Path, file: Path, bytes_needed: int) -> None:
    size = file.stat().st_size
    if size < bytes_needed:
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must have external data of {bytes_needed:,} bytes",
            got=f"{size:,} bytes in {file}",
            fix="Copy or download that file again.",
        )
