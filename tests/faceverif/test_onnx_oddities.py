"""ONNX graphs as people have them: layouts, types, open sizes, training mode, versions, quantisation.

Each is taken by `verify` and by `import`, or refused with advice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_nets import SIDE, crops, reference, weights, write_net
from torch import Tensor
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.models import load_differentiable, load_embedder
from faceverif.models.onnx_file import OnnxEmbedder

STATE = weights()
RAW = "rgb-raw"


def wanted(pictures: np.ndarray[Any, Any], *, mean: float = 127.5, std: float = 127.5) -> Tensor:
    return reference(STATE, (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - mean) / std)


def assert_both_give(
    file: Path,
    expected: Tensor,
    *,
    preprocess: str = "rgb-127.5",
    output: str | None = None,
    share: float = 1e-5,
) -> None:
    """As an ONNX file and as a network with gradients."""
    for load in (load_embedder, load_differentiable):
        got = torch.from_numpy(load(file, preprocess=preprocess, output=output).embed(crops(len(expected))))
        torch.testing.assert_close(got, expected, atol=share * expected.abs().max().item(), rtol=0)


NHWC = helper.make_node("Transpose", ["photo"], ["pixels"], perm=[0, 3, 1, 2])


@pytest.mark.parametrize("batch", [1, "n"])
def test_channels_last(batch: int | str, tmp_path: Path) -> None:
    file = write_net(tmp_path / "m.onnx", STATE, batch=batch, shape=[batch, SIDE, SIDE, 3], before=[NHWC])
    assert_both_give(file, wanted(crops(7)))


def test_float16_pixels_and_weights(tmp_path: Path) -> None:
    widen = helper.make_node("Cast", ["photo"], ["pixels"], to=TensorProto.FLOAT)
    file = write_net(tmp_path / "in.onnx", STATE, before=[widen], dtype=TensorProto.FLOAT16)
    assert_both_give(file, wanted(crops(7)), share=3e-3)
    half = onnx.load(write_net(tmp_path / "all.onnx", STATE, dtype=TensorProto.FLOAT16))
    for tensor in half.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    half.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    (tmp_path / "all.onnx").write_bytes(half.SerializeToString())
    assert_both_give(tmp_path / "all.onnx", wanted(crops(7)), share=2e-2)


def test_uint8_pixels_are_taken_raw(tmp_path: Path) -> None:
    before = [
        helper.make_node("Cast", ["photo"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "centre"], ["centred"]),
        helper.make_node("Div", ["centred", "spread"], ["pixels"]),
    ]
    constants = {"centre": np.array(127.5, np.float32), "spread": np.array(128, np.float32)}
    file = write_net(tmp_path / "m.onnx", STATE, before=before, constants=constants, dtype=TensorProto.UINT8)
    assert_both_give(file, wanted(crops(7), std=128), preprocess=RAW)
    with pytest.raises(InputError, match=r"--preprocess: must be rgb-raw or bgr-raw for m\.onnx"):
        OnnxEmbedder(file, "rgb-127.5")


def test_normalisation_at_the_start_is_not_learnt(tmp_path: Path) -> None:
    """InsightFace's own files take pixels of 0..255, subtract the mean and multiply by a scale."""
    before = [
        helper.make_node("Sub", ["photo", "centre"], ["centred"]),
        helper.make_node("Mul", ["centred", "factor"], ["pixels"]),
    ]
    constants = {
        "centre": np.full((1, 3, 1, 1), 127.5, np.float32),
        "factor": np.full((1, 3, 1, 1), 1 / 127.5, np.float32),
    }
    file = write_net(tmp_path / "m.onnx", STATE, before=before, constants=constants, batch="None")
    assert_both_give(file, wanted(crops(7)), preprocess=RAW)
    backbone = load_differentiable(file, preprocess=RAW).backbone
    learnt = sum(parameter.numel() for parameter in backbone.parameters())
    assert learnt == sum(value.size for name, value in STATE.items() if name not in ("mean", "var"))


