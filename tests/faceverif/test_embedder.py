"""Embedders: what goes in is what the model wants, what is broken is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from small_faces import PatternNet, pattern_embedder
from torch import Tensor, nn

from data_prep.alignment import find_template
from data_prep.dataset.manifest import header_for
from data_prep.errors import InputError
from faceverif.backbones import build_backbone
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.models import (
    MODEL_NAME,
    PreprocessingSpec,
    TorchEmbedder,
    load_embedder,
    load_model,
    save_model,
)
from faceverif.models.sealed_tensors import write_sealed

ARCFACE_112 = find_template("arcface-112")
CONFIG = MobileFaceNetConfig(name="mobilefacenet", embedding_dim=16, input_px=112)


def crops(count: int, side: int = 112) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


# --- the contract


def test_a_backbone_without_weights_runs_on_the_cpu() -> None:
    """A graph from elsewhere may compute its embedding from the pixels alone."""

    class Weightless(nn.Module):
        embedding_dim = 3

        def forward(self, pixels: Tensor) -> Tensor:
            return pixels.mean(dim=(2, 3))

    embedder = TorchEmbedder(Weightless(), PreprocessingSpec.of(ARCFACE_112, input_px=112))
    assert (embedder.device, embedder.embed(crops(2)).shape) == ("cpu", (2, 3))


def test_the_middle_of_larger_crops_reaches_the_model() -> None:
    large = crops(2, side=128)
    small = pattern_embedder("arcface-128", input_px=120).embed(large)
    np.testing.assert_array_equal(small, pattern_embedder(input_px=120).embed(large[:, 4:124, 4:124]))


@pytest.mark.parametrize(
    "wrong",
    [
        crops(2, side=100),
        crops(2, side=160),
        crops(2)[0],
        crops(2).astype(np.float32),
        crops(2).transpose(0, 3, 1, 2),
    ],
)
def test_other_shapes_and_types_are_refused(wrong: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="crops must be uint8"):
        pattern_embedder().embed(wrong)


def test_embeddings_that_are_not_finite_are_refused() -> None:
    embedder = pattern_embedder()
    nn.init.constant_(embedder.backbone.scale.weight, float("nan"))  # type: ignore[union-attr, arg-type]
    with pytest.raises(InputError, match="finite embeddings"):
        embedder.embed(crops(1))
    assert np.isnan(embedder.or_nan().embed(crops(1))).all()


def test_a_data_set_of_another_template_is_refused() -> None:
    other = header_for(find_template("arcface-128"), policy="centred-largest", min_face_px=20)
    with pytest.raises(InputError, match="Align the photos with --template arcface-112"):
        pattern_embedder().spec.refuse_other(other)


# --- models trained here


class PixelProbe(nn.Module):
    """Says what it was given: range, order, mode."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))
        self.frozen = nn.BatchNorm1d(1)
        self.seen: tuple[Tensor, bool, bool] | None = None

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen = (pixels, self.training, torch.is_grad_enabled())
        return pixels.mean(dim=(2, 3))


