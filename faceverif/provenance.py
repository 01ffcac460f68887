"""Where numbers come from: code, data, machine, time."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.package_versions import package_versions

_TRAINING = ("faceverif", "torch", "torchvision", "lightning-fabric", "numpy", "opencv-python-headless")
_RESULT = ("faceverif", "torch", "onnxruntime", "numpy", "opencv-python-headless")


def describe_start(data: dict[str, Any], *, seed: int, device: str, processes: int = 1) -> dict[str, Any]:
    """What is known when a run starts; JSON-able.

    Args:
        data: what is worked on, with its hash.
        seed: of the run.
        device: where it computes.
        processes: how many work together.
    """
    described = describe_software()
    described["machine"] |= {"device": device, "processes": processes}
    return {"started": _now(), "seed": seed, "data": data} | described


def describe_software() -> dict[str, Any]:
    """The command, the code and the machine that it runs on; JSON-able."""
    import torch  # not above: `faceverif --version` needs no torch

    return {
        "command": shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "faceverif"), *sys.argv[1:]]),
        "git_commit": git_commit(),
        "versions": _with_python(_TRAINING),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
    }


def result_versions() -> dict[str, str]:
    """Of Python and of the packages that the result of a model depends on, whatever made it."""
    return _with_python(_RESULT)


def _with_python(packages: Iterable[str]) -> dict[str, str]:
    return {"python": platform.python_version()} | package_versions(packages)


def _processor() -> str:
    """The model's name where the system tells it, as Linux does; else the kind."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


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
    """Of this process, without its workers; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


@cache
def git_commit() -> str | None:
    """The commit of the code, with + when files differ from it; None outside a checkout.

    Installed below somebody's own repository, as in PROJECT/.venv, the code has no commit there.
    """
    code = Path(__file__)
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != code.resolve().parent.parent:
        return None
    if _git("ls-files", "--error-unmatch", code.name) is None:
        return None
    return _git("describe", "--always", "--abbrev=40", "--dirty=+")


def _git(*arguments: str) -> str | None:
    """What git answers in this file's folder; None where there is no git, or it refuses."""
    try:
        finished = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return finished.stdout.strip()
