"""The versions of installed packages, also where one stands in for another."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from data_prep.alignment import find_template
from data_prep.dataset.manifest import header_for
from data_prep.package_versions import package_versions
from data_prep.work.code import code_identity, differences


def install(folder: Path, **versions: str) -> None:
    """Nothing but these packages, as their metadata tell it; underscores stand for hyphens."""
    for name, version in versions.items():
        described = folder / f"{name}-{version}.dist-info"
        described.mkdir(parents=True)
        plain = name.replace("_", "-")
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {plain}\nVersion: {version}\n")


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the only packages that are installed: ONNX Runtime's for GPUs, OpenCV's with windows."""
    install(tmp_path, onnxruntime_gpu="1.99", opencv_python="5.1", torch="2.9", numpy="2.4")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def test_a_package_that_stands_in_for_another_has_its_own_name(only: Path) -> None:
    wanted = ("torch", "onnxruntime", "opencv-python-headless", "pillow")
    known = {"torch": "2.9", "onnxruntime-gpu": "1.99", "opencv-python": "5.1"}
    assert package_versions(wanted) == known
    install(only, onnxruntime="1.31")
    assert package_versions(wanted) == known | {"onnxruntime": "1.31"}


def test_a_missing_package_stops_neither_alignment_nor_a_cluster(only: Path) -> None:
    header = header_for(find_template("arcface-112"), policy="centred-largest", min_face_px=20)
    assert header.versions == {"torch": "2.9", "numpy": "2.4"}
    code_identity.cache_clear()
    here = code_identity()
    code_identity.cache_clear()
    assert here["onnxruntime-gpu"] == "1.99"
    assert here["faceverif"].startswith("none, code ")


def test_a_package_that_only_one_node_has_is_a_difference() -> None:
    plain, gpu = {"onnxruntime": "1.31"}, {"onnxruntime-gpu": "1.31"}
    text = "onnxruntime none instead of 1.31, onnxruntime-gpu 1.31 instead of none"
    assert differences(plain, gpu) == text