def test_a_backbone_gets_rgb_from_zero_to_one_in_evaluation_mode_and_keeps_its_own() -> None:
    probe = PixelProbe().train()
    probe.frozen.eval()
    embedder = TorchEmbedder(probe, PreprocessingSpec.of(ARCFACE_112, input_px=112))
    red = np.zeros((2, 112, 112, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_array_equal(embedder.embed(red), [[1, 0, 0], [1, 0, 0]])
    assert probe.seen is not None
    assert probe.seen[1:] == (False, False)
    assert probe.training
    assert not probe.frozen.training


def save(path: Path, *, seed: int = 0, template: str = "arcface-112") -> nn.Module:
    torch.manual_seed(seed)
    backbone = build_backbone(CONFIG)
    spec = PreprocessingSpec.of(find_template(template), input_px=112)
    save_model(path, backbone, backbone_config=CONFIG.model_dump(), spec=spec, provenance={"seed": seed})
    return backbone


def test_a_saved_model_comes_back_whole(tmp_path: Path) -> None:
    backbone = save(tmp_path / MODEL_NAME)
    loaded = load_embedder(tmp_path)
    assert isinstance(loaded, TorchEmbedder)
    in_memory = TorchEmbedder(backbone, PreprocessingSpec.of(ARCFACE_112, input_px=112))
    np.testing.assert_array_equal(loaded.embed(crops(3)), in_memory.embed(crops(3)))
    assert (loaded.spec, loaded.sha256, loaded.provenance) == (in_memory.spec, in_memory.sha256, {"seed": 0})
    assert [path.name for path in tmp_path.iterdir()] == [MODEL_NAME]


def test_the_hash_is_of_the_weights(tmp_path: Path) -> None:
    save(tmp_path / "a")
    save(tmp_path / "b")
    save(tmp_path / "c", seed=1)
    a, b, c = (load_model(tmp_path / name).sha256 for name in "abc")
    assert a == b != c


def test_a_template_that_is_drawn_differently_now_is_refused(tmp_path: Path) -> None:
    spec = PreprocessingSpec("arcface-112", "0" * 64, 112)
    path = tmp_path / MODEL_NAME
    save_model(path, build_backbone(CONFIG), backbone_config=CONFIG.model_dump(), spec=spec, provenance={})
    with pytest.raises(InputError, match="geometry of this version"):
        load_model(path)


def test_no_model_half_a_model_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a folder with a model.*that `faceverif train` filled"):
        load_embedder(tmp_path)
    path = tmp_path / MODEL_NAME
    save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="must be a file that `faceverif train` wrote"):
        load_model(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="its header has no description"):
        load_model(path)
    write_sealed(path, {"weight": torch.zeros(3)}, {}, metadata_key="faceverif.classifier")
    said = r"must be a finished training run; .*, which holds another kind of thing: faceverif.classifier"
    with pytest.raises(InputError, match=said):
        load_model(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    spec = PreprocessingSpec.of(ARCFACE_112, input_px=112)
    path = tmp_path / MODEL_NAME
    save_model(path, PatternNet(), backbone_config=CONFIG.model_dump(), spec=spec, provenance={})
    with pytest.raises(InputError, match=r"Error\(s\) in loading state_dict"):
        load_model(path)


@pytest.mark.parametrize(
    ("model", "preprocess", "said"),
    [
        ("run", "rgb-255", "--preprocess: belongs to an .onnx file"),
        ("m.onnx", "rgb", "got rgb"),
        ("n.onnx", "rgb-255", r"there is no such file or folder; got .*n\.onnx\. There is .*m\.onnx"),
        ("m.onnx.txt", None, "must be a folder with a model.safetensors"),
        (".", None, r"Name what lies in it: .*m\.onnx"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, model: str, preprocess: str | None, said: str) -> None:
    (tmp_path / "run").mkdir()
    for name in (f"run/{MODEL_NAME}", "m.onnx", "m.onnx.txt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=said):
        load_embedder(tmp_path / model, preprocess=preprocess)


def test_a_model_file_is_a_model_as_its_folder_is(tmp_path: Path) -> None:
    save(tmp_path / MODEL_NAME)
    assert load_embedder(tmp_path / MODEL_NAME).sha256 == load_embedder(tmp_path).sha256


def test_many_crops_are_embedded_in_portions_with_the_same_result() -> None:
    sizes: list[int] = []

    class Counting(PatternNet):
        def forward(self, pixels: Tensor) -> Tensor:
            sizes.append(len(pixels))
            return super().forward(pixels)

    embedder = TorchEmbedder(Counting(), pattern_embedder().spec)
    many = crops(37)
    together = embedder.embed(many)
    assert sizes == [16, 16, 5]
    alone = np.concatenate([embedder.embed(crop[None]) for crop in many])
    np.testing.assert_allclose(together, alone, atol=1e-5)
