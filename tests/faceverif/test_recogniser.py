"""The Python interface gives what the command line gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, save
from PIL import Image

import faceverif
from data_prep.alignment import find_template
from data_prep.errors import InputError
from data_prep.face_model import load_face_model
from data_prep.synthetic import synthesise_photos
from faceverif.backbones import build_backbone
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.models import MODEL_NAME, PreprocessingSpec, save_model


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    synthesise_photos(load_face_model(), folder, identities=1, photos=2, seed=0)
    return sorted(folder.rglob("*.jpg"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = MobileFaceNetConfig(name="mobilefacenet", embedding_dim=16, input_px=64)
    torch.manual_seed(0)
    spec = PreprocessingSpec.of(find_template("arcface-64"), input_px=64)
    save_model(
        folder / MODEL_NAME,
        build_backbone(config),
        backbone_config=config.model_dump(),
        spec=spec,
        provenance={},
    )
    return folder


def test_similarity_is_the_cosine_of_aligned_crops(run: Path, photos: list[Path]) -> None:
    model = faceverif.load(str(run))
    crops = [faceverif.align(photo, template=model.template) for photo in photos]
    assert [crop.shape for crop in crops] == [(64, 64, 3)] * 2
    one, other = model.embed(np.stack(crops))
    assert one.shape == (16,)
    np.testing.assert_allclose(np.linalg.norm(one), 1, atol=1e-6)
    np.testing.assert_allclose(model.embed(crops[0]), one, atol=1e-6)
    assert model.similarity(*photos) == pytest.approx(float(one @ other), abs=1e-6)


def test_photos_may_be_arrays(run: Path, photos: list[Path]) -> None:
    model = faceverif.load(run)
    pixels = [np.asarray(Image.open(photo)) for photo in photos]
    assert model.similarity(*pixels) == model.similarity(*photos)


def test_flipping_is_part_of_a_recogniser(run: Path, photos: list[Path]) -> None:
    model = faceverif.load(run)
    crop = faceverif.align(photos[0], template=model.template)
    np.testing.assert_allclose(model.embed(crop), model.embed(crop[:, ::-1]), atol=1e-6)
    plain = faceverif.Recogniser(model.embedder, flip=False)
    assert np.abs(plain.embed(crop) - plain.embed(crop[:, ::-1])).max() > 1e-4


def test_an_onnx_file_is_a_model(tmp_path: Path, photos: list[Path]) -> None:
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 112, 112])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3])
    pool = helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"])
    flat = helper.make_node("Flatten", ["pooled"], ["embedding"])
    graph = helper.make_graph([pool, flat], "mean colour", [pixels], [embedding])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10),
        tmp_path / "m.onnx",
    )
    model = faceverif.load(tmp_path / "m.onnx", preprocess="rgb-255")
    assert model.similarity(photos[0], photos[0]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("photo", "complaint"),
    [
        (np.zeros((9, 9), np.uint8), r"must be \(height, width, 3\), uint8, RGB; got uint8 \(9, 9\)"),
        (np.zeros((9, 9, 3)), r"got float64 \(9, 9, 3\)"),
        (np.zeros((40, 50, 3), np.uint8), "must show a face; got an array of 50 x 40 pixels"),
        ("gone.jpg", r"must be a readable picture; got gone\.jpg"),
    ],
)
def test_bad_photos_are_named(photo: object, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        faceverif.align(photo)  # type: ignore[arg-type]


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a folder with a model\.safetensors"):
        faceverif.load(tmp_path)
    with pytest.raises(InputError, match=r"there is no such file"):
        faceverif.load(tmp_path / "gone.onnx")
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        faceverif.lod  # noqa: B018 - the access is the test
