"""Which code this process runs, to compare the nodes of a cluster."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from data_prep.package_versions import package_versions

_PACKAGES = ("data_prep", "faceverif")
# What touches pixels or computes; a manifest's header names some of these too.
_TOOLS = (
    *("facenet-pytorch", "numpy", "onnxruntime", "opencv-python-headless"),
    *("pillow", "pyarrow", "torch", "torchvision"),
)
_NONE = "none"


@cache
def code_identity() -> dict[str, str]:
    """The versions of Python, faceverif and the packages that it computes with, and a hash of the code."""
    tools = package_versions(("faceverif", *_TOOLS))
    code = f"{tools.pop('faceverif', _NONE)}, code {_code_sha256()[:12]}"
    return {"faceverif": code, "python": platform.python_version()} | tools


def differences(here: dict[str, str], there: dict[str, str]) -> str:
    """What another node has otherwise, in words; empty where all is the same."""
    return ", ".join(
        f"{name} {there.get(name, _NONE)} instead of {here.get(name, _NONE)}"
        for name in dict.fromkeys((*here, *there))
        if there.get(name) != here.get(name)
    )


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