def test_a_side_that_is_left_open_is_found(tmp_path: Path) -> None:
    """Global pooling takes any side; a matrix product fits one side only."""
    pooled = [
        helper.make_node("Conv", ["pixels", "conv1", "bias1"], ["c"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["e"]),
    ]
    graph = helper.make_graph(
        pooled,
        "open",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(STATE[name], name) for name in ("conv1", "bias1")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "open.onnx").write_bytes(model.SerializeToString())
    embedder = OnnxEmbedder(tmp_path / "open.onnx", "rgb-255")
    assert embedder.spec.input_px == 112
    assert embedder.preprocessing.endswith("112 px, as the file leaves the size open")
    assert load_differentiable(tmp_path / "open.onnx", preprocess="rgb-255").spec == embedder.spec

    fits_160 = weights() | {"product": np.zeros((8 * 40 * 40, 12), np.float32)}
    write_net(tmp_path / "m.onnx", fits_160, batch="n", flat=(-1, 8 * 40 * 40), shape=["n", 3, "h", "w"])
    assert OnnxEmbedder(tmp_path / "m.onnx", "rgb-255").spec.input_px == 160


def test_a_batch_that_only_seems_open(tmp_path: Path) -> None:
    file = write_net(tmp_path / "m.onnx", STATE, batch="n", flat=(1, -1))
    assert_both_give(file, wanted(crops(7)))
    assert OnnxEmbedder(file, "rgb-127.5").batch == 1


def test_an_embedding_chosen_by_name_among_several(tmp_path: Path) -> None:
    norm = helper.make_node("ReduceL2", ["e"], ["norm"], axes=[1], keepdims=1)
    unit = helper.make_node("Div", ["e", "norm"], ["unit"])
    model = onnx.load(write_net(tmp_path / "m.onnx", STATE, more=[norm, unit]))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("norm", "unit"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    expected = wanted(crops(7))
    assert_both_give(tmp_path / "m.onnx", expected, output="e")
    assert_both_give(tmp_path / "m.onnx", F.normalize(expected), output="unit")
    with pytest.raises(InputError, match="Add --output with one of: e, unit"):
        load_differentiable(tmp_path / "m.onnx", preprocess="rgb-127.5")


@pytest.mark.parametrize("opset", [9, 11, 18, 21])
def test_versions_of_the_operators(opset: int, tmp_path: Path) -> None:
    """Clip's bounds are attributes before 11, a reduction's axes inputs from 18 on."""
    model = onnx.load(write_net(tmp_path / "m.onnx", STATE, batch="n"))
    model.opset_import[0].version = opset
    (clip,) = (node for node in model.graph.node if node.op_type == "Clip")
    if opset < 11:
        del clip.input[1:]
        clip.attribute.extend([helper.make_attribute("min", 0.0), helper.make_attribute("max", 6.0)])
    axes = {"axes": [1]} if opset < 18 else {}
    norm = helper.make_node("ReduceL2", ["e", *([] if axes else ["axes"])], ["norm"], keepdims=1, **axes)
    model.graph.node.extend([norm, helper.make_node("Div", ["e", "norm"], ["unit"])])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    model.graph.output[0].name = "unit"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert_both_give(tmp_path / "m.onnx", F.normalize(wanted(crops(7))))


def test_training_mode_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_net(tmp_path / "m.onnx", STATE, opset=15, batch="n"))
    (norm,) = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    norm.attribute.append(helper.make_attribute("training_mode", 1))
    norm.output.extend(["new_mean", "new_var"])
    (tmp_path / "norm.onnx").write_bytes(model.SerializeToString())
    drop = helper.make_node("Dropout", ["e", "half", "yes"], ["d"])
    constants = {"half": np.array(0.5, np.float32), "yes": np.array(True)}
    write_net(tmp_path / "drop.onnx", STATE, more=[drop], output="d", constants=constants)
    for name, operator in (("norm", "BatchNormalization"), ("drop", "Dropout")):
        with pytest.raises(InputError, match=rf"got a {operator} in training mode. Call model\.eval"):
            OnnxEmbedder(tmp_path / f"{name}.onnx", "rgb-127.5")


def test_dropout_for_evaluation_does_nothing(tmp_path: Path) -> None:
    drop = helper.make_node("Dropout", ["e", "half", "no"], ["d"])
    constants = {"half": np.array(0.5, np.float32), "no": np.array(False)}
    file = write_net(tmp_path / "m.onnx", STATE, more=[drop], output="d", constants=constants)
    assert_both_give(file, wanted(crops(7)))


def test_quantised_graphs_verify_and_have_no_gradients(tmp_path: Path) -> None:
    steps = [
        helper.make_node("QuantizeLinear", ["e", "step", "zero8"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "zero8"], ["d"]),
    ]
    constants = {"step": np.array(0.05, np.float32), "zero8": np.array(128, np.uint8)}
    file = write_net(tmp_path / "m.onnx", STATE, more=steps, output="d", constants=constants)
    got = torch.from_numpy(load_embedder(file, preprocess="rgb-127.5").embed(crops(7)))
    torch.testing.assert_close(got, wanted(crops(7)).clamp(-6.4, 6.35), atol=0.03, rtol=0)
    with pytest.raises(InputError, match=r"QuantizeLinear.*Import the file that was quantised"):
        load_differentiable(file, preprocess="rgb-127.5")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        (["n", 3, 112, 96], TensorProto.FLOAT),
        (["n", 1, 112, 112], TensorProto.FLOAT),
        (["n", 3 * 112 * 112], TensorProto.FLOAT),
        (["n", 3, 112, 112], TensorProto.INT64),
    ],
)
def test_inputs_that_are_no_square_rgb_images_are_named(
    shape: list[int | str], dtype: int, tmp_path: Path
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["photo"], ["e"])],
        "wrong",
        [helper.make_tensor_value_info("photo", dtype, shape)],
        [helper.make_tensor_value_info("e", dtype, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"must have one input of square RGB images.*got photo tensor"):
        OnnxEmbedder(tmp_path / "m.onnx", "rgb-255")
