"""ONNX files as networks with gradients: the same embeddings, any batch, no code, trained further."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_nets import DIM, FEATURES, SIDE, WIDE, crops, reference, weights, write_net
from published_networks import as_fed
from small_faces import write_faces
from small_runs import checkpoint, run_config
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from data_prep.errors import InputError
from faceverif.backbones.onnx_graph import GRAPH_KEY, OnnxBackbone
from faceverif.models import MODEL_NAME, TorchEmbedder, load_differentiable, load_embedder, load_model
from faceverif.models.importing import ImportedModel, ImportSettings, import_model
from faceverif.models.sealed_tensors import write_sealed
from faceverif.training.loop import train

pytestmark = pytest.mark.usefixtures("small_inputs")

STATE = weights()


def imported(
    tmp_path: Path, *, preprocess: str = "rgb-127.5", template: str | None = None, **net: Any
) -> tuple[TorchEmbedder, ImportedModel]:
    file = write_net(tmp_path / "net.onnx", STATE, **net)
    settings = ImportSettings(preprocess=preprocess, template=template)
    result = import_model(file, tmp_path / "out", settings=settings)
    return load_model(tmp_path / "out" / MODEL_NAME), result


def assert_same(embedder: TorchEmbedder, wanted: Tensor) -> None:
    got = torch.from_numpy(embedder.embed(crops(len(wanted))))
    torch.testing.assert_close(got, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)


@pytest.mark.parametrize(
    ("batch", "flat"),
    [("n", None), (1, None), (1, (1, -1)), (1, (-1, FEATURES)), (4, None), (4, (4, -1))],
)
def test_embeddings_are_those_of_the_reference_for_any_batch(
    batch: int | str, flat: tuple[int, ...] | None, tmp_path: Path
) -> None:
    embedder, result = imported(tmp_path, batch=batch, flat=flat)
    assert result.found.embedding_dim == DIM
    for count in (1, 7):
        assert_same(embedder, reference(STATE, as_fed(crops(count))))
    assert embedder.backbone.portion is None


def test_colours_and_normalisation_become_part_of_the_model(tmp_path: Path) -> None:
    embedder, result = imported(tmp_path, preprocess="bgr-255")
    wanted = reference(STATE, as_fed(crops(3), bgr=True, mean=0, std=255))
    assert_same(embedder, wanted)
    assert "BGR" in result.text()


def test_pixels_get_the_gradients_of_the_reference(tmp_path: Path) -> None:
    embedder, _ = imported(tmp_path, preprocess="bgr-127.5")
    pixels = torch.rand(7, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    ours = torch.autograd.grad(embedder.backbone.eval()(pixels).square().sum(), pixels)[0]
    wanted = torch.autograd.grad(reference(STATE, 2 * pixels.flip(1) - 1).square().sum(), pixels)[0]
    torch.testing.assert_close(ours, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)


def test_a_graph_for_one_photo_alone_takes_them_one_by_one(tmp_path: Path) -> None:
    """The mean over the batch changes nothing for one photo; no shape tells that it must go."""
    mean = helper.make_node("ReduceMean", ["e"], ["m0"], axes=[0], keepdims=1)
    embedder, result = imported(tmp_path, more=[mean], output="m0")
    assert_same(embedder, reference(STATE, as_fed(crops(7))))
    assert "1 photo at a time" in result.text()


@pytest.mark.parametrize("side", [100, 30])
def test_a_side_that_no_network_of_ours_has(side: int, tmp_path: Path) -> None:
    """A graph has the side that it has."""
    features = WIDE * (-(-side // 4)) ** 2
    product = np.random.default_rng(1).standard_normal((features, DIM)).astype(np.float32) * 0.05
    state = STATE | {"product": product}
    file = write_net(tmp_path / "net.onnx", state, flat=(1, -1), shape=(1, 3, side, side))
    result = import_model(file, tmp_path / "out", settings=ImportSettings(preprocess="rgb-127.5"))
    embedder = load_model(result.path)
    assert embedder.spec.input_px == side
    pictures = np.random.default_rng(side).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    wanted = reference(state, as_fed(pictures))
    got = torch.from_numpy(embedder.embed(pictures))
    torch.testing.assert_close(got, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)


def test_slices_by_numbers_are_those_of_the_graph_and_warn_of_nothing(tmp_path: Path) -> None:
    """The middle of the pixels, cut from both ends, and every second number of the embedding."""
    numbers = {
        "from_axes": [1, -SIDE],
        "to_axes": [2**62, SIDE],
        "axes": [2, 3],
        "start": [0],
        "end": [DIM],
        "last": [-1],
        "two": [2],
    }
    whole = helper.make_node("Slice", ["photo", "from_axes", "to_axes", "axes"], ["cut"])
    back = helper.make_node("Pad", ["cut", "pads"], ["pixels"])
    second = helper.make_node("Slice", ["e", "start", "end", "last", "two"], ["e2"])
    constants = {name: np.array(value, np.int64) for name, value in numbers.items()}
    constants["pads"] = np.array([0, 0, 1, 0, 0, 0, 0, 0], np.int64)
    embedder, _ = imported(
        tmp_path, batch="n", before=[whole, back], more=[second], output="e2", constants=constants
    )
    pixels = as_fed(crops(7))
    pixels[:, :, 0] = 0
    assert_same(embedder, reference(STATE, pixels)[:, ::2])


def test_an_operator_without_a_layer_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    unit = helper.make_node("LpNormalization", ["e"], ["unit"], axis=1)
    with pytest.raises(
        InputError, match=r"FILE: net\.onnx.*got LpNormalization\. verify, embed.*opset_version=17"
    ):
        imported(tmp_path, more=[unit], output="unit")
    assert not (tmp_path / "out").exists()


def test_a_graph_that_rounds_has_no_gradient(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must pass gradients on to its pixels"):
        imported(tmp_path, more=[helper.make_node("Round", ["e"], ["r"])], output="r")


def test_names_in_a_graph_are_never_part_of_a_program(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    name = f'x"), __import__("pathlib").Path({str(ran)!r}).touch(), ("'
    embedder, _ = imported(tmp_path, names=[name, "a.b", "a/b", "", "1; import os"])
    embedder.embed(crops(1))
    assert not ran.exists()


def test_a_plan_that_names_other_files_is_refused(tmp_path: Path) -> None:
    embedder, result = imported(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(4 * FEATURES * DIM))
    state = dict(embedder.backbone.state_dict())
    plan = onnx.load_model_from_string(state[GRAPH_KEY].numpy().tobytes())
    tensor = plan.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(tmp_path / "secret"))
    state[GRAPH_KEY] = torch.frombuffer(bytearray(plan.SerializeToString()), dtype=torch.uint8)
    about = {"backbone": result.found.config, "preprocessing": vars(result.found.spec), "provenance": {}}
    write_sealed(result.path, state, about, metadata_key="faceverif.model")
    with pytest.raises(InputError, match="names files outside of it"):
        load_model(result.path)


def test_a_moving_average_keeps_plan_and_integers(tmp_path: Path) -> None:
    embedder, _ = imported(tmp_path)
    average = AveragedModel(embedder.backbone, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(3):
        average.update_parameters(embedder.backbone)
    kept = average.module.state_dict()
    for name, tensor in embedder.backbone.state_dict().items():
        assert torch.equal(kept[name], tensor) or "num_batches" in name, name


def test_every_weight_is_a_parameter(tmp_path: Path) -> None:
    embedder, _ = imported(tmp_path)
    sizes = sorted(parameter.numel() for parameter in embedder.backbone.parameters())
    statistics = {"mean", "var"}
    assert sizes == sorted(value.size for name, value in STATE.items() if name not in statistics)


def test_an_imported_graph_is_trained_further(tmp_path: Path) -> None:
    embedder, result = imported(tmp_path, template="arcface-112")
    before = copy.deepcopy(embedder.backbone.state_dict())
    write_faces(tmp_path / "data", people=4, photos=5)
    section = dict(result.found.config) | {"model": str(tmp_path / "out")}
    config = run_config(
        tmp_path / "data",
        backbone=section,
        training={"epochs": 1, "start_from": str(tmp_path / "out")},
    )
    train(config, tmp_path / "run", resume=False)
    (tmp_path / "out" / MODEL_NAME).unlink()  # the new model holds its graph
    trained = load_embedder(tmp_path / "run")
    after = trained.backbone.state_dict()
    assert isinstance(trained.backbone, OnnxBackbone)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name, _ in trained.backbone.named_parameters()} <= changed
    assert GRAPH_KEY not in changed
    assert checkpoint(tmp_path / "run")["backbone"].keys() == before.keys()
    assert trained.embed(crops(2)).shape == (2, DIM)


def test_a_training_config_names_the_imported_model(tmp_path: Path) -> None:
    _, result = imported(tmp_path)
    from faceverif.backbones import build_backbone
    from faceverif.config.backbones import OnnxConfig

    section = dict(result.found.config)
    with pytest.raises(InputError, match=r"backbone\.model: must name the imported model"):
        build_backbone(OnnxConfig(**section))
    with pytest.raises(InputError, match=r"backbone\.input_px: must be that of .*, 32; got 64"):
        build_backbone(OnnxConfig(**section | {"model": tmp_path / "out", "input_px": 64}))


def test_a_graph_without_a_name_that_ends_in_onnx_is_imported(tmp_path: Path) -> None:
    file = write_net(tmp_path / "9f31", STATE)
    result = import_model(file, tmp_path / "out", settings=ImportSettings(preprocess="rgb-127.5"))
    assert_same(load_model(result.path), reference(STATE, as_fed(crops(2))))
    assert "(others: --preprocess)" in result.text()


def test_options_of_the_other_kind_of_file_are_refused(tmp_path: Path) -> None:
    file = write_net(tmp_path / "net.onnx", STATE)
    with pytest.raises(InputError, match="--colours: belongs to checkpoints"):
        import_model(file, tmp_path / "out", settings=ImportSettings(preprocess="rgb-255", colours="bgr"))
    larger = write_net(tmp_path / "large", STATE, shape=[1, 3, 224, 224])
    with pytest.raises(InputError, match=r"^FILE: large must take at most 160 x 160 .*img_size=112"):
        import_model(larger, tmp_path / "out", settings=ImportSettings(preprocess="rgb-255"))
    with pytest.raises(InputError, match="--preprocess: must say"):
        import_model(file, tmp_path / "out", settings=ImportSettings())
    torch.save({}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"--output: belongs to \.onnx files"):
        import_model(tmp_path / "net.pth", tmp_path / "out", settings=ImportSettings(output="e"))


@pytest.mark.real_data
def test_the_public_mobilefacenet(shared: Path) -> None:
    file = shared / "models/MobileFaceNet.onnx"
    embedder = load_differentiable(file, preprocess="rgb-imagenet")
    source = load_embedder(file, preprocess="rgb-imagenet")
    pictures = np.random.default_rng(0).integers(0, 256, (7, 112, 112, 3), dtype=np.uint8)
    wanted = source.embed(pictures)
    np.testing.assert_allclose(embedder.embed(pictures), wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
