"""The Python interface gives what the command line gives."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_photos import drawn_photos
from onnx import TensorProto, helper, save
from PIL import Image

import faceverif
from data_prep.alignment import find_template
from data_prep.errors import InputError
from faceverif.backbones import build_backbone
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.models import MODEL_NAME, PreprocessingSpec, save_model


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return drawn_photos(tmp_path_factory.mktemp("photos"), identities=1, photos=2)


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


def test_photos_may_be_pictures_which_are_turned_upright(
    run: Path, photos: list[Path], tmp_path: Path
) -> None:
    model = faceverif.load(run)
    lying = Image.open(photos[0]).transpose(Image.Transpose.ROTATE_90)
    lying.getexif()[0x0112] = 6  # to be shown turned to the right
    lying.save(tmp_path / "lying.png", exif=lying.getexif())
    with Image.open(tmp_path / "lying.png") as lying, Image.open(photos[0]) as upright:
        wanted = faceverif.align(photos[0], template=model.template)
        np.testing.assert_array_equal(faceverif.align(lying, template=model.template), wanted)
        np.testing.assert_array_equal(faceverif.align(upright, template=model.template), wanted)


def test_flipping_is_part_of_a_recogniser(run: Path, photos: list[Path]) -> None:
    model = faceverif.load(run)
    crop = faceverif.align(photos[0], template=model.template)
    np.testing.assert_allclose(model.embed(crop), model.embed(crop[:, ::-1]), atol=1e-6)
    plain = faceverif.Recogniser(model.embedder, flip=False)
    assert np.abs(plain.embed(crop) - plain.embed(crop[:, ::-1])).max() > 1e-4


def test_crops_may_be_pictures_and_lists(run: Path, photos: list[Path]) -> None:
    model = faceverif.load(run)
    crops = [faceverif.align(photo, template=model.template) for photo in photos]
    wanted = model.embed(np.stack(crops))
    np.testing.assert_array_equal(model.embed(crops), wanted)
    pictures = [Image.fromarray(crop) for crop in crops]
    np.testing.assert_array_equal(model.embed(pictures), wanted)
    assert model.embed(pictures[:1]).shape == (1, 16)
    np.testing.assert_allclose(model.embed(pictures[0]), wanted[0], atol=1e-6)


CROP = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("crops", "got"),
    [
        (np.zeros((2, 112, 112, 3), np.uint8), r"uint8 \(2, 112, 112, 3\)"),  # align's own template
        ([CROP, np.zeros((112, 112, 3), np.uint8)], r"uint8 \(112, 112, 3\)"),
        (CROP.astype(np.float32), r"float32 \(64, 64, 3\)"),
        (CROP.transpose(2, 0, 1), r"uint8 \(3, 64, 64\)"),
        ([CROP[None]], r"uint8 \(1, 64, 64, 3\)"),
        (CROP[None][:0], r"uint8 \(0, 64, 64, 3\)"),
        ([], "a list of 0"),
        ("a.jpg", r"str 'a\.jpg'"),
        (torch.from_numpy(CROP), r"Tensor"),
    ],
)
def test_other_crops_than_the_models_own_are_refused(run: Path, crops: object, got: str) -> None:
    """The middle of a larger crop would be another picture, with an embedding that means nothing."""
    said = rf"must be uint8 .*\(64, 64, 3\).* arcface-64; got {got}.*template=\"arcface-64\""
    with pytest.raises(InputError, match=said):
        faceverif.load(run).embed(crops)  # type: ignore[arg-type]


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
        ("gone.jpg", r"must be a readable picture; got gone\.jpg, which does not exist\."),
        (".", r"must be a readable picture; got \., which is a folder\."),
        (Image.new("RGB", (50, 40)), "must show a face; got a picture of 50 x 40 pixels"),
        (
            Image.new("F", (50, 40)),
            r"must be a readable picture; .*, which is a picture of a kind that faceverif does not .*\. Save",
        ),
        (["a.jpg", "b.jpg"], r"must be one photo: .*; got a list of 2"),
        (b"\xff\xd8", r"must be one photo: .*; got bytes .*PIL\.Image\.open\(io\.BytesIO\(data\)\)"),
        (torch.zeros(3, 9, 9), r"must be one photo: .*; got Tensor"),
        (None, r"must be one photo: .*; got NoneType"),
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


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"path": "gone"}, r"^path: there is no such"),
        ({"path": 7}, r"^path: must be the folder of a model"),
        ({"device": "gpu"}, "^device: must be auto"),
        ({"preprocess": "rgb-255"}, "^preprocess: belongs to an .onnx file"),
    ],
)
def test_errors_name_arguments_not_options(run: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(faceverif.InputError, match=said) as refused:
        faceverif.load(**{"path": run, **asked})
    assert "--" not in str(refused.value)


def test_errors_keep_the_commands_that_they_advise(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "net.pth")
    said = r"^path: must be .*Import it first: faceverif import .*net\.pth --out runs/imported$"
    with pytest.raises(faceverif.InputError, match=said):
        faceverif.load(tmp_path / "net.pth")


def test_the_device_may_be_torchs(run: Path) -> None:
    assert faceverif.load(run, device=torch.device("cpu")).embedder.device == "cpu"


def test_the_interface_has_a_version_and_lists_its_names() -> None:
    assert faceverif.__version__ == version("faceverif")
    assert {"InputError", "attack_photo", "load"} <= set(dir(faceverif))
