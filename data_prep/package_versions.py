"""Versions of the installed packages that a data set or a result depends on."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

# Package -> others that bring the same module, and that may be installed in its place.
_STAND_INS = {
    "onnxruntime": (
        *("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-migraphx"),
        *("onnxruntime-rocm", "onnxruntime-qnn", "onnxruntime-cann", "onnxruntime-training"),
    ),
    "opencv-python-headless": (
        *("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ),
    "pillow": ("pillow-simd",),
}


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Package -> version.

    A package that is not installed is left out. What stands in for it has its own name; where both are
    installed, both are listed, since only the imported module knows which of them it is.

    Args:
        packages: as their index calls them, such as opencv-python-headless.
    """
    names = [name for package in packages for name in (package, *_STAND_INS.get(package, ()))]
    return {name: found for name in names if (found := _version(name)) is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
