"""Which code this process runs, to compare the nodes of a cluster."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("data_prep", "faceverif")
# What touches pixels or computes; a manifest's header names some of these too.
_TOOLS = (
    *("facenet-pytorch", "numpy", "onnxruntime", "opencv-python-headless"),
    *("pillow", "pyarrow", "torch", "torchvision"),
)


@cache
def code_identity() -> dict[str, str]:
    """The versions of Python, faceverif and the packages that it computes with, and a hash of the code."""
    tools = {tool: _version(tool) for tool in _TOOLS}
    code = f"{_version('faceverif')}, code {_code_sha256()[:12]}"
    return {"faceverif": code, "python": platform.python_version()} | tools


def differences(here: dict[str, str], there: dict[str, str]) -> str:
    """What another node has otherwise, in words; empty where all is the same."""
    return ", ".join(
        f"{name} {there.get(name, 'none')} instead of {here[name]}"
        for name in here
        if there.get(name) != here[name]
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _code_sha256() -> str:
    digest = hashlib.sha256()
    for package in _PACKAGES:
        found = find_spec(package)
        if found is None or found.origin is None:
            continue
        root = Path(found.origin).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(root).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
