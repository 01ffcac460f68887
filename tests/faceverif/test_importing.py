"""Recognisers of other people: the published networks' embeddings and gradients, and bad files."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import published_networks as published
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.backbones import build_backbone
from faceverif.config.backbones import BackboneConfig
from faceverif.models import MODEL_NAME, TorchEmbedder, load_embedder, load_model
from faceverif.models.importing import ImportedModel, ImportSettings, import_model, importer
from faceverif.models.importing.checkpoint import read_weights
from faceverif.models.importing.incoming import fitting_spec
from faceverif.models.importing.layouts import recognise

SIDE, PX, DIM = 2, 32, 24  # the smallest input, so that deep networks stay quick
State = dict[str, Tensor]


def imported(
    tmp_path: Path, content: object, *, name: str = "net.pth", **settings: Any
) -> tuple[TorchEmbedder, ImportedModel]:
    file = tmp_path / name
    torch.save(content, file)
    result = import_model(file, tmp_path / "out", settings=ImportSettings(**settings))
    return load_model(tmp_path / "out" / MODEL_NAME), result


def crops(count: int, side: int = PX) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def insightface(depth: int) -> tuple[State, Callable[[Tensor], Tensor]]:
    state = published.insightface_weights(depth, side=SIDE, dim=DIM, unit_scale=True)
    return state, lambda x: published.insightface_forward(state, x, depth=depth)


def magface(depth: int) -> tuple[State, Callable[[Tensor], Tensor]]:
    state = published.insightface_weights(depth, side=SIDE, dim=DIM, unit_scale=False)
    named = {f"features.module.{key}": value for key, value in state.items()}
    return named, lambda x: published.insightface_forward(state, x, depth=depth, eps=2e-5)


def adaface(depth: int) -> tuple[State, Callable[[Tensor], Tensor]]:
    state = published.adaface_weights(depth, side=SIDE, dim=DIM)
    named = {f"model.{key}": value for key, value in state.items()} | {"head.kernel": torch.ones(DIM, 9)}
    return named, lambda x: published.adaface_forward(state, x, depth=depth)


def cvlface(depth: int) -> tuple[State, Callable[[Tensor], Tensor]]:
    """As `model.pt` holds it; its safetensors file has `model.` before each key."""
    state = published.adaface_weights(depth, side=SIDE, dim=DIM)
    named = {f"net.{key}": value for key, value in state.items()}
    return named, lambda x: published.adaface_forward(state, x, depth=depth)


def mobile(_: int) -> tuple[State, Callable[[Tensor], Tensor]]:
    state = published.mobile_weights(side=SIDE, dim=DIM)
    return state, lambda x: published.mobile_forward(state, x)


RGB = {"bgr": False, "mean": 127.5, "std": 127.5}
BGR = {"bgr": True, "mean": 127.5, "std": 127.5}
UNIT_BGR = {"bgr": True, "mean": 0.0, "std": 255.0}
FAMILIES = [
    pytest.param(insightface, 18, RGB, "iResNet-18"),
    pytest.param(insightface, 50, RGB, "iResNet-50"),
    pytest.param(adaface, 18, BGR, "IR-18"),
    pytest.param(adaface, 50, BGR, "IR-50"),
    pytest.param(cvlface, 18, RGB, "IR-18"),
    pytest.param(magface, 18, UNIT_BGR, "iResNet-18"),
    pytest.param(mobile, 0, RGB, "MobileFaceNet"),
]


@pytest.mark.parametrize(("family", "depth", "fed", "name"), FAMILIES)
def test_embeddings_are_those_of_the_published_network(
    family: Callable[[int], tuple[State, Callable[[Tensor], Tensor]]],
    depth: int,
    fed: dict[str, Any],
    name: str,
    tmp_path: Path,
) -> None:
    state, forward = family(depth)
    embedder, result = imported(tmp_path, state)
    for count in (1, 7):
        pictures = crops(count)
        wanted = forward(published.as_fed(pictures, **fed)).numpy()
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(embedder.embed(pictures), wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
    assert result.found.name == name
    assert (embedder.spec.input_px, result.found.embedding_dim) == (PX, DIM)
    assert ("BGR" if fed["bgr"] else "RGB") in result.text()


@pytest.mark.parametrize("depth", [34, 100, 200])
@pytest.mark.parametrize("family", [insightface, adaface])
def test_deeper_networks_fill_ours(
    family: Callable[[int], tuple[State, Callable[[Tensor], Tensor]]],
    depth: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Shapes are all that counts, and drawing 65 million weights takes seconds.
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.zeros(()).expand(*shape))
    found = recognise(family(depth)[0])
    assert found is not None
    assert (found.config["depth"], found.unknown) == (depth, ())
    with torch.device("meta"):  # shapes without memory
        ours = build_backbone(TypeAdapter(BackboneConfig).validate_python(found.config)).state_dict()
    wanted = {key: value.shape for key, value in ours.items() if "num_batches" not in key}
    assert {key: value.shape for key, value in found.state.items()} == wanted


def test_facenet_is_the_published_network_before_its_l2_normalisation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = InceptionResnetV1(classify=False, num_classes=None).eval()
    net.logits = nn.Linear(512, 3)  # the published files hold a classifier
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.3, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
    embedder, result = imported(tmp_path, net.state_dict())
    pictures = crops(2, side=160)
    with torch.no_grad():
        wanted = net(published.as_fed(pictures, bgr=False, mean=127.5, std=128.0))
    got = F.normalize(torch.from_numpy(embedder.embed(pictures)))
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
    assert result.found.spec.template == "facenet-160"


@pytest.mark.parametrize(("family", "depth"), [(insightface, 18), (adaface, 18), (magface, 18), (mobile, 0)])
def test_pixels_get_the_published_networks_gradients(
    family: Callable[[int], tuple[State, Callable[[Tensor], Tensor]]], depth: int, tmp_path: Path
) -> None:
    state, forward = family(depth)
    fed = {insightface: RGB, mobile: RGB, adaface: BGR, magface: UNIT_BGR}[family]
    embedder, _ = imported(tmp_path, state)
    pixels = torch.rand(2, 3, PX, PX, generator=torch.Generator().manual_seed(1)).requires_grad_()
    ours = torch.autograd.grad(embedder.backbone.eval()(pixels).square().sum(), pixels)[0]
    theirs = (255 * pixels - fed["mean"]) / fed["std"]
    wanted = torch.autograd.grad(forward(theirs.flip(1) if fed["bgr"] else theirs).square().sum(), pixels)[0]
    torch.testing.assert_close(ours, wanted, atol=1e-4 * wanted.abs().max().item(), rtol=0)


def test_a_published_size_of_112_pixels(tmp_path: Path) -> None:
    state = published.insightface_weights(18, side=7, dim=512, unit_scale=True)
    embedder, result = imported(tmp_path, state)
    wanted = published.insightface_forward(
        state, published.as_fed(crops(1, side=112), **RGB), depth=18
    ).numpy()
    got = embedder.embed(crops(1, side=112))
    np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
    assert result.found.parameters == 24_025_600 - 1024  # without the last normalisation's scale and offset
    assert embedder.spec.template == "arcface-112"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
        lambda state: {"state_dict_backbone": state, "state_dict_softmax_fc": {"weight": torch.ones(9, DIM)}},
        lambda state: {
            "state_dict": {f"net.{key}": value for key, value in state.items()},
            "args": argparse.Namespace(lr=0.1),
        },
    ],
)
def test_wrappers_of_training_scripts_are_looked_through(
    wrap: Callable[[State], object], tmp_path: Path
) -> None:
    state, forward = insightface(18)
    embedder, _ = imported(tmp_path, wrap(state))
    wanted = forward(published.as_fed(crops(1), **RGB)).numpy()
    np.testing.assert_allclose(embedder.embed(crops(1)), wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


def test_of_two_networks_side_by_side_none_is_chosen_in_silence(tmp_path: Path) -> None:
    state, _ = insightface(18)
    two = {f"{name}.{key}": value for name in ("student", "teacher") for key, value in state.items()}
    with pytest.raises(InputError, match=r"one network; got 2, below student\. and teacher\."):
        imported(tmp_path, two)
    _, result = imported(tmp_path, {"model": state, "ema": state})
    assert "the first of 2 networks in the file; to import another" in result.text()


def test_layers_that_two_publishers_name_alike_are_said_to_be_a_guess(tmp_path: Path) -> None:
    state = published.adaface_weights(18, side=SIDE, dim=DIM)
    _, result = imported(tmp_path, state)
    assert "TFace and face.evoLVe name their layers alike and take RGB" in result.text()
    for said in ({"colours": "rgb"}, {"preprocess": "rgb-127.5"}):
        result.path.unlink()
        _, result = imported(tmp_path, state, **said)
        assert "TFace" not in result.text()
    result.path.unlink()
    assert "TFace" not in imported(tmp_path, adaface(18)[0])[1].text()


def test_cvlface_is_fed_rgb_in_its_safetensors_form_too_unless_its_model_yaml_says_bgr(
    tmp_path: Path,
) -> None:
    state, forward = cvlface(18)
    save_file({f"model.{key}": value for key, value in state.items()}, tmp_path / "model.safetensors")
    for number, (colours, fed) in enumerate([(None, RGB), ("bgr", BGR)]):
        settings = ImportSettings(colours=colours)
        result = import_model(tmp_path / "model.safetensors", tmp_path / f"{number}", settings=settings)
        wanted = forward(published.as_fed(crops(1), **fed)).numpy()
        got = load_model(result.path).embed(crops(1))
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


def test_safetensors_and_half_precision_are_read(tmp_path: Path) -> None:
    state, _ = insightface(18)
    save_file({key: value.half() for key, value in state.items()}, tmp_path / "net.safetensors")
    result = import_model(tmp_path / "net.safetensors", tmp_path / "out", settings=ImportSettings())
    assert result.found.name == "iResNet-18"
    assert load_model(result.path).embed(crops(1)).dtype == np.float32


def test_our_own_file_is_imported_apart_from_its_run(tmp_path: Path) -> None:
    state, _ = adaface(18)
    embedder, result = imported(tmp_path, state)
    moved = result.path.rename(tmp_path / "anything.bin")
    again = import_model(moved, tmp_path / "again", settings=ImportSettings())
    copy = load_model(again.path)
    np.testing.assert_array_equal(copy.embed(crops(2)), embedder.embed(crops(2)))
    assert copy.spec == embedder.spec
    assert copy.sha256 == embedder.sha256
    assert again.found.name == "iresnet by faceverif"
    with pytest.raises(InputError, match="--template: belongs to models from elsewhere"):
        import_model(moved, tmp_path / "third", settings=ImportSettings(template="arcface-112"))
    moved.write_bytes(moved.read_bytes()[:-4] + b"0000")
    with pytest.raises(InputError, match="the hash differs"):
        import_model(moved, tmp_path / "third", settings=ImportSettings())


def test_preprocessing_can_be_said_by_number(tmp_path: Path) -> None:
    state, forward = insightface(18)
    embedder, _ = imported(tmp_path, state, preprocess="bgr:mean=127.5,std=128")
    wanted = forward(published.as_fed(crops(1), bgr=True, mean=127.5, std=128)).numpy()
    np.testing.assert_allclose(embedder.embed(crops(1)), wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
    (tmp_path / "out" / MODEL_NAME).unlink()
    with pytest.raises(InputError, match="--colours: must agree with --preprocess"):
        imported(tmp_path, state, preprocess="bgr-128", colours="rgb")


def test_colours_can_be_said(tmp_path: Path) -> None:
    state, forward = adaface(18)
    embedder, result = imported(tmp_path, state, colours="rgb")
    wanted = forward(published.as_fed(crops(1), **RGB)).numpy()
    np.testing.assert_allclose(embedder.embed(crops(1)), wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
    assert result.text().splitlines()[3] == "not part of the network: head.kernel"


def test_names_in_a_file_cannot_write_to_the_console(tmp_path: Path) -> None:
    state, _ = adaface(18)
    _, result = imported(tmp_path, state | {"head.\x1b[2Jall good\n": torch.ones(2)})
    assert "\x1b" not in result.text()
    assert len(result.text().splitlines()) == 7


def without(state: State, part: str) -> State:
    return {key: value for key, value in state.items() if part not in key}


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda state: without(state, "layer3"), r"not understood: conv1\.weight"),
        (
            lambda state: without(state, "layer3.1.conv2"),
            r"1 of \d+ tensors are missing, such as layer3\.1\.conv2\.weight\. It is another variant",
        ),
        (
            lambda state: state | {"layer1.0.se.fc1.weight": torch.ones(4)},
            r"iResNet-18.*layer1\.0\.se\.fc1\.weight",
        ),
        (
            lambda state: state | {"conv1.weight": torch.ones(64, 3, 7, 7)},
            r"\(64, 3, 7, 7\) where \(64, 3, 3, 3\)",
        ),
        (lambda state: state | {"fc.bias": torch.full((DIM,), torch.nan)}, r"fc\.bias holds NaN.*download"),
        (lambda _: {"w": torch.ones(3), "b": torch.ones(3)}, r"2 tensors\); not understood: w, b"),
        (lambda _: {"optimizer": {"lr": 0.1}, "epoch": 3}, r"which holds optimizer, epoch"),
        (lambda _: [1, 2], "which holds list"),
    ],
)
def test_what_is_no_whole_network_is_refused(
    damage: Callable[[State], object], complaint: str, tmp_path: Path
) -> None:
    state, _ = insightface(18)
    with pytest.raises(InputError, match=complaint):
        imported(tmp_path, damage(state))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        (
            lambda: without(adaface_with_affine_end(), "running"),
            r"the whole IR-18; got .*tensors are missing, such as .*running_mean",
        ),
        (lambda: without(magface(18)[0], "fc.bias"), r"the whole iResNet-18; got .*such as fc\.bias"),
        (
            lambda: magface(18)[0] | {"features.module.features.bias": torch.ones(DIM + 1)},
            r"features\.weight is \(24,\) where nothing belongs",
        ),
        (
            lambda: mobile(0)[0] | {"layers.0.layers.0.weight": torch.ones(256, 3, 3, 3)},
            r"MobileFaceNet as it is known here; got .*channel_scale 4 \(input should be 1 or 2\)\. It is",
        ),
        (
            lambda: mobile(0)[0] | {"features.layers.0.layers.0.weight": torch.ones(512, 1, 1, 1)},
            r"input_px 16 \(input should be greater than or equal to 32\)",
        ),
        (lambda: mobile(0)[0] | {"features.layers.0.layers.0.weight": torch.ones(())}, "not understood: "),
    ],
)
def test_variants_and_parts_of_known_networks_are_refused(
    state: Callable[[], State], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=complaint):
        imported(tmp_path, state())
    assert not (tmp_path / "out").exists()


def adaface_with_affine_end() -> State:
    """As face.evoLVe and TFace build it."""
    state = published.adaface_weights(18, side=SIDE, dim=DIM)
    return state | {"output_layer.4.weight": torch.full((DIM,), 2.0), "output_layer.4.bias": torch.ones(DIM)}


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("as_zip", [True, False])
def test_no_file_runs_code(as_zip: bool, tmp_path: Path) -> None:
    content = insightface(18)[0] | {"hook": Evil(tmp_path / "ran")}
    file = tmp_path / "net.pth"
    for protocol, said in (
        (2, r"which asks for .*save model\.state_dict\(\) alone"),
        (4, "FILE: must"),  # torch reads protocol 2 alone
    ):
        torch.save(content, file, _use_new_zipfile_serialization=as_zip, pickle_protocol=protocol)
        with pytest.raises(InputError, match=said):
            import_model(file, tmp_path / "out", settings=ImportSettings())
        assert not (tmp_path / "ran").exists()


def test_a_pickle_that_torch_did_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(InputError, match=r"FILE: must"):
        import_model(tmp_path / "plain.pth", tmp_path / "out", settings=ImportSettings())
    assert not (tmp_path / "ran").exists()


def test_a_file_by_torch_before_1_6_is_read_as_the_same_network(tmp_path: Path) -> None:
    state, _ = insightface(18)
    embedder, _ = imported(tmp_path, state)
    older = tmp_path / "older.pth"
    wrapped = {"state_dict": state, "args": argparse.Namespace(lr=0.1)}
    torch.save(wrapped, older, _use_new_zipfile_serialization=False)
    result = import_model(older, tmp_path / "again", settings=ImportSettings())
    assert load_model(result.path).sha256 == embedder.sha256


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("kept", [0, 10, 1000, 100_000])
def test_a_truncated_file_is_refused(kept: int, as_zip: bool, tmp_path: Path) -> None:
    torch.save(insightface(18)[0], tmp_path / "whole.pth", _use_new_zipfile_serialization=as_zip)
    for name in ("cut.pth", "cut.safetensors"):
        (tmp_path / name).write_bytes((tmp_path / "whole.pth").read_bytes()[:kept])
        said = "FILE: must be a whole checkpoint" if kept else "FILE: .*, an empty file"
        with pytest.raises(InputError, match=said):
            import_model(tmp_path / name, tmp_path / "out", settings=ImportSettings())


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_damaged_file_is_read_or_refused(as_zip: bool, tmp_path: Path) -> None:
    torch.save({"epoch": 3, "net": {"a.weight": torch.ones(2)}}, tmp_path / "net.pth")
    if not as_zip:
        torch.save(
            torch.load(tmp_path / "net.pth"), tmp_path / "net.pth", _use_new_zipfile_serialization=False
        )
    whole, rng, refused = (tmp_path / "net.pth").read_bytes(), np.random.default_rng(0), 0
    for place in rng.choice(len(whole), 150, replace=False).tolist():
        damaged = whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :]
        (tmp_path / "net.pth").write_bytes(damaged)
        try:
            [weights] = read_weights(tmp_path / "net.pth")
        except InputError:
            refused += 1
        else:
            assert len(weights) == 1
    assert 0 < refused < 150


def test_a_damaged_table_of_contents_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "net.pth")
    whole = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "net.pth").write_bytes(whole.replace(b"PK\1\2", b"PK??"))
    with pytest.raises(InputError, match="FILE: must be a whole checkpoint"):
        import_model(tmp_path / "net.pth", tmp_path / "out", settings=ImportSettings())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html><title>Not found</title>", "a web page"),
        (b"\n<HTML>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS.*git lfs pull"),
        (b"\x1f\x8b\x08\x00 packed", "a packed archive. Unpack it"),
    ],
)
@pytest.mark.parametrize("name", ["net", "net.pth", "net.safetensors", "net.onnx"])
def test_what_lies_in_a_models_place_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    settings = ImportSettings(preprocess="rgb-127.5" if name == "net.onnx" else None)
    with pytest.raises(InputError, match=rf"^FILE: must be a model's file; got .*{said}"):
        import_model(tmp_path / name, tmp_path / "out", settings=settings)


def test_a_pointer_in_place_of_a_models_file_is_named(tmp_path: Path) -> None:
    (tmp_path / MODEL_NAME).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"^--model: .*a pointer of Git LFS"):
        load_embedder(tmp_path)


def test_an_archive_around_a_checkpoint_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("net.pth", b"whatever")
    with pytest.raises(InputError, match="a packed archive"):
        import_model(tmp_path / "net.zip", tmp_path / "out", settings=ImportSettings())


def test_the_form_of_a_file_is_recognised_without_its_name(tmp_path: Path) -> None:
    """Hubs keep files under their hashes."""
    state, forward = insightface(18)
    wanted = forward(published.as_fed(crops(1), **RGB)).numpy()
    save_file(state, tmp_path / "5ab3")
    torch.save(state, tmp_path / "net.safetensors")
    for number, name in enumerate(["5ab3", "net.safetensors"]):
        result = import_model(tmp_path / name, tmp_path / f"{number}", settings=ImportSettings())
        got = load_model(result.path).embed(crops(1))
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


@pytest.mark.parametrize(
    ("px", "fix"),
    [(128, "Add the one .*: --template arcface-128 or"), (224, "Take a network for 112 pixels")],
)
def test_an_input_larger_than_the_crops_names_the_templates_that_hold_it(px: int, fix: str) -> None:
    with pytest.raises(InputError, match=rf"--template: .* input of {px} pixels; got arcface-112.* {fix}"):
        fitting_spec("arcface-112", input_px=px)


def test_a_learnt_last_scale_is_said_to_be_magfaces_perhaps(tmp_path: Path) -> None:
    state = published.insightface_weights(18, side=SIDE, dim=DIM, unit_scale=False)
    found = recognise(state)
    assert found is not None
    assert "for MagFace give --preprocess bgr-255" in str(found.layout.doubt)
    embedder, result = imported(tmp_path, state, preprocess="bgr-255")
    assert "MagFace" not in result.text()
    assert "pixels: BGR, x / 255 (others: --preprocess, --colours)" in result.text()
    wanted = published.insightface_forward(state, published.as_fed(crops(1), **UNIT_BGR), depth=18).numpy()
    np.testing.assert_allclose(embedder.embed(crops(1)), wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


def test_blocks_of_five_layers_are_another_variant(tmp_path: Path) -> None:
    """face.evoLVe's and CurricularFace's blocks lack AdaFace's second normalisation."""
    shorter = {"0": "0", "1": "1", "3": "2", "4": "3", "5": "4"}
    state = {}
    for key, value in published.adaface_weights(18, side=SIDE, dim=DIM).items():
        block, layer, rest = key.partition(".res_layer.")
        if not layer:
            state[key] = value
        elif rest[0] in shorter:
            state[f"{block}{layer}{shorter[rest[0]]}{rest[1:]}"] = value
    said = r"missing, such as body\.\d\.res_layer\.\d.*\. It is another variant .*to ONNX"
    with pytest.raises(InputError, match=said):
        imported(tmp_path, state)


