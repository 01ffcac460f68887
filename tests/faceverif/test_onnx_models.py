"""Models from elsewhere: which output, which files, what they take; what is wrong is said in one line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from data_prep.errors import InputError
from faceverif.models.embedder import naming
from faceverif.models.onnx_file import OnnxEmbedder
from faceverif.models.preprocessing import PREPROCESSINGS, find_preprocessing


def crops(count: int, side: int = 112) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def write_onnx(
    path: Path, *, shape: Sequence[int | str] = (1, 3, 112, 112), pool: bool = True, external: bool = False
) -> Path:
    """The mean of each channel, times (1, 2, 3): it tells colour order and normalisation."""
    given = helper.make_tensor_value_info("photo", TensorProto.FLOAT, list(shape))
    result = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.array([1, 2, 3], np.float32).reshape(1, 3, 1, 1), "weight")
    nodes = [
        helper.make_node("Mul", ["photo", "weight"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["embedding"], axes=[2, 3], keepdims=0),
    ]
    if not pool:
        nodes = [helper.make_node("Identity", ["photo"], ["embedding"])]
    graph = helper.make_graph(nodes, "probe", [given], [result], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, location=path.name + ".data", size_threshold=0)
    return path


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_each_preprocessing_is_its_formula(tmp_path: Path, name: str) -> None:
    colour = np.array([200, 100, 30], np.uint8)
    photo = np.broadcast_to(colour, (1, 112, 112, 3))
    x = colour.astype(float)
    wanted = {
        "rgb-imagenet": (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "rgb-127.5": (x - 127.5) / 127.5,
        "bgr-127.5": (x[::-1] - 127.5) / 127.5,
        "rgb-128": (x - 127.5) / 128,
        "bgr-128": (x[::-1] - 127.5) / 128,
        "rgb-255": x / 255,
        "bgr-255": x[::-1] / 255,
        "rgb-raw": x,
        "bgr-raw": x[::-1],
    }[name]
    embedding = OnnxEmbedder(write_onnx(tmp_path / "m.onnx"), name).embed(photo)
    np.testing.assert_allclose(embedding[0], wanted * [1, 2, 3], rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("rgb:mean=127.5,std=128", "rgb-128"),
        ("bgr:mean=0,std=255", "bgr-255"),
        ("rgb:mean=123.675,116.28,103.53,std=58.395,57.12,57.375", "rgb-imagenet"),
    ],
)
def test_numbers_say_the_same_as_names(text: str, named: str) -> None:
    said, known = find_preprocessing(text), PREPROCESSINGS[named]
    np.testing.assert_allclose([said.mean, said.std], [known.mean, known.std], rtol=1e-6)
    assert said.colour_order == known.colour_order


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rgb-12", "got rgb-12. Use one of rgb-imagenet, .*rgb:mean=127.5,std=128"),
        ("rgb:mean=1,2,std=3", "Use one of"),
        ("rgb:std=3,mean=1", "Use one of"),
        ("grey:mean=1,std=3", "Use one of"),
        ("rgb:mean=nan,std=3", "Use one of"),
        ("rgb:mean=127.5,std=0", "std must be above 0"),
        ("rgb:mean=127.5,std=-2", "std must be above 0"),
        ("rgb:mean=1e999,std=2", "std must be above 0"),
        ("rgb:mean=0.5,std=0.5", "Multiply by 255: rgb:mean=127.5,std=127.5"),
        ("bgr:mean=0.485,0.456,0.406,std=0.229,0.224,0.225", "bgr:mean=123.675,116.28,103.53,std=58.395"),
    ],
)
def test_what_is_no_preprocessing_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        find_preprocessing(text)


@pytest.mark.parametrize("batch", [1, 4, "batch"])
def test_any_number_of_crops_goes_through_any_batch_size(tmp_path: Path, batch: int | str) -> None:
    embedder = OnnxEmbedder(write_onnx(tmp_path / "m.onnx", shape=(batch, 3, 112, 112)), "rgb-255")
    photos = crops(37)
    wanted = photos.mean(axis=(1, 2)) / 255 * [1, 2, 3]
    for count in (1, 3, 4, 37):
        np.testing.assert_allclose(embedder.embed(photos[:count]), wanted[:count], rtol=1e-4)


@pytest.mark.parametrize(
    ("side", "template"), [(112, "arcface-112"), (120, "arcface-128"), (160, "arcface-160")]
)
def test_the_input_size_tells_the_template(tmp_path: Path, side: int, template: str) -> None:
    spec = OnnxEmbedder(write_onnx(tmp_path / "m.onnx", shape=(1, 3, side, side)), "rgb-255").spec
    assert (spec.template, spec.input_px) == (template, side)


@pytest.mark.parametrize(
    "shape", [(1, 112, 112, 3), (1, 3, 112, 96), (1, 3, "height", "width"), (1, 3, 224, 224), (3, 112, 112)]
)
def test_other_inputs_are_refused(tmp_path: Path, shape: tuple[int | str, ...]) -> None:
    with pytest.raises(InputError, match=r"--model: m.onnx must"):
        OnnxEmbedder(write_onnx(tmp_path / "m.onnx", shape=shape, pool=False), "rgb-255")


def test_an_output_that_is_no_embedding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"float \(batch, dim\).*got embedding float32 \(1, 3, 112, 112\)"):
        OnnxEmbedder(write_onnx(tmp_path / "m.onnx", pool=False), "rgb-255")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"404: not found")
    with pytest.raises(InputError, match="must be a model that onnxruntime can open"):
        OnnxEmbedder(tmp_path / "m.onnx", "rgb-255")


def test_missing_external_data_are_named(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx", external=True)
    whole = OnnxEmbedder(path, "rgb-255").sha256
    data = tmp_path / "m.onnx.data"
    data.write_bytes(np.array([1, 2, 4], np.float32).tobytes())
    assert OnnxEmbedder(path, "rgb-255").sha256 != whole  # the weights are part of the hash
    data.unlink()
    with pytest.raises(InputError, match="must have its external data file beside it"):
        OnnxEmbedder(path, "rgb-255")


# --- external data


def write_external(path: Path, location: str, *, tensor: str = "weight") -> bytes:
    """The same model with its weight in another file, which is not written; gives what belongs in there."""
    model = onnx.load(write_onnx(path))
    (weight,) = model.graph.initializer
    data = bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", str(len(data)))):
        weight.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return data


@pytest.mark.parametrize(
    "location", ["weights.bin", "deep/down/w", "./w.bin", "deep/../w.bin", "net.onnx.data"]
)
def test_the_hash_covers_external_data_under_any_name(tmp_path: Path, location: str) -> None:
    path = tmp_path / "net.onnx"
    data = write_external(path, location)
    (tmp_path / "deep/down").mkdir(parents=True)
    (tmp_path / location).write_bytes(data)
    before = OnnxEmbedder(path, "rgb-255")
    embedding = before.embed(crops(1))
    (tmp_path / location).write_bytes(np.array([1, 2, 4], np.float32).tobytes())
    after = OnnxEmbedder(path, "rgb-255")
    assert before.sha256 != after.sha256  # although nobody asked for it before the change
    assert not np.allclose(embedding, after.embed(crops(1)))


def test_a_renamed_and_a_copied_model_keep_their_hash(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    data = write_external(path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(data)
    (tmp_path / "net.onnx.txt").write_text("weights.bin is not all that lies here")
    kept = OnnxEmbedder(path, "rgb-255").sha256
    other = tmp_path / "elsewhere"
    other.mkdir()
    path.rename(other / "other.onnx")
    (tmp_path / "weights.bin").rename(other / "weights.bin")
    assert OnnxEmbedder(other / "other.onnx", "rgb-255").sha256 == kept


def test_a_link_in_the_folder_is_followed_and_one_that_leaves_it_refused(tmp_path: Path) -> None:
    """Download caches keep the model and its data as links into one folder of blobs."""
    for folder in ("blobs", "snapshot", "elsewhere"):
        (tmp_path / folder).mkdir()
    data = write_external(tmp_path / "blobs/1", "m.onnx_data")
    for blob in ("blobs/2", "elsewhere/2"):
        (tmp_path / blob).write_bytes(data)
    model, link = tmp_path / "snapshot/m.onnx", tmp_path / "snapshot/m.onnx_data"
    model.symlink_to("../blobs/1")
    link.symlink_to("../blobs/2")
    before = OnnxEmbedder(model, "rgb-255").sha256
    (tmp_path / "blobs/2").write_bytes(data[::-1])
    assert OnnxEmbedder(model, "rgb-255").sha256 != before
    link.unlink()
    link.symlink_to("../elsewhere/2")
    with pytest.raises(InputError, match="external data in its own folder"):
        OnnxEmbedder(model, "rgb-255")
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(InputError, match=r"--model: m\.onnx must|onnxruntime can open"):
        OnnxEmbedder(model, "rgb-255")


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "/w.bin", "a/../../w.bin", "C:\\w.bin", "", "*/_ORT_MEM_ADDR_/*", "a\0b", "a" * 300],
)
def test_external_data_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "m").mkdir()
    data = write_external(tmp_path / "m/net.onnx", location)
    (tmp_path / "w.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"--model: .*(external data|onnxruntime can open)") as refused:
        OnnxEmbedder(tmp_path / "m/net.onnx", "rgb-255")
    assert "\n" not in str(refused.value)


def test_a_folder_or_a_pipe_is_no_external_data(tmp_path: Path) -> None:
    write_external(tmp_path / "net.onnx", "w.bin")
    (tmp_path / "w.bin").mkdir()
    with pytest.raises(InputError, match="external data file beside it"):
        OnnxEmbedder(tmp_path / "net.onnx", "rgb-255")
    (tmp_path / "w.bin").rmdir()
    os.mkfifo(tmp_path / "w.bin")
    with pytest.raises(InputError, match="external data file beside it"):
        OnnxEmbedder(tmp_path / "net.onnx", "rgb-255")


def test_external_data_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    data = write_external(tmp_path / "net.onnx", "w.bin")
    (tmp_path / "w.bin").write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"external data of 12 bytes; got 11 bytes in .*w\.bin"):
        OnnxEmbedder(tmp_path / "net.onnx", "rgb-255")


# --- which output is the embedding


def write_outputs(path: Path, nodes: list[Any], outputs: Sequence[str], *, batch: int | str = "n") -> Path:
    """A graph on `e`, the (n, 3) mean of each channel, with `shape_*`, `two` and `label` to build from."""
    integers = {"shape_1x1": [0, 3, 1, 1], "row": [1, -1], "flat": [-1], "seven": [0, 3, 7, 7]}
    stored = [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in integers.items()]
    photo = helper.make_tensor_value_info("photo", TensorProto.FLOAT, [batch, 3, 112, 112])
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    pool = helper.make_node("ReduceMean", ["photo"], ["e"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([pool, *nodes], "outputs", [photo], results, stored)
    path.write_bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
        ).SerializeToString()
    )
    return path


NORM = helper.make_node("ReduceL2", ["e"], ["norm"], axes=[1], keepdims=1)
LABEL = helper.make_node("ArgMax", ["e"], ["label"], axis=1, keepdims=0)
UNIT = helper.make_node("Div", ["e", "norm"], ["unit"])
WIDE = helper.make_node("Reshape", ["e", "shape_1x1"], ["wide"])
HALF = helper.make_node("Cast", ["e"], ["half"], to=TensorProto.FLOAT16)
MAP = helper.make_node("Identity", ["photo"], ["map"])


@pytest.mark.parametrize(
    ("nodes", "outputs", "chosen"),
    [
        ([NORM], ["norm", "e"], "e"),
        ([NORM], ["e", "norm"], "e"),
        ([LABEL, MAP], ["map", "label", "e"], "e"),
        ([WIDE, NORM], ["norm", "wide"], "wide"),
        ([HALF, NORM], ["norm", "half"], "half"),
    ],
)
@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_the_only_output_with_the_shape_of_an_embedding_is_taken(
    tmp_path: Path, nodes: list[Any], outputs: list[str], chosen: str, batch: int | str
) -> None:
    embedder = OnnxEmbedder(write_outputs(tmp_path / "m.onnx", nodes, outputs, batch=batch), "rgb-255")
    found = embedder.embed(crops(5))
    assert (found.shape, found.dtype) == ((5, 3), np.float32)
    np.testing.assert_allclose(found, crops(5).mean(axis=(1, 2)) / 255, rtol=2e-3)
    assert embedder.preprocessing.endswith(f"; output {chosen}")


def test_outputs_that_only_their_names_tell_apart_are_asked_for(tmp_path: Path) -> None:
    path = write_outputs(tmp_path / "m.onnx", [NORM, UNIT], ["unit", "norm", "e"])
    with pytest.raises(
        InputError, match=r"unit float32 \(2, 3\), e float32.*--output with one of: unit, e\."
    ):
        OnnxEmbedder(path, "rgb-255")
    raw, unit = (OnnxEmbedder(path, "rgb-255", output=name) for name in ("e", "unit"))
    np.testing.assert_allclose(np.linalg.norm(unit.embed(crops(3)), axis=1), 1, rtol=1e-5)
    assert raw.embed(crops(3)).max() < 0.6
    assert raw.preprocessing != unit.preprocessing
    with pytest.raises(InputError, match=r"--output: must be an output of m\.onnx; got norms"):
        OnnxEmbedder(path, "rgb-255", output="norms")
    with pytest.raises(InputError, match=r"must give embeddings.*got norm float32 \(2, 1\)"):
        OnnxEmbedder(path, "rgb-255", output="norm")


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([NORM], ["norm"]),
        ([LABEL], ["label"]),
        ([MAP], ["map"]),
        ([helper.make_node("Reshape", ["e", "flat"], ["one"])], ["one"]),
        ([helper.make_node("SequenceConstruct", ["e", "e"], ["list"])], ["list"]),
    ],
)
def test_outputs_of_which_none_is_an_embedding_are_named(
    tmp_path: Path, nodes: list[Any], outputs: list[str]
) -> None:
    with pytest.raises(InputError, match=rf"must give embeddings.*got {outputs[0]}"):
        OnnxEmbedder(write_outputs(tmp_path / "m.onnx", nodes, outputs), "rgb-255")


SOFTMAX = helper.make_node("Softmax", ["e"], ["classes"], axis=1)


def test_the_probabilities_of_classes_are_no_embedding(tmp_path: Path) -> None:
    path = write_outputs(tmp_path / "m.onnx", [SOFTMAX], ["classes"])
    with pytest.raises(InputError, match=r"not the probabilities of classes; .*add --output classes\."):
        OnnxEmbedder(path, "rgb-255")
    assert OnnxEmbedder(path, "rgb-255", output="classes").embed(crops(2)).shape == (2, 3)
    both = write_outputs(tmp_path / "both.onnx", [SOFTMAX], ["classes", "e"])
    assert OnnxEmbedder(both, "rgb-255").output_name == "e"


def test_an_embedding_whose_black_crop_sums_to_1_is_one(tmp_path: Path) -> None:
    first = numpy_helper.from_array(np.array([[1, 0, 0]], np.float32))
    nodes = [
        helper.make_node("Constant", [], ["first"], value=first),
        helper.make_node("Add", ["e", "first"], ["moved"]),
    ]
    path = write_outputs(tmp_path / "m.onnx", nodes, ["moved"])
    assert OnnxEmbedder(path, "rgb-255").output_name == "moved"


def test_an_output_that_does_not_follow_the_batch_is_refused(tmp_path: Path) -> None:
    two_rows = numpy_helper.from_array(np.ones((2, 8), np.float32))
    constant = helper.make_node("Constant", [], ["fixed"], value=two_rows)
    embedder = OnnxEmbedder(write_outputs(tmp_path / "m.onnx", [constant], ["fixed"]), "rgb-255")
    with pytest.raises(InputError, match=r"must give one embedding per crop.*\(2, 8\) for 1 crop"):
        embedder.embed(crops(1))


# --- graphs that may never end


def endless() -> Any:
    """A loop whose condition stays true."""
    true = helper.make_node("Constant", [], ["go"], value=numpy_helper.from_array(np.array(True)))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond_in"], ["cond_out"]),
            helper.make_node("Identity", ["in"], ["out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("in", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("out", TensorProto.FLOAT, None),
        ],
    )
    return [true, helper.make_node("Loop", ["", "go", "e"], ["looped"], body=body)]


def test_a_loop_is_refused_wherever_it_hides(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(InputError, match=r"graph without loops.*got Loop"):
        OnnxEmbedder(write_outputs(path, endless(), ["looped"]), "rgb-255")

    out = helper.make_tensor_value_info("looped", TensorProto.FLOAT, None)
    branch = helper.make_graph(endless(), "branch", [], [out])
    condition = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    either = helper.make_node("If", ["yes"], ["if"], then_branch=branch, else_branch=branch)
    with pytest.raises(InputError, match="got Loop"):
        OnnxEmbedder(write_outputs(path, [condition, either], ["if"]), "rgb-255")

    model = onnx.load(write_outputs(path, [helper.make_node("Hidden", ["e"], ["h"], domain="own")], ["h"]))
    opsets = [helper.make_opsetid("", 13)]
    model.functions.append(helper.make_function("own", "Hidden", ["e"], ["looped"], endless(), opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="got Loop"):
        OnnxEmbedder(path, "rgb-255")


# --- embeddings that are not finite


def test_the_photo_is_named_and_the_advice_is_not_to_train_again(tmp_path: Path) -> None:
    path = write_outputs(tmp_path / "m.onnx", [helper.make_node("Log", ["e"], ["log"])], ["log"])
    photos = crops(5)
    photos[[2, 4]] = 0
    embedder = OnnxEmbedder(path, "rgb-255")
    with pytest.raises(InputError, match="for crop 2 and 1 more of 5"):
        embedder.embed(photos)
    with (
        pytest.raises(InputError, match=r"from m\.onnx for a/2\.jpg and 1 more of 5\. Check --preprocess"),
        naming([f"a/{number}.jpg" for number in range(5)]),
    ):
        embedder.embed(photos)
