"""Where a model comes from: code, data, machine, time."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from faceverif.code_version import git_commit
from faceverif.training.data import TrainingPhotos

_TOOLS = ("faceverif", "torch", "torchvision", "lightning-fabric", "numpy", "opencv-python-headless")


def describe_start(data: dict[str, Any], *, seed: int, device: str, processes: int = 1) -> dict[str, Any]:
    """What is known when training starts; JSON-able.

    Args:
        data: what is trained on, with its hash.
        seed: of the run.
        device: where it learns.
        processes: how many learn together.
    """
    return {
        "started": _now(),
        "command": " ".join([Path(sys.argv[0]).name.replace("__main__.py", "faceverif"), *sys.argv[1:]]),
        "seed": seed,
        "git_commit": git_commit(),
        "versions": {"python": platform.python_version()} | {tool: version(tool) for tool in _TOOLS},
        "data": data,
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "device": device,
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "processes": processes,
        },
    }


def describe_photos(photos: TrainingPhotos) -> dict[str, Any]:
    """Which aligned photos, and what their manifest says, or would say where they are packed; JSON-able."""
    dataset, header = photos.dataset, photos.dataset.header
    return {
        "path": str(dataset.root),
        "manifest_sha256": dataset.sha256,
        "template": header.template,
        "template_sha256": header.template_sha256,
        "policy": header.policy,
        "colour_order": header.colour_order,
        "min_face_px": header.min_face_px,
        "versions": header.versions,
        "photos": len(photos),
        "identities": len(photos.identities),
        "left_out": len(dataset) - len(photos),
    }


def describe_end(*, steps: int, seconds: float) -> dict[str, Any]:
    """What is known when it ends: the time that all sittings took together, and the memory of the last."""
    return {
        "finished": _now(),
        "steps": steps,
        "hours": round(seconds / 3600, 4),
        "peak_memory_mb": peak_memory_mb(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_memory_mb() -> int | None:
    """Peak memory of this process, without its workers; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