def test_a_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"net/{name}", b"")
    with pytest.raises(InputError, match="a TorchScript archive"):
        import_model(tmp_path / "net.pt", tmp_path / "out", settings=ImportSettings())


def test_a_model_is_never_overwritten(tmp_path: Path) -> None:
    state, _ = insightface(18)
    imported(tmp_path, state)
    before = (tmp_path / "out" / MODEL_NAME).read_bytes()
    with pytest.raises(InputError, match="--out: must not hold a model yet"):
        imported(tmp_path, state)
    assert (tmp_path / "out" / MODEL_NAME).read_bytes() == before


def test_of_two_imports_at_once_the_second_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def late(out: Path, *, command: str) -> Iterator[None]:
        """The lock, which another import has held until now."""
        out.mkdir()
        (out / MODEL_NAME).write_bytes(b"of the other")
        yield

    monkeypatch.setattr(importer, "filled", late)
    with pytest.raises(InputError, match="--out: must not hold a model yet"):
        imported(tmp_path, mobile(0)[0])
    assert (tmp_path / "out" / MODEL_NAME).read_bytes() == b"of the other"


def test_a_missing_file_and_a_folder_are_reported_differently(tmp_path: Path) -> None:
    for path, got in ((tmp_path / "no.pth", "does not exist"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=got):
            import_model(path, tmp_path / "out", settings=ImportSettings())
