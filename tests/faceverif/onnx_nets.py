"""A small face network as an ONNX file, as exporters write it, and its forward pass in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

SIDE, DIM = 32, 12
WIDE, FEATURES = 8, 8 * 8 * 8

State = dict[str, np.ndarray[Any, Any]]


def weights(seed: int = 0) -> State:
    """Random weights and statistics, of sizes that keep the activations near 1."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray[Any, Any]:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    return {
        "conv1": normal(WIDE, 3, 3, 3, scale=0.3),
        "bias1": normal(WIDE),
        "scale": 1 + 0.2 * normal(WIDE),
        "offset": normal(WIDE),
        "mean": normal(WIDE),
        "var": rng.uniform(0.5, 2, WIDE).astype(np.float32),
        "slope": np.abs(normal(WIDE, 1, 1, scale=0.3)),
        "conv2": normal(WIDE, 1, 3, 3, scale=0.3),
        "product": normal(FEATURES, DIM, scale=0.05),
        "gain": 1 + 0.2 * normal(DIM),
        "shift": normal(DIM),
    }


def reference(state: State, pixels: Tensor) -> Tensor:
    """The network of `write_net` for what it is fed, (n, 3, SIDE, SIDE)."""
    w = {name: torch.from_numpy(value) for name, value in state.items()}
    x = F.conv2d(pixels, w["conv1"], w["bias1"], stride=2, padding=1)
    x = F.batch_norm(x, w["mean"], w["var"], w["scale"], w["offset"])
    x = F.prelu(x, w["slope"].flatten())
    x = F.conv2d(x, w["conv2"], stride=2, padding=1, groups=WIDE).clamp(0, 6)
    return x.reshape(len(x), -1) @ w["product"] * w["gain"] + w["shift"]


def nodes(names: Sequence[str] = ()) -> list[Any]:
    """The operators, from `pixels` to `e`."""
    made = [
        helper.make_node("Conv", ["pixels", "conv1", "bias1"], ["c1"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["c1", "scale", "offset", "mean", "var"], ["b1"]),
        helper.make_node("PRelu", ["b1", "slope"], ["p1"]),
        helper.make_node("Conv", ["p1", "conv2"], ["c2"], strides=[2, 2], pads=[1] * 4, group=WIDE),
        helper.make_node("Clip", ["c2", "zero", "six"], ["r2"]),
        helper.make_node("Reshape", ["r2", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "product"], ["m"]),
        helper.make_node("Mul", ["m", "gain"], ["g"]),
        helper.make_node("Add", ["g", "shift"], ["e"]),
    ]
    for node, name in zip(made, names, strict=False):
        node.name = name
    return made


def write_net(
    path: Path,
    state: State,
    *,
    batch: int | str = 1,
    flat: Sequence[int] | None = None,
    more: Sequence[Any] = (),
    output: str = "e",
    names: Sequence[str] = (),
    opset: int = 13,
    constants: State | None = None,
    shape: Sequence[int | str] | None = None,
    before: Sequence[Any] = (),
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """Write it.

    Args:
        path: the .onnx file.
        state: of `weights`.
        batch: size or name of the batch.
        flat: the constant of its Reshape; None: (batch, -1), as an export of that batch has it.
        more: nodes behind it.
        output: name of the only output.
        names: of the first nodes.
        opset: of the standard operators.
        constants: further ones, for `more` and `before`.
        shape: of the input, where it is not (batch, 3, SIDE, SIDE).
        before: nodes that make `pixels` of the input `photo`.
        dtype: of the input.
    """
    if flat is None:
        flat = (batch if isinstance(batch, int) else -1, FEATURES)
    given = list(shape or (batch, 3, SIDE, SIDE))
    stored = state | {
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
        "flat": np.array(flat, np.int64),
    }
    stored |= constants or {}
    graph = helper.make_graph(
        [*before, *nodes(names), *more],
        "net",
        [helper.make_tensor_value_info("photo" if before else "pixels", dtype, given)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def crops(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
