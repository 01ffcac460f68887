"""An exported ONNX file says itself which crops and pixels it takes, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from test_onnx_models import crops, write_onnx

import faceverif
from data_prep.alignment import find_template
from data_prep.errors import InputError
from faceverif.models.embedder import UNKNOWN_TRAINING, PreprocessingSpec
from faceverif.models.onnx_file import OnnxEmbedder
from faceverif.models.onnx_label import OnnxLabel

SPEC = PreprocessingSpec.of(find_template("arcface-128"), input_px=112)
LABEL = OnnxLabel("bgr-255", SPEC, {"data": {"exclusions": None}})


def labelled(path: Path, label: OnnxLabel = LABEL, **changes: Any) -> Path:
    model = onnx.load(write_onnx(path))
    ((key, text),) = label.as_metadata().items()
    onnx.helper.set_model_props(model, {key: json.dumps(json.loads(text) | changes)})
    onnx.save(model, path)
    return path


def test_a_labelled_file_needs_no_preprocess(tmp_path: Path) -> None:
    model = faceverif.load(labelled(tmp_path / "m.onnx"))
    assert (model.template, model.embedder.spec) == ("arcface-128", SPEC)
    assert model.embedder.exclusions is None
    photos = crops(2, side=128)
    wanted = photos[:, 8:-8, 8:-8, ::-1].mean(axis=(1, 2)) / 255 * [1, 2, 3]
    np.testing.assert_allclose(model.embedder.embed(photos), wanted, rtol=1e-4)


def test_the_same_name_may_be_given_and_another_is_refused(tmp_path: Path) -> None:
    path = labelled(tmp_path / "m.onnx")
    assert OnnxEmbedder(path, "bgr-255").spec == SPEC
    assert "--preprocess" not in OnnxEmbedder(path, "bgr-255").alike_cause  # the file says it itself
    with pytest.raises(
        InputError, match=r"--preprocess: must be what m\.onnx says of itself: bgr-255; got rgb-255"
    ):
        OnnxEmbedder(path, "rgb-255")


def test_a_file_without_a_label_needs_it(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"got nothing\. Use one of rgb-imagenet, rgb-127\.5, bgr-127\.5"):
        OnnxEmbedder(path, None)
    assert OnnxEmbedder(path, "rgb-255").exclusions == UNKNOWN_TRAINING
    assert "--preprocess" in OnnxEmbedder(path, "rgb-255").alike_cause


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format": 2}, "got format 2, not 1"),
        ({"preprocess": "xyz"}, "got no preprocessing xyz"),
        ({"crops": {"template": "arcface-112"}}, "got 2 validation errors"),
        (
            {"crops": {"template": "arcface-112", "template_sha256": "0", "input_px": 112}},
            "geometry of this version",
        ),
        (
            {"crops": {"template": SPEC.template, "template_sha256": SPEC.template_sha256, "input_px": 96}},
            "must take the 96 pixels that it speaks of; got 112 pixels",
        ),
    ],
)
def test_a_damaged_label_is_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        OnnxEmbedder(labelled(tmp_path / "m.onnx", **changes), None)
